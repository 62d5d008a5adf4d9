//! How each kind is held back and let go, which pods are the first, and when they are well.

use serde_json::{Value, json};

use super::*;
use crate::action::{Adjust, Sizes};
use crate::ballot::Principal;
use crate::ids::UnixMillis;
use crate::verification::Reading;

const SETTINGS: Settings = Settings { replicas: 3, watch_ms: 10_000 };

fn action() -> Action {
    let sizes = Sizes { container: "c".into(), cpu_request: Some(100), cpu_limit: None, memory_request: None, memory_limit: None };
    Action::AdjustResources(Adjust { containers: vec![sizes] })
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"uid": "u"},
        "spec": {"replicas": 4, "progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "x:2"}]}}},
    })
}

fn stateful() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"uid": "u"},
        "spec": {"replicas": 3, "podManagementPolicy": "Parallel", "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, "template": {}},
        "status": {"updateRevision": "web-2", "currentRevision": "web-1"},
    })
}

fn set(mut object: Value, at: &str, value: Value) -> Value {
    let (parent, key) = at.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key] = value;
    object
}

#[test]
fn each_kind_is_held_back_and_let_go_as_it_was() {
    for (workload, held) in [
        (deployment(), json!([{"maxSurge": 0, "maxUnavailable": 1}, 100])),
        (set(deployment(), "/spec/replicas", json!(3)), json!([{"maxSurge": 1, "maxUnavailable": 0}, 100])),
        (set(deployment(), "/spec/strategy/rollingUpdate/maxUnavailable", json!(0)), json!([{"maxSurge": 1, "maxUnavailable": 0}, 100])),
        (set(deployment(), "/spec/strategy/rollingUpdate", json!({"maxSurge": 0, "maxUnavailable": 2})), json!([{"maxSurge": 0, "maxUnavailable": 1}, 100])),
        (set(deployment(), "/spec/minReadySeconds", json!(5)), json!([{"maxSurge": 0, "maxUnavailable": 1}, 100])),
        (set(deployment(), "/spec/minReadySeconds", json!(190)), json!([{"maxSurge": 0, "maxUnavailable": 1}, 190])),
        (stateful(), json!([{"partition": 2}])),
    ] {
        let canary = Canary::of(Some(SETTINGS), &action(), &workload).unwrap();
        let mut fields: Vec<(&String, &Value)> = canary.held.iter().collect();
        fields.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        assert_eq!(fields.into_iter().map(|(_, value)| value.clone()).collect::<Value>(), held);
        let first = canary.hold(&workload).unwrap();
        assert_eq!((canary.stage(&workload), canary.stage(&first)), (Stage::Released, Stage::Held));
        assert_eq!(canary.release(&first).unwrap(), workload, "word for word");
        assert!(canary.held.keys().eq(canary.own.keys()));
    }
    let canary = Canary::of(Some(SETTINGS), &action(), &deployment()).unwrap();
    let edited = set(canary.hold(&deployment()).unwrap(), "/spec/minReadySeconds", json!(7));
    assert_eq!(canary.stage(&edited), Stage::Neither);
    assert!(canary.hold(&json!({"spec": {}})).is_err());
}

#[test]
fn what_cannot_be_held_back_is_not() {
    let of = |workload: Value| Canary::of(Some(SETTINGS), &action(), &workload);
    assert!(of(deployment()).is_some() && of(stateful()).is_some());
    assert_eq!(Canary::of(None, &action(), &deployment()), None);
    for workload in [
        set(deployment(), "/spec/replicas", json!(2)),
        set(deployment(), "/spec/strategy/type", json!("Recreate")),
        // The API server wants a deadline beyond the time that a pod must be ready.
        set(deployment(), "/spec/progressDeadlineSeconds", json!(100)),
        set(deployment(), "/spec/paused", json!(true)),
        set(stateful(), "/spec/updateStrategy/rollingUpdate/partition", json!(1)),
        set(stateful(), "/spec/updateStrategy/type", json!("OnDelete")),
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": {"updateStrategy": {"type": "RollingUpdate"}}, "status": {"desiredNumberScheduled": 9}}),
    ] {
        assert_eq!(of(workload.clone()), None, "{workload}");
    }
    // What goes one pod at a time anyway.
    let slow = set(set(deployment(), "/spec/strategy/rollingUpdate", json!({"maxSurge": 0, "maxUnavailable": 1})), "/spec/minReadySeconds", json!(120));
    assert_eq!(of(slow), None);
    assert!(Canary::of(Some(Settings { replicas: 0, ..SETTINGS }), &action(), &set(deployment(), "/spec/replicas", json!(1))).is_none());
}

#[test]
fn the_first_pods_are_those_of_the_newest_template() {
    let owner = |kind: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "n", "uid": uid, "controller": true}]);
    let set_of = |uid: &str, image: &str, by: &str| {
        let template = json!({"metadata": {"labels": {"app": "a", "pod-template-hash": uid}}, "spec": {"containers": [{"name": "c", "image": image}]}});
        json!({"metadata": {"uid": uid, "ownerReferences": owner("Deployment", by)}, "spec": {"template": template}})
    };
    let pod = |uid: &str, kind: &str, by: &str| json!({"metadata": {"uid": uid, "ownerReferences": owner(kind, by), "labels": {"controller-revision-hash": format!("web-{uid}")}}});
    let going = |mut pod: Value| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod
    };
    let sets = [set_of("old", "x:1", "u"), set_of("forged", "x:2", "somebody"), set_of("new", "x:2", "u")];
    let uids = |workload: &Value, sets: &[Value], pods: &[Value]| -> Vec<String> {
        newest(workload, sets, pods).into_iter().map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect()
    };
    let pods = [pod("1", "ReplicaSet", "old"), pod("2", "ReplicaSet", "new"), going(pod("3", "ReplicaSet", "new")), pod("4", "ReplicaSet", "forged")];
    assert_eq!(uids(&deployment(), &sets, &pods), ["2"]);
    assert!(uids(&deployment(), &sets[..2], &pods).is_empty(), "its ReplicaSet is not there yet");
    let ordinals = [pod("1", "StatefulSet", "u"), pod("2", "StatefulSet", "u"), pod("2", "StatefulSet", "other")];
    assert_eq!(uids(&stateful(), &[], &ordinals), ["2"]);
    assert!(uids(&set(stateful(), "/status", json!({})), &[], &ordinals).is_empty());
    assert!(uids(&json!({}), &sets, &pods).is_empty());
}

/// Readings of one second each: by the API server and by the pod's sidecar.
fn read(seconds: &[(Option<bool>, Option<bool>)]) -> Vec<Reading> {
    let of = |second: usize, principal, healthy: Option<bool>| Reading {
        at: UnixMillis(i64::try_from(second).unwrap() * 1_000),
        principal,
        healthy,
        summary: format!("{principal:?} {healthy:?} at {second}"),
    };
    seconds.iter().enumerate().flat_map(|(n, (api, sidecar))| [of(n, Principal::ApiServer, *api), of(n, Principal::Sidecar, *sidecar)]).collect()
}

#[test]
fn the_first_pod_must_be_well_without_a_gap() {
    const WELL: (Option<bool>, Option<bool>) = (Some(true), Some(true));
    const QUIET: (Option<bool>, Option<bool>) = (Some(true), None);
    const ILL: (Option<bool>, Option<bool>) = (Some(true), Some(false));
    const UNREADY: (Option<bool>, Option<bool>) = (Some(false), None);
    const BLIND: (Option<bool>, Option<bool>) = (None, None);
    let judge = |seconds: &[_], now: i64| judge(&read(seconds), 5_000, UnixMillis(0), UnixMillis(now * 1_000));
    assert_eq!(judge(&[WELL; 6], 5), Trial::Well);
    assert_eq!(judge(&[QUIET; 6], 5), Trial::Well, "nobody asks it anything; the whole is verified afterwards");
    assert_eq!(judge(&[WELL; 5], 5), Trial::Watching);
    for gap in [UNREADY, BLIND, ILL] {
        let mut seconds = [WELL; 8];
        seconds[3] = gap;
        assert_eq!(judge(&seconds, 7), Trial::Watching, "{gap:?}");
        assert_eq!(judge(&[&seconds[..], &[WELL; 3]].concat(), 10), Trial::Well, "{gap:?}");
    }
    // What its sidecar said against it only its sidecar takes back.
    assert_eq!(judge(&[&[ILL][..], &[QUIET; 9]].concat(), 10), Trial::Watching);
    // What was read a while ago says nothing of how it is now.
    assert_eq!((judge(&[WELL; 6], 10), judge(&[WELL; 6], 11)), (Trial::Well, Trial::Watching));
    // Four times the watch from when it was ready, or two minutes to be it.
    let ill = |trial: Trial| if let Trial::Ill(why) = trial { why } else { panic!("{trial:?}") };
    assert_eq!(judge(&[ILL; 16], 20), Trial::Watching);
    let why = ill(judge(&[ILL; 16], 21));
    assert!(why.contains("was not well for 5 s") && why.contains("Sidecar Some(false) at 15"), "{why}");
    assert_eq!(judge(&[UNREADY; 3], 120), Trial::Watching);
    let why = ill(judge(&[UNREADY; 3], 121));
    assert!(why.contains("was not ready within 120 s") && why.contains("ApiServer Some(false) at 2"), "{why}");
    // Nobody could look, or nobody has looked since another process did.
    assert_eq!((judge(&[], 121), judge(&[BLIND; 9], 121)), (Trial::Watching, Trial::Watching));
    // A container that ended says enough.
    let mut readings = read(&[WELL; 3]);
    readings.push(Reading { at: UnixMillis(2_500), principal: Principal::Kubelet, healthy: Some(false), summary: "pod `a` restarted 1 times".into() });
    assert_eq!(super::judge(&readings, 5_000, UnixMillis(0), UnixMillis(3_000)), Trial::Ill("pod `a` restarted 1 times".into()));
    // All of it comes to an end while the plan may write.
    let canary = Canary::of(Some(SETTINGS), &action(), &deployment()).unwrap();
    assert_eq!(canary.within_ms(), 160_000);
    assert_eq!(canary.describe(), r#"spec.minReadySeconds was null, spec.strategy.rollingUpdate was {"maxSurge":"25%","maxUnavailable":"25%"}"#);
}
