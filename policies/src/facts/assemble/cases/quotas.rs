//! Quotas: what one pod takes, and how often that fits.

use super::*;

/// The quota `team` with this much admitted and counted.
fn quota(world: World, hard: Value, used: Value) -> World {
    world.with("/quotas/0/spec/hard", hard.clone()).with("/quotas/0/status/hard", hard).with("/quotas/0/status/used", used)
}

fn room(world: &World) -> Value {
    world.facts()["quotas"].as_array().unwrap().first().map_or(Value::Null, |quota| json!([quota["resource"], quota["podsLeft"]]))
}

#[test]
fn the_resource_that_runs_out_first_is_told() {
    // One pod requests 300m CPU and 320Mi, and is limited to 1100m and 576Mi.
    let cases = [
        (json!({"pods": "10"}), json!({"pods": "4"}), json!(["pods", 6])),
        (json!({"count/pods": "10"}), json!({"count/pods": "4"}), json!(["count/pods", 6])),
        (json!({"cpu": "2"}), json!({"cpu": "500m"}), json!(["cpu", 5])),
        (json!({"cpu": "2"}), json!({"cpu": "501m"}), json!(["cpu", 4])),
        (json!({"requests.cpu": "3"}), json!({"requests.cpu": "0"}), json!(["requests.cpu", 10])),
        (json!({"requests.memory": "1Gi"}), json!({"requests.memory": "0"}), json!(["requests.memory", 3])),
        (json!({"limits.cpu": "2200m", "pods": "100"}), json!({"limits.cpu": "0", "pods": "0"}), json!(["limits.cpu", 2])),
        (json!({"limits.memory": "576Mi"}), json!({"limits.memory": "0"}), json!(["limits.memory", 1])),
        (json!({"cpu": "1"}), json!({"cpu": "3"}), json!(["cpu", 0])),
        (json!({"services": "1", "requests.storage": "1Gi", "persistentvolumeclaims": "1"}), json!({}), Value::Null),
        // Nobody asks for it, so it never runs out.
        (json!({"requests.nvidia.com/gpu": "1"}), json!({"requests.nvidia.com/gpu": "1"}), Value::Null),
        // Not counted yet: the API server refuses pods.
        (json!({"pods": "10"}), json!({}), json!(["pods", 0])),
        (json!({"cpu": "99999999999999999999E"}), json!({"cpu": "0"}), json!(["cpu", 4_294_967_295_u32])),
    ];
    for (hard, used, expected) in cases {
        assert_eq!(room(&quota(restart(), hard.clone(), used.clone())), expected, "{used} of {hard}");
    }
    let shrunk = quota(restart(), json!({"pods": "10"}), json!({"pods": "4"})).with("/quotas/0/spec/hard/pods", "5");
    assert_eq!(room(&shrunk), json!(["pods", 1]), "the smaller of spec and status");
}

#[test]
fn a_pod_is_added_up_as_the_api_server_does() {
    let pod = "/deployment/spec/template/spec";
    let container = |cpu: &str, sidecar: bool| {
        let mut container = json!({"name": "i", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}});
        if sidecar {
            container["restartPolicy"] = json!("Always");
        }
        container
    };
    // What is left of 3 CPUs tells what one pod takes.
    let left = |world: World| room(&quota(world, json!({"requests.cpu": "3"}), json!({"requests.cpu": "0"})))[1].as_u64().unwrap();
    let init = |all: Value| restart().with(&format!("{pod}/initContainers"), all);
    assert_eq!(left(restart()), 10, "300m");
    assert_eq!(left(init(json!([container("300m", false)]))), 10, "an init container within it");
    assert_eq!(left(init(json!([container("1500m", false)]))), 2, "an init container beyond it");
    assert_eq!(left(init(json!([container("700m", true)]))), 3, "1000m with a sidecar");
    assert_eq!(left(init(json!([container("700m", true), container("800m", false)]))), 2, "1500m beside the sidecar");
    assert_eq!(left(init(json!([container("800m", false), container("700m", true)]))), 3, "800m before the sidecar");
    assert_eq!(left(restart().with(&format!("{pod}/overhead"), json!({"cpu": "700m"}))), 3, "1000m with overhead");
    assert_eq!(left(restart().with(&format!("{pod}/resources"), json!({"requests": {"cpu": "1500m"}}))), 2, "of the whole pod");
    let limited = restart().with(&format!("{pod}/containers/0/resources/requests"), Value::Null);
    assert_eq!(left(limited), 2, "1050m: a limit without a request is the request");
    let unstated = restart().with(&format!("{pod}/containers/1/resources"), Value::Null);
    assert_eq!(left(unstated.clone()), 0, "the API server refuses a pod that does not say");
    assert_eq!(room(&quota(unstated, json!({"ephemeral-storage": "1Gi"}), json!({"ephemeral-storage": "0"}))), Value::Null, "and asks for CPU and memory only");
}

#[test]
fn a_quota_is_left_out_if_no_pod_can_be_in_its_scope() {
    let scoped = |world: World, scopes: Value| room(&quota(world, json!({"pods": "10"}), json!({"pods": "4"})).with("/quotas/0/spec/scopes", scopes));
    let class = |operator: &str, values: Value| json!([{"scopeName": "PriorityClass", "operator": operator, "values": values}]);
    let selected = |class_of_pod: &str, expressions: Value| {
        let world = restart().with("/deployment/spec/template/spec/priorityClassName", class_of_pod);
        room(&quota(world, json!({"pods": "10"}), json!({"pods": "4"})).with("/quotas/0/spec/scopeSelector/matchExpressions", expressions))
    };
    let (counts, not) = (json!(["pods", 6]), Value::Null);
    assert_eq!(scoped(restart(), json!(["NotTerminating"])), counts);
    assert_eq!(scoped(restart(), json!(["Terminating"])), not);
    assert_eq!(scoped(restart(), json!(["BestEffort"])), not);
    assert_eq!(scoped(restart(), json!(["NotBestEffort"])), counts);
    assert_eq!(scoped(restart(), json!(["SomethingNew"])), counts, "what is not known counts");
    let bare = restart().with("/deployment/spec/template/spec/containers", json!([{"name": "a", "image": "a"}]));
    assert_eq!(scoped(bare, json!(["BestEffort"])), counts);
    assert_eq!(selected("gold", class("In", json!(["gold"]))), counts);
    assert_eq!(selected("gold", class("In", json!(["silver"]))), not);
    assert_eq!(selected("gold", class("NotIn", json!(["gold"]))), not);
    assert_eq!(selected("gold", class("Exists", json!([]))), counts);
    assert_eq!(selected("", class("In", json!(["silver"]))), counts, "admission may give it this class");
}

#[test]
fn what_is_no_quantity_is_named() {
    let pod = "/deployment/spec/template/spec/containers/0/resources/requests/cpu";
    for bad in [json!("much"), json!(""), json!("-1"), json!(0.5), json!(null), json!("1e2147483647"), json!("1Zi")] {
        let used = quota(restart(), json!({"cpu": "2"}), json!({"cpu": bad}));
        let said = used.refusal();
        assert!(said.starts_with("ResourceQuota shop/team: `/status/used` cannot be read: `cpu`"), "{bad}: {said}");
    }
    for bad in [json!("much"), json!("-250m"), json!([])] {
        let said = restart().with(pod, bad.clone()).refusal();
        assert!(said.starts_with("Deployment shop/orders: `/spec/template/spec/containers/resources/requests` cannot be read: `cpu`"), "{bad}: {said}");
    }
    assert!(restart().with("/quotas/0/spec/scopes", "Terminating").refusal().contains("`/spec/scopes` cannot be read: it is not a list"));
}
