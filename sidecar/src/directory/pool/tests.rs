//! Choices over many picks, one endpoint at a time failing, and random pools.

use proptest::prelude::*;

use super::breaker::{FAILURES, LONGEST_PROBATION};
use super::*;

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 80))
}

fn pool(count: u8) -> Pool {
    let pool = Pool::default();
    pool.add((0..count).map(|n| (address(n), None)));
    pool
}

fn anybody(_: &Endpoint) -> bool {
    true
}

fn state(pool: &Pool, n: u8, now: Instant) -> State {
    pool.endpoints().iter().find(|endpoint| endpoint.address == address(n)).unwrap().state(now)
}

/// Fails a connection to endpoint `n`; whether that opened its breaker.
fn fail(pool: &Pool, n: u8, now: Instant) -> bool {
    let endpoint = pool.endpoints().into_iter().find(|endpoint| endpoint.address == address(n)).unwrap();
    endpoint.lease(now).failed(now)
}

/// Fails as many connections to endpoint `n` as open its breaker.
fn open(pool: &Pool, n: u8, now: Instant) {
    let opened: Vec<bool> = (0..FAILURES).map(|_| fail(pool, n, now)).collect();
    assert_eq!(opened, [false, false, true]);
}

/// Clients that connect once a millisecond to endpoints that each take their own time, and stay for a while.
struct Clients {
    pool: Pool,
    now: Instant,
    random: u64,
    dialling: Vec<(Instant, Lease)>,
    open: std::collections::VecDeque<Lease>,
    stay: usize,
}

impl Clients {
    fn new(count: u8, seed: u64, stay: usize) -> Self {
        Self { pool: pool(count), now: Instant::now(), random: seed, dialling: Vec::new(), open: Default::default(), stay }
    }

    fn random(&mut self) -> u64 {
        // Numerical Recipes' generator; any spread of numbers will do.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random.rotate_left(29)
    }

    /// How many of `connections` each endpoint got; `took` says how many milliseconds each endpoint takes to connect.
    fn run(&mut self, connections: usize, took: &[u64]) -> Vec<usize> {
        let mut got = vec![0; took.len()];
        for _ in 0..connections {
            self.now += Duration::from_millis(1);
            let due: Vec<_> = self.dialling.extract_if(.., |(at, _)| *at <= self.now).collect();
            for (at, mut lease) in due {
                lease.connected(at);
                self.open.push_back(lease);
            }
            while self.open.len() > self.stay {
                self.open.pop_front();
            }
            let random = self.random();
            let lease = self.pool.pick(random, self.now, anybody).unwrap();
            let n = took.iter().enumerate().position(|(n, _)| lease.endpoint().address == address(n as u8)).unwrap();
            got[n] += 1;
            self.dialling.push((self.now + Duration::from_millis(took[n]), lease));
        }
        got
    }
}

#[test]
fn an_empty_pool_gives_nothing() {
    assert!(pool(0).pick(7, Instant::now(), anybody).is_none());
    assert!(pool(3).pick(7, Instant::now(), |_| false).is_none());
}

#[test]
fn a_failed_endpoint_is_less_wanted_at_once_and_left_alone_after_some_more() {
    let (pool, now) = (pool(3), Instant::now());
    for n in 0..3 {
        pool.endpoints()[n].clone().lease(now).connected(now + Duration::from_millis(1));
    }
    assert!(!fail(&pool, 0, now));
    for random in 0..50 {
        assert_ne!(pool.pick(random, now, anybody).unwrap().endpoint().address, address(0));
    }
    for n in 2..=FAILURES {
        assert_eq!(fail(&pool, 0, now), n == FAILURES);
    }
    assert_eq!(state(&pool, 0, now), State::Open);
    let later = now + LONGEST_PROBATION;
    let seen: Vec<_> = (0..50).map(|random| pool.pick(random, later, anybody).unwrap().endpoint().address).collect();
    assert!(seen.contains(&address(0)), "its probe is due");
}

#[test]
fn a_probe_is_one_connection_and_success_closes() {
    let (pool, now) = (pool(4), Instant::now());
    open(&pool, 0, now);
    let later = now + LONGEST_PROBATION;
    let to_it = |lease: &Lease| lease.endpoint().address == address(0);
    let mut probe = (0..50).find_map(|random| pool.pick(random, later, anybody).filter(to_it)).unwrap();
    assert!((0..200).all(|random| !to_it(&pool.pick(random, later, anybody).unwrap())), "a second probe");
    probe.connected(later);
    drop(probe);
    assert_eq!(state(&pool, 0, later), State::Closed);
}

#[test]
fn no_more_than_half_are_left_alone_and_all_are_tried_when_all_fail() {
    let now = Instant::now();
    for failing in 0..=5u8 {
        let pool = pool(5);
        (0..failing).for_each(|n| open(&pool, n, now));
        let endpoints = pool.endpoints();
        let admitted = admitted(&endpoints, now).len();
        assert_eq!(admitted, if failing == 5 { 5 } else { usize::from(5 - failing.min(2)) }, "{failing} failing");
        assert!(pool.pick(u64::from(failing), now, anybody).is_some());
    }
    let pool = pool(1);
    open(&pool, 0, now);
    assert!(pool.pick(0, now, anybody).is_some());
}

#[test]
fn only_wanted_ones_are_given_even_when_they_are_left_alone() {
    let (pool, now) = (pool(4), Instant::now());
    open(&pool, 3, now);
    for random in 0..50 {
        let lease = pool.pick(random, now, |endpoint| endpoint.address == address(3)).unwrap();
        assert_eq!(lease.endpoint().address, address(3));
    }
}

#[test]
fn a_hanging_dial_counts_before_it_has_ended() {
    let (pool, now) = (pool(2), Instant::now());
    for endpoint in pool.endpoints() {
        endpoint.lease(now).connected(now + Duration::from_millis(1));
    }
    let busy: Vec<Lease> = (0..20)
        .map(|_| {
            let mut lease = pool.endpoints()[1].clone().lease(now);
            lease.connected(now + Duration::from_millis(1));
            lease
        })
        .collect();
    let hanging = pool.endpoints()[0].clone().lease(now);
    let later = now + Duration::from_millis(900);
    assert_eq!(pool.pick(0, later, anybody).unwrap().endpoint().address, address(1));
    drop(hanging);
    assert_eq!(pool.pick(0, later, anybody).unwrap().endpoint().address, address(0));
    drop(busy);
}

#[test]
fn updates_keep_the_load_and_failures_of_those_that_stay() {
    let (pool, now) = (pool(2), Instant::now());
    open(&pool, 0, now);
    let held = pool.pick(0, now, |endpoint| endpoint.address == address(1)).unwrap();
    pool.replace(vec![(address(0), None), (address(1), None), (address(2), None)]);
    assert_eq!(state(&pool, 0, now), State::Open, "discovery repeated it");
    assert!((0..50).all(|random| pool.pick(random, now, anybody).unwrap().endpoint().address == address(2)));
    let peer = Peer { identity: "cart.shop.serviceaccount.identity.assent-system.cluster.local".parse().unwrap(), inbound_port: 4143 };
    pool.add([(address(0), Some(peer))]);
    assert_eq!(state(&pool, 0, now), State::Closed, "a new peer behind the address");
    pool.remove(&[address(0), address(1)]);
    assert_eq!(pool.pick(9, now, anybody).unwrap().endpoint().address, address(2));
    pool.clear();
    assert!(pool.pick(9, now, anybody).is_none());
    drop(held);
}

#[test]
fn a_service_is_kept_up_to_a_limit() {
    let pool = Pool::default();
    pool.add((0..3000u16).map(|n| (SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 80)), None)));
    assert_eq!(pool.endpoints().len(), MAX_ENDPOINTS);
}

proptest! {
    #[test]
    fn equal_endpoints_share_within_reason(count in 1u8..6, seed in any::<u64>(), measured in any::<bool>()) {
        let (pool, now) = (pool(count), Instant::now());
        if measured {
            pool.endpoints().into_iter().for_each(|endpoint| endpoint.lease(now).connected(now + Duration::from_millis(3)));
        }
        let mut clients = Clients::new(0, seed, 0);
        let held: Vec<Lease> = (0..u64::from(count) * 20).map(|_| {
            let mut lease = pool.pick(clients.random(), now, anybody).unwrap();
            if measured {
                lease.connected(now + Duration::from_millis(3));
            }
            lease
        }).collect();
        for n in 0..count {
            let load = held.iter().filter(|lease| lease.endpoint().address == address(n)).count();
            prop_assert!((10..=30).contains(&load), "endpoint {} has {} of {}", n, load, held.len());
        }
    }

    #[test]
    fn a_slow_endpoint_gets_little_and_recovers(count in 3u8..7, seed in any::<u64>(), slow in 50u64..400, stay in 0usize..60) {
        let mut clients = Clients::new(count, seed, stay);
        let mut took = vec![2; usize::from(count)];
        took[0] = slow;
        clients.run(1000, &took);
        let fair = 2000 / usize::from(count);
        let got = clients.run(2000, &took);
        prop_assert!(got[0] < fair / 4, "{:?}", got);
        prop_assert!(got[1..].iter().all(|got| *got > fair / 2), "{:?}", got);
        took[0] = 2;
        clients.now += Duration::from_secs(60);
        clients.run(200, &took);
        let got = clients.run(2000, &took);
        prop_assert!(got.iter().all(|got| *got > fair / 3), "{:?}", got);
    }

    #[test]
    fn nobody_starves(took in proptest::collection::vec(1u64..500, 2..6), seed in any::<u64>(), stay in 0usize..20) {
        let mut clients = Clients::new(took.len() as u8, seed, stay);
        // Two minutes in pieces of which each begins with a pause. What they got in the first of them does not count.
        let mut total = vec![0; took.len()];
        for piece in 0..60 {
            clients.now += Duration::from_millis(1900);
            let got = clients.run(100, &took);
            total.iter_mut().zip(got).filter(|_| piece >= 10).for_each(|(sum, got)| *sum += got);
        }
        prop_assert!(total.iter().all(|got| *got > 0), "{:?} of {:?}", total, took);
    }

    #[test]
    fn whatever_happens_the_books_balance(steps in proptest::collection::vec((any::<u64>(), 0u8..4, 0u64..3000), 1..200)) {
        let (pool, mut now) = (pool(4), Instant::now());
        let mut open = Vec::new();
        for (random, outcome, pause) in steps {
            let mut lease = pool.pick(random, now, anybody).unwrap();
            now += Duration::from_millis(pause);
            match outcome {
                0 => { lease.failed(now); }
                1 => drop(lease),
                2 => { lease.connected(now); open.push(lease); }
                _ => open.push(lease),
            }
        }
        drop(open);
        for endpoint in pool.endpoints() {
            prop_assert_eq!(endpoint.connections.load(Ordering::Relaxed), 0);
            let health = lock(&endpoint.health);
            prop_assert!(health.dialling == 0 && health.waiting_since.is_none());
            prop_assert!(health.breaker.state(now) == State::Open || health.breaker.admits(now), "a probe that is over blocks the next");
        }
    }
}
