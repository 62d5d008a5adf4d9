//! Injection: what is added where, in either mode, and that twice is once.

use assent_api::mesh::{CPU_LIMIT, MEMORY_REQUEST, OUTBOUND_TARGET, REDIRECT, REDIRECTED, SIDECAR, SKIP_OUTBOUND, containers, name};
use clap::Parser as _;
use proptest::prelude::*;

use super::*;

const IMAGE: &str = "localhost/assent@sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    settings: Settings,
}

fn settings() -> Settings {
    Command::parse_from(["injector", &format!("--sidecar-image={IMAGE}")]).settings
}

fn pod() -> Value {
    json!({
        "metadata": { "name": "web" },
        "spec": { "serviceAccountName": "web", "containers": [{ "name": "app", "image": "app" }] },
    })
}

fn patched(pod: &Value, injection: Injection) -> Value {
    let mut pod = pod.clone();
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(injection.patch)).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

fn injected(pod: &Value, mode: Mode) -> Value {
    patched(pod, inject(pod, "shop", mode, &settings()).unwrap())
}

fn env<'a>(container: &'a Value, variable: &str) -> Option<&'a str> {
    container["env"].as_array().unwrap().iter().find(|entry| entry["name"] == variable)?["value"].as_str()
}

#[test]
fn adds_a_native_sidecar_first_and_the_redirect_behind_it() {
    let mut before = pod();
    before["spec"]["initContainers"] = json!([{ "name": "migrate" }]);
    before["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
    before["metadata"]["annotations"] = json!({ "team": "a", SKIP_OUTBOUND: "25, 587" });
    let after = injected(&before, Mode::Redirect);
    let init: Vec<&str> = after["spec"]["initContainers"].as_array().unwrap().iter().map(name).collect();
    assert_eq!(init, [SIDECAR, REDIRECT, "migrate"]);
    let sidecar = &after["spec"]["initContainers"][0];
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(sidecar["startupProbe"]["httpGet"], json!({ "path": "/ready", "port": 4191 }));
    // A delay would be added to the start of every pod.
    assert!(sidecar["startupProbe"]["initialDelaySeconds"].is_null());
    assert_eq!(after["spec"]["initContainers"][1]["command"], json!(["/assent-redirect", "--skip-outbound-ports=25,587"]));
    // The sidecar knows what its redirect leaves alone.
    let env = sidecar["env"].as_array().unwrap();
    assert!(env.contains(&json!({ "name": "ASSENT_SKIP_OUTBOUND_PORTS", "value": "25,587" })), "{env:?}");
    assert!(!env.iter().any(|variable| variable["name"] == "ASSENT_SKIP_INBOUND_PORTS"));
    let volumes: Vec<&str> = after["spec"]["volumes"].as_array().unwrap().iter().map(name).collect();
    assert_eq!(volumes, ["data", "assent-identity-token", "assent-trust", "assent-state"]);
    assert_eq!(after["metadata"]["annotations"]["team"], "a");
    assert_eq!(after["metadata"]["annotations"][INJECTED], IMAGE);
    assert_eq!(after["spec"]["containers"], before["spec"]["containers"], "the application is untouched");
    assert!(serde_json::from_value::<k8s_openapi::api::core::v1::Pod>(after).is_ok());
}

#[test]
fn the_sidecar_holds_no_privilege_and_the_redirect_only_its_two() {
    for mode in [Mode::Redirect, Mode::Explicit] {
        let after = injected(&pod(), mode);
        let added: Vec<&Value> = containers(&after).filter(|container| name(container).starts_with("assent-")).collect();
        assert_eq!(added.len(), if mode == Mode::Redirect { 2 } else { 1 });
        for container in added {
            let context = &container["securityContext"];
            assert_eq!(container["image"], IMAGE);
            assert_eq!(context["privileged"], false);
            assert_eq!(context["allowPrivilegeEscalation"], false);
            assert_eq!(context["readOnlyRootFilesystem"], true);
            assert_eq!(context["seccompProfile"], json!({ "type": "RuntimeDefault" }));
            if name(container) == SIDECAR {
                assert_eq!((&context["runAsUser"], &context["runAsGroup"], &context["runAsNonRoot"]), (&json!(2102), &json!(2102), &json!(true)));
                assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
            } else {
                assert_eq!(context["capabilities"], json!({ "drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"] }));
            }
        }
    }
}

#[test]
fn without_a_redirect_the_outbound_port_is_the_applications_alone() {
    let mut wishing = pod();
    wishing["metadata"]["annotations"] = json!({ REDIRECTED: "disabled", OUTBOUND_TARGET: "10.96.0.7:80" });
    for (pod, mode, target) in [(pod(), Mode::Explicit, None), (wishing, Mode::Redirect, Some("10.96.0.7:80"))] {
        let after = injected(&pod, mode);
        assert_eq!(Mode::of(&after), Some(Mode::Explicit));
        let sidecar = &after["spec"]["initContainers"][0];
        assert_eq!(env(sidecar, "ASSENT_OUTBOUND_ADDRESS"), Some("127.0.0.1:4140"));
        assert_eq!(env(sidecar, "ASSENT_OUTBOUND_TARGET"), target);
        let said = after["metadata"]["annotations"][ADDED].as_str().unwrap();
        assert!(said.contains("no redirect") && said.contains("plain"), "{said}");
    }
    assert_eq!(env(&injected(&pod(), Mode::Redirect)["spec"]["initContainers"][0], "ASSENT_OUTBOUND_ADDRESS"), None);
}

#[test]
fn what_is_added_is_requested_explicitly_and_said() {
    let mut pod = pod();
    let after = injected(&pod, Mode::Redirect);
    assert_eq!(after["spec"]["initContainers"][0]["resources"], json!({ "requests": { "cpu": "10m", "memory": "24Mi" }, "limits": { "memory": "128Mi" } }));
    pod["metadata"]["annotations"] = json!({ CPU_LIMIT: "200m", MEMORY_REQUEST: "32Mi" });
    let after = injected(&pod, Mode::Redirect);
    for container in after["spec"]["initContainers"].as_array().unwrap() {
        assert_eq!(container["resources"], json!({ "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "cpu": "200m", "memory": "128Mi" } }));
    }
    let said = after["metadata"]["annotations"][ADDED].as_str().unwrap();
    assert_eq!(said, "a native sidecar, requesting cpu 10m and memory 32Mi, limited to cpu 200m and memory 128Mi; all TCP of the pod passes through it");
}

#[test]
fn a_skipped_pod_gets_its_reason() {
    let mut pod = pod();
    pod["spec"]["hostNetwork"] = json!(true);
    assert_eq!(inject(&pod, "shop", Mode::Redirect, &settings()), Err(Skip::HostNetwork));
}

/// Containers as people write them: users, ports, probes, native sidecars of others.
fn any_container() -> impl Strategy<Value = Value> {
    let probe = prop_oneof![
        Just(json!({ "tcpSocket": { "port": 80 } })),
        Just(json!({ "httpGet": { "path": "/", "port": "http" } })),
        Just(json!({ "exec": { "command": ["true"] } })),
    ];
    let user = prop_oneof![8 => 1000i64..3000, 1 => Just(assent_api::mesh::UID)];
    let port = prop_oneof![8 => 1i64..9000, 1 => prop::sample::select(assent_api::mesh::PORTS.to_vec())];
    let name = prop_oneof![8 => "[a-z]{1,8}".boxed(), 1 => prop::sample::select(vec![SIDECAR, REDIRECT]).prop_map(str::to_owned).boxed()];
    let parts = (name, proptest::option::of(port), proptest::option::of(user), proptest::option::of(probe), any::<bool>());
    parts.prop_map(|(name, port, user, probe, native)| {
        let mut container = json!({ "name": name, "image": "app" });
        let ports = port.map(|port| json!([{ "name": "http", "containerPort": port }]));
        let user = user.map(|user| json!({ "runAsUser": user }));
        let native = native.then(|| json!("Always"));
        for (field, value) in [("ports", ports), ("securityContext", user), ("livenessProbe", probe), ("restartPolicy", native)] {
            if let Some(value) = value {
                container[field] = value;
            }
        }
        container
    })
}

fn any_pod() -> impl Strategy<Value = Value> {
    let annotation = prop_oneof![
        8 => ("[a-z]{1,5}", "[a-z]{0,5}").boxed(),
        1 => (Just(REDIRECTED.to_owned()), prop::sample::select(vec!["disabled", "enabled", "x"]).prop_map(str::to_owned)).boxed(),
        1 => (Just(SKIP_OUTBOUND.to_owned()), "[0-9,]{0,9}").boxed(),
        1 => (Just(CPU_LIMIT.to_owned()), "[0-9]{0,4}m?").boxed(),
        1 => (Just(assent_api::mesh::INJECT.to_owned()), prop::sample::select(vec!["disabled", "enabled"]).prop_map(str::to_owned)).boxed(),
    ];
    let volume = prop_oneof![12 => "[a-z]{1,5}".boxed(), 1 => Just("assent-state".to_owned()).boxed()];
    (
        proptest::option::of(proptest::collection::vec(any_container(), 0..3)),
        proptest::collection::vec(any_container(), 1..3),
        proptest::option::of(proptest::collection::vec(annotation, 0..3)),
        proptest::option::of(proptest::collection::vec(volume, 0..3)),
        proptest::option::weighted(0.1, any::<bool>()),
        proptest::option::weighted(0.3, prop::sample::select(vec!["Job", "StatefulSet", "ReplicaSet", "DaemonSet"])),
    )
        .prop_map(|(init, containers, annotations, volumes, host, owner)| {
            let mut pod = json!({ "metadata": {}, "spec": { "serviceAccountName": "a", "containers": containers } });
            if let Some(init) = init {
                pod["spec"]["initContainers"] = json!(init);
            }
            if let Some(annotations) = annotations {
                pod["metadata"]["annotations"] = annotations.into_iter().map(|(key, value)| (key, json!(value))).collect::<serde_json::Map<_, _>>().into();
            }
            if let Some(volumes) = volumes {
                pod["spec"]["volumes"] = volumes.into_iter().map(|name| json!({ "name": name })).collect();
            }
            if let Some(host) = host {
                pod["spec"]["hostNetwork"] = json!(host);
            }
            if let Some(owner) = owner {
                pod["metadata"]["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": owner, "name": "o", "uid": "u", "controller": true }]);
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

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Redirect), Just(Mode::Explicit)]
}

/// As another webhook behind ours, which makes the API server ask us again: it may add in front and at the end.
fn meddle(pod: &mut Value, first: bool, container: Value) {
    let init = pod["spec"]["initContainers"].as_array_mut().unwrap();
    let at = if first { 0 } else { init.len() };
    init.insert(at, container);
}

proptest! {
    #[test]
    fn twice_is_once(pod in any_pod(), mode in any_mode(), again in any_mode(), other in proptest::option::of((any::<bool>(), any_container()))) {
        if let Ok(injection) = inject(&pod, "shop", mode, &settings()) {
            let mut once = patched(&pod, injection);
            if let Some((first, container)) = other {
                meddle(&mut once, first, container);
            }
            prop_assert_eq!(inject(&once, "shop", again, &settings()), Err(Skip::Present));
        }
    }

    #[test]
    fn what_was_there_stays_as_it_was_and_in_its_order(pod in any_pod(), mode in any_mode()) {
        if let Ok(injection) = inject(&pod, "shop", mode, &settings()) {
            let mut after = patched(&pod, injection);
            let added = if Mode::of(&after) == Some(Mode::Redirect) { 2 } else { 1 };
            after["spec"]["initContainers"].as_array_mut().unwrap().drain(..added);
            let volumes = after["spec"]["volumes"].as_array_mut().unwrap();
            volumes.truncate(volumes.len() - assent_api::mesh::VOLUMES.len());
            for name in [INJECTED, ADDED] {
                after["metadata"]["annotations"].as_object_mut().unwrap().remove(name);
            }
            let mut before = pod;
            for (path, empty) in [("initContainers", json!([])), ("volumes", json!([]))] {
                if before["spec"][path].is_null() {
                    before["spec"][path] = empty;
                }
            }
            if before["metadata"]["annotations"].is_null() {
                before["metadata"]["annotations"] = json!({});
            }
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn every_patch_applies_and_nothing_panics(pod in any_json(), mode in any_mode()) {
        if let Ok(injection) = inject(&pod, "shop", mode, &settings()) {
            patched(&pod, injection);
        }
    }
}
