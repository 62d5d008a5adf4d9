//! The node's own network: a namespace joined to the machine by one link, with addresses no other cluster here has.
//!
//! The machine can reach the node, its pods and its Services through routes over the link. The namespace has no default
//! route, so nothing in it reaches further than the machine's end of the link.

use std::net::Ipv4Addr;

use crate::{error::Result, process, remains};

/// Addresses of one node, all derived from the number of its range.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    index: u8,
    /// The namespace's name.
    pub(crate) namespace: String,
}

// === impl Network ===

impl Network {
    pub(crate) fn new(name: &str, index: u8) -> Self {
        Self { index, namespace: remains::full_name(name) }
    }

    /// The machine's end of the link.
    pub(crate) fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 97, self.index, 1)
    }

    /// The node's end: the address of the node, its API server and its DNS server.
    pub(crate) fn node(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 97, self.index, 2)
    }

    /// Addresses of Services; for the first cluster on a machine they begin where they do everywhere.
    pub(crate) fn services(&self) -> String {
        format!("10.96.{}.0/24", self.index)
    }

    pub(crate) fn api_service(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96, self.index, 1)
    }

    pub(crate) fn dns_service(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96, self.index, 10)
    }

    /// Addresses of pods.
    pub(crate) fn pods(&self) -> String {
        format!("10.98.{}.0/24", self.index)
    }

    /// Makes the namespace, the link and the routes.
    pub(crate) fn create(&self) -> Result<()> {
        let (outer, inner) = (remains::host_device(self.index), remains::node_device(self.index));
        let (host, node) = (self.host().to_string(), self.node().to_string());
        let (services, pods, space) = (self.services(), self.pods(), self.namespace.as_str());
        let ip = |arguments: &str| process::run("ip", &arguments.split(' ').collect::<Vec<_>>()).map(drop);
        ip(&format!("netns add {space}"))?;
        ip(&format!("link add {outer} type veth peer name {inner} netns {space}"))?;
        ip(&format!("address add {host}/30 dev {outer}"))?;
        ip(&format!("link set {outer} up"))?;
        ip(&format!("-n {space} link set lo up"))?;
        ip(&format!("-n {space} address add {node}/30 dev {inner}"))?;
        ip(&format!("-n {space} link set {inner} up"))?;
        // A Service's address is rewritten on its way out of the node; the kernel wants a route before it looks.
        ip(&format!("-n {space} route add {services} via {host}"))?;
        ip(&format!("route add {services} via {node}"))?;
        ip(&format!("route add {pods} via {node}"))?;
        // Inside the namespace only: the machine itself forwards nothing on our behalf.
        let enter = format!("--net=/run/netns/{space}");
        process::run("nsenter", &[&enter, "--", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]).map(drop)
    }
}
