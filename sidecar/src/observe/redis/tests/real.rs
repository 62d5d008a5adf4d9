//! A real Redis with its own clients, seen through the relay and compared with what the server counted.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::observe::watched::{Watch, printed, tally};

const SERVER: &str = "/usr/bin/redis-server";

struct Server {
    address: SocketAddr,
    server: Child,
    _dir: TempDir,
}

// === impl Server ===

impl Server {
    /// A server that listens, or none where it is not installed.
    async fn start(more: &[&str]) -> Option<Self> {
        if !Path::new(SERVER).exists() {
            assert!(std::env::var_os("CI").is_none(), "not installed: {SERVER}");
            eprintln!("SKIPPED: not installed: {SERVER}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = Command::new(SERVER)
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &address.port().to_string()])
            .args(more)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut this = Self { address, server, _dir: dir };
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert_eq!(this.server.try_wait().unwrap(), None, "the server ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(this)
    }

    /// `name` to the calls of a section of `INFO`, refused ones too.
    async fn counts(&self, section: &str, prefix: &str, fields: &[&str]) -> BTreeMap<String, u64> {
        let info = cli(self.address, &["INFO", section], "").await;
        let lines = info.lines().filter_map(|line| line.strip_prefix(prefix)?.split_once(':'));
        let count = |values: &str| {
            values
                .split(',')
                .filter_map(|value| value.split_once('='))
                .filter(|(name, _)| fields.contains(name))
                .map(|(_, count)| count.trim().parse::<u64>().unwrap())
                .sum()
        };
        lines.map(|(name, values)| (name.replace('|', " ").to_uppercase(), count(values))).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

/// What `redis-cli` prints of `arguments`, or of the lines of `input`.
async fn cli(address: SocketAddr, arguments: &[&str], input: &str) -> String {
    printed(tokio::process::Command::new("redis-cli").args(["-p", &address.port().to_string()]).args(arguments), input).await
}

fn operation(event: &Event) -> Option<String> {
    match event {
        Event::Done(done) => Some(done.class.operation.to_string()),
        Event::Opaque | Event::Forgotten(_) | Event::Refused(..) => Some(format!("{event:?}")),
        _ => None,
    }
}

fn decoder() -> Box<dyn Decoder> {
    Box::<Redis>::default()
}

#[tokio::test]
async fn counts_what_the_server_counts() {
    let Some(server) = Server::start(&[]).await else { return };
    cli(server.address, &["CONFIG", "RESETSTAT"], "").await;
    let watch = Watch::start(server.address, decoder).await;
    // A multiple of the pipeline: the benchmark leaves when it has its number, whatever else is on its way.
    let benchmark = tokio::process::Command::new("redis-benchmark")
        .args(["-q", "-p", &watch.address.port().to_string(), "-n", "3200", "-c", "7", "-P", "16", "-r", "100", "-d", "900"])
        .args(["-t", "set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset"])
        .stdout(Stdio::null())
        .status();
    assert!(benchmark.await.unwrap().success());
    for protocol in ["-2", "-3"] {
        let lines = "DEL s\nSET s x\nLPUSH s y\nMULTI\nAPPEND s 1\nSTRLEN s\nEXEC\nMULTI\nAPPEND s 1\nDISCARD\nHSET h a 1 b 2\nHGETALL h\n\
            NOSUCH x\nGETRANGE s\nEVAL \"return {1,{2,{3}},redis.call('SINTER','none')}\" 0\nCONFIG GET *\nXADD x * a b\nXRANGE x - +\nBLPOP none 0.05\nCOMMAND\nCLIENT LIST\nOBJECT HELP\n";
        let printed = cli(watch.address, &[protocol], lines).await;
        assert!(printed.contains("WRONGTYPE"), "{printed}");
    }
    let told = watch.stop().await;
    let mut expected = server.counts("commandstats", "cmdstat_", &["calls", "rejected_calls"]).await;
    // What only the script called, what was asked past the relay, and what the names of unknown commands become.
    expected.remove("SINTER");
    expected.remove("CONFIG RESETSTAT");
    expected.remove("INFO");
    expected.insert("OTHER".to_owned(), 2);
    // Queued and then discarded: the server never called it.
    *expected.get_mut("APPEND").unwrap() += 2;
    let counted = tally(&told, operation);
    assert_eq!(counted, expected);
    assert!(counted["LPUSH"] > 6000 && counted["LRANGE"] == 3200, "{counted:?}");
    let codes = tally(&told, |event| if let Event::Done(done) = event { Some(done.error?.0.as_str().to_owned()) } else { None });
    assert_eq!(codes, server.counts("errorstats", "errorstat_", &["count"]).await);
    let committed = tally(&told, |event| if let Event::Transaction { committed, .. } = event { Some(committed.to_string()) } else { None });
    assert_eq!(committed, BTreeMap::from([("false".to_owned(), 2), ("true".to_owned(), 2)]));
}

#[tokio::test]
async fn follows_subscribers_while_messages_come() {
    let Some(server) = Server::start(&[]).await else { return };
    let watch = Watch::start(server.address, decoder).await;
    for hello in ["HELLO 2\r\n", "HELLO 3\r\n"] {
        let mut subscriber = tokio::io::BufStream::new(tokio::net::TcpStream::connect(watch.address).await.unwrap());
        subscriber.write_all(format!("{hello}SUBSCRIBE a b\r\nPSUBSCRIBE p*\r\n").as_bytes()).await.unwrap();
        subscriber.flush().await.unwrap();
        until(&mut subscriber, "psubscribe").await;
        for channel in ["a", "b", "page"] {
            cli(watch.address, &["PUBLISH", channel, "hello"], "").await;
        }
        until(&mut subscriber, "page").await;
        subscriber.write_all(b"UNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nGET k\r\nQUIT\r\n").await.unwrap();
        subscriber.flush().await.unwrap();
        until(&mut subscriber, "+OK").await;
    }
    let counted = tally(&watch.stop().await, operation);
    let expected = [("GET", 2), ("HELLO", 2), ("PSUBSCRIBE", 2), ("PUBLISH", 6), ("PUNSUBSCRIBE", 2), ("QUIT", 2), ("SUBSCRIBE", 2), ("UNSUBSCRIBE", 2)];
    assert_eq!(counted, expected.map(|(name, count)| (name.to_owned(), count)).into());
}

/// The one client that the server lets in, once it has noticed that the one before is gone.
async fn holder(server: SocketAddr) -> tokio::net::TcpStream {
    loop {
        let mut stream = tokio::net::TcpStream::connect(server).await.unwrap();
        let mut answer = [0; 7];
        let pinged = stream.write_all(b"PING\r\n").await;
        let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await;
        if pinged.is_ok() && read.is_ok() && &answer == b"-NOAUTH" {
            return stream;
        }
    }
}

async fn until(stream: &mut (impl tokio::io::AsyncBufRead + Unpin), text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(tokio::io::AsyncBufReadExt::read_line(stream, &mut line).await.unwrap(), 0, "no {text}");
    }
}

#[tokio::test]
async fn sees_passwords_refused_clients_and_replicas() {
    let Some(server) = Server::start(&["--requirepass", "hunter2", "--maxclients", "1"]).await else { return };
    let watch = Watch::start(server.address, decoder).await;
    let printed = cli(watch.address, &[], "GET k\nAUTH wrong\nAUTH hunter2\nGET k\n").await;
    assert!(printed.contains("WRONGPASS"), "{printed}");
    let holder = holder(server.address).await;
    cli(watch.address, &["GET", "k"], "").await;
    drop(holder);
    let told = watch.stop().await;
    let debug = format!("{told:?}");
    assert!(!debug.contains("hunter2") && !debug.contains("wrong"), "{debug}");
    let errors = |event: &Event| match event {
        Event::Done(done) => Some(format!("{} {:?}", done.class.operation, done.error.map(|(_, trouble)| trouble))),
        Event::Refused(_, trouble) => Some(format!("refused {trouble:?}")),
        _ => None,
    };
    let counted = tally(&told, errors);
    for expected in ["GET Some(Authentication)", "AUTH Some(Authentication)", "AUTH None", "GET None"] {
        assert_eq!(counted.get(expected), Some(&1), "{expected} in {counted:?}");
    }
    // The client may try a second time.
    assert!(counted.contains_key("refused TooManyConnections"), "{counted:?}");
}
