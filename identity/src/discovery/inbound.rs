//! Who may talk to a pod: read from annotations, written in the words of linkerd2-proxy-api. Pure.
//!
//! Without an annotation everybody may. The annotation names the identities that may; an entry that makes no sense lets in
//! nobody, so that a mistake shuts out and never lets in. The pod itself and its node (the kubelet's probes come from
//! there) always may. Whether anybody keeps to it is the sidecar's business.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use assent_runtime::workload::Name;
use linkerd2_proxy_api::inbound::authn::permit_mesh_tls::{Clients, PermitClientIdentities};
use linkerd2_proxy_api::inbound::authn::{Permit, PermitMeshTls, PermitUnauthenticated};
use linkerd2_proxy_api::inbound::proxy_protocol::{Detect, Kind, Opaque};
use linkerd2_proxy_api::inbound::{Authn, Authz, Identity, IdentitySuffix, Network, ProxyProtocol, Server};
use linkerd2_proxy_api::meta;
use linkerd2_proxy_api::net::{IpAddress, IpNetwork};

use super::index::{Index, Pod};
use super::wire::{OPAQUE_PORTS, Wire};

/// On a namespace or a pod: `NAMESPACE/SERVICEACCOUNT` or `NAMESPACE/*`, separated by commas.
pub(crate) const ANNOTATION: &str = "assent.dev/inbound-identities";
/// Further entries are as good as malformed.
const MAX_ENTRIES: usize = 256;
/// For proxies that wait for the client to speak; ours does not.
const DETECTION: Duration = Duration::from_secs(10);

/// The identities that an annotation lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Callers {
    /// Namespace and service account.
    accounts: BTreeSet<(String, String)>,
    namespaces: BTreeSet<String>,
    malformed: bool,
}

// === impl Callers ===

impl Callers {
    /// Reads an annotation. What makes no sense lets in nobody and is remembered.
    pub(crate) fn parse(text: &str) -> Self {
        let mut callers = Self::default();
        let mut entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        for entry in entries.by_ref().take(MAX_ENTRIES) {
            match entry.split_once('/') {
                Some((namespace, "*")) if known(namespace, "any") => drop(callers.namespaces.insert(namespace.to_owned())),
                Some((namespace, account)) if known(namespace, account) => drop(callers.accounts.insert((namespace.to_owned(), account.to_owned()))),
                _ => callers.malformed = true,
            }
        }
        callers.malformed |= entries.next().is_some();
        callers
    }

    /// Whom both let in.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let accounts = self.accounts.iter().filter(|account| other.holds(account));
        let others = other.accounts.iter().filter(|account| self.holds(account));
        Self {
            accounts: accounts.chain(others).cloned().collect(),
            namespaces: self.namespaces.intersection(&other.namespaces).cloned().collect(),
            malformed: self.malformed || other.malformed,
        }
    }

    pub(crate) fn malformed(&self) -> bool {
        self.malformed
    }

    fn holds(&self, account: &(String, String)) -> bool {
        self.accounts.contains(account) || self.namespaces.contains(&account.0)
    }

    /// The clause that lets them in; none if there is nobody.
    fn clause(&self, own: &Name) -> Option<PermitClientIdentities> {
        let named = self.accounts.iter().filter(|(namespace, _)| !self.namespaces.contains(namespace));
        // A name that is too long is nobody's.
        let identities: Vec<_> =
            named.filter_map(|(namespace, account)| own.sibling(namespace, account).ok()).map(|name| Identity { name: name.to_string() }).collect();
        let suffixes: Vec<_> = self.namespaces.iter().filter_map(|namespace| suffix(own, namespace)).collect();
        let nobody = identities.is_empty() && suffixes.is_empty();
        (!nobody).then_some(PermitClientIdentities { identities, suffixes })
    }
}

// === impl Wire ===

impl Wire {
    /// The policy of one port of a pod.
    pub(crate) fn server(&self, index: &Index, pod: &Pod, port: u16) -> Server {
        let callers = index.callers(pod);
        let permitted = match &callers {
            None => Some((everywhere(), unauthenticated(), EVERYBODY)),
            Some(callers) => callers.clause(self.own()).map(|clients| (everywhere(), mesh_tls(clients), NAMED)),
        };
        // Nobody else can connect from these addresses: neither is routed back to whoever only claims it.
        let own = (pod.addresses.iter().copied().map(host).collect(), unauthenticated(), SELF);
        let probes = (pod.node.iter().copied().map(host).collect(), unauthenticated(), PROBE);
        let authorizations =
            [Some(own), Some(probes), permitted].into_iter().flatten().filter_map(|(networks, permit, labels)| authorization(networks, permit, labels));
        let kind = if OPAQUE_PORTS.contains(&port) {
            Kind::Opaque(Opaque {})
        } else {
            Kind::Detect(Detect { timeout: DETECTION.try_into().ok(), ..Detect::default() })
        };
        Server {
            protocol: Some(ProxyProtocol { kind: Some(kind) }),
            server_ips: pod.addresses.iter().copied().map(IpAddress::from).collect(),
            authorizations: authorizations.collect(),
            labels: if callers.is_some() { NAMED } else { EVERYBODY }.wire(),
        }
    }
}

/// What metrics show of a policy; the field's own words where it has some.
#[derive(Clone, Copy, Debug)]
struct Labels {
    group: &'static str,
    kind: &'static str,
    name: &'static str,
}

const EVERYBODY: Labels = Labels { group: "", kind: "default", name: "all-unauthenticated" };
const PROBE: Labels = Labels { group: "", kind: "default", name: "probe" };
const SELF: Labels = Labels { group: "", kind: "default", name: "self" };
const NAMED: Labels = Labels { group: "assent.dev", kind: "annotation", name: "inbound-identities" };

// === impl Labels ===

impl Labels {
    fn wire(self) -> HashMap<String, String> {
        [("group", self.group), ("kind", self.kind), ("name", self.name)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn metadata(self) -> meta::Metadata {
        let kind = if self.kind == "default" {
            meta::metadata::Kind::Default(self.name.to_owned())
        } else {
            let (group, kind, name) = (self.group.to_owned(), self.kind.to_owned(), self.name.to_owned());
            meta::metadata::Kind::Resource(meta::Resource { group, kind, name, ..meta::Resource::default() })
        };
        meta::Metadata { kind: Some(kind) }
    }
}

/// Only a service account whose name is a DNS label has an identity.
fn known(namespace: &str, account: &str) -> bool {
    Name::new(namespace, account, "any", "any").is_ok()
}

/// Every identity of a namespace.
fn suffix(own: &Name, namespace: &str) -> Option<IdentitySuffix> {
    let some = own.sibling(namespace, "any").ok()?;
    let (_, suffix) = some.as_str().split_once('.')?;
    Some(IdentitySuffix { parts: suffix.split('.').map(str::to_owned).collect() })
}

fn authorization(networks: Vec<Network>, permit: Permit, labels: Labels) -> Option<Authz> {
    let authentication = Some(Authn { permit: Some(permit) });
    // Without a network it would be ignored.
    (!networks.is_empty()).then(|| Authz { networks, authentication, labels: labels.wire(), metadata: Some(labels.metadata()) })
}

fn everywhere() -> Vec<Network> {
    vec![any(IpAddr::from([0; 4])), any(IpAddr::from([0; 16]))]
}

fn any(family: IpAddr) -> Network {
    Network { net: Some(IpNetwork { ip: Some(family.into()), prefix_len: 0 }), except: Vec::new() }
}

fn host(address: IpAddr) -> Network {
    let prefix_len = if address.is_ipv4() { 32 } else { 128 };
    Network { net: Some(IpNetwork { ip: Some(address.into()), prefix_len }), except: Vec::new() }
}

fn unauthenticated() -> Permit {
    Permit::Unauthenticated(PermitUnauthenticated {})
}

fn mesh_tls(clients: PermitClientIdentities) -> Permit {
    Permit::MeshTls(PermitMeshTls { clients: Some(Clients::Identities(clients)) })
}

#[cfg(test)]
mod tests {
    use super::super::index::Key;
    use super::*;

    const CART: &str = "cart.shop.serviceaccount.identity.assent-system.cluster.local";

    fn wire() -> Wire {
        Wire::new("assent-discovery.assent-system.serviceaccount.identity.assent-system.cluster.local".parse().unwrap(), "cluster.local".to_owned())
    }

    fn server(namespace: Option<&str>, pod: Option<&str>, port: u16) -> Server {
        let mut index = Index::default();
        index.namespace(&Key { namespace: String::new(), name: "shop".to_owned() }, namespace.map(Callers::parse));
        let pod = Pod {
            key: Key { namespace: "shop".to_owned(), name: "web-1".to_owned() },
            account: "web".to_owned(),
            workload: None,
            meshed: true,
            addresses: vec!["10.1.0.1".parse().unwrap()],
            node: vec!["192.0.2.7".parse().unwrap()],
            callers: pod.map(Callers::parse),
        };
        wire().server(&index, &pod, port)
    }

    /// The name of each authorization with the networks and identities that it names.
    fn described(server: &Server) -> Vec<String> {
        let network = |network: &Network| {
            let net = network.net.unwrap();
            format!("{}/{}", IpAddr::try_from(net.ip.unwrap()).unwrap(), net.prefix_len)
        };
        let permit = |authz: &Authz| match authz.authentication.clone().unwrap().permit.unwrap() {
            Permit::Unauthenticated(_) => "anybody".to_owned(),
            Permit::MeshTls(PermitMeshTls { clients: Some(Clients::Identities(clients)) }) => {
                let suffixes = clients.suffixes.iter().map(|suffix| format!("*.{}", suffix.parts.join(".")));
                clients.identities.iter().map(|identity| identity.name.clone()).chain(suffixes).collect::<Vec<_>>().join(" ")
            }
            other @ Permit::MeshTls(_) => panic!("{other:?}"),
        };
        let line =
            |authz: &Authz| format!("{}: {} from {}", authz.labels["name"], permit(authz), authz.networks.iter().map(network).collect::<Vec<_>>().join(" "));
        server.authorizations.iter().map(line).collect()
    }

    #[test]
    fn without_an_annotation_everybody_may_and_it_says_so() {
        let server = server(None, None, 8080);
        assert_eq!(
            described(&server),
            ["self: anybody from 10.1.0.1/32", "probe: anybody from 192.0.2.7/32", "all-unauthenticated: anybody from 0.0.0.0/0 ::/0"]
        );
        assert_eq!((server.labels["kind"].as_str(), server.labels["name"].as_str()), ("default", "all-unauthenticated"));
        assert!(matches!(server.protocol.unwrap().kind.unwrap(), Kind::Detect(detect) if detect.timeout.is_some()));
    }

    #[test]
    fn an_annotation_names_who_may_and_the_pod_and_its_node_may_too() {
        let server = server(Some("shop/cart, bank/*, shop/cart"), None, 5432);
        assert_eq!(
            described(&server)[2..],
            [format!("inbound-identities: {CART} *.bank.serviceaccount.identity.assent-system.cluster.local from 0.0.0.0/0 ::/0")]
        );
        assert_eq!(described(&server)[..2], ["self: anybody from 10.1.0.1/32", "probe: anybody from 192.0.2.7/32"]);
        assert_eq!(server.labels["group"], "assent.dev");
        assert!(matches!(server.protocol.unwrap().kind.unwrap(), Kind::Opaque(_)));
    }

    #[test]
    fn a_pod_narrows_its_namespace_and_cannot_widen_it() {
        let named = format!("inbound-identities: {CART} from 0.0.0.0/0 ::/0");
        for (namespace, pod) in [("shop/*", "shop/cart"), ("shop/cart", "shop/*"), ("shop/cart", "shop/cart,bank/teller"), ("shop/cart,bank/*", "shop/*")] {
            assert_eq!(described(&server(Some(namespace), Some(pod), 80)).last(), Some(&named), "{namespace} and {pod}");
        }
        assert_eq!(described(&server(Some("shop/cart"), Some("bank/*"), 80)).len(), 2, "nobody but the pod and its node");
    }

    #[test]
    fn what_makes_no_sense_lets_in_nobody() {
        let long = vec!["shop/cart"; MAX_ENTRIES + 1].join(",");
        for text in ["cart", "*/cart", "*", "*/*", "shop/", "/cart", "shop/cart/x", "Shop/cart", "shop/Cart", "shop/a.b", "shop cart", "shop/ca*", "\u{0}"] {
            let callers = Callers::parse(text);
            assert!(callers.malformed(), "`{text}`");
            assert_eq!(described(&server(Some(text), None, 80)).len(), 2, "`{text}`");
            let others = Callers::parse(&format!("{text},shop/cart"));
            assert!(others.malformed() && others.accounts.len() == 1, "the others hold: `{text}`");
        }
        assert!(Callers::parse(&long).malformed());
        for nobody in ["", " , ,"] {
            assert!(!Callers::parse(nobody).malformed());
            assert_eq!(described(&server(Some(nobody), None, 80)).len(), 2);
        }
    }
}
