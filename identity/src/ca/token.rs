//! Whose token it is: which account and pod a token review names, and whether the pod that was read
//! back still is that one. The review itself is made elsewhere.

use assent_runtime::workload::{Name, TOKEN_AUDIENCE};
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use k8s_openapi::api::core::v1::Pod;

use super::{Refusal, denied, invalid};

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// The pod that a genuine token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Namespace of account and pod.
    pub namespace: String,
    /// Service account.
    pub account: String,
    /// Pod name.
    pub pod: String,
    /// Pod UID at the time the token was issued.
    pub uid: String,
}

/// What a token review says, if the token is genuine, for us, and bound to a pod.
///
/// # Errors
/// [`Refusal::Invalid`] for a token the API server rejects or of a user that is no service account,
/// [`Refusal::Denied`] for one that is not authenticated for our audience or not bound to a pod.
pub fn bound(review: &TokenReviewStatus) -> Result<Bound, Refusal> {
    if review.error.as_ref().is_some_and(|error| !error.is_empty()) {
        // The API server's text may quote the token's contents; it stays in our log.
        return invalid("the token is rejected");
    }
    if review.authenticated != Some(true) {
        return denied("the token is not authenticated");
    }
    // An API server that does not know audiences leaves this empty and would accept any token.
    if !review.audiences.iter().flatten().any(|audience| audience == TOKEN_AUDIENCE) {
        return denied("the token is for another audience");
    }
    let user = review.user.as_ref();
    let username = user.and_then(|user| user.username.as_deref()).unwrap_or_default();
    let Some((namespace, account)) = username.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) else {
        return invalid("the token is not a service account's");
    };
    // The same shape rules as the name that is derived from it.
    if Name::new(namespace, account, "control", "domain").is_err() {
        return invalid("namespace and service account must be dns labels");
    }
    let extra = |key: &str| {
        let values = user.and_then(|user| user.extra.as_ref()).and_then(|extra| extra.get(key));
        match values.map(Vec::as_slice) {
            Some([value]) if !value.is_empty() => Some(value.clone()),
            _ => None,
        }
    };
    let (Some(pod), Some(uid)) = (extra(POD_NAME), extra(POD_UID)) else {
        return denied("the token is not bound to a pod");
    };
    Ok(Bound { namespace: namespace.to_owned(), account: account.to_owned(), pod, uid })
}

/// Whether the pod read back is the one the token was issued to, and still runs.
///
/// # Errors
/// [`Refusal::Denied`] if it is gone, another, another account's, or ending.
pub fn check_pod(bound: &Bound, pod: Option<&Pod>) -> Result<(), Refusal> {
    let Some(pod) = pod else {
        return denied("the pod does not exist");
    };
    if pod.metadata.uid.as_deref() != Some(bound.uid.as_str()) {
        return denied("the pod is not the one the token was issued to");
    }
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
    if account != Some(bound.account.as_str()) {
        return denied("the pod runs as another service account");
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed")) {
        return denied("the pod is terminating");
    }
    Ok(())
}
