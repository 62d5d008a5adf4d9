//! The kubelet: its configuration, its identity and its control group.
//!
//! Everything it would put into the machine's own folders goes into the cluster's directory, and its pods go below a
//! control group of the cluster's own: a kubelet removes groups of pods it does not know, also those of another cluster.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{network::Network, runtime};
use crate::{
    error::{Error, Result},
    pki::Authority,
    process::{Process, Surroundings},
    remains,
};

/// Writes the kubelet's configuration and serving certificate.
pub(crate) fn prepare(dir: &Path, network: &Network, node: &str, authority: &Authority) -> Result<()> {
    let pki = dir.join("pki");
    let addresses = [node.to_owned(), network.node().to_string()];
    authority.issue(&format!("system:node:{node}"), &["system:nodes"], &addresses)?.write(&pki, "kubelet")?;
    let resolver = dir.join("resolv.conf");
    fs::write(&resolver, format!("nameserver {}\n", network.dns_service())).map_err(Error::file("write", &resolver))?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.node(),
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": pki.join("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": pki.join("kubelet.crt"),
        "tlsPrivateKeyFile": pki.join("kubelet.key"),
        "containerRuntimeEndpoint": format!("unix://{}", runtime::socket(dir).display()),
        "clusterDNS": [network.dns_service()],
        "clusterDomain": "cluster.local",
        "resolvConf": resolver,
        "podLogsDir": dir.join("pod-logs"),
        "volumePluginDir": dir.join("volume-plugins"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", network.namespace),
        "failCgroupV1": false,
        "failSwapOn": false,
        // The machine may not let anybody lower a score.
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": false,
        // A developer's disk is often nearly full; a node that evicts for that proves nothing.
        "evictionHard": { "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        // Images cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 200,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
    });
    let path = dir.join("kubelet.json");
    fs::write(&path, config.to_string()).map_err(Error::file("write", path))
}

/// Starts the kubelet.
pub(crate) fn start(binary: &Path, network: &Network, node: &str, at: &Surroundings) -> Result<Process> {
    let root = at.dir.join("kubelet");
    let arguments = [
        "kubelet".to_owned(),
        format!("--config={}", at.dir.join("kubelet.json").display()),
        format!("--kubeconfig={}", at.dir.join("kubelet.kubeconfig").display()),
        format!("--root-dir={}", root.display()),
        format!("--cert-dir={}", root.join("pki").display()),
        format!("--hostname-override={node}"),
        format!("--node-ip={}", network.node()),
    ];
    at.start("kubelet", binary, arguments)
}

/// Makes the cluster's control group in every hierarchy, and one below it for the servers; the latter's folder.
pub(crate) fn create_cgroups(network: &Network) -> Result<Option<PathBuf>> {
    let groups = remains::cgroups(&network.namespace);
    for group in &groups {
        fs::create_dir_all(group).map_err(Error::file("create", group))?;
        // In version 1 a new cpuset is empty and takes no process until it has its parent's processors and memory.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let (Some(parent), Ok(own)) = (group.parent(), fs::read_to_string(group.join(file)))
                && own.trim().is_empty()
                && let Ok(inherited) = fs::read_to_string(parent.join(file))
            {
                let path = group.join(file);
                fs::write(&path, inherited.trim()).map_err(Error::file("write", path))?;
            }
        }
    }
    // One hierarchy is enough to find the servers' descendants by; every version 1 machine has this one.
    let Some(base) = groups.iter().find(|group| group.parent().is_some_and(|parent| parent.ends_with("pids"))) else {
        return groups.first().map(|group| create(group.join("servers"))).transpose();
    };
    create(base.join("servers")).map(Some)
}

fn create(group: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&group).map_err(Error::file("create", &group))?;
    Ok(group)
}
