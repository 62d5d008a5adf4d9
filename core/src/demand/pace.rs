//! How fast and how often: what was changed lately, and whether another change may follow.

use serde::{Deserialize, Serialize};

use super::settings::Pace;
use super::{Ask, Decision, Reason};
use crate::ids::UnixMillis;

const HOUR_MS: i64 = 60 * 60 * 1000;
/// Most changes that are remembered; an hour has far fewer.
const MAX_REMEMBERED: usize = 256;

/// What was changed lately, by whomever: a change by a person is not undone at once either. Recomputed from what is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct State {
    /// Changes of the number of replicas, or of the autoscaler's bounds, oldest first.
    pub changes: Vec<Change>,
    /// Changes of requests and limits, oldest first.
    pub tunings: Vec<Tuned>,
}

/// One change of a number of replicas. What was put back because it did harm is not in the list: it is as if it had not been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    /// When.
    pub at: UnixMillis,
    /// From how many.
    pub from: u32,
    /// To how many.
    pub to: u32,
}

/// One change of requests and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tuned {
    /// When.
    pub at: UnixMillis,
    /// Whether something became larger.
    pub larger: bool,
}

/// More or fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// More.
    Up,
    /// Fewer.
    Down,
}

// === impl Change ===

impl Change {
    /// Which way it went; `None` if nowhere.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        match self.to.cmp(&self.from) {
            std::cmp::Ordering::Greater => Some(Direction::Up),
            std::cmp::Ordering::Less => Some(Direction::Down),
            std::cmp::Ordering::Equal => None,
        }
    }
}

// === impl State ===

impl State {
    /// Remembers that `decision` was carried out.
    pub fn note(&mut self, decision: &Decision, now: UnixMillis) {
        match decision {
            Decision::Hold { .. } => {}
            Decision::Scale { from, to, .. } => self.changes.push(Change { at: now, from: *from, to: *to }),
            Decision::Tune { containers, .. } => self.tunings.push(Tuned { at: now, larger: containers.iter().any(|container| container.larger) }),
            Decision::AdjustAutoscaler { from, to, .. } => {
                let (from, to) = if from.max == to.max { (from.min, to.min) } else { (from.max, to.max) };
                self.changes.push(Change { at: now, from, to });
            }
        }
        let surplus = self.changes.len().saturating_sub(MAX_REMEMBERED);
        self.changes.drain(..surplus);
        let surplus = self.tunings.len().saturating_sub(MAX_REMEMBERED);
        self.tunings.drain(..surplus);
    }

    /// Times of all that was changed, oldest first.
    fn times(&self) -> Vec<UnixMillis> {
        let mut times: Vec<UnixMillis> = self.changes.iter().map(|change| change.at).chain(self.tunings.iter().map(|tuned| tuned.at)).collect();
        times.sort_unstable();
        times
    }

    /// Steps with their direction, oldest first.
    fn steps(&self) -> Vec<(UnixMillis, Direction)> {
        let mut steps: Vec<(UnixMillis, Direction)> = self.changes.iter().filter_map(|change| Some((change.at, change.direction()?))).collect();
        steps.sort_by_key(|(at, _)| *at);
        steps
    }

    /// When it last turned round.
    fn reversed_at(&self) -> Option<UnixMillis> {
        let steps = self.steps();
        steps.iter().zip(steps.iter().skip(1)).filter(|((_, before), (_, after))| before != after).map(|(_, (at, _))| *at).max()
    }

    /// Whether another change of whatever kind may follow: there was a pause, and there is something left of the hour.
    pub(super) fn rested(&self, pace: &Pace, left_over: u32, now: UnixMillis) -> Result<(), Reason> {
        let times = self.times();
        if let Some(until) = times.last().map(|at| at.plus(pace.cooldown_ms)).filter(|until| now < *until) {
            return Err(Reason::Cooldown { until });
        }
        let within: Vec<UnixMillis> = times.into_iter().filter(|at| now.since(*at) < HOUR_MS).collect();
        let free_at = |most: u32| {
            // Room for one more comes when all but `most - 1` of them are an hour old.
            let surplus = within.len().checked_sub(usize::try_from(most).unwrap_or(usize::MAX))?;
            Some(within.get(surplus)?.plus(HOUR_MS))
        };
        if let Some(until) = free_at(pace.operations_per_hour) {
            return Err(Reason::Rate { until });
        }
        match free_at(pace.operations_per_hour.saturating_sub(left_over)) {
            Some(until) if left_over > 0 => Err(Reason::KeptForUp { until }),
            _ => Ok(()),
        }
    }

    /// Whether a step in this direction may follow.
    pub(super) fn permits(&self, pace: &Pace, direction: Direction, now: UnixMillis) -> Result<(), Reason> {
        self.rested(pace, if direction == Direction::Down { pace.kept_for_up } else { 0 }, now)?;
        let Some((last, before)) = self.steps().last().copied() else { return Ok(()) };
        if before == direction {
            return Ok(());
        }
        // A step down waits until the last step up has shown what it is for; a step up only where it turned round just before.
        let since = if direction == Direction::Down { Some(last) } else { self.reversed_at() };
        match since.map(|since| since.plus(pace.hysteresis_ms)).filter(|until| now < *until) {
            Some(until) => Err(Reason::Hysteresis { until }),
            None => Ok(()),
        }
    }
}

// === impl Ask ===

impl Ask<'_> {
    /// Whether a step in this direction may follow what was done before.
    pub(super) fn paced(&self, direction: Direction) -> Result<(), Reason> {
        self.state.permits(&self.settings.pace, direction, self.now)
    }
}
