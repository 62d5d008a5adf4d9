//! Answers in the words of linkerd2-proxy-api, and the questions read from them. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use assent_runtime::workload::Name;
use linkerd2_proxy_api::destination::protocol_hint::{Opaque, OpaqueTransport, Protocol};
use linkerd2_proxy_api::destination::tls_identity::{DnsLikeIdentity, Strategy};
use linkerd2_proxy_api::destination::update::Update as Change;
use linkerd2_proxy_api::destination::{AddrSet, DestinationProfile, NoEndpoints, ProtocolHint, TlsIdentity, Update, WeightedAddr, WeightedAddrSet};
use linkerd2_proxy_api::meta;
use linkerd2_proxy_api::net::TcpAddress;

use super::index::{Endpoints, Index, Key, Pod, Target};

/// The port on which a sidecar takes connections that carry a transport header.
const INBOUND_PORT: u32 = 4143;
// Where the server speaks first or TLS starts in the clear, and waiting for the client's first
// bytes would stall: linkerd's own list.
pub(super) const OPAQUE_PORTS: [u16; 8] = [25, 587, 3306, 4444, 5432, 6379, 9300, 11211];
const WEIGHT: u32 = 10_000;
/// Longest destination that is read, in bytes.
const MAX_PATH: usize = 512;

/// How names are spelled in this cluster.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    own: Name,
    cluster_domain: String,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) service: Key,
    pub(crate) port: u16,
}

/// Endpoints as they were last sent.
pub(crate) type Sent = BTreeMap<SocketAddr, WeightedAddr>;

// === impl Wire ===

impl Wire {
    pub(crate) fn new(own: Name, cluster_domain: String) -> Self {
        Self { own, cluster_domain }
    }

    /// The name of the process that answers.
    pub(super) fn own(&self) -> &Name {
        &self.own
    }

    /// Reads `svc.ns.svc.DOMAIN[:port]`; anything else is no service of this cluster.
    pub(crate) fn authority(&self, path: &str) -> Option<Authority> {
        if path.len() > MAX_PATH {
            return None;
        }
        let (host, port) = match path.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (path, 80),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let short = host.strip_suffix(self.cluster_domain.as_str())?.strip_suffix('.')?.strip_suffix(".svc")?;
        let (name, namespace) = short.split_once('.')?;
        if name.is_empty() || namespace.is_empty() || namespace.contains('.') {
            return None;
        }
        let service = Key { namespace: namespace.to_owned(), name: name.to_owned() };
        Some(Authority { service, port })
    }

    /// Reads `ip:port`, with an IPv6 address in brackets.
    pub(crate) fn address(path: &str) -> Option<SocketAddr> {
        if path.len() > MAX_PATH {
            return None;
        }
        path.parse().ok()
    }

    /// The profile of an address; empty, which means pass through, if nothing is known of it.
    pub(crate) fn profile(&self, index: &Index, address: SocketAddr) -> DestinationProfile {
        let opaque_protocol = OPAQUE_PORTS.contains(&address.port());
        match index.target(address.ip()) {
            Target::Unknown => DestinationProfile::default(),
            Target::Service(service) => self.service_profile(&service, address.port()),
            Target::Pod(pod) => DestinationProfile { opaque_protocol, endpoint: Some(self.endpoint(address, Some(&pod))), ..DestinationProfile::default() },
        }
    }

    /// The profile of a service that was asked for by name.
    pub(crate) fn service_profile(&self, service: &Key, port: u16) -> DestinationProfile {
        DestinationProfile {
            fully_qualified_name: format!("{}.{}.svc.{}", service.name, service.namespace, self.cluster_domain),
            opaque_protocol: OPAQUE_PORTS.contains(&port),
            parent_ref: Some(reference("Service", service, port)),
            ..DestinationProfile::default()
        }
    }

    /// The updates that take a client from `sent` to `now`, and what it then has. `first` always
    /// says something; later on, no difference is no message.
    pub(crate) fn updates(&self, authority: &Authority, sent: &Sent, now: Option<&Endpoints>, first: bool) -> (Vec<Update>, Sent) {
        let next: Sent = now.into_iter().flatten().map(|(address, pod)| (*address, self.endpoint(*address, pod.as_deref()))).collect();
        let mut updates = Vec::new();
        if next.is_empty() {
            if first || !sent.is_empty() {
                updates.push(update(Change::NoEndpoints(NoEndpoints { exists: now.is_some() })));
            }
            return (updates, next);
        }
        let gone: Vec<_> = sent.keys().filter(|address| !next.contains_key(address)).map(|address| TcpAddress::from(*address)).collect();
        let fresh: Vec<_> = next.iter().filter(|(address, endpoint)| sent.get(address) != Some(endpoint)).map(|(_, endpoint)| endpoint.clone()).collect();
        if !fresh.is_empty() {
            let metric_labels = labels([("namespace", &authority.service.namespace), ("service", &authority.service.name)]);
            updates.push(update(Change::Add(WeightedAddrSet { addrs: fresh, metric_labels })));
        }
        // After the additions, so that a client never has fewer endpoints than there are.
        if !gone.is_empty() {
            updates.push(update(Change::Remove(AddrSet { addrs: gone })));
        }
        (updates, next)
    }

    fn endpoint(&self, address: SocketAddr, pod: Option<&Pod>) -> WeightedAddr {
        let mut endpoint = WeightedAddr { addr: Some(TcpAddress::from(address)), weight: WEIGHT, ..WeightedAddr::default() };
        let Some(pod) = pod else { return endpoint };
        endpoint.metric_labels = labels([("namespace", &pod.key.namespace), ("pod", &pod.key.name), ("serviceaccount", &pod.account)]);
        if let Some((kind, name)) = &pod.workload {
            endpoint.metric_labels.insert("workload".to_owned(), name.clone());
            endpoint.metric_labels.insert("workload_kind".to_owned(), kind.clone());
            // The label that linkerd's dashboards join on.
            endpoint.metric_labels.insert(kind.clone(), name.clone());
        }
        endpoint.resource_ref = Some(reference("Pod", &pod.key, 0));
        // An account whose name is no DNS label has no identity; its pods are reached in plain text.
        if let Ok(name) = self.own.sibling(&pod.key.namespace, &pod.account)
            && pod.meshed
        {
            let identity = DnsLikeIdentity { name: name.to_string() };
            endpoint.tls_identity = Some(TlsIdentity { server_name: Some(identity.clone()), strategy: Some(Strategy::DnsLikeIdentity(identity)) });
            endpoint.protocol_hint = Some(ProtocolHint {
                opaque_transport: Some(OpaqueTransport { inbound_port: INBOUND_PORT }),
                protocol: OPAQUE_PORTS.contains(&address.port()).then_some(Protocol::Opaque(Opaque {})),
            });
        }
        endpoint
    }
}

/// An address that an endpoint slice or a pod status spells out.
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn update(change: Change) -> Update {
    Update { update: Some(change) }
}

fn labels<const N: usize>(pairs: [(&str, &String); N]) -> HashMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

fn reference(kind: &str, key: &Key, port: u16) -> meta::Metadata {
    let resource = meta::Resource {
        group: "core".to_owned(),
        kind: kind.to_owned(),
        name: key.name.clone(),
        namespace: key.namespace.clone(),
        section: String::new(),
        port: u32::from(port),
    };
    meta::Metadata { kind: Some(meta::metadata::Kind::Resource(resource)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> Wire {
        let own = Name::new("assent-system", "assent-discovery", "assent-system", "cluster.local").unwrap();
        Wire::new(own, "cluster.local".to_owned())
    }

    #[test]
    fn reads_services_of_this_cluster_only() {
        let wire = wire();
        let read = |path: &str| wire.authority(path).map(|a| format!("{}/{}:{}", a.service.namespace, a.service.name, a.port));
        assert_eq!(read("cart.shop.svc.cluster.local:8080").as_deref(), Some("shop/cart:8080"));
        assert_eq!(read("cart.shop.svc.cluster.local.").as_deref(), Some("shop/cart:80"));
        let long = format!("{}.shop.svc.cluster.local:80", "a".repeat(600));
        for path in [
            "",
            ":",
            "example.com:80",
            "10.0.0.1:80",
            "cart.svc.cluster.local:80",
            "pod.cart.shop.svc.cluster.local:80",
            "cart.shop.svc.cluster.local:x",
            "cart.shop.svc.cluster.local:99999",
            "[::1]:80",
            &long,
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    fn pod(name: &str, meshed: bool) -> std::sync::Arc<Pod> {
        std::sync::Arc::new(Pod {
            key: Key { namespace: "shop".to_owned(), name: name.to_owned() },
            account: "cart".to_owned(),
            workload: Some(("deployment".to_owned(), "cart".to_owned())),
            meshed,
            addresses: Vec::new(),
            node: Vec::new(),
            callers: None,
        })
    }

    #[test]
    fn sends_differences_and_never_emptiness_before_an_add() {
        let wire = wire();
        let authority = wire.authority("cart.shop.svc.cluster.local:80").unwrap();
        let one = Endpoints::from([("10.0.0.1:8080".parse().unwrap(), Some(pod("a", true)))]);
        let two = Endpoints::from([("10.0.0.2:8080".parse().unwrap(), Some(pod("b", false)))]);
        let kinds = |updates: &[Update]| {
            updates
                .iter()
                .map(|update| match update.update.as_ref().unwrap() {
                    Change::Add(set) => format!("add {}", set.addrs.len()),
                    Change::Remove(set) => format!("remove {}", set.addrs.len()),
                    Change::NoEndpoints(none) => format!("none {}", none.exists),
                })
                .collect::<Vec<_>>()
        };
        let (updates, sent) = wire.updates(&authority, &Sent::new(), Some(&one), true);
        assert_eq!(kinds(&updates), ["add 1"]);
        assert_eq!(
            sent.values().next().unwrap().tls_identity.as_ref().unwrap().server_name.as_ref().unwrap().name,
            "cart.shop.serviceaccount.identity.assent-system.cluster.local"
        );
        let (updates, sent) = wire.updates(&authority, &sent, Some(&one), false);
        assert!(updates.is_empty());
        let (updates, sent) = wire.updates(&authority, &sent, Some(&two), false);
        assert_eq!(kinds(&updates), ["add 1", "remove 1"]);
        assert_eq!(sent.values().next().unwrap().tls_identity, None, "an unmeshed pod has no identity");
        let (updates, sent) = wire.updates(&authority, &sent, Some(&Endpoints::new()), false);
        assert_eq!(kinds(&updates), ["none true"]);
        let (updates, sent) = wire.updates(&authority, &sent, None, false);
        assert!(updates.is_empty());
        let (updates, _) = wire.updates(&authority, &sent, None, true);
        assert_eq!(kinds(&updates), ["none false"]);
    }
}
