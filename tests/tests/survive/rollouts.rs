//! Pods that come and go, and endpoints that change, as clusters do all day.

use std::time::{Duration, Instant};

use assent_tests::install::SHOP;
use assent_tests::place::Place;
use assent_tests::pods;
use serde_json::json;

use crate::customers::Customers;

/// How long endpoints change.
const CHURN: Duration = Duration::from_secs(60);
/// Changes of EndpointSlices in that time, those of pods not counted.
const CHANGES: u32 = 50;
/// Pods that are deleted in that time, and made anew.
const PODS: u32 = 6;

/// Sets a Deployment's replicas and waits for them.
pub(crate) async fn scale(place: &Place, namespace: &str, name: &str, replicas: u32) {
    let deployment = format!("deployment/{name}");
    place.kubectl(&["-n", namespace, "scale", &deployment, &format!("--replicas={replicas}")]).await.unwrap();
    place.kubectl(&["-n", namespace, "rollout", "status", &deployment, "--timeout=120s"]).await.unwrap();
}

/// Every pod that customers reach is replaced by another one.
pub(crate) async fn restart(place: &Place) {
    let before = Customers::of(place).await;
    for name in ["storefront", "orders"] {
        place.kubectl(&["-n", SHOP, "rollout", "restart", &format!("deployment/{name}")]).await.unwrap();
    }
    for name in ["storefront", "orders"] {
        place.kubectl(&["-n", SHOP, "rollout", "status", &format!("deployment/{name}"), "--timeout=180s"]).await.unwrap();
    }
    before.all_served(place, "rolling restart of storefront and orders").await;
}

/// An EndpointSlice of ours names a pod of `orders` once more and no more, in turn, while pods are deleted and made anew.
pub(crate) async fn churn(place: &Place) {
    let before = Customers::of(place).await;
    let started = Instant::now();
    let mut deleted = 0;
    for change in 0..CHANGES {
        if deleted < PODS && started.elapsed() >= CHURN * deleted / PODS {
            let orders = pods::names(place, SHOP, "app=orders").await.unwrap();
            place.kubectl(&["-n", SHOP, "delete", "pod", &orders[0], "--wait=false"]).await.unwrap();
            deleted += 1;
        }
        slice(place, change % 2 == 0).await;
        // Spread evenly over the time.
        tokio::time::sleep((CHURN * (change + 1) / CHANGES).saturating_sub(started.elapsed())).await;
    }
    place.kubectl(&["-n", SHOP, "delete", "endpointslice", "orders-churn"]).await.unwrap();
    assert_eq!(deleted, PODS, "the machine was too slow to delete so many pods");
    before.all_served(place, &format!("{CHANGES} changes of an EndpointSlice and {PODS} pods replaced in {:.0} s", started.elapsed().as_secs_f64())).await;
}

async fn slice(place: &Place, ready: bool) {
    let pod = pods::names(place, SHOP, "app=orders").await.unwrap().pop().unwrap();
    let address = place.kubectl(&["-n", SHOP, "get", "pod", &pod, "-o", "jsonpath={.status.podIP}"]).await.unwrap();
    let endpoint = json!({
        "addresses": [address], "conditions": {"ready": ready},
        "targetRef": {"kind": "Pod", "name": pod, "namespace": SHOP},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "orders-churn", "namespace": SHOP, "labels": {"kubernetes.io/service-name": "orders"}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        // A pod that has just been made has no address yet.
        "endpoints": if address.is_empty() { json!([]) } else { json!([endpoint]) },
    });
    let file = place.dir().join("churn.json");
    std::fs::write(&file, slice.to_string()).unwrap();
    place.kubectl(&["apply", "-f", &file.display().to_string()]).await.unwrap();
}
