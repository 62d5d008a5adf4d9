//! What a director does with its effects, one step at a time, and what its seats answer. All that must survive is in the store.

use std::collections::BTreeSet;

use assent_core::ballot::{Ballot, CastBallot, Opinion, Round};
use assent_core::canonical::{self, Digest};
use assent_core::consensus::{Outcome, Verdict};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::incident::{Context, DELIBERATION_MS, Effect, Event, Mode, RemediationResult, Symptom, Workload};
use assent_core::proof;
use assent_core::target::Target;
use serde_json::json;

use super::cluster::{CLUSTER, PlanPhase, StoredDecision, StoredPlan};
use super::faults::Attendance;
use super::simulation::{Message, Part, Simulation};
use super::store::Pending;
use super::votes::{self, BALLOT_MS, Figures, SEATS};

/// What is kept of the time for the second round.
const SECOND_ROUND_MS: i64 = 7_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Director {
    pub(crate) down: bool,
    pub(crate) wakes: u32,
    pub(crate) incarnation: u32,
    asking: Option<Asking>,
}

/// Under way with the seats.
#[derive(Clone, Debug)]
struct Asking {
    key: String,
    incident: IncidentUid,
    epoch: u32,
    round: Option<Round>,
    deadline: UnixMillis,
    answered: BTreeSet<usize>,
}

// === impl Director ===

impl Director {
    /// After its process ended: nothing is left but the number of its lives.
    pub(crate) fn ended(&self) -> Self {
        Self { down: true, wakes: self.wakes, incarnation: self.incarnation + 1, asking: None }
    }

    pub(crate) fn answered(&mut self, seat: usize, epoch: u32, round: Round) {
        if let Some(asking) = self.asking.as_mut().filter(|asking| (asking.epoch, asking.round) == (epoch, Some(round))) {
            asking.answered.insert(seat);
        }
    }
}

// === impl Simulation ===

impl Simulation {
    /// Whether this director holds the lease, or believes so: leases overlap.
    fn leads(&self, n: usize) -> bool {
        let (turn, into) = (self.cluster.now / 15_000 % 2, self.cluster.now % 15_000);
        self.directors.len() == 1 || turn == n as i64 || into < 10_000
    }

    /// One step.
    pub(crate) fn direct(&mut self, n: usize) {
        if !self.leads(n) {
            return self.wake(Part::Director(n), 2_000);
        }
        let changes = self.store.changes + self.cluster.changes;
        let pace = if self.step_director(n) || changes != self.store.changes + self.cluster.changes { 150 } else { 1_500 };
        let late = self.cluster.now > super::cluster::START + 120_000;
        self.wake(Part::Director(n), if pace > 150 && late { 12_000 } else { pace });
    }

    /// True when there is something to go on with at once.
    fn step_director(&mut self, n: usize) -> bool {
        let now = self.clock(n);
        if self.faults.hostile_director && self.random.chance(150) {
            self.mislead(n);
        }
        if self.directors[n].asking.is_some() {
            return self.go_on_asking(n);
        }
        for uid in self.store.overdue(now) {
            self.store.advance(&uid, Some(Event::Tick), None, now);
        }
        self.follow(now);
        // The effects of one incident come in their order, incidents side by side.
        let mut waiting: Vec<IncidentUid> = self.store.outbox.iter().filter(|pending| !pending.done).map(|pending| pending.incident.clone()).collect();
        waiting.dedup();
        if waiting.is_empty() {
            return false;
        }
        let uid = self.random.pick(&waiting);
        let Some(pending) = self.store.outbox.iter().find(|pending| !pending.done && pending.incident == uid).cloned() else { return false };
        self.carry_out(n, pending, now);
        true
    }

    fn carry_out(&mut self, n: usize, pending: Pending, now: UnixMillis) {
        let uid = pending.incident.clone();
        let (reached, _) = self.call();
        if !reached {
            return;
        }
        self.note(|| format!("director {n}: {}", pending.key));
        match pending.effect {
            Effect::Gather => {
                let context = self.gather(&uid, now);
                self.store.advance(&uid, Some(Event::Gathered(context)), Some(&pending.key), now);
            }
            Effect::Ask { epoch, deadline } => {
                self.directors[n].asking = Some(Asking { key: pending.key, incident: uid, epoch, round: None, deadline, answered: BTreeSet::new() });
            }
            Effect::Decide { epoch, outcome } => {
                let event = match (self.decide(&uid, epoch, &outcome), &outcome.verdict) {
                    (Ok(()), Verdict::Act { .. }) => Some(Event::Authorised { epoch, mode: Mode::Autonomous }),
                    (Err(contradiction), Verdict::Act { .. }) => Some(Event::Abandoned(contradiction)),
                    (_, Verdict::Hold { .. }) => None,
                };
                self.store.advance(&uid, event, Some(&pending.key), now);
            }
            Effect::Escalate(_) | Effect::Record { .. } => self.store.advance(&uid, None, Some(&pending.key), now),
        }
    }

    fn gather(&mut self, uid: &IncidentUid, now: UnixMillis) -> String {
        let service = self.store.incidents[uid].incident.service.clone();
        let near = self.cluster.workloads.values().filter_map(|object| Target::of(object).ok()).filter(|target| target.namespace == service.namespace);
        let mut workloads: Vec<Workload> = near.map(|target| Workload { target, revisions: vec![], configurations: vec![], replicas: 2, ready: 2 }).collect();
        if self.faults.hostile_director && self.random.chance(300) {
            workloads.iter_mut().for_each(|workload| workload.target.generation += 1);
        }
        let context = Context {
            incident: uid.clone(),
            cluster: CLUSTER.into(),
            service,
            symptom: Symptom::Errors,
            since: now,
            gathered_at: now,
            alerts: vec![],
            workloads,
            events: vec![],
        };
        canonical::text(&context).unwrap()
    }

    // --- the vote ---

    fn go_on_asking(&mut self, n: usize) -> bool {
        let now = self.clock(n);
        let Some(mut asking) = self.directors[n].asking.take() else { return false };
        // Another director was faster, or the ledger is gone.
        let waits = self.store.outbox.iter().any(|pending| pending.key == asking.key && !pending.done);
        if !waits {
            return true;
        }
        let early = asking.deadline.plus(-DELIBERATION_MS);
        let all = asking.answered.len() == SEATS.len();
        match asking.round {
            None if now < early => {}
            None => {
                self.ask(n, &asking, Round::Cause, &[]);
                asking.round = Some(Round::Cause);
            }
            Some(Round::Cause) if all || now > asking.deadline.plus(-SECOND_ROUND_MS) => {
                asking.answered.clear();
                let mut causes = self.cluster.ballots_of(&asking.incident);
                causes.retain(|cast| cast.ballot.epoch == asking.epoch && cast.ballot.round() == Round::Cause);
                if self.faults.hostile_director {
                    causes.retain(|_| self.random.chance(850));
                }
                self.ask(n, &asking, Round::Remedy, &causes);
                asking.round = Some(Round::Remedy);
            }
            Some(Round::Remedy) if all || now > asking.deadline => {
                let event = self.count(&asking.incident, asking.epoch, now);
                self.store.advance(&asking.incident, Some(event), Some(&asking.key), now);
                return true;
            }
            Some(_) => {}
        }
        self.directors[n].asking = Some(asking);
        true
    }

    fn ask(&mut self, n: usize, asking: &Asking, round: Round, causes: &[CastBallot]) {
        let from = (n, self.directors[n].incarnation);
        let context = self.store.incidents[&asking.incident].incident.context.clone().unwrap_or_default();
        for seat in 0..SEATS.len() {
            let instance = usize::from(self.faults.attendance[seat] == Attendance::Doubled && self.random.chance(500));
            // A hostile director shows one seat another story.
            let context = if self.faults.hostile_director && self.random.chance(40) { context.replace("\"since\":1", "\"since\":2") } else { context.clone() };
            self.send(Message::Ask { seat, instance, round, context, epoch: asking.epoch, deadline: asking.deadline, causes: causes.to_vec(), from });
        }
    }

    /// The tally; or the refusal with which the gate would answer whatever is made of it.
    fn count(&mut self, uid: &IncidentUid, epoch: u32, now: UnixMillis) -> Event {
        let outcome = self.tally(uid, epoch);
        self.note(|| format!("tally of epoch {epoch}: {:?}", outcome.verdict));
        self.store.append(uid, "director", "tally", format!("{uid}/{epoch}/tally"), json!({}), now);
        if let Verdict::Act { proposal, .. } = &outcome.verdict {
            let facts = self.cluster.facts(uid, &proposal.target.service(), now.0);
            if let Err(refusal) = self.rules.prove(facts, |facts| proof::prove(facts, uid, epoch, proposal, facts.now).map(drop)) {
                return Event::Abandoned(refusal.to_string());
            }
        }
        Event::Tallied { epoch, outcome: Box::new(outcome) }
    }

    pub(crate) fn tally(&mut self, uid: &IncidentUid, epoch: u32) -> Outcome {
        let mut ballots = self.cluster.ballots_of(uid);
        ballots.retain(|cast| cast.ballot.epoch == epoch);
        let outcome = (self.rules.tally)(&self.cluster.roster, &ballots);
        self.invariants.tallied(&self.rules, &self.cluster.roster, &ballots, &outcome);
        outcome
    }

    /// Writes the Decision, which the gate admits only as the count of the ballots that there are.
    fn decide(&mut self, uid: &IncidentUid, epoch: u32, outcome: &Outcome) -> Result<(), String> {
        let recount = self.tally(uid, epoch);
        let chosen = |outcome: &Outcome| match &outcome.verdict {
            Verdict::Act { proposal, .. } => Some(proposal.clone()),
            Verdict::Hold { .. } => None,
        };
        if chosen(outcome) != chosen(&recount) {
            return Err("a later ballot changes the conclusion".into());
        }
        let name = format!("{uid}-{epoch}");
        match self.cluster.decisions.get(&name) {
            Some(other) if chosen(&other.outcome) != chosen(outcome) => return Err("the Decision says something else".into()),
            Some(_) => {}
            None => drop(self.cluster.decisions.insert(name, StoredDecision { incident: uid.clone(), epoch, outcome: recount })),
        }
        self.cluster.changes += 1;
        Ok(())
    }

    /// What the executor says of its plans.
    fn follow(&mut self, now: UnixMillis) {
        for stored in self.cluster.plans.values().cloned().collect::<Vec<_>>() {
            let uid = &stored.plan.incident;
            let Some(record) = self.store.incidents.get(uid) else { continue };
            if record.incident.epoch != stored.plan.epoch || record.incident.phase.is_final() {
                continue;
            }
            let before = (record.incident.phase, said(&stored));
            if let (phase, Some(event)) = before
                && !(matches!(event, Event::Applied) && phase == assent_core::incident::Phase::Verifying)
                && !(matches!(event, Event::Applying) && phase == assent_core::incident::Phase::Remediating)
            {
                self.store.advance(uid, Some(event), None, now);
            }
        }
    }

    /// Something that no director does.
    fn mislead(&mut self, n: usize) {
        let Some(uid) = self.store.incidents.keys().next().cloned() else { return };
        match self.random.below(4) {
            // Another vote until it likes the result.
            0 => {
                let (epoch, deadline) = (u32::try_from(self.random.between(1, 3)).unwrap(), self.clock(n).plus(DELIBERATION_MS));
                let asking = Asking { key: String::new(), incident: uid, epoch, round: None, deadline, answered: BTreeSet::new() };
                self.ask(n, &asking, Round::Cause, &[]);
            }
            1 => {
                let mut causes = self.cluster.ballots_of(&uid);
                causes.retain(|cast| cast.ballot.round() == Round::Cause);
                let epoch = causes.iter().map(|cast| cast.ballot.epoch).max().unwrap_or(1);
                causes.retain(|_| self.random.chance(500));
                let asking =
                    Asking { key: String::new(), incident: uid, epoch, round: None, deadline: self.clock(n).plus(DELIBERATION_MS), answered: BTreeSet::new() };
                self.ask(n, &asking, Round::Remedy, &causes);
            }
            2 => self.store.rewrite(),
            // A word of the executor's that it never said.
            _ => {
                let now = self.clock(n);
                self.store.advance(&uid, Some(Event::Finished(RemediationResult::Verified)), None, now);
            }
        }
    }

    // --- the seats ---

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(crate) fn asked(
        &mut self,
        seat: usize,
        instance: usize,
        round: Round,
        text: &str,
        epoch: u32,
        deadline: UnixMillis,
        causes: &[CastBallot],
        from: (usize, u32),
    ) {
        let attendance = self.faults.attendance[seat];
        let Ok(context) = serde_json::from_str::<Context>(text) else { return };
        let now = self.clock(3);
        let late = if let Attendance::Late(by) = attendance { by } else { 0 };
        let opinion = match attendance {
            Attendance::Absent => return,
            _ if now > deadline => Opinion::Abstain { round, reason: "asked after the deadline".into() },
            _ if self.faults.liar == Some(seat) && round == Round::Cause => votes::lie_about_cause(&mut self.random, &context),
            _ if self.faults.liar == Some(seat) => votes::lie_about_remedy(&mut self.random, causes),
            _ => {
                let mut verified = causes.to_vec();
                verified.retain(|cast| cast.ballot.epoch == epoch && cast.ballot.context == Digest::of_bytes(text.as_bytes()));
                let figures = self.figures(seat, &context, epoch);
                if round == Round::Cause { figures.cause(&mut self.random) } else { figures.remedy(&verified) }
            }
        };
        let ballot = self.ballot(seat, &context, Digest::of_bytes(text.as_bytes()), epoch, opinion);
        let after = late + self.random.between(1, 400 + 400 * instance as i64);
        if !self.random.chance(self.faults.lost) {
            self.send_later(after, Message::Cast { seat, ballot: Box::new(ballot) });
        }
        self.send_later(after + 1, Message::Answered { to: from, seat, epoch, round });
    }

    fn figures<'a>(&self, seat: usize, context: &'a Context, epoch: u32) -> Figures<'a> {
        let sidecars = self.faults.sidecars;
        Figures { seat, troubles: self.troubles(), sidecars, context, epoch, veto: self.faults.veto == Some(seat) }
    }

    fn ballot(&self, seat: usize, context: &Context, digest: Digest, epoch: u32, opinion: Opinion) -> Ballot {
        Ballot {
            cluster: context.cluster.clone(),
            incident: context.incident.clone(),
            seat: SEATS[seat].0.into(),
            epoch,
            issued_at: self.clock(3),
            expires_after_ms: BALLOT_MS,
            context: digest,
            roster: self.cluster.roster.digest().unwrap(),
            rules: "1".into(),
            opinion,
        }
    }

    /// The liar casts for any epoch and round, for itself and for others, from here and elsewhere.
    pub(crate) fn mischief(&mut self) {
        let (Some(liar), Some(uid)) = (self.faults.liar, self.store.incidents.keys().next().cloned()) else { return };
        let Some(text) = self.store.incidents[&uid].incident.context.clone() else { return };
        let Ok(context) = serde_json::from_str::<Context>(&text) else { return };
        let causes = self.cluster.ballots_of(&uid);
        let opinion =
            if self.random.chance(500) { votes::lie_about_cause(&mut self.random, &context) } else { votes::lie_about_remedy(&mut self.random, &causes) };
        let epoch = u32::try_from(self.random.between(1, 3)).unwrap();
        let mut ballot = self.ballot(liar, &context, Digest::of_bytes(text.as_bytes()), epoch, opinion);
        match self.random.below(6) {
            0 => ballot.cluster = "another".into(),
            1 => ballot.roster = Digest::of_bytes(b"another"),
            2 => ballot.seat = SEATS[self.random.below(4)].0.into(),
            3 => ballot.context = Digest::of_bytes(b"another"),
            _ => {}
        }
        // An honest ballot of another incident or epoch, under its own name.
        if let Some(old) = causes.first().filter(|_| self.random.chance(200)) {
            ballot = old.ballot.clone();
        }
        self.send_later(1, Message::Cast { seat: liar, ballot: Box::new(ballot) });
    }
}

fn said(stored: &StoredPlan) -> Option<Event> {
    let message = stored.message.clone();
    match stored.phase {
        PlanPhase::Planned | PlanPhase::Canary => Some(Event::Applying),
        PlanPhase::Applied => Some(Event::Applied),
        PlanPhase::Reverting => None,
        PlanPhase::Verified => Some(Event::Finished(RemediationResult::Verified)),
        PlanPhase::Reverted => Some(Event::Finished(RemediationResult::Reverted(message))),
        PlanPhase::Refused => Some(Event::Finished(RemediationResult::Refused(message))),
        PlanPhase::Failed => Some(Event::Finished(RemediationResult::Failed(message))),
    }
}
