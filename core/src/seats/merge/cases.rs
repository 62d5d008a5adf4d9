//! A store beside the view of the compute seat and of the network seat: alone, confirming, silent, late, poisoned.

use super::*;
use crate::action::{Action, Scale};
use crate::ballot::{EvidenceClass, Principal, Proposal, Round};
use crate::consensus::{Verdict, tally};
use crate::diagnosis::{Alert, Series};
use crate::ids::{Domain, Millionths, UnixMillis};
use crate::incident::Context;
use crate::refusal::Rule;
use crate::seats::testing::{self, START, context, said, service, target};
use crate::seats::{compute, network, opinion};

const STEP: i64 = 30;

fn asked(context: &Context) -> Asked<'_> {
    Asked { context, epoch: 1, now: START.plus(120_000) }
}

fn alert() -> Alert {
    Alert { at: START.0 / 1_000, step: STEP, entry: Some("storefront".into()), ..Alert::default() }
}

/// Twenty samples of `before`, then five of `after` from the onset on.
fn series(service: &str, metric: &str, before: f64, after: f64) -> Series {
    let at = START.0 / 1_000;
    let points = (-22..5).map(|step| (at + step * STEP, if step < 0 { before } else { after })).collect();
    Series { service: service.into(), metric: metric.into(), points }
}

fn busy(service: &str) -> Recording {
    Recording { alert: alert(), series: vec![series(service, "cpu_pct", 20.0, 97.0), series("redis", "cpu_pct", 20.0, 20.0)], ..Recording::default() }
}

fn seen(probability: u32) -> Hypothesis {
    let proposal = Proposal { action: Action::ScaleWorkload(Scale { replicas: 2 }), target: target("orders") };
    Hypothesis {
        service: service("orders"),
        domain: Domain::Compute,
        fault: "throttled".into(),
        probability: Millionths::new(probability),
        evidence: vec![figures(Principal::Kubelet)],
        path: vec![service("orders")],
        remedies: vec![proposal],
    }
}

fn figures(principal: Principal) -> Evidence {
    opinion::evidence((EvidenceClass::Resource, principal), &1, (START, START), "figures")
}

fn merged(live: Opinion, recording: Recording) -> Opinion {
    let context = context("storefront", START);
    let opinion = merge(&compute::ENTRY, &asked(&context), live, recording);
    testing::cast("compute", opinion).ballot.opinion
}

fn hypothesis(opinion: &Opinion) -> &Hypothesis {
    match opinion {
        Opinion::Cause(vote) => vote.hypotheses.first().unwrap(),
        other => panic!("no vote: {other:?}"),
    }
}

fn principals(hypothesis: &Hypothesis) -> Vec<Principal> {
    hypothesis.evidence.iter().map(|evidence| evidence.principal).collect()
}

/// The first hypothesis as `service fault`, and whether it is all but sure.
fn first(opinion: &Opinion) -> (String, bool) {
    let first = hypothesis(opinion);
    (format!("{} {}", first.service.name, first.fault), first.probability.get() > 900_000)
}

#[test]
fn without_figures_of_its_classes_the_view_speaks_as_ever() {
    let context = context("storefront", START);
    let others = Recording { alert: alert(), series: vec![series("orders", "db_connections", 1.0, 90.0)], ..Recording::default() };
    // Everything ends before the onset: a store that fell behind.
    let mut late = busy("orders");
    late.series.iter_mut().for_each(|series| series.points.retain(|(time, _)| *time < START.0 / 1_000 - 2 * STEP));
    let lives = [
        opinion::abstain(Round::Cause, "no data from the kubelet"),
        opinion::cause(vec![], vec![figures(Principal::Kubelet)], []),
        opinion::cause(vec![seen(300_000)], vec![], []),
    ];
    for live in lives {
        for recording in [Recording::default(), others.clone(), late.clone()] {
            assert_eq!(merge(&compute::ENTRY, &asked(&context), live.clone(), recording), live);
        }
    }
}

#[test]
fn a_store_alone_raises_a_suspicion_and_proposes_nothing() {
    let opinion = merged(opinion::abstain(Round::Cause, "no data from the kubelet"), busy("orders"));
    assert_eq!(first(&opinion), ("orders cpu-saturation".to_owned(), true));
    assert_eq!(principals(hypothesis(&opinion)), [Principal::MetricStore]);
    assert!(hypothesis(&opinion).remedies.is_empty());
}

#[test]
fn a_store_that_sees_nothing_does_not_make_a_blind_seat_see_health() {
    let calm = Recording { alert: alert(), series: vec![series("orders", "cpu_pct", 20.0, 20.0)], ..Recording::default() };
    assert_eq!(said(&merged(opinion::abstain(Round::Cause, "blind"), calm.clone())), ["abstains: blind"]);
    // Nor does it take a suspicion away.
    assert_eq!(said(&merged(opinion::cause(vec![seen(700_000)], vec![], []), calm)), ["orders compute throttled 70"]);
}

#[test]
fn what_both_hold_for_likely_stands_on_both() {
    let opinion = merged(opinion::cause(vec![seen(700_000)], vec![], []), busy("orders"));
    assert_eq!((said(&opinion).len(), first(&opinion)), (1, ("orders throttled".to_owned(), true)));
    assert_eq!(principals(hypothesis(&opinion)), [Principal::Kubelet, Principal::MetricStore]);
    assert_eq!(hypothesis(&opinion).remedies.len(), 1);
}

#[test]
fn a_store_does_not_borrow_the_figures_of_a_view_that_doubts() {
    let opinion = merged(opinion::cause(vec![seen(300_000)], vec![], []), busy("orders"));
    assert_eq!(principals(hypothesis(&opinion)), [Principal::MetricStore]);
}

#[test]
fn a_name_that_the_context_does_not_know_is_not_spoken_of() {
    for name in ["ghost", "orders; restart it", "shop/orders", ""] {
        assert_eq!(said(&merged(opinion::abstain(Round::Cause, "blind"), busy(name))), ["abstains: blind"], "{name}");
    }
}

#[test]
fn the_way_to_the_alert_follows_what_the_view_saw() {
    let context = context("storefront", START);
    let edge = Edge { caller: service("storefront"), callee: service("orders") };
    let live = opinion::cause(vec![], vec![figures(Principal::Sidecar)], [edge]);
    let mut recording = Recording { alert: alert(), ..Recording::default() };
    for (name, after) in [("storefront", 0.5), ("orders", 0.45)] {
        recording.series.push(series(name, "requests_sum", 100.0, 100.0));
        recording.series.push(series(name, "latency_mean", 0.05, after));
    }
    let opinion = merge(&network::ENTRY, &asked(&context), live, recording);
    let first = hypothesis(&opinion);
    assert_eq!((first.service.name.as_str(), first.domain), ("orders", Domain::Application), "{:?}", said(&opinion));
    assert_eq!(first.path, [service("orders"), service("storefront")]);
}

/// Two seats hold the same for the cause and the same for the remedy, on the word of `words`; may every seat go by any word.
fn verdict(words: &[Principal]) -> Verdict {
    let mut roster = testing::roster();
    let all = [Principal::Sidecar, Principal::Kubelet, Principal::ApiServer, Principal::MetricStore, Principal::Traces, Principal::LogStore];
    roster.seats.iter_mut().for_each(|seat| seat.principals = all.to_vec());
    let evidence = || words.iter().copied().map(figures).collect::<Vec<_>>();
    let holds = |seat: &str| testing::cast(seat, opinion::cause(vec![Hypothesis { evidence: evidence(), ..seen(950_000) }], vec![], []));
    let well = |seat: &str| testing::cast(seat, opinion::cause(vec![], vec![figures(Principal::Sidecar)], []));
    let mut ballots = vec![holds("network"), holds("compute"), well("database"), well("change")];
    let causes = ballots.clone();
    for seat in ["network", "compute", "database", "change"] {
        let supports = |_: &super::super::Put<'_>| super::super::Position::support("it helps", evidence());
        ballots.push(testing::cast(seat, opinion::stances(seat, &causes, supports)));
    }
    tally(&roster, &ballots).verdict
}

#[test]
fn whatever_comes_from_pods_is_one_voice_however_it_came() {
    use Principal::{ApiServer, Kubelet, LogStore, MetricStore, Sidecar, Traces};
    for words in [&[MetricStore][..], &[Sidecar, MetricStore], &[MetricStore, Traces, LogStore, Sidecar]] {
        assert!(matches!(verdict(words), Verdict::Hold { rule: Rule::Principals, .. }), "{words:?}: {:?}", verdict(words));
    }
    for words in [[MetricStore, Kubelet], [Traces, ApiServer]] {
        assert!(matches!(verdict(&words), Verdict::Act { .. }), "{words:?}: {:?}", verdict(&words));
    }
}

#[test]
fn more_than_fits_stays_within_a_ballot() {
    let mut context = context("storefront", START);
    let names: Vec<String> = (0..60).map(|n| format!("service-{n}")).collect();
    let workload = context.workloads.first().cloned().unwrap();
    context.workloads = names
        .iter()
        .map(|name| {
            let mut workload = workload.clone();
            workload.target.name.clone_from(name);
            workload
        })
        .collect();
    let series = names.iter().map(|name| series(name, "cpu_pct", 20.0, 97.0)).collect();
    let recording = Recording { alert: alert(), series, ..Recording::default() };
    let live = opinion::abstain(Round::Cause, "blind");
    let opinion = merge(&compute::ENTRY, &Asked { context: &context, epoch: 1, now: UnixMillis(START.0 + 1) }, live, recording);
    testing::cast("compute", opinion.clone());
    assert_eq!(said(&opinion).len(), MAX_ITEMS);
}
