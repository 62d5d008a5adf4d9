//! How far a machine goes alone with one action on one service. People promote; measured precision demotes, and only a
//! person promotes again.

use serde::{Deserialize, Serialize};

use super::history::{End, Known};
use super::{Held, History, Promotion, Request, Settings};
use crate::ids::UnixMillis;
use crate::incident::Mode;
use crate::refusal::Rule;
use crate::target::Service;

/// How far, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Standing {
    /// How far it may go.
    pub level: Level,
    /// Operations that were judged: the newest since the promotion.
    pub operations: u32,
    /// How many of them helped.
    pub helped: u32,
    /// The operations, by the names of their plans, oldest first.
    pub evidence: Vec<String>,
}

/// What people allow, and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "level")]
pub enum Level {
    /// As far as people said; where nobody spoke of this action, as far as the Blueprint says.
    AsPromoted {
        /// How far.
        to: Option<Mode>,
    },
    /// It asks, because it was wrong too often.
    Demoted {
        /// Since when.
        at: UnixMillis,
    },
}

/// How far `action` on `service` may go at `now`, with the evidence.
#[must_use]
pub fn standing(settings: &Settings, history: &History, now: UnixMillis, service: &Service, action: &str) -> Standing {
    measure(settings, history, &history.known(settings, now, ""), service, action)
}

pub(super) fn demoted(settings: &Settings, history: &History, operations: &[Known<'_>], request: &Request) -> Option<Held> {
    if request.approved {
        return None;
    }
    let Request { service, action, .. } = request;
    let standing = measure(settings, history, operations, service, action);
    let reason = match standing.level {
        Level::AsPromoted { to: None | Some(Mode::Autonomous) } => return None,
        Level::AsPromoted { to: Some(mode) } => format!("people let {action} on {service} go as far as {mode:?}"),
        Level::Demoted { at } => format!(
            "{action} on {service} asks since {}: {} of its last {} operations helped, and {} must",
            at.rfc3339(),
            standing.helped,
            standing.operations,
            settings.autonomy.least_precision,
        ),
    };
    Some(Held::for_good(Rule::Autonomy, reason, "a person's approval of this very change, or once a person promotes the action again"))
}

fn measure(settings: &Settings, history: &History, operations: &[Known<'_>], service: &Service, action: &str) -> Standing {
    let of = |promotion: &&Promotion| promotion.service == *service && promotion.action == action;
    let promotion = history.promotions.iter().filter(of).max_by_key(|promotion| promotion.at);
    let own = operations.iter().filter(|known| known.operation.service == *service && known.operation.action == action);
    let judged: Vec<(UnixMillis, bool, &str)> = own
        .filter_map(|known| {
            let (at, end) = known.ended_after(promotion.map(|promotion| promotion.at))?;
            (end == End::Improved || end.is_strike()).then_some((at, end == End::Improved, known.operation.plan.as_str()))
        })
        .collect();
    let window = usize::try_from(settings.autonomy.window).unwrap_or(usize::MAX);
    let newest = |upto: usize| judged.get(upto.saturating_sub(window)..upto).unwrap_or_default();
    // Once it was too low it stays demoted: being asked makes nothing better by itself.
    let fell = (1..=judged.len()).find(|upto| is_low(settings, newest(*upto)));
    let level = match fell.and_then(|upto| judged.get(upto.saturating_sub(1))) {
        Some((at, ..)) => Level::Demoted { at: *at },
        None => Level::AsPromoted { to: promotion.map(|promotion| promotion.to) },
    };
    let shown = newest(fell.unwrap_or(judged.len()));
    Standing { level, operations: count(shown.len()), helped: helped(shown), evidence: shown.iter().map(|(_, _, plan)| (*plan).to_owned()).collect() }
}

fn is_low(settings: &Settings, judged: &[(UnixMillis, bool, &str)]) -> bool {
    let all = u64::from(count(judged.len()));
    let least = u64::from(settings.autonomy.least_precision.get());
    all >= u64::from(settings.autonomy.least_operations.max(1)) && u64::from(helped(judged)) * 1_000_000 < least * all
}

fn helped(judged: &[(UnixMillis, bool, &str)]) -> u32 {
    count(judged.iter().filter(|(_, helped, _)| *helped).count())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
