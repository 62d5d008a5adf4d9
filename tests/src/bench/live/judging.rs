//! What Assent said and did, from its objects and the API server's audit log, against the truth.

use assent_api::names::{EXECUTOR_USER, INCIDENT, SYSTEM_NAMESPACE};
use assent_api::resources::{Decision, Incident, Remediation};
use assent_core::consensus::Outcome;
use assent_core::plan::Plan;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

use super::faults::Truth;
use super::journal::Record;

/// A change of a workload as the executor's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Incident-UID it was made for, as the request says.
    pub incident: String,
    /// `namespace/name`.
    pub object: String,
}

/// What was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// For which incident.
    pub incident: String,
    /// Name of the action.
    pub action: String,
    /// `namespace/name` of the target.
    pub object: String,
    /// `namespace/name` of what is written, where that is not the target.
    pub written: Option<String>,
}

// === impl Truth ===

impl Truth {
    /// Whether this action on this object is one of the right ones.
    #[must_use]
    pub fn permits(&self, planned: &Planned) -> bool {
        planned.object == self.service && self.remedies.contains(&planned.action.as_str())
    }

    /// Whether what was planned, or that nothing was, is right.
    #[must_use]
    pub fn is_met_by(&self, planned: &[Planned]) -> bool {
        if planned.is_empty() { self.or_none } else { planned.iter().all(|planned| self.permits(planned)) }
    }

    /// The writes that no right plan of their incident explains.
    #[must_use]
    pub fn wrong(&self, written: &[Written], planned: &[Planned]) -> Vec<Written> {
        let right = |write: &Written| {
            let mut own =
                planned.iter().filter(|plan| plan.incident == write.incident && plan.written.as_ref().unwrap_or(&plan.object) == &write.object).peekable();
            own.peek().is_some() && own.all(|plan| self.permits(plan))
        };
        written.iter().filter(|write| !right(write)).cloned().collect()
    }
}

/// Every successful change of an object that is not Assent's own, by the executor's user.
#[must_use]
pub fn written(log: &str) -> Vec<Written> {
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let changes = events.filter_map(|event| {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let change = text("/impersonatedUser/username") == EXECUTOR_USER
            && matches!(text("/verb"), "create" | "update" | "patch" | "delete" | "deletecollection")
            && text("/stage") == "ResponseComplete"
            && event.pointer("/responseStatus/code").and_then(Value::as_u64).is_some_and(|code| (200..300).contains(&code))
            && !matches!(text("/objectRef/apiGroup"), "assent.dev" | "coordination.k8s.io" | "events.k8s.io" | "authorization.k8s.io")
            && !text("/requestURI").contains("dryRun");
        change.then(|| Written {
            incident: incident_of(&event).unwrap_or_default(),
            object: format!("{}/{}", text("/objectRef/namespace"), text("/objectRef/name")),
        })
    });
    changes.collect()
}

fn incident_of(event: &Value) -> Option<String> {
    let extra = event.pointer("/impersonatedUser/extra")?.as_object()?;
    extra.values().flat_map(|values| values.as_array().into_iter().flatten()).find_map(Value::as_str).map(str::to_owned)
}

/// What was planned for these incidents.
///
/// # Errors
/// If plans cannot be listed or read.
pub async fn planned(client: &Client, incidents: &[Incident]) -> anyhow::Result<Vec<Planned>> {
    let api: Api<Remediation> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let mut planned = Vec::new();
    for incident in incidents.iter().map(kube::ResourceExt::name_any) {
        for remediation in api.list(&ListParams::default().labels(&format!("{INCIDENT}={incident}"))).await?.items {
            let plan: Plan = serde_json::from_str(&remediation.spec.payload)?;
            let target = &plan.proposal.target;
            planned.push(Planned {
                incident: incident.clone(),
                action: plan.proposal.action.name().to_owned(),
                object: format!("{}/{}", target.namespace, target.name),
                written: plan.proposal.action.evicts().map(|evict| format!("{}/{}", target.namespace, evict.pod)),
            });
        }
    }
    Ok(planned)
}

/// Fills in what the newest decision of the first incident says, and its reasons.
///
/// # Errors
/// If decisions cannot be listed or read.
pub async fn diagnosis(client: &Client, incident: &Incident, truth: &Truth, record: &mut Record) -> anyhow::Result<()> {
    let api: Api<Decision> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let mut decisions = api.list(&ListParams::default().labels(&format!("{INCIDENT}={}", incident.name_any()))).await?.items;
    decisions.sort_by_key(|decision| decision.spec.epoch);
    for decision in &decisions {
        record.story.extend(decision.spec.reasons.iter().map(|reason| format!("  epoch {}: {reason}", decision.spec.epoch)));
    }
    let Some(decision) = decisions.last() else { return Ok(()) };
    let outcome: Outcome = serde_json::from_str(&decision.spec.payload)?;
    if let Some(cause) = outcome.causes.first() {
        record.right_service = cause.service.to_string() == truth.service;
        record.right_domain = record.right_service && truth.domains.contains(&cause.domain);
        record.service = Some(cause.service.to_string());
        record.domain = Some(cause.domain.to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use assent_core::ids::Domain;
    use serde_json::json;

    use super::*;

    const TRUTH: Truth = Truth { service: "shop/orders", domains: &[Domain::Compute], remedies: &["RestartWorkload"], or_none: false };

    fn plan(incident: &str, action: &str, object: &str) -> Planned {
        Planned { incident: incident.into(), action: action.into(), object: object.into(), written: None }
    }

    fn write(incident: &str, object: &str) -> Written {
        Written { incident: incident.into(), object: object.into() }
    }

    #[test]
    fn a_write_is_right_by_a_right_plan_of_its_own_incident() {
        let plans = [plan("a", "RestartWorkload", "shop/orders"), plan("b", "RollbackWorkload", "shop/orders")];
        assert_eq!(TRUTH.wrong(&[write("a", "shop/orders")], &plans), []);
        for wrong in [write("b", "shop/orders"), write("a", "shop/storefront"), write("c", "shop/orders"), write("", "shop/orders")] {
            assert_eq!(TRUTH.wrong(&[wrong.clone(), write("a", "shop/orders")], &plans), std::slice::from_ref(&wrong));
        }
    }

    #[test]
    fn the_pod_that_a_plan_takes_is_written_and_no_other() {
        let mut evict = plan("a", "EvictPod", "shop/orders");
        evict.written = Some("shop/orders-1-a".into());
        let truth = Truth { remedies: &["EvictPod"], ..TRUTH };
        assert_eq!(truth.wrong(&[write("a", "shop/orders-1-a")], std::slice::from_ref(&evict)), []);
        assert_eq!(truth.wrong(&[write("a", "shop/orders"), write("a", "shop/orders-1-b")], &[evict]).len(), 2);
    }

    #[test]
    fn doing_nothing_is_right_where_only_a_person_can_help() {
        let right = [plan("a", "RestartWorkload", "shop/orders")];
        assert!(TRUTH.is_met_by(&right) && !TRUTH.is_met_by(&[]));
        assert!(!TRUTH.is_met_by(&[plan("a", "RestartWorkload", "shop/storefront")]));
        let persons = Truth { remedies: &[], or_none: true, ..TRUTH };
        assert!(persons.is_met_by(&[]) && !persons.is_met_by(&right));
    }

    #[test]
    fn the_log_tells_who_wrote_what_for_which_incident() {
        let event = |user: &str, verb: &str, group: &str, code: u16, uri: &str| {
            json!({
                "stage": "ResponseComplete", "verb": verb, "requestURI": uri, "responseStatus": {"code": code},
                "impersonatedUser": {"username": user, "extra": {"assent.dev/incident-uid": ["u-1"]}},
                "objectRef": {"apiGroup": group, "resource": "deployments", "namespace": "shop", "name": "orders"},
            })
            .to_string()
        };
        let log = [
            event(EXECUTOR_USER, "update", "apps", 200, "/apis"),
            event("system:admin", "update", "apps", 200, "/apis"),
            event(EXECUTOR_USER, "get", "apps", 200, "/apis"),
            event(EXECUTOR_USER, "update", "apps", 403, "/apis"),
            event(EXECUTOR_USER, "update", "apps", 200, "/apis?dryRun=All"),
            event(EXECUTOR_USER, "create", "assent.dev", 201, "/apis"),
            "no event".to_owned(),
        ];
        assert_eq!(written(&log.join("\n")), [write("u-1", "shop/orders")]);
    }
}
