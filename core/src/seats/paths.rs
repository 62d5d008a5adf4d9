//! Walks over who calls whom: what stands below a service, and the way from a cause up to the alert.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ballot::Edge;
use crate::target::Service;

/// Longest path in a ballot.
const MAX_PATH: usize = 64;

/// `service` and everything that it calls, directly or through others.
pub(super) fn below<'a>(edges: &'a BTreeSet<Edge>, service: &'a Service) -> BTreeSet<&'a Service> {
    let mut reached = BTreeSet::from([service]);
    let mut queue = VecDeque::from([service]);
    while let Some(caller) = queue.pop_front() {
        for edge in edges.iter().filter(|edge| edge.caller == *caller) {
            if reached.insert(&edge.callee) {
                queue.push_back(&edge.callee);
            }
        }
    }
    reached
}

/// The shortest way from `cause` through its callers to `alert`; the cause alone if there is none.
pub(super) fn path(edges: &BTreeSet<Edge>, cause: &Service, alert: &Service) -> Vec<Service> {
    let mut came_from: BTreeMap<&Service, &Service> = BTreeMap::new();
    let mut queue = VecDeque::from([cause]);
    while let Some(callee) = queue.pop_front() {
        if callee == alert {
            let mut path = vec![callee.clone()];
            let mut at = callee;
            while let Some(next) = came_from.get(at).filter(|_| at != cause) {
                path.push((*next).clone());
                at = next;
            }
            path.reverse();
            path.truncate(MAX_PATH);
            return path;
        }
        for edge in edges.iter().filter(|edge| edge.callee == *callee) {
            if edge.caller != *cause && !came_from.contains_key(&edge.caller) {
                came_from.insert(&edge.caller, callee);
                queue.push_back(&edge.caller);
            }
        }
    }
    vec![cause.clone()]
}

/// The services that `caller` calls and that do not call it back.
pub(super) fn callees<'a>(edges: &'a BTreeSet<Edge>, caller: &'a Service) -> impl Iterator<Item = &'a Service> {
    edges
        .iter()
        .filter(move |edge| edge.caller == *caller && edge.callee != *caller)
        .filter(|edge| !edges.contains(&Edge { caller: edge.callee.clone(), callee: edge.caller.clone() }))
        .map(|edge| &edge.callee)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        Service { namespace: "n".into(), name: name.into() }
    }

    fn edges(pairs: &[(&str, &str)]) -> BTreeSet<Edge> {
        pairs.iter().map(|(caller, callee)| Edge { caller: service(caller), callee: service(callee) }).collect()
    }

    #[test]
    fn walks_end_on_cycles() {
        let edges = edges(&[("a", "b"), ("b", "c"), ("c", "a"), ("b", "d")]);
        assert_eq!(below(&edges, &service("c")).len(), 4);
        assert_eq!(path(&edges, &service("d"), &service("a")), [service("d"), service("b"), service("a")]);
        assert_eq!(path(&edges, &service("d"), &service("x")), [service("d")]);
        assert_eq!(path(&edges, &service("a"), &service("a")), [service("a")]);
    }

    #[test]
    fn mutual_callers_do_not_explain_each_other() {
        let edges = edges(&[("a", "b"), ("b", "a"), ("a", "c")]);
        assert_eq!(callees(&edges, &service("a")).collect::<Vec<_>>(), [&service("c")]);
    }
}
