//! A cluster without a node: it starts, remembers, writes its audit log, keeps users apart, and leaves nothing behind.

use anyhow::Context;
use assent_cluster::{Cluster, api_only};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: kube::core::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
        data: Some([("key".to_owned(), value.to_owned())].into()),
        ..Default::default()
    }
}

async fn maps(cluster: &Cluster) -> anyhow::Result<Api<ConfigMap>> {
    Ok(Api::namespaced(cluster.client().await?, "default"))
}

fn audit_events(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(cluster.audit_log()).context("read audit log")?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[tokio::test]
async fn audit_log_has_bodies_of_workloads_and_no_bodies_of_secrets_kind() -> anyhow::Result<()> {
    let cluster = api_only("audit").await?;
    let maps = maps(&cluster).await?;
    maps.create(&PostParams::default(), &config_map("remembered", "confidential-value")).await?;
    let found = maps.get("remembered").await?;
    anyhow::ensure!(found.data.is_some_and(|data| data["key"] == "confidential-value"));

    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "never-runs" },
        "spec": { "containers": [{ "name": "c", "image": "localhost/none:1" }] },
    }))?;
    Api::<Pod>::namespaced(cluster.client().await?, "default").create(&PostParams::default(), &pod).await?;

    let events = audit_events(&cluster)?;
    let of = |resource: &str| {
        events
            .iter()
            .find(|event| event["verb"] == "create" && event["objectRef"]["resource"] == resource && event["user"]["username"] == "assent:cluster-admin")
            .with_context(|| format!("no audit event for {resource}"))
    };
    anyhow::ensure!(of("pods")?["requestObject"]["spec"]["containers"][0]["image"] == "localhost/none:1");
    let map = of("configmaps")?;
    anyhow::ensure!(map["requestObject"].is_null(), "config maps are logged by their head only");
    anyhow::ensure!(!events.iter().any(|event| event["objectRef"]["resource"] == "leases"));
    Ok(())
}

#[tokio::test]
async fn two_clusters_side_by_side_know_nothing_of_each_other() -> anyhow::Result<()> {
    let (one, two) = tokio::try_join!(api_only("pair"), api_only("pair"))?;
    anyhow::ensure!(one.url() != two.url() && one.dir() != two.dir());
    maps(&one).await?.create(&PostParams::default(), &config_map("only-here", "1")).await?;
    anyhow::ensure!(maps(&two).await?.get_opt("only-here").await?.is_none());
    let crossed = kube_client_with_foreign_trust(&one, &two).await;
    anyhow::ensure!(crossed.is_err(), "a client of one cluster must not trust the other");
    Ok(())
}

/// The first cluster's credentials and trust, at the second cluster's address.
async fn kube_client_with_foreign_trust(one: &Cluster, two: &Cluster) -> anyhow::Result<()> {
    let text = one.kubeconfig().replace(one.url(), two.url());
    let config = kube::Config::from_custom_kubeconfig(kube::config::Kubeconfig::from_yaml(&text)?, &kube::config::KubeConfigOptions::default()).await?;
    kube::Client::try_from(config)?.apiserver_version().await?;
    Ok(())
}

#[tokio::test]
async fn users_hold_what_rbac_gives_them_and_drop_removes_everything() -> anyhow::Result<()> {
    let cluster = api_only("users").await?;
    let nobody = cluster.client_as("jane", &["reviewers", "assent:people"]).await?;
    let refused = Api::<ConfigMap>::namespaced(nobody, "default").list(&Default::default()).await;
    anyhow::ensure!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403), "{refused:?}");
    let who: Value = serde_json::from_str(&cluster.kubectl(&["auth", "whoami", "-o", "json"]).await?)?;
    anyhow::ensure!(who["status"]["userInfo"]["username"] == "assent:cluster-admin");

    std::fs::write(cluster.dir().join("jane"), cluster.kubeconfig_as("jane", &["reviewers", "assent:people"])?)?;
    let jane = cluster.dir().join("jane").display().to_string();
    let who: Value = serde_json::from_str(&cluster.kubectl(&["--kubeconfig", &jane, "auth", "whoami", "-o", "json"]).await?)?;
    let groups = who["status"]["userInfo"]["groups"].to_string();
    anyhow::ensure!(groups.contains("reviewers") && groups.contains("assent:people"), "{groups}");
    anyhow::ensure!(cluster.client_as("jane", &["a", "b", "c"]).await.is_err());

    let token = cluster.kubectl(&["create", "token", "default"]).await?;
    let refused = Api::<ConfigMap>::namespaced(cluster.client_with_token(token.trim()).await?, "default").list(&Default::default()).await;
    anyhow::ensure!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403), "{refused:?}");

    let dir = cluster.dir().to_owned();
    let pids: Vec<u32> = std::fs::read_dir(dir.join("pids"))?
        .map(|entry| Ok(std::fs::read_to_string(entry?.path())?.split(' ').next().unwrap_or_default().parse()?))
        .collect::<anyhow::Result<_>>()?;
    anyhow::ensure!(pids.len() == 3);
    drop(cluster);
    anyhow::ensure!(!dir.exists());
    for pid in pids {
        anyhow::ensure!(!std::path::Path::new("/proc").join(pid.to_string()).exists(), "{pid} still runs");
    }
    Ok(())
}
