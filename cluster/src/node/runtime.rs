//! The container runtime: Debian's containerd with a root, state, socket and network configuration of its own.
//!
//! Nothing of the machine's own containerd is touched. Images come from [`crate::image`]; there is no registry.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::network::Network;
use crate::{
    binary::CNI_PLUGINS,
    error::{Error, Result},
    process::{Process, Surroundings},
};

/// The image that holds a pod's namespaces; [`crate::image::pause`] makes it.
pub(crate) const PAUSE: &str = "localhost/pause:1";

/// containerd's socket in the cluster's directory.
pub(crate) fn socket(dir: &Path) -> PathBuf {
    dir.join("containerd/sock")
}

/// Writes the configuration of containerd and of the pods' network.
pub(crate) fn prepare(dir: &Path, network: &Network) -> Result<()> {
    let own = dir.join("containerd");
    let cni = dir.join("cni");
    for path in [&own, &cni] {
        fs::create_dir_all(path).map_err(Error::file("create", path))?;
    }
    let at = own.display();
    let config = format!(
        r#"version = 2
root = "{at}/root"
state = "{at}/state"
# Plugins for storage this node does not use would only log that they cannot.
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{at}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Without the right to lower a score, a container could not start at all.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{CNI_PLUGINS}"
  conf_dir = "{cni}"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  Root = "{at}/runc"
"#,
        socket = socket(dir).display(),
        cni = cni.display(),
    );
    let path = own.join("config.toml");
    fs::write(&path, config).map_err(Error::file("write", path))?;

    // One routed link per pod: every packet between pods passes the node's own rules, without bridge filtering.
    let pods = json!({
        "cniVersion": "0.4.0",
        "name": network.namespace,
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": network.pods() }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    "dataDir": dir.join("addresses"),
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    let path = cni.join("10-pods.conflist");
    fs::write(&path, pods.to_string()).map_err(Error::file("write", path))
}

/// Starts containerd.
pub(crate) fn start(at: &Surroundings) -> Result<Process> {
    let config = at.dir.join("containerd/config.toml").display().to_string();
    at.start("containerd", Path::new("containerd"), ["--config", &config, "--log-level", "warn"])
}
