//! What every account of ours may do, asked of the API server's own authorizer; and that no role holds a wildcard.

use anyhow::{Context as _, Result, ensure};
use assent_cluster::{Cluster, api_only};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::world::{apply, client_as, manifests, objects, refused};

const ACCOUNTS: [&str; 11] = [
    "assent-identity",
    "assent-discovery",
    "assent-injector",
    "assent-gate",
    "assent-director",
    "assent-executor",
    "assent-scanner",
    "assent-seat-network",
    "assent-seat-compute",
    "assent-seat-database",
    "assent-seat-change",
];

/// group, resource, sub-resource, verb, namespace, name
type Right = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

/// Nobody of ours may do these.
const NEVER: [Right; 42] = [
    ("", "secrets", "", "list", "assent-system", ""),
    ("", "secrets", "", "get", "shop", "any"),
    ("", "secrets", "", "get", "assent-system", "assent-gate-ca"),
    ("", "pods", "exec", "get", "shop", "any"),
    ("", "pods", "exec", "create", "assent-system", "any"),
    ("", "pods", "attach", "create", "shop", "any"),
    ("", "pods", "portforward", "create", "shop", "any"),
    ("", "pods", "proxy", "get", "shop", "any"),
    ("", "pods", "ephemeralcontainers", "patch", "shop", "any"),
    ("", "services", "proxy", "get", "shop", "any"),
    ("", "nodes", "proxy", "get", "", "any"),
    ("", "serviceaccounts", "token", "create", "assent-system", "assent-seat-network"),
    ("", "pods", "", "create", "assent-system", ""),
    ("", "pods", "", "delete", "shop", "any"),
    ("", "pods", "eviction", "create", "shop", "any"),
    ("", "configmaps", "", "update", "shop", "any"),
    ("", "nodes", "", "patch", "", "any"),
    ("apps", "deployments", "", "create", "shop", ""),
    ("apps", "deployments", "", "update", "shop", "any"),
    ("apps", "deployments", "", "patch", "shop", "any"),
    ("apps", "deployments", "", "delete", "shop", "any"),
    ("apps", "deployments", "scale", "update", "shop", "any"),
    ("apps", "deployments", "scale", "patch", "shop", "any"),
    ("apps", "statefulsets", "", "create", "shop", ""),
    ("apps", "statefulsets", "", "update", "shop", "any"),
    ("apps", "statefulsets", "", "patch", "shop", "any"),
    ("apps", "statefulsets", "", "delete", "shop", "any"),
    ("apps", "statefulsets", "scale", "update", "shop", "any"),
    ("apps", "daemonsets", "", "create", "shop", ""),
    ("apps", "daemonsets", "", "update", "shop", "any"),
    ("apps", "daemonsets", "", "delete", "shop", "any"),
    ("apps", "replicasets", "", "update", "shop", "any"),
    ("apps", "controllerrevisions", "", "update", "shop", "any"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", "", "update", "", "assent-gate"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", "", "delete", "", "assent-gate"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "patch", "", "assent-injector"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", "", "delete", "", "assent-gate-protection"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "", "patch", "", "ballots.assent.dev"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "", "create", "", ""),
    ("assent.dev", "rosters", "", "update", "", "default"),
    ("assent.dev", "pauses", "", "delete", "assent-system", "all"),
    ("", "users", "", "impersonate", "", "system:admin"),
];

/// What `Facts` are read from.
const FACTS: [(&str, &str); 10] = [
    ("policy", "poddisruptionbudgets"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("", "services"),
    ("", "resourcequotas"),
    ("apps", "replicasets"),
    ("argoproj.io", "applications"),
    ("kustomize.toolkit.fluxcd.io", "kustomizations"),
    ("helm.toolkit.fluxcd.io", "helmreleases"),
    ("assent.dev", "freezewindows"),
    ("assent.dev", "guardrailexemptions"),
];

/// What the scanner may do and may not.
const SCANNER: [(Right, bool); 14] = [
    (("apps", "deployments", "", "list", "", ""), true),
    (("", "pods", "", "list", "", ""), true),
    (("", "pods", "", "get", "shop", "any"), false),
    (("", "pods", "", "watch", "", ""), false),
    (("", "configmaps", "", "list", "", ""), false),
    (("", "namespaces", "", "get", "", "shop"), true),
    (("assent.dev", "guardrails", "", "watch", "", ""), true),
    (("assent.dev", "guardrails", "status", "patch", "", "any"), true),
    (("assent.dev", "guardrails", "", "patch", "", "any"), false),
    (("assent.dev", "ballots", "", "list", "assent-system", ""), false),
    (("openreports.io", "reports", "", "patch", "shop", "assent-guardrails"), true),
    (("openreports.io", "reports", "", "patch", "shop", "another"), false),
    (("openreports.io", "clusterreports", "", "delete", "", "assent-guardrails"), true),
    (("openreports.io", "clusterreports", "", "delete", "", "another"), false),
];

#[tokio::test]
async fn accounts_hold_what_their_part_needs_and_nothing_that_threatens() -> Result<()> {
    let cluster = api_only("rights").await?;
    let all =
        ["crds", "base/namespace", "base/identity", "base/discovery", "base/injector", "base/director", "base/executor", "base/scanner", "base/specialists"];
    apply(&cluster, &all).await?;
    cluster.kubectl(&["apply", "-f", &manifests().join("base/gate/rbac.yaml").display().to_string()]).await?;
    let account = |name: &str| format!("system:serviceaccount:assent-system:{name}");
    let mut questions: Vec<(String, Right, bool)> = Vec::new();
    for name in ACCOUNTS {
        questions.extend(NEVER.iter().map(|right| (account(name), *right, false)));
        let executor = name == "assent-executor";
        questions.push((account(name), ("", "users", "", "impersonate", "", "assent:executor"), executor));
        questions.push((account(name), ("authentication.k8s.io", "userextras", "assent.dev/incident-uid", "impersonate", "", ""), executor));
        questions.push((account(name), ("", "secrets", "", "get", "assent-system", "assent-identity-issuer"), name == "assent-identity"));
        questions.push((account(name), ("", "secrets", "", "update", "assent-system", "assent-identity-issuer"), name == "assent-identity"));
        questions.push((account(name), ("assent.dev", "ballots", "", "create", "assent-system", ""), name.starts_with("assent-seat-")));
        questions.push((account(name), ("assent.dev", "remediations", "", "create", "assent-system", ""), executor));
        questions.push((account(name), ("assent.dev", "ballots", "", "delete", "assent-system", "any"), name == "assent-director"));
        questions.push((account(name), ("", "configmaps", "", "patch", "shop", "assent-trust"), name == "assent-identity"));
    }
    // Guardrails are judged by both, with the Namespace that a request is in.
    for name in ["assent-gate", "assent-executor"] {
        questions.push((account(name), ("assent.dev", "guardrailbindings", "", "list", "", ""), true));
        questions.push((account(name), ("", "namespaces", "", "get", "", "shop"), true));
        questions.push((account(name), ("", "namespaces", "", "list", "", ""), false));
        // What guardrails may know of a target's surroundings, read and never written.
        for (group, resource) in FACTS {
            questions.push((account(name), (group, resource, "", "list", "shop", ""), true));
            questions.push((account(name), (group, resource, "", "update", "shop", "any"), false));
        }
        questions.push((account(name), ("authorization.k8s.io", "subjectaccessreviews", "", "create", "", ""), true));
        questions.push((account(name), ("assent.dev", "guardrailbindings", "", "update", "", "any"), false));
    }
    // What exists is listed by the scanner, which writes its own reports and the status of guardrails.
    for (right, held) in SCANNER {
        questions.push((account("assent-scanner"), right, held));
    }
    // First votes are blind.
    questions.extend(
        ACCOUNTS
            .iter()
            .filter(|name| name.starts_with("assent-seat-"))
            .map(|name| (account(name), ("assent.dev", "ballots", "", "list", "assent-system", ""), false)),
    );
    // The user holds the write verbs, and no others.
    for right in NEVER {
        let of_workloads = matches!(right, ("apps", "deployments" | "statefulsets", "" | "scale", "update", ..) | ("apps", "daemonsets", "", "update", ..));
        let held = of_workloads || matches!(right, ("", "pods", "eviction", "create", ..));
        questions.push(("assent:executor".into(), right, held));
    }
    let wrong: Vec<String> = stream::iter(questions)
        .map(|(user, right, expected)| {
            let cluster = &cluster;
            async move { allowed(cluster, &user, right).await.map(|found| (found != expected).then(|| format!("{user} {right:?}: {found}"))) }
        })
        .buffer_unordered(16)
        .try_filter_map(|wrong| async move { Ok(wrong) })
        .try_collect()
        .await?;
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// Server-side apply asks for `create` with a name, so one name can be granted; a review cannot show that.
#[tokio::test]
async fn identity_publishes_its_one_config_map_and_no_other() -> Result<()> {
    let cluster = api_only("publish").await?;
    apply(&cluster, &["base/namespace", "base/identity"]).await?;
    let client = client_as(&cluster, "system:serviceaccount:assent-system:assent-identity", &[]).await?;
    let maps = objects(client, Some("default"), "", "v1", "ConfigMap");
    let publish = async |name: &str| {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca-bundle.pem": "x"}});
        maps.patch(name, &PatchParams::apply("assent-identity").force(), &Patch::Apply(map)).await
    };
    publish("assent-trust").await.context("its own")?;
    publish("assent-trust").await.context("again")?;
    refused(publish("another").await, "cannot patch resource")?;
    maps.list(&ListParams::default().fields("metadata.name=assent-trust")).await.context("its own, in a list")?;
    refused(maps.list(&ListParams::default()).await, "cannot list resource")
}

async fn allowed(cluster: &Cluster, user: &str, (group, resource, subresource, verb, namespace, name): Right) -> Result<bool> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut groups = vec!["system:authenticated".to_owned()];
    if user.starts_with("system:serviceaccount:") {
        groups.extend(["system:serviceaccounts".to_owned(), "system:serviceaccounts:assent-system".to_owned()]);
    }
    let attributes = ResourceAttributes {
        group: some(group),
        resource: some(resource),
        subresource: some(subresource),
        verb: some(verb),
        namespace: some(namespace),
        name: some(name),
        ..ResourceAttributes::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.into()),
            groups: Some(groups),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = Api::<SubjectAccessReview>::all(cluster.client().await?).create(&PostParams::default(), &review).await?;
    Ok(answer.status.context("a review has a status")?.allowed)
}

#[test]
fn no_role_of_ours_holds_a_wildcard_or_a_listed_secret() -> Result<()> {
    let mut roles = 0;
    for folder in std::fs::read_dir(manifests().join("base"))? {
        let path = folder?.path().join("rbac.yaml");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let object = Value::deserialize(document)?;
            for rule in object["rules"].as_array().into_iter().flatten() {
                roles += 1;
                let words = |field: &str| rule[field].as_array().cloned().unwrap_or_default();
                let text = rule.to_string();
                ensure!(!text.contains('*'), "{}: wildcard in {text}", path.display());
                let secrets = words("resources").iter().any(|resource| resource == "secrets");
                ensure!(!secrets || !words("resourceNames").is_empty(), "{}: secrets without a name in {text}", path.display());
            }
        }
    }
    ensure!(roles > 20, "only {roles} rules were read");
    Ok(())
}
