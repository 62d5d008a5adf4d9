//! One request judged by a set, within a time. Judging is pure and cannot be suspended, so it has two paces: quick, on the
//! thread that serves, and given up after a moment; or patient, on a thread of its own that lets others go first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use assent_policies::{self as policies, Namespace, Outcome, Set};
use serde_json::Value;

use crate::review::Request;

/// Longest that a request may keep the serving thread. Sixteen policies over a pod take an eighth of it.
const QUICK: Duration = Duration::from_micros(500);
/// Longest that guardrails may take at all; what is not judged by then follows failurePolicy.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long judging may take, and what it does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Holds its thread, for a moment.
    Quick,
    /// Offers its thread to others whenever the engine looks at the time.
    Patient,
}

/// What is known of the request's Namespace.
#[derive(Debug)]
pub(super) enum Found {
    /// No guardrail asks for it.
    NotAsked,
    /// There is none.
    Nothing,
    /// It is this.
    Is(Value),
    /// It could not be read, and why.
    Unreadable(String),
}

/// Whether a guardrail could ask for the Namespace of the request.
pub(super) fn needs_namespace(set: &Set, request: &Request) -> bool {
    set.needs(&request.asked()).namespace
}

/// What the set says; `None` if it was not done at a quick pace.
pub(super) fn evaluate(set: &Set, request: &Request, namespace: &Found, pace: Pace) -> Option<Outcome> {
    let namespace = match namespace {
        Found::NotAsked => Namespace::NotGiven,
        Found::Nothing => Namespace::Missing,
        Found::Is(namespace) => Namespace::Known(namespace),
        Found::Unreadable(reason) => Namespace::Unreadable(reason),
    };
    let started = Instant::now();
    let gave_up = AtomicBool::new(false);
    let quick = || {
        let late = started.elapsed() > QUICK;
        gave_up.fetch_or(late, Ordering::Relaxed);
        late
    };
    let patient = || {
        // Where the machine has one core left for this process, serving threads must not wait for a time slice to end.
        std::thread::yield_now();
        started.elapsed() > PATIENCE
    };
    let deadline: &(dyn Fn() -> bool + Sync) = if pace == Pace::Quick { &quick } else { &patient };
    let outcome = set.evaluate(&policies::Request { deadline, namespace_object: namespace, ..request.asked() });
    (!gave_up.into_inner()).then_some(outcome)
}
