//! Rows as the objects that people and dashboards read: `Report` and `ClusterReport` of `openreports.io/v1alpha1`, or their
//! older siblings of `wgpolicyk8s.io/v1alpha2`. The shapes are those of github.com/openreports/reports-api v0.2.1; what we
//! never say is left out of them.

use std::collections::BTreeMap;

use assent_core::canonical::Digest;
use serde::Serialize;
use serde_json::Value;

use crate::bundle::Bundle;
use crate::row::{Row, Verdict};

/// Name of every report of ours: one in a namespace.
pub const NAME: &str = "assent-guardrails";
/// Who made it, as reports say it.
pub const SOURCE: &str = "assent";
/// Annotation with the digest of what a report says, whenever it was found.
pub const DIGEST: &str = "assent.dev/digest";
/// Annotation with the number of results that a report has no room for.
pub const OMITTED: &str = "assent.dev/omitted";

/// Which kinds reports are of.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `openreports.io/v1alpha1`
    Openreports,
    /// `wgpolicyk8s.io/v1alpha2`
    Wgpolicyk8s,
    /// No reports; metrics and status only.
    None,
}

/// Group, version, plurals and kinds of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// API group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind and plural in a namespace.
    pub namespaced: (&'static str, &'static str),
    /// Kind and plural for what is in no namespace.
    pub cluster: (&'static str, &'static str),
    /// Whether a report has a source of its own.
    source: bool,
}

/// A report as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Namespace; none for the report of what is in none.
    pub namespace: Option<String>,
    /// Digest of what it says.
    pub digest: String,
    /// The object.
    pub object: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    api_version: String,
    kind: &'a str,
    metadata: Metadata<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<ObjectReference<'a>>,
    summary: ReportSummary,
    results: Vec<ReportResult<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
struct ReportSummary {
    pass: u64,
    fail: u64,
    warn: u64,
    error: u64,
    skip: u64,
}

#[derive(Serialize)]
struct ReportResult<'a> {
    source: &'a str,
    policy: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    category: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'a str>,
    timestamp: Timestamp,
    result: &'a str,
    scored: bool,
    resources: [ObjectReference<'a>; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<&'a str, &'a str>,
}

#[derive(Clone, Copy, Serialize)]
struct Timestamp {
    seconds: i64,
    nanos: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectReference<'a> {
    api_version: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
}

// === impl Format ===

impl Format {
    /// The kinds of this format, if it has any.
    #[must_use]
    pub fn api(self) -> Option<Api> {
        match self {
            Self::Openreports => Some(Api {
                group: "openreports.io",
                version: "v1alpha1",
                namespaced: ("Report", "reports"),
                cluster: ("ClusterReport", "clusterreports"),
                source: true,
            }),
            Self::Wgpolicyk8s => Some(Api {
                group: "wgpolicyk8s.io",
                version: "v1alpha2",
                namespaced: ("PolicyReport", "policyreports"),
                cluster: ("ClusterPolicyReport", "clusterpolicyreports"),
                source: false,
            }),
            Self::None => None,
        }
    }
}

/// The report of a namespace, or of what is in none; `None` where there is nothing to say. `seconds` is when it was found.
#[must_use]
pub fn report(format: Format, namespace: Option<&str>, bundle: &Bundle, seconds: i64) -> Option<Written> {
    let api = format.api()?;
    if bundle.is_empty() {
        return None;
    }
    let (kind, _) = if namespace.is_some() { api.namespaced } else { api.cluster };
    let omitted = (bundle.omitted() > 0).then(|| (OMITTED, bundle.omitted().to_string()));
    let mut report = Report {
        api_version: format!("{}/{}", api.group, api.version),
        kind,
        metadata: Metadata {
            name: NAME,
            namespace,
            labels: BTreeMap::from([("app.kubernetes.io/managed-by", "assent-scanner"), ("app.kubernetes.io/part-of", "assent")]),
            annotations: omitted.into_iter().collect(),
        },
        source: api.source.then_some(SOURCE),
        scope: namespace.map(|name| ObjectReference { api_version: "v1", kind: "Namespace", namespace: "", name, uid: "" }),
        summary: ReportSummary {
            pass: bundle.count(Verdict::Pass),
            fail: bundle.count(Verdict::Fail),
            warn: bundle.count(Verdict::Warn),
            error: bundle.count(Verdict::Error),
            skip: bundle.count(Verdict::Skip),
        },
        results: bundle.rows().map(|row| result(row, Timestamp { seconds: 0, nanos: 0 })).collect(),
    };
    let digest = Digest::of_bytes(serde_json::to_string(&report).ok()?.as_bytes()).to_string();
    report.metadata.annotations.insert(DIGEST, digest.clone());
    for result in &mut report.results {
        result.timestamp.seconds = seconds;
    }
    Some(Written { namespace: namespace.map(str::to_owned), digest, object: serde_json::to_value(&report).ok()? })
}

fn result(row: &Row, timestamp: Timestamp) -> ReportResult<'_> {
    let properties = [("binding", &row.binding), ("would-pass", &row.would_pass), ("validation", &row.validation)];
    let subject = &row.subject;
    ReportResult {
        source: SOURCE,
        policy: &row.policy,
        rule: row.validation.as_deref().and_then(|validation| validation.split_once(':')).map(|(rule, _)| rule),
        category: &row.category,
        severity: row.severity.map(crate::row::Severity::name),
        timestamp,
        result: row.verdict.name(),
        // What only warns does not count against anybody, and neither does what was not judged.
        scored: !matches!(row.verdict, Verdict::Warn | Verdict::Skip),
        resources: [ObjectReference {
            api_version: &subject.api_version,
            kind: subject.kind,
            namespace: &subject.namespace,
            name: &subject.name,
            uid: &subject.uid,
        }],
        message: &row.message,
        properties: properties.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect(),
    }
}

#[cfg(test)]
mod cases;
