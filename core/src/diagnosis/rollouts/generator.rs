//! Recordings of rollouts that never were: a small shop with noise, cold starts, wild samples, callers that suffer with their callees,
//! and one rollout that is bad in a known way, or none. Same seed, same recording.

use std::collections::BTreeMap;

use super::{Rollouts, Sample, Seconds, Step};

pub(super) const START: Seconds = 1_700_000_040;
const EDGES: [(&str, &str); 7] =
    [("users", "gate"), ("gate", "orders"), ("gate", "items"), ("orders", "stock"), ("orders", "bank"), ("items", "stock"), ("bank", "books")];
const SERVICES: [&str; 6] = ["gate", "orders", "items", "stock", "bank", "books"];
const SIGNALS: [&str; 6] = ["success_pct", "latency", "cpu_pct", "mem_pct", "node_cpu_pct", "node_mem_pct"];

/// What a bad version does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Slow,
    Query,
    Errors,
    Pool,
    Cpu,
    Leak,
    SlowLeak,
}

/// How pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// One pod every three minutes.
    Rolling,
    /// One pod every eight minutes.
    Slowly,
    /// All at once.
    Recreated,
    /// One new pod, and no more.
    Canary,
}

/// One recording to be.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) noise: f64,
    /// Who is bad, and how.
    pub(super) bad: Option<(&'static str, Fault)>,
    /// Rollouts: whose, from which minute, how.
    pub(super) rolled: Vec<(&'static str, i64, Manner)>,
    /// A service whose every pod is slow and fails from this minute on, whatever is rolled out.
    pub(super) broken: Option<(&'static str, i64)>,
    /// Pods tell what they ask, too.
    pub(super) both_sides: bool,
    /// The part of a fault's size.
    pub(super) dose: f64,
    pub(super) signals: Vec<&'static str>,
    pub(super) minutes: i64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seed: 1,
            noise: 0.12,
            bad: None,
            rolled: vec![("orders", 24, Manner::Rolling), ("stock", 18, Manner::Rolling), ("items", 23, Manner::Rolling)],
            broken: None,
            both_sides: false,
            dose: 1.0,
            signals: SIGNALS.to_vec(),
            minutes: 34,
        }
    }
}

/// A seeded source of numbers.
struct Dice(u64);

impl Dice {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Nearly normal, of variance one.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }

    fn around(&mut self, value: f64, noise: f64) -> f64 {
        value * (1.0 + noise * self.normal()).max(0.1)
    }
}

/// A pod: its name, whether it is new, and the minutes it lives.
struct Life {
    name: String,
    new: bool,
    from: i64,
    to: i64,
}

impl Scenario {
    pub(super) fn recording(&self) -> Rollouts {
        let mut dice = Dice(self.seed);
        let mut steps = Vec::new();
        let lives: BTreeMap<&str, Vec<Life>> = SERVICES.iter().map(|service| (*service, self.lives(service, &mut steps))).collect();
        let usual: BTreeMap<&str, [f64; 4]> =
            SERVICES.iter().map(|service| (*service, [8.0 + 30.0 * dice.share(), 6.0 + 20.0 * dice.share(), 25.0 + 25.0 * dice.share(), 0.0])).collect();
        let mut samples = Vec::new();
        for minute in 0..self.minutes {
            let node = 20.0 + 25.0 * dice.share();
            // From the bottom up: what a callee's pods add on average is passed to its callers.
            let mut passed: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
            for service in ["books", "stock", "bank", "items", "orders", "gate"] {
                let below: Vec<(f64, f64)> =
                    EDGES.iter().filter(|(caller, _)| *caller == service).filter_map(|(_, callee)| passed.get(callee)).copied().collect();
                let (more, failing) = below.iter().fold((0.0, 0.0), |(more, failing), (m, f)| (more + m, failing + f));
                let [latency, cpu, memory, _] = usual[service];
                let alive: Vec<&Life> = lives[service].iter().filter(|life| (life.from..life.to).contains(&minute)).collect();
                let mut added = (0.0, 0.0);
                for life in &alive {
                    let (mut slow, mut fails, mut busy, mut holds) = (1.0, 0.0, 1.0, 1.0);
                    if let Some((bad, fault)) = self.bad
                        && bad == service
                        && life.new
                    {
                        let (dose, age) = (self.dose, (minute - life.from) as f64);
                        match fault {
                            Fault::Slow => slow += 3.0 * dose,
                            Fault::Query => (slow, busy) = (1.0 + 5.0 * dose, 0.75),
                            Fault::Errors => fails = 0.35 * dose,
                            Fault::Pool => (slow, fails) = (1.0 + 2.5 * dose, 0.14 * dose),
                            Fault::Cpu => (slow, busy) = (1.0 + dose, 1.0 + 2.0 * dose),
                            Fault::Leak => (slow, holds) = (1.0 + 0.05 * age * dose, 1.0 + 0.1 * age * dose),
                            Fault::SlowLeak => holds = 1.0 + 0.03 * age * dose,
                        }
                    }
                    if self.broken.is_some_and(|(broken, from)| broken == service && minute >= from) {
                        (slow, fails) = (slow * 4.0, fails + 0.1);
                    }
                    if life.new && minute == life.from {
                        (slow, busy) = (slow * 3.0, busy * 2.0);
                    }
                    added.0 += (latency * (slow - 1.0) + more) / alive.len() as f64;
                    added.1 += (fails + failing) / alive.len() as f64;
                    let wild = if dice.share() < 0.01 { 4.0 } else { 1.0 };
                    let mut values = [0.0; 6];
                    values[2] = dice.around(cpu * busy, self.noise).min(100.0);
                    values[3] = (dice.around(memory * holds, 0.03)).min(100.0);
                    values[4] = node;
                    values[5] = dice.around(55.0, 0.02);
                    for (caller, _) in EDGES.iter().filter(|(_, callee)| *callee == service) {
                        values[0] = (100.0 * (1.0 - fails - failing) - dice.normal().abs() * 2.0 * self.noise).clamp(0.0, 100.0);
                        values[1] = dice.around(latency * slow + more, 1.5 * self.noise) * wild;
                        samples.push(self.sample(minute, service, life, (caller, service), &values));
                    }
                    for (_, callee) in EDGES.iter().filter(|(caller, _)| self.both_sides && *caller == service) {
                        let (more, failing) = passed[callee];
                        values[0] = (100.0 * (1.0 - failing) - dice.normal().abs() * 2.0 * self.noise).clamp(0.0, 100.0);
                        values[1] = dice.around(usual[callee][0] + more, 1.5 * self.noise) * wild;
                        samples.push(self.sample(minute, service, life, (service, callee), &values));
                    }
                }
                passed.insert(service, added);
            }
        }
        let owned = |(caller, callee): &(&str, &str)| ((*caller).to_owned(), (*callee).to_owned());
        Rollouts {
            signals: self.signals.iter().map(|signal| (*signal).to_owned()).collect(),
            samples,
            steps,
            graph: EDGES.iter().map(owned).collect(),
            candidates: self.rolled.iter().map(|(service, ..)| (*service).to_owned()).collect(),
            alert: START + 60 * (self.minutes - 4),
        }
    }

    fn lives(&self, service: &str, steps: &mut Vec<Step>) -> Vec<Life> {
        let pods = 3;
        let mut lives: Vec<Life> = (0..pods).map(|pod| Life { name: format!("{service}-a-{pod}"), new: false, from: 0, to: self.minutes }).collect();
        let Some((_, begin, manner)) = self.rolled.iter().find(|(rolled, ..)| *rolled == service) else { return lives };
        let (apart, replaced) = match manner {
            Manner::Rolling => (3, pods),
            Manner::Slowly => (8, pods),
            Manner::Recreated => (0, pods),
            Manner::Canary => (0, 0),
        };
        for pod in 0..replaced.max(1) {
            let start = begin + apart * i64::from(pod);
            if start >= self.minutes {
                break;
            }
            let name = format!("{service}-b-{pod}");
            let mut step = Step {
                start: START + 60 * start - 40,
                done: START + 60 * start,
                service: service.to_owned(),
                old: Some(if replaced == 0 { 3 } else { 2 - pod }),
                new: Some(pod + 1),
                old_version: "a".to_owned(),
                new_version: "b".to_owned(),
                came: vec![name.clone()],
                gone: vec![],
            };
            lives.push(Life { name, new: true, from: start, to: self.minutes });
            if replaced > 0 {
                lives[pod as usize].to = start;
                step.gone.push(lives[pod as usize].name.clone());
            }
            steps.push(step);
        }
        lives
    }

    fn sample(&self, minute: i64, service: &str, life: &Life, (caller, callee): (&str, &str), values: &[f64; 6]) -> Sample {
        let value = |signal: &&str| SIGNALS.iter().position(|known| known == signal).map(|place| (values[place] * 100.0).round() / 100.0);
        Sample {
            time: START + 60 * minute,
            pod: life.name.clone(),
            service: service.to_owned(),
            version: if life.new { "b" } else { "a" }.to_owned(),
            caller: caller.to_owned(),
            callee: callee.to_owned(),
            values: self.signals.iter().map(value).collect(),
        }
    }
}
