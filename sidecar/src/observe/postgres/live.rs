//! The decoder against a PostgreSQL of this machine's packages: what it tells is what the server itself counted.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;

use super::super::Tap;
use super::super::flows::{Direction, Flows, Key};
use super::super::statement::Statement;
use super::*;
use crate::relay::relay;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A server in a directory of its own.
struct Server(TempDir);

/// One connection's decoder, what it told, and a hash of what each side sent and was sent.
#[derive(Default)]
struct Watched {
    decoder: Postgres,
    told: Vec<Event>,
    sent: [u64; 2],
    passed: [u64; 2],
}

/// A leg of a relayed connection whose incoming bytes the decoder sees.
struct Leg<S> {
    stream: S,
    side: Side,
    watched: Arc<Mutex<Watched>>,
}

impl<S> crate::sampled::Sampled for Leg<S> {}

fn installed() -> bool {
    let missing: Vec<_> = ["initdb", "pg_ctl", "psql", "pgbench"].into_iter().filter(|name| !Path::new(PROGRAMS).join(name).exists()).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "not installed: {missing:?}");
    eprintln!("SKIPPED: not installed: {missing:?}");
    false
}

// === impl Server ===

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            let user = User::from_name("postgres").unwrap().expect("the package makes a user");
            chown(dir.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let server = Self(dir);
        let options = format!("-c listen_addresses= -c fsync=off -c shared_preload_libraries=pg_stat_statements -k {}", server.0.path().display());
        server.control(&["initdb", "--username=shop", "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync"]);
        server.control(&["pg_ctl", "start", "--wait", "--silent", "--log=log", "--options", &options]);
        server.sql("CREATE EXTENSION pg_stat_statements");
        server
    }

    /// Runs a program as the package's user, where this process is root.
    fn control(&self, words: &[&str]) {
        let mut command = Command::new(if geteuid().is_root() { "setpriv" } else { "env" });
        if geteuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        command.arg(Path::new(PROGRAMS).join(words[0])).arg("--pgdata=data").args(&words[1..]).current_dir(self.0.path());
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success(), "{words:?}");
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join(".s.PGSQL.5432")
    }

    /// A client program of `host`.
    fn client(program: &str, host: &str, port: u16) -> Command {
        let mut command = Command::new(Path::new(PROGRAMS).join(program));
        command.env_clear().env("PGHOST", host).env("PGPORT", port.to_string()).env("PGUSER", "shop").env("PGDATABASE", "postgres");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn direct(&self, program: &str) -> Command {
        Self::client(program, self.0.path().to_str().unwrap(), 5432)
    }

    /// What `text` returns, past the relay.
    fn sql(&self, text: &str) -> String {
        let output = self.direct("psql").args(["-XAtqF\t", "-c", text]).output().unwrap();
        assert!(output.status.success(), "{text}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `program` through relays; what it said and what was told of each connection.
    async fn through(&self, program: &str, arguments: &[&str], running: impl FnOnce(u32)) -> (Output, Vec<Event>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut command = Self::client(program, "127.0.0.1", listener.local_addr().unwrap().port());
        command.args(arguments);
        let child = tokio::process::Command::from(command).spawn().unwrap();
        running(child.id().unwrap());
        let mut output = std::pin::pin!(child.wait_with_output());
        let mut connections = JoinSet::new();
        let output = loop {
            tokio::select! {
                output = &mut output => break output.unwrap(),
                accepted = listener.accept() => {
                    connections.spawn(watch(accepted.unwrap().0, self.socket()));
                }
            }
        };
        (output, connections.join_all().await.concat())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control(&["pg_ctl", "stop", "--silent", "--mode=immediate"]);
    }
}

/// Relays one connection, and sees that its bytes arrived as they were.
async fn watch(client: TcpStream, socket: PathBuf) -> Vec<Event> {
    let watched = Arc::new(Mutex::new(Watched::default()));
    let server = UnixStream::connect(socket).await.unwrap();
    let flows = Arc::new(Flows::default());
    let tap = Tap::new(flows.clone(), flows.open(Key::new(Direction::Outbound, "", ":5432"), None), 5432);
    let client = Leg { stream: client, side: Side::Client, watched: watched.clone() };
    let server = Leg { stream: server, side: Side::Server, watched: watched.clone() };
    // A client that goes away with an answer on its way is a reset.
    let _ = relay(client, server, tap).await;
    let Watched { mut decoder, mut told, sent, passed } = std::mem::take(&mut *watched.lock().unwrap());
    assert_eq!(sent, passed, "bytes differ");
    decoder.end(End::Closed, Instant::now(), &mut |event| told.push(event));
    told
}

// === impl Leg ===

fn hash(seed: &mut u64, bytes: &[u8]) {
    *seed = bytes.iter().fold(*seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3).wrapping_add(1));
}

impl<S: AsyncRead + Unpin> AsyncRead for Leg<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes = &buffer.filled()[before..];
        let mut watched = self.watched.lock().unwrap();
        let Watched { decoder, told, sent, .. } = &mut *watched;
        hash(&mut sent[self.side as usize], bytes);
        decoder.bytes(self.side, bytes, Instant::now(), &mut |event| told.push(event));
        drop(watched);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Leg<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            hash(&mut self.watched.lock().unwrap().passed[1 - self.side as usize], &bytes[..count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Statements, rows and milliseconds by class.
type Counts = BTreeMap<String, (u64, u64, f64)>;

fn count(counts: &mut Counts, summary: &str, calls: u64, rows: u64, milliseconds: f64) {
    let count = counts.entry(summary.to_owned()).or_default();
    *count = (count.0 + calls, count.1 + rows, count.2 + milliseconds);
}

#[tokio::test]
async fn counts_what_the_server_counts() {
    if !installed() {
        return;
    }
    let server = Server::start();
    assert!(server.direct("pgbench").args(["-i", "-q"]).output().unwrap().status.success());
    let script = server.0.path().join("pipeline.sql");
    std::fs::write(&script, "\\startpipeline\nINSERT INTO pgbench_history (tid) VALUES (7);\nSELECT 1 FROM pgbench_branches;\n\\endpipeline\n").unwrap();
    let script = format!("-f{}", script.display());
    for (mode, what, committed) in
        [("simple", "-btpcb-like", 100), ("extended", "-btpcb-like", 100), ("prepared", "-btpcb-like", 100), ("extended", &script, 0)]
    {
        server.sql("SELECT pg_stat_statements_reset()");
        let (output, told) = server.through("pgbench", &["-n", "-c2", "-t50", "-M", mode, what], |_| ()).await;
        assert!(output.status.success(), "{output:?}");
        let (mut seen, mut counted) = (Counts::new(), Counts::new());
        for event in &told {
            match event {
                Event::Done(Statement { class, asked, ended, rows, error: None, .. }) => {
                    count(&mut seen, &class.summary, 1, *rows, ended.duration_since(*asked).as_secs_f64() * 1e3);
                }
                Event::Done(Statement { error: Some(_), .. }) | Event::Opaque | Event::Forgotten(_) | Event::Refused(..) => panic!("{event:?}"),
                _ => {}
            }
        }
        let own = "SELECT translate(query, E'\\n\\t', '  '), calls, rows, total_exec_time FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'";
        for line in server.sql(own).lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            let class = sql::classify(columns[0].as_bytes());
            count(&mut counted, &class.summary, columns[1].parse().unwrap(), columns[2].parse().unwrap(), columns[3].parse().unwrap());
        }
        if mode == "prepared" {
            // This server counts a prepared utility statement only once per session; the client says how many it ran.
            for class in ["BEGIN", "END"] {
                assert_eq!(counted.insert(class.to_owned(), (committed as u64, 0, 0.0)).unwrap().0, 2, "one per session");
            }
        }
        let without_times = |counts: &Counts| counts.iter().map(|(class, (calls, rows, _))| (class.clone(), *calls, *rows)).collect::<Vec<_>>();
        assert_eq!(without_times(&seen), without_times(&counted), "{mode} {what}");
        for (class, (calls, _, milliseconds)) in &counted {
            println!("{mode} {class}: {calls} calls, {:.3} ms here, {milliseconds:.3} ms there", seen[class].2);
            assert!(*milliseconds <= seen[class].2, "{mode} {class}");
        }
        let ends = told.iter().filter(|event| matches!(event, Event::Transaction { committed: true, .. })).count();
        assert_eq!(ends, committed, "{mode} {what}");
    }
}

#[tokio::test]
async fn tells_copies_cursors_and_errors() {
    if !installed() {
        return;
    }
    let server = Server::start();
    let input = server.0.path().join("input.sql");
    let text = "CREATE TABLE t (a int PRIMARY KEY);\nCOPY t FROM STDIN;\n1\n2\n\\.\nCOPY t TO STDOUT;\nBEGIN;\nDECLARE c CURSOR FOR SELECT * FROM t;\n\
         FETCH 1 FROM c;\nFETCH ALL FROM c;\nCOMMIT;\nSELECT * FROM missing;\nBEGIN;\nINSERT INTO t VALUES (1);\nCOMMIT;\nINSERT INTO t SELECT generate_series(3, 5000);\n\
         SELECT * FROM t;\nSET default_transaction_read_only TO on;\nDELETE FROM t;\n";
    std::fs::write(&input, text).unwrap();
    let (output, told) = server.through("psql", &["-Xqf", input.to_str().unwrap()], |_| ()).await;
    assert!(output.status.success(), "{output:?}");
    let told: Vec<String> = told.iter().filter(|event| !matches!(event, Event::Asked(_))).map(tests::describe).collect();
    let expected = [
        "ready",
        "CREATE TABLE t 0",
        "COPY t 2",
        "COPY t 2",
        "BEGIN 0",
        "DECLARE SELECT t 0",
        "FETCH 1",
        "FETCH 1",
        "transaction true",
        "COMMIT 0",
        "SELECT missing 0 42P01 Other",
        "BEGIN 0",
        "INSERT t 0 23505 Other",
        "COMMIT 0",
        "transaction false",
        "INSERT t SELECT 4998",
        "SELECT t 5000",
        "SET 0",
        "DELETE t 0 25006 ReadOnly",
    ];
    assert_eq!(told, expected);

    let (_, told) = server.through("psql", &["-X", "nowhere"], |_| ()).await;
    assert_eq!(told.iter().map(tests::describe).collect::<Vec<_>>(), ["refused 3D000 Other"]);
}

#[tokio::test]
async fn tells_a_cancelled_statement() {
    if !installed() {
        return;
    }
    let server = Server::start();
    let mut asleep = server.direct("psql");
    let until = "DO $$ BEGIN LOOP PERFORM pg_stat_clear_snapshot();
        EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND wait_event = 'PgSleep'); END LOOP; END $$";
    asleep.args(["-Xc", until]);
    let cancel = |pid: u32| {
        std::thread::spawn(move || {
            assert!(asleep.status().unwrap().success());
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGINT).unwrap();
        });
    };
    let (_, told) = server.through("psql", &["-Xc", "SELECT pg_sleep(600)"], cancel).await;
    let ends: Vec<_> = told.iter().map(tests::describe).collect();
    assert_eq!(ends, ["ready", "asked", "SELECT 0 57014 Cancelled"]);
    let longest = Duration::from_secs(300);
    assert!(told.iter().all(|event| !matches!(event, Event::Done(statement) if statement.ended - statement.asked > longest)));
}
