//! `trust`: replaces the mesh's trust root while everything runs. Each step is asked of the identity service by an annotation,
//! with the rights of whoever runs this; the identity service takes it or says why not. What the Roster pins is changed here,
//! because no part of Assent may.

mod next;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use assent_api::names::{ROSTER, SYSTEM_NAMESPACE, TRUST_CONFIG_MAP, TRUST_KEY};
use assent_api::resources::Roster;
use assent_core::ids::UnixMillis;
use assent_runtime::workload::Roots;
use assent_runtime::workload::rotation::{COMMAND, Command, Outcome, Root, STATUS, Status, Step, fingerprint};
use clap::Subcommand;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::connect::ConnectArgs;
use crate::describe::{plain, time};
use crate::output::{Format, bold, good, table, warn};

/// How long the identity service has to answer.
const ANSWER: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "\
A rotation:
  kubectl assent trust begin              a new root, trusted beside the old one
  kubectl assent trust pin --apply        votes under both count
  kubectl assent trust issue              after two minutes: certificates come from the new one
  kubectl assent trust drop               after a day: the old one is trusted no more
  kubectl assent trust pin --apply        nor in votes
  kubectl assent trust status             at any time: how things stand, and what is next")]
pub(crate) enum TrustCommand {
    /// Show the roots, who issues, until when the old one is in use, and what is next
    Status(StatusArgs),
    /// Make a new root and issuer, and let everybody trust both roots
    Begin,
    /// Let the Roster pin the roots that are trusted now
    Pin(PinArgs),
    /// Let certificates come from the other root; doing it again takes it back
    Issue,
    /// Trust the root no more that does not issue
    Drop(DropArgs),
}

/// Flags of `trust status`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Flags of `trust pin`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PinArgs {
    /// Patch the Roster; without it the patch is printed.
    #[arg(long)]
    apply: bool,
}

/// Flags of `trust drop`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Without --compromised this is refused while a certificate under the root may be valid. With it, whoever has such a certificate is
cut off until it is renewed, which every workload does at once, and sidecars end the connections that were made under it.")]
pub(crate) struct DropArgs {
    /// Drop it although it is in use, because its issuer's key is in wrong hands.
    #[arg(long, value_name = "REASON")]
    compromised: Option<String>,
}

/// How things stand.
struct Standing {
    status: Status,
    /// Roots in PEM as the identity service publishes them.
    bundle: String,
    /// Fingerprints of the roots that the Roster pins; nothing if there is no Roster.
    pinned: Option<Vec<String>>,
    /// Version of the Roster that was read.
    roster: Option<String>,
}

pub(crate) async fn run(command: &TrustCommand, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let client = connect.client().await?;
    match command {
        TrustCommand::Status(args) => Standing::read(&client).await?.print(args.output)?,
        TrustCommand::Begin => ask(&client, Step::Begin).await?,
        TrustCommand::Pin(args) => pin(args, &client).await?,
        TrustCommand::Issue => {
            let standing = Standing::read(&client).await?;
            let other = standing.other()?;
            ensure!(
                standing.pins(other),
                "the Roster does not pin the root `{}`: votes under it would not count; first `kubectl assent trust pin --apply`",
                short(other)
            );
            ask(&client, Step::Issue).await?;
        }
        TrustCommand::Drop(args) => {
            let root = Standing::read(&client).await?.other()?.fingerprint.clone();
            ask(&client, Step::Drop { root, compromised: args.compromised.clone() }).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for a step, waits for what becomes of it, and shows how things stand then.
async fn ask(client: &Client, step: Step) -> anyhow::Result<()> {
    let id = Timestamp::now().to_string();
    let command = json!(Command { id: id.clone(), step }).to_string();
    let patch = json!({"metadata": {"annotations": {COMMAND: command}}});
    let copies = Api::<ConfigMap>::namespaced(client.clone(), SYSTEM_NAMESPACE);
    copies.patch(TRUST_CONFIG_MAP, &PatchParams::default(), &Patch::Merge(&patch)).await.context("ask for the step")?;
    let answered = async {
        loop {
            let standing = Standing::read(client).await?;
            match standing.status.outcome.clone() {
                Some(outcome) if outcome.id == id => return anyhow::Ok((standing, outcome)),
                _ => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    };
    let answered = tokio::time::timeout(ANSWER, answered).await;
    let (standing, Outcome { refused, .. }) = answered.context("the identity service has not answered; see its log and `kubectl assent trust status`")??;
    if let Some(why) = refused {
        bail!("refused: {}", plain(&why));
    }
    anstream::println!("{}", good("done"));
    standing.print(Format::Table)
}

async fn pin(args: &PinArgs, client: &Client) -> anyhow::Result<()> {
    let standing = Standing::read(client).await?;
    let trusted: Vec<_> = standing.status.trusted().map(|root| &root.fingerprint).collect();
    // What the bundle says now may be somebody else's edit, about to be repaired.
    let published = fingerprints(&standing.bundle)?;
    ensure!(
        trusted.iter().all(|root| published.contains(root)) && published.len() == trusted.len(),
        "the published bundle is not what the identity service trusts; try again"
    );
    let mut patch = json!({"spec": {"trustRoots": standing.bundle}});
    if !args.apply {
        anstream::println!("{}\n\nkubectl patch roster {ROSTER} --type merge --patch '{patch}'", bold("with --apply, or by hand:"));
        return Ok(());
    }
    // Whatever was changed meanwhile must not be lost.
    patch["metadata"] = json!({"resourceVersion": standing.roster.context("there is no Roster")?});
    Api::<Roster>::all(client.clone()).patch(ROSTER, &PatchParams::default(), &Patch::Merge(&patch)).await.context("patch the Roster")?;
    anstream::println!("{}: write the same `trustRoots` into your overlay's roster.yaml", good("pinned"));
    Standing::read(client).await?.print(Format::Table)
}

fn fingerprints(pem: &str) -> anyhow::Result<Vec<String>> {
    Ok(Roots::parse(pem.as_bytes()).context("read roots")?.certificates().iter().map(fingerprint).collect())
}

fn short(root: &Root) -> String {
    root.fingerprint.chars().take(16).collect()
}

fn moment(seconds: u64) -> String {
    time(UnixMillis(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)))
}

// === impl Standing ===

impl Standing {
    async fn read(client: &Client) -> anyhow::Result<Self> {
        let copy = Api::<ConfigMap>::namespaced(client.clone(), SYSTEM_NAMESPACE).get(TRUST_CONFIG_MAP).await.context("read the trust bundle")?;
        let status = copy.annotations().get(STATUS).context("the identity service has not said how things stand: does it run, in this version?")?;
        let status = serde_json::from_str(status).context("read the rotation's status")?;
        let bundle = copy.data.as_ref().and_then(|data| data.get(TRUST_KEY)).cloned().unwrap_or_default();
        let roster = Api::<Roster>::all(client.clone()).get_opt(ROSTER).await.context("read the Roster")?;
        let pinned = roster.as_ref().map(|roster| fingerprints(&roster.spec.trust_roots)).transpose().context("read the Roster's roots")?;
        Ok(Self { status, bundle, pinned, roster: roster.and_then(|roster| roster.resource_version()) })
    }

    fn other(&self) -> anyhow::Result<&Root> {
        self.status.other.as_ref().context("no rotation is under way: only one root is trusted")
    }

    fn pins(&self, root: &Root) -> bool {
        self.pinned.as_ref().is_none_or(|pinned| pinned.contains(&root.fingerprint))
    }

    fn print(&self, format: Format) -> anyhow::Result<()> {
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let next = next::next(&self.status, self.pinned.as_deref(), now);
        if format == Format::Json {
            let answer = json!({"status": self.status, "pinned": self.pinned, "next": next.to_string()});
            anstream::println!("{}", serde_json::to_string_pretty(&answer)?);
            return Ok(());
        }
        let row = |root: &Root, issues: bool| {
            let used = match root.used_until {
                _ if issues => "while it issues".to_owned(),
                0 => "never yet".to_owned(),
                until if until <= now => "not any more".to_owned(),
                until => moment(until),
            };
            let pinned = if self.pins(root) { good("pinned") } else { warn("not pinned") };
            vec![short(root), if issues { "issues" } else { "trusted" }.to_owned(), used, moment(root.expires), pinned]
        };
        let rows: Vec<_> = std::iter::once(row(&self.status.issuing, true)).chain(self.status.other.iter().map(|root| row(root, false))).collect();
        anstream::print!("{}", table(&["ROOT", "", "IN USE UNTIL", "EXPIRES", "ROSTER"], &rows));
        if let Some(Outcome { refused: Some(why), at, .. }) = &self.status.outcome {
            anstream::println!("{} at {}: {}", warn("last step refused"), moment(*at), plain(why));
        }
        anstream::println!("{} {next}", bold("next:"));
        Ok(())
    }
}
