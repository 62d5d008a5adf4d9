//! Sends each window of observations to the seats, and keeps those that a seat has not acknowledged.
//!
//! Every seat has its own bounded ring and its own stream: network, database and compute see their class and nothing else.
//! While a seat is away its ring drops the oldest window and counts it; what is left is sent again later, with its original
//! times. Nothing here can slow the byte path down.

mod sender;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use assent_api::proto;
use tokio::time::MissedTickBehavior;

use crate::kernel::census::{self, Census};
use crate::kernel::{Compute, Look, Signals};
use crate::metrics::Counters;
use crate::observe::flows::{Direction, Flows};

pub(crate) use sender::{Outbox, Seat, send};

/// The seats that observations go to, in the order of their counters.
pub(crate) const SEATS: [&str; 3] = ["network", "database", "compute"];
/// Windows kept for a seat that is away: nearly nine minutes at two seconds each.
pub(crate) const RING: usize = 256;

/// One outbox for each configured seat.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outboxes {
    pub(crate) network: Option<Arc<Outbox<proto::NetworkObservation>>>,
    pub(crate) database: Option<Arc<Outbox<proto::DatabaseObservation>>>,
    pub(crate) compute: Option<Arc<Outbox<proto::ComputeObservation>>>,
}

/// Closes a window every `length`, for ever.
pub(crate) async fn observe(flows: Arc<Flows>, counters: Arc<Counters>, outboxes: Outboxes, mut signals: Signals, length: Duration) {
    let mut ticks = tokio::time::interval(length);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let (mut began, mut start) = (SystemTime::now(), Instant::now());
    loop {
        ticks.tick().await;
        // Short, and on the control thread.
        let look = signals.look();
        let now = Instant::now();
        let window = flows.drain(now, &look.samples);
        counters.add(&window);
        counters.looked(&look);
        let Look { census, tcp: pod, compute, .. } = look;
        let head = |outbox: u64, dropped: u64| proto::Window {
            sequence: outbox,
            start_ms: began.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX)),
            length_ms: u32::try_from(now.duration_since(start).as_millis()).unwrap_or(u32::MAX),
            dropped,
        };
        if let Some(outbox) = &outboxes.network {
            let (http, tcp) = (window.http, window.tcp);
            let sockets = census.as_ref().map(proto::PodSockets::from);
            let listeners = census.map(|census| census.listeners.iter().map(proto::Listener::from).collect()).unwrap_or_default();
            outbox.push(|sequence, dropped| proto::NetworkObservation { window: Some(head(sequence, dropped)), http, tcp, pod, sockets, listeners });
            counters.lost_windows(0, outbox.dropped());
        }
        if let Some(outbox) = &outboxes.database {
            let flows = window.database;
            outbox.push(|sequence, dropped| proto::DatabaseObservation { window: Some(head(sequence, dropped)), flows });
            counters.lost_windows(1, outbox.dropped());
        }
        if let Some(outbox) = &outboxes.compute {
            outbox.push(|sequence, dropped| observation(head(sequence, dropped), &compute));
            counters.lost_windows(2, outbox.dropped());
        }
        (began, start) = (SystemTime::now(), now);
    }
}

fn observation(window: proto::Window, compute: &Compute) -> proto::ComputeObservation {
    let [node_cpu, node_memory, node_io] = compute.node_pressure.map(Option::unwrap_or_default);
    let [own_cpu, own_memory, own_io] = compute.own_pressure.map(Option::unwrap_or_default);
    proto::ComputeObservation {
        window: Some(window),
        node_cpu_some_avg10: node_cpu,
        node_memory_some_avg10: node_memory,
        node_io_some_avg10: node_io,
        own_run_delay_us: compute.run_delay_us,
        own_throttled_us: compute.throttled_us,
        own_throttled_periods: compute.throttled_periods,
        own_memory_bytes: compute.memory,
        own_memory_limit_bytes: compute.memory_limit,
        own_memory_reclaims: compute.memory_reclaims,
        own_oom_kills: compute.oom_kills,
        own_cpu_some_avg10: own_cpu,
        own_memory_some_avg10: own_memory,
        own_io_some_avg10: own_io,
    }
}

// === impl PodSockets ===

impl From<&Census> for proto::PodSockets {
    fn from(census: &Census) -> Self {
        let bypass = |(&(direction, port), &connections): (&(Direction, u16), &u32)| proto::Bypass {
            direction: proto::Direction::from(direction).into(),
            port: u32::from(port),
            connections,
        };
        Self {
            proxied: census.proxied,
            bypass: census.bypass,
            skipped: census.skipped,
            local: census.local,
            bypasses: census.bypasses.iter().map(bypass).collect(),
            truncated: census.truncated,
        }
    }
}

impl From<&census::Listener> for proto::Listener {
    fn from(listener: &census::Listener) -> Self {
        Self { port: u32::from(listener.address.port()), waiting: listener.waiting, limit: listener.limit, own: listener.own }
    }
}
