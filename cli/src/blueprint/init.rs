//! `blueprint init`: reads one Deployment and what stands beside it, and prints a first Blueprint. It writes nothing.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use assent_api::resources::Blueprint;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::draft::{Wishes, draft};
use super::{report, yaml};
use crate::connect::ConnectArgs;
use crate::import::ModeName;
use crate::output::warn;
use crate::policy::read::{MAX_FILE, documents};

/// Flags of `blueprint init`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent blueprint init orders -n shop > orders-blueprint.yaml
  kubectl assent blueprint init orders -n shop --mode approve --approver sre | kubectl apply -f -
  kubectl assent blueprint init -f deployment.yaml

It goes no further down than what runs and no further up than twice that, and only looks unless --mode says otherwise.")]
pub(crate) struct InitArgs {
    /// The Deployment.
    #[arg(required_unless_present = "file")]
    deployment: Option<String>,
    /// Its namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Read the Deployment from a file; no cluster is asked.
    #[arg(short, long, value_name = "FILE", conflicts_with = "deployment")]
    file: Option<PathBuf>,
    /// How far Assent may go.
    #[arg(long, value_enum, default_value_t)]
    mode: ModeName,
    /// A group, or `user:NAME`, that may approve; may be given more than once.
    #[arg(long = "approver", value_name = "WHO")]
    approvers: Vec<String>,
}

pub(super) async fn run(args: &InitArgs, connect: &ConnectArgs) -> anyhow::Result<()> {
    let (deployment, autoscalers) = match (&args.file, &args.deployment) {
        (Some(file), _) => {
            let mut objects = documents(file, MAX_FILE)?.into_iter().map(|(_, object)| object);
            let found = objects.find(|object| object.get("kind").and_then(Value::as_str) == Some("Deployment"));
            (found.with_context(|| format!("there is no Deployment in {}", file.display()))?, Vec::new())
        }
        (None, Some(name)) => from_cluster(name, &args.namespace, connect).await?,
        (None, None) => bail!("name a Deployment, or a file with -f"),
    };
    let wishes = Wishes { mode: args.mode.as_str(), approvers: &args.approvers, namespace: &args.namespace };
    let (object, said) = draft(&deployment, &autoscalers, &wishes)?;
    let reading = assent_core::blueprint::read(object.get("spec").unwrap_or(&Value::Null));
    anstream::print!("{}", yaml(&object)?);
    for words in said {
        anstream::eprintln!("{}: {words}", warn("note"));
    }
    anstream::eprint!("{}", report(&reading.problems, &reading.notes));
    ensure!(reading.problems.is_empty(), "the gate would refuse this");
    Ok(())
}

async fn from_cluster(name: &str, namespace: &str, connect: &ConnectArgs) -> anyhow::Result<(Value, Vec<Value>)> {
    let client = connect.client().await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = deployments.get(name).await.with_context(|| format!("read Deployment `{namespace}/{name}`"))?;
    let all = Api::<Blueprint>::namespaced(client.clone(), namespace).list(&ListParams::default()).await.context("list Blueprints")?;
    let there = all.iter().find(|blueprint| blueprint.spec.speaks_of("Deployment", name));
    ensure!(there.is_none(), "Blueprint `{}` speaks of it already", there.map(ResourceExt::name_any).unwrap_or_default());
    let autoscalers = Api::<HorizontalPodAutoscaler>::namespaced(client, namespace).list(&ListParams::default()).await.context("list autoscalers")?;
    let mut deployment = serde_json::to_value(deployment).context("read the Deployment")?;
    deployment["kind"] = json!("Deployment");
    let autoscalers = autoscalers.iter().map(serde_json::to_value).collect::<Result<_, _>>().context("read the autoscalers")?;
    Ok((deployment, autoscalers))
}
