//! Every name that two processes must agree on.

/// API group of all custom resources.
pub const GROUP: &str = "assent.dev";
/// API version of all custom resources.
pub const VERSION: &str = "v1alpha1";
/// Where everything but Blueprints lives.
pub const SYSTEM_NAMESPACE: &str = "assent-system";
/// The cluster's trust domain in workload names.
pub const TRUST_DOMAIN: &str = "cluster.local";
/// Audience of the service-account tokens that the identity service accepts.
pub const TOKEN_AUDIENCE: &str = "identity.assent.dev";
/// ConfigMap with the trust bundle, in every namespace that opted in.
pub const TRUST_CONFIG_MAP: &str = "assent-trust";
/// Key in [`TRUST_CONFIG_MAP`].
pub const TRUST_KEY: &str = "ca-bundle.pem";
/// Label of namespaces whose pods get a sidecar.
pub const INJECT_LABEL: &str = "assent.dev/inject";
/// Label and annotation that name the incident on objects of ours, and the extra of the executor's user.
pub const INCIDENT: &str = "assent.dev/incident-uid";
/// The user that alone holds write verbs on workloads.
pub const EXECUTOR_USER: &str = "assent:executor";
/// Field manager of the executor's writes.
pub const FIELD_MANAGER: &str = assent_core::proof::FIELD_MANAGER;
/// The one Roster.
pub const ROSTER: &str = "default";
/// The Pause that `kubectl assent pause` creates.
pub const PAUSE: &str = "all";
/// The gate's ValidatingWebhookConfiguration.
pub const GATE_CONFIGURATION: &str = "assent-gate";
/// The injector's MutatingWebhookConfiguration.
pub const INJECTOR_CONFIGURATION: &str = "assent-injector";

/// Service accounts in [`SYSTEM_NAMESPACE`].
pub mod accounts {
    /// The workload CA.
    pub const IDENTITY: &str = "assent-identity";
    /// Who is meshed, and where.
    pub const DISCOVERY: &str = "assent-discovery";
    /// Puts sidecars into pods.
    pub const INJECTOR: &str = "assent-injector";
    /// The admission gate.
    pub const GATE: &str = "assent-gate";
    /// The director.
    pub const DIRECTOR: &str = "assent-director";
    /// The executor.
    pub const EXECUTOR: &str = "assent-executor";
    /// Judges what exists by the guardrails.
    pub const SCANNER: &str = "assent-scanner";
    /// Account of a seat.
    #[must_use]
    pub fn seat(name: &str) -> String {
        format!("assent-seat-{name}")
    }
}

/// `userInfo.username` of a service account of ours.
#[must_use]
pub fn account_user(account: &str) -> String {
    format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{account}")
}

/// The workload identity of a service account, as it stands in certificates.
#[must_use]
pub fn workload_identity(namespace: &str, account: &str) -> String {
    format!("{account}.{namespace}.serviceaccount.identity.{SYSTEM_NAMESPACE}.{TRUST_DOMAIN}")
}

/// The workload identity of an account of ours.
#[must_use]
pub fn own_identity(account: &str) -> String {
    workload_identity(SYSTEM_NAMESPACE, account)
}
