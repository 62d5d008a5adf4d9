//! The circuit of one service: after failures in a row nothing is tried for a while, then one thing.

use serde::{Deserialize, Serialize};

use super::history::{End, Known};
use super::{Held, History, Request, Scope, Settings};
use crate::ids::UnixMillis;
use crate::refusal::Rule;
use crate::target::Service;

/// How a service's circuit stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Circuit {
    /// Operations pass.
    Closed {
        /// Failures since something last helped.
        failures: u32,
    },
    /// None pass.
    Open {
        /// Since when.
        since: UnixMillis,
        /// Until when.
        until: UnixMillis,
        /// The plan whose failure opened it.
        plan: String,
    },
    /// One passes, and what becomes of it decides.
    HalfOpen {
        /// Since when.
        since: UnixMillis,
        /// The plan that is under way, if one is.
        probe: Option<String>,
    },
}

/// How the circuit of `service` stands at `now`.
#[must_use]
pub fn circuit(settings: &Settings, history: &History, now: UnixMillis, service: &Service) -> Circuit {
    replay(settings, history, &history.known(settings, now, ""), now, service)
}

pub(super) fn broken(settings: &Settings, history: &History, operations: &[Known<'_>], now: UnixMillis, request: &Request) -> Option<Held> {
    let service = &request.service;
    match replay(settings, history, operations, now, service) {
        Circuit::Closed { .. } | Circuit::HalfOpen { probe: None, .. } => None,
        Circuit::Open { since, until, plan } => Some(Held::until(
            Rule::Breaker,
            until,
            format!("the circuit of {service} is open since {}: operations failed in a row, at last {plan}", since.rfc3339()),
            "once a person looked into it and lifted it",
        )),
        Circuit::HalfOpen { probe: Some(plan), .. } => Some(Held::for_good(
            Rule::Breaker,
            format!("the circuit of {service} is half open: one operation at a time shows whether it may close, and {plan} is under way"),
            "the same once that plan has ended without opening it again",
        )),
    }
}

/// What the ends of operations, one after the other, made of a closed circuit.
fn replay(settings: &Settings, history: &History, operations: &[Known<'_>], now: UnixMillis, service: &Service) -> Circuit {
    let lifted = history.lifted(now, |scope| matches!(scope, Scope::Service(of) if of == service));
    let forgotten = now.plus(settings.memory_ms.saturating_neg());
    let since = lifted.map_or(forgotten, |lifted| lifted.max(forgotten));
    let own = || operations.iter().filter(|known| known.operation.service == *service);
    // How often it opened without having closed.
    let mut opened: u32 = 0;
    let mut state = Circuit::Closed { failures: 0 };
    for (known, (at, end)) in own().filter_map(|known| Some((known, known.ended_after(Some(since))?))) {
        state = match state {
            Circuit::Closed { failures } if end.is_failure() => {
                let failures = failures.saturating_add(1);
                if failures >= settings.failures_to_open { open(settings, &mut opened, at, known) } else { Circuit::Closed { failures } }
            }
            Circuit::Closed { .. } if end == End::Improved => Circuit::Closed { failures: 0 },
            // What was begun before the wait was over is no probe and closes nothing. That it did not help either makes the
            // wait longer, exactly as a probe does: otherwise a failure more would shorten what comes after it.
            Circuit::Open { until, .. } if end == End::Improved && known.operation.at >= until => {
                opened = 0;
                Circuit::Closed { failures: 0 }
            }
            Circuit::Open { until, .. } if end.is_strike() => later(until, open(settings, &mut opened, at, known)),
            state => state,
        };
    }
    match state {
        Circuit::Open { until, .. } if now >= until => {
            // Also what was begun before the wait was over: it fails yet, or ends and makes room for a probe.
            let probe = own().filter(|known| known.end.is_none()).map(|known| known.operation.plan.clone()).min();
            Circuit::HalfOpen { since: until, probe }
        }
        state => state,
    }
}

fn open(settings: &Settings, opened: &mut u32, at: UnixMillis, known: &Known<'_>) -> Circuit {
    let wait = Settings::doubled(settings.open_ms, *opened, settings.longest_open_ms);
    *opened = opened.saturating_add(1);
    Circuit::Open { since: at, until: at.plus(wait), plan: known.operation.plan.clone() }
}

/// An opening shortens no wait that was longer already.
fn later(waited: UnixMillis, opened: Circuit) -> Circuit {
    match opened {
        Circuit::Open { since, until, plan } => Circuit::Open { since, until: until.max(waited), plan },
        state => state,
    }
}
