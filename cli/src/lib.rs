//! `kubectl assent`: installs Assent, and explains what it did and why. It recomputes rather than believes: hashes,
//! signatures and tallies are checked with the same pure functions that the processes use. It holds no rights of its own; it
//! acts as whoever runs it.

mod approve;
pub mod audit;
mod blueprint;
mod breaker;
pub mod bundle;
pub mod calibrate;
pub mod check;
mod connect;
pub mod crds;
mod describe;
mod diagnose;
mod explain;
mod import;
mod incidents;
pub mod init;
mod ledger;
mod mesh;
mod output;
mod pause;
mod policy;
mod propose;
pub mod record;
mod trust;
pub mod verify;

use std::process::ExitCode;

use assent_api::resources::Verdict;
use clap::{Parser, Subcommand};

/// Assent: an SRE that may touch a cluster only with proof
#[derive(Clone, Debug, Parser)]
#[command(name = "kubectl-assent", bin_name = "kubectl assent", version, propagate_version = true)]
#[command(after_help = "\
A first hour:
  kubectl assent init assent                  write an overlay, then apply it in its two stages
  kubectl assent check                        is the installation what the threat model counts on?
  kubectl assent mesh check -A                which pods are meshed, which only should be?
  kubectl assent blueprint init NAME -n NS    a safe first Blueprint for a workload
  kubectl assent incidents                    what happened
  kubectl assent audit UID                    the story of one incident, step by step
  kubectl assent diagnose UID                 the cause, how sure, who disagrees, what is missing
  kubectl assent explain UID                  why its attempts were refused or let through, value by value
  kubectl assent verify UID                   prove its decision again, believing nobody
  kubectl assent approvals                    what waits for people
  kubectl assent pause --reason WHY           stop every apply, now")]
pub struct Args {
    /// Cluster.
    #[command(flatten)]
    connect: connect::ConnectArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Write a kustomize overlay that installs Assent
    Init(init::InitArgs),
    /// Check that the installation is what the threat model counts on
    Check(check::CheckArgs),
    /// List incidents
    Incidents(incidents::IncidentsArgs),
    /// Tell the story of one incident, and compare it with the API server's audit log
    Audit(audit::AuditArgs),
    /// Say what the cause of an incident is and how sure that is; or diagnose recorded data
    Diagnose(diagnose::DiagnoseArgs),
    /// Fit the tally to labelled cases, and show how well its confidence holds
    Calibrate(calibrate::CalibrateArgs),
    /// Prove one incident's decision again: hashes, signatures, tally, plan
    Verify(verify::VerifyArgs),
    /// See whether the ledger is the one that plans speak of; go on after it was lost
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// See which pods are meshed, and upgrade their sidecars in place
    #[command(subcommand)]
    Mesh(mesh::MeshCommand),
    /// Replace the mesh's trust root while everything runs
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    /// Stop every apply; owed reverts go on
    Pause(pause::PauseArgs),
    /// Lift the pause
    Resume,
    /// List what waits for people's approval
    Approvals(approve::ApprovalsArgs),
    /// Agree to what Assent asks, with your own credentials
    Approve(approve::AnswerArgs),
    /// Refuse what Assent asks; one refusal suffices
    Deny(approve::AnswerArgs),
    /// Propose any operation: it is classified, answered and put on record, and never carried out
    Propose(propose::ProposeArgs),
    /// Lift a circuit breaker, or say how far an action may go alone
    #[command(subcommand)]
    Breaker(breaker::BreakerCommand),
    /// Test, lint, expand and export guardrails at a desk
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Check, draft and try Blueprints at a desk
    #[command(subcommand)]
    Blueprint(blueprint::BlueprintCommand),
    /// Make Blueprints of other tools' files, and say where each field went
    Import(import::ImportArgs),
    /// Explain a rule that refused something, or every verdict on an incident
    Explain(explain::ExplainArgs),
    /// Print the custom resource definitions
    Crds,
    /// Print the version
    Version,
}

/// Does what the arguments say. The code is 0 when all is well and 1 when a check found something.
///
/// # Errors
/// When the command could not be carried out.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let connect = &args.connect;
    let done = |()| ExitCode::SUCCESS;
    match &args.command {
        Command::Init(args) => init::run(args).map(done),
        Command::Check(args) => check::run(args, connect).await,
        Command::Incidents(args) => incidents::run(args, connect).await.map(done),
        Command::Audit(args) => audit::run(args, connect).await,
        Command::Diagnose(args) => diagnose::run(args, connect).await.map(done),
        Command::Calibrate(args) => calibrate::run(args).map(done),
        Command::Verify(args) => verify::run(args, connect).await,
        Command::Ledger(command) => ledger::run(command, connect).await,
        Command::Mesh(command) => mesh::run(command, connect).await,
        Command::Trust(command) => trust::run(command, connect).await,
        Command::Pause(args) => pause::pause(args, connect).await.map(done),
        Command::Resume => pause::resume(connect).await.map(done),
        Command::Approvals(args) => approve::list(args, connect).await.map(done),
        Command::Approve(args) => approve::answer(args, Verdict::Approve, connect).await.map(done),
        Command::Deny(args) => approve::answer(args, Verdict::Deny, connect).await.map(done),
        Command::Propose(args) => propose::run(args, connect).await,
        Command::Breaker(command) => breaker::run(command, connect).await.map(done),
        Command::Policy(command) => policy::run(command, connect).await,
        Command::Blueprint(command) => blueprint::run(command, connect).await,
        Command::Import(args) => import::run(args),
        Command::Explain(args) => explain::run(args, connect).await,
        Command::Crds => crds::print().map(done),
        Command::Version => {
            anstream::println!("kubectl-assent {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    }
}
