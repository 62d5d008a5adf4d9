//! Cases of every action: what it permits, what it refuses to model, how it is undone.

use serde_json::{Value, json};

use super::*;
use crate::canonical::Digest;
use crate::ids::UnixMillis;

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": "shop", "name": "orders", "uid": "u", "generation": 4},
        "spec": {"replicas": 2, "strategy": {"type": "RollingUpdate"},
            "template": {"metadata": {"labels": {"app": "orders"}}, "spec": {"containers": [{"name": "c", "image": "x:2"}]}}}
    })
}

fn rollback_to(template: &Value) -> Action {
    Action::RollbackWorkload(Rollback {
        revision: 3,
        template: Digest::of(template).unwrap(),
        images: vec![],
        configurations: vec![],
        healthy_at: UnixMillis(1),
    })
}

#[test]
fn rollback_permits_only_the_template_that_was_seen() {
    let good = json!({"metadata": {"labels": {"app": "orders"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}});
    let action = rollback_to(&good);
    let new = action.act().expected(&deployment(), Some(&good)).unwrap();
    assert_eq!(new.pointer("/spec/template"), Some(&good));
    assert_eq!(new.pointer("/spec/replicas"), Some(&json!(2)));
    let forged = json!({"metadata": {}, "spec": {"containers": [{"name": "c", "image": "evil:1"}]}});
    assert!(action.act().expected(&deployment(), Some(&forged)).unwrap_err().contains("seats saw"));
    assert!(action.act().expected(&deployment(), None).is_err());
    let undone = action.act().inverse(&deployment()).unwrap().expected(&new).unwrap().unwrap();
    assert_eq!(undone, deployment());
}

#[test]
fn a_reverted_configuration_is_read_from_its_copy_and_nothing_else_changes() {
    let mut old = deployment();
    let pod = json!({"containers": [
            {"name": "c", "image": "x:2", "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "settings"}}],
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}}, {"name": "B", "value": "settings"}]}],
        "volumes": [{"name": "settings", "projected": {"sources": [{"configMap": {"name": "settings"}}]}}, {"name": "v", "configMap": {"name": "other"}}]});
    old["spec"]["template"]["spec"] = pod;
    let content = |text: &str| Digest::of_bytes(text.as_bytes());
    let revert = |name: &str, healthy: &str| RevertConfig {
        changed: Configuration { name: name.into(), digest: content("v2") },
        healthy: content(healthy),
        healthy_at: UnixMillis(1),
    };
    let action = Action::RevertConfig(revert("settings", "v1"));
    let copy = format!("settings-{}", &content("v1").as_str()[..10]);
    assert!(action.act().preconditions(&old).is_ok());
    let new = action.act().expected(&old, None).unwrap();
    assert_eq!(
        new["spec"]["template"]["spec"],
        json!({"containers": [
            {"name": "c", "image": "x:2", "envFrom": [{"configMapRef": {"name": copy}}, {"secretRef": {"name": "settings"}}],
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": copy, "key": "a"}}}, {"name": "B", "value": "settings"}]}],
        "volumes": [{"name": "settings", "projected": {"sources": [{"configMap": {"name": copy}}]}}, {"name": "v", "configMap": {"name": "other"}}]})
    );
    assert_eq!(action.act().inverse(&old).unwrap().expected(&new).unwrap().unwrap(), old);
    assert!(revert("settings", "v1").holds(&new) && !revert("settings", "v1").holds(&old));
    assert_eq!(action.configurations().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["settings", &copy]);
    assert!(Action::RevertConfig(revert("strange", "v1")).act().preconditions(&old).unwrap_err().contains("does not refer"));
    assert!(Action::RevertConfig(revert("settings", "v2")).act().preconditions(&old).unwrap_err().contains("as it was"));
    assert_eq!(configurations_at_start(&old["spec"]["template"]), ["settings"]);
    let mut mounted = old["spec"]["template"].clone();
    mounted["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/a", "subPath": "a"}]);
    assert_eq!(configurations_at_start(&mounted), ["other", "settings"]);
    let long = Configuration { name: "é".repeat(150), digest: content("v1") };
    assert!(long.copy().len() <= 253 && long.copy().ends_with(&copy[9..]));
}

#[test]
fn restart_marks_the_template_once() {
    let action = Action::RestartWorkload(Restart { marker: "i.1".into() });
    let once = action.act().expected(&deployment(), None).unwrap();
    assert_eq!(once.pointer("/spec/template/metadata/annotations/assent.dev~1restarted-for"), Some(&json!("i.1")));
    assert_eq!(action.act().expected(&once, None).unwrap(), once);
    assert_eq!(action.act().inverse(&once).unwrap(), Inverse::Empty);
}

#[test]
fn scale_changes_replicas_and_nothing_else() {
    let action = Action::ScaleWorkload(Scale { replicas: 5 });
    let scale = json!({"kind": "Scale", "metadata": {"name": "orders"}, "spec": {}});
    assert_eq!(action.act().expected(&scale, None).unwrap(), json!({"kind": "Scale", "metadata": {"name": "orders"}, "spec": {"replicas": 5}}));
    assert_eq!(action.act().inverse(&deployment()).unwrap(), Inverse::Replicas { replicas: 2 });
    assert!(Action::ScaleWorkload(Scale { replicas: 0 }).act().preconditions(&deployment()).is_err());
}

#[test]
fn unmodelled_workloads_are_refused() {
    let restart = Action::RestartWorkload(Restart { marker: "i.1".into() });
    assert!(restart.act().preconditions(&deployment()).is_ok());
    for (pointer, value) in [("/spec/strategy/type", json!("Recreate")), ("/kind", json!("StatefulSet")), ("/apiVersion", json!("apps/v1beta1"))] {
        let mut object = deployment();
        *object.pointer_mut(pointer).unwrap() = value;
        assert!(restart.act().preconditions(&object).is_err(), "{pointer}");
    }
    let mut owned = deployment();
    owned["metadata"]["ownerReferences"] = json!([{"kind": "Rollout"}]);
    assert!(restart.act().preconditions(&owned).is_err());
    let mut paused = deployment();
    paused["spec"]["paused"] = json!(true);
    assert!(restart.act().preconditions(&paused).is_err());
}

#[test]
fn one_pod_of_several_that_run_one_template_is_evicted() {
    let action = Action::EvictPod(Evict { pod: "orders-1-a".into(), uid: "p".into() });
    let pod = json!({"metadata": {"namespace": "shop", "name": "orders-1-a", "uid": "p"}});
    let eviction = action.act().expected(&Value::Null, Some(&pod)).unwrap();
    assert_eq!(eviction["metadata"], json!({"namespace": "shop", "name": "orders-1-a"}));
    assert_eq!(eviction["deleteOptions"], json!({"preconditions": {"uid": "p"}}));
    assert!(action.act().expected(&Value::Null, None).is_err());
    let with = |counts: [u64; 4]| {
        let mut workload = deployment();
        workload["status"] = json!({"observedGeneration": counts[0], "replicas": counts[1], "updatedReplicas": counts[2], "readyReplicas": counts[3]});
        action.act().preconditions(&workload)
    };
    assert_eq!((with([4, 3, 3, 3]), with([4, 3, 3, 2])), (Ok(()), Ok(())));
    for (counts, words) in
        [([3, 2, 2, 2], "has not seen"), ([4, 3, 2, 3], "2 of 3 pods"), ([4, 1, 1, 1], "the only pod"), ([4, 3, 3, 1], "1 of 3 pods are ready")]
    {
        assert!(with(counts).unwrap_err().contains(words), "{counts:?}");
    }
    assert_eq!(action.act().inverse(&deployment()), Ok(Inverse::Empty));
}

#[test]
fn referenced_configurations_are_found_wherever_they_stand() {
    let template = json!({"spec": {
        "containers": [{"envFrom": [{"configMapRef": {"name": "b"}}], "env": [{"valueFrom": {"configMapKeyRef": {"name": "a", "key": "k"}}}]}],
        "volumes": [{"configMap": {"name": "c"}}, {"projected": {"sources": [{"configMap": {"name": "b"}}]}}]
    }});
    assert_eq!(referenced_configurations(&template), ["a", "b", "c"]);
}

mod adjust {
    use super::*;
    use crate::action::{Adjust, Sizes};

    fn sized() -> Value {
        let mut workload = deployment();
        let containers = json!([
            {"name": "app", "image": "x:2", "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}},
            {"name": "logs", "image": "y:1", "resources": {"requests": {"cpu": "50m"}}},
            {"name": "bare", "image": "z:1"},
        ]);
        *workload.pointer_mut("/spec/template/spec/containers").unwrap() = containers;
        workload
    }

    fn of(container: &str) -> Sizes {
        Sizes { container: container.into(), cpu_request: None, cpu_limit: None, memory_request: None, memory_limit: None }
    }

    fn adjust(containers: Vec<Sizes>) -> Action {
        Action::AdjustResources(Adjust { containers })
    }

    fn memory(mebibytes: u64) -> Sizes {
        Sizes { memory_request: Some(mebibytes << 20), memory_limit: Some(mebibytes << 20), ..of("app") }
    }

    #[test]
    fn it_changes_the_named_amounts_in_the_api_servers_spelling_and_nothing_else() {
        let action = adjust(vec![Sizes { cpu_request: Some(1_500), cpu_limit: Some(2_000), ..memory(1_024) }, Sizes { cpu_request: Some(75), ..of("logs") }]);
        let new = action.act().expected(&sized(), None).unwrap();
        let mut wanted = sized();
        let containers = wanted.pointer_mut("/spec/template/spec/containers").unwrap();
        containers[0]["resources"] = json!({"requests": {"cpu": "1500m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}});
        containers[1]["resources"] = json!({"requests": {"cpu": "75m"}});
        assert_eq!(new, wanted);
        assert_eq!(action.act().preconditions(&sized()), Ok(()));
        assert_eq!(action.act().expected(&new, None).unwrap(), new, "twice is once");
        assert_eq!(action.act().inverse(&sized()).unwrap().expected(&new).unwrap().unwrap(), sized());
        assert!(action.act().preconditions(&new).unwrap_err().contains("already"));
        assert_eq!(
            action.act().roots(),
            [
                r#"/spec/template/spec/containers/k:{"name":"app"}/resources/requests/cpu"#,
                r#"/spec/template/spec/containers/k:{"name":"app"}/resources/limits/cpu"#,
                r#"/spec/template/spec/containers/k:{"name":"app"}/resources/requests/memory"#,
                r#"/spec/template/spec/containers/k:{"name":"app"}/resources/limits/memory"#,
                r#"/spec/template/spec/containers/k:{"name":"logs"}/resources/requests/cpu"#,
            ]
        );
        assert_eq!(
            action.act().describe(),
            "adjust resources by new pods: `app` requests.cpu 1500m, limits.cpu 2, requests.memory 1Gi, limits.memory 1Gi; `logs` requests.cpu 75m"
        );
    }

    #[test]
    fn every_spelling_is_the_one_that_is_stored() {
        for (mebibytes, text) in [(1, "1Mi"), (1_023, "1023Mi"), (2_048, "2Gi"), (1_536, "1536Mi"), (1 << 20, "1Ti")] {
            let new = adjust(vec![memory(mebibytes)]).act().expected(&sized(), None).unwrap();
            assert_eq!(new.pointer("/spec/template/spec/containers/0/resources/limits/memory"), Some(&json!(text)));
        }
    }

    #[test]
    fn what_is_not_there_is_not_added_and_what_has_no_spelling_is_refused() {
        let milli = |milli: u64| Sizes { cpu_request: Some(milli), ..of("app") };
        for (containers, part) in [
            (vec![], "0 containers"),
            (vec![of("app")], "nothing of it changes"),
            (vec![memory(600), memory(700)], "named twice"),
            (vec![Sizes { cpu_request: Some(75), ..of("logs") }, memory(600)], "not sorted"),
            (vec![Sizes { container: "a/b".into(), ..memory(600) }], "not named as containers are"),
            (vec![Sizes { container: "other".into(), ..memory(600) }], "no container `other`"),
            (vec![Sizes { memory_request: Some(1 << 20), ..of("bare") }], "has no resources"),
            (vec![Sizes { memory_request: Some(1 << 20), ..of("logs") }], "has no requests.memory"),
            (vec![Sizes { cpu_limit: Some(100), ..of("logs") }], "has no limits"),
            (vec![Sizes { memory_request: Some((1 << 20) + 1), ..of("app") }], "whole mebibytes"),
            (vec![milli(0)], "thousandths"),
            (vec![milli(1_000_000)], "thousandths"),
            (vec![Sizes { memory_limit: Some(u64::MAX), ..of("app") }], "mebibytes"),
        ] {
            let refused = adjust(containers.clone()).act().expected(&sized(), None).unwrap_err();
            assert!(refused.contains(part), "{containers:?}: {refused}");
        }
    }

    #[test]
    fn requests_stay_within_limits_and_pods_of_their_class() {
        for (sizes, part) in [
            (Sizes { cpu_request: Some(1_001), ..of("app") }, "more cpu than its limit"),
            (Sizes { memory_limit: Some(511 << 20), ..of("app") }, "more memory than its limit"),
            (Sizes { memory_limit: Some(600 << 20), ..of("app") }, "another class"),
        ] {
            let refused = adjust(vec![sizes.clone()]).act().preconditions(&sized()).unwrap_err();
            assert!(refused.contains(part), "{sizes:?}: {refused}");
        }
        let mut recreate = sized();
        recreate["spec"]["strategy"]["type"] = json!("Recreate");
        assert!(adjust(vec![memory(600)]).act().preconditions(&recreate).is_err());
    }
}
