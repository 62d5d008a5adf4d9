//! What makes pods findable: the scheduler, the Service proxy and cluster DNS.
//!
//! All three run as processes beside the kubelet, not as pods: they need no image and are there before the first pod.

use std::{fs, path::Path};

use k8s_openapi::{
    api::{
        core::v1::Service,
        discovery::v1::EndpointSlice,
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::network::Network;
use crate::{
    error::{Error, Result},
    process::{Process, Surroundings},
};

/// Port of the DNS server's readiness answer, on the namespace's loopback.
const DNS_READY: u16 = 8181;

/// Starts scheduler, proxy and DNS server.
pub(crate) fn start(binary: &Path, network: &Network, node: &str, at: &Surroundings) -> Result<Vec<Process>> {
    let file = |name: &str| at.dir.join(name).display().to_string();
    let scheduler = [
        "kube-scheduler".to_owned(),
        format!("--kubeconfig={}", file("scheduler.kubeconfig")),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ];
    let proxy = [
        "kube-proxy".to_owned(),
        format!("--kubeconfig={}", file("proxy.kubeconfig")),
        format!("--hostname-override={node}"),
        format!("--cluster-cidr={}", network.pods()),
        "--proxy-mode=nftables".to_owned(),
        // These limits belong to the whole machine.
        "--conntrack-max-per-core=0".to_owned(),
        "--conntrack-tcp-timeout-established=0".to_owned(),
        "--conntrack-tcp-timeout-close-wait=0".to_owned(),
        "--oom-score-adj=0".to_owned(),
        "--nodeport-addresses=0.0.0.0/0".to_owned(),
        "--healthz-bind-address=127.0.0.1".to_owned(),
        "--metrics-bind-address=127.0.0.1".to_owned(),
        // A Service's change is in force at once; there are few.
        "--iptables-min-sync-period=0s".to_owned(),
    ];
    let corefile = format!(
        "cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {{\n\tbind {}\n\terrors\n\tready 127.0.0.1:{DNS_READY}\n\tkubernetes \
         cluster.local in-addr.arpa ip6.arpa {{\n\t\tkubeconfig {}\n\t\tpods insecure\n\t\tttl 1\n\t}}\n}}\n",
        network.node(),
        file("dns.kubeconfig"),
    );
    let path = at.dir.join("Corefile");
    fs::write(&path, corefile).map_err(Error::file("write", &path))?;
    Ok(vec![
        at.start("kube-scheduler", binary, scheduler)?,
        at.start("kube-proxy", binary, proxy)?,
        at.start("coredns", binary, ["coredns".to_owned(), format!("-conf={}", path.display())])?,
    ])
}

/// Lets the DNS server watch what it answers for, and gives it the Service address every pod asks.
pub(crate) async fn publish_dns(client: &Client, network: &Network) -> Result<()> {
    let failed = || Error::api("publish cluster DNS");
    let params = PatchParams::apply("assent-cluster").force();
    let role: ClusterRole = parse(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "system:coredns" },
        "rules": [
            { "apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"] },
            { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] },
        ],
    }))?;
    let binding: ClusterRoleBinding = parse(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": "system:coredns" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns" }],
    }))?;
    let port = IntOrString::Int(53);
    let ports = json!([
        { "name": "dns", "protocol": "UDP", "port": port },
        { "name": "dns-tcp", "protocol": "TCP", "port": port },
    ]);
    // Without a selector: the server is a process of the node, not a pod.
    let service: Service = parse(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "kube-dns" },
        "spec": { "clusterIP": network.dns_service(), "ports": ports },
    }))?;
    let slice: EndpointSlice = parse(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": "kube-dns", "labels": { "kubernetes.io/service-name": "kube-dns" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [network.node()], "conditions": { "ready": true } }],
        "ports": ports,
    }))?;
    let name = "system:coredns";
    Api::<ClusterRole>::all(client.clone()).patch(name, &params, &Patch::Apply(role)).await.map_err(failed())?;
    Api::<ClusterRoleBinding>::all(client.clone()).patch(name, &params, &Patch::Apply(binding)).await.map_err(failed())?;
    let system = "kube-system";
    Api::<Service>::namespaced(client.clone(), system).patch("kube-dns", &params, &Patch::Apply(service)).await.map_err(failed())?;
    Api::<EndpointSlice>::namespaced(client.clone(), system).patch("kube-dns", &params, &Patch::Apply(slice)).await.map_err(failed())?;
    Ok(())
}

/// Whether the Service proxy has installed its rules and forwards to the DNS server, seen from outside as a test would.
pub(crate) async fn dns_answers(network: &Network) -> bool {
    let address = (network.dns_service(), 53);
    tokio::time::timeout(std::time::Duration::from_secs(1), tokio::net::TcpStream::connect(address)).await.is_ok_and(|connected| connected.is_ok())
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|source| Error::State { path: "cluster DNS objects".into(), source })
}
