//! Roots and issuer that are replaced while everything runs. A person asks for a step by an annotation of the trust bundle's
//! ConfigMap; it is taken or refused by [`state`], kept in the Secret before anything else hears of it, and told in another
//! annotation. What is kept is read again at every turn, so that a second process follows the first.

mod state;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use assent_runtime::telemetry;
use assent_runtime::workload::rotation::{COMMAND, Command, Outcome, Root, STATUS, Status, Step, fingerprint};
use assent_runtime::workload::{Roots, TrustError};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

pub use state::{Party, Refusal, State};

use crate::bundle::CONFIG_MAP;
use crate::ca::{self, Issuer, Material};
use crate::{certify, issuer};

const RETRY: Duration = Duration::from_secs(5);
/// Longest command that is read.
const MAX_COMMAND: usize = 4096;

/// What follows the kept state: who signs, whom we trust ourselves, and what everybody is told to trust.
#[derive(Debug)]
pub struct Followers {
    /// Signs leafs.
    pub issuer: watch::Sender<Arc<Issuer>>,
    /// Our own peers' roots.
    pub roots: watch::Sender<Arc<Roots>>,
    /// Published to every namespace.
    pub bundle: watch::Sender<String>,
}

/// The task that rotates.
pub struct Rotation {
    /// Reads and writes Secret and ConfigMap.
    pub client: Client,
    /// Where they are.
    pub namespace: String,
    /// Control namespace and trust domain, for new certificates.
    pub authority: String,
    /// How long leafs live.
    pub life: Duration,
    /// How long a new root must be out before it issues.
    pub propagation: Duration,
    /// Who follows.
    pub followers: Followers,
    /// The bundle that every namespace is known to have.
    pub published: watch::Receiver<String>,
    /// Its expiry is told.
    pub metrics: certify::Metrics,
}

/// Why a turn was not completed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("keep the rotation")]
    Kept(#[from] issuer::Error),
    #[error("use the kept issuer")]
    Issuer(#[from] ca::Error),
    #[error("use the kept roots")]
    Roots(#[from] TrustError),
    #[error("tell the state of the rotation")]
    Tell(#[source] Box<kube::Error>),
}

// === impl Rotation ===

impl std::fmt::Debug for Rotation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rotation").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Rotation {
    /// Runs for the life of the process.
    pub async fn run(mut self) {
        let named = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
        let copies = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        let mut copies = kube::runtime::watcher(copies, named).default_backoff().applied_objects().boxed();
        let mut copy = None;
        loop {
            let turned = self.turn(copy.as_ref()).await;
            if let Err(error) = &turned {
                tracing::warn!(error = telemetry::chain(error), "the rotation of roots is not up to date");
            }
            // A failure is retried on its own; a change is acted on at once.
            let pause = async { if turned.is_err() { tokio::time::sleep(RETRY).await } else { std::future::pending().await } };
            tokio::select! {
                () = pause => {}
                Ok(()) = self.published.changed() => {}
                Some(event) = copies.next() => match event {
                    Ok(now) => copy = Some(now),
                    Err(error) => tracing::warn!(error = telemetry::chain(&error), "the trust config map cannot be watched"),
                },
            }
        }
    }

    async fn turn(&mut self, copy: Option<&ConfigMap>) -> Result<(), Error> {
        let kept = issuer::load(&self.client, &self.namespace).await?;
        self.follow(&kept.state)?;
        let now = seconds(SystemTime::now());
        let mut state = kept.state.clone().started(now, self.life);
        if *self.published.borrow_and_update() == state.bundle() {
            state = state.published(now);
        }
        if let Some(command) = copy.and_then(command)
            && state.outcome.as_ref().is_none_or(|outcome| outcome.id != command.id)
        {
            state = self.decide(state, command, now)?;
        }
        if state != kept.state {
            kept.replace(&self.client, &self.namespace, &state).await?;
            self.follow(&state)?;
        }
        match copy {
            Some(copy) => self.tell(&state, copy).await,
            None => Ok(()),
        }
    }

    fn decide(&self, state: State, command: Command, now: u64) -> Result<State, Error> {
        let taken = match &command.step {
            // Made only if it is wanted: a key is drawn.
            Step::Begin if state.other.is_some() => Err(Refusal::UnderWay),
            Step::Begin => state.clone().begin(ca::create(&self.authority, SystemTime::now())?),
            Step::Issue => state.clone().issue(now, self.propagation),
            Step::Drop { root, compromised } => state.clone().drop_other(now, |other| is(other, root), compromised.as_ref().map(|_| root.as_str())),
        };
        let refused = taken.as_ref().err().map(Refusal::to_string);
        tracing::info!(command = command.id, step = ?command.step, refused, "a step of the rotation of roots was decided");
        let outcome = Some(Outcome { id: command.id, at: now, refused });
        Ok(State { outcome, ..taken.unwrap_or(state) })
    }

    /// The issuer first: who is told of another first root comes for a certificate under it.
    fn follow(&self, state: &State) -> Result<(), Error> {
        let bundle = state.bundle();
        if *self.followers.bundle.borrow() == bundle {
            return Ok(());
        }
        let issuer = Issuer::load(&state.issuing.material)?;
        let roots = Roots::parse(bundle.as_bytes())?;
        self.metrics.issuer_expiry(issuer.not_after());
        self.followers.roots.send_replace(Arc::new(roots));
        self.followers.issuer.send_replace(Arc::new(issuer));
        self.followers.bundle.send_replace(bundle);
        Ok(())
    }

    async fn tell(&self, state: &State, copy: &ConfigMap) -> Result<(), Error> {
        let text = serde_json::json!(self.status(state)?).to_string();
        if copy.annotations().get(STATUS) == Some(&text) {
            return Ok(());
        }
        let patch = serde_json::json!({"metadata": {"annotations": {STATUS: text}}});
        let copies = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        match copies.patch(CONFIG_MAP, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            // It was deleted; it is published again, which we see too.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Error::Tell(Box::new(error))),
        }
    }

    fn status(&self, state: &State) -> Result<Status, Error> {
        let root = |party: &Party| -> Result<Root, Error> {
            let expires = seconds(Issuer::load(&party.material)?.not_after());
            Ok(Root { fingerprint: first(&party.material).unwrap_or_default(), expires, used_until: party.used_until })
        };
        let ready = state.both_since.map(|since| since + self.propagation.as_secs());
        let other = state.other.as_ref().map(root).transpose()?;
        Ok(Status { issuing: root(&state.issuing)?, other, ready, outcome: state.outcome.clone() })
    }
}

fn command(copy: &ConfigMap) -> Option<Command> {
    let text = copy.annotations().get(COMMAND).filter(|text| text.len() <= MAX_COMMAND)?;
    let read = serde_json::from_str(text);
    read.inspect_err(|error| tracing::warn!(%error, "the annotation `{COMMAND}` is no command")).ok()
}

/// The fingerprint of the first root.
fn first(material: &Material) -> Option<String> {
    Roots::parse(material.bundle.as_bytes()).ok()?.certificates().first().map(fingerprint)
}

fn is(material: &Material, root: &str) -> bool {
    first(material).is_some_and(|first| first.eq_ignore_ascii_case(root))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
