//! A plan at its creation.

use super::fixture::{Fixture, PLANNED, VOTED, abstain, blueprint, evidence, ledger_of, other_incident, pin, recast, roster};
use super::*;
use crate::action::Inverse;
use crate::ballot::{Hypothesis, Opinion, Principal, Round, StanceVerdict};
use crate::ids::{Domain, Millionths};
use crate::incident::Mode;
use crate::ledger::{Checkpoint, Head, Proof};
use crate::plan::LedgerPin;
use crate::target::Service;

/// Judges the plan of a scale after both were spoiled.
fn judge(spoil: impl Fn(&mut Facts, &mut Plan)) -> Result<(), Refusal> {
    judge_of(Fixture::scale(), spoil)
}

fn judge_of(fixture: Fixture, spoil: impl Fn(&mut Facts, &mut Plan)) -> Result<(), Refusal> {
    let (mut facts, mut plan) = (fixture.facts(), fixture.plan());
    spoil(&mut facts, &mut plan);
    judge_plan(&facts, &plan)
}

/// Judges an honest plan after the votes were spoiled.
fn judge_votes(spoil: impl Fn(&mut Fixture)) -> Result<(), Refusal> {
    let mut fixture = Fixture::scale();
    spoil(&mut fixture);
    judge_of(fixture, |_, _| {})
}

#[test]
fn what_a_quorum_voted_for_is_admitted() {
    for fixture in Fixture::all() {
        assert_eq!(judge_of(fixture, |_, _| {}), Ok(()));
    }
}

#[test]
fn a_plan_has_bounds() {
    assert_eq!(judge(|_, plan| plan.expires_after_ms = MAX_EXPIRY_MS), Ok(()));
    refused(judge(|_, plan| plan.expires_after_ms = MAX_EXPIRY_MS + 1), Rule::Expired);
    refused(judge(|_, plan| plan.expires_after_ms = 0), Rule::Expired);
    refused(judge(|_, plan| plan.revert_within_ms = MAX_REVERT_MS + 1), Rule::Expired);
    refused(judge(|_, plan| plan.revert_within_ms = 0), Rule::Expired);
}

#[test]
fn a_plan_is_for_this_cluster_and_this_clock() {
    refused(judge(|_, plan| plan.cluster = "other".into()), Rule::Cluster);
    refused(judge(|facts, _| facts.own_clock = facts.now.plus(MAX_SKEW_MS + 1)), Rule::Clock);
    refused(judge(|facts, _| facts.own_clock = facts.now.plus(-MAX_SKEW_MS - 1)), Rule::Clock);
    assert_eq!(judge(|facts, _| facts.own_clock = facts.now.plus(MAX_SKEW_MS)), Ok(()));
}

#[test]
fn without_roster_or_ballots_there_is_no_verdict() {
    refused(judge(|facts, _| facts.roster = Err("none".into())), Rule::NoRoster);
    refused(judge(|facts, _| facts.ballots = Err(Refusal::new(Rule::BallotIdentity, "forged", "its seat's own"))), Rule::BallotIdentity);
    refused(judge(|facts, _| facts.ballots = Ok(vec![])), Rule::Quorum);
}

#[test]
fn authority_is_read_live() {
    refused(judge(|facts, _| facts.paused = Some("lunch".into())), Rule::Paused);
    refused(judge(|facts, _| facts.blueprint = None), Rule::Blueprint);
    refused(judge(|facts, _| facts.guardrail_denial = Some(Refusal::new(Rule::Guardrail, "no", "yes"))), Rule::Guardrail);
    let limit = |change: fn(&mut BlueprintFacts)| move |facts: &mut Facts, _: &mut Plan| facts.blueprint.iter_mut().for_each(change);
    refused(judge(limit(|b| b.effective.service.rules.mode = Mode::Approve)), Rule::Approval);
    refused(judge(limit(|b| b.effective.service.rules.mode = Mode::Observe)), Rule::Blueprint);
    refused(judge(limit(|b| b.effective.service.rules.operations.allowed.retain(|name| name != "ScaleWorkload"))), Rule::Blueprint);
    refused(judge(limit(|b| b.effective.service.rules.limits.max_replicas = Some(2))), Rule::Blueprint);
    refused(judge(limit(|b| b.effective.service.rules.limits.max_replicas = None)), Rule::Blueprint);
    refused(judge(limit(|b| b.effective.service.rules.limits.min_replicas = Some(4))), Rule::Blueprint);
    refused(judge(limit(|b| b.changed_at = VOTED.plus(1))), Rule::Authority);
    assert_eq!(judge(limit(|b| b.changed_at = VOTED)), Ok(()));
    refused(judge(|facts, _| facts.rules_changed_at = Some(VOTED.plus(1))), Rule::Authority);
    assert_eq!(judge(|facts, _| facts.rules_changed_at = Some(VOTED)), Ok(()));
}

#[test]
fn a_plan_names_the_authority_that_it_was_made_under() {
    refused(judge(|_, plan| plan.roster = Digest::of_bytes(b"other")), Rule::Authority);
    refused(judge(|facts, _| facts.guardrails = Digest::of_bytes(b"other")), Rule::Authority);
    refused(judge(|_, plan| plan.blueprint.generation = 2), Rule::Authority);
    refused(judge(|_, plan| plan.blueprint.uid = "other".into()), Rule::Authority);
}

#[test]
fn system_namespaces_are_never_targets() {
    for namespace in ["assent-system", "kube-system", "kube-anything"] {
        refused(judge(|_, plan| plan.proposal.target.namespace = namespace.into()), Rule::ForbiddenTarget);
    }
    // Nor is what the action does not model, even as it was judged.
    let mut owned = Fixture::scale();
    owned.target["metadata"]["ownerReferences"] = json!([{"kind": "Rollout"}]);
    refused(judge_plan(&owned.facts(), &Fixture::scale().plan()), Rule::ForbiddenTarget);
}

#[test]
fn the_ballots_are_of_this_vote_and_fresh() {
    refused(judge_votes(|f| f.spoil("database", |b| b.cluster = "other".into())), Rule::Cluster);
    refused(judge_votes(|f| f.spoil("database", |b| b.incident = other_incident())), Rule::Incident);
    refused(judge_votes(|f| f.spoil("database", |b| b.context = Digest::of_bytes(b"other"))), Rule::Incident);
    refused(judge_votes(|f| f.spoil("database", |b| b.roster = Digest::of_bytes(b"other"))), Rule::Authority);
    refused(judge_votes(|f| f.spoil("database", |b| b.expires_after_ms = 1)), Rule::Expired);
    refused(judge(|_, plan| plan.epoch = 0), Rule::Epoch);
    refused(judge(|_, plan| plan.epoch = crate::consensus::MAX_EPOCHS + 1), Rule::Epoch);
    // The seats have voted again since.
    refused(
        judge(|facts, _| {
            for cast in facts.ballots.iter_mut().flatten().take(1) {
                cast.ballot.epoch = 2;
            }
        }),
        Rule::Epoch,
    );
}

#[test]
fn the_tally_is_run_again() {
    let silence = |seats: &'static [&str]| {
        move |f: &mut Fixture| {
            for seat in seats {
                f.spoil(seat, |b| b.opinion = abstain(b.round()));
            }
            informed(f);
        }
    };
    assert_eq!(judge_votes(silence(&["database"])), Ok(()));
    refused(judge_votes(silence(&["database", "compute"])), Rule::Quorum);
    refused(judge_votes(silence(&["network"])), Rule::Support);
    let veto = |f: &mut Fixture| {
        f.spoil("database", |b| {
            if let Opinion::Remedy(vote) = &mut b.opinion {
                vote.stances[0].verdict = StanceVerdict::Veto
            }
        })
    };
    refused(judge_votes(veto), Rule::Veto);
    let unsure = |f: &mut Fixture| {
        for seat in ["network", "change"] {
            f.spoil(seat, |b| {
                if let Opinion::Cause(vote) = &mut b.opinion {
                    vote.hypotheses[0].probability = Millionths::new(500_000)
                }
            });
        }
        // A rival that the margin does not leave behind.
        f.spoil("compute", |b| {
            if let Opinion::Cause(vote) = &mut b.opinion {
                vote.hypotheses = vec![suspicion()]
            }
        });
        informed(f);
    };
    refused(judge_votes(unsure), Rule::Confidence);
    let sidecars_only = |f: &mut Fixture| {
        f.spoil("change", |b| match &mut b.opinion {
            Opinion::Cause(vote) => vote.hypotheses[0].evidence[0].principal = Principal::Sidecar,
            Opinion::Remedy(vote) => vote.stances[0].evidence[0].principal = Principal::Sidecar,
            Opinion::Abstain { .. } => {}
        });
        informed(f);
    };
    refused(judge_votes(sidecars_only), Rule::Principals);
}

/// What the compute seat might hold instead.
fn suspicion() -> Hypothesis {
    Hypothesis {
        service: Service { namespace: "shop".into(), name: "orders".into() },
        domain: Domain::Compute,
        fault: "cpu-saturation".into(),
        probability: Millionths::new(700_000),
        evidence: vec![evidence(Principal::Kubelet)],
        path: vec![],
        remedies: vec![],
    }
}

/// The seats judge the remedies on the cause ballots as they now are.
fn informed(fixture: &mut Fixture) {
    let mut causes: Vec<Digest> = fixture.ballots.iter().filter(|c| c.ballot.round() == Round::Cause).map(|c| c.digest.clone()).collect();
    causes.sort_unstable();
    for (seat, ..) in super::fixture::SEATS {
        fixture.spoil(seat, |b| {
            if let Opinion::Remedy(vote) = &mut b.opinion {
                vote.causes.clone_from(&causes)
            }
        });
    }
}

#[test]
fn a_plan_is_what_the_tally_chose_and_names_all_it_counted() {
    let other = Fixture::of(crate::action::Action::ScaleWorkload(crate::action::Scale { replicas: 4 })).proposal;
    refused(judge(|_, plan| plan.proposal.clone_from(&other)), Rule::Tally);
    refused(judge(|_, plan| drop(plan.ballots.pop())), Rule::Tally);
    refused(judge(|_, plan| plan.ballots.reverse()), Rule::Tally);
    // A copy changes nothing; a second, different ballot voids its seat.
    assert_eq!(
        judge(|facts, _| for all in facts.ballots.iter_mut() {
            let copy = all[0].clone();
            all.push(copy);
        }),
        Ok(())
    );
    let contradicts = |f: &mut Fixture| {
        let mut second = f.ballots[0].ballot.clone();
        second.rules = "other".into();
        f.ballots.push(recast(second, VOTED));
    };
    refused(judge_votes(contradicts), Rule::Support);
}

#[test]
fn the_target_is_as_the_seats_judged_it() {
    refused(judge(|facts, _| facts.target = None), Rule::Stale);
    for (pointer, value) in [("/metadata/generation", json!(5)), ("/metadata/uid", json!("v")), ("/spec/replicas", json!(4))] {
        refused(judge(|facts, _| *facts.target.as_mut().unwrap().pointer_mut(pointer).unwrap() = value.clone()), Rule::Stale);
    }
    // What controllers write beside the specification does not make it another target.
    assert_eq!(judge(|facts, _| facts.target.as_mut().unwrap()["status"] = json!({"replicas": 1})), Ok(()));
}

#[test]
fn the_inverse_restores_the_target_as_it_is() {
    refused(judge(|_, plan| plan.inverse = Inverse::Replicas { replicas: 1 }), Rule::Revert);
    refused(judge(|_, plan| plan.inverse = Inverse::Empty), Rule::Revert);
}

#[test]
fn the_ledger_extends_the_last_admitted_head() {
    let leaves = ledger_of(5000);
    let last = |facts: &mut Facts| facts.ledger = pin(0, &leaves[..3], 0).position();
    refused(judge(|facts, _| last(facts)), Rule::Ledger);
    refused(judge(|_, plan| plan.ledger.proof = Proof::default()), Rule::Ledger);
    refused(judge(|_, plan| plan.ledger.head.sequence += 1), Rule::Ledger);
    refused(judge(|_, plan| plan.ledger.era = 1), Rule::Ledger);
    // However many entries lie between.
    let extended = |leaves: &[Digest]| {
        let pin = pin(0, leaves, 3);
        judge(|facts, plan| {
            last(facts);
            plan.ledger = pin.clone();
        })
    };
    assert_eq!(extended(&leaves), Ok(()));
    // A longer one with another past.
    let mut rewritten = leaves.clone();
    rewritten[1] = Digest::of_bytes(b"another past");
    refused(extended(&rewritten), Rule::Ledger);
}

#[test]
fn a_checkpoint_by_people_holds_for_the_moment_that_it_was_made_for() {
    let (lost, begun) = (pin(0, &ledger_of(5000), 0), pin(1, &ledger_of(2), 0));
    let checkpoint = Checkpoint::new(&lost.position(), begun.head).unwrap();
    let next = pin(1, &ledger_of(4), 2);
    let judge_under = |newest: &LedgerPin, checkpoint: Option<&Checkpoint>, next: &LedgerPin| {
        judge(|facts, plan| {
            facts.ledger = newest.position();
            let mut roster = roster();
            roster.ledger = checkpoint.cloned();
            // A changed roster voids the votes under the one before: these are cast under the new one.
            plan.roster = roster.digest().unwrap();
            for cast in facts.ballots.iter_mut().flatten() {
                cast.ballot.roster = plan.roster.clone();
            }
            facts.roster = Ok(roster);
            plan.ledger = next.clone();
        })
    };
    refused(judge_under(&lost, None, &next), Rule::Ledger);
    assert_eq!(judge_under(&lost, Some(&checkpoint), &next), Ok(()));
    // The plan says which era it is in, and extends exactly what people vouch for.
    refused(judge_under(&lost, Some(&checkpoint), &LedgerPin { era: 0, ..next.clone() }), Rule::Ledger);
    refused(judge_under(&lost, Some(&checkpoint), &pin(1, &ledger_of(4), 1)), Rule::Ledger);
    // It supersedes that head and no other, of that era and no other.
    let other = Checkpoint { supersedes: Head { sequence: 4999, ..lost.head.clone() }, ..checkpoint.clone() };
    refused(judge_under(&lost, Some(&other), &next), Rule::Ledger);
    refused(judge_under(&LedgerPin { era: 1, ..lost.clone() }, Some(&checkpoint), &next), Rule::Ledger);
    // Once a plan was admitted under it, what came later cannot be hidden by the same checkpoint; nor by none.
    let (rewritten, honest) = (pin(1, &[ledger_of(2), vec![Digest::of_bytes(b"another")]].concat(), 2), pin(1, &ledger_of(6), 4));
    for used in [Some(&checkpoint), None] {
        refused(judge_under(&next, used, &rewritten), Rule::Ledger);
        assert_eq!(judge_under(&next, used, &honest), Ok(()));
    }
    // Not even when the superseded head is reached again.
    let returned = LedgerPin { era: 1, ..lost };
    refused(judge_under(&returned, Some(&checkpoint), &pin(2, &ledger_of(4), 2)), Rule::Ledger);
}

#[test]
fn the_fixture_is_what_it_says() {
    assert!(PLANNED > VOTED && blueprint().changed_at < VOTED);
    assert_eq!(roster().seats.len(), 4);
}
