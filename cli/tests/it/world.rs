//! What the tests share: manifests by path, clients for other people, and waiting for a policy to take effect.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use assent_cluster::Cluster;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

/// Extra of the executor's user, as its key stands in audit log and admission.
const EXTRA: &str = "assent.dev/incident-uid";
/// An Incident-UID.
pub(crate) const INCIDENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

pub(crate) fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests")
}

/// Applies folders of `manifests/` one after the other.
pub(crate) async fn apply(cluster: &Cluster, folders: &[&str]) -> Result<()> {
    for folder in folders {
        let at = manifests().join(folder).display().to_string();
        cluster.kubectl(&["apply", "-k", &at]).await?;
        if *folder == "crds" {
            cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).await?;
        }
    }
    Ok(())
}

/// A client that is `user` to the API server, with the given incidents as its extra.
pub(crate) async fn client_as(cluster: &Cluster, user: &str, incidents: &[&str]) -> Result<Client> {
    let mut config = Config::from_custom_kubeconfig(Kubeconfig::from_yaml(cluster.kubeconfig())?, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = Some(user.into());
    if let Some(groups) = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split(':').next()) {
        config.auth_info.impersonate_groups = Some(vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{groups}")]);
    }
    if !incidents.is_empty() {
        let extra = HashMap::from([(EXTRA.to_owned(), incidents.iter().map(|uid| (*uid).to_owned()).collect())]);
        config.auth_info.impersonate_user_extra = Some(extra);
    }
    Ok(Client::try_from(config)?)
}

/// Objects of a kind, as values.
pub(crate) fn objects(client: Client, namespace: Option<&str>, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    }
}

/// Whether the API server refused, and with these words.
pub(crate) fn refused<T: std::fmt::Debug>(answer: kube::Result<T>, words: &str) -> Result<()> {
    match answer {
        Err(kube::Error::Api(status)) if status.message.contains(words) => Ok(()),
        other => anyhow::bail!("expected a refusal with `{words}`, but: {other:?}"),
    }
}

/// Repeats `attempt` until it is refused with `words`: policies take effect a moment after they are stored, and nothing says
/// when.
pub(crate) async fn until_refused<T: std::fmt::Debug>(words: &str, attempt: impl AsyncFn() -> kube::Result<T>) -> Result<()> {
    let start = Instant::now();
    loop {
        let answer = refused(attempt().await, words);
        if answer.is_ok() || start.elapsed() > Duration::from_secs(60) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A Deployment that nothing runs.
pub(crate) async fn deployment(cluster: &Cluster, namespace: &str, name: &str) -> Result<DynamicObject> {
    let admin = cluster.client().await?;
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "localhost/app:1"}]}},
        },
    }))?;
    let api = objects(admin, Some(namespace), "apps", "v1", "Deployment");
    api.create(&kube::api::PostParams::default(), &object).await.context("create the deployment")
}

/// Parses what kubectl printed as JSON.
pub(crate) fn parse(text: &str) -> Result<Value> {
    ensure!(!text.is_empty(), "kubectl printed nothing");
    Ok(serde_json::from_str(text)?)
}

/// Repeats `attempt` until it succeeds, as [`until_refused`]: a policy that was deleted holds a moment longer.
pub(crate) async fn until_ok<T, E>(attempt: impl AsyncFn() -> Result<T, E>) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let start = Instant::now();
    loop {
        match attempt().await {
            Err(error) if start.elapsed() > Duration::from_secs(60) => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            Ok(value) => return Ok(value),
        }
    }
}
