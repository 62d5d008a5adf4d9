//! What is scraped of discovery: how old its answers are, and how the endpoints do that it named.
//!
//! Destinations are named in labels up to a limit, most recently used first; the rest stand together as `other`. Endpoints
//! are never named.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use assent_runtime::metrics::collector::Collector;
use assent_runtime::metrics::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder};
use assent_runtime::metrics::metrics::MetricType;
use tokio::time::Instant;

use super::pool::{Cause, State};
use super::{Directory, News, Route};

/// Destinations named in labels.
const MAX_LABELS: usize = 64;

/// Counts of this process.
#[derive(Debug, Default)]
pub(super) struct Counts {
    failures: [AtomicU64; Cause::ALL.len()],
    ejections: AtomicU64,
    unread: AtomicU64,
    unwritten: AtomicU64,
}

/// What one scrape sees.
struct Seen {
    /// Most recently used first.
    destinations: Vec<(String, News)>,
    /// How many there are in each state.
    endpoints: [u64; State::ALL.len()],
}

// === impl Counts ===

impl Counts {
    pub(super) fn failed(&self, cause: Cause, opened: bool) {
        if let Some(counter) = self.failures.get(cause as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.ejections.fetch_add(u64::from(opened), Ordering::Relaxed);
    }

    pub(super) fn not_read(&self) {
        self.unread.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn not_written(&self) {
        self.unwritten.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Directory ===

impl Directory {
    fn seen(&self) -> Seen {
        let mut entries: Vec<_> = self.entries().iter().map(|(address, entry)| (entry.used, *address, entry.destination.clone())).collect();
        entries.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let now = std::time::Instant::now();
        let mut endpoints = [0; State::ALL.len()];
        let mut add = |state: State| {
            if let Some(count) = endpoints.get_mut(state as usize) {
                *count += 1;
            }
        };
        for (_, _, destination) in &entries {
            let route = destination.route.borrow().clone();
            match route {
                None | Some(Route::Plain) => {}
                Some(Route::Endpoint(endpoint)) => add(endpoint.state(now)),
                Some(Route::Service(pool)) => pool.endpoints().iter().for_each(|endpoint| add(endpoint.state(now))),
            }
        }
        let destinations = entries.into_iter().map(|(_, address, destination)| (address.to_string(), destination.news())).collect();
        Seen { destinations, endpoints }
    }
}

impl Collector for Directory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (seen, now) = (self.seen(), Instant::now());
        let news = || seen.destinations.iter().map(|(_, news)| news);
        let help = "Seconds for which discovery has not been there for the destination that misses it longest; 0 while it is";
        let stale = news().map(|news| news.stale(now)).max().unwrap_or_default();
        gauge(&mut encoder.encode_descriptor("assent_discovery_stale_seconds", help, None, MetricType::Gauge)?, stale.as_secs_f64())?;
        let help = "Destinations known from before a restart that discovery has not confirmed";
        let restored = news().filter(|news| news.restored).count();
        gauge(&mut encoder.encode_descriptor("assent_discovery_restored_destinations", help, None, MetricType::Gauge)?, restored as f64)?;
        let help = "Seconds since discovery last said something about a destination";
        let mut family = encoder.encode_descriptor("assent_discovery_endpoint_age_seconds", help, None, MetricType::Gauge)?;
        for (destination, age) in ages(&seen.destinations, now) {
            gauge(&mut family.encode_family(&[("destination", destination)])?, age.as_secs_f64())?;
        }
        counter(&mut encoder, "assent_discovery_updates", "Answers of discovery", *self.version.borrow())?;
        let help = "Times that what discovery said could not be read from or written to the state directory";
        let mut family = encoder.encode_descriptor("assent_discovery_state_failures", help, None, MetricType::Counter)?;
        for (operation, count) in [("read", &self.counts.unread), ("write", &self.counts.unwritten)] {
            labelled(&mut family, &[("operation", operation)], count.load(Ordering::Relaxed))?;
        }
        let help = "Endpoints by the state of their circuit breaker";
        let mut family = encoder.encode_descriptor("assent_outbound_endpoints", help, None, MetricType::Gauge)?;
        for (state, count) in State::ALL.into_iter().zip(seen.endpoints) {
            gauge(&mut family.encode_family(&[("state", state.as_str())])?, count as f64)?;
        }
        let help = "Attempts to reach an endpoint that failed";
        let mut family = encoder.encode_descriptor("assent_outbound_endpoint_failures", help, None, MetricType::Counter)?;
        for (cause, count) in Cause::ALL.into_iter().zip(&self.counts.failures) {
            labelled(&mut family, &[("cause", cause.as_str())], count.load(Ordering::Relaxed))?;
        }
        let help = "Times that an endpoint was left alone for failing too often in a row";
        counter(&mut encoder, "assent_outbound_ejections", help, self.counts.ejections.load(Ordering::Relaxed))
    }
}

/// Age of each destination that has a label; of the others the greatest.
fn ages(destinations: &[(String, News)], now: Instant) -> BTreeMap<&str, Duration> {
    let mut ages = BTreeMap::new();
    for (place, (destination, news)) in destinations.iter().enumerate() {
        let label = if place < MAX_LABELS { destination.as_str() } else { "other" };
        let age: &mut Duration = ages.entry(label).or_default();
        *age = (*age).max(news.told.at(now));
    }
    ages
}

fn gauge(encoder: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
    encoder.encode_gauge(&value)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    family.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)
}

fn labelled(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)
}

#[cfg(test)]
mod tests {
    use super::super::Age;
    use super::*;

    #[test]
    fn labels_are_bounded_and_the_rest_shows_its_oldest() {
        let now = Instant::now();
        let news = |seconds| {
            let age = Age::new(now, Duration::from_secs(seconds));
            News { live: true, restored: false, heard: age, told: age }
        };
        let destinations: Vec<_> = (0..200).map(|n| (format!("10.0.0.{n}:80"), news(n))).collect();
        let ages = ages(&destinations, now);
        assert_eq!(ages.len(), MAX_LABELS + 1);
        assert_eq!((ages["10.0.0.63:80"].as_secs(), ages["other"].as_secs()), (63, 199));
    }
}
