//! What was recorded, put in order: minutes, pods that are old or new, rollouts, and for each signal a track of how far it is from
//! the usual of its service. Names of pods and versions are compared with each other only.

mod tracks;

use std::collections::{BTreeMap, BTreeSet};

use super::{Rollouts, Sample, Seconds, Step};
pub(super) use tracks::{Point, Side, Track};

/// A while, counted from the first sample.
pub(super) type Minute = i64;

/// One pod of one version.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pod {
    pub(super) service: String,
    /// Brought by a rollout.
    pub(super) new: bool,
    pub(super) first: Minute,
    /// How many whiles it was seen in.
    pub(super) seen: usize,
}

/// A rollout as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rollout {
    /// The while its first step began in.
    pub(super) began: Minute,
    /// The one its first new pod was ready in.
    pub(super) ready: Minute,
    /// Seconds from that to the alert.
    pub(super) before_alert: Seconds,
    /// How many steps.
    pub(super) steps: usize,
}

/// Everything, put in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Fleet {
    pub(super) pods: Vec<Pod>,
    pub(super) rollouts: BTreeMap<String, Rollout>,
    /// Whom to judge.
    pub(super) candidates: Vec<String>,
    /// By signal, then by service.
    pub(super) tracks: Vec<Track>,
    /// Callers and callees.
    pub(super) edges: BTreeSet<(String, String)>,
}

// === impl Fleet ===

impl Fleet {
    pub(super) fn of(rollouts: &Rollouts) -> Self {
        let clock = Clock::of(&rollouts.samples);
        let mut steps: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
        for step in &rollouts.steps {
            steps.entry(&step.service).or_default().push(step);
        }
        let rolled = steps.iter().filter_map(|(service, steps)| Some(((*service).to_owned(), rollout(steps, &clock, rollouts.alert)?))).collect();
        let (pods, places) = pods(&rollouts.samples, &steps, &clock);
        let mut edges = rollouts.graph.clone();
        edges.extend(rollouts.samples.iter().map(|sample| (sample.caller.clone(), sample.callee.clone())));
        edges.retain(|(caller, callee)| caller != callee && !caller.is_empty() && !callee.is_empty());
        let mut candidates =
            if rollouts.candidates.is_empty() { steps.keys().map(|service| (*service).to_owned()).collect() } else { rollouts.candidates.clone() };
        candidates.sort();
        candidates.dedup();
        let mut fleet = Self { pods, rollouts: rolled, candidates, tracks: Vec::new(), edges };
        fleet.tracks = tracks::tracks(&fleet, rollouts, &clock, &places);
        fleet
    }

    /// The earliest while in which any rollout began.
    pub(super) fn began(&self) -> Minute {
        self.rollouts.values().map(|rollout| rollout.began).min().unwrap_or(Minute::MAX)
    }

    /// Whether a point may speak for a new pod: its first while is a start, which says nothing of later.
    pub(super) fn settled(&self, point: &Point) -> bool {
        self.pods.get(point.pod).is_some_and(|pod| pod.new && (pod.seen < 3 || point.minute > pod.first))
    }

    pub(super) fn is_new(&self, point: &Point) -> bool {
        self.pods.get(point.pod).is_some_and(|pod| pod.new)
    }

    /// Everyone that `service` calls, near and far.
    pub(super) fn below<'a>(&'a self, service: &'a str) -> BTreeSet<&'a str> {
        reached(service, |one| self.edges.iter().filter(move |(caller, _)| caller == one).map(|(_, callee)| callee.as_str()))
    }

    /// Everyone that calls `service`, near and far.
    pub(super) fn above<'a>(&'a self, service: &'a str) -> BTreeSet<&'a str> {
        reached(service, |one| self.edges.iter().filter(move |(_, callee)| callee == one).map(|(caller, _)| caller.as_str()))
    }
}

fn reached<'a, I: Iterator<Item = &'a str>>(service: &'a str, next: impl Fn(&'a str) -> I) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![service];
    while let Some(one) = open.pop() {
        for other in next(one) {
            if other != service && reached.insert(other) {
                open.push(other);
            }
        }
    }
    reached
}

/// Counts whiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Seconds,
    length: Seconds,
}

// === impl Clock ===

impl Clock {
    /// The length of a while is the usual distance of a pod's samples on one edge.
    fn of(samples: &[Sample]) -> Self {
        let origin = samples.iter().map(|sample| sample.time).min().unwrap_or(0);
        let mut times: BTreeMap<(&str, &str, &str, &str), BTreeSet<Seconds>> = BTreeMap::new();
        for sample in samples {
            times.entry((&sample.pod, &sample.version, &sample.caller, &sample.callee)).or_default().insert(sample.time);
        }
        let gaps = |times: &BTreeSet<Seconds>| times.iter().zip(times.iter().skip(1)).map(|(one, next)| next.saturating_sub(*one)).collect::<Vec<_>>();
        let mut gaps: Vec<Seconds> = times.values().flat_map(gaps).collect();
        gaps.sort_unstable();
        let length = gaps.get(gaps.len() / 2).copied().unwrap_or(60).clamp(1, 600);
        Self { origin, length }
    }

    pub(super) fn minute(&self, time: Seconds) -> Minute {
        time.saturating_sub(self.origin).div_euclid(self.length)
    }
}

/// Steps that bring pods are the rollout; without any, all of them are.
fn rollout(steps: &[&Step], clock: &Clock, alert: Seconds) -> Option<Rollout> {
    let brings = |step: &&&Step| !step.came.is_empty() || step.new.is_some_and(|new| new > 0);
    let first = steps.iter().filter(brings).min_by_key(|step| (step.start, step.done)).or_else(|| steps.iter().min_by_key(|step| (step.start, step.done)))?;
    Some(Rollout {
        began: clock.minute(first.start),
        ready: clock.minute(first.done.max(first.start)),
        before_alert: alert.saturating_sub(first.done.max(first.start)),
        steps: steps.len(),
    })
}

/// Pods are told apart by name and version, and by whether a step has replaced one under its own name.
type Identity<'a> = (&'a str, &'a str, &'a str, bool);

fn pods<'a>(samples: &'a [Sample], steps: &BTreeMap<&'a str, Vec<&'a Step>>, clock: &Clock) -> (Vec<Pod>, Vec<usize>) {
    let mut renewed: BTreeMap<(&str, &str), Seconds> = BTreeMap::new();
    for (service, steps) in steps {
        let gone: BTreeSet<&String> = steps.iter().flat_map(|step| &step.gone).collect();
        for (pod, start) in steps.iter().flat_map(|step| step.came.iter().map(|pod| (pod, step.start))).filter(|(pod, _)| gone.contains(pod)) {
            let since = renewed.entry((service, pod)).or_insert(start);
            *since = start.min(*since);
        }
    }
    let identity = |sample: &'a Sample| -> Identity<'a> {
        let since = renewed.get(&(sample.service.as_str(), sample.pod.as_str()));
        (&sample.service, &sample.pod, &sample.version, since.is_some_and(|since| sample.time >= *since))
    };
    let mut seen: BTreeMap<Identity<'a>, BTreeSet<Minute>> = BTreeMap::new();
    for sample in samples {
        seen.entry(identity(sample)).or_default().insert(clock.minute(sample.time));
    }
    let mut pods = Vec::with_capacity(seen.len());
    let mut order: BTreeMap<Identity<'a>, usize> = BTreeMap::new();
    let mut newcomers: BTreeMap<&str, Newcomers<'_>> = BTreeMap::new();
    for (service, steps) in steps {
        newcomers.insert(service, Newcomers::of(service, steps, &seen, clock));
    }
    for (identity, minutes) in &seen {
        let (service, ..) = *identity;
        let first = minutes.first().copied().unwrap_or(0);
        let new = newcomers.get(service).is_some_and(|newcomers| newcomers.has(identity, first));
        order.insert(*identity, pods.len());
        pods.push(Pod { service: service.to_owned(), new, first, seen: minutes.len() });
    }
    let places = samples.iter().map(|sample| order.get(&identity(sample)).copied().unwrap_or(usize::MAX)).collect();
    (pods, places)
}

/// Who is new in a service.
struct Newcomers<'a> {
    came: BTreeSet<&'a str>,
    gone: BTreeSet<&'a str>,
    versions: BTreeSet<&'a str>,
    began: Minute,
}

// === impl Newcomers ===

impl<'a> Newcomers<'a> {
    /// A version is new when pods that came carry it and no pod carried it before. Where steps name no pods, the version they name is.
    fn of(service: &str, steps: &[&'a Step], seen: &BTreeMap<Identity<'a>, BTreeSet<Minute>>, clock: &Clock) -> Self {
        let came: BTreeSet<&str> = steps.iter().flat_map(|step| &step.came).map(String::as_str).collect();
        let gone: BTreeSet<&str> = steps.iter().flat_map(|step| &step.gone).map(String::as_str).collect();
        let began = steps.iter().map(|step| clock.minute(step.start)).min().unwrap_or(Minute::MAX);
        let own = || seen.iter().filter(|((of, ..), _)| *of == service);
        let before: BTreeSet<&str> =
            own().filter(|(_, minutes)| minutes.first().is_some_and(|first| *first < began)).map(|((_, _, version, _), _)| *version).collect();
        let carried: BTreeSet<&str> = own()
            .filter(|((_, pod, _, replaced), _)| came.contains(pod) && (*replaced || !gone.contains(pod)))
            .map(|((_, _, version, _), _)| *version)
            .filter(|version| !version.is_empty() && !before.contains(version))
            .collect();
        let all: BTreeSet<&str> = own().map(|((_, _, version, _), _)| *version).filter(|version| !version.is_empty()).collect();
        let named: BTreeSet<&str> =
            steps.iter().map(|step| step.new_version.as_str()).filter(|version| all.contains(version) && !before.contains(version)).collect();
        let appeared: BTreeSet<&str> = all.iter().copied().filter(|version| !before.is_empty() && !before.contains(version)).collect();
        let versions = [carried, named, appeared].into_iter().find(|versions| !versions.is_empty() && versions.len() < all.len().max(2)).unwrap_or_default();
        Self { came, gone, versions, began }
    }

    fn has(&self, (_, pod, version, replaced): &Identity<'a>, first: Minute) -> bool {
        match () {
            () if *replaced => true,
            () if !self.versions.is_empty() && !version.is_empty() => self.versions.contains(version),
            () if self.came.contains(pod) => !self.gone.contains(pod) || first >= self.began,
            () if self.gone.contains(pod) => false,
            () => first > self.began,
        }
    }
}
