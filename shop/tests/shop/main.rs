//! The shop with its real database and cache: that it sells, and that each of its faults looks to
//! a customer, and to the kernel, as it is meant to. What a cluster adds is tested elsewhere.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod servers;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use assent_shop::fetch::{Answer, fetch};
use assent_shop::orders::Bug;
use assent_shop::{Stop, load, orders, storefront};
use bytes::Bytes;
use http::{Method, StatusCode};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::{Postgres, Redis};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The parts that run in this process, each on a port that was free.
#[derive(Default)]
struct Shop {
    tasks: JoinSet<anyhow::Result<()>>,
    token: CancellationToken,
}

impl Shop {
    fn stop(&self) -> Stop {
        Stop { token: self.token.clone(), drain: Duration::ZERO }
    }

    async fn orders(&mut self, database: &Postgres, bug: Bug) -> String {
        let (listener, address) = listen().await;
        let (admin, _) = listen().await;
        let args = orders::Args { listen: String::new(), admin: String::new(), database: database.url(), work_us: 100, idle_millicores: 10, bug };
        self.tasks.spawn(orders::serve_on(args, listener, admin, self.stop()));
        address
    }

    async fn storefront(&mut self, orders: &str, cache: &str, timeout_ms: u64) -> String {
        let (listener, address) = listen().await;
        let args = storefront::Args { listen: String::new(), orders: orders.to_owned(), cache: cache.to_owned(), cache_seconds: 600, timeout_ms };
        self.tasks.spawn(storefront::serve_on(args, listener, self.stop()));
        address
    }

    async fn load(&mut self, storefront: &str) -> String {
        let (admin, address) = listen().await;
        let args = load::Args { admin: String::new(), storefront: storefront.to_owned(), rps: 0.0 };
        self.tasks.spawn(load::serve_on(args, admin, self.stop()));
        address
    }

    async fn close(mut self) {
        self.token.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

async fn get(authority: &str, path: &str) -> Answer {
    fetch(authority, Method::GET, path, Bytes::new(), Duration::from_secs(10)).await.unwrap()
}

async fn post(authority: &str, path: &str, body: &'static str) -> Answer {
    fetch(authority, Method::POST, path, body.into(), Duration::from_secs(10)).await.unwrap()
}

/// A bounded poll: nobody announces that a server of another process has become ready.
async fn until<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    for _ in 0..300 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not in time: {what}");
}

const ORDER: &str = r#"{"product":7,"quantity":2}"#;

#[tokio::test]
async fn sells_with_and_without_its_cache() {
    if !servers::installed() {
        return;
    }
    let (database, cache) = (Postgres::start(), Redis::start());
    let mut shop = Shop::default();
    let orders = shop.orders(&database, Bug::None).await;
    let front = shop.storefront(&orders, &cache.url(), 3000).await;

    until("orders reach the database", async || get(&front, "/product/1").await.status == StatusCode::OK).await;
    assert_eq!(get(&front, "/").await.status, StatusCode::OK);
    assert_eq!(post(&front, "/order", ORDER).await.status, StatusCode::CREATED);
    assert_eq!(get(&front, "/product/7").await.body, r#"{"product":7,"sold":1}"#);
    assert_eq!(get(&front, "/product/51").await.status, StatusCode::NOT_FOUND);
    let none = r#"{"product":7,"quantity":0}"#;
    assert_eq!(post(&front, "/order", none).await.status, StatusCode::UNPROCESSABLE_ENTITY);

    // A cached page is old, and the truth is new.
    let page = async || get(&front, "/product/7").await.body;
    until("pages are cached", async || {
        let before = page().await;
        assert_eq!(post(&front, "/order", ORDER).await.status, StatusCode::CREATED);
        page().await == before
    })
    .await;
    let cached = page().await;
    drop(cache);
    let truth = page().await;
    assert!(truth.starts_with(br#"{"product":7,"sold":"#) && truth != cached, "{truth:?}");
    shop.close().await;
}

#[tokio::test]
async fn a_bad_release_fails_three_of_five_requests() {
    if !servers::installed() {
        return;
    }
    let database = Postgres::start();
    let mut shop = Shop::default();
    let orders = shop.orders(&database, Bug::Errors).await;
    // No cache at all: a port that nobody listens on.
    let front = shop.storefront(&orders, "redis://127.0.0.1:1/", 3000).await;

    until("orders reach the database", async || post(&orders, "/order", ORDER).await.status == StatusCode::CREATED).await;
    let mut failed = 0;
    for _ in 0..20 {
        match post(&front, "/order", ORDER).await.status {
            StatusCode::CREATED => {}
            StatusCode::BAD_GATEWAY => failed += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(failed, 12);
    shop.close().await;
}

#[tokio::test]
async fn a_release_that_keeps_connections_has_none_after_a_hundred_requests() {
    if !servers::installed() {
        return;
    }
    let database = Postgres::start();
    let mut shop = Shop::default();
    let orders = shop.orders(&database, Bug::Hoard).await;
    let sells = async || post(&orders, "/order", ORDER).await.status;
    until("orders reach the database", async || sells().await == StatusCode::CREATED).await;
    let mut sold = 0;
    while sells().await == StatusCode::CREATED {
        sold += 1;
        assert!(sold < 100, "connections are given back");
    }
    // Four more connections, of one request in twenty each.
    assert!(sold > 60, "{sold}");
    assert_eq!(sells().await, StatusCode::SERVICE_UNAVAILABLE);
    shop.close().await;
}

#[tokio::test]
async fn a_release_that_crashes_serves_a_hundred_requests_first() {
    if !servers::installed() {
        return;
    }
    let database = Postgres::start();
    let mut shop = Shop::default();
    let orders = shop.orders(&database, Bug::Crash).await;
    until("orders reach the database", async || post(&orders, "/order", ORDER).await.status == StatusCode::CREATED).await;
    let order = async || fetch(&orders, Method::POST, "/order", ORDER.into(), Duration::from_secs(10)).await;
    let mut sold = 1;
    while sold < 200 && order().await.is_ok() {
        sold += 1;
    }
    assert!((80..=101).contains(&sold), "{sold}");
    assert!(shop.tasks.join_next().await.unwrap().unwrap().is_err(), "it ended as if it had been asked to");
}

#[tokio::test]
async fn a_release_that_leaks_grows_with_each_request() {
    if !servers::installed() {
        return;
    }
    let database = Postgres::start();
    let (process, port, _admin) = Process::start(&database, "leak");
    assert_eq!(get(&port, "/product/1").await.status, StatusCode::OK);
    let before = process.memory();
    for _ in 0..80 {
        assert_eq!(get(&port, "/product/1").await.status, StatusCode::OK);
    }
    let grown = process.memory() - before;
    assert!((10_000..20_000).contains(&grown), "{grown} kB");
}

#[tokio::test]
async fn a_frozen_database_lets_requests_hang_until_it_thaws() {
    if !servers::installed() {
        return;
    }
    let database = Postgres::start();
    let mut shop = Shop::default();
    let orders = shop.orders(&database, Bug::None).await;
    let front = shop.storefront(&orders, "redis://127.0.0.1:1/", 300).await;

    let sells = async || post(&front, "/order", ORDER).await.status == StatusCode::CREATED;
    until("orders reach the database", sells).await;
    database.freeze();
    for _ in 0..8 {
        assert_eq!(post(&front, "/order", ORDER).await.status, StatusCode::GATEWAY_TIMEOUT);
    }
    assert_eq!(get(&front, "/").await.status, StatusCode::OK);
    database.thaw();
    until("orders recover", sells).await;
    shop.close().await;
}

#[tokio::test]
async fn customers_come_at_the_rate_that_was_asked_for() {
    let mut shop = Shop::default();
    // Nothing behind the storefront: front pages succeed, everything else fails.
    let front = shop.storefront("127.0.0.1:1", "redis://127.0.0.1:1/", 3000).await;
    let load = shop.load(&front).await;
    let stats = async || serde_json::from_slice::<load::Stats>(&get(&load, "/stats").await.body).unwrap();

    assert_eq!(stats().await.sent, 0);
    assert_eq!(post(&load, "/rate?rps=501", "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post(&load, "/rate?rps=-1", "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post(&load, "/rate?rps=NaN", "").await.status, StatusCode::BAD_REQUEST);
    let start = Instant::now();
    assert_eq!(post(&load, "/rate?rps=100", "").await.status, StatusCode::OK);
    until("fifty requests", async || stats().await.sent >= 50).await;
    let took = start.elapsed();
    assert!(took > Duration::from_millis(400), "{took:?}");
    assert_eq!(post(&load, "/rate?rps=0", "").await.status, StatusCode::OK);
    until("all are answered", async || stats().await.waiting == 0).await;
    let stats = stats().await;
    assert_eq!((stats.rps, stats.ok), (0.0, stats.sent / 10), "{stats:?}");
    assert_eq!(stats.window.ok + stats.window.failed, stats.sent);
    shop.close().await;
}

/// Orders as a process of its own, because a wedge is seen in a process's CPU time.
struct Process(Child);

impl Process {
    /// The process, its port and its admin port.
    fn start(database: &Postgres, bug: &str) -> (Self, String, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_assent-shop"))
            .args(["orders", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--idle-millicores", "100", "--bug", bug, "--database", &database.url()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut address =
            || lines.find_map(|line| line.unwrap().split_once("listening address=").map(|(_, port)| port.to_owned())).expect("it listens before it ends");
        let (port, admin) = (address(), address());
        // Whatever it logs from here on is read and dropped, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        (Self(child), port, admin)
    }

    /// Resident memory, in kilobytes.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        resident.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Processor time so far, in ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_wedged_process_accepts_answers_nothing_and_uses_no_cpu() {
    if !servers::installed() {
        return;
    }
    let database = Postgres::start();
    let (process, port, admin) = Process::start(&database, "none");
    assert_eq!(get(&port, "/product/1").await.status, StatusCode::OK, "it listens once it can serve");

    let idle = process.ticks();
    let start = Instant::now();
    until("background work shows", async || process.ticks() >= idle + 10).await;
    assert!(start.elapsed() > Duration::from_millis(500), "100 millicores and not much more");

    assert_eq!(post(&admin, "/admin/wedge", "").await.status, StatusCode::OK);
    let patience = Duration::from_millis(500);
    TcpStream::connect(&port).await.unwrap();
    let before = process.ticks();
    fetch(&port, Method::GET, "/product/1", Bytes::new(), patience).await.unwrap_err();
    fetch(&port, Method::GET, "/product/2", Bytes::new(), patience).await.unwrap_err();
    assert!(process.ticks() <= before + 2, "{} ticks in a second", process.ticks() - before);

    drop(process);
    let (mut process, port, _) = Process::start(&database, "none");
    assert_eq!(get(&port, "/product/1").await.status, StatusCode::OK, "a restart heals");
    let start = Instant::now();
    kill(Pid::from_raw(process.0.id().cast_signed()), Signal::SIGTERM).unwrap();
    let ended = tokio::task::spawn_blocking(move || process.0.wait().map(|ended| (process, ended)));
    let (_process, ended) = ended.await.unwrap().unwrap();
    assert!(ended.success() && start.elapsed() < Duration::from_secs(2), "{ended} {:?}", start.elapsed());
}
