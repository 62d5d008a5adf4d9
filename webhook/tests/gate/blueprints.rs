//! Blueprints at the gate: everything that is wrong is told in one answer, what may surprise is a warning, and Assent writes
//! none of them.

use serde_json::{Value, json};

use super::Gate;

/// A write of an object of ours by somebody, as the API server asks about it.
fn review(kind: &str, operation: &str, user: &str, spec: &Value) -> String {
    let written = json!([{"manager": "kubectl", "operation": "Update", "time": "2026-01-02T03:04:05Z"}]);
    let namespace = if kind == "Blueprint" { "shop" } else { "" };
    let object = json!({"apiVersion": "assent.dev/v1alpha1", "kind": kind, "metadata": {"name": "b", "managedFields": written}, "spec": spec});
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u",
            "kind": {"group": "assent.dev", "version": "v1alpha1", "kind": kind},
            "resource": {"group": "assent.dev", "version": "v1alpha1", "resource": format!("{}s", kind.to_lowercase())},
            "name": "b", "namespace": namespace, "operation": operation,
            "userInfo": {"username": user, "groups": ["system:authenticated"]},
            "object": (operation != "DELETE").then_some(&object),
            "oldObject": (operation != "CREATE").then_some(&object), "dryRun": false, "options": null,
        },
    })
    .to_string()
}

fn good() -> Value {
    json!({"target": {"kind": "Deployment", "name": "orders"}, "limits": {"minReplicas": 1, "maxReplicas": 4}, "operations": {"allowed": ["ScaleWorkload"]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_is_told_in_one_answer() {
    let gate = Gate::start().await;
    let mut client = gate.connect().await;
    let mut wrong = good();
    wrong["mode"] = json!("automatic");
    wrong["limits"]["minReplicas"] = json!(9);
    wrong["operations"]["allowed"] = json!(["ScaleWorkloads"]);
    for kind in ["Blueprint", "ClusterBlueprint"] {
        let mut spec = wrong.clone();
        if kind == "ClusterBlueprint" {
            spec.as_object_mut().unwrap().remove("target");
        }
        let (_, answer) = client.post(review(kind, "CREATE", "ann", &spec)).await.unwrap();
        let message = answer["response"]["status"]["message"].as_str().unwrap_or_default();
        assert_eq!(answer["response"]["allowed"], json!(false), "{answer}");
        for part in [
            "assent[blueprint]: 3 problems",
            "spec.mode (\"automatic\"): must be one of observe, approve, autonomous",
            "spec.limits.minReplicas (9): minReplicas 9 is more than maxReplicas 4; limits that leave a number of replicas",
            "spec.operations.allowed[0] (\"ScaleWorkloads\"): is nothing that Assent can do; did you mean `ScaleWorkload`?",
        ] {
            assert!(message.contains(part), "`{part}` is missing in {message}");
        }
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_right_passes_and_what_may_surprise_is_a_warning() {
    let gate = Gate::start().await;
    let mut client = gate.connect().await;
    let (_, answer) = client.post(review("Blueprint", "CREATE", "ann", &good())).await.unwrap();
    assert_eq!((&answer["response"]["allowed"], &answer["response"]["warnings"]), (&json!(true), &Value::Null), "{answer}");
    let (_, answer) = client.post(review("Blueprint", "UPDATE", "system:serviceaccount:argocd:argocd-application-controller", &good())).await.unwrap();
    assert_eq!(answer["response"]["allowed"], json!(true), "who applies it from git may: {answer}");
    // As the first version of this kind was written.
    let first = json!({"target": {"kind": "Deployment", "name": "orders"}, "mode": "autonomous", "actions": [{"name": "RestartWorkload"}]});
    let (_, answer) = client.post(review("Blueprint", "CREATE", "ann", &first)).await.unwrap();
    assert_eq!(answer["response"]["allowed"], json!(true), "{answer}");
    let mut endless = good();
    endless["limits"] = json!({});
    let (_, answer) = client.post(review("Blueprint", "CREATE", "ann", &endless)).await.unwrap();
    let warning = answer["response"]["warnings"][0].as_str().unwrap_or_default();
    assert!(answer["response"]["allowed"] == json!(true) && warning.contains("every scale is restricted"), "{answer}");
    let above = json!({"operations": {"forbidden": ["EvictPod"]}});
    for operation in ["CREATE", "UPDATE", "DELETE"] {
        let (_, answer) = client.post(review("ClusterBlueprint", operation, "ann", &above)).await.unwrap();
        assert_eq!(answer["response"]["allowed"], json!(true), "nobody votes: {answer}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn assent_gives_itself_no_authority() {
    let gate = Gate::start().await;
    let mut client = gate.connect().await;
    for user in ["assent:executor", "system:serviceaccount:assent-system:assent-director", "system:serviceaccount:assent-system:assent-executor"] {
        for (kind, spec) in [("Blueprint", good()), ("ClusterBlueprint", json!({}))] {
            for operation in ["CREATE", "UPDATE", "DELETE"] {
                let (_, answer) = client.post(review(kind, operation, user, &spec)).await.unwrap();
                assert_eq!(answer["response"]["allowed"], json!(false), "{user} {operation} {kind}: {answer}");
            }
        }
    }
    // Who empties `managedFields` hides when the object was changed.
    let timeless = review("Blueprint", "UPDATE", "ann", &good()).replace("\"time\"", "\"x\"");
    let (_, answer) = client.post(timeless).await.unwrap();
    assert_eq!(answer["response"]["allowed"], json!(false), "{answer}");
    gate.stop().await;
}
