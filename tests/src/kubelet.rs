//! A kubelet for clusters without a node: it says of every pod of the shop that it is ready, and does nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use crate::world::SHOP;

/// A kubelet that does nothing but say that pods are ready.
pub async fn run_pods(admin: Client, on: Arc<AtomicBool>) {
    let api: Api<Pod> = Api::namespaced(admin, SHOP);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        if !on.load(Ordering::Relaxed) {
            continue;
        }
        let Ok(pods) = api.list(&ListParams::default()).await else { continue };
        let waiting = pods
            .items
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none() && pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Pending"));
        futures::stream::iter(waiting)
            .for_each_concurrent(8, |pod| {
                let api = api.clone();
                async move {
                    let ready = json!({"status": {"phase": "Running",
                        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": jiff_now()}],
                        "containerStatuses": [{"name": "main", "ready": true, "restartCount": 0, "image": "x", "imageID": "x", "state": {"running": {}}}]}});
                    // A pod may be gone by now.
                    let _gone = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&ready)).await;
                }
            })
            .await;
    }
}

fn jiff_now() -> String {
    k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
