//! One admitted plan to its end: look, ask [`step`], do that one thing, and look again. Nothing is kept between two rounds but
//! readings, and whether a pod may have been made to go; so a process that takes over where another ended comes to the same.

mod first;

use std::collections::VecDeque;
use std::time::Duration;

use assent_api::parse_plan;
use assent_api::resources::{Remediation, RemediationPhase};
use assent_core::action::Owned;
use assent_core::ballot::Principal;
use assent_core::blueprint::Effective;
use assent_core::ids::UnixMillis;
use assent_core::plan::Plan;
use assent_core::refusal::Refusal;
use assent_core::verification::{Effect, Look, Missed, Progress, Reading, beside_checks, effect, judge, missed, unproven, with_checks, with_neighbours};
use assent_core::workload::Kind;
use assent_live::{Live, change, own_clock, unavailable};
use assent_runtime::backoff::Backoff;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::backoff;
use crate::entering;
use crate::gate;
use crate::planning::{Times, inverse};
use crate::queries::Queries;
use crate::raising::raise;
use crate::record::{Entry, Ledger};
use crate::signals::Signals;
use crate::status::Status;
use crate::step::{Against, Next, Seen, Watch, deadline, sight, step};
use crate::writes::{Answer, Step, Writer};

/// Between two readings.
const READING: Duration = Duration::from_secs(1);
/// How long before a write counts as before.
const BEFORE_MS: i64 = 60_000;
/// Readings are kept for this long beyond the soak.
const KEEP_READINGS_MS: i64 = 30_000;
/// What the ledger is told of the first pod of a change.
const FIRST_POD: &str = "one pod runs the voted change, and the rest is held back";
/// What is kept of an answer, in characters.
const MAX_WORDS: usize = 600;

/// Carries plans out.
pub(crate) struct Carrier {
    pub(crate) live: Live,
    pub(crate) ledger: Ledger,
    pub(crate) signals: Signals,
    pub(crate) queries: Queries,
    pub(crate) times: Times,
}

/// A plan on its way.
struct Journey<'a> {
    carrier: &'a Carrier,
    plan: Plan,
    name: String,
    created_at: UnixMillis,
    status: Status,
    readings: VecDeque<Reading>,
    /// Looks at its neighbours.
    looks: VecDeque<Look>,
    /// Most pods of the new template that were seen, and when there was one more.
    most_updated: u32,
    moved_at: Option<UnixMillis>,
    /// Since when every pod is as it should be, and the service has had its time to settle.
    through_since: Option<UnixMillis>,
    watch: Watch,
    /// What stands against the write that is due.
    against: Option<Against>,
    /// What the Blueprint says of verifying and undoing, once it was read.
    blueprint: Option<Effective>,
    /// Its checks that do not hold.
    missed: Vec<Missed>,
    /// Whether the voted change was made, or may have been: by a request without an answer, or a process before this one.
    tried: bool,
    /// Whether the gate was looked at since the last answer that was no verdict.
    gate_seen: bool,
    backoff: Backoff,
}

// === impl Carrier ===

impl Carrier {
    /// Carries `stored` to its end. `gate_seen` is whether the gate was checked just now. Returns the final phase, or why the
    /// object is no plan.
    pub(crate) async fn carry(&self, stored: &Remediation, gate_seen: bool) -> Result<RemediationPhase, Refusal> {
        let plan = parse_plan(stored)?;
        let created_at = assent_api::facts::created_at(stored).ok_or_else(|| unavailable("the plan has no creation time"))?;
        let mut journey = Journey {
            carrier: self,
            plan,
            name: stored.name_any(),
            created_at,
            status: Status::of(self.live.client(), stored),
            readings: VecDeque::new(),
            looks: VecDeque::new(),
            most_updated: 0,
            moved_at: None,
            through_since: None,
            watch: Watch::default(),
            against: None,
            blueprint: None,
            missed: Vec::new(),
            // Who looked at the gate just now has made the plan just now.
            tried: !gate_seen,
            gate_seen,
            backoff: backoff(),
        };
        loop {
            if journey.round().await {
                return Ok(journey.status.phase());
            }
        }
    }
}

// === impl Journey ===

impl Journey<'_> {
    /// One look and one thing done; true when nothing will follow.
    async fn round(&mut self) -> bool {
        let (target, pod) = match self.look().await {
            Ok(looked) => looked,
            Err(refusal) => {
                tracing::warn!(plan.id = self.name, reason = refusal.reason, "cannot read the target");
                self.backoff.wait().await;
                return false;
            }
        };
        if self.status.phase() == RemediationPhase::Applied {
            self.after_a_gap(own_clock());
        }
        let seen = Seen {
            created_at: self.created_at,
            phase: self.status.phase(),
            sight: sight(&self.plan, self.created_at, target.as_ref(), self.stands(pod.as_ref()), self.tried),
            trial: self.trial(),
            progress: self.progress(),
            against: self.against.clone(),
            now: own_clock(),
        };
        let next = step(&self.plan, &seen);
        tracing::debug!(plan.id = self.name, sight = ?seen.sight, next = ?next, "step");
        match next {
            Next::Done => return true,
            Next::Apply => self.apply(target.as_ref().unwrap_or(&Value::Null), pod.as_ref()).await,
            Next::NoteHeld => self.note_held().await,
            Next::Try => self.look_at_first(target.as_ref().unwrap_or(&Value::Null)).await,
            Next::Release => self.release(target.as_ref().unwrap_or(&Value::Null)).await,
            Next::NoteApplied => self.note_applied().await,
            Next::Watch => self.watch(target.as_ref().unwrap_or(&Value::Null)).await,
            Next::NoteReverting(why) => {
                // What stood against letting the rest follow does not stand against the way back.
                self.against = None;
                if self.blueprint.as_ref().is_some_and(|effective| !effective.undoing().enabled || !effective.undoing().automatic) {
                    // The end is compared by itself, once the status is read again.
                    self.finish(RemediationPhase::Failed, &format!("{why}; the Blueprint leaves undoing it to people")).await;
                    return false;
                }
                let did = self.compare().await;
                if seen.phase == RemediationPhase::Canary {
                    // All but one pod run what they ran.
                    self.status.set_result(Effect::NoEffect);
                }
                tracing::warn!(incident.id = %self.plan.incident, plan.id = self.name, reason = why, did, "did not help");
                self.status.set(RemediationPhase::Reverting, &format!("{why}{did}")).await;
            }
            Next::Revert => self.revert(target.as_ref().unwrap_or(&Value::Null)).await,
            Next::Finish(phase, message) => self.finish(phase, &message).await,
        }
        false
    }

    /// The target, and the pod that goes, if one goes.
    async fn look(&self) -> Result<(Option<Value>, Option<Owned>), Refusal> {
        let (live, proposal) = (&self.carrier.live, &self.plan.proposal);
        // The pod first: what makes a new one is seen later than that it went.
        let pod = live.evicted(proposal).await?;
        Ok((live.workload(&proposal.target).await?, pod))
    }

    /// Whether the pod that goes is still there, if one goes.
    fn stands(&self, pod: Option<&Owned>) -> Option<bool> {
        self.plan.proposal.action.evicts().map(|evict| evict.stands(pod))
    }

    fn progress(&self) -> Progress {
        let (Some(applied_at), Some(since)) = (self.status.applied_at(), self.watch.since) else { return Progress::Watching };
        let moved_at = self.moved_at.unwrap_or(applied_at);
        let deadline = deadline(&self.plan, self.created_at, moved_at, since, self.watch.gap_ms, self.carrier.times.verify_within_ms);
        let readings: Vec<Reading> = self.readings.iter().cloned().collect();
        let now = own_clock();
        let judged = judge(&readings, self.plan.soak_ms, deadline, now);
        let critical_suffices = self.blueprint.as_ref().is_some_and(|effective| effective.undoing().on_critical_failure);
        let judged = with_checks(judged, &self.missed, self.is_stabilised(applied_at, now), critical_suffices, deadline, now);
        with_neighbours(judged, &self.looks(), self.through_since, deadline, now)
    }

    /// Whether the service has had the time that its Blueprint gives a change to settle.
    fn is_stabilised(&self, applied_at: UnixMillis, now: UnixMillis) -> bool {
        let wait = self.blueprint.as_ref().map_or(0, |effective| i64::try_from(effective.undoing().stabilization_ms).unwrap_or(i64::MAX));
        now.since(applied_at) >= wait
    }

    /// How far the change is: whether it came forward since the last look, and since when it is through.
    fn follow(&mut self, target: &Value, applied_at: UnixMillis, now: UnixMillis) {
        let updated = Kind::of_object(target).map_or(0, |kind| kind.counts(target).updated);
        if updated > self.most_updated {
            (self.most_updated, self.moved_at) = (updated, Some(now));
        }
        let newest = self.readings.iter().rfind(|reading| reading.principal == Principal::ApiServer);
        let through = newest.is_some_and(|reading| reading.healthy == Some(true)) && self.is_stabilised(applied_at, now);
        self.through_since = through.then_some(self.through_since.unwrap_or(now));
    }

    fn looks(&self) -> Vec<Look> {
        self.looks.iter().cloned().collect()
    }

    /// Says what the write did, compared with before, if that was not said yet; in words that follow a reason.
    async fn compare(&mut self) -> String {
        let Some(applied_at) = self.status.applied_at().filter(|_| self.status.result().is_none()) else { return String::new() };
        let target = &self.plan.proposal.target;
        let (windows, _) = self.carrier.signals.counted(&target.namespace, &target.name, applied_at.plus(-BEFORE_MS)).await;
        // The last of it: how a change looks on its way is no effect of it.
        let settled = own_clock().plus(-i64::from(self.plan.soak_ms)).max(applied_at);
        let (effect, line) = effect(&self.progress(), &windows, applied_at, settled);
        let effect = beside_checks(effect, &self.missed);
        self.status.set_result(effect);
        format!("; {effect:?}: {line}")
    }

    async fn apply(&mut self, target: &Value, pod: Option<&Owned>) {
        if let Err(refusal) = self.prepare_and_put(target, pod).await {
            match refusal.rule {
                assent_core::refusal::Rule::Unavailable => {
                    tracing::warn!(plan.id = self.name, reason = refusal.reason, "the write has no verdict yet");
                    self.against(&refusal.reason, false);
                    self.gate_seen = false;
                    self.backoff.wait().await;
                }
                // An earlier attempt, of which nobody heard, or somebody else was faster: the next look tells.
                _ if self.look().await.is_ok_and(|(_, pod)| self.stands(pod.as_ref()) == Some(false)) => {}
                _ => self.finish(RemediationPhase::Refused, &refusal.to_string()).await,
            }
        }
    }

    async fn prepare_and_put(&mut self, target: &Value, pod: Option<&Owned>) -> Result<(), Refusal> {
        let live = &self.carrier.live;
        if !self.gate_seen {
            let roster = live.roster().await?.value?;
            gate::check(live, &roster, &self.plan.proposal.target, target).await?;
            self.gate_seen = true;
        }
        entering::enter(live, &self.plan, &self.name).await?;
        let change = change(live, &self.plan.proposal, self.plan.canary.as_ref(), target, pod).await?;
        let write = self.plan.proposal.write()?;
        let writer = Writer { client: live.client(), incident: &self.plan.incident };
        let answer = writer.send(&write, &self.plan.proposal, &change.new, Step::Apply).await;
        self.tried |= matches!(answer, Answer::Done(_) | Answer::Unheard(_));
        match answer {
            Answer::Done(_) => {
                tracing::info!(incident.id = %self.plan.incident, plan.id = self.name, action.kind = self.plan.proposal.action.name(), "applied");
                self.against = None;
                self.backoff.reset();
                Ok(())
            }
            Answer::Changed(message) | Answer::Transient(message) | Answer::Unheard(message) => Err(unavailable(message)),
            Answer::Refused(message) => Err(crate::writes::denied("the write", &message)),
        }
    }

    async fn note_applied(&mut self) {
        // What was read of a first pod says nothing of the whole.
        self.readings.clear();
        self.against = None;
        self.watch.looked_at = Some(own_clock());
        self.status.applied(own_clock()).await;
        // Once here, so that the record is prompt; if the ledger is away, it is recorded with the end.
        if let Err(refusal) = self.append("applied", RemediationPhase::Applied, "the voted change is written").await {
            tracing::warn!(plan.id = self.name, reason = refusal.reason, "the ledger will be told later");
        }
    }

    async fn watch(&mut self, target: &Value) {
        let applied_at = self.status.applied_at().unwrap_or(self.created_at);
        let next = tokio::time::Instant::now() + READING;
        let (readings, look) = self.carrier.signals.read(&self.carrier.live, target, self.plan.proposal.action.evicts(), applied_at).await;
        // From the first look on, not from the start of the process: reading may have taken its time.
        let now = own_clock();
        self.after_a_gap(now);
        self.watch.since.get_or_insert(now);
        for reading in readings {
            tracing::debug!(plan.id = self.name, principal = ?reading.principal, healthy = ?reading.healthy, summary = reading.summary, "reading");
            self.readings.push_back(reading);
        }
        for neighbour in look.neighbours.iter().flatten() {
            tracing::debug!(plan.id = self.name, neighbour = %neighbour.service, own = ?neighbour.own, callers = ?neighbour.callers, summary = neighbour.summary, "beside it");
        }
        self.looks.push_back(look);
        self.check(target, applied_at, now).await;
        self.follow(target, applied_at, now);
        // Not before the check: asking a slow store is no gap.
        self.watch.looked_at = Some(own_clock());
        let oldest = now.plus(-i64::from(self.plan.soak_ms) - KEEP_READINGS_MS);
        while self.readings.front().is_some_and(|reading| reading.at < oldest) {
            self.readings.pop_front();
        }
        while self.looks.front().is_some_and(|look| look.at < oldest) {
            self.looks.pop_front();
        }
        // Figures are sampled: there is no event to wait for.
        tokio::time::sleep_until(next).await;
    }

    /// Measures what the Blueprint's checks compare, over the last half of the soak.
    async fn check(&mut self, target: &Value, applied_at: UnixMillis, now: UnixMillis) {
        let wanted = &self.plan.proposal.target;
        if self.blueprint.is_none() {
            match self.carrier.live.blueprint(wanted).await {
                Ok(found) => self.blueprint = found.map(|facts| facts.effective),
                Err(refusal) => return tracing::warn!(plan.id = self.name, reason = refusal.reason, "the Blueprint's checks are not known yet"),
            }
        }
        let Some(effective) = &self.blueprint else { return };
        let checks = effective.checks();
        if checks.is_empty() || !effective.undoing().verify {
            return;
        }
        let since = now.plus(-i64::from(self.plan.soak_ms / 2)).max(applied_at);
        let (_, mut measured) = self.carrier.signals.counted(&wanted.namespace, &wanted.name, since).await;
        (measured.cpu_share, measured.memory_share) = self.carrier.signals.used(&wanted.namespace, &wanted.name, applied_at).await;
        measured.ready_replicas = Kind::of_object(target).ok().map(|kind| kind.counts(target).ready);
        measured.queries = self.carrier.queries.ask(&checks, wanted).await;
        self.missed = missed(checks, &measured);
    }

    async fn revert(&mut self, target: &Value) {
        let restored = inverse(&self.plan, target).and_then(|restored| Ok((restored, self.plan.proposal.write()?)));
        let (restored, write) = match restored {
            Ok((Some(restored), write)) => (restored, write),
            Ok((None, _)) => return self.finish(RemediationPhase::Failed, "the action keeps the desired state, so there is nothing to put back").await,
            Err(refusal) => return self.finish(RemediationPhase::Failed, &refusal.to_string()).await,
        };
        let writer = Writer { client: self.carrier.live.client(), incident: &self.plan.incident };
        let answer = writer.send(&write, &self.plan.proposal, &restored, Step::Revert).await;
        self.hear(answer, "the revert", "put back").await;
    }

    /// Notes the answer to a write that is tried again until it is done.
    async fn hear(&mut self, answer: Answer, what: &str, done: &str) {
        let (message, verdict) = match answer {
            Answer::Done(_) => {
                tracing::info!(incident.id = %self.plan.incident, plan.id = self.name, "{done}");
                self.against = None;
                return self.backoff.reset();
            }
            Answer::Changed(message) | Answer::Transient(message) | Answer::Unheard(message) => (message, false),
            Answer::Refused(message) => (format!("{what} was refused: {message}"), true),
        };
        tracing::warn!(incident.id = %self.plan.incident, plan.id = self.name, reason = message, verdict, "{what} is not done yet");
        self.against(&message, verdict);
        self.backoff.wait().await;
    }

    /// What was answered to a write that is still due.
    fn against(&mut self, words: &str, verdict: bool) {
        let words = words.chars().take(MAX_WORDS).collect();
        self.against = Some(Against::after(self.against.as_ref(), words, verdict, own_clock()));
    }

    /// Begins to look anew after a time in which nobody could.
    fn after_a_gap(&mut self, now: UnixMillis) {
        let watch = self.watch.resumed(&self.plan, self.created_at, now);
        if watch != self.watch {
            tracing::warn!(plan.id = self.name, gap_ms = watch.gap_ms, "nobody could look for a while, so the soak begins anew");
            self.readings.clear();
            self.looks.clear();
        }
        self.watch = watch;
    }

    /// The outcome goes to the ledger first: a plan that counts as finished is never looked at again.
    async fn finish(&mut self, phase: RemediationPhase, message: &str) {
        // Another executor may have carried it further than we know.
        if self.status.refresh().await {
            return;
        }
        let did = self.compare().await;
        let why = self.status.undone_because().map_or_else(String::new, |why| format!("; seen before: {why}"));
        let raised = if phase == RemediationPhase::Verified { raise(&self.carrier.live, &self.plan).await } else { String::new() };
        let near = unproven(&self.looks()).filter(|_| phase != RemediationPhase::Reverted).map_or_else(String::new, |near| format!("; {near}"));
        let message = &format!("{message}{why}{did}{raised}{near}");
        tracing::info!(incident.id = %self.plan.incident, plan.id = self.name, phase = ?phase, reason = message, "finished");
        let mut backoff = backoff();
        while let Err(refusal) = self.record(phase, message).await {
            tracing::warn!(plan.id = self.name, reason = refusal.reason, "the outcome waits for the ledger");
            backoff.wait().await;
        }
        self.status.set(phase, message).await;
        entering::show(&self.carrier.live, &self.plan).await;
    }

    async fn record(&self, phase: RemediationPhase, message: &str) -> Result<(), Refusal> {
        if self.status.held_at().is_some() {
            self.append("canary", RemediationPhase::Canary, FIRST_POD).await?;
        }
        if self.status.applied_at().is_some() {
            self.append("applied", RemediationPhase::Applied, "the voted change is written").await?;
        }
        let kind = match phase {
            RemediationPhase::Verified => "verified",
            RemediationPhase::Reverted => "reverted",
            RemediationPhase::Refused => "refused",
            _ => "failed",
        };
        self.append(kind, phase, message).await
    }

    pub(super) async fn append(&self, kind: &'static str, phase: RemediationPhase, message: &str) -> Result<(), Refusal> {
        let reason: String = message.chars().take(1000).collect();
        let body = json!({"plan": self.name, "phase": format!("{phase:?}"), "reason": reason});
        // What is recorded here is extended by no plan, so nobody needs the proof, and any ledger will do.
        self.carrier.ledger.append(&Entry { incident: &self.plan.incident, kind, plan: &self.name, body }, 0).await.map(|_| ())
    }
}
