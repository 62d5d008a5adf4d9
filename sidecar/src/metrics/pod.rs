//! What the kernel's signals add to the scraped page: ways of the pod's connections, accept queues, counters, pressure.
//!
//! Ports are told apart in the order in which they first mattered, a bounded number of them; those are shown from then on,
//! also at 0, and all others share the label `other`. What speaks of the node says so in its label.

use std::collections::BTreeMap;
use std::fmt;

use assent_api::proto;
use assent_runtime::metrics::encoding::{DescriptorEncoder, MetricEncoder};
use assent_runtime::metrics::metrics::MetricType;

use super::{Flow, Labels, count, labels};
use crate::kernel::census::Census;
use crate::kernel::{Compute, Look};
use crate::observe::flows::{Direction, Key};

/// Ports told apart, of listeners and of bypassing connections in each direction.
const MAX_PORTS: usize = 32;

/// The last look, and sums since the start.
#[derive(Debug, Default)]
pub(super) struct Pod {
    connections: [u32; 4],
    truncated: bool,
    /// By direction and port; 0 is `other`.
    bypasses: BTreeMap<(Direction, u16), u32>,
    listeners: BTreeMap<u16, Queue>,
    tcp: proto::NamespaceTcp,
    compute: Compute,
}

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    waiting: u32,
    limit: u32,
    full: u64,
}

/// Name, description and value of a gauge of each listener.
type Figure = (&'static str, &'static str, fn(&Queue) -> u32);
type Event = (&'static str, fn(&proto::NamespaceTcp) -> u64);

/// Label and value of each counter of the namespace.
const EVENTS: [Event; 11] = [
    ("opened", |tcp| tcp.opened),
    ("accepted", |tcp| tcp.accepted),
    ("retransmitted_segments", |tcp| tcp.retransmitted_segments),
    ("timeouts", |tcp| tcp.timeouts),
    ("unanswered_requests", |tcp| tcp.unanswered_requests),
    ("attempt_failures", |tcp| tcp.attempt_failures),
    ("given_up", |tcp| tcp.given_up),
    ("resets_sent", |tcp| tcp.resets_sent),
    ("established_resets", |tcp| tcp.established_resets),
    ("listen_overflows", |tcp| tcp.listen_overflows),
    ("listen_drops", |tcp| tcp.listen_drops),
];

// === impl Pod ===

impl Pod {
    pub(super) fn add(&mut self, look: &Look) {
        match &look.census {
            Some(census) => self.sockets(census),
            None => self.sockets(&Census::default()),
        }
        if let Some(tcp) = &look.tcp {
            let sum = |value: fn(&proto::NamespaceTcp) -> u64| value(&self.tcp).saturating_add(value(tcp));
            self.tcp = proto::NamespaceTcp {
                retransmitted_segments: sum(|tcp| tcp.retransmitted_segments),
                attempt_failures: sum(|tcp| tcp.attempt_failures),
                listen_overflows: sum(|tcp| tcp.listen_overflows),
                resets_sent: sum(|tcp| tcp.resets_sent),
                established_resets: sum(|tcp| tcp.established_resets),
                opened: sum(|tcp| tcp.opened),
                accepted: sum(|tcp| tcp.accepted),
                listen_drops: sum(|tcp| tcp.listen_drops),
                timeouts: sum(|tcp| tcp.timeouts),
                unanswered_requests: sum(|tcp| tcp.unanswered_requests),
                given_up: sum(|tcp| tcp.given_up),
                sockets: tcp.sockets,
                time_wait: tcp.time_wait,
            };
        }
        let (sums, now) = (&self.compute, &look.compute);
        self.compute = Compute {
            run_delay_us: sums.run_delay_us.saturating_add(now.run_delay_us),
            throttled_us: sums.throttled_us.saturating_add(now.throttled_us),
            throttled_periods: sums.throttled_periods.saturating_add(now.throttled_periods),
            memory_reclaims: sums.memory_reclaims.saturating_add(now.memory_reclaims),
            oom_kills: sums.oom_kills.saturating_add(now.oom_kills),
            ..*now
        };
    }

    fn sockets(&mut self, census: &Census) {
        self.connections = [census.proxied, census.bypass, census.skipped, census.local];
        self.truncated = census.truncated;
        self.bypasses.values_mut().for_each(|connections| *connections = 0);
        for (&(direction, port), connections) in &census.bypasses {
            let told = self.bypasses.keys().filter(|(other, port)| *other == direction && *port != 0).count();
            let known = told < MAX_PORTS || self.bypasses.contains_key(&(direction, port));
            *self.bypasses.entry((direction, if known { port } else { 0 })).or_default() += connections;
        }
        self.listeners.values_mut().for_each(|queue| *queue = Queue { full: queue.full, ..Queue::default() });
        for listener in &census.listeners {
            let port = listener.address.port();
            let told = self.listeners.keys().filter(|port| **port != 0).count();
            let known = told < MAX_PORTS || self.listeners.contains_key(&port);
            let queue = self.listeners.entry(if known { port } else { 0 }).or_default();
            // The fullest come first: of several listeners behind one label the first is shown.
            if queue.limit == 0 {
                (queue.waiting, queue.limit) = (listener.waiting, listener.limit);
            }
            queue.full += u64::from(listener.is_full());
        }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Open connections of the pod's applications by the way they take";
        let mut family = encoder.encode_descriptor("assent_pod_connections", help, None, MetricType::Gauge)?;
        for (way, connections) in ["proxied", "bypass", "skipped", "local"].into_iter().zip(self.connections) {
            gauge(&mut family, &vec![("way", way.to_owned())], connections)?;
        }
        let help = "Open connections to or from other hosts that go around the sidecar and were not asked to, by the server's port";
        let mut family = encoder.encode_descriptor("assent_pod_bypass_connections", help, None, MetricType::Gauge)?;
        for ((direction, port), connections) in &self.bypasses {
            let direction = if *direction == Direction::Inbound { "inbound" } else { "outbound" };
            gauge(&mut family, &vec![("direction", direction.to_owned()), ("port", label(*port))], *connections)?;
        }
        let help = "1 when the pod has more sockets than are looked at, so that nothing is known to bypass";
        encoder.encode_descriptor("assent_pod_sockets_truncated", help, None, MetricType::Gauge)?.encode_gauge(&i64::from(self.truncated))?;
        let queues: [Figure; 2] = [
            ("assent_pod_accept_queue", "Connections that wait to be accepted", |queue| queue.waiting),
            ("assent_pod_accept_queue_limit", "Above it the kernel drops further ones", |queue| queue.limit),
        ];
        for (name, help, value) in queues {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (port, queue) in &self.listeners {
                gauge(&mut family, &vec![("port", label(*port))], value(queue))?;
            }
        }
        let help = "Windows at whose end the accept queue was over its limit";
        let mut family = encoder.encode_descriptor("assent_pod_accept_queue_full", help, None, MetricType::Counter)?;
        for (port, queue) in &self.listeners {
            count(&mut family, &vec![("port", label(*port))], queue.full)?;
        }
        let help = "TCP events of the pod's network namespace, the sidecar's own included";
        let mut family = encoder.encode_descriptor("assent_pod_tcp_events", help, None, MetricType::Counter)?;
        for (event, value) in EVENTS {
            count(&mut family, &vec![("event", event.to_owned())], value(&self.tcp))?;
        }
        let mut family = encoder.encode_descriptor("assent_pod_sockets", "TCP sockets of the pod", None, MetricType::Gauge)?;
        for (state, sockets) in [("in_use", self.tcp.sockets), ("time_wait", self.tcp.time_wait)] {
            gauge(&mut family, &vec![("state", state.to_owned())], sockets)?;
        }
        self.compute(encoder)
    }

    fn compute(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let compute = &self.compute;
        let help = "Share of the last ten seconds in which some task waited: of the whole node, or of the sidecar's own container";
        let mut family = encoder.encode_descriptor("assent_pressure_ratio", help, None, MetricType::Gauge)?;
        for (scope, pressure) in [("node", compute.node_pressure), ("sidecar", compute.own_pressure)] {
            for (resource, share) in ["cpu", "memory", "io"].into_iter().zip(pressure) {
                let Some(share) = share else { continue };
                let labels: Labels = vec![("scope", scope.to_owned()), ("resource", resource.to_owned())];
                family.encode_family(&labels)?.encode_gauge(&(f64::from(share) / 1e6))?;
            }
        }
        let seconds = [
            ("assent_sidecar_run_delay_seconds", "Time that the sidecar's control thread was ready to run and did not", compute.run_delay_us),
            ("assent_sidecar_throttled_seconds", "Time that the sidecar's own container was throttled", compute.throttled_us),
        ];
        for (name, help, time) in seconds {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            family.encode_counter::<[(&str, &str); 0], f64, u64>(&(time as f64 / 1e6), None)?;
        }
        let help = "Periods in which the sidecar's own container was throttled";
        let mut family = encoder.encode_descriptor("assent_sidecar_throttled_periods", help, None, MetricType::Counter)?;
        family.encode_counter::<[(&str, &str); 0], u64, u64>(&compute.throttled_periods, None)?;
        let help = "Memory of the sidecar's own container, and its limit where there is one";
        let mut family = encoder.encode_descriptor("assent_sidecar_memory_bytes", help, None, MetricType::Gauge)?;
        for (kind, bytes) in [("used", compute.memory), ("limit", compute.memory_limit)].into_iter().filter(|(_, bytes)| *bytes > 0) {
            gauge(&mut family, &vec![("kind", kind.to_owned())], bytes)?;
        }
        let help = "Times that memory of the sidecar's own container was reclaimed at a limit, or a process killed";
        let mut family = encoder.encode_descriptor("assent_sidecar_memory_events", help, None, MetricType::Counter)?;
        for (event, times) in [("reclaim", compute.memory_reclaims), ("oom_kill", compute.oom_kills)] {
            count(&mut family, &vec![("event", event.to_owned())], times)?;
        }
        Ok(())
    }
}

/// Busy time of flows by what took it, and their round trips.
pub(super) fn limited(encoder: &mut DescriptorEncoder<'_>, flows: &BTreeMap<Key, Flow>) -> fmt::Result {
    let help = "Time that connections had something to send, by what took it";
    let mut family = encoder.encode_descriptor("tcp_limited_seconds", help, None, MetricType::Counter)?;
    for (key, flow) in flows {
        let split = [("network", flow.split.network_us), ("receiver", flow.split.receiver_us), ("sender", flow.split.sender_us)];
        for (limit, time) in split.into_iter().filter(|(_, time)| *time > 0) {
            let mut labels = labels(key);
            labels.push(("limit", limit.to_owned()));
            family.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], f64, u64>(&(time as f64 / 1e6), None)?;
        }
    }
    let mut family = encoder.encode_descriptor("tcp_rtt_seconds", "Longest smoothed round trip when last seen", None, MetricType::Gauge)?;
    for (key, flow) in flows.iter().filter(|(_, flow)| flow.rtt_us > 0) {
        family.encode_family(&labels(key))?.encode_gauge(&(f64::from(flow.rtt_us) / 1e6))?;
    }
    Ok(())
}

fn gauge(family: &mut MetricEncoder<'_>, labels: &Labels, value: impl TryInto<i64>) -> fmt::Result {
    family.encode_family(labels)?.encode_gauge(&value.try_into().unwrap_or(i64::MAX))
}

fn label(port: u16) -> String {
    if port == 0 { "other".to_owned() } else { port.to_string() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use assent_runtime::metrics::{encoding::text, registry::Registry};

    use super::*;
    use crate::kernel::census::Listener;
    use crate::metrics::Counters;

    fn page(counters: &Arc<Counters>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(counters.clone()));
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        out
    }

    fn listener(port: u16, waiting: u32) -> Listener {
        Listener { address: ([0, 0, 0, 0], port).into(), waiting, limit: 10, own: false }
    }

    #[test]
    fn shows_the_alarm_the_queues_and_whose_pressure_it_is() {
        let counters = Arc::new(Counters::default());
        let census = Census {
            proxied: 5,
            bypass: 2,
            bypasses: BTreeMap::from([((Direction::Outbound, 443), 2)]),
            listeners: vec![listener(8080, 11), listener(9090, 0)],
            ..Census::default()
        };
        let compute = Compute { node_pressure: [Some(250_000), None, None], throttled_us: 1_500_000, memory: 4096, oom_kills: 1, ..Compute::default() };
        let tcp = proto::NamespaceTcp { listen_overflows: 3, sockets: 9, ..Default::default() };
        counters.looked(&Look { census: Some(census), tcp: Some(tcp), compute, ..Look::default() });
        counters.looked(&Look { census: Some(Census::default()), tcp: Some(tcp), compute, ..Look::default() });
        let out = page(&counters);
        for line in [
            "assent_pod_connections{way=\"bypass\"} 0",
            "assent_pod_bypass_connections{direction=\"outbound\",port=\"443\"} 0",
            "assent_pod_accept_queue_full_total{port=\"8080\"} 1",
            "assent_pod_accept_queue_full_total{port=\"9090\"} 0",
            "assent_pod_tcp_events_total{event=\"listen_overflows\"} 6",
            "assent_pod_sockets{state=\"in_use\"} 9",
            "assent_pressure_ratio{scope=\"node\",resource=\"cpu\"} 0.25",
            "assent_sidecar_throttled_seconds_total 3.0",
            "assent_sidecar_memory_bytes{kind=\"used\"} 4096",
            "assent_sidecar_memory_events_total{event=\"oom_kill\"} 2",
        ] {
            assert!(out.contains(line), "`{line}` is not in\n{out}");
        }
        for absent in ["scope=\"sidecar\"", "kind=\"limit\""] {
            assert!(!out.contains(absent), "`{absent}` is in\n{out}");
        }
    }

    #[test]
    fn ports_are_bounded_and_the_rest_is_other() {
        let counters = Arc::new(Counters::default());
        for first in (1..2000u16).step_by(20) {
            let ports = first..first + 20;
            let bypasses = ports.clone().map(|port| ((Direction::Inbound, port), 1)).collect();
            let listeners = ports.map(|port| listener(port, 11)).collect();
            counters.looked(&Look { census: Some(Census { bypasses, listeners, ..Census::default() }), ..Look::default() });
        }
        let out = page(&counters);
        let series = |family: &str| out.lines().filter(|line| line.starts_with(family)).count();
        for family in ["assent_pod_bypass_connections{", "assent_pod_accept_queue{", "assent_pod_accept_queue_full_total{"] {
            assert_eq!(series(family), MAX_PORTS + 1, "{family}\n{out}");
        }
        assert!(out.contains("assent_pod_bypass_connections{direction=\"inbound\",port=\"other\"} 20"), "{out}");
        assert!(out.contains("assent_pod_bypass_connections{direction=\"inbound\",port=\"1\"} 0"), "{out}");
    }
}
