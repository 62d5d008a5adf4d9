//! The wire form of a mutating admission review, as far as the injector needs it.
//!
//! The patch is base64 of a JSON Patch, which the common Rust type gets wrong (it writes an array of numbers). Every answer
//! allows the pod.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use assent_api::mesh::{Mode, Skip};

use super::pod::Injection;

#[derive(Debug, Deserialize)]
pub(super) struct Review {
    pub(super) request: Option<Request>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Request {
    pub(super) uid: String,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) object: Value,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

// === impl Answer ===

impl Answer {
    /// The answer to the request `uid`: a patch, or a warning about why there is none or why not everything is meshed.
    pub(super) fn new(uid: String, outcome: Result<Injection, Skip>) -> Self {
        let (patch, warnings) = match outcome {
            Ok(Injection { patch, mode, report }) => {
                let warnings = if mode == Mode::Explicit { vec![format!("assent: {report}")] } else { Vec::new() };
                (Some(STANDARD.encode(Value::Array(patch).to_string())), warnings)
            }
            Err(skip) if skip.is_expected() => (None, Vec::new()),
            Err(skip) => (None, vec![format!("assent: no sidecar: {skip}")]),
        };
        let patch_type = patch.as_ref().map(|_| "JSONPatch");
        let response = Response { uid, allowed: true, patch_type, patch, warnings };
        Self { api_version: "admission.k8s.io/v1", kind: "AdmissionReview", response }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wire(outcome: Result<Injection, Skip>) -> Value {
        serde_json::to_value(Answer::new("u1".into(), outcome)).unwrap()
    }

    fn injection(mode: Mode) -> Injection {
        Injection { patch: vec![json!({"op": "add", "path": "/a", "value": 1})], mode, report: "what was added".into() }
    }

    #[test]
    fn a_patch_is_base64_and_has_a_type() {
        let answer = wire(Ok(injection(Mode::Redirect)));
        let bytes = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), Value::Array(injection(Mode::Redirect).patch));
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
        assert_eq!((answer["kind"].as_str(), answer["response"]["uid"].as_str()), (Some("AdmissionReview"), Some("u1")));
        assert!(answer["response"]["warnings"].is_null(), "{answer}");
    }

    #[test]
    fn whoever_makes_a_pod_is_told_that_not_all_of_it_is_meshed() {
        assert_eq!(wire(Ok(injection(Mode::Explicit)))["response"]["warnings"], json!(["assent: what was added"]));
    }

    #[test]
    fn a_skip_allows_with_a_warning_and_no_patch() {
        let answer = wire(Err(Skip::HostNetwork));
        assert_eq!(answer["response"], json!({"uid": "u1", "allowed": true, "warnings": ["assent: no sidecar: the pod uses the node's network"]}));
        assert_eq!(wire(Err(Skip::OptedOut))["response"], json!({"uid": "u1", "allowed": true}));
    }
}
