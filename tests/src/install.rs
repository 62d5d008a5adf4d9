//! Assent and the shop on a whole real node, as a user would install them: `init`, `kubectl apply -k`, wait.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use assent_api::names::SYSTEM_NAMESPACE;
use assent_cli::init::{self, InitArgs, Settings};
use assent_cluster::{Image, Node};

use crate::images::{TAG, root};

/// The namespace of the shop.
pub const SHOP: &str = "shop";
/// Longest time for any part to come up.
const PATIENCE: &str = "--timeout=180s";

/// Says what is going on, one line at a time.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Loads the images into the node.
///
/// # Errors
/// If an import fails.
pub async fn load(node: &Node, images: &[Image], progress: Progress<'_>) -> anyhow::Result<()> {
    for image in images {
        progress(&format!("loading {}", image.name()));
        node.load(image).await?;
    }
    Ok(())
}

/// Installs Assent: the gate first, our objects when it judges.
///
/// # Errors
/// If a step fails or takes longer than three minutes.
pub async fn assent(node: &Node, progress: Progress<'_>) -> anyhow::Result<()> {
    let folder = node.dir().join("overlay");
    let settings = Settings {
        registry: "localhost".into(),
        tag: TAG.into(),
        api_server: vec![],
        ledger_size: "1Gi".into(),
        ephemeral_ledger: true,
        kubelet_insecure: false,
    };
    init::write(&InitArgs { directory: folder.clone(), force: folder.exists(), settings })?;
    patch_for_demo(&folder)?;
    let folder = folder.display().to_string();
    progress("kubectl apply -k overlay/gate");
    apply_twice(node, &format!("{folder}/gate")).await?;
    progress("waiting for the identity service and the gate");
    for name in ["assent-identity", "assent-gate"] {
        node.kubectl(&["-n", SYSTEM_NAMESPACE, "rollout", "status", &format!("deployment/{name}"), PATIENCE]).await?;
    }
    progress("kubectl apply -k overlay");
    apply_twice(node, &folder).await?;
    progress("waiting for discovery, injector, seats, director and executor");
    node.kubectl(&["-n", SYSTEM_NAMESPACE, "wait", "deployment", "--all", "--for=condition=Available", PATIENCE]).await?;
    Ok(())
}

/// Custom resource definitions, the gate's Service and its certificate take a moment to be in force after they are applied,
/// so the first apply of what rests on them may be refused.
async fn apply_twice(node: &Node, folder: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        match node.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", folder]).await {
            Ok(_) => return Ok(()),
            Err(error) if started.elapsed() > Duration::from_secs(60) => return Err(error).with_context(|| format!("apply {folder}")),
            // Nothing announces that an API server has taken up a definition or a webhook; it is asked again.
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// The demo wants short soak times and a kubelet whose certificate the cluster's CA signed.
fn patch_for_demo(folder: &std::path::Path) -> anyhow::Result<()> {
    let path = folder.join("kustomization.yaml");
    let text = std::fs::read_to_string(&path)?;
    let mut kustomization: serde_json::Value = serde_yaml_ng::from_str(&text)?;
    let environment = |deployment: &str, container: &str, variables: &[(&str, &str)]| {
        let variables: Vec<_> = variables.iter().map(|(name, value)| serde_json::json!({"name": name, "value": value})).collect();
        let patch = serde_json::json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": deployment, "namespace": SYSTEM_NAMESPACE},
            "spec": {"template": {"spec": {"containers": [{"name": container, "env": variables}]}}}
        });
        serde_json::json!({"patch": patch.to_string()})
    };
    let patches = kustomization["patches"].as_array_mut().context("the overlay has no patches")?;
    patches.push(environment("assent-executor", "executor", &[("ASSENT_SOAK_SECONDS", "15")]));
    patches.push(environment("assent-seat-compute", "seat", &[("ASSENT_KUBELET_CA_FILE", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")]));
    std::fs::write(&path, serde_yaml_ng::to_string(&kustomization)?)?;
    Ok(())
}

/// Deploys the shop with its Blueprints and waits until customers are served.
///
/// # Errors
/// If it does not come up, or a pod of it came up without its sidecar.
pub async fn shop(node: &Node, progress: Progress<'_>) -> anyhow::Result<()> {
    let manifests = root().join("shop/manifests").display().to_string();
    progress("kubectl apply -f shop/manifests");
    node.kubectl(&["apply", "-f", &format!("{manifests}/namespace.yaml")]).await?;
    trust_published(node).await?;
    node.kubectl(&["apply", "-f", &manifests]).await?;
    progress("waiting for storefront, orders, PostgreSQL and Redis");
    for workload in ["statefulset/postgres", "deployment/redis", "deployment/orders", "deployment/storefront", "deployment/load"] {
        node.kubectl(&["-n", SHOP, "rollout", "status", workload, PATIENCE]).await?;
    }
    let sidecars =
        node.kubectl(&["-n", SHOP, "get", "pods", "-o", "jsonpath={range .items[*]}{.metadata.name} {.spec.initContainers[*].name}{\"\\n\"}{end}"]).await?;
    if let Some(bare) = sidecars.lines().find(|line| !line.contains("assent-sidecar")) {
        bail!("a pod of the shop has no sidecar: {bare}");
    }
    Ok(())
}

/// A pod that starts before its namespace's trust bundle is there starts unmeshed.
async fn trust_published(node: &Node) -> anyhow::Result<()> {
    for _ in 0..120 {
        if node.kubectl(&["-n", SHOP, "get", "configmap", "assent-trust"]).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    bail!("the trust bundle was never published to namespace {SHOP}")
}
