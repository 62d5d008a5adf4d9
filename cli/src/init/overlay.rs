//! The files of an overlay as values: which manifests, which keys, which patches. Written by `init`, built by kustomize.

use anyhow::Context as _;
use assent_api::names::{GATE_CONFIGURATION, INJECTOR_CONFIGURATION, ROSTER};
use assent_api::resources::{Roster, RosterSpec};
use assent_core::ballot::Principal;
use assent_core::canonical::Digest;
use assent_core::consensus::{self, Seat, TallyConfiguration};
use assent_core::ids::Domain;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::keys::{Keys, documents, metadata, yaml};
use super::slack::{self, channel};
use super::sources::Sources;
use crate::{bundle, crds};

const GATE_IMAGES: [&str; 3] = ["assent-identity", "assent-gate", "assent-injector"];
/// The native policy that pins the sidecar's image.
const SIDECAR_POLICY: &str = "assent-sidecar-image";
const OTHER_IMAGES: [&str; 5] = ["assent-discovery", "assent-director", "assent-executor", "assent-scanner", "assent-specialists"];

/// What to install.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Where the images are: IMAGE becomes REGISTRY/IMAGE:TAG.
    #[arg(long, value_name = "REGISTRY", default_value = "localhost")]
    pub registry: String,
    /// Tag of the images.
    #[arg(long, value_name = "TAG", default_value = env!("CARGO_PKG_VERSION"))]
    pub tag: String,
    /// Digest of the sidecar's image, `sha256:…`: pods then run exactly these bytes, whatever the tag comes to point at.
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub sidecar_digest: Option<String>,
    /// Addresses of the API server, once per range: components connect to nothing else outside, and the ledger is read from
    /// there alone. Without it, all private ranges stand in for them.
    #[arg(long = "api-server", value_name = "CIDR")]
    pub api_server: Vec<String>,
    /// Size of the volume that keeps the ledger.
    #[arg(long, value_name = "SIZE", default_value = "1Gi")]
    pub ledger_size: String,
    /// Keep the ledger in the director's pod only: for clusters to play with, since after a lost ledger nothing is admitted before a
    /// person has accepted another.
    #[arg(long, conflicts_with = "ledger_size")]
    pub ephemeral_ledger: bool,
    /// Believe kubelets whose certificate the cluster's CA did not sign, as kubeadm and kind leave them: whoever answers at a
    /// node's address is then a witness.
    #[arg(long)]
    pub kubelet_insecure: bool,
    /// Ask people in this Slack channel (its id) whom a Blueprint names as `slack:TEAM/USER`. The bot's token and the app's signing
    /// secret are Secrets that you create.
    #[arg(long, value_name = "CHANNEL", value_parser = channel)]
    pub slack_channel: Option<String>,
    /// Let edits of ConfigMaps be undone where a Blueprint lists RevertConfig: the director keeps copies of what they held, for which it
    /// may list, create and delete ConfigMaps.
    #[arg(long)]
    pub keep_configuration: bool,
    /// Where evidence comes from beside the cluster.
    #[command(flatten)]
    pub sources: Sources,
}

/// One file of an overlay.
#[derive(Clone, Debug)]
pub struct File {
    /// Below the overlay's directory.
    pub path: String,
    /// Its content.
    pub text: String,
    /// Whether it holds a private key.
    pub secret: bool,
}

/// All files, given what an earlier overlay at the same place says (`before` reads a file of it).
pub(super) fn files(settings: &Settings, now: Timestamp, before: impl Fn(&str) -> anyhow::Result<Option<String>>) -> anyhow::Result<Vec<File>> {
    let keys = match (before("gate/secrets.yaml")?, before("secrets.yaml")?) {
        (Some(gate), Some(rest)) => Keys::read(&gate, &rest)?,
        _ => Keys::generate(now)?,
    };
    let mut files: Vec<File> = bundle::FILES.iter().map(|(path, text)| open(path, (*text).to_owned())).collect();
    let definitions = crds::files()?;
    files.push(open("crds/kustomization.yaml", crds::kustomization(&definitions)));
    files.extend(definitions.into_iter().map(|(name, text)| open(&format!("crds/{name}"), text)));
    files.push(open("base/guardrails/kustomization.yaml", bundle::guardrails_kustomization()));
    files.extend(bundle::GUARDRAILS.iter().map(|(name, text)| open(&format!("base/guardrails/{name}"), (*text).to_owned())));
    files.push(File { path: "gate/secrets.yaml".into(), text: keys.gate_stage()?, secret: true });
    files.push(File { path: "secrets.yaml".into(), text: keys.rest()?, secret: true });
    let sidecars = sidecar_images(settings, before("gate/kustomization.yaml")?.as_deref());
    files.push(open("gate/kustomization.yaml", gate_stage(settings, &keys, &sidecars)?));
    files.push(open("kustomization.yaml", second_stage(settings)?));
    files.push(open("roster.yaml", roster(&keys, &settings.sources, before("roster.yaml")?.as_deref())?));
    if settings.slack_channel.is_some() {
        files.push(open("slack.yaml", yaml(&[slack::policy()])?));
    }
    let policies = settings.sources.policies();
    if !policies.is_empty() {
        files.push(open("sources.yaml", yaml(&policies)?));
    }
    if settings.sources.pod_logs {
        files.extend(bundle::POD_LOGS.iter().map(|(path, text)| open(path, (*text).to_owned())));
    }
    if settings.keep_configuration {
        files.extend(bundle::KEPT_CONFIGURATION.iter().map(|(path, text)| open(path, (*text).to_owned())));
    }
    if !settings.ephemeral_ledger {
        files.push(open("ledger.yaml", ledger(&settings.ledger_size)?));
    }
    files.push(open(".gitignore", "# Private keys.\nsecrets.yaml\n".into()));
    Ok(files)
}

fn open(path: &str, text: String) -> File {
    File { path: path.into(), text, secret: false }
}

/// Digest of the gate's configuration as this version installs it: what the roster pins.
///
/// # Errors
/// If the carried manifest is not what it should be.
pub fn gate_digest() -> anyhow::Result<Digest> {
    Ok(assent_api::gate::configuration_digest(&configuration("base/gate/configuration.yaml")?)?)
}

fn digest(text: &str) -> Result<String, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_digest { Ok(text.to_owned()) } else { Err("expected `sha256:` and 64 hexadecimal digits".into()) }
}

/// The sidecar's images: this version's first, then the one that an earlier overlay installed, for as long as an upgrade
/// takes. Without the second, pods would be refused until the injector has followed its policy.
fn sidecar_images(settings: &Settings, before: Option<&str>) -> Vec<String> {
    let own = match &settings.sidecar_digest {
        Some(digest) => format!("{}/assent-sidecar@{digest}", settings.registry),
        None => format!("{}/assent-sidecar:{}", settings.registry, settings.tag),
    };
    let earlier = before.map(pinned).unwrap_or_default().into_iter().find(|image| *image != own);
    std::iter::once(own).chain(earlier).collect()
}

/// The images that an earlier overlay's `gate/kustomization.yaml` pins; none from before there was a pin.
fn pinned(kustomization: &str) -> Vec<String> {
    let images = || -> Option<Vec<String>> {
        let overlay: Value = serde_yaml_ng::from_str(kustomization).ok()?;
        let ours = |patch: &&Value| patch.pointer("/target/name").is_some_and(|name| name == SIDECAR_POLICY);
        let patch = overlay["patches"].as_array()?.iter().find(ours)?;
        let operations: Value = serde_yaml_ng::from_str(patch["patch"].as_str()?).ok()?;
        serde_json::from_str(operations.pointer("/0/value")?.as_str()?).ok()
    };
    images().unwrap_or_default()
}

/// What stands in the API server's path, and what it needs.
fn gate_stage(settings: &Settings, keys: &Keys, sidecars: &[String]) -> anyhow::Result<String> {
    let sidecar = sidecars.first().context("no sidecar image")?;
    // A JSON list of strings is a CEL list.
    let pinned = json!([{"op": "replace", "path": "/spec/variables/0/expression", "value": json!(sidecars).to_string()}]);
    let mut patches = vec![
        trust(GATE_CONFIGURATION, "base/gate/configuration.yaml", "ValidatingWebhookConfiguration", keys.gate_bundle())?,
        trust(INJECTOR_CONFIGURATION, "base/injector/configuration.yaml", "MutatingWebhookConfiguration", keys.injector_bundle())?,
        merge(&deployment("assent-injector", json!({"containers": [{"name": "injector", "env": [{"name": "ASSENT_SIDECAR_IMAGE", "value": sidecar}]}]})))?,
        patch("ValidatingAdmissionPolicy", SIDECAR_POLICY, &pinned)?,
    ];
    if !settings.api_server.is_empty() {
        patches.push(patch("NetworkPolicy", "assent-common", &json!([{"op": "replace", "path": "/spec/egress/1/to", "value": ranges(settings)}]))?);
    }
    let resources = ["../crds", "../base/namespace", "../base/identity", "../base/gate", "../base/injector", "../base/policies", "secrets.yaml"];
    kustomization((&resources, &[]), &patches, &GATE_IMAGES, settings)
}

/// The rest, whose objects must pass the gate; and last, what keeps the configurations as they are.
fn second_stage(settings: &Settings) -> anyhow::Result<String> {
    let mut resources = vec!["gate", "base/discovery", "base/director", "base/executor", "base/scanner", "base/specialists", "base/guardrails"];
    resources.extend(["base/protection", "secrets.yaml", "roster.yaml"]);
    let mut patches = Vec::new();
    if !settings.ephemeral_ledger {
        resources.push("ledger.yaml");
        let volume = json!({"name": "store", "emptyDir": null, "persistentVolumeClaim": {"claimName": "assent-director"}});
        patches.push(merge(&deployment("assent-director", json!({"volumes": [volume]})))?);
    }
    if settings.kubelet_insecure {
        let env = json!([{"name": "ASSENT_KUBELET_CA_FILE", "$patch": "delete"}, {"name": "ASSENT_KUBELET_INSECURE", "value": "true"}]);
        patches.push(merge(&deployment("assent-seat-compute", json!({"containers": [{"name": "seat", "env": env}]})))?);
    }
    if let Some(channel) = &settings.slack_channel {
        resources.push("slack.yaml");
        patches.push(merge(&deployment("assent-director", json!({"containers": [{"name": "director", "env": slack::environment(channel)}]})))?);
    }
    let sources = &settings.sources;
    for seat in ["network", "compute", "database", "change"] {
        let env = sources.environment(seat);
        if !env.is_empty() {
            patches.push(merge(&deployment(&assent_api::names::accounts::seat(seat), json!({"containers": [{"name": "seat", "env": env}]})))?);
        }
        if let Some(service) = sources.service(seat) {
            patches.push(merge(&service)?);
        }
    }
    if !sources.policies().is_empty() {
        resources.push("sources.yaml");
    }
    if !settings.api_server.is_empty() {
        // The ledger is read through the API server.
        let from = ranges(settings);
        patches.push(patch("NetworkPolicy", "assent-director", &json!([{"op": "add", "path": "/spec/ingress/3/from", "value": from}]))?);
    }
    let components = [(sources.pod_logs, "optional/pod-logs"), (settings.keep_configuration, "optional/kept-configuration")];
    let components: Vec<&str> = components.into_iter().filter(|(on, _)| *on).map(|(_, component)| component).collect();
    kustomization((&resources, &components), &patches, &OTHER_IMAGES, settings)
}

fn ranges(settings: &Settings) -> Vec<Value> {
    settings.api_server.iter().map(|range| json!({"ipBlock": {"cidr": range}})).collect()
}

fn kustomization((resources, components): (&[&str], &[&str]), patches: &[Value], images: &[&str], settings: &Settings) -> anyhow::Result<String> {
    let images: Vec<Value> =
        images.iter().map(|name| json!({"name": name, "newName": format!("{}/{name}", settings.registry), "newTag": settings.tag})).collect();
    let mut overlay = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources, "patches": patches, "images": images,
    });
    if !components.is_empty() {
        overlay["components"] = json!(components);
    }
    yaml(&[overlay])
}

/// Puts the CA into every webhook of a configuration, by index: a merge by name could change their order, and with it the
/// digest.
fn trust(name: &str, file: &str, kind: &str, certificate: &str) -> anyhow::Result<Value> {
    let count = configuration(file)?["webhooks"].as_array().map_or(0, Vec::len);
    let bundle = BASE64.encode(certificate);
    let operations: Vec<Value> =
        (0..count).map(|index| json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle})).collect();
    patch(kind, name, &Value::Array(operations))
}

fn patch(kind: &str, name: &str, operations: &Value) -> anyhow::Result<Value> {
    Ok(json!({"target": {"kind": kind, "name": name}, "patch": yaml(std::slice::from_ref(operations))?}))
}

fn merge(object: &Value) -> anyhow::Result<Value> {
    Ok(json!({"patch": yaml(std::slice::from_ref(object))?}))
}

fn deployment(name: &str, pod: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": assent_api::names::SYSTEM_NAMESPACE}, "spec": {"template": {"spec": pod}}})
}

fn configuration(file: &str) -> anyhow::Result<Value> {
    let text = bundle::text(file).with_context(|| format!("no manifest `{file}`"))?;
    documents(text)?.into_iter().next().with_context(|| format!("manifest `{file}` is empty"))
}

fn ledger(size: &str) -> anyhow::Result<String> {
    yaml(&[json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata("assent-director"),
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    })])
}

/// The shipped roster, or an earlier one with what this version must say in it.
fn roster(keys: &Keys, sources: &Sources, before: Option<&str>) -> anyhow::Result<String> {
    let gate = gate_digest()?;
    if let Some(text) = before {
        let mut roster: Roster = serde_yaml_ng::from_str(text).context("read roster.yaml")?;
        roster.spec.gate = gate.to_string();
        keys.trust_roots().clone_into(&mut roster.spec.trust_roots);
        for seat in &mut roster.spec.seats {
            add(&mut seat.principals, sources.principals(seat.domain));
        }
        return yaml(&[serde_json::to_value(roster).context("write the roster")?]);
    }
    let seat = |name: &str, domain| {
        let mut principals = consensus::shipped_principals(domain);
        add(&mut principals, sources.principals(domain));
        Seat { name: name.into(), domain, account: assent_api::names::accounts::seat(name), principals }
    };
    let seats =
        vec![seat("network", Domain::Network), seat("compute", Domain::Compute), seat("database", Domain::Database), seat("change", Domain::Application)];
    let spec = RosterSpec::from(&consensus::Roster {
        seats,
        quorum: 3,
        supporters: 2,
        tally: TallyConfiguration::shipped(),
        trust_roots: keys.trust_roots().into(),
        gate,
        ledger: None,
    });
    let text = yaml(&[serde_json::to_value(Roster::new(ROSTER, spec)).context("write the roster")?])?;
    Ok(format!("# Who votes, how votes are counted, whom to trust, and what the gate must look like. Only people change it.\n{text}"))
}

/// Adds who is not there yet; whom people took in stays.
fn add(principals: &mut Vec<Principal>, more: Vec<Principal>) {
    for principal in more {
        if !principals.contains(&principal) {
            principals.push(principal);
        }
    }
}
