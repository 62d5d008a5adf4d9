//! One row of a report: what one guardrail says of one object. Plain values, cut to a bounded length.

use serde_json::Value;

use crate::kinds::Kind;

/// Longest message, in bytes.
const MAX_MESSAGE: usize = 1024;
/// Longest other text, in bytes.
const MAX_TEXT: usize = 512;

/// What became of it. The order is that of reports: what matters comes first and is kept longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// A binding that denies objects.
    Fail,
    /// It could not be judged.
    Error,
    /// A binding that only warns or records objects.
    Warn,
    /// What it asks for is not known to a scan.
    Skip,
    /// It speaks of the object and has no objection.
    Pass,
}

/// How bad it is, as people wrote it on the guardrail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// `critical`
    Critical,
    /// `high`
    High,
    /// `medium`
    Medium,
    /// `low`
    Low,
    /// `info`
    Info,
}

/// The object that a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: &'static str,
    /// Namespace or empty.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// What one guardrail says of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the guardrail.
    pub policy: String,
    /// What became of it.
    pub verdict: Verdict,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// Category.
    pub category: String,
    /// In words; empty where there is nothing to say.
    pub message: String,
    /// The binding that speaks, if it is known.
    pub binding: Option<String>,
    /// The failed validation: its number and expression.
    pub validation: Option<String>,
    /// What would pass.
    pub would_pass: Option<String>,
    /// The object.
    pub subject: Subject,
}

// === impl Verdict ===

impl Verdict {
    /// Every verdict, in the order of reports.
    pub const ALL: [Self; 5] = [Self::Fail, Self::Error, Self::Warn, Self::Skip, Self::Pass];

    /// As reports and metrics name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Skip => "skip",
            Self::Pass => "pass",
        }
    }

    /// Whether the guardrail objects to the object, or cannot judge it.
    #[must_use]
    pub fn is_failing(self) -> bool {
        matches!(self, Self::Fail | Self::Error | Self::Warn)
    }
}

// === impl Severity ===

impl Severity {
    /// The severity of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "critical" => Self::Critical,
            "high" => Self::High,
            "medium" => Self::Medium,
            "low" => Self::Low,
            "info" => Self::Info,
            _ => return None,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
        }
    }
}

// === impl Subject ===

impl Subject {
    /// What `object`, which is of `kind`, says of itself.
    #[must_use]
    pub fn of(kind: &Kind, object: &Value) -> Self {
        let part = |name: &str| object.pointer(&format!("/metadata/{name}")).and_then(Value::as_str).unwrap_or_default();
        Self {
            api_version: kind.api_version(),
            kind: kind.kind,
            namespace: format!("{:.63}", part("namespace")),
            name: format!("{:.253}", part("name")),
            uid: format!("{:.36}", part("uid")),
        }
    }
}

/// A message, cut.
pub(crate) fn message(text: &str) -> String {
    cut(text, MAX_MESSAGE)
}

/// Any other text, cut.
pub(crate) fn text(text: &str) -> String {
    cut(text, MAX_TEXT)
}

fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub('…'.len_utf8()));
    format!("{}…", text.get(..end).unwrap_or_default())
}
