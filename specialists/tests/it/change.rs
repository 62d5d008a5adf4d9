//! The change seat: it watches a template become healthy and another roll out, and knows the way back.

use assent_api::names::accounts;
use assent_api::proto::IndicatorRequest;
use assent_core::action::Action;
use assent_core::ballot::{Opinion, StanceVerdict};
use assent_core::canonical::Digest;
use assent_core::workload::{Kind, kept_template};
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::json;
use tonic::Code;

use crate::world::{SHOP, World, now, service, until, vote};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_knows_the_way_back_to_what_it_saw_healthy() {
    knows_the_way_back(Kind::Deployment).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_knows_the_way_back_of_a_stateful_set() {
    knows_the_way_back(Kind::StatefulSet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_knows_the_way_back_of_a_daemon_set() {
    knows_the_way_back(Kind::DaemonSet).await;
}

async fn knows_the_way_back(kind: Kind) {
    let world = World::start(&format!("seat-change-{}", kind.resource())).await;
    world.deploy_as(kind, "orders", "1").await;
    let seat = world.seat("change", &["--settle-seconds", "1"]).await;
    let pod = world.pod("orders", "1").await;
    world.ready(&pod, "127.0.0.1", "x@sha256:1").await;
    let workloads = world.workloads(kind);
    let generation = |wanted: i64| {
        let workloads = workloads.clone();
        async move {
            let object = serde_json::to_value(workloads.get("orders").await.unwrap()).unwrap();
            let counts = kind.counts(&object);
            (object["status"]["observedGeneration"].as_i64() >= Some(wanted) && counts.settled()).then_some(())
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
    workloads.patch("orders", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    let pod = world.pod("orders", "2").await;
    world.ready(&pod, "127.0.0.2", "x@sha256:2").await;
    until("the second version", || generation(2)).await;

    let context = world.context_of(kind, "orders", now() + 3_000, &["orders"]).await;
    let (cause, envelope) = world.cause(&seat, &context, 1).await;
    let first = &vote(&cause).hypotheses[0];
    assert_eq!((first.service.clone(), first.fault.as_str()), (service("orders"), "bad-rollout"));
    let proposal = &first.remedies[0];
    let Action::RollbackWorkload(rollback) = &proposal.action else { panic!("{proposal:?}") };
    assert_eq!((rollback.revision, rollback.images.as_slice()), (1, ["x@sha256:1".to_owned()].as_slice()));
    // The digest is that of the template as the executor will find it in what keeps the old one.
    let keeper = match kind {
        Kind::Deployment => kube::api::ApiResource::erase::<ReplicaSet>(&()),
        Kind::StatefulSet | Kind::DaemonSet => kube::api::ApiResource::erase::<ControllerRevision>(&()),
    };
    let kept: Api<DynamicObject> = Api::namespaced_with(world.admin.clone(), SHOP, &keeper);
    let kept = kept.list(&ListParams::default()).await.unwrap();
    let templates = kept.iter().filter_map(|object| kept_template(&serde_json::to_value(object).unwrap()));
    let digests: Vec<Digest> = templates.map(|template| Digest::of(&template).unwrap()).collect();
    assert!(digests.contains(&rollback.template));
    assert_eq!(proposal.target, context.workloads[0].target);

    let remedy = world.remedy(&seat, &context, 1, &[envelope]).await;
    let Opinion::Remedy(stances) = &remedy.ballot.opinion else { panic!("{remedy:?}") };
    assert_eq!(stances.stances.iter().map(|stance| stance.verdict).collect::<Vec<_>>(), [StanceVerdict::Support]);

    let word =
        world.ask(&seat, accounts::DIRECTOR).indicator(IndicatorRequest { namespace: SHOP.into(), name: "orders".into(), since_ms: 0, pods: Vec::new() }).await;
    assert_eq!(word.unwrap_err().code(), Code::Unimplemented);
}
