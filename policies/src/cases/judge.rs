//! A guardrail on a case, by the one function that judges everything else too.
//!
//! Whether a guardrail was asked at all is found out by asking twice: once as it is, and once with a validation that always
//! denies in place of its own. A request that even this lets through was never spoken of.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Case, Verdict};
use crate::spec::{Operation, ParamKind};
use crate::{Evaluation, FAILURES, Kind, Namespace, Outcome, ParamScope, ParamTable, Request, Resource, Set, User, facts};

/// A guardrail with its bindings, ready to be asked.
#[derive(Debug)]
pub struct Subject {
    set: Set,
    probe: Set,
    param_kind: Option<ParamKind>,
    namespaced: bool,
}

/// What a guardrail said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The verdict.
    pub verdict: Verdict,
    /// Every denial, warning or audit entry, each in its own words.
    pub words: Vec<String>,
    /// Validations that were not true, by number. One that could not be evaluated is not among them.
    pub untrue: Vec<usize>,
}

/// The AdmissionRequest of a case.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Admission {
    kind: KindText,
    resource: ResourceText,
    request_kind: KindText,
    request_resource: ResourceText,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    operation: String,
    #[serde(default)]
    user_info: UserText,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    options: Value,
}

#[derive(Deserialize, PartialEq, Eq)]
struct KindText {
    group: String,
    version: String,
    kind: String,
}

#[derive(Deserialize, PartialEq, Eq)]
struct ResourceText {
    group: String,
    version: String,
    resource: String,
}

#[derive(Default, Deserialize)]
struct UserText {
    #[serde(default)]
    username: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

// === impl Subject ===

impl Subject {
    /// The guardrail `name` with its `spec` and the names and specs of its bindings.
    ///
    /// # Errors
    /// What does not load, in words.
    pub fn new(name: &str, spec: &Value, bindings: &[(String, Value)]) -> Result<Self, String> {
        let set = Set::new(vec![(name.to_owned(), spec.clone())], bindings.to_vec());
        if let Some(problem) = set.broken().next() {
            return Err(problem.to_string());
        }
        let mut asked = spec.clone();
        if let Some(fields) = asked.as_object_mut() {
            fields.remove("auditAnnotations");
            fields.insert("validations".into(), json!([{"expression": "false"}]));
        }
        let denying = bindings.iter().map(|(name, spec)| {
            let mut spec = spec.clone();
            if let Some(fields) = spec.as_object_mut() {
                fields.insert("validationActions".into(), json!(["Deny"]));
            }
            (name.clone(), spec)
        });
        let kind = spec.get("paramKind").filter(|kind| !kind.is_null()).map(|kind| serde_json::from_value(kind.clone()));
        let names_a_namespace = |spec: &Value| spec.pointer("/paramRef/namespace").and_then(Value::as_str).is_some_and(|namespace| !namespace.is_empty());
        Ok(Self {
            set,
            probe: Set::new(vec![(name.to_owned(), asked)], denying.collect()),
            param_kind: kind.transpose().map_err(|error| format!("`paramKind`: {error}"))?,
            namespaced: bindings.iter().any(|(_, spec)| names_a_namespace(spec)),
        })
    }

    /// What it says of `case`.
    ///
    /// # Errors
    /// If the case is no request.
    pub fn judge(&self, case: &Case) -> Result<Said, String> {
        let admission = Admission::deserialize(&case.request).map_err(|error| format!("`request`: {error}"))?;
        let params = self.params(&case.params);
        let request = admission.request(case, &params)?;
        let outcome = self.set.evaluate(&request);
        let asked = !self.probe.evaluate(&request).allowed();
        Ok(Said::of(&outcome, asked))
    }

    /// What judging `case` costs, in the API server's unit.
    ///
    /// # Errors
    /// If the case is no request.
    pub fn cost(&self, case: &Case) -> Result<u64, String> {
        let admission = Admission::deserialize(&case.request).map_err(|error| format!("`request`: {error}"))?;
        let params = self.params(&case.params);
        Ok(self.set.evaluate(&admission.request(case, &params)?).costs.iter().map(|(_, cost)| cost).sum())
    }

    fn params(&self, object: &Value) -> ParamTable {
        let mut table = ParamTable::default();
        if let Some(kind) = &self.param_kind {
            let lives_somewhere = object.pointer("/metadata/namespace").and_then(Value::as_str).is_some_and(|namespace| !namespace.is_empty());
            let facts = (kind.api_version.as_str(), kind.kind.as_str()) == (facts::API_VERSION, facts::KIND);
            let scope = if !facts && (self.namespaced || lives_somewhere) { ParamScope::Namespaced } else { ParamScope::Cluster };
            table.know(kind.clone(), scope);
            if !object.is_null() {
                table.insert(kind, object.clone());
            }
        }
        table
    }
}

// === impl Said ===

impl Said {
    fn of(outcome: &Outcome, asked: bool) -> Self {
        let untrue = outcome.decisions.iter().filter(|one| one.evaluation == Evaluation::Deny).filter_map(|one| one.index).collect();
        let denials: Vec<String> = outcome.decisions.iter().filter(|one| one.denies()).map(|one| one.message.clone()).collect();
        let (verdict, words) = if !denials.is_empty() {
            (Verdict::Deny, denials)
        } else if !outcome.warnings.is_empty() {
            (Verdict::Warn, outcome.warnings.clone())
        } else if let Some(failures) = outcome.annotations.get(FAILURES) {
            (Verdict::Audit, vec![failures.clone()])
        } else {
            (if asked { Verdict::Allow } else { Verdict::Skip }, Vec::new())
        };
        Self { verdict, words, untrue }
    }

    /// Whether this is what `case` expects.
    ///
    /// # Errors
    /// What was expected and what came, in words.
    pub fn meets(&self, case: &Case) -> Result<(), String> {
        let words = self.words.join("; ");
        if self.verdict != case.expect {
            return Err(format!("expected {:?}, and it says {:?}: {words}", case.expect, self.verdict));
        }
        match &case.message {
            Some(part) if !self.words.iter().any(|text| text.contains(part.as_str())) => Err(format!("expected words `{part}`, and it says: {words}")),
            _ => Ok(()),
        }
    }
}

// === impl Admission ===

impl Admission {
    fn request<'a>(&'a self, case: &'a Case, params: &'a ParamTable) -> Result<Request<'a>, String> {
        let operation = Operation::named(&self.operation).ok_or(format!("`request.operation` is `{}`", self.operation))?;
        let asked_otherwise = self.kind != self.request_kind || self.resource != self.request_resource;
        Ok(Request {
            kind: self.kind.of(),
            resource: self.resource.of(),
            subresource: &self.sub_resource,
            requested: asked_otherwise.then(|| (self.request_kind.of(), self.request_resource.of())),
            operation,
            name: &self.name,
            namespace: &self.namespace,
            user: User { username: &self.user_info.username, uid: &self.user_info.uid, groups: &self.user_info.groups, extra: &self.user_info.extra },
            dry_run: self.dry_run,
            options: &self.options,
            object: &case.object,
            old_object: &case.old_object,
            namespace_object: if case.namespace_object.is_null() { Namespace::Missing } else { Namespace::Known(&case.namespace_object) },
            equivalents: Some(&[]),
            params,
            ..Request::default()
        })
    }
}

impl KindText {
    fn of(&self) -> Kind<'_> {
        Kind { group: &self.group, version: &self.version, kind: &self.kind }
    }
}

impl ResourceText {
    fn of(&self) -> Resource<'_> {
        Resource { group: &self.group, version: &self.version, resource: &self.resource }
    }
}
