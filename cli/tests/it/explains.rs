//! What the plugin says of a real cluster: `check` on an installation that people weaken step by step, and `audit` on the log
//! that the API server itself wrote.

use anyhow::{Context as _, Result, ensure};
use assent_cli::audit::{Log, compare, read};
use assent_cli::check::{Level, check};
use assent_cluster::{Cluster, api_only};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::Entry;
use kube::api::{Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::world::{INCIDENT, apply, deployment, manifests, objects};

/// Every wrong finding in a line.
async fn wrong(client: &Client) -> Result<Vec<String>> {
    let findings = check(client).await?;
    Ok(findings.into_iter().filter(|finding| finding.level == Level::Wrong).map(|finding| format!("{}: {}", finding.check, finding.text)).collect())
}

#[tokio::test]
async fn check_names_whoever_could_put_on_a_mask_and_whatever_was_weakened() -> Result<()> {
    let cluster = api_only("check").await?;
    apply(&cluster, &["crds", "base/namespace", "base/policies", "base/protection", "base/identity", "base/executor", "base/specialists"]).await?;
    let admin = cluster.client().await?;
    let before = wrong(&admin).await?;
    ensure!(before.len() == 2 && before.iter().all(|finding| finding.starts_with("gate:")), "only the gate is missing: {before:#?}");

    cluster.kubectl(&["apply", "-f", &manifests().join("base/gate/configuration.yaml").display().to_string()]).await?;
    cluster.kubectl(&["create", "rolebinding", "helpful", "-n", "assent-system", "--clusterrole=edit", "--user=jane"]).await?;
    cluster.kubectl(&["create", "clusterrole", "become", "--verb=impersonate", "--resource=users"]).await?;
    cluster.kubectl(&["create", "clusterrolebinding", "become", "--clusterrole=become", "--serviceaccount=ci:deployer"]).await?;
    cluster.kubectl(&["delete", "validatingadmissionpolicybinding", "assent-executor-limits"]).await?;
    let service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v9.apps"},
        "spec": {"group": "apps", "version": "v9", "groupPriorityMinimum": 10, "versionPriority": 10, "insecureSkipTLSVerify": true, "service": {"name": "x", "namespace": "default"}},
    });
    objects(admin.clone(), None, "apiregistration.k8s.io", "v1", "APIService").create(&Default::default(), &serde_json::from_value(service)?).await?;
    let found = wrong(&admin).await?.join("\n");
    for expected in [
        "User `jane` can impersonate the accounts in assent-system, mint tokens",
        "read Secrets in assent-system",
        "ServiceAccount `ci/deployer` can impersonate `assent:executor`",
        "there is no Roster",
        "`assent-executor-limits` is not bound",
        "v9.apps bypass every webhook",
    ] {
        ensure!(found.contains(expected), "`{expected}` is missing in:\n{found}");
    }
    Ok(())
}

fn entry(sequence: u64, author: &str, kind: &str, body: Value) -> Result<Entry> {
    let incident = IncidentUid::try_from(INCIDENT.to_owned()).map_err(anyhow::Error::msg)?;
    let at = UnixMillis(jiff::Timestamp::now().as_millisecond());
    Ok(Entry { sequence, at, incident, author: format!("{author}.assent-system.x"), kind: kind.into(), body })
}

/// The executor as it runs: its own account's token, impersonating its user for one incident.
async fn executor(cluster: &Cluster, impersonate: bool) -> Result<Client> {
    let token = cluster.kubectl(&["create", "token", "assent-executor", "-n", "assent-system"]).await?;
    let mut config =
        Config::from_custom_kubeconfig(Kubeconfig::from_yaml(&cluster.kubeconfig_with_token(token.trim()))?, &KubeConfigOptions::default()).await?;
    if impersonate {
        config.auth_info.impersonate = Some("assent:executor".into());
        config.auth_info.impersonate_user_extra = Some([("assent.dev/incident-uid".to_owned(), vec![INCIDENT.to_owned()])].into());
    }
    Ok(Client::try_from(config)?)
}

fn log(cluster: &Cluster) -> Result<Log> {
    let file = std::fs::File::open(cluster.audit_log()).context("open the audit log")?;
    Ok(read(std::io::BufReader::new(file))?)
}

fn told(story: &[Entry], log: &Log) -> Result<Vec<String>> {
    let incident = IncidentUid::try_from(INCIDENT.to_owned()).map_err(anyhow::Error::msg)?;
    Ok(compare(&incident, &story.iter().collect::<Vec<_>>(), log).iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn the_api_servers_own_log_tells_the_ledgers_story_or_shows_the_lie() -> Result<()> {
    let cluster = api_only("story").await?;
    apply(&cluster, &["base/namespace", "base/executor"]).await?;
    cluster.kubectl(&["create", "namespace", "shop"]).await?;
    deployment(&cluster, "shop", "orders").await?;
    deployment(&cluster, "shop", "storefront").await?;

    // By its own name, the account that runs the executor cannot write.
    let alone = objects(executor(&cluster, false).await?, Some("shop"), "apps", "v1", "Deployment");
    let template = |image: &str| Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}));
    ensure!(alone.patch("orders", &PatchParams::default(), &template("localhost/app:2")).await.is_err());

    let mut story = vec![
        entry(1, "assent-director", "incident-opened", json!({"detail": "shop/orders"}))?,
        entry(2, "assent-executor", "apply-intended", json!({"plan": "rem-1", "target": "Deployment shop/orders"}))?,
    ];
    // The executor's user cannot even read.
    let admin = objects(cluster.client().await?, Some("shop"), "apps", "v1", "Deployment");
    let as_user = objects(executor(&cluster, true).await?, Some("shop"), "apps", "v1", "Deployment");
    update(&admin, &as_user, "orders", "localhost/app:2").await.context("the executor's write")?;
    story.push(entry(3, "assent-executor", "applied", json!({"plan": "rem-1"}))?);
    ensure!(told(&story, &log(&cluster)?)?.is_empty(), "{:#?}", told(&story, &log(&cluster)?)?);

    // A write that nobody intended, and one by somebody who borrowed the user.
    update(&admin, &as_user, "storefront", "localhost/app:3").await?;
    let thief = objects(crate::world::client_as(&cluster, "assent:executor", &[INCIDENT]).await?, Some("shop"), "apps", "v1", "Deployment");
    update(&admin, &thief, "orders", "localhost/app:4").await?;
    let found = told(&story, &log(&cluster)?)?.join("\n");
    ensure!(found.contains("saw update deployments shop/storefront and the ledger has no intent"), "{found}");
    ensure!(found.contains("`assent:cluster-admin` wrote deployments shop/orders as `assent:executor`"), "{found}");

    // A ledger that claims what never happened.
    story.push(entry(4, "assent-executor", "apply-intended", json!({"plan": "rem-2", "target": "Deployment shop/checkout"}))?);
    story.push(entry(5, "assent-executor", "applied", json!({"plan": "rem-2"}))?);
    ensure!(told(&story, &log(&cluster)?)?.iter().any(|difference| difference.contains("plan rem-2 was applied")));
    Ok(())
}

/// Puts another image into the template; once more where the deployment controller was faster.
async fn update(reader: &kube::Api<kube::core::DynamicObject>, api: &kube::Api<kube::core::DynamicObject>, name: &str, image: &str) -> Result<()> {
    loop {
        let mut object = reader.get(name).await?;
        object.data["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        match api.replace(name, &Default::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            answer => return answer.map(|_| ()).map_err(Into::into),
        }
    }
}
