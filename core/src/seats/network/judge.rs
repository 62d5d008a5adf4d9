//! Is a service ill by its own answers, of what, and since when: its newest windows against its own usual ones.

use serde::Serialize;

use super::pods::Stuck;
use super::{Counts, View};
use crate::ids::UnixMillis;
use crate::incident::Symptom;
use crate::seats::baseline::{Baseline, onset};
use crate::seats::histogram::Histogram;
use crate::seats::paths::callees;
use crate::seats::window::{Ring, newest_closed, number, start};
use crate::seats::{Finding, Indicator, Settings};
use crate::target::Service;
use crate::verification;

/// Newest windows that say how things are now.
pub(super) const RECENT: i64 = 4;
/// Most windows that are told to whoever verifies.
const TOLD_WINDOWS: i64 = 240;
/// Of those, so many in a row must be bad.
pub(super) const BAD: usize = 2;
/// Windows that are walked back to the onset.
const WALK: i64 = 60;
/// Fewest answers in a window for a share of errors to mean anything.
pub(super) const FEW: u64 = 3;
/// Share of errors above the usual, in millionths.
pub(super) const ERRORS_ABOVE: i64 = 100_000;
/// Spreads above the usual for errors and latency.
const SPREADS: i64 = 6;
/// Latency above the usual that somebody might feel.
const LATENCY_ABOVE_US: i64 = 20_000;

/// What is wrong with a service's own answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Fault {
    /// Answered with errors.
    Errors,
    /// Taken and not answered.
    Stalled,
    /// Answered late, under an undiminished load.
    Saturation,
}

/// What is usual for a service, by window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Usual {
    pub(super) requests: Baseline,
    /// Millionths of the answers.
    pub(super) errors: Baseline,
    /// Mean, microseconds.
    pub(super) latency: Baseline,
    /// Some services hold requests open on purpose.
    pub(super) unanswered: Baseline,
}

/// The newest windows of a service together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Judged {
    pub(super) usual: Usual,
    pub(super) now: Counts,
    /// Windows in `now`.
    pub(super) recent: usize,
    pub(super) fault: Option<Fault>,
    /// The one pod that is to blame for it, if there is one.
    pub(super) stuck: Option<Stuck>,
    /// Whether all its pods together show it, or that one has for long enough.
    pub(super) news: bool,
    pub(super) onset: Option<UnixMillis>,
    pub(super) from: UnixMillis,
    pub(super) to: UnixMillis,
}

// === impl Fault ===

impl Fault {
    pub(super) fn symptom(self) -> Symptom {
        match self {
            Self::Errors => Symptom::Errors,
            Self::Stalled => Symptom::NoResponse,
            Self::Saturation => Symptom::Latency,
        }
    }
}

// === impl View ===

impl View {
    /// The service's windows: by its own sidecar, or by its callers' when its own is silent.
    pub(super) fn ring(&self, service: &Service, now: UnixMillis) -> Option<&Ring<Counts>> {
        let fresh = newest_closed(&self.settings, now).saturating_sub(RECENT);
        let live = |ring: &&Ring<Counts>| ring.newest().is_some_and(|newest| newest > fresh);
        let own = self.told_by_callee.get(service);
        own.filter(live).or_else(|| self.told_by_callers.get(service).filter(live)).or(own)
    }

    /// How `service` is now, compared with before `since`; the error says what is missing.
    pub(super) fn judge(&self, service: &Service, since: UnixMillis, now: UnixMillis) -> Result<Judged, String> {
        self.judge_from(service, since, now, BAD)
    }

    /// As [`Self::judge`], ill from so many bad windows in a row on: a service that is called by an ill one is suspected
    /// sooner, since its windows may arrive after its caller's.
    pub(super) fn judge_from(&self, service: &Service, since: UnixMillis, now: UnixMillis, bad: usize) -> Result<Judged, String> {
        let ring = self.ring(service, now).ok_or_else(|| format!("no sidecar has told of {service}"))?;
        let settings = &self.settings;
        let newest = newest_closed(settings, now);
        let fresh = newest.saturating_sub(RECENT).saturating_add(1);
        if ring.between(fresh, newest).next().is_none() {
            return Err(format!("no sidecar has told of {service} for {} s", RECENT * settings.grid_ms / 1000));
        }
        let before = number(settings, since).min(fresh).saturating_sub(1);
        let usual = self.usual(ring, before)?;
        let walked: Vec<(UnixMillis, bool)> =
            ring.between(newest.saturating_sub(WALK), newest).map(|(n, window)| (start(settings, n), usual.fault(window, 1).is_some())).collect();
        let recent = ring.between(fresh, newest);
        let mut sum = Counts::default();
        let (mut count, mut run, mut longest) = (0, 0, 0);
        for (_, window) in recent {
            sum.merge(window);
            // Unanswered requests are a level, not a count: the newest window has them all.
            sum.stalled = window.stalled;
            count += 1;
            run = if usual.fault(window, 1).is_some() { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        let fault = if longest >= bad { usual.fault(&sum, i64::try_from(count).unwrap_or(1)) } else { None };
        // Whoever answers with errors does so with more than one pod.
        let stuck = if fault == Some(Fault::Errors) { None } else { self.stuck(service, now) };
        let began = fault.and_then(|_| onset(&walked));
        Ok(Judged {
            usual,
            now: sum,
            recent: count,
            fault: stuck.as_ref().map(|_| Fault::Stalled).or(fault),
            news: fault.is_some() || stuck.as_ref().is_some_and(|stuck| stuck.lasts),
            onset: stuck.as_ref().map(|stuck| began.map_or(stuck.from, |began| began.min(stuck.from))).or(began),
            stuck,
            from: start(settings, fresh),
            to: start(settings, newest.saturating_add(1)),
        })
    }

    pub(super) fn usual(&self, ring: &Ring<Counts>, before: i64) -> Result<Usual, String> {
        let settings = &self.settings;
        let windows: Vec<&Counts> = ring
            .between(i64::MIN, before)
            .filter(|(n, window)| !self.masks.cover(start(settings, *n)) && window.answered() > 0)
            .map(|(_, window)| window)
            .collect();
        let learn = |values: Vec<i64>, floor: i64| {
            let have = values.len();
            Baseline::learn(values, floor, settings.learn).ok_or_else(|| format!("learned {have} of {} windows", settings.learn))
        };
        Ok(Usual {
            requests: learn(windows.iter().map(|w| signed(w.requests)).collect(), 1)?,
            errors: learn(windows.iter().map(|w| error_share(w)).collect(), 10_000)?,
            latency: learn(windows.iter().filter_map(|w| w.latency.mean_us()).collect(), 2_000)?,
            unanswered: learn(windows.iter().map(|w| signed(w.unanswered())).collect(), 1)?,
        })
    }

    /// The services that are ill now, as findings for people: the deepest ones only.
    pub(super) fn look(&self, now: UnixMillis) -> Vec<Finding> {
        let edges = self.edges();
        let ill: Vec<(&Service, Judged, Fault)> = self
            .told_by_callee
            .keys()
            .chain(self.told_by_callers.keys().filter(|service| !self.told_by_callee.contains_key(service)))
            .filter_map(|service| {
                let judged = self.judge(service, now, now).ok().filter(|judged| judged.news)?;
                let fault = judged.fault?;
                Some((service, judged, fault))
            })
            .collect();
        let deepest = |service: &Service| !callees(&edges, service).any(|callee| ill.iter().any(|(other, ..)| *other == callee));
        ill.iter()
            .filter(|(service, ..)| deepest(service))
            .map(|(service, judged, fault)| Finding {
                service: (*service).clone(),
                symptom: fault.symptom(),
                since: judged.onset.unwrap_or(judged.from),
                summary: judged.summary(),
            })
            .collect()
    }

    /// The word on `service` for whoever verifies an action.
    pub(super) fn indicate(&self, service: &Service, since: UnixMillis, now: UnixMillis) -> Indicator {
        let settings = &self.settings;
        let Some(ring) = self.ring(service, now) else {
            return Indicator { summary: format!("no sidecar has told of {service}"), ..Indicator::default() };
        };
        let newest = newest_closed(settings, now);
        let first = number(settings, since).saturating_add(1);
        let mut sum = Counts::default();
        for (_, window) in ring.between(first, newest) {
            sum.merge(window);
            sum.stalled = window.stalled;
        }
        let oldest = first.max(newest.saturating_sub(TOLD_WINDOWS));
        let recorded = ring.between(oldest, newest).map(|(number, counts)| told(settings, number, counts)).collect();
        let fresh = newest.saturating_sub(RECENT).saturating_add(1).max(first);
        let mut latest = Counts::default();
        let mut windows = 0;
        for (_, window) in ring.between(fresh, newest) {
            latest.merge(window);
            latest.stalled = window.stalled;
            windows += 1;
        }
        // Without a baseline of its own past the word is by level alone, and says so.
        let usual = self.usual(ring, first.saturating_sub(1)).ok();
        let fault = usual.map_or_else(|| error_share(&latest) >= ERRORS_ABOVE / 2 || latest.unanswered() > 0, |u| u.fault(&latest, windows.max(1)).is_some());
        let live = windows > 0 && latest.answered().saturating_add(latest.unanswered()) > 0;
        let against = if usual.is_some() { "" } else { ", by level alone" };
        Indicator {
            live,
            healthy: live && !fault && !self.stuck(service, now).is_some_and(|stuck| stuck.lasts),
            summary: if live { format!("{}{against}", figures(&latest)) } else { format!("nobody called {service}") },
            requests: sum.requests,
            errors: sum.server_error.saturating_add(sum.no_response),
            p95_us: sum.latency.p95_us(),
            stalled: sum.stalled,
            latency: sum.latency.buckets(),
            windows: recorded,
            neighbours: self.neighbours(service, since, now),
            ..Indicator::default()
        }
    }
}

// === impl Usual ===

impl Usual {
    /// Whether that many millionths of the answers are more errors than ever.
    pub(super) fn has_errors(&self, share: i64) -> bool {
        share >= self.errors.median.saturating_add(ERRORS_ABOVE.max(SPREADS.saturating_mul(self.errors.scale)))
    }

    /// Whether answers take longer than ever, for so many microseconds on average.
    pub(super) fn is_late(&self, mean: i64) -> bool {
        let usual = &self.latency;
        mean >= usual.median.saturating_mul(2) && mean.saturating_sub(usual.median) >= LATENCY_ABOVE_US && usual.above(mean) >= SPREADS
    }

    /// What is wrong in `window`, which covers as many windows of the grid as `width`.
    pub(super) fn fault(&self, window: &Counts, width: i64) -> Option<Fault> {
        let usual_requests = self.requests.median.saturating_mul(width);
        let answered = signed(window.answered());
        let errors = window.answered() >= FEW && self.has_errors(error_share(window));
        let unanswered = signed(window.unanswered());
        let late = self.is_late(window.latency.mean_us().unwrap_or(0));
        let loaded = answered.saturating_mul(10) >= usual_requests.saturating_mul(3);
        let more = unanswered.saturating_sub(self.unanswered.median);
        let stalled = more >= 2 && more.saturating_mul(10) >= self.requests.median && self.unanswered.above(unanswered) >= 2;
        // Half as much again is asked of it: what it cannot answer it has no time for. A stuck process is asked no more than
        // usual.
        let swamped = (stalled || late) && answered > 0 && signed(window.requests).saturating_mul(2) >= usual_requests.saturating_mul(3);
        if errors && signed(window.server_error) >= unanswered {
            Some(Fault::Errors)
        } else if swamped || late && loaded && window.answered() >= FEW {
            Some(Fault::Saturation)
        } else if stalled {
            Some(Fault::Stalled)
        } else {
            None
        }
    }
}

// === impl Judged ===

impl Judged {
    pub(super) fn summary(&self) -> String {
        let stuck = self.stuck.as_ref().map_or_else(String::new, |stuck| format!("{}; ", stuck.summary()));
        format!(
            "{stuck}{}; usual {} requests and {} us per window, {} ppm errors",
            figures(&self.now),
            self.usual.requests.median,
            self.usual.latency.median,
            self.usual.errors.median
        )
    }
}

/// A window as it is told to whoever compares.
pub(super) fn told(settings: &Settings, number: i64, counts: &Counts) -> verification::Window {
    verification::Window {
        at: start(settings, number),
        requests: counts.requests,
        errors: counts.server_error.saturating_add(counts.no_response),
        mean_us: counts.latency.mean_us().and_then(|mean| u64::try_from(mean).ok()).unwrap_or(0),
    }
}

pub(super) fn figures(counts: &Counts) -> String {
    format!(
        "{} requests, {} answered, {} errors, {} unanswered, mean {} us",
        counts.requests,
        counts.answered(),
        counts.server_error,
        counts.unanswered(),
        mean(&counts.latency)
    )
}

fn mean(latency: &Histogram) -> i64 {
    latency.mean_us().unwrap_or(0)
}

/// Millionths of the answers that are errors.
fn error_share(counts: &Counts) -> i64 {
    signed(counts.server_error.saturating_mul(1_000_000).checked_div(counts.answered()).unwrap_or(0))
}

pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
