//! The content that a ConfigMap had when all was well, and the way back to it.

use super::View;
use super::memory::Healthy;
use crate::action::{Action, RevertConfig};
use crate::ballot::Proposal;
use crate::ids::UnixMillis;
use crate::target::{Service, Target};

// === impl View ===

impl View {
    /// That `target` reads again what ConfigMap `name` held when what runs now was last seen healthy: everything else that it reads is
    /// as it was then, and a copy is there.
    pub(super) fn read_again(&self, target: &Target, name: &str) -> Option<Proposal> {
        let service = target.service();
        let workload = self.workloads.get(&service)?;
        // Only the object that this seat sees: a stale or false context is not acted on.
        if (workload.uid.as_str(), workload.generation) != (target.uid.as_str(), target.generation) {
            return None;
        }
        let edited_at = self.configurations.get(&(service.namespace.clone(), name.to_owned()))?.changed_at;
        let healthy = self.was_healthy(&service, edited_at)?;
        let now = self.configurations_of(&service.namespace, &workload.template);
        if now.len() != workload.template.references.len() || now.len() != healthy.configurations.len() {
            return None;
        }
        let (before, now): (Vec<_>, Vec<_>) = healthy.configurations.iter().zip(&now).filter(|(before, now)| before != now).unzip();
        let ([before], [now]) = (before.as_slice(), now.as_slice()) else { return None };
        if before.name != name || now.name != name {
            return None;
        }
        let revert = RevertConfig { changed: (*now).clone(), healthy: before.digest.clone(), healthy_at: healthy.at };
        let copy = revert.copy();
        let kept = self.configurations.get(&(service.namespace, copy.name)).is_some_and(|kept| kept.digest == copy.digest);
        kept.then(|| Proposal { action: Action::RevertConfig(revert), target: target.clone() })
    }

    /// Whether this seat would say the same, whenever it last saw it healthy.
    pub(super) fn reads_again(&self, target: &Target, asked_for: &RevertConfig) -> bool {
        let own = self.read_again(target, &asked_for.changed.name);
        own.is_some_and(|own| match own.action {
            Action::RevertConfig(own) => {
                RevertConfig { healthy_at: asked_for.healthy_at, ..own.clone() } == *asked_for && asked_for.healthy_at <= own.healthy_at
            }
            _ => false,
        })
    }

    /// Copies of what ConfigMaps held when all was well and hold no longer: namespace and name.
    pub(super) fn copies(&self) -> impl Iterator<Item = (String, String)> {
        self.workloads.iter().flat_map(|(service, workload)| {
            let now = self.configurations_of(&service.namespace, &workload.template);
            let before = self.was_healthy(service, UnixMillis(i64::MAX)).map(|healthy| healthy.configurations.as_slice()).unwrap_or_default();
            let changed = before.iter().filter(|before| !now.contains(before)).map(|before| (service.namespace.clone(), before.copy()));
            changed.collect::<Vec<_>>()
        })
    }

    /// What runs now, as it was when it was last seen healthy before `until`. Neither a restart nor another annotation is a change: some
    /// write the digest of a ConfigMap there, so that pods are replaced with it.
    fn was_healthy(&self, service: &Service, until: UnixMillis) -> Option<&Healthy> {
        let workload = self.workloads.get(service)?;
        let same = self.revisions.get(service)?.iter().filter(|revision| revision.template.spec == workload.template.spec);
        let healthy = same.filter_map(|revision| self.memory.healthy(service, &revision.template.digest));
        healthy.filter(|healthy| healthy.at <= until).max_by_key(|healthy| healthy.at)
    }
}

#[cfg(test)]
mod cases;
