//! How many alerts a second are taken in without loss, and how long a sender waits for the word that its alert is on disk: a whole
//! director beside a real API server, on SQLite and on PostgreSQL. Figures go to `target/bench/intake.json`.
#![expect(clippy::print_stdout, reason = "its output is the figures")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a run that is none stops")]

#[expect(dead_code, reason = "what the tests of the whole director stand on")]
#[path = "../tests/it/bench.rs"]
mod bench;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use assent_core::ledger::verify;
use assent_director::{Args, Secret};
use assent_tests::bench::rows::{Figures, Row};
use assent_tests::postgres::Postgres;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use bench::{Bench, SECRET};

/// Alerts a second that must be taken in.
const RATE: usize = 1000;
/// Seconds of each run, and runs.
const SECONDS: usize = 10;
const RUNS: usize = 3;
/// Connections, each with one post at a time.
const CONNECTIONS: usize = 32;
/// Alerts of one post where they come in groups, as Alertmanager sends them.
const GROUP: usize = 50;

/// What one run saw.
struct Seen {
    acknowledged: usize,
    turned_away: usize,
    seconds: f64,
    /// Milliseconds from when a post was due to its answer, sorted.
    waits: Vec<f64>,
}

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|word| word == "--bench") {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(run());
    }
}

async fn run() {
    let bench = Bench::start("bench-intake").await;
    let mut rows = measured(&bench, bench.args(&[]), "").await;
    if let Some(server) = Postgres::start() {
        let args = Args { database_url: Some(Secret::from(server.url())), instance: "postgres".into(), ..bench.args(&[]) };
        rows.extend(measured(&bench, args, "_postgres").await);
    }
    for row in &rows {
        println!("{}", row.line());
    }
    let file = assent_tests::images::root().join("target/bench/intake.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, serde_json::to_string_pretty(&rows).unwrap()).unwrap();
    println!("written to {}", file.display());
}

/// The rows of one store.
async fn measured(bench: &Bench, args: Args, name: &str) -> Vec<Row> {
    let (director, is_ready) = bench.contend(args).await;
    bench::within(is_ready).await.unwrap();
    let address = director.addresses[0];
    let _warm = post_all(address, "warm", Some(RATE), RATE, 1).await;
    let (mut steady, mut most, mut grouped) = (Vec::new(), Vec::new(), Vec::new());
    let mut acknowledged = RATE;
    for n in 0..RUNS {
        steady.push(post_all(address, &format!("steady-{n}"), Some(RATE), RATE * SECONDS, 1).await);
        most.push(post_all(address, &format!("most-{n}"), None, 2 * RATE, 1).await);
        grouped.push(post_all(address, &format!("grouped-{n}"), None, 400, GROUP).await);
    }
    acknowledged += steady.iter().chain(&most).chain(&grouped).map(|seen| seen.acknowledged).sum::<usize>();
    let (entries, head) = director.ledger(None).await;
    assert_eq!(verify(&entries).unwrap(), head);
    let kept = entries.iter().filter(|entry| entry.kind.starts_with("alert-")).count();
    director.stop().await;
    let of = |seen: &[Seen], figure: fn(&Seen) -> f64| -> Figures { seen.iter().map(figure).collect() };
    let rate = |seen: &Seen| f64::from(u32::try_from(seen.acknowledged).unwrap()) / seen.seconds;
    let metric = |what: &str| format!("{what}{name}");
    let lost = Figures(vec![f64::from(u32::try_from(acknowledged.saturating_sub(kept)).unwrap())]);
    vec![
        Row::ours(&metric("alerts_a_second"), "1/s", &of(&steady, rate))
            .at_least(0.99 * f64::from(u32::try_from(RATE).unwrap()))
            .noting("one alert a post, 1000 due a second"),
        Row::ours(&metric("acknowledged_p50"), "ms", &of(&steady, |seen| at(seen, 50))),
        Row::ours(&metric("acknowledged_p99"), "ms", &of(&steady, |seen| at(seen, 99))),
        Row::ours(&metric("turned_away"), "posts", &of(&steady, |seen| f64::from(u32::try_from(seen.turned_away).unwrap()))).at_most(0.0),
        Row::ours(&metric("lost"), "alerts", &lost).at_most(0.0).noting("acknowledged and not in the ledger, over all runs"),
        Row::ours(&metric("most_alerts_a_second"), "1/s", &of(&most, rate)).noting("one alert a post, as fast as answers come"),
        Row::ours(&metric("most_in_groups"), "1/s", &of(&grouped, rate)).noting("fifty alerts a post"),
    ]
}

fn at(seen: &Seen, percent: usize) -> f64 {
    seen.waits[(seen.waits.len() * percent / 100).min(seen.waits.len() - 1)]
}

/// `posts` posts of `group` alerts each, at a rate or as fast as they are answered. Latency runs from when a post was due.
async fn post_all(address: SocketAddr, name: &str, rate: Option<usize>, posts: usize, group: usize) -> Seen {
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now() + Duration::from_millis(100);
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (next, name) = (Arc::clone(&next), name.to_owned());
        connections.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut waits, mut acknowledged, mut turned_away) = (Vec::new(), 0, 0);
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= posts {
                    return (waits, acknowledged, turned_away);
                }
                let due = rate.map_or_else(Instant::now, |rate| start + Duration::from_secs_f64(n as f64 / rate as f64));
                tokio::time::sleep_until(due.into()).await;
                let body = body(&name, n, group);
                while ask(&mut stream, &body).await == 503 {
                    turned_away += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                acknowledged += group;
                waits.push(due.elapsed().as_secs_f64() * 1000.0);
            }
        });
    }
    let mut seen = Seen { acknowledged: 0, turned_away: 0, seconds: 0.0, waits: Vec::new() };
    while let Some(ended) = connections.join_next().await {
        let (waits, acknowledged, turned_away) = ended.unwrap();
        seen.waits.extend(waits);
        seen.acknowledged += acknowledged;
        seen.turned_away += turned_away;
    }
    seen.seconds = start.elapsed().as_secs_f64();
    seen.waits.sort_by(f64::total_cmp);
    seen
}

fn body(name: &str, n: usize, group: usize) -> Vec<u8> {
    let namespace = ["shop", "mail", "bank"][n % 3];
    let alert = |k: usize| -> Value {
        json!({
            "status": "firing", "fingerprint": format!("{name}-{n}-{k}"), "startsAt": "2026-08-08T14:32:08Z",
            "labels": {"alertname": "Errors", "namespace": namespace, "deployment": format!("service-{}", (n + k) % 40), "symptom": "errors"},
            "annotations": {"summary": "5 % of requests fail"},
        })
    };
    let alerts: Vec<Value> = (0..group).map(alert).collect();
    json!({"version": "4", "groupKey": "{}:{}", "status": "firing", "alerts": alerts}).to_string().into_bytes()
}

/// The status of the answer.
async fn ask(stream: &mut TcpStream, body: &[u8]) -> u16 {
    let head = format!("POST /v1/alertmanager/{SECRET} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "the connection broke");
        answer.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        if body.len() >= length {
            return head.split(' ').nth(1).unwrap().parse().unwrap();
        }
    }
}
