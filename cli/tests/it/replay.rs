//! `policy replay` on the audit log of a real API server: native policies judge real requests, and what the replay says of the
//! log is compared with what the server answered, request by request.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Seek as _, Write as _};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use assent_cluster::{Cluster, api_only};
use kube::Client;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::world::{objects, until_refused};

/// In the order in which they come into force: the last one shows that all of them are.
const POLICIES: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: at-most-five}
spec:
  failurePolicy: Fail
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], resources: [deployments, deployments/scale], operations: [CREATE, UPDATE]}]}
  validations: [{expression: object.spec.replicas <= 5, messageExpression: "'%d are more than five'.format([object.spec.replicas])"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: one-at-a-time}
spec:
  failurePolicy: Fail
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], resources: [deployments, deployments/scale], operations: [UPDATE]}]}
  validations: [{expression: object.spec.replicas <= oldObject.spec.replicas + 2, message: more than two at a time, reason: Forbidden}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: odd}
spec:
  failurePolicy: Fail
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], resources: [deployments], operations: ['*']}]}
  validations: [{expression: "object == null ? oldObject.spec.replicas % 2 == 1 : object.spec.replicas % 2 == 1", message: an even number}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: jane-asks-first}
spec:
  failurePolicy: Fail
  matchConstraints: {namespaceSelector: {matchLabels: {tier: gold}}, resourceRules: [{apiGroups: [apps], apiVersions: [v1], resources: [deployments], operations: [CREATE, UPDATE, DELETE]}]}
  matchConditions: [{name: jane, expression: request.userInfo.username == 'jane'}]
  validations: [{expression: "request.operation == 'UPDATE' && namespaceObject.metadata.labels['tier'] == 'gold'", message: jane only updates}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: by-limit}
spec:
  failurePolicy: Fail
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], resources: [deployments], operations: [CREATE, UPDATE]}]}
  validations: [{expression: object.spec.template.spec.containers.size() <= int(params.data.containers), message: too many containers}]
"#;
const BINDINGS: [(&str, &str, &str); 5] = [
    ("at-most-five", "Deny", ""),
    ("one-at-a-time", "Deny", ""),
    ("odd", "Warn", ""),
    ("jane-asks-first", "Deny", ""),
    ("by-limit", "Deny", "paramRef: {name: limit, namespace: shop, parameterNotFoundAction: Deny}"),
];
const PARAMS: &str = "\
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {tier: gold, kubernetes.io/metadata.name: shop}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: limit, namespace: shop}, data: {containers: '1'}}
";
const PATH: &str = "/apis/apps/v1/namespaces/shop/deployments";

/// What the server answered.
struct Answer {
    what: String,
    code: u16,
    message: String,
    warnings: BTreeSet<String>,
    /// Whether it is a patch whose result only the server can compute.
    opaque: bool,
}

/// Requests by their Audit-ID.
struct Asker {
    client: Client,
    answers: BTreeMap<String, Answer>,
}

impl Asker {
    async fn ask(&mut self, user: &str, method: &str, path: &str, kind: &str, body: &Value) -> Result<Value> {
        let mut request = http::Request::builder().method(method).uri(path).header("content-type", kind);
        if !user.is_empty() {
            request = request.header("impersonate-user", user).header("impersonate-group", "system:masters");
        }
        let response = self.client.send(request.body(body.to_string().into_bytes().into())?).await?;
        let header = |name: &str| response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect::<Vec<_>>();
        let id = header("audit-id").first().cloned().context("the server names no Audit-ID")?;
        // `299 - "text"`
        let warnings = header("warning").iter().filter_map(|text| Some(text.split_once('"')?.1.trim_end_matches('"').to_owned())).collect();
        let code = response.status().as_u16();
        let bytes = http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes();
        let object: Value = serde_json::from_slice(&bytes)?;
        let message = object["message"].as_str().unwrap_or_default().to_owned();
        let opaque = method == "PATCH" && (kind.contains("apply") || kind.contains("strategic") && body.to_string().contains('['));
        self.answers.insert(id, Answer { what: format!("{user} {method} {path} {body}"), code, message, warnings, opaque });
        Ok(object)
    }
}

fn deployment(name: &str, replicas: u32, containers: usize) -> Value {
    let containers: Vec<Value> = (0..containers).map(|at| json!({"name": format!("c{at}"), "image": "registry.invalid/app:1"})).collect();
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}}})
}

/// Brings the policies into force; returns where the log stands then.
async fn prepare(cluster: &Cluster, folder: &std::path::Path) -> Result<u64> {
    let (policies, params) = (folder.join("policies.yaml"), folder.join("params.yaml"));
    let bindings: String = BINDINGS
        .iter()
        .map(|(name, action, param)| {
            let kind = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding";
            format!("---\n{kind}\nmetadata: {{name: {name}}}\nspec:\n  policyName: {name}\n  validationActions: [{action}]\n  {param}\n")
        })
        .collect();
    std::fs::write(&policies, format!("{POLICIES}{bindings}"))?;
    std::fs::write(&params, PARAMS)?;
    cluster.kubectl(&["apply", "-f", &params.display().to_string()]).await?;
    cluster.kubectl(&["apply", "-f", &policies.display().to_string()]).await?;
    let api = objects(cluster.client().await?, Some("shop"), "apps", "v1", "Deployment");
    let dry_run = PostParams { dry_run: true, field_manager: None };
    let probe = serde_json::from_value(deployment("probe", 1, 2))?;
    until_refused("too many containers", async || api.create(&dry_run, &probe).await).await?;
    let mut log = std::fs::File::open(cluster.audit_log())?;
    Ok(log.seek(std::io::SeekFrom::End(0))?)
}

/// Every kind of write, some of them denied, some warned of.
async fn requests(asker: &mut Asker) -> Result<()> {
    const JSON: &str = "application/json";
    const MERGE: &str = "application/merge-patch+json";
    for (at, (first, then)) in [(1, 3), (2, 4), (2, 5), (5, 6), (3, 9), (6, 1), (4, 1), (0, 2)].into_iter().enumerate() {
        let name = format!("web-{at}");
        let path = format!("{PATH}/{name}");
        asker.ask("", "POST", PATH, JSON, &deployment(&name, first, 1)).await?;
        asker.ask("jane", "POST", PATH, JSON, &deployment(&format!("janes-{at}"), first, 1)).await?;
        asker.ask("", "POST", PATH, JSON, &deployment(&format!("two-{at}"), first, 2)).await?;
        // The write names the version that it is of; a controller may have been faster.
        let current = asker.ask("", "PATCH", &path, MERGE, &json!({"metadata": {"labels": {"seen": "1"}}})).await?;
        if current["kind"] == "Deployment" {
            let mut put = current;
            put["spec"]["replicas"] = json!(then);
            asker.ask("", "PUT", &path, JSON, &put).await?;
        }
        asker.ask("jane", "PATCH", &path, MERGE, &json!({"spec": {"replicas": then + 1}})).await?;
        asker.ask("", "PATCH", &path, "application/json-patch+json", &json!([{"op": "replace", "path": "/spec/replicas", "value": then + 2}])).await?;
        asker.ask("", "PATCH", &path, "application/strategic-merge-patch+json", &json!({"spec": {"replicas": then}})).await?;
        let containers = json!({"spec": {"template": {"spec": {"containers": [{"name": "c1", "image": "registry.invalid/app:2"}]}}}});
        asker.ask("", "PATCH", &path, "application/strategic-merge-patch+json", &containers).await?;
        let applied = format!("{path}?fieldManager=test&force=true&dryRun=All");
        asker.ask("", "PATCH", &applied, "application/apply-patch+yaml", &deployment(&name, then, 1)).await?;
        let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name, "namespace": "shop"}, "spec": {"replicas": then}});
        asker.ask("", "PUT", &format!("{path}/scale"), JSON, &scale).await?;
        asker.ask("", "PATCH", &format!("{path}/scale"), MERGE, &json!({"spec": {"replicas": then + 3}})).await?;
        asker.ask(if at % 2 == 0 { "jane" } else { "" }, "DELETE", &path, JSON, &json!({})).await?;
    }
    Ok(())
}

fn replay(folder: &std::path::Path, log: &[u8], more: &[&str]) -> Result<(Option<i32>, Value)> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-assent"))
        .args(["policy", "replay", &path("policies.yaml"), "--params", &path("params.yaml"), "--audit-log", "-", "--show", "10000", "-o", "json"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("standard input")?;
    let bytes = log.to_owned();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    Ok((output.status.code(), serde_json::from_slice(&output.stdout).context("the answer is no JSON")?))
}

#[tokio::test]
async fn a_replay_of_the_servers_own_log_says_what_the_server_said() -> Result<()> {
    let cluster = api_only("replay").await?;
    let folder = tempfile::tempdir()?;
    let begin = prepare(&cluster, folder.path()).await?;
    let mut asker = Asker { client: cluster.client().await?, answers: BTreeMap::new() };
    requests(&mut asker).await?;
    let mut file = std::fs::File::open(cluster.audit_log())?;
    file.seek(std::io::SeekFrom::Start(begin))?;
    let mut log = Vec::new();
    file.read_to_end(&mut log)?;

    let (code, report) = replay(folder.path(), &log, &["--against-server", "--fail-on-deny"])?;
    let mut denials: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let mut warnings: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
    for policy in report["policies"].as_array().context("policies")? {
        for finding in policy["first"].as_array().context("findings")? {
            let (id, name, message) =
                (finding["auditId"].as_str().context("id")?, policy["name"].as_str().context("name")?, finding["message"].as_str().context("words")?);
            if finding["denies"] == true {
                denials.entry(id).or_default().push((name, message));
            } else {
                let words = format!("Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{name}': {}", text(&finding["message"]));
                warnings.entry(id).or_default().insert(words);
            }
        }
    }
    let (mut denied, mut warned, mut unsure) = (0, 0, 0);
    for (id, answer) in &asker.answers {
        let Answer { what, code, message, warnings: told, opaque } = answer;
        let ours = denials.get(id.as_str()).cloned().unwrap_or_default();
        let by_policy = message.contains("ValidatingAdmissionPolicy '");
        if by_policy && ours.is_empty() {
            ensure!(*opaque, "the server denied and the replay did not: {what}: {code} {message}");
            unsure += 1;
            continue;
        }
        ensure!(by_policy || ours.is_empty(), "the replay denies and the server did not: {what}: {code} {message}; {ours:?}");
        if by_policy {
            let same = ours.iter().any(|(name, words)| message.contains(&format!("'{name}' with binding '{name}' denied request: {words}")));
            ensure!(same, "other words: {what}: {message}; {ours:?}");
            denied += 1;
        }
        let ours = warnings.get(id.as_str()).cloned().unwrap_or_default();
        let reached = by_policy || (200..300).contains(code);
        ensure!(!reached || ours == *told, "other warnings: {what}: {code} {told:?}; {ours:?}");
        warned += ours.len();
    }
    let comparison = &report["comparison"];
    ensure!(denied >= 40 && warned >= 30 && unsure <= 16, "{denied} denied, {warned} warned, {unsure} unsure");
    ensure!(comparison["newlyDenied"] == 0 && comparison["noLongerDenied"] == 0 && comparison["bothDeny"] == denied, "{comparison:#}");
    ensure!(code == Some(0) && report["log"]["unreadable"] == 0 && report["requests"]["whole"].as_u64() > Some(20), "{code:?} {:#}", report["requests"]);

    // A change of the policies is told by what it would have changed, and fails a pipeline that asks for it.
    let old = folder.path().join("old.yaml");
    let policies = std::fs::read_to_string(folder.path().join("policies.yaml"))?;
    std::fs::write(&old, policies.replace("<= 5, message", "<= 6, message").replace("tier: gold", "tier: tin"))?;
    let (code, report) = replay(folder.path(), &log, &["--against", &old.display().to_string(), "--fail-on-deny"])?;
    let comparison = &report["comparison"];
    ensure!(code == Some(1) && comparison["newlyDenied"].as_u64() > Some(0) && comparison["noLongerDenied"] == 0, "{comparison:#}");
    let first = &comparison["firstNewlyDenied"][0];
    ensure!(first["user"] == "jane" || text(&first["message"]).contains("6 are more than five"), "{first:#}");
    Ok(())
}
