//! A seat that reads a real Prometheus beside what it sees by itself, and one whose Prometheus is away or late.

use assent_core::ballot::{Opinion, Principal};
use assent_core::ids::Domain;
use assent_core::incident::Symptom;
use assent_tests::prometheus::{EVERY_S, Prometheus, Samples};
use kube::ResourceExt as _;

use crate::world::{Running, World, now, service, until, vote};

const DAY_S: i64 = 24 * 60 * 60;
/// Of a processor, as it is allowed in `World::deploy`.
const LIMIT: f64 = 0.15;

/// Processor use of a pod, as cAdvisor counts it: `usual` of its limit until `onset`, all of it from there on.
fn cpu(pod: &str, (from, to): (i64, i64), onset: i64, usual: f64) -> Vec<Samples> {
    let labels = || format!(r#"namespace="shop",pod="{pod}",container="c""#);
    let times: Vec<i64> = (from.div_euclid(EVERY_S)..=to.div_euclid(EVERY_S)).map(|step| step * EVERY_S).collect();
    let mut used = 0.0;
    let mut count = |time: &i64| {
        used += EVERY_S as f64 * LIMIT * if *time > onset { 0.99 } else { usual };
        (*time, used)
    };
    let usage = times.iter().map(&mut count).collect();
    let constant = |name, value: f64| Samples { name, labels: labels(), points: times.iter().map(|time| (*time, value)).collect() };
    vec![
        Samples { name: "container_cpu_usage_seconds_total", labels: labels(), points: usage },
        constant("container_spec_cpu_quota", LIMIT * 100_000.0),
        constant("container_spec_cpu_period", 100_000.0),
    ]
}

/// Requests of a pod as a client library counts them, ten in a second: of `usual` seconds until `onset`, of ten times that from there on.
fn requests(pod: &str, (from, to): (i64, i64), onset: i64, usual: f64) -> Vec<Samples> {
    let times: Vec<i64> = (from.div_euclid(EVERY_S)..=to.div_euclid(EVERY_S)).map(|step| step * EVERY_S).collect();
    let labels = |more: &str| format!(r#"namespace="shop",pod="{pod}",code="200"{more}"#);
    let each = 10.0 * EVERY_S as f64;
    let rising = |slow: f64, fast: f64| {
        let mut count = 0.0;
        let sample = |time: &i64| {
            count += each * if *time > onset { slow } else { fast };
            (*time, count)
        };
        times.iter().map(sample).collect::<Vec<_>>()
    };
    let series = |name, labels, points| Samples { name, labels, points };
    vec![
        series("http_request_duration_seconds_count", labels(""), rising(1.0, 1.0)),
        series("http_request_duration_seconds_sum", labels(""), rising(usual * 10.0, usual)),
        series("http_request_duration_seconds_bucket", labels(&format!(r#",le="{usual}""#)), rising(0.0, 1.0)),
        series("http_request_duration_seconds_bucket", labels(r#",le="+Inf""#), rising(1.0, 1.0)),
    ]
}

async fn ready(seat: &Running) {
    until("the seat", || async { reqwest::get(format!("http://{}/readyz", seat.admin)).await.ok()?.error_for_status().ok() }).await;
}

async fn failures(seat: &Running) -> u64 {
    let page = reqwest::get(format!("http://{}/metrics", seat.admin)).await.unwrap().text().await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(r#"assent_specialist_source_failures_total{source="prometheus"} "#));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_metrics_is_one_more_witness() {
    let world = World::start("seat-sources").await;
    let mut pods = Vec::new();
    for name in ["orders", "redis", "front"] {
        world.deploy(name, "1").await;
        pods.push(world.pod(name, "1").await.name_any());
    }
    let second = now() / 1_000;
    let onset = second - 60;
    let mut samples: Vec<Samples> = Vec::new();
    samples.extend(cpu(&pods[0], (onset - 2_000, second), onset, 0.2));
    // Redis is as old as its trouble; what is usual is known from the same hour of yesterday, of a pod that is gone.
    samples.extend(cpu(&pods[1], (onset - 30, second), onset, 0.99));
    samples.extend(cpu("redis-6d4cf56db6-x7k2p", (onset - DAY_S - 1_700, onset - DAY_S + 1_700), second, 0.2));
    samples.extend(cpu(&pods[2], (onset - 2_000, second), second, 0.2));
    // Somebody else's pod of another namespace's name, and one that tells a story.
    samples.extend(cpu("restart-orders-now", (onset - 2_000, second), onset, 0.2));
    samples.extend(requests(&pods[0], (onset - 2_000, second), onset, 0.05));
    let constant = |name, labels: String| Samples { name, labels, points: (-100..=0).map(|step| (second + step * EVERY_S, 1.0)).collect() };
    samples.push(constant("pg_stat_activity_count", format!(r#"namespace="shop",pod="{}",state="active""#, pods[1])));
    samples.push(constant("kube_deployment_spec_replicas", r#"namespace="shop",deployment="orders""#.to_owned()));
    samples.sort_by_key(|samples| samples.name);
    let Some(prometheus) = Prometheus::start(&samples).await else { return };

    // It reads no kubelet, so what it says is the store's word alone.
    let flags = ["--kubelet-insecure", "--prometheus-url", &prometheus.url, "--prometheus-step-seconds", "15"];
    let seat = world.seat("compute", &flags).await;
    let context = world.context("front", onset * 1_000, &["front", "orders", "redis"]).await;
    ready(&seat).await;
    let (cause, _) = world.cause(&seat, &context, 1).await;
    let mut said: Vec<_> = vote(&cause).hypotheses.iter().map(|h| (h.service.clone(), h.domain, h.fault.as_str())).collect();
    said.sort();
    assert_eq!(said, [(service("orders"), Domain::Compute, "cpu-saturation"), (service("redis"), Domain::Compute, "cpu-saturation")]);
    for hypothesis in &vote(&cause).hypotheses {
        assert!(hypothesis.evidence.iter().all(|evidence| evidence.principal == Principal::MetricStore) && hypothesis.remedies.is_empty(), "{hypothesis:?}");
    }
    assert_eq!(failures(&seat).await, 0);

    // The other seats ask for what is theirs, and understand the answers.
    let flags = ["--prometheus-url", prometheus.url.as_str(), "--prometheus-step-seconds", "15", "--director", "127.0.0.1:1"];
    let mut alerting = world.context("orders", onset * 1_000, &["front", "orders", "redis"]).await;
    alerting.symptom = Symptom::Latency;
    for name in ["network", "database", "change"] {
        let seat = world.seat(name, &flags).await;
        ready(&seat).await;
        let (cause, _) = world.cause(&seat, &alerting, 1).await;
        if name == "network" {
            let first = &vote(&cause).hypotheses[0];
            assert_eq!((first.service.clone(), first.domain, first.fault.as_str()), (service("orders"), Domain::Application, "slow"));
            assert_eq!(first.evidence[0].principal, Principal::MetricStore);
        }
        assert_eq!(failures(&seat).await, 0, "{name}");
    }

    // A store that has nothing since the onset gives no evidence.
    let mut later = world.context("front", now() + 600_000, &["front", "orders", "redis"]).await;
    later.incident = "01890a5d-ac96-774b-bcce-b302099a8058".to_owned().try_into().unwrap();
    let (cause, _) = world.cause(&seat, &later, 1).await;
    assert!(matches!(cause.ballot.opinion, Opinion::Abstain { .. }), "{cause:?}");
    assert_eq!(failures(&seat).await, 1);

    // Nor does one that is away; the seat says what it would say without.
    drop(prometheus);
    let mut elsewhere = context.clone();
    elsewhere.incident = "01890a5d-ac96-774b-bcce-b302099a8059".to_owned().try_into().unwrap();
    let (cause, _) = world.cause(&seat, &elsewhere, 1).await;
    assert!(matches!(cause.ballot.opinion, Opinion::Abstain { .. }), "{cause:?}");
    assert_eq!(failures(&seat).await, 2);
}
