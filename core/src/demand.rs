//! What a service needs: replicas, and CPU and memory for each, by what it used. One total function, [`decide`], of what
//! people set, what was changed lately, what was seen, and the time. It proposes; whether it may is asked elsewhere
//! (votes, guardrails, [`crate::breaker`]).
//!
//! Units are milli-cores, bytes, microseconds, milliseconds and millionths, all integers. What is missing or too old is no
//! ground for anything: without fresh figures of everything that the settings weigh, the answer is to hold.
//!
//! It does not flap, by construction: up and down are judged over different windows and at different levels, a step down
//! stays clear of the level that would call for a step up, and between two reversals there is at least the hysteresis window.

mod arithmetic;
mod autoscaler;
mod figures;
mod history;
mod intent;
mod observation;
mod pace;
mod rationale;
mod replicas;
mod settings;
mod tuning;

use serde::{Deserialize, Serialize};

use crate::ids::UnixMillis;

pub use figures::{Figures, Signal};
pub use history::Histories;
pub use intent::{may_ask_for, settings, sizing};
pub use observation::{Allocation, Autoscaler, Container, MAX_SAMPLES, Observation, Period, Sample};
pub use pace::{Change, Direction, State, Tuned};
pub use settings::{Bounds, ContainerBounds, Interval, Objectives, Pace, Settings, Tuning, Weights, Windows};
pub use tuning::{Resources, Way};

/// What should be done, with the figures that say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "decision")]
pub enum Decision {
    /// Nothing, for now.
    Hold {
        /// Why.
        reason: Reason,
        /// The same with the figures, for people.
        rationale: String,
    },
    /// Another number of replicas.
    Scale {
        /// How many it has.
        from: u32,
        /// How many it should have.
        to: u32,
        /// Why, with the figures.
        rationale: String,
    },
    /// Other requests and limits.
    Tune {
        /// What each container that changes should have.
        containers: Vec<Resources>,
        /// Whether its pods can stay.
        way: Way,
        /// Why, with the figures.
        rationale: String,
    },
    /// Other bounds for the autoscaler that sets the replicas.
    AdjustAutoscaler {
        /// Its name.
        name: String,
        /// Its bounds as they are.
        from: Bounds<u32>,
        /// Its bounds as they should be.
        to: Bounds<u32>,
        /// Why, with the figures.
        rationale: String,
    },
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "reason")]
pub enum Reason {
    /// The settings contradict themselves.
    Settings {
        /// How.
        problem: String,
    },
    /// Nothing is changed in this time.
    Frozen {
        /// When it ends.
        until: UnixMillis,
        /// Why, in people's words.
        because: String,
    },
    /// Changes are made in certain times only, and this is none of them.
    OutsideWindow {
        /// When the next one begins, if one is known.
        next: Option<UnixMillis>,
    },
    /// Something that is weighed was not measured often enough.
    Missing {
        /// What.
        what: String,
    },
    /// The newest figures are too old.
    Stale {
        /// How old.
        age_ms: i64,
    },
    /// Somebody took the service away on purpose.
    ScaledToZero,
    /// No replica is ready, so no figure says anything.
    NothingReady,
    /// Old and new pods mix, so figures speak of neither.
    RollingOut,
    /// Enough replicas were asked for and are starting.
    Starting,
    /// Figures need time to show what the last change did.
    Cooldown {
        /// Until when.
        until: UnixMillis,
    },
    /// There were as many operations within the hour as there may be.
    Rate {
        /// Until when.
        until: UnixMillis,
    },
    /// What is left of the hour's operations is kept for scaling up.
    KeptForUp {
        /// Until when.
        until: UnixMillis,
    },
    /// It would turn round too soon.
    Hysteresis {
        /// Until when.
        until: UnixMillis,
    },
    /// Everything is as it should be.
    InBand,
    /// It needs more than people allow; they may allow it.
    AtMaximum {
        /// How many replicas it needs.
        wanted: u32,
    },
    /// It needs less, and has as few as people allow.
    AtMinimum,
    /// Somebody set more replicas than the limits allow, and the load needs them.
    AboveMaximum,
    /// Requests are slow and CPU is idle: more replicas would be idle too.
    SlowButIdle,
    /// Requests fail or are nearly too slow, which is no time for fewer replicas.
    ObjectiveAtRisk,
    /// Memory alone is short, which replicas do not share and resources may not be tuned for.
    MemoryAlone,
    /// An autoscaler sets the replicas, and within its bounds it is let be.
    LeftToAutoscaler {
        /// Its name.
        name: String,
    },
    /// Several autoscalers set the same replicas.
    Autoscalers,
}

/// Decides for one service. Total: whatever is given, there is an answer, and the same is given the same.
#[must_use]
pub fn decide(settings: &Settings, state: &State, observation: &Observation, now: UnixMillis) -> Decision {
    let judged = settings.check(now).and_then(|()| Figures::of(settings, observation, now));
    let figures = match judged {
        Ok(figures) => figures,
        Err(reason) => return Decision::Hold { rationale: rationale::without_figures(&reason, now), reason },
    };
    let ask = Ask { settings, state, observation, figures: &figures, now };
    let decided = autoscaler::decide(&ask).unwrap_or_else(|| match replicas::decide(&ask) {
        // More replicas wait for nothing.
        more @ Decision::Scale { from, to, .. } if to > from => more,
        other => tuning::urgent(&ask).unwrap_or(other),
    });
    match decided {
        // Where replicas are as they should be, or cannot help, their size may not be.
        Decision::Hold { ref reason, .. } if reason.leaves_room_for_tuning() => tuning::decide(&ask).unwrap_or(decided),
        decided => decided,
    }
}

/// One question, with everything that its answer may depend on.
struct Ask<'a> {
    settings: &'a Settings,
    state: &'a State,
    observation: &'a Observation,
    figures: &'a Figures,
    now: UnixMillis,
}

// === impl Ask ===

impl Ask<'_> {
    fn hold(&self, reason: Reason) -> Decision {
        Decision::Hold { rationale: rationale::hold(self, &reason), reason }
    }
}

// === impl Decision ===

impl Decision {
    /// Why, with the figures.
    #[must_use]
    pub fn rationale(&self) -> &str {
        match self {
            Self::Hold { rationale, .. } | Self::Scale { rationale, .. } | Self::Tune { rationale, .. } | Self::AdjustAutoscaler { rationale, .. } => rationale,
        }
    }
}

// === impl Reason ===

impl Reason {
    /// The reason in one fixed word, without its figures.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Settings { .. } => "settings",
            Self::Frozen { .. } => "frozen",
            Self::OutsideWindow { .. } => "outsideWindow",
            Self::Missing { .. } => "missing",
            Self::Stale { .. } => "stale",
            Self::ScaledToZero => "scaledToZero",
            Self::NothingReady => "nothingReady",
            Self::RollingOut => "rollingOut",
            Self::Starting => "starting",
            Self::Cooldown { .. } => "cooldown",
            Self::Rate { .. } => "rate",
            Self::KeptForUp { .. } => "keptForUp",
            Self::Hysteresis { .. } => "hysteresis",
            Self::InBand => "inBand",
            Self::AtMaximum { .. } => "atMaximum",
            Self::AtMinimum => "atMinimum",
            Self::AboveMaximum => "aboveMaximum",
            Self::SlowButIdle => "slowButIdle",
            Self::ObjectiveAtRisk => "objectiveAtRisk",
            Self::MemoryAlone => "memoryAlone",
            Self::LeftToAutoscaler { .. } => "leftToAutoscaler",
            Self::Autoscalers => "autoscalers",
        }
    }

    fn leaves_room_for_tuning(&self) -> bool {
        matches!(self, Self::InBand | Self::AtMaximum { .. } | Self::AtMinimum | Self::MemoryAlone | Self::LeftToAutoscaler { .. } | Self::KeptForUp { .. })
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod properties;
