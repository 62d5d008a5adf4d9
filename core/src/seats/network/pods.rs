//! Which pod of a service is stuck: what each pod's own sidecar tells of the requests that it takes.
//!
//! Callers leave a pod that answers nothing, so a service's sums hide it within seconds, and kubelets cannot tell it from one that
//! nobody calls. Its own windows can: it answered before, it was asked since and answered none, while the others answer.
//! What callers without an identity ask counts for nothing, and so do as many answers to them as kubelets' probes may get: those of
//! another port would speak for a pod that is stuck.

mod word;

use std::collections::BTreeMap;

use serde::Serialize;

use super::judge::{BAD, FEW, RECENT};
use super::{Counts, Observation, View};
use crate::ids::UnixMillis;
use crate::seats::Settings;
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

/// A window in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    asked: u64,
    answered: u64,
    unanswered: u64,
    /// Answers to callers with an identity alone, how many of them were errors, and what they took together.
    served: u64,
    errors: u64,
    spent_us: u64,
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
            let inbound = |identified: bool| {
                let of = observation.requests.iter().filter(move |requests| requests.inbound && requests.identified == identified);
                of.map(|requests| &requests.counts)
            };
            for counts in inbound(true) {
                window.asked = window.asked.saturating_add(counts.requests);
                window.answered = window.answered.saturating_add(counts.answered());
                window.unanswered = window.unanswered.saturating_add(counts.unanswered());
                window.served = window.served.saturating_add(counts.answered());
                window.errors = window.errors.saturating_add(counts.server_error);
                window.spent_us = window.spent_us.saturating_add(counts.latency.sum_us());
            }
            // Strangers that get answers are served too, where they are more than kubelets that probe.
            let strangers = inbound(false).map(Counts::answered).fold(0, u64::saturating_add);
            window.answered = window.answered.saturating_add(strangers.saturating_sub(PROBES));
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

// === impl Told ===

impl Told {
    fn state(&self, newest: i64, learn: usize) -> State {
        let mut windows = self.windows.between(i64::MIN, newest).rev().peekable();
        let (mut asked, mut most, mut let_down, mut first) = (0_u64, 0, 0, None);
        // Windows in which nobody asked say nothing: whoever was let down has left.
        while let Some((number, window)) = windows.next_if(|(_, window)| window.answered == 0) {
            asked = asked.saturating_add(window.asked);
            most = most.max(window.unanswered);
            if window.unanswered > 0 {
                let_down += 1;
                first = Some(number);
            }
        }
        let Some(first) = first else { return State::Well };
        let (mut all, mut worked, mut waited) = (Vec::new(), 0_usize, 0_usize);
        for (_, window) in windows {
            all.push(window.answered);
            worked = worked.saturating_add(usize::from(window.answered > 0));
            waited = waited.saturating_add(usize::from(window.unanswered > 0));
        }
        all.sort_unstable();
        // Who answers little is silent now and then, and one slow answer is none that never comes.
        let busy = all.get(all.len() / 2).is_some_and(|usual| *usual >= FEW);
        let (suspect, lasts) = if busy { (BAD, 2 * BAD) } else { (2 * BAD, 4 * BAD) };
        // The window in which it stopped has answers and somebody who waits.
        let steady = worked >= learn.max(1) && waited.saturating_sub(1).saturating_mul(WAITING) <= worked;
        if let_down >= suspect && steady && asked.max(most) >= 2 {
            return State::Stuck { asked, first, lasts: let_down >= lasts };
        }
        State::Unknown
    }

    fn answered_since(&self, first: i64, newest: i64) -> bool {
        self.windows.between(first, newest).any(|(_, window)| window.answered > 0)
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
            windows.fold((false, false), |(answered, let_down), window| (answered || window.answered > 0, let_down || window.unanswered > 0));
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
