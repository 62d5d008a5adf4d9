//! Writes to our own kinds, by anybody: one table, one entry per kind. Whoever is not named here may not write.
//!
//! The rules rest on `request.userInfo` alone. That a plan exists admits nothing later: workload writes are proven again.

mod asking;
mod breakers;
mod people;
mod pressed;
mod proposals;
mod record;
mod revisions;
mod rules;

use assent_api::names::{self, accounts};
use assent_core::refusal::{Refusal, Rule};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Gate, Passed};
use crate::review::Request;

type Verdict = Result<&'static str, Refusal>;

/// Judges one write to a kind of ours. To add a kind: one arm here, its function in one of the modules, its cases in the
/// tests.
pub(super) async fn judge(gate: &Gate, request: &Request) -> Result<Passed, Refusal> {
    let live = &gate.live;
    let verdict = match (request.resource.resource.as_str(), request.sub_resource.as_str()) {
        ("remediations", "") => return record::remediation(gate, request).await,
        ("guardrails", "") => return rules::guardrail(gate, request).await,
        ("guardrailbindings", "") => return rules::guardrail_binding(live, request).await,
        ("guardrailexemptions", "") => rules::exemption(live, request).await,
        ("freezewindows", "") => rules::freeze(live, request).await,
        ("ballots", "") => record::ballot(live, request).await,
        ("decisions", "") => record::decision(live, request).await,
        ("approvalrequests", "") => asking::request(live, request).await,
        ("approvals", "") => asking::approval(live, request).await,
        ("circuitbreakers", "") => breakers::specification(live, request).await,
        ("circuitbreakers", "status") => breakers::status(live, request).await,
        ("approvalrequests", "status") => only(request, accounts::EXECUTOR, "approval-request-status"),
        ("remediations", "status") => only(request, accounts::EXECUTOR, "remediation-status"),
        ("guardrails" | "guardrailbindings", "status") => only(request, accounts::SCANNER, "guardrail-status"),
        ("rosters", "") => people::roster(live, request).await,
        ("pauses", "") => person(request, "pause"),
        ("blueprints", "") => return people::blueprint(live, request).await,
        ("blueprintrevisions", "") => revisions::revision(live, request).await,
        ("operationproposals", "") => return proposals::proposal(live, request).await,
        ("operationproposals", "status") => only(request, accounts::DIRECTOR, "operation-proposal-status"),
        ("clusterblueprints", "") => return rules::cluster_blueprint(live, request).await,
        (kind, part) => Err(Refusal::new(Rule::Account, format!("nobody may write `{kind}` `{part}` yet"), "a kind and sub-resource that the gate knows")),
    };
    verdict.map(Passed::from)
}

// --- who ---

fn only(request: &Request, account: &str, what: &'static str) -> Verdict {
    if request.is_by(account) { Ok(what) } else { Err(stranger(request, &names::account_user(account))) }
}

fn person(request: &Request, what: &'static str) -> Verdict {
    if request.is_by_machine() { Err(stranger(request, "a person's own credentials")) } else { Ok(what) }
}

fn stranger(request: &Request, who: &str) -> Refusal {
    Refusal::new(
        Rule::Account,
        format!("`{}` may not {} {}", request.user_info.username, request.operation.to_lowercase(), request.resource.resource),
        who.to_owned(),
    )
}

fn parse<T: DeserializeOwned>(value: &Value) -> Result<T, Refusal> {
    serde_json::from_value(value.clone())
        .map_err(|error| Refusal::new(Rule::Payload, format!("the object is not of its kind: {error}"), "an object that its definition describes"))
}
