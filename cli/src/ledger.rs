//! `ledger`: whether the director's ledger is the one that the admitted plans speak of, and, after it was lost, the checkpoint by
//! which a person lets another one go on. The proof is checked here; the director is not believed.

mod offer;

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use assent_api::names::{ROSTER, SYSTEM_NAMESPACE};
use assent_api::parse_plan;
use assent_api::resources::{CheckpointSpec, Remediation, Roster};
use assent_core::ids::UnixMillis;
use assent_core::ledger::{self, Checkpoint, Head, Position, Proof};
use clap::Subcommand;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;
use serde_json::json;

use crate::connect::ConnectArgs;
use crate::describe::time;
use crate::output::{Format, bad, good, warn};
use crate::record::{LedgerArgs, extension};
use offer::Offer;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Whether the ledger extends what the newest plan names
    Status(StatusArgs),
    /// After a lost ledger: vouch for the director's, so that plans can be admitted again
    Accept(AcceptArgs),
}

/// Flags of `ledger status`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent ledger status
  kubectl assent ledger status --ledger backup.ndjson     would this backup do?

The exit code is 1 when the ledger does not extend what the next plan must extend.")]
pub(crate) struct StatusArgs {
    /// The ledger.
    #[command(flatten)]
    ledger: LedgerArgs,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Flags of `ledger accept`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent ledger accept             show what would be given up, and print the patch of the Roster
  kubectl assent ledger accept --apply     the same, and apply it, with your own rights

A checkpoint holds until the first plan under it, and for the superseded head only. Find the old ledger's volume or a backup
first: what is given up is no longer provable from the ledger that goes on.")]
pub(crate) struct AcceptArgs {
    /// Patch the Roster.
    #[arg(long)]
    apply: bool,
}

/// What the cluster says that the ledger must be.
#[derive(Clone, Debug)]
struct Standing {
    plans: Vec<Named>,
    newest: Position,
    checkpoint: Option<Checkpoint>,
    /// What the next plan must extend.
    next: Position,
    /// Version of the Roster that was read.
    roster: Option<String>,
}

/// A plan, by what it says of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    plan: String,
    at: UnixMillis,
    position: Position,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// Where the ledger stood for the newest plan.
    newest: Position,
    /// What the next plan must extend.
    next: Position,
    /// The ledger's head.
    ledger: Head,
    extends: bool,
}

pub(crate) async fn run(command: &LedgerCommand, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let client = connect.client().await?;
    match command {
        LedgerCommand::Status(args) => status(args, &client).await,
        LedgerCommand::Accept(args) => accept(args, &client).await.map(|()| ExitCode::SUCCESS),
    }
}

// === impl Standing ===

impl Standing {
    async fn read(client: &Client) -> anyhow::Result<Self> {
        let plans = Api::<Remediation>::namespaced(client.clone(), SYSTEM_NAMESPACE).list(&ListParams::default()).await.context("list plans")?.items;
        let roster = Api::<Roster>::all(client.clone()).get_opt(ROSTER).await.context("read the Roster")?;
        let checkpoint = roster.as_ref().and_then(|roster| roster.spec.ledger.as_ref()).map(Checkpoint::try_from).transpose();
        let checkpoint = checkpoint.map_err(anyhow::Error::msg).context("read the Roster's checkpoint")?;
        let newest = assent_api::facts::newest_position(&plans);
        let named = |stored: &Remediation| {
            let at = assent_api::facts::created_at(stored)?;
            Some(Named { plan: stored.name_any(), at, position: parse_plan(stored).ok()?.ledger.position() })
        };
        let next = newest.next(checkpoint.as_ref());
        Ok(Self { plans: plans.iter().filter_map(named).collect(), newest, checkpoint, next, roster: roster.and_then(|roster| roster.resource_version()) })
    }

    fn newest_plan(&self) -> String {
        let named = self.plans.iter().find(|named| named.position == self.newest);
        named.map_or("no plan names a ledger yet".into(), |named| format!("named by plan {:.16}… of {}", named.plan, time(named.at)))
    }
}

async fn status(args: &StatusArgs, client: &Client) -> anyhow::Result<ExitCode> {
    let standing = Standing::read(client).await?;
    let since = standing.next.head.sequence;
    let (head, proof): (Head, Option<Proof>) = if args.ledger.ledger.is_some() {
        let (entries, _) = args.ledger.read(None).await?;
        let leaves = entries.iter().map(ledger::leaf).collect::<Result<Vec<_>, _>>().context("hash the entries")?;
        let head = ledger::verify(&entries).map_err(anyhow::Error::msg)?;
        let proof = ledger::prove(since, head.sequence, |subtree| ledger::of_leaves(&leaves, subtree));
        (head, proof)
    } else {
        extension(client, since).await?
    };
    let extends = proof.is_some_and(|proof| standing.next.head.extends_to(&head, &proof));
    match args.output {
        Format::Json => {
            let status = Status { newest: standing.newest, next: standing.next, ledger: head, extends };
            anstream::println!("{}", serde_json::to_string_pretty(&status).context("print as json")?);
        }
        Format::Table => print(&standing, &head, extends),
    }
    Ok(if extends { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(standing: &Standing, head: &Head, extends: bool) {
    anstream::println!("newest plan  {}: {}", describe(&standing.newest.head), standing.newest_plan());
    if let Some(checkpoint) = &standing.checkpoint {
        let holds = if standing.next == standing.newest { "used, or made for another moment: it means nothing" } else { "the next plan must extend it" };
        anstream::println!("checkpoint   {} in place of {}: {holds}", describe(&checkpoint.begins.head), describe(&checkpoint.supersedes));
    }
    anstream::println!("ledger       {}", describe(head));
    if extends {
        anstream::println!("{} the ledger extends what the next plan must extend", good("✓"));
    } else {
        anstream::println!("{} it is not the ledger that plans speak of, so none is admitted", bad("✗"));
        anstream::println!("  find the volume or a backup that is; if there is none: `kubectl assent ledger accept`");
    }
}

async fn accept(args: &AcceptArgs, client: &Client) -> anyhow::Result<()> {
    let standing = Standing::read(client).await?;
    let (entries, announced) = LedgerArgs::default().read(Some(client)).await?;
    let offer = Offer::make(&standing, &entries, announced.as_ref())?;
    for line in offer.lines(&standing) {
        anstream::println!("{line}");
    }
    let spec = CheckpointSpec::from(&offer.checkpoint);
    if !args.apply {
        let patch = serde_json::to_string(&json!({"spec": {"ledger": spec}})).context("write the patch")?;
        anstream::println!("\nkubectl patch rosters.assent.dev {ROSTER} --type merge --patch '{patch}'");
        return Ok(());
    }
    ensure!(standing.roster.is_some(), "there is no Roster `{ROSTER}`");
    // Only over the Roster that was looked at.
    let patch = json!({"metadata": {"resourceVersion": standing.roster}, "spec": {"ledger": spec}});
    Api::<Roster>::all(client.clone()).patch(ROSTER, &PatchParams::default(), &Patch::Merge(patch)).await.context("patch the Roster")?;
    anstream::println!("{}: the director decides again within seconds; `kubectl assent ledger status` tells", warn("accepted"));
    Ok(())
}

fn describe(head: &Head) -> String {
    if head.sequence == 0 { "entry 0 (empty)".into() } else { format!("entry {}, {:.16}…", head.sequence, head.hash.as_str()) }
}
