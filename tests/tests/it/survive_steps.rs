//! SIGKILL at every step: whenever something new is seen of an incident, the victim dies and comes back. The incident ends
//! once, was applied once, and the record holds. Director, executor and gate are processes of their own here; four scripted
//! seats vote, and pods come up at a word.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{Ballot, Decision, Incident, Remediation};
use assent_runtime::CancellationToken;
use assent_tests::stage::Stage;
use assent_tests::world::{SHOP, World, get};
use assent_tests::{images, privileges};
use futures::TryStreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

/// Longest from the report to the end, with a dozen restarts in between.
const PATIENCE: Duration = Duration::from_secs(240);
/// What a watch says when it has begun.
const WATCHING: &str = "watching";

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_the_incident_ends_once_and_was_applied_once() {
    let mut world = World::start("steps").await;
    world.kill_gate().await;
    // One ledger for all: a director without it would rightly decide nothing any more.
    let files = tempfile::tempdir().unwrap();
    let mut known = BTreeSet::new();
    for (workload, victims) in [
        ("orders", &["assent-director"][..]),
        ("cart", &["assent-executor"]),
        ("stock", &["assent-gate"]),
        ("mail", &["assent-director", "assent-executor", "assent-gate"]),
    ] {
        known.insert(survives(&world, workload, victims, files.path(), &known).await);
    }
}

/// One incident of `workload`; its UID, which is none of `known`.
async fn survives(world: &World, workload: &str, victims: &[&str], files: &Path, known: &BTreeSet<String>) -> String {
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let mut stage = Stage::start(world, files, None).await;
    world.deployment(workload, "registry.invalid/x:1").await;
    world.blueprint(workload).await;

    let before = generation(world, workload).await;
    let mut steps = steps(&world.admin, &stop).await;
    let (uid, _) = stage.report(world, workload, known).await;
    let mut seen = BTreeSet::new();
    let end = tokio::time::timeout(PATIENCE, async {
        while let Some(step) = steps.recv().await {
            if step == WATCHING || !seen.insert(step.clone()) {
                continue;
            }
            stage.restart(victims).await;
            if step == format!("incident {uid} closed") {
                return;
            }
        }
    });
    if end.await.is_err() {
        panic!("{victims:?} killed at {seen:?}, and there it ended");
    }
    eprintln!("{victims:?} killed after each of {} steps: {}", seen.len(), seen.iter().cloned().collect::<Vec<_>>().join(", "));

    let system = |params: ListParams| (Api::<Remediation>::namespaced(world.admin.clone(), SYSTEM_NAMESPACE), params);
    let (plans, params) = system(ListParams::default().labels(&format!("assent.dev/incident-uid={uid}")));
    assert_eq!(plans.list(&params).await.unwrap().items.len(), 1, "one incident, one plan");
    let incident = Api::<Incident>::namespaced(world.admin.clone(), SYSTEM_NAMESPACE).get(&uid).await.unwrap();
    assert_eq!(incident.status.as_ref().unwrap().phase.as_deref(), Some("Resolved"), "{:?}", incident.status);
    assert_eq!(generation(world, workload).await, before + 1, "one change of the workload");
    let log = std::fs::read_to_string(world.cluster.audit_log()).unwrap();
    assert_eq!(privileges::writes(&log, &uid), 1, "one write that was stored");
    verifies(world, &stage, files, &uid).await;
    stage.stop().await;
    uid
}

/// `kubectl assent verify` proves the incident again from the ledger that the director gives out.
async fn verifies(world: &World, stage: &Stage, files: &Path, uid: &str) {
    let ledger = stage.ledger().await;
    let path = files.join("ledger.jsonl");
    std::fs::write(&path, ledger).unwrap();
    let verify = std::process::Command::new(images::program("kubectl-assent"))
        .env("KUBECONFIG", world.cluster.kubeconfig_path())
        .args(["verify", uid, "--ledger"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(verify.status.success(), "{}{}", String::from_utf8_lossy(&verify.stdout), String::from_utf8_lossy(&verify.stderr));
}

async fn generation(world: &World, workload: &str) -> i64 {
    let deployment = get(&world.admin, &format!("/apis/apps/v1/namespaces/{SHOP}/deployments/{workload}")).await.unwrap();
    deployment["metadata"]["generation"].as_i64().unwrap()
}

/// Everything that can be seen of an incident on its way, as it happens, each by a line of its own.
async fn steps(client: &Client, stop: &CancellationToken) -> mpsc::UnboundedReceiver<String> {
    let (send, mut steps) = mpsc::unbounded_channel();
    follow::<Incident>(client, SYSTEM_NAMESPACE, stop, &send, |incident| {
        let status = incident.status.clone().unwrap_or_default();
        let closed = status.conditions.iter().any(|condition| condition.kind == "Closed" && condition.status == "True");
        let what = if closed { "closed".into() } else { status.phase.unwrap_or_else(|| "opened".into()) };
        format!("incident {} {what}", incident.name_any())
    });
    follow::<Ballot>(client, SYSTEM_NAMESPACE, stop, &send, |ballot| format!("ballot {}", ballot.name_any()));
    follow::<Decision>(client, SYSTEM_NAMESPACE, stop, &send, |decision| format!("decision {}", decision.name_any()));
    follow::<Remediation>(client, SYSTEM_NAMESPACE, stop, &send, |plan| {
        format!("plan {} {:?}", plan.name_any(), plan.status.as_ref().and_then(|status| status.phase))
    });
    follow::<Deployment>(client, SHOP, stop, &send, |target| format!("{} at generation {}", target.name_any(), target.metadata.generation.unwrap_or_default()));
    let mut watching = 0;
    while watching < 5 {
        watching += usize::from(steps.recv().await.unwrap() == WATCHING);
    }
    steps
}

/// Only what happens from now on: earlier incidents are over.
fn follow<K>(client: &Client, namespace: &str, stop: &CancellationToken, send: &mpsc::UnboundedSender<String>, say: fn(&K) -> String)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let (api, send): (Api<K>, _) = (Api::namespaced(client.clone(), namespace), send.clone());
    let watch = async move {
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
        while let Some(event) = events.try_next().await.unwrap() {
            let line = match event {
                watcher::Event::Apply(object) => say(&object),
                watcher::Event::InitDone => WATCHING.to_owned(),
                _ => continue,
            };
            // Nobody listens any more once the incident is closed.
            let _over = send.send(line);
        }
    };
    tokio::spawn(stop.clone().run_until_cancelled_owned(watch));
}
