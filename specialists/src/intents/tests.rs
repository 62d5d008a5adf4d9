//! What is made of objects as the API server shows them, and that only whole intents reach the view.

use assent_core::seats::Settings;
use serde_json::{Value, json};

use super::*;

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Box<T> {
    Box::new(serde_json::from_value(value).unwrap())
}

fn deployment(replicas: i32, more: &Value) -> Box<DynamicObject> {
    let mut value = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "orders", "uid": "d1", "generation": 3},
        "spec": {"replicas": replicas, "selector": {}, "template": {"spec": {"containers": [
            {"name": "app", "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}},
            {"name": "helper", "resources": {"limits": {"cpu": "1"}}},
            {"name": "assent-sidecar", "resources": {"requests": {"cpu": "5"}}},
        ]}}},
        "status": {"observedGeneration": 3, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas},
    });
    for (pointer, new) in more.as_object().unwrap() {
        *value.pointer_mut(pointer).unwrap() = new.clone();
    }
    object(value)
}

fn blueprint(uid: &str, scaling: &Value) -> Box<DynamicObject> {
    object(json!({
        "apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint",
        "metadata": {"namespace": "shop", "name": uid, "uid": uid, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"target": {"kind": "Deployment", "name": "orders"}, "limits": {"minReplicas": 1, "maxReplicas": 4},
                 "operations": {"allowed": ["ScaleWorkload"]}, "scaling": scaling},
    }))
}

fn listed() -> Intents {
    let intents = Intents::new(Arc::new(Held::new(View::new(Settings::default()))));
    intents.listed.send_replace(ALL);
    intents
}

fn followed(intents: &Intents) -> usize {
    intents.held.read(|view| view.followed().count())
}

#[test]
fn a_workload_is_pruned_to_what_counts() {
    let running = running(Kind::Deployment, &deployment(3, &json!({"/status/readyReplicas": 2}))).unwrap();
    assert_eq!((running.replicas, running.ready, running.rolling_out, running.resizes), (3, 2, false, true));
    let [app, helper] = running.containers.try_into().unwrap();
    assert_eq!((app.cpu.request, app.cpu.limit), (250, None));
    assert_eq!((app.memory.request, app.memory.limit), (64 << 20, Some(128 << 20)));
    assert_eq!((helper.cpu.request, helper.memory.request), (1_000, 0), "what requests nothing requests its limit");
    for half in [json!({"/status/updatedReplicas": 1}), json!({"/status/observedGeneration": 2})] {
        assert!(super::running(Kind::Deployment, &deployment(3, &half)).unwrap().rolling_out, "{half}");
    }
}

#[test]
fn an_autoscaler_acts_only_where_it_says_so() {
    let read = |status: &str, metrics: Value| {
        autoscaler(&object::<HorizontalPodAutoscaler>(json!({
            "metadata": {"namespace": "shop", "name": "orders", "uid": "h1"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "orders"}, "maxReplicas": 7, "metrics": metrics},
            "status": {"conditions": [{"type": "ScalingActive", "status": status}]},
        })))
    };
    let memory = json!([{"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}}]);
    let acting = read("True", memory);
    assert_eq!((acting.min, acting.max, acting.active, acting.by_cpu_request, acting.by_memory_request), (1, 7, true, false, true));
    let failing = read("False", json!([]));
    assert_eq!((failing.active, failing.by_cpu_request), (false, true));
}

#[test]
fn what_people_want_is_followed_from_whole_lists_and_unambiguous_words_only() {
    let early = Intents::new(Arc::new(Held::new(View::new(Settings::default()))));
    early.blueprint(Change::Is(blueprint("b1", &json!({}))));
    early.workload(Kind::Deployment, Change::Is(deployment(2, &json!({}))));
    assert_eq!(followed(&early), 0, "an autoscaler may be listed yet");

    let intents = listed();
    intents.blueprint(Change::Is(blueprint("b1", &json!({}))));
    intents.workload(Kind::Deployment, Change::Is(deployment(2, &json!({}))));
    assert_eq!(followed(&intents), 1);
    intents.blueprint(Change::Is(blueprint("b2", &json!({}))));
    assert_eq!(followed(&intents), 0, "two contradict each other");
    intents.blueprint(Change::Gone("b2".into()));
    assert_eq!(followed(&intents), 1);
    intents.blueprint(Change::Is(blueprint("b1", &Value::Null)));
    assert_eq!(followed(&intents), 0, "no word on load");
    intents.blueprint(Change::Is(blueprint("b1", &json!({}))));
    intents.above(Change::Is(object(json!({
        "apiVersion": "assent.dev/v1alpha1", "kind": "ClusterBlueprint", "metadata": {"name": "all", "uid": "c1"}, "spec": {"mode": "sometimes"},
    }))));
    assert_eq!(followed(&intents), 0, "rules that nobody understands may forbid anything");
    intents.above(Change::Gone("c1".into()));
    assert_eq!(followed(&intents), 1);
    let mut same_name = deployment(2, &json!({}));
    same_name.metadata.uid = Some("s1".into());
    intents.workload(Kind::StatefulSet, Change::Is(same_name));
    assert_eq!(followed(&intents), 0, "which of the two uses what is not known");
    intents.workload(Kind::StatefulSet, Change::Gone("s1".into()));
    assert_eq!(followed(&intents), 1);
    intents.workload(Kind::Deployment, Change::Gone("d1".into()));
    assert_eq!(followed(&intents), 0);
}

#[test]
fn a_pod_is_evicted_where_the_one_blueprint_lists_that_and_nobody_above_forbids_it() {
    let intents = listed();
    let listing = |uid: &str, operations: Value| {
        let mut blueprint = blueprint(uid, &Value::Null);
        blueprint.data["spec"]["operations"] = operations;
        Change::Is(blueprint)
    };
    let evicting = || intents.held.read(|view| view.evicting().map(|service| service.name.clone()).collect::<Vec<_>>());
    intents.workload(Kind::Deployment, Change::Is(deployment(2, &json!({}))));
    for (operations, expected) in [
        (json!({"allowed": ["ScaleWorkload"]}), 0),
        (json!({"allowed": ["ScaleWorkload", "EvictPod"]}), 1),
        (json!({"allowed": ["EvictPod"], "restricted": [{"operation": "EvictPod", "approvers": ["group:oncall"]}]}), 0),
        (json!({"allowed": ["evict_pod"]}), 1),
    ] {
        intents.blueprint(listing("b1", operations.clone()));
        assert_eq!(evicting().len(), expected, "{operations}");
    }
    intents.above(Change::Is(object(json!({
        "apiVersion": "assent.dev/v1alpha1", "kind": "ClusterBlueprint", "metadata": {"name": "all", "uid": "c1"},
        "spec": {"operations": {"forbidden": ["EvictPod"]}},
    }))));
    assert!(evicting().is_empty());
    intents.above(Change::Gone("c1".into()));
    assert_eq!(evicting(), ["orders"]);
    intents.workload(Kind::Deployment, Change::Gone("d1".into()));
    assert!(evicting().is_empty());
}

#[test]
fn a_stateful_set_is_followed_by_its_own_blueprint_and_resized_where_it_can_be_put_back() {
    let intents = listed();
    intents.blueprint(Change::Is(blueprint("b1", &json!({}))));
    intents.workload(Kind::StatefulSet, Change::Is(deployment(2, &json!({}))));
    assert_eq!(followed(&intents), 0, "the Blueprint speaks of a Deployment");
    let mut of_sets = blueprint("b1", &json!({}));
    of_sets.data["spec"]["target"]["kind"] = json!("StatefulSet");
    intents.blueprint(Change::Is(of_sets));
    assert_eq!(followed(&intents), 1);
    let mut set = deployment(2, &json!({}));
    assert!(!running(Kind::StatefulSet, &set).unwrap().resizes, "pods in order may never come to the way back");
    set.data["spec"]["podManagementPolicy"] = json!("Parallel");
    assert!(running(Kind::StatefulSet, &set).unwrap().resizes);
}
