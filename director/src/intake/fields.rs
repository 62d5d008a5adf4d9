//! Reading strangers' JSON: what is missing is named with where it should be and what to do, and what is taken is bounded.

use assent_core::incident::Symptom;
use assent_core::incident::masking::masked;
use assent_core::target::Service;
use serde::Serialize;
use serde_json::Value;

/// Labels that may name a workload, the most exact first.
const WORKLOAD_LABELS: [&str; 6] = ["deployment", "workload", "statefulset", "service", "app", "job"];
/// Longest line that is kept, in bytes.
const LINE: usize = 300;

/// Why a body was refused: the sender's mistake, in words that help to correct it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// Path into the body.
    #[serde(rename = "where")]
    at: String,
    /// What is wrong there.
    error: String,
    /// What to do.
    fix: String,
}

// === impl Problem ===

impl Problem {
    pub(super) fn new(at: &str, error: &str, fix: &str) -> Self {
        Self { at: at.into(), error: error.into(), fix: fix.into() }
    }
}

/// The body as a JSON object.
pub(super) fn object(body: &[u8]) -> Result<Value, Problem> {
    let fix = "send the sender's stock JSON body";
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::new(&format!("line {} column {}", error.line(), error.column()), &format!("is not JSON ({:?})", error.classify()), fix))?;
    if value.is_object() { Ok(value) } else { Err(Problem::new("", "the body is no JSON object", fix)) }
}

/// A required text.
pub(super) fn text<'a>(value: &'a Value, at: &str, key: &str) -> Result<&'a str, Problem> {
    let dot = if at.is_empty() { "" } else { "." };
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or_else(|| {
        Problem::new(&format!("{at}{dot}{key}"), "is missing, empty or no text", "send the sender's stock JSON body, or keep this key in a templated one")
    })
}

/// A text that may be missing.
pub(super) fn optional<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The workload that labels name, if they do in names that can exist.
pub(super) fn service(labels: &Value) -> Option<Service> {
    let namespace = optional(labels, "namespace");
    let name = WORKLOAD_LABELS.into_iter().map(|label| optional(labels, label)).find(|name| !name.is_empty())?;
    (is_name(namespace, 63) && is_name(name, 253)).then(|| Service { namespace: namespace.into(), name: name.into() })
}

/// Whether an object can be called this.
pub(crate) fn is_name(text: &str, most: usize) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || (c == '.' && most > 63);
    !text.is_empty() && text.len() <= most && text.chars().all(inner) && !text.starts_with(['-', '.']) && !text.ends_with(['-', '.'])
}

/// The class of the symptom, if a label `symptom` names one of ours. That nothing is wrong is no alert: only seats say so.
pub(super) fn symptom(labels: &Value) -> Symptom {
    let named = serde_json::from_value(Value::String(optional(labels, "symptom").to_owned())).ok();
    named.filter(|symptom: &Symptom| !symptom.is_routine()).unwrap_or(Symptom::Unspecified)
}

/// One line of at most 300 bytes, without control characters, secrets and personal data.
pub(crate) fn line(text: &str) -> String {
    // Masked before it is cut: half a key looks like none.
    capped(&masked(&capped(text, 4 * LINE)), LINE)
}

/// One line of at most `most` bytes, without control characters.
pub(crate) fn capped(text: &str, most: usize) -> String {
    let mut line = String::new();
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if line.len() + c.len_utf8() > most {
            break;
        }
        line.push(c);
    }
    line
}
