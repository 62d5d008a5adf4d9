//! A cluster with one real node, in a network namespace of its own: containers, kubelet, scheduler, Service proxy, DNS.
//!
//! Needs root. The node is reachable from the machine (API server, pods, Services) and reaches no further than the machine.
//! Two nodes of different names can run side by side.

mod kubelet;
mod network;
mod runtime;
mod services;

use std::{net::Ipv4Addr, ops::Deref, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;

use crate::{
    binary::{binary, check_system, pause},
    cluster::{Cluster, blocking},
    control_plane::Plan,
    error::{Error, Result},
    image::{self, Image},
    pki,
    process::{Lifetime, Surroundings},
    scratch::{self, Scratch},
};
use network::Network;

pub(crate) use runtime::PAUSE;

/// How long the node may take to report itself ready: seconds on an idle machine, many times that beside a compiler.
const NODE_READY: Duration = Duration::from_secs(180);

/// A cluster with a node that runs pods. Everything a [`Cluster`] offers is here too.
#[derive(Debug)]
pub struct Node {
    cluster: Cluster,
    network: Network,
}

/// Starts a cluster with a node, as root; it lives as long as the value, at most as long as this process.
///
/// Removes first what an aborted run left, of this name or any other. Pods use images that [`Node::load`] brought, with
/// `imagePullPolicy: Never` or `IfNotPresent`.
///
/// # Errors
/// Without root, with parts of the operating system missing, when a live process owns the name, or when a server ends or
/// does not become ready.
pub async fn node(name: &str) -> Result<Node> {
    start(name, Lifetime::Bound).await
}

/// Starts a cluster with a node that stays when the value is dropped and when this process ends, until [`cleanup`].
///
/// # Errors
/// As [`node`]; a start that fails leaves nothing.
pub async fn up(name: &str) -> Result<Node> {
    let mut node = start(name, Lifetime::Detached).await?;
    node.cluster.scratch.detach()?;
    Ok(node)
}

/// A cluster that [`up`] left running. Dropping the value changes nothing.
///
/// # Errors
/// [`Error::Absent`] when there is none, [`Error::Unreachable`] when its API server does not answer.
pub async fn attach(name: &str) -> Result<Node> {
    let asked = name.to_owned();
    let (scratch, binary) = blocking(move || Ok((Scratch::find(&asked)?, binary()?))).await?;
    let absent = || Error::Absent { name: name.to_owned() };
    let network = Network::new(name, scratch.state.index.ok_or_else(absent)?);
    let cluster = Cluster::attach(scratch, binary)?;
    let client = cluster.client().await?;
    client.apiserver_version().await.map_err(|source| Error::Unreachable { name: name.to_owned(), source: Box::new(source) })?;
    Ok(Node { cluster, network })
}

/// Removes the cluster `name`, whether [`up`] left it running or an aborted run left parts of it. `false` when there was
/// nothing.
///
/// # Errors
/// When another live process owns it, or something cannot be removed.
pub async fn cleanup(name: &str) -> Result<bool> {
    let name = name.to_owned();
    blocking(move || scratch::remove(&name)).await
}

async fn start(name: &str, lifetime: Lifetime) -> Result<Node> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let asked = name.to_owned();
    let (scratch, binary, pause) = blocking(move || {
        check_system()?;
        let (binary, pause) = (binary()?, image::pause(&pause()?)?);
        Ok((Scratch::claim(&asked, &asked, true)?, binary, pause))
    })
    .await?;
    let index = scratch.state.index.ok_or_else(|| Error::Absent { name: name.to_owned() })?;
    let network = Network::new(name, index);
    let plan = Plan {
        address: network.node(),
        api_port: 6443,
        etcd_port: 2379,
        etcd_peer_port: 2380,
        services: network.services(),
        api_service: network.api_service(),
        reachable: true,
    };
    let cluster = Cluster::prepare(scratch, binary, &plan)?;
    // From here on, dropping it removes everything again.
    let mut node = Node { cluster, network };
    node.start(&plan, lifetime, &pause).await?;
    Ok(node)
}

// === impl Node ===

impl Node {
    /// Brings an image to the node, unless the very same is there. Pods name it as [`Image::name`].
    ///
    /// # Errors
    /// When containerd refuses it.
    pub async fn load(&self, image: &Image) -> Result<()> {
        let (image, socket) = (image.clone(), runtime::socket(self.dir()));
        blocking(move || image.import(&socket)).await
    }

    /// The node's name in the cluster.
    #[must_use]
    pub fn node_name(&self) -> String {
        self.network.namespace.clone()
    }

    /// The address of the node; the API server, the kubelet and the DNS server listen there.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.network.node()
    }

    /// The machine's address as pods see it: what listens there (or on all addresses) can be called from pods.
    #[must_use]
    pub fn host_address(&self) -> Ipv4Addr {
        self.network.host()
    }

    /// Name of the node's network namespace, for `nsenter --net=/run/netns/NAME`.
    #[must_use]
    pub fn network_namespace(&self) -> &str {
        &self.network.namespace
    }

    /// containerd's socket, for `ctr --address SOCKET --namespace k8s.io`.
    #[must_use]
    pub fn containerd_socket(&self) -> PathBuf {
        runtime::socket(self.dir())
    }

    async fn start(&mut self, plan: &Plan, lifetime: Lifetime, pause: &Image) -> Result<()> {
        let (network, name) = (self.network.clone(), self.node_name());
        network.create()?;
        let at = Surroundings { dir: self.dir().to_owned(), lifetime, network: Some(network.namespace.clone()), cgroup: kubelet::create_cgroups(&network)? };
        runtime::prepare(&at.dir, &network)?;
        kubelet::prepare(&at.dir, &network, &name, &self.cluster.authority)?;
        self.write_kubeconfigs(&name)?;

        self.cluster.processes.push(runtime::start(&at)?);
        self.cluster.start_control_plane(plan, &at).await?;
        let socket = runtime::socket(&at.dir);
        self.cluster.wait("containerd", NODE_READY, async || socket_answers(&socket).await).await?;
        self.load(pause).await?;

        let binary = self.cluster.binary.clone();
        self.cluster.processes.push(kubelet::start(&binary, &network, &name, &at)?);
        let client = self.client().await?;
        services::publish_dns(&client, &network).await?;
        self.cluster.processes.extend(services::start(&binary, &network, &name, &at)?);
        let nodes: Api<NodeObject> = Api::all(client);
        self.cluster.wait("the node", NODE_READY, async || matches!(nodes.get_opt(&name).await, Ok(Some(node)) if is_ready(&node))).await?;
        self.cluster.wait("cluster DNS", NODE_READY, async || services::dns_answers(&network).await).await
    }

    fn write_kubeconfigs(&self, node: &str) -> Result<()> {
        for (file, user, groups) in [
            ("kubelet", format!("system:node:{node}"), &["system:nodes"][..]),
            ("scheduler", "system:kube-scheduler".to_owned(), &[]),
            ("proxy", "system:kube-proxy".to_owned(), &[]),
            ("dns", "system:coredns".to_owned(), &[]),
        ] {
            let text = self.kubeconfig_as(&user, groups)?;
            pki::write_private(&self.dir().join(format!("{file}.kubeconfig")), &text)?;
        }
        Ok(())
    }
}

impl Deref for Node {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

async fn socket_answers(socket: &std::path::Path) -> bool {
    tokio::net::UnixStream::connect(socket).await.is_ok()
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
