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
const ERRORS_ABOVE: i64 = 100_000;
/// Spreads above the usual for errors and latency.
const SPREADS: i64 = 6;
/// Latency above the usual that somebody might feel.
const LATENCY_ABOVE_US: i64 = 20_000;
/// Said where nothing usual is known.
pub(super) const BY_LEVEL: &str = ", by level alone";

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

/// What windows since a moment say together.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// All of them.
    pub(super) all: Counts,
    /// The newest of them, which the word is by.
    pub(super) latest: Counts,
    /// Windows in `latest`, at least one.
    pub(super) width: i64,
    /// Whether `latest` is beyond what is usual.
    pub(super) ill: bool,
    windows: Vec<verification::Window>,
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
        let (sum, count) = together(ring.between(fresh, newest));
        let (mut run, mut longest) = (0, 0);
        for (_, window) in ring.between(fresh, newest) {
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
        let fresh = newest.saturating_sub(RECENT).saturating_add(1).max(first);
        let usual = self.usual(ring, first.saturating_sub(1)).ok();
        let sums = Sums::of(settings, ring, (first, fresh, newest), usual.as_ref());
        let live = sums.latest.answered().saturating_add(sums.latest.unanswered()) > 0;
        let against = if usual.is_some() { "" } else { BY_LEVEL };
        Indicator {
            live,
            healthy: live && !sums.ill && !self.stuck(service, now).is_some_and(|stuck| stuck.lasts),
            summary: if live { format!("{}{against}", figures(&sums.latest)) } else { format!("nobody called {service}") },
            p95_us: sums.all.latency.p95_us(),
            latency: sums.all.latency.buckets(),
            neighbours: self.neighbours(service, since, now),
            ..sums.indicator()
        }
    }
}

// === impl Sums ===

impl Sums {
    /// What `ring` tells from window `first` to window `newest`; those from `fresh` on say how things are now.
    pub(super) fn of(settings: &Settings, ring: &Ring<Counts>, (first, fresh, newest): (i64, i64, i64), usual: Option<&Usual>) -> Self {
        let (all, _) = together(ring.between(first, newest));
        let (latest, count) = together(ring.between(fresh, newest));
        let width = i64::try_from(count).unwrap_or(1).max(1);
        // Without a baseline of its own past the word is by level alone, and says so.
        let by_level = || error_share(&latest) >= ERRORS_ABOVE / 2 || latest.unanswered() > 0;
        let ill = usual.map_or_else(by_level, |usual| usual.fault(&latest, width).is_some());
        let oldest = first.max(newest.saturating_sub(TOLD_WINDOWS));
        let windows = ring.between(oldest, newest).map(|(number, counts)| told(settings, number, counts)).collect();
        Self { all, latest, width, ill, windows }
    }

    /// What is counted, without a judgement.
    pub(super) fn indicator(self) -> Indicator {
        Indicator { requests: self.all.requests, errors: failed(&self.all), stalled: self.all.stalled, windows: self.windows, ..Indicator::default() }
    }
}

/// Windows together, and how many they are.
fn together<'a>(windows: impl Iterator<Item = (i64, &'a Counts)>) -> (Counts, usize) {
    let (mut sum, mut count) = (Counts::default(), 0);
    for (_, window) in windows {
        sum.merge(window);
        // Unanswered requests are a level, not a count: the newest window has them all.
        sum.stalled = window.stalled;
        count += 1;
    }
    (sum, count)
}

// === impl Usual ===

impl Usual {
    /// What is usual for `part` of the `whole` pods that share the service's requests. Spreads stay: what fewer get strays no less.
    pub(super) fn share(&self, part: usize, whole: usize) -> Self {
        let [part, whole] = [part, whole].map(|pods| i64::try_from(pods).unwrap_or(i64::MAX).max(1));
        // Rounded up: nobody gets the third part of one request, and none at all would be no measure.
        let share = |all: Baseline| Baseline { median: all.median.saturating_mul(part).saturating_add(whole - 1) / whole, ..all };
        Self { requests: share(self.requests), unanswered: share(self.unanswered), ..*self }
    }

    /// What is wrong in `window`, which covers as many windows of the grid as `width`.
    pub(super) fn fault(&self, window: &Counts, width: i64) -> Option<Fault> {
        let usual_requests = self.requests.median.saturating_mul(width);
        let answered = signed(window.answered());
        let share = error_share(window);
        let above = self.errors.median.saturating_add(ERRORS_ABOVE.max(SPREADS.saturating_mul(self.errors.scale)));
        let errors = window.answered() >= FEW && share >= above;
        let unanswered = signed(window.unanswered());
        let mean = window.latency.mean_us().unwrap_or(0);
        let late = mean >= self.latency.median.saturating_mul(2)
            && mean.saturating_sub(self.latency.median) >= LATENCY_ABOVE_US
            && self.latency.above(mean) >= SPREADS;
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
        errors: failed(counts),
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

pub(super) fn mean(latency: &Histogram) -> i64 {
    latency.mean_us().unwrap_or(0)
}

/// Answered with a server error or not at all.
pub(super) fn failed(counts: &Counts) -> u64 {
    counts.server_error.saturating_add(counts.no_response)
}

/// Millionths of the answers that are errors.
fn error_share(counts: &Counts) -> i64 {
    signed(counts.server_error.saturating_mul(1_000_000).checked_div(counts.answered()).unwrap_or(0))
}

pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
