//! Whatever anybody proposes is classified, put on record and answered; of what is forbidden, whoever watches over security hears once,
//! whoever was away or died meanwhile.

use std::net::SocketAddr;

use assent_api::resources::{OperationProposal, OperationProposalStatus};
use assent_core::ids::IncidentUid;
use assent_tests::addresses;
use assent_tests::alertmanager::Alertmanager;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::bench::{Bench, Running, within};

/// What is proposed, the tier that it has, and whether security hears of it. Two Blueprints speak of `twice`.
const TABLE: [(&str, &str, Option<u32>, &str, bool); 10] = [
    ("ScaleWorkload", "mail", Some(4), "allowed", false),
    ("scale_within_limits", "mail", Some(9), "restricted", false),
    ("RestartWorkload", "mail", None, "forbidden", true),
    ("delete_deployment", "mail", None, "forbidden", true),
    ("Delete-Deployment", "nobody-knows-it", None, "forbidden", true),
    ("change_rbac", "mail", None, "forbidden", true),
    ("make_coffee", "mail", None, "restricted", false),
    ("ScaleWorkload", "nobody-knows-it", Some(2), "forbidden", false),
    ("ScaleWorkload", "twice", Some(2), "forbidden", false),
    ("delete_volume", "twice", None, "forbidden", true),
];

async fn propose(bench: &Bench, operation: &str, service: &str, replicas: Option<u32>) -> OperationProposal {
    let api: Api<OperationProposal> = Api::namespaced(bench.admin.clone(), "shop");
    let proposal = json!({
        "apiVersion": "assent.dev/v1alpha1", "kind": "OperationProposal", "metadata": {"generateName": "prop-"},
        "spec": {"operation": operation, "service": service, "replicas": replicas, "reason": "it seemed good", "user": "a-bot"},
    });
    api.create(&PostParams::default(), &serde_json::from_value(proposal).unwrap()).await.unwrap()
}

async fn answered(bench: &Bench, proposal: &OperationProposal) -> OperationProposalStatus {
    let api: Api<OperationProposal> = Api::namespaced(bench.admin.clone(), "shop");
    let is = |seen: Option<&OperationProposal>| seen.is_some_and(|seen| seen.status.is_some());
    let seen = within(await_condition(api, &proposal.name_any(), is)).await.unwrap().unwrap();
    seen.status.unwrap()
}

async fn directed(bench: &Bench, alertmanager: SocketAddr) -> Running {
    let mut args = bench.args(&[]);
    args.security.security_alertmanager_url = Some(format!("http://{alertmanager}"));
    let (running, ready) = bench.contend(args).await;
    within(ready).await.unwrap();
    running
}

/// How often the ledger says that security was told of it.
async fn told(director: &Running, incident: &str) -> Vec<String> {
    let incident = IncidentUid::try_from(incident.to_owned()).unwrap();
    director.ledger(Some(&incident)).await.0.into_iter().map(|entry| entry.kind).collect()
}

#[tokio::test]
async fn what_is_proposed_is_answered_and_what_is_forbidden_is_told_once() {
    let bench = Bench::start("proposes").await;
    for (name, service) in [("mail", "mail"), ("one", "twice"), ("other", "twice")] {
        let operations = json!({"allowed": ["ScaleWorkload"], "forbidden": ["RestartWorkload"], "approvers": ["group:oncall"]});
        let spec = json!({
            "target": {"kind": "Deployment", "name": service}, "mode": "autonomous", "limits": {"minReplicas": 1, "maxReplicas": 5}, "operations": operations,
        });
        let metadata = json!({"name": name, "namespace": "shop"});
        bench.create(json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": metadata, "spec": spec})).await;
    }
    let address = addresses::free();
    // Nobody is there to be told yet.
    let director = directed(&bench, address).await;
    let mut forbidden = Vec::new();
    for (operation, service, replicas, tier, alert) in TABLE {
        let status = answered(&bench, &propose(&bench, operation, service, replicas).await).await;
        assert_eq!((status.tier.as_str(), status.alert), (tier, alert), "{operation} on {service}: {status:?}");
        assert_eq!(status.executable, tier != "forbidden" && operation != "make_coffee", "{operation}");
        assert_eq!(status.approvals.is_empty(), tier != "restricted", "{operation}: {status:?}");
        assert!(tier == "allowed" || !status.alternatives.is_empty() || status.executable, "{operation}: {status:?}");
        assert_eq!(told(&director, &status.incident).await.first().map(String::as_str), Some("proposed"));
        if alert {
            forbidden.push(status.incident);
        }
    }
    let kinds = told(&director, &forbidden[0]).await;
    assert_eq!(kinds, ["proposed", "security-alert"], "it is on record that somebody must be told");

    // Whoever is to be told comes back while the director is away, and the director comes back.
    director.crash();
    let Some(alertmanager) = Alertmanager::start(address).await else { return };
    let director = directed(&bench, address).await;
    let mut alerts = alertmanager.alerts(forbidden.len()).await;
    alerts.retain(|alert| alert["labels"]["alertname"] == "AssentForbiddenOperation" && alert["labels"]["team"] == "security");
    let mut incidents: Vec<&str> = alerts.iter().filter_map(|alert| alert["labels"]["incident"].as_str()).collect();
    incidents.sort_unstable();
    let mut wanted: Vec<&str> = forbidden.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(incidents, wanted);
    let deletion: Vec<&Value> = alerts.iter().filter(|alert| alert["labels"]["operation"] == "delete_deployment").collect();
    assert!(deletion.iter().any(|alert| alert["annotations"]["summary"].as_str().unwrap().contains("proposed by `a-bot`")), "{deletion:?}");

    // The one that comes now is told after all before it, and none of those again.
    let last = answered(&bench, &propose(&bench, "delete_namespace", "mail", None).await).await;
    let alerts = alertmanager.alerts(forbidden.len() + 1).await;
    assert!(alerts.iter().any(|alert| alert["labels"]["incident"] == last.incident.as_str()));
    for incident in &forbidden {
        assert_eq!(told(&director, incident).await, ["proposed", "security-alert", "security-told"]);
    }
    director.stop().await;
}
