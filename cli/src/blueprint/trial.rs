//! `blueprint test`: what a Blueprint would have decided about the load of the last hours, as a Prometheus remembers it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use assent_core::blueprint::{Tier, bytes, millicores};
use assent_core::demand::{self, Allocation, Container};
use assent_core::ids::UnixMillis;
use assent_core::workload::Kind;
use assent_runtime::store::Store;
use serde::Deserialize;
use serde_json::Value;

use super::chosen::{Chosen, ChosenArgs};
use super::init;
use super::past::{Load, Outcome, replay};
use crate::connect::ConnectArgs;
use crate::output::{Format, bad, bold, dim, good, table, warn};

const SIDECAR: &str = "assent-sidecar";
/// Largest answer of one question.
const MAX_ANSWER: usize = 32 << 20;
/// Moments of one question; Prometheus answers with at most 11,000.
const MOMENTS: i64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Flags of `blueprint test`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent blueprint test -f orders.yaml --prometheus-url http://localhost:9090
  kubectl assent blueprint test -f orders.yaml -f deployment.yaml --prometheus-url http://localhost:9090 --hours 72 -o json

The engine that the compute seat asks is asked at each moment of that time, as if what it decided had been carried out at once:
the load is what all pods used together, whatever their number was. Votes, guardrails and breakers are not asked. It needs what
every kubelet exports (container_cpu_usage_seconds_total, container_memory_working_set_bytes). The workload is read from the same
files if it is there, else from the cluster.")]
pub(crate) struct TestArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    /// Address of Prometheus, or of what answers queries like it.
    #[arg(long, env = "ASSENT_PROMETHEUS_URL")]
    prometheus_url: String,
    /// File with a bearer token that it is shown.
    #[arg(long, env = "ASSENT_PROMETHEUS_TOKEN_FILE")]
    prometheus_token_file: Option<PathBuf>,
    /// PEM of the CA that signs its certificate, instead of the public ones.
    #[arg(long, env = "ASSENT_PROMETHEUS_CA_FILE")]
    prometheus_ca_file: Option<PathBuf>,
    /// How many hours are looked at.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=336))]
    hours: u16,
    /// Until when, RFC 3339; now where nothing is said.
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// The answer to a range query.
#[derive(Deserialize)]
struct Answer {
    data: Option<Matrix>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Matrix {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

/// A range of moments, in seconds.
struct Range {
    from: i64,
    until: i64,
    step: i64,
}

pub(super) async fn run(args: &TestArgs, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let chosen = args.chosen.read()?;
    let [target] = chosen.effective.service.targets.as_slice() else { bail!("a Blueprint of one workload can be tested, and this one has several") };
    let Some(kind) = Kind::named(&target.kind).filter(|kind| kind.is_scaled()) else {
        bail!("a {} has no number of replicas that could follow the load", target.kind)
    };
    let workload = workload(&chosen, kind, &target.name, connect).await?;
    let containers = containers(&workload)?;
    let until = args.until.unwrap_or_else(jiff::Timestamp::now);
    let Some(settings) = demand::settings(&chosen.effective, UnixMillis(until.as_millisecond())) else {
        bail!("this Blueprint does not let replicas follow the load: it needs `scaling`, `limits.maxReplicas` and ScaleWorkload that is not forbidden");
    };
    // Three figures within the shorter window are needed.
    let step = (settings.windows.up_ms / 4_000).clamp(5, 30);
    let range = Range { from: until.as_second() - i64::from(args.hours) * 3_600, until: until.as_second(), step };
    let store = Store::new(&args.prometheus_url, args.prometheus_token_file.as_deref(), args.prometheus_ca_file.as_deref())?;
    let loads = loads(&store, &chosen.namespace, kind, &target.name, &range).await?;
    ensure!(
        !loads.is_empty(),
        "Prometheus knows nothing of the pods of {}/{} in these {} hours: does it scrape the kubelets' /metrics/cadvisor?",
        chosen.namespace,
        target.name,
        args.hours
    );
    let outcome = replay(&chosen.effective, containers, &loads);
    match args.output {
        Format::Json => anstream::println!("{}", serde_json::to_string_pretty(&outcome).context("print as json")?),
        Format::Table => anstream::print!("{}", told(&outcome)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn workload(chosen: &Chosen, kind: Kind, name: &str, connect: &ConnectArgs) -> anyhow::Result<Value> {
    let text = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let named = |object: &&Value| {
        Kind::of_object(object) == Ok(kind) && text(object, "/metadata/name") == name && text(object, "/metadata/namespace") == chosen.namespace
    };
    if let Some(found) = chosen.workloads.iter().find(named) {
        return Ok(found.clone());
    }
    init::workload(&connect.client().await?, kind, &chosen.namespace, name).await.context("a file with it would do as well")
}

/// What a pod's containers ask for and may use.
fn containers(workload: &Value) -> anyhow::Result<Vec<Container>> {
    let all = workload.pointer("/spec/template/spec/containers").and_then(Value::as_array).context("the workload has no containers")?;
    let name = |container: &Value| container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let allocation = |container: &Value, resource: &str, read: fn(&str) -> Option<u64>| {
        let of = |kind: &str| match container.pointer(&format!("/resources/{kind}/{resource}"))? {
            Value::String(text) => read(text),
            Value::Number(number) => read(&number.to_string()),
            _ => None,
        };
        Allocation { request: of("requests").or(of("limits")).unwrap_or(0), limit: of("limits"), restarts: true }
    };
    let sized = all.iter().filter(|container| name(container) != SIDECAR).map(|container| Container {
        name: name(container),
        cpu: allocation(container, "cpu", millicores),
        memory: allocation(container, "memory", bytes),
        cpu_is_implied: container.pointer("/resources/requests/cpu").is_none(),
        memory_is_implied: container.pointer("/resources/requests/memory").is_none(),
        ..Container::default()
    });
    Ok(sized.collect())
}

/// What was used, moment by moment. A moment of which something is missing is left out.
async fn loads(store: &Store, namespace: &str, kind: Kind, name: &str, range: &Range) -> anyhow::Result<Vec<Load>> {
    let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
    ensure!(plain(namespace) && plain(name), "`{namespace}/{name}` is not named as objects are");
    // As a Deployment's ReplicaSets name their pods, in the letters that the API server draws suffixes from.
    const LETTERS: &str = "[bcdfghjklmnpqrstvwxz2456789]";
    let suffix = if kind == Kind::StatefulSet { "[0-9]+".to_owned() } else { format!("{LETTERS}+-{LETTERS}{{5}}") };
    let escaped = name.replace('.', r"\\.");
    let which = format!(r#"{{namespace="{namespace}",pod=~"{escaped}-{suffix}",container!="",container!="POD",container!="{SIDECAR}"}}"#);
    let cpu = ask(store, &format!("sum by (container) (rate(container_cpu_usage_seconds_total{which}[2m]))"), range).await?;
    let memory = ask(store, &format!("max by (container) (container_memory_working_set_bytes{which})"), range).await?;
    let pods = ask(store, &format!("count(count by (pod) (container_memory_working_set_bytes{which}))"), range).await?;
    let at = |series: &BTreeMap<String, BTreeMap<i64, f64>>, container: &str, at: i64| series.get(container)?.get(&at).copied();
    let mut loads = Vec::new();
    for (moment, count) in pods.get("").into_iter().flatten() {
        let containers = cpu.keys().filter_map(|container| {
            let milli = at(&cpu, container, *moment)? * 1_000.0;
            Some((container.clone(), whole(milli), whole(at(&memory, container, *moment)?)))
        });
        let containers: Vec<(String, u64, u64)> = containers.collect();
        if !containers.is_empty() {
            loads.push(Load { at: UnixMillis(moment * 1_000), pods: u32::try_from(whole(*count)).unwrap_or(u32::MAX), containers });
        }
    }
    Ok(loads)
}

/// The series of a query by their label `container`, each by seconds.
async fn ask(store: &Store, query: &str, range: &Range) -> anyhow::Result<BTreeMap<String, BTreeMap<i64, f64>>> {
    let mut all: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
    let mut from = range.from;
    while from <= range.until {
        let until = range.until.min(from + (MOMENTS - 1) * range.step);
        let (start, end, step) = (from.to_string(), until.to_string(), range.step.to_string());
        let question = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
        let asked = tokio::time::timeout(PATIENCE, store.get("api/v1/query_range", &question, MAX_ANSWER)).await;
        let body = asked.context("Prometheus does not answer within a minute; fewer --hours may do")?.context("ask Prometheus")?;
        let answer: Answer = serde_json::from_slice(&body).context("read what Prometheus answers")?;
        let Some(matrix) = answer.data else { bail!("Prometheus answers: {}", answer.error.unwrap_or_default()) };
        for series in matrix.result {
            let container = series.metric.get("container").cloned().unwrap_or_default();
            let values = series.values.iter().filter_map(|(at, value)| Some((seconds(*at), value.parse::<f64>().ok()?)));
            all.entry(container).or_default().extend(values.filter(|(_, value)| value.is_finite() && *value >= 0.0));
        }
        from = until + range.step;
    }
    Ok(all)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures are not negative, and casts saturate")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[expect(clippy::cast_possible_truncation, reason = "seconds are whole, and casts saturate")]
fn seconds(at: f64) -> i64 {
    at.round() as i64
}

fn told(outcome: &Outcome) -> String {
    let tier = |tier: Tier| match tier {
        Tier::Allowed => good("allowed"),
        Tier::Restricted => warn("asks"),
        Tier::Forbidden => bad("forbidden"),
    };
    let rows = outcome.decisions.iter().map(|decided| vec![decided.at.rfc3339(), bold(&decided.what), tier(decided.tier), decided.why.clone()]);
    let rows: Vec<Vec<String>> = rows.collect();
    let mut text = if rows.is_empty() { "nothing would have been done\n".to_owned() } else { table(&["TIME", "DECISION", "", "WHY"], &rows) };
    let hours = |seconds: u64| format!("{}.{}", seconds / 3_600, seconds % 3_600 / 360);
    text.push_str(&format!(
        "\n{} decision(s) in {} looks; {} to {} replicas; {} replica hours instead of {}\n",
        outcome.decisions.len(),
        outcome.looks,
        outcome.fewest,
        outcome.most,
        hours(outcome.replica_seconds),
        hours(outcome.real_replica_seconds),
    ));
    let mut held: Vec<(&&str, &u32)> = outcome.held.iter().collect();
    held.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (reason, count) in held {
        let share = u64::from(*count) * 1_000 / u64::from(outcome.looks.max(1));
        text.push_str(&dim(&format!("nothing, since {reason}: {}.{} % of the looks\n", share / 10, share % 10)));
    }
    text
}
