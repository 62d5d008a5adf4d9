//! Who calls whom, as the seats saw it: what alerts of several services are grouped by. It decides no action.

use std::collections::{BTreeMap, BTreeSet};

use crate::ballot::Edge;
use crate::target::Service;

/// Services that are looked at from one of them; beyond, what is connected counts as not connected.
const NEAR: usize = 128;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    callees: BTreeMap<Service, BTreeSet<Service>>,
    callers: BTreeMap<Service, BTreeSet<Service>>,
}

// === impl Calls ===

impl Calls {
    /// Of two services that call each other neither explains the other, so such calls are left out.
    #[must_use]
    pub fn new(edges: impl IntoIterator<Item = Edge>) -> Self {
        let edges: BTreeSet<Edge> = edges.into_iter().collect();
        let mut calls = Self::default();
        for edge in &edges {
            let back = Edge { caller: edge.callee.clone(), callee: edge.caller.clone() };
            if !edges.contains(&back) {
                calls.callees.entry(edge.caller.clone()).or_default().insert(edge.callee.clone());
                calls.callers.entry(edge.callee.clone()).or_default().insert(edge.caller.clone());
            } else {
                // They are known all the same.
                calls.callees.entry(edge.caller.clone()).or_default();
            }
        }
        calls
    }

    /// Whether any call of it was seen.
    #[must_use]
    pub fn knows(&self, service: &Service) -> bool {
        self.callees.contains_key(service) || self.callers.contains_key(service)
    }

    /// `service` and all that it calls, directly or not.
    #[must_use]
    pub fn below<'a>(&'a self, service: &'a Service) -> BTreeSet<&'a Service> {
        reached(&self.callees, BTreeSet::from([service]))
    }

    /// Whose incidents may have to do with `service`: what it calls, and whoever calls any of that.
    #[must_use]
    pub fn near<'a>(&'a self, service: &'a Service) -> BTreeSet<&'a Service> {
        reached(&self.callers, self.below(service))
    }
}

/// All that is reached from `from` along `along`, nearest first, at most [`NEAR`].
fn reached<'a>(along: &'a BTreeMap<Service, BTreeSet<Service>>, from: BTreeSet<&'a Service>) -> BTreeSet<&'a Service> {
    let mut reached = from;
    let mut next: Vec<&Service> = reached.iter().copied().collect();
    while !next.is_empty() {
        let mut further = Vec::new();
        for service in next.iter().filter_map(|service| along.get(*service)).flatten() {
            if reached.len() < NEAR && reached.insert(service) {
                further.push(service);
            }
        }
        next = further;
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        Service { namespace: "shop".into(), name: name.into() }
    }

    fn calls(pairs: &[(String, String)]) -> Calls {
        Calls::new(pairs.iter().map(|(caller, callee)| Edge { caller: service(caller), callee: service(callee) }))
    }

    #[test]
    fn what_is_below_ends_in_circles_and_is_bounded() {
        let ring: Vec<_> = (0..3).map(|n| (format!("s{n}"), format!("s{}", (n + 1) % 3))).collect();
        assert_eq!(calls(&ring).below(&service("s0")).len(), 3);
        let chain: Vec<_> = (0..10_000).map(|n| (format!("s{n}"), format!("s{}", n + 1))).collect();
        let chain = calls(&chain);
        assert_eq!(chain.below(&service("s0")).len(), NEAR);
        assert!(chain.near(&service("s5000")).len() <= NEAR);
        assert!(!chain.knows(&service("t")) && chain.below(&service("t")).len() == 1);
    }

    #[test]
    fn near_is_what_is_called_and_whoever_calls_that() {
        let pairs = [("web", "orders"), ("orders", "db"), ("stock", "db"), ("mail", "smtp")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let calls = calls(&pairs);
        let orders = service("orders");
        let near: Vec<_> = calls.near(&orders).into_iter().map(|service| service.name.as_str()).collect();
        assert_eq!(near, ["db", "orders", "stock", "web"]);
    }
}
