//! Wire messages as the observations that `core` knows: bounded, with peers named as workloads.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use assent_api::proto;
use assent_core::canonical::Digest;
use assent_core::ids::UnixMillis;
use assent_core::seats::histogram::Histogram;
use assent_core::seats::{compute, database, network};
use assent_core::target::Service;

use super::{Observation, Speaking};
use crate::pods::Pods;

/// Flows of each kind in a message; a sidecar sends at most as many keys.
const MAX_FLOWS: usize = 1024;
/// Statements of a flow, and errors of a statement, that are read.
const MAX_STATEMENTS: usize = 256;
const MAX_ERRORS: usize = 64;

impl Observation<network::View> for proto::NetworkObservation {
    fn window(&self) -> Option<proto::Window> {
        self.window
    }

    fn enter(self, view: &mut network::View, speaker: &Speaking, window: &proto::Window, pods: &Pods, now: UnixMillis) {
        let requests = self.http.iter().take(MAX_FLOWS).map(|flow| network::Requests {
            identified: !flow.peer.is_empty(),
            inbound: inbound(flow.direction),
            peer: peer(pods, flow.direction, &flow.peer, &flow.destination),
            counts: network::Counts {
                requests: flow.requests,
                success: flow.success.saturating_add(flow.redirect).saturating_add(flow.client_error),
                server_error: flow.server_error,
                no_response: flow.no_response,
                stalled: u64::from(flow.stalled),
                latency: histogram(flow.latency_us.as_ref()),
            },
        });
        let connections = self.tcp.iter().take(MAX_FLOWS).map(|flow| {
            let port = port(&flow.destination);
            network::Connections {
                inbound: inbound(flow.direction),
                peer: peer(pods, flow.direction, &flow.peer, &flow.destination),
                port,
                counts: network::Link {
                    port,
                    opened: flow.opened,
                    connect_failed: flow.connect_failed,
                    sent: flow.bytes_sent,
                    received: flow.bytes_received,
                    retransmits: flow.retransmits,
                    rtt_us: u64::from(flow.rtt_us),
                },
            }
        });
        let observation = network::Observation {
            speaker: speaker.workload.clone(),
            pod: speaker.running.then(|| network::Pod { uid: speaker.uid.clone(), name: speaker.name.clone() }),
            start: UnixMillis(window.start_ms),
            length_ms: window.length_ms,
            requests: requests.collect(),
            connections: connections.collect(),
        };
        view.observe(&observation, now);
    }
}

impl Observation<database::View> for proto::DatabaseObservation {
    fn window(&self) -> Option<proto::Window> {
        self.window
    }

    fn enter(self, view: &mut database::View, speaker: &Speaking, window: &proto::Window, pods: &Pods, now: UnixMillis) {
        let flows = self.flows.iter().take(MAX_FLOWS).map(|flow| database::Flow {
            inbound: inbound(flow.direction),
            peer: peer(pods, flow.direction, &flow.peer, &flow.destination),
            counts: database::Exchanges {
                opened: flow.opened,
                connect_failed: flow.connect_failed,
                exchanges: flow.exchanges,
                stalled: u64::from(flow.stalled),
                resets: flow.resets,
                turnaround: histogram(flow.turnaround_us.as_ref()),
                complaints: complaints(flow),
                idle_in_transaction_us: flow.idle_in_transaction_us,
                statements: statements(flow),
            },
        });
        let observation = database::Observation {
            speaker: speaker.workload.clone(),
            start: UnixMillis(window.start_ms),
            length_ms: window.length_ms,
            flows: flows.collect(),
        };
        view.observe(&observation, now);
    }
}

impl Observation<compute::View> for proto::ComputeObservation {
    fn window(&self) -> Option<proto::Window> {
        self.window
    }

    /// The seat judges by kubelets: a sidecar sees its own container and its node, and neither is the application.
    fn enter(self, _: &mut compute::View, _: &Speaking, _: &proto::Window, _: &Pods, _: UnixMillis) {}
}

/// What the server said is wrong, in refused connections and in answers.
fn complaints(flow: &proto::DatabaseFlow) -> BTreeMap<database::Complaint, u64> {
    use proto::DatabaseTrouble as Wire;
    let mut complaints = BTreeMap::new();
    let errors = flow.statements.iter().take(MAX_STATEMENTS).flat_map(|statement| statement.errors.iter().take(MAX_ERRORS));
    for error in flow.refusals.iter().take(MAX_ERRORS).chain(errors) {
        let complaint = match Wire::try_from(error.trouble) {
            Ok(Wire::TooManyConnections) => database::Complaint::TooManyConnections,
            Ok(Wire::Resources) => database::Complaint::Resources,
            Ok(Wire::Unavailable) => database::Complaint::Unavailable,
            Ok(Wire::ReadOnly) => database::Complaint::ReadOnly,
            Ok(Wire::Authentication) => database::Complaint::Authentication,
            Ok(Wire::Deadlock | Wire::LockTimeout) => database::Complaint::Locks,
            _ => continue,
        };
        let count: &mut u64 = complaints.entry(complaint).or_default();
        *count = count.saturating_add(error.count);
    }
    complaints
}

/// The kinds of statements that took most of the time. Their text is known by its digest only.
fn statements(flow: &proto::DatabaseFlow) -> BTreeMap<u64, database::Durations> {
    let durations = |statement: &proto::DatabaseStatement| {
        let histogram = histogram(statement.duration_us.as_ref());
        (digest(statement), database::Durations { ended: histogram.count(), sum_us: statement.duration_us.as_ref().map_or(0, |wire| wire.sum) })
    };
    let mut all: Vec<(u64, database::Durations)> = flow.statements.iter().take(MAX_STATEMENTS).map(durations).collect();
    all.sort_by_key(|(digest, durations)| (std::cmp::Reverse(durations.sum_us), *digest));
    all.into_iter().take(database::MAX_STATEMENTS).collect()
}

fn digest(statement: &proto::DatabaseStatement) -> u64 {
    let text = format!("{}\u{0}{}\u{0}{}", statement.operation, statement.collection, statement.summary);
    u64::from_str_radix(Digest::of_bytes(text.as_bytes()).as_str().get(..16).unwrap_or_default(), 16).unwrap_or(0)
}

fn inbound(direction: i32) -> bool {
    proto::Direction::try_from(direction) == Ok(proto::Direction::Inbound)
}

/// The workload at the other end. Only an outbound destination says where it is.
fn peer(pods: &Pods, direction: i32, identity: &str, destination: &str) -> Option<Service> {
    pods.peer(identity, if inbound(direction) { None } else { address(destination) })
}

fn address(destination: &str) -> Option<IpAddr> {
    destination.parse::<SocketAddr>().ok().map(|address| address.ip())
}

fn port(destination: &str) -> u16 {
    destination.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
}

fn histogram(wire: Option<&proto::Histogram>) -> Histogram {
    wire.map(|histogram| Histogram::new(&histogram.buckets, histogram.sum)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_as_sidecars_write_them() {
        assert_eq!((port("10.0.0.1:5432"), port(":8080"), port("[::1]:80"), port("other")), (5432, 8080, 80, 0));
        assert_eq!(address("[fd00::1]:80"), Some("fd00::1".parse().unwrap()));
        assert_eq!((address(":8080"), address("other")), (None, None));
    }
}
