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
fn referenced_configurations_are_found_wherever_they_stand() {
    let template = json!({"spec": {
        "containers": [{"envFrom": [{"configMapRef": {"name": "b"}}], "env": [{"valueFrom": {"configMapKeyRef": {"name": "a", "key": "k"}}}]}],
        "volumes": [{"configMap": {"name": "c"}}, {"projected": {"sources": [{"configMap": {"name": "b"}}]}}]
    }});
    assert_eq!(referenced_configurations(&template), ["a", "b", "c"]);
}
