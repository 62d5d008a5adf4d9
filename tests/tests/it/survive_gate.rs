//! With the gate gone: the executor can do nothing, everybody else everything.

use assent_api::resources::{Incident, IncidentSpec, Pause, PauseSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, PostParams};
use serde_json::json;

use super::{planned, planned_scale, refused_natively};
use assent_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn without_the_gate_the_executor_is_refused_and_nobody_else() {
    let mut world = World::start("survive").await;
    let it = planned(&world).await;
    let scaled = planned_scale(&world, "web", 3).await;
    world.kill_gate().await;
    refused_natively(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "failed calling webhook");
    refused_natively(world.apply_proposal(&scaled.incident, &scaled.proposal, None, false).await, "failed calling webhook");
    refused_natively(world.submit(&it.plan).await, "failed calling webhook");
    // Everybody else's work goes on: workloads, pods, configuration, incidents, and stopping Assent.
    world.deployment("orders", "registry.invalid/orders:4").await;
    let pod: Pod = serde_json::from_value(
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}], "automountServiceAccountToken": false}}),
    )
    .unwrap();
    Api::<Pod>::namespaced(world.admin.clone(), "shop")
        .create(&PostParams { dry_run: true, ..PostParams::default() }, &pod)
        .await
        .map(|_| ())
        .or_else(|error| {
            // A namespace so young that its default service account does not exist yet is not what is tested.
            if error.to_string().contains("serviceaccount \"default\" not found") { Ok(()) } else { Err(error) }
        })
        .unwrap();
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "m"}})).unwrap();
    Api::<ConfigMap>::namespaced(world.admin.clone(), "shop").create(&PostParams::default(), &map).await.unwrap();
    let incident = Incident::new("i", IncidentSpec { source: "seat".into(), service: "shop/orders".into(), symptom: "errors".into(), summary: "x".into() });
    Api::<Incident>::namespaced(world.admin.clone(), "assent-system").create(&PostParams::default(), &incident).await.unwrap();
    let pause = Pause::new("all", PauseSpec { reason: "the gate is gone".into() });
    Api::<Pause>::namespaced(world.admin.clone(), "assent-system").create(&PostParams::default(), &pause).await.unwrap();
}
