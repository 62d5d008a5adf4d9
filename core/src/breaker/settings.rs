//! Numbers that people may set, with defaults.

use serde::{Deserialize, Serialize};

use crate::blueprint::Safeguards;
use crate::ids::Millionths;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// No wait is longer.
const LONGEST_MS: i64 = 7 * 24 * HOUR_MS;

/// How much is let happen. Those of the brake are the organisation's, all others a service's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// So many failures in a row open the circuit.
    pub failures_to_open: u32,
    /// How long it stays open the first time; each failed probe doubles that.
    pub open_ms: i64,
    /// How long it stays open at most.
    pub longest_open_ms: i64,
    /// From one operation on a service to the next.
    pub cooldown_ms: i64,
    /// Most operations on a service within an hour.
    pub operations_per_hour: u32,
    /// So many times an action that did not help is tried on a service; then a person decides.
    pub strikes: u32,
    /// How long the same is not tried again after the first strike; each further one doubles that.
    pub backoff_ms: i64,
    /// So many failures of all services together within [`Settings::brake_window_ms`] stop everything.
    pub failures_to_brake: u32,
    /// The time in which they are counted.
    pub brake_window_ms: i64,
    /// How long everything stands still after the last of them, unless a person lifts it.
    pub brake_ms: i64,
    /// An operation that has not ended after this counts as a failure: nobody knows what it did.
    pub longest_operation_ms: i64,
    /// How far back operations count, but for autonomy. They are kept at least so long.
    pub memory_ms: i64,
    /// How well an action must do to go on without being asked.
    pub autonomy: Autonomy,
}

/// What a machine must show to act alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Autonomy {
    /// Least share of its operations that helped.
    pub least_precision: Millionths,
    /// Among so many of the newest.
    pub window: u32,
    /// With fewer than these, nothing is concluded.
    pub least_operations: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            failures_to_open: 3,
            open_ms: 10 * MINUTE_MS,
            longest_open_ms: 8 * HOUR_MS,
            cooldown_ms: MINUTE_MS,
            operations_per_hour: 10,
            strikes: 3,
            backoff_ms: 5 * MINUTE_MS,
            failures_to_brake: 5,
            brake_window_ms: HOUR_MS,
            brake_ms: HOUR_MS,
            longest_operation_ms: 45 * MINUTE_MS,
            memory_ms: 24 * HOUR_MS,
            autonomy: Autonomy::default(),
        }
    }
}

impl Default for Autonomy {
    fn default() -> Self {
        Self { least_precision: Millionths::new(800_000), window: 20, least_operations: 5 }
    }
}

// === impl Settings ===

impl Settings {
    /// These for a service with such safeguards.
    #[must_use]
    pub fn within(self, safeguards: &Safeguards) -> Self {
        let time = |ms: u64| i64::try_from(ms).unwrap_or(LONGEST_MS).min(LONGEST_MS);
        let open_ms = time(safeguards.breaker.wait_ms);
        Self {
            failures_to_open: safeguards.breaker.failures,
            open_ms,
            longest_open_ms: self.longest_open_ms.max(open_ms),
            cooldown_ms: time(safeguards.cooldown_ms),
            operations_per_hour: safeguards.operations_per_hour,
            strikes: safeguards.strikes,
            ..self
        }
    }

    /// What contradicts itself in them.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let time = |value: i64| (0..=LONGEST_MS).contains(&value);
        let times = [
            self.open_ms,
            self.longest_open_ms,
            self.cooldown_ms,
            self.backoff_ms,
            self.brake_window_ms,
            self.brake_ms,
            self.longest_operation_ms,
            self.memory_ms,
        ];
        let counts = [self.failures_to_open, self.operations_per_hour, self.strikes, self.failures_to_brake, self.autonomy.window];
        let rules = [
            (times.into_iter().all(time), "a time is not from nothing to seven days"),
            (counts.into_iter().all(|count| count > 0), "a count is 0, so nothing would ever pass"),
            (self.open_ms > 0 && self.open_ms <= self.longest_open_ms, "`openMs` is not from 1 to `longestOpenMs`"),
            (self.memory_ms >= HOUR_MS, "`memoryMs` is less than the hour that operations are counted by"),
            (self.autonomy.least_operations <= self.autonomy.window, "`autonomy.leastOperations` is more than `autonomy.window`"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, problem)| problem)
    }

    /// The wait after so many failures, doubled by each after the first.
    pub(super) fn doubled(first_ms: i64, times: u32, longest_ms: i64) -> i64 {
        let factor = 1_i64.checked_shl(times.min(40)).unwrap_or(i64::MAX);
        first_ms.saturating_mul(factor).min(longest_ms)
    }

    /// The wait after so many strikes.
    pub(super) fn backoff(&self, strikes: u32) -> i64 {
        Self::doubled(self.backoff_ms, strikes.saturating_sub(1), LONGEST_MS)
    }
}
