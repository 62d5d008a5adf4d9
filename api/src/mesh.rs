//! What everybody who looks at a pod's sidecar must agree on: names, annotations, which pods should have one, and why one
//! has none. Pure functions of the pod; the injector, its search for holes and `kubectl assent mesh` all ask here, so that
//! they cannot see different ones.

mod gap;

use serde_json::Value;
use thiserror::Error;

pub use gap::{Gap, gap, is_over, labelled_at, redirect_failure};

/// The sidecar's container.
pub const SIDECAR: &str = "assent-sidecar";
/// The init container that redirects the pod's traffic.
pub const REDIRECT: &str = "assent-redirect";
/// The user that the sidecar runs as; its traffic is not redirected.
pub const UID: i64 = 2102;
/// Outbound, inbound and admin port of the sidecar.
pub const PORTS: [i64; 3] = [4140, 4143, 4191];
/// Names of the volumes that the sidecar needs: token, trust bundle, state.
pub const VOLUMES: [&str; 3] = ["assent-identity-token", "assent-trust", "assent-state"];
/// Annotation `disabled`: this pod gets no sidecar.
pub const INJECT: &str = crate::names::INJECT_LABEL;
/// Annotation that the injector writes: the image that was added.
pub const INJECTED: &str = "assent.dev/injected";
/// Annotation that the injector writes: in words, what was added and what that means for the pod.
pub const ADDED: &str = "assent.dev/added";
/// Annotation `disabled`: no redirect, so no capability; see [`Mode::Explicit`].
pub const REDIRECTED: &str = "assent.dev/redirect";
/// Annotation of a pod without redirect: the one `IP:PORT` that its sidecar's outbound port stands for.
pub const OUTBOUND_TARGET: &str = "assent.dev/outbound-target";
/// Annotation: ports of the pod that are reached past the sidecar.
pub const SKIP_INBOUND: &str = "assent.dev/skip-inbound-ports";
/// Annotation: ports that the application dials past the sidecar.
pub const SKIP_OUTBOUND: &str = "assent.dev/skip-outbound-ports";
/// Annotations for the sidecar's resources, where a LimitRange or a quota does not admit the usual ones.
pub const CPU_REQUEST: &str = "assent.dev/sidecar-cpu-request";
/// As [`CPU_REQUEST`].
pub const CPU_LIMIT: &str = "assent.dev/sidecar-cpu-limit";
/// As [`CPU_REQUEST`].
pub const MEMORY_REQUEST: &str = "assent.dev/sidecar-memory-request";
/// As [`CPU_REQUEST`].
pub const MEMORY_LIMIT: &str = "assent.dev/sidecar-memory-limit";
/// Label of namespaces by which the API server enforces a Pod Security Standard.
pub const ENFORCED: &str = "pod-security.kubernetes.io/enforce";

/// How traffic gets to the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of the pod's traffic is redirected, by an init container with two capabilities.
    Redirect,
    /// Nothing is redirected and nothing privileged runs. Meshed peers still arrive by mutual TLS, since they dial the
    /// sidecar's own port; the application's own connections pass in plain unless it dials the sidecar's outbound port.
    Explicit,
}

/// What a pod asks for by its annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// It wants no redirect.
    pub explicit: bool,
    /// What the outbound port stands for without a redirect.
    pub outbound_target: Option<std::net::SocketAddr>,
    /// Ports reached past the sidecar.
    pub skip_inbound: Vec<u16>,
    /// Ports dialled past the sidecar.
    pub skip_outbound: Vec<u16>,
    /// Quantities, checked.
    pub cpu_request: Option<String>,
    /// As `cpu_request`.
    pub cpu_limit: Option<String>,
    /// As `cpu_request`.
    pub memory_request: Option<String>,
    /// As `cpu_request`.
    pub memory_limit: Option<String>,
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
    /// The sidecar's volume would meet one of the pod's own.
    #[error("volume `{0}` has a name of the sidecar's")]
    SameVolume(String),
    /// Nothing to prove an identity with.
    #[error("the pod has no service account")]
    NoServiceAccount,
    /// Not Linux.
    #[error("the pod is not for linux")]
    OtherSystem,
    /// An annotation of ours that cannot be understood.
    #[error("annotation `{0}` does not hold what it should")]
    Annotation(&'static str),
    /// No containers.
    #[error("it is not a pod")]
    NotAPod,
}

// === impl Mode ===

impl Mode {
    /// What a namespace that enforces `standard` ([`ENFORCED`]) permits: neither `baseline` nor `restricted` admits a
    /// container that may change the pod's network.
    #[must_use]
    pub fn under(standard: Option<&str>) -> Self {
        match standard {
            Some("baseline" | "restricted") => Self::Explicit,
            _ => Self::Redirect,
        }
    }

    /// What this pod has; none without a sidecar.
    #[must_use]
    pub fn of(pod: &Value) -> Option<Self> {
        let has = |wanted: &str| containers(pod).any(|container| name(container) == wanted);
        has(SIDECAR).then(|| if has(REDIRECT) { Self::Redirect } else { Self::Explicit })
    }
}

// === impl Skip ===

impl Skip {
    /// A metric label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::System(_) => "system_namespace",
            Self::Present => "present",
            Self::OptedOut => "opted_out",
            Self::HostNetwork => "host_network",
            Self::SameUser(_) => "same_user",
            Self::SamePort(_) => "same_port",
            Self::SameVolume(_) => "same_volume",
            Self::NoServiceAccount => "no_service_account",
            Self::OtherSystem => "other_system",
            Self::Annotation(_) => "annotation",
            Self::NotAPod => "not_a_pod",
        }
    }

    /// Nobody needs to be told.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        matches!(self, Self::Present | Self::OptedOut)
    }
}

/// Whether `pod` in `namespace` should get a sidecar, and with which wishes. `control` is the control plane's namespace.
///
/// # Errors
/// The reason why it gets none.
pub fn judge(pod: &Value, namespace: &str, control: &str) -> Result<Wishes, Skip> {
    if namespace.starts_with("kube-") || namespace == control {
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
    if pod.pointer("/spec/hostNetwork").and_then(Value::as_bool).unwrap_or(false) {
        return Err(Skip::HostNetwork);
    }
    let systems = [pod.pointer("/spec/os/name"), pod.pointer("/spec/nodeSelector/kubernetes.io~1os")];
    if systems.into_iter().flatten().filter_map(Value::as_str).any(|system| system != "linux") {
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
    let mut volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    if let Some(volume) = volumes.find(|volume| VOLUMES.contains(&name(volume))) {
        return Err(Skip::SameVolume(name(volume).to_owned()));
    }
    wishes(pod)
}

fn wishes(pod: &Value) -> Result<Wishes, Skip> {
    let target = annotation(pod, OUTBOUND_TARGET).map(|text| text.trim().parse().map_err(|_| Skip::Annotation(OUTBOUND_TARGET)));
    let explicit = match annotation(pod, REDIRECTED) {
        None | Some("enabled") => false,
        Some("disabled") => true,
        Some(_) => return Err(Skip::Annotation(REDIRECTED)),
    };
    Ok(Wishes {
        explicit,
        outbound_target: target.transpose()?,
        skip_inbound: ports(pod, SKIP_INBOUND)?,
        skip_outbound: ports(pod, SKIP_OUTBOUND)?,
        cpu_request: quantity(pod, CPU_REQUEST)?,
        cpu_limit: quantity(pod, CPU_LIMIT)?,
        memory_request: quantity(pod, MEMORY_REQUEST)?,
        memory_limit: quantity(pod, MEMORY_LIMIT)?,
    })
}

/// Ports of an annotation such as `25,587`; none when it is not there.
fn ports(pod: &Value, name: &'static str) -> Result<Vec<u16>, Skip> {
    let text = annotation(pod, name).unwrap_or_default();
    let ports = text.split(',').map(str::trim).filter(|port| !port.is_empty());
    ports.map(|port| port.parse().ok().filter(|port| *port != 0).ok_or(Skip::Annotation(name))).collect()
}

/// A quantity that the API server will take: one that it refused would take the whole pod with it.
fn quantity(pod: &Value, name: &'static str) -> Result<Option<String>, Skip> {
    let Some(text) = annotation(pod, name).map(str::trim) else { return Ok(None) };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let known = ["", "m", "k", "M", "G", "Ki", "Mi", "Gi"].contains(&unit);
    let some = (1..=12).contains(&number.len()) && number.bytes().any(|digit| digit != b'0');
    if known && some { Ok(Some(text.to_owned())) } else { Err(Skip::Annotation(name)) }
}

/// Init containers and containers of `pod`.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/spec/initContainers", "/spec/containers"].into_iter().filter_map(|path| pod.pointer(path)?.as_array()).flatten()
}

/// The name of a container or a volume.
#[must_use]
pub fn name(container: &Value) -> &str {
    container.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn annotation<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    pod.pointer("/metadata/annotations")?.get(name)?.as_str()
}

#[cfg(test)]
mod tests;
