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

use crate::kernel::{self, Roots, sock_diag};
use crate::metrics::Counters;
use crate::observe::flows::Flows;

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
pub(crate) async fn observe(flows: Arc<Flows>, counters: Arc<Counters>, outboxes: Outboxes, roots: Roots, length: Duration) {
    let mut ticks = tokio::time::interval(length);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut before = roots.counters();
    let (mut began, mut start) = (SystemTime::now(), Instant::now());
    loop {
        ticks.tick().await;
        // One exchange with the kernel and a handful of small files: short, and on the control thread.
        let samples = sock_diag::dump().unwrap_or_else(|error| {
            tracing::debug!(%error, "the kernel's socket counters are not available");
            Default::default()
        });
        let now = Instant::now();
        let window = flows.drain(now, &samples);
        let counted = roots.counters();
        counters.add(&window);
        let head = |outbox: u64, dropped: u64| proto::Window {
            sequence: outbox,
            start_ms: began.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX)),
            length_ms: u32::try_from(now.duration_since(start).as_millis()).unwrap_or(u32::MAX),
            dropped,
        };
        if let Some(outbox) = &outboxes.network {
            let pod = counted.tcp_since(&before);
            let (http, tcp) = (window.http, window.tcp);
            outbox.push(|sequence, dropped| proto::NetworkObservation { window: Some(head(sequence, dropped)), http, tcp, pod });
            counters.lost_windows(0, outbox.dropped());
        }
        if let Some(outbox) = &outboxes.database {
            let flows = window.database;
            outbox.push(|sequence, dropped| proto::DatabaseObservation { window: Some(head(sequence, dropped)), flows });
            counters.lost_windows(1, outbox.dropped());
        }
        if let Some(outbox) = &outboxes.compute {
            let [cpu, memory, io] = roots.pressure();
            outbox.push(|sequence, dropped| proto::ComputeObservation {
                window: Some(head(sequence, dropped)),
                node_cpu_some_avg10: cpu,
                node_memory_some_avg10: memory,
                node_io_some_avg10: io,
                own_run_delay_us: kernel::since(counted.run_delay_us, before.run_delay_us),
                own_throttled_us: kernel::since(counted.throttled_us, before.throttled_us),
            });
            counters.lost_windows(2, outbox.dropped());
        }
        before = counted;
        (began, start) = (SystemTime::now(), now);
    }
}
