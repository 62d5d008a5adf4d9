//! A storm over real connections: what is acknowledged is on disk even when the process is killed in the middle of it, what is not
//! taken is told to come again, and the process does not grow.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use assent_core::ledger::{Entry, verify};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::http;

/// Set in the process that takes the storm in, to the directory of its store.
const CHILD: &str = "ASSENT_TEST_INTAKE";
/// Connections of the storm.
const SENDERS: usize = 32;

/// An intake in a process of its own.
struct Process {
    child: Child,
    address: SocketAddr,
}

// === impl Process ===

impl Process {
    fn start(directory: &Path) -> Self {
        std::fs::write(directory.join("token"), TOKEN).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "intake::tests::storm::the_process_that_is_killed", "--nocapture"])
            .env(CHILD, directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("intake at ").map(|address| address.parse().unwrap()));
        Self { child, address: address.unwrap() }
    }

    /// Resident memory in KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// SIGKILL: nothing is flushed.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the process does; as a test by itself it does nothing.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let directory = Path::new(&directory);
    let store = Store::open(&directory.join("director.db")).await.unwrap();
    let (router, _writing) = served(&store, directory.join("token"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("intake at {}", listener.local_addr().unwrap());
    http::serve(listener, router, http::CONNECTIONS).await;
}

/// One connection that is kept; `None` when it breaks.
async fn ask(stream: &mut TcpStream, body: &[u8]) -> Option<(u16, String)> {
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", path("alertmanager"), body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await.ok()?;
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        answer.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        if body.len() >= length {
            return Some((head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned()));
        }
    }
}

fn alert(fingerprint: &str, namespace: &str) -> Vec<u8> {
    let mut alert = firing(fingerprint);
    alert["labels"]["namespace"] = namespace.into();
    alertmanager(&json!([alert]))
}

/// Sends `count` alerts over connections that send as fast as they are answered, those turned away again; what was acknowledged.
async fn storm(address: SocketAddr, count: usize, mut each: impl FnMut(usize)) -> BTreeSet<String> {
    let next = Arc::new(AtomicUsize::new(0));
    let (acknowledged, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (next, acknowledged) = (Arc::clone(&next), acknowledged.clone());
        senders.spawn(async move {
            let mut stream = TcpStream::connect(address).await.ok()?;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Some(());
                }
                let (name, namespace) = (format!("f{n}"), ["shop", "mail", "bank"][n % 3]);
                loop {
                    match ask(&mut stream, &alert(&name, namespace)).await? {
                        (200, _) => break acknowledged.send(name).unwrap(),
                        (503, head) => assert!(head.contains("retry-after: 1"), "{head}"),
                        other => panic!("{other:?}"),
                    }
                }
            }
        });
    }
    drop(acknowledged);
    let mut all = BTreeSet::new();
    while let Some(name) = told.recv().await {
        all.insert(name);
        each(all.len());
    }
    all
}

/// What a store that is opened again has: fingerprints, incidents, and a ledger that verifies.
async fn found(directory: &Path) -> (BTreeSet<String>, usize) {
    let store = Store::open(&directory.join("director.db")).await.unwrap();
    assert_eq!(store.broken(), None);
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let page = store.entries(entries.last().map_or(0, |entry| entry.sequence), None).await.unwrap();
        if page.is_empty() {
            break;
        }
        entries.extend(page.iter().map(|(_, text)| serde_json::from_str::<Entry>(text).unwrap()));
    }
    assert_eq!(verify(&entries).unwrap(), store.head().await.unwrap());
    let keys = entries.iter().filter(|entry| entry.kind.starts_with("alert-")).map(|entry| entry.body["key"].as_str().unwrap().to_owned());
    let fingerprints = keys.map(|key| key.split('/').nth(2).unwrap().to_owned()).collect();
    let incidents = store.under_way().await.unwrap().len();
    store.close().await;
    (fingerprints, incidents)
}

#[tokio::test]
async fn killed_in_a_storm_it_has_every_alert_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 1..=3 {
        let mut process = Process::start(directory.path());
        // In the middle of it, each time at another place.
        let until = 300 * round;
        let address = process.address;
        acknowledged.extend(
            storm(address, 5000, |count| {
                if count == until {
                    process.kill()
                }
            })
            .await,
        );
        assert!(acknowledged.len() < 5000, "it was not killed in the middle");
        let (found, incidents) = found(directory.path()).await;
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty() && incidents == 3, "{} lost of {}: {lost:?}, {incidents} incidents", lost.len(), acknowledged.len());
    }
}

#[tokio::test]
async fn ten_thousand_posts_are_three_incidents_in_bounded_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path());
    let mut highest = 0;
    let address = process.address;
    let warm = storm(address, 500, |_| {}).await.len();
    let before = process.memory();
    let acknowledged = storm(address, 10_000, |count| {
        if count % 500 == 0 {
            highest = highest.max(process.memory())
        }
    })
    .await;
    assert_eq!((warm, acknowledged.len()), (500, 10_000));
    assert!(highest < before + 32 * 1024, "from {before} to {highest} KiB");
    process.kill();
    let (found, incidents) = found(directory.path()).await;
    assert_eq!((found.len(), incidents), (10_000, 3));
}

#[tokio::test]
async fn what_there_is_no_room_for_is_told_to_come_again_and_nothing_is_dropped_in_silence() {
    let bench = bench().await;
    // Nobody writes, so what is taken waits.
    let (inbox, writing) = inbox::open(bench.store.clone(), "director", Metrics::default(), watch::Sender::new(()));
    let router = Intake::new(inbox, bench._directory.path().join("token"), Metrics::default()).router();
    let mut posts = JoinSet::new();
    for n in 0..1500 {
        let request = Request::post(path("alertmanager")).header(header::CONTENT_LENGTH, 400);
        let request = request.body(Body::from(alert(&format!("f{n}"), "shop"))).unwrap();
        let router = router.clone();
        posts.spawn(async move { router.oneshot(request).await.unwrap().status().as_u16() });
    }
    for _ in 0..1500 - 1024 {
        assert_eq!(tokio::time::timeout(Duration::from_secs(30), posts.join_next()).await.unwrap().unwrap().unwrap(), 503);
    }
    let token = CancellationToken::new();
    let writer = tokio::spawn(writing.run(token.clone()));
    let mut taken = 0;
    while let Some(status) = posts.join_next().await {
        assert_eq!(status.unwrap(), 200);
        taken += 1;
    }
    token.cancel();
    writer.await.unwrap();
    assert_eq!(taken, 1024);
    let open = bench.store.under_way().await.unwrap();
    assert_eq!(open.len(), 1, "one cause");
}
