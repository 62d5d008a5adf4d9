//! Which pod of a service is stuck, and how single pods do: what each pod's own sidecar tells of the requests that it takes.
//!
//! Callers leave a pod that answers nothing, so a service's sums hide it within seconds, and kubelets cannot tell it from one that
//! nobody calls. Its own windows can: it answered before, it was asked since and answered none, while the others answer.
//! Callers without an identity count only for the answers that they get, and only in windows with more of those than kubelets' probes may
//! get: probes of another port would speak for a pod that is stuck, and those of one that starts would speak against it.

mod word;

use std::collections::BTreeMap;
use std::iter::Peekable;

use serde::Serialize;

use super::judge::{BAD, FEW, RECENT};
use super::{Counts, Observation, View};
use crate::ids::UnixMillis;
use crate::seats::Settings;
use crate::seats::histogram::Histogram;
use crate::seats::window::{Ring, newest_closed, start};
use crate::target::Service;

/// Pods that are told apart; further ones are not judged one by one.
pub(super) const MAX_PODS: usize = 4096;
/// Windows of a pod that are remembered: two minutes.
const HISTORY: usize = 64;
/// Answers in a window that may be those to probes.
const PROBES: u64 = 6;
/// Of a pod's windows in the past at most one in so many may have had somebody wait: some services hold requests open on purpose.
const WAITING: usize = 10;

/// A pod that speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its UID, proven.
    pub uid: String,
    /// Its name, for people.
    pub name: String,
}

/// A window in short: the sums that judgements need, and no more, since there are many pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    asked: u32,
    success: u32,
    errors: u32,
    no_response: u32,
    stalled: u32,
    /// Answers to anybody whose time is known, and the time that they took together.
    timed: u32,
    time_us: u64,
}

/// A pod's newest windows for as long as it answered nobody in them.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    asked: u64,
    /// Most that waited in one window.
    most: u64,
    /// Windows in which somebody was let down, and the first of them.
    let_down: usize,
    first: Option<i64>,
}

/// What one pod's sidecar told.
#[derive(Debug)]
struct Told {
    name: String,
    windows: Ring<Heard>,
}

/// The pods that speak, by workload and UID.
#[derive(Debug, Default)]
pub(super) struct Pods(BTreeMap<Service, BTreeMap<String, Told>>);

/// The one pod of several that takes requests and answers none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stuck {
    pub(super) uid: String,
    name: String,
    /// Requests since it answered last.
    asked: u64,
    /// The service's other pods that answered since.
    others: usize,
    /// Whether that has lasted for so long that it is told unasked.
    pub(super) lasts: bool,
    /// When the first request was let down.
    pub(super) from: UnixMillis,
    pub(super) to: UnixMillis,
}

/// How one pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It answered last, or nobody asks it.
    Well,
    /// Asked and silent, though it used to answer.
    Stuck { asked: u64, first: i64, lasts: bool },
    /// Asked and silent, and more is not known.
    Unknown,
}

/// What a pod does with those who ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lately {
    /// All who asked were answered.
    Answers,
    /// None of them was.
    IsSilent,
    /// Some were, or nobody asked.
    SaysNothing,
}

// === impl Pods ===

impl Pods {
    /// Takes in one window.
    pub(super) fn observe(&mut self, observation: &Observation, at: UnixMillis, now: UnixMillis, settings: &Settings) {
        let (Some(pod), speaker) = (&observation.pod, &observation.speaker) else { return };
        let known = self.0.get(speaker).is_some_and(|pods| pods.contains_key(&pod.uid));
        if !known && self.len() >= MAX_PODS {
            return;
        }
        let pods = self.0.entry(speaker.clone()).or_default();
        let told = pods.entry(pod.uid.clone()).or_insert_with(|| Told { name: pod.name.clone(), windows: Ring::default() });
        if let Some(window) = told.windows.window(&short(settings), at, now) {
            let inbound = || observation.requests.iter().filter(|requests| requests.inbound);
            let of = |identified: bool| inbound().filter(move |requests| requests.identified == identified).map(|requests| &requests.counts);
            for counts in of(true) {
                window.answers(counts);
                window.lets_down(counts);
            }
            // Strangers that get answers are served too, where they are more than kubelets that probe. Which of them were probes nobody can
            // tell, so all count then: with some left out, one error among many would weigh as one among few.
            let strangers = of(false).map(Counts::answered).fold(0, u64::saturating_add);
            if strangers > PROBES {
                of(false).for_each(|counts| window.answers(counts));
            }
            // The service's usual time is one with probes, which are quick: without them its pods would be late always.
            inbound().for_each(|requests| window.takes(&requests.counts.latency));
        }
    }

    /// Forgets pods that have told nothing for longer than is remembered.
    pub(super) fn tick(&mut self, now: UnixMillis, settings: &Settings) {
        let oldest = newest_closed(settings, now).saturating_sub(i64::try_from(HISTORY).unwrap_or(i64::MAX));
        self.0.values_mut().for_each(|pods| pods.retain(|_, told| told.windows.newest().is_some_and(|newest| newest > oldest)));
        self.0.retain(|_, pods| !pods.is_empty());
    }

    /// How many are told apart.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    fn of(&self, service: &Service) -> impl Iterator<Item = (&String, &Told)> {
        self.0.get(service).into_iter().flatten()
    }
}

fn short(settings: &Settings) -> Settings {
    Settings { history: HISTORY.min(settings.history), ..*settings }
}

// === impl Heard ===

impl Heard {
    fn answers(&mut self, counts: &Counts) {
        add(&mut self.asked, counts.requests);
        add(&mut self.success, counts.success);
        add(&mut self.errors, counts.server_error);
    }

    fn lets_down(&mut self, counts: &Counts) {
        add(&mut self.no_response, counts.no_response);
        add(&mut self.stalled, counts.stalled);
    }

    fn takes(&mut self, latency: &Histogram) {
        add(&mut self.timed, latency.count());
        self.time_us = self.time_us.saturating_add(latency.sum_us());
    }

    fn answered(&self) -> u64 {
        u64::from(self.success).saturating_add(u64::from(self.errors))
    }

    fn unanswered(&self) -> u64 {
        u64::from(self.no_response).saturating_add(u64::from(self.stalled))
    }
}

fn add(sum: &mut u32, count: u64) {
    *sum = sum.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
}

// === impl Silence ===

impl Silence {
    /// Takes the windows without an answer from `windows`, which begin with the newest.
    fn take<'a, I: Iterator<Item = (i64, &'a Heard)>>(windows: &mut Peekable<I>) -> Self {
        let mut silence = Self::default();
        // Windows in which nobody asked say nothing: whoever was let down has left.
        while let Some((number, window)) = windows.next_if(|(_, window)| window.answered() == 0) {
            silence.asked = silence.asked.saturating_add(u64::from(window.asked));
            silence.most = silence.most.max(window.unanswered());
            if window.unanswered() > 0 {
                silence.let_down += 1;
                silence.first = Some(number);
            }
        }
        silence
    }

    /// Whether it is at least this many who got no answer: one slow answer is none that never comes.
    fn is_of(&self, least: u64) -> bool {
        self.asked.max(self.most) >= least
    }
}

// === impl Told ===

impl Told {
    fn state(&self, newest: i64, learn: usize) -> State {
        let mut windows = self.windows.between(i64::MIN, newest).rev().peekable();
        let silence = Silence::take(&mut windows);
        let Silence { asked, let_down, first: Some(first), .. } = silence else { return State::Well };
        let (mut all, mut worked, mut waited) = (Vec::new(), 0_usize, 0_usize);
        for (_, window) in windows {
            all.push(window.answered());
            worked = worked.saturating_add(usize::from(window.answered() > 0));
            waited = waited.saturating_add(usize::from(window.unanswered() > 0));
        }
        all.sort_unstable();
        // Who answers little is silent now and then.
        let busy = all.get(all.len() / 2).is_some_and(|usual| *usual >= FEW);
        let (suspect, lasts) = if busy { (BAD, 2 * BAD) } else { (2 * BAD, 4 * BAD) };
        // The window in which it stopped has answers and somebody who waits.
        let steady = worked >= learn.max(1) && waited.saturating_sub(1).saturating_mul(WAITING) <= worked;
        if let_down >= suspect && steady && silence.is_of(2) {
            return State::Stuck { asked, first, lasts: let_down >= lasts };
        }
        State::Unknown
    }

    fn answered_since(&self, first: i64, newest: i64) -> bool {
        self.windows.between(first, newest).any(|(_, window)| window.answered() > 0)
    }
}

// === impl View ===

impl View {
    /// The only pod of `service` that is stuck, where others of it answer. A program with one worker stands still for a few seconds: that is
    /// a suspicion for who is asked, and no news before it lasts.
    pub(super) fn stuck(&self, service: &Service, now: UnixMillis) -> Option<Stuck> {
        let settings = &self.settings;
        let newest = newest_closed(settings, now);
        let fresh = newest.saturating_sub(RECENT);
        let speaking = || self.pods.of(service).filter(|(_, told)| told.windows.newest().is_some_and(|newest| newest > fresh));
        let mut silent = speaking().filter_map(|(uid, told)| match told.state(newest, settings.learn) {
            State::Well => None,
            State::Stuck { asked, first, lasts } => Some(Some((uid, told, (asked, first, lasts)))),
            // More of it than this one is amiss.
            State::Unknown => Some(None),
        });
        let (Some(Some((uid, told, (asked, first, lasts)))), None) = (silent.next(), silent.next()) else { return None };
        let others = speaking().filter(|(other, told)| *other != uid && told.answered_since(first, newest)).count();
        (others > 0).then(|| Stuck {
            uid: uid.clone(),
            name: told.name.clone(),
            asked,
            others,
            lasts,
            from: start(settings, first),
            to: start(settings, newest.saturating_add(1)),
        })
    }

    /// What the pod's own sidecar told lately, if it did.
    pub(super) fn lately(&self, service: &Service, uid: &str, now: UnixMillis) -> Option<Lately> {
        let newest = newest_closed(&self.settings, now);
        let from = newest.saturating_sub(RECENT).saturating_add(1);
        let (_, told) = self.pods.of(service).find(|(other, _)| *other == uid)?;
        let mut windows = told.windows.between(from, newest).map(|(_, window)| window).peekable();
        windows.peek()?;
        let (answered, let_down) =
            windows.fold((false, false), |(answered, let_down), window| (answered || window.answered() > 0, let_down || window.unanswered() > 0));
        Some(match (answered, let_down) {
            (true, false) => Lately::Answers,
            (false, true) => Lately::IsSilent,
            (true, true) | (false, false) => Lately::SaysNothing,
        })
    }
}

// === impl Stuck ===

impl Stuck {
    pub(super) fn summary(&self) -> String {
        let Self { name, asked, others, from, to, .. } = self;
        format!("pod {name:.253} has answered nothing for {} s, asked {asked} times, while {others} others answer", to.since(*from) / 1000)
    }
}

#[cfg(test)]
mod cases;
