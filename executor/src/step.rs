//! What comes next for one plan, as a pure function of what is stored and what is seen: the same after a crash as before it.
//!
//! Nothing is remembered between two steps but what the cluster holds: the plan, its status, and the target. One change of a spec is
//! one generation, so the target itself says whether the plan was carried out; where others only scaled since, its content does. That
//! a pod went is in no generation: it is looked for, and that we may have made it go is the one thing remembered.

use assent_api::resources::RemediationPhase;
use assent_core::action::Inverse;
use assent_core::canary::{Canary, Stage, Trial};
use assent_core::ids::UnixMillis;
use assent_core::plan::Plan;
use assent_core::proof;
use assent_core::target::Target;
use assent_core::verification::Progress;
use serde_json::Value;

/// The target, compared with the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// As the seats judged it: not yet written.
    Planned,
    /// As the first write leaves it, where the change begins with one pod.
    Held,
    /// As the action leaves it, and nobody changed anything else since, but for who scaled.
    AsLeft,
    /// What the action wrote still stands, and somebody changed something else since.
    Touched,
    /// Two generations later with the specification that it had before, or later and but for who scaled since: put back.
    Restored,
    /// Anything else, in words; `written` is whether the plan may have been carried out before it came to this.
    Elsewhere { reason: String, written: bool },
}

/// What is known of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Server-set creation time of the plan.
    pub(crate) created_at: UnixMillis,
    /// Phase in its status.
    pub(crate) phase: RemediationPhase,
    /// The target now.
    pub(crate) sight: Sight,
    /// What the readings of its first pod say; only asked while the rest is held back.
    pub(crate) trial: Trial,
    /// What the readings say; only asked while its effect is watched.
    pub(crate) progress: Progress,
    /// What stands against the write that is due.
    pub(crate) against: Option<Against>,
    /// Now.
    pub(crate) now: UnixMillis,
}

/// What came of the last attempts at a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Against {
    /// Since when it is a verdict, without another answer in between; `None` when nobody judged the write.
    pub(crate) refused_since: Option<UnixMillis>,
    /// In the words of whoever answered.
    pub(crate) words: String,
}

// === impl Against ===

impl Against {
    /// The next one after `before`.
    pub(crate) fn after(before: Option<&Self>, words: String, verdict: bool, now: UnixMillis) -> Self {
        let since = before.and_then(|before| before.refused_since).unwrap_or(now);
        Self { refused_since: verdict.then_some(since), words }
    }
}

/// The one thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Write the voted change, or what begins it with one pod.
    Apply,
    /// Note that it was written so that it begins with one pod.
    NoteHeld,
    /// Take another reading of the first pod.
    Try,
    /// Write what lets the rest follow.
    Release,
    /// Note that it was written.
    NoteApplied,
    /// Take another reading.
    Watch,
    /// Note that it must be undone, and why.
    NoteReverting(String),
    /// Write the inverse.
    Revert,
    /// Note how it ended.
    Finish(RemediationPhase, String),
    /// Nothing.
    Done,
}

/// See the module.
pub(crate) fn step(plan: &Plan, seen: &Seen) -> Next {
    match seen.phase {
        RemediationPhase::Planned => planned(plan, seen),
        RemediationPhase::Canary => held(plan, seen),
        RemediationPhase::Applied => applied(plan, seen),
        RemediationPhase::Reverting => reverting(plan, seen),
        RemediationPhase::Verified | RemediationPhase::Reverted | RemediationPhase::Refused | RemediationPhase::Failed => Next::Done,
    }
}

fn planned(plan: &Plan, seen: &Seen) -> Next {
    match &seen.sight {
        Sight::Planned => {
            let age = seen.now.since(seen.created_at);
            if age > i64::from(plan.expires_after_ms) {
                return refuse(format!("not applied within {} s of the plan{}", plan.expires_after_ms / 1000, because(seen)));
            }
            Next::Apply
        }
        // The process ended between the write and its note.
        Sight::Held => Next::NoteHeld,
        Sight::AsLeft | Sight::Touched => Next::NoteApplied,
        Sight::Restored => fail("the target was changed and changed back, and nothing says by whom".into()),
        Sight::Elsewhere { reason, written: false } => refuse(format!("the target is not as the seats judged it: {reason}")),
        Sight::Elsewhere { reason, written: true } => fail(format!("nothing says whether the change was made: {reason}")),
    }
}

fn held(plan: &Plan, seen: &Seen) -> Next {
    match (&seen.sight, &seen.trial) {
        (Sight::Held, Trial::Watching) if seen.now.since(seen.created_at) > plan.writes_within_ms() => {
            Next::NoteReverting("nothing shows in time that the first pod is well".into())
        }
        (Sight::Held, Trial::Watching) => Next::Try,
        (Sight::Held, Trial::Well) => released(plan, seen),
        (Sight::Held, Trial::Ill(why)) => Next::NoteReverting(why.clone()),
        // The process ended between the write and its note, or a person let the rest follow.
        (Sight::AsLeft, _) => Next::NoteApplied,
        (Sight::Touched, _) => {
            let held = plan.canary.as_ref().map_or_else(String::new, Canary::describe);
            fail(format!("somebody changed the target while its first pod was watched, so nothing of it is put back: {held}"))
        }
        (Sight::Planned | Sight::Restored, _) => fail("somebody put the target back while its first pod was watched".into()),
        (Sight::Elsewhere { reason, .. }, _) => fail(format!("somebody changed the target while its first pod was watched: {reason}")),
    }
}

/// The first pod is well. What may not go on is put back: half a change is none that anybody voted for.
fn released(plan: &Plan, seen: &Seen) -> Next {
    match &seen.against {
        Some(Against { refused_since: Some(since), words }) if seen.now.since(*since) > STANDS_MS => {
            Next::NoteReverting(format!("the first pod is well, and the rest may not follow: {words}"))
        }
        _ if seen.now.since(seen.created_at) > plan.writes_within_ms() => {
            Next::NoteReverting(format!("the rest could not follow the first pod in time{}", because(seen)))
        }
        _ => Next::Release,
    }
}

fn applied(plan: &Plan, seen: &Seen) -> Next {
    match (&seen.sight, &seen.progress) {
        (Sight::AsLeft | Sight::Touched, Progress::Watching) => Next::Watch,
        (Sight::AsLeft | Sight::Touched, Progress::Verified) => {
            Next::Finish(RemediationPhase::Verified, "well for the soak time by two independent signals".into())
        }
        (Sight::AsLeft | Sight::Touched, Progress::Failed(why) | Progress::Harmed(why)) if plan.inverse == Inverse::Empty => {
            fail(format!("{why}; the desired state was kept, so there is nothing to put back"))
        }
        (Sight::AsLeft, Progress::Failed(why) | Progress::Harmed(why)) => Next::NoteReverting(why.clone()),
        (Sight::Held, _) => fail("somebody held the rollout back while its effect was watched".into()),
        (Sight::Touched, Progress::Failed(why) | Progress::Harmed(why)) => fail(format!("{why}; not put back, because somebody changed the target since")),
        (Sight::Planned, _) => fail("the plan counts as applied, and the target is as it was before".into()),
        (Sight::Restored, _) => fail("somebody put the target back while its effect was watched".into()),
        (Sight::Elsewhere { reason, .. }, _) => fail(format!("somebody changed the target while its effect was watched: {reason}")),
    }
}

fn reverting(plan: &Plan, seen: &Seen) -> Next {
    match &seen.sight {
        Sight::Restored => Next::Finish(RemediationPhase::Reverted, "it did not help; the target is as it was".into()),
        Sight::Held | Sight::AsLeft if seen.now.since(seen.created_at) > i64::from(plan.revert_within_ms) => {
            fail(format!("not put back within {} s of the plan{}", plan.revert_within_ms / 1000, because(seen)))
        }
        // A revert is owed, and who refuses it may not know better yet: roles and policies of an API server that just started,
        // a policy that is taken back. But people hear of it while they can still do something.
        Sight::Held | Sight::AsLeft => match &seen.against {
            Some(Against { refused_since: Some(since), words }) if seen.now.since(*since) > STANDS_MS => fail(format!("not put back: {words}")),
            _ => Next::Revert,
        },
        Sight::Planned => fail("the plan counts as applied, and the target is as it was before".into()),
        Sight::Touched => fail("not put back, because somebody changed the target since".into()),
        Sight::Elsewhere { reason, .. } => fail(format!("not put back, because somebody changed the target: {reason}")),
    }
}

fn because(seen: &Seen) -> String {
    seen.against.as_ref().map_or_else(String::new, |against| format!("; at last: {}", against.words))
}

fn refuse(reason: String) -> Next {
    Next::Finish(RemediationPhase::Refused, reason)
}

fn fail(reason: String) -> Next {
    Next::Finish(RemediationPhase::Failed, reason)
}

/// Compares the target, as it is stored now, with the plan. `stands`: whether the pod is still there that is to go, if one is.
/// `tried`: whether we may have made it go.
pub(crate) fn sight(plan: &Plan, created_at: UnixMillis, target: Option<&Value>, stands: Option<bool>, tried: bool) -> Sight {
    let voted = &plan.proposal.target;
    let elsewhere = |reason: &str, written| Sight::Elsewhere { reason: reason.to_owned(), written };
    let Some(object) = target else { return elsewhere("it was deleted", true) };
    let now = match Target::of(object) {
        Ok(now) => now,
        Err(reason) => return elsewhere(&reason, true),
    };
    if now.uid != voted.uid {
        return elsewhere("it was deleted, and what has its name now is another object", true);
    }
    let later = now.generation.saturating_sub(voted.generation);
    let changed = format!("it is at generation {} instead of {}", now.generation, voted.generation);
    match stands {
        // That a pod went is in no generation of its workload.
        Some(false) if !tried => return elsewhere("its pod is gone, and nobody here asked it to go", false),
        Some(false) => return if now == *voted { Sight::AsLeft } else { Sight::Touched },
        Some(true) if now != *voted => return elsewhere(&changed, false),
        Some(true) | None if now == *voted => return Sight::Planned,
        Some(true) | None => {}
    }
    let holds = proof::as_left(&plan.proposal.action, object);
    match (later, holds) {
        (1.., true) if proof::untouched(plan, created_at, object) => {
            if plan.canary.as_ref().is_some_and(|canary| canary.stage(object) == Stage::Held) {
                Sight::Held
            } else {
                Sight::AsLeft
            }
        }
        (2, false) if now.spec == voted.spec => Sight::Restored,
        (2.., false) if proof::as_judged(plan, object) => Sight::Restored,
        (1.., true) => Sight::Touched,
        // One generation later without what we write: that one change was somebody else's.
        (later, _) => elsewhere(&changed, later > 1),
    }
}

/// How the effect has been looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    /// Since when without a gap.
    pub(crate) since: Option<UnixMillis>,
    /// The end of the last look, or of the write; none where another process wrote.
    pub(crate) looked_at: Option<UnixMillis>,
    /// How long the last gap was.
    pub(crate) gap_ms: i64,
}

// === impl Watch ===

impl Watch {
    /// The same at a moment when the target can be looked at: after a gap it begins anew, because what an outage hid says neither
    /// well nor ill. The time that a revert needs stays free here too.
    pub(crate) fn resumed(self, plan: &Plan, created_at: UnixMillis, now: UnixMillis) -> Self {
        let gap_ms = self.looked_at.map_or(0, |at| now.since(at));
        if gap_ms <= BLIND_MS || now > latest(plan, created_at) { self } else { Self { since: None, looked_at: None, gap_ms } }
    }
}

/// By when the service must be well: so long after the write, or after its rollout last came forward, since some replace one pod at a
/// time. A process that was away looks for as long as the soak takes, whatever the clock says:
/// that nobody looked is no sign of illness. Who else lost the API server comes back about as late as it was away, or when its next
/// attempt is due.
pub(crate) fn deadline(plan: &Plan, created_at: UnixMillis, moved_at: UnixMillis, since: UnixMillis, gap_ms: i64, verify_within_ms: u32) -> UnixMillis {
    let regular = moved_at.plus(i64::from(verify_within_ms));
    let grace = if gap_ms > 0 { BACK_LATE_MS.max(2 * gap_ms) } else { RESUME_GRACE_MS };
    let resumed = since.plus(i64::from(plan.soak_ms)).plus(grace);
    regular.max(resumed).min(latest(plan, created_at))
}

/// The time that a revert needs stays free.
fn latest(plan: &Plan, created_at: UnixMillis) -> UnixMillis {
    created_at.plus(i64::from(plan.revert_within_ms)).plus(-REVERT_RESERVE_MS)
}

/// A longer time without a look is a gap. A look takes a second, and with a slow server some.
pub(crate) const BLIND_MS: i64 = 5_000;
/// A refusal of the revert that is repeated for so long is one.
const STANDS_MS: i64 = 30_000;
/// What a resumed watch gets beyond the soak.
const RESUME_GRACE_MS: i64 = 15_000;
/// What it gets after a gap: Kubernetes' controllers wait up to half a minute between two attempts, and then there is work to do.
const BACK_LATE_MS: i64 = 45_000;
/// What a revert may take.
const REVERT_RESERVE_MS: i64 = 60_000;

#[cfg(test)]
mod cases;
