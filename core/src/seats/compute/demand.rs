//! Replicas and sizes that follow the load: what people want of a service, what its pods used over minutes, and what the demand engine
//! makes of the two. The seat reports what should change, votes for it by the figures of that moment, and supports nothing else.

use std::collections::{BTreeMap, VecDeque};

use super::vote::RESOURCE;
use super::wanted::{Wanted, goes_no_further, more_milli, too_small};
use super::{PodState, View};
use crate::action::{Adjust, Scale};
use crate::ballot::{Evidence, Hypothesis, Opinion, Proposal, Round};
use crate::blueprint::Effective;
use crate::demand::{self, Autoscaler, Change, Container, Decision, Histories, Observation, Reason, Sample, Settings, State, Tuned};
use crate::ids::{Domain, Millionths, UnixMillis};
use crate::incident::Symptom;
use crate::seats::opinion::{abstain, cause, evidence};
use crate::seats::{Asked, Finding, Position};
use crate::target::{Service, Target};

/// Between two looks at whether something should change.
const LOOK_MS: i64 = 5_000;
/// A use is of now for so long; kubelets measure every ten to fifteen seconds.
const FRESH_MS: i64 = 30_000;
/// Samples over the longer window; more would say the same.
const SAMPLES: i64 = 200;
/// Changes of the number of replicas that are remembered.
const MAX_CHANGES: usize = 64;
/// Services whose load is followed.
const MAX_INTENTS: usize = 2_000;
/// Services whose containers' use is kept; a larger cluster needs sharded seats.
const MAX_SIZED: usize = 1_000;
/// The word for a service of which nobody wants that its replicas follow the load.
const NOT_FOLLOWED: &str = "notFollowed";
/// What the use of the pods says of the number of replicas; the figures are the seat's own.
const SURE: Millionths = Millionths::new(900_000);

/// What people want of one service, and how the API server says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its Blueprint below what stands above it.
    pub effective: Effective,
    /// Replicas that are asked for.
    pub replicas: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Whether old and new pods mix.
    pub rolling_out: bool,
    /// Whether sizes in its template reach its pods, and can be put back.
    pub resizes: bool,
    /// Containers of a pod, without Assent's own sidecar.
    pub containers: Vec<Container>,
    /// Autoscalers that set the replicas.
    pub autoscalers: Vec<Autoscaler>,
}

/// One service whose load is followed.
#[derive(Debug)]
struct Followed {
    intent: Intent,
    samples: VecDeque<Sample>,
    state: State,
    /// What should change, and since when that is so.
    wanted: Option<(Wanted, UnixMillis)>,
    /// What is to be done, or why nothing is, in one fixed word; and in figures.
    standing: &'static str,
    rationale: String,
    /// What its containers used; nothing where nobody wants them sized.
    histories: Histories,
    /// How long a period of that is, if it is kept.
    period_ms: Option<i64>,
    /// How many of its pods' containers were last killed for want of memory, by name.
    killed: BTreeMap<String, u32>,
}

/// Everything about load that the seat holds.
#[derive(Debug, Default)]
pub(super) struct Demand {
    followed: BTreeMap<Service, Followed>,
    looked_at: Option<UnixMillis>,
}

// === impl Followed ===

impl Followed {
    /// What should change by the figures of now, with the words for it.
    fn decide(&self, settings: Option<&Settings>, now: UnixMillis) -> (Option<Wanted>, &'static str, String) {
        let Some(settings) = settings else {
            return (None, NOT_FOLLOWED, "its Blueprint does not let replicas follow the load".into());
        };
        let observation = self.observation();
        let decision = demand::decide(settings, &self.state, &observation, now);
        let wanted = match &decision {
            Decision::Scale { from, to, .. } => Some(Wanted::Replicas { from: *from, to: *to }),
            Decision::Tune { containers, .. } => Wanted::sizes(&observation.containers, containers),
            // More than the limits allow is asked for where people said whom to ask, a step at a time.
            Decision::Hold { reason: Reason::AtMaximum { wanted }, .. } => {
                let from = self.intent.replicas;
                let to = (*wanted).min(from.saturating_add(settings.pace.replicas_up));
                (to > from && demand::may_ask_for(&self.intent.effective, from, to, now)).then_some(Wanted::Replicas { from, to })
            }
            Decision::Hold { .. } | Decision::AdjustAutoscaler { .. } => None,
        };
        let standing = match (&decision, &wanted) {
            (_, Some(wanted)) => wanted.fault(),
            (Decision::Hold { reason, .. }, None) => reason.name(),
            // What is not this seat's to propose.
            (_, None) => Reason::InBand.name(),
        };
        (wanted, standing, decision.rationale().to_owned())
    }

    /// What people want of it, as of now.
    fn settings(&self, now: UnixMillis) -> Option<Settings> {
        let settings = demand::settings(&self.intent.effective, now)?;
        let tuning = demand::sizing(&self.intent.effective, &self.intent.containers, now).filter(|_| self.intent.resizes);
        Some(Settings { tuning, ..settings })
    }

    fn observation(&self) -> Observation {
        Observation {
            replicas: self.intent.replicas,
            ready: self.intent.ready,
            rolling_out: self.intent.rolling_out,
            containers: self.containers(),
            samples: self.samples.iter().copied().collect(),
            autoscalers: self.intent.autoscalers.clone(),
            resources_are_owned: false,
        }
    }

    /// Its containers with what they used.
    fn containers(&self) -> Vec<Container> {
        let known = |container: &Container| {
            let out_of_memory = self.killed.get(&container.name).copied().unwrap_or(0);
            Container { history: self.histories.of(&container.name), out_of_memory, ..container.clone() }
        };
        self.intent.containers.iter().map(known).collect()
    }

    fn newest(&self) -> UnixMillis {
        self.samples.back().map_or(UnixMillis(0), |sample| sample.at)
    }

    fn from(&self) -> UnixMillis {
        self.samples.front().map_or(UnixMillis(0), |sample| sample.at)
    }

    fn take(&mut self, sample: Sample, keep_ms: i64) {
        self.samples.push_back(sample);
        while self.samples.front().is_some_and(|first| sample.at.since(first.at) > keep_ms) {
            self.samples.pop_front();
        }
    }
}

// === impl Demand ===

impl Demand {
    /// What the containers of one pod used since its `last` sample. What a start costs is not what is usual.
    pub(super) fn sized(&mut self, service: &Service, last: &super::Sample, sample: &super::Sample, warm: bool) {
        let Some(followed) = self.followed.get_mut(service) else { return };
        let Some(period_ms) = followed.period_ms else { return };
        let elapsed = u64::try_from(sample.at.since(last.at)).unwrap_or(0);
        for container in &sample.containers {
            let before = last.containers.iter().find(|before| before.name == container.name).filter(|_| warm);
            let spent = before.and_then(|before| container.cpu_ns.checked_sub(before.cpu_ns));
            let milli = spent.and_then(|spent| spent.checked_div(elapsed.saturating_mul(1_000)));
            followed.histories.take(&container.name, sample.at, milli, container.memory_bytes, period_ms);
        }
    }
}

// === impl View ===

impl View {
    /// Whether the load of `service` is followed, and by what; `None`: no longer.
    pub fn intent(&mut self, service: &Service, intent: Option<Intent>, now: UnixMillis) {
        let followed = &mut self.demand.followed;
        let Some(intent) = intent else {
            followed.remove(service);
            return;
        };
        let room = followed.len() < MAX_INTENTS;
        match followed.get_mut(service) {
            Some(held) => {
                // By whomever: what a person changed is not turned round at once either.
                if held.intent.replicas != intent.replicas {
                    held.state.changes.push(Change { at: now, from: held.intent.replicas, to: intent.replicas });
                    let surplus = held.state.changes.len().saturating_sub(MAX_CHANGES);
                    held.state.changes.drain(..surplus);
                    held.wanted = None;
                }
                // Use of another size of pod says nothing of this one; what its containers need is what they need.
                if held.intent.containers != intent.containers {
                    let larger = is_larger(&held.intent.containers, &intent.containers);
                    held.state.tunings.push(Tuned { at: now, larger });
                    let surplus = held.state.tunings.len().saturating_sub(MAX_CHANGES);
                    held.state.tunings.drain(..surplus);
                    held.samples.clear();
                    held.wanted = None;
                }
                held.intent = intent;
            }
            None if room => {
                let fresh = Followed {
                    intent,
                    samples: VecDeque::new(),
                    state: State::default(),
                    wanted: None,
                    standing: NOT_FOLLOWED,
                    rationale: String::new(),
                    histories: Histories::default(),
                    period_ms: None,
                    killed: BTreeMap::new(),
                };
                followed.insert(service.clone(), fresh);
            }
            None => {}
        }
    }

    /// How each followed service stands: what is to be done, or why nothing is, in one fixed word; and in figures.
    pub fn standings(&self) -> impl Iterator<Item = (&Service, &'static str, &str)> {
        self.demand.followed.iter().map(|(service, followed)| (service, followed.standing, followed.rationale.as_str()))
    }

    /// Services whose load is followed.
    pub fn followed(&self) -> impl Iterator<Item = &Service> {
        self.demand.followed.keys()
    }

    /// Takes a sample of every followed service and looks whether something should change.
    pub(super) fn follow_demand(&mut self, now: UnixMillis) {
        if self.demand.looked_at.is_some_and(|at| now.since(at) < LOOK_MS) {
            return;
        }
        self.demand.looked_at = Some(now);
        let mut demand = std::mem::take(&mut self.demand);
        let mut sized = 0_usize;
        for (service, followed) in &mut demand.followed {
            let settings = followed.settings(now);
            let period_ms = settings.as_ref().and_then(|settings| Some(settings.tuning.as_ref()?.period_ms)).filter(|_| sized < MAX_SIZED);
            sized = sized.saturating_add(usize::from(period_ms.is_some()));
            // Periods of another length are another history.
            if followed.period_ms != period_ms {
                (followed.period_ms, followed.histories) = (period_ms, Histories::default());
            }
            let keep_ms = settings.as_ref().map_or(0, |settings| settings.windows.down_ms);
            let due = now.since(followed.newest()) >= keep_ms / SAMPLES;
            if let Some(sample) = self.used_by(service, now).filter(|_| due) {
                followed.take(sample, keep_ms);
            }
            followed.killed = self.killed_of(service);
            let (wanted, standing, rationale) = followed.decide(settings.as_ref(), now);
            // The same need goes on while its direction does, whatever the figure.
            let before = followed.wanted.take().filter(|(before, _)| wanted.as_ref().is_some_and(|wanted| wanted.goes_on(before)));
            followed.wanted = wanted.map(|wanted| (wanted, before.map_or(now, |(_, since)| since)));
            (followed.standing, followed.rationale) = (standing, rationale);
        }
        self.demand = demand;
    }

    /// What the ready pods of a service use now, all together; nothing where a kubelet is silent about one of them.
    fn used_by(&self, service: &Service, now: UnixMillis) -> Option<Sample> {
        let ran = |state: &&PodState| state.facts.running && state.facts.started_at.is_none_or(|started| now.since(started) >= super::WARM_UP_MS);
        let (mut ready, mut cpu, mut memory) = (0_u32, 0_u64, 0_u64);
        for state in self.pods_of(service).map(|(_, state)| state).filter(ran) {
            let used = state.newest.filter(|used| now.since(used.to) <= FRESH_MS && state.is_warm(used))?;
            ready = ready.saturating_add(1);
            cpu = cpu.saturating_add(u64::try_from(used.milli).unwrap_or(0));
            memory = memory.saturating_add(used.memory_bytes);
        }
        (ready > 0).then_some(Sample { at: now, ready, cpu_milli: Some(cpu), memory_bytes: Some(memory), latency_p95_us: None, errors: None })
    }

    /// Containers of the service's pods that were last killed for want of memory, counted by name.
    fn killed_of(&self, service: &Service) -> BTreeMap<String, u32> {
        let mut killed: BTreeMap<String, u32> = BTreeMap::new();
        for name in self.pods_of(service).flat_map(|(_, state)| &state.facts.killed) {
            let count = killed.entry(name.clone()).or_default();
            *count = count.saturating_add(1);
        }
        killed
    }

    /// What should change, as findings; those of services that are ill are left to others.
    pub(super) fn demanded(&self) -> Vec<Finding> {
        let wanting = self.demand.followed.iter().filter_map(|(service, followed)| Some((service, followed, followed.wanted.as_ref()?)));
        wanting
            .map(|(service, followed, (_, since))| Finding {
                service: service.clone(),
                symptom: Symptom::Demand,
                since: *since,
                summary: followed.rationale.clone(),
            })
            .collect()
    }

    /// The blind vote on an incident of demand.
    pub(super) fn demand_vote(&self, asked: &Asked<'_>) -> Opinion {
        let service = &asked.context.service;
        let (followed, wanted, rationale) = match self.decided(asked) {
            Ok(decided) => decided,
            Err(reason) => return abstain(Round::Cause, &reason),
        };
        let grounds = vec![grounds(followed, &rationale)];
        let workload = asked.context.workloads.iter().find(|workload| workload.target.service() == *service);
        match (wanted, workload) {
            (Some(wanted), Some(workload)) if !matches!(wanted, Wanted::Replicas { from, .. } if from != workload.replicas) => {
                let remedy = Proposal { action: wanted.action(), target: workload.target.clone() };
                let hypothesis = Hypothesis {
                    service: service.clone(),
                    domain: Domain::Compute,
                    fault: wanted.fault().into(),
                    probability: SURE,
                    evidence: grounds,
                    path: vec![service.clone()],
                    remedies: vec![remedy],
                };
                cause(vec![hypothesis], Vec::new(), [])
            }
            (Some(_), _) => abstain(Round::Cause, "the number of replicas has changed meanwhile"),
            (None, _) => cause(Vec::new(), grounds, []),
        }
    }

    /// The stance on a number of replicas in an incident of demand: its own number, or any that goes less far the same way.
    pub(super) fn demand_position(&self, asked: &Asked<'_>, target: &Target, scale: &Scale) -> Position {
        let (followed, wanted, grounds) = match self.decided_of(asked, target) {
            Ok(decided) => decided,
            Err(reason) => return Position::no_objection(reason),
        };
        if let Some(reason) = self.no_room(&target.service(), scale.replicas.saturating_sub(followed.intent.replicas)) {
            return Position::veto(reason, grounds);
        }
        match wanted {
            Some(Wanted::Replicas { from, to }) if to > from && (from..=to).contains(&scale.replicas) => Position::support("its pods use too much", grounds),
            Some(Wanted::Replicas { from, to }) if to < from && (to..=from).contains(&scale.replicas) => Position::support("its pods use little", grounds),
            _ if scale.replicas < followed.intent.replicas => Position::veto("its pods use too much for fewer", grounds),
            _ => Position::no_objection("its use does not call for that many"),
        }
    }

    /// The stance on sizes of containers in an incident of demand: its own, or any that go less far the same way.
    pub(super) fn sizes_position(&self, asked: &Asked<'_>, target: &Target, adjust: &Adjust) -> Position {
        let (followed, wanted, grounds) = match self.decided_of(asked, target) {
            Ok(decided) => decided,
            Err(reason) => return Position::no_objection(reason),
        };
        let now = followed.containers();
        if let Some(reason) = self.no_room_for_larger(&target.service(), more_milli(&now, adjust)) {
            return Position::veto(reason, grounds);
        }
        if let Some(container) = too_small(&now, adjust) {
            return Position::veto(format!("container `{container}` used more memory than that"), grounds);
        }
        match wanted {
            Some(Wanted::Sizes { to, larger }) if goes_no_further(&now, adjust, &to) => {
                Position::support(if larger { "its containers use nearly all they ask for" } else { "its containers use little of what they ask for" }, grounds)
            }
            _ => Position::no_objection("its use does not call for those sizes"),
        }
    }

    /// As [`View::decided`] about a remedy that is put for `target`, with the grounds.
    fn decided_of(&self, asked: &Asked<'_>, target: &Target) -> Result<(&Followed, Option<Wanted>, Vec<Evidence>), String> {
        if target.service() != asked.context.service {
            return Err("of another service".into());
        }
        let (followed, wanted, rationale) = self.decided(asked)?;
        Ok((followed, wanted, vec![grounds(followed, &rationale)]))
    }

    fn decided(&self, asked: &Asked<'_>) -> Result<(&Followed, Option<Wanted>, String), String> {
        let service = &asked.context.service;
        let followed = self.demand.followed.get(service).ok_or_else(|| format!("the load of {service} is not followed"))?;
        let settings = followed.settings(asked.now);
        let (wanted, _, rationale) = followed.decide(settings.as_ref(), asked.now);
        Ok((followed, wanted, rationale))
    }
}

/// Whether something of `after` is more than it was.
fn is_larger(before: &[Container], after: &[Container]) -> bool {
    after.iter().any(|after| {
        let before = before.iter().find(|before| before.name == after.name);
        before.is_none_or(|before| after.cpu.request > before.cpu.request || after.memory.request > before.memory.request)
    })
}

fn grounds(followed: &Followed, rationale: &str) -> Evidence {
    let figures: Vec<&Sample> = followed.samples.iter().collect();
    evidence(RESOURCE, &figures, (followed.from(), followed.newest()), rationale)
}

#[cfg(test)]
mod cases;
