//! The neighbours of a service: who was well in the minute before a write and is not since, by each side that tells of them.
//!
//! Who is a neighbour, the service's own sidecars told before the write; a stranger makes itself none by claiming a call, nor does whoever
//! comes later. Callers are known by the identity that their certificates prove.

use super::judge::{BAD, RECENT, Usual, figures, told};
use super::{Counts, View};
use crate::ids::UnixMillis;
use crate::seats::baseline::onset;
use crate::seats::paths::callees;
use crate::seats::window::{Ring, newest_closed, number, start};
use crate::target::Service;
use crate::verification::{Neighbour, Side, Window, is_worse};

/// Neighbours that are judged: who has been one for longest.
const MOST: usize = 64;
/// Of those, who are told.
const MOST_TOLD: usize = 16;
/// Windows before a write in which a neighbour must have been well, and how many there must be.
const BEFORE: i64 = 30;
const LEAST: usize = 8;

// === impl View ===

impl View {
    /// The neighbours of `target` with which something is wrong since a write at `since`, or may be; the worst first.
    pub(super) fn neighbours(&self, target: &Service, since: UnixMillis, now: UnixMillis) -> Vec<Neighbour> {
        let mut near: Vec<(UnixMillis, &Service, bool)> = self
            .edges
            .iter()
            .filter_map(|(edge, met)| {
                let (other, calls, told) = if edge.callee == *target {
                    (&edge.caller, true, met.by_callee)
                } else if edge.caller == *target {
                    (&edge.callee, false, met.by_caller)
                } else {
                    return None;
                };
                told.filter(|told| *told < since).map(|told| (told, other, calls))
            })
            .collect();
        near.sort();
        let mut seen = std::collections::BTreeSet::new();
        near.retain(|(_, other, _)| seen.insert(*other));
        let judged = near.into_iter().take(MOST).filter_map(|(_, other, calls)| self.neighbour(other, calls, since, now));
        let mut judged: Vec<Neighbour> = judged.collect();
        self.leave_explained_out(&mut judged, target, since, now);
        judged.sort_by_key(|one| std::cmp::Reverse((one.own.min(one.callers), one.own.max(one.callers))));
        judged.truncate(MOST_TOLD);
        judged
    }

    /// Who calls somebody else that is ill, or cannot be reached, has that from there.
    fn leave_explained_out(&self, judged: &mut Vec<Neighbour>, target: &Service, since: UnixMillis, now: UnixMillis) {
        if judged.is_empty() {
            return;
        }
        // Only whom it said itself that it calls, before the write: whoever claims to be called would explain anything away.
        let own = self.edges.iter().filter(|(_, met)| met.by_caller.is_some_and(|told| told < since));
        let (edges, links) = (own.map(|(edge, _)| edge.clone()).collect(), self.connections(since, now));
        judged.retain(|one| {
            let ill =
                callees(&edges, &one.service).filter(|callee| *callee != target).any(|callee| self.judge(callee, since, now).is_ok_and(|j| j.fault.is_some()));
            !ill && !links.troubled.iter().any(|troubled| troubled.edge.caller == one.service && troubled.edge.callee != *target)
        });
    }

    fn neighbour(&self, service: &Service, calls: bool, since: UnixMillis, now: UnixMillis) -> Option<Neighbour> {
        let (own, own_figures) = self.side(self.told_by_callee.get(service), since, now);
        let (callers, figures) = self.side(self.told_by_callers.get(service), since, now);
        let ill = |side| matches!(side, Side::Turning | Side::Broken);
        let summary = if ill(own) { own_figures } else { figures };
        (ill(own) || ill(callers)).then(|| Neighbour { service: service.clone(), calls, own, callers, summary })
    }

    /// What one side's windows say, with the figures since it turned ill.
    fn side(&self, ring: Option<&Ring<Counts>>, since: UnixMillis, now: UnixMillis) -> (Side, String) {
        let nothing = (Side::Unknown, String::new());
        let settings = &self.settings;
        let (newest, written) = (newest_closed(settings, now), number(settings, since));
        let Some((ring, usual)) = ring.and_then(|ring| Some((ring, self.usual(ring, written.saturating_sub(1)).ok()?))) else { return nothing };
        let heard = |from: i64, to: i64| ring.between(from, to).filter(|(_, window)| window.answered().saturating_add(window.unanswered()) > 0);
        let before: Vec<(i64, &Counts)> = heard(written.saturating_sub(BEFORE), written.saturating_sub(1)).collect();
        let after: Vec<(i64, &Counts)> = heard(written.saturating_add(1), newest).collect();
        let fresh = newest.saturating_sub(RECENT);
        if before.len() < LEAST || after.last().is_none_or(|(number, _)| *number <= fresh) {
            return nothing;
        }
        if longest(&usual, &before) >= BAD {
            return (Side::WasIll, String::new());
        }
        let is_ill = |window: &Counts| usual.fault(window, 1).is_some();
        let walked: Vec<(UnixMillis, bool)> = after.iter().map(|(number, window)| (start(settings, *number), is_ill(window))).collect();
        let lately = after.iter().filter(|(number, window)| *number > fresh && is_ill(window)).count();
        let Some(began) = onset(&walked).filter(|_| lately >= BAD) else { return (Side::Well, String::new()) };
        let since: Vec<(i64, &Counts)> = after.into_iter().filter(|(number, _)| start(settings, *number) >= began).collect();
        let windows = |side: &[(i64, &Counts)]| side.iter().map(|(number, counts)| told(settings, *number, counts)).collect::<Vec<Window>>();
        let mut sum = Counts::default();
        since.iter().for_each(|(_, window)| sum.merge(window));
        let seconds = i64::try_from(since.len()).unwrap_or(0).saturating_mul(settings.grid_ms) / 1000;
        let line = format!("in {seconds} s {}", figures(&sum));
        (if is_worse(&windows(&before), &windows(&since)) { Side::Broken } else { Side::Turning }, line)
    }
}

/// Ill windows in a row, at most.
fn longest(usual: &Usual, windows: &[(i64, &Counts)]) -> usize {
    let (mut run, mut longest) = (0, 0);
    for (_, window) in windows {
        run = if usual.fault(window, 1).is_some() { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod cases;
