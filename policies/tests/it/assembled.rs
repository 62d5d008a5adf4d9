//! The library on facts as they are assembled from objects of an API server, not as a case states them: a rollback, a reverted
//! configuration, a scale, a restart and an eviction of a healthy Deployment pass every guardrail, as plans and as writes.

use assent_core::action::{Action, Configuration, Evict, Restart, RevertConfig, Rollback, Scale};
use assent_core::canonical::Digest;
use assent_core::ids::UnixMillis;
use assent_core::target::Target;
use assent_core::workload::{kept_template, plain_template};
use assent_policies::Facts;
use assent_policies::cases::{Case, Subject, Verdict};
use assent_policies::facts::{BlueprintFact, Healthy, Sources};
use serde_json::{Value, json};

use crate::folder::{Library, root, yaml};

const NOW: UnixMillis = UnixMillis(1_795_773_600_000);
const INCIDENT: &str = "019ac4d2-7d3e-7a10-8c55-2b1f4e9a6c01";

/// The write of `action`: sub-resource, object before, object after.
fn write(shop: &Value, action: &Action, material: Option<&Value>) -> (&'static str, Value, Value) {
    let act = action.act();
    let old = match act.part().subresource {
        "scale" => &shop["scale"],
        "eviction" => &Value::Null,
        _ => &shop["deployment"],
    };
    (act.part().subresource, old.clone(), act.expected(old, material).unwrap())
}

fn template(set: &Value) -> Value {
    plain_template(&set["spec"]["template"])
}

fn healthy(shop: &Value) -> Vec<Healthy> {
    let seen = |at: usize, revision: i64, healthy_at: i64| Healthy {
        revision,
        template: Digest::of(&template(&shop["replicaSets"][at])).unwrap(),
        healthy_at: UnixMillis(NOW.0 - healthy_at),
    };
    vec![seen(1, 7, 3_600_000), seen(0, 8, 600_000)]
}

fn facts(shop: &Value, action: &Action, old: &Value, new: &Value) -> Facts {
    let list = |key: &str| shop[key].as_array().unwrap().as_slice();
    let target = Target::of(&shop["deployment"]).unwrap();
    let templates: Vec<Value> = list("replicaSets").iter().filter_map(kept_template).collect();
    let sources = Sources {
        now: NOW,
        incident: INCIDENT,
        action,
        target: &target,
        old,
        new,
        workload: &shop["deployment"],
        pod: action.evicts().map(|_| &shop["pod"]),
        namespace: Some(&shop["namespace"]),
        budgets: list("budgets"),
        autoscalers: list("autoscalers"),
        services: list("services"),
        quotas: list("quotas"),
        templates: &templates,
        healthy: &healthy(shop),
        applications: list("applications"),
        kustomizations: list("kustomizations"),
        helm_releases: list("helmReleases"),
        plans: &[],
        freezes: Vec::new(),
        exemptions: &[],
        blueprint: Some(BlueprintFact { name: "orders".into(), mode: "autonomous".into(), criticality: "high".into() }),
        approvals: Vec::new(),
    };
    Facts::assemble(&sources).unwrap()
}

/// Everything that the gate would ask about one action: its plan and its write.
fn asked(shop: &Value, name: &str, action: &Action, material: Option<&Value>) -> [Case; 2] {
    let (subresource, old, new) = write(shop, action, material);
    let params = facts(shop, action, &old, &new).params().unwrap();
    let deployments = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    let (kind, resource, object, operation) = match subresource {
        "scale" => (json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}), deployments, "orders", "UPDATE"),
        "eviction" => {
            let pods = json!({"group": "", "version": "v1", "resource": "pods"});
            (json!({"group": "policy", "version": "v1", "kind": "Eviction"}), pods, "orders-8-x2x4p", "CREATE")
        }
        _ => (json!({"group": "apps", "version": "v1", "kind": "Deployment"}), deployments, "orders", "UPDATE"),
    };
    let write = json!({"kind": kind, "requestKind": kind, "resource": resource, "requestResource": resource, "subResource": subresource, "name": object,
        "namespace": "shop", "operation": operation, "userInfo": {"username": "assent:executor"}, "options": {}});
    let kind = json!({"group": "assent.dev", "version": "v1alpha1", "kind": "Remediation"});
    let resource = json!({"group": "assent.dev", "version": "v1alpha1", "resource": "remediations"});
    let plan = json!({"kind": kind, "requestKind": kind, "resource": resource, "requestResource": resource, "name": "rem-1", "namespace": "assent-system",
        "operation": "CREATE", "userInfo": {"username": "system:serviceaccount:assent-system:assent-executor"}, "options": {}});
    let remediation =
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Remediation", "metadata": {"name": "rem-1", "namespace": "assent-system"}, "spec": {}});
    let case = |what: &str, request, object, old_object, namespace_object| Case {
        name: format!("{name}, {what}"),
        expect: Verdict::Allow,
        message: None,
        request,
        object,
        old_object,
        params: params.clone(),
        namespace_object,
    };
    let system = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "assent-system"}});
    [case("its write", write, new, old, shop["namespace"].clone()), case("its plan", plan, remediation, Value::Null, system)]
}

#[test]
fn what_is_assembled_of_a_healthy_deployment_lets_every_action_through() {
    let library = Library::read();
    let shop: Value = yaml(&root().join("src/facts/assemble/shop.yaml"));
    let good = template(&shop["replicaSets"][1]);
    let rollback = Action::RollbackWorkload(Rollback {
        revision: 7,
        template: Digest::of(&good).unwrap(),
        images: Vec::new(),
        configurations: Vec::new(),
        healthy_at: NOW,
    });
    let evict = Evict { pod: "orders-8-x2x4p".into(), uid: "6b0c4c6e-0000-4000-8000-000000000009".into() };
    let mut reading = shop.clone();
    reading["deployment"]["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "orders-settings"}}]);
    let changed = Configuration { name: "orders-settings".into(), digest: Digest::of_bytes(b"v2") };
    let revert = RevertConfig { changed, healthy: Digest::of_bytes(b"v1"), healthy_at: NOW };
    let actions = [
        asked(&reading, "reverted configuration", &Action::RevertConfig(revert), None),
        asked(&shop, "rollback", &rollback, Some(&good)),
        asked(&shop, "scale", &Action::ScaleWorkload(Scale { replicas: 6 }), None),
        asked(&shop, "eviction", &Action::EvictPod(evict), Some(&shop["pod"])),
        asked(&shop, "restart", &Action::RestartWorkload(Restart { marker: format!("{INCIDENT}.1") }), None),
    ];
    let mut wrong = Vec::new();
    for case in actions.iter().flatten() {
        let mut judged = 0;
        for policy in &library.policies {
            let subject = Subject::new(&policy.name, &policy.spec, &[(policy.name.clone(), policy.binding["spec"].clone())]).unwrap();
            let said = subject.judge(case).unwrap();
            match said.verdict {
                Verdict::Allow => judged += 1,
                Verdict::Skip => {}
                _ => wrong.push(format!("{} of {}: {:?} {}", policy.name, case.name, said.verdict, said.words.join("; "))),
            }
        }
        assert!(judged >= 10, "{} is judged by {judged} guardrails only", case.name);
    }
    assert_eq!(library.policies.len(), 40);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
