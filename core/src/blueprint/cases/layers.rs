//! Layers only tighten, and a plan in flight has the stricter of then and now.

use proptest::prelude::*;

use super::*;
use crate::ids::UnixMillis;

const NAMES: [&str; 8] =
    ["ScaleWorkload", "RestartWorkload", "AdjustResources", "EvictPod", "CordonNode", "scale_beyond_limits", "delete_deployment", "coffee"];

fn names(of: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(of, 0..=of.len())
}

fn some(strategy: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), strategy]
}

/// Anything that both kinds can say.
fn rules(allowed: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let restricted = (
        proptest::sample::select(vec!["EvictPod", "ScaleWorkload", "scale_beyond_limits", "coffee"]),
        some(Just(json!("target_replicas > 4"))),
        proptest::sample::select(vec!["sre", "user:jane", "dba"]),
    );
    let restricted = proptest::collection::vec(restricted, 0..3);
    let lists = (some(names(allowed).prop_map(|names| json!(names))), restricted, some(names(&["IsolatePod", "tea"]).prop_map(|names| json!(names))));
    let numbers =
        (some((0_u32..4).prop_map(Value::from)), some((3_u32..9).prop_map(Value::from)), some((50_u32..300).prop_map(|cpu| json!(format!("{cpu}m")))));
    let safety = (some((1_u32..300).prop_map(|s| json!(format!("{s}s")))), some((1_u32..20).prop_map(Value::from)), some((1_u32..6).prop_map(Value::from)));
    let canary = prop_oneof![
        Just(Value::Null),
        Just(json!({"enabled": false})),
        (2_u32..9, 5_u32..60).prop_map(|(replicas, watch)| json!({"replicas": replicas, "watch": format!("{watch}s")})),
        (2_u32..9).prop_map(|replicas| json!({"enabled": true, "replicas": replicas})),
    ];
    let switches =
        (some(any::<bool>().prop_map(Value::from)), some(any::<bool>().prop_map(Value::from)), some((1_u32..300).prop_map(|s| json!(format!("{s}s")))));
    let time = (any::<bool>(), any::<bool>());
    let mode = some(proptest::sample::select(vec![json!("observe"), json!("approve"), json!("autonomous"), json!("autonomous")]));
    (mode, lists, numbers, (safety, canary), switches, time).prop_map(
        |(mode, (allowed, restricted, forbidden), (least, most, cpu), ((cooldown, rate, failures), canary), (verify, automatic, wait), (window, freeze))| {
            let listed = |name: &str| allowed.as_array().is_some_and(|names| names.iter().any(|other| other == name));
            let restricted: Vec<Value> = restricted
                .into_iter()
                .filter(|(name, condition, _)| !(condition.is_null() && listed(name)))
                .map(|(operation, condition, approver)| json!({"operation": operation, "condition": condition, "approvers": [approver]}))
                .collect();
            json!({
                "mode": mode,
                "operations": {"allowed": allowed, "restricted": restricted, "forbidden": forbidden, "approvers": ["ops"]},
                "limits": {"minReplicas": least, "maxReplicas": most, "containers": [{"name": "*", "cpu": {"max": cpu}}]},
                "safety": {"cooldown": cooldown, "operationsPerHour": rate, "breaker": {"failures": failures, "wait": wait}, "canary": canary},
                "verification": {"enabled": verify, "stabilization": wait, "rollback": {"automatic": automatic}},
                "windows": if window { json!([{"from": "00:00", "until": "00:01"}]) } else { Value::Null },
                "freezes": if freeze { json!([{"from": "1970-01-01T00:00:00Z", "until": "1970-01-01T01:00:00Z", "reason": "x"}]) } else { Value::Null },
            })
        },
    )
}

fn service() -> impl Strategy<Value = Blueprint> {
    rules(&["ScaleWorkload", "RestartWorkload", "AdjustResources", "EvictPod"])
        .prop_map(|rules| good(&with(rules, "/target", json!({"kind": "Deployment", "name": "a"}))))
}

fn above() -> impl Strategy<Value = ClusterBlueprint> {
    rules(&["ScaleWorkload", "RestartWorkload", "AdjustResources", "CordonNode"]).prop_map(|rules| good_cluster(&rules))
}

fn operation() -> impl Strategy<Value = Operation> {
    (proptest::sample::select(NAMES.to_vec()), proptest::option::of(0_u32..10), proptest::option::of(0_u64..400)).prop_map(|(name, to, cpu)| Operation {
        name: name.into(),
        replicas: to.map(|to| ReplicaChange { from: Some(3), to }),
        resources: cpu.map(|cpu| ResourceChange { container: "app".into(), cpu: Some(cpu), ..ResourceChange::default() }).into_iter().collect(),
    })
}

/// What a layer above says by itself: below it stands a service that says nothing against anything.
fn alone(layer: &ClusterBlueprint, operation: &Operation, at: UnixMillis) -> Classification {
    let spec = json!({
        "target": {"kind": "Deployment", "name": "a"}, "mode": "autonomous",
        "limits": {"minReplicas": 0, "maxReplicas": u32::MAX, "containers": [{"name": "*", "cpu": {"max": "99999"}, "memory": {"max": "1Pi"}}]},
        "operations": {"allowed": KNOWN.iter().filter(|known| known.reach == Reach::Workload).map(|known| known.name).collect::<Vec<_>>()},
    });
    effective(std::slice::from_ref(layer), &good(&spec)).classify(operation, at)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_effective_is_never_looser_than_a_layer(own in service(), one in above(), other in above(), operation in operation(), at in 0_i64..8_000_000) {
        let at = UnixMillis(at);
        let all = effective(&[one.clone(), other.clone()], &own);
        let said = all.classify(&operation, at);
        let bare = effective(&[], &own).classify(&operation, at);
        // Only what reaches beyond a namespace needs a layer above to be possible at all.
        if canonical(&operation.name) != "CordonNode" {
            prop_assert!(said.tier >= bare.tier, "{:?} < {:?}", said, bare);
        }
        prop_assert!(said.approvals.is_superset(&bare.approvals));
        for layer in [&one, &other] {
            let its = alone(layer, &operation, at);
            prop_assert!(said.tier >= its.tier || canonical(&operation.name) == "CordonNode" || canonical(&operation.name) == "coffee", "{:?} < {:?}", said, its);
            let asked = its.reasons.iter().any(|reason| reason.layer.starts_with("Cluster") && reason.tier == Tier::Restricted);
            prop_assert!(!asked || said.tier >= Tier::Restricted);
        }
        // The order in which they are read makes no difference.
        prop_assert_eq!(effective(&[other.clone(), one.clone()], &own).classify(&operation, at).tier, said.tier);

        let (mine, whole) = (effective(&[], &own), &all);
        let (few, now) = (mine.safeguards(), whole.safeguards());
        prop_assert!(now.cooldown_ms >= few.cooldown_ms && now.operations_per_hour <= few.operations_per_hour && now.strikes <= few.strikes);
        prop_assert!(now.breaker.failures <= few.breaker.failures && now.breaker.wait_ms >= few.breaker.wait_ms);
        for layer in [&one, &other] {
            let safety = &layer.rules.safety;
            prop_assert!(safety.cooldown_ms.is_none_or(|least| now.cooldown_ms >= least));
            prop_assert!(safety.operations_per_hour.is_none_or(|most| now.operations_per_hour <= most));
            prop_assert!(safety.breaker_failures.is_none_or(|most| now.breaker.failures <= most));
            prop_assert!(safety.canary.enabled != Some(true) || whole.canary().is_some());
            if let Some(now) = whole.canary() {
                prop_assert!(safety.canary.replicas.is_none_or(|most| now.replicas <= most));
                prop_assert!(safety.canary.watch_ms.is_none_or(|least| u64::from(now.watch_ms) >= least));
            }
            prop_assert!(layer.rules.verification.enabled != Some(true) || whole.undoing().verify);
            prop_assert!(layer.rules.verification.rollback.automatic != Some(true) || whole.undoing().automatic);
            prop_assert!(layer.rules.verification.stabilization_ms.is_none_or(|least| whole.undoing().stabilization_ms >= least));
            prop_assert!(whole.mode() <= layer.rules.mode && whole.mode() <= own.rules.mode);
        }
        if let Some(few) = mine.canary() {
            prop_assert!(whole.canary().is_some_and(|now| now.replicas <= few.replicas && now.watch_ms >= few.watch_ms));
        }
        prop_assert!(!mine.undoing().verify || whole.undoing().verify);
        prop_assert!(!mine.undoing().automatic || whole.undoing().automatic);
        match (mine.replicas(), whole.replicas()) {
            (Some((least, most)), Some((floor, ceiling))) => prop_assert!(floor >= least && ceiling <= most),
            (None, narrow) => prop_assert_eq!(narrow, None),
            (Some(_), None) => prop_assert!(false, "a most was lost"),
        }
        let (cpu, _) = whole.container("app");
        prop_assert!(mine.container("app").0.max.is_none_or(|most| cpu.max.is_some_and(|now| now <= most)));
        for replicas in 0..10 {
            let inside = whole.replicas().is_some_and(|(least, most)| (least..=most).contains(&replicas));
            let scale = scale_to(replicas);
            let objected = whole.classify(&scale, at).reasons.iter().any(|reason| reason.why == Why::Limits);
            prop_assert_eq!(inside, !objected, "figures and tiers agree on {} replicas", replicas);
        }
    }

    #[test]
    fn a_plan_in_flight_has_the_stricter_of_then_and_now(then in service(), now in service(), above in above(), operation in operation(), at in 0_i64..8_000_000) {
        let at = UnixMillis(at);
        let (then, now) = (effective(&[], &then), effective(&[above], &now));
        let said = judge_in_flight(&then, &now, &operation, at);
        let (before, after) = (then.classify(&operation, at), now.classify(&operation, at));
        prop_assert_eq!(said.tier, before.tier.max(after.tier));
        prop_assert!(said.approvals.is_superset(&before.approvals) && said.approvals.is_superset(&after.approvals));
        prop_assert_eq!(said.executable, before.executable && after.executable);
        prop_assert_eq!(judge_in_flight(&now, &then, &operation, at), said, "in whatever order");
        prop_assert_eq!(judge_in_flight(&now, &now, &operation, at), after, "what has not changed is judged as it is");
    }
}

#[test]
fn a_limit_above_is_no_matter_of_approval() {
    let own = good(&full());
    let above = good_cluster(&json!({"limits": {"maxReplicas": 6}}));
    let all = effective(&[above], &own);
    let at = UnixMillis(1_795_600_800_000);
    assert_eq!(all.classify(&scale_to(6), at).tier, Tier::Restricted, "beyond the service's own limit people decide");
    let beyond = all.classify(&scale_to(7), at);
    assert_eq!((beyond.tier, beyond.alert), (Tier::Forbidden, false));
    assert!(beyond.because().contains("ClusterBlueprint `all`"), "{}", beyond.because());
}

#[test]
fn nodes_are_given_from_above_only() {
    let own = good(&full());
    let at = UnixMillis(1_795_600_800_000);
    let cordon = Operation::named("CordonNode");
    assert_eq!(effective(&[], &own).classify(&cordon, at).tier, Tier::Forbidden);
    let above = good_cluster(&json!({"operations": {"allowed": ["CordonNode"]}}));
    assert_eq!(effective(&[above], &own).classify(&cordon, at).tier, Tier::Restricted, "and the service has it on no list");
}

#[test]
fn what_is_taken_back_is_told_to_its_author() {
    let above = good_cluster(
        &json!({"operations": {"forbidden": ["restart_pods"], "restricted": [{"operation": "ScaleWorkload", "approvers": ["sre"]}]}, "limits": {"maxReplicas": 4}}),
    );
    let notes = effective(&[above], &good(&full())).overruled();
    let told: Vec<(&str, &str)> = notes.iter().map(|note| (note.value.as_str(), note.hint.as_str())).collect();
    let wanted = [("RestartWorkload", "it is never done"), ("ScaleWorkload", "people are asked first"), ("5", "nobody's approval goes beyond that")];
    assert_eq!(told, wanted);
    assert_eq!(effective(&[], &good(&full())).overruled(), []);
}
