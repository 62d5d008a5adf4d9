//! Whether a pod gets a sidecar, and the patch that gives it one: a pure function of the pod and the settings.
//!
//! Injecting twice changes nothing more than injecting once. What is added stands in `containers`; this file decides, and
//! puts the pieces in their places.

use serde_json::{Value, json};
use thiserror::Error;

use super::containers;

pub(super) const SIDECAR: &str = "assent-sidecar";
pub(super) const REDIRECT: &str = "assent-redirect";
/// The user that the sidecar runs as; its traffic is not redirected.
pub(super) const UID: i64 = 2102;
/// Outbound, inbound and admin port of the sidecar.
pub(super) const PORTS: [i64; 3] = [4140, 4143, 4191];
const INJECT: &str = "assent.dev/inject";
const INJECTED: &str = "assent.dev/injected";
const SKIP_INBOUND: &str = "assent.dev/skip-inbound-ports";
const SKIP_OUTBOUND: &str = "assent.dev/skip-outbound-ports";

/// What to add.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// Image with `/assent-sidecar`, `/assent-redirect` and `nft`.
    #[arg(long, env = "ASSENT_SIDECAR_IMAGE")]
    pub sidecar_image: String,
    /// When to pull it.
    #[arg(long, env = "ASSENT_SIDECAR_PULL_POLICY", default_value = "IfNotPresent")]
    pub sidecar_pull_policy: String,
    /// Log filter of the sidecar.
    #[arg(long, env = "ASSENT_SIDECAR_LOG", default_value = "info")]
    pub sidecar_log: String,
    /// Namespace of the control plane.
    #[arg(long, env = "ASSENT_CONTROL_NAMESPACE", default_value = "assent-system")]
    pub control_namespace: String,
    /// Trust domain of workload names.
    #[arg(long, env = "ASSENT_TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: String,
    /// Identity service for sidecars, `host:port`.
    #[arg(long, env = "ASSENT_IDENTITY_SERVICE", default_value = "assent-identity.assent-system.svc.cluster.local:8080")]
    pub identity_service: String,
    /// Discovery service for sidecars, `host:port`.
    #[arg(long, env = "ASSENT_DISCOVERY_SERVICE", default_value = "assent-discovery.assent-system.svc.cluster.local:8086")]
    pub discovery_service: String,
    /// Network seat for sidecars, `host:port`; empty for none.
    #[arg(long, env = "ASSENT_NETWORK_SEAT", default_value = "assent-seat-network.assent-system.svc.cluster.local:8443")]
    pub network_seat: String,
    /// Database seat for sidecars, `host:port`; empty for none.
    #[arg(long, env = "ASSENT_DATABASE_SEAT", default_value = "assent-seat-database.assent-system.svc.cluster.local:8443")]
    pub database_seat: String,
    /// Compute seat for sidecars, `host:port`; empty for none.
    #[arg(long, env = "ASSENT_COMPUTE_SEAT", default_value = "assent-seat-compute.assent-system.svc.cluster.local:8443")]
    pub compute_seat: String,
    /// Processor time that the sidecar requests.
    #[arg(long, env = "ASSENT_SIDECAR_CPU_REQUEST", default_value = "10m")]
    pub sidecar_cpu_request: String,
    /// Memory that the sidecar requests.
    #[arg(long, env = "ASSENT_SIDECAR_MEMORY_REQUEST", default_value = "24Mi")]
    pub sidecar_memory_request: String,
    /// Memory that the sidecar may use at most.
    #[arg(long, env = "ASSENT_SIDECAR_MEMORY_LIMIT", default_value = "128Mi")]
    pub sidecar_memory_limit: String,
}

/// Why a pod gets no sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Skip {
    /// `kube-*`, or the control plane's own.
    #[error("namespace `{0}` belongs to the system")]
    System(String),
    /// Injected before.
    #[error("the pod has a sidecar")]
    Present,
    /// Its annotation says so.
    #[error("the pod is opted out")]
    OptedOut,
    /// Nothing could be redirected without redirecting the node.
    #[error("the pod uses the node's network")]
    HostNetwork,
    /// Its traffic could not be told from the sidecar's, and would pass in plain.
    #[error("container `{0}` runs as the sidecar's user {UID}")]
    SameUser(String),
    /// The sidecar could not listen.
    #[error("container `{0}` uses a port of the sidecar")]
    SamePort(String),
    /// Nothing to prove an identity with.
    #[error("the pod has no service account")]
    NoServiceAccount,
    /// Not Linux.
    #[error("the pod is not for linux")]
    OtherSystem,
    /// An annotation of ours that cannot be understood.
    #[error("annotation `{0}` is not a list of ports")]
    Annotation(&'static str),
    /// No containers.
    #[error("it is not a pod")]
    NotAPod,
}

// === impl Skip ===

impl Skip {
    /// A metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::System(_) => "system_namespace",
            Self::Present => "present",
            Self::OptedOut => "opted_out",
            Self::HostNetwork => "host_network",
            Self::SameUser(_) => "same_user",
            Self::SamePort(_) => "same_port",
            Self::NoServiceAccount => "no_service_account",
            Self::OtherSystem => "other_system",
            Self::Annotation(_) => "annotation",
            Self::NotAPod => "not_a_pod",
        }
    }

    /// Nobody needs to be told.
    pub fn is_expected(&self) -> bool {
        matches!(self, Self::Present | Self::OptedOut)
    }
}

/// The JSON Patch that adds a sidecar to `pod` in `namespace`.
///
/// # Errors
/// The reason why it gets none.
pub fn inject(pod: &Value, namespace: &str, settings: &Settings) -> Result<Vec<Value>, Skip> {
    if namespace.starts_with("kube-") || namespace == settings.control_namespace {
        return Err(Skip::System(namespace.to_owned()));
    }
    if !pod.pointer("/spec/containers").is_some_and(Value::is_array) {
        return Err(Skip::NotAPod);
    }
    if containers(pod).any(|container| matches!(name(container), SIDECAR | REDIRECT)) {
        return Err(Skip::Present);
    }
    if annotation(pod, INJECT).is_some_and(|value| value == "disabled") {
        return Err(Skip::OptedOut);
    }
    if flag(pod, "/spec/hostNetwork") {
        return Err(Skip::HostNetwork);
    }
    if pod.pointer("/spec/os/name").and_then(Value::as_str).is_some_and(|system| system != "linux") {
        return Err(Skip::OtherSystem);
    }
    if pod.pointer("/spec/serviceAccountName").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(Skip::NoServiceAccount);
    }
    let of_pod = pod.pointer("/spec/securityContext/runAsUser").and_then(Value::as_i64);
    for container in containers(pod) {
        let user = container.pointer("/securityContext/runAsUser").and_then(Value::as_i64).or(of_pod);
        if user == Some(UID) {
            return Err(Skip::SameUser(name(container).to_owned()));
        }
        let mut ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
        if ports.any(|port| port.get("containerPort").and_then(Value::as_i64).is_some_and(|port| PORTS.contains(&port))) {
            return Err(Skip::SamePort(name(container).to_owned()));
        }
    }
    let skip_inbound = ports(pod, SKIP_INBOUND)?;
    let skip_outbound = ports(pod, SKIP_OUTBOUND)?;
    let sidecar = containers::sidecar(settings, &skip_inbound, &skip_outbound);
    let redirect = containers::redirect(settings, &skip_inbound, &skip_outbound);

    let mut patch = Vec::new();
    // First of all init containers, so that those behind it are observed and protected too.
    list(&mut patch, pod, "/spec/initContainers", vec![sidecar, redirect], Place::First);
    list(&mut patch, pod, "/spec/volumes", containers::volumes(), Place::Last);
    if !pod.pointer("/metadata/annotations").is_some_and(Value::is_object) {
        patch.push(add("/metadata/annotations", json!({})));
    }
    patch.push(add(&format!("/metadata/annotations/{}", INJECTED.replace('/', "~1")), json!(settings.sidecar_image)));
    Ok(patch)
}

enum Place {
    First,
    Last,
}

fn list(patch: &mut Vec<Value>, pod: &Value, path: &str, items: Vec<Value>, place: Place) {
    if !pod.pointer(path).is_some_and(Value::is_array) {
        patch.push(add(path, Value::Array(items)));
        return;
    }
    for (index, item) in items.into_iter().enumerate() {
        patch.push(match place {
            Place::First => add(&format!("{path}/{index}"), item),
            Place::Last => add(&format!("{path}/-"), item),
        });
    }
}

fn add(path: &str, value: Value) -> Value {
    json!({ "op": "add", "path": path, "value": value })
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/spec/initContainers", "/spec/containers"].into_iter().filter_map(|path| pod.pointer(path)?.as_array()).flatten()
}

fn name(container: &Value) -> &str {
    container.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn annotation<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    pod.pointer("/metadata/annotations")?.get(name)?.as_str()
}

fn flag(pod: &Value, path: &str) -> bool {
    pod.pointer(path).and_then(Value::as_bool).unwrap_or(false)
}

/// Ports of an annotation such as `25,587`; none when it is not there.
fn ports(pod: &Value, name: &'static str) -> Result<Vec<u16>, Skip> {
    let text = annotation(pod, name).unwrap_or_default();
    let ports = text.split(',').map(str::trim).filter(|port| !port.is_empty());
    ports.map(|port| port.parse().ok().filter(|port| *port != 0).ok_or(Skip::Annotation(name))).collect()
}

#[cfg(test)]
mod tests;
