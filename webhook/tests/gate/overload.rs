//! More reviews than the gate can judge, and an API server that does not answer it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, roots};
use super::{Gate, PATIENCE, guardrail, review};

/// `timeoutSeconds` of the webhook configuration.
const TIMEOUT: Duration = Duration::from_secs(5);
const FLOOD: usize = 200;

struct Answered {
    uid: String,
    answer: Value,
    after: Duration,
}

impl Answered {
    fn code(&self) -> u64 {
        self.answer["response"]["status"]["code"].as_u64().unwrap()
    }

    fn message(&self) -> &str {
        self.answer["response"]["status"]["message"].as_str().unwrap()
    }
}

async fn ask(mut client: Client, uid: String) -> (Client, Answered) {
    let begun = Instant::now();
    let (status, answer) = client.post(review(&uid, &guardrail()).to_string()).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    (client, Answered { uid, answer, after: begun.elapsed() })
}

/// All at once, each on a connection of its own.
async fn flood(clients: Vec<Client>) -> (Vec<Client>, Vec<Answered>) {
    let asked: Vec<_> = clients.into_iter().enumerate().map(|(at, client)| tokio::spawn(ask(client, format!("u{at}")))).collect();
    let (mut clients, mut answers) = (Vec::new(), Vec::new());
    for asked in asked {
        let (client, answered) = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap();
        clients.push(client);
        answers.push(answered);
    }
    (clients, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_hangs_everybody_is_answered_in_time_and_served_afterwards() {
    let gate = Gate::start().await;
    let roots = roots(gate.files.path());
    let mut clients = Vec::new();
    for _ in 0..FLOOD {
        clients.push(Client::connect(gate.address, &roots).await.unwrap());
    }
    let mut executor = Client::connect(gate.address, &roots).await.unwrap();

    gate.api.answers(false);
    let flooding = tokio::spawn(flood(clients));
    // Others fill their lane; the executor's own is free, and what needs no read has its verdict.
    let mut own = review("own", &guardrail());
    own["request"]["userInfo"]["username"] = json!("assent:executor");
    let begun = Instant::now();
    let (_, answer) = executor.post(own.to_string()).await.unwrap();
    assert!(answer["response"]["status"]["message"].as_str().unwrap().contains("assent[account]"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    let (clients, answers) = flooding.await.unwrap();
    let (shed, late): (Vec<_>, Vec<_>) = answers.iter().partition(|answered| answered.code() == 429);
    for answered in &answers {
        assert!(answered.after < TIMEOUT, "{:?}", answered.after);
        assert_eq!(answered.answer["response"]["uid"], answered.uid.as_str());
        assert_eq!(answered.answer["response"]["allowed"], false);
    }
    for answered in &shed {
        assert_eq!(answered.answer["response"]["status"]["reason"], "TooManyRequests");
        assert_eq!(answered.answer["response"]["status"]["details"]["retryAfterSeconds"], 1);
        assert!(answered.message().starts_with("assent[unavailable]: too many requests"), "{}", answered.message());
        assert!(answered.message().ends_with("would pass: the same request after 1 s"), "{}", answered.message());
    }
    for answered in &late {
        assert!(answered.message().contains("no verdict within 4 s"), "{}", answered.message());
    }
    assert!(!late.is_empty() && late.len() <= 32 && shed.len() + late.len() == FLOOD, "{} shed, {} late", shed.len(), late.len());
    let counted = gate.metric("assent_gate_shed_total").await;
    assert_eq!(counted, f64::from(u32::try_from(shed.len()).unwrap()));

    // It is known now that the API server does not answer: most are told so at once.
    let (mut clients, answers) = flood(clients).await;
    let at_once = answers.iter().filter(|answered| answered.message().contains("the API server does not answer the gate")).count();
    assert!(at_once >= FLOOD - 16, "{at_once} of {FLOOD} were told");
    assert!(answers.iter().all(|answered| answered.after < TIMEOUT));

    gate.api.answers(true);
    let client = clients.pop().unwrap();
    let (client, answered) = ask(client, "after".into()).await;
    assert_eq!(answered.answer["response"]["allowed"], true, "{}", answered.answer);
    clients.push(client);
    clients.truncate(16);
    let (_, answers) = flood(clients).await;
    assert!(answers.iter().all(|answered| answered.answer["response"]["allowed"] == true), "normal traffic is served");
    assert_eq!(gate.metric("assent_gate_in_flight").await, 0.0);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_comes_is_not_waited_for() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let gate = Gate::start().await;
    let mut stream = super::client::stream(gate.address, &roots(gate.files.path())).await.unwrap();
    let begun = Instant::now();
    stream.write_all(b"POST /admit HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{").await.unwrap();
    let mut answer = [0; 1024];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400") && begun.elapsed() < TIMEOUT, "{answer} after {:?}", begun.elapsed());
    gate.stop().await;
}
