//! Cases of the compute seat: limits, silence and failing containers, and what it says to each remedy.

use super::*;
use crate::action::{Action, Evict, Restart, Scale};
use crate::ballot::{Principal, Proposal, StanceVerdict};
use crate::seats::testing::{ONSET, at, bare_position, compute, context, said, service, target};

fn check(pods: &[(&str, i64, i64)], expected: &[&str]) {
    let (view, now) = compute(pods);
    let context = context("orders", at(ONSET));
    assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now })), expected);
}

#[test]
fn the_level_and_the_ratio_decide() {
    check(&[("orders", 80, 80)], &["healthy"]);
    check(&[("orders", 80, 148)], &["orders compute cpu-saturation 85"]);
    check(&[("orders", 80, 110)], &["healthy"]);
    // At the limit as ever: possible, not likely.
    check(&[("orders", 140, 145)], &["orders compute cpu-saturation 55"]);
    check(&[("orders", 80, 1)], &["orders application stalled 80"]);
    // Waiting for somebody else leaves the background work.
    check(&[("orders", 110, 30)], &["healthy"]);
    // Two that fall silent together.
    check(&[("orders", 80, 1), ("storefront", 40, 1)], &["orders application stalled 65", "storefront application stalled 65"]);
    // What keeps data may wait for a lock.
    check(&[("postgres", 80, 1)], &["postgres application stalled 65"]);
    // What never used much cannot vanish.
    check(&[("orders", 5, 0)], &["healthy"]);
}

#[test]
fn evidence_is_the_kubelets_and_remedies_are_absolute() {
    let (view, now) = compute(&[("orders", 80, 148)]);
    let mut context = context("orders", at(ONSET));
    for (replicas, expected) in [(1, Some(2)), (2, Some(3)), (3, Some(5)), (8, Some(10)), (10, None)] {
        context.workloads[1].replicas = replicas;
        let Opinion::Cause(vote) = view.cause(&Asked { context: &context, epoch: 2, now }) else { panic!() };
        assert_eq!(vote.hypotheses[0].evidence[0].principal, Principal::Kubelet);
        let proposed = vote.hypotheses[0].remedies.first().map(|proposal| proposal.action.clone());
        assert_eq!(proposed, expected.map(|replicas| Action::ScaleWorkload(Scale { replicas })));
    }
}

#[test]
fn a_stalled_deployment_is_restarted_and_a_stateful_set_is_not() {
    for (name, remedies) in [("orders", 1), ("postgres", 0)] {
        let (view, now) = compute(&[(name, 80, 1)]);
        let context = context(name, at(ONSET));
        let Opinion::Cause(vote) = view.cause(&Asked { context: &context, epoch: 2, now }) else { panic!() };
        assert_eq!(vote.hypotheses[0].remedies.len(), remedies, "{name}");
        for proposal in &vote.hypotheses[0].remedies {
            assert_eq!(proposal.action, Action::RestartWorkload(Restart { marker: format!("{}.2", context.incident) }));
        }
    }
}

#[test]
fn one_still_pod_of_several_is_evicted_where_that_may_be_done() {
    let remedy = |pods: &[(&str, i64, i64)], allowed: bool| {
        let (mut view, now) = compute(pods);
        view.evicts(&service("orders"), allowed);
        let context = context("orders", at(ONSET));
        let opinion = view.cause(&Asked { context: &context, epoch: 1, now });
        assert_eq!(said(&opinion), ["orders application stalled 80"]);
        let Opinion::Cause(vote) = opinion else { panic!() };
        vote.hypotheses[0].remedies[0].action.clone()
    };
    let evict = |pod: &str| Action::EvictPod(Evict { pod: pod.into(), uid: pod.into() });
    let restart = Action::RestartWorkload(Restart { marker: "01890a5d-ac96-774b-bcce-b302099a8057.1".into() });
    let one = [("orders", 80, 80), ("orders/b", 80, 1), ("orders/c", 80, 90)];
    assert_eq!(remedy(&one, true), evict("orders/b"));
    assert_eq!(remedy(&one, false), restart);
    assert_eq!(remedy(&[("orders", 80, 1), ("orders/b", 80, 1), ("orders/c", 80, 90)], true), restart, "two of three are more than one pod's trouble");
    assert_eq!(remedy(&[("orders", 80, 1)], true), restart, "it is the only one");

    let busy = ["orders", "orders/b", "orders/c", "orders/d", "orders/e"].map(|pod| (pod, 80, 80));
    assert_eq!(remedy(&[&busy[..], &[("orders/f", 80, 1)]].concat(), true), evict("orders/f"));
    assert_eq!(remedy(&[&busy[..], &[("orders/f", 2, 1)]].concat(), true), restart, "it never did what the others do");
    // Connections stay with the pod that they were made to: by what both do together, neither is steady.
    assert_eq!(remedy(&[("orders", 80, 1), ("orders/b", 20, 20)], true), evict("orders"));
    // They are made anew to the other one: it is stuck, or its callers have moved.
    let moved = &[("orders", 80, 1), ("orders/b", 20, 95)];
    check(moved, &["orders application stalled 50"]);
    // Or to one that was not there before.
    let (mut view, now) = compute(&[("orders", 80, 1), ("orders/b", 20, 85)]);
    view.pods.get_mut("orders/b").unwrap().own.retain(|(to, _)| *to > at(ONSET));
    let two = [("orders", 80, 1), ("orders/b", 80, 1), ("orders/c", 80, 120), ("orders/d", 80, 120)];
    check(&two, &["healthy"]);
    assert_eq!(position(&two, restart.clone(), 2_000), StanceVerdict::NoObjection, "callers that moved are no reason to restart anything");
    view.evicts(&service("orders"), true);
    let context_of_now = context("orders", at(ONSET));
    let opinion = view.cause(&Asked { context: &context_of_now, epoch: 1, now });
    assert_eq!(said(&opinion), ["orders application stalled 50"]);
    let Opinion::Cause(vote) = opinion else { panic!() };
    assert_eq!(vote.hypotheses[0].remedies[0].action, evict("orders"));
    assert!(view.indicator(&service("orders"), at(ONSET), now).unwrap().healthy, "for all that is known its callers have moved");
    let (mut view, now) = compute(&one);
    view.evicts(&service("orders"), true);
    let facts = view.pods["orders/b"].facts.clone();
    view.pod("orders/b", Pod { local_data: true, ..facts.clone() });
    let context = context("orders", at(ONSET));
    let asked = Asked { context: &context, epoch: 1, now };
    let Opinion::Cause(vote) = view.cause(&asked) else { panic!() };
    assert_eq!(vote.hypotheses[0].remedies[0].action, restart, "what stands on its node would go with it");
    view.pod("orders/b", Pod { running: false, ..facts });
    assert_eq!(said(&view.cause(&asked)), ["healthy"], "it is going already");

    for (pods, pod, expected) in [
        (&one[..], "orders/b", StanceVerdict::Support),
        (&one, "orders/c", StanceVerdict::Veto),
        (moved, "orders", StanceVerdict::Support),
        (moved, "orders/b", StanceVerdict::Veto),
        (&[("orders", 80, 80), ("orders/b", 80, 80)], "orders/b", StanceVerdict::Veto),
        (&[("orders", 80, 1), ("orders/b", 80, 1)], "orders/b", StanceVerdict::NoObjection),
    ] {
        assert_eq!(position(pods, evict(pod), 2_000), expected, "{pods:?} {pod}");
    }
}

#[test]
fn throttling_counts_as_the_limit() {
    let (mut view, now) = compute(&[("orders", 80, 100)]);
    let last = view.pods["orders"].last.clone().unwrap();
    view.throttling("orders", Throttling { periods: 1_000, throttled: 700 });
    view.sample(Sample { at: now.plus(5_000), cpu_ns: last.cpu_ns + 100 * 5_000_000, ..last }, now.plus(5_000));
    let context = context("orders", at(ONSET));
    let opinion = view.cause(&Asked { context: &context, epoch: 1, now: now.plus(5_000) });
    assert_eq!(said(&opinion), ["orders compute cpu-saturation 85"]);
}

#[test]
fn a_limit_that_was_cut_is_the_releases_and_going_back_helps() {
    for (limit, milli, expected) in [
        (40, 39, &["orders application limit-cut 80", "orders compute cpu-saturation 55"][..]),
        (400, 80, &["healthy"]),
        (150, 148, &["orders compute cpu-saturation 85"]),
    ] {
        let (mut view, now) = compute(&[("orders", 80, 80)]);
        let mut facts = view.pods["orders"].facts.clone();
        facts.limit_milli = Some(limit);
        view.pod("orders", facts);
        let last = view.pods["orders"].last.clone().unwrap();
        view.sample(Sample { at: now.plus(5_000), cpu_ns: last.cpu_ns + milli * 5_000_000, ..last }, now.plus(5_000));
        let context = context("orders", at(ONSET));
        assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now: now.plus(5_000) })), expected, "{limit}");
    }
}

#[test]
fn a_process_that_just_started_is_not_judged_by_what_it_uses() {
    let (mut view, now) = compute(&[("orders", 80, 148)]);
    let mut facts = view.pods["orders"].facts.clone();
    facts.started_at = Some(now.plus(-9_000));
    view.pod("orders", facts);
    let context = context("orders", at(ONSET));
    let ask = |epoch, now| Asked { context: &context, epoch, now };
    assert_eq!(said(&view.cause(&ask(1, now))), ["abstains: the pods of shop/orders have just started"]);
    assert!(view.informed(&ask(1, now)) && !view.informed(&ask(2, now)));
    let last = view.pods["orders"].last.clone().unwrap();
    view.sample(Sample { at: now.plus(5_000), cpu_ns: last.cpu_ns + 148 * 5_000_000, ..last }, now.plus(5_000));
    assert!(view.informed(&ask(2, now.plus(5_000))));
    assert_eq!(said(&view.cause(&ask(2, now.plus(5_000)))), ["orders compute cpu-saturation 85"]);
}

#[test]
fn a_neighbour_that_takes_the_node_is_named_and_its_victims_are_not() {
    for (node, before, expected) in [
        (1_000, 10, &["noise compute noisy-neighbour 80", "orders compute crowded-out 10", "storefront compute crowded-out 10"][..]),
        (1_500, 10, &["noise compute noisy-neighbour 80", "orders compute crowded-out 10", "storefront compute crowded-out 10"]),
        // A small part of a large node, and what has always been there, are no news.
        (4_000, 10, &["healthy"]),
        (1_000, 700, &["healthy"]),
    ] {
        let (mut view, now) = compute(&[("orders", 80, if node == 1_500 { 1 } else { 80 }), ("storefront", 40, 40), ("noise", before, 700)]);
        view.node("node", node);
        let mut facts = view.pods["noise"].facts.clone();
        facts.limit_milli = None;
        view.pod("noise", facts);
        let context = context("orders", at(ONSET));
        assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now })), expected, "{node} {before}");
    }
}

#[test]
fn failing_containers_are_the_applications() {
    let (mut view, now) = compute(&[("orders", 80, 80)]);
    let mut facts = view.pods["orders"].facts.clone();
    facts.failed_at = Some(at(ONSET + 1));
    view.pod("orders", facts.clone());
    let context = context("orders", at(ONSET));
    assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now })), ["orders application crash-loop 75"]);
    facts.killed = ["app".to_owned()].into();
    view.pod("orders", facts);
    assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now })), ["orders compute memory-pressure 75", "orders application memory-leak 55"]);
}

#[test]
fn a_container_that_ended_is_seen_by_its_kubelet_too() {
    let (mut view, now) = compute(&[("orders", 80, 80)]);
    let facts = Pod { failed_at: Some(at(ONSET + 1)), ..view.pods["orders"].facts.clone() };
    view.pod("orders", facts);
    let context = context("orders", at(ONSET));
    let principals = |view: &View| -> Vec<Principal> {
        let Opinion::Cause(vote) = view.cause(&Asked { context: &context, epoch: 1, now }) else { panic!() };
        vote.hypotheses[0].evidence.iter().map(|item| item.principal).collect()
    };
    assert_eq!(principals(&view), [Principal::ApiServer]);
    let last = view.pods["orders"].last.clone().unwrap();
    view.sample(Sample { at: now.plus(1_000), cpu_ns: 1, ..last }, now.plus(1_000));
    assert_eq!(principals(&view), [Principal::ApiServer, Principal::Kubelet]);
}

#[test]
fn absence_is_an_abstention() {
    let context = context("orders", at(ONSET));
    let said_by = |view: &View, now| said(&view.cause(&Asked { context: &context, epoch: 1, now })).join("");
    let empty = View::new(super::super::Settings { stale_ms: 40_000, ..Default::default() });
    assert_eq!(said_by(&empty, at(ONSET)), "abstains: no kubelet has told of any pod for 40 s");
    let (view, now) = compute(&[("storefront", 80, 80)]);
    assert_eq!(said_by(&view, now), "abstains: no kubelet figures of shop/orders since the onset");
    assert!(said_by(&view, now.plus(41_000)).contains("no kubelet has told"));
}

fn position(pods: &[(&str, i64, i64)], action: Action, node_milli: u64) -> StanceVerdict {
    let (mut view, now) = compute(pods);
    view.node("node", node_milli);
    let mut context = context("orders", at(ONSET));
    context.workloads[1].replicas = 2;
    bare_position(&view, &context, now, &Proposal { action, target: target("orders") }).verdict
}

#[test]
fn it_says_what_there_is_room_for() {
    let restart = || Action::RestartWorkload(Restart { marker: "i.1".into() });
    let scale = |replicas| Action::ScaleWorkload(Scale { replicas });
    for (usual, now, action, node, expected) in [
        (80, 148, scale(3), 2_000, StanceVerdict::Support),
        (80, 148, scale(3), 150, StanceVerdict::Veto),
        (80, 148, scale(11), 2_000, StanceVerdict::NoObjection),
        (80, 148, scale(1), 2_000, StanceVerdict::Veto),
        (80, 80, scale(3), 2_000, StanceVerdict::NoObjection),
        (80, 80, scale(1), 2_000, StanceVerdict::NoObjection),
        (80, 1, restart(), 2_000, StanceVerdict::Support),
        (80, 80, restart(), 2_000, StanceVerdict::NoObjection),
    ] {
        assert_eq!(position(&[("orders", usual, now)], action.clone(), node), expected, "{usual} {now} {action:?} {node}");
    }
}

#[test]
fn it_waits_for_a_sample_from_after_the_onset() {
    let (view, now) = compute(&[("orders", 80, 80)]);
    let ask = |since| context("orders", since);
    assert!(view.informed(&Asked { context: &ask(at(ONSET)), epoch: 1, now }));
    assert!(!view.informed(&Asked { context: &ask(now), epoch: 1, now }));
}

#[test]
fn callers_that_come_and_go_hide_no_pod_that_does_nothing_at_all() {
    for (least, expected) in [(35, "orders application stalled 50"), (4, "healthy")] {
        let (mut view, now) = compute(&[("orders", 80, 1), ("orders/b", 80, 120)]);
        let own = &mut view.pods.get_mut("orders").unwrap().own;
        own.clear();
        own.extend((0..12).map(|n| (at(n), if n % 2 == 0 { least } else { 110 })));
        let service = service("orders");
        // By what both did together neither was steady.
        view.past.get_mut(&service).unwrap().iter_mut().enumerate().for_each(|(n, used)| used.milli = if n % 2 == 0 { least } else { 110 });
        let context = context("orders", at(ONSET));
        assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now }))[0], expected, "{least}");
    }
}

#[test]
fn a_second_look_waits_until_it_is_seen_how_far_a_pod_fell() {
    let (mut view, now) = compute(&[("orders", 80, 80), ("orders/b", 80, 80)]);
    // The newest sample reaches back to before the onset and shows a part of the fall; the next one shows all of it.
    let mut context = context("orders", now.plus(1_000));
    context.workloads.retain(|workload| workload.target.name == "orders");
    let informed = |view: &View, epoch, now| view.informed(&Asked { context: &context, epoch, now });
    let sample = |view: &mut View, pod: &str, milli: u64, to: UnixMillis| {
        let last = view.pods[pod].last.clone().unwrap();
        let cpu_ns = last.cpu_ns + milli * u64::try_from(to.since(last.at)).unwrap() * 1_000;
        view.sample(Sample { at: to, cpu_ns, ..last }, to);
    };
    for (pod, milli) in [("orders", 30), ("orders/b", 120)] {
        sample(&mut view, pod, milli, now.plus(5_000));
    }
    assert!(informed(&view, 1, now.plus(5_000)) && !informed(&view, 2, now.plus(5_000)));
    let asked = |now| Asked { context: &context, epoch: 2, now };
    for (pod, milli) in [("orders", 1), ("orders/b", 150)] {
        sample(&mut view, pod, milli, now.plus(10_000));
    }
    assert!(informed(&view, 2, now.plus(10_000)));
    assert!(said(&view.cause(&asked(now.plus(10_000))))[0].starts_with("orders "));
}

#[test]
fn the_indicator_is_live_only_by_samples_after_the_action() {
    let (view, now) = compute(&[("orders", 80, 1)]);
    let ill = view.indicator(&service("orders"), at(ONSET), now).unwrap();
    assert!(ill.live && !ill.healthy, "{ill:?}");
    assert!(!view.indicator(&service("orders"), now, now).unwrap().live);
    let (view, now) = compute(&[("orders", 80, 75)]);
    assert!(view.indicator(&service("orders"), at(ONSET), now).unwrap().healthy);
}

#[test]
fn counters_that_go_back_and_clocks_that_run_ahead_are_left_out() {
    let (mut view, now) = compute(&[("orders", 80, 80)]);
    let newest = view.pods["orders"].newest;
    view.sample(Sample { pod: "orders".into(), at: now.plus(3_600_000), cpu_ns: u64::MAX, memory_bytes: 0, containers: vec![] }, now);
    view.sample(Sample { pod: "orders".into(), at: now.plus(1_000), cpu_ns: 0, memory_bytes: 0, containers: vec![] }, now);
    assert_eq!(view.pods["orders"].newest, newest);
    view.sample(Sample { pod: "stranger".into(), at: now, cpu_ns: 1, memory_bytes: 0, containers: vec![] }, now);
    assert!(!view.pods.contains_key("stranger"));
}
