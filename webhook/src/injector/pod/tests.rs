//! Injection: what is added where, every reason not to, and that twice is once.

use clap::Parser as _;
use proptest::prelude::*;

use super::*;

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    settings: Settings,
}

fn settings() -> Settings {
    Command::parse_from(["injector", "--sidecar-image=localhost/assent:dev"]).settings
}

fn pod() -> Value {
    json!({
        "metadata": { "name": "web" },
        "spec": { "serviceAccountName": "web", "containers": [{ "name": "app", "image": "app" }] },
    })
}

fn patched(pod: &Value, patch: Vec<Value>) -> Value {
    let mut pod = pod.clone();
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(patch)).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

#[test]
fn adds_a_native_sidecar_first_and_the_redirect_behind_it() {
    let mut before = pod();
    before["spec"]["initContainers"] = json!([{ "name": "migrate" }]);
    before["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
    before["metadata"]["annotations"] = json!({ "team": "a", SKIP_OUTBOUND: "25, 587" });
    let after = patched(&before, inject(&before, "shop", &settings()).unwrap());
    let init: Vec<&str> = after["spec"]["initContainers"].as_array().unwrap().iter().map(name).collect();
    assert_eq!(init, [SIDECAR, REDIRECT, "migrate"]);
    let sidecar = &after["spec"]["initContainers"][0];
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(sidecar["securityContext"]["runAsUser"], 2102);
    assert_eq!(sidecar["securityContext"]["capabilities"], json!({ "drop": ["ALL"] }));
    assert_eq!(sidecar["startupProbe"]["httpGet"], json!({ "path": "/ready", "port": 4191 }));
    assert_eq!(after["spec"]["initContainers"][1]["command"], json!(["/assent-redirect", "--skip-outbound-ports=25,587"]));
    // The sidecar knows what its redirect leaves alone.
    let env = sidecar["env"].as_array().unwrap();
    assert!(env.contains(&json!({ "name": "ASSENT_SKIP_OUTBOUND_PORTS", "value": "25,587" })), "{env:?}");
    assert!(!env.iter().any(|variable| variable["name"] == "ASSENT_SKIP_INBOUND_PORTS"));
    let volumes: Vec<&str> = after["spec"]["volumes"].as_array().unwrap().iter().map(name).collect();
    assert_eq!(volumes, ["data", "assent-identity-token", "assent-trust", "assent-state"]);
    assert_eq!(after["metadata"]["annotations"]["team"], "a");
    assert_eq!(after["metadata"]["annotations"][INJECTED], "localhost/assent:dev");
    assert_eq!(after["spec"]["containers"], before["spec"]["containers"], "the application is untouched");
    assert!(serde_json::from_value::<k8s_openapi::api::core::v1::Pod>(after).is_ok());
}

#[test]
fn says_why_it_does_not() {
    type Edit = fn(&mut Value);
    let cases: [(&str, Edit, Skip); 12] = [
        ("kube-system", |_| {}, Skip::System("kube-system".into())),
        ("assent-system", |_| {}, Skip::System("assent-system".into())),
        ("shop", |pod| pod["metadata"]["annotations"] = json!({ INJECT: "disabled" }), Skip::OptedOut),
        ("shop", |pod| pod["spec"]["hostNetwork"] = json!(true), Skip::HostNetwork),
        ("shop", |pod| pod["spec"]["os"] = json!({ "name": "windows" }), Skip::OtherSystem),
        ("shop", |pod| pod["spec"]["serviceAccountName"] = json!(""), Skip::NoServiceAccount),
        ("shop", |pod| pod["spec"]["securityContext"] = json!({ "runAsUser": 2102 }), Skip::SameUser("app".into())),
        ("shop", |pod| pod["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 2102 }), Skip::SameUser("app".into())),
        ("shop", |pod| pod["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 4143 }]), Skip::SamePort("app".into())),
        ("shop", |pod| pod["metadata"]["annotations"] = json!({ SKIP_INBOUND: "http" }), Skip::Annotation(SKIP_INBOUND)),
        ("shop", |pod| pod["spec"]["initContainers"] = json!([{ "name": SIDECAR }]), Skip::Present),
        ("shop", |pod| pod["spec"] = json!({}), Skip::NotAPod),
    ];
    for (namespace, edit, expected) in cases {
        let mut pod = pod();
        edit(&mut pod);
        assert_eq!(inject(&pod, namespace, &settings()), Err(expected));
    }
}

#[test]
fn a_container_may_overrule_the_pods_user() {
    let mut pod = pod();
    pod["spec"]["securityContext"] = json!({ "runAsUser": 2102 });
    pod["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 1000 });
    assert!(inject(&pod, "shop", &settings()).is_ok());
}

fn any_pod() -> impl Strategy<Value = Value> {
    let container = (any::<bool>(), proptest::option::of(1000i64..3000)).prop_map(|(ports, user)| {
        let mut container = json!({ "name": "c" });
        if ports {
            container["ports"] = json!([{ "containerPort": 80 }]);
        }
        if let Some(user) = user {
            container["securityContext"] = json!({ "runAsUser": user });
        }
        container
    });
    let list = proptest::option::of(proptest::collection::vec(container.clone(), 0..3));
    let annotations = proptest::option::of(proptest::collection::hash_map("[a-z]{1,5}", "[a-z]{0,5}", 0..3));
    let volumes = proptest::option::of(proptest::collection::vec("[a-z]{1,5}", 0..3));
    (list, proptest::collection::vec(container, 1..3), annotations, volumes).prop_map(|(init, containers, annotations, volumes)| {
        let mut pod = json!({ "metadata": {}, "spec": { "serviceAccountName": "a", "containers": containers } });
        if let Some(init) = init {
            pod["spec"]["initContainers"] = json!(init);
        }
        if let Some(annotations) = annotations {
            pod["metadata"]["annotations"] = json!(annotations);
        }
        if let Some(volumes) = volumes {
            pod["spec"]["volumes"] = volumes.into_iter().map(|name| json!({ "name": name })).collect();
        }
        pod
    })
}

/// Arbitrary JSON, with the names that the injector looks at made likely.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from), "[a-z/]{0,6}".prop_map(Value::from)];
    let key =
        prop_oneof![Just("spec"), Just("metadata"), Just("containers"), Just("initContainers"), Just("annotations"), Just("ports"), Just("serviceAccountName")];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..4).prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn twice_is_once(pod in any_pod()) {
        if let Ok(patch) = inject(&pod, "shop", &settings()) {
            let once = patched(&pod, patch);
            prop_assert_eq!(inject(&once, "shop", &settings()), Err(Skip::Present));
        }
    }

    #[test]
    fn every_patch_applies_and_nothing_panics(pod in any_json()) {
        if let Ok(patch) = inject(&pod, "shop", &settings()) {
            patched(&pod, patch);
        }
    }
}
