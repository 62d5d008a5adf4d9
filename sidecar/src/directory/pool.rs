//! The endpoints of one service and the choice among them.
//!
//! A connection goes to the less loaded of two random endpoints; randomness is an argument. An endpoint that could not be
//! reached is left alone for a while, whatever discovery says of it. The pool opens no connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use assent_runtime::workload::Name;

/// How long an endpoint that failed is avoided.
const AVOIDED: Duration = Duration::from_secs(5);
/// Endpoints kept of one service; the rest of a larger one is served by other clients' choices.
const MAX_ENDPOINTS: usize = 1024;

/// One place to connect to.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// The application's address.
    pub(crate) address: SocketAddr,
    /// How to reach it over mTLS, or none for a pod without a sidecar.
    pub(crate) peer: Option<Peer>,
    connections: AtomicUsize,
    failed: Mutex<Option<Instant>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) identity: Name,
    pub(crate) inbound_port: u16,
}

/// Counts as a connection of its endpoint until dropped.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Endpoint>);

#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Vec<Arc<Endpoint>>>);

// === impl Endpoint ===

impl Endpoint {
    pub(crate) fn new(address: SocketAddr, peer: Option<Peer>) -> Arc<Self> {
        Arc::new(Self { address, peer, connections: AtomicUsize::new(0), failed: Mutex::new(None) })
    }

    pub(crate) fn lease(self: Arc<Self>) -> Lease {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Lease(self)
    }

    fn usable(&self, now: Instant) -> bool {
        lock(&self.failed).is_none_or(|failed| now.saturating_duration_since(failed) >= AVOIDED)
    }
}

// === impl Lease ===

impl Lease {
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.0
    }

    /// The endpoint could not be reached at `now`.
    pub(crate) fn failed(self, now: Instant) {
        *lock(&self.0.failed) = Some(now);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Pool ===

impl Pool {
    /// Adds endpoints; one that is there already keeps its load and its failures unless its peer changed.
    pub(crate) fn add(&self, added: impl IntoIterator<Item = (SocketAddr, Option<Peer>)>) {
        let mut endpoints = lock(&self.0);
        for (address, peer) in added {
            let full = endpoints.len() >= MAX_ENDPOINTS;
            match endpoints.iter_mut().find(|endpoint| endpoint.address == address) {
                Some(known) if known.peer == peer => {}
                Some(known) => *known = Endpoint::new(address, peer),
                None if full => {}
                None => endpoints.push(Endpoint::new(address, peer)),
            }
        }
    }

    pub(crate) fn remove(&self, removed: &[SocketAddr]) {
        lock(&self.0).retain(|endpoint| !removed.contains(&endpoint.address));
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Replaces everything, as the first update of a new stream does.
    pub(crate) fn replace(&self, added: Vec<(SocketAddr, Option<Peer>)>) {
        let kept: Vec<SocketAddr> = added.iter().map(|(address, _)| *address).collect();
        lock(&self.0).retain(|endpoint| kept.contains(&endpoint.address));
        self.add(added);
    }

    /// Some endpoint is reached over mTLS, so that the service as a whole must not be reached in plain.
    pub(crate) fn meshed(&self) -> bool {
        lock(&self.0).iter().any(|endpoint| endpoint.peer.is_some())
    }

    /// The less loaded of two endpoints drawn by `random`; none when there is no endpoint. When all have failed lately, all
    /// are as good as each other.
    pub(crate) fn pick(&self, random: u64, now: Instant) -> Option<Lease> {
        let endpoints = lock(&self.0);
        let mut usable: Vec<&Arc<Endpoint>> = endpoints.iter().filter(|endpoint| endpoint.usable(now)).collect();
        if usable.is_empty() {
            usable = endpoints.iter().collect();
        }
        let count = u64::try_from(usable.len()).ok().filter(|count| *count > 0)?;
        let at = |n: u64| usable.get(usize::try_from(n % count).unwrap_or(0));
        let first = at(random)?;
        // A distance of at least one, so that two are compared whenever there are two.
        let second = at(random % count + 1 + (random >> 32) % (count - 1).max(1))?;
        let load = |endpoint: &Endpoint| endpoint.connections.load(Ordering::Relaxed);
        let chosen = if load(second) < load(first) { second } else { first };
        Some(Arc::clone(chosen).lease())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 80))
    }

    fn pool(count: u8) -> Pool {
        let pool = Pool::default();
        pool.add((0..count).map(|n| (address(n), None)));
        pool
    }

    #[test]
    fn an_empty_pool_gives_nothing() {
        assert!(pool(0).pick(7, Instant::now()).is_none());
    }

    #[test]
    fn a_failed_endpoint_is_avoided_for_a_while() {
        let (pool, now) = (pool(2), Instant::now());
        let lease = pool.pick(0, now).unwrap();
        let bad = lease.endpoint().address;
        lease.failed(now);
        for random in 0..50 {
            assert_ne!(pool.pick(random, now).unwrap().endpoint().address, bad);
        }
        for _ in 0..2 {
            pool.pick(0, now).unwrap().failed(now);
        }
        assert!(pool.pick(0, now).is_some(), "with nobody left, everybody is tried again");
        let seen: Vec<_> = (0..50).map(|random| pool.pick(random, now + AVOIDED).unwrap().endpoint().address).collect();
        assert!(seen.contains(&bad));
    }

    #[test]
    fn updates_keep_the_load_of_those_that_stay() {
        let (pool, now) = (pool(2), Instant::now());
        let held = pool.pick(0, now).unwrap();
        let busy = held.endpoint().address;
        pool.replace(vec![(address(0), None), (address(1), None), (address(2), None)]);
        let second = (0..).find_map(|random| pool.pick(random, now).filter(|lease| lease.endpoint().address != busy)).unwrap();
        assert_ne!(second.endpoint().address, busy);
        pool.remove(&[address(0), address(1)]);
        assert_eq!(pool.pick(9, now).unwrap().endpoint().address, address(2));
        pool.clear();
        assert!(pool.pick(9, now).is_none());
    }

    proptest! {
        #[test]
        fn spreads_within_reason(count in 1u8..6, seed in any::<u64>()) {
            let (pool, now) = (pool(count), Instant::now());
            let mut random = seed;
            let held: Vec<Lease> = (0..u64::from(count) * 20).map(|_| {
                // Numerical Recipes' generator; any spread of numbers will do.
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                pool.pick(random.rotate_left(29), now).unwrap()
            }).collect();
            for n in 0..count {
                let load = held.iter().filter(|lease| lease.endpoint().address == address(n)).count();
                prop_assert!((10..=30).contains(&load), "endpoint {} has {} of {}", n, load, held.len());
            }
        }
    }
}
