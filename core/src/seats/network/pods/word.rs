//! How single pods of a service answer, by what their own sidecars told alone: the word on the first pod of a change.
//!
//! What is usual is the whole service's, before that change; how much a pod is asked is its share, so figures that speak of amounts are not
//! compared. Only callers with an identity count: probes answer for a pod that nobody calls, and do so before it can do anything else.

use super::super::View;
use super::super::judge::{FEW, RECENT};
use super::Heard;
use crate::ids::UnixMillis;
use crate::seats::Indicator;
use crate::seats::window::{newest_closed, number};
use crate::target::Service;

impl View {
    /// The word on these pods of `service`, by UID, from windows after `since` on.
    pub(in super::super) fn word(&self, service: &Service, pods: &[String], since: UnixMillis, now: UnixMillis) -> Indicator {
        let settings = &self.settings;
        let newest = newest_closed(settings, now);
        let first = number(settings, since).saturating_add(1);
        let fresh = newest.saturating_sub(RECENT).saturating_add(1).max(first);
        let (mut all, mut lately) = (Heard::default(), Heard::default());
        for (_, told) in self.pods.of(service).filter(|(uid, _)| pods.contains(uid)) {
            // Who waits in one window may wait in the next: the newest has them all.
            let mut waiting = 0;
            for (number, window) in told.windows.between(first, newest) {
                all.merge(window);
                if number >= fresh {
                    lately.merge(&Heard { unanswered: 0, ..*window });
                    waiting = window.unanswered;
                }
            }
            lately.unanswered = lately.unanswered.saturating_add(waiting);
        }
        let asked = lately.served.saturating_add(lately.unanswered);
        if asked < FEW {
            return Indicator { summary: format!("{asked} requests to {} pods of {service}: too few to tell", pods.len()), ..Indicator::default() };
        }
        let usual = self.ring(service, now).and_then(|ring| self.usual(ring, first.saturating_sub(1)).ok());
        let (share, mean) = (lately.error_share(), lately.mean_us());
        let ill = usual.map_or(share >= super::super::judge::ERRORS_ABOVE, |usual| usual.has_errors(share) || usual.is_late(mean));
        let silent = lately.served == 0;
        let against = if usual.is_some() { "" } else { ", by level alone" };
        Indicator {
            live: true,
            healthy: !ill && !silent,
            summary: format!(
                "{} answers of {} pods of {service}, {} errors, {} unanswered, mean {mean} us{against}",
                lately.served,
                pods.len(),
                lately.errors,
                lately.unanswered
            ),
            requests: all.served.saturating_add(lately.unanswered),
            errors: all.errors.saturating_add(lately.unanswered),
            ..Indicator::default()
        }
    }
}

// === impl Heard ===

impl Heard {
    fn merge(&mut self, other: &Self) {
        self.asked = self.asked.saturating_add(other.asked);
        self.answered = self.answered.saturating_add(other.answered);
        self.unanswered = self.unanswered.saturating_add(other.unanswered);
        self.served = self.served.saturating_add(other.served);
        self.errors = self.errors.saturating_add(other.errors);
        self.spent_us = self.spent_us.saturating_add(other.spent_us);
    }

    /// Millionths of the answers that are errors.
    fn error_share(&self) -> i64 {
        super::super::judge::signed(self.errors.saturating_mul(1_000_000).checked_div(self.served).unwrap_or(0))
    }

    fn mean_us(&self) -> i64 {
        super::super::judge::signed(self.spent_us.checked_div(self.served).unwrap_or(0))
    }
}
