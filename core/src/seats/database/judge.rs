//! How each call to a database is now against its own past: answered, refused, waiting or slow.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Exchanges, View};
use crate::ids::UnixMillis;
use crate::seats::baseline::{Baseline, onset};
use crate::seats::window::{Ring, newest_closed, number, start};
use crate::target::Service;

const RECENT: i64 = 4;
const BAD: usize = 2;
const WALK: i64 = 60;
const SPREADS: i64 = 6;
/// Turnaround above the usual that somebody might feel.
const SLOWER_US: i64 = 20_000;

/// What is wrong with a call to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Trouble {
    /// Questions are taken and not answered.
    NoTurnaround,
    /// Connections are refused or reset.
    Refused,
    /// Answers are late.
    Slow,
}

/// One call's figures.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Call {
    pub(super) client: Service,
    /// Turnaround, microseconds; unknown until it is learned.
    pub(super) usual: Option<Baseline>,
    pub(super) now: Exchanges,
    pub(super) recent: usize,
    pub(super) trouble: Option<Trouble>,
    pub(super) from: UnixMillis,
    pub(super) to: UnixMillis,
}

// === impl View ===

impl View {
    /// Every call with figures, by server.
    pub(super) fn judge_all(&self, since: UnixMillis, now: UnixMillis) -> BTreeMap<&Service, Vec<Call>> {
        let mut by_server: BTreeMap<&Service, Vec<Call>> = BTreeMap::new();
        for (edge, ends) in &self.calls {
            // The client's end sees what the server never took; the server's end serves for clients without a sidecar.
            let call = self.judge(&edge.caller, &ends.client, since, now).or_else(|| self.judge(&edge.caller, &ends.server, since, now));
            if let Some(call) = call {
                by_server.entry(&edge.callee).or_default().push(call);
            }
        }
        by_server
    }

    fn judge(&self, client: &Service, ring: &Ring<Exchanges>, since: UnixMillis, now: UnixMillis) -> Option<Call> {
        let settings = &self.settings;
        let newest = newest_closed(settings, now);
        let fresh = newest.saturating_sub(RECENT).saturating_add(1);
        ring.between(fresh, newest).next()?;
        let before = number(settings, since).min(fresh).saturating_sub(1);
        let past = ring.between(i64::MIN, before).filter(|(n, _)| !self.masks.cover(start(settings, *n)));
        let usual = Baseline::learn(past.filter_map(|(_, w)| w.turnaround.mean_us()).collect(), 2_000, settings.learn);
        let bad: Vec<(UnixMillis, bool)> =
            ring.between(newest.saturating_sub(WALK), newest).map(|(n, w)| (start(settings, n), trouble(w, usual).is_some())).collect();
        let mut sum = Exchanges::default();
        let (mut recent, mut run, mut longest) = (0, 0, 0);
        for (_, window) in ring.between(fresh, newest) {
            sum.merge(window);
            sum.stalled = window.stalled;
            recent += 1;
            run = if trouble(window, usual).is_some() { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        let trouble = if longest >= BAD { trouble(&sum, usual) } else { None };
        Some(Call {
            client: client.clone(),
            usual,
            now: sum,
            recent,
            trouble,
            from: trouble.and_then(|_| onset(&bad)).unwrap_or(start(settings, fresh)),
            to: start(settings, newest.saturating_add(1)),
        })
    }
}

fn trouble(window: &Exchanges, usual: Option<Baseline>) -> Option<Trouble> {
    let refused = window.connect_failed.saturating_add(window.resets);
    if refused >= 2 && refused >= window.exchanges {
        return Some(Trouble::Refused);
    }
    // A few long statements among many answers are work, not silence.
    if window.stalled > 0 && window.exchanges <= window.stalled.saturating_mul(2) {
        return Some(Trouble::NoTurnaround);
    }
    let mean = window.turnaround.mean_us()?;
    let usual = usual?;
    let slow = mean >= usual.median.saturating_mul(3) && mean.saturating_sub(usual.median) >= SLOWER_US && usual.above(mean) >= SPREADS;
    slow.then_some(Trouble::Slow)
}
