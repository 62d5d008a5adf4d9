//! What a signal says about a pod and from which size on it matters: one table from the kind of metric.

use super::super::vocabulary::{self, Kind};

/// What a signal speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aspect {
    /// Share of answers that are bad.
    Failing,
    /// Time to answer.
    Slow,
    /// Processor.
    Cpu,
    /// Memory.
    Memory,
    /// Restarts.
    Restarts,
    /// Throttling, pools, locks, lost segments.
    Strain,
    /// The node below: it speaks of no rollout.
    Node,
    /// A name that says nothing: it may support, never decide.
    Unknown,
}

/// How an aspect is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measure {
    /// Of what.
    pub(super) aspect: Aspect,
    /// As a difference from the usual, rather than as a multiple of it.
    pub(super) absolute: bool,
    /// The size that half matters.
    pub(super) size: f64,
    /// Least noise that is believed.
    pub(super) floor: f64,
    /// The most it can say alone.
    pub(super) weight: f64,
    /// Multiplies raw values, after `whole` was subtracted from where it is given.
    pub(super) unit: f64,
    /// What counts as all good, if more is better.
    pub(super) whole: Option<f64>,
}

// === impl Measure ===

impl Measure {
    /// By the signal's name, and by all its values where its unit shows in them. Nothing for what says neither good nor bad.
    pub(super) fn of(signal: &str, values: &[f64]) -> Option<Self> {
        let most = values.iter().copied().fold(0.0, f64::max);
        let hundred = most > 1.5;
        let unit = if hundred { 0.01 } else { 1.0 };
        let whole = if hundred { 100.0 } else { 1.0 };
        let relative = |aspect, size, floor, weight| Self { aspect, absolute: false, size, floor, weight, unit: 1.0, whole: None };
        let measure = match kind(signal) {
            Kind::Availability => Self { aspect: Aspect::Failing, absolute: true, size: 0.03, floor: 0.004, weight: 0.97, unit, whole: Some(whole) },
            Kind::Errors if most <= 100.0 && (most <= 1.0 || is_share(signal)) => {
                Self { aspect: Aspect::Failing, absolute: true, size: 0.03, floor: 0.004, weight: 0.97, unit, whole: None }
            }
            Kind::Errors => relative(Aspect::Failing, 2.0, 0.2, 0.85),
            Kind::Latency | Kind::ClientLatency => relative(Aspect::Slow, 0.4, 0.05, 0.97),
            Kind::Cpu | Kind::CpuShare => relative(Aspect::Cpu, 0.5, 0.05, 0.92),
            Kind::Memory | Kind::MemoryShare => relative(Aspect::Memory, 0.18, 0.02, 0.92),
            Kind::Restarts => Self { aspect: Aspect::Restarts, absolute: true, size: 0.7, floor: 0.1, weight: 0.85, unit: 1.0, whole: None },
            Kind::Throttling | Kind::Connections | Kind::Contention | Kind::Loss => relative(Aspect::Strain, 1.0, 0.1, 0.6),
            Kind::Node => Self { aspect: Aspect::Node, absolute: true, size: 0.2, floor: 0.05, weight: 0.0, unit, whole: None },
            Kind::Requests | Kind::Traffic => return None,
            Kind::Other => relative(Aspect::Unknown, 1.0, 0.1, 0.2),
        };
        Some(measure)
    }

    /// A raw value where more is worse.
    pub(super) fn badness(&self, value: f64) -> f64 {
        self.whole.map_or(value, |whole| whole - value) * self.unit
    }

    /// How much a difference of this size matters, 0 to 1.
    pub(super) fn matters(&self, difference: f64) -> f64 {
        squared_share(difference / self.size)
    }
}

impl Aspect {
    /// Whether users feel it, so that callers of what is bad show it too.
    pub(super) fn is_felt(self) -> bool {
        matches!(self, Self::Failing | Self::Slow)
    }

    /// In grounds.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Failing => "failing share",
            Self::Slow => "latency",
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Restarts => "restarts",
            Self::Strain => "strain",
            Self::Node => "node",
            Self::Unknown => "other",
        }
    }
}

/// From 0 for nothing through a half at one towards one.
pub(super) fn squared_share(value: f64) -> f64 {
    if value <= 0.0 { 0.0 } else { 1.0 - 1.0 / (1.0 + value * value) }
}

/// Short names that rollouts' tables use beside those of the vocabulary.
fn kind(signal: &str) -> Kind {
    let found = vocabulary::kind(signal);
    if found != Kind::Other {
        return found;
    }
    let name = signal.to_ascii_lowercase();
    let is = |words: &[&str]| name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| words.contains(&word));
    match () {
        () if name.starts_with("node") => Kind::Node,
        () if is(&["rt", "resp", "elapsed"]) => Kind::Latency,
        () if is(&["sr", "ok"]) => Kind::Availability,
        () => Kind::Other,
    }
}

fn is_share(signal: &str) -> bool {
    let name = signal.to_ascii_lowercase();
    ["pct", "percent", "ratio", "share", "rate", "%"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_success_shows_in_its_values() {
        let percent = Measure::of("success_pct", &[100.0, 60.0]).unwrap();
        let share = Measure::of("availability", &[1.0, 0.6]).unwrap();
        assert!((percent.badness(60.0) - 0.4).abs() < 1e-12 && (share.badness(0.6) - 0.4).abs() < 1e-12);
        assert_eq!(Measure::of("errors", &[0.0, 640.0]).map(|measure| measure.absolute), Some(false));
        assert_eq!(Measure::of("error_pct", &[0.0, 64.0]).map(|measure| measure.unit), Some(0.01));
    }

    #[test]
    fn more_requests_are_neither_good_nor_bad() {
        assert_eq!(Measure::of("requests_per_minute", &[3.0]), None);
        assert_eq!(Measure::of("node_whatever", &[3.0]).map(|measure| measure.aspect), Some(Aspect::Node));
    }
}
