//! Somebody else's validating webhook that holds one step of the executor, until a test says how it goes on: what a test does
//! meanwhile happens between two steps, however fast the machine is. Everything else passes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assent_api::names::EXECUTOR_USER;
use assent_api::resources::breaker_name;
use assent_core::workload::Kind;
use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::hook::{self, Hook};
use crate::scene::Case;
use crate::world::{World, apply, kind_of};

/// Longest until a step comes; longer than anything that may come before it.
const PATIENCE: Duration = Duration::from_secs(90);

/// A step of the executor that writes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The plan enters the CircuitBreaker of its service: the target was read, and is not written.
    Entry,
    /// The target is written, or its pod evicted: the voted change, or its inverse.
    Write,
    /// The status of the plan is written.
    Note,
}

const PODS: &str = "pods";

type Steps = Mutex<HashMap<(&'static str, String), (oneshot::Sender<()>, oneshot::Receiver<()>)>>;

/// A running onlooker; dropping it stops its server.
#[derive(Debug)]
pub struct Onlooker {
    steps: Arc<Steps>,
    _hook: Hook,
}

/// A step that will be held, or is. Dropped, the step is denied.
#[derive(Debug)]
pub struct Held {
    come: oneshot::Receiver<()>,
    pass: oneshot::Sender<()>,
}

// === impl Held ===

impl Held {
    /// Waits until the step has come.
    pub async fn come(&mut self) {
        tokio::time::timeout(PATIENCE, &mut self.come).await.unwrap_or_else(|_| panic!("the step never came")).unwrap();
    }

    /// Lets the step pass.
    pub fn pass(self) {
        // Whoever made it may be gone.
        let _gone = self.pass.send(());
    }
}

// === impl Onlooker ===

impl Onlooker {
    /// Serves, registers and waits until the API server asks it.
    pub async fn start(world: &World) -> Self {
        let steps: Arc<Steps> = Arc::default();
        let looked = steps.clone();
        let answer = move |Json(review): Json<Value>| async move {
            let allowed = judge(&looked, &review["request"]).await;
            Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": review["request"]["uid"], "allowed": allowed}}))
        };
        let (hook, client_config) = hook::serve(Router::new().route("/", post(answer))).await;
        let rule = |group: &str, version: &str, resources: &[&str]| json!({"apiGroups": [group], "apiVersions": [version], "operations": ["CREATE", "UPDATE"], "resources": resources});
        let onlooker = Self { steps, _hook: hook };
        world.deployment("onlooked", "registry.invalid/x:1").await;
        apply(
            &world.admin,
            &json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "onlooker"},
                "webhooks": [{"name": "onlooker.example.org", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                    "timeoutSeconds": 30, "clientConfig": client_config,
                    "rules": [rule("assent.dev", "v1alpha1", &["circuitbreakers/status", "remediations/status"]), rule("", "v1", &["pods/eviction"]), rule("apps", "v1", &["deployments", "deployments/scale", "statefulsets", "statefulsets/scale", "daemonsets"])]}]
            }),
        )
        .await;
        // A step of its own shows that it is asked: it comes back denied.
        for _ in 0..200 {
            drop(onlooker.hold_named("deployments", "onlooked"));
            let path = format!("/apis/apps/v1/namespaces/{}/deployments/onlooked?dryRun=All", crate::world::SHOP);
            let patch = http::Request::patch(path).header("content-type", "application/merge-patch+json").body(b"{}".to_vec()).unwrap();
            if crate::world::send(&world.admin, patch).await.is_err() {
                return onlooker;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the onlooker was never asked");
    }

    /// Holds the next step of that kind in `case`.
    #[must_use]
    pub fn hold(&self, case: &Case, moment: Moment) -> Held {
        match moment {
            Moment::Entry => self.hold_named("circuitbreakers", &breaker_name(&case.proposal.target.service())),
            Moment::Write if case.proposal.action.evicts().is_some() => self.hold_named(PODS, case.proposal.object_name()),
            Moment::Write => self.hold_named(kind_of(&case.proposal).resource(), &case.proposal.target.name),
            Moment::Note => self.hold_named("remediations", &case.plan),
        }
    }

    fn hold_named(&self, resource: &'static str, name: &str) -> Held {
        let ((came, come), (pass, passes)) = (oneshot::channel(), oneshot::channel());
        self.steps.lock().unwrap().insert((resource, name.to_owned()), (came, passes));
        Held { come, pass }
    }
}

/// Whether the request passes; one that is held waits for its word.
async fn judge(steps: &Steps, request: &Value) -> bool {
    let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    // What is stored nowhere is no step, nor is what others write.
    let workload = Kind::ALL.into_iter().map(Kind::resource).chain([PODS]).find(|resource| *resource == text("/resource/resource"));
    let of_target = workload.is_some();
    if of_target && text("/name") != "onlooked" && (request["dryRun"] == true || text("/userInfo/username") != EXECUTOR_USER) {
        return true;
    }
    let ours = ["circuitbreakers", "remediations"].into_iter().find(|known| *known == text("/resource/resource"));
    let resource = workload.or(ours);
    let held = resource.and_then(|resource| steps.lock().unwrap().remove(&(resource, text("/name").to_owned())));
    let Some((came, passes)) = held else { return true };
    let _gone = came.send(());
    passes.await.is_ok()
}
