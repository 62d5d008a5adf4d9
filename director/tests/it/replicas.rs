//! Several directors on one PostgreSQL: one leads and the others take in alerts; who takes over decides what the first would
//! have decided; and two that both believe to lead do no harm.

use assent_api::names;
use assent_api::resources::{Ballot, Decision, decision_name};
use assent_core::ballot::Principal;
use assent_core::ledger::verify;
use assent_director::{Args, Secret};
use assent_tests::postgres::Postgres;
use assent_tests::scripted::Says;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use crate::bench::{Bench, firing, within};

const SAYS: [(&str, Says); 4] =
    [("network", Says::Healthy), ("compute", Says::Blames(Principal::Kubelet)), ("change", Says::Blames(Principal::ApiServer)), ("database", Says::Waits)];

fn args(bench: &Bench, seats: &[(String, std::net::SocketAddr)], server: &Postgres, instance: &str) -> Args {
    Args { instance: instance.into(), database_url: Some(Secret::from(server.url())), store: "/nonexistent".into(), ..bench.args(seats) }
}

async fn holder(bench: &Bench) -> Option<String> {
    let leases: Api<Lease> = bench.ours();
    leases.get("assent-director").await.unwrap().spec.unwrap().holder_identity
}

#[tokio::test]
async fn who_takes_over_counts_the_stored_ballots_and_decides_the_same() {
    let Some(server) = Postgres::start() else { return };
    let bench = Bench::start("failover").await;
    let seats = bench.seats(&SAYS).await;
    let (first, is_ready) = bench.contend(args(&bench, &seats.addresses, &server, "first")).await;
    within(is_ready).await.unwrap();
    let (second, is_ready) = bench.contend(args(&bench, &seats.addresses, &server, "second")).await;
    within(is_ready).await.unwrap();

    // Alerts may come to either of them; who leads does the rest.
    let (status, reply) = second.alert("alertmanager", &firing("a", "orders")).await;
    assert_eq!(status, 200, "{reply}");
    let uid = serde_json::from_str::<Value>(&reply).unwrap()["incidents"][0].as_str().unwrap().to_owned();
    let (_, again) = first.alert("alertmanager", &firing("b", "orders")).await;
    assert!(again.contains(&uid), "{again}");
    for seat in ["network", "compute", "change"] {
        let _: Ballot = bench.appears(&format!("{uid}-1-cause-{seat}")).await;
    }
    bench.reaches(&uid, "Investigating").await;
    assert_eq!(holder(&bench).await.as_deref(), Some("first"));
    assert!(bench.ours::<Decision>().get_opt(&decision_name(&uid, 1)).await.unwrap().is_none());
    first.crash();
    seats.go.send_replace(true);

    let decision: Decision = bench.appears(&decision_name(&uid, 1)).await;
    assert_eq!(holder(&bench).await.as_deref(), Some("second"));
    assert_eq!(decision.spec.verdict, "Act", "{:?}", decision.spec);
    let list = ListParams::default().labels(&format!("{}={uid}", names::INCIDENT));
    let stored = bench.ours::<Ballot>().list(&list).await.unwrap().items;
    let cast: Vec<_> = stored.iter().map(|ballot| assent_api::cast(ballot, &bench.roster).unwrap()).filter(|cast| cast.ballot.epoch == 1).collect();
    let outcome = assent_core::consensus::tally(&bench.roster, &cast);
    assert_eq!(serde_json::from_str::<assent_core::consensus::Outcome>(&decision.spec.payload).unwrap(), outcome);
    bench.reaches(&uid, "Remediating").await;
    let (entries, head) = second.ledger(None).await;
    assert_eq!(verify(&entries).unwrap(), head);
    assert_eq!(entries.iter().filter(|entry| entry.kind == "seats-asked").count(), 1, "asked by two, on record once");
    second.stop().await;
}

#[tokio::test]
async fn two_that_both_believe_to_lead_decide_once_and_keep_one_ledger() {
    let Some(server) = Postgres::start() else { return };
    let bench = Bench::start("twins").await;
    let seats = bench.seats(&SAYS).await;
    // Under one name both hold the lease.
    let (one, is_ready) = bench.contend(args(&bench, &seats.addresses, &server, "twin")).await;
    within(is_ready).await.unwrap();
    let (other, is_ready) = bench.contend(args(&bench, &seats.addresses, &server, "twin")).await;
    within(is_ready).await.unwrap();
    let anomaly = bench.anomaly("network").await;
    let uid = bench.report(one.addresses[1], "assent-seat-network", &anomaly).await.unwrap();
    assert_eq!(bench.report(other.addresses[1], "assent-seat-network", &anomaly).await.unwrap(), uid);
    for seat in ["network", "compute", "change"] {
        let _: Ballot = bench.appears(&format!("{uid}-1-cause-{seat}")).await;
    }
    seats.go.send_replace(true);
    bench.reaches(&uid, "Remediating").await;
    // Another incident meanwhile, by the other one.
    let (status, reply) = other.alert("alertmanager", &firing("b", "orders")).await;
    assert!(status == 200 && reply.contains(&uid), "{reply}");

    let decisions = bench.ours::<Decision>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(decisions.iter().map(|decision| decision.spec.verdict.as_str()).collect::<Vec<_>>(), ["Act"]);
    let (entries, head) = one.ledger(None).await;
    assert_eq!(verify(&entries).unwrap(), head);
    let (same, newest) = other.ledger(None).await;
    assert!(same.starts_with(&entries), "two ledgers");
    assert_eq!(verify(&same).unwrap(), newest);
    let count = |kind: &str| same.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((count("incident-opened"), count("seats-asked"), count("tally"), count("decided"), count("handed-to-executor")), (1, 1, 1, 1, 1));
    one.stop().await;
    other.stop().await;
}
