//! A cluster with our definitions, the scanner's account and its grants, and the scanner's process.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use assent_cluster::Cluster;
use assent_scanner::kinds::KINDS;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longest that anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const SYSTEM: &str = "assent-system";
const ACCOUNT: &str = "assent-scanner";

pub(crate) struct Fixture {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    admin: SocketAddr,
    process: Child,
    _files: TempDir,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // One that has ended by itself is as gone as it should be.
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

// === impl Fixture ===

impl Fixture {
    /// A cluster without the kinds of reports, and a scanner that scans every two seconds.
    pub(crate) async fn start(name: &str) -> Self {
        let cluster = assent_cluster::api_only(name).await.unwrap();
        let client = cluster.client().await.unwrap();
        for folder in ["crds", "base/namespace"] {
            cluster.kubectl(&["apply", "-k", &shown(&manifests().join(folder))]).await.unwrap();
        }
        cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).await.unwrap();
        cluster.kubectl(&["apply", "-f", &shown(&manifests().join("base/scanner/rbac.yaml"))]).await.unwrap();
        let files = tempfile::tempdir().unwrap();
        let kubeconfig = files.path().join("kubeconfig");
        let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 3600}})).unwrap();
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), SYSTEM);
        let token = accounts.create_token_request(ACCOUNT, &PostParams::default(), &request).await.unwrap().status.unwrap().token;
        std::fs::write(&kubeconfig, cluster.kubeconfig_with_token(&token)).unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_assent-scanner"))
            .args(["--interval", "2", "--requests-per-second", "500", "--log", "info,kube_client=off"])
            .args(["--kubeconfig", &shown(&kubeconfig), "--admin-address", &admin.to_string()])
            .spawn()
            .unwrap();
        Self { cluster, client, admin, process, _files: files }
    }

    /// Installs the kinds of reports.
    pub(crate) async fn serve_reports(&self) {
        self.cluster.kubectl(&["apply", "-k", &shown(&manifests().join("optional/openreports"))]).await.unwrap();
    }

    /// Applies every object of a file of the library.
    pub(crate) async fn library(&self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/library").join(format!("{name}.yaml"));
        self.cluster.kubectl(&["apply", "-f", &shown(&file)]).await.unwrap();
    }

    pub(crate) async fn apply(&self, api: &Api<DynamicObject>, object: &Value) {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap();
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
    }

    pub(crate) async fn namespace(&self, name: &str) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.apply(&self.all("", "v1", "Namespace"), &object).await;
    }

    /// A Deployment that nothing runs.
    pub(crate) async fn deployment(&self, namespace: &str, name: &str, image: &str) {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": image}]}},
            },
        });
        self.apply(&self.within(namespace, "apps", "v1", "Deployment"), &object).await;
    }

    pub(crate) fn all(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)))
    }

    pub(crate) fn within(&self, namespace: &str, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)))
    }

    pub(crate) fn guardrails(&self) -> Api<DynamicObject> {
        self.all("assent.dev", "v1alpha1", "Guardrail")
    }

    pub(crate) fn reports(&self, namespace: &str) -> Api<DynamicObject> {
        self.within(namespace, "openreports.io", "v1alpha1", "Report")
    }

    /// The metrics of the process.
    pub(crate) async fn metrics(&self) -> String {
        let mut stream = tokio::net::TcpStream::connect(self.admin).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Resident memory of the process, in kilobytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Grants that the API server's log does not show in use, as `verb group/resource/sub-resource`.
    pub(crate) fn unused(&self) -> BTreeSet<String> {
        let log = std::fs::read_to_string(self.cluster.audit_log()).unwrap();
        let mut used = BTreeSet::new();
        for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            if text("/user/username") == format!("system:serviceaccount:{SYSTEM}:{ACCOUNT}") {
                let [group, resource, part] = ["/objectRef/apiGroup", "/objectRef/resource", "/objectRef/subresource"].map(text);
                used.insert(format!("{} {group}/{resource}/{part}", text("/verb")));
            }
        }
        let granted = granted().into_iter().filter(|grant| !used.contains(grant));
        // Server-side apply that makes an object is logged as the patch that it is.
        granted.filter(|grant| !grant.starts_with("create ")).collect()
    }
}

/// What the role grants, as `verb group/resource/sub-resource`.
pub(crate) fn granted() -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifests().join("base/scanner/rbac.yaml")).unwrap();
    let documents = serde_yaml_ng::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
    let roles: Vec<Value> = documents.filter(|document| document["kind"] == "ClusterRole").collect();
    let mut granted = BTreeSet::new();
    let list = |rule: &Value, name: &str| -> Vec<String> { rule[name].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect() };
    for rule in roles.iter().flat_map(|role| role["rules"].as_array().unwrap()) {
        for group in list(rule, "apiGroups") {
            for resource in list(rule, "resources") {
                let resource = if resource.contains('/') { resource } else { format!("{resource}/") };
                granted.extend(list(rule, "verbs").iter().map(|verb| format!("{verb} {group}/{resource}")));
            }
        }
    }
    granted
}

#[test]
fn every_kind_of_the_table_may_be_listed_and_no_other() {
    let ours = ["assent.dev/", "openreports.io/"];
    let listed: BTreeSet<String> = granted()
        .into_iter()
        .filter_map(|grant| grant.strip_prefix("list ").filter(|what| !ours.iter().any(|group| what.starts_with(group))).map(str::to_owned))
        .collect();
    assert_eq!(listed, KINDS.iter().map(|kind| format!("{}/{}/", kind.group, kind.resource)).collect());
}

/// Waits until the object is as `wanted` says; absent is null.
pub(crate) async fn until(what: &str, api: &Api<DynamicObject>, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let seen = std::sync::Mutex::new(Value::Null);
    let condition = |object: Option<&DynamicObject>| {
        let value = object.map_or(Value::Null, |object| json!(object));
        let done = wanted(&value);
        *seen.lock().unwrap() = value;
        done
    };
    let found = tokio::time::timeout(PATIENCE, await_condition(api.clone(), name, condition)).await;
    let seen = seen.into_inner().unwrap();
    match found {
        Ok(found) => found.map(|_| seen).unwrap_or_else(|error| panic!("{what}: {error}")),
        Err(_) => panic!("{what} did not come; last seen: {seen:#}"),
    }
}

/// Status, reason and message of a condition.
pub(crate) fn condition<'o>(object: &'o Value, kind: &str) -> (&'o str, &'o str, &'o str) {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    let part = |name: &str| found.and_then(|condition| condition[name].as_str()).unwrap_or_default();
    (part("status"), part("reason"), part("message"))
}

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
