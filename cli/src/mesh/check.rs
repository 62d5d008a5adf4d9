//! `mesh check`: pods without a sidecar and why, sidecars that need something, and what injection itself rests on.

use std::process::ExitCode;

use anyhow::Context as _;
use assent_api::mesh::labelled_at;
use assent_api::names::{INJECTOR_CONFIGURATION, SYSTEM_NAMESPACE, TRUST_CONFIG_MAP, TRUST_KEY, accounts};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;
use x509_parser::pem::Pem;

use super::look::{Counts, Remark, look};
use super::{ScopeArgs, images, is_labelled};
use crate::connect::ConnectArgs;
use crate::describe::plain;
use crate::output::{Format, bad, dim, good, table, warn};

/// A certificate that ends sooner is a thing to do.
const NEAR_DAYS: i64 = 30;
/// Pods asked for at once.
const PAGE: u32 = 500;

/// Flags of `mesh check`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Reasons:
  early, missed       created before the namespace was labelled; created while no injector answered: recreate the pod
  host_network, same_user, same_port, …
                      the pod cannot be meshed; annotate its template with assent.dev/inject: disabled to say that this is known
  redirect_failed     a sidecar runs, and nothing passes through it
  not_ready, outdated the sidecar is not ready, or not the installed one
  opted_out, explicit nothing to do: it wants no sidecar; it has one without a redirect

The exit code is 1 when there is something to do.

Examples:
  kubectl assent mesh check -A
  kubectl assent mesh check -n shop -o json")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    installed_image: String,
    counts: Counts,
    /// What injection rests on, where it is not as it should be.
    findings: Vec<String>,
    pods: Vec<Remark>,
}

pub(super) async fn run(args: &CheckArgs, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let report = report(&args.scope, &connect.client().await?).await?;
    match args.output {
        Format::Json => anstream::println!("{}", serde_json::to_string_pretty(&report).context("print as json")?),
        Format::Table => print(&report),
    }
    let to_do = !report.findings.is_empty() || report.pods.iter().any(|remark| remark.to_do);
    Ok(if to_do { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

async fn report(scope: &ScopeArgs, client: &Client) -> anyhow::Result<Report> {
    let installed_image = images(client).await?.remove(0);
    let mut report = Report { installed_image, counts: Counts::default(), findings: injection(client).await?, pods: Vec::new() };
    for namespace in scope.namespaces(client).await? {
        let name = namespace.name_any();
        if !is_labelled(&namespace) {
            report.findings.push(format!("namespace `{name}` is not labelled assent.dev/inject=enabled: nothing in it is meshed"));
            continue;
        }
        report.findings.extend(trust(client, &name).await?);
        let (remarks, counts) = look(&pods(client, &name).await?, &name, labelled_at(&namespace), &report.installed_image);
        report.pods.extend(remarks);
        report.counts.meshed += counts.meshed;
        report.counts.unmeshed += counts.unmeshed;
        report.counts.opted_out += counts.opted_out;
    }
    Ok(report)
}

/// All pods of a namespace.
pub(super) async fn pods(client: &Client, namespace: &str) -> anyhow::Result<Vec<Pod>> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let (mut page, mut pods) = (ListParams::default().limit(PAGE), Vec::new());
    loop {
        let listed = api.list(&page).await.with_context(|| format!("list pods of namespace `{namespace}`"))?;
        pods.extend(listed.items);
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(pods),
        }
    }
}

/// Whether new pods will get a sidecar. What may not be read is left out: most people have no business in our namespace.
async fn injection(client: &Client) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    let configuration = Api::<MutatingWebhookConfiguration>::all(client.clone()).get_opt(INJECTOR_CONFIGURATION).await;
    match readable(configuration).context("read the injector's configuration")? {
        Some(None) => findings.push(format!("there is no MutatingWebhookConfiguration `{INJECTOR_CONFIGURATION}`: new pods get no sidecar")),
        Some(Some(configuration)) => {
            let bundles = configuration.webhooks.into_iter().flatten().filter_map(|webhook| webhook.client_config.ca_bundle);
            findings.extend(bundles.filter_map(|bundle| expiring("the CA of the injector", &bundle.0)));
            findings.dedup();
        }
        None => {}
    }
    let injector = Api::<Deployment>::namespaced(client.clone(), SYSTEM_NAMESPACE).get_opt(accounts::INJECTOR).await;
    if let Some(injector) = readable(injector).context("read the injector's Deployment")? {
        let ready = injector.and_then(|injector| injector.status).and_then(|status| status.ready_replicas).unwrap_or_default();
        if ready == 0 {
            findings.push("no injector is ready: pods that are created now start unmeshed".into());
        }
    }
    Ok(findings)
}

/// None where this person may not look.
fn readable<T>(answer: kube::Result<T>) -> kube::Result<Option<T>> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        other => other.map(Some),
    }
}

/// Without roots a sidecar cannot be certified and its pod starts unmeshed.
async fn trust(client: &Client, namespace: &str) -> anyhow::Result<Vec<String>> {
    let map = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(TRUST_CONFIG_MAP).await;
    let Some(map) = readable(map).context("read the trust bundle")? else { return Ok(Vec::new()) };
    let bundle = map.and_then(|map| map.data).and_then(|mut data| data.remove(TRUST_KEY));
    Ok(match bundle {
        None => vec![format!("namespace `{namespace}` has no trust bundle (ConfigMap {TRUST_CONFIG_MAP}): its pods start unmeshed")],
        Some(bundle) => expiring(&format!("a trust root in namespace `{namespace}`"), bundle.as_bytes()).into_iter().collect(),
    })
}

/// What is said of certificates of which one ends soon.
fn expiring(what: &str, pem: &[u8]) -> Option<String> {
    let ends = Pem::iter_from_buffer(pem).filter_map(|pem| Some(pem.ok()?.parse_x509().ok()?.validity().not_after.timestamp())).min()?;
    let days = (ends - jiff::Timestamp::now().as_second()).div_euclid(24 * 3600);
    (days < NEAR_DAYS).then(|| if days < 0 { format!("{what} has expired") } else { format!("{what} expires in {days} days") })
}

fn print(report: &Report) {
    for finding in &report.findings {
        anstream::println!("{} {}", bad("✗"), plain(finding));
    }
    if !report.pods.is_empty() {
        let row = |remark: &Remark| {
            let mark = if remark.to_do { bad("✗") } else { dim("·") };
            let cells = [remark.namespace.as_str(), &remark.pod, &remark.workload, remark.reason, &remark.note];
            std::iter::once(mark).chain(cells.map(plain)).collect()
        };
        let rows: Vec<Vec<String>> = report.pods.iter().map(row).collect();
        anstream::print!("{}", table(&["", "NAMESPACE", "POD", "OF", "REASON", "WHAT"], &rows));
    }
    let Counts { meshed, unmeshed, opted_out } = report.counts;
    let unmeshed = if unmeshed == 0 { good("0 not") } else { warn(&format!("{unmeshed} not")) };
    anstream::println!("{meshed} pods meshed, {unmeshed}, {opted_out} opted out; installed sidecar {}", plain(&report.installed_image));
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate(days: i64) -> String {
        let mut params = CertificateParams::default();
        let ends = std::time::SystemTime::now() + std::time::Duration::from_secs(u64::try_from(days).unwrap() * 24 * 3600 + 60);
        params.not_after = ends.into();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn the_first_certificate_to_end_counts() {
        assert_eq!(expiring("a root", certificate(90).as_bytes()), None);
        let both = certificate(90) + &certificate(3);
        assert_eq!(expiring("a root", both.as_bytes()).as_deref(), Some("a root expires in 3 days"));
        assert_eq!(expiring("a root", b"no certificate"), None);
    }
}
