//! What all measurements stand on: one control plane with Assent's kinds and a namespace, and a folder of certificates.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use assent_api::resources;
use assent_cluster::Cluster;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::load::{self, Question};
use super::policies;
use super::process::pin_process;
use crate::world::write_authority;

/// Namespace of the pods.
pub const NAMESPACE: &str = "shop";

/// The control plane and everything else that measurements share.
pub struct Ground {
    /// The servers.
    pub cluster: Cluster,
    /// With every right.
    pub admin: Client,
    /// Certificate of the serving CA, as a `caBundle`.
    pub bundle: String,
    files: tempfile::TempDir,
}

impl std::fmt::Debug for Ground {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ground").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

// === impl Ground ===

impl Ground {
    /// Starts it.
    ///
    /// # Errors
    /// If the control plane does not start or does not take an object.
    pub async fn start() -> anyhow::Result<Self> {
        let cluster = assent_cluster::api_only("bench").await?;
        let admin = cluster.client().await?;
        let files = tempfile::tempdir()?;
        let bundle = write_authority(files.path());
        std::fs::write(files.path().join("kubeconfig"), cluster.kubeconfig())?;
        let ground = Self { cluster, admin, bundle, files };
        for definition in resources::definitions() {
            ground.apply(&serde_json::to_value(definition)?).await?;
        }
        ground.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})).await?;
        ground.eventually("guardrails are served", async || ground.list("/apis/assent.dev/v1alpha1/guardrails").await.is_ok()).await?;
        let account = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default");
        ground.eventually("the namespace has its account", async || ground.list(&account).await.is_ok()).await?;
        Ok(ground)
    }

    /// A folder with `ca.crt`, `ca.key` and `kubeconfig`.
    #[must_use]
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// The path of a log.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.files.path().join(format!("{name}.log"))
    }

    /// The serving CA, PEM.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn authority(&self) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.files.path().join("ca.crt"))?)
    }

    /// Moves the control plane to a core.
    ///
    /// # Errors
    /// If a server has ended.
    pub fn pin(&self, core: usize) -> anyhow::Result<()> {
        for server in ["etcd", "kube-apiserver", "kube-controller-manager"] {
            let record = std::fs::read_to_string(self.cluster.dir().join("pids").join(server))?;
            let pid = record.split_whitespace().next().context("a pid")?.parse()?;
            pin_process(pid, core).with_context(|| format!("pin {server}"))?;
        }
        Ok(())
    }

    /// Server-side apply of any object.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn apply(&self, object: &Value) -> anyhow::Result<()> {
        let (api, name) = self.api(object)?;
        api.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(object)).await.with_context(|| format!("apply {name}"))?;
        Ok(())
    }

    /// Applies many objects, some at a time.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn apply_all(&self, objects: &[Value]) -> anyhow::Result<()> {
        stream::iter(objects.iter().map(|object| self.apply(object))).buffer_unordered(16).try_collect().await
    }

    /// Deletes objects that exist.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn delete_all(&self, objects: &[Value]) -> anyhow::Result<()> {
        let delete = async |object: &Value| {
            let (api, name) = self.api(object)?;
            api.delete(&name, &DeleteParams::default()).await.with_context(|| format!("delete {name}"))?;
            anyhow::Ok(())
        };
        stream::iter(objects.iter().map(delete)).buffer_unordered(16).try_collect().await
    }

    fn api(&self, object: &Value) -> anyhow::Result<(Api<DynamicObject>, String)> {
        let text = |field: &str| object.pointer(field).and_then(Value::as_str);
        let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let (version, kind, name) = (version.context("an apiVersion")?, kind.context("a kind")?, name.context("a name")?);
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api = match text("/metadata/namespace") {
            Some(namespace) => Api::namespaced_with(self.admin.clone(), namespace, &resource),
            None => Api::all_with(self.admin.clone(), &resource),
        };
        Ok((api, name.to_owned()))
    }

    /// Reads anything.
    ///
    /// # Errors
    /// If it is not there.
    pub async fn list(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.admin.request(http::Request::get(path).body(Vec::new())?).await?)
    }

    /// Waits for what offers no event.
    ///
    /// # Errors
    /// If it does not come within a minute and a half.
    pub async fn eventually(&self, what: &str, is_so: impl AsyncFn() -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        while !is_so().await {
            if started.elapsed() > Duration::from_secs(90) {
                bail!("waited in vain until {what}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The creation of a pod at the API server itself, as a dry run.
    ///
    /// # Errors
    /// If the kubeconfig is not as this cluster writes it.
    pub fn creation(&self, pod: &Value) -> anyhow::Result<Question> {
        use base64::Engine as _;
        let configuration: Value = serde_yaml_ng::from_str(self.cluster.kubeconfig())?;
        let part = |path: &str| -> anyhow::Result<Vec<u8>> {
            let text = configuration.pointer(path).and_then(Value::as_str).with_context(|| format!("{path} in the kubeconfig"))?;
            Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
        };
        let (chain, key) = (part("/users/0/user/client-certificate-data")?, part("/users/0/user/client-key-data")?);
        Ok(Question {
            address: self.cluster.url().trim_start_matches("https://").parse()?,
            name: "localhost".into(),
            path: format!("/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All"),
            tls: load::tls(&part("/clusters/0/cluster/certificate-authority-data")?, Some((&chain, &key)))?,
            body: policies::creation(pod),
            good: "\"kind\":\"Pod\"",
        })
    }
}
