//! What ConfigMaps hold is kept where a Blueprint lists RevertConfig, anew after each edit, and old copies go but for those that a
//! template reads.

use std::collections::BTreeSet;

use assent_api::copies::{self, KEPT_COPIES};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::bench::{Bench, PATIENCE};

fn settings(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": {"key": value}})
}

fn copy_name(name: &str, value: &str) -> String {
    copies::copy_of(&settings(name, value)).unwrap().pointer("/metadata/name").unwrap().as_str().unwrap().to_owned()
}

fn template(app: &str, reads: &str) -> Value {
    let container = json!({"name": "c", "image": "x:1", "envFrom": [{"configMapRef": {"name": reads}}]});
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}})
}

fn workload(kind: &str, app: &str, reads: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": app, "namespace": "shop"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": app}}, "template": template(app, reads)}})
}

fn config_maps(bench: &Bench) -> Api<DynamicObject> {
    Api::namespaced_with(bench.admin.clone(), "shop", &ApiResource::erase::<ConfigMap>(&()))
}

/// Names of the copies once `holds` of them.
async fn copies_once(bench: &Bench, holds: impl Fn(&BTreeSet<String>) -> bool) -> BTreeSet<String> {
    let label = format!("{}={}", copies::KEPT, copies::CONFIGURATION);
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = config_maps(bench).list(&ListParams::default().labels(&label)).await.unwrap().items;
        let names: BTreeSet<String> = found.iter().map(kube::ResourceExt::name_any).collect();
        if holds(&names) {
            return names;
        }
        assert!(tokio::time::Instant::now() < until, "it never came to that: {names:?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn what_a_listed_workload_reads_is_kept_and_old_copies_go() {
    let bench = Bench::start("keeps").await;
    for document in serde_yaml_ng::Deserializer::from_str(include_str!("../../../manifests/optional/kept-configuration/rbac.yaml")) {
        bench.create(Value::deserialize(document).unwrap()).await;
    }
    for (app, operations) in
        [("reads", json!({"allowed": ["RevertConfig"]})), ("asks", json!({"restricted": [{"operation": "RevertConfig", "approvers": ["a"]}]}))]
            .into_iter()
            .chain([("silent", json!({"allowed": ["RestartWorkload"]}))])
    {
        let metadata = json!({"name": app, "namespace": "shop"});
        let spec = json!({"target": {"kind": "Deployment", "name": app}, "mode": "autonomous", "operations": operations});
        bench.create(json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": metadata, "spec": spec})).await;
        bench.create(workload("Deployment", app, &format!("{app}-settings"))).await;
        bench.create(settings(&format!("{app}-settings"), "now")).await;
    }
    // Content of long ago: of the oldest somebody may yet make use.
    let old: Vec<String> = (0..KEPT_COPIES + 2).map(|n| format!("old-{n}")).collect();
    for (n, value) in old.iter().enumerate() {
        bench.create(copies::copy_of(&settings("reads-settings", value)).unwrap()).await;
        if n < 2 {
            // They are told apart by the API server's clock, which counts seconds.
            tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        }
    }
    bench.create(workload("ReplicaSet", "reads", &copy_name("reads-settings", "old-0"))).await;
    let mut args = bench.args(&[]);
    args.keep_configuration = true;
    let (director, ready) = bench.contend(args).await;
    ready.await.unwrap();

    let of = |name: &str, values: &[&str]| values.iter().map(|value| copy_name(name, value)).collect::<BTreeSet<String>>();
    let now: BTreeSet<String> = of("reads-settings", &["now"]).into_iter().chain(of("asks-settings", &["now"])).collect();
    let kept = copies_once(&bench, |names| names.is_superset(&now) && !names.contains(&copy_name("reads-settings", "old-1"))).await;
    assert_eq!(kept.len(), KEPT_COPIES + 2, "the newest five, what is read, and what another workload reads: {kept:?}");
    assert!(kept.contains(&copy_name("reads-settings", "old-0")) && !kept.iter().any(|name| name.starts_with("silent")), "{kept:?}");

    let edit = Patch::Merge(json!({"data": {"key": "edited"}}));
    config_maps(&bench).patch("reads-settings", &PatchParams::default(), &edit).await.unwrap();
    let edited = of("reads-settings", &["edited"]);
    let kept = copies_once(&bench, |names| names.is_superset(&edited)).await;
    assert!(kept.is_superset(&now), "what it held before stays: {kept:?}");
    director.stop().await;
}
