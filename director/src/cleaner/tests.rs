//! What goes when, on a real API server without the gate: the cleaner must not even ask for what has to stay.

use std::collections::BTreeMap;

use assent_api::resources::{DecisionSpec, decision_name};
use assent_core::canonical::Digest;
use assent_core::ids::IncidentUid;
use assent_core::incident::{Alert, AlertSource, Event, Symptom};
use assent_core::ledger::{Head, Position};
use assent_core::target::Service;
use assent_runtime::workload::testing::Authority;
use kube::api::PostParams;
use tokio::sync::watch;

use super::*;
use crate::inbox;
use crate::metrics::Metrics;
use crate::store::{Advance, Arrival, Delivery, Received, Store};
use crate::testing::{install, plan};

const HOUR: i64 = 60 * 60 * 1000;

/// An incident that is over and shown.
async fn ended(director: &Director) -> IncidentUid {
    let service = Some(Service { namespace: "shop".into(), name: "orders".into() });
    let alert =
        Alert { source: AlertSource::Seat, key: "a".into(), service, symptom: Symptom::Errors, resolved: false, since: UnixMillis(1), summary: "s".into() };
    let received =
        director.store.receive("director", &[Delivery { arrivals: vec![Arrival { alert, subject: String::new() }], notices: vec![] }]).await.unwrap().remove(0);
    let [Received::Opened(uid)] = received.as_slice() else { panic!("{received:?}") };
    let record = director.advance(uid, Advance::by(Event::Abandoned("because".into()))).await.unwrap();
    crate::publish::publish(director, &record).await.unwrap();
    director.store.published(uid, record.revision).await.unwrap();
    uid.clone()
}

#[tokio::test]
async fn what_nobody_can_rest_on_goes_and_everything_else_stays() {
    let cluster = assent_cluster::api_only("cleaner").await.unwrap();
    let client = cluster.client().await.unwrap();
    install(&client).await;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("director.db")).await.unwrap();
    let director = Director {
        inbox: inbox::open(store.clone(), "director", Metrics::default(), watch::Sender::new(())).0,
        store,
        client,
        workload: Authority::new().workload(names::SYSTEM_NAMESPACE, names::accounts::DIRECTOR),
        cluster: "c".into(),
        author: "director".into(),
        metrics: Metrics::default(),
        wake: watch::Sender::new(()),
        alarmed: watch::Sender::new(()),
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
    // The newest is in the newest era, however long the ledger before it was.
    let at = |era, sequence| Position { era, head: Head { sequence, hash: Digest::of_bytes(b"x") } };
    let (older, newest) = (plan(&uid, 1, at(0, 7000)), plan(&uid, 2, at(1, 9)));
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
