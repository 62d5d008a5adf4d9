//! Casting: a vote becomes a signed, immutable object that this seat creates itself, once per incident, epoch and round.
//!
//! Seats cannot read ballots, so that first votes stay blind; an object that exists already under our name can only be
//! ours, since nobody else is admitted to create it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use assent_api::names;
use assent_api::resources::{Ballot as Stored, Roster as StoredRoster};
use assent_api::signed::Signed;
use assent_core::ballot::{self, Ballot, CastBallot, Opinion, PAYLOAD_TYPE, Round, Statement};
use assent_core::canonical::{self, Digest};
use assent_core::consensus::Roster;
use assent_core::ids::UnixMillis;
use assent_core::incident::{Context, DELIBERATION_MS};
use assent_core::seats::Entry;
use assent_runtime::workload::{self, Workload};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;

use crate::held::now;

/// Votes that are remembered, so that the same question gets the same answer.
const REMEMBERED: usize = 64;

/// Why no ballot was cast.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("read the roster")]
    ReadRoster(#[source] Box<kube::Error>),
    #[error("the roster is unusable: {0}")]
    Roster(String),
    #[error("the ballot is out of bounds: {0}")]
    Bounds(String),
    #[error("write the ballot's canonical form")]
    Canonical(#[source] canonical::Error),
    #[error("sign the ballot")]
    Sign(#[source] workload::Error),
    #[error("create ballot `{name}`")]
    Create {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
}

/// Nobody waits longer for a ballot: the director's deadline for both rounds.
const PATIENCE: Duration = Duration::from_millis(DELIBERATION_MS.unsigned_abs());
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(250);

/// One question: which incident context, epoch and round.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) context: &'a Context,
    pub(crate) digest: Digest,
    pub(crate) epoch: u32,
    pub(crate) round: Round,
}

/// This seat's pen.
pub(crate) struct Ballots {
    client: Client,
    workload: Workload,
    entry: Entry,
    life_ms: u32,
    cast: Mutex<VecDeque<(String, Digest)>>,
}

// === impl Ballots ===

impl Ballots {
    pub(crate) fn new(client: Client, workload: Workload, entry: Entry, life_ms: u32) -> Self {
        Self { client, workload, entry, life_ms, cast: Mutex::default() }
    }

    /// The roster in force.
    pub(crate) async fn roster(&self) -> Result<Roster, Error> {
        let api: Api<StoredRoster> = Api::all(self.client.clone());
        let stored = api.get(names::ROSTER).await.map_err(|source| Error::ReadRoster(Box::new(source)))?;
        Roster::try_from(&stored.spec).map_err(Error::Roster)
    }

    /// The ballot that this process has cast on the question: its name and the context that it judged.
    pub(crate) fn earlier(&self, question: &Question<'_>) -> Option<(String, Digest)> {
        let name = self.name(question);
        let cast = self.cast.lock().unwrap_or_else(PoisonError::into_inner);
        cast.iter().find(|(known, _)| *known == name).cloned()
    }

    fn name(&self, question: &Question<'_>) -> String {
        let opinion = Opinion::Abstain { round: question.round, reason: String::new() };
        self.ballot(question, opinion, Digest::of_bytes(b"")).name()
    }

    fn ballot(&self, question: &Question<'_>, opinion: Opinion, roster: Digest) -> Ballot {
        Ballot {
            cluster: question.context.cluster.clone(),
            incident: question.context.incident.clone(),
            seat: self.entry.name.into(),
            epoch: question.epoch,
            issued_at: now(),
            expires_after_ms: self.life_ms,
            context: question.digest.clone(),
            roster,
            rules: self.entry.rules.into(),
            opinion,
        }
    }

    /// Signs and creates the ballot; its name.
    pub(crate) async fn cast(&self, question: &Question<'_>, opinion: Opinion) -> Result<String, Error> {
        let roster = self.roster().await?.digest().map_err(Error::Canonical)?;
        let ballot = self.ballot(question, opinion, roster);
        ballot.check_bounds().map_err(Error::Bounds)?;
        let name = ballot.name();
        let summary = summary(&ballot.opinion);
        let payload = canonical::text(&ballot.clone().statement()).map_err(Error::Canonical)?;
        let signed = sign(&self.workload, PAYLOAD_TYPE, payload).await.map_err(Error::Sign)?;
        let stored = Stored::of(&ballot, summary, signed);
        self.store(&name, &stored).await?;
        let mut cast = self.cast.lock().unwrap_or_else(PoisonError::into_inner);
        if cast.len() == REMEMBERED {
            cast.pop_front();
        }
        cast.push_back((name.clone(), question.digest.clone()));
        Ok(name)
    }

    /// Creates the object, and comes again while the gate or the API server is away, for as long as anybody may wait.
    async fn store(&self, name: &str, stored: &Stored) -> Result<(), Error> {
        let api: Api<Stored> = Api::namespaced(self.client.clone(), names::SYSTEM_NAMESPACE);
        let until = Instant::now() + PATIENCE;
        loop {
            match api.create(&PostParams::default(), stored).await {
                Ok(_) => return Ok(()),
                // Ours, from before a lost answer or a restart: the first one stands.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    tracing::info!(ballot = name, "ballot was cast before");
                    return Ok(());
                }
                Err(error) if is_away(&error) && Instant::now() < until => {
                    tracing::warn!(ballot = name, error = assent_runtime::telemetry::chain(&error), "ballot not stored; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
                Err(source) => return Err(Error::Create { name: name.to_owned(), source: Box::new(source) }),
            }
        }
    }
}

/// Whether nobody judged the request: no answer, or one of the kind that passes.
fn is_away(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

/// `payload` signed with the key of our certificate.
pub(crate) async fn sign(workload: &Workload, payload_type: &str, payload: String) -> Result<Signed, workload::Error> {
    let certified = workload.ready().await?;
    let chain: Vec<Vec<u8>> = certified.chain().iter().map(|der| der.to_vec()).collect();
    Signed::new(payload_type, payload, &chain, |bytes| certified.sign(bytes))
}

/// The cause ballots of the question's incident and epoch among `envelopes`, each verified by ourselves against the roster.
/// A seat that appears with two different ones has contradicted itself and is left out.
pub(crate) fn verified_causes(roster: &Roster, question: &Question<'_>, envelopes: &[Vec<u8>], at: UnixMillis) -> Vec<CastBallot> {
    let mut causes: Vec<CastBallot> = Vec::new();
    for envelope in envelopes {
        match verify(roster, question, envelope, at) {
            Ok(cast) => causes.push(cast),
            Err(reason) => tracing::warn!(incident.id = %question.context.incident, reason, "a cause ballot was left out"),
        }
    }
    causes.sort_by(|a, b| a.digest.cmp(&b.digest));
    causes.dedup_by(|a, b| a.digest == b.digest);
    let twice = |seat: &str, causes: &[CastBallot]| causes.iter().filter(|cast| cast.ballot.seat == seat).count() > 1;
    causes.iter().filter(|cast| !twice(&cast.ballot.seat, &causes)).cloned().collect()
}

fn verify(roster: &Roster, question: &Question<'_>, envelope: &[u8], at: UnixMillis) -> Result<CastBallot, String> {
    let signed: Signed = serde_json::from_slice(envelope).map_err(|error| format!("not an envelope: {error}"))?;
    let ballot = Statement::parse(&signed.payload)?.predicate;
    let seat = roster.seat(&ballot.seat).ok_or("not from a seat of the roster")?;
    signed.verify(PAYLOAD_TYPE, &roster.trust_roots, &names::own_identity(&seat.account), at.0).map_err(|error| error.to_string())?;
    let about = (&ballot.cluster, &ballot.incident, ballot.epoch, &ballot.context, ballot.round());
    let asked = (&question.context.cluster, &question.context.incident, question.epoch, &question.digest, Round::Cause);
    if about != asked {
        return Err("about something else".into());
    }
    if ballot.roster != roster.digest().map_err(|error| error.to_string())? {
        return Err("cast under another roster".into());
    }
    Ok(CastBallot { digest: Digest::of_bytes(signed.payload.as_bytes()), created_at: at, ballot })
}

/// The vote in a line, for people.
fn summary(opinion: &Opinion) -> String {
    let text = match opinion {
        Opinion::Abstain { reason, .. } => format!("abstains: {reason}"),
        Opinion::Cause(vote) => match vote.hypotheses.first() {
            None => "healthy in my domain".into(),
            Some(first) => format!("{} at {} ({})", first.fault, first.service, first.probability),
        },
        Opinion::Remedy(vote) => {
            let count = |verdict| vote.stances.iter().filter(|stance| stance.verdict == verdict).count();
            let [support, veto] = [ballot::StanceVerdict::Support, ballot::StanceVerdict::Veto].map(count);
            format!("supports {support}, vetoes {veto} of {}", vote.stances.len())
        }
    };
    text.chars().take(200).collect()
}
