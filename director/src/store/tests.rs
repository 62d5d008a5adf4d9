//! The store over closing and opening again, with every effect between two of them, and what it makes of a file that
//! somebody edited. What has to hold on both systems is in `both`.

mod both;
mod storm;

use assent_core::action::{Action, Restart};
use assent_core::ballot::Proposal;
use assent_core::canonical::Digest;
use assent_core::consensus::{Outcome, Verdict};
use assent_core::incident::{Alert, AlertSource, Effect, Event, Phase, RemediationResult, Symptom};
use assent_core::ledger::{Entry, Head, verify};
use assent_core::target::{Service, Target};
use serde_json::json;
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use super::*;

const US: &str = "director";

fn arrival(key: &str, name: &str) -> Arrival {
    elsewhere("shop", key, name)
}

fn elsewhere(namespace: &str, key: &str, name: &str) -> Arrival {
    let service = Some(Service { namespace: namespace.into(), name: name.into() });
    let alert =
        Alert { source: AlertSource::Seat, key: key.into(), service, symptom: Symptom::Errors, resolved: false, since: UnixMillis(1), summary: "s".into() };
    Arrival { alert, subject: String::new() }
}

async fn open(directory: &TempDir) -> Store {
    Store::open(&directory.path().join("director.db")).await.unwrap()
}

async fn opened(store: &Store, key: &str, name: &str) -> IncidentUid {
    opened_by(store, arrival(key, name)).await
}

async fn opened_by(store: &Store, arrival: Arrival) -> IncidentUid {
    match received(store, vec![arrival]).await.as_slice() {
        [Received::Opened(uid)] => uid.clone(),
        other => panic!("{other:?}"),
    }
}

/// What becomes of one delivery.
async fn received(store: &Store, arrivals: Vec<Arrival>) -> Vec<Received> {
    store.receive(US, &[Delivery { arrivals, notices: vec![] }]).await.unwrap().remove(0)
}

/// The file below, to edit it past the store.
fn file(store: &Store) -> &SqlitePool {
    match &store.database {
        Database::Sqlite(pool) => pool,
        Database::Postgres(_) => panic!("a server"),
    }
}

fn draft(incident: &IncidentUid, key: &str) -> Draft {
    Draft { incident: incident.clone(), author: "executor".into(), kind: "apply-intended".into(), key: key.into(), body: json!({"n": 1}) }
}

async fn ledger_of(store: &Store) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.sequence);
        let page = store.entries(after, None).await.unwrap();
        if page.is_empty() {
            return entries;
        }
        entries.extend(page.into_iter().map(|(_, text)| serde_json::from_str::<Entry>(&text).unwrap()));
    }
}

#[tokio::test]
async fn what_waits_is_carried_on_by_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let uid = opened(&store, "a", "orders").await;
    store.close().await;

    let store = open(&directory).await;
    assert_eq!(store.waiting(9).await.unwrap(), std::slice::from_ref(&uid));
    let pending = store.next_effect(&uid).await.unwrap().unwrap();
    assert_eq!(pending.effect, Effect::Gather);
    let gathered = || Advance { done: Some(pending.key.clone()), ..Advance::by(Event::Gathered("{}".into())) };
    let (record, changed) = store.advance(&uid, US, gathered()).await.unwrap();
    assert!(changed && record.incident.phase == Phase::Investigating);
    // The same again, as after a crash between the commit and the memory of it.
    let (again, changed) = store.advance(&uid, US, gathered()).await.unwrap();
    assert!(!changed && again.incident == record.incident && again.revision == record.revision);
    assert!(matches!(store.next_effect(&uid).await.unwrap().unwrap().effect, Effect::Ask { epoch: 1, .. }));
    let kinds: Vec<String> = ledger_of(&store).await.into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, ["alert-received", "incident-opened", "seats-asked"]);
}

#[tokio::test]
async fn alerts_of_one_namespace_are_one_incident_and_of_two_namespaces_two() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let orders = opened(&store, "a", "orders").await;
    let told =
        vec![arrival("a", "orders"), arrival("b", "orders"), arrival("c", "storefront"), elsewhere("shop0", "d", "orders"), elsewhere("sho", "e", "orders")];
    let received = received(&store, told).await;
    let [Received::Known(Some(known)), Received::Joined(again), Received::Joined(caller), Received::Opened(_), Received::Opened(_)] = received.as_slice()
    else {
        panic!("{received:?}")
    };
    assert_eq!([known, again, caller], [&orders; 3]);
    assert_eq!(store.alerts(&orders).await.unwrap().len(), 3);
}

/// A tally that decides to restart `name`.
fn act(name: &str) -> Event {
    let target = Target {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: name.into(),
        uid: "u".into(),
        generation: 3,
        spec: Digest::of_bytes(b"spec"),
    };
    let proposal = Box::new(Proposal { action: Action::RestartWorkload(Restart { marker: "m".into() }), target });
    let verdict = Verdict::Act { proposal, supporters: Vec::new() };
    let outcome = Box::new(Outcome::of(verdict));
    Event::Tallied { epoch: 1, outcome }
}

#[tokio::test]
async fn one_fault_seen_from_two_services_is_acted_on_once_and_ends_once() {
    for (result, phase) in [(RemediationResult::Verified, Phase::Resolved), (RemediationResult::Refused("stale".into()), Phase::Escalated)] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory).await;
        let mut uids = Vec::new();
        for (name, acts_on) in [("orders", "orders"), ("web", "orders"), ("stock", "stock")] {
            let uid = opened_by(&store, elsewhere(name, name, name)).await;
            store.advance(&uid, US, Advance::by(Event::Gathered("{}".into()))).await.unwrap();
            store.advance(&uid, US, Advance::by(act(acts_on))).await.unwrap();
            uids.push(uid);
        }
        let phases = async || {
            let mut phases = Vec::new();
            for uid in &uids {
                phases.push(store.incident(uid).await.unwrap().incident.phase);
            }
            phases
        };
        assert_eq!(phases().await, [Phase::Decided, Phase::Verifying, Phase::Decided]);
        let covered = store.incident(&uids[1]).await.unwrap();
        assert_eq!(covered.incident.covered_by.as_ref(), Some(&uids[0]));
        let decides: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox WHERE key LIKE '%decide'").fetch_one(file(&store)).await.unwrap();
        assert_eq!(decides, 2, "what is covered gets no Decision, from which the executor would act");
        store.advance(&uids[0], US, Advance::by(Event::Finished(result))).await.unwrap();
        assert_eq!(phases().await, [phase, phase, Phase::Decided]);
        assert!(store.incident(&uids[1]).await.unwrap().revision > covered.revision, "people are shown the end");
    }
}

#[tokio::test]
async fn a_key_is_appended_once_and_the_proof_leads_to_the_head() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let uid = opened(&store, "a", "orders").await;
    let first = store.append(draft(&uid, "k"), 0).await.unwrap();
    assert!(Head::empty().extends_to(&first.head, &first.proof));
    let again = store.append(draft(&uid, "k"), 0).await.unwrap();
    assert_eq!(again.head, first.head);
    let second = store.append(draft(&uid, "l"), first.head.sequence).await.unwrap();
    assert!(first.head.extends_to(&second.head, &second.proof) && second.head.sequence == first.head.sequence + 1);
    assert!(matches!(store.append(draft(&uid, "m"), 99).await, Err(Error::Ahead { newest: 4, .. })));
    let stranger = "01890a5d-ac96-774b-bcce-b302099a8057".to_owned().try_into().unwrap();
    assert!(matches!(store.append(draft(&stranger, "k"), 0).await, Err(Error::Unknown(_))));
    assert_eq!(store.head().await.unwrap(), second.head, "what was refused left nothing");
    assert_eq!(verify(&ledger_of(&store).await).unwrap(), second.head);
    assert_eq!(store.head_at(first.head.sequence).await.unwrap(), Some(first.head));
    assert_eq!(store.head_at(99).await.unwrap(), None);
}

#[tokio::test]
async fn any_edit_of_the_ledger_is_found_and_ends_all_deciding() {
    let edits = [
        "UPDATE ledger SET entry = replace(entry, 'alert-received', 'alert-resolved') WHERE sequence = 1",
        "UPDATE ledger SET incident = '01890a5d-ac96-774b-bcce-b302099a8057' WHERE sequence = 2",
        "UPDATE ledger_subtrees SET hash = (SELECT hash FROM ledger_subtrees WHERE position = 1) WHERE position = 3",
        "DELETE FROM ledger_subtrees WHERE position = 4",
        "DELETE FROM ledger WHERE sequence = 3",
        "INSERT INTO ledger_subtrees SELECT 9, hash FROM ledger_subtrees WHERE position = 1",
        "DELETE FROM ledger WHERE sequence = 2",
        "DELETE FROM ledger WHERE sequence = 1",
        "UPDATE ledger SET entry = 'no entry' WHERE sequence = 3",
    ];
    for edit in edits {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory).await;
        let uid = opened(&store, "a", "orders").await;
        store.append(draft(&uid, "k"), 0).await.unwrap();
        assert_eq!(store.broken(), None);
        sqlx::query(edit).execute(file(&store)).await.unwrap();
        store.close().await;

        let store = open(&directory).await;
        assert!(store.broken().is_some(), "{edit}");
        store.abandon_all(US).await.unwrap();
        assert_eq!(store.incident(&uid).await.unwrap().incident.phase, Phase::Escalated, "{edit}");
        let effect = store.next_effect(&uid).await.unwrap().unwrap().effect;
        assert!(matches!(&effect, Effect::Escalate(reason) if reason.contains("the ledger does not hold")), "{edit}: {effect:?}");
        assert!(matches!(store.append(draft(&uid, "l"), 0).await, Err(Error::Broken(_))), "{edit}");
        // New alerts are still kept, and go to a person at once.
        let other = opened_by(&store, elsewhere("stock", "b", "stock")).await;
        assert_eq!(store.incident(&other).await.unwrap().incident.phase, Phase::Escalated, "{edit}");
        assert!(matches!(store.next_effect(&other).await.unwrap().unwrap().effect, Effect::Escalate(_)), "{edit}");
    }
}

#[tokio::test]
async fn a_ledger_cut_short_at_its_end_does_not_hold_what_plans_carry() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let uid = opened(&store, "a", "orders").await;
    let head = store.append(draft(&uid, "k"), 0).await.unwrap().head;
    sqlx::raw_sql("DELETE FROM ledger WHERE sequence = 3; DELETE FROM ledger_subtrees WHERE position > 3").execute(file(&store)).await.unwrap();
    store.close().await;
    let store = open(&directory).await;
    assert_eq!(store.broken(), None, "a shorter ledger is whole in itself");
    assert_ne!(store.head_at(head.sequence).await.unwrap(), Some(head.clone()), "but not what the plan carries");
    let (shorter, proof) = store.extension(head.sequence).await.unwrap();
    assert_eq!((shorter.sequence, proof), (2, None));

    // Until a person vouches for it, nothing is appended.
    store.contradict(Some("it is not what a plan carries".into()));
    assert!(matches!(store.append(draft(&uid, "l"), 0).await, Err(Error::Broken(_))));
    store.contradict(None);
    assert!(shorter.extends_to(&store.append(draft(&uid, "l"), 2).await.unwrap().head, &store.extension(2).await.unwrap().1.unwrap()));
}

#[tokio::test]
async fn a_store_of_another_format_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("director.db");
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true)).await.unwrap();
    // What a hash chain was kept in.
    sqlx::query("CREATE TABLE ledger (sequence INTEGER PRIMARY KEY, link TEXT NOT NULL, head TEXT NOT NULL)").execute(&pool).await.unwrap();
    pool.close().await;
    let refused = Store::open(&path).await.unwrap_err();
    assert!(matches!(refused, Error::Format { found: 0, .. }), "{refused}");
    assert!(refused.to_string().contains("has format 0 and this version writes 3: move it away"), "{refused}");
}

/// Fills the ledger as appending does, but in one transaction.
async fn filled(store: &Store, uid: &IncidentUid, entries: usize) {
    let mut writer = store.begin().await.unwrap();
    for n in 0..entries {
        writer.append(&draft(uid, &format!("filled {n}"))).await.unwrap();
    }
    writer.commit().await.unwrap();
}

#[tokio::test]
async fn a_proof_is_as_short_however_much_lies_between() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let uid = opened(&store, "a", "orders").await;
    let early = store.append(draft(&uid, "k"), 0).await.unwrap().head;
    filled(&store, &uid, 5000).await;
    let late = store.append(draft(&uid, "l"), early.sequence).await.unwrap();
    assert_eq!(late.head.sequence, early.sequence + 5001);
    assert!(late.proof.digests().len() <= 14 && early.extends_to(&late.head, &late.proof));
    let whole = ledger_of(&store).await;
    for since in [0, 1, 2, 3, 4, 1023, 1024, 1025, 4999, 5000, 5003, 5004] {
        let head = verify(&whole[..usize::try_from(since).unwrap()]).unwrap();
        assert_eq!(store.head_at(since).await.unwrap().as_ref(), Some(&head));
        let (newest, proof) = store.extension(since).await.unwrap();
        assert!(newest == late.head && head.extends_to(&newest, &proof.unwrap()), "{since}");
    }
    store.close().await;
    assert_eq!(open(&directory).await.broken(), None);
}

#[tokio::test]
async fn what_is_over_is_forgotten_with_its_alerts_and_the_ledger_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let uid = opened(&store, "a", "orders").await;
    store.advance(&uid, US, Advance::by(Event::Abandoned("because".into()))).await.unwrap();
    let later = now().plus(1);
    assert!(store.ended_before(later, 9).await.unwrap().is_empty(), "not before people were shown how it ended");
    let record = store.incident(&uid).await.unwrap();
    assert_eq!(store.unpublished(9).await.unwrap(), std::slice::from_ref(&uid));
    store.published(&uid, record.revision).await.unwrap();
    assert_eq!(store.ended_before(later, 9).await.unwrap(), std::slice::from_ref(&uid));
    let before = ledger_of(&store).await.len();
    store.forget(&uid).await.unwrap();
    assert!(matches!(store.incident(&uid).await, Err(Error::Unknown(_))));
    assert!(store.alerts(&uid).await.unwrap().is_empty());
    assert_eq!(ledger_of(&store).await.len(), before);
}

#[tokio::test]
async fn deadlines_are_found_and_notices_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let uid = opened(&store, "a", "orders").await;
    let deadline = store.incident(&uid).await.unwrap().incident.deadline;
    assert!(store.overdue(deadline).await.unwrap().is_empty());
    assert_eq!(store.overdue(deadline.plus(1)).await.unwrap(), [uid]);
    let notices: Vec<Notice> =
        (0..1100).map(|n| Notice { key: Digest::of_bytes(format!("{n}").as_bytes()).to_string(), source: AlertSource::GoAlert, text: "t".into() }).collect();
    store.receive(US, &[Delivery { arrivals: vec![], notices }]).await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM notices").fetch_one(file(&store)).await.unwrap();
    assert_eq!(kept, 1000);
}
