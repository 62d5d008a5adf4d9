//! `explain`: what a rule means and what to do about it, and why the attempts of an incident were refused or let through. The
//! text of a refusal says what was seen, cut short; this says why there is such a rule at all, and the whole of what is on
//! record.

mod incident;

use std::process::ExitCode;

use anyhow::bail;
use assent_core::ids::IncidentUid;
use assent_core::refusal::Rule;
use serde_json::json;

use crate::connect::ConnectArgs;
use crate::output::{Format, bold, table};
use crate::record::LedgerArgs;

/// Flags of `explain`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent explain                 list every rule
  kubectl assent explain quorum          a refusal says `assent[quorum]: …`
  kubectl assent explain 01890a5d-ac96-774b-bcce-b302099a8057
                                         every attempt of an incident: which guardrail, which validation, which field
                                         had which value, what would have passed
  kubectl assent explain 01890a5d-ac96-774b-bcce-b302099a8057 --ledger ledger.ndjson -o json")]
pub(crate) struct ExplainArgs {
    /// Code of the rule, as it stands in brackets in a refusal, or an Incident-UID.
    #[arg(value_name = "RULE|UID")]
    what: Option<String>,
    /// The ledger, for an incident.
    #[command(flatten)]
    ledger: LedgerArgs,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) async fn run(args: &ExplainArgs, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    if let Some(what) = &args.what
        && is_uuid(what)
    {
        let incident = IncidentUid::try_from(what.clone()).map_err(|reason| anyhow::anyhow!("`{what}`: {reason}; `kubectl assent incidents` lists them"))?;
        return incident::run(&incident, &args.ledger, args.output, connect).await;
    }
    rules(args).map(|()| ExitCode::SUCCESS)
}

/// Whether somebody means an incident, though perhaps not one that can be.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.chars().filter(|letter| *letter == '-').count() == 4 && text.chars().all(|letter| letter == '-' || letter.is_ascii_hexdigit())
}

fn rules(args: &ExplainArgs) -> anyhow::Result<()> {
    let chosen: Vec<Rule> = match &args.what {
        None => ALL.to_vec(),
        Some(code) => {
            let code = code.trim_start_matches("assent[").trim_end_matches(']');
            let Some(rule) = rule(code) else {
                bail!(
                    "there is no rule `{code}`, and it is no Incident-UID; `kubectl assent explain` lists the rules, `kubectl assent incidents` the incidents"
                );
            };
            vec![rule]
        }
    };
    if args.output == Format::Json {
        let told = |rule: &Rule| json!({"rule": rule.code(), "meaning": text(*rule).0, "remedy": text(*rule).1});
        let rules: Vec<serde_json::Value> = chosen.iter().map(told).collect();
        anstream::println!("{}", serde_json::to_string_pretty(&rules)?);
    } else if let (Some(_), [rule]) = (&args.what, chosen.as_slice()) {
        let (meaning, remedy) = text(*rule);
        anstream::println!("{}\n  {meaning}\n  {remedy}", bold(&rule.code()));
    } else {
        let rows: Vec<Vec<String>> = chosen.iter().map(|rule| vec![rule.code(), text(*rule).0.to_owned()]).collect();
        anstream::print!("{}", table(&["RULE", "MEANING"], &rows));
    }
    Ok(())
}

fn rule(code: &str) -> Option<Rule> {
    ALL.into_iter().find(|rule| rule.code() == code)
}

const ALL: [Rule; 44] = [
    Rule::NoRoster,
    Rule::IncidentExtra,
    Rule::Account,
    Rule::NoPlan,
    Rule::PlanName,
    Rule::Payload,
    Rule::Immutable,
    Rule::Cluster,
    Rule::Incident,
    Rule::Epoch,
    Rule::BallotIdentity,
    Rule::Quorum,
    Rule::Support,
    Rule::Principals,
    Rule::Veto,
    Rule::Confidence,
    Rule::Tally,
    Rule::Expired,
    Rule::Clock,
    Rule::Stale,
    Rule::Difference,
    Rule::Canary,
    Rule::Resource,
    Rule::ForbiddenTarget,
    Rule::Paused,
    Rule::Frozen,
    Rule::Brake,
    Rule::Breaker,
    Rule::Strikes,
    Rule::Autonomy,
    Rule::Rate,
    Rule::Cooldown,
    Rule::Conflict,
    Rule::Approval,
    Rule::Blueprint,
    Rule::Forbidden,
    Rule::Guardrail,
    Rule::Denied,
    Rule::Authority,
    Rule::Ledger,
    Rule::Revert,
    Rule::GateConfiguration,
    Rule::Unavailable,
    Rule::Request,
];

/// What it means, and what to do.
fn text(rule: Rule) -> (&'static str, &'static str) {
    match rule {
        Rule::NoRoster => ("Nobody said who votes, so nobody can have voted.", "Apply the Roster `default` that `kubectl assent init` wrote."),
        Rule::IncidentExtra => (
            "A write of the executor must name exactly one incident, so that the audit log can tell its story.",
            "Look who acts as `assent:executor`: `kubectl assent check`.",
        ),
        Rule::Account => ("This account has no part in what it tried.", "If a person should do this, do it as yourself."),
        Rule::NoPlan => {
            ("A write needs a plan that was admitted for it.", "Nothing to do when the executor's challenge is refused so: that is the gate standing.")
        }
        Rule::PlanName => {
            ("A plan's name is the digest of what it does, so one action can be planned once.", "A plan that is named otherwise was not made by the executor.")
        }
        Rule::Payload => ("Typed fields are for people; what counts is the signed text, and the two must agree.", "Compare with `kubectl assent verify UID`."),
        Rule::Immutable => (
            "Ballots, decisions and plans never change, and stay until a day after the last possible revert.",
            "Wait; the director removes them when they may go.",
        ),
        Rule::Cluster => ("A vote or plan for another cluster means nothing here.", "Was something copied between clusters?"),
        Rule::Incident => ("A vote or plan for another incident, or on another context, means nothing here.", "Seats vote anew when the context changes."),
        Rule::Epoch => ("An incident has at most three epochs, and only the newest counts.", "After the third, a person decides."),
        Rule::BallotIdentity => (
            "A ballot must be created and signed by the seat that it names.",
            "Look at the ballot's creator in the audit log: `kubectl assent audit UID --audit-log FILE`.",
        ),
        Rule::Quorum => ("Too few seats voted on live data.", "See which seats abstained and why: `kubectl assent audit UID`."),
        Rule::Support => ("Too few seats support the same cause and remedy.", "The seats disagree: a person decides; the dissent is in the Decision."),
        Rule::Principals => ("Acting needs evidence of two principals, one of them not a sidecar.", "One kind of witness is not enough, whoever it is."),
        Rule::Veto => ("A seat says that the remedy would harm its domain.", "Its reason is in its ballot; a person decides."),
        Rule::Confidence => ("The most probable cause is not probable enough, or the runner-up too close.", "More evidence, or a person."),
        Rule::Tally => ("Counting the ballots again does not give this decision.", "`kubectl assent verify UID` shows the count."),
        Rule::Expired => ("A vote holds 15 minutes, a plan at most five.", "Nothing: the next epoch votes on fresh data."),
        Rule::Clock => {
            ("The gate's clock and the API server's differ too much for expiry to mean anything.", "Mend the clock of the node that the gate runs on.")
        }
        Rule::Stale => ("The target is not as the seats judged it.", "Nothing: somebody else changed it; the next epoch judges it anew."),
        Rule::Canary => (
            "Where the Blueprint wants one pod first, the rest follows once that pod is well, and not after somebody else changed the workload.",
            "`kubectl get rem` says how far it is; a rollout that was left held back shows in `spec.strategy` and `spec.minReadySeconds`, or in the partition.",
        ),
        Rule::Difference => (
            "The write changes something that the voted action does not permit.",
            "Look for another mutating webhook, or a controller, that changes the same object.",
        ),
        Rule::Resource => ("An action writes one resource with one verb; this was another.", "Nothing: the catalogue of actions is closed."),
        Rule::ForbiddenTarget => ("System namespaces, and workloads that the action does not model, are never targets.", "A person acts."),
        Rule::Paused => ("A pause is in force.", "`kubectl assent resume` when its reason is over."),
        Rule::Frozen => ("Nothing is changed during a freeze window, but what must be put back.", "It says until when; its owner decides about exceptions."),
        Rule::Brake => (
            "Operations failed on several services within a short time: whatever the cause is, more of the same will not find it.",
            "Look for what the services share; the brake lets go by itself, or when a person lifts it.",
        ),
        Rule::Breaker => (
            "Operations on this service failed in a row, so nothing is tried for a while, and then one thing.",
            "Look into what failed; the circuit closes when an operation helps, or when a person lifts it.",
        ),
        Rule::Strikes => (
            "What did not help is tried again after a longer wait each time, and three times at most.",
            "Approve this very change, or mend the cause and lift the strikes.",
        ),
        Rule::Autonomy => (
            "An action goes alone on a service only as far as people let it, and only while enough of what it did there has helped.",
            "Approve this very change, or look at the evidence and promote the action again.",
        ),
        Rule::Rate => ("A service that needs this many operations within an hour has a fault that they do not reach.", "Wait, and look for that fault."),
        Rule::Conflict => (
            "Another operation on the same service is not over: what two change at once tells of neither whether it helped.",
            "Nothing: it passes once that plan has ended. `kubectl get cb -n assent-system` shows which one.",
        ),
        Rule::Approval => (
            "The Blueprint asks people, and they did not agree: not yet, not in time, to something else, or one of them refused.",
            "`kubectl assent approvals`, then `approve` or `deny`; docs/approvals.md says who may.",
        ),
        Rule::Cooldown => ("Figures need a while to show what an operation did.", "Nothing: it passes a minute later."),
        Rule::Blueprint => {
            ("Without a Blueprint that allows the action, Assent only observes.", "Write one beside the workload, in mode `autonomous`, that names the action.")
        }
        Rule::Forbidden => (
            "It is never done, or a Blueprint or a ClusterBlueprint lists it as forbidden; whoever watches over security is told.",
            "What could be done instead stands in the refusal; who proposed it is in the ledger.",
        ),
        Rule::Guardrail => ("A guardrail denies it, whatever the vote.", "Its message says why; people change guardrails."),
        Rule::Denied => (
            "Somebody else's policy or webhook refuses it, or the API server itself; their words stand in the refusal.",
            "Ask whoever owns that policy: an exception for the user `assent:executor`, or the change by hand.",
        ),
        Rule::Authority => (
            "Roster, Blueprint or guardrails changed after the vote; a loosened rule holds for later incidents only.",
            "Nothing: the next epoch votes under what is in force now.",
        ),
        Rule::Ledger => (
            "Each plan names the ledger, which must be the one that the newest plan named with entries added, or one that a person vouched for.",
            "A ledger that was lost, replaced or shortened: `kubectl assent ledger status`, then a backup, or `kubectl assent ledger accept`.",
        ),
        Rule::Revert => ("A revert is owed once, while the target is as the action left it.", "If somebody mended the target meanwhile, their change stays."),
        Rule::GateConfiguration => ("What the gate is built on was changed.", "`kubectl assent check` says what; people restore it."),
        Rule::Unavailable => ("What decides could not be read, and no verdict is no action.", "Nothing, if it passes; else look at the gate's log."),
        Rule::Request => ("The request is malformed or too large.", "A client that is not ours."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_listed_once() {
        let mut codes: Vec<String> = ALL.iter().map(|rule| rule.code()).collect();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), ALL.len());
    }
}
