//! Connections that were not served, or broke: by cause, and the last of them one by one.
//!
//! A cause is a word that tells what an operator would do next; the hop says whose it is: the client's, the sidecar's own,
//! discovery's, the peer's or the application's. That split is what a broken connection alone does not show. Both come from
//! a fixed table, so that series are bounded, and so is the list.

mod cause;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use assent_runtime::metrics::encoding::DescriptorEncoder;
use assent_runtime::metrics::metrics::MetricType;
use assent_runtime::telemetry;

use crate::journey::{Journey, Leg};
use crate::metrics::{Failure, count};
use crate::observe::flows::Direction;

pub(crate) use cause::Cause;

/// Failures shown one by one.
const RECENT: usize = 64;
/// Longest description of one, in bytes.
const MAX_TEXT: usize = 256;

/// What is said of a failure: an error, or just words.
pub(crate) trait Reason {
    fn error(&self) -> Option<&io::Error> {
        None
    }

    fn text(&self) -> String;
}

/// All failures of this process.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    counts: Mutex<BTreeMap<(Direction, Cause), u64>>,
    recent: Mutex<VecDeque<Failed>>,
}

/// One of them.
#[derive(Debug)]
struct Failed {
    time: SystemTime,
    direction: Direction,
    cause: Cause,
    destination: SocketAddr,
    peer: String,
    legs: [f64; Leg::ALL.len()],
    error: String,
}

// === impl Failures ===

impl Failures {
    /// The connection to `destination` that came as far as `journey` tells has failed.
    pub(crate) fn add(&self, failure: Failure, reason: &dyn Reason, destination: SocketAddr, journey: &Journey) {
        let direction = journey.direction();
        let cause = Cause::of(failure, direction, reason.error());
        self.count(direction, cause);
        let (peer, spent) = journey.told(Instant::now());
        let mut error = reason.text();
        error.truncate(error.floor_char_boundary(MAX_TEXT));
        let legs = spent.map(|leg| (leg.as_secs_f64() * 1e6).round() / 1e3);
        let failed = Failed { time: SystemTime::now(), direction, cause, destination, peer, legs, error };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back(failed);
    }

    /// Counts what is no failure of one connection.
    pub(crate) fn count(&self, direction: Direction, cause: Cause) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry((direction, cause)).or_default() += 1;
    }

    /// How often each cause was counted.
    pub(crate) fn counts(&self) -> Vec<((Direction, Cause), u64)> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(cause, count)| (*cause, *count)).collect()
    }

    /// The last failures, oldest first, one JSON object in each line.
    pub(crate) fn lines(&self) -> String {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().map(|failed| failed.json().to_string() + "\n").collect()
    }

    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections not served, or broken, by cause and by whose it is; and new ones for which discovery was silent";
        let mut family = encoder.encode_descriptor("assent_sidecar_errors", help, None, MetricType::Counter)?;
        for ((direction, cause), errors) in self.counts() {
            let labels = [("cause", cause.code), ("hop", cause.hop.as_str()), ("direction", direction.as_str())];
            count(&mut family, &labels.map(|(name, value)| (name, value.to_owned())).to_vec(), errors)?;
        }
        Ok(())
    }
}

// === impl Failed ===

impl Failed {
    fn json(&self) -> serde_json::Value {
        let time = self.time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
        let legs: serde_json::Map<_, _> = Leg::ALL.into_iter().zip(self.legs).map(|(leg, spent)| (leg.as_str().to_owned(), spent.into())).collect();
        serde_json::json!({
            "time_ms": u64::try_from(time).unwrap_or(u64::MAX),
            "cause": self.cause.code,
            "hop": self.cause.hop.as_str(),
            "direction": self.direction.as_str(),
            "destination": self.destination.to_string(),
            "peer": self.peer,
            "legs_ms": legs,
            "error": self.error,
        })
    }
}

impl Reason for io::Error {
    fn error(&self) -> Option<&io::Error> {
        Some(self)
    }

    fn text(&self) -> String {
        telemetry::chain(self)
    }
}

impl Reason for &str {
    fn text(&self) -> String {
        (*self).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use assent_runtime::metrics::collector::Collector;
    use assent_runtime::metrics::{encoding::text, registry::Registry};

    use super::*;

    #[derive(Debug)]
    struct Scraped(std::sync::Arc<Failures>);

    impl Collector for Scraped {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            self.0.encode(&mut encoder)
        }
    }

    #[test]
    fn tells_cause_hop_and_legs_and_keeps_the_last_ones() {
        let failures = std::sync::Arc::new(Failures::default());
        let journey = Journey::begin(Direction::Outbound);
        journey.with("cart.shop");
        for port in 1..=100 {
            let error = io::Error::new(io::ErrorKind::ConnectionRefused, "ä".repeat(MAX_TEXT));
            failures.add(Failure::Connect, &error, SocketAddr::from(([10, 0, 0, 1], port)), &journey);
        }
        let lines = failures.lines();
        let shown: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(shown.len(), RECENT);
        assert_eq!((shown[0]["destination"].as_str(), shown[63]["destination"].as_str()), (Some("10.0.0.1:37"), Some("10.0.0.1:100")));
        let last = &shown[63];
        let word = |field: &str| last[field].as_str().unwrap_or_default();
        assert_eq!((word("cause"), word("hop"), word("direction"), word("peer")), ("refused", "peer", "outbound", "cart.shop"));
        assert!(word("error").len() <= MAX_TEXT && last["time_ms"].as_u64().is_some_and(|time| time > 1_600_000_000_000));
        assert!(Leg::ALL.into_iter().all(|leg| last["legs_ms"][leg.as_str()].is_number()));

        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scraped(failures)));
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        let line = r#"assent_sidecar_errors_total{cause="refused",hop="peer",direction="outbound"} 100"#;
        assert!(out.contains(line), "{out}");
    }
}
