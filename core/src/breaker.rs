//! Whether one more operation may follow those that were: circuit breaker, cooldown, hourly budget, three strikes, global
//! brake, freeze, pause, and how far a machine has earned to go alone. Pure, and nothing is kept: all of it is recomputed
//! from the Remediations that there are, by the executor before it plans and by the gate when it is asked. Nobody's counter
//! is believed.
//!
//! A revert is never held up: putting back what did harm is not one more operation.
//!
//! ```text
//! closed ── three failures in a row ──► open ── wait ──► half-open ── probe helped ──► closed
//!                                        ▲                   │
//!                                        └── probe did not ──┘  waits twice as long
//! ```

mod autonomy;
mod circuit;
mod history;
mod limits;
mod settings;
mod strikes;

use serde::{Deserialize, Serialize};

use crate::ids::UnixMillis;
use crate::refusal::{Refusal, Rule};
use crate::target::Service;

pub use autonomy::{Level, Standing, standing};
pub use circuit::{Circuit, circuit};
pub use history::{End, Freeze, History, Lift, Operation, Pause, Promotion, Scope};
pub use settings::{Autonomy, Settings};

/// What somebody is about to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Name of the plan. Its own Remediation, which is stored before its write, does not count against it.
    pub plan: String,
    /// The service.
    pub service: Service,
    /// Name of the action.
    pub action: String,
    /// Whether it is done or put back.
    pub kind: Kind,
    /// Whether a person approved this very change.
    pub approved: bool,
}

/// Whether something is done or put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A plan's action.
    Apply,
    /// A plan's inverse.
    Revert,
}

/// A refusal with the moment from which the same rule would let the request pass, if time alone brings that about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    refusal: Refusal,
    until: Option<UnixMillis>,
}

/// Whether the request may go on at `now`.
///
/// # Errors
/// The first rule that holds it up, until when, and what to do; those that last longest are named first.
pub fn permits(settings: &Settings, history: &History, now: UnixMillis, request: &Request) -> Result<(), Refusal> {
    held(settings, history, now, request).map_or(Ok(()), |held| Err(held.refusal))
}

/// Whether the request may begin now, as far as other operations on its service go. `entered` are the plans that entered the
/// service's CircuitBreaker, oldest first; without them every plan that is not over is in the way.
///
/// # Errors
/// The operation that is in the way.
pub fn undisturbed(settings: &Settings, history: &History, now: UnixMillis, request: &Request, entered: Option<&[String]>) -> Result<(), Refusal> {
    limits::busy(&history.known(settings, now, &request.plan), request, entered).map_or(Ok(()), |held| Err(held.refusal))
}

fn held(settings: &Settings, history: &History, now: UnixMillis, request: &Request) -> Option<Held> {
    if request.kind == Kind::Revert {
        return None;
    }
    if let Some(problem) = settings.problem() {
        return Some(Held::for_good(Rule::Breaker, format!("the breaker's settings contradict themselves: {problem}"), "settings that do not"));
    }
    let operations = history.known(settings, now, &request.plan);
    let rules: [&dyn Fn() -> Option<Held>; 8] = [
        &|| limits::paused(history),
        &|| limits::frozen(history, now, request),
        &|| limits::braked(settings, history, &operations, now),
        &|| strikes::struck(settings, history, &operations, now, request),
        &|| circuit::broken(settings, history, &operations, now, request),
        &|| autonomy::demoted(settings, history, &operations, request),
        &|| limits::spent(settings, &operations, now, request),
        &|| limits::cooling(settings, &operations, now, request),
    ];
    rules.iter().find_map(|rule| rule())
}

// === impl Held ===

impl Held {
    /// Held up until a certain moment.
    fn until(rule: Rule, until: UnixMillis, reason: String, or: &str) -> Self {
        let would_pass = if or.is_empty() { format!("the same from {} on", until.rfc3339()) } else { format!("the same from {} on, or {or}", until.rfc3339()) };
        Self { refusal: Refusal::new(rule, reason, would_pass), until: Some(until) }
    }

    /// Held up until somebody does something.
    fn for_good(rule: Rule, reason: String, would_pass: &str) -> Self {
        Self { refusal: Refusal::new(rule, reason, would_pass), until: None }
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod properties;
