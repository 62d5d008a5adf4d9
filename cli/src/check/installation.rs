//! The installation itself: gate, native policies, who serves the kinds that actions write, where seats run.

use std::collections::BTreeMap;

use anyhow::Context as _;
use assent_api::names::{GATE_CONFIGURATION, ROSTER, SYSTEM_NAMESPACE, accounts};
use assent_api::resources::{Pause, Roster};
use assent_core::action::Part;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::{Finding, Level, finding};

/// The native policies; each has a binding of its own name.
const POLICIES: [&str; 3] = ["assent-ballots", "assent-executor-limits", "assent-gate-protection"];

pub(super) async fn findings(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let mut findings = gate(client).await?;
    for name in POLICIES {
        findings.push(policy(client, name).await?);
    }
    findings.push(sidecar(client).await?);
    findings.push(aggregation(client).await?);
    findings.push(seats(client).await?);
    findings.push(pods(client).await?);
    findings.extend(pauses(client).await?);
    Ok(findings)
}

async fn gate(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let wrong = |text: String| finding("gate", Level::Wrong, text);
    let mut findings = Vec::new();
    let configuration =
        Api::<ValidatingWebhookConfiguration>::all(client.clone()).get_opt(GATE_CONFIGURATION).await.context("read the gate's configuration")?;
    let roster = Api::<Roster>::all(client.clone()).get_opt(ROSTER).await.context("read the Roster")?;
    findings.push(match (&configuration, &roster) {
        (None, _) => wrong(format!("there is no ValidatingWebhookConfiguration `{GATE_CONFIGURATION}`: nothing judges writes")),
        (_, None) => wrong(format!("there is no Roster `{ROSTER}`: the gate refuses everything")),
        (Some(configuration), Some(roster)) => {
            let value = serde_json::to_value(configuration).context("read the gate's configuration")?;
            let digest = assent_api::gate::configuration_digest(&value).context("digest the gate's configuration")?;
            if digest.as_str() == roster.spec.gate {
                finding("gate", Level::Good, format!("its configuration is the one that the Roster pins ({:.12})", digest.as_str()))
            } else {
                wrong(format!("its configuration has digest {:.12}, and the Roster pins {:.12}", digest.as_str(), roster.spec.gate))
            }
        }
    });
    let deployment = Api::<Deployment>::namespaced(client.clone(), SYSTEM_NAMESPACE).get_opt(accounts::GATE).await.context("read the gate's Deployment")?;
    let ready = deployment.and_then(|deployment| deployment.status).and_then(|status| status.ready_replicas).unwrap_or_default();
    findings.push(match ready {
        ..1 => wrong("no replica is ready: our kinds are closed, and the executor cannot act".into()),
        1 => finding("gate", Level::Warning, "one replica is ready; with two, one may go away"),
        more => finding("gate", Level::Good, format!("{more} replicas are ready")),
    });
    Ok(findings)
}

async fn policy(client: &Client, name: &str) -> anyhow::Result<Finding> {
    let wrong = |text: &str| Ok(finding("policies", Level::Wrong, format!("`{name}` {text}")));
    let Some(policy) = Api::<ValidatingAdmissionPolicy>::all(client.clone()).get_opt(name).await.context("read a native policy")? else {
        return wrong("does not exist");
    };
    let Some(binding) = Api::<ValidatingAdmissionPolicyBinding>::all(client.clone()).get_opt(name).await.context("read a binding")? else {
        return wrong("is not bound");
    };
    if policy.spec.and_then(|spec| spec.failure_policy).is_some_and(|failure| failure != "Fail") {
        return wrong("fails open");
    }
    let spec = binding.spec.unwrap_or_default();
    let denies = spec.validation_actions.unwrap_or_default().iter().any(|action| action == "Deny");
    if !denies || spec.policy_name.as_deref() != Some(name) {
        return wrong("is bound, but does not deny");
    }
    Ok(finding("policies", Level::Good, format!("`{name}` stands")))
}

/// It fails open, as all that stands between people and their pods; and a tag is only as good as the registry.
async fn sidecar(client: &Client) -> anyhow::Result<Finding> {
    let name = "assent-sidecar-image";
    let policy = Api::<ValidatingAdmissionPolicy>::all(client.clone()).get_opt(name).await.context("read a native policy")?;
    let binding = Api::<ValidatingAdmissionPolicyBinding>::all(client.clone()).get_opt(name).await.context("read a binding")?;
    let denies = binding.and_then(|binding| binding.spec?.validation_actions).unwrap_or_default().iter().any(|action| action == "Deny");
    let Some(spec) = policy.and_then(|policy| policy.spec).filter(|_| denies) else {
        return Ok(finding("policies", Level::Wrong, format!("`{name}` does not deny: any program can call itself our sidecar")));
    };
    let images = spec.variables.unwrap_or_default().into_iter().find(|variable| variable.name == "images").map(|variable| variable.expression);
    let images: Vec<String> = serde_json::from_str(&images.unwrap_or_default()).unwrap_or_default();
    Ok(match images.iter().find(|image| !image.contains("@sha256:")) {
        None if images.is_empty() => finding("policies", Level::Wrong, format!("`{name}` names no image")),
        None => finding("policies", Level::Good, format!("`{name}` stands, and pins by digest")),
        Some(image) => finding("policies", Level::Warning, format!("`{name}` pins {image} by its tag (init --sidecar-digest pins by content)")),
    })
}

/// Webhooks and native policies see only what the API server itself serves.
async fn aggregation(client: &Client) -> anyhow::Result<Finding> {
    let groups = [Part::GROUP, assent_api::names::GROUP];
    let services = Api::<APIService>::all(client.clone()).list(&ListParams::default()).await.context("list APIServices")?;
    let foreign: Vec<String> = services
        .iter()
        .filter(|service| {
            let spec = service.spec.as_ref();
            spec.is_some_and(|spec| spec.service.is_some() && groups.contains(&spec.group.as_deref().unwrap_or_default()))
        })
        .map(kube::ResourceExt::name_any)
        .collect();
    Ok(match foreign.as_slice() {
        [] => finding("aggregation", Level::Good, format!("{} are served by the API server itself", groups.join(", "))),
        some => finding("aggregation", Level::Wrong, format!("{} bypass every webhook: an APIService serves them", some.join(", "))),
    })
}

async fn seats(client: &Client) -> anyhow::Result<Finding> {
    let pods = Api::<Pod>::namespaced(client.clone(), SYSTEM_NAMESPACE).list(&ListParams::default().labels("app.kubernetes.io/component=seat")).await;
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in pods.context("list the seats' pods")? {
        let seat = pod.labels().get("app.kubernetes.io/name").cloned().unwrap_or_default();
        if let Some(node) = pod.spec.and_then(|spec| spec.node_name) {
            nodes.entry(node).or_default().push(seat.trim_start_matches("assent-seat-").to_owned());
        }
    }
    let shared: Vec<String> = nodes.iter().filter(|(_, seats)| seats.len() > 1).map(|(node, seats)| format!("{} on node `{node}`", seats.join(", "))).collect();
    Ok(match (nodes.is_empty(), shared.is_empty()) {
        (true, _) => finding("seats", Level::Warning, "no seat runs"),
        (_, true) => finding("seats", Level::Good, "no two seats share a node"),
        _ => finding("seats", Level::Warning, format!("{}: whoever owns that node has that many votes", shared.join("; "))),
    })
}

async fn pods(client: &Client) -> anyhow::Result<Finding> {
    let namespace = Api::<Namespace>::all(client.clone()).get_opt(SYSTEM_NAMESPACE).await.context("read our namespace")?;
    let profile = namespace.as_ref().and_then(|namespace| namespace.labels().get("pod-security.kubernetes.io/enforce").cloned());
    Ok(match profile.as_deref() {
        Some("restricted") => finding("pods", Level::Good, "assent-system enforces the restricted profile"),
        Some(other) => finding("pods", Level::Warning, format!("assent-system enforces `{other}`, not `restricted`")),
        None => finding("pods", Level::Warning, "assent-system enforces no pod security profile"),
    })
}

async fn pauses(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let pauses = Api::<Pause>::namespaced(client.clone(), SYSTEM_NAMESPACE).list(&ListParams::default()).await.context("list pauses")?;
    Ok(pauses.iter().map(|pause| finding("pause", Level::Warning, format!("Pause `{}` is in force: {}", pause.name_any(), pause.spec.reason))).collect())
}
