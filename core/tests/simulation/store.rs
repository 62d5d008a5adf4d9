//! The directors' store: incidents, effects that wait, and the ledger, each change one transaction. Who leads may change; what
//! is stored stays.

use std::collections::BTreeMap;

use assent_core::canonical::Digest;
use assent_core::consensus::Outcome;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::incident::{Calls, Effect, Event, Firing, Incident, Known, Symptom, parent, route};
use assent_core::ledger::{self, Entry, Frontier, Head, Proof};
use assent_core::target::Service;
use serde_json::{Value, json};

/// An effect that waits, and whether it is done.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) key: String,
    pub(crate) incident: IncidentUid,
    pub(crate) effect: Effect,
    pub(crate) done: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) incident: Incident,
    pub(crate) outcome: Option<Outcome>,
    changed_at: UnixMillis,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    pub(crate) incidents: BTreeMap<IncidentUid, Record>,
    pub(crate) outbox: Vec<Pending>,
    leaves: Vec<Digest>,
    /// The entries of ledgers that were lost or written anew.
    past: Vec<Vec<Digest>>,
    frontier: Frontier,
    /// Keys of entries, with the entry's number.
    pub(crate) keys: BTreeMap<String, u64>,
    opened: u32,
    /// Whether a ledger was lost, ever.
    pub(crate) lost: bool,
    pub(crate) changes: u64,
}

// === impl Store ===

impl Store {
    /// An alert arrives: it joins an incident or opens one.
    pub(crate) fn receive(&mut self, service: &Service, now: UnixMillis) {
        let known: Vec<Known> = self.incidents.values().map(known).collect();
        // Whatever alerts here is the trouble that was there from the beginning.
        if route(&Firing { service, again: self.opened > 0, since: UnixMillis(0), routine: false }, &known, &Calls::default(), now).is_some() {
            return;
        }
        self.opened += 1;
        let uid = IncidentUid::try_from(format!("01890a5d-ac96-774b-bcce-b302099a{:04x}", self.opened)).unwrap();
        let (incident, effects) = Incident::open(uid.clone(), service.clone(), Symptom::Errors, now);
        self.incidents.insert(uid.clone(), Record { incident, outcome: None, changed_at: now });
        self.keep(&uid, effects, now);
    }

    /// Steps one incident: state, entries and effects at once, with the end of the effect that it came from.
    pub(crate) fn advance(&mut self, uid: &IncidentUid, event: Option<Event>, done: Option<&str>, now: UnixMillis) {
        self.changes += 1;
        let near: Vec<Known> = self.incidents.values().filter(|other| !other.incident.phase.is_final()).map(known).collect();
        let Some(record) = self.incidents.get_mut(uid) else { return };
        let before = record.incident.phase;
        let mut effects = Vec::new();
        if let Some(event) = event {
            let event = match event {
                Event::Tallied { epoch, outcome } if record.incident.awaits(epoch) => {
                    record.outcome = Some((*outcome).clone());
                    match parent(uid, &outcome, &near) {
                        Some(by) => Event::Covered { epoch, by },
                        None => Event::Tallied { epoch, outcome },
                    }
                }
                event => event,
            };
            effects = record.incident.step(now, event);
        }
        let moved = record.incident.phase != before;
        if moved {
            record.changed_at = now;
        }
        let end = record.incident.end_for_covered().filter(|_| moved);
        self.keep(uid, effects, now);
        if let Some(done) = done {
            self.outbox.iter_mut().filter(|pending| pending.key == done).for_each(|pending| pending.done = true);
        }
        let Some(end) = end else { return };
        let covered: Vec<IncidentUid> =
            self.incidents.values().filter(|other| other.incident.covered_by.as_ref() == Some(uid)).map(|other| other.incident.uid.clone()).collect();
        for other in covered {
            self.advance(&other, Some(end.clone()), None, now);
        }
    }

    /// The incident that already acts on what `outcome` chose.
    fn keep(&mut self, uid: &IncidentUid, effects: Vec<Effect>, now: UnixMillis) {
        for effect in effects {
            let epoch = self.incidents[uid].incident.epoch;
            let key = match &effect {
                Effect::Record { kind, key, .. } => {
                    self.append(uid, "director", kind, key.clone(), json!({}), now);
                    continue;
                }
                Effect::Gather => format!("{uid}/{epoch}/gather"),
                Effect::Ask { epoch, .. } => format!("{uid}/{epoch}/ask"),
                Effect::Decide { epoch, .. } => format!("{uid}/{epoch}/decide"),
                Effect::Escalate(_) => format!("{uid}/{epoch}/escalate"),
            };
            if !self.outbox.iter().any(|pending| pending.key == key) {
                self.outbox.push(Pending { key, incident: uid.clone(), effect, done: false });
            }
        }
    }

    pub(crate) fn overdue(&self, now: UnixMillis) -> Vec<IncidentUid> {
        let open = self.incidents.values().filter(|record| !record.incident.phase.is_final() && record.incident.deadline < now);
        open.map(|record| record.incident.uid.clone()).collect()
    }

    /// Equal keys are appended once.
    pub(crate) fn append(&mut self, incident: &IncidentUid, author: &str, kind: &str, key: String, body: Value, at: UnixMillis) {
        if self.keys.contains_key(&key) {
            return;
        }
        let entry = Entry { sequence: self.frontier.sequence() + 1, at, incident: incident.clone(), author: author.into(), kind: kind.into(), body };
        self.frontier.follow(&entry).unwrap();
        self.leaves.push(ledger::leaf(&entry).unwrap());
        self.keys.insert(key, entry.sequence);
        self.changes += 1;
    }

    /// The newest head, with the proof that it extends the one at `since`.
    pub(crate) fn extension(&self, since: u64) -> Option<(Head, Proof)> {
        let proof = ledger::prove(since, self.frontier.sequence(), |subtree| ledger::of_leaves(&self.leaves, subtree))?;
        Some((self.frontier.head(), proof))
    }

    /// The disk is gone. What was on it is unknown to the next director.
    pub(crate) fn lose(&mut self) {
        let past = self.past();
        *self = Self { opened: self.opened, lost: true, changes: self.changes + 1, past, ..Self::default() };
    }

    /// A hostile director writes the past anew.
    pub(crate) fn rewrite(&mut self) {
        self.lost = true;
        self.past = self.past();
        if let Some(first) = self.leaves.first_mut() {
            *first = Digest::of_bytes(b"another past");
        }
        self.frontier = Frontier::default();
        let leaves: Vec<Digest> = self.leaves.clone();
        leaves.into_iter().for_each(|leaf| drop(self.frontier.append(leaf)));
    }

    fn past(&mut self) -> Vec<Vec<Digest>> {
        let mut past = std::mem::take(&mut self.past);
        past.push(self.leaves.clone());
        past
    }

    /// Whether one and the same ledger had both heads.
    pub(crate) fn had(&self, heads: [&Head; 2]) -> bool {
        let had = |leaves: &Vec<Digest>, head: &Head| Head::at(head.sequence, |subtree| ledger::of_leaves(leaves, subtree)).as_ref() == Some(head);
        self.past.iter().chain([&self.leaves]).any(|leaves| heads.iter().all(|head| had(leaves, head)))
    }

    /// Plans whose intent is on record.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }
}

fn known(record: &Record) -> Known {
    Known {
        uid: record.incident.uid.clone(),
        service: record.incident.service.clone(),
        target: record.outcome.as_ref().and_then(Outcome::target),
        cause: record.outcome.as_ref().and_then(Outcome::cause).cloned(),
        phase: record.incident.phase,
        changed_at: record.changed_at,
        covered: record.incident.covered_by.is_some(),
        routine: record.incident.routine,
    }
}
