//! What is scraped: the families that Linkerd's dashboards read, by their names and labels, and the sidecar's own counts.
//!
//! Flow counts are summed from the windows the seats get, so that the byte path keeps one set of books. Flows are bounded
//! here as there. Latencies are those of whole exchanges, in Linkerd's buckets.

mod database;
pub(crate) mod identity;
mod otlp;
mod pod;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use assent_runtime::metrics::collector::Collector;
use assent_runtime::metrics::encoding::{DescriptorEncoder, MetricEncoder};
use assent_runtime::metrics::metrics::MetricType;

use crate::failures::Failures;
use crate::kernel::Look;
use crate::kernel::tcp_info::Split;
use crate::observe::flows::{Direction, Errno, Key, Requests, Window};
use crate::observe::histogram::{MILLISECONDS, Milliseconds};

/// Flows kept for scraping; further ones are counted together.
const MAX_FLOWS: usize = 256;

/// Why a connection was not served, or broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Connect,
    Handshake,
    Refused,
    Loop,
    Broken,
}

/// Counts of this process. Shared; every method may be called from anywhere.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    failures: [AtomicU64; 5],
    pub(crate) causes: Failures,
    unresolved: AtomicU64,
    unmeshed_start: AtomicU64,
    lost_windows: [AtomicU64; 3],
    flows: Mutex<BTreeMap<Key, Flow>>,
    databases: Mutex<database::Databases>,
    pod: Mutex<pod::Pod>,
}

#[derive(Debug, Default)]
struct Flow {
    requests: Requests,
    opened: u64,
    closed: [u64; Errno::ALL.len()],
    sent: u64,
    received: u64,
    retransmits: u64,
    rtt_us: u32,
    split: Split,
}

type Value = fn(&Flow) -> u64;
pub(crate) type Labels = Vec<(&'static str, String)>;

// === impl Failure ===

impl Failure {
    const ALL: [Self; 5] = [Self::Connect, Self::Handshake, Self::Refused, Self::Loop, Self::Broken];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Refused => "refused",
            Self::Loop => "loop",
            Self::Broken => "broken",
        }
    }
}

// === impl Counters ===

impl Counters {
    pub(crate) fn failed(&self, failure: Failure) {
        if let Some(counter) = self.failures.get(failure as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(crate) fn failures(&self, failure: Failure) -> u64 {
        self.failures[failure as usize].load(Ordering::Relaxed)
    }

    /// A connection went the plain way because discovery had not answered.
    pub(crate) fn unresolved(&self) {
        self.unresolved.fetch_add(1, Ordering::Relaxed);
    }

    /// The pod was let start before it had a certificate.
    pub(crate) fn started_unmeshed(&self) {
        self.unmeshed_start.store(1, Ordering::Relaxed);
    }

    /// The seat numbered `seat` has missed `windows` since the start.
    pub(crate) fn lost_windows(&self, seat: usize, windows: u64) {
        if let Some(counter) = self.lost_windows.get(seat) {
            counter.store(windows, Ordering::Relaxed);
        }
    }

    /// Adds one window of flows.
    pub(crate) fn add(&self, window: &Window) {
        let mut flows = self.flows();
        for tcp in &window.tcp {
            let direction = if tcp.direction == i32::from(assent_api::proto::Direction::Inbound) { Direction::Inbound } else { Direction::Outbound };
            let flow = place(&mut flows, Key::new(direction, &tcp.peer, &tcp.destination));
            flow.opened += tcp.opened;
            flow.sent += tcp.bytes_sent;
            flow.received += tcp.bytes_received;
            flow.retransmits += tcp.retransmits;
            flow.split.network_us += tcp.network_limited_us;
            flow.split.receiver_us += tcp.receiver_limited_us;
            flow.split.sender_us += tcp.sender_limited_us;
            if tcp.rtt_us > 0 {
                flow.rtt_us = tcp.rtt_us;
            }
        }
        for (key, closed) in &window.closed {
            let flow = place(&mut flows, key.clone());
            flow.closed.iter_mut().zip(closed).for_each(|(mine, theirs)| *mine += theirs);
        }
        let mut databases = self.databases();
        window.database.iter().for_each(|flow| databases.add(flow));
        for (key, requests) in &window.requests {
            let flow = place(&mut flows, key.clone());
            flow.requests.begun += requests.begun;
            flow.requests.latency.merge(&requests.latency);
            flow.requests.duration.merge(&requests.duration);
            for (status, count) in &requests.statuses {
                *flow.requests.statuses.entry(*status).or_default() += count;
            }
        }
    }

    /// Adds what the kernel said at the end of a window.
    pub(crate) fn looked(&self, look: &Look) {
        self.pod.lock().unwrap_or_else(PoisonError::into_inner).add(look);
    }

    fn databases(&self) -> MutexGuard<'_, database::Databases> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flows(&self) -> MutexGuard<'_, BTreeMap<Key, Flow>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let flows = self.flows();
        let mut family = encoder.encode_descriptor("request", "Requests begun", None, MetricType::Counter)?;
        for (key, flow) in flows.iter().filter(|(_, flow)| flow.requests.begun > 0) {
            count(&mut family, &labels(key), flow.requests.begun)?;
        }
        let mut family = encoder.encode_descriptor("response", "Responses completed", None, MetricType::Counter)?;
        for (key, flow) in flows.iter() {
            for (status, responses) in &flow.requests.statuses {
                let mut labels = labels(key);
                labels.push(("status_code", status.to_string()));
                labels.push(("classification", if *status >= 500 { "failure" } else { "success" }.to_owned()));
                count(&mut family, &labels, *responses)?;
            }
        }
        let help = "Milliseconds from the first byte of a request to the last of its response";
        let mut family = encoder.encode_descriptor("response_latency_ms", help, None, MetricType::Histogram)?;
        for (key, flow) in flows.iter().filter(|(_, flow)| flow.requests.begun > 0) {
            latency(&mut family.encode_family(&labels(key))?, &flow.requests.latency)?;
        }
        let help = "Seconds from the first byte of a request to the last of its response";
        let mut family = encoder.encode_descriptor("assent_request_duration_seconds", help, None, MetricType::Histogram)?;
        for (key, flow) in flows.iter().filter(|(_, flow)| flow.requests.begun > 0) {
            let (buckets, sum) = flow.requests.duration.seconds();
            let ended = buckets.iter().map(|(_, count)| count).sum();
            family.encode_family(&labels(key))?.encode_histogram::<[(&str, &str); 0]>(sum, ended, &buckets, None)?;
        }
        let tcp: [(&str, &str, Value); 4] = [
            ("tcp_open", "Connections opened", |flow| flow.opened),
            ("tcp_read_bytes", "Bytes read from the peer that a connection belongs to", |flow| flow.received),
            ("tcp_write_bytes", "Bytes written to it", |flow| flow.sent),
            ("tcp_retransmit_segments", "Segments sent again on the network side", |flow| flow.retransmits),
        ];
        for (name, help, value) in tcp {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (key, flow) in flows.iter() {
                count(&mut family, &labels(key), value(flow))?;
            }
        }
        let mut family = encoder.encode_descriptor("tcp_open_connections", "Connections open at the end of the last window", None, MetricType::Gauge)?;
        for (key, flow) in flows.iter() {
            let open = flow.opened.saturating_sub(flow.closed.iter().sum());
            family.encode_family(&labels(key))?.encode_gauge(&i64::try_from(open).unwrap_or(i64::MAX))?;
        }
        let help = "Connections closed, by the error that they closed with";
        let mut family = encoder.encode_descriptor("tcp_close", help, None, MetricType::Counter)?;
        for (key, flow) in flows.iter() {
            for (errno, closed) in Errno::ALL.into_iter().zip(flow.closed).filter(|(_, closed)| *closed > 0) {
                let mut labels = labels(key);
                labels.push(("errno", errno.as_str().to_owned()));
                count(&mut family, &labels, closed)?;
            }
        }
        pod::limited(&mut encoder, &flows)?;
        drop(flows);
        self.causes.encode(&mut encoder)?;
        self.databases().encode(&mut encoder)?;
        self.pod.lock().unwrap_or_else(PoisonError::into_inner).encode(&mut encoder)?;
        let mut family = encoder.encode_descriptor("assent_sidecar_failures", "Connections not served, or broken", None, MetricType::Counter)?;
        for (failure, counter) in Failure::ALL.iter().zip(&self.failures) {
            count(&mut family, &vec![("reason", failure.as_str().to_owned())], counter.load(Ordering::Relaxed))?;
        }
        let help = "Connections passed on in plain because discovery had not answered yet";
        let mut family = encoder.encode_descriptor("assent_sidecar_unresolved", help, None, MetricType::Counter)?;
        family.encode_counter::<[(&str, &str); 0], u64, u64>(&self.unresolved.load(Ordering::Relaxed), None)?;
        let help = "1 when the pod was let start before it had a certificate";
        let mut family = encoder.encode_descriptor("assent_sidecar_unmeshed_start", help, None, MetricType::Gauge)?;
        family.encode_gauge(&(self.unmeshed_start.load(Ordering::Relaxed) as i64))?;
        let help = "Windows of observations lost from the bounded buffer";
        let mut family = encoder.encode_descriptor("assent_sidecar_lost_windows", help, None, MetricType::Counter)?;
        for (seat, counter) in crate::telemetry::SEATS.iter().zip(&self.lost_windows) {
            count(&mut family, &vec![("seat", (*seat).to_owned())], counter.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

/// The flow of `key`, or the one that stands for all others when there are too many.
fn place(flows: &mut BTreeMap<Key, Flow>, key: Key) -> &mut Flow {
    let known = flows.len() < MAX_FLOWS || flows.contains_key(&key);
    let key = if known { key } else { Key::new(key.direction, "", "other") };
    flows.entry(key).or_default()
}

pub(crate) fn count(family: &mut MetricEncoder<'_>, labels: &Labels, value: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)
}

fn latency(encoder: &mut MetricEncoder<'_>, latency: &Milliseconds) -> fmt::Result {
    let bounds = MILLISECONDS.iter().map(|bound| f64::from(*bound)).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets).collect();
    encoder.encode_histogram::<[(&str, &str); 0]>(latency.sum_ms as f64, latency.buckets.iter().sum(), &buckets, None)
}

/// Linkerd's labels: the peer of an inbound flow is the client, that of an outbound one the server.
fn labels(key: &Key) -> Labels {
    let (peer, identity) = match key.direction {
        Direction::Inbound => ("src", "client_id"),
        Direction::Outbound => ("dst", "server_id"),
    };
    let meshed = !key.peer.is_empty();
    let mut labels = vec![
        ("direction", key.direction.as_str().to_owned()),
        ("peer", peer.to_owned()),
        ("target_addr", key.destination.to_string()),
        ("target_port", key.port().map_or_else(String::new, |port| port.to_string())),
        ("tls", if meshed { "true" } else { "no_identity" }.to_owned()),
    ];
    if meshed {
        labels.push((identity, key.peer.to_string()));
    }
    labels
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use assent_runtime::metrics::{encoding::text, registry::Registry};

    use super::*;
    use crate::observe::flows::Flows;
    use crate::observe::http1::{Event, Route};

    #[test]
    fn names_families_and_labels_as_dashboards_expect() {
        let (flows, counters) = (Flows::default(), Arc::new(Counters::default()));
        let connection = flows.open(Key::new(Direction::Outbound, "cart.shop", "10.0.0.1:80"), None);
        let (route, started) = (Route { method: "GET", segments: 1 }, Instant::now());
        flows.http(&connection, Event::Begin { route, started });
        let latency = Duration::from_millis(7);
        flows.http(&connection, Event::End { route, started, status: 503, latency, request_bytes: 0, response_bytes: 0 });
        counters.add(&flows.drain(started, &HashMap::new()));
        counters.failed(Failure::Handshake);

        let mut registry = Registry::default();
        registry.register_collector(Box::new(counters));
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        let labels = r#"direction="outbound",peer="dst",target_addr="10.0.0.1:80",target_port="80",tls="true",server_id="cart.shop""#;
        for line in [
            format!("request_total{{{labels}}} 1"),
            format!("response_total{{{labels},status_code=\"503\",classification=\"failure\"}} 1"),
            format!("response_latency_ms_bucket{{le=\"5.0\",{labels}}} 0"),
            format!("response_latency_ms_bucket{{le=\"10.0\",{labels}}} 1"),
            format!("response_latency_ms_bucket{{le=\"+Inf\",{labels}}} 1"),
            format!("assent_request_duration_seconds_bucket{{le=\"0.004096\",{labels}}} 0"),
            format!("assent_request_duration_seconds_bucket{{le=\"0.008192\",{labels}}} 1"),
            format!("assent_request_duration_seconds_sum{{{labels}}} 0.007"),
            format!("tcp_open_total{{{labels}}} 1"),
            format!("tcp_open_connections{{{labels}}} 1"),
            "assent_sidecar_failures_total{reason=\"handshake\"} 1".to_owned(),
        ] {
            assert!(out.contains(&line), "`{line}` is not in\n{out}");
        }
    }

    fn scrape(counters: &Arc<Counters>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(counters.clone()));
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        out
    }

    #[test]
    fn connections_are_open_until_they_close_with_or_without_an_error() {
        let (flows, counters) = (Flows::default(), Arc::new(Counters::default()));
        let key = || Key::new(Direction::Inbound, "", ":80");
        let (orderly, mut broken, open) = (flows.open(key(), None), flows.open(key(), None), flows.open(key(), None));
        counters.add(&flows.drain(Instant::now(), &HashMap::new()));
        let labels = r#"direction="inbound",peer="src",target_addr=":80",target_port="80",tls="no_identity""#;
        assert!(scrape(&counters).contains(&format!("tcp_open_connections{{{labels}}} 3")));
        broken.broke(&std::io::ErrorKind::ConnectionReset.into());
        drop((orderly, broken));
        counters.add(&flows.drain(Instant::now(), &HashMap::new()));
        let out = scrape(&counters);
        for line in ["tcp_open_connections{LABELS} 1", "tcp_close_total{LABELS,errno=\"\"} 1", "tcp_close_total{LABELS,errno=\"ECONNRESET\"} 1"] {
            let line = line.replace("LABELS", labels);
            assert!(out.contains(&line), "`{line}` is not in\n{out}");
        }
        drop(open);
    }

    #[test]
    fn however_many_peers_there_are_the_series_are_bounded() {
        let (flows, counters) = (Flows::default(), Arc::new(Counters::default()));
        for round in 0..4 {
            for peer in 0..MAX_FLOWS {
                let peer = format!("peer-{round}-{peer}.shop");
                let connection = flows.open(Key::new(Direction::Inbound, &peer, ":80"), None);
                let (route, started) = (Route { method: "GET", segments: 1 }, Instant::now());
                flows.http(&connection, Event::Begin { route, started });
                flows.http(&connection, Event::End { route, started, status: 200, latency: Duration::ZERO, request_bytes: 0, response_bytes: 0 });
            }
            counters.add(&flows.drain(Instant::now(), &HashMap::new()));
        }
        let out = scrape(&counters);
        for family in ["tcp_open_total{", "request_total{", "tcp_close_total{", "response_total{", "tcp_open_connections{"] {
            let series = out.lines().filter(|line| line.starts_with(family)).count();
            assert!((MAX_FLOWS..=MAX_FLOWS + 2).contains(&series), "{family}: {series}");
        }
        let other = r#"tcp_open_total{direction="inbound",peer="src",target_addr="other",target_port="",tls="no_identity"} "#;
        let others: u64 = out.lines().find_map(|line| line.strip_prefix(other)).and_then(|count| count.parse().ok()).unwrap();
        assert_eq!(others, 3 * MAX_FLOWS as u64, "what has no series of its own is still counted");
    }
}
