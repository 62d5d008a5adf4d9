//! The control plane: etcd, the API server and the controller manager, and the files they start from.
//!
//! The same three processes serve a cluster without a node (loopback addresses, free ports, no root) and one with a node
//! (its own network namespace, well-known ports). What differs is a [`Plan`]; nothing here knows about nodes.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    kubeconfig,
    pki::{self, Authority},
    process::{Process, Surroundings},
};

/// Where the control plane listens and what it tells clients.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Address of the API server.
    pub(crate) address: Ipv4Addr,
    pub(crate) api_port: u16,
    pub(crate) etcd_port: u16,
    pub(crate) etcd_peer_port: u16,
    /// Addresses of Services, as a CIDR.
    pub(crate) services: String,
    /// The first of them: the API server's own Service.
    pub(crate) api_service: Ipv4Addr,
    /// Whether pods can reach the API server at `address`, so that its Service gets an endpoint.
    pub(crate) reachable: bool,
}

// === impl Plan ===

impl Plan {
    /// Loopback and ports that are free now. Somebody may take one before its server does: the caller tries again then.
    pub(crate) fn loopback() -> Result<Self> {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        let failed = || Error::file("find a free port on", "127.0.0.1");
        // All are held until all are chosen, so that they differ.
        let held = [free().map_err(failed())?, free().map_err(failed())?, free().map_err(failed())?];
        Ok(Self {
            address: Ipv4Addr::LOCALHOST,
            api_port: port(&held[0]).map_err(failed())?,
            etcd_port: port(&held[1]).map_err(failed())?,
            etcd_peer_port: port(&held[2]).map_err(failed())?,
            services: "10.96.0.0/24".to_owned(),
            api_service: Ipv4Addr::new(10, 96, 0, 1),
            reachable: false,
        })
    }

    /// The API server's address for clients.
    pub(crate) fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.api_port)
    }
}

/// Writes keys, certificates, kubeconfigs and the audit policy of a new cluster into `dir`; the authority for its clients
/// and servers.
pub(crate) fn prepare(dir: &Path, plan: &Plan) -> Result<Authority> {
    let pki = dir.join("pki");
    let authority = Authority::new("ca")?;
    authority.write(&pki)?;
    let local = [IpAddr::from(Ipv4Addr::LOCALHOST).to_string(), "localhost".to_owned()];

    // An authority of its own: whoever holds a client certificate of the cluster must not reach the store behind it.
    let etcd = Authority::new("etcd-ca")?;
    etcd.write(&pki)?;
    etcd.issue("etcd", &[], &local)?.write(&pki, "etcd")?;
    etcd.issue("kube-apiserver-etcd-client", &[], &[])?.write(&pki, "etcd-client")?;

    let front_proxy = Authority::new("front-proxy-ca")?;
    front_proxy.write(&pki)?;
    front_proxy.issue("front-proxy-client", &[], &[])?.write(&pki, "front-proxy-client")?;

    let names = [
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        "kubernetes.default.svc.cluster.local".to_owned(),
        plan.address.to_string(),
        plan.api_service.to_string(),
    ];
    let names: Vec<String> = local.iter().cloned().chain(names).collect();
    authority.issue("kube-apiserver", &[], &names)?.write(&pki, "apiserver")?;
    authority.issue("kube-apiserver-kubelet-client", &["system:masters"], &[])?.write(&pki, "kubelet-client")?;
    pki::write_bare_key(&pki, "service-account")?;

    let policy = dir.join("audit-policy.json");
    fs::write(&policy, audit_policy().to_string()).map_err(Error::file("write", policy))?;
    for (file, user, groups) in
        [("kubeconfig", "assent:cluster-admin", &["system:masters"][..]), ("controller-manager.kubeconfig", "system:kube-controller-manager", &[])]
    {
        let pair = authority.issue(user, groups, &[])?;
        let text = kubeconfig::with_certificate(&plan.url(), authority.certificate(), user, &pair);
        pki::write_private(&dir.join(file), &text)?;
    }
    Ok(authority)
}

/// Starts etcd and the API server.
pub(crate) fn start(binary: &Path, plan: &Plan, at: &Surroundings) -> Result<Vec<Process>> {
    let pki = |name: &str| at.dir.join("pki").join(name).display().to_string();
    let etcd_url = format!("https://127.0.0.1:{}", plan.etcd_port);
    let peer_url = format!("https://127.0.0.1:{}", plan.etcd_peer_port);
    let etcd = [
        "etcd".to_owned(),
        "--name=etcd".to_owned(),
        format!("--data-dir={}", at.dir.join("etcd").display()),
        format!("--listen-client-urls={etcd_url}"),
        format!("--advertise-client-urls={etcd_url}"),
        format!("--listen-peer-urls={peer_url}"),
        format!("--initial-advertise-peer-urls={peer_url}"),
        format!("--initial-cluster=etcd={peer_url}"),
        format!("--cert-file={}", pki("etcd.crt")),
        format!("--key-file={}", pki("etcd.key")),
        format!("--trusted-ca-file={}", pki("etcd-ca.crt")),
        "--client-cert-auth".to_owned(),
        format!("--peer-cert-file={}", pki("etcd.crt")),
        format!("--peer-key-file={}", pki("etcd.key")),
        format!("--peer-trusted-ca-file={}", pki("etcd-ca.crt")),
        "--peer-client-cert-auth".to_owned(),
        "--enable-grpc-gateway=false".to_owned(),
        "--log-level=warn".to_owned(),
        // The store dies with its cluster: nothing has to survive a power cut.
        "--unsafe-no-fsync".to_owned(),
    ];
    let reconciler = if plan.reachable { "lease" } else { "none" };
    let api = [
        "kube-apiserver".to_owned(),
        format!("--bind-address={}", plan.address),
        format!("--advertise-address={}", plan.address),
        format!("--secure-port={}", plan.api_port),
        format!("--etcd-servers={etcd_url}"),
        format!("--etcd-cafile={}", pki("etcd-ca.crt")),
        format!("--etcd-certfile={}", pki("etcd-client.crt")),
        format!("--etcd-keyfile={}", pki("etcd-client.key")),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--kubelet-client-certificate={}", pki("kubelet-client.crt")),
        format!("--kubelet-client-key={}", pki("kubelet-client.key")),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        // Otherwise `logs` and `exec` ask the machine's DNS for the node's name.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--requestheader-client-ca-file={}", pki("front-proxy-ca.crt")),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!("--proxy-client-cert-file={}", pki("front-proxy-client.crt")),
        format!("--proxy-client-key-file={}", pki("front-proxy-client.key")),
        format!("--service-account-key-file={}", pki("service-account.pub")),
        format!("--service-account-signing-key-file={}", pki("service-account.key")),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-cluster-ip-range={}", plan.services),
        format!("--endpoint-reconciler-type={reconciler}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--anonymous-auth=false".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--profiling=false".to_owned(),
        format!("--audit-policy-file={}", at.dir.join("audit-policy.json").display()),
        format!("--audit-log-path={}", at.dir.join("audit.log").display()),
        // One file for as long as a cluster lives, in megabytes: who reads what happened reads it whole.
        "--audit-log-maxsize=4096".to_owned(),
        // Written before the client has its answer, so that a test can read at once what it caused.
        "--audit-log-mode=blocking".to_owned(),
    ];
    Ok(vec![at.start("etcd", binary, etcd)?, at.start("kube-apiserver", binary, api)?])
}

/// Starts the controller manager; the API server must be ready, or it gives up.
pub(crate) fn start_controllers(binary: &Path, at: &Surroundings) -> Result<Process> {
    let pki = |name: &str| at.dir.join("pki").join(name).display().to_string();
    let kubeconfig = at.dir.join("controller-manager.kubeconfig").display().to_string();
    let arguments = [
        "kube-controller-manager".to_owned(),
        format!("--kubeconfig={kubeconfig}"),
        "--leader-elect=false".to_owned(),
        // No port of its own: nobody asks it anything here.
        "--secure-port=0".to_owned(),
        "--use-service-account-credentials".to_owned(),
        format!("--root-ca-file={}", pki("ca.crt")),
        format!("--service-account-private-key-file={}", pki("service-account.key")),
        format!("--cluster-signing-cert-file={}", pki("ca.crt")),
        format!("--cluster-signing-key-file={}", pki("ca.key")),
        // Several clusters share a small machine; the defaults assume thousands of objects.
        "--profiling=false".to_owned(),
    ];
    at.start("kube-controller-manager", binary, arguments)
}

/// The files whose text depends on who may write what: everything of ours and writes to workloads in full, the rest by
/// its head, and nothing of the background noise.
fn audit_policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "None", "resources": [{ "group": "coordination.k8s.io", "resources": ["leases"] }] },
            { "level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*", "/version", "/openapi*", "/api*"] },
            { "level": "RequestResponse", "resources": [{ "group": "assent.dev" }] },
            {
                "level": "RequestResponse",
                "verbs": ["create", "update", "patch", "delete", "deletecollection"],
                "resources": [
                    { "group": "apps" },
                    { "group": "autoscaling" },
                    // Not secrets, config maps or tokens: their bodies do not belong into a log.
                    { "group": "", "resources": [
                        "pods", "pods/*", "nodes", "nodes/*", "services", "services/*", "replicationcontrollers",
                        "replicationcontrollers/*", "persistentvolumeclaims", "namespaces", "namespaces/*",
                    ] },
                ],
            },
            { "level": "Metadata" },
        ],
    })
}

/// Where the audit log of the cluster in `dir` is.
pub(crate) fn audit_log(dir: &Path) -> PathBuf {
    dir.join("audit.log")
}
