//! `blueprint init`: reads one workload and what stands beside it, and prints a first Blueprint. It writes nothing.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use assent_api::resources::Blueprint;
use assent_core::workload::Kind;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

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
  kubectl assent blueprint init statefulset/queue -n shop
  kubectl assent blueprint init orders -n shop --mode approve --approver sre | kubectl apply -f -
  kubectl assent blueprint init -f deployment.yaml

It goes no further down than what runs and no further up than twice that, and only looks unless --mode says otherwise.")]
pub(crate) struct InitArgs {
    /// The workload: a Deployment's name, or KIND/NAME (deployment, statefulset, daemonset).
    #[arg(required_unless_present = "file", value_name = "[KIND/]NAME")]
    workload: Option<String>,
    /// Its namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Read the workload from a file; no cluster is asked.
    #[arg(short, long, value_name = "FILE", conflicts_with = "workload")]
    file: Option<PathBuf>,
    /// How far Assent may go.
    #[arg(long, value_enum, default_value_t)]
    mode: ModeName,
    /// A group, or `user:NAME`, that may approve; may be given more than once.
    #[arg(long = "approver", value_name = "WHO")]
    approvers: Vec<String>,
}

pub(super) async fn run(args: &InitArgs, connect: &ConnectArgs) -> anyhow::Result<()> {
    let (workload, autoscalers) = match (&args.file, &args.workload) {
        (Some(file), _) => {
            let mut objects = documents(file, MAX_FILE)?.into_iter().map(|(_, object)| object);
            let found = objects.find(|object| Kind::of_object(object).is_ok());
            (found.with_context(|| format!("there is no {} in {}", Kind::NAMES.join(" or "), file.display()))?, Vec::new())
        }
        (None, Some(name)) => from_cluster(name, &args.namespace, connect).await?,
        (None, None) => bail!("name a workload, or a file with -f"),
    };
    let wishes = Wishes { mode: args.mode.as_str(), approvers: &args.approvers, namespace: &args.namespace };
    let (object, said) = draft(&workload, &autoscalers, &wishes)?;
    let reading = assent_core::blueprint::read(object.get("spec").unwrap_or(&Value::Null));
    anstream::print!("{}", yaml(&object)?);
    for words in said {
        anstream::eprintln!("{}: {words}", warn("note"));
    }
    anstream::eprint!("{}", report(&reading.problems, &reading.notes));
    ensure!(reading.problems.is_empty(), "the gate would refuse this");
    Ok(())
}

async fn from_cluster(named: &str, namespace: &str, connect: &ConnectArgs) -> anyhow::Result<(Value, Vec<Value>)> {
    let (kind, name) = kind_and_name(named)?;
    let client = connect.client().await?;
    let workload = workload(&client, kind, namespace, name).await?;
    let all = Api::<Blueprint>::namespaced(client.clone(), namespace).list(&ListParams::default()).await.context("list Blueprints")?;
    let there = all.iter().find(|blueprint| blueprint.spec.speaks_of(kind.name(), name));
    ensure!(there.is_none(), "Blueprint `{}` speaks of it already", there.map(ResourceExt::name_any).unwrap_or_default());
    let autoscalers = Api::<HorizontalPodAutoscaler>::namespaced(client, namespace).list(&ListParams::default()).await.context("list autoscalers")?;
    let autoscalers = autoscalers.iter().map(serde_json::to_value).collect::<Result<_, _>>().context("read the autoscalers")?;
    Ok((workload, autoscalers))
}

/// As kubectl takes them: `NAME`, or `KIND/NAME` with the kind in any case, singular or plural.
fn kind_and_name(named: &str) -> anyhow::Result<(Kind, &str)> {
    let Some((kind, name)) = named.split_once('/') else { return Ok((Kind::Deployment, named)) };
    let lower = kind.to_lowercase();
    let found = Kind::ALL.into_iter().find(|known| lower == known.resource() || lower == known.name().to_lowercase());
    found.map(|kind| (kind, name)).with_context(|| format!("`{kind}` is not modelled; one of {}", Kind::NAMES.join(", ")))
}

/// A workload as the API server has it.
pub(super) async fn workload(client: &Client, kind: Kind, namespace: &str, name: &str) -> anyhow::Result<Value> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apps", "v1", kind.name()), kind.resource());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let found = api.get(name).await.with_context(|| format!("read {kind} {namespace}/{name}"))?;
    serde_json::to_value(found).with_context(|| format!("read {kind} {namespace}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_named_as_kubectl_takes_it() {
        for (named, expected) in [
            ("orders", (Kind::Deployment, "orders")),
            ("deployment/orders", (Kind::Deployment, "orders")),
            ("StatefulSet/queue", (Kind::StatefulSet, "queue")),
            ("daemonsets/agent", (Kind::DaemonSet, "agent")),
        ] {
            assert_eq!(kind_and_name(named).unwrap(), expected, "{named}");
        }
        assert!(kind_and_name("pod/x").unwrap_err().to_string().contains("Deployment, StatefulSet, DaemonSet"));
    }
}
