//! What was done, and what people said about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Settings;
use crate::ids::UnixMillis;
use crate::incident::Mode;
use crate::plan::Plan;
use crate::target::Service;

/// One operation: a Remediation as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operation {
    /// Name of the plan.
    pub plan: String,
    /// The service.
    pub service: Service,
    /// Name of the action.
    pub action: String,
    /// When the plan was stored, by the API server.
    pub at: UnixMillis,
    /// How it ended, and when; `None` while nobody says so.
    pub end: Option<(UnixMillis, End)>,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum End {
    /// It helped.
    Improved,
    /// Nothing was written.
    Refused,
    /// It changed nothing for better or worse.
    NoEffect,
    /// Nobody can say.
    Unknown,
    /// It did harm, and was undone.
    Worse,
    /// It could not be carried out or undone as planned.
    Failed,
}

/// Everything that a request is judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct History {
    /// Operations of all services, in any order.
    pub operations: Vec<Operation>,
    /// What people lifted.
    pub lifts: Vec<Lift>,
    /// How far people let a machine go.
    pub promotions: Vec<Promotion>,
    /// The pause that is in force.
    pub pause: Option<Pause>,
    /// Freeze windows.
    pub freezes: Vec<Freeze>,
}

/// A person looked into it: what failed before is no reason any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lift {
    /// What for.
    pub scope: Scope,
    /// When, by the API server.
    pub at: UnixMillis,
    /// Who.
    pub by: String,
}

/// What a lift speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// The brake.
    Everything,
    /// A service's circuit and all its strikes.
    Service(Service),
    /// The strikes of one action on a service.
    Action(Service, String),
}

/// A person's word on how far a machine may go with an action on a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Promotion {
    /// The service.
    pub service: Service,
    /// Name of the action.
    pub action: String,
    /// How far.
    pub to: Mode,
    /// When, by the API server.
    pub at: UnixMillis,
    /// Who.
    pub by: String,
}

/// Everything stands still until a person lets it go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pause {
    /// Since when.
    pub since: UnixMillis,
    /// Why.
    pub reason: String,
}

/// A time in which nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freeze {
    /// Its name.
    pub name: String,
    /// Namespaces that it speaks of; none named means every one.
    pub namespaces: Vec<String>,
    /// First moment of it.
    pub from: UnixMillis,
    /// First moment after it.
    pub until: UnixMillis,
    /// Why.
    pub reason: String,
}

/// An operation whose end is settled, one way or the other, as of a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) operation: &'a Operation,
    /// `None` while it may still end well.
    pub(super) end: Option<(UnixMillis, End)>,
}

// === impl Operation ===

impl Operation {
    /// The operation of a plan that was stored then, by its name.
    #[must_use]
    pub fn of(name: String, plan: &Plan, at: UnixMillis, end: Option<(UnixMillis, End)>) -> Self {
        Self { plan: name, service: plan.proposal.target.service(), action: plan.proposal.action.name().to_owned(), at, end }
    }
}

// === impl End ===

impl End {
    /// Whether it counts against the circuit and for the brake.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Unknown | Self::Worse | Self::Failed)
    }

    /// Whether it counts against trying the same again.
    #[must_use]
    pub fn is_strike(self) -> bool {
        self.is_failure() || self == Self::NoEffect
    }
}

// === impl History ===

impl History {
    /// What counts at `now`, each plan once, in the order of its ends; what is open comes last. Two words about one plan are
    /// believed for the worse.
    pub(super) fn known(&self, settings: &Settings, now: UnixMillis, but: &str) -> Vec<Known<'_>> {
        let mut by_plan: BTreeMap<&str, Known<'_>> = BTreeMap::new();
        for operation in self.operations.iter().filter(|operation| operation.at <= now && operation.plan != but) {
            let known = Known { operation, end: operation.settled(settings, now) };
            let slot = by_plan.entry(operation.plan.as_str()).or_insert(known);
            if known.gravity() > slot.gravity() {
                *slot = known;
            }
        }
        let mut all: Vec<Known<'_>> = by_plan.into_values().collect();
        all.sort_by_key(|known| (known.end.map_or(i64::MAX, |(at, _)| at.0), known.operation.at, known.operation.plan.as_str()));
        all
    }

    /// When a person last lifted something of this scope.
    pub(super) fn lifted(&self, now: UnixMillis, concerns: impl Fn(&Scope) -> bool) -> Option<UnixMillis> {
        self.lifts.iter().filter(|lift| lift.at <= now && concerns(&lift.scope)).map(|lift| lift.at).max()
    }
}

impl Operation {
    /// Its end as of `now`. One that never ends did so for the worse when its time was up.
    fn settled(&self, settings: &Settings, now: UnixMillis) -> Option<(UnixMillis, End)> {
        let overdue = self.at.plus(settings.longest_operation_ms);
        match self.end {
            // Whoever wrote it dated it: no end is before its beginning, and one that is still to come is none yet.
            Some((at, end)) if at <= now => Some((at.max(self.at), end)),
            _ if now > overdue => Some((overdue, End::Unknown)),
            _ => None,
        }
    }
}

// === impl Known ===

impl Known<'_> {
    /// The end, if it came after `since`.
    pub(super) fn ended_after(&self, since: Option<UnixMillis>) -> Option<(UnixMillis, End)> {
        self.end.filter(|(at, _)| since.is_none_or(|since| *at > since))
    }

    fn gravity(&self) -> (Option<End>, i64) {
        (self.end.map(|(_, end)| end), self.end.map_or(0, |(at, _)| at.0))
    }
}
