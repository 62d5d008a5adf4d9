//! Cases of every kind of workload: what it counts, when a change of its template reaches its pods, and what keeps earlier ones.

use serde_json::{Value, json};

use super::*;

fn workload(kind: Kind) -> Value {
    let status = match kind {
        Kind::DaemonSet => {
            json!({"observedGeneration": 4, "desiredNumberScheduled": 3, "currentNumberScheduled": 3, "updatedNumberScheduled": 3, "numberReady": 3, "numberAvailable": 3})
        }
        _ => json!({"observedGeneration": 4, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}),
    };
    json!({
        "apiVersion": "apps/v1", "kind": kind.name(), "metadata": {"generation": 4, "annotations": {}},
        "spec": {"replicas": 3, "template": {"metadata": {}, "spec": {}}}, "status": status
    })
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut at = &mut object;
    for step in parent.split('/').skip(1) {
        at = &mut at[step];
    }
    at[key] = value;
    object
}

#[test]
fn every_kind_is_found_by_its_name_and_version_only() {
    assert_eq!(Kind::ALL.map(Kind::name), Kind::NAMES);
    for kind in Kind::ALL {
        assert_eq!(Kind::of_object(&workload(kind)), Ok(kind));
        assert_eq!(Kind::of("apps/v1beta1", kind.name()), None);
        assert_eq!(kind.resource(), format!("{}s", kind.name().to_lowercase()));
    }
    assert!(Kind::of_object(&json!({"apiVersion": "apps/v1", "kind": "ReplicaSet"})).unwrap_err().contains("Deployment, StatefulSet, DaemonSet"));
}

#[test]
fn pods_are_counted_where_each_controller_says_so() {
    for kind in Kind::ALL {
        let three = Counts { observed: true, wanted: 3, exist: 3, updated: 3, ready: 3, available: 3 };
        assert_eq!(kind.counts(&workload(kind)), three, "{kind}");
        assert!(three.settled());
        let unseen = with(workload(kind), "/metadata/generation", json!(5));
        assert!(!kind.counts(&unseen).observed && !kind.counts(&unseen).settled(), "{kind}");
        assert!(!kind.counts(&with(workload(kind), "/status", json!({}))).settled(), "{kind}");
    }
}

#[test]
fn a_template_is_changed_only_where_it_reaches_the_pods_a_few_at_a_time() {
    for kind in Kind::ALL {
        assert_eq!(kind.rolls(&workload(kind)), Ok(()), "{kind}");
    }
    for (kind, pointer, value, words) in [
        (Kind::Deployment, "/spec/strategy/type", json!("Recreate"), "every replica down"),
        (Kind::Deployment, "/spec/paused", json!(true), "paused"),
        (Kind::StatefulSet, "/spec/updateStrategy/type", json!("OnDelete"), "change nothing"),
        (Kind::StatefulSet, "/spec/updateStrategy/rollingUpdate/partition", json!(1), "partition"),
        (Kind::StatefulSet, "/status/readyReplicas", json!(2), "2 of 3 pods are ready"),
        (Kind::DaemonSet, "/spec/updateStrategy/type", json!("OnDelete"), "change nothing"),
        (Kind::DaemonSet, "/spec/updateStrategy/type", json!("Sideways"), "`Sideways` is not modelled"),
    ] {
        let reason = kind.rolls(&with(workload(kind), pointer, value)).unwrap_err();
        assert!(reason.contains(words), "{kind} {pointer}: {reason}");
    }
    let parallel = with(with(workload(Kind::StatefulSet), "/status/readyReplicas", json!(2)), "/spec/podManagementPolicy", json!("Parallel"));
    assert_eq!(Kind::StatefulSet.rolls(&parallel), Ok(()));
    assert_eq!(Kind::StatefulSet.rolls_back(&parallel), Ok(()));
    assert!(Kind::StatefulSet.rolls_back(&workload(Kind::StatefulSet)).unwrap_err().contains("on the way back"));
    let bounded = with(parallel, "/spec/updateStrategy/rollingUpdate/maxUnavailable", json!(1));
    assert!(Kind::StatefulSet.rolls_back(&bounded).unwrap_err().contains("maxUnavailable"));
    assert!(Kind::DaemonSet.grows(&workload(Kind::DaemonSet)).is_err());
    assert!(Kind::StatefulSet.grows(&with(workload(Kind::StatefulSet), "/status/readyReplicas", json!(2))).unwrap_err().contains("makes none"));
    for kind in [Kind::Deployment, Kind::StatefulSet] {
        assert_eq!(kind.grows(&workload(kind)), Ok(()), "{kind}");
    }
    for kind in [Kind::Deployment, Kind::DaemonSet] {
        assert_eq!(kind.rolls_back(&workload(kind)), Ok(()), "{kind}");
    }
}

#[test]
fn a_daemonsets_count_of_templates_goes_with_its_template() {
    let old = with(workload(Kind::DaemonSet), "/metadata/annotations", json!({"deprecated.daemonset.template.generation": "7", "a": "b"}));
    let mut same = old.clone();
    Kind::DaemonSet.complete(&old, &mut same);
    assert_eq!(same, old);
    let mut new = with(old.clone(), "/spec/template/spec", json!({"hostname": "x"}));
    Kind::DaemonSet.complete(&old, &mut new);
    assert_eq!(new["metadata"]["annotations"], json!({"deprecated.daemonset.template.generation": "8", "a": "b"}));
}

#[test]
fn a_template_is_the_same_wherever_it_is_kept() {
    let template = json!({"metadata": {"labels": {"app": "orders"}}, "spec": {"containers": []}});
    let owners = json!([{"kind": "A", "name": "other", "uid": "o"}, {"kind": "K", "name": "orders", "uid": "u", "controller": true}]);
    let mut hashed = template.clone();
    hashed["metadata"]["labels"]["pod-template-hash"] = json!("7d");
    let set = json!({"metadata": {"ownerReferences": owners, "annotations": {"deployment.kubernetes.io/revision": "7"}}, "spec": {"template": hashed}});
    let mut patched = template.clone();
    patched["$patch"] = json!("replace");
    patched["metadata"]["creationTimestamp"] = Value::Null;
    let kept = json!({"metadata": {"ownerReferences": owners}, "revision": 7, "data": {"spec": {"template": patched}}});
    for object in [set, kept] {
        let wanted = Revision { owner: "u".into(), owned_by: ("K".into(), "orders".into()), number: 7, template: template.clone() };
        assert_eq!(revision(&object), Some(wanted));
        let alone = with(object, "/metadata/ownerReferences", json!([]));
        assert_eq!((revision(&alone), kept_template(&alone)), (None, Some(template.clone())));
    }
}
