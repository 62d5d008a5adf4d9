//! One schedule: an order of events that the seed alone decides. Each event is one step of one process, one message, one deed
//! of people; a process does one thing in a step and may end between any two.

use std::collections::BTreeMap;

use assent_core::ballot::{Ballot, CastBallot, Round};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::plan::Plan;
use assent_core::proof::{Admitted, WriteRequest};
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::Service;
use serde_json::{Value, json};

use super::cluster::{Cluster, Landed, START, object_of};
use super::director::Director;
use super::executor::{Executor, Step};
use super::faults::{Deed, Faults};
use super::invariants::{Invariants, Violation};
use super::random::Random;
use super::rules::Rules;
use super::store::Store;
use super::votes::{Trouble, WORKLOADS, service};

/// Longest schedule, in server time: the longest wait of an incident is 15 minutes.
const HORIZON: i64 = START + 40 * 60_000;
/// As long as a hostile part is left to try.
const HOSTILE_HORIZON: i64 = START + 4 * 60_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Director(usize),
    Executor(usize),
}

/// On its way through the network.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Ask { seat: usize, instance: usize, round: Round, context: String, epoch: u32, deadline: UnixMillis, causes: Vec<CastBallot>, from: (usize, u32) },
    Answered { to: (usize, u32), seat: usize, epoch: u32, round: Round },
    Cast { seat: usize, ballot: Box<Ballot> },
    Put { from: (usize, u32), plan: String, step: Step, put: Box<Put> },
    Create { from: (usize, u32), name: String, plan: Box<Plan> },
    Reply { to: (usize, u32), plan: String, step: Step, answer: Answer },
}

/// A write to a workload as a client sends it; without resourceVersion it is for whatever version there is.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) service: Service,
    pub(crate) request: WriteRequest,
}

/// What the API server answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Done,
    Changed,
    Transient,
    Refused(Refusal),
}

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Wake(Part, u32),
    Restart(Part),
    Arrives(Message),
    /// What was judged is stored now.
    Stores {
        from: (usize, u32),
        plan: String,
        step: Step,
        put: Box<Put>,
        judged: Box<Landed>,
    },
    Alert(usize),
    Deed(Deed),
    /// The lying seat casts something that nobody asked for.
    Mischief,
}

pub(crate) struct Simulation {
    pub(crate) rules: Rules,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    queue: BTreeMap<(i64, u64), Happening>,
    sequence: u64,
    pub(crate) cluster: Cluster,
    pub(crate) store: Store,
    pub(crate) directors: Vec<Director>,
    pub(crate) executors: Vec<Executor>,
    pub(crate) invariants: Invariants,
    pub(crate) trace: Option<Vec<String>>,
}

/// What a schedule came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) events: u64,
    pub(crate) applied: u64,
    pub(crate) reverted: u64,
    pub(crate) resolved: u64,
    pub(crate) escalated: u64,
    pub(crate) crashes: u64,
    pub(crate) refused: u64,
}

// === impl Report ===

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.applied += other.applied;
        self.reverted += other.reverted;
        self.resolved += other.resolved;
        self.escalated += other.escalated;
        self.crashes += other.crashes;
        self.refused += other.refused;
    }
}

// === impl Simulation ===

impl Simulation {
    pub(crate) fn new(seed: u64, rules: Rules, traced: bool) -> Self {
        let mut random = Random::new(seed);
        let mut faults = Faults::draw(&mut random);
        let stubborn = random.chance(250) && !faults.is_calm();
        faults.troubles.iter_mut().for_each(|trouble| trouble.stubborn = stubborn);
        let mut simulation = Self {
            rules,
            directors: (0..faults.directors).map(|_| Director::default()).collect(),
            executors: (0..faults.executors).map(|_| Executor::default()).collect(),
            random,
            faults,
            queue: BTreeMap::new(),
            sequence: 0,
            cluster: Cluster::new(),
            store: Store::default(),
            invariants: Invariants::new(),
            trace: traced.then(Vec::new),
        };
        simulation.begin();
        simulation
    }

    fn begin(&mut self) {
        for trouble in 0..self.faults.troubles.len() {
            let at = self.random.between(0, 5_000);
            self.at(START + at, Happening::Alert(trouble));
        }
        for (at, deed) in self.faults.deeds.clone() {
            self.at(START + at, Happening::Deed(deed));
        }
        if self.faults.liar.is_some() {
            for _ in 0..4 {
                let at = self.random.between(0, 60_000);
                self.at(START + at, Happening::Mischief);
            }
        }
        let directors = (0..self.directors.len()).map(Part::Director);
        let executors = (0..self.executors.len()).map(Part::Executor);
        for part in directors.chain(executors).collect::<Vec<_>>() {
            self.wake(part, 200);
        }
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8} {}", self.cluster.now - START, line()));
        }
    }

    // --- time ---

    fn at(&mut self, time: i64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((time.max(self.cluster.now), self.sequence), happening);
    }

    /// Wakes `part` after about so many milliseconds; a wake that was planned before is forgotten.
    pub(crate) fn wake(&mut self, part: Part, after: i64) {
        let token = self.process(part).1;
        *token += 1;
        let token = *token;
        let after = after / 2 + self.random.between(0, after);
        self.at(self.cluster.now + after, Happening::Wake(part, token));
    }

    fn process(&mut self, part: Part) -> (&mut bool, &mut u32) {
        match part {
            Part::Director(n) => {
                let director = &mut self.directors[n];
                (&mut director.down, &mut director.wakes)
            }
            Part::Executor(n) => {
                let executor = &mut self.executors[n];
                (&mut executor.down, &mut executor.wakes)
            }
        }
    }

    /// Now, as a process says: directors and executors have clocks of their own, and so have seats.
    pub(crate) fn clock(&self, of: usize) -> UnixMillis {
        UnixMillis(self.cluster.now + self.faults.skew[of])
    }

    // --- network ---

    pub(crate) fn send(&mut self, message: Message) {
        if self.random.chance(self.faults.lost) {
            return self.note(|| format!("lost: {}", short(&message)));
        }
        let copies = 1 + i64::from(self.random.chance(self.faults.doubled));
        for _ in 0..copies {
            let way = self.random.between(1, self.faults.delay);
            self.at(self.cluster.now + way, Happening::Arrives(message.clone()));
        }
    }

    pub(crate) fn send_later(&mut self, after: i64, message: Message) {
        self.at(self.cluster.now + after, Happening::Arrives(message));
    }

    /// Whether a short call comes through; and whether its answer does, which nobody can tell apart.
    pub(crate) fn call(&mut self) -> (bool, bool) {
        let done = !self.random.chance(self.faults.lost);
        (done, done && !self.random.chance(self.faults.lost))
    }

    // --- the schedule ---

    pub(crate) fn run(&mut self) -> Result<Report, Violation> {
        let hostile = !self.faults.is_honest() || self.faults.liar.is_some();
        let horizon = if hostile { HOSTILE_HORIZON } else { HORIZON };
        let mut events = 0;
        while let Some(((time, _), happening)) = self.queue.pop_first() {
            if time > horizon || self.is_over() {
                break;
            }
            self.cluster.now = time;
            events += 1;
            self.happen(happening);
            self.check()?;
        }
        self.check_end(hostile)?;
        Ok(Report { events, ..self.report() })
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(part, token) => {
                let (down, wakes) = self.process(part);
                if *down || *wakes != token {
                    return;
                }
                if self.random.chance(self.faults.crash) {
                    return self.crash(part);
                }
                match part {
                    Part::Director(n) => self.direct(n),
                    Part::Executor(n) => self.execute(n),
                }
            }
            Happening::Restart(part) => {
                *self.process(part).0 = false;
                self.note(|| format!("{part:?} starts again"));
                self.wake(part, 100);
            }
            Happening::Arrives(message) => self.arrives(message),
            Happening::Stores { from, plan, step, put, judged } => self.stores(from, plan, step, *put, *judged),
            Happening::Alert(trouble) => self.alert(trouble),
            Happening::Deed(deed) => self.deed(deed),
            Happening::Mischief => self.mischief(),
        }
    }

    fn crash(&mut self, part: Part) {
        self.note(|| format!("{part:?} ends"));
        self.invariants.crashes += 1;
        match part {
            Part::Director(n) => self.directors[n] = self.directors[n].ended(),
            Part::Executor(n) => self.executors[n] = self.executors[n].ended(),
        }
        let after = self.random.between(100, 15_000);
        self.at(self.cluster.now + after, Happening::Restart(part));
    }

    /// Whoever raises alerts repeats them while the trouble lasts.
    fn alert(&mut self, n: usize) {
        let trouble = self.faults.troubles[n];
        if trouble.is_over(self.cluster.workloads.get(&trouble.service())) || self.cluster.now > START + 60_000 {
            return;
        }
        let now = self.clock(0);
        self.note(|| format!("alert for {}", trouble.service()));
        self.store.receive(&trouble.service(), now);
        self.at(self.cluster.now + 20_000, Happening::Alert(n));
    }

    fn deed(&mut self, deed: Deed) {
        let at = service(WORKLOADS[self.random.below(3)]);
        self.note(|| format!("people: {deed:?} ({at})"));
        let now = self.cluster.now;
        match deed {
            Deed::Pause => self.cluster.paused = Some("people said so".into()),
            Deed::Unpause => self.cluster.paused = None,
            Deed::EditSpec => {
                let mut edited = self.cluster.workloads[&at].clone();
                match self.random.below(3) {
                    0 => edited["spec"]["replicas"] = json!(4),
                    1 => edited["spec"]["template"]["spec"]["image"] = json!("x:3"),
                    _ => edited["spec"]["template"]["spec"]["hotfix"] = json!("by hand"),
                }
                self.cluster.store_workload(&at, edited);
            }
            Deed::EditLabel => {
                let mut edited = self.cluster.workloads[&at].clone();
                edited["metadata"]["labels"]["by"] = json!("hand");
                self.cluster.store_workload(&at, edited);
            }
            Deed::Recreate => self.cluster.recreate(&at),
            Deed::EditBlueprint => {
                self.cluster.blueprint_changed_at = now;
                self.cluster.blueprint_generation += 1;
            }
            Deed::EditRules => self.cluster.rules_changed_at = Some(now),
            Deed::EditRoster => self.cluster.roster.trust_roots.push('+'),
            Deed::LoseLedger => self.store.lose(),
        }
        self.cluster.changes += 1;
    }

    pub(crate) fn arrives(&mut self, message: Message) {
        match message {
            Message::Ask { seat, instance, round, context, epoch, deadline, causes, from } => {
                self.asked(seat, instance, round, &context, epoch, deadline, &causes, from);
            }
            Message::Answered { to: (n, incarnation), seat, epoch, round } => {
                if self.directors[n].incarnation == incarnation {
                    self.directors[n].answered(seat, epoch, round);
                }
            }
            Message::Cast { seat, ballot } => {
                let creator = super::votes::SEATS[seat].0;
                let name = ballot.name();
                if !self.rules.ballots_stay {
                    self.cluster.ballots.remove(&name);
                }
                let created = self.cluster.create_ballot(*ballot, creator);
                self.note(|| format!("ballot {name}: {}", created.map_or_else(|refusal| refusal.rule.code(), |()| "stored".into())));
            }
            Message::Put { from, plan, step, put } => self.puts(from, plan, step, *put),
            Message::Create { from, name, plan } => self.creates(from, name, *plan),
            Message::Reply { to: (n, incarnation), plan, step, answer } => {
                if self.executors[n].incarnation == incarnation {
                    self.replied(n, &plan, step, answer);
                }
            }
        }
    }

    fn reply(&mut self, to: (usize, u32), plan: String, step: Step, answer: Answer) {
        self.note(|| format!("{step:?} {plan}: {}", said(&answer)));
        if matches!(answer, Answer::Refused(_)) {
            self.invariants.refused += 1;
        }
        self.send(Message::Reply { to, plan, step, answer });
    }

    // --- the API server ---

    fn creates(&mut self, from: (usize, u32), name: String, plan: Plan) {
        let own_clock = self.cluster.now + self.faults.gate_skew;
        let facts = self.cluster.facts(&plan.incident, &plan.proposal.target.service(), own_clock);
        let answer = if plan.name().ok().as_ref() != Some(&name) {
            Answer::Refused(Refusal::new(Rule::PlanName, "", ""))
        } else {
            match self.rules.judge_plan(facts, &plan) {
                Err(refusal) => Answer::Refused(refusal),
                Ok(()) => {
                    let intent = self.store.has(&super::executor::key(&name, "apply-intended"));
                    let newest = self.cluster.newest();
                    if !self.cluster.plans.contains_key(&name) && !self.store.had([&newest.head, &plan.ledger.head]) {
                        self.invariants.breaks(format!("{name} was stored on a ledger that forgets what was planned"));
                    }
                    if self.cluster.create_plan(name.clone(), plan) {
                        self.invariants.planned(&name, intent, self.cluster.now);
                    }
                    Answer::Done
                }
            }
        };
        self.reply(from, name, Step::Create, answer);
    }

    fn puts(&mut self, from: (usize, u32), plan: String, step: Step, put: Put) {
        let answer = match self.judged(&put) {
            Err(answer) => answer,
            Ok(_) if put.request.dry_run => Answer::Done,
            Ok(judged) => {
                let gap = if self.random.chance(self.faults.gap) { self.random.between(1, 3_000) } else { 0 };
                let judged = Box::new(judged);
                return self.at(self.cluster.now + gap, Happening::Stores { from, plan, step, put: Box::new(put), judged });
            }
        };
        self.reply(from, plan, step, answer);
    }

    /// The write as it would be stored, if the gate admits it.
    fn judged(&mut self, put: &Put) -> Result<Landed, Answer> {
        let Some(workload) = self.cluster.workloads.get(&put.service) else { return Err(Answer::Changed) };
        let sent = &put.request.new["metadata"];
        let others = |field: &str| !sent[field].is_null() && sent[field] != workload["metadata"][field];
        if self.rules.preconditions && (others("resourceVersion") || others("uid")) {
            return Err(Answer::Changed);
        }
        let own_clock = self.cluster.now + self.faults.gate_skew;
        let incident = put.request.incidents.first().and_then(|uid| IncidentUid::try_from(uid.clone()).ok());
        let Some(incident) = incident else { return Err(Answer::Refused(Refusal::new(Rule::IncidentExtra, "", ""))) };
        let facts = self.cluster.facts(&incident, &put.service, own_clock);
        let after = Cluster::merged(workload, &put.request);
        let old = object_of(&put.request.subresource, workload);
        let new = if put.request.subresource == "scale" { put.request.new.clone() } else { after.clone() };
        let request = WriteRequest { old, new, ..put.request.clone() };
        let before = workload.clone();
        // The gate is not always there.
        if self.random.chance(self.faults.lost) {
            return Err(Answer::Transient);
        }
        if assent_core::target::is_system_namespace(&request.namespace) {
            return Err(Answer::Refused(Refusal::new(Rule::ForbiddenTarget, "", "")));
        }
        let admitted = self.rules.judge_write(facts, &request).map_err(|refusal| match refusal.rule {
            Rule::Stale => Answer::Changed,
            _ => Answer::Refused(refusal),
        })?;
        let (roster, paused) = (self.cluster.roster.digest().unwrap(), self.cluster.paused.is_some());
        Ok(Landed { incident, service: put.service.clone(), admitted, judged_at: self.cluster.now, paused, roster, before, after })
    }

    fn stores(&mut self, from: (usize, u32), plan: String, step: Step, put: Put, judged: Landed) {
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let current = self.cluster.workloads[&put.service].clone();
        if self.rules.preconditions && version(&current) != version(&judged.before) {
            // A write for whatever version there is, is judged again.
            if put.request.new["metadata"]["resourceVersion"].is_null() {
                return self.puts(from, plan, step, put);
            }
            return self.reply(from, plan, step, Answer::Changed);
        }
        let after = self.cluster.store_workload(&put.service, judged.after.clone());
        self.note(|| format!("written: {:?} {}", judged.admitted, judged.service));
        self.cluster.landed.push(Landed { before: current, after, ..judged });
        self.reply(from, plan, step, Answer::Done);
    }

    /// What is wrong at a service, as it now is.
    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        let lasting = |trouble: &&Trouble| !trouble.is_over(self.cluster.workloads.get(&trouble.service()));
        self.faults.troubles.iter().filter(lasting).copied().collect()
    }

    pub(crate) fn is_well(&self, at: &Service) -> bool {
        !self.troubles().iter().any(|trouble| trouble.service() == *at)
    }

    fn is_over(&self) -> bool {
        let opened = !self.store.incidents.is_empty() && self.faults.is_honest();
        opened
            && self.store.incidents.values().all(|record| record.incident.phase.is_final())
            && self.cluster.plans.values().all(|stored| stored.phase.is_final())
            && !self.queue.values().any(|happening| !matches!(happening, Happening::Wake(..)))
    }

    fn report(&self) -> Report {
        let ended = |phase| self.store.incidents.values().filter(|record| record.incident.phase == phase).count() as u64;
        let landed = |admitted| self.cluster.landed.iter().filter(|landed| landed.admitted == admitted).count() as u64;
        Report {
            events: 0,
            applied: landed(Admitted::Apply),
            reverted: landed(Admitted::Revert),
            resolved: ended(assent_core::incident::Phase::Resolved),
            escalated: ended(assent_core::incident::Phase::Escalated),
            crashes: self.invariants.crashes,
            refused: self.invariants.refused,
        }
    }
}

fn short(message: &Message) -> String {
    match message {
        Message::Ask { seat, round, epoch, .. } => format!("ask seat {seat} for its {round} in epoch {epoch}"),
        Message::Answered { seat, round, .. } => format!("seat {seat} answers ({round})"),
        Message::Cast { ballot, .. } => format!("ballot {}", ballot.name()),
        Message::Put { plan, step, .. } | Message::Reply { plan, step, .. } => format!("{step:?} {plan}"),
        Message::Create { name, .. } => format!("plan {name}"),
    }
}

fn said(answer: &Answer) -> String {
    match answer {
        Answer::Refused(refusal) => refusal.to_string(),
        other => format!("{other:?}"),
    }
}
