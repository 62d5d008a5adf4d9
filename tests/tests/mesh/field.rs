//! A node with identity, discovery and injector, and short ways to make pods and to wait for what becomes of them.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use assent_cli::init::{self, InitArgs, Settings};
use assent_cluster::{Image, Node};
use assent_tests::images::{self, Mesh, TAG};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, PostParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::{Value, json};

/// The meshed namespace.
pub(crate) const SHOP: &str = "shop";
/// Longest wait for anything; the machine is shared.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Field {
    pub(crate) node: Node,
    pub(crate) client: Client,
    pub(crate) images: Mesh,
}

// === impl Field ===

impl Field {
    pub(crate) async fn start() -> Self {
        let images = tokio::task::spawn_blocking(images::mesh).await.unwrap().unwrap();
        let node = assent_cluster::node("mesh").await.unwrap();
        for image in images.parts.iter().chain(&images.sidecars).chain([&images.application]) {
            node.load(image).await.unwrap();
        }
        let client = node.client().await.unwrap();
        let field = Self { node, client, images };
        for image in &field.images.sidecars {
            field.name_by_digest(image).await;
        }
        field.install(&field.images.sidecars[0]).await;
        let control = field.node.dir().join("overlay/control");
        std::fs::create_dir_all(&control).unwrap();
        let discovery =
            json!({ "resources": ["../base/discovery"], "images": [{ "name": "assent-discovery", "newName": "localhost/assent-discovery", "newTag": TAG }] });
        std::fs::write(control.join("kustomization.yaml"), discovery.to_string()).unwrap();
        field.kubectl(&["apply", "-k", &control.display().to_string()]).await;
        // Nothing here needs the gate, whose image is not loaded; and holes are to be found within moments.
        field.kubectl(&["-n", "assent-system", "scale", "deployment/assent-gate", "--replicas=0"]).await;
        field.kubectl(&["-n", "assent-system", "set", "env", "deployment/assent-injector", "ASSENT_COVERAGE_SECONDS=2"]).await;
        for part in ["identity", "discovery", "injector"] {
            field.kubectl(&["-n", "assent-system", "rollout", "status", &format!("deployment/assent-{part}"), "--timeout=180s"]).await;
        }
        field
    }

    /// Installs Assent with this image as the sidecar, pinned by its digest.
    pub(crate) async fn install(&self, sidecar: &Image) {
        let folder = self.node.dir().join("overlay");
        let settings = Settings {
            registry: "localhost".into(),
            tag: TAG.into(),
            sidecar_digest: Some(sidecar.digest().to_owned()),
            api_server: vec![],
            ledger_size: "1Gi".into(),
            ephemeral_ledger: true,
            keep_configuration: false,
            kubelet_insecure: false,
            slack_channel: None,
            sources: init::Sources::default(),
        };
        init::write(&InitArgs { directory: folder.clone(), force: folder.exists(), settings }).unwrap();
        let gate = folder.join("gate").display().to_string();
        // Definitions take a moment to be in force, and nothing tells when.
        within(async || self.node.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &gate]).await.ok()).await;
    }

    /// There is no registry that could give an image its digest's name.
    async fn name_by_digest(&self, image: &Image) {
        let socket = self.node.containerd_socket().display().to_string();
        let arguments = ["--address", &socket, "--namespace", "k8s.io", "images", "tag", "--force", image.name(), &by_digest(image)];
        let tagged = tokio::process::Command::new("ctr").args(arguments).output().await.unwrap();
        assert!(tagged.status.success(), "{}", String::from_utf8_lossy(&tagged.stderr));
    }

    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        self.node.kubectl(arguments).await.unwrap()
    }

    /// Our plugin, as a person runs it.
    pub(crate) async fn assent(&self, arguments: &[&str]) -> Output {
        let program: PathBuf = images::program("kubectl-assent");
        tokio::process::Command::new(program).env("KUBECONFIG", self.node.kubeconfig_path()).args(arguments).output().await.unwrap()
    }

    pub(crate) fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// A namespace whose account and trust bundle are there.
    pub(crate) async fn namespace(&self, name: &str, labels: Value) {
        self.create("v1", "Namespace", "", json!({ "metadata": { "name": name, "labels": labels } })).await;
        within(async || self.node.kubectl(&["-n", name, "get", "serviceaccount", "default"]).await.ok()).await;
        if labels["assent.dev/inject"] == "enabled" {
            self.trusted(name).await;
        }
    }

    /// A pod that starts before its namespace's trust bundle is there starts unmeshed.
    pub(crate) async fn trusted(&self, namespace: &str) {
        within(async || self.node.kubectl(&["-n", namespace, "get", "configmap", "assent-trust"]).await.ok()).await;
    }

    pub(crate) async fn create(&self, version: &str, kind: &str, namespace: &str, object: Value) -> DynamicObject {
        self.try_create(version, kind, namespace, object).await.unwrap()
    }

    pub(crate) async fn try_create(&self, version: &str, kind: &str, namespace: &str, mut object: Value) -> kube::Result<DynamicObject> {
        let (group, bare) = version.split_once('/').unwrap_or(("", version));
        let resource = kube::core::ApiResource::from_gvk(&GroupVersionKind::gvk(group, bare, kind));
        (object["apiVersion"], object["kind"]) = (json!(version), json!(kind));
        let api: Api<DynamicObject> =
            if namespace.is_empty() { Api::all_with(self.client.clone(), &resource) } else { Api::namespaced_with(self.client.clone(), namespace, &resource) };
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await
    }

    /// An account of its own, so that its certificate tells who called.
    pub(crate) async fn account(&self, namespace: &str, name: &str) {
        self.create("v1", "ServiceAccount", namespace, json!({ "metadata": { "name": name } })).await;
    }

    /// A pod with this spec.
    pub(crate) async fn pod(&self, namespace: &str, name: &str, spec: Value) -> Value {
        let pod = json!({ "metadata": { "name": name, "labels": { "app": name } }, "spec": spec });
        serde_json::to_value(self.create("v1", "Pod", namespace, pod).await).unwrap()
    }

    /// The pod once `holds`.
    pub(crate) async fn until(&self, namespace: &str, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let condition = |pod: Option<&Pod>| pod.is_some_and(|pod| holds(&serde_json::to_value(pod).unwrap()));
        let waiting = tokio::time::timeout(PATIENCE, await_condition(self.pods(namespace), name, condition)).await;
        let Ok(Ok(Some(pod))) = waiting else {
            let seen = self.node.kubectl(&["-n", namespace, "describe", "pod", name]).await;
            panic!("`{name}` was never {what}: {waiting:?}\n{}", seen.unwrap_or_default());
        };
        serde_json::to_value(pod).unwrap()
    }

    pub(crate) async fn ready(&self, namespace: &str, name: &str) -> Value {
        self.until(namespace, name, "ready", is_ready).await
    }

    /// Events about `pod` with this reason.
    pub(crate) async fn events(&self, namespace: &str, pod: &str, reason: &str) -> Vec<String> {
        let fields = format!("involvedObject.name={pod},reason={reason}");
        let events = Api::<Event>::namespaced(self.client.clone(), namespace).list(&ListParams::default().fields(&fields)).await.unwrap();
        events.into_iter().filter_map(|event| event.message).collect()
    }

    /// The first event about `pod` with this reason and these words.
    pub(crate) async fn event(&self, namespace: &str, pod: &str, reason: &str, words: &str) -> String {
        within(async || self.events(namespace, pod, reason).await.into_iter().find(|message| message.contains(words))).await
    }

    pub(crate) async fn logs(&self, namespace: &str, pod: &str, container: &str) -> String {
        self.kubectl(&["-n", namespace, "logs", pod, "-c", container]).await
    }

    /// Waits until the sidecar of `pod` has counted something from `caller` over mutual TLS.
    pub(crate) async fn called_by(&self, namespace: &str, pod: &str, caller: &str) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:4191/proxy/metrics");
        let client = format!("client_id=\"{caller}.");
        within(async || {
            let metrics = self.node.kubectl(&["get", "--raw", &path]).await.ok()?;
            metrics.lines().find(|line| line.contains("inbound") && line.contains(&client)).map(str::to_owned)
        })
        .await
    }
}

/// What pods call an image that is named by its content.
pub(crate) fn by_digest(image: &Image) -> String {
    format!("localhost/assent-sidecar@{}", image.digest())
}

/// A container of a few shell commands.
pub(crate) fn shell(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": "localhost/mesh-app:1", "imagePullPolicy": "Never", "command": ["/bin/busybox", "sh", "-c", script],
        "securityContext": {
            "runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
        },
    })
}

/// Sleeps until it is asked to stop.
pub(crate) const IDLE: &str = "trap 'exit 0' TERM; while true; do /bin/busybox sleep 1; done";

pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Names of the init containers.
pub(crate) fn init(pod: &Value) -> Vec<&str> {
    pod.pointer("/spec/initContainers").and_then(Value::as_array).into_iter().flatten().filter_map(|container| container["name"].as_str()).collect()
}

/// The status of one container of any kind.
pub(crate) fn status<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let lists = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"];
    let mut statuses = lists.iter().filter_map(|list| pod["status"][list].as_array()).flatten();
    statuses.find(|status| status["name"] == name).unwrap_or(&Value::Null)
}

/// Polls, where the server has no event to wait for.
pub(crate) async fn within<T>(attempt: impl AsyncFn() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(PATIENCE, polling).await.unwrap()
}
