//! ResourceQuotas of the namespace, as the number of further pods of the workload's template that each has room for.
//!
//! Room is what the quota admits less what its controller counted; where spec and status differ, the smaller counts, and what
//! was not counted yet has no room, since the API server refuses pods then. The same goes for CPU and memory that a quota
//! limits and a container does not state. Resources that pods do not use (Services, claims) are left out, and so is a quota
//! that limits nothing else.
//!
//! A quota with scopes is left out only if the template shows that none of its pods is in them: `Terminating` without a
//! deadline, `BestEffort` with CPU or memory stated, `PriorityClass` with a class that the scope does not name. Any other
//! scope counts, since admission may still put the pod into it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::object::Object;
use super::usage::{Usage, amounts};
use crate::cel::library::quantity::{Quantity, TooLong};
use crate::facts::{FactsError, Quota};

const POD: &str = "/spec/template/spec";

pub(super) fn quotas(workload: &Object<'_>, all: &[Value]) -> Result<Vec<Quota>, FactsError> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let usage = Usage::of(workload)?;
    let mut quotas = Vec::new();
    for value in all {
        let object = Object::of("ResourceQuota", value)?;
        if in_scope(&object, workload, &usage)? {
            quotas.extend(quota(&object, &usage)?);
        }
    }
    Ok(quotas)
}

fn quota(object: &Object<'_>, usage: &Usage) -> Result<Option<Quota>, FactsError> {
    let read = |field: &str| amounts(object, field, object.at(field));
    let (spec, status, used) = (read("/spec/hard")?, read("/status/hard")?, read("/status/used")?);
    let mut least: Option<Quota> = None;
    for resource in spec.keys().chain(status.keys()).collect::<BTreeSet<_>>() {
        let hard = match (spec.get(resource), status.get(resource)) {
            (Some(spec), Some(status)) if spec.compare(status).is_lt() => Some(spec),
            (spec, status) => status.or(spec),
        };
        let need = match need(resource, usage) {
            Need::Nothing => continue,
            Need::Unstated => None,
            Need::Each(amount) => Some(amount),
        };
        let pods_left = match (need, hard, used.get(resource)) {
            (Some(each), Some(hard), Some(used)) => {
                let room = hard.sub(used).and_then(|room| pods(room, &each));
                room.map_err(|error| object.unreadable("/status/used", format!("`{resource:.80}`: {error}")))?
            }
            _ => 0,
        };
        if least.as_ref().is_none_or(|least| pods_left < least.pods_left) {
            least = Some(Quota { name: object.name.to_owned(), resource: resource.clone(), pods_left });
        }
    }
    Ok(least)
}

/// What one pod takes of a quota's resource.
enum Need {
    Nothing,
    /// The quota wants to know, and the template does not say.
    Unstated,
    Each(Quantity),
}

fn need(resource: &str, usage: &Usage) -> Need {
    if matches!(resource, "pods" | "count/pods") {
        return Need::Each(Quantity::from_int(1));
    }
    let (limits, name) = match (resource.strip_prefix("limits."), resource.strip_prefix("requests.")) {
        (Some(name), _) => (true, name),
        // Claims ask for storage, pods do not.
        (_, Some("storage")) => return Need::Nothing,
        (_, Some(name)) => (false, name),
        _ if matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-") => (false, resource),
        _ => return Need::Nothing,
    };
    if matches!(name, "cpu" | "memory") && !usage.all_state(limits, name) {
        return Need::Unstated;
    }
    let amounts = if limits { &usage.limits } else { &usage.requests };
    amounts.get(name).filter(|amount| amount.signum() > 0).cloned().map_or(Need::Nothing, Need::Each)
}

/// How often `each` goes into `room`, at most 4,294,967,295 times: a long division by doubling, exact whatever the digits.
fn pods(room: Quantity, each: &Quantity) -> Result<u32, TooLong> {
    if room.signum() <= 0 {
        return Ok(0);
    }
    let mut doubles = vec![each.clone()];
    while let Some(last) = doubles.last().filter(|_| doubles.len() < 32) {
        doubles.push(last.add(last)?);
    }
    let (mut rest, mut pods) = (room, 0_u32);
    for (power, double) in doubles.iter().enumerate().rev() {
        if rest.compare(double).is_ge() {
            rest = rest.sub(double)?;
            pods |= 1 << power;
        }
    }
    Ok(pods)
}

fn in_scope(object: &Object<'_>, workload: &Object<'_>, usage: &Usage) -> Result<bool, FactsError> {
    const SELECTOR: &str = "/spec/scopeSelector/matchExpressions";
    let ends = workload.has(&format!("{POD}/activeDeadlineSeconds"));
    let class = workload.word(&format!("{POD}/priorityClassName"))?;
    for scope in object.texts("/spec/scopes")? {
        if outside(scope, "Exists", &[], ends, class, usage) {
            return Ok(false);
        }
    }
    for one in object.list(SELECTOR)? {
        let text = |key: &str| one.get(key).and_then(Value::as_str).ok_or_else(|| object.unreadable(SELECTOR, format!("an item has no `{key}`")));
        let values: Vec<&str> = one.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if outside(text("scopeName")?, text("operator")?, &values, ends, class, usage) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether no pod of the template is in this scope, for certain.
fn outside(scope: &str, operator: &str, values: &[&str], ends: bool, class: Option<&str>, usage: &Usage) -> bool {
    match (scope, class) {
        ("Terminating", _) => !ends,
        ("NotTerminating", _) => ends,
        ("BestEffort", _) => usage.asks(),
        // Without a class in the template, admission gives the pod the cluster's default one.
        ("PriorityClass", Some(class)) => match operator {
            "In" => !values.contains(&class),
            "NotIn" => values.contains(&class),
            "DoesNotExist" => true,
            _ => false,
        },
        _ => false,
    }
}
