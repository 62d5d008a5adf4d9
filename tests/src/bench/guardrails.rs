//! Ours: the gate's entry that judges by guardrails alone, asked directly and over kept connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use assent_policies::Set;
use serde_json::Value;
use tokio::task::block_in_place;

use super::ground::Ground;
use super::load::{self, Load, Question, Seen};
use super::policies::{self, Policy};
use super::process::{self, Server, free_port, is_ready};
use super::rows::{Figures, Row};
use super::{CONNECTIONS, RATE, RUNS, TIME};

/// Longest that the gate may take to become ready.
const STARTING: Duration = Duration::from_secs(60);
/// Bindings of the large set.
const MANY: usize = 1024;

/// A running gate.
#[derive(Debug)]
pub struct Gate {
    /// The process.
    pub server: Server,
    /// Seconds until it was ready.
    pub ready: f64,
    /// Where it serves.
    pub address: SocketAddr,
    log: std::path::PathBuf,
}

/// What other measurements go on with.
#[derive(Debug)]
pub struct Direct {
    /// Milliseconds of 50 of 100 answers, and of 99.
    pub p50: Figures,
    /// Of 99.
    pub p99: Figures,
    /// Good answers a second when asked without a pause.
    pub most: Figures,
    /// MB.
    pub idle: Figures,
    /// MB.
    pub loaded: Figures,
    /// Seconds.
    pub ready: Figures,
    /// P99 with 1,024 bindings over p99 with one.
    pub bindings: Figures,
}

// === impl Gate ===

impl Gate {
    /// Starts it beside this program, as it is built there.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn start(ground: &Ground) -> anyhow::Result<Self> {
        let path = std::env::current_exe()?.with_file_name("assent-gate");
        let (address, admin) = (SocketAddr::from(([127, 0, 0, 1], free_port()?)), SocketAddr::from(([127, 0, 0, 1], free_port()?)));
        let log = ground.log("gate");
        anyhow::ensure!(path.is_file(), "{} is not there: build it with this program", path.display());
        let mut command = process::program(&path);
        // The admin port that tests give is any that is free.
        command.args(crate::world::gate_arguments(ground.files(), address).iter().filter(|argument| !argument.starts_with("--admin-address")));
        command.args([format!("--admin-address={admin}"), "--guardrails-entry".to_owned()]);
        let mut server = Server::start(&mut command, &log)?;
        let ready = server.until("ready", STARTING, || is_ready(admin, "/readyz"))?;
        Ok(Self { server, ready, address, log })
    }

    /// A review that is asked of it.
    ///
    /// # Errors
    /// If the serving CA cannot be read.
    pub fn question(&self, ground: &Ground, object: &Value, resource: &str, good: &'static str) -> anyhow::Result<Question> {
        Ok(Question {
            address: self.address,
            name: "localhost".into(),
            path: "/guardrails".into(),
            tls: load::tls(&ground.authority()?, None)?,
            body: policies::review(object, resource),
            good,
        })
    }

    /// Waits until these are what it judges by.
    async fn in_force(&self, ground: &Ground, objects: &[Value]) -> anyhow::Result<()> {
        let of = |kind: &str| -> Vec<(String, Value)> {
            let of_kind = objects.iter().filter(|object| object["kind"] == kind);
            of_kind.map(|object| (object["metadata"]["name"].as_str().unwrap_or_default().to_owned(), object["spec"].clone())).collect()
        };
        let digest = Set::new(of("Guardrail"), of("GuardrailBinding")).digest().to_string();
        let last = || std::fs::read_to_string(&self.log).unwrap_or_default().lines().rev().find(|line| line.contains("are in force")).map(str::to_owned);
        ground.eventually("the guardrails are in force", async || last().is_some_and(|line| line.contains(&digest))).await
    }
}

/// Guardrails with one binding each.
#[must_use]
pub fn bound(policies: &[Policy]) -> Vec<Value> {
    policies.iter().flat_map(|policy| [policy.guardrail(), policy.binding(false, &policy.name, None)]).collect()
}

/// Everything about ours but what goes through an API server. Leaves the sixteen guardrails in force.
///
/// # Errors
/// If the gate does not start, or answers wrongly.
pub async fn measure(ground: &Ground, say: &dyn Fn(&str)) -> anyhow::Result<(Direct, Vec<Row>)> {
    let sixteen = bound(&policies::pod_security());
    ground.apply_all(&sixteen).await?;
    let mut ready = Figures::default();
    for _ in 0..RUNS {
        ready.0.push(block_in_place(|| Gate::start(ground))?.ready);
    }
    say(&format!("ready after {:.3} s", ready.median().unwrap_or_default()));
    let gate = block_in_place(|| Gate::start(ground))?;
    gate.in_force(ground, &sixteen).await?;
    let hostile = gate.question(ground, &policies::hostile_pod(), "pods", "\"allowed\":false")?;
    super::must_say(&hostile)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = Figures(vec![gate.server.memory()?.0]);
    let question = gate.question(ground, &policies::good_pod(), "pods", "\"allowed\":true")?;
    super::must_say(&question)?;
    let load = Load { rate: Some(RATE), connections: CONNECTIONS, time: TIME };
    let seen = super::several(&question, load, RUNS)?;
    let loaded = Figures(vec![gate.server.memory()?.1]);
    let (p50, p99) = (quantile(&seen, 0.5), quantile(&seen, 0.99));
    say(&format!("p50 {:?} p99 {:?} ms at {RATE} requests a second", p50.0, p99.0));
    let most = super::most(&question)?;
    let bad = gate.question(ground, &policies::bad_pod(), "pods", "\"allowed\":false")?;
    super::must_say(&bad)?;
    let refused = super::several(&bad, load, RUNS)?;
    let mut rows = vec![
        Row::ours("refused_p99_ms", "ms", &quantile(&refused, 0.99)).noting("every request refused by two policies, with explanations"),
        Row::ours("rss_most_mb", "MB", &Figures(vec![gate.server.memory()?.1])).noting("peak after all of this"),
    ];
    say("a bomb beside the traffic");
    rows.extend(bombed(ground, &gate, &question, &sixteen).await?);
    say("bindings");
    ground.delete_all(&sixteen).await?;
    let (bindings, row) = bindings(ground, &gate, say).await?;
    rows.push(row);
    ground.apply_all(&sixteen).await?;
    gate.in_force(ground, &sixteen).await?;
    Ok((Direct { p50, p99, most, idle, loaded, ready, bindings }, rows))
}

fn quantile(seen: &[Seen], share: f64) -> Figures {
    seen.iter().map(|seen| seen.quantile(share)).collect()
}

async fn bombed(ground: &Ground, gate: &Gate, question: &Question, sixteen: &[Value]) -> anyhow::Result<Vec<Row>> {
    let bomb = bound(&[policies::bomb()]);
    ground.apply_all(&bomb).await?;
    gate.in_force(ground, &[sixteen, &bomb].concat()).await?;
    let spark = gate.question(ground, &policies::spark(), "configmaps", "\"allowed\":false")?;
    super::must_say(&spark)?;
    let load = Load { rate: Some(RATE), connections: CONNECTIONS, time: TIME };
    let mut moved = Figures::default();
    let (mut alone, mut beside, mut longest, mut calm, mut shaken) =
        (Figures::default(), Figures::default(), Figures::default(), Figures::default(), Figures::default());
    for _ in 0..RUNS {
        let bombs = Load { rate: None, connections: 1, time: Duration::from_secs(3600) };
        let quiet = super::several(question, load, 1)?;
        alone.0.push(super::several(&spark, Load { time: Duration::from_secs(2), ..bombs }, 1)?.first().context("a run")?.quantile(0.5));
        let stop = Arc::new(AtomicBool::new(false));
        let (loud, bombs) = block_in_place(|| {
            std::thread::scope(|scope| {
                let thrown = scope.spawn(|| load::ask_until(&spark, bombs, &stop));
                let loud = load::ask(question, load);
                stop.store(true, Ordering::Relaxed);
                (loud, thrown.join())
            })
        });
        let loud = super::good(loud?)?;
        let bombs = super::good(bombs.map_err(|_| anyhow::anyhow!("a thread panicked"))??)?;
        let before = quiet.first().context("a run")?.quantile(0.99);
        calm.0.push(before);
        shaken.0.push(loud.quantile(0.99));
        moved.0.push(loud.quantile(0.99) / before);
        beside.0.push(bombs.quantile(0.5));
        longest.0.push(bombs.quantile(1.0));
    }
    ground.delete_all(&bomb).await?;
    Ok(vec![
        Row::ours("bomb_cut_ms", "ms", &alone).at_most(150.0).noting("a hundred million turns, cut off by their cost, nothing else asked"),
        Row::ours("bomb_cut_beside_ms", "ms", &beside).noting(format!("the same beside {RATE} requests a second")),
        Row::ours("bomb_cut_longest_ms", "ms", &longest).noting("the longest of these"),
        Row::ours("bomb_p99_moved", "ratio", &moved).at_most(2.0).noting("p99 of the traffic with one bomb after the other beside it, over p99 without"),
        Row::ours("bomb_p99_ms", "ms", &shaken).noting(format!("without bombs {:.3} ms", calm.median().unwrap_or_default())),
    ])
}

async fn bindings(ground: &Ground, gate: &Gate, say: &dyn Fn(&str)) -> anyhow::Result<(Figures, Row)> {
    let (one, many) = one_and_many(false);
    let load = Load { rate: Some(RATE), connections: CONNECTIONS, time: TIME };
    let question = gate.question(ground, &policies::good_pod(), "pods", "\"allowed\":true")?;
    ground.apply_all(&one).await?;
    gate.in_force(ground, &one).await?;
    let few = quantile(&super::several(&question, load, RUNS)?, 0.99);
    ground.apply_all(&many).await?;
    let all = [one.clone(), many.clone()].concat();
    gate.in_force(ground, &all).await?;
    let lots = quantile(&super::several(&question, load, RUNS)?, 0.99);
    say(&format!("p99 with one binding {:?}, with {MANY} {:?} ms", few.0, lots.0));
    ground.delete_all(&all).await?;
    let ratio: Figures = lots.0.iter().zip(&few.0).map(|(lots, few)| lots / few).collect();
    let note = format!("p99 with one binding {:.3} ms", few.median().unwrap_or_default());
    let row = Row::ours("bindings_1024_over_1_p99", "ratio", &ratio).at_most(2.0).noting(note);
    Ok((ratio, row))
}

/// A policy with the one binding that matches, and the bindings that do not.
#[must_use]
pub fn one_and_many(native: bool) -> (Vec<Value>, Vec<Value>) {
    // The good pod is of tenant 7.
    let sixteen = policies::pod_security();
    let policy = sixteen.iter().find(|policy| policy.name == "host-namespaces").unwrap();
    let object = if native { policy.native() } else { policy.guardrail() };
    let of = |tenant: usize| policy.binding(native, &format!("tenant-{tenant}"), Some(tenant));
    (vec![object, of(7)], (0..MANY).filter(|tenant| *tenant != 7).map(of).collect())
}
