//! Whose series, span or line it is. Labels and attributes are strangers' words: each is looked up among the workloads that the
//! incident is about, and one that names none of them is nobody's.

use std::collections::{BTreeSet, HashMap};

use assent_core::incident::Context;

use crate::pods::Pods;

/// What a scraper of somebody else's figures is called, after the name of whom it asks.
const HELPERS: [&str; 3] = ["-exporter", "-metrics", "-proxy"];
const MAX_NAME: usize = 253;

/// The workloads of one incident's namespace, and their pods as the API server shows them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    namespace: String,
    workloads: BTreeSet<String>,
    pods: HashMap<String, String>,
}

// === impl Names ===

impl Names {
    /// None if the namespace has no name that one could ask a store for.
    pub(crate) fn of(context: &Context, pods: &Pods) -> Option<Self> {
        let namespace = context.service.namespace.clone();
        let is_label = (1..=63).contains(&namespace.len()) && namespace.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !is_label {
            return None;
        }
        let workloads = context.workloads.iter().filter(|workload| workload.target.namespace == namespace).map(|workload| workload.target.name.clone());
        let mut names = Self { workloads: workloads.chain([context.service.name.clone()]).collect(), pods: HashMap::new(), namespace };
        pods.each(|pod, workload| {
            if let Some(workload) = workload.filter(|workload| pod.namespace == names.namespace && names.workloads.contains(&workload.name)) {
                names.pods.insert(pod.name.clone(), workload.name);
            }
        });
        Some(names)
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Pods that run, with their workloads.
    pub(crate) fn running(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pods.iter().map(|(pod, workload)| (pod.as_str(), workload.as_str()))
    }

    /// The workload of this name.
    pub(crate) fn workload(&self, name: &str) -> Option<&str> {
        self.workloads.get(name).map(String::as_str)
    }

    /// The workload behind the name of a pod that runs, that ran, or that measures a workload's pod.
    pub(crate) fn pod(&self, pod: &str) -> Option<&str> {
        if pod.is_empty() || pod.len() > MAX_NAME {
            return None;
        }
        let running = self.pods.get(pod).map(String::as_str);
        running.or_else(|| self.owner(pod, "")).or_else(|| HELPERS.iter().find_map(|helper| self.owner(pod, helper)))
    }

    /// By the way that names of pods are made; the longest name of a workload that fits.
    fn owner(&self, pod: &str, helper: &str) -> Option<&str> {
        let made = |workload: &&String| {
            let rest = pod.strip_prefix(workload.as_str()).and_then(|rest| rest.strip_prefix(helper));
            rest.and_then(|rest| rest.strip_prefix('-')).is_some_and(suffix)
        };
        self.workloads.iter().filter(made).max_by_key(|workload| workload.len()).map(String::as_str)
    }
}

/// `hash-random`, `random` or an ordinal.
fn suffix(rest: &str) -> bool {
    let random = |part: &str| part.len() == 5 && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let hash = |part: &str| (5..=10).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let ordinal = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    match rest.split_once('-') {
        Some((one, two)) => hash(one) && random(two),
        None => random(rest) || ordinal(rest),
    }
}

#[cfg(test)]
impl Names {
    pub(crate) fn testing(workloads: &[&str], pods: &[(&str, &str)]) -> Self {
        Self {
            namespace: "shop".into(),
            workloads: workloads.iter().map(|name| (*name).to_owned()).collect(),
            pods: pods.iter().map(|(pod, workload)| ((*pod).to_owned(), (*workload).to_owned())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_are_gone_belong_to_whom_their_name_was_made_from() {
        let names = Names::testing(&["orders", "orders-db", "front"], &[("strange", "front")]);
        for (pod, expected) in [
            ("strange", Some("front")),
            ("orders-6d4cf56db6-x7k2p", Some("orders")),
            ("orders-db-0", Some("orders-db")),
            ("orders-db-exporter-6d4cf56db6-x7k2p", Some("orders-db")),
            ("front-x7k2p", Some("front")),
            ("orders-admin-6d4cf56db6-x7k2p", None),
            ("orders", None),
            ("orders-", None),
            ("", None),
            ("payments-6d4cf56db6-x7k2p", None),
        ] {
            assert_eq!(names.pod(pod), expected, "{pod}");
        }
        assert_eq!(names.pod(&"x".repeat(10_000)), None);
    }
}
