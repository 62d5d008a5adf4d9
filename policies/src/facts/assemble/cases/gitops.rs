//! GitOps owners: who tracks, what is theirs, what they leave.

use super::*;

const IMAGE: &str = "/deployment/spec/template/spec/containers/0/image";
const TRACKING: &str = "/deployment/metadata/annotations/argocd.argoproj.io~1tracking-id";

/// A write of another image.
fn release() -> World {
    let mut world = restart();
    world.new = Some(world.clone().with(IMAGE, "x:1").shop["deployment"].clone());
    world
}

/// Owners as `NAMESPACE/NAME`, whether they correct, what they contest and what of it they leave.
fn owners(world: &World) -> Vec<(String, bool, usize, usize)> {
    let owner = |one: &Value| {
        let count = |key: &str| one[key].as_array().unwrap().len();
        let text = |key: &str| one[key].as_str().unwrap();
        (format!("{}/{}", text("namespace"), text("name")), one["corrects"].as_bool().unwrap(), count("contested"), count("yields"))
    };
    world.facts()["gitops"].as_array().unwrap().iter().map(owner).collect()
}

fn owner(name: &str, corrects: bool, contested: usize, yields: usize) -> Vec<(String, bool, usize, usize)> {
    vec![(name.to_owned(), corrects, contested, yields)]
}

#[test]
fn argo_cd_contests_the_fields_that_its_manager_owns() {
    assert_eq!(owners(&scale(6)), owner("argocd/shop", true, 1, 1));
    assert_eq!(owners(&release()), owner("argocd/shop", true, 1, 1));
    assert_eq!(owners(&restart()), owner("argocd/shop", true, 0, 0), "git says nothing of the restart marker");
    let probe = |path: &str| {
        let mut world = restart();
        world.new = Some(world.clone().with(&format!("/deployment/spec/template/spec/containers/{path}"), 9).shop["deployment"].clone());
        owners(&world)
    };
    assert_eq!(probe("0/readinessProbe/httpGet/port"), owner("argocd/shop", true, 1, 1));
    assert_eq!(probe("0/readinessProbe/periodSeconds"), owner("argocd/shop", true, 0, 0), "a default of the API server");
    assert_eq!(probe("0/ports/0/containerPort"), owner("argocd/shop", true, 1, 1));
    assert_eq!(probe("0/envFrom/0/secretRef/name"), owner("argocd/shop", true, 1, 1), "below a list that is owned as a whole");
}

#[test]
fn whether_argo_cd_corrects_and_what_it_leaves() {
    let application = |place: &str, value: Value| owners(&scale(6).with(&format!("/applications/0{place}"), value));
    let rule = |rule: Value| application("/spec/ignoreDifferences", json!([rule]));
    let pointers = |pointers: Value| rule(json!({"group": "apps", "kind": "Deployment", "jsonPointers": pointers}));
    let (leaves, fights) = (owner("argocd/shop", true, 1, 1), owner("argocd/shop", true, 1, 0));
    assert_eq!(application("/spec/syncPolicy/automated/selfHeal", json!(false)), owner("argocd/shop", false, 1, 1));
    assert_eq!(application("/spec/syncPolicy/automated/enabled", json!(false)), owner("argocd/shop", false, 1, 1));
    assert_eq!(application("/spec/syncPolicy/automated", Value::Null), owner("argocd/shop", false, 1, 1));
    assert_eq!(application("/spec/syncPolicy/syncOptions", json!(["ServerSideApply=true"])), fights, "a sync that does not respect them");
    assert_eq!(pointers(json!(["/spec/replicas"])), leaves);
    assert_eq!(pointers(json!(["/spec"])), leaves);
    assert_eq!(pointers(json!(["/spec/replica"])), fights);
    assert_eq!(rule(json!({"group": "*", "kind": "*", "jqPathExpressions": [".spec.replicas"]})), leaves);
    assert_eq!(rule(json!({"group": "*", "kind": "*", "jqPathExpressions": [".spec | .replicas"]})), fights, "not understood, so not left");
    assert_eq!(rule(json!({"group": "apps", "kind": "Deployment", "managedFieldsManagers": ["assent-executor"]})), leaves);
    assert_eq!(rule(json!({"group": "apps", "kind": "Deployment", "managedFieldsManagers": ["kube-controller-manager"]})), fights);
    for other in [
        json!({"group": "", "kind": "Deployment"}),
        json!({"group": "apps", "kind": "StatefulSet"}),
        json!({"group": "apps", "kind": "Deployment", "name": "payments"}),
    ] {
        let mut other = other;
        other["jsonPointers"] = json!(["/spec/replicas"]);
        assert_eq!(rule(other.clone()), fights, "{other}");
    }
}

#[test]
fn argo_cd_tracks_by_annotation_label_or_its_own_list() {
    let untracked = || scale(6).with(TRACKING, Value::Null).with("/applications/0/status/resources", json!([]));
    assert_eq!(owners(&untracked()), []);
    assert_eq!(owners(&untracked().with("/deployment/metadata/labels/app.kubernetes.io~1instance", "shop")), owner("argocd/shop", true, 1, 1));
    assert_eq!(owners(&untracked().with(TRACKING, "shop:apps/Deployment:shop/orders")), owner("argocd/shop", true, 1, 1));
    assert_eq!(owners(&untracked().with(TRACKING, "argocd_shop:apps/Deployment:shop/orders")), owner("argocd/shop", true, 1, 1), "in any namespace");
    assert_eq!(owners(&scale(6).with(TRACKING, Value::Null)), owner("argocd/shop", true, 1, 1), "listed");
    assert_eq!(owners(&untracked().with(TRACKING, "hub:apps/Deployment:shop/orders")), owner("/hub", true, 1, 0), "an Argo CD that is elsewhere");
}

#[test]
fn cleared_managed_fields_leave_everything_contested() {
    let cleared = |world: World| world.with("/deployment/metadata/managedFields", json!([]));
    assert_eq!(owners(&cleared(restart())), owner("argocd/shop", true, 1, 1), "even the restart marker");
    // The label is what Helm charts write as well, and the list may be another cluster's.
    let labelled = scale(6)
        .with(TRACKING, Value::Null)
        .with("/applications/0/status/resources", json!([]))
        .with("/deployment/metadata/labels/app.kubernetes.io~1instance", "shop");
    assert_eq!(owners(&cleared(labelled)), owner("argocd/shop", true, 0, 0));
    let elsewhere = scale(6).with(TRACKING, Value::Null).with("/applications/0/spec/destination/server", "https://10.1.2.3");
    assert_eq!(owners(&cleared(elsewhere)), owner("argocd/shop", true, 0, 0));
    let said = restart().with("/deployment/metadata/managedFields", "none").refusal();
    assert!(said.contains("`/metadata/managedFields` cannot be read: it is not a list"), "{said}");
}

/// The scale of a Deployment that Flux manages instead, with its marks and field manager.
fn flux(group: &str, manager: &str, name: &str) -> World {
    scale(6)
        .with("/applications", json!([]))
        .with(TRACKING, Value::Null)
        .with("/deployment/metadata/managedFields/0/manager", manager)
        .with(&format!("/deployment/metadata/labels/{group}~1name"), name)
        .with(&format!("/deployment/metadata/labels/{group}~1namespace"), "flux-system")
}

#[test]
fn a_kustomization_corrects_unless_it_is_told_not_to() {
    let infra = || flux("kustomize.toolkit.fluxcd.io", "kustomize-controller", "infra");
    let fights = owner("flux-system/infra", true, 1, 0);
    assert_eq!(owners(&infra()), fights);
    let mark = |key: &str, value: &str| owners(&infra().with(&format!("/deployment/metadata/annotations/kustomize.toolkit.fluxcd.io~1{key}"), value));
    assert_eq!(owners(&infra().with("/kustomizations/0/spec/suspend", true)), owner("flux-system/infra", false, 1, 0));
    assert_eq!(mark("reconcile", "disabled"), owner("flux-system/infra", false, 1, 0));
    assert_eq!(mark("ssa", "Ignore"), owner("flux-system/infra", false, 1, 0));
    assert_eq!(mark("ssa", "IfNotPresent"), fights, "which counts in git only");
    let ignore = |rule: Value| owners(&infra().with("/kustomizations/0/spec/ignore", json!([rule])));
    assert_eq!(ignore(json!({"paths": ["/spec/replicas"]})), owner("flux-system/infra", true, 1, 1));
    assert_eq!(ignore(json!({"paths": ["/spec/replicas"], "target": {"kind": "Deployment"}})), owner("flux-system/infra", true, 1, 1));
    assert_eq!(ignore(json!({"paths": ["/spec/replicas"], "target": {"kind": "StatefulSet"}})), fights);
    assert_eq!(ignore(json!({"paths": ["/spec/replicas"], "target": {"labelSelector": "app=orders"}})), fights, "not read, so not left");
    let listed = infra().with("/deployment/metadata/labels", json!({})).with("/kustomizations/0/status/inventory/entries/0/id", "shop_orders_apps_Deployment");
    assert_eq!(owners(&listed), fights);
    let gone = infra().with("/kustomizations", json!([]));
    assert_eq!(owners(&gone), fights, "a Flux that is elsewhere");
}

#[test]
fn a_helm_release_corrects_only_with_drift_correction() {
    let metrics = || flux("helm.toolkit.fluxcd.io", "helm-controller", "metrics").with("/helmReleases/0/metadata/namespace", "flux-system");
    let release = |place: &str, value: Value| owners(&metrics().with(&format!("/helmReleases/0/spec/{place}"), value));
    assert_eq!(owners(&metrics()), owner("flux-system/metrics", true, 1, 0));
    assert_eq!(release("driftDetection/mode", json!("warn")), owner("flux-system/metrics", false, 1, 0));
    assert_eq!(release("driftDetection", Value::Null), owner("flux-system/metrics", false, 1, 0));
    assert_eq!(release("suspend", json!(true)), owner("flux-system/metrics", false, 1, 0));
    let rule = json!([{"paths": ["/spec/replicas"], "target": {"kind": "Deployment", "name": "orders"}}]);
    assert_eq!(release("driftDetection/ignore", rule), owner("flux-system/metrics", true, 1, 1));
    let left = metrics().with("/deployment/metadata/labels/helm.toolkit.fluxcd.io~1driftDetection", "disabled");
    assert_eq!(owners(&left), owner("flux-system/metrics", false, 1, 0));
}
