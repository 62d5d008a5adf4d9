//! Four faults of the shop through all seats and the tally: three are repaired, one is left to people.

use super::change::cases::rolled_out;
use super::testing::*;
use super::{Asked, Seat, change, network};
use crate::action::Action;
use crate::ballot::CastBallot;
use crate::consensus::{Outcome, Verdict, tally};
use crate::ids::UnixMillis;
use crate::incident::Context;
use crate::refusal::Rule;

const FAILING: Beat = Beat { requests: 40, errors: 24, unanswered: 0, mean_us: 8_000 };
const SILENT: Beat = Beat { requests: 12, errors: 0, unanswered: 12, mean_us: 0 };
const LATE: Beat = Beat { requests: 60, errors: 0, unanswered: 20, mean_us: 900_000 };

/// Both rounds and the count.
fn deliberate(seats: &[(&dyn Seat, UnixMillis)], context: &Context) -> (Outcome, Vec<CastBallot>) {
    let causes: Vec<CastBallot> = seats.iter().map(|(seat, now)| first(*seat, context, *now)).collect();
    let mut all = causes.clone();
    all.extend(seats.iter().map(|(seat, now)| second(*seat, context, *now, &causes)));
    (tally(&roster(), &all), all)
}

/// A change view in which orders was rolled out long ago, and the one of its cases shifted so that the rollout falls on the
/// onset.
fn changed(recently: bool) -> (change::View, i64) {
    let (view, rollout) = rolled_out();
    // The cases of the network seat begin at the same moment; the rollout stands 60 s later.
    let shift = at(ONSET).since(rollout) - 6_000;
    (view, if recently { shift } else { shift - 3_600_000 })
}

struct Case {
    mesh: (network::View, UnixMillis),
    /// Whether the Blueprint lists EvictPod.
    evicts: bool,
    pods: Vec<(&'static str, i64, i64)>,
    calls: Vec<(&'static str, &'static str, Asks)>,
    rolled_out: bool,
}

fn run(case: &Case) -> Outcome {
    let (mut compute, compute_now) = compute(&case.pods);
    compute.evicts(&service("orders"), case.evicts);
    let (database, database_now) = database(&case.calls);
    let (change, shift) = changed(case.rolled_out);
    let alert = context("orders", at(ONSET));
    // The change view has a clock of its own: shifting the context for it is shifting its past.
    let shifted = Shifted { seat: &change, shift };
    let seats: [(&dyn Seat, UnixMillis); 4] = [(&case.mesh.0, case.mesh.1), (&compute, compute_now), (&database, database_now), (&shifted, case.mesh.1)];
    deliberate(&seats, &alert).0
}

/// A seat whose past is moved by `shift` milliseconds.
struct Shifted<'a> {
    seat: &'a change::View,
    shift: i64,
}

impl Shifted<'_> {
    fn context(&self, context: &Context) -> Context {
        Context { since: context.since.plus(-self.shift), ..context.clone() }
    }

    fn back(&self, evidence: &mut [crate::ballot::Evidence]) {
        for item in evidence {
            (item.from, item.to) = (item.from.plus(self.shift), item.to.plus(self.shift));
        }
    }
}

impl Seat for Shifted<'_> {
    fn entry(&self) -> super::Entry {
        self.seat.entry()
    }

    fn informed(&self, _: &Asked<'_>) -> bool {
        true
    }

    fn cause(&self, asked: &Asked<'_>) -> crate::ballot::Opinion {
        let mut opinion = self.seat.cause(&Asked { context: &self.context(asked.context), now: asked.now.plus(-self.shift), ..*asked });
        if let crate::ballot::Opinion::Cause(vote) = &mut opinion {
            vote.hypotheses.iter_mut().for_each(|hypothesis| self.back(&mut hypothesis.evidence));
        }
        opinion
    }

    fn stance(&self, asked: &Asked<'_>, put: &super::Put<'_>) -> super::Position {
        self.seat.stance(&Asked { context: &self.context(asked.context), now: asked.now.plus(-self.shift), ..*asked }, put)
    }

    fn blind(&self, asked: &Asked<'_>) -> Option<String> {
        self.seat.blind(asked)
    }

    fn incident_began(&mut self, _: UnixMillis) {}

    fn tick(&mut self, _: UnixMillis) {}
}

fn acts(outcome: &Outcome) -> (&'static str, Vec<String>) {
    match &outcome.verdict {
        Verdict::Act { proposal, supporters } => {
            assert_eq!(proposal.target, target("orders"));
            (proposal.action.name(), supporters.clone())
        }
        Verdict::Hold { rule, reason } => panic!("{rule:?}: {reason}\n{:#?}", outcome.causes),
    }
}

#[test]
fn a_bad_rollout_is_rolled_back() {
    let outcome = run(&Case {
        mesh: network(&vec![(FAILING, FAILING, CHATTY); 4]),
        pods: vec![("orders", 80, 80), ("storefront", 40, 40), ("postgres", 30, 30)],
        calls: vec![("orders", "postgres", ANSWERED), ("storefront", "redis", ANSWERED)],
        rolled_out: true,
        evicts: false,
    });
    assert_eq!(acts(&outcome), ("RollbackWorkload", vec!["change".into(), "network".into()]));
    assert_eq!(outcome.voted.cause.len(), 4);
}

#[test]
fn a_stalled_process_is_restarted() {
    let outcome = run(&Case {
        mesh: network(&vec![(FAILING, SILENT, network::Link { sent: 0, received: 0, ..CHATTY }); 4]),
        pods: vec![("orders", 110, 1), ("storefront", 40, 30), ("postgres", 30, 10)],
        calls: vec![("orders", "postgres", Asks { exchanges: 0, stalled: 0, mean_us: 0 }), ("storefront", "redis", ANSWERED)],
        rolled_out: false,
        evicts: false,
    });
    assert_eq!(acts(&outcome), ("RestartWorkload", vec!["compute".into(), "network".into()]));
}

/// One pod of two stops answering, and the other one takes over what it did: processor use alone cannot tell that from callers that
/// moved, and what its own sidecar saw can. A word of the kubelets alone evicts nobody.
#[test]
fn one_pod_that_ignores_its_callers_is_evicted_and_one_that_nobody_calls_is_not() {
    let case = |ignores: bool| {
        let mut view = network::View::new(settings());
        let told = |view: &mut network::View, window, name: &str, beat| {
            let requests = vec![network::Requests { identified: true, inbound: true, peer: Some(service("storefront")), counts: counts(beat) }];
            let observation =
                network::Observation { speaker: service("orders"), pod: pod(name), start: at(window), length_ms: 2_000, requests, connections: vec![] };
            view.observe(&observation, at(window + 1));
        };
        for window in 0..ONSET + 6 {
            let ill = window >= ONSET;
            let beat = if ignores { Beat { requests: 2, errors: 0, unanswered: 2, mean_us: 0 } } else { Beat { requests: 0, ..USUAL } };
            told(&mut view, window, "orders", if ill { beat } else { USUAL });
            told(&mut view, window, "orders/b", if ill { Beat { requests: 78, ..USUAL } } else { USUAL });
        }
        run(&Case {
            mesh: (view, at(ONSET + 6).plus(1_000)),
            evicts: true,
            pods: vec![("orders", 60, 1), ("orders/b", 60, 118), ("storefront", 40, 40), ("postgres", 30, 30)],
            calls: vec![("orders", "postgres", ANSWERED), ("storefront", "redis", ANSWERED)],
            rolled_out: false,
        })
    };
    let outcome = case(true);
    assert_eq!(acts(&outcome), ("EvictPod", vec!["compute".into(), "network".into()]));
    let Verdict::Act { proposal, .. } = outcome.verdict else { panic!() };
    assert_eq!(proposal.action, Action::EvictPod(crate::action::Evict { pod: "orders".into(), uid: "orders".into() }));
    assert!(matches!(case(false).verdict, Verdict::Hold { rule: Rule::Support, .. }));
}

#[test]
fn saturation_is_scaled_away() {
    let outcome = run(&Case {
        mesh: network(&vec![(LATE, LATE, CHATTY); 4]),
        pods: vec![("orders", 110, 149), ("storefront", 40, 60), ("postgres", 30, 50)],
        calls: vec![("orders", "postgres", Asks { exchanges: 90, stalled: 0, mean_us: 4_000 }), ("storefront", "redis", ANSWERED)],
        rolled_out: false,
        evicts: false,
    });
    assert_eq!(acts(&outcome), ("ScaleWorkload", vec!["compute".into(), "network".into()]));
    let Verdict::Act { proposal, .. } = outcome.verdict else { panic!() };
    assert!(matches!(proposal.action, Action::ScaleWorkload(scale) if scale.replicas == 2));
}

/// The database hangs: orders waits, whether its pool goes on asking or not, and whether its own use vanishes or not.
#[test]
fn a_frozen_database_is_left_to_people() {
    let waiting = Asks { exchanges: 0, stalled: 8, mean_us: 0 };
    for sent in [0, 900] {
        for orders_use in [30, 1] {
            let outcome = run(&Case {
                mesh: network(&vec![(FAILING, SILENT, network::Link { sent, received: 0, ..CHATTY }); 4]),
                pods: vec![("orders", 110, orders_use), ("storefront", 40, 30), ("postgres", 30, 0)],
                calls: vec![("orders", "postgres", waiting), ("storefront", "redis", ANSWERED)],
                rolled_out: false,
                evicts: false,
            });
            let Verdict::Hold { rule, reason } = &outcome.verdict else { panic!("{outcome:#?}") };
            assert!(matches!(rule, Rule::Support | Rule::Confidence | Rule::Veto), "{rule:?}: {reason}");
            let held: Vec<String> = outcome.causes.iter().map(|cause| format!("{} at {}", cause.domain, cause.service.name)).collect();
            assert!(held.contains(&"database at postgres".into()) && held.contains(&"application at orders".into()), "{held:?}");
        }
    }
}

/// An innocent rollout elsewhere does not draw the blame, and is not rolled back.
#[test]
fn an_innocent_rollout_is_not_rolled_back() {
    let outcome = run(&Case {
        mesh: network(&vec![(FAILING, USUAL, CHATTY); 4]),
        pods: vec![("orders", 80, 80), ("storefront", 40, 40), ("postgres", 30, 30)],
        calls: vec![("orders", "postgres", ANSWERED), ("storefront", "redis", ANSWERED)],
        rolled_out: true,
        evicts: false,
    });
    assert!(matches!(outcome.verdict, Verdict::Hold { .. }), "{outcome:#?}");
}
