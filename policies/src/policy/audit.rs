//! What goes to the audit log: each policy's `auditAnnotations`, and the list of failed validations of bindings that audit.
//!
//! A 1.34 server keeps only the first failure of a request; later ones keep up to fifty, as is done here.

use std::collections::BTreeMap;

use serde::Serialize;

use super::spec::{AuditAnnotation, FailurePolicy, ValidationAction};

/// The annotation that lists failed validations.
pub const FAILURES: &str = "validation.policy.admission.k8s.io/validation_failure";
/// Most failures that it lists.
const MAX_FAILURES: usize = 50;
/// Longest value of an annotation, in bytes.
const MAX_VALUE: usize = 10 * 1024;

/// What became of one audit annotation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Annotation {
    Publish(String),
    Exclude,
    Error(String),
}

/// What a `valueExpression` came to.
pub(crate) enum Evaluated<'v> {
    String(&'v str),
    Null,
    /// Of a type that is neither, by its name.
    Other(&'v str),
    Error(&'v str),
}

/// Collects annotations of one request.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    values: BTreeMap<String, Vec<String>>,
    failures: Vec<Failure>,
}

/// One entry of the list; its fields stand in the order of the API server's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    message: String,
    policy: String,
    binding: String,
    expression_index: usize,
    validation_actions: Vec<ValidationAction>,
}

/// What becomes of an annotation whose expression came to `evaluated`.
pub(crate) fn annotation(annotation: &AuditAnnotation, evaluated: &Evaluated<'_>, on_error: FailurePolicy) -> Annotation {
    match evaluated {
        Evaluated::String(text) => match text.trim() {
            "" => Annotation::Exclude,
            text => Annotation::Publish(text.to_owned()),
        },
        Evaluated::Null => Annotation::Exclude,
        Evaluated::Other(kind) => Annotation::Error(format!(
            "valueExpression '{}' resulted in unsupported return type: {kind}. Return type must be either string or null.",
            annotation.value_expression
        )),
        Evaluated::Error(_) if on_error == FailurePolicy::Ignore => Annotation::Exclude,
        Evaluated::Error(reason) => Annotation::Error((*reason).to_owned()),
    }
}

// === impl Collector ===

impl Collector {
    /// Adds a value; the same one of another binding or param counts once.
    pub(crate) fn publish(&mut self, policy: &str, key: &str, value: &str) {
        let end = value.floor_char_boundary(MAX_VALUE);
        let value = value.get(..end).unwrap_or_default();
        let values = self.values.entry(format!("{policy}/{key}")).or_default();
        if !values.iter().any(|known| known == value) {
            values.push(value.to_owned());
        }
    }

    /// Adds a failed validation of a binding that audits.
    pub(crate) fn fail(&mut self, policy: &str, binding: &str, index: usize, message: &str, actions: &[ValidationAction]) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(Failure {
                message: message.to_owned(),
                policy: policy.to_owned(),
                binding: binding.to_owned(),
                expression_index: index,
                validation_actions: actions.to_vec(),
            });
        }
    }

    /// The annotations of the request.
    pub(crate) fn finish(self) -> BTreeMap<String, String> {
        let mut annotations: BTreeMap<String, String> = self.values.into_iter().map(|(key, values)| (key, values.join(", "))).collect();
        if !self.failures.is_empty()
            && let Ok(text) = serde_json::to_string(&self.failures)
        {
            annotations.insert(FAILURES.to_owned(), escape_html(&text));
        }
        annotations
    }
}

/// Go's writer of JSON escapes these, and readers compare texts.
fn escape_html(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escaped.push_str(&format!("\\u{:04x}", u32::from(letter))),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod cases {
    use super::*;

    fn one(evaluated: &Evaluated<'_>, on_error: FailurePolicy) -> Annotation {
        annotation(&AuditAnnotation { key: "k".into(), value_expression: "expr".into() }, evaluated, on_error)
    }

    #[test]
    fn strings_are_published_null_excludes_and_errors_follow_the_policy() {
        use FailurePolicy::{Fail, Ignore};
        assert_eq!(one(&Evaluated::String(" v\n"), Fail), Annotation::Publish("v".into()));
        assert_eq!(one(&Evaluated::String(" "), Fail), Annotation::Exclude);
        assert_eq!(one(&Evaluated::Null, Fail), Annotation::Exclude);
        assert_eq!(one(&Evaluated::Error("why"), Fail), Annotation::Error("why".into()));
        assert_eq!(one(&Evaluated::Error("why"), Ignore), Annotation::Exclude);
        let other = "valueExpression 'expr' resulted in unsupported return type: int. Return type must be either string or null.";
        assert_eq!(one(&Evaluated::Other("int"), Ignore), Annotation::Error(other.into()));
    }

    #[test]
    fn values_of_bindings_are_joined_once_each_and_cut() {
        let mut collector = Collector::default();
        for value in ["a", "b", "a"] {
            collector.publish("p", "k", value);
        }
        collector.publish("p", "long", &"x".repeat(MAX_VALUE + 1));
        let annotations = collector.finish();
        assert_eq!(annotations["p/k"], "a, b");
        assert_eq!(annotations["p/long"].len(), MAX_VALUE);
    }

    #[test]
    fn failures_are_listed_as_the_server_writes_them() {
        let mut collector = Collector::default();
        for index in 0..=MAX_FAILURES {
            collector.fail("p", "b", index, "a < b & c", &[ValidationAction::Deny, ValidationAction::Audit]);
        }
        let text = collector.finish().remove(FAILURES).unwrap();
        let first = r#"[{"message":"a \u003c b \u0026 c","policy":"p","binding":"b","expressionIndex":0,"validationActions":["Deny","Audit"]},"#;
        assert!(text.starts_with(first), "{text:.200}");
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap().len(), MAX_FAILURES);
    }
}
