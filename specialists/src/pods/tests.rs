//! Who speaks from where, and for which workload.

use serde_json::json;

use super::*;

fn pod(uid: &str, address: &str, account: &str, set: Option<&str>) -> core::Pod {
    let owners = set.map(|set| json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "forged-name", "uid": set, "controller": true}]));
    serde_json::from_value(json!({
        "metadata": {"uid": uid, "name": uid, "namespace": "shop", "ownerReferences": owners, "labels": {"app": account}},
        "spec": {"serviceAccountName": account, "nodeName": "n", "containers": [
            {"name": "c", "resources": {"limits": {"cpu": "150m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}},
            {"name": "assent-sidecar", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "10m"}}}]},
        "status": {"phase": "Running", "podIPs": [{"ip": address}], "containerStatuses": [
            {"name": "c", "image": "", "imageID": "x@sha256:1", "ready": true, "restartCount": 2, "state": {"running": {"startedAt": "2024-01-01T00:00:00Z"}},
             "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2023-12-31T23:59:59Z"}}},
            {"name": "assent-sidecar", "image": "", "imageID": "s@sha256:2", "ready": true, "restartCount": 9, "state": {}}]}
    }))
    .unwrap()
}

fn replica_set(uid: &str, deployment: &str) -> PartialObjectMeta<ReplicaSet> {
    serde_json::from_value(json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"uid": uid, "name": "any",
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment, "uid": "d", "controller": true}]}}))
    .unwrap()
}

fn name(account: &str) -> Name {
    Name::new("shop", account, "assent-system", "cluster.local").unwrap()
}

fn is<K>(object: K) -> Change<K> {
    Change::Is(Box::new(object))
}

fn known() -> Pods {
    let pods = Pods::default();
    let mut index = pods.lock();
    index.replica_set(is(replica_set("rs-orders", "orders")));
    index.replica_set(is(replica_set("rs-reports", "reports")));
    index.pod(is(pod("p1", "10.0.0.1", "orders", Some("rs-orders"))));
    index.pod(is(pod("p2", "10.0.0.2", "default", Some("rs-reports"))));
    index.pod(is(pod("p3", "10.0.0.3", "default", Some("rs-orders"))));
    index.pod(is(pod("bare", "10.0.0.4", "orders", None)));
    drop(index);
    pods
}

fn service(name: &str) -> Service {
    Service { namespace: "shop".into(), name: name.into() }
}

#[test]
fn a_speaker_is_the_pod_at_its_address_under_its_own_account() {
    let pods = known();
    let speaker = |account: &str, address: &str| pods.speaker(&name(account), address.parse().unwrap()).map(|speaker| speaker.uid);
    assert_eq!(speaker("orders", "10.0.0.1"), Ok("p1".into()));
    assert_eq!(speaker("orders", "::ffff:10.0.0.1"), Ok("p1".into()));
    assert_eq!(speaker("orders", "10.0.0.2"), Err(Refused::Account));
    assert_eq!(speaker("orders", "10.0.0.9"), Err(Refused::Unknown));
}

#[test]
fn workloads_come_from_controllers_and_not_from_names() {
    let pods = known();
    let p1 = pods.speaking("p1").unwrap();
    assert_eq!((p1.uid.as_str(), p1.workload), ("p1", service("orders")));
    assert_eq!(pods.speaking("bare"), None);
    pods.lock().replica_set(Change::Gone("rs-orders".into()));
    assert_eq!(pods.speaking("p1"), None);
}

#[test]
fn a_peer_is_named_when_its_account_has_one_workload() {
    let pods = known();
    assert_eq!(pods.peer(name("orders").as_str(), None), Some(service("orders")));
    // Two workloads share it: the address must tell.
    assert_eq!(pods.peer(name("default").as_str(), None), None);
    assert_eq!(pods.peer(name("default").as_str(), Some("10.0.0.2".parse().unwrap())), Some(service("reports")));
    assert_eq!(pods.peer("", Some("10.0.0.1".parse().unwrap())), Some(service("orders")));
    assert_eq!(pods.peer("not a name", None), None);
}

#[test]
fn a_service_address_stands_for_the_one_workload_behind_it() {
    let pods = known();
    let cluster_ip = |ip: &str, selector| -> core::Service {
        serde_json::from_value(json!({"metadata": {"uid": ip, "name": "s", "namespace": "shop"}, "spec": {"clusterIPs": [ip], "selector": selector}})).unwrap()
    };
    pods.lock().service(is(cluster_ip("10.9.0.1", json!({"app": "orders"}))));
    pods.lock().service(is(cluster_ip("10.9.0.2", json!({"app": "default"}))));
    pods.lock().service(is(cluster_ip("10.9.0.3", json!({}))));
    let peer = |ip: &str| pods.peer("", Some(ip.parse().unwrap()));
    assert_eq!(peer("10.9.0.1"), Some(service("orders")));
    assert_eq!((peer("10.9.0.2"), peer("10.9.0.3")), (None, None));
}

#[test]
fn an_address_that_passed_on_stays_with_its_new_pod() {
    let pods = known();
    pods.lock().pod(is(pod("p9", "10.0.0.1", "orders", Some("rs-orders"))));
    pods.lock().pod(Change::Gone("p1".into()));
    assert_eq!(pods.speaker(&name("orders"), "10.0.0.1".parse().unwrap()).unwrap().uid, "p9");
    let mut host = pod("host", "10.0.0.50", "orders", None);
    host.spec.as_mut().unwrap().host_network = Some(true);
    pods.lock().pod(is(host));
    assert_eq!(pods.speaker(&name("orders"), "10.0.0.50".parse().unwrap()).unwrap_err(), Refused::Unknown);
}

#[test]
fn facts_leave_the_sidecar_out_except_for_the_scheduler() {
    let facts = Pod::of(&pod("p1", "10.0.0.1", "orders", None)).unwrap();
    assert_eq!((facts.limit_milli, facts.request_milli, facts.memory_limit), (Some(150), 110, Some(64 << 20)));
    assert_eq!((facts.restarts, facts.killed.len(), facts.crash_loop), (2, 1, false));
    assert_eq!(facts.images, ["x@sha256:1"]);
    assert!(facts.failed_at < facts.started_at);
}
