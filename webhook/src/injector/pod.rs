//! The patch that gives a pod its sidecar: a pure function of the pod, its namespace's mode and the settings.
//!
//! Injecting twice changes nothing more than injecting once. Who gets one is decided in `assent_api::mesh`, what is added
//! stands in `containers`; this file puts the pieces in their places.

use assent_api::mesh::{ADDED, INJECTED, Mode, Skip, judge};
use serde_json::{Value, json};

use super::containers::{self, Resources};

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
    /// Processor time that the sidecar may use at most; empty for no limit.
    #[arg(long, env = "ASSENT_SIDECAR_CPU_LIMIT", default_value = "")]
    pub sidecar_cpu_limit: String,
    /// Memory that the sidecar requests.
    #[arg(long, env = "ASSENT_SIDECAR_MEMORY_REQUEST", default_value = "24Mi")]
    pub sidecar_memory_request: String,
    /// Memory that the sidecar may use at most.
    #[arg(long, env = "ASSENT_SIDECAR_MEMORY_LIMIT", default_value = "128Mi")]
    pub sidecar_memory_limit: String,
}

/// A patch, and what it means for the pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// JSON Patch.
    pub patch: Vec<Value>,
    /// How the pod's traffic gets to the sidecar.
    pub mode: Mode,
    /// What was added, in words: the annotation [`ADDED`].
    pub report: String,
}

/// What adds a sidecar to `pod` in `namespace`, whose pods are meshed in `mode` unless one wishes less.
///
/// # Errors
/// The reason why it gets none.
pub fn inject(pod: &Value, namespace: &str, mode: Mode, settings: &Settings) -> Result<Injection, Skip> {
    let wishes = judge(pod, namespace, &settings.control_namespace)?;
    let mode = if wishes.explicit { Mode::Explicit } else { mode };
    let resources = Resources::new(settings, &wishes);
    let mut added = vec![containers::sidecar(settings, mode, &wishes, &resources)];
    if mode == Mode::Redirect {
        added.push(containers::redirect(settings, &wishes, &resources));
    }
    let report = report(mode, &wishes.outbound_target, &resources);

    let mut patch = Vec::new();
    // First of all init containers, so that those behind it are observed and protected too.
    list(&mut patch, pod, "/spec/initContainers", added, Place::First);
    list(&mut patch, pod, "/spec/volumes", containers::volumes(), Place::Last);
    if !pod.pointer("/metadata/annotations").is_some_and(Value::is_object) {
        patch.push(add("/metadata/annotations", json!({})));
    }
    for (name, value) in [(INJECTED, &settings.sidecar_image), (ADDED, &report)] {
        patch.push(add(&format!("/metadata/annotations/{}", name.replace('/', "~1")), json!(value)));
    }
    Ok(Injection { patch, mode, report })
}

/// What quotas, limits and autoscalers will count, and what is meshed.
fn report(mode: Mode, target: &Option<std::net::SocketAddr>, resources: &Resources) -> String {
    let meshed = match (mode, target) {
        (Mode::Redirect, _) => "all TCP of the pod passes through it".to_owned(),
        (Mode::Explicit, Some(target)) => {
            format!("no redirect: meshed peers reach the pod by mutual TLS, and it reaches {target} so by 127.0.0.1:4140; all else is plain")
        }
        (Mode::Explicit, None) => "no redirect: meshed peers reach the pod by mutual TLS; what it dials itself is plain".to_owned(),
    };
    format!("a native sidecar, {resources}; {meshed}")
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

#[cfg(test)]
mod tests;
