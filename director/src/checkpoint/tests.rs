//! A lost ledger, and what people write into the Roster afterwards, on a real API server without the gate.

use assent_api::names;
use assent_api::resources::{CheckpointSpec, Remediation, Roster, RosterSpec};
use assent_core::canonical::Digest;
use assent_core::consensus::{self, Seat, TallyConfiguration, shipped_principals};
use assent_core::ids::{Domain, IncidentUid, UnixMillis};
use assent_core::incident::{Alert, AlertSource, Phase, Symptom};
use assent_core::ledger::{Checkpoint, Head, Position};
use assent_core::target::Service;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::*;
use crate::store::{Arrival, Delivery, Received};
use crate::testing::{install, plan};

async fn phase_of_a_new_incident(store: &Store, name: &str) -> Phase {
    let service = Some(Service { namespace: "shop".into(), name: name.into() });
    let alert =
        Alert { source: AlertSource::Seat, key: name.into(), service, symptom: Symptom::Errors, resolved: false, since: UnixMillis(1), summary: "s".into() };
    let received =
        store.receive("director", &[Delivery { arrivals: vec![Arrival { alert, subject: String::new() }], notices: vec![] }]).await.unwrap().remove(0);
    let [Received::Opened(uid)] = received.as_slice() else { panic!("{received:?}") };
    store.incident(uid).await.unwrap().incident.phase
}

fn roster() -> consensus::Roster {
    let seat = Seat { name: "network".into(), domain: Domain::Network, account: "assent-seat-network".into(), principals: shipped_principals(Domain::Network) };
    let gate = Digest::of_bytes(b"gate");
    consensus::Roster { seats: vec![seat], quorum: 2, supporters: 2, tally: TallyConfiguration::shipped(), trust_roots: String::new(), gate, ledger: None }
}

#[tokio::test]
async fn after_a_lost_ledger_it_decides_again_once_people_vouch_for_the_new_one() {
    let cluster = assent_cluster::api_only("checkpoint").await.unwrap();
    let client = cluster.client().await.unwrap();
    install(&client).await;
    let incident = IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap();
    let lost = Position { era: 0, head: Head { sequence: 5000, hash: Digest::of_bytes(b"lost") } };
    let plans: Api<Remediation> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    plans.create(&PostParams::default(), &plan(&incident, 1, lost.clone())).await.unwrap();
    let rosters: Api<Roster> = Api::all(client.clone());
    rosters.create(&PostParams::default(), &Roster::new(names::ROSTER, RosterSpec::from(&roster()))).await.unwrap();
    let vouch = async |checkpoint: &Checkpoint| {
        let spec = CheckpointSpec::from(checkpoint);
        rosters.patch(names::ROSTER, &PatchParams::default(), &Patch::Merge(json!({"spec": {"ledger": spec}}))).await.unwrap();
    };

    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("director.db")).await.unwrap();
    let reason = contradiction(&client, &store).await.unwrap();
    assert!(reason.as_deref().is_some_and(|reason| reason.contains("head 5000, which is not in this ledger")), "{reason:?}");
    store.contradict(reason);
    assert_eq!(phase_of_a_new_incident(&store, "orders").await, Phase::Escalated);
    assert_eq!(store.head().await.unwrap(), Head::empty(), "what people vouch for does not grow before they do");

    // For another moment, and for another ledger.
    let other = Checkpoint { supersedes: Head::empty(), ..Checkpoint::new(&lost, Head::empty()).unwrap() };
    let strange = Checkpoint::new(&lost, Head { sequence: 0, hash: Digest::of_bytes(b"another") }).unwrap();
    for (checkpoint, why) in [(&other, "an admitted plan"), (&strange, "the Roster vouches for head 0")] {
        vouch(checkpoint).await;
        look(&client, &store).await.unwrap();
        assert!(store.broken().is_some_and(|reason| reason.contains(why)), "{:?}", store.broken());
    }
    vouch(&Checkpoint::new(&lost, Head::empty()).unwrap()).await;
    look(&client, &store).await.unwrap();
    assert_eq!(store.broken(), None);
    assert_ne!(phase_of_a_new_incident(&store, "stock").await, Phase::Escalated);

    // The first plan under it is what counts from then on, after a restart too; the lost one no longer does.
    let begun = Position { era: 1, head: store.head().await.unwrap() };
    assert!(begun.head.sequence > 0);
    plans.create(&PostParams::default(), &plan(&incident, 2, begun)).await.unwrap();
    assert_eq!(contradiction(&client, &store).await.unwrap(), None);
    plans.create(&PostParams::default(), &plan(&incident, 3, Position { era: 1, ..lost })).await.unwrap();
    assert!(contradiction(&client, &store).await.unwrap().is_some(), "a used checkpoint excuses nothing");
}
