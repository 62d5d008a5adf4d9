//! The gate's memory under large bodies and bombs, measured on its own process.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use assent_webhook::review::{MAX_BYTES, MAX_MEMORY};
use serde_json::{Value, json};

use super::client::{Authority, Client, roots};
use super::{PATIENCE, api, arguments, free_address, guardrail, review};

/// Bodies sent at once: many more than are read at once.
const AT_ONCE: usize = 12;
/// What the process may need while people alone ask: the largest review in memory and a copy of it, the bodies of those that
/// wait, and itself. The container's limit leaves as much again for the executor.
const MOST: usize = 2 * MAX_MEMORY + 4 * MAX_BYTES + (64 << 20);

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which its test has seen.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Peak resident memory in bytes.
    fn peak(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }
}

async fn connected(address: SocketAddr, roots: &rustls::RootCertStore) -> Client {
    let connecting = async {
        loop {
            if let Ok(client) = Client::connect(address, roots).await {
                return client;
            }
            // The process says nowhere that it listens.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, connecting).await.unwrap()
}

/// Statuses of so many at once.
async fn send(address: SocketAddr, roots: &rustls::RootCertStore, body: String) -> Vec<(u16, Value)> {
    let body = axum::body::Bytes::from(body);
    let mut asked = Vec::new();
    for _ in 0..AT_ONCE {
        let (mut client, body) = (connected(address, roots).await, body.clone());
        asked.push(tokio::spawn(async move { client.post(body).await.unwrap() }));
    }
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_and_bombs_leave_the_gate_within_its_memory() {
    let files = tempfile::tempdir().unwrap();
    Authority::new().write(files.path());
    let _api = api::Api::start(files.path()).await;
    let (address, admin) = (free_address().await, free_address().await);
    let arguments = arguments(files.path(), address, admin, &["--serving-mint=localhost"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_assent-gate"));
    // As in its manifest.
    let command = command.env("MALLOC_ARENA_MAX", "1").args(&arguments[1..]).stdout(Stdio::null()).spawn();
    let process = Process(command.unwrap());
    let roots = roots(files.path());
    let clear = |status: u16| [200, 400, 413, 429].contains(&status);

    let (status, answer) = connected(address, &roots).await.post(review("u", &guardrail()).to_string()).await.unwrap();
    assert_eq!((status, &answer["response"]["allowed"]), (200, &json!(true)), "{answer}");
    let idle = process.peak();

    let mut large = guardrail();
    large["spec"]["env"] = vec![json!({"name": "LOG_LEVEL", "value": "debug"}); (3 << 20) / 37].into();
    for (status, answer) in send(address, &roots, review("large", &large).to_string()).await {
        assert!(clear(status), "{status} {answer}");
    }
    let after_large = process.peak();
    for value in ["0", "{}", r#"{"":0}"#, "[[]]", r#""""#] {
        let values = vec![value; (7 << 20) / (value.len() + 1)].join(",");
        let bomb = review("bomb", &json!({"a": "VALUES"})).to_string().replace(r#""VALUES""#, &format!("[{values}]"));
        for (status, answer) in send(address, &roots, bomb).await {
            assert!(clear(status), "{status} {answer}");
            assert!(status != 413 || answer["message"].as_str().unwrap().contains("too many values"), "{answer}");
        }
    }
    for deep in ["[", r#"{"a":"#] {
        let body = review("deep", &json!({"a": "VALUES"})).to_string().replace(r#""VALUES""#, &deep.repeat((7 << 20) / deep.len()));
        for (status, answer) in send(address, &roots, body).await {
            assert!(status == 400 || status == 429, "{status} {answer}");
        }
    }
    let peak = process.peak();
    eprintln!("peak memory: {} MiB idle, {} MiB after large objects, {} MiB after bombs", idle >> 20, after_large >> 20, peak >> 20);
    assert!(peak < MOST, "{} MiB", peak >> 20);
    let (status, answer) = connected(address, &roots).await.post(review("u", &guardrail()).to_string()).await.unwrap();
    assert_eq!((status, &answer["response"]["allowed"]), (200, &json!(true)), "served as before: {answer}");
}
