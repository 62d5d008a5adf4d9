//! What an executor does, one step at a time: look, do one thing, look again. Between two steps it remembers nothing that
//! another process would need; what it waits for and the readings so far are lost with it.

use std::collections::BTreeMap;

use assent_core::action::{Action, Inverse};
use assent_core::ballot::{Principal, Proposal};
use assent_core::canary::{self, Trial};
use assent_core::consensus::Verdict;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::incident::{Event, RemediationResult};
use assent_core::ledger::Position;
use assent_core::plan::{self, LedgerPin, Plan};
use assent_core::proof::{self, FIELD_MANAGER, WriteRequest};
use assent_core::refusal::Rule;
use assent_core::target::Target;
use assent_core::verification::{Progress, Reading};
use serde_json::{Value, json};

use super::cluster::{CLUSTER, PlanPhase, StoredPlan, object_of};
use super::simulation::{Answer, Message, Part, Put, Simulation};
use super::votes::healthy_template;

const SOAK_MS: u32 = 3_000;
const APPLY_WITHIN_MS: u32 = 40_000;
const VERIFY_WITHIN_MS: i64 = 10_000;
const REVERT_WITHIN_MS: u32 = 240_000;
/// How long an answer is waited for.
const PATIENCE_MS: i64 = 15_000;
/// As in `executor/src/step.rs`: what a resumed watch gets beyond the soak, and what a revert may take.
const RESUME_GRACE_MS: i64 = 15_000;
const REVERT_RESERVE_MS: i64 = 60_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    DryRun,
    Create,
    Apply,
    Release,
    Revert,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Executor {
    pub(crate) down: bool,
    pub(crate) wakes: u32,
    pub(crate) incarnation: u32,
    draft: Option<Draft>,
    journeys: BTreeMap<String, Journey>,
}

/// A plan in the making.
#[derive(Clone, Debug)]
struct Draft {
    name: String,
    decided: (IncidentUid, u32, Proposal),
    plan: Option<Box<Plan>>,
    stage: Stage,
    until: UnixMillis,
    waiting: Option<UnixMillis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Make,
    Record,
    DryRun,
    Create,
}

/// A plan on its way.
#[derive(Clone, Debug, Default)]
struct Journey {
    readings: Vec<Reading>,
    watching_since: Option<UnixMillis>,
    waiting: Option<UnixMillis>,
    refused: Option<String>,
    /// The end that is on record.
    recorded: Option<PlanPhase>,
    /// Whether this process has sent the write.
    sent: bool,
    /// Nothing more to do here.
    over: bool,
}

/// The target, compared with the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Planned,
    Held,
    AsLeft,
    Touched,
    Restored,
    Elsewhere { written: bool },
}

enum Next {
    Apply,
    NoteHeld,
    Try,
    Release,
    NoteApplied,
    Wait,
    Watch,
    NoteReverting,
    Revert,
    Finish(PlanPhase, String),
}

/// Of an entry of the executor.
pub(crate) fn key(plan: &str, kind: &str) -> String {
    format!("{plan}/{kind}")
}

// === impl Executor ===

impl Executor {
    /// After its process ended.
    pub(crate) fn ended(&self) -> Self {
        Self { down: true, wakes: self.wakes, incarnation: self.incarnation + 1, ..Self::default() }
    }
}

// === impl Simulation ===

impl Simulation {
    /// One step.
    pub(crate) fn execute(&mut self, n: usize) {
        let now = self.clock(2);
        if self.faults.hostile_executor && self.random.chance(350) {
            self.attack(n);
        }
        // Plans are carried side by side with planning: what is owed never waits for what is new.
        let planning = if self.executors[n].draft.is_some() { self.go_on_planning(n, now) } else { self.take_up(n, now) };
        let busy = self.carry_any(n, now) || planning;
        let late = self.cluster.now > super::cluster::START + 120_000;
        self.wake(
            Part::Executor(n),
            if busy {
                200
            } else if late {
                12_000
            } else {
                1_000
            },
        );
    }

    /// Begins with a decision that has no plan.
    fn take_up(&mut self, n: usize, now: UnixMillis) -> bool {
        for stored in self.cluster.decisions.values() {
            let Verdict::Act { proposal, .. } = &stored.outcome.verdict else { continue };
            let Ok(name) = plan::name(CLUSTER, &stored.incident, stored.epoch, proposal) else { continue };
            if self.executors[n].journeys.contains_key(&name) || self.cluster.plans.contains_key(&name) {
                continue;
            }
            let over = self.store.incidents.get(&stored.incident).is_some_and(|record| record.incident.phase.is_final());
            if over && !self.faults.hostile_executor {
                continue;
            }
            let decided = (stored.incident.clone(), stored.epoch, (**proposal).clone());
            let until = now.plus(APPLY_WITHIN_MS.into());
            self.executors[n].draft = Some(Draft { name, decided, plan: None, stage: Stage::Make, until, waiting: None });
            return true;
        }
        false
    }

    // --- planning ---

    fn go_on_planning(&mut self, n: usize, now: UnixMillis) -> bool {
        let Some(mut draft) = self.executors[n].draft.take() else { return false };
        if self.cluster.plans.contains_key(&draft.name) {
            return true;
        }
        if draft.waiting.is_some_and(|until| now <= until) {
            self.executors[n].draft = Some(draft);
            return false;
        }
        // No answer: from the beginning, as long as there is any use.
        if draft.waiting.take().is_some() {
            draft.stage = Stage::Make;
        }
        if now > draft.until {
            return self.give_up(n, &draft, "no plan in time", now);
        }
        match draft.stage {
            Stage::Make => match self.made(&draft, now) {
                Ok(plan) => {
                    draft.plan = Some(Box::new(plan));
                    draft.stage = Stage::Record;
                }
                Err(Rule::Ledger | Rule::Unavailable) => {}
                // Another operation is under way: its end is an event, and this one is judged again.
                Err(Rule::Conflict) => draft.waiting = Some(now.plus(PATIENCE_MS)),
                Err(rule) => return self.give_up(n, &draft, &rule.code(), now),
            },
            Stage::Record => {
                let Some(plan) = draft.plan.as_mut() else { return true };
                let incident = draft.decided.0.clone();
                if self.rules.intent_first && !self.record(&incident, &draft.name, "apply-intended", now) {
                    draft.stage = Stage::Make;
                } else if let Some((head, proof)) = self.store.extension(plan.ledger.head.sequence) {
                    plan.ledger = LedgerPin { era: plan.ledger.era, head, proof };
                    draft.stage = Stage::DryRun;
                } else {
                    draft.stage = Stage::Make;
                }
            }
            Stage::DryRun => {
                draft.waiting = Some(now.plus(PATIENCE_MS));
                let Some(put) = self.put(&draft.decided.0, &draft.decided.2, true) else { return self.give_up(n, &draft, "stale", now) };
                self.send_put(n, &draft.name, Step::DryRun, put);
            }
            Stage::Create => {
                draft.waiting = Some(now.plus(PATIENCE_MS));
                let from = (n, self.executors[n].incarnation);
                if let Some(plan) = draft.plan.clone() {
                    self.send(Message::Create { from, name: draft.name.clone(), plan });
                }
            }
        }
        self.executors[n].draft = Some(draft);
        true
    }

    /// The plan for what was decided, judged as the gate will.
    pub(crate) fn plan_of(&self, (incident, epoch, proposal): &(IncidentUid, u32, Proposal), now: UnixMillis) -> Result<Plan, Rule> {
        let facts = self.cluster.facts(incident, &proposal.target.service(), now.0);
        let workload = facts.target.clone().ok_or(Rule::Stale)?;
        let Position { era, head } = facts.next_position().map_err(|refusal| refusal.rule)?;
        let mut ballots: Vec<_> = facts.ballots.iter().flatten().filter(|cast| cast.ballot.epoch == *epoch).map(|cast| cast.digest.clone()).collect();
        ballots.sort_unstable();
        Ok(Plan {
            cluster: facts.cluster.clone(),
            incident: incident.clone(),
            epoch: *epoch,
            proposal: proposal.clone(),
            inverse: proposal.action.act().inverse(&workload).map_err(|_| Rule::Revert)?,
            canary: proof::canary(&facts, proposal),
            ballots,
            roster: self.cluster.roster.digest().map_err(|_| Rule::NoRoster)?,
            guardrails: facts.guardrails.clone(),
            blueprint: facts.blueprint.as_ref().map(|blueprint| blueprint.pin.clone()).ok_or(Rule::Blueprint)?,
            ledger: LedgerPin { era, head, proof: Default::default() },
            soak_ms: SOAK_MS,
            expires_after_ms: APPLY_WITHIN_MS,
            revert_within_ms: REVERT_WITHIN_MS,
        })
    }

    fn made(&self, draft: &Draft, now: UnixMillis) -> Result<Plan, Rule> {
        let (incident, _, proposal) = &draft.decided;
        let plan = self.plan_of(&draft.decided, now)?;
        let facts = self.cluster.facts(incident, &proposal.target.service(), now.0);
        // Before the intent is recorded, so that the record holds none that could never be admitted.
        match self.rules.judge_plan(facts, &plan) {
            Ok(()) => Ok(plan),
            // The draft does not name the head after its own intent yet.
            Err(refusal) => Err(refusal.rule),
        }
    }

    fn give_up(&mut self, n: usize, draft: &Draft, reason: &str, now: UnixMillis) -> bool {
        self.note(|| format!("executor {n}: no plan {}: {reason}", draft.name));
        let incident = draft.decided.0.clone();
        if self.cluster.plans.contains_key(&draft.name) {
            return true;
        }
        if !self.record(&incident, &draft.name, "refused", now) {
            let again = Draft { until: now, ..draft.clone() };
            self.executors[n].draft = Some(again);
            return true;
        }
        self.executors[n].journeys.insert(draft.name.clone(), Journey { over: true, ..Journey::default() });
        self.store.advance(&incident, Some(Event::Finished(RemediationResult::Refused(reason.into()))), None, now);
        true
    }

    /// False when nobody says that it is on record.
    fn record(&mut self, incident: &IncidentUid, plan: &str, kind: &str, now: UnixMillis) -> bool {
        let (done, answered) = self.call();
        let known = self.store.incidents.contains_key(incident);
        if done && known {
            self.store.append(incident, "executor", kind, key(plan, kind), json!({"plan": plan}), now);
        }
        // A ledger that does not know the incident refuses for good; the outcome then waits for people.
        answered && known
    }

    /// The voted change of the target as it is.
    pub(crate) fn put(&self, incident: &IncidentUid, proposal: &Proposal, dry_run: bool) -> Option<Put> {
        let service = proposal.target.service();
        let act = proposal.action.act();
        let old = object_of(act.part().subresource, self.cluster.workloads.get(&service)?);
        let material = matches!(proposal.action, Action::RollbackWorkload(_)).then(healthy_template);
        let new = act.expected(&old, material.as_ref()).ok()?;
        let facts = self.cluster.facts(incident, &service, 0);
        let new = canary::first(proof::canary(&facts, proposal).as_ref(), new).ok()?;
        Some(Put { request: request(incident, proposal, new, dry_run), service })
    }

    pub(crate) fn send_put(&mut self, n: usize, plan: &str, step: Step, put: Put) {
        let from = (n, self.executors[n].incarnation);
        self.send(Message::Put { from, plan: plan.into(), step, put: Box::new(put) });
    }

    pub(crate) fn replied(&mut self, n: usize, name: &str, step: Step, answer: Answer) {
        let now = self.clock(2);
        if matches!(step, Step::DryRun | Step::Create) {
            let Some(mut draft) = self.executors[n].draft.take_if(|draft| draft.name == name && draft.waiting.is_some()) else { return };
            draft.waiting = None;
            match (step, answer) {
                (Step::DryRun, Answer::Done) if draft.stage == Stage::DryRun => draft.stage = Stage::Create,
                (_, Answer::Refused(refusal)) if refusal.rule != Rule::Ledger => drop(self.give_up(n, &draft, &refusal.to_string(), now)),
                _ => draft.stage = Stage::Make,
            }
            if !matches!(self.executors[n].journeys.get(name), Some(Journey { over: true, .. })) {
                self.executors[n].draft.get_or_insert(draft);
            }
            return self.wake(Part::Executor(n), 50);
        }
        if let Some(journey) = self.executors[n].journeys.get_mut(name) {
            journey.waiting = None;
            if let Answer::Refused(refusal) = answer {
                if step == Step::Revert {
                    self.invariants.revert_refused(&self.cluster, &self.faults, name, &refusal);
                }
                journey.refused = Some(refusal.to_string());
            }
        }
        self.wake(Part::Executor(n), 50);
    }

    // --- carrying ---

    fn carry_any(&mut self, n: usize, now: UnixMillis) -> bool {
        let open: Vec<String> = self.cluster.plans.iter().filter(|(_, stored)| !stored.phase.is_final()).map(|(name, _)| name.clone()).collect();
        let mut busy = false;
        for name in open {
            let waits = self.executors[n].journeys.get(&name).and_then(|journey| journey.waiting).is_some_and(|until| now <= until);
            if !waits && !busy {
                busy = true;
                self.carry(n, &name, now);
            }
        }
        busy
    }

    fn carry(&mut self, n: usize, name: &str, now: UnixMillis) {
        let stored = self.cluster.plans[name].clone();
        let mut journey = self.executors[n].journeys.remove(name).unwrap_or_default();
        journey.waiting = None;
        let next = match self.next(&stored, &journey, now) {
            _ if !self.rules.looks_first && !journey.sent => Next::Apply,
            Next::Apply | Next::Finish(PlanPhase::Refused, _) if self.faults.dawdles && stored.phase == PlanPhase::Planned => self.dawdled(&stored, now),
            Next::Apply | Next::Revert if journey.refused.is_some() => {
                let phase = if stored.phase == PlanPhase::Reverting { PlanPhase::Failed } else { PlanPhase::Refused };
                Next::Finish(phase, journey.refused.clone().unwrap_or_default())
            }
            next => next,
        };
        let incident = stored.plan.incident.clone();
        match next {
            Next::Apply if self.waits_to_enter(name, now) => journey.waiting = Some(now.plus(PATIENCE_MS)),
            Next::Apply => match self.put(&incident, &stored.plan.proposal, false) {
                Some(mut put) => {
                    journey.sent = true;
                    journey.waiting = Some(now.plus(PATIENCE_MS));
                    if !self.rules.looks_first {
                        put.request.new["metadata"]["resourceVersion"] = Value::Null;
                    }
                    self.send_put(n, name, Step::Apply, put);
                }
                None => self.finish(n, &stored, name, &mut journey, (PlanPhase::Refused, "stale".into()), now),
            },
            Next::NoteHeld => {
                if self.call().0 {
                    self.cluster.set_status(name, |stored| {
                        stored.phase = PlanPhase::Canary;
                        stored.held_at = Some(now);
                    });
                }
            }
            Next::Try => {
                journey.waiting = Some(now.plus(900));
                self.read(&stored, &mut journey, now);
                // A pod is ready soon, however it answers.
                journey.readings.retain(|reading| reading.principal != Principal::Kubelet);
                journey.readings.iter_mut().filter(|reading| reading.principal == Principal::ApiServer).for_each(|reading| reading.healthy = Some(true));
            }
            Next::Release => {
                let service = stored.plan.proposal.target.service();
                let canary = stored.plan.canary.as_ref().expect("a plan that is held back");
                let new = canary.release(&self.cluster.workloads[&service]).expect("a workload that is held back");
                journey.waiting = Some(now.plus(PATIENCE_MS));
                let request = request(&incident, &stored.plan.proposal, new, false);
                self.send_put(n, name, Step::Release, Put { service, request });
            }
            Next::NoteApplied => {
                journey.readings.clear();
                if self.call().0 {
                    self.cluster.set_status(name, |stored| {
                        stored.phase = PlanPhase::Applied;
                        stored.applied_at = Some(now);
                    });
                }
                self.record(&incident, name, "applied", now);
            }
            Next::Wait => journey.waiting = Some(now.plus(5_000)),
            Next::Watch => {
                journey.watching_since.get_or_insert(now);
                journey.waiting = Some(now.plus(900));
                self.read(&stored, &mut journey, now);
            }
            Next::NoteReverting => {
                journey.refused = None;
                if self.call().0 {
                    self.cluster.set_status(name, |stored| stored.phase = PlanPhase::Reverting);
                }
            }
            Next::Revert => {
                let service = stored.plan.proposal.target.service();
                let old = object_of(stored.plan.proposal.action.act().part().subresource, &self.cluster.workloads[&service]);
                match stored.plan.restored(&old) {
                    Ok(Some(new)) => {
                        journey.waiting = Some(now.plus(PATIENCE_MS));
                        let request = request(&incident, &stored.plan.proposal, new, false);
                        self.send_put(n, name, Step::Revert, Put { service, request });
                    }
                    _ => self.finish(n, &stored, name, &mut journey, (PlanPhase::Failed, "nothing to put back".into()), now),
                }
            }
            Next::Finish(phase, message) => self.finish(n, &stored, name, &mut journey, (phase, message), now),
        }
        self.executors[n].journeys.insert(name.into(), journey);
    }

    /// Whether another plan of the service is in the way; what else keeps it out, the write is refused for.
    fn waits_to_enter(&mut self, name: &str, now: UnixMillis) -> bool {
        match self.cluster.enter(name, now.0) {
            Err(refusal) => refusal.rule == Rule::Conflict,
            Ok(()) => false,
        }
    }

    /// The outcome goes to the ledger first: a plan that counts as finished is never looked at again.
    fn finish(&mut self, n: usize, stored: &StoredPlan, name: &str, journey: &mut Journey, (phase, message): (PlanPhase, String), now: UnixMillis) {
        let incident = &stored.plan.incident;
        // A ledger that never heard of the incident cannot be told how it ended.
        let heard = self.store.incidents.contains_key(incident);
        if self.rules.outcome_first && journey.recorded != Some(phase) && heard {
            journey.recorded = self.record(incident, name, ended(phase), now).then_some(phase);
            return;
        }
        if self.call().0 {
            self.note(|| format!("executor {n}: {name} ended {phase:?}: {message}"));
            self.invariants.ended(name, phase);
            self.cluster.set_status(name, |stored| {
                if !stored.phase.is_final() {
                    stored.phase = phase;
                    stored.ended_at = Some(now);
                    stored.message = message;
                }
            });
        }
    }

    fn read(&mut self, stored: &StoredPlan, journey: &mut Journey, now: UnixMillis) {
        use super::faults::SidecarLie;
        let service = stored.plan.proposal.target.service();
        let truth = self.is_well(&service);
        let scapegoat = service == super::votes::service(super::votes::SCAPEGOAT);
        for principal in [Principal::Sidecar, Principal::Kubelet, Principal::ApiServer] {
            let said = match self.faults.sidecars.filter(|_| principal == Principal::Sidecar) {
                Some(SidecarLie::Hides | SidecarLie::Praises) => true,
                Some(SidecarLie::Blames) => !scapegoat,
                None => truth,
            };
            let healthy = (!self.random.chance(self.faults.lost)).then_some(said);
            journey.readings.push(Reading { at: now, principal, healthy, summary: String::new() });
        }
    }

    fn next(&self, stored: &StoredPlan, journey: &Journey, now: UnixMillis) -> Next {
        let plan = &stored.plan;
        let sight = sight(plan, stored.created_at, self.cluster.workloads.get(&plan.proposal.target.service()));
        let age = now.since(stored.created_at);
        let fail = |reason: &str| Next::Finish(PlanPhase::Failed, reason.into());
        match (stored.phase, sight) {
            (PlanPhase::Planned, Sight::Planned) if age > i64::from(plan.expires_after_ms) => Next::Finish(PlanPhase::Refused, "not applied in time".into()),
            (PlanPhase::Planned, Sight::Planned) => Next::Apply,
            (PlanPhase::Planned, Sight::Held) => Next::NoteHeld,
            (PlanPhase::Canary, Sight::AsLeft) => Next::NoteApplied,
            (PlanPhase::Canary, Sight::Held) => match self.trial(stored, journey, now) {
                Trial::Watching if age > plan.writes_within_ms() => Next::NoteReverting,
                Trial::Watching => Next::Try,
                Trial::Well if journey.refused.is_some() || age > plan.writes_within_ms() => Next::NoteReverting,
                Trial::Well => Next::Release,
                Trial::Ill(_) => Next::NoteReverting,
            },
            (PlanPhase::Planned, Sight::AsLeft | Sight::Touched) => Next::NoteApplied,
            (PlanPhase::Planned, Sight::Elsewhere { written: false }) => Next::Finish(PlanPhase::Refused, "not as judged".into()),
            (PlanPhase::Planned, _) => fail("neither as judged nor as left"),
            (PlanPhase::Applied, Sight::AsLeft | Sight::Touched) => match self.progress(stored, journey, now) {
                Progress::Watching => Next::Watch,
                Progress::Verified => Next::Finish(PlanPhase::Verified, "well".into()),
                Progress::Failed(_) | Progress::Harmed(_) if sight == Sight::Touched || plan.inverse == Inverse::Empty => fail("not well"),
                Progress::Failed(_) | Progress::Harmed(_) => Next::NoteReverting,
            },
            (PlanPhase::Reverting, Sight::Restored) => Next::Finish(PlanPhase::Reverted, "put back".into()),
            (PlanPhase::Reverting, Sight::Held | Sight::AsLeft) if age <= i64::from(plan.revert_within_ms) => Next::Revert,
            _ => fail("somebody changed the target"),
        }
    }

    /// What was admitted a while ago is tried once nobody would.
    fn dawdled(&self, stored: &StoredPlan, now: UnixMillis) -> Next {
        let age = now.since(stored.created_at) - i64::from(APPLY_WITHIN_MS);
        match age {
            ..5_000 => Next::Wait,
            5_000..60_000 => Next::Apply,
            _ => Next::Finish(PlanPhase::Refused, "nobody fell for it".into()),
        }
    }

    fn trial(&self, stored: &StoredPlan, journey: &Journey, now: UnixMillis) -> Trial {
        let (Some(held_at), Some(canary)) = (stored.held_at, &stored.plan.canary) else { return Trial::Watching };
        canary::judge(&journey.readings, canary.watch_ms, held_at, now)
    }

    fn progress(&self, stored: &StoredPlan, journey: &Journey, now: UnixMillis) -> Progress {
        let (Some(applied_at), Some(since)) = (stored.applied_at, journey.watching_since) else { return Progress::Watching };
        let regular = applied_at.plus(VERIFY_WITHIN_MS).max(since.plus(i64::from(SOAK_MS) + RESUME_GRACE_MS));
        let latest = stored.created_at.plus(i64::from(stored.plan.revert_within_ms) - REVERT_RESERVE_MS);
        (self.rules.verify)(&journey.readings, stored.plan.soak_ms, regular.min(latest), now)
    }
}

fn ended(phase: PlanPhase) -> &'static str {
    match phase {
        PlanPhase::Verified => "verified",
        PlanPhase::Reverted => "reverted",
        PlanPhase::Refused => "refused",
        _ => "failed",
    }
}

/// Of a final phase, the entry that must be on record.
pub(crate) fn outcome_key(name: &str, phase: PlanPhase) -> String {
    key(name, ended(phase))
}

pub(crate) fn request(incident: &IncidentUid, proposal: &Proposal, new: Value, dry_run: bool) -> WriteRequest {
    let write = proposal.write().expect("a modelled target");
    WriteRequest {
        incidents: vec![incident.to_string()],
        group: write.group.into(),
        version: write.version.into(),
        resource: write.resource.into(),
        subresource: write.subresource.into(),
        operation: "UPDATE".into(),
        namespace: proposal.target.namespace.clone(),
        name: proposal.target.name.clone(),
        dry_run,
        field_manager: FIELD_MANAGER.into(),
        old: Value::Null,
        new,
    }
}

/// As in `executor/src/step.rs`.
fn sight(plan: &Plan, created_at: UnixMillis, target: Option<&Value>) -> Sight {
    let voted = &plan.proposal.target;
    let Some((object, now)) = target.and_then(|object| Some((object, Target::of(object).ok()?))) else { return Sight::Elsewhere { written: true } };
    if now == *voted {
        return Sight::Planned;
    }
    if now.uid != voted.uid {
        return Sight::Elsewhere { written: true };
    }
    let holds = proof::as_left(&plan.proposal.action, object);
    match now.generation - voted.generation {
        1.. if holds && proof::untouched(plan, created_at, object) => {
            let held = plan.canary.as_ref().is_some_and(|canary| canary.stage(object) == canary::Stage::Held);
            if held { Sight::Held } else { Sight::AsLeft }
        }
        2.. if !holds && now.spec == voted.spec => Sight::Restored,
        1.. if holds => Sight::Touched,
        later => Sight::Elsewhere { written: later > 1 },
    }
}
