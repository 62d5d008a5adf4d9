//! Assent and the shop on a real cluster, as a user would install them: `init`, `kubectl apply -k`, wait. Every object gets the
//! demo's label.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use assent_api::names::SYSTEM_NAMESPACE;
use assent_cli::init::{self, InitArgs, Settings};
use assent_cluster::Access;
use serde_json::{Value, json};

use crate::images::root;
use crate::place::{MARK, Place};

/// The namespace of the shop.
pub const SHOP: &str = "shop";
/// Longest time for any part to come up.
const PATIENCE: &str = "--timeout=180s";

/// Says what is going on, one line at a time.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Writes the overlay for `place`, below its directory.
///
/// # Errors
/// If it cannot be written.
pub fn overlay(place: &Place) -> anyhow::Result<PathBuf> {
    let folder = place.dir().join("overlay");
    let source = place.source();
    let settings = Settings {
        tag: source.tag().to_owned(),
        registry: source.registry,
        api_server: vec![],
        ledger_size: "1Gi".into(),
        sidecar_digest: None,
        ephemeral_ledger: true,
        keep_configuration: true,
        kubelet_insecure: source.kubelet_insecure,
        slack_channel: None,
        sources: init::Sources::default(),
    };
    init::write(&InitArgs { directory: folder.clone(), force: folder.exists(), settings })?;
    patch_for_demo(&folder)?;
    Ok(folder)
}

/// Installs Assent: the gate first, our objects when it judges.
///
/// # Errors
/// If a step fails or takes longer than three minutes.
pub async fn assent(place: &Place, progress: Progress<'_>) -> anyhow::Result<()> {
    assent_with(place, &[], progress).await
}

/// As [`assent`], with an identity service that has these variables set.
///
/// # Errors
/// As [`assent`].
pub async fn assent_with(place: &Place, identity: &[(&str, String)], progress: Progress<'_>) -> anyhow::Result<()> {
    let folder = overlay(place)?;
    if !identity.is_empty() {
        let variables: Vec<Value> = identity.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        edit(&folder.join("gate/kustomization.yaml"), |kustomization| add_variables(kustomization, "assent-identity", "identity", &variables))?;
    }
    let folder = folder.display().to_string();
    progress("kubectl apply -k overlay/gate");
    apply(place, &format!("{folder}/gate")).await?;
    progress("waiting for the identity service and the gate");
    for name in ["assent-identity", "assent-gate"] {
        place.kubectl(&["-n", SYSTEM_NAMESPACE, "rollout", "status", &format!("deployment/{name}"), PATIENCE]).await?;
    }
    progress("kubectl apply -k overlay");
    apply(place, &folder).await?;
    progress("waiting for discovery, injector, seats, director, executor and scanner");
    place.kubectl(&["-n", SYSTEM_NAMESPACE, "wait", "deployment", "--all", "--for=condition=Available", PATIENCE]).await?;
    Ok(())
}

/// Custom resource definitions, the gate's Service and its certificate take a moment to be in force after they are applied,
/// so the first apply of what rests on them may be refused.
async fn apply(access: &Access, folder: &str) -> anyhow::Result<()> {
    patiently(access, &["apply", "--server-side", "--force-conflicts", "-k", folder]).await
}

/// Runs kubectl until it succeeds, for a minute.
pub(crate) async fn patiently(access: &Access, arguments: &[&str]) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        match access.kubectl(arguments).await {
            Ok(_) => return Ok(()),
            Err(error) if started.elapsed() > Duration::from_secs(60) => return Err(error.into()),
            // Nothing announces that an API server has taken up a definition, a policy or a webhook; it is asked again.
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// The demo wants its label on everything and a short soak time.
fn patch_for_demo(folder: &Path) -> anyhow::Result<()> {
    edit(&folder.join("gate/kustomization.yaml"), |_| Ok(()))?;
    edit(&folder.join("kustomization.yaml"), |kustomization| {
        add_variables(kustomization, "assent-executor", "executor", &[json!({"name": "ASSENT_SOAK_SECONDS", "value": "15"})])
    })
}

fn add_variables(kustomization: &mut Value, deployment: &str, container: &str, variables: &[Value]) -> anyhow::Result<()> {
    let patch = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": deployment, "namespace": SYSTEM_NAMESPACE},
        "spec": {"template": {"spec": {"containers": [{"name": container, "env": variables}]}}}
    });
    kustomization["patches"].as_array_mut().context("the overlay has no patches")?.push(json!({"patch": patch.to_string()}));
    Ok(())
}

/// Changes a kustomization, which gets the label too.
fn edit(path: &Path, change: impl FnOnce(&mut Value) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut kustomization: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(path)?)?;
    kustomization["labels"] = json!([{"pairs": {MARK.0: MARK.1}}]);
    change(&mut kustomization)?;
    std::fs::write(path, serde_yaml_ng::to_string(&kustomization)?)?;
    Ok(())
}

/// Deploys the shop with its Blueprints and waits until customers are served.
///
/// # Errors
/// If it does not come up, or a pod of it came up without its sidecar.
pub async fn shop(place: &Place, progress: Progress<'_>) -> anyhow::Result<()> {
    progress("kubectl apply -k shop");
    shop_namespace(place).await?;
    trust_published(place).await?;
    let folder = place.dir().join("shop");
    patiently(place, &["apply", "-k", &folder.display().to_string()]).await?;
    progress("waiting for storefront, orders, PostgreSQL and Redis");
    for workload in ["statefulset/postgres", "deployment/redis", "deployment/orders", "deployment/storefront", "deployment/load"] {
        place.kubectl(&["-n", SHOP, "rollout", "status", workload, PATIENCE]).await?;
    }
    let sidecars =
        place.kubectl(&["-n", SHOP, "get", "pods", "-o", "jsonpath={range .items[*]}{.metadata.name} {.spec.initContainers[*].name}{\"\\n\"}{end}"]).await?;
    if let Some(bare) = sidecars.lines().find(|line| !line.contains("assent-sidecar")) {
        bail!("a pod of the shop has no sidecar: {bare}");
    }
    Ok(())
}

/// Writes the shop's overlay and makes its namespace.
///
/// # Errors
/// If the overlay cannot be written or the namespace is refused.
pub async fn shop_namespace(place: &Place) -> anyhow::Result<()> {
    let (manifests, folder) = (root().join("shop/manifests"), place.dir().join("shop"));
    let mut resources = Vec::new();
    std::fs::create_dir_all(folder.join("namespace"))?;
    for entry in std::fs::read_dir(&manifests).with_context(|| format!("list `{}`", manifests.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let at = if name == "namespace.yaml" { folder.join("namespace") } else { folder.clone() };
        std::fs::copy(manifests.join(&name), at.join(&name)).with_context(|| format!("copy {name}"))?;
        resources.push(if name == "namespace.yaml" { "namespace".to_owned() } else { name });
    }
    let source = place.source();
    let images = ["localhost/assent-shop:v1", "localhost/assent-postgres:15", "localhost/assent-redis:7"].map(|built| {
        let (name, reference) = (built.rsplit_once(':').map_or(built, |(name, _)| name), source.reference(built));
        let (new, tag) = reference.rsplit_once(':').unwrap_or((&reference, ""));
        json!({"name": name, "newName": new, "newTag": tag})
    });
    for (path, kustomization) in
        [("namespace/kustomization.yaml", json!({"resources": ["namespace.yaml"]})), ("kustomization.yaml", json!({"resources": resources, "images": images}))]
    {
        let path = folder.join(path);
        std::fs::write(&path, kustomization.to_string())?;
        edit(&path, |_| Ok(()))?;
    }
    patiently(place, &["apply", "-k", &folder.join("namespace").display().to_string()]).await
}

/// A pod that starts before its namespace's trust bundle is there starts unmeshed.
async fn trust_published(place: &Place) -> anyhow::Result<()> {
    for _ in 0..120 {
        if place.kubectl(&["-n", SHOP, "get", "configmap", "assent-trust"]).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    bail!("the trust bundle was never published to namespace {SHOP}")
}
