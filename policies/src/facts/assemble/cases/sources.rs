//! Budgets, autoscalers, Services, plans and exemptions.

use super::*;

fn names(facts: &Value, list: &str) -> Vec<String> {
    facts[list].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_budget_counts_if_it_selects_the_template() {
    let selector = |selector: Value| restart().with("/budgets/0/spec/selector", selector);
    let expression = |operator: &str, values: Value| selector(json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]}));
    let cases = [
        (selector(json!({"matchLabels": {"app": "orders"}})), true),
        (selector(json!({"matchLabels": {"app": "orders", "zone": "a"}})), false),
        (selector(json!({})), true),
        (selector(Value::Null), false),
        (expression("In", json!(["frontend", "backend"])), true),
        (expression("NotIn", json!(["backend"])), false),
        (expression("Exists", json!([])), true),
        (expression("DoesNotExist", json!([])), false),
        // A label that only pods have may be theirs.
        (selector(json!({"matchLabels": {"app": "orders", "pod-template-hash": "8"}})), true),
        (selector(json!({"matchExpressions": [{"key": "pod-template-hash", "operator": "DoesNotExist"}]})), true),
    ];
    for (at, (world, expected)) in cases.into_iter().enumerate() {
        assert_eq!(names(&world.facts(), "budgets").contains(&"orders".to_owned()), expected, "case {at}");
    }
    for bad in [
        json!("app=orders"),
        json!({"matchLabels": {"app": 1}}),
        json!({"matchExpressions": [{"key": "tier", "operator": "Near"}]}),
        json!({"matchLabels": {"-": "x"}}),
    ] {
        let said = selector(bad.clone()).refusal();
        assert!(said.starts_with("PodDisruptionBudget shop/orders: `/spec/selector` cannot be read"), "{bad}: {said}");
    }
}

#[test]
fn a_budget_is_what_its_controller_says_of_it_as_it_is() {
    let budget = |place: &str, value: Value| restart().with(&format!("/budgets/0{place}"), value);
    assert_eq!(budget("/spec/minAvailable", json!("50%")).facts()["budgets"][0].get("minAvailable"), None);
    assert_eq!(budget("/spec/minAvailable", json!(2_147_483_647)).facts()["budgets"][0]["minAvailable"], json!(2_147_483_647));
    let refused = [
        ("/status/observedGeneration", json!(1), "`/status` cannot be read: the disruption controller has not judged generation 2 of it yet (last: 1)"),
        ("/status", Value::Null, "has not judged generation 2 of it yet (last: 0)"),
        ("/status/desiredHealthy", Value::Null, "has not judged"),
        ("/status/currentHealthy", json!(-1), "`/status/currentHealthy` cannot be read: it is not a whole number from 0"),
        ("/status/disruptionsAllowed", json!(1e30), "`/status/disruptionsAllowed` cannot be read"),
        ("/status/disruptionsAllowed", json!("9"), "`/status/disruptionsAllowed` cannot be read"),
        ("/spec/minAvailable", json!(-3), "`/spec/minAvailable` cannot be read"),
        ("/spec/minAvailable", json!(99_999_999_999_i64), "`/spec/minAvailable` cannot be read"),
        ("/metadata/name", Value::Null, "`/metadata/name` cannot be read"),
    ];
    for (place, value, words) in refused {
        let said = budget(place, value).refusal();
        assert!(said.contains(words), "{place}: {said}");
    }
    let elsewhere = restart().with("/budgets/1/status", Value::Null);
    assert_eq!(names(&elsewhere.facts(), "budgets"), ["orders"], "a budget of other pods need not be known");
}

#[test]
fn an_autoscaler_counts_if_it_scales_the_workload() {
    let autoscaler = |reference: Value, more: &[(&str, Value)]| {
        let world = scale(6).with("/autoscalers/0/spec/scaleTargetRef", reference);
        more.iter().fold(world, |world, (place, value)| world.with(&format!("/autoscalers/0{place}"), value.clone())).facts()["autoscalers"].clone()
    };
    let ours = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "orders"});
    let fact = |active: bool| json!([{"name": "payments", "minReplicas": 2, "maxReplicas": 10, "active": active}]);
    let status = |status: &str| [("/status/conditions/0/status", json!(status))];
    assert_eq!(autoscaler(ours.clone(), &[]), fact(true));
    assert_eq!(autoscaler(json!({"apiVersion": "apps/v1beta1", "kind": "Deployment", "name": "orders"}), &[]), fact(true), "any version");
    assert_eq!(autoscaler(ours.clone(), &status("Unknown")), fact(true));
    assert_eq!(autoscaler(ours.clone(), &[("/status", Value::Null)]), fact(true), "not yet known");
    assert_eq!(autoscaler(ours.clone(), &status("False")), fact(false));
    let stale = [("/status/conditions/0/status", json!("False")), ("/metadata/generation", json!(3)), ("/status/observedGeneration", json!(2))];
    assert_eq!(autoscaler(ours.clone(), &stale), fact(true), "what was said of an older spec");
    assert_eq!(autoscaler(ours.clone(), &[("/spec/minReplicas", Value::Null)])[0]["minReplicas"], json!(1));
    for (part, value) in [("apiVersion", "extensions/v1"), ("apiVersion", "v1"), ("kind", "StatefulSet"), ("name", "orders-2")] {
        let mut other = ours.clone();
        other[part] = json!(value);
        assert_eq!(autoscaler(other, &[]), json!([]), "{part}");
    }
    let said = scale(6).with("/autoscalers/0/spec/scaleTargetRef/name", "orders").with("/autoscalers/0/spec/maxReplicas", Value::Null).refusal();
    assert_eq!(said, "HorizontalPodAutoscaler shop/payments: `/spec/maxReplicas` cannot be read: it is not there");
}

#[test]
fn a_service_counts_if_its_selector_matches_the_template() {
    let service = |place: &str, value: Value| names(&restart().with(&format!("/services/0{place}"), value).facts(), "services");
    assert_eq!(service("/spec/selector/tier", json!("backend")), ["orders"]);
    for (place, value) in [
        ("/spec/selector", Value::Null),
        ("/spec/selector", json!({})),
        ("/spec/selector/tier", json!("frontend")),
        ("/spec/selector/pod-template-hash", json!("8")),
        ("/spec/type", json!("ExternalName")),
    ] {
        assert_eq!(service(place, value), [""; 0], "{place}");
    }
    assert!(restart().with("/services/0/spec/selector", "app=orders").refusal().starts_with("Service shop/orders: `/spec/selector` cannot be read"));
}

#[test]
fn a_plan_is_open_by_its_own_deadlines_and_remembered_for_an_hour() {
    let mut world = restart();
    let plan = |name: &str, seconds_ago: i64| StoredPlan { name: name.into(), created_at: NOW.plus(-1000 * seconds_ago), plan: plan(), over: false };
    world.plans = vec![plan("new", 0), plan("ahead", -5), plan("reverting", 1799), plan("over", 1800), plan("old", 3599), plan("forgotten", 3600)];
    let facts = world.facts();
    let told: Vec<(&str, bool)> =
        facts["remediations"].as_array().unwrap().iter().map(|one| (one["name"].as_str().unwrap(), one["open"].as_bool().unwrap())).collect();
    assert_eq!(told, [("new", true), ("ahead", true), ("reverting", true), ("over", false), ("old", false)]);
    let first = json!({"name": "new", "incident": "01890a5d-ac96-774b-bcce-b302099a8057", "action": "RestartWorkload", "kind": "Deployment", "namespace": "shop",
        "target": "payments", "createdAt": "2026-11-27T10:00:00Z", "open": true});
    assert_eq!(facts["remediations"][0], first);
    // A status closes a plan, but never before its soak time.
    let over = |name: &str, seconds_ago: i64| StoredPlan { over: true, ..plan(name, seconds_ago) };
    let soaked = |stored: StoredPlan| StoredPlan { plan: Plan { soak_ms: 60_000, ..stored.plan }, ..stored };
    world.plans = vec![soaked(over("early", 59)), soaked(over("done", 60))];
    let facts = world.facts();
    let told: Vec<_> = facts["remediations"].as_array().unwrap().iter().map(|one| one["open"].as_bool().unwrap()).collect();
    assert_eq!(told, [true, false]);
}

fn plan() -> Plan {
    let digest = "0".repeat(64);
    serde_json::from_value(json!({
        "cluster": "c", "incident": "01890a5d-ac96-774b-bcce-b302099a8057", "epoch": 1,
        "proposal": {"action": {"restartWorkload": {"marker": "i.1"}},
            "target": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "payments", "uid": "p", "generation": 1, "spec": digest}},
        "inverse": "empty", "ballots": [], "roster": digest, "guardrails": digest, "blueprint": {"name": "b", "uid": "b", "generation": 1},
        "ledger": {"era": 0, "head": {"sequence": 1, "hash": digest}, "proof": []},
        "soakMs": 1, "expiresAfterMs": 300_000, "revertWithinMs": 1_800_000
    }))
    .unwrap()
}

#[test]
fn exemptions_of_the_target_alone_are_told() {
    let mut world = restart();
    let exemption = |name: &str, target: &str, expires: i64| ExemptionSource {
        exemption: crate::facts::Exemption {
            name: name.into(),
            guardrail: name.into(),
            owner: "jane@example.com".into(),
            reason: "r".into(),
            expires: String::new(),
        },
        expires_ms: NOW.0 + expires,
        kind: "Deployment".into(),
        namespace: "shop".into(),
        target: target.into(),
    };
    world.exemptions = vec![exemption("a", "orders", 1), exemption("b", "orders", 0), exemption("c", "payments", 1)];
    assert_eq!(names(&world.facts(), "exemptions"), ["a"]);
}
