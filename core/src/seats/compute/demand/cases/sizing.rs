//! Containers that ask for too little or for much more than they use.

use super::*;
use crate::action::Sizes;
use crate::ballot::Proposal;

const MEBIBYTE: u64 = 1 << 20;

/// Two replicas of one container with 64 MiB of both, which may have up to a gibibyte.
fn sized(more: &Value) -> Intent {
    let mut spec = json!({
        "limits": {"minReplicas": 1, "maxReplicas": 4, "containers": [{"name": "app", "memory": {"min": "8Mi", "max": "1Gi"}}]},
        "operations": {"allowed": ["ScaleWorkload", "AdjustResources"]}, "tuning": {"window": "10m"},
    });
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    let mut intent = intent(2, spec);
    intent.containers[0].memory = Allocation { request: 64 * MEBIBYTE, limit: Some(64 * MEBIBYTE), restarts: true };
    intent
}

fn using(mebibytes: u64, seconds: i64, intent: Intent) -> Followed {
    let mut orders = Followed::beginning(seconds, intent);
    orders.memory_bytes = mebibytes * MEBIBYTE;
    orders.uses(60, seconds, &[]);
    orders
}

fn asked(orders: &Followed) -> Vec<Sizes> {
    let Opinion::Cause(vote) = orders.vote() else { return vec![] };
    let remedies = vote.hypotheses.iter().flat_map(|hypothesis| &hypothesis.remedies);
    remedies.flat_map(|remedy| if let Action::AdjustResources(adjust) = &remedy.action { adjust.containers.clone() } else { panic!("{remedy:?}") }).collect()
}

fn memory(mebibytes: u64) -> Sizes {
    let amount = Some(mebibytes * MEBIBYTE);
    Sizes { container: "app".into(), cpu_request: None, cpu_limit: None, memory_request: amount, memory_limit: amount }
}

fn acts(outcome: &Outcome) -> Option<String> {
    match &outcome.verdict {
        Verdict::Act { proposal, supporters } => {
            assert_eq!(supporters, &["compute", "network"]);
            Some(proposal.action.act().describe())
        }
        Verdict::Hold { .. } => None,
    }
}

#[test]
fn what_uses_nearly_all_of_its_memory_has_more_once_two_seats_agree() {
    assert_eq!(asked(&using(57, 120, sized(&json!({})))), [], "not nearly all");
    let orders = using(60, 120, sized(&json!({})));
    // The highest use and fifteen parts of a hundred more, and no change of less than a tenth.
    assert_eq!(asked(&orders), [memory(70)]);
    assert_eq!(said(&orders.vote()), ["orders compute containers-too-small 90"]);
    let [finding] = orders.findings().try_into().unwrap();
    assert!(finding.summary.contains("memory 64 MiB → 70 MiB"), "{}", finding.summary);
    let wanted = "adjust resources by new pods: `app` requests.memory 70Mi, limits.memory 70Mi";
    assert_eq!(acts(&decided(&orders, USUAL)).as_deref(), Some(wanted));
    // Where answers fail, or hardly anybody asks, it is no routine and no load.
    for beat in [Beat { requests: 40, errors: 24, ..USUAL }, Beat { requests: 10, ..USUAL }] {
        assert_eq!(acts(&decided(&orders, beat)), None, "{} requests", beat.requests);
    }
}

#[test]
fn an_autoscaler_keeps_the_replicas_and_the_resource_that_it_goes_by() {
    let scaled_by = |by_cpu_request: bool| {
        let autoscaler = Autoscaler { name: "orders".into(), min: 1, max: 4, active: true, by_cpu_request, by_memory_request: !by_cpu_request };
        asked(&using(60, 120, Intent { autoscalers: vec![autoscaler], ..sized(&json!({})) }))
    };
    assert_eq!(scaled_by(true), [memory(70)]);
    assert_eq!(scaled_by(false), [], "another request would be another use to it");
}

#[test]
fn what_used_little_all_through_has_less_and_never_below_what_it_used() {
    assert_eq!(asked(&using(20, 420, sized(&json!({})))), [], "seven minutes of ten");
    let orders = using(20, 660, sized(&json!({})));
    assert_eq!(asked(&orders), [memory(32)], "half at a time");
    assert!(acts(&decided(&orders, USUAL)).is_some());
    for beat in [Beat { requests: 80, ..USUAL }, Beat { mean_us: 200_000, ..USUAL }] {
        assert_eq!(acts(&decided(&orders, beat)), None, "{} requests", beat.requests);
    }
    let stance = |sizes: Sizes| {
        let action = Action::AdjustResources(crate::action::Adjust { containers: vec![sizes] });
        bare_position(&orders.view, &orders.context(), orders.now, &Proposal { action, target: target("orders") }).verdict
    };
    assert_eq!(stance(memory(32)), StanceVerdict::Support);
    assert_eq!(stance(memory(40)), StanceVerdict::Support, "less far the same way");
    assert_eq!(stance(memory(19)), StanceVerdict::Veto, "it used more");
    assert_eq!(stance(memory(30)), StanceVerdict::NoObjection);
    assert_eq!(stance(memory(70)), StanceVerdict::NoObjection);
    assert_eq!(stance(Sizes { cpu_request: Some(100_000), ..memory(32) }), StanceVerdict::Veto, "no node has so much");
}

#[test]
fn it_is_done_once_and_judged_before_it_is_done_again() {
    let mut orders = using(60, 120, sized(&json!({})));
    orders.intent.containers[0].memory = Allocation { request: 70 * MEBIBYTE, limit: Some(70 * MEBIBYTE), restarts: true };
    orders.scaled(2);
    orders.uses(60, 60, &[]);
    assert_eq!(orders.findings(), []);
    // It needs still more, and later gets it.
    orders.memory_bytes = 68 * MEBIBYTE;
    orders.uses(60, 60, &[]);
    assert_eq!(asked(&orders), [], "a quarter of the window must pass");
    orders.uses(60, 60, &[]);
    assert_eq!(asked(&orders), [memory(78)]);
    // What was made larger is not made smaller within the window.
    orders.memory_bytes = MEBIBYTE;
    orders.uses(60, 300, &[]);
    assert!(asked(&orders).iter().all(|sizes| *sizes == memory(78)), "{:?}", asked(&orders));
}

#[test]
fn a_container_that_was_killed_for_want_of_memory_has_more_at_once() {
    let mut orders = using(20, 60, sized(&json!({})));
    for pod in 0..2 {
        let facts =
            Pod { workload: Some(service("orders")), node: "node".into(), running: true, request_milli: 100, killed: ["app".into()].into(), ..Pod::default() };
        orders.view.pod(&format!("orders-{pod}"), facts);
    }
    orders.uses(60, 10, &[]);
    // One step is twice as much at most.
    assert_eq!(asked(&orders), [memory(128)]);
}

#[test]
fn whoever_does_not_say_so_is_not_sized() {
    let unlisted = json!({"operations": {"allowed": ["ScaleWorkload"]}});
    let forbidden = json!({"operations": {"allowed": ["ScaleWorkload"], "forbidden": ["AdjustResources"]}});
    let unbounded = json!({"limits": {"minReplicas": 1, "maxReplicas": 4}});
    for more in [unlisted, forbidden, unbounded] {
        let orders = using(60, 120, sized(&more));
        assert_eq!(asked(&orders), [], "{more}");
    }
    let bounded = json!({"limits": {"minReplicas": 1, "maxReplicas": 4, "containers": [{"name": "app", "memory": {"max": "66Mi"}}]}});
    assert_eq!(asked(&using(60, 120, sized(&bounded))), [memory(66)], "never beyond the bounds");
}
