//! `pause` and `resume`: one object that stops every apply. Reverts that are owed go on: a pause never leaves a change half
//! tried.

use anyhow::Context as _;
use assent_api::names::{PAUSE, SYSTEM_NAMESPACE};
use assent_api::resources::{Pause, PauseSpec};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};

use crate::connect::ConnectArgs;
use crate::describe::plain;
use crate::output::{good, warn};

/// Flags of `pause`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent pause --reason 'database migration until noon'
  kubectl assent resume")]
pub(crate) struct PauseArgs {
    /// For whoever finds it.
    #[arg(long, default_value = "paused by hand")]
    reason: String,
}

pub(crate) async fn pause(args: &PauseArgs, connect: &ConnectArgs) -> anyhow::Result<()> {
    let api = pauses(connect).await?;
    match api.create(&PostParams::default(), &Pause::new(PAUSE, PauseSpec { reason: args.reason.clone() })).await {
        Ok(_) => anstream::println!("{}: nothing is applied until `kubectl assent resume`", warn("paused")),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = api.get(PAUSE).await.context("read the pause")?;
            anstream::println!("{} already: {}", warn("paused"), plain(&there.spec.reason));
        }
        Err(error) => return Err(error).context("create the pause"),
    }
    Ok(())
}

pub(crate) async fn resume(connect: &ConnectArgs) -> anyhow::Result<()> {
    let api = pauses(connect).await?;
    match api.delete(PAUSE, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(error).context("delete the pause"),
    }
    let others = api.list(&ListParams::default()).await.context("list pauses")?.items;
    if others.is_empty() {
        anstream::println!("{}: no pause is in force", good("resumed"));
    }
    for other in others {
        anstream::println!("{}: Pause `{}` is still in force: {}", warn("paused"), other.name_any(), plain(&other.spec.reason));
    }
    Ok(())
}

async fn pauses(connect: &ConnectArgs) -> anyhow::Result<Api<Pause>> {
    Ok(Api::namespaced(connect.client().await?, SYSTEM_NAMESPACE))
}
