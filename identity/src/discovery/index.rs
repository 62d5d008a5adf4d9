//! What is known of pods, services and endpoint slices, cut down to what discovery answers with.
//! Pure: objects go in, answers come out; it watches nothing and speaks no protocol.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::inbound::Callers;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A pod as its callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) key: Key,
    pub(crate) account: String,
    /// Kind in lower case and name of what the pod belongs to, such as `deployment`, `cart`.
    pub(crate) workload: Option<(String, String)>,
    /// Whether a ready sidecar can be reached under the pod's identity.
    pub(crate) meshed: bool,
    /// Empty for a pod on the host's network, whose address is not its own.
    pub(crate) addresses: Vec<IpAddr>,
    /// Addresses of the node that it runs on.
    pub(crate) node: Vec<IpAddr>,
    /// Whom its own annotation lets in; none without one.
    pub(crate) callers: Option<Callers>,
}

/// A service's virtual addresses and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) addresses: Vec<IpAddr>,
    /// Port number and port name; unnamed is empty.
    pub(crate) ports: Vec<(u16, String)>,
}

/// A part of a service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) service: Key,
    /// Port name and the number that the endpoints listen on.
    pub(crate) ports: Vec<(String, u16)>,
    /// Ready addresses, and the pod each belongs to unless it is no pod's.
    pub(crate) endpoints: Vec<(IpAddr, Option<Key>)>,
}

/// What an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Unknown,
    Service(Key),
    Pod(Arc<Pod>),
}

/// The addresses behind one port of a service, with the pods that have a known one.
pub(crate) type Endpoints = BTreeMap<SocketAddr, Option<Arc<Pod>>>;

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pods: HashMap<Key, Arc<Pod>>,
    pod_addresses: HashMap<IpAddr, Key>,
    services: HashMap<Key, Service>,
    service_addresses: HashMap<IpAddr, Key>,
    slices: HashMap<Key, Slice>,
    slices_of: HashMap<Key, BTreeSet<Key>>,
    /// Of namespaces that say so, whom they let in. Their keys have no namespace.
    callers: HashMap<Key, Callers>,
}

// === impl Index ===

impl Index {
    /// Replaces a pod; `None` forgets it. Says whether anything changed.
    pub(crate) fn pod(&mut self, key: &Key, pod: Option<Pod>) -> bool {
        if self.pods.get(key).map(|old| &**old) == pod.as_ref() {
            return false;
        }
        if let Some(old) = self.pods.remove(key) {
            release(&mut self.pod_addresses, &old.addresses, key);
        }
        if let Some(pod) = pod {
            // An address passes to the pod that was told of last.
            self.pod_addresses.extend(pod.addresses.iter().map(|address| (*address, key.clone())));
            self.pods.insert(key.clone(), Arc::new(pod));
        }
        true
    }

    /// Replaces a service; `None` forgets it. Says whether anything changed.
    pub(crate) fn service(&mut self, key: &Key, service: Option<Service>) -> bool {
        if self.services.get(key) == service.as_ref() {
            return false;
        }
        if let Some(old) = self.services.remove(key) {
            release(&mut self.service_addresses, &old.addresses, key);
        }
        if let Some(service) = service {
            self.service_addresses.extend(service.addresses.iter().map(|address| (*address, key.clone())));
            self.services.insert(key.clone(), service);
        }
        true
    }

    /// Replaces a slice; `None` forgets it. Says whether anything changed.
    pub(crate) fn slice(&mut self, key: &Key, slice: Option<Slice>) -> bool {
        if self.slices.get(key) == slice.as_ref() {
            return false;
        }
        if let Some(old) = self.slices.remove(key)
            && let Some(slices) = self.slices_of.get_mut(&old.service)
        {
            slices.remove(key);
            if slices.is_empty() {
                self.slices_of.remove(&old.service);
            }
        }
        if let Some(slice) = slice {
            self.slices_of.entry(slice.service.clone()).or_default().insert(key.clone());
            self.slices.insert(key.clone(), slice);
        }
        true
    }

    /// Replaces whom a namespace lets in; `None` lets in everybody. Says whether anything changed.
    pub(crate) fn namespace(&mut self, key: &Key, callers: Option<Callers>) -> bool {
        if self.callers.get(key) == callers.as_ref() {
            return false;
        }
        match callers {
            Some(callers) => self.callers.insert(key.clone(), callers),
            None => self.callers.remove(key),
        };
        true
    }

    /// A pod by its name.
    pub(crate) fn find(&self, key: &Key) -> Option<&Pod> {
        self.pods.get(key).map(|pod| &**pod)
    }

    /// Whom a pod lets in; none is everybody. Who is let in by both its own annotation and its namespace's, where both speak.
    pub(crate) fn callers(&self, pod: &Pod) -> Option<Callers> {
        let namespace = self.callers.get(&Key { namespace: String::new(), name: pod.key.namespace.clone() });
        match (namespace, &pod.callers) {
            (Some(namespace), Some(own)) => Some(namespace.and(own)),
            (Some(callers), None) | (None, Some(callers)) => Some(callers.clone()),
            (None, None) => None,
        }
    }

    /// How many namespaces and pods have an annotation with entries that make no sense.
    pub(crate) fn malformed(&self) -> [usize; 2] {
        let namespaces = self.callers.values().filter(|callers| callers.malformed());
        let pods = self.pods.values().filter(|pod| pod.callers.as_ref().is_some_and(Callers::malformed));
        [namespaces.count(), pods.count()]
    }

    /// What an address is.
    pub(crate) fn target(&self, address: IpAddr) -> Target {
        if let Some(service) = self.service_addresses.get(&address) {
            return Target::Service(service.clone());
        }
        let pod = self.pod_addresses.get(&address).and_then(|key| self.pods.get(key));
        pod.map_or(Target::Unknown, |pod| Target::Pod(pod.clone()))
    }

    /// The ready endpoints of one port of a service; `None` if there is no such service.
    pub(crate) fn endpoints(&self, service: &Key, port: u16) -> Option<Endpoints> {
        let ports = &self.services.get(service)?.ports;
        let Some((_, name)) = ports.iter().find(|(number, _)| *number == port) else {
            return Some(Endpoints::new());
        };
        let mut endpoints = Endpoints::new();
        for slice in self.slices_of.get(service).into_iter().flatten().filter_map(|key| self.slices.get(key)) {
            let Some((_, target)) = slice.ports.iter().find(|(slice_port, _)| slice_port == name) else {
                continue;
            };
            for (address, pod) in &slice.endpoints {
                let known = pod.as_ref().and_then(|key| self.pods.get(key)).cloned();
                // The slice was told of before its pod: an answer without the pod's identity would
                // send plain text to a meshed pod, so the endpoint waits for the pod.
                if pod.is_some() && known.is_none() {
                    continue;
                }
                endpoints.insert(SocketAddr::new(*address, *target), known);
            }
        }
        Some(endpoints)
    }

    pub(crate) fn pod_keys(&self) -> Vec<Key> {
        self.pods.keys().cloned().collect()
    }

    pub(crate) fn namespace_keys(&self) -> Vec<Key> {
        self.callers.keys().cloned().collect()
    }

    pub(crate) fn service_keys(&self) -> Vec<Key> {
        self.services.keys().cloned().collect()
    }

    pub(crate) fn slice_keys(&self) -> Vec<Key> {
        self.slices.keys().cloned().collect()
    }
}

fn release(addresses: &mut HashMap<IpAddr, Key>, old: &[IpAddr], key: &Key) {
    for address in old {
        if addresses.get(address) == Some(key) {
            addresses.remove(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn pod(name: &str, address: &str) -> Pod {
        let addresses = vec![address.parse().unwrap()];
        Pod { key: key(name), account: "cart".to_owned(), workload: None, meshed: true, addresses, node: Vec::new(), callers: None }
    }

    fn index() -> Index {
        let mut index = Index::default();
        let service = Service { addresses: vec!["10.96.0.9".parse().unwrap()], ports: vec![(80, "http".to_owned())] };
        assert!(index.service(&key("cart"), Some(service)));
        let slice = Slice {
            service: key("cart"),
            ports: vec![("http".to_owned(), 8080)],
            endpoints: vec![("10.0.0.1".parse().unwrap(), Some(key("cart-1"))), ("10.0.0.9".parse().unwrap(), None)],
        };
        assert!(index.slice(&key("cart-x"), Some(slice)));
        index
    }

    #[test]
    fn an_endpoint_waits_for_its_pod() {
        let mut index = index();
        let without = index.endpoints(&key("cart"), 80).unwrap();
        assert_eq!(without.keys().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.9:8080"]);
        assert!(index.pod(&key("cart-1"), Some(pod("cart-1", "10.0.0.1"))));
        assert!(!index.pod(&key("cart-1"), Some(pod("cart-1", "10.0.0.1"))), "nothing changed");
        let with = index.endpoints(&key("cart"), 80).unwrap();
        assert_eq!(with.len(), 2);
        assert!(with[&"10.0.0.1:8080".parse().unwrap()].as_ref().unwrap().meshed);
    }

    #[test]
    fn absent_service_and_absent_port_differ() {
        let index = index();
        assert_eq!(index.endpoints(&key("none"), 80), None);
        assert_eq!(index.endpoints(&key("cart"), 81), Some(Endpoints::new()));
    }

    #[test]
    fn a_pod_and_its_namespace_must_both_let_a_caller_in() {
        let mut index = Index::default();
        let shop = Key { namespace: String::new(), name: "shop".to_owned() };
        let mut cart = pod("cart-1", "10.0.0.1");
        assert_eq!(index.callers(&cart), None);
        assert!(index.namespace(&shop, Some(Callers::parse("shop/*, bank/teller"))));
        assert!(!index.namespace(&shop, Some(Callers::parse("shop/*, bank/teller"))), "nothing changed");
        assert_eq!(index.callers(&cart), Some(Callers::parse("shop/*,bank/teller")));
        cart.callers = Some(Callers::parse("shop/web,bank/*"));
        assert_eq!(index.callers(&cart), Some(Callers::parse("shop/web,bank/teller")));
        assert!(index.namespace(&shop, None));
        assert_eq!(index.callers(&cart), cart.callers);
        assert_eq!(index.malformed(), [0, 0]);
    }

    #[test]
    fn a_reused_address_belongs_to_the_later_pod() {
        let mut index = index();
        let address = "10.0.0.1".parse().unwrap();
        index.pod(&key("old"), Some(pod("old", "10.0.0.1")));
        index.pod(&key("new"), Some(pod("new", "10.0.0.1")));
        index.pod(&key("old"), None);
        let Target::Pod(found) = index.target(address) else { panic!("address lost") };
        assert_eq!(found.key, key("new"));
        index.pod(&key("new"), None);
        assert_eq!(index.target(address), Target::Unknown);
        assert_eq!(index.target("10.96.0.9".parse().unwrap()), Target::Service(key("cart")));
    }
}
