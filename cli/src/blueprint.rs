//! `blueprint`: Blueprints at a desk. What stands in files is read by the same function that the gate uses.

mod check;
mod chosen;
mod classify;
mod diff;
mod draft;
mod history;
mod init;
mod past;
mod trial;

use std::process::ExitCode;

use anyhow::Context as _;
use assent_core::blueprint::Problem;
use clap::Subcommand;
use serde_json::Value;

use crate::connect::ConnectArgs;
use crate::describe::plain;
use crate::output::{bad, table, warn};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum BlueprintCommand {
    /// Say everything that is wrong with Blueprints and ClusterBlueprints, as the gate would
    Check(check::CheckArgs),
    /// Write a safe first Blueprint for a Deployment, from what runs
    Init(init::InitArgs),
    /// Say how freely an operation may be done under a Blueprint, why, and what could be done instead
    Classify(classify::ClassifyArgs),
    /// Say what another version changes, and whether it lets Assent do more or less
    Diff(diff::DiffArgs),
    /// Show what a Blueprint would have decided about the load of the last hours
    Test(trial::TestArgs),
    /// Show what a Blueprint said before, and what each generation changed
    History(history::HistoryArgs),
    /// Go back to what a Blueprint said before
    Rollback(history::RollbackArgs),
}

pub(crate) async fn run(command: &BlueprintCommand, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    match command {
        BlueprintCommand::Check(args) => check::run(args),
        BlueprintCommand::Init(args) => init::run(args, connect).await.map(|()| ExitCode::SUCCESS),
        BlueprintCommand::Classify(args) => classify::run(args),
        BlueprintCommand::Diff(args) => diff::run(args, connect).await,
        BlueprintCommand::Test(args) => trial::run(args, connect).await,
        BlueprintCommand::History(args) => history::history(args, connect).await.map(|()| ExitCode::SUCCESS),
        BlueprintCommand::Rollback(args) => history::rollback(args, connect).await.map(|()| ExitCode::SUCCESS),
    }
}

/// Problems and notes as a table; empty where there are none.
pub(crate) fn report(problems: &[Problem], notes: &[Problem]) -> String {
    if problems.is_empty() && notes.is_empty() {
        return String::new();
    }
    let row = |mark: String, problem: &Problem| vec![mark, plain(&problem.path), problem.value.clone(), plain(&problem.rule), plain(&problem.hint)];
    let rows = problems.iter().map(|problem| row(bad("error"), problem)).chain(notes.iter().map(|note| row(warn("note"), note)));
    table(&["", "PATH", "VALUE", "RULE", "HINT"], &rows.collect::<Vec<_>>())
}

pub(crate) fn yaml(object: &Value) -> anyhow::Result<String> {
    serde_yaml_ng::to_string(object).context("write as yaml")
}
