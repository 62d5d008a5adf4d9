//! AdjustResources: other requests and limits for containers of a workload that rolls, by new pods.
//!
//! Amounts are absolute, in thousandths of a processor and in whole mebibytes, so that they have one spelling: the API server's
//! own. What a container does not request or limit already is never added: that changes how its pods are scheduled and killed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Act, Inverse, Part, Risk, completed, rolls_both_ways, template_of};
use crate::blueprint::{bytes, millicores};

pub(super) const NAME: &str = "AdjustResources";
const PART: Part = Part { subresource: "", roots: &["/spec/template/spec/containers"] };
const MEBIBYTE: u64 = 1 << 20;
/// More than any node has; from here on the spelling would change as well.
const MOST_MILLI: u64 = 1_000_000;
const MOST_BYTES: u64 = 1 << 44;

/// Parameters of AdjustResources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adjust {
    /// Containers that change, by name, sorted, each once.
    pub containers: Vec<Sizes>,
}

/// What one container shall have; what is not named stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sizes {
    /// The container's name.
    pub container: String,
    /// Requested thousandths of a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<u64>,
    /// At most so many of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<u64>,
    /// Requested bytes, whole mebibytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_request: Option<u64>,
    /// At most so many of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
}

/// One field of `resources`, with the amount that it shall have.
struct Field {
    kind: &'static str,
    resource: &'static str,
    amount: u64,
}

// === impl Adjust ===

impl Adjust {
    /// Most containers of one change: whoever is asked about it reads every amount in a line.
    pub const MOST: usize = 4;

    /// Whether `workload` has these amounts.
    #[must_use]
    pub fn holds(&self, workload: &Value) -> bool {
        self.expected(workload, None).is_ok_and(|expected| expected == *workload)
    }

    fn check(&self) -> Result<(), String> {
        if self.containers.is_empty() || self.containers.len() > Self::MOST {
            return Err(format!("{} containers: from 1 to {} can be adjusted at once", self.containers.len(), Self::MOST));
        }
        if !self.containers.is_sorted_by(|a, b| a.container < b.container) {
            return Err("containers are not sorted by name, or one is named twice".into());
        }
        self.containers.iter().try_for_each(Sizes::check)
    }
}

impl Act for Adjust {
    fn name(&self) -> &'static str {
        NAME
    }

    fn risk(&self) -> Risk {
        Risk::Medium
    }

    fn part(&self) -> Part {
        PART
    }

    fn roots(&self) -> Vec<String> {
        // As `managedFields` name an item of a list.
        let of = |sizes: &Sizes| {
            let at = format!("/spec/template/spec/containers/k:{{\"name\":\"{}\"}}/resources", sizes.container);
            sizes.fields().map(|field| format!("{at}/{}/{}", field.kind, field.resource)).collect::<Vec<_>>()
        };
        self.containers.iter().flat_map(of).collect()
    }

    fn preconditions(&self, workload: &Value) -> Result<(), String> {
        rolls_both_ways(workload)?;
        let expected = self.expected(workload, None)?;
        if expected == *workload {
            return Err("its containers have these amounts already".into());
        }
        for sizes in &self.containers {
            sizes.keeps_order(container(workload, &sizes.container)?, container(&expected, &sizes.container)?)?;
        }
        Ok(())
    }

    fn expected(&self, old: &Value, _material: Option<&Value>) -> Result<Value, String> {
        self.check()?;
        let mut new = old.clone();
        for sizes in &self.containers {
            let resources = container_mut(&mut new, &sizes.container)?.get_mut("resources").and_then(Value::as_object_mut);
            let resources = resources.ok_or_else(|| format!("container `{}` has no resources", sizes.container))?;
            for field in sizes.fields() {
                let slot = resources.get_mut(field.kind).and_then(|amounts| amounts.get_mut(field.resource));
                let slot = slot.ok_or_else(|| format!("container `{}` has no {}.{}, and none is added", sizes.container, field.kind, field.resource))?;
                *slot = Value::String(field.text());
            }
        }
        Ok(completed(old, new))
    }

    fn inverse(&self, workload: &Value) -> Result<Inverse, String> {
        template_of(workload)
    }

    fn describe(&self) -> String {
        let each = self.containers.iter().map(|sizes| {
            let fields: Vec<String> = sizes.fields().map(|field| format!("{}.{} {}", field.kind, field.resource, field.text())).collect();
            format!("`{}` {}", sizes.container, fields.join(", "))
        });
        format!("adjust resources by new pods: {}", each.collect::<Vec<_>>().join("; "))
    }
}

// === impl Sizes ===

impl Sizes {
    fn fields(&self) -> impl Iterator<Item = Field> {
        let all = [
            ("requests", "cpu", self.cpu_request),
            ("limits", "cpu", self.cpu_limit),
            ("requests", "memory", self.memory_request),
            ("limits", "memory", self.memory_limit),
        ];
        all.into_iter().filter_map(|(kind, resource, amount)| Some(Field { kind, resource, amount: amount? }))
    }

    fn check(&self) -> Result<(), String> {
        let name = &self.container;
        let plain = !name.is_empty() && name.len() <= 63 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !plain {
            return Err("a container is not named as containers are".into());
        }
        if self.fields().next().is_none() {
            return Err(format!("container `{name}` is named, and nothing of it changes"));
        }
        match self.fields().find(|field| !field.is_plain()) {
            Some(Field { kind, resource, amount }) => {
                Err(format!("container `{name}`: {kind}.{resource} {amount} is not from 1 to {MOST_MILLI} thousandths, or not whole mebibytes"))
            }
            None => Ok(()),
        }
    }

    /// A request stays within its limit, and one that was its limit stays it: else the pod would be of another class.
    fn keeps_order(&self, old: &Map<String, Value>, new: &Map<String, Value>) -> Result<(), String> {
        for resource in ["cpu", "memory"] {
            let Some((request, limit)) = amounts(new, resource) else { continue };
            if request > limit {
                return Err(format!("container `{}` would request more {resource} than its limit", self.container));
            }
            if request < limit && amounts(old, resource).is_some_and(|(request, limit)| request == limit) {
                return Err(format!("container `{}` requests its limit of {resource}, and its pods would be of another class", self.container));
            }
        }
        Ok(())
    }
}

// === impl Field ===

impl Field {
    fn is_plain(&self) -> bool {
        match self.resource {
            "cpu" => (1..MOST_MILLI).contains(&self.amount),
            _ => (MEBIBYTE..MOST_BYTES).contains(&self.amount) && self.amount.is_multiple_of(MEBIBYTE),
        }
    }

    /// As the API server spells it.
    fn text(&self) -> String {
        match self.resource {
            "cpu" if self.amount.is_multiple_of(1_000) => (self.amount / 1_000).to_string(),
            "cpu" => format!("{}m", self.amount),
            _ => [("Ti", 1 << 40), ("Gi", 1 << 30)]
                .into_iter()
                .find(|(_, unit)| self.amount.is_multiple_of(*unit))
                .map_or_else(|| format!("{}Mi", self.amount / MEBIBYTE), |(name, unit)| format!("{}{name}", self.amount / unit)),
        }
    }
}

/// Request and limit of one resource, in thousandths or bytes, if there are both and they are plain.
fn amounts(container: &Map<String, Value>, resource: &str) -> Option<(u64, u64)> {
    let amount = |kind: &str| {
        let text = container.get("resources")?.get(kind)?.get(resource)?.as_str()?;
        if resource == "cpu" { millicores(text) } else { bytes(text) }
    };
    Some((amount("requests")?, amount("limits")?))
}

fn container<'a>(workload: &'a Value, name: &str) -> Result<&'a Map<String, Value>, String> {
    let all = workload.pointer("/spec/template/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let mut named = all.filter_map(Value::as_object).filter(|container| container.get("name").and_then(Value::as_str) == Some(name));
    named.next().ok_or_else(|| format!("it has no container `{name}`"))
}

fn container_mut<'a>(workload: &'a mut Value, name: &str) -> Result<&'a mut Map<String, Value>, String> {
    let all = workload.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut).into_iter().flatten();
    let mut named = all.filter_map(Value::as_object_mut).filter(|container| container.get("name").and_then(Value::as_str) == Some(name));
    named.next().ok_or_else(|| format!("it has no container `{name}`"))
}
