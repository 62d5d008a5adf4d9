//! What requests say of an incident of demand. Blind, only that nothing is wrong with the answers, so that use is the load's; then, of
//! a number of replicas, whether the load is there that needs more, or whether fewer would be felt.

use super::View;
use super::judge::{Judged, signed};
use super::vote::judged_evidence;
use crate::ballot::{Hypothesis, Opinion, Round};
use crate::ids::{Domain, Millionths};
use crate::seats::opinion::{abstain, cause};
use crate::seats::{Asked, Position};

/// Answers are as they should be, and somebody asks: so use is the load's, as far as this seat sees.
const LOADED: Millionths = Millionths::new(700_000);
/// Of the usual requests, in hundredths: fewer are no load that needs more, and above the second they rise.
const UNDIMINISHED: i64 = 70;
const RISING: i64 = 130;

// === impl View ===

impl View {
    /// The blind vote; `None` where the answers are bad, which is no routine.
    pub(super) fn demand_vote(&self, asked: &Asked<'_>) -> Option<Opinion> {
        let service = &asked.context.service;
        let judged = match self.judge(service, asked.usual_until(), asked.now) {
            Ok(judged) => judged,
            Err(reason) => return Some(abstain(Round::Cause, &reason)),
        };
        if judged.fault.is_some() {
            return None;
        }
        let hypothesis = Hypothesis {
            service: service.clone(),
            domain: Domain::Compute,
            fault: "demand".into(),
            probability: LOADED,
            evidence: vec![judged_evidence(&judged)],
            path: vec![service.clone()],
            remedies: Vec::new(),
        };
        Some(cause(vec![hypothesis], Vec::new(), self.edges()))
    }

    /// The stance on more replicas, or `less`.
    pub(super) fn demand_position(judged: &Judged, less: bool) -> Position {
        let grounds = vec![judged_evidence(judged)];
        let share = load(judged);
        match judged.fault {
            Some(_) if less => Position::veto("its answers are bad, which is no time for less", grounds),
            Some(_) => Position::no_objection("its answers are bad, which is no routine"),
            None if less && share >= RISING => Position::veto("its requests are rising", grounds),
            None if less => Position::support("its answers are as usual and its requests do not rise", grounds),
            None if share >= UNDIMINISHED => Position::support("its requests are as many as usual or more", grounds),
            None => Position::no_objection("its requests are fewer than usual, so its use is not the load's"),
        }
    }

    /// The stance on what containers ask for. Whether that becomes more or less is the word of whoever proposes it, so it is supported
    /// only while either would be right: the load is as it is usually, and answers are as they should be.
    pub(super) fn sizes_position(judged: &Judged) -> Position {
        let grounds = vec![judged_evidence(judged)];
        match judged.fault {
            Some(_) => Position::no_objection("its answers are bad, which is no routine"),
            None if (UNDIMINISHED..RISING).contains(&load(judged)) => Position::support("its requests and its answers are as usual", grounds),
            None => Position::no_objection("its requests are not as many as usual"),
        }
    }
}

/// Requests of now in hundredths of the usual ones.
fn load(judged: &Judged) -> i64 {
    let per_window = signed(judged.now.requests) / i64::try_from(judged.recent.max(1)).unwrap_or(1);
    per_window.saturating_mul(100).checked_div(judged.usual.requests.median.max(1)).unwrap_or(100)
}
