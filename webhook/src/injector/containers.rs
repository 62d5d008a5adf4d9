//! What is added to a pod: the sidecar as a native sidecar, the redirect behind it, and the volumes they need.
//!
//! Both run with the least they can: the sidecar without any privilege, the redirect with the two capabilities that change
//! the pod's own network and for an instant only.

use std::fmt;

use assent_api::mesh::{Mode, PORTS, REDIRECT, SIDECAR, UID, VOLUMES, Wishes};
use serde_json::{Value, json};

use super::pod::Settings;

const TOKEN_VOLUME: &str = VOLUMES[0];
const TRUST_VOLUME: &str = VOLUMES[1];
const STATE_VOLUME: &str = VOLUMES[2];
const STATE: &str = "/var/run/assent/state";
/// Audience that only the identity service accepts.
const AUDIENCE: &str = "identity.assent.dev";
const TOKEN_SECONDS: i64 = 3600;
/// ConfigMap that the identity service keeps in every opted-in namespace.
const TRUST: &str = "assent-trust";

/// What the sidecar requests and may use, by settings and the pod's own annotations.
#[derive(Clone, Debug)]
pub(super) struct Resources {
    requests: [(&'static str, String); 2],
    limits: Vec<(&'static str, String)>,
}

// === impl Resources ===

impl Resources {
    pub(super) fn new(settings: &Settings, wishes: &Wishes) -> Self {
        let of = |wish: &Option<String>, setting: &String| wish.clone().unwrap_or_else(|| setting.clone());
        let limits = [("cpu", of(&wishes.cpu_limit, &settings.sidecar_cpu_limit)), ("memory", of(&wishes.memory_limit, &settings.sidecar_memory_limit))];
        Self {
            requests: [
                ("cpu", of(&wishes.cpu_request, &settings.sidecar_cpu_request)),
                ("memory", of(&wishes.memory_request, &settings.sidecar_memory_request)),
            ],
            limits: limits.into_iter().filter(|(_, amount)| !amount.is_empty()).collect(),
        }
    }

    fn value(&self) -> Value {
        let map =
            |amounts: &[(&'static str, String)]| amounts.iter().map(|(name, amount)| ((*name).to_owned(), json!(amount))).collect::<serde_json::Map<_, _>>();
        json!({ "requests": map(&self.requests), "limits": map(&self.limits) })
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |amounts: &[(&str, String)]| amounts.iter().map(|(name, amount)| format!("{name} {amount}")).collect::<Vec<_>>().join(" and ");
        write!(f, "requesting {}, limited to {}", list(&self.requests), list(&self.limits))
    }
}

pub(super) fn sidecar(settings: &Settings, mode: Mode, wishes: &Wishes, resources: &Resources) -> Value {
    let [outbound, inbound, admin] = PORTS;
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let value = |name: &str, value: &str| json!({ "name": name, "value": value });
    let mut env = vec![
        field("ASSENT_WORKLOAD_NAMESPACE", "metadata.namespace"),
        field("ASSENT_WORKLOAD_SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("ASSENT_POD_NAME", "metadata.name"),
        value("ASSENT_CONTROL_NAMESPACE", &settings.control_namespace),
        value("ASSENT_TRUST_DOMAIN", &settings.trust_domain),
        value("ASSENT_IDENTITY_SERVICE", &settings.identity_service),
        value("ASSENT_DISCOVERY_SERVICE", &settings.discovery_service),
        value("ASSENT_IDENTITY_STATE_DIR", STATE),
        value("ASSENT_LOG", &settings.sidecar_log),
    ];
    let seats =
        [("ASSENT_NETWORK_SEAT", &settings.network_seat), ("ASSENT_DATABASE_SEAT", &settings.database_seat), ("ASSENT_COMPUTE_SEAT", &settings.compute_seat)];
    if mode == Mode::Explicit {
        // For the application alone: without a redirect, anybody who reaches the port could use it.
        env.push(value("ASSENT_OUTBOUND_ADDRESS", &format!("127.0.0.1:{outbound}")));
        env.extend(wishes.outbound_target.map(|target| value("ASSENT_OUTBOUND_TARGET", &target.to_string())));
    }
    env.extend(seats.into_iter().filter(|(_, address)| !address.is_empty()).map(|(name, address)| value(name, address)));
    // What the redirect leaves alone is no bypass.
    let skipped = [("ASSENT_SKIP_INBOUND_PORTS", &wishes.skip_inbound), ("ASSENT_SKIP_OUTBOUND_PORTS", &wishes.skip_outbound)];
    env.extend(skipped.into_iter().filter(|(_, ports)| !ports.is_empty()).map(|(name, ports)| value(name, &list(ports))));
    json!({
        "name": SIDECAR,
        "image": settings.sidecar_image,
        "imagePullPolicy": settings.sidecar_pull_policy,
        "command": ["/assent-sidecar"],
        "restartPolicy": "Always",
        "env": env,
        "ports": [
            { "name": "assent-inbound", "containerPort": inbound, "protocol": "TCP" },
            { "name": "assent-admin", "containerPort": admin, "protocol": "TCP" },
        ],
        // The sidecar is ready with its first certificate, or after ten seconds without one.
        "startupProbe": { "httpGet": { "path": "/ready", "port": admin }, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 120 },
        "resources": resources.value(),
        "securityContext": {
            "runAsUser": UID,
            "runAsGroup": UID,
            "runAsNonRoot": true,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            { "name": TOKEN_VOLUME, "mountPath": "/var/run/secrets/assent/identity", "readOnly": true },
            { "name": TRUST_VOLUME, "mountPath": "/var/run/assent/trust", "readOnly": true },
            { "name": STATE_VOLUME, "mountPath": STATE },
        ],
    })
}

pub(super) fn redirect(settings: &Settings, wishes: &Wishes, resources: &Resources) -> Value {
    let mut command = vec!["/assent-redirect".to_owned()];
    for (flag, ports) in [("--skip-inbound-ports", &wishes.skip_inbound), ("--skip-outbound-ports", &wishes.skip_outbound)] {
        if !ports.is_empty() {
            command.push(format!("{flag}={}", list(ports)));
        }
    }
    json!({
        "name": REDIRECT,
        "image": settings.sidecar_image,
        "imagePullPolicy": settings.sidecar_pull_policy,
        "command": command,
        "resources": resources.value(),
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

pub(super) fn volumes() -> Vec<Value> {
    let token = json!({ "serviceAccountToken": { "audience": AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token" } });
    vec![
        json!({ "name": TOKEN_VOLUME, "projected": { "defaultMode": 420, "sources": [token] } }),
        // Optional: without roots the pod starts unmeshed instead of not at all.
        json!({ "name": TRUST_VOLUME, "configMap": { "name": TRUST, "optional": true, "defaultMode": 420 } }),
        // In memory, so that the key never reaches a disk and a restarted container still has it.
        json!({ "name": STATE_VOLUME, "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } }),
    ]
}
