//! Cases of the Blueprint: what is read and what is told, the tier of every operation, and that layers only tighten.

mod layers;
mod reading;
mod tiers;

use serde_json::{Value, json};

use super::*;

/// A specification with everything in it.
fn full() -> Value {
    json!({
        "version": "1.2.0",
        "target": {"kind": "Deployment", "name": "orders"},
        "targets": [{"kind": "Deployment", "name": "orders-worker"}],
        "mode": "autonomous",
        "priority": "high",
        "criticality": "critical",
        "limits": {
            "minReplicas": 2, "maxReplicas": 5,
            "containers": [
                {"name": "app", "cpu": {"min": "100m", "max": "1", "target": "500m"}, "memory": {"min": "128Mi", "max": "2Gi", "target": "512Mi"}},
                {"name": "*", "cpu": {"max": "200m"}},
            ],
        },
        "objectives": {
            "latency": [{"percentile": 95, "target": "200ms", "window": "5m"}, {"percentile": 99, "target": "1s"}],
            "errorRate": {"target": "1%"},
            "availability": {"target": "99.95%", "window": "30d"},
            "saturation": {"cpu": "80%", "memory": "90%", "window": "10m"},
        },
        "scaling": {
            "targetUtilization": "70%", "scaleUpThreshold": "80%", "scaleDownThreshold": "40%", "window": "2m",
            "hysteresis": {"up": "1m", "down": "10m"}, "maxStep": 1, "weights": {"cpu": 60, "memory": 40},
        },
        "tuning": {"percentile": 99, "headroom": "20%", "raiseAbove": "90%", "lowerBelow": "40%", "minChange": "5%", "window": "7d"},
        "operations": {
            "allowed": ["ScaleWorkload", "AdjustResources", "restart_pods"],
            "restricted": [
                {"operation": "scale_beyond_limits", "condition": "target_replicas > max_replicas", "approvers": ["devops-team"], "chat": false},
                {"operation": "FailoverDatabase", "approvers": ["group:dba", "user:jane@example.com"], "count": 2},
            ],
            "forbidden": ["delete_deployment", "modify_namespace", "change_rbac", "drop_table"],
            "approvers": ["sre"], "count": 1,
        },
        "safety": {"cooldown": "90s", "operationsPerHour": 6, "breaker": {"failures": 2, "wait": "10m"}, "strikes": 2,
            "canary": {"enabled": true, "replicas": 5, "watch": "20s"}},
        "verification": {
            "enabled": true, "stabilization": "60s",
            "checks": [
                {"name": "latency_p95", "type": "threshold", "target": "< 200ms", "critical": true, "rollbackTrigger": true},
                {"name": "error_rate", "target": "< 1%", "critical": false},
                {"name": "queue", "type": "promql", "query": "sum(queue_length)", "target": "<= 100"},
            ],
            "rollback": {"enabled": true, "automatic": true, "onCriticalFailure": true},
        },
        "windows": [{"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "00:00", "until": "24:00"}],
        "freezes": [{"from": "2026-12-24T00:00:00Z", "until": "2026-12-27T00:00:00Z", "reason": "holidays"}],
        "gitops": {"owner": "ArgoCD", "namespace": "argocd", "name": "shop", "repository": "https://git.example.com/shop.git", "path": "blueprints/orders.yaml"},
    })
}

/// The least that is of use.
fn minimal() -> Value {
    json!({
        "target": {"kind": "Deployment", "name": "orders"}, "mode": "autonomous",
        "limits": {"minReplicas": 2, "maxReplicas": 5},
        "operations": {"allowed": ["ScaleWorkload"]},
    })
}

/// `base` with `change` in place of what stands there; null takes it away.
fn with(mut base: Value, pointer: &str, change: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = base.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = change,
        _ => parent[name] = change,
    }
    base
}

#[track_caller]
fn good(spec: &Value) -> Blueprint {
    read(spec).into_result().unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[track_caller]
fn good_cluster(spec: &Value) -> ClusterBlueprint {
    read_cluster("all", spec).into_result().unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn scale_to(to: u32) -> Operation {
    Operation { replicas: Some(ReplicaChange { from: Some(3), to }), ..Operation::named("ScaleWorkload") }
}
