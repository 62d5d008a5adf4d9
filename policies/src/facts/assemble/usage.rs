//! What one pod of a template asks for, as the API server adds it up when it checks a quota.
//!
//! Containers add up; an init container that ends counts only where it alone asks for more; one that stays (`restartPolicy:
//! Always`) adds to all. Overhead is added, and amounts of the whole pod stand before the sums. A request that is not written
//! is the limit, as it will be in the pod. A LimitRange's defaults come later and are not in the template.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::Object;
use crate::cel::library::quantity::Quantity;
use crate::facts::FactsError;

const POD: &str = "/spec/template/spec";

/// Amounts by resource.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// Requests and limits of one pod.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) requests: Amounts,
    pub(super) limits: Amounts,
    /// For each container its own.
    each: Vec<Own>,
    /// Of the whole pod.
    pod: Own,
}

#[derive(Debug, Default)]
struct Own {
    requests: Amounts,
    limits: Amounts,
}

// === impl Usage ===

impl Usage {
    pub(super) fn of(workload: &Object<'_>) -> Result<Self, FactsError> {
        let pod = Own::of(workload, POD, workload.at(POD).unwrap_or(&Value::Null))?;
        let mut each = Vec::new();
        let (mut sum, mut sidecars, mut first) = (Own::default(), Own::default(), Own::default());
        let wrong = |reason: String| workload.unreadable(POD, reason);
        for container in workload.list(&format!("{POD}/containers"))? {
            let own = Own::of(workload, &format!("{POD}/containers"), container)?;
            sum.add(&own).map_err(wrong)?;
            each.push(own);
        }
        for container in workload.list(&format!("{POD}/initContainers"))? {
            let own = Own::of(workload, &format!("{POD}/initContainers"), container)?;
            // Those that stay and were started before it run beside it.
            if container.get("restartPolicy").and_then(Value::as_str) == Some("Always") {
                sum.add(&own).map_err(wrong)?;
                sidecars.add(&own).map_err(wrong)?;
                first.raise(&sidecars);
            } else {
                let mut alone = Own { requests: own.requests.clone(), limits: own.limits.clone() };
                alone.add(&sidecars).map_err(wrong)?;
                first.raise(&alone);
            }
            each.push(own);
        }
        sum.raise(&first);
        sum.requests.extend(pod.requests.clone());
        sum.limits.extend(pod.limits.clone());
        let overhead = amounts(workload, &format!("{POD}/overhead"), workload.at(&format!("{POD}/overhead")))?;
        // A limit that nobody set stays unset.
        let limited = overhead.iter().filter(|(resource, _)| sum.limits.contains_key(*resource)).map(|(resource, amount)| (resource.clone(), amount.clone()));
        let limited = limited.collect();
        add(&mut sum.requests, &overhead).map_err(wrong)?;
        add(&mut sum.limits, &limited).map_err(wrong)?;
        Ok(Self { requests: sum.requests, limits: sum.limits, each, pod })
    }

    /// Whether every container says how much of `resource` it requests (or may use at most, for `limits`).
    pub(super) fn all_state(&self, limits: bool, resource: &str) -> bool {
        let states = |own: &Own| if limits { own.limits.contains_key(resource) } else { own.requests.contains_key(resource) };
        states(&self.pod) || self.each.iter().all(states)
    }

    /// Whether any container asks for CPU or memory.
    pub(super) fn asks(&self) -> bool {
        let some = |amounts: &Amounts| ["cpu", "memory"].iter().any(|resource| amounts.get(*resource).is_some_and(|amount| amount.signum() > 0));
        some(&self.requests) || some(&self.limits)
    }
}

// === impl Own ===

impl Own {
    fn of(workload: &Object<'_>, field: &str, part: &Value) -> Result<Self, FactsError> {
        let read = |key: &str| amounts(workload, &format!("{field}/resources/{key}"), part.pointer(&format!("/resources/{key}")));
        let limits = read("limits")?;
        let mut requests = limits.clone();
        requests.extend(read("requests")?);
        Ok(Self { requests, limits })
    }

    fn add(&mut self, other: &Self) -> Result<(), String> {
        add(&mut self.requests, &other.requests)?;
        add(&mut self.limits, &other.limits)
    }

    fn raise(&mut self, other: &Self) {
        raise(&mut self.requests, &other.requests);
        raise(&mut self.limits, &other.limits);
    }
}

/// The amounts of a resource list.
pub(super) fn amounts(object: &Object<'_>, field: &str, list: Option<&Value>) -> Result<Amounts, FactsError> {
    let list = match list {
        None | Some(Value::Null) => return Ok(Amounts::new()),
        Some(list) => list.as_object().ok_or_else(|| object.unreadable(field, "it is not an object"))?,
    };
    let amount = |(resource, value): (&String, &Value)| {
        let text = value.as_str().map(str::to_owned).or_else(|| value.as_i64().map(|number| number.to_string()));
        let wrong = |reason: String| object.unreadable(field, format!("`{resource:.80}` is no quantity: {reason}"));
        let quantity = Quantity::parse(&text.ok_or_else(|| wrong("neither a text nor a whole number".into()))?).map_err(|error| wrong(error.to_string()))?;
        if quantity.signum() < 0 { Err(wrong("it is below zero".into())) } else { Ok((resource.clone(), quantity)) }
    };
    list.iter().map(amount).collect()
}

fn add(sum: &mut Amounts, more: &Amounts) -> Result<(), String> {
    for (resource, amount) in more {
        let total = match sum.get(resource) {
            Some(sum) => sum.add(amount).map_err(|error| format!("`{resource:.80}`: {error}"))?,
            None => amount.clone(),
        };
        sum.insert(resource.clone(), total);
    }
    Ok(())
}

fn raise(most: &mut Amounts, other: &Amounts) {
    for (resource, amount) in other {
        if most.get(resource).is_none_or(|most| amount.compare(most).is_gt()) {
            most.insert(resource.clone(), amount.clone());
        }
    }
}
