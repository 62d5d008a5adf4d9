//! What is scraped of policies: connections let in, refused and cut, by the names and labels that Linkerd's dashboards read,
//! and how current the policies are.
//!
//! Series are bounded; what is beyond shares those of port and client `other`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use assent_runtime::metrics::collector::Collector;
use assent_runtime::metrics::encoding::{DescriptorEncoder, MetricEncoder};
use assent_runtime::metrics::metrics::MetricType;
use tokio::time::Instant;

use super::Policies;
use super::decision::{Authorization, Cause, Client, Labels, Peer, Policy};

/// Series of each family, at most.
const MAX_SERIES: usize = 256;
const OTHER: &str = "other";

/// Counts of this process.
#[derive(Debug, Default)]
pub(super) struct Counts {
    series: Mutex<BTreeMap<Key, u64>>,
    unread: AtomicU64,
    unwritten: AtomicU64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    outcome: Outcome,
    /// None stands for all others.
    port: Option<u16>,
    /// None where no policy was known.
    server: Option<Labels>,
    tls: bool,
    client: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// By this authorization, unless there was no policy.
    Allowed(Option<Labels>),
    Denied(Cause),
    Terminated(Cause),
}

type Series = Vec<(&'static str, String)>;

// === impl Counts ===

impl Counts {
    /// A client was let in; without an authorization where there was no policy.
    pub(super) fn allowed(&self, port: u16, policy: Option<&Policy>, authorization: Option<&Authorization>, client: &Client) {
        let outcome = Outcome::Allowed(authorization.map(|authorization| authorization.labels.clone()));
        self.count(Key::new(outcome, port, policy, client));
    }

    /// A client was refused.
    pub(super) fn denied(&self, port: u16, policy: &Policy, client: &Client, cause: Cause) {
        self.count(Key::new(Outcome::Denied(cause), port, Some(policy), client));
    }

    /// An open connection was cut.
    pub(super) fn terminated(&self, port: u16, policy: &Policy, client: &Client, cause: Cause) {
        self.count(Key::new(Outcome::Terminated(cause), port, Some(policy), client));
    }

    pub(super) fn not_read(&self) {
        self.unread.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn not_written(&self) {
        self.unwritten.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, key: Key) {
        let mut series = self.series();
        let known = series.len() < MAX_SERIES || series.contains_key(&key);
        let key = if known { key } else { key.other() };
        *series.entry(key).or_default() += 1;
    }

    fn series(&self) -> MutexGuard<'_, BTreeMap<Key, u64>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Key ===

impl Key {
    fn new(outcome: Outcome, port: u16, policy: Option<&Policy>, client: &Client) -> Self {
        let (tls, client) = match &client.peer {
            Peer::Plain => (false, String::new()),
            Peer::Anonymous => (true, String::new()),
            Peer::Named(name) => (true, name.to_string()),
        };
        Self { outcome, port: Some(port), server: policy.map(|policy| policy.labels.clone()), tls, client }
    }

    /// The key of all that are not told apart: how many of these there are does not depend on the clients.
    fn other(self) -> Self {
        let client = if self.client.is_empty() { String::new() } else { OTHER.to_owned() };
        Self { port: None, server: None, client, outcome: self.outcome.other(), ..self }
    }

    fn labels(&self) -> Series {
        let absent = if self.port.is_some() { "unanswered" } else { OTHER };
        let [group, kind, name] = described(self.server.as_ref(), absent);
        let port = self.port.map_or_else(|| OTHER.to_owned(), |port| port.to_string());
        let mut labels = vec![("srv_group", group), ("srv_kind", kind), ("srv_name", name), ("srv_port", port)];
        match &self.outcome {
            Outcome::Allowed(authorization) => {
                let [group, kind, name] = described(authorization.as_ref(), absent);
                labels.extend([("authz_group", group), ("authz_kind", kind), ("authz_name", name)]);
            }
            Outcome::Denied(cause) | Outcome::Terminated(cause) => labels.push(("cause", cause.as_str().to_owned())),
        }
        if self.tls {
            labels.extend([("tls", "true".to_owned()), ("client_id", self.client.clone())]);
        } else {
            labels.extend([("tls", "no_identity".to_owned()), ("no_tls_reason", "no_tls_from_remote".to_owned())]);
        }
        labels
    }
}

// === impl Outcome ===

impl Outcome {
    fn other(self) -> Self {
        match self {
            Self::Allowed(_) => Self::Allowed(None),
            Self::Denied(_) | Self::Terminated(_) => self,
        }
    }

    fn family(&self) -> usize {
        match self {
            Self::Allowed(_) => 0,
            Self::Denied(_) => 1,
            Self::Terminated(_) => 2,
        }
    }
}

fn described(labels: Option<&Labels>, absent: &str) -> [String; 3] {
    match labels {
        Some(labels) => [labels.group(), labels.kind(), labels.name()].map(str::to_owned),
        None => ["", "default", absent].map(str::to_owned),
    }
}

impl Collector for Policies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families = [
            ("inbound_tcp_authz_allow", "Connections to the pod that were let in"),
            ("inbound_tcp_authz_deny", "Connections to the pod that were refused"),
            ("inbound_tcp_authz_terminate", "Connections to the pod that were cut because who may connect has changed"),
        ];
        let series = self.counts.series().clone();
        for (number, (name, help)) in families.into_iter().enumerate() {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (key, count) in series.iter().filter(|(key, _)| key.outcome.family() == number) {
                counter(&mut family.encode_family(&key.labels())?, *count)?;
            }
        }
        let (unanswered, restored, stale, ports) = {
            let state = self.state();
            let known = state.pod.known.as_ref();
            (known.is_none(), known.is_some_and(|known| known.restored), state.stale(Instant::now()), state.ports.len())
        };
        let gauges = [
            ("assent_policy_unanswered", "1 while no policy is known and everybody is let in", f64::from(u8::from(unanswered))),
            ("assent_policy_restored", "1 while the policy is from before a restart and not confirmed since", f64::from(u8::from(restored))),
            ("assent_policy_stale_seconds", "Seconds for which the controller of policies has not been there; 0 while it is", stale.as_secs_f64()),
            ("assent_policy_ports", "Ports with a policy of their own", ports as f64),
        ];
        for (name, help, value) in gauges {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        let help = "Times that policies could not be read from or written to the state directory";
        let mut family = encoder.encode_descriptor("assent_policy_state_failures", help, None, MetricType::Counter)?;
        for (operation, count) in [("read", &self.counts.unread), ("write", &self.counts.unwritten)] {
            counter(&mut family.encode_family(&[("operation", operation)])?, count.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

fn counter(family: &mut MetricEncoder<'_>, value: u64) -> fmt::Result {
    family.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_bounded_whoever_comes_to_whichever_port() {
        let counts = Counts::default();
        let policy = Policy { labels: Labels::new("", "default", "test"), authorizations: Vec::new() };
        for port in 0..2000 {
            let name = format!("a{port}.shop.serviceaccount.identity.assent-system.cluster.local").parse().unwrap();
            for peer in [Peer::Plain, Peer::Anonymous, Peer::Named(name)] {
                let client = Client { peer, address: "10.0.0.1".parse().unwrap() };
                counts.allowed(port, None, None, &client);
                counts.denied(port, &policy, &client, Cause::Identity);
            }
        }
        let series = counts.series();
        assert!(series.len() <= MAX_SERIES + 6, "{}", series.len());
        assert_eq!(series.values().sum::<u64>(), 2000 * 6);
        let other = series.keys().find(|key| key.port.is_none() && key.client == OTHER).unwrap();
        assert!(other.labels().contains(&("client_id", "other".to_owned())), "{:?}", other.labels());
    }
}
