//! The workload itself: counts, strategy, rollout, owner, claims, revisions.

use super::*;

#[test]
fn where_a_rollout_stands() {
    let progressing = "/deployment/status/conditions/1/reason";
    let cases = [
        (restart(), "settled"),
        (restart().with("/deployment/status/observedGeneration", 8), "progressing"),
        (restart().with("/deployment/status", Value::Null), "progressing"),
        (restart().with(progressing, "ProgressDeadlineExceeded"), "stalled"),
        (restart().with(progressing, "ReplicaSetUpdated").with("/deployment/status/updatedReplicas", 2), "progressing"),
        (restart().with(progressing, "ReplicaSetUpdated").with("/deployment/status/replicas", 5), "progressing"),
        (restart().with(progressing, "ReplicaSetUpdated").with("/deployment/status/availableReplicas", 3), "progressing"),
        // An old reason of a rollout back to a ReplicaSet that is there: its pods are not.
        (restart().with("/deployment/status/updatedReplicas", 1), "progressing"),
        // Ill long after the rollout was over.
        (restart().with("/deployment/status/availableReplicas", 1), "settled"),
        (restart().with("/deployment/status/availableReplicas", Value::Null), "settled"),
        (restart().with("/deployment/status/conditions", json!([])), "settled"),
    ];
    for (at, (world, expected)) in cases.into_iter().enumerate() {
        assert_eq!(world.facts()["workload"]["rollout"], expected, "case {at}");
    }
}

#[test]
fn strategies_are_resolved_as_the_controller_does() {
    let rolling = |replicas: i64, max_unavailable: Value, max_surge: Value| {
        restart()
            .with("/deployment/spec/replicas", replicas)
            .with("/deployment/spec/strategy/rollingUpdate/maxUnavailable", max_unavailable)
            .with("/deployment/spec/strategy/rollingUpdate/maxSurge", max_surge)
    };
    let cases = [
        (rolling(4, json!("25%"), json!("25%")), ("RollingUpdate", 1, 1)),
        (rolling(3, json!("25%"), json!("25%")), ("RollingUpdate", 0, 1)),
        (rolling(3, json!("25%"), json!(0)), ("RollingUpdate", 1, 0)),
        (rolling(10, json!("33%"), json!("33%")), ("RollingUpdate", 3, 4)),
        (rolling(2, json!(5), json!("300%")), ("RollingUpdate", 2, 6)),
        (rolling(4, Value::Null, Value::Null), ("RollingUpdate", 1, 1)),
        (rolling(0, json!(1), json!(1)), ("RollingUpdate", 0, 1)),
        (restart().with("/deployment/spec/strategy", Value::Null), ("RollingUpdate", 1, 1)),
        (restart().with("/deployment/spec/strategy", json!({"type": "Recreate"})), ("Recreate", 4, 0)),
    ];
    for (world, (kind, max_unavailable, max_surge)) in cases {
        assert_eq!(world.facts()["workload"]["strategy"], json!({"type": kind, "maxUnavailable": max_unavailable, "maxSurge": max_surge}));
    }
    for bad in [json!("many"), json!("-1%"), json!(-1), json!("99999999999%"), json!(""), json!({})] {
        let said = rolling(4, json!(1), bad.clone()).refusal();
        assert!(said.starts_with("Deployment shop/orders: `/spec/strategy/rollingUpdate/maxSurge` cannot be read"), "{bad}: {said}");
    }
    assert!(restart().with("/deployment/spec/strategy/type", "Canary").refusal().contains("`Canary` is no strategy of a Deployment"));
}

#[test]
fn what_a_workload_is() {
    let fact = |world: World, field: &str| world.facts()["workload"].get(field).cloned().unwrap_or(Value::Null);
    let owner = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "orders", "uid": "x", "controller": true});
    let volume = |kind: &str| restart().with("/deployment/spec/template/spec/volumes/-", json!({"name": "data", kind: {}}));
    let cases = [
        (restart(), "replicas", json!(4)),
        (restart().with("/deployment/spec/replicas", Value::Null), "replicas", json!(1)),
        (restart().with("/deployment/status/availableReplicas", Value::Null), "available", json!(0)),
        (restart().with("/deployment/spec/paused", true), "paused", json!(true)),
        (restart(), "owner", Value::Null),
        (
            restart().with("/deployment/metadata/ownerReferences", json!([owner])),
            "owner",
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "orders"}),
        ),
        (restart().with("/deployment/spec/template/spec/priorityClassName", "system-cluster-critical"), "priorityClass", json!("system-cluster-critical")),
        (restart().with("/deployment/spec/template/spec/priorityClassName", ""), "priorityClass", Value::Null),
        (restart(), "hasClaims", json!(false)),
        (volume("persistentVolumeClaim"), "hasClaims", json!(true)),
        (volume("ephemeral"), "hasClaims", json!(true)),
    ];
    for (world, field, expected) in cases {
        assert_eq!(fact(world, field), expected, "{field}");
    }
    for (place, value) in
        [("/spec/replicas", json!(-4)), ("/spec/replicas", json!("4")), ("/status/availableReplicas", json!(5_000_000_000_i64)), ("/spec/paused", json!("no"))]
    {
        let said = restart().with(&format!("/deployment{place}"), value).refusal();
        assert!(said.starts_with(&format!("Deployment shop/orders: `{place}` cannot be read")), "{said}");
    }
}

#[test]
fn the_other_workloads_of_apps_are_read_by_their_own_fields() {
    let other = |kind: &str, spec: Value, status: Value| {
        let mut world = scale(3).with("/deployment/kind", kind).with("/deployment/status", status);
        for (key, value) in spec.as_object().unwrap() {
            world = world.with(&format!("/deployment/spec/{key}"), value.clone());
        }
        world.facts()["workload"].clone()
    };
    let set = other(
        "StatefulSet",
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, "volumeClaimTemplates": [{}], "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}),
        json!({"observedGeneration": 9, "availableReplicas": 3, "updatedReplicas": 3, "currentRevision": "a", "updateRevision": "b"}),
    );
    assert_eq!(set["strategy"], json!({"type": "RollingUpdate", "maxUnavailable": 1, "maxSurge": 0, "partition": 1}));
    assert_eq!(
        (&set["hasClaims"], &set["scalingDeletesClaims"], &set["rollout"], &set["available"]),
        (&json!(true), &json!(true), &json!("settled"), &json!(3))
    );
    let halfway =
        other("StatefulSet", json!({"updateStrategy": {"type": "OnDelete"}}), json!({"observedGeneration": 9, "currentRevision": "a", "updateRevision": "b"}));
    assert_eq!((&halfway["rollout"], &halfway["strategy"]["maxUnavailable"]), (&json!("progressing"), &json!(0)));
    let daemons = other(
        "DaemonSet",
        json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "10%"}}}),
        json!({"observedGeneration": 9, "desiredNumberScheduled": 12, "updatedNumberScheduled": 11, "numberAvailable": 10}),
    );
    assert_eq!(
        (&daemons["replicas"], &daemons["available"], &daemons["rollout"], &daemons["strategy"]["maxUnavailable"]),
        (&json!(12), &json!(10), &json!("progressing"), &json!(2))
    );
}

#[test]
fn revisions_are_known_by_digest_and_by_nothing_else() {
    let numbers =
        |world: &World| world.facts()["workload"]["revisions"].as_array().unwrap().iter().map(|one| one["revision"].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!(numbers(&restart()), [8, 7]);
    let forged = restart().with("/replicaSets/1/spec/template/spec/containers/0/image", "evil:1");
    assert_eq!(numbers(&forged), [8], "the number of its ReplicaSet does not make it revision 7");
    let pruned = restart().with("/replicaSets", json!([]));
    assert_eq!(numbers(&pruned), [8], "the workload has its own template");
    let mut again = restart();
    again.healthy.push(again.seen(1, 9, 60));
    assert_eq!(numbers(&again), [9, 8], "a template counts once, as it was last seen");
    let mut none = restart();
    none.healthy.clear();
    assert_eq!(numbers(&none), [0; 0]);
    let mut many = restart();
    for number in 0..40 {
        let mut set = many.shop["replicaSets"][1].clone();
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("x:{number}"));
        many.shop["replicaSets"].as_array_mut().unwrap().push(set);
        many.healthy.push(many.seen(3 + number, 100 + i64::try_from(number).unwrap(), 100));
    }
    assert_eq!(numbers(&many).len(), crate::facts::MAX_REVISIONS);
    assert!(numbers(&many).iter().all(|number| *number >= 108), "the newest are kept");
}
