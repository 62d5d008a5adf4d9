//! The endpoints of one service and the choice among them.
//!
//! A connection goes to the cheaper of two random endpoints: cost is how long connecting takes there lately, times the
//! connections that are open. An endpoint that cannot be reached is left alone for a while, whatever discovery says of it,
//! but never more than half of them at once. Time and randomness are arguments. The pool opens no connections.

mod breaker;
mod cause;
mod latency;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use assent_runtime::workload::Name;

use breaker::Breaker;
use latency::PeakEwma;

pub(crate) use breaker::State;
pub(crate) use cause::Cause;

/// Endpoints kept of one service; the rest of a larger one is served by other clients' choices.
pub(crate) const MAX_ENDPOINTS: usize = 1024;
/// Differences below this are the scheduler's, not the endpoint's.
const FLOOR_SECONDS: f64 = 0.001;
/// What a failure counts for at least: a refusal is quick, and must not look attractive for it.
const FAILURE: Duration = Duration::from_millis(100);

/// One place to connect to.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// The application's address.
    pub(crate) address: SocketAddr,
    /// How to reach it over mTLS, or none for a pod without a sidecar.
    pub(crate) peer: Option<Peer>,
    connections: AtomicUsize,
    health: Mutex<Health>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) identity: Name,
    pub(crate) inbound_port: u16,
}

/// What dialling an endpoint has taught.
#[derive(Debug)]
struct Health {
    breaker: Breaker,
    latency: PeakEwma,
    dialling: usize,
    /// When the dials now under way began, roughly; none when there is none.
    waiting_since: Option<Instant>,
}

/// Counts as a connection of its endpoint until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    endpoint: Arc<Endpoint>,
    began: Instant,
    probe: bool,
    settled: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Vec<Arc<Endpoint>>>);

// === impl Endpoint ===

impl Endpoint {
    pub(crate) fn new(address: SocketAddr, peer: Option<Peer>) -> Arc<Self> {
        let health = Health { breaker: Breaker::new(), latency: PeakEwma::default(), dialling: 0, waiting_since: None };
        Arc::new(Self { address, peer, connections: AtomicUsize::new(0), health: Mutex::new(health) })
    }

    /// Begins to dial it at `now`.
    pub(crate) fn lease(self: Arc<Self>, now: Instant) -> Lease {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let probe = {
            let mut health = lock(&self.health);
            health.dialling += 1;
            health.waiting_since.get_or_insert(now);
            health.breaker.begin(now)
        };
        Lease { endpoint: self, began: now, probe, settled: false }
    }

    pub(crate) fn state(&self, now: Instant) -> State {
        lock(&self.health).breaker.state(now)
    }
}

// === impl Health ===

impl Health {
    /// Seconds that a connection takes, as far as known. A dial that hangs counts before it has ended.
    fn seconds(&self, now: Instant) -> Option<f64> {
        let waiting = self.waiting_since.map(|since| now.saturating_duration_since(since).as_secs_f64());
        let waiting = waiting.filter(|seconds| *seconds > FLOOR_SECONDS);
        match (self.latency.seconds(now), waiting) {
            (Some(measured), Some(waiting)) => Some(measured.max(waiting)),
            (measured, waiting) => measured.or(waiting),
        }
    }

    fn settle(&mut self, now: Option<Instant>) {
        self.dialling = self.dialling.saturating_sub(1);
        if self.dialling == 0 {
            self.waiting_since = None;
        } else if let Some(now) = now {
            // An outcome shows that others need not hang.
            self.waiting_since = Some(now);
        }
    }
}

// === impl Lease ===

impl Lease {
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The endpoint was reached at `now`.
    pub(crate) fn connected(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.settled, true) {
            let mut health = lock(&self.endpoint.health);
            health.settle(Some(now));
            health.latency.observe(now.saturating_duration_since(self.began), now);
            health.breaker.succeeded();
        }
    }

    /// The endpoint could not be reached, as was clear at `now`. Returns whether it is left alone from now on.
    pub(crate) fn failed(mut self, now: Instant) -> bool {
        self.settled = true;
        let mut health = lock(&self.endpoint.health);
        health.settle(Some(now));
        health.latency.observe(now.saturating_duration_since(self.began).max(FAILURE), now);
        health.breaker.failed(now, self.probe)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.settled {
            let mut health = lock(&self.endpoint.health);
            health.settle(None);
            health.breaker.abandoned(self.probe);
        }
        self.endpoint.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Pool ===

impl Pool {
    /// Adds endpoints; one that is there already keeps its load and its failures unless its peer changed.
    pub(crate) fn add(&self, added: impl IntoIterator<Item = (SocketAddr, Option<Peer>)>) {
        add(&mut lock(&self.0), added);
    }

    pub(crate) fn remove(&self, removed: &[SocketAddr]) {
        lock(&self.0).retain(|endpoint| !removed.contains(&endpoint.address));
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Replaces everything in one step, as the first update of a new stream does.
    pub(crate) fn replace(&self, added: Vec<(SocketAddr, Option<Peer>)>) {
        let kept: std::collections::HashSet<SocketAddr> = added.iter().map(|(address, _)| *address).collect();
        let mut endpoints = lock(&self.0);
        endpoints.retain(|endpoint| kept.contains(&endpoint.address));
        add(&mut endpoints, added);
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        lock(&self.0).clone()
    }

    /// Some endpoint is reached over mTLS, so that the service as a whole must not be reached in plain.
    pub(crate) fn meshed(&self) -> bool {
        lock(&self.0).iter().any(|endpoint| endpoint.peer.is_some())
    }

    /// The cheaper of two endpoints drawn by `random` from those that are `wanted` and not left alone; none when none is
    /// wanted. Where every wanted one is left alone, all of them are tried.
    pub(crate) fn pick(&self, random: u64, now: Instant, wanted: impl Fn(&Endpoint) -> bool) -> Option<Lease> {
        let endpoints = lock(&self.0);
        let chosen = match draw(&endpoints, random)? {
            // The rule, and it looks at two endpoints only.
            (first, second) if [first, second].into_iter().all(|endpoint| wanted(endpoint) && endpoint.state(now) == State::Closed) => {
                better(first, second, now)
            }
            _ => {
                let mut candidates: Vec<_> = admitted(&endpoints, now).into_iter().filter(|endpoint| wanted(endpoint)).collect();
                if candidates.is_empty() {
                    candidates = endpoints.iter().filter(|endpoint| wanted(endpoint)).collect();
                }
                let (first, second) = draw(&candidates, random)?;
                better(first, second, now)
            }
        };
        Some(Arc::clone(chosen).lease(now))
    }
}

fn add(endpoints: &mut Vec<Arc<Endpoint>>, added: impl IntoIterator<Item = (SocketAddr, Option<Peer>)>) {
    let mut places: std::collections::HashMap<_, _> = endpoints.iter().enumerate().map(|(place, endpoint)| (endpoint.address, place)).collect();
    for (address, peer) in added {
        let full = endpoints.len() >= MAX_ENDPOINTS;
        match places.get(&address).and_then(|place| endpoints.get_mut(*place)) {
            Some(known) if known.peer == peer => {}
            Some(known) => *known = Endpoint::new(address, peer),
            None if full => {}
            None => {
                places.insert(address, endpoints.len());
                endpoints.push(Endpoint::new(address, peer));
            }
        }
    }
}

/// Two of `all`, different ones unless there is but one.
fn draw<T>(all: &[T], random: u64) -> Option<(&T, &T)> {
    let count = u64::try_from(all.len()).ok().filter(|count| *count > 0)?;
    let at = |n: u64| all.get(usize::try_from(n % count).unwrap_or(0));
    // A distance of at least one, so that two are compared whenever there are two.
    Some((at(random)?, at(random % count + 1 + (random >> 32) % (count - 1).max(1))?))
}

/// Those whose breaker lets a connection through. If that leaves out more than half, those that would be tried soonest
/// come back: when many fail at once, the fault is likelier to be on this side.
fn admitted(endpoints: &[Arc<Endpoint>], now: Instant) -> Vec<&Arc<Endpoint>> {
    let (mut admitted, mut out) = (Vec::with_capacity(endpoints.len()), Vec::new());
    for endpoint in endpoints {
        let health = lock(&endpoint.health);
        if health.breaker.admits(now) { admitted.push(endpoint) } else { out.push((health.breaker.open_until(), endpoint)) }
    }
    if out.len() == endpoints.len() {
        return endpoints.iter().collect();
    }
    out.sort_by_key(|(until, _)| *until);
    let back = out.len().saturating_sub(endpoints.len() / 2);
    admitted.extend(out.into_iter().take(back).map(|(_, endpoint)| endpoint));
    admitted
}

/// An endpoint whose probe is due, else the cheaper. Where one was never measured, only the connections count.
fn better<'a>(first: &'a Arc<Endpoint>, second: &'a Arc<Endpoint>, now: Instant) -> &'a Arc<Endpoint> {
    let look = |endpoint: &Endpoint| {
        let health = lock(&endpoint.health);
        let due = health.breaker.state(now) == State::HalfOpen && health.breaker.admits(now);
        let connections = u32::try_from(endpoint.connections.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        (due, health.seconds(now), f64::from(connections) + 1.0)
    };
    let ((first_due, first_seconds, first_load), (second_due, second_seconds, second_load)) = (look(first), look(second));
    let second_wins = match (first_seconds, second_seconds) {
        _ if first_due != second_due => second_due,
        (Some(one), Some(other)) => second_load * other.max(FLOOR_SECONDS) < first_load * one.max(FLOOR_SECONDS),
        _ => second_load < first_load,
    };
    if second_wins { second } else { first }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
