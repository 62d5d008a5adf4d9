//! Attacks on the vote: too few, forged, replayed, double, withheld.

use assent_api::names::accounts;
use assent_api::resources::Ballot as StoredBallot;
use assent_api::signed::Signed;
use assent_core::action::{Action, Scale};
use assent_core::ballot::{Ballot, Opinion, Principal, Proposal, Round, StanceVerdict};
use assent_core::canonical::Digest;
use assent_core::ids::IncidentUid;
use assent_runtime::workload::testing::Authority;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};

use super::{refused, refused_natively};
use assent_tests::seats;
use assent_tests::world::{World, sign};

async fn scene(world: &World) -> (IncidentUid, Proposal) {
    let deployment = world.deployment("web", "registry.invalid/x:1").await;
    world.blueprint("web").await;
    (seats::incident(), seats::scale(&deployment, 3))
}

async fn submit(world: &World, incident: &IncidentUid, proposal: &Proposal) -> Result<assent_api::resources::Remediation, kube::Error> {
    let plan = world.plan(incident, proposal).await;
    world.submit(&plan).await
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_votes_admit_nothing() {
    let world = World::start("votes").await;
    let (incident, proposal) = scene(&world).await;
    refused(submit(&world, &incident, &proposal).await, "quorum");
    // Two seats agree: one short of the quorum.
    world.quorum_of(&incident, &proposal, &["network", "change"]).await;
    refused(submit(&world, &incident, &proposal).await, "quorum");
    // A third that abstains is no third.
    world.vote(&incident, 1, "compute", seats::abstain(Round::Cause)).await;
    world.vote(&incident, 1, "compute", seats::abstain(Round::Remedy)).await;
    refused(submit(&world, &incident, &proposal).await, "quorum");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_seat_cannot_speak_for_two() {
    let world = World::start("votes").await;
    let (incident, proposal) = scene(&world).await;
    let vote = world.ballot(&incident, 1, "network", seats::cause("network", &proposal));
    // Created by another account: the native policy, without any process of ours.
    let signed = world.sign(vote.clone());
    refused_natively(world.store(&accounts::seat("compute"), &vote, signed).await, "is not the account of the seat");
    // Created by the right account, signed by the key of another seat.
    let forged = sign(&world.authority, &accounts::seat("compute"), vote.clone());
    refused(world.store(&accounts::seat("network"), &vote, forged).await, "ballot-identity");
    // Signed under another root.
    let stranger = sign(&Authority::new(), &accounts::seat("network"), vote.clone());
    refused(world.store(&accounts::seat("network"), &vote, stranger).await, "ballot-identity");
    // A payload changed after it was signed.
    let mut changed = world.sign(vote.clone());
    changed.payload = changed.payload.replace("800000", "900000");
    refused(world.store(&accounts::seat("network"), &vote, changed).await, "ballot-identity");
    // Typed fields that say something else than the payload.
    let mut other = vote.clone();
    other.epoch = 2;
    refused(world.store(&accounts::seat("network"), &other, world.sign(vote)).await, "payload");
}

#[tokio::test(flavor = "multi_thread")]
async fn ballots_of_another_cluster_incident_or_roster_do_not_count() {
    let world = World::start("votes").await;
    let (incident, proposal) = scene(&world).await;
    let network = accounts::seat("network");
    let store = async |change: &dyn Fn(&mut Ballot)| {
        let mut vote = world.ballot(&incident, 1, "network", seats::cause("network", &proposal));
        change(&mut vote);
        let signed = world.sign(vote.clone());
        world.store(&network, &vote, signed).await
    };
    refused(store(&|vote| vote.cluster = "another".into()).await, "cluster");
    refused(store(&|vote| vote.roster = Digest::of_bytes(b"another")).await, "authority");
    refused(store(&|vote| vote.expires_after_ms = 3_600_000).await, "payload");
    refused(store(&|vote| vote.epoch = assent_core::consensus::MAX_EPOCHS + 1).await, "payload");
    refused(store(&|vote| vote.issued_at = vote.issued_at.plus(60_000)).await, "clock");
    // All ballots of one incident carry nothing in another.
    world.quorum(&incident, &proposal).await;
    let other = seats::incident();
    let mut plan = world.plan(&incident, &proposal).await;
    plan.incident = other;
    refused(world.submit(&plan).await, "quorum");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_vote_carries_no_plan() {
    let world = World::start("votes").await;
    let (incident, proposal) = scene(&world).await;
    let mut causes = Vec::new();
    for (seat, _) in seats::SEATS {
        let mut vote = world.ballot(&incident, 1, seat, seats::cause(seat, &proposal));
        vote.expires_after_ms = 1;
        let signed = world.sign(vote.clone());
        causes.push(Digest::of_bytes(signed.payload.as_bytes()));
        world.store(&accounts::seat(seat), &vote, signed).await.unwrap();
    }
    for (seat, _) in seats::SEATS {
        world.vote(&incident, 1, seat, seats::remedy(seat, &proposal, causes.clone())).await;
    }
    // Server times are whole seconds: wait until the vote is two of them old by the server's own clock.
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    refused(submit(&world, &incident, &proposal).await, "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_votes_once_and_ballots_never_change() {
    let world = World::start("votes").await;
    let (incident, proposal) = scene(&world).await;
    world.vote(&incident, 1, "network", seats::cause("network", &proposal)).await;
    // A second, different ballot would need the same name.
    let second = world.ballot(&incident, 1, "network", seats::abstain(Round::Cause));
    let signed = world.sign(second.clone());
    refused_natively(world.store(&accounts::seat("network"), &second, signed).await, "already exists");
    let name = second.name();
    for client in [world.account(&accounts::seat("network")).await, world.admin.clone()] {
        let api: Api<StoredBallot> = Api::namespaced(client, "assent-system");
        let patch = serde_json::json!({"metadata": {"labels": {"assent.dev/incident-uid": null}}});
        assert!(api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.is_err());
        assert!(api.delete(&name, &DeleteParams::default()).await.is_err());
    }
    // A person may try; the gate answers.
    let api: Api<StoredBallot> = Api::namespaced(world.admin.clone(), "assent-system");
    refused(api.delete(&name, &DeleteParams::default()).await, "immutable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_veto_cannot_be_withheld_and_a_later_epoch_cannot_be_ignored() {
    let world = World::start("votes").await;
    let (incident, proposal) = scene(&world).await;
    let mut causes = Vec::new();
    for (seat, _) in seats::SEATS {
        causes.push(world.vote(&incident, 1, seat, seats::cause(seat, &proposal)).await);
    }
    for seat in ["network", "compute", "change"] {
        world.vote(&incident, 1, seat, seats::remedy(seat, &proposal, causes.clone())).await;
    }
    // Three seats are a quorum. A director that leaves out the fourth is found by the live list.
    let without = world.plan(&incident, &proposal).await;
    world.vote(&incident, 1, "database", seats::stance("database", &proposal, causes, StanceVerdict::Veto)).await;
    refused(world.submit(&without).await, "veto");

    let other = seats::incident();
    world.quorum(&other, &proposal).await;
    let plan = world.plan(&other, &proposal).await;
    world.vote(&other, 2, "compute", seats::abstain(Round::Cause)).await;
    refused(world.submit(&plan).await, "epoch");
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_alone_are_one_principal() {
    let world = World::start("votes").await;
    let (incident, proposal) = scene(&world).await;
    let sidecar_only = |mut opinion: Opinion| {
        let evidence = vec![seats::evidence(Principal::Sidecar)];
        match &mut opinion {
            Opinion::Cause(vote) => vote.hypotheses.iter_mut().for_each(|h| h.evidence.clone_from(&evidence)),
            Opinion::Remedy(vote) => vote.stances.iter_mut().for_each(|s| s.evidence.clone_from(&evidence)),
            Opinion::Abstain { .. } => {}
        }
        opinion
    };
    let mut causes = Vec::new();
    for (seat, _) in seats::SEATS {
        causes.push(world.vote(&incident, 1, seat, sidecar_only(seats::cause(seat, &proposal))).await);
    }
    for (seat, _) in seats::SEATS {
        world.vote(&incident, 1, seat, sidecar_only(seats::remedy(seat, &proposal, causes.clone()))).await;
    }
    refused(submit(&world, &incident, &proposal).await, "principals");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ballots_bind_action_target_and_parameters() {
    let world = World::start("votes").await;
    let (incident, proposal) = scene(&world).await;
    let bystander = world.deployment("other", "registry.invalid/y:1").await;
    world.blueprint("other").await;
    world.quorum(&incident, &proposal).await;
    let honest = world.plan(&incident, &proposal).await;
    let mut more = honest.clone();
    more.proposal.action = Action::ScaleWorkload(Scale { replicas: 5 });
    refused(world.submit(&more).await, "tally");
    let mut elsewhere = honest.clone();
    elsewhere.proposal.target = assent_core::target::Target::of(&bystander).unwrap();
    elsewhere.blueprint = world.plan(&incident, &elsewhere.proposal).await.blueprint;
    refused(world.submit(&elsewhere).await, "tally");
    world.submit(&honest).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_or_garbled_ballot_is_refused() {
    let world = World::start("votes").await;
    let (incident, proposal) = scene(&world).await;
    let vote = world.ballot(&incident, 1, "network", seats::cause("network", &proposal));
    let good = world.sign(vote.clone());
    let api: Api<StoredBallot> = Api::namespaced(world.account(&accounts::seat("network")).await, "assent-system");
    for payload in ["", "{}", "[[[[", &"9".repeat(200_000)] {
        let signed = Signed { payload: payload.to_owned(), ..good.clone() };
        refused(api.create(&PostParams::default(), &StoredBallot::of(&vote, String::new(), signed)).await, "payload");
    }
    let huge = Signed { payload: "x".repeat(300_000), ..good };
    refused_natively(api.create(&PostParams::default(), &StoredBallot::of(&vote, String::new(), huge)).await, "Too long");
}
