//! Our side: the same policies in a set, asked about the same requests.

use std::collections::BTreeMap;

use assent_policies::spec::{Operation, ParamKind};
use assent_policies::{FAILURES, Kind, Namespace, ParamScope, ParamTable, Request, Resource, Set, User};
use serde_json::{Value, json};

use super::server::Admitted;
use super::{Asked, Guarded, Said, Server};

/// Everything that a server might say of a request. Bindings of one policy have no order in a server, so which of several
/// refusals comes first is its whim, as is the order of warnings.
#[derive(Clone, Debug)]
pub struct Possible {
    refusals: Vec<(u16, String, String)>,
    warnings: Vec<String>,
    /// What the annotation of failures may hold; a 1.34 server keeps the first failure of a request only.
    failures: Vec<Value>,
    annotations: BTreeMap<String, Vec<String>>,
}

// === impl Possible ===

impl Possible {
    /// Whether nothing refuses.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.refusals.is_empty()
    }

    /// Whether the server said one of these things.
    #[must_use]
    pub fn covers(&self, said: &Said) -> bool {
        let mut warnings = said.warnings.clone();
        warnings.sort_unstable();
        let mut annotations = said.annotations.clone();
        let failures: Vec<Value> = annotations.remove(FAILURES).map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default();
        let annotations: BTreeMap<String, Vec<String>> = annotations.into_iter().map(|(key, value)| (key, parts(&value))).collect();
        said.refusal.as_ref().map_or(self.refusals.is_empty(), |refusal| self.refusals.contains(refusal))
            && self.warnings == warnings
            && self.failures.is_empty() == failures.is_empty()
            && failures.iter().all(|failure| self.failures.contains(failure))
            && self.annotations == annotations
    }
}

/// Values of several bindings stand in one annotation, in any order.
fn parts(value: &str) -> Vec<String> {
    let mut parts: Vec<String> = value.split(", ").map(str::to_owned).collect();
    parts.sort_unstable();
    parts
}

/// A set and what it needs to know.
#[derive(Debug)]
pub struct Engine {
    set: Set,
    params: ParamTable,
}

// === impl Engine ===

impl Engine {
    /// The set of all policies, which must load.
    #[must_use]
    pub fn new(guarded: &[Guarded], server: &Server) -> Self {
        let policies = guarded.iter().map(|one| (one.name.clone(), one.policy.clone())).collect();
        let bindings = guarded.iter().flat_map(|one| one.bindings.clone()).collect();
        let set = Set::new(policies, bindings);
        assert_eq!(set.broken().map(|problem| format!("{problem:?}")).collect::<Vec<_>>(), Vec::<String>::new(), "stored by the server, not loaded here");
        let kind = ParamKind { api_version: "v1".into(), kind: "ConfigMap".into() };
        let mut params = ParamTable::default();
        params.know(kind.clone(), ParamScope::Namespaced);
        server.params.iter().for_each(|object| params.insert(&kind, object.clone()));
        Self { set, params }
    }

    /// What the set says of a request in a namespace.
    #[must_use]
    pub fn says(&self, server: &Server, namespace: &str, asked: &Asked, admitted: &Admitted) -> Possible {
        let (group, kind, resource) = match asked.body["kind"].as_str() {
            Some("Deployment") => ("apps", "Deployment", "deployments"),
            Some("Pod") => ("", "Pod", "pods"),
            _ => ("", "ConfigMap", "configmaps"),
        };
        let mut object = admitted.object.clone();
        if object.is_object() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        let old_object = if asked.operation == "CREATE" { Value::Null } else { server.bases[namespace].clone() };
        let name = if asked.operation == "CREATE" { asked.body["metadata"]["name"].as_str().unwrap() } else { "base" };
        let groups: Vec<String> = asked.groups.iter().chain(&["system:masters", "system:authenticated"]).map(|&group| group.to_owned()).collect();
        let extra = BTreeMap::from([("team".to_owned(), vec!["blue".to_owned()])]);
        let operation: Operation = serde_json::from_value(json!(asked.operation)).unwrap();
        // The same request as the executor sees it before it submits, and as the API server's review brings it to the gate.
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "0d1d5a4e-0000-4000-8000-000000000000", "kind": {"group": group, "version": "v1", "kind": kind},
            "resource": {"group": group, "version": "v1", "resource": resource}, "name": name, "namespace": namespace, "operation": asked.operation,
            "userInfo": {"username": asked.user, "groups": groups, "extra": extra}, "object": object, "oldObject": old_object, "dryRun": true,
            "options": admitted.options}});
        let read = assent_webhook::review::read(review.to_string().as_bytes()).unwrap().request.unwrap();
        let surroundings =
            Request { namespace_object: Namespace::Known(&server.namespaces[namespace]), equivalents: Some(&[]), params: &self.params, ..Request::default() };
        let preflight = self.set.evaluate(&Request {
            kind: Kind { group, version: "v1", kind },
            resource: Resource { group, version: "v1", resource },
            operation,
            name,
            namespace,
            user: User { username: asked.user, uid: "", groups: &groups, extra: &extra },
            dry_run: true,
            options: &admitted.options,
            object: &object,
            old_object: &old_object,
            ..surroundings
        });
        let Request { namespace_object, equivalents, params, .. } = surroundings;
        let outcome = self.set.evaluate(&Request { namespace_object, equivalents, params, ..read.asked() });
        assert_eq!(preflight, outcome, "preflight and admission disagree on {review}");
        let mut warnings = outcome.warnings.clone();
        warnings.sort_unstable();
        warnings.dedup();
        let refusals = outcome.decisions.iter().filter(|decision| decision.denies()).map(|denial| (denial.code(), denial.reason.clone(), denial.text()));
        let mut annotations = outcome.annotations.clone();
        let failures = annotations.remove(FAILURES).map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default();
        let annotations = annotations.into_iter().map(|(key, value)| (key, parts(&value))).collect();
        Possible { refusals: refusals.collect(), warnings, failures, annotations }
    }
}
