//! What the guardrails say of one object that exists: a total function, and the same judgement as of a request.
//!
//! An object is judged as its own creation where a guardrail speaks of that, else as an update that changes nothing, by the
//! user that guardrails speak of. What only a real write has is not known here, and what needs it is skipped, never passed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use assent_api::names::EXECUTOR_USER;
use assent_policies::spec::{Operation, ParamKind, ValidationAction};
use assent_policies::{Decision, Evaluation, Kind as RequestKind, Lacks, Namespace, ParamScope, Params, Request, Resource, Said, Set, User};
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::row::{Row, Severity, Subject, Verdict, message, text};

/// Annotation that takes a guardrail out of scans: one that speaks of who may write, not of how objects are.
pub const BACKGROUND: &str = "assent.dev/background";
const CATEGORY: &str = "Guardrails";
static GROUPS: LazyLock<[String; 1]> = LazyLock::new(|| ["system:authenticated".to_owned()]);

/// What people say of a guardrail beside its spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// How bad it is.
    pub severity: Option<Severity>,
    /// Category.
    pub category: String,
    /// What would pass.
    pub would_pass: Option<String>,
    /// Whether it speaks of what exists.
    pub background: bool,
    /// Expressions of its validations.
    pub validations: Vec<String>,
}

/// An object with its Namespace.
#[derive(Clone, Copy, Debug)]
pub struct Existing<'a> {
    /// Its kind.
    pub kind: &'a Kind,
    /// The object, with `apiVersion` and `kind`.
    pub object: &'a Value,
    /// The Namespace that it is in.
    pub namespace: Namespace<'a>,
}

/// A guardrail, by one of its bindings, on an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The guardrail.
    pub policy: String,
    /// The binding; absent where the guardrail itself is at fault.
    pub binding: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
}

/// No params: of every kind it is said that a scan does not know it.
struct Unread;

// === impl About ===

impl About {
    /// What annotations and spec of a guardrail say.
    #[must_use]
    pub fn of(annotations: &BTreeMap<String, String>, spec: &Value) -> Self {
        let said = |name: &str| annotations.get(&format!("assent.dev/{name}")).map(String::as_str);
        let validations = spec.get("validations").and_then(Value::as_array).into_iter().flatten();
        let expression = |validation: &Value| text(validation.get("expression").and_then(Value::as_str).unwrap_or_default());
        Self {
            severity: said("severity").and_then(Severity::named),
            category: said("category").map_or_else(|| CATEGORY.to_owned(), text),
            would_pass: said("would-pass").map(text),
            background: annotations.get(BACKGROUND).is_none_or(|background| background != "false"),
            validations: validations.map(expression).collect(),
        }
    }
}

/// What the guardrails of `set` say of an object: one row per guardrail, and every binding that spoke. `late` says when there
/// is no more time for it.
#[must_use]
pub fn judge(set: &Set, about: &BTreeMap<String, About>, existing: Existing<'_>, late: &(dyn Fn() -> bool + Sync)) -> (Vec<Row>, Vec<Spoken>) {
    let subject = Subject::of(existing.kind, existing.object);
    let background = |name: &str| about.get(name).is_none_or(|about| about.background);
    let created = set.each(&request(existing, &subject, Operation::Create, late), &background);
    let created: Vec<Said> = created.into_iter().filter(speaks).collect();
    let done: BTreeSet<&str> = created.iter().map(|said| said.policy.as_str()).collect();
    let updated = set.each(&request(existing, &subject, Operation::Update, late), &|name| background(name) && !done.contains(name));
    let mut all: Vec<(Said, Operation)> = updated.into_iter().filter(speaks).map(|said| (said, Operation::Update)).collect();
    all.extend(created.into_iter().map(|said| (said, Operation::Create)));
    all.sort_by(|(a, _), (b, _)| a.policy.cmp(&b.policy));
    let mut rows: Vec<Row> = Vec::new();
    let mut spoken = Vec::with_capacity(all.len());
    for (said, operation) in &all {
        let row = row(said, *operation, about.get(&said.policy), &subject);
        spoken.push(Spoken { policy: said.policy.clone(), binding: said.binding.clone(), verdict: row.verdict });
        match rows.last_mut().filter(|last| last.policy == row.policy) {
            // The binding that says worst speaks for the guardrail.
            Some(last) if row.verdict < last.verdict => *last = row,
            Some(_) => {}
            None => rows.push(row),
        }
    }
    (rows, spoken)
}

/// Whether constraints and conditions let it speak of the object.
fn speaks(said: &Said) -> bool {
    !said.outcome.asked.is_empty() || !said.outcome.decisions.is_empty()
}

fn request<'a>(existing: Existing<'a>, subject: &'a Subject, operation: Operation, deadline: &'a (dyn Fn() -> bool + Sync)) -> Request<'a> {
    static CREATE: LazyLock<Value> = LazyLock::new(|| json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}));
    static UPDATE: LazyLock<Value> = LazyLock::new(|| json!({"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"}));
    static NULL: Value = Value::Null;
    let kind = existing.kind;
    let create = operation == Operation::Create;
    let is_namespace = kind.group.is_empty() && kind.kind == "Namespace";
    Request {
        kind: RequestKind { group: kind.group, version: kind.version, kind: kind.kind },
        resource: Resource { group: kind.group, version: kind.version, resource: kind.resource },
        operation,
        name: &subject.name,
        namespace: if is_namespace { &subject.name } else { &subject.namespace },
        user: User { username: EXECUTOR_USER, groups: &*GROUPS, ..User::default() },
        options: if create { &CREATE } else { &UPDATE },
        object: existing.object,
        old_object: if create { &NULL } else { existing.object },
        namespace_object: existing.namespace,
        params: &Unread,
        deadline,
        ..Request::default()
    }
}

fn row(said: &Said, operation: Operation, about: Option<&About>, subject: &Subject) -> Row {
    let worst = said.outcome.decisions.iter().min_by_key(|decision| verdict_of(decision));
    let unknown = unknown(&said.lacks, operation, worst);
    let (verdict, words) = match (unknown, worst) {
        (Some(reason), _) => (Verdict::Skip, reason),
        (None, None) => (Verdict::Pass, String::new()),
        (None, Some(decision)) => (verdict_of(decision), message(&decision.message)),
    };
    let objection = worst.filter(|decision| decision.evaluation == Evaluation::Deny && verdict.is_failing());
    let expression = |index: usize| {
        let expression = about.and_then(|about| about.validations.get(index)).map_or("", String::as_str);
        text(&format!("validations[{index}]: {expression}"))
    };
    let would_pass = objection.and_then(|decision| {
        let said = about.and_then(|about| about.would_pass.clone());
        said.or_else(|| decision.explanation.as_ref().map(|explanation| text(&explanation.would_pass())))
    });
    Row {
        policy: said.policy.clone(),
        verdict,
        severity: about.and_then(|about| about.severity),
        category: about.map_or_else(|| CATEGORY.to_owned(), |about| about.category.clone()),
        message: words,
        binding: said.binding.clone(),
        validation: worst.filter(|_| verdict.is_failing()).and_then(|decision| decision.index).map(expression),
        would_pass,
        subject: subject.clone(),
    }
}

fn verdict_of(decision: &Decision) -> Verdict {
    match decision.evaluation {
        Evaluation::Error | Evaluation::Configuration => Verdict::Error,
        Evaluation::Deny if decision.actions.contains(&ValidationAction::Deny) => Verdict::Fail,
        Evaluation::Deny => Verdict::Warn,
    }
}

/// Why the verdict is not to be trusted, if it is not.
fn unknown(lacks: &Lacks, operation: Operation, worst: Option<&Decision>) -> Option<String> {
    if let Some(kind) = &lacks.params {
        return Some(message(&format!("it reads params of kind {}, which belong to a write; a scan has none", kind.kind)));
    }
    let stuck = worst.is_some_and(|decision| decision.evaluation == Evaluation::Error);
    if lacks.authorizer && stuck {
        return Some("it asks the authorizer what the writer may do; a scan has no writer".to_owned());
    }
    // An update that changes nothing is refused by what the object is; that it is let through says nothing.
    (lacks.old_object && operation == Operation::Update && worst.is_none())
        .then(|| "it compares with the object before; what only exists has not changed".to_owned())
}

// === impl Unread ===

impl Params for Unread {
    fn scope(&self, _: &ParamKind) -> Result<ParamScope, String> {
        Ok(ParamScope::Cluster)
    }

    fn get(&self, kind: &ParamKind, _: Option<&str>, _: &str) -> Result<Option<&Value>, String> {
        Err(format!("params of kind {} are not known to a scan", kind.kind))
    }

    fn list(&self, kind: &ParamKind, _: Option<&str>) -> Result<Vec<&Value>, String> {
        self.get(kind, None, "").map(|_| Vec::new())
    }
}

#[cfg(test)]
mod cases;
