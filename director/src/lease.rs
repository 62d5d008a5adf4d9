//! One active director at a time, by a Kubernetes Lease. For liveness only: two at once do no harm, since ballots are the
//! seats' own, plan names are unique and the gate believes nobody; so clocks are not compared and no fencing is needed.

use std::time::Duration;

use anyhow::Context as _;
use assent_api::names;
use assent_runtime::CancellationToken;
use assent_runtime::telemetry::chain;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;

const NAME: &str = "assent-director";
/// How long a silent holder keeps the lease.
const LIFE: Duration = Duration::from_secs(15);
/// How often it is renewed, or looked at.
const TURN: Duration = Duration::from_secs(3);

/// The lease, held or wanted by `instance`.
pub(crate) struct Leadership {
    api: Api<Lease>,
    instance: String,
}

// === impl Leadership ===

impl Leadership {
    pub(crate) fn new(client: Client, instance: String) -> Self {
        Self { api: Api::namespaced(client, names::SYSTEM_NAMESPACE), instance }
    }

    /// Waits until the lease is ours. Another's counts as given up when it has not changed for its life while we looked.
    pub(crate) async fn acquire(&self) {
        let mut seen: Option<(Option<String>, Instant)> = None;
        let mut turns = tokio::time::interval(TURN);
        loop {
            turns.tick().await;
            match self.turn(&mut seen).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(error = chain(&error), "the lease cannot be taken"),
            }
        }
    }

    async fn turn(&self, seen: &mut Option<(Option<String>, Instant)>) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(NAME).await? else {
            let metadata = ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.spec(None)) };
            return taken(self.api.create(&PostParams::default(), &lease).await);
        };
        let held = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty());
        let ours = held.as_ref() == Some(&self.instance);
        let version = lease.metadata.resource_version.clone();
        let since = match seen {
            Some((last, since)) if *last == version => *since,
            _ => Instant::now(),
        };
        *seen = Some((version, since));
        if held.is_some() && !ours && since.elapsed() < LIFE {
            return Ok(false);
        }
        // The resource version in `lease` lets only one of two contenders win.
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        taken(self.api.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(jiff::Timestamp::now());
        let renewal = before.is_some_and(|spec| spec.holder_identity.as_ref() == Some(&self.instance));
        LeaseSpec {
            holder_identity: Some(self.instance.clone()),
            acquire_time: before.filter(|_| renewal).and_then(|spec| spec.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_duration_seconds: i32::try_from(LIFE.as_secs()).ok(),
            lease_transitions: Some(before.and_then(|spec| spec.lease_transitions).unwrap_or(0).saturating_add(i32::from(!renewal))),
            ..LeaseSpec::default()
        }
    }

    /// Keeps the lease until `token` is cancelled and gives it up then. Losing it is an error: another one is at work.
    pub(crate) async fn keep(self, token: CancellationToken) -> anyhow::Result<()> {
        let mut turns = tokio::time::interval(TURN);
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = token.cancelled() => return self.release().await.context("give up the lease"),
                _ = turns.tick() => {}
            }
            match self.renew().await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => anyhow::bail!("another director holds the lease"),
                // Without the API server nobody else can take it either.
                Err(error) => tracing::warn!(error = chain(&error), since = ?renewed.elapsed(), "lease not renewed"),
            }
        }
    }

    async fn renew(&self) -> Result<bool, kube::Error> {
        let mut lease = self.api.get(NAME).await?;
        if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) != Some(&self.instance) {
            return Ok(false);
        }
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        match self.api.replace(NAME, &PostParams::default(), &lease).await {
            // Somebody wrote in between; the next turn sees who.
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(true),
            replaced => replaced.map(|_| true),
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let mut lease = self.api.get(NAME).await?;
        let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&self.instance)) else { return Ok(()) };
        spec.holder_identity = None;
        self.api.replace(NAME, &PostParams::default(), &lease).await.map(drop)
    }
}

/// Whether the write that takes the lease went through; losing a race is no error.
fn taken(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}
