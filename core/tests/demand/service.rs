//! A service under load: replicas that need a while to start, use CPU for each request, queue what they cannot serve, and
//! lose what waits too long.

use std::collections::VecDeque;

use assent_core::demand::{Allocation, Container, Observation, Sample};
use assent_core::ids::{Millionths, UnixMillis};

use super::random::Random;
use super::trace::TICK_S;

/// Figures are scraped so often.
pub(crate) const SCRAPE_S: i64 = 15;
/// Whoever waits longer gives up.
const PATIENCE_S: i64 = 10;
const KEPT_S: i64 = 400;
const MEBIBYTE: u64 = 1 << 20;

/// What a service is like, the same for both rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    pub(crate) request_milli: i64,
    pub(crate) limit_milli: i64,
    /// CPU time of a request in milli-core-milliseconds.
    pub(crate) cost: i64,
    pub(crate) base_us: i64,
    pub(crate) objective_us: i64,
    pub(crate) starts_s: i64,
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// Shares of the time without figures, or without some of them.
    pub(crate) outages: [(i64, i64, Outage); 2],
}

/// How figures are missing from one moment to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    None,
    /// Nothing is scraped.
    All,
    /// Replicas are asked for CPU, and nobody reports latency.
    Latency,
    /// The other way round.
    Cpu,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) nature: Nature,
    pub(crate) replicas: u32,
    /// When each replica that is not ready will be.
    starting: Vec<i64>,
    backlog: i64,
    /// Served, latency and lost of the ticks since the last scrape.
    since_scrape: Vec<(i64, i64, i64, i64)>,
    pub(crate) samples: VecDeque<Sample>,
    pub(crate) replica_s: u64,
    pub(crate) violated_s: u64,
}

// === impl Nature ===

impl Nature {
    pub(crate) fn new(random: &mut Random) -> Self {
        let request_milli = random.pick(&[200, 250, 500, 1000]);
        let min = u32::try_from(random.between(1, 3)).unwrap();
        let outage = |random: &mut Random| {
            let what = random.pick(&[Outage::None, Outage::None, Outage::All, Outage::Latency, Outage::Cpu]);
            let from = random.between(300, 4800);
            (from, from + random.between(60, 600), what)
        };
        Self {
            request_milli,
            limit_milli: request_milli * random.between(10, 25) / 10,
            cost: random.between(2_000, 20_000),
            base_us: random.between(20_000, 80_000),
            objective_us: 200_000,
            starts_s: random.between(10, 90),
            min,
            max: min + u32::try_from(random.between(4, 20)).unwrap(),
            outages: [outage(random), outage(random)],
        }
    }

    /// Requests per second that one replica serves at this share (in percent) of its request.
    pub(crate) fn rate_at(&self, percent: i64) -> i64 {
        self.request_milli * 1000 * percent / 100 / self.cost
    }

    pub(crate) fn outage(&self, now_s: i64) -> Outage {
        self.outages.iter().find(|(from, until, what)| *what != Outage::None && (*from..*until).contains(&now_s)).map_or(Outage::None, |(_, _, what)| *what)
    }
}

// === impl Service ===

impl Service {
    pub(crate) fn new(nature: Nature, replicas: u32) -> Self {
        Self { nature, replicas, starting: vec![], backlog: 0, since_scrape: vec![], samples: VecDeque::new(), replica_s: 0, violated_s: 0 }
    }

    pub(crate) fn ready(&self) -> u32 {
        self.replicas - u32::try_from(self.starting.len()).unwrap()
    }

    pub(crate) fn scale(&mut self, to: u32, now_s: i64) {
        while self.replicas < to {
            self.replicas += 1;
            self.starting.push(now_s + self.nature.starts_s);
        }
        // What has not started goes first.
        while self.replicas > to {
            self.replicas -= 1;
            self.starting.pop();
        }
    }

    /// One tick with so many requests per second.
    pub(crate) fn tick(&mut self, load: i64, now_s: i64, random: &mut Random) {
        self.starting.retain(|ready_at| *ready_at > now_s);
        let Nature { limit_milli, cost, base_us, objective_us, .. } = self.nature;
        let arrived = load * TICK_S;
        let capacity = (i64::from(self.ready()) * limit_milli * 1000 * TICK_S / cost).max(1);
        let served = (self.backlog + arrived).min(capacity);
        let patient = capacity * PATIENCE_S / TICK_S;
        let waiting = self.backlog + arrived - served;
        let lost = (waiting - patient).max(0);
        self.backlog = waiting - lost;
        let busy = 1000 * served / capacity;
        let latency = base_us + base_us * busy * busy / 1000 / (1020 - busy) + 1_000_000 * self.backlog * TICK_S / capacity;
        self.since_scrape.push((served, arrived, latency, lost));
        self.replica_s += u64::from(self.replicas) * TICK_S.unsigned_abs();
        if latency > objective_us || lost * 100 > arrived {
            self.violated_s += TICK_S.unsigned_abs();
        }
        if now_s % SCRAPE_S == 0 {
            self.scrape(now_s, random);
        }
    }

    fn scrape(&mut self, now_s: i64, random: &mut Random) {
        let ticks = std::mem::take(&mut self.since_scrape);
        let count = i64::try_from(ticks.len()).unwrap();
        let outage = self.nature.outage(now_s);
        let (served, arrived, lost) = ticks.iter().fold((0, 0, 0), |sum, tick| (sum.0 + tick.0, sum.1 + tick.1, sum.2 + tick.3));
        let measured = |value: i64, random: &mut Random| u64::try_from(value * (1000 + random.between(-20, 20)) / 1000).unwrap();
        let cpu = measured(served * self.nature.cost / 1000 / (count * TICK_S), random);
        let latency = measured(ticks.iter().map(|tick| tick.2).max().unwrap_or(0), random);
        let memory = u64::from(self.ready()) * (230 + random.next() % 20) * MEBIBYTE;
        if outage == Outage::All {
            return;
        }
        let errors = Millionths::new(u32::try_from(1_000_000 * lost / arrived.max(1)).unwrap_or(u32::MAX));
        self.samples.push_back(Sample {
            at: UnixMillis(now_s * 1000),
            ready: self.ready(),
            cpu_milli: (outage != Outage::Cpu).then_some(cpu),
            memory_bytes: (outage != Outage::Cpu).then_some(memory),
            latency_p95_us: (outage != Outage::Latency).then_some(latency),
            errors: (outage != Outage::Latency).then_some(errors),
        });
        while self.samples.front().is_some_and(|sample| sample.at.0 < (now_s - KEPT_S) * 1000) {
            self.samples.pop_front();
        }
    }

    pub(crate) fn observe(&self) -> Observation {
        let milli = |value: i64| u64::try_from(value).unwrap();
        let container = Container {
            name: "app".into(),
            cpu: Allocation { request: milli(self.nature.request_milli), limit: Some(milli(self.nature.limit_milli)), restarts: false },
            memory: Allocation { request: 512 * MEBIBYTE, limit: Some(512 * MEBIBYTE), restarts: false },
            ..Container::default()
        };
        Observation {
            replicas: self.replicas,
            ready: self.ready(),
            containers: vec![container],
            samples: self.samples.iter().copied().collect(),
            ..Observation::default()
        }
    }
}
