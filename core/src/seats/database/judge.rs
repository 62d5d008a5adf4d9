//! How each call to a database is now against its own past: answered, refused, waiting or slow.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Complaint, Exchanges, View};
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

/// Statements of a kind in the newest windows that say something.
const FEW_STATEMENTS: u64 = 3;
/// Share of a window, in millionths, for which transactions may wait for their client: one connection, half of the time.
const HELD: u64 = 500_000;

/// What is wrong with a call to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Trouble {
    /// The server says so itself.
    Complains(Complaint),
    /// Questions are taken and not answered.
    NoTurnaround,
    /// Connections are refused or reset.
    Refused,
    /// Some statements wait while others are answered.
    Waiting,
    /// One kind of statement is late while others are not.
    SlowStatement,
    /// Answers are late.
    Slow,
}

// === impl Trouble ===

impl Trouble {
    /// Whether it is about answers that the server's own sidecar sees leave in time or not.
    fn is_of_answers(self) -> bool {
        matches!(self, Self::NoTurnaround | Self::Waiting | Self::SlowStatement | Self::Slow)
    }

    /// Whether one client's word is enough to blame the server: it said so itself, or it treats statements unlike.
    pub(super) fn is_servers_own(self) -> bool {
        matches!(self, Self::Complains(_) | Self::SlowStatement | Self::Waiting)
    }
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
    /// Its newest window is amiss, which is too few to tell yet.
    pub(super) turning: bool,
    /// Its answers left the server as ever, so what the client waits for is on the way or its own.
    pub(super) between: bool,
    /// The client keeps transactions open and does nothing in them.
    pub(super) held: bool,
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
            let server = || self.judge(&edge.caller, &ends.server, since, now);
            let mut call = self.judge(&edge.caller, &ends.client, since, now);
            if let Some(call) = call.as_mut().filter(|call| call.trouble.is_some_and(Trouble::is_of_answers))
                && server().is_some_and(|server| server.trouble.is_none() && server.usual.is_some() && server.now.exchanges > 0)
            {
                call.trouble = None;
                call.between = true;
            }
            if let Some(call) = call.or_else(server) {
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
        let past: Vec<&Exchanges> = past.map(|(_, window)| window).collect();
        let usual = Baseline::learn(past.iter().filter_map(|window| window.turnaround.mean_us()).collect(), 2_000, settings.learn);
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
        let waiting = ring.between(fresh, newest).filter(|(_, window)| window.stalled > 0).count() >= 3;
        let waits_usually = Baseline::learn(past.iter().map(|window| i64::try_from(window.stalled).unwrap_or(i64::MAX)).collect(), 1, settings.learn);
        let late = late_statement(&sum, &past, settings.learn);
        let general = if longest >= BAD { trouble(&sum, usual) } else { None };
        let complaint = sum.complaints.iter().filter(|(_, count)| **count >= 2).map(|(complaint, _)| Trouble::Complains(*complaint)).min();
        let trouble = match general {
            // The server's own word says more than what its silence or slowness looks like.
            _ if complaint.is_some() => complaint,
            Some(Trouble::Slow) | None if late => Some(Trouble::SlowStatement),
            None if waiting && waits_usually.is_some_and(|usual| usual.median == 0) => Some(Trouble::Waiting),
            general => general,
        };
        let span_us = u64::try_from(settings.grid_ms.saturating_mul(RECENT).saturating_mul(1_000)).unwrap_or(0);
        let held_usually = Baseline::learn(past.iter().map(|window| signed(window.idle_in_transaction_us)).collect(), 1, settings.learn);
        let each = signed(sum.idle_in_transaction_us) / RECENT;
        let held = sum.idle_in_transaction_us >= span_us / 1_000_000 * HELD && held_usually.is_some_and(|usual| each >= usual.median.saturating_mul(3));
        Some(Call {
            turning: trouble.is_none() && run > 0,
            between: false,
            held,
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

/// Whether one kind of statement is late against its own past while another is not.
fn late_statement(now: &Exchanges, past: &[&Exchanges], learn: usize) -> bool {
    let (mut late, mut well) = (false, false);
    for (statement, durations) in now.statements.iter().filter(|(_, durations)| durations.ended >= FEW_STATEMENTS) {
        let means = past.iter().filter_map(|window| window.statements.get(statement)).filter_map(super::Durations::mean_us);
        let (Some(usual), Some(mean)) = (Baseline::learn(means.collect(), 2_000, learn), durations.mean_us()) else { continue };
        if mean >= usual.median.saturating_mul(3) && mean.saturating_sub(usual.median) >= SLOWER_US && usual.above(mean) >= SPREADS {
            late = true;
        } else {
            well = true;
        }
    }
    late && well
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
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
