//! What holds on SQLite and on PostgreSQL alike, and what only several directors on one PostgreSQL can show.

use assent_core::ballot::Edge;
use assent_core::consensus::RankedCause;
use assent_core::ids::{Domain, Millionths};
use assent_core::refusal::Rule;
use assent_tests::postgres::Postgres;

use super::*;

/// What keeps a store alive while it is tested.
enum Place {
    File(TempDir),
    Server(Postgres),
}

// === impl Place ===

impl Place {
    async fn store(&self) -> Store {
        match self {
            Self::File(directory) => open(directory).await,
            Self::Server(server) => Store::connect(&Url::parse(&server.url()).unwrap()).await.unwrap(),
        }
    }
}

/// Both, or the one that this machine has.
fn places() -> Vec<Place> {
    [Some(Place::File(tempfile::tempdir().unwrap())), Postgres::start().map(Place::Server)].into_iter().flatten().collect()
}

/// The count of an epoch: the cause, and what is done to which Deployment, if anything.
fn counted(epoch: u32, cause: &str, target: Option<&str>) -> Event {
    let cause = RankedCause {
        service: Service { namespace: "shop".into(), name: cause.into() },
        domain: Domain::Application,
        faults: vec![],
        log_odds: 3_000_000,
        probability: Millionths::new(950_000),
        supporters: vec!["change".into()],
        explained_by: None,
    };
    let verdict = match target.map(act) {
        Some(Event::Tallied { outcome, .. }) => outcome.verdict,
        _ => Verdict::Hold { rule: Rule::Support, reason: "not enough".into() },
    };
    let outcome = Box::new(Outcome { causes: vec![cause], ..Outcome::of(verdict) });
    Event::Tallied { epoch, outcome }
}

async fn step(store: &Store, uid: &IncidentUid, event: Event) -> Record {
    store.advance(uid, US, Advance::by(event)).await.unwrap().0
}

fn calls(pairs: &[(&str, &str)]) -> Advance {
    let service = |name: &str| Service { namespace: "shop".into(), name: name.into() };
    let calls = pairs.iter().map(|(caller, callee)| Edge { caller: service(caller), callee: service(callee) }).collect();
    Advance { calls, ..Advance::nothing() }
}

#[tokio::test]
async fn an_incident_from_its_alert_to_its_end() {
    for place in places() {
        let store = place.store().await;
        let uid = opened(&store, "a", "orders").await;
        assert_eq!(
            received(&store, vec![arrival("a", "orders"), arrival("b", "web")]).await,
            [Received::Known(Some(uid.clone())), Received::Joined(uid.clone())]
        );
        assert_eq!(store.waiting(9).await.unwrap(), std::slice::from_ref(&uid));
        let pending = store.next_effect(&uid).await.unwrap().unwrap();
        let gathered = Advance { done: Some(pending.key), ..Advance::by(Event::Gathered("{}".into())) };
        store.advance(&uid, US, gathered).await.unwrap();
        let record = step(&store, &uid, counted(1, "orders", Some("orders"))).await;
        assert_eq!(record.incident.phase, Phase::Decided);
        assert!(!store.advance(&uid, US, Advance::by(counted(1, "orders", Some("orders")))).await.unwrap().1, "the same count again changes nothing");
        let first = store.append(draft(&uid, "k"), 0).await.unwrap().head;
        let second = store.append(draft(&uid, "l"), first.sequence).await.unwrap();
        assert!(first.extends_to(&second.head, &second.proof));
        assert!(matches!(store.append(draft(&uid, "m"), 99).await, Err(Error::Ahead { .. })));
        let record = step(&store, &uid, Event::Finished(RemediationResult::Verified)).await;
        assert_eq!((record.incident.phase, store.under_way().await.unwrap()), (Phase::Resolved, vec![]));
        store.published(&uid, record.revision).await.unwrap();
        assert_eq!(store.unpublished(9).await.unwrap(), []);
        assert_eq!(verify(&ledger_of(&store).await).unwrap(), store.head().await.unwrap());
        store.close().await;
        let again = place.store().await;
        assert_eq!((again.broken(), again.incident(&uid).await.unwrap().incident.phase), (None, Phase::Resolved));
        let notice = |n: u32| Notice { key: format!("{n:04}"), source: AlertSource::GoAlert, text: "t".into() };
        again.receive(US, &[Delivery { arrivals: vec![], notices: (0..1100).map(notice).collect() }]).await.unwrap();
        let rows = again.database.rows("count", "SELECT count(*) FROM notices", []).await.unwrap();
        assert_eq!(rows[0].integer(0).unwrap(), 1000);
        assert_eq!(again.ended_before(now().plus(1), 9).await.unwrap(), std::slice::from_ref(&uid));
        again.forget(&uid).await.unwrap();
        again.forget_strays(now()).await.unwrap();
        assert!(again.alerts(&uid).await.unwrap().is_empty());
        again.close().await;
    }
}

#[tokio::test]
async fn callers_join_by_what_seats_said_of_calls_and_strangers_open_their_own() {
    for place in places() {
        let store = place.store().await;
        let orders = opened(&store, "a", "orders").await;
        store.advance(&orders, US, calls(&[("web", "orders"), ("orders", "db"), ("mail", "smtp")])).await.unwrap();
        step(&store, &orders, Event::Gathered("{}".into())).await;
        step(&store, &orders, counted(1, "orders", Some("orders"))).await;
        let came = received(&store, vec![arrival("b", "web"), arrival("c", "smtp"), arrival("d", "mail"), arrival("e", "unheard-of")]).await;
        let [Received::Joined(web), Received::Opened(smtp), Received::Joined(mail), Received::Joined(stranger)] = came.as_slice() else { panic!("{came:?}") };
        assert!(*web == orders && mail == smtp && *smtp != orders, "{came:?}");
        assert_eq!(*stranger, orders, "without known calls the namespace counts, and the older incident");
        // Known under other names too: the graph is kept.
        store.close().await;
        let again = place.store().await;
        let elsewhere = elsewhere("edge", "f", "gateway");
        assert!(matches!(received(&again, vec![elsewhere]).await.as_slice(), [Received::Opened(_)]));
        again.close().await;
    }
}

#[tokio::test]
async fn a_second_incident_of_the_same_cause_waits_for_the_first_and_for_its_end() {
    for place in places() {
        let store = place.store().await;
        let mut uids = Vec::new();
        for name in ["orders", "web", "mail"] {
            let uid = opened_by(&store, elsewhere(name, name, name)).await;
            step(&store, &uid, Event::Gathered("{}".into())).await;
            uids.push(uid);
        }
        step(&store, &uids[0], counted(1, "orders", Some("orders"))).await;
        // The same cause: whether another remedy was chosen for it or none.
        let web = step(&store, &uids[1], counted(1, "orders", Some("web"))).await;
        let mail = step(&store, &uids[2], counted(1, "orders", None)).await;
        for child in [&web, &mail] {
            assert_eq!((child.incident.phase, child.incident.covered_by.as_ref()), (Phase::Verifying, Some(&uids[0])));
        }
        let decides = store.database.rows("count", "SELECT count(*) FROM outbox WHERE key LIKE '%decide'", []).await.unwrap();
        assert_eq!(decides[0].integer(0).unwrap(), 1, "one cause, one action");
        step(&store, &uids[0], Event::Finished(RemediationResult::Verified)).await;
        for uid in &uids {
            assert_eq!(store.incident(uid).await.unwrap().incident.phase, Phase::Resolved);
        }
        store.close().await;
    }
}

#[tokio::test]
async fn new_evidence_is_shown_to_the_seats_and_brings_another_epoch() {
    for place in places() {
        let store = place.store().await;
        let uid = opened(&store, "a", "orders").await;
        step(&store, &uid, Event::Gathered("{}".into())).await;
        // Fifty more of the same, and one of another kind.
        let mut same: Vec<Arrival> = (0..50).map(|n| arrival(&format!("same {n}"), "orders")).collect();
        received(&store, same.clone()).await;
        assert!(!store.incident(&uid).await.unwrap().incident.news, "a repetition is nothing new");
        let mut late = arrival("late", "orders");
        late.alert.symptom = Symptom::Latency;
        same.push(late);
        received(&store, same).await;
        assert!(store.incident(&uid).await.unwrap().incident.news);
        assert!(store.alerts(&uid).await.unwrap().iter().any(|alert| alert.key == "late"), "among the first sixteen");
        let again = step(&store, &uid, counted(1, "orders", None)).await;
        assert_eq!((again.incident.phase, again.incident.epoch), (Phase::Open, 2));
        step(&store, &uid, Event::Gathered("{}".into())).await;
        step(&store, &uid, counted(2, "orders", None)).await;
        // The one question more is asked at once, and then a person is told.
        let told = step(&store, &uid, counted(3, "orders", None)).await;
        assert_eq!((told.incident.phase, told.incident.epoch), (Phase::Escalated, 3));
        received(&store, vec![arrival("c", "web")]).await;
        assert_eq!(store.incident(&uid).await.unwrap().incident.phase, Phase::Escalated, "three epochs are all");
        store.close().await;
    }
}

#[tokio::test]
async fn what_comes_after_a_person_was_told_opens_the_incident_again() {
    for place in places() {
        let store = place.store().await;
        let uid = opened(&store, "a", "orders").await;
        step(&store, &uid, Event::Gathered("{}".into())).await;
        step(&store, &uid, counted(1, "orders", None)).await;
        let told = step(&store, &uid, counted(2, "orders", None)).await;
        assert_eq!(told.incident.phase, Phase::Escalated);
        assert_eq!(received(&store, vec![arrival("b", "orders")]).await, [Received::Joined(uid.clone())]);
        assert_eq!(store.incident(&uid).await.unwrap().incident.phase, Phase::Escalated);
        let mut late = arrival("c", "orders");
        late.alert.symptom = Symptom::NoResponse;
        assert_eq!(received(&store, vec![late]).await, [Received::Joined(uid.clone())]);
        let opened = store.incident(&uid).await.unwrap();
        assert_eq!((opened.incident.phase, opened.incident.epoch, opened.incident.reopened), (Phase::Open, 3, true));
        assert_eq!(store.under_way().await.unwrap(), [uid]);
        assert!(opened.revision > told.revision, "people are shown");
        store.close().await;
    }
}

#[tokio::test]
async fn what_is_due_is_outstanding_until_it_is_done_and_is_noted_once() {
    for place in places() {
        let store = place.store().await;
        let note =
            |key: &str| Draft { incident: IncidentUid::of_no_cluster(), author: US.into(), kind: "noted".into(), key: key.into(), body: json!({"key": key}) };
        for key in ["due/a", "due/b", "due/a", "other/c", "done/b"] {
            store.note(&note(key)).await.unwrap();
        }
        let outstanding = store.outstanding("due/", "done/").await.unwrap();
        let seen: Vec<_> = outstanding.iter().map(|(name, entry)| (name.as_str(), entry.sequence, entry.body["key"].as_str().unwrap())).collect();
        assert_eq!(seen, [("a", 1, "due/a")]);
        store.note(&note("done/a")).await.unwrap();
        assert!(store.outstanding("due/", "done/").await.unwrap().is_empty());
        assert_eq!(store.head().await.unwrap().sequence, 5);
    }
}

#[tokio::test]
async fn directors_that_append_at_the_same_time_make_one_chain() {
    let Some(server) = Postgres::start() else { return };
    let url = Url::parse(&server.url()).unwrap();
    let (one, other) = tokio::join!(Store::connect(&url), Store::connect(&url));
    let stores = [one.unwrap(), other.unwrap()];
    let mut changes = stores[1].changes().await.unwrap();
    let uid = opened(&stores[0], "a", "orders").await;
    changes.next().await.unwrap();
    step(&stores[0], &uid, Event::Gathered("{}".into())).await;
    let mut working = tokio::task::JoinSet::new();
    for (who, store) in stores.iter().enumerate() {
        let (store, uid) = (store.clone(), uid.clone());
        working.spawn(async move {
            for n in 0..60 {
                // Some of it both of them say.
                let key = if n % 3 == 0 { format!("shared {n}") } else { format!("{who} {n}") };
                let appended = store.append(draft(&uid, &key), 0).await.unwrap();
                assert!(Head::empty().extends_to(&appended.head, &appended.proof));
                received(&store, vec![arrival(&format!("{who} {n}"), "orders")]).await;
                step(&store, &uid, counted(1, "orders", Some("orders"))).await;
            }
        });
    }
    while let Some(done) = working.join_next().await {
        done.unwrap();
    }
    let entries = ledger_of(&stores[1]).await;
    assert_eq!(verify(&entries).unwrap(), stores[0].head().await.unwrap());
    let of = |kind: &str| entries.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((of("apply-intended"), of("alert-joined"), of("decided")), (20 + 2 * 40, 2 * 60, 1));
    stores[1].examine().await.unwrap();
    assert_eq!(stores[1].broken(), None);
}

#[tokio::test]
async fn an_edit_by_somebody_else_is_found_by_who_begins_to_lead() {
    let Some(server) = Postgres::start() else { return };
    let url = Url::parse(&server.url()).unwrap();
    let (leader, waiting) = (Store::connect(&url).await.unwrap(), Store::connect(&url).await.unwrap());
    opened(&leader, "a", "orders").await;
    leader.database.execute("edit", "UPDATE ledger SET entry = replace(entry, 'shop', 'shoq') WHERE sequence = 1", []).await.unwrap();
    assert_eq!(waiting.broken(), None);
    waiting.examine().await.unwrap();
    assert!(waiting.broken().unwrap().contains("entry 1"));
}

#[test]
fn an_address_is_never_shown() {
    let url = Url::parse("postgres://assent:hunter2@db.example/assent\n").unwrap();
    assert!(!format!("{url:?}").contains("hunter2"));
    let error = Url::parse("postgres//assent:hunter2@db").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_is_away_is_named_without_the_password() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("postgres://assent:hunter2@localhost/x?host={}", directory.path().display().to_string().replace('/', "%2F"));
    let error = Store::connect(&Url::parse(&url).unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Open { .. }));
    assert!(!format!("{error} {error:?} {}", assent_runtime::telemetry::chain(&error)).contains("hunter2"));
}
