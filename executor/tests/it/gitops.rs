//! Beside somebody who applies what git says every ten seconds, nothing is written that they would put back: people get the change for
//! git instead; what they leave to others is repaired; and against one that nobody declared there is one write and no tug of war.

use std::time::Duration;

use assent_api::resources::RemediationPhase;
use assent_runtime::CancellationToken;
use assent_tests::scene::{Case, Scene};
use assent_tests::seats;
use assent_tests::world::{SHOP, apply};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(10);
const ARGO: &str = "argocd-controller";

/// Somebody who applies a Deployment again and again; it stops when dropped.
struct Reconciler {
    rounds: watch::Receiver<u32>,
    stop: CancellationToken,
}

// === impl Reconciler ===

impl Reconciler {
    /// As `manager`; where it `leaves` the replicas, it applies those that there are, as Argo CD does with differences that it respects.
    async fn start(scene: &Scene, name: &str, manager: &'static str, leaves: bool) -> Self {
        let api: Api<Deployment> = Api::namespaced(scene.world.admin.clone(), SHOP);
        let wanted = manifest(name, manager);
        let (count, rounds) = watch::channel(0);
        let stop = CancellationToken::new();
        let name = name.to_owned();
        let work = async move {
            loop {
                let mut wanted = wanted.clone();
                if let Some(live) = api.get_opt(&name).await.unwrap().filter(|_| leaves) {
                    wanted["spec"]["replicas"] = json!(live.spec.unwrap().replicas);
                }
                api.patch(&name, &PatchParams::apply(manager).force(), &Patch::Apply(&wanted)).await.unwrap();
                count.send_modify(|rounds| *rounds += 1);
                tokio::time::sleep(EVERY).await;
            }
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(work));
        let mut this = Self { rounds, stop };
        this.more(1).await;
        this
    }

    /// Waits for so many more rounds.
    async fn more(&mut self, rounds: u32) {
        let until = *self.rounds.borrow() + rounds;
        self.rounds.wait_for(|done| *done >= until).await.unwrap();
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn manifest(name: &str, manager: &str) -> Value {
    let tracking = if manager == ARGO { json!({"argocd.argoproj.io/tracking-id": format!("{name}:apps/Deployment:{SHOP}/{name}")}) } else { json!({}) };
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": SHOP, "annotations": tracking},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "registry.invalid/x:1"}]}}},
    })
}

/// The Application that says of whom the reconciler is the hand.
async fn application(scene: &Scene, name: &str, more: Value) {
    let mut spec = json!({
        "project": "default", "destination": {"server": "https://kubernetes.default.svc", "namespace": SHOP},
        "syncPolicy": {"automated": {"selfHeal": true}, "syncOptions": ["RespectIgnoreDifferences=true"]},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": name, "namespace": "argocd"}, "spec": spec});
    apply(&scene.world.admin, &object).await;
}

async fn argo_cd(scene: &Scene) {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let kind = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "applications.argoproj.io"},
        "spec": {"group": "argoproj.io", "scope": "Namespaced", "names": {"kind": "Application", "plural": "applications", "singular": "application"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": schema}]},
    });
    apply(&scene.world.admin, &kind).await;
    apply(&scene.world.admin, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}})).await;
    let served = async {
        while assent_tests::world::get(&scene.world.admin, "/apis/argoproj.io/v1alpha1/applications").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), served).await.unwrap();
}

/// All seats are for three replicas of what the reconciler keeps at two.
async fn case(scene: &Scene, name: &str) -> Case {
    scene.world.blueprint(name).await;
    scene.voted(name, |workload| seats::scale(workload, 3)).await
}

async fn replicas(scene: &Scene, case: &Case) -> Value {
    scene.now(case).await.0["spec"]["replicas"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_reconciler_of_every_ten_seconds_there_is_no_tug_of_war() {
    let mut scene = Scene::start().await;
    // Longer than a round, so that each is seen while its effect is watched.
    scene.setting.soak_seconds = 12;
    argo_cd(&scene).await;
    let _executor = scene.executor();

    application(&scene, "git", json!({})).await;
    application(&scene, "left", json!({"ignoreDifferences": [{"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}]})).await;
    let mut git = Reconciler::start(&scene, "git", ARGO, false).await;
    let mut left = Reconciler::start(&scene, "left", ARGO, true).await;
    let mut homegrown = Reconciler::start(&scene, "homegrown", "homegrown-sync", false).await;

    // What git says is not written over; what would do it there is on record.
    let owned = case(&scene, "git").await;
    scene.decide(&owned).await;
    let entry = scene.record.until(&owned.incident, "refused").await;
    assert_eq!(entry.body["rule"], "guardrail", "{}", entry.body);
    assert!(entry.body["reason"].as_str().unwrap().contains("Argo CD Application argocd/git puts back /spec/replicas"), "{}", entry.body);
    assert_eq!(entry.body["patch"]["operations"], json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]));
    assert_eq!(entry.body["patch"]["target"]["name"], "git");

    // What it leaves to others is repaired, and stays so; what puts back without a word is not fought.
    let (yielded, put_back) = (case(&scene, "left").await, case(&scene, "homegrown").await);
    scene.decide(&yielded).await;
    scene.decide(&put_back).await;
    let failed = scene.until_phase(&put_back, RemediationPhase::Failed).await;
    let message = failed.status.unwrap().message.unwrap();
    assert!(message.contains("somebody put the target back while its effect was watched"), "{message}");
    scene.until_phase(&yielded, RemediationPhase::Verified).await;

    git.more(1).await;
    left.more(2).await;
    homegrown.more(1).await;
    for (case, writes, count) in [(&owned, 0, 2), (&yielded, 1, 3), (&put_back, 1, 2)] {
        assert_eq!(scene.audited(&case.incident).len(), writes, "writes to {}", case.proposal.target);
        assert_eq!(replicas(&scene, case).await, count, "{}", case.proposal.target);
    }
}
