//! A control plane with the accounts of both processes and their grants, and the identity service
//! running against it as its own account.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use assent_cluster::Cluster;
use assent_runtime::CancellationToken;
use assent_runtime::admin::AdminArgs;
use assent_runtime::kube::KubeArgs;
use assent_runtime::shutdown::Tasks;
use assent_runtime::telemetry::{Format, LogArgs};
use assent_runtime::workload::WorkloadArgs;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a new root must be out, in seconds.
pub(crate) const PROPAGATION: u64 = 3;
pub(crate) const SYSTEM: &str = "assent-system";

/// A control plane with the identity service running. Both end when dropped.
pub(crate) struct Fixture {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) identity: String,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) token: CancellationToken,
    args: assent_identity::Args,
    running: JoinHandle<anyhow::Result<()>>,
}

// What each process may do; the installed manifests must not grant more.
const GRANTS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: assent-identity}
rules:
- {apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}
- {apiGroups: [""], resources: [pods], verbs: [get]}
- {apiGroups: [""], resources: [namespaces], verbs: [list, watch]}
- {apiGroups: [""], resources: [configmaps], verbs: [create]}
- {apiGroups: [""], resources: [configmaps], resourceNames: [assent-trust], verbs: [list, watch, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: assent-identity}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: assent-identity}
subjects: [{kind: ServiceAccount, name: assent-identity, namespace: assent-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: assent-identity, namespace: assent-system}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [create]}
- {apiGroups: [""], resources: [secrets], resourceNames: [assent-identity-issuer], verbs: [get, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: assent-identity, namespace: assent-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: assent-identity}
subjects: [{kind: ServiceAccount, name: assent-identity, namespace: assent-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: assent-discovery}
rules:
- {apiGroups: [""], resources: [namespaces, pods, services], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: assent-discovery}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: assent-discovery}
subjects: [{kind: ServiceAccount, name: assent-discovery, namespace: assent-system}]
"#;

// === impl Fixture ===

impl Fixture {
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, 86_400).await
    }

    /// As [`Self::start`], with certificates that live for `leaf_seconds`.
    pub(crate) async fn start_with(name: &str, leaf_seconds: u64) -> Self {
        let cluster = assent_cluster::api_only(name).await.unwrap();
        let client = cluster.client().await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        for (namespace, account) in [(SYSTEM, "assent-identity"), (SYSTEM, "assent-discovery"), ("shop", "cart"), ("shop", "bank")] {
            apply(&Api::<Namespace>::all(client.clone()), namespace, json!({"apiVersion": "v1", "kind": "Namespace"})).await;
            let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
            apply(&accounts, account, json!({"apiVersion": "v1", "kind": "ServiceAccount"})).await;
        }
        let grants = directory.path().join("grants.yaml");
        std::fs::write(&grants, GRANTS).unwrap();
        cluster.kubectl(&["apply", "-f", grants.to_str().unwrap()]).await.unwrap();
        let kube = kubeconfig(&cluster, &client, directory.path().to_owned(), "assent-identity").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let identity = listener.local_addr().unwrap().to_string();
        let args = assent_identity::Args {
            listen: any(),
            control_namespace: SYSTEM.to_owned(),
            trust_domain: "cluster.local".to_owned(),
            leaf_seconds,
            trust_propagation_seconds: PROPAGATION,
            kube,
            log: log(),
            admin: AdminArgs { admin_address: any() },
        };
        assent_runtime::telemetry::init(&args.log).unwrap();
        let token = CancellationToken::new();
        let tasks = Tasks::new(token.clone());
        let running = tokio::spawn(assent_identity::serve(args.clone(), listener, tasks));
        Self { cluster, client, identity, directory, token, args, running }
    }

    /// Ends the identity service and starts it anew at the same address.
    pub(crate) async fn restart(self) -> Self {
        self.token.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
        let listener = TcpListener::bind(&self.identity).await.unwrap();
        let token = CancellationToken::new();
        let running = tokio::spawn(assent_identity::serve(self.args.clone(), listener, Tasks::new(token.clone())));
        Self { token, running, ..self }
    }

    /// Stops the identity service in good order.
    pub(crate) async fn stop(self) {
        self.token.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
    }

    /// The published trust bundle of a namespace, once it is there.
    pub(crate) async fn bundle(&self, namespace: &str) -> String {
        let copies = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        eventually("the trust bundle", async || {
            let copy = copies.get_opt("assent-trust").await.unwrap()?;
            copy.data?.get("ca-bundle.pem").cloned()
        })
        .await
    }

    /// Creates a pod of `account` in `shop` that never runs.
    pub(crate) async fn pod(&self, name: &str, account: &str) -> Pod {
        self.pod_in("shop", name, account).await
    }

    /// As [`Self::pod`], in another namespace.
    pub(crate) async fn pod_in(&self, namespace: &str, name: &str, account: &str) -> Pod {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": "cart"}},
            "spec": {"serviceAccountName": account, "automountServiceAccountToken": false,
                     "containers": [{"name": "app", "image": "none"}]},
        });
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap()
    }

    /// A token of `shop/ACCOUNT`, for `audience`, bound to `pod` if there is one.
    pub(crate) async fn issue(&self, account: &str, audience: &str, pod: Option<&Pod>) -> String {
        issue(&self.client, "shop", account, Some(audience), pod).await
    }

    /// Arguments of a workload `namespace/account` whose token is `token`.
    pub(crate) async fn workload(&self, namespace: &str, account: &str, token: &str) -> WorkloadArgs {
        let path = |name: &str| self.directory.path().join(format!("{namespace}-{account}-{name}"));
        std::fs::write(path("token"), token).unwrap();
        std::fs::write(path("bundle"), self.bundle(SYSTEM).await).unwrap();
        WorkloadArgs {
            identity_service: self.identity.clone(),
            control_namespace: SYSTEM.to_owned(),
            trust_domain: "cluster.local".to_owned(),
            identity_token_file: path("token"),
            trust_bundle_file: path("bundle"),
            workload_namespace: namespace.to_owned(),
            workload_service_account: account.to_owned(),
            identity_state_dir: None,
        }
    }
}

pub(crate) fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn log() -> LogArgs {
    LogArgs { filter: "warn,kube_client=off".to_owned(), format: Format::Text }
}

/// A kubeconfig that is `assent-system/ACCOUNT` itself.
pub(crate) async fn kubeconfig(cluster: &Cluster, client: &Client, directory: PathBuf, account: &str) -> KubeArgs {
    let token = issue(client, SYSTEM, account, None, None).await;
    let path = directory.join(format!("{account}.kubeconfig"));
    std::fs::write(&path, cluster.kubeconfig_with_token(&token)).unwrap();
    KubeArgs { kubeconfig: Some(path), kube_context: None }
}

/// Creates or changes an object.
pub(crate) async fn apply<K>(api: &Api<K>, name: &str, mut object: serde_json::Value) -> K
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    object["metadata"]["name"] = name.into();
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap()
}

/// Polls an outside fact (bounded), for which there is no event to wait on.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

pub(crate) async fn issue(client: &Client, namespace: &str, account: &str, audience: Option<&str>, pod: Option<&Pod>) -> String {
    let audiences: Vec<_> = audience.into_iter().collect();
    let mut request = json!({"spec": {"audiences": audiences, "expirationSeconds": 3600}});
    if let Some(pod) = pod {
        request["spec"]["boundObjectRef"] = json!({"apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid});
    }
    let request: TokenRequest = serde_json::from_value(request).unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    answer.status.unwrap().token
}
