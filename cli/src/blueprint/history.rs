//! `blueprint history` and `blueprint rollback`: what a Blueprint said before, and back to it under one's own rights.

use anyhow::{Context as _, bail};
use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{Blueprint, BlueprintRevision};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use super::diff::{Change, Effect, changes};
use crate::connect::ConnectArgs;
use crate::describe::plain;
use crate::output::{Format, dim, good, table, warn};

/// Flags of `blueprint history`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent blueprint history orders -n shop
  kubectl assent blueprint history orders -n shop --generation 3    what it said then

The director writes each generation down as it comes; the last twenty are always kept.")]
pub(crate) struct HistoryArgs {
    /// The Blueprint.
    name: String,
    /// Its namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Print what it said at this generation.
    #[arg(long)]
    generation: Option<i64>,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Flags of `blueprint rollback`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent blueprint rollback orders -n shop --dry-run          what the generation before would change
  kubectl assent blueprint rollback orders -n shop --generation 3

It is a new generation with the words of an old one, written under your own rights and judged by the gate as any other. Where git owns
the Blueprint, change it there: it would be put back.")]
pub(crate) struct RollbackArgs {
    /// The Blueprint.
    name: String,
    /// Its namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// The generation to go back to; without it, the last one that said something else.
    #[arg(long)]
    generation: Option<i64>,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn history(args: &HistoryArgs, connect: &ConnectArgs) -> anyhow::Result<()> {
    let client = connect.client().await?;
    let (_, revisions) = revisions(&client, &args.namespace, &args.name).await?;
    if let Some(generation) = args.generation {
        anstream::print!("{}", super::yaml(&said(find(&revisions, generation)?)?)?);
        return Ok(());
    }
    if args.output == Format::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&revisions).context("print as json")?);
        return Ok(());
    }
    let before = std::iter::once(None).chain(revisions.iter().map(Some));
    let mut rows = Vec::new();
    for (revision, before) in revisions.iter().zip(before) {
        let changed = before.map(|before| Ok::<_, anyhow::Error>(changes(&said(before)?, &said(revision)?))).transpose()?;
        rows.push(vec![
            revision.spec.generation.to_string(),
            seen(revision),
            plain(&revision.spec.manager),
            changed.map_or_else(|| dim("first that is kept"), |all| summary(&all)),
        ]);
    }
    anstream::print!("{}", table(&["GENERATION", "SEEN", "MANAGER", "CHANGED"], &rows));
    Ok(())
}

pub(super) async fn rollback(args: &RollbackArgs, connect: &ConnectArgs) -> anyhow::Result<()> {
    let client = connect.client().await?;
    let (stored, revisions) = revisions(&client, &args.namespace, &args.name).await?;
    let now = serde_json::to_value(&stored.spec).context("read the Blueprint")?;
    let revision = match args.generation {
        Some(generation) => find(&revisions, generation)?,
        None => {
            let mut other = revisions.iter().rev().filter(|revision| Some(revision.spec.generation) != stored.metadata.generation);
            other.find(|revision| said(revision).is_ok_and(|then| !changes(&now, &then).is_empty())).context("no kept generation said anything else")?
        }
    };
    let then = said(revision)?;
    let differing = changes(&now, &then);
    if differing.is_empty() {
        anstream::println!("generation {} said the same", revision.spec.generation);
        return Ok(());
    }
    anstream::print!("{}", super::diff::shown(&differing));
    if args.dry_run {
        anstream::println!("{}", dim(&format!("nothing was written; this is generation {}", revision.spec.generation)));
        return Ok(());
    }
    let mut back = serde_json::to_value(&stored).context("read the Blueprint")?;
    back["spec"] = then;
    back["metadata"]["managedFields"] = json!(null);
    let back: Blueprint = serde_json::from_value(back).context("read what it said")?;
    let api: Api<Blueprint> = Api::namespaced(client, &args.namespace);
    // It carries the resourceVersion that was read: who changed it meanwhile is not overwritten.
    let written =
        api.replace(&args.name, &PostParams::default(), &back).await.with_context(|| format!("write Blueprint `{}/{}`", args.namespace, args.name))?;
    let generation = written.metadata.generation.unwrap_or_default();
    anstream::println!("Blueprint {}/{} says again what it said at generation {} (now {generation})", args.namespace, args.name, revision.spec.generation);
    Ok(())
}

/// The Blueprint, and what it said, oldest first.
async fn revisions(client: &Client, namespace: &str, name: &str) -> anyhow::Result<(Blueprint, Vec<BlueprintRevision>)> {
    let stored = Api::<Blueprint>::namespaced(client.clone(), namespace).get(name).await.with_context(|| format!("read Blueprint `{namespace}/{name}`"))?;
    let api: Api<BlueprintRevision> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let mut all = api.list(&ListParams::default()).await.context("list blueprint revisions")?.items;
    all.retain(|revision| Some(&revision.spec.uid) == stored.metadata.uid.as_ref());
    all.sort_by_key(|revision| revision.spec.generation);
    Ok((stored, all))
}

fn find(revisions: &[BlueprintRevision], generation: i64) -> anyhow::Result<&BlueprintRevision> {
    if let Some(found) = revisions.iter().find(|revision| revision.spec.generation == generation) {
        return Ok(found);
    }
    let kept: Vec<String> = revisions.iter().map(|revision| revision.spec.generation.to_string()).collect();
    bail!("generation {generation} is not kept; there are {}", if kept.is_empty() { "none".to_owned() } else { kept.join(", ") })
}

fn said(revision: &BlueprintRevision) -> anyhow::Result<Value> {
    serde_json::from_str(&revision.spec.payload).with_context(|| format!("read generation {}", revision.spec.generation))
}

fn seen(revision: &BlueprintRevision) -> String {
    revision.creation_timestamp().map_or_else(String::new, |time| time.0.to_string())
}

fn summary(changes: &[Change]) -> String {
    if changes.is_empty() {
        return dim("nothing");
    }
    let named = |change: &Change| match change.effect {
        Effect::More => warn(&format!("{} (Assent may more)", change.path)),
        Effect::Less => good(&format!("{} (Assent may less)", change.path)),
        Effect::Other => plain(&change.path),
    };
    let more = if changes.len() > 3 { format!(", and {} more", changes.len() - 3) } else { String::new() };
    format!("{}{more}", changes.iter().take(3).map(named).collect::<Vec<_>>().join(", "))
}
