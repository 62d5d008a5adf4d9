//! What holds everything up: pause, freeze and brake; and how often one service is touched.

use super::history::{End, Known};
use super::{Held, History, Request, Scope, Settings};
use crate::ids::UnixMillis;
use crate::refusal::Rule;

const HOUR_MS: i64 = 60 * 60 * 1000;

pub(super) fn paused(history: &History) -> Option<Held> {
    let pause = history.pause.as_ref()?;
    let reason = format!("a pause is in force since {}: {}", pause.since.rfc3339(), pause.reason);
    Some(Held::for_good(Rule::Paused, reason, "the same request after a person has deleted the Pause"))
}

pub(super) fn frozen(history: &History, now: UnixMillis, request: &Request) -> Option<Held> {
    let concerns = |namespaces: &[String]| namespaces.is_empty() || namespaces.contains(&request.service.namespace);
    let holding = history.freezes.iter().filter(|freeze| concerns(&freeze.namespaces) && freeze.from <= now && now < freeze.until);
    let freeze = holding.max_by_key(|freeze| freeze.until)?;
    let reason = format!("nothing is changed in {} during freeze window `{}`: {}", request.service.namespace, freeze.name, freeze.reason);
    Some(Held::until(Rule::Frozen, freeze.until, reason, ""))
}

/// Too much went wrong in too many places: whatever the cause is, more of the same will not find it.
pub(super) fn braked(settings: &Settings, history: &History, operations: &[Known<'_>], now: UnixMillis) -> Option<Held> {
    let lifted = history.lifted(now, |scope| *scope == Scope::Everything);
    let failures: Vec<UnixMillis> =
        operations.iter().filter_map(|known| known.ended_after(lifted)).filter(|(_, end)| end.is_failure()).map(|(at, _)| at).collect();
    let before = usize::try_from(settings.failures_to_brake.saturating_sub(1)).unwrap_or(usize::MAX);
    // The last failure that had so many others just before it.
    let ends = failures.iter().zip(failures.iter().skip(before)).filter(|(first, last)| last.since(**first) <= settings.brake_window_ms);
    let last = ends.map(|(_, last)| *last).max()?;
    let until = last.plus(settings.brake_ms);
    let reason =
        format!("{} operations of all services failed within {} s, so everything stands still", settings.failures_to_brake, settings.brake_window_ms / 1000);
    (now < until).then(|| Held::until(Rule::Brake, until, reason, "once a person looked into it and lifted the brake"))
}

/// The hour's operations. Every stored plan is one, whatever is said to have become of it.
pub(super) fn spent(settings: &Settings, operations: &[Known<'_>], now: UnixMillis, request: &Request) -> Option<Held> {
    let mut times: Vec<UnixMillis> = own(operations, request).map(|known| known.operation.at).filter(|at| now.since(*at) < HOUR_MS).collect();
    times.sort_unstable();
    let surplus = times.len().checked_sub(usize::try_from(settings.operations_per_hour).unwrap_or(usize::MAX))?;
    let until = times.get(surplus)?.plus(HOUR_MS);
    let reason = format!("{} had {} operations within the hour, of at most {}", request.service, times.len(), settings.operations_per_hour);
    Some(Held::until(Rule::Rate, until, reason, ""))
}

/// Figures need a while to show what the last operation did.
pub(super) fn cooling(settings: &Settings, operations: &[Known<'_>], now: UnixMillis, request: &Request) -> Option<Held> {
    // Where nothing was written there is nothing to show; what is still under way is in the way for another reason.
    let wrote = |known: &Known<'_>| known.end.filter(|(_, end)| *end != End::Refused).map(|(at, _)| at);
    let (last, ended) = own(operations, request).filter_map(|known| Some((known, wrote(known)?))).max_by_key(|(_, ended)| *ended)?;
    let until = ended.plus(settings.cooldown_ms);
    let reason = format!("{} was last acted on by {}, which needs {} s to show what it did", request.service, last.operation.plan, settings.cooldown_ms / 1000);
    (now < until).then(|| Held::until(Rule::Cooldown, until, reason, ""))
}

/// One at a time: what two change at once tells of neither whether it helped. Of `entered`, where that is known, only the last
/// is under way; the others wait as this one does.
pub(super) fn busy(operations: &[Known<'_>], request: &Request, entered: Option<&[String]>) -> Option<Held> {
    let under_way = |known: &&Known<'_>| entered.is_none_or(|entered| entered.last() == Some(&known.operation.plan));
    let open = own(operations, request).filter(|known| known.end.is_none()).find(under_way)?;
    let reason = format!("{} on {} by {} is not over", open.operation.action, request.service, open.operation.plan);
    Some(Held::for_good(Rule::Conflict, reason, "the same once that plan has ended"))
}

fn own<'a>(operations: &'a [Known<'a>], request: &Request) -> impl Iterator<Item = &'a Known<'a>> {
    operations.iter().filter(|known| known.operation.service == request.service)
}
