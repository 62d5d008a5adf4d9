//! `blueprint diff`: what another version changes, field by field, and whether that lets Assent do more or less.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use assent_api::resources::Blueprint;
use assent_core::blueprint::{bytes, duration, millicores};
use kube::Api;
use serde::Serialize;
use serde_json::Value;

use crate::connect::ConnectArgs;
use crate::describe::plain;
use crate::output::{Format, dim, good, table, warn};
use crate::policy::read::{MAX_FILE, documents};

/// Flags of `blueprint diff`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent blueprint diff orders.yaml                 against what is stored
  kubectl assent blueprint diff orders.yaml --from old.yaml

What lets Assent do more holds for later incidents only. The exit code is 1 when something differs.")]
pub(crate) struct DiffArgs {
    /// A file with the newer Blueprint.
    file: PathBuf,
    /// A file with the older one; without it, the one of the same name in the cluster.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    pub(super) path: String,
    from: Option<String>,
    to: Option<String>,
    pub(super) effect: Effect,
}

/// What a change lets Assent do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Effect {
    Less,
    More,
    Other,
}

/// A field whose amount says how much is let.
struct Measure {
    /// The end of its path.
    end: &'static str,
    amount: fn(&str) -> Option<u64>,
    /// What holds where nothing is said.
    usual: u64,
    /// What more of it lets Assent do.
    more: Effect,
}

const fn measure(end: &'static str, amount: fn(&str) -> Option<u64>, usual: u64, more: Effect) -> Measure {
    Measure { end, amount, usual, more }
}

const MEASURES: [Measure; 21] = [
    measure("spec.mode", mode, 0, Effect::More),
    measure("limits.minReplicas", number, 1, Effect::Less),
    measure("limits.maxReplicas", number, 0, Effect::More),
    measure("cpu.min", millicores, 0, Effect::Less),
    measure("cpu.max", millicores, 0, Effect::More),
    measure("memory.min", bytes, 0, Effect::Less),
    measure("memory.max", bytes, 0, Effect::More),
    measure("safety.cooldown", duration, 60_000, Effect::Less),
    measure("safety.operationsPerHour", number, 10, Effect::More),
    measure("safety.breaker.failures", number, 3, Effect::More),
    measure("safety.breaker.wait", duration, 300_000, Effect::Less),
    measure("safety.strikes", number, 3, Effect::More),
    measure("canary.enabled", flag, 1, Effect::Less),
    measure("canary.replicas", number, 3, Effect::More),
    measure("canary.watch", duration, 10_000, Effect::Less),
    measure("verification.enabled", flag, 1, Effect::Less),
    measure("verification.stabilization", duration, 60_000, Effect::Less),
    measure("rollback.enabled", flag, 1, Effect::Less),
    measure("rollback.automatic", flag, 1, Effect::Less),
    measure("rollback.onCriticalFailure", flag, 1, Effect::Less),
    measure("].count", number, 1, Effect::Less),
];

/// Items of lists, by the beginning and end of their paths, and what one more lets Assent do.
const ITEMS: [(&str, &str, Effect); 10] = [
    ("spec.actions[", "].name", Effect::More),
    ("spec.targets[", "].name", Effect::More),
    ("spec.operations.allowed[", "]", Effect::More),
    ("spec.operations.forbidden[", "]", Effect::Less),
    ("spec.operations.approvers[", "]", Effect::More),
    ("spec.operations.restricted[", "].operation", Effect::Less),
    ("spec.operations.restricted[", "].condition", Effect::More),
    ("spec.verification.checks[", "].name", Effect::Less),
    ("spec.freezes[", "].until", Effect::Less),
    ("spec.windows[", "].until", Effect::Other),
];

pub(super) async fn run(args: &DiffArgs, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let newer = only(&args.file)?;
    let text = |pointer: &str| newer.pointer(pointer).and_then(Value::as_str);
    let older = match &args.from {
        Some(file) => only(file)?,
        None => {
            let name = text("/metadata/name").context("the Blueprint has no name")?;
            let namespace = text("/metadata/namespace").unwrap_or("default");
            let api: Api<Blueprint> = Api::namespaced(connect.client().await?, namespace);
            let stored = api.get(name).await.with_context(|| format!("read Blueprint `{namespace}/{name}`"))?;
            serde_json::to_value(stored).context("read the Blueprint")?
        }
    };
    let changes = changes(spec(&older), spec(&newer));
    if args.output == Format::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&changes).context("print as json")?);
    } else if changes.is_empty() {
        anstream::println!("{}", dim("nothing differs"));
    } else {
        anstream::print!("{}", shown(&changes));
    }
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn only(file: &Path) -> anyhow::Result<Value> {
    let all = documents(file, MAX_FILE)?;
    let mut blueprints: Vec<Value> =
        all.into_iter().map(|(_, object)| object).filter(|object| object.get("kind").and_then(Value::as_str) == Some("Blueprint")).collect();
    ensure!(blueprints.len() == 1, "{} holds {} Blueprints; one is compared", file.display(), blueprints.len());
    Ok(blueprints.remove(0))
}

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

/// Changes as a table.
pub(super) fn shown(changes: &[Change]) -> String {
    table(&["ASSENT MAY", "PATH", "FROM", "TO"], &changes.iter().map(row).collect::<Vec<_>>())
}

fn row(change: &Change) -> Vec<String> {
    let mark = match change.effect {
        Effect::Less => good("less"),
        Effect::More => warn("more"),
        Effect::Other => String::new(),
    };
    let cell = |value: &Option<String>| value.as_deref().map_or_else(|| dim("nothing"), plain);
    vec![mark, plain(&change.path), cell(&change.from), cell(&change.to)]
}

/// What differs between two specifications.
pub(super) fn changes(older: &Value, newer: &Value) -> Vec<Change> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    leaves(older, "spec", &mut before);
    leaves(newer, "spec", &mut after);
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    differing
        .map(|path| {
            let (from, to) = (before.get(path).cloned(), after.get(path).cloned());
            Change { path: path.clone(), effect: effect(path, from.as_deref(), to.as_deref()), from, to }
        })
        .collect()
}

fn effect(path: &str, from: Option<&str>, to: Option<&str>) -> Effect {
    if let Some(measure) = MEASURES.iter().find(|measure| path.ends_with(measure.end)) {
        let amount = |text: Option<&str>| text.map_or(Some(measure.usual), measure.amount);
        return match (amount(from), amount(to)) {
            (Some(from), Some(to)) if to > from => measure.more,
            (Some(from), Some(to)) if to < from => opposite(measure.more),
            _ => Effect::Other,
        };
    }
    let item = ITEMS.iter().find(|(begin, end, _)| path.starts_with(begin) && path.ends_with(end));
    match (item, from, to) {
        (Some((.., more)), None, Some(_)) => *more,
        (Some((.., more)), Some(_), None) => opposite(*more),
        _ => Effect::Other,
    }
}

fn opposite(effect: Effect) -> Effect {
    match effect {
        Effect::Less => Effect::More,
        Effect::More => Effect::Less,
        Effect::Other => Effect::Other,
    }
}

/// Every single value by its path; items of lists by what they name, so that another order is no change.
fn leaves(value: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| leaves(inner, &format!("{path}.{name}"), found)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let names = ["name", "operation", "percentile", "from"];
                let named = item.as_str().map(str::to_owned).or_else(|| names.iter().find_map(|name| item.get(*name)).map(text));
                leaves(item, &format!("{path}[{}]", named.unwrap_or_else(|| index.to_string())), found);
            }
        }
        single => {
            found.insert(path.to_owned(), text(single));
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn flag(text: &str) -> Option<u64> {
    text.parse::<bool>().ok().map(u64::from)
}

fn mode(text: &str) -> Option<u64> {
    ["observe", "approve", "autonomous"].iter().zip(0..).find(|(name, _)| **name == text).map(|(_, rank)| rank)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn base() -> Value {
        json!({
            "target": {"kind": "Deployment", "name": "orders"}, "mode": "approve", "limits": {"minReplicas": 2, "maxReplicas": 5},
            "operations": {"allowed": ["ScaleWorkload"], "forbidden": ["drop_table"], "restricted": [{"operation": "EvictPod", "approvers": ["sre"]}]},
            "safety": {"cooldown": "90s"}, "verification": {"checks": [{"name": "error_rate", "target": "< 1%"}]},
        })
    }

    #[test]
    fn each_change_says_whether_assent_may_do_more() {
        for (pointer, value, path, wanted) in [
            ("/mode", json!("autonomous"), "spec.mode", Effect::More),
            ("/mode", json!(null), "spec.mode", Effect::Less),
            ("/limits/maxReplicas", json!(6), "spec.limits.maxReplicas", Effect::More),
            ("/limits/maxReplicas", json!(null), "spec.limits.maxReplicas", Effect::Less),
            ("/limits/minReplicas", json!(1), "spec.limits.minReplicas", Effect::More),
            ("/operations/allowed", json!(["ScaleWorkload", "EvictPod"]), "spec.operations.allowed[EvictPod]", Effect::More),
            ("/operations/forbidden", json!([]), "spec.operations.forbidden[drop_table]", Effect::More),
            ("/operations/restricted/0/count", json!(2), "spec.operations.restricted[EvictPod].count", Effect::Less),
            ("/safety/cooldown", json!("2m"), "spec.safety.cooldown", Effect::Less),
            ("/safety/cooldown", json!(null), "spec.safety.cooldown", Effect::More),
            ("/verification/enabled", json!(false), "spec.verification.enabled", Effect::More),
            ("/criticality", json!("high"), "spec.criticality", Effect::Other),
        ] {
            let mut newer = base();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            newer.pointer_mut(parent).unwrap()[name] = value;
            let changes = changes(&base(), &newer);
            assert_eq!(changes.iter().map(|change| (change.path.as_str(), change.effect)).collect::<Vec<_>>(), [(path, wanted)], "{pointer}");
        }
    }

    #[test]
    fn another_order_is_no_change() {
        let mut newer = base();
        newer["operations"]["allowed"] = json!(["B", "ScaleWorkload"]);
        let mut older = base();
        older["operations"]["allowed"] = json!(["ScaleWorkload", "B"]);
        assert_eq!(changes(&older, &newer), []);
        assert_eq!(changes(&base(), &base()), []);
    }
}
