//! `mesh`: which pods are meshed and which only should be, and a new sidecar for living pods without a rollout. Both act with
//! the rights of whoever runs them, and judge pods by the same functions as the injector.

mod check;
mod look;
mod prepull;
mod upgrade;

use std::process::ExitCode;

use anyhow::Context as _;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::connect::ConnectArgs;

/// The native policy that names the images which may call themselves our sidecar, the installed one first.
const POLICY: &str = "assent-sidecar-image";
/// The namespaces in question.
const LABEL: &str = "assent.dev/inject=enabled";

/// What to do with the mesh.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum MeshCommand {
    /// List pods that should be meshed and are not, and sidecars that need something
    Check(check::CheckArgs),
    /// Give living pods the installed sidecar, without restarting their applications
    Upgrade(upgrade::UpgradeArgs),
}

/// Where to look.
#[derive(Clone, Debug, clap::Args)]
struct ScopeArgs {
    /// This namespace; without it, the context's.
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Every namespace that is labelled for injection.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

pub(crate) async fn run(command: &MeshCommand, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    match command {
        MeshCommand::Check(args) => check::run(args, connect).await,
        MeshCommand::Upgrade(args) => upgrade::run(args, connect).await,
    }
}

// === impl ScopeArgs ===

impl ScopeArgs {
    async fn namespaces(&self, client: &Client) -> anyhow::Result<Vec<Namespace>> {
        let api = Api::<Namespace>::all(client.clone());
        if self.all_namespaces {
            return Ok(api.list(&ListParams::default().labels(LABEL)).await.context("list labelled namespaces")?.items);
        }
        let name = self.namespace.as_deref().unwrap_or_else(|| client.default_namespace());
        let namespace = api.get(name).await.with_context(|| format!("read namespace `{name}`"))?;
        Ok(vec![namespace])
    }
}

fn is_labelled(namespace: &Namespace) -> bool {
    namespace.labels().get(assent_api::names::INJECT_LABEL).is_some_and(|value| value == "enabled")
}

/// The images that may call themselves our sidecar, the installed one first.
async fn images(client: &Client) -> anyhow::Result<Vec<String>> {
    let policy = Api::<ValidatingAdmissionPolicy>::all(client.clone()).get(POLICY).await;
    let policy = policy.with_context(|| format!("read the native policy `{POLICY}`, which names the installed sidecar"))?;
    let variables = policy.spec.and_then(|spec| spec.variables).unwrap_or_default();
    let expression = variables.into_iter().find(|variable| variable.name == "images").map(|variable| variable.expression);
    // A CEL list of strings is a JSON one.
    let images: Vec<String> = serde_json::from_str(&expression.unwrap_or_default()).with_context(|| format!("read the images in `{POLICY}`"))?;
    anyhow::ensure!(!images.is_empty(), "`{POLICY}` names no image");
    Ok(images)
}
