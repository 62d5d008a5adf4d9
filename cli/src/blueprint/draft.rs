//! A first Blueprint from what runs: the bounds are what is there now, with room upwards and none downwards, and nothing is
//! allowed that cannot be put back.

use anyhow::{Context as _, ensure};
use assent_core::action::configurations_of;
use assent_core::blueprint::{bytes, millicores};
use assent_core::workload::{Kind, is_on_node};
use serde_json::{Value, json};

use crate::describe::plain;

/// What the command line says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes<'a> {
    pub(super) mode: &'a str,
    pub(super) approvers: &'a [String],
    /// Where the object names none.
    pub(super) namespace: &'a str,
}

/// The Blueprint, and what its author should know.
pub(super) fn draft(workload: &Value, autoscalers: &[Value], wishes: &Wishes<'_>) -> anyhow::Result<(Value, Vec<String>)> {
    let text = |pointer: &str| workload.pointer(pointer).and_then(Value::as_str);
    let kind = Kind::of_object(workload).map_err(anyhow::Error::msg)?;
    let name = text("/metadata/name").with_context(|| format!("the {kind} has no name"))?;
    let namespace = text("/metadata/namespace").unwrap_or(wishes.namespace);
    ensure!(!assent_core::target::is_system_namespace(namespace), "namespace `{namespace}` is never a target");
    let mut said = Vec::new();
    if workload.pointer("/metadata/ownerReferences").and_then(Value::as_array).is_some_and(|owners| !owners.is_empty()) {
        said.push(format!("the {kind} has an owner, which would undo what is done to it: no action on it is modelled"));
    }
    let mut allowed = Vec::new();
    // What keeps data on its node, or is on every one, is never proposed to be evicted.
    let keeps = workload.pointer("/spec/template/spec/volumes").and_then(Value::as_array).into_iter().flatten().any(is_on_node);
    if kind == Kind::Deployment && !keeps && kind.replaces(workload).is_ok() {
        allowed.push("EvictPod");
    }
    match kind.replaces(workload).map(|()| kind.rolls_back(workload)) {
        Ok(Ok(())) => allowed.extend(["RestartWorkload", "RollbackWorkload"]),
        Ok(Err(reason)) => {
            allowed.push("RestartWorkload");
            said.push(format!("{reason}: RollbackWorkload is on no list"));
        }
        Err(reason) => said.push(format!("{reason}: RestartWorkload and RollbackWorkload are on no list")),
    }
    let reads = configurations_of(workload);
    if !reads.is_empty() {
        let maps = reads.join(", ");
        said.push(format!("it reads ConfigMap {maps}: list RevertConfig to have an edit undone, where Assent is installed with `--keep-configuration`"));
    }
    let replicas = workload.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let scaled = autoscalers.iter().find(|one| {
        let target = |field: &str| one.pointer(&format!("/spec/scaleTargetRef/{field}")).and_then(Value::as_str);
        (target("kind"), target("name")) == (Some(kind.name()), Some(name))
    });
    let figure = |one: &Value, field: &str| one.pointer(&format!("/spec/{field}")).and_then(Value::as_u64);
    let (least, most) = match scaled {
        Some(one) => (figure(one, "minReplicas").unwrap_or(1), figure(one, "maxReplicas").unwrap_or(replicas)),
        None => (replicas.max(1), replicas.max(1).saturating_mul(2)),
    };
    if scaled.is_some() {
        said.push("a HorizontalPodAutoscaler sets the replicas, so ScaleWorkload is on no list: two that scale one workload fight".to_owned());
    } else if kind.is_scaled() {
        allowed.push("ScaleWorkload");
    }
    let mut limits = if kind.is_scaled() { json!({"minReplicas": least, "maxReplicas": most.max(least)}) } else { json!({}) };
    let containers = containers(workload, &mut said);
    if !containers.is_empty() {
        limits["containers"] = Value::Array(containers);
    }
    let mut operations = json!({"allowed": allowed, "forbidden": ["delete_deployment", "modify_namespace", "change_rbac"]});
    if wishes.approvers.is_empty() {
        said.push("nobody may approve what is restricted: name groups with --approver, or in `operations.approvers`".to_owned());
    } else {
        operations["approvers"] = json!(wishes.approvers);
    }
    if wishes.mode == "observe" {
        said.push("mode `observe` only looks; `approve` asks before every action, `autonomous` acts within the limits".to_owned());
    }
    let mut spec = json!({"target": {"kind": kind.name(), "name": name}, "mode": wishes.mode, "limits": limits, "operations": operations});
    if let Some(owner) = gitops(workload, &mut said) {
        spec["gitops"] = owner;
    }
    let metadata = json!({"name": name, "namespace": namespace});
    Ok((json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": metadata, "spec": spec}), said))
}

/// Bounds of the requests: never below them, and up to the limit, or to twice the request where there is none.
fn containers(workload: &Value, said: &mut Vec<String>) -> Vec<Value> {
    let mut all = Vec::new();
    for container in workload.pointer("/spec/template/spec/containers").and_then(Value::as_array).into_iter().flatten() {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        let amount = |part: &str, resource: &str| container.pointer(&format!("/resources/{part}/{resource}")).and_then(Value::as_str);
        let bounds = |resource: &str, parse: fn(&str) -> Option<u64>, write: fn(u64) -> String| {
            let request = amount("requests", resource).filter(|text| parse(text).is_some_and(|value| value > 0))?;
            let value = parse(request)?;
            let limit = amount("limits", resource).filter(|text| parse(text).is_some_and(|limit| limit >= value));
            let most = limit.map_or_else(|| write(value.saturating_mul(2)), str::to_owned);
            Some(json!({"min": request, "max": most, "target": request}))
        };
        let mut one = json!({"name": name});
        for (resource, found) in
            [("cpu", bounds("cpu", millicores, |value| format!("{value}m"))), ("memory", bounds("memory", bytes, |value| value.to_string()))]
        {
            match found {
                Some(found) => one[resource] = found,
                None => said.push(format!("container `{}` asks for no {resource}, so no bounds are known for it", plain(name))),
            }
        }
        if one.as_object().is_some_and(|fields| fields.len() > 1) {
            all.push(one);
        }
    }
    all
}

/// Who applies it from git, as the marks of the tools say.
fn gitops(workload: &Value, said: &mut Vec<String>) -> Option<Value> {
    let mark = |part: &str, key: &str| workload.pointer(&format!("/metadata/{part}/{}", key.replace('/', "~1"))).and_then(Value::as_str);
    let flux = |prefix: &str, kind: &str| {
        let (name, namespace) = (mark("labels", &format!("{prefix}/name"))?, mark("labels", &format!("{prefix}/namespace"))?);
        Some(json!({"owner": "Flux", "kind": kind, "namespace": namespace, "name": name}))
    };
    let tracked = mark("annotations", "argocd.argoproj.io/tracking-id").and_then(|id| id.split(':').next());
    let argo = tracked.or_else(|| mark("labels", "argocd.argoproj.io/instance")).filter(|name| !name.is_empty());
    let owner = flux("kustomize.toolkit.fluxcd.io", "Kustomization").or_else(|| flux("helm.toolkit.fluxcd.io", "HelmRelease"));
    let owner = owner.or_else(|| {
        said.extend(argo.map(|_| "Argo CD does not say where its Application lives; it is taken to be namespace `argocd`".to_owned()));
        argo.map(|name| json!({"owner": "ArgoCD", "namespace": "argocd", "name": name}))
    });
    if owner.is_some() {
        said.push("it is applied from git: name the file of this Blueprint there in `gitops.path`, so that patches can be made for it".to_owned());
    }
    owner
}

#[cfg(test)]
mod tests {
    use assent_core::blueprint::{Operation, ReplicaChange, Tier, effective, read};
    use assent_core::ids::UnixMillis;

    use super::*;

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [
                {"name": "app", "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}},
                {"name": "logs"},
            ]}}},
        })
    }

    fn wishes(mode: &'static str) -> Wishes<'static> {
        Wishes { mode, approvers: &[], namespace: "default" }
    }

    #[test]
    fn it_only_looks_and_when_it_may_act_it_stays_near_what_runs() {
        let (object, said) = draft(&deployment(), &[], &wishes("observe")).unwrap();
        assert_eq!(object["metadata"], json!({"name": "orders", "namespace": "shop"}));
        assert_eq!(read(&object["spec"]).into_result().unwrap().rules.mode, assent_core::incident::Mode::Observe);
        assert!(said.iter().any(|words| words.contains("`logs` asks for no cpu")), "{said:?}");

        let (object, _) = draft(&deployment(), &[], &wishes("autonomous")).unwrap();
        let all = effective(&[], &read(&object["spec"]).into_result().unwrap());
        let scale = |to| Operation { replicas: Some(ReplicaChange { from: Some(3), to }), ..Operation::named("ScaleWorkload") };
        for (to, wanted) in [(2, Tier::Restricted), (3, Tier::Allowed), (6, Tier::Allowed), (7, Tier::Restricted)] {
            assert_eq!(all.classify(&scale(to), UnixMillis(0)).tier, wanted, "{to}");
        }
        assert_eq!(all.classify(&Operation::named("IsolatePod"), UnixMillis(0)).tier, Tier::Restricted);
        let app = &object["spec"]["limits"]["containers"];
        assert_eq!(
            app,
            &json!([{"name": "app", "cpu": {"min": "250m", "max": "500m", "target": "250m"}, "memory": {"min": "256Mi", "max": "1Gi", "target": "256Mi"}}])
        );
    }

    #[test]
    fn whoever_reads_config_maps_hears_that_an_edit_can_be_undone() {
        let mut reads = deployment();
        reads["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "configMap": {"name": "settings"}}]);
        let told =
            |object: &Value| draft(object, &[], &wishes("observe")).unwrap().1.iter().any(|words| words.contains("ConfigMap settings: list RevertConfig"));
        assert!(told(&reads) && !told(&deployment()));
    }

    #[test]
    fn an_autoscaler_keeps_the_replicas() {
        let autoscaler = json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "orders"}, "minReplicas": 2, "maxReplicas": 8}});
        let other = json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "cart"}, "maxReplicas": 99}});
        let (object, said) = draft(&deployment(), &[other, autoscaler], &wishes("autonomous")).unwrap();
        assert_eq!((&object["spec"]["limits"]["minReplicas"], &object["spec"]["limits"]["maxReplicas"]), (&json!(2), &json!(8)));
        assert_eq!(object["spec"]["operations"]["allowed"], json!(["EvictPod", "RestartWorkload", "RollbackWorkload"]));
        assert!(said.iter().any(|words| words.contains("HorizontalPodAutoscaler")));
        assert!(read(&object["spec"]).problems.is_empty());
    }

    #[test]
    fn each_kind_is_allowed_what_can_be_done_to_it() {
        let of = |kind: &str, order: &str| {
            let mut object = deployment();
            (object["kind"], object["spec"]["podManagementPolicy"]) = (json!(kind), json!(order));
            let (object, _) = draft(&object, &[], &wishes("observe")).unwrap();
            assert!(read(&object["spec"]).problems.is_empty());
            object["spec"].clone()
        };
        assert_eq!(of("StatefulSet", "OrderedReady")["operations"]["allowed"], json!(["RestartWorkload", "ScaleWorkload"]));
        assert_eq!(of("StatefulSet", "Parallel")["operations"]["allowed"], json!(["RestartWorkload", "RollbackWorkload", "ScaleWorkload"]));
        let everywhere = of("DaemonSet", "");
        assert_eq!(
            (&everywhere["operations"]["allowed"], &everywhere["target"]["kind"]),
            (&json!(["RestartWorkload", "RollbackWorkload"]), &json!("DaemonSet"))
        );
        assert_eq!(everywhere["limits"].get("maxReplicas"), None);
    }

    #[test]
    fn who_applies_it_from_git_is_found() {
        let marked = |part: &str, marks: Value| {
            let mut deployment = deployment();
            deployment["metadata"][part] = marks;
            let (object, _) = draft(&deployment, &[], &wishes("observe")).unwrap();
            assert!(read(&object["spec"]).problems.is_empty());
            object["spec"]["gitops"].clone()
        };
        let argo = json!({"owner": "ArgoCD", "namespace": "argocd", "name": "shop"});
        assert_eq!(marked("labels", json!({"argocd.argoproj.io/instance": "shop"})), argo);
        assert_eq!(marked("annotations", json!({"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/orders"})), argo);
        let flux = json!({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"});
        assert_eq!(marked("labels", flux), json!({"owner": "Flux", "kind": "Kustomization", "namespace": "flux-system", "name": "apps"}));
        assert_eq!(marked("labels", json!({"app": "orders"})), Value::Null);
    }

    #[test]
    fn what_cannot_be_acted_on_is_said() {
        let mut owned = deployment();
        owned["metadata"]["ownerReferences"] = json!([{"kind": "Rollout"}]);
        owned["spec"]["strategy"] = json!({"type": "Recreate"});
        let (_, said) = draft(&owned, &[], &wishes("observe")).unwrap();
        assert!(said.iter().any(|words| words.contains("has an owner")) && said.iter().any(|words| words.contains("`Recreate`")));
        assert_eq!(draft(&owned, &[], &wishes("observe")).unwrap().0["spec"]["operations"]["allowed"], json!(["ScaleWorkload"]));
        let mut system = deployment();
        system["metadata"]["namespace"] = json!("kube-system");
        assert!(draft(&system, &[], &wishes("observe")).is_err());
        assert!(draft(&json!({}), &[], &wishes("observe")).is_err());
    }
}
