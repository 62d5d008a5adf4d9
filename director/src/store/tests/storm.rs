//! Thousands of alerts at once: one incident per cause, a bounded number of incidents, everything on record.

use std::collections::BTreeSet;

use super::*;

fn delivery(arrivals: Vec<Arrival>) -> Delivery {
    Delivery { arrivals, notices: vec![] }
}

fn uids_of(received: &[Vec<Received>]) -> BTreeSet<IncidentUid> {
    let uid = |what: &Received| match what {
        Received::Opened(uid) | Received::Joined(uid) | Received::Known(Some(uid)) => Some(uid.clone()),
        Received::Known(None) | Received::Kept => None,
    };
    received.iter().flatten().filter_map(uid).collect()
}

#[tokio::test]
async fn ten_thousand_posts_of_three_causes_are_three_incidents_with_everything_on_record() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let mut uids = BTreeSet::new();
    for batch in 0..40 {
        let one = |n: usize| delivery(vec![elsewhere(["shop", "mail", "bank"][n % 3], &format!("{batch}/{n}"), &format!("service-{}", n % 50))]);
        let received = store.receive(US, &(0..250).map(one).collect::<Vec<_>>()).await.unwrap();
        assert!(received.iter().all(|of| of.len() == 1));
        uids.extend(uids_of(&received));
    }
    assert_eq!((uids.len(), store.under_way().await.unwrap().len()), (3, 3));
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM alerts WHERE incident IS NOT NULL").fetch_one(file(&store)).await.unwrap();
    let entries = ledger_of(&store).await;
    let alerts = entries.iter().filter(|entry| entry.kind.starts_with("alert-")).count();
    assert_eq!((stored, alerts), (10_000, 10_000));
    assert_eq!(verify(&entries).unwrap(), store.head().await.unwrap());
    for uid in uids {
        assert!(store.alerts(&uid).await.unwrap().len() == 16);
    }
}

#[tokio::test]
async fn a_storm_over_thousands_of_services_opens_a_bounded_number_of_incidents_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let deliveries: Vec<Delivery> = (0..1000).map(|n| delivery(vec![elsewhere(&format!("tenant-{n}"), &format!("a{n}"), "web")])).collect();
    let received = store.receive(US, &deliveries).await.unwrap();
    assert_eq!(uids_of(&received).len(), 129, "as many as anybody looks at, and one for all the rest");
    let Some([Received::Joined(storm)]) = received.last().map(Vec::as_slice) else { panic!("{:?}", received.last()) };
    let record = store.incident(storm).await.unwrap();
    assert_eq!((record.incident.phase, record.incident.service.to_string().as_str()), (Phase::Escalated, "-/storm"), "a person is told");
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM alerts WHERE incident = $1").bind(storm.to_string()).fetch_one(file(&store)).await.unwrap();
    assert_eq!(kept, 1000 - 128);
    // Again: nothing opens, and those that have an incident of their own stay with it.
    let again = store.receive(US, &deliveries).await.unwrap();
    assert_eq!(uids_of(&again), uids_of(&received));
    assert!(again.iter().flatten().all(|what| matches!(what, Received::Known(Some(_)))), "{again:?}");
    assert_eq!(verify(&ledger_of(&store).await).unwrap(), store.head().await.unwrap());
}

#[tokio::test]
async fn one_transaction_says_what_many_would() {
    let alerts = || {
        let mut resolved = arrival("a", "orders");
        resolved.alert.resolved = true;
        let unknown = Arrival { alert: assent_core::incident::Alert { service: None, ..arrival("x", "x").alert }, subject: "Disk full".into() };
        vec![arrival("a", "orders"), arrival("a", "orders"), arrival("b", "web"), elsewhere("mail", "c", "smtp"), resolved, arrival("a", "orders"), unknown]
    };
    let kinds = |received: &[Received]| received.iter().map(std::mem::discriminant).collect::<Vec<_>>();
    let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, many) = (open(&one).await, open(&many).await);
    let at_once = received(&one, alerts()).await;
    let mut in_turn = Vec::new();
    for arrival in alerts() {
        in_turn.extend(received(&many, vec![arrival]).await);
    }
    assert_eq!(kinds(&at_once), kinds(&in_turn));
    let rows = "SELECT key, resolved, deliveries, novel FROM alerts ORDER BY key";
    let of = async |store: &Store| sqlx::query_as::<_, (String, i64, i64, i64)>(rows).fetch_all(file(store)).await.unwrap();
    assert_eq!(of(&one).await, of(&many).await);
    let kinds = async |store: &Store| ledger_of(store).await.into_iter().map(|entry| entry.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&one).await, kinds(&many).await);
}
