//! Keeps the policies on a memory-backed volume, so that a sidecar restarted while the controller is away refuses whom its
//! predecessor refused.
//!
//! ```text
//!   assent-policy 1 <sum of the rest, 16 hexadecimal digits>\n  <protobuf: each policy as it was told, and when>
//! ```
//! Written a moment after a change and once a minute. Ports of which nothing else was said than of the pod are left out.
//! Age is no reason not to use it: the alternative is to let in everybody.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use assent_runtime::telemetry;
use linkerd2_proxy_api::inbound::Server;
use prost::Message;
use tokio::time::Instant;

use super::{Known, MAX_PORTS, Policies, Port, wire};
use crate::kept::{self, sum};

const FILE: &str = "policy";
const HEADER: &str = "assent-policy 1 ";
/// Header, sum and the end of the line.
const HEAD: usize = HEADER.len() + 16 + 1;
/// Room for the pod's policy and some more; two of these fit the volume beside everything else on it.
const MAX_BYTES: usize = 192 * 1024;
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Why a kept file was not used.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("read the kept policies")]
    File(#[source] kept::Error),
    #[error("the kept policies are damaged or of another format")]
    Format,
    #[error("understand the kept policies")]
    Decode(#[source] prost::DecodeError),
}

#[derive(Clone, PartialEq, Message)]
struct Saved {
    /// When the controller was last there, in seconds of the Unix epoch.
    #[prost(uint64, tag = "1")]
    heard: u64,
    #[prost(message, optional, tag = "2")]
    pod: Option<Server>,
    #[prost(message, repeated, tag = "3")]
    ports: Vec<SavedPort>,
}

#[derive(Clone, PartialEq, Message)]
struct SavedPort {
    #[prost(uint32, tag = "1")]
    port: u32,
    #[prost(message, optional, tag = "2")]
    server: Option<Server>,
}

/// Writes what `policies` knows to `state` whenever it changes, for ever.
pub(crate) async fn keep(policies: Arc<Policies>, state: PathBuf) {
    let content = || {
        let saved = policies.saved(SystemTime::now());
        // Nothing was ever said, and an earlier process's file may be worth more.
        saved.pod.is_some().then(|| encode(&saved))
    };
    let failed = |error: &std::io::Error| {
        policies.counts.not_written();
        tracing::warn!(error = telemetry::chain(error), "who may connect cannot be kept over a restart");
    };
    kept::keep(state, FILE, DEBOUNCE, policies.version.subscribe(), content, failed).await;
}

// === impl Policies ===

impl Policies {
    /// Takes up what an earlier process kept in `state`.
    pub(crate) fn restore_from(self: &Arc<Self>, state: &Path) {
        match load(state) {
            Ok(None) => {}
            Ok(Some(saved)) => {
                let heard = SystemTime::UNIX_EPOCH + Duration::from_secs(saved.heard.min(u64::from(u32::MAX)));
                // A clock that was set back makes it young, not unusable.
                let age = SystemTime::now().duration_since(heard).unwrap_or_default();
                tracing::info!(age_seconds = age.as_secs(), ports = saved.ports.len(), "judging clients as before the restart until the controller answers");
                self.restore(saved, age);
            }
            Err(error) => {
                self.counts.not_read();
                tracing::warn!(error = telemetry::chain(&error), "who could connect before the restart is not known");
            }
        }
    }

    fn restore(self: &Arc<Self>, saved: Saved, age: Duration) {
        let now = Instant::now();
        let known = |server: Server| Known { policy: Arc::new(wire::policy(&server, &self.gateways)), server, restored: true };
        let mut state = self.state();
        state.pod.known = saved.pod.map(known);
        (state.heard, state.before) = (now, age);
        for SavedPort { port, server } in saved.ports.into_iter().take(MAX_PORTS) {
            let (Ok(port), Some(server)) = (u16::try_from(port), server) else { continue };
            state.ports.insert(port, Port { known: Some(known(server)), used: now, connections: 0, _watching: Some(self.watched(port)) });
        }
        drop(state);
        self.version.send_modify(|version| *version += 1);
    }

    fn saved(&self, now: SystemTime) -> Saved {
        let state = self.state();
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let heard = now.saturating_sub(state.stale(Instant::now())).as_secs();
        let pod = state.pod.known.as_ref();
        let others = state.ports.iter().filter_map(|(port, known)| {
            let known = known.known.as_ref()?;
            pod.is_none_or(|pod| pod.policy != known.policy).then(|| SavedPort { port: u32::from(*port), server: Some(known.server.clone()) })
        });
        let mut ports: Vec<_> = others.collect();
        ports.sort_by_key(|port| port.port);
        Saved { heard, pod: pod.map(|known| known.server.clone()), ports }
    }
}

/// As many ports as fit. The pod's policy always does: its message was shorter than this.
fn encode(saved: &Saved) -> Vec<u8> {
    let mut fitting = Saved { ports: Vec::new(), ..saved.clone() };
    for port in &saved.ports {
        if HEAD + fitting.encoded_len() + port.encoded_len() + 8 <= MAX_BYTES {
            fitting.ports.push(port.clone());
        }
    }
    let body = fitting.encode_to_vec();
    let mut content = format!("{HEADER}{:016x}\n", sum(&body)).into_bytes();
    content.extend_from_slice(&body);
    content
}

fn load(state: &Path) -> Result<Option<Saved>, Error> {
    let content = kept::load(state, FILE, MAX_BYTES).map_err(Error::File)?;
    content.map(|content| parse(&content)).transpose()
}

fn parse(content: &[u8]) -> Result<Saved, Error> {
    let (head, body) = content.split_at_checked(HEAD).filter(|_| content.len() <= MAX_BYTES).ok_or(Error::Format)?;
    if *head != *format!("{HEADER}{:016x}\n", sum(body)).as_bytes() {
        return Err(Error::Format);
    }
    Saved::decode(body).map_err(Error::Decode)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn server(name: &str) -> Server {
        Server { labels: HashMap::from([("name".to_owned(), name.to_owned())]), ..Default::default() }
    }

    fn saved(ports: u32, name: &str) -> Saved {
        let port = |port| SavedPort { port, server: Some(server(name)) };
        Saved { heard: 7, pod: Some(server("pod")), ports: (1..=ports).map(port).collect() }
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_the_pod_never_is() {
        let large = "x".repeat(20 * 1024);
        let content = encode(&saved(20, &large));
        assert!(content.len() <= MAX_BYTES, "{}", content.len());
        let read = parse(&content).unwrap();
        assert_eq!(read.pod, Some(server("pod")));
        assert!(read.ports.len() >= 8 && read.ports.len() < 20, "{}", read.ports.len());
        let mut too_long = content;
        too_long.resize(MAX_BYTES + 1, 0);
        assert!(matches!(parse(&too_long), Err(Error::Format)));
    }

    proptest! {
        #[test]
        fn round_trips_and_one_wrong_byte_is_noticed(ports in 0u32..4, name in ".{0,20}", place in any::<prop::sample::Index>(), flip in 1u8..) {
            let saved = saved(ports, &name);
            let mut content = encode(&saved);
            prop_assert_eq!(parse(&content).unwrap(), saved);
            let place = place.index(content.len());
            content[place] ^= flip;
            prop_assert!(parse(&content).is_err());
            content[place] ^= flip;
            content.truncate(place);
            prop_assert!(parse(&content).is_err());
        }

        #[test]
        fn any_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&body));
            let mut content = format!("{HEADER}{:016x}\n", sum(&body)).into_bytes();
            content.extend_from_slice(&body);
            drop(parse(&content));
        }
    }
}
