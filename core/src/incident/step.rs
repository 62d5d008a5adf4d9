//! One step of an incident: what happened goes in, what to do comes out.

use serde::{Deserialize, Serialize};

use super::{Incident, Mode, Phase, Symptom};
use crate::consensus::{ASKING_EPOCHS, MAX_EPOCHS, Outcome, Verdict};
use crate::ids::{IncidentUid, UnixMillis};
use crate::refusal::Rule;
use crate::target::Service;

/// How long the seats have for both rounds; they are asked so long before the deadline.
pub const DELIBERATION_MS: i64 = 20_000;
/// Before a second epoch, how long the seats watch on: asked again at once they could only say the same.
const SECOND_LOOK_MS: i64 = 6_000;
/// How long the executor has before somebody is told that it is silent.
const REMEDIATION_MS: i64 = 15 * 60 * 1000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// The context is complete (canonical text).
    Gathered(String),
    /// Alerts joined that the seats have not been shown and that change the picture; what is new, in a line.
    Evidence(String),
    /// All seats answered or the deadline passed, and this is the count of that epoch.
    Tallied {
        /// Which epoch: the count of an earlier one comes too late.
        epoch: u32,
        /// The count.
        outcome: Box<Outcome>,
    },
    /// The seats found in that epoch what this other incident already acts on, so it is not done twice.
    Covered {
        /// Which epoch.
        epoch: u32,
        /// The incident that acts.
        by: IncidentUid,
    },
    /// How far Assent may go for the target, read when the decision of that epoch stood.
    Authorised {
        /// Which epoch.
        epoch: u32,
        /// How far.
        mode: Mode,
    },
    /// People are asked about the change that was decided.
    Asked {
        /// Until when they may answer.
        until: UnixMillis,
    },
    /// They agreed, and the votes had expired by then.
    Agreed,
    /// The executor's plan was admitted and its write is about to happen.
    Applying,
    /// The write is done.
    Applied,
    /// The executor is done with the plan.
    Finished(RemediationResult),
    /// The director cannot go on (the reason), so a person must act.
    Abandoned(String),
    /// Time passed.
    Tick,
}

/// How a plan ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RemediationResult {
    /// The symptom is gone and stayed gone for the soak time.
    Verified,
    /// It did not help, and the inverse was carried out.
    Reverted(String),
    /// Nothing was written; the reason.
    Refused(String),
    /// It did not help and could not be undone; a person must act.
    Failed(String),
}

/// What to do. Each is keyed so that doing it twice is doing it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Gather the context.
    Gather,
    /// Ask the seats, both rounds, until the deadline; then tally.
    Ask {
        /// Which epoch.
        epoch: u32,
        /// When late is an abstention.
        deadline: UnixMillis,
    },
    /// Write the `Decision` of this epoch.
    Decide {
        /// Which epoch.
        epoch: u32,
        /// The count.
        outcome: Box<Outcome>,
    },
    /// Tell a person, with the competing hypotheses.
    Escalate(String),
    /// Append to the ledger.
    Record {
        /// Kind of the entry.
        kind: String,
        /// Appended once per incident and key.
        key: String,
        /// One line.
        detail: String,
    },
}

// === impl Incident ===

impl Incident {
    /// A new incident and the first thing to do.
    #[must_use]
    pub fn open(uid: IncidentUid, service: Service, symptom: Symptom, now: UnixMillis) -> (Self, Vec<Effect>) {
        let incident = Self {
            uid,
            service,
            opened_at: now,
            phase: Phase::Open,
            epoch: 1,
            asked_again: false,
            deadline: now.plus(DELIBERATION_MS),
            context: None,
            outcome: None,
            covered_by: None,
            news: false,
            undecided: false,
            routine: symptom.is_routine(),
            reopened: false,
        };
        let effects = vec![incident.record("incident-opened", incident.service.to_string()), Effect::Gather];
        (incident, effects)
    }

    /// What follows from `event`. An event that does not fit the phase changes nothing: it was said before, or comes too late.
    pub fn step(&mut self, now: UnixMillis, event: Event) -> Vec<Effect> {
        match (self.phase, event) {
            (Phase::Open, Event::Gathered(context)) => {
                self.context = Some(context);
                self.ask(now)
            }
            (Phase::Investigating, Event::Evidence(what)) if !self.news => {
                self.news = true;
                vec![self.record("evidence-came", what)]
            }
            (Phase::Escalated, Event::Evidence(what)) if self.hears_evidence() => self.reopen(now, what),
            // Another director may be slower than we are: what it counted of an earlier epoch decides nothing any more.
            (_, Event::Tallied { epoch, outcome }) if self.awaits(epoch) => self.decide(now, outcome),
            (_, Event::Covered { epoch, by }) if self.awaits(epoch) => {
                let detail = format!("incident {by} acts on the same cause");
                self.covered_by = Some(by);
                self.enter(Phase::Verifying, now.plus(2 * REMEDIATION_MS), "covered", &detail)
            }
            (Phase::Decided, Event::Authorised { epoch, mode }) if epoch == self.epoch => self.authorise(now, mode),
            (Phase::Decided | Phase::AwaitingApproval | Phase::Remediating, Event::Asked { until }) => {
                let until = until.plus(REMEDIATION_MS);
                let effects = self.enter(Phase::AwaitingApproval, until, "approval-awaited", "");
                self.deadline = until;
                effects
            }
            (Phase::Decided | Phase::AwaitingApproval | Phase::Remediating, Event::Agreed) => self.vote_again(now),
            // The executor works from the Decision, so its word may come before ours.
            (Phase::Decided | Phase::AwaitingApproval, Event::Applying) => self.enter(Phase::Remediating, now.plus(REMEDIATION_MS), "apply-started", ""),
            (Phase::Remediating, Event::Applying) => vec![self.record("apply-started", String::new())],
            (Phase::Decided | Phase::AwaitingApproval | Phase::Remediating, Event::Applied) => {
                self.enter(Phase::Verifying, now.plus(REMEDIATION_MS), "applied", "")
            }
            (Phase::Decided | Phase::AwaitingApproval | Phase::Remediating | Phase::Verifying, Event::Finished(result)) => self.finish(now, result),
            (phase, Event::Abandoned(reason)) if !phase.is_final() => self.escalate(now, reason),
            (phase, Event::Tick) if !phase.is_final() && now > self.deadline => self.overdue(now),
            _ => Vec::new(),
        }
    }

    /// Whether the count of this epoch is still to come.
    #[must_use]
    pub fn awaits(&self, epoch: u32) -> bool {
        self.phase == Phase::Investigating && self.epoch == epoch
    }

    /// Whether new evidence would change what happens: the seats are at work and know of none yet, or a person was told for
    /// want of evidence and an epoch is left.
    #[must_use]
    pub fn hears_evidence(&self) -> bool {
        match self.phase {
            Phase::Investigating => !self.news,
            Phase::Escalated => self.undecided && self.epoch < ASKING_EPOCHS,
            _ => false,
        }
    }

    /// What the end of this incident is to one that it covers; `None` while it has not ended.
    #[must_use]
    pub fn end_for_covered(&self) -> Option<Event> {
        let reason = || format!("incident {} ended {}: {}", self.uid, self.phase.as_str(), self.outcome.as_deref().unwrap_or_default());
        match self.phase {
            Phase::Resolved => Some(Event::Finished(RemediationResult::Verified)),
            phase if phase.is_final() => Some(Event::Finished(RemediationResult::Failed(reason()))),
            _ => None,
        }
    }

    /// What to do after a restart: the effects of the current phase, all of them safe to repeat.
    #[must_use]
    pub fn resume(&self) -> Vec<Effect> {
        match self.phase {
            Phase::Open => vec![Effect::Gather],
            Phase::Investigating => vec![Effect::Ask { epoch: self.epoch, deadline: self.deadline }],
            _ => Vec::new(),
        }
    }

    fn ask(&mut self, now: UnixMillis) -> Vec<Effect> {
        let deadline = now.plus(DELIBERATION_MS + if self.epoch > 1 { SECOND_LOOK_MS } else { 0 });
        self.phase = Phase::Investigating;
        self.deadline = deadline;
        vec![self.record("seats-asked", format!("epoch {}", self.epoch)), Effect::Ask { epoch: self.epoch, deadline }]
    }

    fn decide(&mut self, now: UnixMillis, outcome: Box<Outcome>) -> Vec<Effect> {
        let epoch = self.epoch;
        let mut effects = vec![Effect::Decide { epoch, outcome: outcome.clone() }];
        match &outcome.verdict {
            Verdict::Act { proposal, .. } => {
                let detail = format!("{} on {}", proposal.action.act().describe(), proposal.target);
                effects.extend(self.enter(Phase::Decided, now.plus(REMEDIATION_MS), "decided", &detail));
            }
            Verdict::Hold { reason, .. } if self.routine => effects.extend(self.stand_down(now, reason.clone())),
            // A veto is an answer, not missing evidence: asking again would be shopping for another one.
            Verdict::Hold { rule, reason } if *rule != Rule::Veto && (self.news || !self.asked_again) && self.epoch < ASKING_EPOCHS => {
                let record = self.record(&format!("inconclusive-{epoch}"), reason.clone());
                effects.push(record);
                if self.news {
                    effects.extend(self.look_again(now));
                } else {
                    self.asked_again = true;
                    self.epoch = self.epoch.saturating_add(1);
                    effects.extend(self.ask(now));
                }
            }
            Verdict::Hold { rule, reason } => {
                self.undecided = *rule != Rule::Veto;
                effects.extend(self.escalate(now, reason.clone()));
            }
        }
        effects
    }

    /// The next epoch, in which the seats are shown what is known by then.
    fn look_again(&mut self, now: UnixMillis) -> Vec<Effect> {
        self.epoch = self.epoch.saturating_add(1);
        self.news = false;
        self.phase = Phase::Open;
        self.deadline = now.plus(DELIBERATION_MS);
        vec![Effect::Gather]
    }

    /// People's word outlives the ballots, and nothing is done on old ballots.
    fn vote_again(&mut self, now: UnixMillis) -> Vec<Effect> {
        if self.epoch >= MAX_EPOCHS {
            return self.escalate(now, "people agreed after the last vote had expired".into());
        }
        let record = self.record("approved", "the votes had expired, so the seats vote again".into());
        [vec![record], self.look_again(now)].concat()
    }

    fn reopen(&mut self, now: UnixMillis, what: String) -> Vec<Effect> {
        self.undecided = false;
        self.reopened = true;
        self.outcome = None;
        let effects = self.look_again(now);
        [vec![self.record("reopened", what)], effects].concat()
    }

    fn authorise(&mut self, now: UnixMillis, mode: Mode) -> Vec<Effect> {
        match mode {
            Mode::Autonomous => self.enter(Phase::Remediating, now.plus(REMEDIATION_MS), "handed-to-executor", ""),
            Mode::Approve => self.enter(Phase::AwaitingApproval, now.plus(REMEDIATION_MS), "approval-awaited", ""),
            Mode::Observe => {
                self.outcome = Some("observed only: no Blueprint allows an action here".into());
                self.enter(Phase::Watching, now, "observed", "")
            }
        }
    }

    fn finish(&mut self, now: UnixMillis, result: RemediationResult) -> Vec<Effect> {
        match result {
            RemediationResult::Verified => {
                self.outcome = Some("verified".into());
                self.enter(Phase::Resolved, now, "resolved", "")
            }
            RemediationResult::Reverted(reason) => {
                self.outcome = Some(format!("rolled back: {reason}"));
                let mut effects = self.enter(Phase::RolledBack, now, "rolled-back", &reason);
                effects.push(Effect::Escalate(reason));
                effects
            }
            RemediationResult::Refused(reason) if self.routine => self.stand_down(now, reason),
            RemediationResult::Refused(reason) | RemediationResult::Failed(reason) => self.escalate(now, reason),
        }
    }

    fn overdue(&mut self, now: UnixMillis) -> Vec<Effect> {
        match self.phase {
            // The seats' deadline is kept by whoever asks them; this is for an asker that died.
            Phase::Open | Phase::Investigating => {
                self.deadline = now.plus(DELIBERATION_MS);
                self.resume()
            }
            phase => self.escalate(now, format!("nothing moved in phase {} until its deadline", phase.as_str())),
        }
    }

    /// Nothing was wrong, so nobody is called because nothing is done.
    fn stand_down(&mut self, now: UnixMillis, reason: String) -> Vec<Effect> {
        let effects = self.enter(Phase::Watching, now, "stood-down", &reason);
        self.outcome = Some(format!("nothing done: {reason}"));
        effects
    }

    fn escalate(&mut self, now: UnixMillis, reason: String) -> Vec<Effect> {
        self.outcome = Some(reason.clone());
        let mut effects = self.enter(Phase::Escalated, now, "escalated", &reason);
        effects.push(Effect::Escalate(reason));
        effects
    }

    fn enter(&mut self, phase: Phase, deadline: UnixMillis, kind: &str, detail: &str) -> Vec<Effect> {
        if self.phase == phase {
            return Vec::new();
        }
        self.phase = phase;
        self.deadline = deadline;
        vec![self.record(kind, detail.to_owned())]
    }

    fn record(&self, kind: &str, detail: String) -> Effect {
        Effect::Record { kind: kind.to_owned(), key: format!("{}/{}/{kind}", self.uid, self.epoch), detail }
    }
}
