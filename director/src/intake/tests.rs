//! The intake by its routes, with a real store, and the senders' own payloads. Without the shared fixtures beside the
//! checkout those cases are skipped aloud; where `CI` is set they must be there.

mod storm;

use std::path::Path;

use assent_core::ids::UnixMillis;
use assent_core::incident::Symptom;
use assent_core::target::Service;
use assent_runtime::CancellationToken;
use axum::http::Request;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::*;
use crate::inbox;
use crate::store::Store;

const TOKEN: &str = "0123456789abcdef-secret";

struct Bench {
    _directory: TempDir,
    store: Store,
    router: Router,
    writing: CancellationToken,
}

async fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("token");
    std::fs::write(&secret, format!("{TOKEN}\n")).unwrap();
    let store = Store::open(&directory.path().join("director.db")).await.unwrap();
    let (router, writing) = served(&store, secret);
    Bench { _directory: directory, store, router, writing }
}

/// The routes over `store`, written until the token is cancelled.
fn served(store: &Store, secret: PathBuf) -> (Router, CancellationToken) {
    let (inbox, writing) = inbox::open(store.clone(), "director", Metrics::default(), watch::Sender::new(()));
    let token = CancellationToken::new();
    tokio::spawn(writing.run(token.clone()));
    (Intake::new(inbox, secret, Metrics::default()).router(), token)
}

async fn post(bench: &Bench, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    let request = Request::post(path).body(body.into()).unwrap();
    let response = bench.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), BODY).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn alertmanager(alerts: &Value) -> Vec<u8> {
    serde_json::to_vec(&json!({"version": "4", "groupKey": "{}:{}", "status": "firing", "alerts": alerts, "aKeyOfTomorrow": 1})).unwrap()
}

fn firing(fingerprint: &str) -> Value {
    json!({
        "status": "firing", "fingerprint": fingerprint, "startsAt": "2026-08-08T14:32:08.326Z",
        "labels": {"alertname": "OrdersErrors", "namespace": "shop", "deployment": "orders", "symptom": "errors"},
        "annotations": {"summary": "5 % of orders fail\u{7}"},
    })
}

fn path(sender: &str) -> String {
    format!("/v1/{sender}/{TOKEN}")
}

#[tokio::test]
async fn what_is_the_senders_fault_says_where_and_what_to_do() {
    let bench = bench().await;
    let without = |key: &str| {
        let mut alert = firing("a");
        alert.as_object_mut().unwrap().remove(key);
        alertmanager(&json!([firing("b"), alert]))
    };
    let goalert = |value: Value| serde_json::to_vec(&value).unwrap();
    let table: Vec<(String, Vec<u8>, u16, &str)> = vec![
        ("/v1/alertmanager".into(), vec![], 401, "path"),
        ("/v1/goalert".into(), vec![], 401, "path"),
        ("/v1/alertmanager/0123456789abcdef-secreT".into(), alertmanager(&json!([])), 403, "path"),
        ("/v1/goalert/x".into(), vec![], 403, "path"),
        (path("alertmanager"), vec![b' '; BODY + 1], 413, "body"),
        (path("goalert"), vec![b' '; BODY + 1], 413, "body"),
        (path("alertmanager"), b"{\"alerts\": [".to_vec(), 400, "line 1 column 12"),
        (path("alertmanager"), b"[]".to_vec(), 400, ""),
        (path("alertmanager"), b"{}".to_vec(), 400, "groupKey"),
        (path("alertmanager"), br#"{"groupKey": "g"}"#.to_vec(), 400, "alerts"),
        (path("alertmanager"), without("fingerprint"), 400, "alerts[1].fingerprint"),
        (path("alertmanager"), without("startsAt"), 400, "alerts[1].startsAt"),
        (path("alertmanager"), without("labels"), 400, "alerts[1].labels"),
        (path("alertmanager"), without("status"), 400, "alerts[1].status"),
        (path("goalert"), goalert(json!({"AppName": "GoAlert"})), 400, "Type"),
        (path("goalert"), goalert(json!({"Type": "Alert"})), 400, "AlertID"),
        (path("goalert"), goalert(json!({"Type": "Alert", "AlertID": "7"})), 400, "AlertID"),
        (path("goalert"), goalert(json!({"Type": "Surprise"})), 400, "Type"),
        (path("goalert"), vec![b'['; 200_000], 400, "line 1 column 128"),
    ];
    for (path, body, status, at) in table {
        let (got, problem) = post(&bench, &path, body).await;
        assert_eq!(got.as_u16(), status, "{path}: {problem}");
        assert_eq!(problem["where"], at, "{path}: {problem}");
        for key in ["error", "fix"] {
            assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{path}: {problem}");
        }
    }
    assert_eq!(post(&bench, &path("alertmanager"), vec![b' '; BODY + 1]).await.1["error"], "is larger than 1048576 bytes");
    assert!(bench.store.under_way().await.unwrap().is_empty(), "a refused delivery leaves nothing");
}

#[tokio::test]
async fn one_alert_however_often_it_is_sent_is_one_incident() {
    let bench = bench().await;
    let (status, first) = post(&bench, &path("alertmanager"), alertmanager(&json!([firing("a")]))).await;
    assert_eq!(status, 200);
    let uid = first["incidents"][0].as_str().unwrap().to_owned();
    // Again, by the other of a pair, in a larger group, with another alert of the same service.
    for alerts in [json!([firing("a")]), json!([firing("a"), firing("b")])] {
        let (status, again) = post(&bench, &path("alertmanager"), alertmanager(&alerts)).await;
        assert_eq!((status.as_u16(), &again["incidents"]), (200, &json!([uid])));
    }
    let open = bench.store.under_way().await.unwrap();
    assert_eq!(open.iter().map(ToString::to_string).collect::<Vec<_>>(), [uid]);
    let record = bench.store.incident(&open[0]).await.unwrap();
    assert_eq!(record.incident.service, Service { namespace: "shop".into(), name: "orders".into() });
    assert_eq!((record.symptom.as_str(), record.summary.as_str()), ("errors", "5 % of orders fail "));
    assert_eq!(bench.store.alerts(&open[0]).await.unwrap().len(), 2);
    // Resolved, and then an old copy: nothing opens.
    let mut resolved = firing("a");
    resolved["status"] = "resolved".into();
    for alert in [resolved, firing("a")] {
        assert_eq!(post(&bench, &path("alertmanager"), alertmanager(&json!([alert]))).await.0, 200);
    }
    assert_eq!(bench.store.under_way().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_alert_that_names_no_workload_goes_to_a_person() {
    let bench = bench().await;
    let mut alert = firing("a");
    alert["labels"] = json!({"alertname": "Disk <full>", "namespace": "shop"});
    let (status, reply) = post(&bench, &path("alertmanager"), alertmanager(&json!([alert]))).await;
    assert_eq!(status, 200);
    assert!(bench.store.under_way().await.unwrap().is_empty());
    let uid = reply["incidents"][0].as_str().unwrap().to_owned().try_into().unwrap();
    let record = bench.store.incident(&uid).await.unwrap();
    assert_eq!(record.incident.phase, assent_core::incident::Phase::Escalated);
    assert_eq!(record.incident.service.to_string(), "-/Disk__full_");
    let pending = bench.store.next_effect(&uid).await.unwrap().unwrap();
    assert!(matches!(pending.effect, assent_core::incident::Effect::Escalate(_)), "{pending:?}");
}

#[tokio::test]
async fn what_is_our_fault_is_503_so_that_the_sender_comes_again() {
    let bench = bench().await;
    std::fs::remove_file(bench._directory.path().join("token")).unwrap();
    assert_eq!(post(&bench, &path("alertmanager"), alertmanager(&json!([firing("a")]))).await.0, 503);
    std::fs::write(bench._directory.path().join("token"), "short").unwrap();
    assert_eq!(post(&bench, "/v1/alertmanager/short", alertmanager(&json!([firing("a")]))).await.0, 503, "a guessable secret admits nobody");
    std::fs::write(bench._directory.path().join("token"), TOKEN).unwrap();
    bench.store.close().await;
    assert_eq!(post(&bench, &path("alertmanager"), alertmanager(&json!([firing("a")]))).await.0, 503, "never a 2xx for what is not stored");
}

#[tokio::test]
async fn too_many_at_once_are_turned_away_with_503_and_when_to_come_again() {
    let bench = bench().await;
    let (inbox, _) = inbox::open(bench.store.clone(), "director", Metrics::default(), watch::Sender::new(()));
    let intake = Intake::new(inbox, bench._directory.path().join("token"), Metrics::default());
    let bodies = Arc::clone(&intake.bodies);
    let taken = bodies.acquire_many(u32::try_from(BODIES).unwrap()).await.unwrap();
    let alert = || Request::post(path("alertmanager")).body(Body::from(alertmanager(&json!([firing("a")])))).unwrap();
    let busy = intake.router().oneshot(alert()).await.unwrap();
    assert_eq!((busy.status().as_u16(), busy.headers()[header::RETRY_AFTER].to_str().unwrap()), (503, "1"));
    drop(taken);
    assert_eq!(bench.router.clone().oneshot(alert()).await.unwrap().status(), 200);
    bench.writing.cancel();
}

#[test]
fn a_body_counts_as_what_it_says_and_at_most_as_what_it_may_have() {
    let of = |length: Option<&str>| size(&length.map(|length| (header::CONTENT_LENGTH, length.parse().unwrap())).into_iter().collect());
    assert_eq!([of(Some("0")), of(Some("2048")), of(Some("99999999999")), of(Some("many")), of(None)], [1, 3, 1025, 1025, 1025]);
}

#[test]
fn labels_name_a_workload_by_the_most_exact_of_them() {
    let service = |labels: Value| fields::service(&labels).map(|service| service.to_string());
    for (labels, expected) in [
        (json!({"namespace": "shop", "deployment": "orders", "app": "x", "job": "y"}), Some("shop/orders")),
        (json!({"namespace": "shop", "service": "orders", "job": "y"}), Some("shop/orders")),
        (json!({"namespace": "shop", "job": "orders"}), Some("shop/orders")),
        (json!({"namespace": "shop"}), None),
        (json!({"deployment": "orders"}), None),
        (json!({"namespace": "../etc", "deployment": "orders"}), None),
        (json!({"namespace": "shop", "deployment": "Orders; drop table"}), None),
        (json!({"namespace": "shop", "deployment": 7}), None),
        (Value::Null, None),
    ] {
        assert_eq!(service(labels.clone()).as_deref(), expected, "{labels}");
    }
}

#[test]
fn a_line_is_bounded_in_bytes_and_holds_no_control_characters() {
    let long = "ü\n\u{1b}[31m".repeat(200);
    let line = line(&long);
    assert!(line.len() <= 300 && !line.contains(char::is_control), "{line}");
}

// --- the senders' own payloads ---

fn fixtures(folder: &str) -> Option<std::path::PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/contracts").join(folder);
    let there = shared.is_dir();
    // A build machine that lost the fixtures must not pass for one that parsed them.
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "no fixtures at {}", shared.display());
    if !there {
        eprintln!("SKIPPED: no fixtures at {}", shared.display());
    }
    there.then_some(shared)
}

#[test]
fn alertmanagers_own_payloads_parse() {
    let Some(folder) = fixtures("alertmanager") else { return };
    for (name, resolved) in [("webhook-v4-firing-legacy", false), ("webhook-v4-firing-v0.34", false), ("webhook-v4-resolved-legacy", true)] {
        let arrivals = alertmanager::parse(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap();
        assert_eq!(arrivals.len(), 2, "{name}");
        assert!(arrivals.iter().all(|arrival| arrival.alert.resolved == resolved && arrival.subject == "InstanceDown"), "{name}");
        assert_eq!(arrivals[0].alert.since, UnixMillis(1_596_897_128_326), "{name}");
        assert_eq!(arrivals[0].alert.summary, "Instance 127.0.0.1:9090 down", "{name}");
        assert_ne!(arrivals[0].alert.key, arrivals[1].alert.key, "{name}");
    }
    let key = |name: &str| alertmanager::parse(&std::fs::read(folder.join(name)).unwrap()).unwrap()[0].alert.key.clone();
    assert_eq!(key("webhook-v4-firing-legacy.json"), key("webhook-v4-resolved-legacy.json"), "what resolves is what fired");
}

#[test]
fn goalerts_own_payloads_parse() {
    let Some(folder) = fixtures("goalert/outgoing") else { return };
    let now = UnixMillis(1_800_000_000_000);
    for version in ["v0.34.1", "main-2458b9d7"] {
        let parse = |name: &str| goalert::parse(&std::fs::read(folder.join(version).join(format!("{name}.json"))).unwrap(), now).unwrap();
        for name in ["alert", "alert-empty-meta"] {
            let (arrivals, notices) = parse(name);
            assert!(notices.is_empty());
            assert_eq!((arrivals[0].alert.key.as_str(), arrivals[0].subject.as_str()), ("goalert/79685", "online-boutique"), "{version} {name}");
            assert_eq!(arrivals[0].alert.summary, "checkoutservice error ratio > 5%");
            assert_eq!((arrivals[0].alert.symptom, arrivals[0].alert.since), (Symptom::Unspecified, now));
        }
        let (arrivals, _) = parse("alert-status");
        assert!(arrivals[0].alert.resolved && arrivals[0].alert.key == "goalert/79685", "{version}: closed is resolved");
        assert!(parse("alert-bundle").0[0].alert.summary.starts_with("6 alerts of GoAlert service online-boutique"), "{version}");
        assert!(parse("verification").1[0].text.contains("283917"), "{version}");
        for name in ["test", "schedule-on-call-users"] {
            let (arrivals, notices) = parse(name);
            assert_eq!((arrivals.len(), notices.len()), (0, 1), "{version} {name}");
        }
    }
}

#[tokio::test]
async fn goalerts_meta_names_the_workload_and_a_status_is_not_an_alert() {
    let bench = bench().await;
    let goalert = |value: Value| serde_json::to_vec(&value).unwrap();
    let alert = json!({"Type": "Alert", "AlertID": 7, "Summary": "s", "Meta": {"namespace": "shop", "deployment": "orders"}});
    let (status, reply) = post(&bench, &path("goalert"), goalert(alert.clone())).await;
    assert_eq!((status.as_u16(), reply["incidents"].as_array().unwrap().len()), (200, 1));
    for message in [
        alert,
        json!({"Type": "AlertStatus", "AlertID": 7, "LogEntry": "Acknowledged by Bob"}),
        json!({"Type": "AlertStatus", "AlertID": 7, "LogEntry": "Closed by Bob"}),
        json!({"Type": "AlertStatus", "AlertID": 8, "LogEntry": "Closed before it was ever sent"}),
        json!({"Type": "Test"}),
        json!({"Type": "Verification", "Code": "123456"}),
    ] {
        assert_eq!(post(&bench, &path("goalert"), goalert(message.clone())).await.0, 200, "{message}");
    }
    assert_eq!(bench.store.under_way().await.unwrap().len(), 1);
}
