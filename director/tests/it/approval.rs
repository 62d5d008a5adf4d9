//! People who take longer than ballots live: what they agreed to is voted on once more, and is the same change.

use assent_api::resources::{ApprovalRequest, ApprovalRequestSpec, Decision, decision_name};
use assent_core::approval::change;
use assent_core::ballot::{Principal, Proposal};
use assent_core::consensus::{Outcome, Verdict};
use assent_core::ids::IncidentUid;
use assent_tests::scripted::Says;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::bench::Bench;

fn proposal(decision: &Decision) -> Proposal {
    let outcome: Outcome = serde_json::from_str(&decision.spec.payload).unwrap();
    let Verdict::Act { proposal, .. } = outcome.verdict else { panic!("{:?}", decision.spec) };
    *proposal
}

#[tokio::test]
async fn people_who_agree_too_late_for_the_ballots_bring_another_vote() {
    let bench = Bench::start("approval").await;
    let says = [
        ("network", Says::Healthy),
        ("compute", Says::Blames(Principal::Kubelet)),
        ("change", Says::Blames(Principal::ApiServer)),
        ("database", Says::Abstains),
    ];
    let seats = bench.seats(&says).await;
    let director = bench.direct(&seats.addresses).await;
    let uid = bench.report(director.addresses[1], "assent-seat-network", &bench.anomaly("network").await).await.unwrap();
    let first: Decision = bench.appears(&decision_name(&uid, 1)).await;

    // The executor asks.
    let incident = IncidentUid::try_from(uid.clone()).unwrap();
    let spec = ApprovalRequestSpec::of(&incident, 1, &proposal(&first), 3600).unwrap();
    let request = ApprovalRequest::named("cluster", spec).unwrap();
    let requests = bench.ours::<ApprovalRequest>();
    requests.create(&PostParams::default(), &request).await.unwrap();
    bench.reaches(&uid, "AwaitingApproval").await;

    // It says that people agreed, and that the votes had expired by then.
    let agreed = Patch::Merge(json!({"status": {"phase": "Approved"}}));
    requests.patch_status(&request.name_any(), &PatchParams::default(), &agreed).await.unwrap();
    let second: Decision = bench.appears(&decision_name(&uid, 2)).await;
    assert_eq!(change(&proposal(&second)).unwrap(), change(&proposal(&first)).unwrap(), "what people agreed to is what is decided again");
    director.stop().await;
}
