//! Who may connect to the pod: the controller's policies over `linkerd2-proxy-api`, followed per port and kept.
//!
//! The pod's own policy is followed from the start and holds for every port whose own has not been told. Until anything is
//! known everybody may connect (applications fail open, and it shows); what was known outlives the controller and, on a
//! memory-backed volume, this process, however old it is. Open connections are judged again at every change. This module
//! judges and counts; connections are ended by those who serve them.

mod decision;
mod kept;
mod metrics;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use linkerd2_proxy_api::inbound::Server;
use linkerd2_proxy_api::inbound::inbound_server_policies_client::InboundServerPoliciesClient;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch as channel};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;

use decision::Policy;
pub(crate) use decision::{Client, Peer};
pub(crate) use kept::keep;
use metrics::Counts;
use watch::{Patience, Watch};

/// Ports that have a policy of their own; the least recently used one leaves first.
const MAX_PORTS: usize = 64;
const IDLE: Duration = Duration::from_secs(600);
/// The kernel's routes of this network namespace.
const ROUTES: &str = "/proc/net/route";

/// The policies of a pod.
#[derive(Debug)]
pub(crate) struct Policies {
    client: InboundServerPoliciesClient<Channel>,
    /// The pod, as it names itself to the controller.
    workload: String,
    /// The port whose policy stands for the pod's: that of the sidecar itself.
    own: u16,
    /// The node, as the pod sees it.
    gateways: Vec<IpAddr>,
    patience: Patience,
    control: Handle,
    state: Mutex<State>,
    /// Grows with every answer; what is kept on the volume follows it.
    version: channel::Sender<u64>,
    counts: Counts,
}

#[derive(Debug)]
struct State {
    pod: Port,
    ports: HashMap<u16, Port>,
    connections: HashMap<u64, Connection>,
    next: u64,
    /// The controller is one that knows of no policies.
    unsupported: bool,
    /// The controller is there: the watch over the pod's policy is open and has been answered.
    live: bool,
    /// When it was last there, or this process began.
    heard: Instant,
    /// Before that, as an earlier process knew it.
    before: Duration,
}

/// What is known for one port.
#[derive(Debug)]
struct Port {
    known: Option<Known>,
    used: Instant,
    /// Open connections that it was the port of.
    connections: usize,
    _watching: Option<AbortOnDropHandle<()>>,
}

#[derive(Clone, Debug)]
struct Known {
    server: Server,
    policy: Arc<Policy>,
    /// It comes from the volume, and the controller has not confirmed it since.
    restored: bool,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    port: u16,
    cut: oneshot::Sender<()>,
}

/// One open connection; it is judged again at every change until this is dropped. Resolves when it may not go on.
#[derive(Debug)]
pub(crate) struct Lease {
    policies: Arc<Policies>,
    id: u64,
    port: u16,
    /// It is one of the port's connections.
    holds: bool,
    cut: oneshot::Receiver<()>,
}

/// The error of a connection that was cut.
#[derive(Debug, thiserror::Error)]
#[error("the client may no longer be connected")]
pub(crate) struct Revoked;

// === impl Policies ===

impl Policies {
    /// Policies of the pod that `workload` describes, asked for over `channel` from tasks on `control`. `own` is the
    /// sidecar's inbound port.
    pub(crate) fn new(channel: Channel, workload: String, own: u16, control: Handle) -> Arc<Self> {
        // Without a table of routes the node is who the controller says it is.
        let routes = std::fs::read_to_string(ROUTES).unwrap_or_default();
        Arc::new(Self {
            client: InboundServerPoliciesClient::new(channel).max_decoding_message_size(wire::MAX_MESSAGE),
            workload,
            own,
            gateways: wire::gateways(&routes),
            patience: Patience::default(),
            control,
            state: Mutex::new(State::new(Instant::now())),
            version: channel::Sender::new(0),
            counts: Counts::default(),
        })
    }

    /// Begins to follow the pod's policy, and never stops.
    pub(crate) async fn follow(self: Arc<Self>) {
        self.watch(self.own).follow().await;
    }

    /// Returns when the pod's policy is known, or that there is none to wait for.
    pub(crate) async fn known(&self) {
        let mut version = self.version.subscribe();
        let waits = || {
            let state = self.state();
            state.pod.known.is_none() && !state.unsupported
        };
        while waits() {
            // The sender is ours, so waiting cannot fail.
            let _ = version.changed().await;
        }
    }

    /// Whether `client` may connect to `port` as things are. Nothing is counted.
    pub(crate) fn permits(&self, client: &Client, port: u16) -> bool {
        self.state().policy(port).is_none_or(|policy| policy.judge(client).is_ok())
    }

    /// Lets `client` connect to `port` for as long as it may; if it may not, that is counted.
    pub(crate) fn admit(self: &Arc<Self>, client: Client, port: u16) -> Option<Lease> {
        let mut state = self.state();
        if let Some(policy) = state.policy(port)
            && let Err(cause) = policy.judge(&client)
        {
            self.counts.denied(port, policy, &client, cause);
            tracing::debug!(cause = cause.as_str(), peer = ?client.peer, address = %client.address, port, "a client may not connect");
            return None;
        }
        let (cut, revoked) = oneshot::channel();
        let id = state.next;
        state.next += 1;
        state.connections.insert(id, Connection { client, port, cut });
        drop(state);
        Some(Lease { policies: self.clone(), id, port, holds: false, cut: revoked })
    }

    /// The controller has said what the policy of `port` is.
    fn told(&self, port: u16, mut server: Server) {
        // What is not judged by is not kept either.
        (server.protocol, server.server_ips) = (None, Vec::new());
        let policy = Arc::new(wire::policy(&server, &self.gateways));
        let mut state = self.state();
        let pod = port == self.own;
        if pod {
            (state.live, state.heard, state.before) = (true, Instant::now(), Duration::ZERO);
        }
        let place = if pod { Some(&mut state.pod) } else { state.ports.get_mut(&port) };
        let Some(place) = place else { return };
        let changed = place.known.as_ref().is_none_or(|known| known.policy != policy);
        place.known = Some(Known { server, policy, restored: false });
        if changed {
            tracing::info!(port, "who may connect has changed");
            self.judge_again(&mut state);
        }
        drop(state);
        self.version.send_modify(|version| *version += 1);
    }

    /// The controller knows of no policies: one from before there were any.
    fn unsupported(&self) {
        self.state().unsupported = true;
        self.version.send_modify(|version| *version += 1);
    }

    /// The controller is not there any more.
    fn lost(&self, port: u16) {
        let mut state = self.state();
        if port == self.own && std::mem::replace(&mut state.live, false) {
            state.heard = Instant::now();
        }
    }

    /// Cuts the connections that are not allowed any more.
    fn judge_again(&self, state: &mut State) {
        let over = |(id, connection): (&u64, &Connection)| {
            let policy = state.policy(connection.port)?;
            let cause = policy.judge(&connection.client).err()?;
            Some((*id, policy.clone(), cause))
        };
        let over: Vec<_> = state.connections.iter().filter_map(over).collect();
        for (id, policy, cause) in over {
            let Some(connection) = state.connections.remove(&id) else { continue };
            self.counts.terminated(connection.port, &policy, &connection.client, cause);
            // Who is gone by itself need not be told.
            let _ = connection.cut.send(());
        }
    }

    fn watched(self: &Arc<Self>, port: u16) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(self.control.spawn(self.watch(port).follow()))
    }

    fn watch(self: &Arc<Self>, port: u16) -> Watch {
        Watch { client: self.client.clone(), workload: self.workload.clone(), port, policies: Arc::downgrade(self), patience: self.patience }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn new(now: Instant) -> Self {
        let pod = Port { known: None, used: now, connections: 0, _watching: None };
        Self { pod, ports: HashMap::new(), connections: HashMap::new(), next: 0, unsupported: false, live: false, heard: now, before: Duration::ZERO }
    }

    /// The policy that holds for `port` now.
    fn policy(&self, port: u16) -> Option<&Arc<Policy>> {
        let own = self.ports.get(&port).and_then(|port| port.known.as_ref());
        own.or(self.pod.known.as_ref()).map(|known| &known.policy)
    }

    /// Notes the use of `port`, which has a watch from then on if there is room.
    fn uses(&mut self, port: u16, watched: impl FnOnce() -> AbortOnDropHandle<()>) {
        let now = Instant::now();
        if let Some(known) = self.ports.get_mut(&port) {
            known.used = now;
            return;
        }
        self.ports.retain(|_, port| port.connections > 0 || now.duration_since(port.used) < IDLE);
        if self.ports.len() >= MAX_PORTS {
            let unused = self.ports.iter().filter(|(_, port)| port.connections == 0);
            // All are in use: the pod's policy holds for this one.
            let Some(oldest) = unused.min_by_key(|(_, port)| port.used).map(|(port, _)| *port) else { return };
            self.ports.remove(&oldest);
        }
        self.ports.insert(port, Port { known: None, used: now, connections: 0, _watching: Some(watched()) });
    }

    /// Time for which the controller has not been there.
    fn stale(&self, now: Instant) -> Duration {
        if self.live { Duration::ZERO } else { now.saturating_duration_since(self.heard) + self.before }
    }
}

// === impl Lease ===

impl Lease {
    /// The application has taken the connection, which is counted. From now on its port's own policy is followed: not
    /// earlier, or whoever tries all ports would have all of them followed.
    pub(crate) fn connected(&mut self) {
        let mut state = self.policies.state();
        let state = &mut *state;
        // One that was cut meanwhile is counted as that.
        let Some(connection) = state.connections.get(&self.id) else { return };
        let policy = state.policy(self.port);
        let authorization = policy.and_then(|policy| policy.judge(&connection.client).ok());
        self.policies.counts.allowed(self.port, policy.map(|policy| &**policy), authorization, &connection.client);
        state.uses(self.port, || self.policies.watched(self.port));
        if let Some(port) = state.ports.get_mut(&self.port) {
            port.connections += 1;
            self.holds = true;
        }
    }
}

impl Future for Lease {
    type Output = io::Error;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Error> {
        // The other end is kept until it is used or this is dropped.
        let _ = ready!(Pin::new(&mut self.cut).poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::PermissionDenied, Revoked))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.policies.state();
        state.connections.remove(&self.id);
        if self.holds
            && let Some(port) = state.ports.get_mut(&self.port)
        {
            port.connections = port.connections.saturating_sub(1);
        }
    }
}

// === impl Revoked ===

impl Revoked {
    /// Whether `error` is that of a connection that was cut.
    pub(crate) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|source| source.is::<Self>())
    }
}
