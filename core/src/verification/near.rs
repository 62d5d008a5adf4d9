//! Whether something new broke in the neighbourhood of what was written: who calls it or is called by it was well in the minute
//! before and is ill since. How ill a neighbour is, the network seat says, by its own statistics; what its words suffice for is
//! decided here.
//!
//! An action is undone for it, so nobody may be able to say it alone: a neighbour is ill when its own sidecars and those of its callers
//! both say so. Where only its own speak, two neighbours must; where only its callers speak, nobody is known to be ill.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Progress;
use crate::ids::UnixMillis;
use crate::target::Service;

/// For how long the looks must agree: one of them proves nothing, and neither do two that see the same window.
const AGREE_MS: i64 = 5_000;
/// A look sees the last seconds, so the first ones after a change is through still see the change.
const AFTER_MS: i64 = 8_000;
/// An older look says nothing of now.
const FRESH_MS: i64 = 5_000;
/// Most neighbours that are named.
const MOST_NAMED: usize = 3;

/// What one side's figures say of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// Too little from before the write, or nothing lately: no evidence either way.
    Unknown,
    /// It was ill before the write already.
    WasIll,
    /// Well before and well now.
    Well,
    /// Well before and ill now, for too short a time to tell it from chance.
    Turning,
    /// Well before and ill since, for longer and further than chance goes.
    Broken,
}

/// A service that calls the target of a write, or is called by it, as the target's own sidecars told before the write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Neighbour {
    /// Which.
    pub service: Service,
    /// Whether it calls the target; otherwise the target calls it.
    pub calls: bool,
    /// By its own sidecars.
    pub own: Side,
    /// By the sidecars of those who call it.
    pub callers: Side,
    /// The figures in a line.
    pub summary: String,
}

/// One look at the neighbourhood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// When.
    pub at: UnixMillis,
    /// Those with which something is wrong, or may be; `None` if nobody could tell.
    pub neighbours: Option<Vec<Neighbour>>,
}

/// How far the neighbours' trouble is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// None that would count.
    None,
    /// It may become some.
    Looming,
    /// These are ill.
    Proven(BTreeSet<Service>),
}

// === impl Neighbour ===

impl Neighbour {
    fn is_broken(&self) -> bool {
        (self.own, self.callers) == (Side::Broken, Side::Broken)
    }

    /// Nobody beside its own sidecars says anything.
    fn is_broken_by_its_own_word(&self) -> bool {
        (self.own, self.callers) == (Side::Broken, Side::Unknown)
    }

    fn is_looming(&self) -> bool {
        let ill = |side| matches!(side, Side::Turning | Side::Broken);
        ill(self.own) && ill(self.callers)
    }

    fn told(&self) -> String {
        let Self { service, calls, summary, .. } = self;
        let by = if self.callers == Side::Unknown { "by its own word" } else { "by its own and its callers' word" };
        let how = if *calls { "which calls it" } else { "which it calls" };
        format!("{service}, {how}, was well before the write and is ill since, {by}: {summary}")
    }
}

/// What one look proves.
fn trouble(neighbours: &[Neighbour]) -> Trouble {
    let of = |holds: fn(&Neighbour) -> bool| neighbours.iter().filter(|one| holds(one)).map(|one| one.service.clone()).collect::<BTreeSet<Service>>();
    let (mut broken, alone) = (of(Neighbour::is_broken), of(Neighbour::is_broken_by_its_own_word));
    if alone.len() > 1 {
        broken.extend(alone);
    }
    match broken.is_empty() {
        false => Trouble::Proven(broken),
        true if neighbours.iter().any(Neighbour::is_looming) => Trouble::Looming,
        true => Trouble::None,
    }
}

/// What the looks mean beside all that is known of the target. `settled` is since when the change is through and its service has had
/// the time that it needs: what callers see of a rollout on its way is not its effect. While something looms, verification waits, until the
/// deadline at most.
#[must_use]
pub fn with_neighbours(progress: Progress, looks: &[Look], settled: Option<UnixMillis>, deadline: UnixMillis, now: UnixMillis) -> Progress {
    if matches!(progress, Progress::Failed(_) | Progress::Harmed(_)) {
        return progress;
    }
    let mut seen: Vec<(UnixMillis, &[Neighbour])> = looks.iter().filter_map(|look| Some((look.at, look.neighbours.as_deref()?))).collect();
    seen.sort();
    // Whoever told last a while ago tells nothing of now.
    let Some((newest, last)) = seen.last().copied().filter(|(at, _)| now.since(*at) <= FRESH_MS) else { return progress };
    let looms = |progress| {
        let looms = trouble(last) != Trouble::None && now <= deadline;
        if progress == Progress::Verified && looms { Progress::Watching } else { progress }
    };
    let Some(settled) = settled else { return looms(progress) };
    seen.retain(|(at, _)| at.since(settled) >= AFTER_MS);
    // Only what every look says for as long as they must agree, and the first of them must be so old.
    let from = newest.plus(-AGREE_MS);
    let lasts = seen.first().is_some_and(|(at, _)| *at <= from);
    let earlier = seen.iter().rposition(|(at, _)| *at <= from).unwrap_or(0);
    let agreed = seen.iter().skip(earlier).map(|(_, neighbours)| trouble(neighbours)).reduce(|one, other| match (one, other) {
        (Trouble::Proven(one), Trouble::Proven(other)) => Trouble::Proven(one.intersection(&other).cloned().collect()),
        _ => Trouble::None,
    });
    let broken = match agreed {
        Some(Trouble::Proven(broken)) if lasts => broken,
        _ => BTreeSet::new(),
    };
    if broken.is_empty() {
        return looms(progress);
    }
    let named: Vec<String> = last.iter().filter(|one| broken.contains(&one.service)).map(Neighbour::told).take(MOST_NAMED).collect();
    let more = broken.len().saturating_sub(named.len());
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Progress::Harmed(format!("something broke beside it: {}{more}", named.join("; ")))
}

/// What was told of neighbours at last and suffices for nothing, for people: in words that follow an outcome.
#[must_use]
pub fn unproven(looks: &[Look]) -> Option<String> {
    let last = looks.iter().filter(|look| look.neighbours.is_some()).max_by_key(|look| look.at)?.neighbours.as_deref()?;
    let told = |one: &Neighbour| {
        let whose = match (one.own, one.callers) {
            (Side::Broken, Side::Broken) => return None,
            (Side::Broken, _) => "its own word",
            (_, Side::Broken) => "its callers' word",
            _ => return None,
        };
        Some(format!("{} is ill since, by {whose} alone", one.service))
    };
    let told: Vec<String> = last.iter().filter_map(told).take(MOST_NAMED).collect();
    (!told.is_empty()).then(|| format!("beside it and not proven: {}", told.join("; ")))
}

#[cfg(test)]
mod cases;
