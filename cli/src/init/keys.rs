//! What must stay secret, and stay the same over an upgrade: as Secrets in YAML, and read back from them.

use anyhow::Context as _;
use assent_api::names::{SYSTEM_NAMESPACE, TRUST_CONFIG_MAP, TRUST_KEY};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::certificates::{self, WebhookAuthority, WorkloadAuthority};

const ISSUER: &str = "assent-identity-issuer";
const GATE: &str = "assent-gate";
const INJECTOR: &str = "assent-injector";
const INTAKE: &str = "assent-director-intake";

/// All keys of an installation.
pub(super) struct Keys {
    workload: WorkloadAuthority,
    gate: WebhookAuthority,
    injector: WebhookAuthority,
    intake: String,
}

// === impl Keys ===

impl Keys {
    /// New ones.
    pub(super) fn generate(now: Timestamp) -> anyhow::Result<Self> {
        Ok(Self {
            workload: certificates::workload_authority(now, assent_api::names::TRUST_DOMAIN)?,
            gate: certificates::webhook_authority(now, GATE)?,
            injector: certificates::webhook_authority(now, INJECTOR)?,
            intake: certificates::token()?,
        })
    }

    /// Those in the two files that [`Self::gate_stage`] and [`Self::rest`] gave.
    pub(super) fn read(gate_stage: &str, rest: &str) -> anyhow::Result<Self> {
        let mut objects = documents(gate_stage)?;
        objects.extend(documents(rest)?);
        let entry = |name: &str, key: &str| -> anyhow::Result<String> {
            let object = objects.iter().find(|object| object.pointer("/metadata/name").and_then(Value::as_str) == Some(name) && object["kind"] == "Secret");
            let text = object.and_then(|object| object["stringData"][key].as_str());
            Ok(text.with_context(|| format!("no `{key}` of Secret `{name}` in secrets.yaml"))?.to_owned())
        };
        let webhook = |service: &str| -> anyhow::Result<WebhookAuthority> {
            let name = format!("{service}-ca");
            Ok(WebhookAuthority { certificate: entry(&name, "tls.crt")?, key: entry(&name, "tls.key")? })
        };
        Ok(Self {
            workload: WorkloadAuthority { roots: entry(ISSUER, TRUST_KEY)?, certificate: entry(ISSUER, "issuer.crt")?, key: entry(ISSUER, "issuer.key")? },
            gate: webhook(GATE)?,
            injector: webhook(INJECTOR)?,
            intake: entry(INTAKE, "token")?,
        })
    }

    pub(super) fn trust_roots(&self) -> &str {
        &self.workload.roots
    }

    pub(super) fn gate_bundle(&self) -> &str {
        &self.gate.certificate
    }

    pub(super) fn injector_bundle(&self) -> &str {
        &self.injector.certificate
    }

    /// What the first stage needs.
    pub(super) fn gate_stage(&self) -> anyhow::Result<String> {
        let workload = &self.workload;
        let issuer = json!({TRUST_KEY: workload.roots, "issuer.crt": workload.certificate, "issuer.key": workload.key});
        let trust = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(TRUST_CONFIG_MAP), "data": {TRUST_KEY: workload.roots},
        });
        yaml(&[secret(ISSUER, "assent.dev/issuer", &issuer), webhook_secret(GATE, &self.gate), webhook_secret(INJECTOR, &self.injector), trust])
    }

    /// What the second stage needs.
    pub(super) fn rest(&self) -> anyhow::Result<String> {
        yaml(&[secret(INTAKE, "Opaque", &json!({"token": self.intake}))])
    }
}

/// Every document of a YAML file.
pub(super) fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    serde_yaml_ng::Deserializer::from_str(text).map(|document| Value::deserialize(document).context("read yaml")).collect()
}

/// Documents as one YAML file.
pub(super) fn yaml(objects: &[Value]) -> anyhow::Result<String> {
    let texts = objects.iter().map(|object| serde_yaml_ng::to_string(object).context("write yaml"));
    Ok(texts.collect::<anyhow::Result<Vec<_>>>()?.join("---\n"))
}

pub(super) fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": SYSTEM_NAMESPACE, "labels": {"app.kubernetes.io/part-of": "assent"}})
}

fn webhook_secret(service: &str, authority: &WebhookAuthority) -> Value {
    secret(&format!("{service}-ca"), "kubernetes.io/tls", &json!({"tls.crt": authority.certificate, "tls.key": authority.key}))
}

fn secret(name: &str, kind: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata(name), "type": kind, "stringData": data})
}
