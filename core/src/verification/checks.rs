//! A Blueprint's checks: what must hold after an operation, on figures of the last moments. What was not measured does not hold,
//! and says so.

use serde::{Deserialize, Serialize};

use super::Effect;
use crate::blueprint::{Check, Comparison, Figure};

/// What was measured of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Requests that were answered or given up.
    pub requests: u64,
    /// Those with a server error or no answer.
    pub errors: u64,
    /// Answers by latency: bucket `i` counts from `2^i` to below `2^(i+1)` microseconds.
    pub latency: Vec<u64>,
    /// Replicas that are ready, if anybody knows.
    pub ready_replicas: Option<u32>,
    /// Processor time used of what is asked for, in millionths.
    pub cpu_share: Option<u64>,
    /// Memory used of what is asked for, in millionths.
    pub memory_share: Option<u64>,
    /// Answers by the text of the query, in millionths: two layers may give different queries one name.
    pub queries: Vec<(String, u64)>,
}

/// A check that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Missed {
    /// Its name.
    pub name: String,
    /// Whether the operation failed with it.
    pub critical: bool,
    /// Whether it undoes the operation.
    pub undoes: bool,
    /// Whether it was measured at all.
    pub measured: bool,
    /// What was measured and what was wanted.
    pub text: String,
}

/// The checks that do not hold.
#[must_use]
pub fn missed<'a>(checks: impl IntoIterator<Item = &'a Check>, measured: &Measured) -> Vec<Missed> {
    checks.into_iter().filter_map(|check| miss(check, measured)).collect()
}

/// What an action did, beside a Blueprint's checks: where a critical one was not measured, nobody can say that it did no harm.
#[must_use]
pub fn beside_checks(effect: Effect, missed: &[Missed]) -> Effect {
    let unseen = missed.iter().any(|missed| missed.critical && !missed.measured);
    if unseen && effect == Effect::NoEffect { Effect::Unknown } else { effect }
}

fn miss(check: &Check, measured: &Measured) -> Option<Missed> {
    let seen = measured.figure(check);
    if seen.is_some_and(|seen| check.comparison.holds(&seen, &check.figure)) {
        return None;
    }
    let wanted = format!("{} {}", check.comparison, check.figure);
    let text = match seen {
        Some(seen) => format!("{} is {seen}, wanted {wanted}", check.name),
        None => format!("{} was not measured, wanted {wanted}", check.name),
    };
    Some(Missed { name: check.name.clone(), critical: check.critical, undoes: check.rollback_trigger, measured: seen.is_some(), text })
}

// === impl Measured ===

impl Measured {
    /// The figure that a check compares, in the check's own unit.
    fn figure(&self, check: &Check) -> Option<Figure> {
        if let Some(query) = &check.query {
            let (_, answer) = self.queries.iter().find(|(asked, _)| asked == query)?;
            return Some(match check.figure {
                // Prometheus counts durations in seconds and shares from 0 to 1.
                Figure::Duration(_) => Figure::Duration(answer / 1_000),
                Figure::Share(_) => Figure::Share(u32::try_from(*answer).unwrap_or(u32::MAX)),
                Figure::Number(_) => Figure::Number(*answer),
            });
        }
        let share =
            |part: u64| (self.requests > 0).then(|| Figure::Share(u32::try_from(u128::from(part) * 1_000_000 / u128::from(self.requests)).unwrap_or(u32::MAX)));
        let of = |share: Option<u64>| share.map(|share| Figure::Share(u32::try_from(share).unwrap_or(u32::MAX)));
        match check.name.as_str() {
            "error_rate" => share(self.errors),
            "availability" => share(self.requests.saturating_sub(self.errors)),
            "cpu_utilization" => of(self.cpu_share),
            "memory_utilization" => of(self.memory_share),
            "ready_replicas" => self.ready_replicas.map(|ready| Figure::Number(u64::from(ready) * 1_000_000)),
            name => {
                let percentile: u64 = name.strip_prefix("latency_p")?.parse().ok()?;
                Some(Figure::Duration(self.percentile_us(percentile)?.div_ceil(1_000)))
            }
        }
    }

    /// The latency below which so many of a hundred answers lie, on a straight line within its bucket.
    fn percentile_us(&self, percentile: u64) -> Option<u64> {
        let all: u64 = self.latency.iter().fold(0, |sum, count| sum.saturating_add(*count));
        let rank = u64::try_from(u128::from(all) * u128::from(percentile.min(100)) / 100).unwrap_or(u64::MAX).max(1);
        let mut below = 0_u64;
        for (index, count) in self.latency.iter().enumerate().filter(|(_, count)| **count > 0) {
            if below.saturating_add(*count) >= rank {
                let low = 1_u64.checked_shl(u32::try_from(index).ok()?)?;
                let within = u128::from(low) * u128::from(rank - below) / u128::from(*count);
                return Some(low.saturating_add(u64::try_from(within).unwrap_or(u64::MAX)));
            }
            below = below.saturating_add(*count);
        }
        None
    }
}

// === impl Comparison ===

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::Unequal => "!=",
        })
    }
}

// === impl Figure ===

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Duration(ms) => write!(f, "{ms} ms"),
            Self::Share(millionths) => write!(f, "{}.{:02} %", millionths / 10_000, millionths / 100 % 100),
            Self::Number(millionths) => write!(f, "{}.{:03}", millionths / 1_000_000, millionths / 1_000 % 1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::read;
    use serde_json::json;

    fn checks(checks: serde_json::Value) -> Vec<Check> {
        let spec = json!({"target": {"kind": "Deployment", "name": "orders"}, "verification": {"checks": checks}});
        read(&spec).into_result().unwrap().rules.verification.checks
    }

    fn measured() -> Measured {
        let mut latency = vec![0; 20];
        latency[12] = 90;
        latency[17] = 10;
        Measured {
            requests: 100,
            errors: 2,
            latency,
            ready_replicas: Some(2),
            cpu_share: Some(850_000),
            memory_share: None,
            queries: vec![("max(queue)".into(), 1_500_000), ("p95".into(), 250_000)],
        }
    }

    fn texts(wanted: serde_json::Value) -> Vec<String> {
        missed(&checks(wanted), &measured()).into_iter().map(|missed| missed.text).collect()
    }

    #[test]
    fn figures_are_compared_in_their_own_units() {
        let all = json!([
            {"name": "error_rate", "target": "<= 2%"}, {"name": "availability", "target": ">= 98%"}, {"name": "ready_replicas", "target": ">= 2"},
            {"name": "latency_p50", "target": "< 10ms"}, {"name": "latency_p90", "target": "> 8ms"}, {"name": "latency_p99", "target": "< 263ms"},
            {"name": "queue", "query": "max(queue)", "target": "< 2"}, {"name": "slow", "query": "p95", "target": "< 251ms"},
        ]);
        assert_eq!(texts(all), Vec::<String>::new());
        let none = json!([
            {"name": "error_rate", "target": "< 2%"}, {"name": "latency_p95", "target": "< 100ms"}, {"name": "queue", "query": "max(queue)", "target": "< 1"},
        ]);
        let said = texts(none);
        assert_eq!(said[0], "error_rate is 2.00 %, wanted < 2.00 %");
        assert_eq!(said[1], "latency_p95 is 197 ms, wanted < 100 ms");
        assert_eq!(said[2], "queue is 1.500, wanted < 1.000");
    }

    #[test]
    fn two_queries_of_one_name_are_two_queries() {
        let all = json!([{"name": "queue", "query": "max(queue)", "target": "< 2"}]);
        let other = json!([{"name": "queue", "query": "min(queue)", "target": "< 2"}]);
        assert_eq!(texts(all), Vec::<String>::new());
        assert_eq!(texts(other), ["queue was not measured, wanted < 2.000"]);
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let all =
            checks(json!([{"name": "error_rate", "target": "< 2%"}, {"name": "latency_p95", "target": "< 1s"}, {"name": "ready_replicas", "target": ">= 0"},
            {"name": "cpu_utilization", "target": "< 90%"}, {"name": "q", "query": "up", "target": ">= 1", "critical": false}]));
        let said = missed(&all, &Measured::default());
        assert_eq!(said.len(), all.len());
        assert!(said.iter().all(|missed| !missed.measured && missed.text.contains("was not measured")), "{said:?}");
        assert!(!said[4].critical && !said[4].undoes && said[0].critical);
    }

    #[test]
    fn what_a_critical_check_could_not_see_is_unknown_and_harm_stays_harm() {
        let of = |critical, measured| [Missed { name: "c".into(), critical, undoes: false, measured, text: String::new() }];
        assert_eq!(beside_checks(Effect::NoEffect, &of(true, false)), Effect::Unknown);
        assert_eq!(beside_checks(Effect::NoEffect, &of(true, true)), Effect::NoEffect);
        assert_eq!(beside_checks(Effect::NoEffect, &of(false, false)), Effect::NoEffect);
        assert_eq!(beside_checks(Effect::NoEffect, &[]), Effect::NoEffect);
        assert_eq!(beside_checks(Effect::Worse, &of(true, false)), Effect::Worse);
    }

    #[test]
    fn extremes_overflow_nothing() {
        let wild = Measured {
            requests: u64::MAX,
            errors: u64::MAX,
            latency: vec![u64::MAX; 90],
            ready_replicas: Some(u32::MAX),
            cpu_share: Some(u64::MAX),
            memory_share: Some(u64::MAX),
            queries: vec![("up".into(), u64::MAX)],
        };
        let all = checks(
            json!([{"name": "error_rate", "target": "< 2%"}, {"name": "latency_p99", "target": "< 1s"}, {"name": "q", "query": "up", "target": "< 1%"}]),
        );
        let _ = missed(&all, &wild);
    }
}
