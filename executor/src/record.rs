//! The ledger, from the writer's side: an intent is recorded before its effect, an outcome after it. The director keeps the
//! record; without its answer nothing is written.

use std::time::Duration;

use assent_api::names::{self, accounts};
use assent_api::proto::AppendRequest;
use assent_api::proto::ledger_client::LedgerClient;
use assent_core::canonical::{self, Digest};
use assent_core::ids::IncidentUid;
use assent_core::ledger::{Head, Proof};
use assent_core::refusal::{Refusal, Rule};
use assent_runtime::mtls;
use assent_runtime::workload::Workload;
use serde_json::Value;
use tonic::transport::Channel;

/// How long one append may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client of the director's ledger.
#[derive(Clone)]
pub(crate) struct Ledger {
    channel: Channel,
}

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) incident: &'a IncidentUid,
    /// What happened, for example `apply-intended`.
    pub(crate) kind: &'static str,
    /// Name of the plan: with the kind, what makes a second append the same one.
    pub(crate) plan: &'a str,
    /// Integers only.
    pub(crate) body: Value,
}

// === impl Ledger ===

impl Ledger {
    /// A client of the director at `address`; it connects when it is needed.
    pub(crate) fn new(workload: &Workload, address: &str) -> anyhow::Result<Self> {
        let director = workload.own_name().sibling(names::SYSTEM_NAMESPACE, accounts::DIRECTOR)?;
        Ok(Self { channel: mtls::channel(workload, address, &director)? })
    }

    /// Appends `entry` once and returns the newest head with the proof that it extends the one at `since`. The proof is checked
    /// by whoever judges the plan.
    pub(crate) async fn append(&self, entry: &Entry<'_>, since: u64) -> Result<(Head, Proof), Refusal> {
        let unavailable = |reason: String| Refusal::new(Rule::Ledger, reason, "a director that answers");
        let body = canonical::text(&entry.body).map_err(|error| unavailable(error.to_string()))?;
        let request = AppendRequest {
            incident_uid: entry.incident.to_string(),
            idempotency_key: format!("{}/{}", entry.plan, entry.kind),
            kind: entry.kind.to_owned(),
            body: body.into_bytes(),
            since,
        };
        let mut client = LedgerClient::new(self.channel.clone());
        let reply = tokio::time::timeout(PATIENCE, client.append(request)).await;
        let reply = reply.map_err(|_| unavailable(format!("the ledger did not answer within {} s", PATIENCE.as_secs())))?;
        let reply = reply.map_err(|status| unavailable(format!("the ledger refused `{}`: {}", entry.kind, status.message())))?.into_inner();
        let digest = |text: String| Digest::try_from(text).map_err(|error| unavailable(format!("the ledger's answer is no digest: {error}")));
        let proof =
            Proof::new(reply.proof.into_iter().map(Digest::try_from)).map_err(|error| unavailable(format!("the ledger's answer is no proof: {error}")))?;
        Ok((Head { sequence: reply.sequence, hash: digest(reply.head)? }, proof))
    }
}
