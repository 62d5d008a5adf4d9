//! The same action on the same service, again and again: each time it did not help it waits longer, and after the third time
//! a person decides.

use super::history::{End, Known};
use super::{Held, History, Request, Scope, Settings};
use crate::ids::UnixMillis;
use crate::refusal::Rule;

pub(super) fn struck(settings: &Settings, history: &History, operations: &[Known<'_>], now: UnixMillis, request: &Request) -> Option<Held> {
    // A person who approved this very change has decided.
    if request.approved {
        return None;
    }
    let Request { service, action, .. } = request;
    let lifted = history.lifted(now, |scope| match scope {
        Scope::Everything => false,
        Scope::Service(of) => of == service,
        Scope::Action(of, name) => of == service && name == action,
    });
    let forgotten = now.plus(settings.memory_ms.saturating_neg());
    let since = lifted.map_or(forgotten, |lifted| lifted.max(forgotten));
    let mut strikes: u32 = 0;
    let mut last = None;
    for known in operations.iter().filter(|known| known.operation.service == *service && known.operation.action == *action) {
        match known.ended_after(Some(since)) {
            Some((_, End::Improved)) => strikes = 0,
            Some((at, end)) if end.is_strike() => {
                strikes = strikes.saturating_add(1);
                last = Some((at, known.operation));
            }
            _ => {}
        }
    }
    let (at, operation) = last.filter(|_| strikes > 0)?;
    let often = if strikes == 1 { "once".to_owned() } else { format!("{strikes} times in a row, at last") };
    let seen = format!("{action} on {service} did not help {often} by {} ({})", operation.plan, at.rfc3339());
    if strikes >= settings.strikes {
        return Some(Held::for_good(Rule::Strikes, seen, "a person's approval of this very change, or once a person looked into it and lifted it"));
    }
    let until = at.plus(settings.backoff(strikes));
    (now < until).then(|| Held::until(Rule::Strikes, until, seen, "a person's approval of this very change"))
}
