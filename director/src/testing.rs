//! What unit tests against a real API server share.

use assent_api::names;
use assent_api::resources::{Remediation, definitions};
use assent_core::action::{Action, Inverse, Restart};
use assent_core::ballot::Proposal;
use assent_core::canonical::Digest;
use assent_core::ids::IncidentUid;
use assent_core::ledger::{Position, Proof};
use assent_core::plan::{BlueprintPin, LedgerPin, MAX_REVERT_MS, Plan};
use assent_core::target::Target;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::runtime::conditions;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::json;

/// Kinds and namespace of ours.
pub(crate) async fn install(client: &Client) {
    let kinds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in definitions() {
        let name = definition.metadata.name.clone().unwrap();
        kinds.create(&PostParams::default(), &definition).await.unwrap();
        Box::pin(await_condition(kinds.clone(), &name, conditions::is_crd_established())).await.unwrap();
    }
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": names::SYSTEM_NAMESPACE}})).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
}

/// A plan that was admitted when the ledger stood there.
pub(crate) fn plan(incident: &IncidentUid, epoch: u32, Position { era, head }: Position) -> Remediation {
    let digest = Digest::of_bytes(b"x");
    let target = Target {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: "orders".into(),
        uid: "u".into(),
        generation: 1,
        spec: digest.clone(),
    };
    let plan = Plan {
        cluster: "c".into(),
        incident: incident.clone(),
        epoch,
        proposal: Proposal { action: Action::RestartWorkload(Restart { marker: "m".into() }), target },
        inverse: Inverse::Empty,
        canary: None,
        ballots: Vec::new(),
        roster: digest.clone(),
        guardrails: digest,
        blueprint: BlueprintPin { name: "b".into(), uid: "u".into(), generation: 1 },
        ledger: LedgerPin { era, head, proof: Proof::default() },
        soak_ms: 1,
        expires_after_ms: 1,
        revert_within_ms: MAX_REVERT_MS,
    };
    Remediation::of(&plan).unwrap()
}
