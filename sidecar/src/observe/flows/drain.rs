//! Emptying the table at the end of a window: wire messages for the seats, and deltas for the scraped counters.
//!
//! Keys with live connections or unanswered requests stay; all others leave with their counts.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use assent_api::proto;

use super::super::database;
use super::super::histogram::{Histogram, Milliseconds};
use super::{Direction, Errno, Flows, Key, Readings, lock};
use crate::kernel::tcp_info::{Limit, Sample};

/// One window of all flows.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) http: Vec<proto::HttpFlow>,
    pub(crate) tcp: Vec<proto::TcpFlow>,
    pub(crate) database: Vec<proto::DatabaseFlow>,
    /// For the scraped counters, by flow.
    pub(crate) requests: BTreeMap<Key, Requests>,
    /// Connections closed, by flow and by [`Errno`].
    pub(crate) closed: BTreeMap<Key, [u64; Errno::ALL.len()]>,
}

#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) begun: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) latency: Milliseconds,
    pub(crate) duration: Histogram,
}

// === impl Direction ===

impl From<Direction> for proto::Direction {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Inbound => Self::Inbound,
            Direction::Outbound => Self::Outbound,
        }
    }
}

fn wire(direction: Direction) -> i32 {
    proto::Direction::from(direction).into()
}

// === impl Flows ===

impl Flows {
    /// Takes everything counted until `now`, with the kernel's `samples` of the sockets open now.
    pub(crate) fn drain(&self, now: Instant, samples: &HashMap<(SocketAddr, SocketAddr), Sample>) -> Window {
        let mut window = Window::default();
        let mut kernel = self.kernel(samples);
        let mut tables = lock(&self.tables);
        let super::Tables { http, database: databases, tcp, drained } = &mut *tables;
        let window_us = drained.replace(now).map_or(0, |before| now.saturating_duration_since(before).as_micros() as u64);
        http.retain(|(key, route), flow| {
            let requests = window.requests.entry(key.clone()).or_default();
            requests.begun += flow.begun;
            requests.latency.merge(&flow.milliseconds);
            requests.duration.merge(&flow.latency);
            for (status, count) in &flow.statuses {
                *requests.statuses.entry(*status).or_default() += count;
            }
            let (pending, answering) = (std::mem::take(&mut flow.pending), std::mem::take(&mut flow.answering));
            let [informational, success, redirect, client_error, server_error] = flow.classes;
            window.http.push(proto::HttpFlow {
                direction: wire(key.direction),
                peer: key.peer.to_string(),
                destination: key.destination.to_string(),
                route_class: route.map_or_else(|| super::OTHER.to_owned(), |route| route.to_string()),
                requests: flow.begun,
                informational,
                success,
                redirect,
                client_error,
                server_error,
                no_response: flow.no_response,
                in_flight: pending.all(),
                stalled: pending.stalled(now),
                latency_us: flow.latency.wire(),
                request_bytes: flow.request_bytes,
                response_bytes: flow.response_bytes,
            });
            *flow = super::HttpFlow { pending, answering, ..Default::default() };
            !flow.pending.is_empty() || !flow.answering.is_empty()
        });
        let mut seen_databases = std::mem::take(databases);
        tcp.retain(|key, counters| {
            let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
            let closed = counters.closed.each_ref().map(take);
            window.closed.insert(key.clone(), closed);
            let alive = kernel.remove(key).unwrap_or_default();
            let ended = std::mem::take(&mut *lock(&counters.ended));
            let mut sample = alive.worst;
            sample.join(&ended.worst);
            let busy = alive.connections.saturating_add(ended.connections);
            let split = sample.counts.split();
            let flow = proto::TcpFlow {
                direction: wire(key.direction),
                peer: key.peer.to_string(),
                destination: key.destination.to_string(),
                opened: take(&counters.opened),
                closed: closed.iter().sum(),
                connect_failed: take(&counters.connect_failed),
                bytes_sent: take(&counters.sent),
                bytes_received: take(&counters.received),
                connections: alive.connections,
                rtt_us: sample.rtt_us,
                min_rtt_us: sample.min_rtt_us,
                retransmits: sample.counts.retransmits,
                lost: u64::from(sample.lost),
                receiver_limited_us: split.receiver_us,
                sender_limited_us: split.sender_us,
                rtt_variation_us: sample.rtt_variation_us,
                retransmitted_bytes: sample.counts.retransmitted_bytes,
                delivery_rate: sample.delivery_rate,
                not_sent: sample.not_sent,
                busy_us: sample.counts.busy_us,
                network_limited_us: split.network_us,
                limit: match sample.counts.limit(busy, window_us) {
                    Limit::None => proto::TcpLimit::None,
                    Limit::Network => proto::TcpLimit::Network,
                    Limit::Receiver => proto::TcpLimit::Receiver,
                    Limit::Sender => proto::TcpLimit::Sender,
                }
                .into(),
            };
            if let Some(system) = key.port().and_then(database) {
                let seen = seen_databases.remove(key).unwrap_or_default();
                let mut database = proto::DatabaseFlow {
                    direction: flow.direction,
                    system: system.to_owned(),
                    peer: flow.peer.clone(),
                    destination: flow.destination.clone(),
                    opened: flow.opened,
                    connect_failed: flow.connect_failed,
                    exchanges: seen.exchanges,
                    in_flight: seen.pending.all(),
                    stalled: seen.pending.stalled(now),
                    turnaround_us: seen.turnaround.wire(),
                    bytes_sent: flow.bytes_sent,
                    bytes_received: flow.bytes_received,
                    resets: seen.resets,
                    ..Default::default()
                };
                seen.sessions.write(&mut database);
                window.database.push(database);
                if !seen.pending.is_empty() {
                    let kept = super::DatabaseFlow { pending: seen.pending, ..Default::default() };
                    databases.insert(key.clone(), kept);
                }
            }
            window.tcp.push(flow);
            // The table's own reference is the only one left: no connection is alive.
            Arc::strong_count(counters) > 1
        });
        window
    }

    /// Samples of the connections alive, by flow.
    fn kernel(&self, samples: &HashMap<(SocketAddr, SocketAddr), Sample>) -> HashMap<Key, Readings> {
        let mut flows: HashMap<Key, Readings> = HashMap::new();
        for (addresses, socket) in lock(&self.sockets).iter_mut() {
            let flow = flows.entry(socket.key.clone()).or_default();
            match samples.get(addresses) {
                Some(sample) => flow.add(*sample, &mut socket.last),
                None => flow.connections = flow.connections.saturating_add(1),
            }
        }
        flows
    }
}
