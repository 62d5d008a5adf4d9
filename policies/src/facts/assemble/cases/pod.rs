//! The pod that is evicted.

use serde_json::json;

use super::{evict, restart};

#[test]
fn a_pod_is_told_of_where_one_is_evicted() {
    let facts = evict().facts();
    let pod = json!({"name": "orders-8-x2x4p", "uid": "6b0c4c6e-0000-4000-8000-000000000009", "ready": true, "localVolumes": [],
        "owner": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "orders-8"}});
    assert_eq!(facts["pod"], pod);
    assert_eq!((facts["target"]["kind"].as_str(), facts["workload"]["name"].as_str()), (Some("Deployment"), Some("orders")));
    assert!(restart().facts().get("pod").is_none());
}

#[test]
fn what_would_be_lost_with_it_is_named() {
    let on_disk = evict().with("/pod/spec/volumes/-", json!({"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}));
    assert_eq!(on_disk.facts()["pod"]["localVolumes"], json!(["scratch"]));
    let alone = evict().with("/pod/metadata/ownerReferences", json!([])).with("/pod/status/conditions/0/status", "False");
    assert_eq!((alone.facts()["pod"].get("owner"), &alone.facts()["pod"]["ready"]), (None, &json!(false)));
}

#[test]
fn a_pod_that_cannot_be_read_is_an_error() {
    for (place, value, words) in [
        ("/pod/spec/volumes", json!("many"), "it is not a list"),
        ("/pod/spec/volumes/-", json!({"emptyDir": {}}), "a volume has no name"),
        ("/pod/metadata/ownerReferences/0/kind", json!(null), "the controller has no `kind`"),
    ] {
        let refusal = evict().with(place, value).refusal();
        assert!(refusal.contains(words), "{place}: {refusal}");
    }
}
