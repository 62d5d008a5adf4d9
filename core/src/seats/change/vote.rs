//! From what changed to a vote: rollouts and edits shortly before the onset, and the way back to what was seen healthy.

use serde::Serialize;

use super::memory::{Healthy, SUSPECT_MS};
use super::{Configuration, Revision, View};
use crate::action::{Action, Rollback};
use crate::ballot::{Evidence, EvidenceClass, Hypothesis, Opinion, Principal, Proposal, Round};
use crate::canonical::Digest;
use crate::ids::{Domain, Millionths, UnixMillis};
use crate::incident;
use crate::seats::opinion::{abstain, cause, evidence};
use crate::seats::{Asked, Position, Put, Seat as _};
use crate::target::Service;

const CHANGE: (EvidenceClass, Principal) = (EvidenceClass::Change, Principal::ApiServer);
/// A change so long after the reported onset may still be its cause: the onset is a guess by windows, and clocks differ.
const AFTER_MS: i64 = 10_000;

/// What changed at one workload before the trouble.
#[derive(Clone, Debug, Serialize)]
struct Suspicion<'a> {
    service: &'a Service,
    revision: Option<&'a Revision>,
    configuration: Option<(&'a str, &'a Configuration)>,
    at: UnixMillis,
}

// === impl View ===

impl View {
    pub(super) fn vote(&self, asked: &Asked<'_>) -> Opinion {
        if let Some(reason) = self.blind(asked) {
            return abstain(Round::Cause, &reason);
        }
        let since = asked.context.since;
        let mut hypotheses = Vec::new();
        let mut known = 0;
        // What changed elsewhere is no cause of one service's load.
        let concerns = |workload: &&incident::Workload| !asked.context.symptom.is_routine() || workload.target.service() == asked.context.service;
        for workload in asked.context.workloads.iter().filter(concerns) {
            let service = workload.target.service();
            let Some((service, _)) = self.workloads.get_key_value(&service) else { continue };
            known += 1;
            let suspicions = [self.rollout(service, since), self.edit(service, since)];
            // One workload is one cause of the application; the nearer change speaks for it.
            let nearest = suspicions.into_iter().flatten().max_by_key(|suspicion| suspicion.at);
            hypotheses.extend(nearest.map(|suspicion| self.hypothesis(workload, &suspicion, since)));
        }
        if known == 0 {
            return abstain(Round::Cause, "none of the workloads in question is known");
        }
        let healthy = if hypotheses.is_empty() { vec![self.nothing_changed(asked, known)] } else { Vec::new() };
        cause(hypotheses, healthy, [])
    }

    /// The newest rollout of `service` that changed what runs, if it lies shortly before `since`.
    fn rollout<'a>(&'a self, service: &'a Service, since: UnixMillis) -> Option<Suspicion<'a>> {
        let revisions = self.revisions.get(service)?;
        let current = self.workloads.get(service)?;
        let (index, revision) = revisions.iter().enumerate().find(|(_, revision)| revision.template.digest == current.template.digest)?;
        // The first revision of all is a birth, and a restart changes nothing.
        let before = revisions.get(index + 1)?;
        let changed = before.template.shape != revision.template.shape && !self.proven(service, revision);
        (changed && shortly_before(revision.rolled_out_at, since)).then_some(Suspicion {
            service,
            revision: Some(revision),
            configuration: None,
            at: revision.rolled_out_at,
        })
    }

    /// Whether the revision is a return to what was healthy before, on what it referred to unchanged: a rollback, ours or a
    /// person's. By content and this seat's own memory; who made it is a name that anybody can write.
    fn proven(&self, service: &Service, revision: &Revision) -> bool {
        let remembered = self.memory.healthy(service, &revision.template.digest);
        remembered.is_some_and(|healthy| {
            healthy.from < revision.rolled_out_at && healthy.configurations == self.configurations_of(&service.namespace, &revision.template)
        })
    }

    /// The newest edit of a ConfigMap that `service` refers to, if it lies shortly before `since`.
    fn edit<'a>(&'a self, service: &'a Service, since: UnixMillis) -> Option<Suspicion<'a>> {
        let current = self.workloads.get(service)?;
        let edited = current.template.references.iter().filter_map(|name| {
            let configuration = self.configurations.get(&(service.namespace.clone(), name.clone()))?;
            let edited = configuration.is_edited() && shortly_before(configuration.changed_at, since);
            (edited && !self.is_unread(service, name, configuration)).then_some((name.as_str(), configuration))
        });
        let newest = edited.max_by_key(|(_, configuration)| configuration.changed_at)?;
        Some(Suspicion { service, revision: None, configuration: Some(newest), at: newest.1.changed_at })
    }

    /// Whether none of its pods has read it: all of them started before it was edited.
    fn is_unread(&self, service: &Service, name: &str, edited: &Configuration) -> bool {
        let at_start = self.workloads.get(service).is_some_and(|workload| workload.template.at_start.iter().any(|read| read == name));
        at_start && self.memory.settled_since(service).is_some_and(|since| since < edited.changed_at)
    }

    /// The way back from an edit.
    fn undone(&self, workload: &incident::Workload, edit: Option<Suspicion<'_>>) -> Option<Proposal> {
        let (name, _) = edit?.configuration?;
        self.read_again(&workload.target, name)
    }

    fn hypothesis(&self, workload: &incident::Workload, suspicion: &Suspicion<'_>, since: UnixMillis) -> Hypothesis {
        let probability = match since.since(suspicion.at) {
            ..=120_000 => 850_000,
            120_001..=300_000 => 750_000,
            _ => 600_000,
        };
        let (fault, remedy) = match (suspicion.revision, suspicion.configuration) {
            // What brought the edit in may be a rollout that has no other way back.
            (Some(revision), _) => ("bad-rollout", self.way_back(workload, revision).or_else(|| self.undone(workload, self.edit(suspicion.service, since)))),
            (None, _) => ("bad-config", self.undone(workload, Some(suspicion.clone()))),
        };
        Hypothesis {
            service: suspicion.service.clone(),
            domain: Domain::Application,
            fault: fault.into(),
            probability: Millionths::new(probability),
            evidence: vec![changed(suspicion, since)],
            path: vec![suspicion.service.clone()],
            remedies: remedy.into_iter().collect(),
        }
    }

    /// The rollback to the newest revision before `bad` that was seen healthy, on what it referred to unchanged.
    fn way_back(&self, workload: &incident::Workload, bad: &Revision) -> Option<Proposal> {
        let target = &workload.target;
        let service = target.service();
        let current = self.workloads.get(&service)?;
        // Only the object that this seat sees: a stale or false context is not acted on.
        if (current.uid.as_str(), current.generation) != (target.uid.as_str(), target.generation) {
            return None;
        }
        let earlier = self.revisions.get(&service)?.iter().filter(|revision| revision.number < bad.number && revision.template.shape != bad.template.shape);
        let (revision, healthy) = earlier.filter_map(|revision| Some((revision, self.memory.healthy(&service, &revision.template.digest)?))).next()?;
        let unchanged = self.configurations_of(&service.namespace, &revision.template) == healthy.configurations;
        unchanged.then(|| Proposal { action: Action::RollbackWorkload(rollback(revision, healthy)), target: target.clone() })
    }

    fn nothing_changed(&self, asked: &Asked<'_>, known: usize) -> Evidence {
        let generations: Vec<(&Service, i64)> = self.workloads.iter().map(|(service, workload)| (service, workload.generation)).collect();
        let since = asked.context.since;
        let summary = format!("nothing changed at {known} workloads in the {} min before the onset", SUSPECT_MS / 60_000);
        evidence(CHANGE, &generations, (since.plus(-SUSPECT_MS), asked.now), &summary)
    }

    pub(super) fn position(&self, asked: &Asked<'_>, put: &Put<'_>) -> Position {
        let target = &put.proposal.target;
        let service = target.service();
        let since = asked.context.since;
        let Some(current) = self.workloads.get(&service) else {
            return Position::no_objection("not a workload that this seat follows");
        };
        let grounds = |digest: &Digest| {
            vec![evidence(CHANGE, &(&service, current.generation, digest), (since, asked.now), &format!("generation {}", current.generation))]
        };
        if (current.uid.as_str(), current.generation) != (target.uid.as_str(), target.generation) {
            return Position::veto("somebody has changed it since it was judged", grounds(&current.template.digest));
        }
        let revisions = self.revisions.get(&service).map(Vec::as_slice).unwrap_or_default();
        let newest = revisions.iter().find(|revision| revision.template.digest == current.template.digest);
        if newest.is_some_and(|revision| revision.rolled_out_at > since.plus(AFTER_MS)) && !current.counts.settled() {
            return Position::veto("somebody is rolling it out right now", grounds(&current.template.digest));
        }
        let asked_for = match &put.proposal.action {
            Action::RollbackWorkload(asked_for) => asked_for,
            Action::RevertConfig(asked_for) if self.reads_again(target, asked_for) => {
                let grounds = grounds(&asked_for.healthy);
                return Position::support("its trouble began after the edit, and with this content it was healthy before", grounds);
            }
            Action::RevertConfig(asked_for) => return Position::veto("this seat has not seen it healthy with that content", grounds(&asked_for.healthy)),
            _ => return Position::no_objection("no rollout is in its way"),
        };
        let seen = revisions.iter().find(|revision| revision.template.digest == asked_for.template).zip(self.memory.healthy(&service, &asked_for.template));
        match seen {
            None => Position::veto("this seat has not seen that template healthy", grounds(&asked_for.template)),
            Some((revision, healthy)) if rolls_back_to(asked_for, revision, healthy) => {
                Position::support("its trouble began after the rollout, and this template was healthy before", grounds(&asked_for.template))
            }
            Some(_) => Position::veto("images or configuration are not those that were healthy", grounds(&asked_for.template)),
        }
    }
}

fn rollback(revision: &Revision, healthy: &Healthy) -> Rollback {
    Rollback {
        revision: revision.number,
        template: revision.template.digest.clone(),
        images: healthy.images.clone(),
        configurations: healthy.configurations.clone(),
        healthy_at: healthy.at,
    }
}

fn rolls_back_to(asked_for: &Rollback, revision: &Revision, healthy: &Healthy) -> bool {
    *asked_for == Rollback { healthy_at: asked_for.healthy_at, ..rollback(revision, healthy) } && asked_for.healthy_at <= healthy.at
}

fn shortly_before(at: UnixMillis, since: UnixMillis) -> bool {
    (-AFTER_MS..=SUSPECT_MS).contains(&since.since(at))
}

/// Evidence of a change begins when the change was made, so that others can compare it with their onsets.
fn changed(suspicion: &Suspicion<'_>, since: UnixMillis) -> Evidence {
    let ago = since.since(suspicion.at) / 1000;
    let summary = match (suspicion.revision, suspicion.configuration) {
        (Some(revision), _) => format!("revision {} was rolled out {ago} s before the onset", revision.number),
        (None, Some((name, _))) => format!("ConfigMap {name} was edited {ago} s before the onset"),
        (None, None) => String::new(),
    };
    evidence(CHANGE, suspicion, (suspicion.at, since.max(suspicion.at)), &summary)
}
