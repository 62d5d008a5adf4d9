//! The change seat: rollouts, images and configuration, as objects in the API server show them.
//!
//! It answers for the application: what people changed shortly before the trouble is suspect, the nearer the more. It
//! remembers which pod templates it saw healthy, with their images and configuration, and proposes to go back to those and
//! to no others: a revision number proves nothing. Marks that a restart leaves on a template are no change. Where a ConfigMap
//! was edited, it proposes the content of before.

mod configuration;
pub(in crate::seats) mod logs;
mod memory;
pub mod recorded;
mod vote;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::{Asked, Entry, Position, Put, Seat, digest_of};
use crate::action::{configurations_at_start, referenced_configurations};
use crate::ballot::Opinion;
use crate::canonical::Digest;
use crate::ids::{Domain, UnixMillis};
use crate::target::Service;
use crate::workload::{Counts, plain_template};
use memory::Memory;

/// Its line in the table of seats.
pub const ENTRY: Entry = Entry { name: "change", domain: Domain::Application, rules: "change/1" };

const MAX_WORKLOADS: usize = 256;
const MAX_CONFIGURATIONS: usize = 1024;
/// Revisions of a workload that are told apart.
const MAX_REVISIONS: usize = 8;
/// Annotations that a restart leaves on a pod template.
const RESTART_MARKS: [&str; 2] = ["assent.dev/restarted-for", "kubectl.kubernetes.io/restartedAt"];

/// A pod template by content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Template {
    /// Digest of all of it, as its workload has it.
    pub digest: Digest,
    /// Digest without what a restart leaves behind: equal shapes run the same.
    pub shape: Digest,
    /// Digest of its pod's specification alone.
    pub spec: Digest,
    /// ConfigMaps that it refers to.
    pub references: Vec<String>,
    /// Of those, the ones that its pods read only when they start.
    pub at_start: Vec<String>,
}

/// A workload as the API server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// UID of the object.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Its template now.
    pub template: Template,
    /// How far its pods are.
    pub counts: Counts,
}

/// A revision: an earlier template, by whatever keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revision {
    /// Revision number; a rollback to it gives it a new one.
    pub number: i64,
    /// Its template.
    pub template: Template,
    /// When what keeps it was created, by the API server's clock.
    pub created_at: UnixMillis,
    /// When it was last given its revision number, as far as this seat saw it; its creation otherwise.
    pub rolled_out_at: UnixMillis,
}

/// A ConfigMap by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Configuration {
    /// Digest of `data` and `binaryData`.
    pub digest: Digest,
    /// When it was created.
    pub created_at: UnixMillis,
    /// When its content last changed, as far as is known.
    pub changed_at: UnixMillis,
}

/// Everything that the change seat holds.
#[derive(Debug, Default)]
pub struct View {
    settle_ms: i64,
    workloads: BTreeMap<Service, Workload>,
    revisions: BTreeMap<Service, Vec<Revision>>,
    configurations: BTreeMap<(String, String), Configuration>,
    /// Image ids by workload and template digest, from pods that run it.
    images: BTreeMap<Service, BTreeMap<Digest, Vec<String>>>,
    memory: Memory,
    synced: bool,
}

// === impl Configuration ===

impl Configuration {
    /// Whether somebody changed it after it was created.
    fn is_edited(&self) -> bool {
        self.changed_at.since(self.created_at) > 1_000
    }
}

// === impl Template ===

impl Template {
    /// The template in `spec.template` of a workload, or of what keeps it.
    #[must_use]
    pub fn of(template: &Value) -> Self {
        let plain = plain_template(template);
        let mut shape = plain.clone();
        if let Some(metadata) = shape.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                RESTART_MARKS.iter().for_each(|mark| drop(annotations.remove(*mark)));
            }
            if metadata.get("annotations").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
                metadata.remove("annotations");
            }
        }
        let spec = digest_of(&plain.get("spec"));
        Self {
            digest: digest_of(&plain),
            shape: digest_of(&shape),
            spec,
            references: referenced_configurations(&plain),
            at_start: configurations_at_start(&plain),
        }
    }
}

// === impl View ===

impl View {
    /// An empty view; a template counts as healthy once all its replicas were ready for `settle_ms`.
    #[must_use]
    pub fn new(settle_ms: i64) -> Self {
        Self { settle_ms, ..Self::default() }
    }

    /// All objects have been listed once.
    pub fn synced(&mut self) {
        self.synced = true;
    }

    /// A workload is as told.
    pub fn workload(&mut self, service: &Service, workload: Workload, now: UnixMillis) {
        if self.workloads.len() < MAX_WORKLOADS || self.workloads.contains_key(service) {
            self.workloads.insert(service.clone(), workload);
            self.remember(service, now);
        }
    }

    /// Another workload has its name, so nobody could say which of them is meant: neither is known, and what was learned stays.
    pub fn workload_shared(&mut self, service: &Service) {
        self.workloads.remove(service);
    }

    /// A workload is gone.
    pub fn workload_gone(&mut self, service: &Service) {
        self.workloads.remove(service);
        self.revisions.remove(service);
        self.images.remove(service);
        self.memory.forget(service);
    }

    /// A revision of a workload exists.
    pub fn revision(&mut self, service: &Service, number: i64, template: Template, created_at: UnixMillis, now: UnixMillis) {
        if self.revisions.len() >= MAX_WORKLOADS && !self.revisions.contains_key(service) {
            return;
        }
        let revisions = self.revisions.entry(service.clone()).or_default();
        match revisions.iter_mut().find(|known| known.template.digest == template.digest) {
            // The same one with a new number: somebody rolled back to it just now.
            Some(known) if number > known.number => {
                known.number = number;
                known.rolled_out_at = now;
            }
            Some(_) => {}
            None => revisions.push(Revision { number, template, created_at, rolled_out_at: created_at }),
        }
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.number));
        revisions.truncate(MAX_REVISIONS);
    }

    /// What kept a revision is gone.
    pub fn revision_gone(&mut self, service: &Service, template: &Digest) {
        if let Some(revisions) = self.revisions.get_mut(service) {
            revisions.retain(|revision| revision.template.digest != *template);
        }
    }

    /// A ConfigMap is as told; `changed_at` is what its `managedFields` say.
    pub fn configuration(&mut self, namespace: &str, name: &str, digest: Digest, created_at: UnixMillis, changed_at: UnixMillis) {
        let key = (namespace.to_owned(), name.to_owned());
        let room = self.configurations.len() < MAX_CONFIGURATIONS;
        match self.configurations.get_mut(&key) {
            Some(known) if known.digest == digest => {}
            Some(known) => *known = Configuration { digest, created_at, changed_at },
            None if room => drop(self.configurations.insert(key, Configuration { digest, created_at, changed_at })),
            None => {}
        }
    }

    /// A ConfigMap is gone.
    pub fn configuration_gone(&mut self, namespace: &str, name: &str) {
        self.configurations.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Pods of `service` that run `template` run these image ids.
    pub fn images(&mut self, service: &Service, template: &Digest, mut images: Vec<String>) {
        images.sort_unstable();
        images.dedup();
        images.truncate(32);
        let by_template = self.images.entry(service.clone()).or_default();
        if by_template.len() < MAX_REVISIONS || by_template.contains_key(template) {
            by_template.insert(template.clone(), images);
        }
    }

    /// Namespace and name of every ConfigMap that a workload or one of its revisions refers to, and of the copies of what was changed,
    /// sorted.
    #[must_use]
    pub fn references(&self) -> Vec<(String, String)> {
        let now = self.workloads.iter().map(|(service, workload)| (service, &workload.template));
        let before = self.revisions.iter().flat_map(|(service, revisions)| revisions.iter().map(move |revision| (service, &revision.template)));
        let named = now.chain(before).flat_map(|(service, template)| template.references.iter().map(|name| (service.namespace.clone(), name.clone())));
        let names: BTreeSet<(String, String)> = named.chain(self.copies()).collect();
        names.into_iter().take(MAX_CONFIGURATIONS).collect()
    }

    /// Templates that were seen healthy and could be gone back to.
    #[must_use]
    pub fn healthy_templates(&self) -> usize {
        self.memory.len()
    }

    /// The ConfigMaps that `template` refers to as they are now, sorted; one that is missing is left out.
    fn configurations_of(&self, namespace: &str, template: &Template) -> Vec<crate::action::Configuration> {
        let known = |name: &String| {
            let configuration = self.configurations.get(&(namespace.to_owned(), name.clone()))?;
            Some(crate::action::Configuration { name: name.clone(), digest: configuration.digest.clone() })
        };
        template.references.iter().filter_map(known).collect()
    }
}

impl Seat for View {
    fn entry(&self) -> Entry {
        ENTRY
    }

    fn informed(&self, _asked: &Asked<'_>) -> bool {
        self.synced
    }

    fn cause(&self, asked: &Asked<'_>) -> Opinion {
        self.vote(asked)
    }

    fn stance(&self, asked: &Asked<'_>, put: &Put<'_>) -> Position {
        self.position(asked, put)
    }

    fn blind(&self, _asked: &Asked<'_>) -> Option<String> {
        (!self.synced).then(|| "the objects have not all been listed yet".to_owned())
    }

    fn incident_began(&mut self, since: UnixMillis) {
        self.suspect(since);
    }

    fn tick(&mut self, now: UnixMillis) {
        let services: Vec<Service> = self.workloads.keys().cloned().collect();
        services.iter().for_each(|service| self.remember(service, now));
        let read: BTreeSet<(String, String)> = self.references().into_iter().collect();
        self.configurations.retain(|place, _| read.contains(place));
        for (service, by_template) in &mut self.images {
            let revisions = self.revisions.get(service);
            by_template.retain(|digest, _| revisions.is_some_and(|revisions| revisions.iter().any(|r| r.template.digest == *digest)));
        }
    }
}

#[cfg(test)]
pub(in crate::seats) mod cases;
