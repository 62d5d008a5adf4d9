//! The change seat: it watches a template become healthy and another roll out, and knows the way back.

use assent_api::names::accounts;
use assent_api::proto::IndicatorRequest;
use assent_core::action::Action;
use assent_core::ballot::{Opinion, StanceVerdict};
use assent_core::canonical::Digest;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::json;
use tonic::Code;

use crate::world::{SHOP, World, now, service, until, vote};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_knows_the_way_back_to_what_it_saw_healthy() {
    let world = World::start("seat-change").await;
    world.deploy("orders", "1").await;
    let seat = world.seat("change", &["--settle-seconds", "1"]).await;
    let pod = world.pod("orders", "1").await;
    world.ready(&pod, "127.0.0.1", "x@sha256:1").await;
    let deployments = world.deployments();
    let generation = |wanted: i64| {
        let deployments = deployments.clone();
        async move {
            let status = deployments.get("orders").await.unwrap().status.unwrap_or_default();
            (status.observed_generation >= Some(wanted) && status.ready_replicas == Some(1) && status.replicas == Some(1)).then_some(())
        }
    };
    until("the first version", || generation(1)).await;
    let metrics = format!("http://{}/metrics", seat.admin);
    let remembers = || async {
        let page = reqwest::get(&metrics).await.ok()?.text().await.ok()?;
        page.contains("assent_seat_healthy_templates 1").then_some(())
    };
    until("the memory of the first version", remembers).await;

    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "env": [{"name": "VERSION", "value": "2"}]}]}}}});
    deployments.patch("orders", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    let pod = world.pod("orders", "2").await;
    world.ready(&pod, "127.0.0.2", "x@sha256:2").await;
    until("the second version", || generation(2)).await;

    let context = world.context("orders", now() + 3_000, &["orders"]).await;
    let (cause, envelope) = world.cause(&seat, &context, 1).await;
    let first = &vote(&cause).hypotheses[0];
    assert_eq!((first.service.clone(), first.fault.as_str()), (service("orders"), "bad-rollout"));
    let proposal = &first.remedies[0];
    let Action::RollbackWorkload(rollback) = &proposal.action else { panic!("{proposal:?}") };
    assert_eq!((rollback.revision, rollback.images.as_slice()), (1, ["x@sha256:1".to_owned()].as_slice()));
    // The digest is that of the template as the executor will find it in the old ReplicaSet.
    let sets: Api<DynamicObject> = Api::namespaced_with(world.admin.clone(), SHOP, &kube::api::ApiResource::erase::<ReplicaSet>(&()));
    let digests: Vec<Digest> = sets
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(|set| Digest::of(&assent_core::workload::plain_template(set.data.pointer("/spec/template").unwrap())).unwrap())
        .collect();
    assert!(digests.contains(&rollback.template));
    assert_eq!(proposal.target, context.workloads[0].target);

    let remedy = world.remedy(&seat, &context, 1, &[envelope]).await;
    let Opinion::Remedy(stances) = &remedy.ballot.opinion else { panic!("{remedy:?}") };
    assert_eq!(stances.stances.iter().map(|stance| stance.verdict).collect::<Vec<_>>(), [StanceVerdict::Support]);

    let word = world.ask(&seat, accounts::DIRECTOR).indicator(IndicatorRequest { namespace: SHOP.into(), name: "orders".into(), since_ms: 0 }).await;
    assert_eq!(word.unwrap_err().code(), Code::Unimplemented);
}
