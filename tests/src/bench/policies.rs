//! The policies and requests of the benchmark: the Pod Security Standard in sixteen policies, in the words of each of those
//! who judge by them.

use std::sync::Arc;

use assent_policies::Set;
use serde::Deserialize as _;
use serde_json::{Value, json};

const POLICIES: &str = include_str!("../../data/bench/pod-security.yaml");
const PODS: &str = include_str!("../../data/bench/pods.yaml");

/// A policy: its name and the spec of a ValidatingAdmissionPolicy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Name.
    pub name: String,
    /// Spec.
    pub spec: Value,
}

/// The sixteen policies.
#[must_use]
pub fn pod_security() -> Vec<Policy> {
    documents(POLICIES)
        .into_iter()
        .map(|object| Policy { name: object["metadata"]["name"].as_str().unwrap().to_owned(), spec: object["spec"].clone() })
        .collect()
}

/// A pod that all of them admit.
#[must_use]
pub fn good_pod() -> Value {
    documents(PODS).swap_remove(0)
}

/// A pod that each of them refuses.
#[must_use]
pub fn hostile_pod() -> Value {
    documents(PODS).swap_remove(1)
}

/// A pod that an API server would store and that some of them refuse.
#[must_use]
pub fn bad_pod() -> Value {
    let mut pod = good_pod();
    pod["spec"]["hostNetwork"] = true.into();
    pod
}

/// A policy whose one expression costs more than any may: a hundred million turns, were it not cut off.
#[must_use]
pub fn bomb() -> Policy {
    let spec = json!({
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}]},
        "variables": [{"name": "many", "expression": "object.data.many.split(',')"}],
        "validations": [{"expression": "variables.many.all(a, variables.many.all(b, variables.many.all(c, variables.many.all(d, a + b + c + d != ''))))"}],
    });
    Policy { name: "bomb".into(), spec }
}

/// What it goes off with.
#[must_use]
pub fn spark() -> Value {
    let many = (0..100).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "spark", "namespace": "shop"}, "data": {"many": many}})
}

/// An AdmissionReview of the creation of `object`, in two halves around its UID's last twelve digits.
#[must_use]
pub fn review(object: &Value, resource: &str) -> (Arc<str>, Arc<str>) {
    const UID: &str = "2f1b9c52-6a51-4b6e-9d6f-";
    let mut stored = object.clone();
    stored["metadata"]["uid"] = "6f0a1e9a-8f9b-4f41-a7a3-0a7a5d2f7a11".into();
    stored["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let kind = json!({"group": "", "version": "v1", "kind": object["kind"]});
    let resource = json!({"group": "", "version": "v1", "resource": resource});
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID, "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
            "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"], "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller", "uid": "1",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]},
            "object": stored, "oldObject": null, "dryRun": true,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
        }
    });
    halves(&review.to_string(), UID)
}

/// The pod itself, as it is posted to an API server, in two halves around a number in an annotation.
#[must_use]
pub fn creation(pod: &Value) -> (Arc<str>, Arc<str>) {
    const NUMBER: &str = "number-";
    let mut pod = pod.clone();
    pod["metadata"]["annotations"]["example.com/number"] = NUMBER.into();
    halves(&pod.to_string(), NUMBER)
}

fn halves(text: &str, at: &str) -> (Arc<str>, Arc<str>) {
    let (before, after) = text.split_once(at).unwrap();
    (format!("{before}{at}").into(), after.into())
}

// === impl Policy ===

impl Policy {
    /// As a guardrail.
    #[must_use]
    pub fn guardrail(&self) -> Value {
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Guardrail", "metadata": {"name": self.name}, "spec": self.spec})
    }

    /// As a native policy.
    #[must_use]
    pub fn native(&self) -> Value {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": self.name}, "spec": self.spec})
    }

    /// A binding of it, for pods of `tenant` if one is given.
    #[must_use]
    pub fn binding(&self, native: bool, name: &str, tenant: Option<usize>) -> Value {
        let (version, kind) =
            if native { ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding") } else { ("assent.dev/v1alpha1", "GuardrailBinding") };
        let mut spec = json!({"policyName": self.name, "validationActions": ["Deny"]});
        if let Some(tenant) = tenant {
            spec["matchResources"] = json!({"objectSelector": {"matchLabels": {"tenant": format!("t-{tenant}")}}});
        }
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
    }

    /// As Gatekeeper's constraint template and constraint, in the language of native policies.
    #[must_use]
    pub fn gatekeeper(&self) -> (Value, Value) {
        let kind = format!("PodSecurity{}", self.name.split('-').map(capital).collect::<String>());
        let variable = |variable: &Value| {
            // There, `object` is absent for a deletion, and templates look at this instead.
            let expression = variable["expression"].as_str().unwrap().replace("object.spec", "variables.anyObject.spec");
            json!({"name": variable["name"], "expression": expression})
        };
        let validation = |validation: &Value| {
            let expression = validation["expression"].as_str().unwrap().replace("object.metadata", "variables.anyObject.metadata");
            json!({"expression": expression, "message": validation["message"]})
        };
        let source = json!({
            "variables": self.spec["variables"].as_array().unwrap().iter().map(variable).collect::<Vec<_>>(),
            "validations": self.spec["validations"].as_array().unwrap().iter().map(validation).collect::<Vec<_>>(),
            // Else it would make native policies of them, which are measured by themselves.
            "generateVAP": false,
        });
        let template = json!({
            "apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate", "metadata": {"name": kind.to_lowercase()},
            "spec": {
                "crd": {"spec": {"names": {"kind": kind}}},
                "targets": [{"target": "admission.k8s.gatekeeper.sh", "code": [{"engine": "K8sNativeValidation", "source": source}]}],
            }
        });
        let constraint = json!({
            "apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": kind, "metadata": {"name": self.name},
            "spec": {"enforcementAction": "deny", "match": {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}}
        });
        (template, constraint)
    }

    /// As Kyverno's validating policy.
    #[must_use]
    pub fn kyverno(&self) -> Value {
        let mut spec = self.spec.clone();
        spec.as_object_mut().unwrap().remove("failurePolicy");
        spec["validationActions"] = json!(["Deny"]);
        json!({"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": self.name}, "spec": spec})
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// A set of these policies, each with one binding.
#[must_use]
pub fn set(policies: &[Policy]) -> Set {
    let bindings = policies.iter().map(|policy| (policy.name.clone(), policy.binding(false, &policy.name, None)["spec"].clone())).collect();
    Set::new(policies.iter().map(|policy| (policy.name.clone(), policy.spec.clone())).collect(), bindings)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use assent_policies::{Kind, Outcome, Request, Resource};

    use super::*;

    fn judge(set: &Set, object: &Value, resource: &str) -> Outcome {
        let resource = Resource { group: "", version: "v1", resource };
        let kind = Kind { group: "", version: "v1", kind: object["kind"].as_str().unwrap() };
        set.evaluate(&Request { kind, resource, name: "x", namespace: "shop", object, ..Request::default() })
    }

    #[test]
    fn the_good_pod_passes_and_each_policy_refuses_the_hostile_one() {
        let set = set(&pod_security());
        assert_eq!(set.problems(), []);
        let good = judge(&set, &good_pod(), "pods");
        assert_eq!(good.decisions, []);
        assert_eq!(good.costs.len(), 16);
        let hostile = judge(&set, &hostile_pod(), "pods");
        let refusing: BTreeSet<_> = hostile.decisions.iter().map(|decision| decision.policy.as_str()).collect();
        assert_eq!(refusing.len(), 16, "{refusing:?}");
        assert!(!judge(&set, &bad_pod(), "pods").allowed());
    }

    #[test]
    fn the_bomb_is_cut_off_by_its_cost() {
        let outcome = judge(&set(&[bomb()]), &spark(), "configmaps");
        assert!(outcome.denial().is_some_and(|denial| denial.message.contains("cost limit")), "{outcome:?}");
    }
}
