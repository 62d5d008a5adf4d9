//! The printed form of a whole Blueprint and of the least one.

use assent_core::blueprint::{Operation, ReplicaChange, Tier, effective, read, read_cluster};
use assent_core::ids::UnixMillis;

use super::*;

const SERVICE: Made<'_> = Made::Service { namespace: "shop", mode: "autonomous" };

const FULL: &str = "\
metadata: {name: frontend, version: 1.0.0, priority: high, criticality: critical}
spec:
  scaling: {min_replicas: 2, max_replicas: 10, target_cpu_utilization: 70%, scale_up_threshold: 80%, scale_down_threshold: 40}
  resources:
    cpu: {min: 100m, max: 1000m, target: 500m}
    memory: {min: 128Mi, max: 2Gi, target: 512Mi}
  performance: {latency_target_p95: 200ms, error_rate_threshold: 1%, mood: good}
governance:
  agent_authority:
    allowed_operations: [scale_within_limits, adjust_resources_within_bounds, restart_pods, clear_cache]
    requires_approval:
      - {operation: scale_beyond_limits, condition: target_replicas > max_replicas, approvers: [devops-team]}
    forbidden_operations: [delete_deployment, modify_namespace, change_rbac]
verification:
  enabled: true
  stabilization_period: 60s
  checks:
    - {name: latency_p95, type: threshold, target: < 200ms, critical: true, rollback_trigger: true}
    - {name: error_rate, type: threshold, target: < 1%, critical: true, rollback_trigger: true, colour: red}
  rollback: {enabled: true, automatic: true, trigger_on_critical_failure: true}
";

fn document(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap()
}

fn went<'a>(moved: &'a [Moved], from: &str) -> Vec<&'a str> {
    moved.iter().filter(|moved| moved.from == from).map(|moved| moved.to.as_str()).collect()
}

#[test]
fn a_whole_one_becomes_a_blueprint_that_the_gate_admits() {
    let (object, moved) = convert(&document(FULL), &SERVICE).unwrap();
    assert_eq!((&object["kind"], &object["metadata"]), (&json!("Blueprint"), &json!({"name": "frontend", "namespace": "shop"})));
    let spec = &object["spec"];
    let blueprint = read(spec).into_result().unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(blueprint.speaks_of("Deployment", "frontend"));
    assert_eq!(spec["scaling"], json!({"targetUtilization": "70%", "scaleUpThreshold": "80%", "scaleDownThreshold": "40%"}));
    assert_eq!(
        spec["limits"]["containers"],
        json!([{"name": "*", "cpu": {"min": "100m", "max": "1000m", "target": "500m"}, "memory": {"min": "128Mi", "max": "2Gi", "target": "512Mi"}}])
    );
    assert_eq!(spec["operations"]["allowed"], json!(["ScaleWorkload", "AdjustResources", "RestartWorkload"]));
    assert_eq!(spec["objectives"], json!({"latency": [{"percentile": 95, "target": "200ms"}], "errorRate": {"target": "1%"}}));
    for (from, to) in [
        ("metadata.version", "spec.version"),
        ("spec.scaling.max_replicas", "spec.limits.maxReplicas"),
        ("spec.resources.cpu.max", "spec.limits.containers[0].cpu.max"),
        ("governance.agent_authority.allowed_operations[2]", "spec.operations.allowed"),
        ("governance.agent_authority.requires_approval[0].condition", "spec.operations.restricted[].condition"),
        ("verification.rollback.trigger_on_critical_failure", "spec.verification.rollback.onCriticalFailure"),
        ("verification.checks[0].rollback_trigger", "spec.verification.checks[].rollbackTrigger"),
        // What has no place is said, and nothing else.
        ("spec.performance.mood", ""),
        ("verification.checks[1].colour", ""),
        ("governance.agent_authority.allowed_operations[3]", ""),
    ] {
        assert_eq!(went(&moved, from), [to], "{from}: {moved:#?}");
    }
    assert_eq!(moved.iter().filter(|moved| moved.to.is_empty()).count(), 3, "{moved:#?}");
}

#[test]
fn it_has_the_tiers_that_it_printed() {
    let (object, _) = convert(&document(FULL), &SERVICE).unwrap();
    let all = effective(&[], &read(&object["spec"]).into_result().unwrap());
    let scale = |to| Operation { replicas: Some(ReplicaChange { from: Some(5), to }), ..Operation::named("scale_within_limits") };
    let tier = |operation: &Operation| all.classify(operation, UnixMillis(0)).tier;
    assert_eq!((tier(&scale(10)), tier(&scale(11))), (Tier::Allowed, Tier::Restricted));
    assert_eq!(tier(&Operation::named("restart_pods")), Tier::Allowed);
    assert_eq!(tier(&Operation::named("clear_cache")), Tier::Restricted);
    assert_eq!(tier(&Operation::named("delete_deployment")), Tier::Forbidden);
}

#[test]
fn the_least_one_and_one_with_everything_below_spec_are_read_too() {
    let least = "{metadata: {name: a}, spec: {scaling: {min_replicas: 2, max_replicas: 5}, governance: {agent_authority: {allowed_operations: [scale_within_limits]}}}}";
    let (object, moved) = convert(&document(least), &SERVICE).unwrap();
    assert!(read(&object["spec"]).problems.is_empty());
    assert_eq!(object["spec"]["operations"], json!({"allowed": ["ScaleWorkload"]}));
    assert!(moved.iter().all(|moved| !moved.to.is_empty()), "{moved:#?}");
}

#[test]
fn rules_of_an_organisation_become_a_cluster_blueprint() {
    let global = "{metadata: {name: organisation}, governance: {agent_authority: {forbidden_operations: [delete_deployment, evict_pods]}}, verification: {enabled: true}, spec: {scaling: {max_replicas: 20, scale_up_threshold: 80%}}}";
    let (object, moved) = convert(&document(global), &Made::Cluster).unwrap();
    assert_eq!((&object["kind"], &object["metadata"]), (&json!("ClusterBlueprint"), &json!({"name": "organisation"})));
    let rules = read_cluster("organisation", &object["spec"]).into_result().unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(rules.rules.operations.forbidden.contains("EvictPod") && rules.rules.limits.max_replicas == Some(20));
    assert_eq!(went(&moved, "spec.scaling.scale_up_threshold"), [""], "a threshold is each service's own");
}

#[test]
fn what_is_none_is_refused_or_told() {
    for bad in ["[]", "just text", "{spec: {}}", "{metadata: {name: ''}}", "{apiVersion: assent.dev/v1alpha1, kind: Blueprint, metadata: {name: a}}"] {
        assert!(convert(&document(bad), &SERVICE).is_err(), "{bad}");
    }
    let odd = "{metadata: {name: a}, governance: {agent_authority: {allowed_operations: all, requires_approval: [7, {operation: change_rbac}]}}, verification: {checks: [x]}}";
    let (object, moved) = convert(&document(odd), &SERVICE).unwrap();
    assert_eq!(went(&moved, "governance.agent_authority.allowed_operations"), [""]);
    assert_eq!(went(&moved, "governance.agent_authority.requires_approval[1]"), [""]);
    assert!(read(&object["spec"]).problems.len() >= 2, "what is no item is still told by the gate's own rules");
}
