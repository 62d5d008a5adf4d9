//! Finds work in the cluster and gives each plan one task: decisions that say to act, and plans that are not finished,
//! whoever began them. What was begun is known from the cluster alone, so a new process carries on where the last one ended.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use assent_api::names;
use assent_api::resources::{Approval, ApprovalPhase, ApprovalRequest, Decision, Remediation, RemediationPhase};
use assent_core::ballot;
use assent_core::consensus::{Outcome, Verdict};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::plan;
use assent_core::refusal::{Refusal, Rule};
use assent_live::own_clock;
use futures::StreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::watch::Sender;
use tokio::task::JoinSet;

use crate::asking::{self, Word};
use crate::backoff;
use crate::carrying::Carrier;
use crate::metrics::Metrics;
use crate::planning::{Decided, NoPlan, Planner};
use crate::record::Entry;
use crate::turns::{Open, Rank, Turns};

/// Objects per page of a first list: plans and decisions may be large.
const PAGE: u32 = 16;
/// Plans that are carried out at the same time; further ones wait.
const CONCURRENCY: usize = 32;
/// A decision whose ballots have expired can never be planned any more.
const FRESH_MS: i64 = ballot::MAX_LIFE_MS as i64;
/// How long a refusal is handed to the ledger before it is given up; the director ends the incident by itself then.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(60);

/// What tasks share.
pub(crate) struct Executor {
    pub(crate) planner: Planner,
    pub(crate) carrier: Carrier,
    pub(crate) metrics: Metrics,
    /// Plans extend one ledger, one after the other.
    pub(crate) turns: Arc<Turns>,
    pub(crate) permits: Semaphore,
    /// Changes whenever somebody answers an approval request.
    pub(crate) heard: Sender<()>,
}

impl Executor {
    pub(crate) fn new(planner: Planner, carrier: Carrier, metrics: Metrics) -> Self {
        Self { planner, carrier, metrics, turns: Arc::default(), permits: Semaphore::new(CONCURRENCY), heard: Sender::new(()) }
    }
}

/// Watches until it is dropped or a task of it ends abnormally; `listed` is called once the first lists of plans and decisions
/// are complete.
pub(crate) async fn run(executor: Arc<Executor>, listed: impl FnOnce()) {
    let client = executor.planner.live.client().clone();
    let decisions: Api<Decision> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    let remediations: Api<Remediation> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    let requests: Api<ApprovalRequest> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    let approvals: Api<Approval> = Api::namespaced(client, names::SYSTEM_NAMESPACE);
    let config = || watcher::Config::default().page_size(PAGE);
    let mut decisions = pin!(watch(decisions, config()).default_backoff());
    let mut remediations = pin!(watch(remediations, config()).default_backoff());
    let mut requests = pin!(watch(requests, config()).default_backoff().applied_objects());
    let mut approvals = pin!(watch(approvals, config()).default_backoff().applied_objects());
    let mut work = Work { executor, tasks: JoinSet::new(), taken: HashMap::new() };
    let mut starting = Some((listed, false, false));
    // Until all plans are known, nobody can say how many are open.
    let mut early: Vec<Decision> = Vec::new();
    loop {
        tokio::select! {
            Some(event) = remediations.next() => match event {
                Ok(Event::InitApply(stored) | Event::Apply(stored)) => work.resume(stored),
                Ok(Event::InitDone) => {
                    if let Some(state) = &mut starting { state.1 = true; }
                    for stored in std::mem::take(&mut early) {
                        work.decide(&stored).await;
                    }
                }
                Ok(Event::Init | Event::Delete(_)) => {}
                Err(error) => tracing::warn!(error = %error, "the watch of remediations was interrupted"),
            },
            Some(event) = decisions.next() => match event {
                Ok(Event::InitApply(stored) | Event::Apply(stored)) => match &starting {
                    Some((_, false, _)) => early.push(stored),
                    _ => work.decide(&stored).await,
                },
                Ok(Event::InitDone) => { if let Some(state) = &mut starting { state.2 = true; } }
                Ok(Event::Init | Event::Delete(_)) => {}
                Err(error) => tracing::warn!(error = %error, "the watch of decisions was interrupted"),
            },
            Some(event) = requests.next() => match event {
                Ok(stored) => work.ask(&stored).await,
                Err(error) => tracing::warn!(error = %error, "the watch of approval requests was interrupted"),
            },
            Some(event) = approvals.next() => match event {
                Ok(_) => { work.executor.heard.send_replace(()); }
                Err(error) => tracing::warn!(error = %error, "the watch of approvals was interrupted"),
            },
            Some(ended) = work.tasks.join_next() => match ended {
                Ok(name) => work.ended(name),
                // The process ends with it, and the next one takes its plan up again.
                Err(error) => return tracing::error!(error = %error, "a plan's task ended abnormally"),
            },
        }
        if let Some((_, true, true)) = starting
            && let Some((listed, ..)) = starting.take()
        {
            listed();
        }
    }
}

/// Tasks by the name of their plan.
struct Work {
    executor: Arc<Executor>,
    tasks: JoinSet<String>,
    /// `None` while a task has it; the time of its end for decisions that came to nothing, so that a repeated list does not
    /// take them up again.
    taken: HashMap<String, Option<UnixMillis>>,
}

// === impl Work ===

impl Work {
    fn resume(&mut self, stored: Remediation) {
        let phase = stored.status.as_ref().and_then(|status| status.phase).unwrap_or(RemediationPhase::Planned);
        let name = stored.name_any();
        if is_final(phase) || matches!(self.taken.get(&name), Some(None)) {
            return;
        }
        self.taken.insert(name.clone(), None);
        let executor = self.executor.clone();
        let open = executor.turns.open();
        self.tasks.spawn(async move {
            executor.carry(&stored, false).await;
            drop(open);
            name
        });
    }

    async fn decide(&mut self, stored: &Decision) {
        let created = assent_api::facts::created_at(stored).unwrap_or(UnixMillis(0));
        if stored.spec.verdict != "Act" || own_clock().since(created) > FRESH_MS {
            return;
        }
        let decided = match decided(stored) {
            Ok(decided) => decided,
            Err(reason) => return tracing::error!(decision = stored.name_any(), reason, "the decision is not readable"),
        };
        self.take_up(decided).await;
    }

    /// What people were asked before this process began is waited for again. What they agreed to goes on with a fresh vote.
    async fn ask(&mut self, stored: &ApprovalRequest) {
        let phase = stored.status.as_ref().and_then(|status| status.phase).unwrap_or(ApprovalPhase::Pending);
        if phase != ApprovalPhase::Pending {
            return;
        }
        let decided = IncidentUid::try_from(stored.spec.incident.clone()).and_then(|incident| {
            let proposal = serde_json::from_str(&stored.spec.payload).map_err(|error| error.to_string())?;
            Ok(Decided { incident, epoch: stored.spec.epoch, proposal })
        });
        match decided {
            Ok(decided) => self.take_up(decided).await,
            Err(reason) => tracing::error!(request = stored.name_any(), reason, "the approval request is not readable"),
        }
    }

    async fn take_up(&mut self, decided: Decided) {
        let mut backoff = backoff();
        let cluster = loop {
            match self.executor.planner.live.cluster().await {
                Ok(cluster) => break cluster,
                Err(refusal) => tracing::warn!(reason = refusal.reason, "cannot name the cluster"),
            }
            backoff.wait().await;
        };
        let Ok(name) = plan::name(&cluster, &decided.incident, decided.epoch, &decided.proposal) else { return };
        if self.taken.contains_key(&name) {
            return;
        }
        self.taken.insert(name.clone(), None);
        let executor = self.executor.clone();
        self.tasks.spawn(async move {
            Box::pin(executor.plan_and_carry(&decided, &name, &cluster)).await;
            name
        });
    }

    fn ended(&mut self, name: String) {
        let now = own_clock();
        self.taken.insert(name, Some(now));
        self.taken.retain(|_, ended| ended.is_none_or(|ended| now.since(ended) <= FRESH_MS));
    }
}

fn is_final(phase: RemediationPhase) -> bool {
    use RemediationPhase as P;
    matches!(phase, P::Verified | P::Reverted | P::Refused | P::Failed)
}

/// What the decision says; the ballots are counted again before anything is done.
fn decided(stored: &Decision) -> Result<Decided, String> {
    let incident = IncidentUid::try_from(stored.spec.incident.clone())?;
    let outcome: Outcome = serde_json::from_str(&stored.spec.payload).map_err(|error| error.to_string())?;
    let Verdict::Act { proposal, .. } = outcome.verdict else { return Err("its payload holds back, its verdict says to act".into()) };
    Ok(Decided { incident, epoch: stored.spec.epoch, proposal: *proposal })
}

// === impl Executor ===

impl Executor {
    async fn carry(&self, stored: &Remediation, gate_seen: bool) {
        // Acquiring fails only when the semaphore is closed, which nobody does.
        let Ok(_permit) = self.permits.acquire().await else { return };
        match self.carrier.carry(stored, gate_seen).await {
            Ok(phase) => self.metrics.finished(phase),
            Err(refusal) => tracing::error!(plan.id = stored.name_any(), reason = refusal.reason, "the remediation is no plan of ours"),
        }
        if let Ok(plan) = assent_api::parse_plan(stored) {
            self.carrier.signals.forget(&plan.proposal.target.uid);
        }
    }

    async fn plan_and_carry(&self, decided: &Decided, name: &str, cluster: &str) {
        let request = match asking::name(cluster, &decided.incident, &decided.proposal) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(decided, name, &refusal, Value::Null).await,
        };
        loop {
            let planned = Box::pin(self.plan(decided, name, &request)).await;
            let stale = match planned {
                Ok((stored, open)) => {
                    self.settle(&request, ApprovalPhase::Used, &format!("plan {name}")).await;
                    self.carry(&stored, true).await;
                    return drop(open);
                }
                Err(NoPlan::Asked(_)) => false,
                // The votes are too old by now. That is no end where people are still asked: they outlive the ballots.
                Err(NoPlan::Refused(refusal) | NoPlan::Judged(refusal, _)) if refusal.rule == Rule::Expired && self.is_asked(decided, &request).await => true,
                Err(no) => {
                    self.settle(&request, ApprovalPhase::Dropped, &no.reason()).await;
                    return self.leave(decided, name, no).await;
                }
            };
            match asking::wait(&self.planner.live, decided, &request, self.heard.subscribe()).await {
                Word::Agreed if stale => {
                    return self.settle(&request, ApprovalPhase::Approved, "people agreed; the votes are too old, so the seats vote again").await;
                }
                Word::Agreed => {}
                Word::Over(refusal) => return self.refuse(decided, name, &refusal, Value::Null).await,
            }
        }
    }

    async fn leave(&self, decided: &Decided, name: &str, no: NoPlan) {
        match no {
            NoPlan::Left(reason) => tracing::info!(incident.id = %decided.incident, plan.id = name, reason, "left alone"),
            NoPlan::Refused(refusal) | NoPlan::Later(refusal) | NoPlan::Full(refusal) => self.refuse(decided, name, &refusal, Value::Null).await,
            NoPlan::Judged(refusal, more) => self.refuse(decided, name, &refusal, more).await,
            NoPlan::Asked(_) => {}
        }
    }

    /// Whether people are asked and have not all answered, as far as can be read. Those who agreed to an earlier vote were waited for
    /// once: there is no vote after the one that followed.
    async fn is_asked(&self, decided: &Decided, request: &str) -> bool {
        let mut backoff = backoff();
        loop {
            match self.planner.live.approval_request(request).await {
                Ok(stored) => {
                    return stored.is_some_and(|stored| {
                        stored.spec.epoch == decided.epoch && !stored.status.and_then(|status| status.phase).is_some_and(ApprovalPhase::is_final)
                    });
                }
                Err(refusal) => tracing::warn!(request, reason = refusal.reason, "cannot read the approval request"),
            }
            backoff.wait().await;
        }
    }

    async fn settle(&self, request: &str, phase: ApprovalPhase, message: &str) {
        let mut backoff = backoff();
        while let Err(refusal) = asking::settle(&self.planner.live, request, Some(phase), message).await {
            tracing::warn!(request, reason = refusal.reason, "the approval request does not show yet how it ended");
            backoff.wait().await;
        }
    }

    /// Tries until there is a verdict, or until the plan would be pointless. While others are at work that is when the votes are too
    /// old, or people's word is: `request` is what they may have been asked.
    async fn plan(&self, decided: &Decided, name: &str, request: &str) -> Result<(Remediation, Open), NoPlan> {
        let patience = Duration::from_millis(self.planner.times.apply_within_ms.into());
        // Counted from its first turn: who waits for room has not tried.
        let mut until = None;
        let mut backoff = backoff();
        let (rank, mut arrival) = (self.rank(decided).await, self.turns.arrive());
        let (mut waited, mut overtaken_by) = (None::<Refusal>, Vec::new());
        loop {
            let turn = self.turns.take(rank, arrival, &format!("{name} of {}", decided.proposal.target.service())).await;
            let give_up = *until.get_or_insert_with(|| tokio::time::Instant::now() + patience);
            for other in &turn.overtaken_by {
                if !overtaken_by.contains(other) {
                    overtaken_by.push(other.clone());
                }
            }
            let planned = self.planner.plan(decided, &overtaken_by).await.map(|stored| (stored, self.turns.open()));
            drop(turn);
            match planned {
                Err(NoPlan::Full(refusal)) => {
                    if waited.is_none() {
                        self.postpone(decided, name, request, &refusal).await;
                    }
                    (waited, until) = (Some(refusal), None);
                    backoff.wait().await;
                }
                Err(NoPlan::Later(refusal)) if tokio::time::Instant::now() < give_up => {
                    tracing::warn!(incident.id = %decided.incident, plan.id = name, reason = refusal.reason, "no plan yet");
                    backoff.wait().await;
                    // What holds this one up need not hold up the others, who have not been asked yet.
                    arrival = self.turns.arrive();
                }
                Err(NoPlan::Refused(refusal)) => {
                    let before = waited.map_or_else(String::new, |waited| format!("; before, it waited: {}", waited.reason));
                    return Err(NoPlan::Refused(Refusal { reason: format!("{}{before}", refusal.reason), ..refusal }));
                }
                settled => return settled,
            }
        }
    }

    /// Whoever follows the incident, and whoever was asked, hears once why nothing is done yet.
    async fn postpone(&self, decided: &Decided, name: &str, request: &str, refusal: &Refusal) {
        let Decided { incident, epoch, proposal } = decided;
        let reason: String = format!("not yet: {}", refusal.reason).chars().take(1000).collect();
        tracing::warn!(incident.id = %incident, plan.id = name, reason, "others are at work");
        let body = json!({
            "plan": name, "reason": reason, "rule": refusal.rule.code(), "epoch": epoch,
            "action": proposal.action.act().describe(), "target": proposal.target.to_string(),
        });
        // It only informs: nothing waits for it, and how it ends is told in any case.
        if let Err(unheard) = self.planner.ledger.append(&Entry { incident, kind: "postponed", plan: name, body }, 0).await {
            tracing::warn!(incident.id = %incident, plan.id = name, unheard = unheard.reason, "the ledger does not say that it waits");
        }
        if let Err(unheard) = asking::settle(&self.planner.live, request, None, &reason).await {
            tracing::warn!(request, unheard = unheard.reason, "the approval request does not say that it waits");
        }
    }

    /// How its service ranks; one whose Blueprint cannot be read now is as most.
    async fn rank(&self, decided: &Decided) -> Rank {
        match self.planner.live.blueprint(&decided.proposal.target).await {
            Ok(Some(blueprint)) => Rank::of(&blueprint.effective),
            Ok(None) | Err(_) => Rank::default(),
        }
    }

    async fn refuse(&self, decided: &Decided, name: &str, refusal: &Refusal, more: Value) {
        tracing::warn!(incident.id = %decided.incident, plan.id = name, rule = refusal.rule.code(), reason = refusal.reason, "not planned");
        self.metrics.refused(refusal);
        self.tell(decided, name, refusal, more).await;
    }

    /// There is no object that could carry this refusal, so the director hears of it, and through it a person. What guardrails
    /// said goes with it whole, for whoever asks later.
    async fn tell(&self, decided: &Decided, name: &str, refusal: &Refusal, more: Value) {
        let until = tokio::time::Instant::now() + REFUSAL_PATIENCE;
        let reason: String = refusal.to_string().chars().take(1000).collect();
        let Decided { incident, epoch, proposal } = decided;
        let mut body = json!({
            "plan": name, "reason": reason, "rule": refusal.rule.code(), "epoch": epoch,
            "action": proposal.action.act().describe(), "target": proposal.target.to_string(),
            "operation": proposal.action.name(), "service": proposal.target.service().to_string(),
        });
        if let Value::Object(more) = more {
            more.into_iter().filter(|(_, value)| !value.is_null()).for_each(|(field, value)| body[field] = value);
        }
        let entry = Entry { incident, kind: "refused", plan: name, body };
        let mut backoff = backoff();
        while let Err(unheard) = self.planner.ledger.append(&entry, 0).await {
            if tokio::time::Instant::now() > until {
                return tracing::error!(incident.id = %decided.incident, plan.id = name, reason, unheard = unheard.reason, "a person must look: nobody could be told");
            }
            backoff.wait().await;
        }
    }
}
