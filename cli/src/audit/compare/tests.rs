//! One honest story, and every way in which ledger and log can differ.

use serde_json::json;

use super::*;

const UID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const EXECUTOR: &str = "system:serviceaccount:assent-system:assent-executor";

fn uid() -> IncidentUid {
    IncidentUid::try_from(UID.to_owned()).unwrap()
}

fn entry(sequence: u64, author: &str, kind: &str, body: Value) -> Entry {
    Entry {
        sequence,
        at: UnixMillis(100_000 + i64::try_from(sequence).unwrap() * 1000),
        incident: uid(),
        author: format!("{author}.assent-system.x"),
        kind: kind.into(),
        body,
    }
}

fn story() -> Vec<Entry> {
    vec![
        entry(1, "assent-director", "incident-opened", json!({"detail": "x"})),
        entry(2, "assent-seat-change", "ballot", json!({"name": format!("{UID}-1-cause-change")})),
        entry(3, "assent-executor", "apply-intended", json!({"plan": "rem-1", "target": "Deployment shop/orders"})),
        entry(4, "assent-executor", "applied", json!({"plan": "rem-1"})),
    ]
}

fn write(at: i64) -> Event {
    Event {
        at: UnixMillis(at),
        verb: "update".into(),
        user: EXECUTOR.into(),
        impersonated: Some("assent:executor".into()),
        incidents: vec![UID.into()],
        group: "apps".into(),
        resource: "deployments".into(),
        namespace: "shop".into(),
        name: "orders".into(),
        code: 200,
        dry_run: false,
    }
}

fn log() -> Log {
    let ballot = Event {
        verb: "create".into(),
        user: "system:serviceaccount:assent-system:assent-seat-change".into(),
        impersonated: None,
        incidents: vec![],
        group: "assent.dev".into(),
        resource: "ballots".into(),
        namespace: "assent-system".into(),
        name: format!("{UID}-1-cause-change"),
        ..write(102_000)
    };
    Log {
        events: vec![ballot, Event { code: 403, ..write(103_000) }, Event { dry_run: true, ..write(103_100) }, write(103_500)],
        since: Some(UnixMillis(90_000)),
        unreadable: 0,
    }
}

fn differences(story: &[Entry], log: &Log) -> Vec<String> {
    compare(&uid(), &story.iter().collect::<Vec<_>>(), log).iter().map(ToString::to_string).collect()
}

#[test]
fn an_honest_story_is_told_the_same_twice() {
    assert_eq!(differences(&story(), &log()), [""; 0]);
}

#[test]
fn an_eviction_is_a_write_of_its_plan() {
    let (mut story, mut log) = (story(), log());
    let evicts =
        |pod: &str| Event { verb: "create".into(), group: String::new(), resource: "pods/eviction".into(), name: pod.into(), code: 201, ..write(103_500) };
    let intent = story.iter_mut().find(|entry| entry.kind == "apply-intended").unwrap();
    intent.body["writes"] = json!("pods/eviction shop/orders-1-a");
    *log.events.last_mut().unwrap() = evicts("orders-1-a");
    assert_eq!(differences(&story, &log), [""; 0]);
    *log.events.last_mut().unwrap() = evicts("orders-1-b");
    assert_eq!(differences(&story, &log).len(), 2, "no such write, and one without an intent");
    log.events.push(Event { impersonated: None, incidents: vec![], ..evicts("orders-1-a") });
    assert!(differences(&story, &log).iter().any(|found| found.contains("own account wrote")));
}

#[test]
fn what_begins_with_one_pod_is_two_writes() {
    let (mut story, mut log) = (story(), log());
    story.iter_mut().find(|entry| entry.kind == "apply-intended").unwrap().body["canary"] = json!(true);
    let count = |story: &[Entry], log: &Log| differences(story, log).len();
    assert_eq!(count(&story, &log), 0, "a person let the rest follow");
    story.push(entry(5, "assent-executor", "reverted", json!({"plan": "rem-1"})));
    assert_eq!(count(&story, &log), 1, "put back by no write");
    for at in [103_600, 103_700] {
        log.events.push(write(at));
        assert_eq!(count(&story, &log), 0);
    }
    log.events.push(write(103_800));
    assert_eq!(differences(&story, &log), ["4 writes for plan rem-1, where 3 are possible"]);
}

#[test]
fn every_difference_is_named() {
    type Change = fn(&mut Vec<Entry>, &mut Log);
    let cases: [(&str, Change); 11] = [
        ("no such write", |_, log| drop(log.events.pop())),
        ("was reverted", |story, _| story.push(entry(5, "assent-executor", "reverted", json!({"plan": "rem-1"})))),
        ("no intent for it", |story, _| story.truncate(2)),
        ("no intent for it", |_, log| log.events.push(Event { name: "storefront".into(), ..write(103_600) })),
        // Before it was intended, beyond what clocks may differ.
        ("no intent for it", |_, log| log.events.push(write(95_000))),
        ("3 writes for plan", |_, log| log.events.extend([write(103_600), write(103_700)])),
        ("for 0 incidents", |_, log| log.events.push(Event { incidents: vec![], ..write(103_600) })),
        ("for 2 incidents", |_, log| log.events.push(Event { incidents: vec![UID.into(), "b".into()], ..write(103_600) })),
        ("`mallory` wrote", |_, log| log.events.push(Event { user: "mallory".into(), ..write(103_600) })),
        ("own account wrote", |_, log| log.events.push(Event { impersonated: None, incidents: vec![], ..write(103_600) })),
        ("was created by `mallory`", |_, log| log.events[0].user = "mallory".into()),
    ];
    for (expected, change) in cases {
        let (mut story, mut log) = (story(), log());
        change(&mut story, &mut log);
        let found = differences(&story, &log);
        assert!(found.iter().any(|difference| difference.contains(expected)), "{expected}: {found:#?}");
    }
}

#[test]
fn a_log_that_begins_too_late_proves_nothing_missing() {
    let young = Log { events: vec![], since: Some(UnixMillis(150_000)), unreadable: 0 };
    let found = differences(&story(), &young);
    assert!(found.len() == 1 && found[0].contains("begins after"), "{found:#?}");
}
