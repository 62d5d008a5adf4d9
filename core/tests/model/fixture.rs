//! What a state of the model is, as the gate reads it.

use std::sync::LazyLock;

use assent_core::action::{Action, Inverse, Scale};
use assent_core::ballot::{
    Ballot, CastBallot, CauseVote, Evidence, EvidenceClass, Hypothesis, Opinion, Principal, Proposal, RemedyVote, Stance, StanceVerdict,
};
use assent_core::blueprint::{Effective, effective, read};
use assent_core::breaker::{History, Operation, Settings};
use assent_core::canonical::Digest;
use assent_core::consensus::{Roster, Seat, TallyConfiguration, shipped_principals};
use assent_core::ids::{Domain, IncidentUid, Millionths, UnixMillis};
use assent_core::ledger::{Frontier, Position, of_leaves, prove};
use assent_core::plan::{BlueprintFacts, BlueprintPin, LedgerPin, Plan};
use assent_core::proof::{FIELD_MANAGER, Facts, WriteRequest};
use assent_core::target::Target;
use serde_json::{Value, json};

use super::{Stand, State, Word};

/// A Blueprint that allows every action.
static ALLOWED: LazyLock<Effective> = LazyLock::new(|| {
    let spec = json!({
        "target": {"kind": "Deployment", "name": "orders"}, "mode": "autonomous",
        "actions": assent_core::action::NAMES.map(|name| json!({"name": name})), "limits": {"minReplicas": 1, "maxReplicas": 5},
    });
    effective(&[], &read(&spec).into_result().unwrap())
});

/// How an executor's hand is: as it should be, after another object or value, or with something beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    Steady,
    Other,
    Beside,
}

/// The honest seats, and the one that may lie.
const SEATS: [(&str, Domain, Principal); 4] = [
    ("compute", Domain::Compute, Principal::Kubelet),
    ("database", Domain::Database, Principal::Sidecar),
    ("change", Domain::Application, Principal::ApiServer),
    ("network", Domain::Network, Principal::Sidecar),
];
const LIAR: usize = 3;
const VOTED: UnixMillis = UnixMillis(1_000_000);
pub(crate) const PLANNED: UnixMillis = UnixMillis(1_010_000);
const WRITTEN: UnixMillis = UnixMillis(1_020_000);

fn incident() -> IncidentUid {
    IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap()
}

fn roster() -> Roster {
    let seat = |(name, domain, _): &(&str, Domain, Principal)| Seat {
        name: (*name).into(),
        domain: *domain,
        account: format!("assent-seat-{name}"),
        principals: shipped_principals(*domain),
    };
    Roster {
        seats: SEATS.iter().map(seat).collect(),
        quorum: 3,
        supporters: 2,
        tally: TallyConfiguration::shipped(),
        trust_roots: String::new(),
        gate: Digest::of_bytes(b"gate"),
        ledger: None,
    }
}

fn workload(name: &str, generation: i64, replicas: u32, label: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": "shop", "name": name, "uid": name, "generation": generation, "resourceVersion": generation.to_string()},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": label}}}}
    })
}

/// What would help, and what a liar would rather do.
fn proposal(right: bool) -> Proposal {
    let target = Target::of(&workload(if right { "orders" } else { "web" }, 1, 2, "a")).unwrap();
    Proposal { action: Action::ScaleWorkload(Scale { replicas: 3 }), target }
}

fn evidence(principal: Principal) -> Vec<Evidence> {
    let digest = Digest::of_bytes(b"figures");
    vec![Evidence { class: EvidenceClass::Requests, principal, digest, from: UnixMillis(1), to: UnixMillis(2), summary: String::new() }]
}

fn cast(seat: usize, epoch: u32, created_at: UnixMillis, opinion: Opinion) -> CastBallot {
    let ballot = Ballot {
        cluster: "cluster".into(),
        incident: incident(),
        seat: SEATS[seat].0.into(),
        epoch,
        issued_at: created_at,
        expires_after_ms: 600_000,
        context: Digest::of_bytes(b"context"),
        roster: roster().digest().unwrap(),
        rules: "1".into(),
        opinion,
    };
    CastBallot { digest: Digest::of(&ballot).unwrap(), created_at, ballot }
}

fn cause(seat: usize, blames: Option<bool>) -> CastBallot {
    let principal = SEATS[seat].2;
    let hypothesis = |right: bool| Hypothesis {
        service: proposal(right).target.service(),
        domain: Domain::Compute,
        fault: "overload".into(),
        probability: Millionths::new(if right { 850_000 } else { 1_000_000 }),
        evidence: evidence(principal),
        path: vec![],
        remedies: vec![proposal(right)],
    };
    let vote = CauseVote { hypotheses: blames.map(hypothesis).into_iter().collect(), healthy: evidence(principal), edges: vec![] };
    cast(seat, 1, VOTED, Opinion::Cause(vote))
}

fn remedy(seat: usize, created_at: UnixMillis, causes: &[CastBallot], verdict: [StanceVerdict; 2]) -> CastBallot {
    let stance = |(right, verdict)| Stance { proposal: proposal(right).digest().unwrap(), verdict, reason: String::new(), evidence: evidence(SEATS[seat].2) };
    let stances = [true, false].into_iter().zip(verdict).map(stance).collect();
    cast(seat, 1, created_at, Opinion::Remedy(RemedyVote { causes: causes.iter().map(|cast| cast.digest.clone()).collect(), stances }))
}

/// The ballots that are stored; the compute seat sees the trouble, and the change seat where it is `sure`.
fn ballots(state: &State, sure: bool) -> Vec<CastBallot> {
    use StanceVerdict::{NoObjection, Support, Veto};
    let sees = |seat: usize| seat == 0 || (sure && seat == 2);
    let mut causes: Vec<(usize, CastBallot)> =
        (0..3).filter(|seat| state.causes & (1 << seat) != 0).map(|seat| (seat, cause(seat, sees(seat).then_some(true)))).collect();
    match state.lie {
        Word::Nothing => {}
        Word::Truth => causes.push((LIAR, cause(LIAR, Some(true)))),
        Word::Lie => causes.push((LIAR, cause(LIAR, Some(false)))),
        Word::Veto => causes.push((LIAR, cause(LIAR, None))),
    }
    let shown: Vec<CastBallot> = causes.iter().filter(|(seat, _)| state.shown.unwrap_or(0) & (1 << seat) != 0).map(|(_, cast)| cast.clone()).collect();
    // What was not there when the plan was stored came after it.
    let (then, stance_then) = state.planned.unwrap_or((state.remedies, state.stance));
    let at = |before: bool| if before { VOTED } else { WRITTEN };
    let mut all: Vec<CastBallot> = causes.into_iter().map(|(_, cast)| cast).collect();
    for seat in (0..3).filter(|seat| state.remedies & (1 << seat) != 0) {
        // A seat supports what it argued for in the ballot that it is shown.
        let held = sees(seat) && shown.iter().any(|cast| cast.ballot.seat == SEATS[seat].0);
        all.push(remedy(seat, at(then & (1 << seat) != 0), &shown, [if held { Support } else { NoObjection }, NoObjection]));
    }
    let stance_at = at(stance_then == state.stance);
    match state.stance {
        Word::Nothing => {}
        Word::Truth => all.push(remedy(LIAR, stance_at, &shown, [Support, NoObjection])),
        Word::Lie => all.push(remedy(LIAR, stance_at, &shown, [Support, Support])),
        Word::Veto => all.push(remedy(LIAR, stance_at, &shown, [Veto, Veto])),
    }
    if state.later {
        all.push(cast(LIAR, 2, at(state.planned.is_none()), Opinion::Abstain { round: assent_core::ballot::Round::Cause, reason: "again".into() }));
    }
    all
}

fn target(state: &State) -> Value {
    match state.stand {
        Stand::Judged => workload("orders", 1, 2, "a"),
        Stand::Written => workload("orders", 2, 3, "a"),
        Stand::Restored => workload("orders", 3, 2, "a"),
        Stand::Edited => workload("orders", 4, 3, "by hand"),
    }
}

pub(crate) fn facts(state: &State, sure: bool) -> Facts {
    // A plan carries the ballots of its time, whatever was cast since.
    let then = state.planned.map(|(remedies, stance)| State { remedies, stance, later: false, planned: None, ..state.clone() });
    let plans: Vec<(Plan, UnixMillis)> = then.map(|then| (plan(&then, sure, Hand::Steady), PLANNED)).into_iter().collect();
    // A plan enters as soon as it is stored: that nothing is written before is a rule of its own, with its own cases.
    let entered: Vec<String> = plans.iter().map(|(plan, _)| plan.name().unwrap()).collect();
    let operations = plans.iter().zip(&entered).map(|((plan, at), name)| Operation::of(name.clone(), plan, *at, None)).collect();
    let now = if state.expired { PLANNED.plus(100_000) } else { PLANNED };
    Facts {
        cluster: "cluster".into(),
        now,
        own_clock: now,
        roster: Ok(roster()),
        ballots: Ok(ballots(state, sure)),
        ledger: plans.first().map_or_else(Position::start, |(plan, _)| plan.ledger.position()),
        plans,
        paused: state.paused.then(|| "people said so".into()),
        blueprint: Some(BlueprintFacts {
            pin: BlueprintPin { name: "orders".into(), uid: "b".into(), generation: 1 },
            effective: ALLOWED.clone(),
            changed_at: UnixMillis(0),
        }),
        guardrails: Digest::of_bytes(b"guardrails"),
        rules_changed_at: None,
        guardrail_denial: None,
        target: Some(target(state)),
        pod: None,
        configurations: vec![],
        approvals: vec![],
        history: History { operations, ..History::default() },
        breaker: Settings::default(),
        entered,
    }
}

fn ledger() -> LedgerPin {
    let leaves = [Digest::of_bytes(b"intent")];
    let mut frontier = Frontier::default();
    frontier.append(leaves[0].clone());
    LedgerPin { era: 0, head: frontier.head(), proof: prove(0, 1, |subtree| of_leaves(&leaves, subtree)).unwrap() }
}

pub(crate) fn plan(state: &State, sure: bool, hand: Hand) -> Plan {
    let mut counted: Vec<Digest> = ballots(state, sure).into_iter().map(|cast| cast.digest).collect();
    counted.sort_unstable();
    if hand == Hand::Beside {
        // As if one of them had never been cast.
        counted.pop();
    }
    Plan {
        cluster: "cluster".into(),
        incident: incident(),
        epoch: 1,
        proposal: proposal(hand != Hand::Other),
        inverse: Inverse::Replicas { replicas: 2 },
        canary: None,
        ballots: counted,
        roster: roster().digest().unwrap(),
        guardrails: Digest::of_bytes(b"guardrails"),
        blueprint: BlueprintPin { name: "orders".into(), uid: "b".into(), generation: 1 },
        ledger: ledger(),
        soak_ms: 1_000,
        expires_after_ms: 60_000,
        revert_within_ms: 600_000,
    }
}

/// The voted write or its inverse, on the object as it is now.
pub(crate) fn write(state: &State, hand: Hand, back: bool) -> WriteRequest {
    let object = target(state);
    let mut old = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": object["metadata"], "spec": {"replicas": object["spec"]["replicas"]}});
    old["metadata"].as_object_mut().unwrap().remove("generation");
    let mut new = old.clone();
    new["spec"]["replicas"] = json!(match (back, hand) {
        (_, Hand::Other) => 5,
        (true, _) => 2,
        (false, _) => 3,
    });
    if hand == Hand::Beside {
        new["metadata"]["ownerReferences"] = json!([{"uid": "absent"}]);
    }
    WriteRequest {
        incidents: vec![incident().to_string()],
        group: "apps".into(),
        version: "v1".into(),
        resource: "deployments".into(),
        subresource: "scale".into(),
        operation: "UPDATE".into(),
        namespace: "shop".into(),
        name: "orders".into(),
        dry_run: false,
        field_manager: FIELD_MANAGER.into(),
        old,
        new,
    }
}
