//! What a Blueprint and the rules of a whole cluster have in common: one layer of rules. What a layer leaves out it says
//! nothing about; defaults come in when all layers are put together.

use std::collections::BTreeSet;

use serde::Serialize;

use super::classify::ResourceChange;
use super::condition::Condition;
use super::moments::{Freeze, Window};
use crate::incident::Mode;

/// How freely an operation may be done; a later one is stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Tier {
    /// By itself, once the seats agree.
    Allowed,
    /// After people approved it.
    Restricted,
    /// Not at all.
    Forbidden,
}

// === impl Tier ===

impl Tier {
    /// As people and objects write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Restricted => "restricted",
            Self::Forbidden => "forbidden",
        }
    }
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How far Assent may go.
    pub mode: Mode,
    /// Operations by tier.
    pub operations: Operations,
    /// Bounds of what an operation may come to.
    pub limits: Limits,
    /// How often, and when to stop.
    pub safety: Safety,
    /// What shows that it helped.
    pub verification: Verification,
    /// When it may act by itself; none named is always.
    pub windows: Vec<Window>,
    /// When it may not act at all.
    pub freezes: Vec<Freeze>,
}

/// Operations by tier, under their canonical names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operations {
    /// Done without asking.
    pub allowed: BTreeSet<String>,
    /// Done after people approved it.
    pub restricted: Vec<Restriction>,
    /// Never done.
    pub forbidden: BTreeSet<String>,
    /// What an operation on no list is.
    pub unlisted: Tier,
    /// What an operation outside the limits is.
    pub beyond: Tier,
    /// Whom to ask where nobody else is named.
    pub approval: Approval,
}

/// An operation that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// Its canonical name.
    pub operation: String,
    /// When it asks; always where nothing is said.
    pub condition: Option<Condition>,
    /// Whom.
    pub approval: Approval,
}

/// Who must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Who may; nobody named is nobody.
    pub approvers: Vec<Approver>,
    /// How many different people.
    pub count: u32,
    /// Whether an answer in chat counts.
    pub chat: bool,
}

/// Somebody who may approve, as the API server authenticates them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Approver {
    /// One user.
    User(String),
    /// Everybody in a group.
    Group(String),
    /// One user of a Slack workspace, as TEAM/USER; their word is what Slack signed, never somebody's credentials.
    Slack(String),
}

/// Before the name of whoever answers by Slack.
pub const SLACK: &str = "slack:";

/// Bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Whether nothing is inside where no most is named. A service says how far; what stands above it only how far at most.
    pub closed: bool,
    /// Fewest replicas.
    pub min_replicas: Option<u32>,
    /// Most replicas.
    pub max_replicas: Option<u32>,
    /// Of each container.
    pub containers: Vec<ContainerBounds>,
}

/// Bounds of one container's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerBounds {
    /// Its name; `*` is every one that is not named.
    pub name: String,
    /// Thousandths of a processor.
    pub cpu: Bounds,
    /// Bytes.
    pub memory: Bounds,
}

/// From, to, and what to aim for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Least.
    pub min: Option<u64>,
    /// Most.
    pub max: Option<u64>,
    /// Between them.
    pub target: Option<u64>,
}

/// Limits in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Safety {
    /// Between two operations.
    pub cooldown_ms: Option<u64>,
    /// In any hour.
    pub operations_per_hour: Option<u32>,
    /// Failures in a row that open the breaker.
    pub breaker_failures: Option<u32>,
    /// How long it stays open before one trial.
    pub breaker_wait_ms: Option<u64>,
    /// Operations without effect before a person must look.
    pub strikes: Option<u32>,
    /// Whether a change of a pod template begins with one pod.
    pub canary: Canary,
}

/// One pod first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Canary {
    /// Whether at all.
    pub enabled: Option<bool>,
    /// With so many replicas or more.
    pub replicas: Option<u32>,
    /// It must be well for so long before the rest follows.
    pub watch_ms: Option<u64>,
}

/// What is looked at after an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Whether it is at all.
    pub enabled: Option<bool>,
    /// How long to wait before the first look.
    pub stabilization_ms: Option<u64>,
    /// What must hold.
    pub checks: Vec<Check>,
    /// What follows when it does not.
    pub rollback: Rollback,
}

/// One condition of success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// An indicator (`latency_p95`, `error_rate`, …), or any name where there is a query.
    pub name: String,
    /// PromQL; without it the name says what is measured.
    pub query: Option<String>,
    /// How the figure compares.
    pub comparison: Comparison,
    /// With what.
    pub figure: Figure,
    /// Whether the operation failed when this fails.
    pub critical: bool,
    /// Whether a failure undoes the operation.
    pub rollback_trigger: bool,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

/// A figure with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Milliseconds.
    Duration(u64),
    /// A share, in millionths.
    Share(u32),
    /// A number, in millionths.
    Number(u64),
}

/// Undoing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollback {
    /// Whether it is done at all.
    pub enabled: Option<bool>,
    /// Whether it is done without a person.
    pub automatic: Option<bool>,
    /// Whether one critical check that fails suffices.
    pub on_critical_failure: Option<bool>,
}

// === impl Limits ===

impl Limits {
    /// Whether this number of replicas is inside.
    #[must_use]
    pub fn admit_replicas(&self, replicas: u32) -> bool {
        let least = self.min_replicas.unwrap_or(u32::from(self.closed));
        least <= replicas && self.max_replicas.map_or(!self.closed, |most| replicas <= most)
    }

    /// Whether these requests and limits of a container are inside.
    #[must_use]
    pub fn admit_resources(&self, change: &ResourceChange) -> bool {
        let Some(bounds) = self.of_container(&change.container) else { return !self.closed };
        let inside = |bounds: &Bounds, amount: Option<u64>| {
            amount.is_none_or(|amount| bounds.min.unwrap_or(0) <= amount && bounds.max.map_or(!self.closed, |most| amount <= most))
        };
        let each = [(&bounds.cpu, change.cpu), (&bounds.memory, change.memory), (&bounds.cpu, change.cpu_limit), (&bounds.memory, change.memory_limit)];
        each.into_iter().all(|(bounds, amount)| inside(bounds, amount))
    }

    /// The bounds of this container.
    #[must_use]
    pub fn of_container(&self, name: &str) -> Option<&ContainerBounds> {
        self.containers.iter().find(|bounds| bounds.name == name).or_else(|| self.containers.iter().find(|bounds| bounds.name == "*"))
    }
}

// === impl Comparison ===

impl Comparison {
    /// Whether `left` compares so with `right`.
    #[must_use]
    pub fn holds<T: Ord>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::More => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
            Self::Unequal => left != right,
        }
    }
}

// === impl Approval ===

impl std::fmt::Display for Approval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.approvers.iter().map(ToString::to_string).collect();
        match names.is_empty() {
            true => f.write_str("nobody is named who could approve it"),
            false => write!(f, "approval by {} of {}", self.count, names.join(", ")),
        }
    }
}

// === impl Approver ===

impl Approver {
    /// `user:NAME`, `group:NAME`, `slack:TEAM/USER`, or the bare name of a group.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix(SLACK) {
            let (team, user) = name.split_once('/')?;
            return Self::slack(team, user);
        }
        let (user, name) = match (text.strip_prefix("user:"), text.strip_prefix("group:")) {
            (Some(name), _) => (true, name),
            (None, Some(name)) => (false, name),
            (None, None) => (false, text),
        };
        let fits = !name.trim().is_empty() && name.chars().count() <= 253 && !name.chars().any(char::is_control);
        fits.then(|| if user { Self::User(name.to_owned()) } else { Self::Group(name.to_owned()) })
    }

    /// A user of a Slack workspace, by the ids that Slack gives both.
    #[must_use]
    pub fn slack(team: &str, user: &str) -> Option<Self> {
        let is_id = |id: &str| (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        (is_id(team) && is_id(user)).then(|| Self::Slack(format!("{team}/{user}")))
    }
}

impl std::fmt::Display for Approver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Slack(name) => write!(f, "{SLACK}{name}"),
        }
    }
}
