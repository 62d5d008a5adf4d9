//! The tier of an operation: each layer of rules says what it has against it, and the strictest word holds. Total: a name that
//! nobody knows has a tier too, and what is forbidden is answered with what could be done instead.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::effective::Effective;
use super::operations::{Alternative, BEYOND_BOUNDS, BEYOND_LIMITS, Reach, canonical, instead_of, is_never, known, within};
use super::rules::{Approval, Rules, Tier};
use crate::action::{self, Action, Sizes};
use crate::ids::UnixMillis;
use crate::incident::Mode;

/// The layer of the service itself, by name.
pub(super) const SERVICE: &str = "Blueprint";

/// Something that is proposed. Without figures only the lists are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// Any name.
    pub name: String,
    /// Replicas before and after.
    pub replicas: Option<ReplicaChange>,
    /// Requests and limits of containers after it.
    pub resources: Vec<ResourceChange>,
}

/// Another number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaChange {
    /// Now, if that is known.
    pub from: Option<u32>,
    /// Then.
    pub to: u32,
}

/// Other requests and limits of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceChange {
    /// Its name.
    pub container: String,
    /// Requested thousandths of a processor, if they change.
    pub cpu: Option<u64>,
    /// Requested bytes, if they change.
    pub memory: Option<u64>,
    /// The most thousandths of a processor, if that changes.
    pub cpu_limit: Option<u64>,
    /// The most bytes, if that changes.
    pub memory_limit: Option<u64>,
}

/// What a layer has against an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// Never done, whatever is written.
    Never,
    /// On a list.
    Listed,
    /// On no list.
    Unlisted,
    /// Outside the limits.
    Limits,
    /// The mode does not go so far.
    Mode,
    /// A freeze is on.
    Freeze,
    /// No window is open.
    Window,
    /// It reaches further than this layer may speak of.
    Reach,
}

/// One such thing, in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// The tier that follows.
    pub tier: Tier,
    /// Why.
    pub why: Why,
    /// Whose rule it is.
    pub layer: String,
    /// For people.
    pub text: String,
}

/// What was said of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Classification {
    /// Its one name.
    pub operation: String,
    /// How freely it may be done.
    pub tier: Tier,
    /// Everything that speaks against doing it freely, the strictest last.
    pub reasons: BTreeSet<Reason>,
    /// Every one of these must be given before a restricted operation is done.
    pub approvals: BTreeSet<Approval>,
    /// Whether it is an action that can be carried out at all.
    pub executable: bool,
    /// Whether whoever watches over security is told: somebody proposed what is never done.
    pub alert: bool,
    /// What can be done instead of what is forbidden or unknown.
    pub alternatives: BTreeSet<Alternative>,
}

/// What one layer says.
#[derive(Debug, Default)]
struct Said {
    reasons: BTreeSet<Reason>,
    approvals: BTreeSet<Approval>,
}

// === impl Operation ===

impl Operation {
    /// An operation that is only named.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// This action on a workload as it is now.
    #[must_use]
    pub fn of(action: &Action, workload: Option<&Value>) -> Self {
        let mut operation = Self::named(action.name());
        match action {
            Action::ScaleWorkload(scale) => {
                let now = workload.and_then(|workload| workload.pointer("/spec/replicas")).and_then(Value::as_u64);
                operation.replicas = Some(ReplicaChange { from: now.and_then(|now| u32::try_from(now).ok()), to: scale.replicas });
            }
            Action::AdjustResources(adjust) => operation.resources = adjust.containers.iter().map(ResourceChange::from).collect(),
            Action::RollbackWorkload(_) | Action::RevertConfig(_) | Action::RestartWorkload(_) | Action::EvictPod(_) => {}
        }
        operation
    }

    /// A figure that a condition names.
    fn figure(&self, name: &str, rules: &Rules) -> Option<u64> {
        let one = self.resources.first();
        let bounds = one.and_then(|change| rules.limits.of_container(&change.container));
        match name {
            "target_replicas" => self.replicas.map(|change| u64::from(change.to)),
            "current_replicas" => self.replicas.and_then(|change| change.from).map(u64::from),
            "min_replicas" => Some(u64::from(rules.limits.min_replicas.unwrap_or(1))),
            "max_replicas" => rules.limits.max_replicas.map(u64::from),
            // With several containers a condition cannot say which, so the figure is not known.
            _ if self.resources.len() > 1 => None,
            "target_cpu" => one?.cpu,
            "min_cpu" => bounds?.cpu.min,
            "max_cpu" => bounds?.cpu.max,
            "target_memory" => one?.memory,
            "min_memory" => bounds?.memory.min,
            "max_memory" => bounds?.memory.max,
            _ => None,
        }
    }
}

// === impl ResourceChange ===

impl From<&Sizes> for ResourceChange {
    fn from(sizes: &Sizes) -> Self {
        Self {
            container: sizes.container.clone(),
            cpu: sizes.cpu_request,
            memory: sizes.memory_request,
            cpu_limit: sizes.cpu_limit,
            memory_limit: sizes.memory_limit,
        }
    }
}

// === impl Classification ===

impl Classification {
    /// The stricter of two words on the same operation, with the reasons of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.tier = self.tier.max(other.tier);
        self.reasons.extend(other.reasons);
        self.approvals.extend(other.approvals);
        self.executable &= other.executable;
        self.alert |= other.alert;
        let both = self.alternatives.intersection(&other.alternatives).copied().collect();
        // Where only one of them forbids it, what that one offers is all there is.
        self.alternatives = match (self.alternatives.is_empty(), other.alternatives.is_empty()) {
            (false, false) => both,
            (true, _) => other.alternatives,
            (false, true) => self.alternatives,
        };
        self
    }

    /// The strictest reasons in a line.
    #[must_use]
    pub fn because(&self) -> String {
        let strictest = self.reasons.iter().filter(|reason| reason.tier == self.tier);
        strictest.map(|reason| format!("{}: {}", reason.layer, reason.text)).collect::<Vec<_>>().join("; ")
    }
}

/// An operation that was planned under `then` and is still to be done is judged by the stricter of `then` and `now`.
#[must_use]
pub fn judge_in_flight(then: &Effective, now: &Effective, operation: &Operation, at: UnixMillis) -> Classification {
    then.classify(operation, at).and(now.classify(operation, at))
}

// === impl Effective ===

impl Effective {
    /// The tier of an operation at `now`.
    #[must_use]
    pub fn classify(&self, operation: &Operation, now: UnixMillis) -> Classification {
        let mut said = self.tiers(operation, now);
        let name = canonical(&operation.name);
        let given = self.cluster.iter().any(|layer| layer.rules.operations.allowed.contains(&name));
        if known(&name).is_some_and(|known| known.reach == Reach::Node) && !given {
            said.object(Tier::Forbidden, Why::Reach, SERVICE, format!("{name} reaches a node, and no ClusterBlueprint allows it"));
        }
        let tier = said.reasons.iter().map(|reason| reason.tier).max().unwrap_or(Tier::Allowed);
        let catalogued = action::NAMES.contains(&name.as_str());
        let alternatives = if tier == Tier::Forbidden || !catalogued { self.alternatives(&operation.name, now) } else { BTreeSet::new() };
        Classification {
            tier,
            executable: tier != Tier::Forbidden && catalogued,
            alert: said.reasons.iter().any(|reason| reason.tier == Tier::Forbidden && matches!(reason.why, Why::Never | Why::Listed)),
            reasons: said.reasons,
            approvals: said.approvals,
            alternatives,
            operation: name,
        }
    }

    fn tiers(&self, operation: &Operation, now: UnixMillis) -> Said {
        let mut said = Said::default();
        self.service.rules.judge(SERVICE, operation, now, &mut said);
        for layer in &self.cluster {
            layer.rules.judge(&format!("ClusterBlueprint `{}`", layer.name), operation, now, &mut said);
        }
        said
    }

    /// What could be done instead, of what is not forbidden itself. Telling a person never is.
    fn alternatives(&self, name: &str, now: UnixMillis) -> BTreeSet<Alternative> {
        let free = |alternative: &Alternative| {
            let said = self.tiers(&Operation::named(alternative.operation), now);
            alternative.operation == "Notify" || said.reasons.iter().all(|reason| reason.tier != Tier::Forbidden)
        };
        instead_of(name).into_iter().filter(free).collect()
    }
}

// === impl Said ===

impl Said {
    fn object(&mut self, tier: Tier, why: Why, layer: &str, text: String) {
        if tier != Tier::Allowed {
            self.reasons.insert(Reason { tier, why, layer: layer.to_owned(), text });
        }
    }
}

// === impl Rules ===

impl Rules {
    /// What this layer has against an operation, whatever others say.
    fn judge(&self, layer: &str, operation: &Operation, now: UnixMillis, said: &mut Said) {
        let name = canonical(&operation.name);
        let plain = within(&name);
        let beyond = [BEYOND_LIMITS, BEYOND_BOUNDS].into_iter().find(|beyond| *beyond == name);
        let outside = self.outside(plain, operation).or_else(|| beyond.map(|name| (name, "it says itself that it goes beyond the limits".to_owned())));
        let called = |listed: &str| listed == plain || outside.as_ref().is_some_and(|(name, _)| *name == listed);

        if is_never(&name) {
            said.object(Tier::Forbidden, Why::Never, layer, format!("{name} is never done, whatever a Blueprint says"));
        }
        if let Some(listed) = self.operations.forbidden.iter().find(|listed| called(listed)) {
            said.object(Tier::Forbidden, Why::Listed, layer, format!("{listed} is forbidden"));
        }
        if let Some(freeze) = self.freezes.iter().find(|freeze| freeze.holds(now)) {
            said.object(Tier::Forbidden, Why::Freeze, layer, format!("nothing is changed now: {}", freeze.reason));
        }
        if self.mode == Mode::Observe {
            said.object(Tier::Forbidden, Why::Mode, layer, "mode `observe` only looks".into());
        }
        let mut asked = false;
        for restriction in self.operations.restricted.iter().filter(|restriction| called(&restriction.operation)) {
            let condition = restriction.condition.as_ref();
            if condition.is_none_or(|condition| condition.holds(|figure| operation.figure(figure, self))) {
                let when = condition.map_or_else(String::new, |condition| format!(" when {}", condition.as_str()));
                said.object(Tier::Restricted, Why::Listed, layer, format!("{} is restricted{when}", restriction.operation));
                said.approvals.insert(restriction.approval.clone());
                asked = true;
            }
        }
        let mut asks = |tier: Tier, why: Why, text: String| {
            if tier == Tier::Restricted && !asked {
                said.approvals.insert(self.operations.approval.clone());
            }
            said.object(tier, why, layer, text);
        };
        if let Some((_, text)) = outside {
            asks(self.operations.beyond, Why::Limits, text);
        }
        let listed = self.operations.allowed.contains(plain) || (asked && self.operations.unlisted == Tier::Restricted);
        if !listed {
            asks(self.operations.unlisted, Why::Unlisted, format!("{plain} is on no list"));
        }
        if self.mode == Mode::Approve {
            asks(Tier::Restricted, Why::Mode, "mode `approve` asks before everything".into());
        }
        if !self.windows.is_empty() && !self.windows.iter().any(|window| window.is_open(now)) {
            asks(Tier::Restricted, Why::Window, "no window is open now".into());
        }
    }

    /// The name of going beyond the limits, and how it does.
    fn outside(&self, name: &str, operation: &Operation) -> Option<(&'static str, String)> {
        let limits = &self.limits;
        if name == "ScaleWorkload"
            && let Some(change) = operation.replicas
            && !limits.admit_replicas(change.to)
        {
            let most =
                limits.max_replicas.map_or_else(|| "no most is named".to_owned(), |most| format!("{} to {most} are inside", limits.min_replicas.unwrap_or(1)));
            return Some((BEYOND_LIMITS, format!("{} replicas are outside the limits ({most})", change.to)));
        }
        if name != "AdjustResources" {
            return None;
        }
        let out = operation.resources.iter().find(|change| !limits.admit_resources(change))?;
        let amount = |what: &str, amount: Option<u64>| amount.map(|amount| format!("{amount} {what}"));
        let asked = [
            amount("thousandths of a processor", out.cpu),
            amount("bytes", out.memory),
            amount("thousandths of a processor as limit", out.cpu_limit),
            amount("bytes as limit", out.memory_limit),
        ];
        let asked: Vec<String> = asked.into_iter().flatten().collect();
        Some((BEYOND_BOUNDS, format!("{} for container `{:.63}` are outside its bounds", asked.join(" and "), out.container)))
    }
}
