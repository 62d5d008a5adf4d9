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

/// An EndpointSlice of ours names a pod of `orders` once more and no more, in turn, while pods are deleted and made anew. At
/// its rate, or slower where the machine is: a pod is deleted when another one serves.
pub(crate) async fn churn(place: &Place) {
    let before = Customers::of(place).await;
    let started = Instant::now();
    let (mut changes, mut deleted) = (0, 0);
    while changes < CHANGES || deleted < PODS {
        let due = deleted < PODS && started.elapsed() >= CHURN * deleted / PODS;
        if due && ready(place).await {
            let orders = pods::names(place, SHOP, "app=orders").await.unwrap();
            place.kubectl(&["-n", SHOP, "delete", "pod", &orders[0], "--wait=false"]).await.unwrap();
            deleted += 1;
        }
        slice(place, changes % 2 == 0).await;
        changes += 1;
        // Spread evenly over the time.
        tokio::time::sleep((CHURN * changes / CHANGES).saturating_sub(started.elapsed())).await;
    }
    place.kubectl(&["-n", SHOP, "delete", "endpointslice", "orders-churn"]).await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    before.all_served(place, &format!("{changes} changes of an EndpointSlice and {deleted} pods replaced in {seconds:.0} s")).await;
}

/// Whether every replica of `orders` is ready, and none is on its way out.
async fn ready(place: &Place) -> bool {
    let ready = place.kubectl(&["-n", SHOP, "get", "deployment", "orders", "-o", "jsonpath={.status.readyReplicas}/{.spec.replicas}"]).await.unwrap();
    let pods = pods::names(place, SHOP, "app=orders").await.unwrap().len().to_string();
    ready == format!("{pods}/{pods}")
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
