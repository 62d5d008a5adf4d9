//! Who should have a sidecar, with which wishes, and why an existing pod has none.

use serde_json::json;

use super::*;

fn pod(change: Value) -> Value {
    let mut pod = json!({
        "metadata": { "name": "web", "annotations": {}, "creationTimestamp": "2026-01-02T00:00:00Z" },
        "spec": { "serviceAccountName": "web", "containers": [{ "name": "app" }] },
        "status": { "phase": "Running" },
    });
    merge(&mut pod, change);
    pod
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => change.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value)),
        (into, change) => *into = change,
    }
}

fn annotated(name: &str, value: &str) -> Value {
    pod(json!({ "metadata": { "annotations": { name: value } } }))
}

#[test]
fn a_reason_is_given_for_every_pod_without_a_sidecar() {
    let user = |uid: i64| json!({ "runAsUser": uid });
    let cases = [
        ("kube-system", json!({}), Skip::System("kube-system".into())),
        ("assent-system", json!({}), Skip::System("assent-system".into())),
        ("shop", json!({ "metadata": { "annotations": { INJECT: "disabled" } } }), Skip::OptedOut),
        ("shop", json!({ "spec": { "hostNetwork": true } }), Skip::HostNetwork),
        ("shop", json!({ "spec": { "os": { "name": "windows" } } }), Skip::OtherSystem),
        ("shop", json!({ "spec": { "nodeSelector": { "kubernetes.io/os": "windows" } } }), Skip::OtherSystem),
        ("shop", json!({ "spec": { "serviceAccountName": "" } }), Skip::NoServiceAccount),
        ("shop", json!({ "spec": { "securityContext": user(UID) } }), Skip::SameUser("app".into())),
        ("shop", json!({ "spec": { "containers": [{ "name": "app", "securityContext": user(UID) }] } }), Skip::SameUser("app".into())),
        ("shop", json!({ "spec": { "initContainers": [{ "name": "first", "securityContext": user(UID) }] } }), Skip::SameUser("first".into())),
        ("shop", json!({ "spec": { "containers": [{ "name": "app", "ports": [{ "containerPort": 4143 }] }] } }), Skip::SamePort("app".into())),
        ("shop", json!({ "spec": { "volumes": [{ "name": "assent-state" }] } }), Skip::SameVolume("assent-state".into())),
        ("shop", json!({ "spec": { "initContainers": [{ "name": SIDECAR }] } }), Skip::Present),
        ("shop", json!({ "spec": { "containers": "none" } }), Skip::NotAPod),
    ];
    for (namespace, change, expected) in cases {
        assert_eq!(judge(&pod(change), namespace, "assent-system"), Err(expected));
    }
}

#[test]
fn a_container_may_overrule_the_pods_user() {
    let change = json!({ "spec": { "securityContext": { "runAsUser": UID }, "containers": [{ "name": "app", "securityContext": { "runAsUser": 1000 } }] } });
    assert!(judge(&pod(change), "shop", "assent-system").is_ok());
}

#[test]
fn annotations_are_wishes_and_nonsense_is_refused() {
    let judged = |name, value| judge(&annotated(name, value), "shop", "assent-system");
    assert_eq!(judged(SKIP_OUTBOUND, "25, 587").unwrap().skip_outbound, [25, 587]);
    assert_eq!(judged(CPU_REQUEST, "50m").unwrap().cpu_request.as_deref(), Some("50m"));
    assert_eq!(judged(MEMORY_LIMIT, "64Mi").unwrap().memory_limit.as_deref(), Some("64Mi"));
    assert!(judged(REDIRECTED, "disabled").unwrap().explicit && !judged(REDIRECTED, "enabled").unwrap().explicit);
    assert_eq!(judged(OUTBOUND_TARGET, "10.96.0.7:80").unwrap().outbound_target, Some(([10, 96, 0, 7], 80).into()));
    let nonsense = [
        (SKIP_INBOUND, "http"),
        (SKIP_INBOUND, "0"),
        (SKIP_OUTBOUND, "70000"),
        (REDIRECTED, "no"),
        (OUTBOUND_TARGET, "web:80"),
        (CPU_REQUEST, "a lot"),
        (CPU_LIMIT, "-1"),
        (MEMORY_REQUEST, ""),
        (MEMORY_LIMIT, "0Mi"),
        (MEMORY_LIMIT, "1 Mi"),
    ];
    for (name, value) in nonsense {
        assert_eq!(judged(name, value), Err(Skip::Annotation(name)), "{value}");
    }
}

#[test]
fn what_a_namespace_enforces_decides_about_the_redirect() {
    for (standard, mode) in
        [(None, Mode::Redirect), (Some("privileged"), Mode::Redirect), (Some("baseline"), Mode::Explicit), (Some("restricted"), Mode::Explicit)]
    {
        assert_eq!(Mode::under(standard), mode, "{standard:?}");
    }
    assert_eq!(Mode::of(&pod(json!({}))), None);
    assert_eq!(Mode::of(&pod(json!({ "spec": { "initContainers": [{ "name": SIDECAR }] } }))), Some(Mode::Explicit));
    assert_eq!(Mode::of(&pod(json!({ "spec": { "initContainers": [{ "name": SIDECAR }, { "name": REDIRECT }] } }))), Some(Mode::Redirect));
}

fn reason(change: Value) -> Option<&'static str> {
    let labelled = "2026-01-01T00:00:00Z".parse().unwrap();
    gap(&serde_json::from_value(pod(change)).unwrap(), "shop", "assent-system", Some(labelled)).map(|gap| gap.reason)
}

#[test]
fn only_living_pods_that_should_be_meshed_are_gaps() {
    let redirect = |message: Option<&str>| {
        let ended = json!({ "name": REDIRECT, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": { "terminated": { "exitCode": 0, "message": message } } });
        json!({ "spec": { "initContainers": [{ "name": SIDECAR }, { "name": REDIRECT }] }, "status": { "initContainerStatuses": [ended] } })
    };
    assert_eq!(reason(json!({})), Some("missed"));
    assert_eq!(reason(json!({ "metadata": { "creationTimestamp": "2025-12-31T23:00:00Z" } })), Some("early"));
    assert_eq!(reason(json!({ "spec": { "hostNetwork": true } })), Some("host_network"));
    assert_eq!(reason(json!({ "metadata": { "annotations": { INJECT: "disabled" } } })), None);
    assert_eq!(reason(json!({ "status": { "phase": "Succeeded" } })), None);
    assert_eq!(reason(json!({ "metadata": { "deletionTimestamp": "2026-01-03T00:00:00Z" } })), None);
    assert_eq!(reason(redirect(None)), None);
    assert_eq!(reason(redirect(Some("nft refused the rules\n"))), Some("redirect_failed"));
}

#[test]
fn the_label_is_as_old_as_whoever_wrote_it() {
    let wrote = |label: &str, time: &str| json!({ "manager": "kubectl", "operation": "Update", "time": time, "fieldsV1": { "f:metadata": { "f:labels": { label: {} } } } });
    let namespace = json!({ "metadata": { "name": "shop", "managedFields": [wrote("f:team", "2026-01-01T00:00:00Z"), wrote("f:assent.dev/inject", "2026-01-05T00:00:00Z")] } });
    let namespace: k8s_openapi::api::core::v1::Namespace = serde_json::from_value(namespace).unwrap();
    assert_eq!(labelled_at(&namespace).unwrap().to_string(), "2026-01-05T00:00:00Z");
    assert_eq!(labelled_at(&k8s_openapi::api::core::v1::Namespace::default()), None);
}
