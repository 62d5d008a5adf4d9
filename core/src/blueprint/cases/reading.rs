//! What is read, and what is told of what is wrong.

use proptest::prelude::*;

use super::*;
use crate::canary::Settings;
use crate::ids::{Millionths, UnixMillis};
use crate::incident::Mode;

#[test]
fn everything_that_can_be_said_is_read() {
    let reading = read(&full());
    assert_eq!((reading.problems, reading.notes), (vec![], vec![]));
    let blueprint = reading.value;
    assert!(blueprint.speaks_of("Deployment", "orders") && blueprint.speaks_of("Deployment", "orders-worker"));
    assert!(!blueprint.speaks_of("Deployment", "cart") && !blueprint.speaks_of("StatefulSet", "orders"));
    assert_eq!((blueprint.priority, blueprint.criticality), (Priority::High, Criticality::Critical));
    let app = blueprint.rules.limits.of_container("app").unwrap();
    assert_eq!((app.cpu.max, app.memory.target), (Some(1_000), Some(512 << 20)));
    assert_eq!(blueprint.rules.limits.of_container("other").unwrap().cpu.max, Some(200));
    assert_eq!(blueprint.objectives.latency[1], Latency { percentile: 99, target_ms: 1_000, window_ms: 300_000 });
    assert_eq!(blueprint.objectives.availability, Some(ShareObjective { target: Millionths::new(999_500), window_ms: 30 * 86_400_000 }));
    assert_eq!(blueprint.scaling.unwrap().weights, Weights { cpu: 60, memory: 40, latency: 0 });
    assert_eq!(blueprint.tuning.window_ms, 7 * 86_400_000);
    assert!(blueprint.rules.operations.allowed.contains("RestartWorkload"), "another word for it");
    let failover = &blueprint.rules.operations.restricted[1];
    assert_eq!(failover.approval.approvers, [Approver::Group("dba".into()), Approver::User("jane@example.com".into())]);
    let checks = &blueprint.rules.verification.checks;
    assert_eq!((checks[0].comparison, checks[0].figure), (Comparison::Less, Figure::Duration(200)));
    assert_eq!((checks[1].figure, checks[1].critical, checks[1].rollback_trigger), (Figure::Share(10_000), false, false));
    assert_eq!((checks[2].figure, checks[2].critical), (Figure::Number(100_000_000), true));
    assert_eq!(blueprint.gitops.unwrap().kind, "Application");
}

#[test]
fn a_target_limits_and_what_is_allowed_suffice() {
    let blueprint = good(&minimal());
    assert_eq!(blueprint.scaling, None, "replicas follow the load only where somebody says so");
    assert_eq!(good(&with(minimal(), "/scaling", json!({}))).scaling, Some(Scaling::default()));
    let all = effective(&[], &blueprint);
    let wanted = Safeguards { cooldown_ms: 60_000, operations_per_hour: 10, breaker: Breaker { failures: 3, wait_ms: 300_000 }, strikes: 3 };
    assert_eq!(all.safeguards(), wanted);
    assert_eq!(all.undoing(), Undoing { verify: true, stabilization_ms: 60_000, enabled: true, automatic: true, on_critical_failure: true });
    assert_eq!(all.canary(), Some(Settings { replicas: 3, watch_ms: 10_000 }));
    assert_eq!(all.replicas(), Some((2, 5)));
}

#[test]
fn the_defaults_of_every_part_fit_together() {
    for part in ["scaling", "tuning", "objectives", "safety", "verification"] {
        good(&with(minimal(), &format!("/{part}"), json!({})));
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let wrong = json!({
        "target": {"kind": "Job", "name": "orders"},
        "mode": "automatic",
        "limits": {"minReplicas": 5, "maxReplicas": 2, "containers": [{"cpu": {"min": "2", "max": "one"}}]},
        "scaling": {"scaleUpThreshold": "45%", "scale_down_treshold": "40%"},
        "operations": {"allowed": ["ScaleWorkloads", "delete_deployment"], "restricted": [{"operation": "EvictPod", "condition": "replicas > 2"}]},
        "safety": {"cooldown": 60},
    });
    let problems = read(&wrong).problems;
    let told: Vec<(&str, &str)> = problems.iter().map(|problem| (problem.path.as_str(), problem.value.as_str())).collect();
    for place in [
        ("spec.target.kind", "\"Job\""),
        ("spec.mode", "\"automatic\""),
        ("spec.limits.minReplicas", "5"),
        ("spec.limits.containers[0].name", ""),
        ("spec.limits.containers[0].cpu.max", "\"one\""),
        ("spec.scaling.scale_down_treshold", "\"40%\""),
        ("spec.scaling.scaleUpThreshold", "\"45%\""),
        ("spec.operations.allowed[0]", "\"ScaleWorkloads\""),
        ("spec.operations.allowed[1]", "\"delete_deployment\""),
        ("spec.operations.restricted[0].condition", "\"replicas > 2\""),
        ("spec.operations.restricted[0].approvers", ""),
        ("spec.safety.cooldown", "60"),
    ] {
        assert!(told.contains(&place), "{place:?} is missing in {problems:#?}");
    }
    assert_eq!(told.len(), 12, "{problems:#?}");
    let hint = |path: &str| problems.iter().find(|problem| problem.path == path).map(|problem| problem.hint.as_str()).unwrap();
    assert_eq!(hint("spec.scaling.scale_down_treshold"), "did you mean `scaleDownThreshold`?");
    assert_eq!(hint("spec.operations.allowed[0]"), "did you mean `ScaleWorkload`?");
    assert_eq!(hint("spec.safety.cooldown"), "put it in quotes");
    assert!(problems.iter().all(|problem| !problem.rule.is_empty() && !problem.hint.is_empty()));
}

/// One thing is put out of order in a specification that is right, and exactly that is told.
#[test]
fn each_rule_is_told_where_it_is_broken() {
    for (pointer, value, path) in [
        ("/target", json!(null), "target"),
        ("/target/kind", json!("ReplicaSet"), "target.kind"),
        ("/target/name", json!(7), "target.name"),
        ("/targets/0/name", json!("orders"), "targets[0]"),
        ("/version", json!("1.2"), "version"),
        ("/version", json!("01.2.3"), "version"),
        ("/priority", json!("urgent"), "priority"),
        ("/criticality", json!("urgent"), "criticality"),
        ("/limits", json!([]), "limits"),
        ("/limits/maxReplicas", json!(-1), "limits.maxReplicas"),
        ("/limits/maxReplicas", json!(1.5), "limits.maxReplicas"),
        ("/limits/maxReplicas", json!(1), "limits.minReplicas"),
        ("/limits/containers/1/name", json!("app"), "limits.containers[1].name"),
        ("/limits/containers/0/cpu/min", json!("2"), "limits.containers[0].cpu.min"),
        ("/limits/containers/0/cpu/target", json!("50m"), "limits.containers[0].cpu.target"),
        ("/limits/containers/0/memory/max", json!("0"), "limits.containers[0].memory.max"),
        ("/objectives/latency/1/percentile", json!(95), "objectives.latency[1].percentile"),
        ("/objectives/latency/1/percentile", json!(42), "objectives.latency[1].percentile"),
        ("/objectives/latency/0/target", json!(null), "objectives.latency[0].target"),
        ("/objectives/latency/0/target", json!("0ms"), "objectives.latency[0].target"),
        ("/objectives/errorRate/target", json!("100%"), "objectives.errorRate.target"),
        ("/objectives/availability/target", json!("100%"), "objectives.availability.target"),
        ("/objectives/availability/window", json!("1y"), "objectives.availability.window"),
        ("/objectives/saturation/cpu", json!("180%"), "objectives.saturation.cpu"),
        ("/scaling/scaleDownThreshold", json!("75%"), "scaling.scaleDownThreshold"),
        ("/scaling/targetUtilization", json!("80%"), "scaling.targetUtilization"),
        ("/scaling/weights/cpu", json!(50), "scaling.weights"),
        ("/scaling/maxStep", json!(0), "scaling.maxStep"),
        ("/scaling/hysteresis/down", json!("0s"), "scaling.hysteresis.down"),
        ("/tuning/lowerBelow", json!("85%"), "tuning.lowerBelow"),
        ("/tuning/percentile", json!("99"), "tuning.percentile"),
        ("/operations/allowed/2", json!("ScaleWorkload"), "operations.allowed[2]"),
        ("/operations/allowed/0", json!("CordonNode"), "operations.allowed[0]"),
        ("/operations/allowed/0", json!("scale_beyond_limits"), "operations.allowed[0]"),
        ("/operations/allowed/0", json!("change_rbac"), "operations.allowed[0]"),
        ("/operations/allowed/0", json!("make coffee"), "operations.allowed[0]"),
        ("/operations/forbidden/3", json!("restart_pods"), "operations.forbidden[3]"),
        ("/operations/restricted/1/operation", json!("restart_pods"), "operations.restricted[1].operation"),
        ("/operations/restricted/1/operation", json!("delete_deployment"), "operations.restricted[1].operation"),
        ("/operations/restricted/1/operation", json!(null), "operations.restricted[1].operation"),
        ("/operations/restricted/1/operation", json!("UncordonNode"), "operations.restricted[1].operation"),
        ("/operations/restricted/1/count", json!(9), "operations.restricted[1].count"),
        ("/operations/restricted/1/approvers", json!(["user:jane"]), "operations.restricted[1].count"),
        ("/operations/restricted/1/approvers/0", json!("user:system:serviceaccount:ci:bot"), "operations.restricted[1].approvers[0]"),
        ("/operations/restricted/1/approvers/0", json!("user:"), "operations.restricted[1].approvers[0]"),
        ("/operations/restricted/1/chat", json!(true), "operations.restricted[1].chat"),
        ("/operations/restricted/0/approvers/0", json!("slack:T1/U1"), "operations.restricted[0].approvers"),
        ("/operations/restricted/0/approvers/0", json!("slack:t1/u1"), "operations.restricted[0].approvers[0]"),
        ("/operations/restricted/0/approvers/0", json!("slack:oncall"), "operations.restricted[0].approvers[0]"),
        ("/operations/approvers/0", json!("slack:T1/U1"), "operations.approvers"),
        ("/safety/breaker/failures", json!(0), "safety.breaker.failures"),
        ("/safety/operationsPerHour", json!("10"), "safety.operationsPerHour"),
        ("/verification/checks/0/target", json!("200ms"), "verification.checks[0].target"),
        ("/verification/checks/0/target", json!("< 1%"), "verification.checks[0].target"),
        ("/verification/checks/0/name", json!("latency_p42"), "verification.checks[0].name"),
        ("/verification/checks/1/name", json!("latency_p95"), "verification.checks[1].target"),
        ("/verification/checks/2/query", json!(null), "verification.checks[2].query"),
        ("/verification/checks/0/query", json!("up"), "verification.checks[0].query"),
        ("/verification/rollback/enabled", json!(false), "verification.rollback.enabled"),
        ("/verification/stabilization", json!("1h"), "verification.stabilization"),
        ("/windows/0/days", json!([]), "windows[0].days"),
        ("/windows/0/days/0", json!("Monday"), "windows[0].days[0]"),
        ("/windows/0/until", json!("00:00"), "windows[0].until"),
        ("/windows/0/from", json!("9:00"), "windows[0].from"),
        ("/freezes/0/until", json!("2026-12-24T00:00:00Z"), "freezes[0].until"),
        ("/freezes/0/from", json!("Christmas"), "freezes[0].from"),
        ("/freezes/0/reason", json!(" "), "freezes[0].reason"),
        ("/gitops/owner", json!("Spinnaker"), "gitops.owner"),
        ("/gitops/kind", json!("HelmRelease"), "gitops.kind"),
        ("/gitops/name", json!(null), "gitops.name"),
        ("/gitops/path", json!("../secrets"), "gitops.path"),
    ] {
        let spec = with(full(), pointer, value.clone());
        let problems = read(&spec).problems;
        let wanted = format!("spec.{path}");
        assert!(problems.iter().any(|problem| problem.path == wanted), "{pointer} = {value}: {problems:#?}");
        assert!(problems.len() <= 2, "{pointer} = {value}: {problems:#?}");
    }
}

#[test]
fn what_is_right_and_may_surprise_is_noted() {
    let notes = |spec: &Value| {
        let reading = read(spec);
        assert!(reading.problems.is_empty(), "{:#?}", reading.problems);
        reading.notes.into_iter().map(|note| note.path).collect::<Vec<_>>()
    };
    assert_eq!(notes(&minimal()), Vec::<String>::new());
    assert_eq!(notes(&with(minimal(), "/limits", json!({}))), ["spec.limits.maxReplicas"]);
    assert_eq!(notes(&with(minimal(), "/operations/allowed", json!(["AdjustResources"]))), ["spec.limits.containers"]);
    assert_eq!(notes(&with(minimal(), "/verification", json!({"enabled": false}))), ["spec.verification.enabled"]);
}

#[test]
fn rules_above_are_read_by_the_same_rules() {
    let spec = json!({
        "namespaces": ["shop"], "mode": "approve", "operations": {"allowed": ["CordonNode"], "forbidden": ["EvictPod"], "approvers": ["sre"]},
        "limits": {"maxReplicas": 20}, "safety": {"cooldown": "2m"}, "freezes": [{"from": "2026-12-24T00:00:00Z", "until": "2026-12-27T00:00:00Z", "reason": "x"}],
    });
    let above = good_cluster(&spec);
    assert!(above.concerns("shop") && !above.concerns("other") && good_cluster(&json!({})).concerns("other"));
    assert_eq!((above.rules.operations.unlisted, good_cluster(&json!({})).rules.operations.unlisted), (Tier::Restricted, Tier::Allowed));
    let problems = read_cluster("all", &with(with(spec, "/namespaces", json!(["a", "a"])), "/target", json!({}))).problems;
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["spec.target", "spec.namespaces[1]"]);
}

fn of_the_first_version() -> impl Strategy<Value = Value> {
    let actions = proptest::collection::vec(proptest::sample::select(crate::action::NAMES.to_vec()), 0..16);
    let mode = proptest::sample::select(vec![json!(null), json!("observe"), json!("approve"), json!("autonomous")]);
    let replicas = proptest::option::of(any::<u32>());
    (".{0,253}", mode, actions, replicas.clone(), replicas).prop_map(|(name, mode, actions, one, other)| {
        let (least, most) = match (one, other) {
            (Some(one), Some(other)) => (Some(one.min(other)), Some(one.max(other))),
            either => either,
        };
        let actions: Vec<Value> = actions.into_iter().map(|name| json!({"name": name})).collect();
        json!({"target": {"kind": "Deployment", "name": name}, "mode": mode, "actions": actions, "limits": {"minReplicas": least, "maxReplicas": most}})
    })
}

fn anything() -> impl Strategy<Value = Value> {
    let words: Vec<&str> = FIELDS.iter().flat_map(|(_, names)| names.iter().copied()).chain(["kind", "80%", "60s", "<1%", "user:", "𝄞"]).collect();
    let word = proptest::sample::select(words).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,9}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((word.clone(), inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What the first version of this kind admitted is read, and means what it meant.
    #[test]
    fn what_is_stored_stays_right(spec in of_the_first_version(), to in 0_u32..12) {
        let blueprint = read(&spec).into_result().unwrap();
        let named = |name: &str| spec["actions"].as_array().unwrap().iter().any(|action| action["name"] == name);
        let all = effective(&[], &blueprint);
        for name in crate::action::NAMES {
            let scale = name == "ScaleWorkload";
            let operation = if scale { scale_to(to) } else { Operation::named(name) };
            let least = u32::try_from(spec["limits"]["minReplicas"].as_u64().unwrap_or(1)).unwrap();
            let inside = spec["limits"]["maxReplicas"].as_u64().is_some_and(|most| u64::from(to) <= most) && to >= least;
            let allowed = blueprint.rules.mode == Mode::Autonomous && named(name) && (!scale || inside);
            prop_assert_eq!(all.classify(&operation, UnixMillis(0)).tier == Tier::Allowed, allowed);
            let asked = all.classify(&operation, UnixMillis(0)).tier == Tier::Restricted;
            prop_assert_eq!(asked, blueprint.rules.mode == Mode::Approve && named(name) && (!scale || inside), "as before, only the mode asks");
        }
    }

    /// Whatever is written, there is an answer of bounded size.
    #[test]
    fn nothing_is_too_strange_to_be_read(spec in anything()) {
        for problems in [read(&spec).problems, read_cluster("x", &spec).problems] {
            prop_assert!(problems.len() <= MAX_PROBLEMS + 1);
            prop_assert!(problems.iter().all(|problem| problem.to_string().len() < 8_192));
        }
    }
}
