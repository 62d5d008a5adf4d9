//! What goes when, on a real API server without the gate: the cleaner must not even ask for what has to stay.

use std::collections::BTreeMap;

use assent_api::resources::{DecisionSpec, decision_name, definitions};
use assent_core::action::{Action, Inverse, Restart};
use assent_core::ballot::Proposal;
use assent_core::canonical::Digest;
use assent_core::ids::IncidentUid;
use assent_core::incident::{Alert, AlertSource, Event, Symptom};
use assent_core::ledger::Head;
use assent_core::plan::{BlueprintPin, LedgerPin, Plan};
use assent_core::target::{Service, Target};
use assent_runtime::workload::testing::Authority;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::PostParams;
use kube::runtime::conditions;
use kube::runtime::wait::await_condition;
use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::metrics::Metrics;
use crate::store::{Advance, Arrival, Received, Store};

const HOUR: i64 = 60 * 60 * 1000;

async fn install(client: &Client) {
    let kinds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in definitions() {
        let name = definition.metadata.name.clone().unwrap();
        kinds.create(&PostParams::default(), &definition).await.unwrap();
        Box::pin(await_condition(kinds.clone(), &name, conditions::is_crd_established())).await.unwrap();
    }
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": names::SYSTEM_NAMESPACE}})).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
}

/// An incident that is over and shown.
async fn ended(director: &Director) -> IncidentUid {
    let service = Some(Service { namespace: "shop".into(), name: "orders".into() });
    let alert =
        Alert { source: AlertSource::Seat, key: "a".into(), service, symptom: Symptom::Errors, resolved: false, since: UnixMillis(1), summary: "s".into() };
    let received = director.store.receive("director", &[Arrival { alert, subject: String::new() }], &[]).await.unwrap();
    let [Received::Opened(uid)] = received.as_slice() else { panic!("{received:?}") };
    let record = director.advance(uid, Advance::by(Event::Abandoned("because".into()))).await.unwrap();
    crate::publish::publish(director, &record).await.unwrap();
    director.store.published(uid, record.revision).await.unwrap();
    uid.clone()
}

fn plan(incident: &IncidentUid, epoch: u32, sequence: u64) -> Remediation {
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
        ballots: Vec::new(),
        roster: digest.clone(),
        guardrails: digest.clone(),
        blueprint: BlueprintPin { name: "b".into(), uid: "u".into(), generation: 1 },
        ledger: LedgerPin { head: Head { sequence, hash: digest }, links: Vec::new() },
        soak_ms: 1,
        expires_after_ms: 1,
        revert_within_ms: MAX_REVERT_MS,
    };
    Remediation::of(&plan).unwrap()
}

#[tokio::test]
async fn what_nobody_can_rest_on_goes_and_everything_else_stays() {
    let cluster = assent_cluster::api_only("cleaner").await.unwrap();
    let client = cluster.client().await.unwrap();
    install(&client).await;
    let directory = tempfile::tempdir().unwrap();
    let director = Director {
        store: Store::open(&directory.path().join("director.db")).await.unwrap(),
        client,
        workload: Authority::new().workload(names::SYSTEM_NAMESPACE, names::accounts::DIRECTOR),
        cluster: "c".into(),
        author: "director".into(),
        metrics: Metrics::default(),
        wake: watch::Sender::new(()),
        addresses: BTreeMap::new(),
    };
    let uid = ended(&director).await;
    let decision = Decision::of(DecisionSpec {
        incident: uid.to_string(),
        epoch: 1,
        verdict: "Act".into(),
        cause: String::new(),
        action: String::new(),
        confidence: String::new(),
        ballots: Vec::new(),
        reasons: Vec::new(),
        payload: String::new(),
    });
    director.ours::<Decision>().create(&PostParams::default(), &decision).await.unwrap();
    let (older, newest) = (plan(&uid, 1, 7), plan(&uid, 2, 9));
    for plan in [&older, &newest] {
        director.ours::<Remediation>().create(&PostParams::default(), plan).await.unwrap();
    }
    let left = async || {
        let plan = async |name: String| director.ours::<Remediation>().get_opt(&name).await.unwrap().is_some();
        [
            director.ours::<Decision>().get_opt(&decision_name(uid.as_str(), 1)).await.unwrap().is_some(),
            plan(older.name_any()).await,
            plan(newest.name_any()).await,
            director.ours::<Incident>().get_opt(uid.as_str()).await.unwrap().is_some(),
        ]
    };
    // Decision, older plan, newest plan, incident.
    for (hours, expected) in [(0, [true; 4]), (24, [true; 4]), (25, [false, false, true, true]), (8 * 24, [false, false, true, false])] {
        clean(&director, store::now().plus(hours * HOUR)).await.unwrap();
        assert_eq!(left().await, expected, "after {hours} hours");
    }
    assert!(matches!(director.store.incident(&uid).await, Err(store::Error::Unknown(_))));
    assert!(director.store.head().await.unwrap().sequence > 0, "the ledger forgets nothing");
}
