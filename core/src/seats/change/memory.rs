//! Which pod templates were seen healthy, and when: all replicas ready for a while, and no incident soon after.

use std::collections::BTreeMap;

use serde::Serialize;

use super::View;
use crate::action::Configuration;
use crate::canonical::Digest;
use crate::ids::UnixMillis;
use crate::target::Service;

/// A template that became ready within this time before an incident is not taken for healthy by it.
pub(super) const SUSPECT_MS: i64 = 10 * 60 * 1000;
/// Templates remembered per workload.
const MAX_TEMPLATES: usize = 8;

/// A template as it was when all was well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Healthy {
    pub(super) revision: i64,
    pub(super) images: Vec<String>,
    pub(super) configurations: Vec<Configuration>,
    /// Since when all its replicas were ready.
    pub(super) from: UnixMillis,
    /// When it was last seen so.
    pub(super) at: UnixMillis,
}

/// The memory of one change seat; it begins when the seat begins.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Since when the current template has been ready everywhere, with its digest.
    settled: BTreeMap<Service, (Digest, UnixMillis)>,
    healthy: BTreeMap<Service, BTreeMap<Digest, Healthy>>,
    /// From this time on nothing is taken for healthy: an incident is open.
    suspended_until: Option<UnixMillis>,
}

// === impl Memory ===

impl Memory {
    pub(super) fn forget(&mut self, service: &Service) {
        self.settled.remove(service);
        self.healthy.remove(service);
    }

    pub(super) fn len(&self) -> usize {
        self.healthy.values().map(BTreeMap::len).sum()
    }

    /// Since when all pods have run what they run.
    pub(super) fn settled_since(&self, service: &Service) -> Option<UnixMillis> {
        self.settled.get(service).map(|(_, since)| *since)
    }

    /// What is known of `template` when it was healthy.
    pub(super) fn healthy(&self, service: &Service, template: &Digest) -> Option<&Healthy> {
        self.healthy.get(service)?.get(template)
    }
}

// === impl View ===

impl View {
    /// Notes that `service` is settled on its template, and after long enough that the template is healthy.
    pub(super) fn remember(&mut self, service: &Service, now: UnixMillis) {
        let Some(workload) = self.workloads.get(service) else { return };
        let digest = workload.template.digest.clone();
        if !workload.counts.settled() {
            self.memory.settled.remove(service);
            return;
        }
        let settled = self.memory.settled.entry(service.clone()).or_insert_with(|| (digest.clone(), now));
        if settled.0 != digest {
            *settled = (digest.clone(), now);
        }
        let from = settled.1;
        if now.since(from) < self.settle_ms || self.memory.suspended_until.is_some_and(|until| now < until) {
            return;
        }
        let Some(revision) = self.revisions.get(service).and_then(|all| all.iter().find(|r| r.template.digest == digest)) else { return };
        let images = self.images.get(service).and_then(|by_template| by_template.get(&digest)).cloned().unwrap_or_default();
        let configurations = self.configurations_of(&service.namespace, &workload.template);
        // Without its images or with a reference that is not there it is not known what ran.
        if images.is_empty() || configurations.len() != workload.template.references.len() {
            return;
        }
        // Nor while an edit is young enough to be to blame for what comes, or its pods started before what they read only then was edited.
        let known = |name: &String| self.configurations.get(&(service.namespace.clone(), name.clone()));
        let proven = |edited: &super::Configuration| !edited.is_edited() || now.since(edited.changed_at) >= SUSPECT_MS;
        let read = |edited: &super::Configuration| edited.changed_at <= from;
        let template = &workload.template;
        if !template.references.iter().filter_map(known).all(proven) || !template.at_start.iter().filter_map(known).all(read) {
            return;
        }
        let known = self.memory.healthy.entry(service.clone()).or_default();
        // A template that comes back, after a rollback say, has been healthy for longer than it is now.
        let from = known.get(&digest).map_or(from, |earlier| earlier.from.min(from));
        known.insert(digest, Healthy { revision: revision.number, images, configurations, from, at: now });
        while known.len() > MAX_TEMPLATES {
            let Some(oldest) = known.iter().min_by_key(|(_, healthy)| healthy.at).map(|(digest, _)| digest.clone()) else { break };
            known.remove(&oldest);
        }
    }

    /// An incident began then: templates that were ready only shortly before are not healthy after all, and none becomes
    /// so while the trouble may last.
    pub(super) fn suspect(&mut self, since: UnixMillis) {
        for known in self.memory.healthy.values_mut() {
            // The oldest stays whatever the time: a seat that has just begun has seen nothing for long.
            let oldest = known.iter().min_by_key(|(_, healthy)| healthy.from).map(|(digest, _)| digest.clone());
            known.retain(|digest, healthy| Some(digest) == oldest.as_ref() || since.since(healthy.from) > SUSPECT_MS || healthy.at < since.plus(-SUSPECT_MS));
        }
        let until = since.plus(SUSPECT_MS / 5);
        self.memory.suspended_until = Some(self.memory.suspended_until.map_or(until, |earlier| earlier.max(until)));
    }
}
