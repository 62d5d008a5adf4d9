//! The network seat: a sidecar's stream, an anomaly of its own, both rounds, and the word on recovery.

use std::time::Duration;

use assent_api::names::accounts;
use assent_api::proto::network_intake_client::NetworkIntakeClient;
use assent_api::proto::{CauseRequest, Direction, Histogram, HttpFlow, IndicatorRequest, NeighbourState, NetworkObservation, Window};
use assent_api::signed::{ANOMALY_PAYLOAD_TYPE, Signed};
use assent_core::ballot::Opinion;
use assent_core::canonical;
use assent_core::ids::Domain;
use assent_core::incident::{Anomaly, Symptom};
use kube::ResourceExt as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::world::{Running, SHOP, World, now, service, until, vote};

const WINDOW: i64 = 500;

/// A window of the storefront: its own answers as usual, those of orders with `errors` among 20.
fn window(world: &World, sequence: u64, start_ms: i64, errors: u64) -> NetworkObservation {
    let orders = world.authority.workload(SHOP, "orders").own_name().to_string();
    let flow = |direction: Direction, peer: &str, errors: u64| HttpFlow {
        direction: direction.into(),
        peer: peer.into(),
        destination: if direction == Direction::Inbound { ":8080".into() } else { "10.9.9.9:8080".into() },
        route_class: "GET/1".into(),
        requests: 20,
        success: 20 - errors,
        server_error: errors,
        latency_us: Some(Histogram { buckets: vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20], sum: 30_000 }),
        ..HttpFlow::default()
    };
    NetworkObservation {
        window: Some(Window { sequence, start_ms, length_ms: 500, dropped: 0 }),
        http: vec![flow(Direction::Inbound, "", 0), flow(Direction::Outbound, &orders, errors)],
        ..NetworkObservation::default()
    }
}

/// Streams windows as the storefront's sidecar until dropped; the sender sets how many answers of orders are errors.
async fn sidecar(world: &World, seat: &Running) -> watch::Sender<u64> {
    let channel = world.channel(seat, &world.authority.workload(SHOP, "storefront"));
    let (errors, mut told) = watch::channel(0);
    let (sender, receiver) = mpsc::channel(8);
    // The watch may not have told the seat of the pod's address yet.
    until("the stream", || {
        let channel = channel.clone();
        async { NetworkIntakeClient::new(channel).observe(tokio_stream::pending()).await.ok() }
    })
    .await;
    let mut acknowledged = NetworkIntakeClient::new(channel).observe(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let first = (now().div_euclid(WINDOW)) * WINDOW;
    let windows: Vec<NetworkObservation> = (0..2).map(|errors| window(world, 0, 0, errors * 12)).collect();
    drop(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        for sequence in 1_u64.. {
            ticks.tick().await;
            let mut observation = windows[usize::from(*told.borrow_and_update() > 0)].clone();
            let start_ms = first + i64::try_from(sequence - 1).unwrap() * WINDOW;
            observation.window = Some(Window { sequence, start_ms, length_ms: 500, dropped: 0 });
            // Sent twice, as after a reconnect: the repetition must count for nothing.
            for observation in [observation.clone(), observation] {
                if sender.send(observation).await.is_err() {
                    return;
                }
                match acknowledged.message().await {
                    Ok(Some(acknowledgement)) => assert_eq!(acknowledgement.sequence, sequence),
                    _ => return,
                }
            }
        }
    }));
    errors
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_sees_reports_votes_and_sees_the_recovery() {
    let world = World::start("seat-network").await;
    world.deploy("storefront", "1").await;
    world.deploy("orders", "1").await;
    let pod = world.pod("storefront", "1").await;
    world.ready(&pod, "127.0.0.1", "x@sha256:1").await;
    world.pod("orders", "1").await;
    let (director, mut anomalies) = world.director().await;
    let director = director.to_string();
    let seat = world.seat("network", &["--director", &director, "--window-ms", "500", "--learn", "6"]).await;
    let errors = sidecar(&world, &seat).await;

    // An account that does not run at this address speaks for nobody.
    let stranger = world.channel(&seat, &world.authority.workload(SHOP, "orders"));
    let refused = NetworkIntakeClient::new(stranger).observe(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let word_on = |name: &'static str, since_ms: i64| {
        let mut client = world.ask(&seat, accounts::EXECUTOR);
        async move { client.indicator(IndicatorRequest { namespace: SHOP.into(), name: name.into(), since_ms, pods: Vec::new() }).await.unwrap().into_inner() }
    };
    let word = |since_ms: i64| word_on("orders", since_ms);
    let begin = now();
    until("enough windows", || async { (word(begin).await.requests >= 20 * 10).then_some(()) }).await;
    let before = word(begin).await;
    assert!(before.live && before.healthy && before.errors == 0, "{before:?}");

    // The storefront's own sidecar speaks for its one pod, and nobody for any other.
    let word_of = |pods: Vec<String>| {
        let mut client = world.ask(&seat, accounts::EXECUTOR);
        async move { client.indicator(IndicatorRequest { namespace: SHOP.into(), name: "storefront".into(), since_ms: begin, pods }).await }
    };
    let uid = pod.uid().unwrap();
    let one = word_of(vec![uid.clone()]).await.unwrap().into_inner();
    assert!(one.live && one.healthy && one.requests >= 20 && one.summary.starts_with(&format!("pod {} ", pod.name_any())), "{one:?}");
    assert!(!word_of(vec![uid.clone(), "another".into()]).await.unwrap().into_inner().live);
    for pods in [vec![uid.clone(); 17], vec!["u".repeat(65)]] {
        assert_eq!(word_of(pods).await.unwrap_err().code(), Code::InvalidArgument);
    }
    assert!(word_of(vec![uid; 16]).await.is_ok());

    let onset = now();
    errors.send_replace(12);
    let report = tokio::time::timeout(Duration::from_secs(60), anomalies.recv()).await.unwrap().unwrap();
    let signed: Signed = serde_json::from_slice(&report.envelope).unwrap();
    let identity = assent_api::names::own_identity("assent-seat-network");
    signed.verify(ANOMALY_PAYLOAD_TYPE, &world.roster.trust_roots, &identity, now()).unwrap();
    let anomaly: Anomaly = serde_json::from_str(&signed.payload).unwrap();
    assert_eq!((anomaly.service.clone(), anomaly.symptom, anomaly.cluster.as_str()), (service("orders"), Symptom::Errors, world.uid.as_str()));
    assert!((onset - 1_000..onset + 5_000).contains(&anomaly.since.0), "{} {onset}", anomaly.since.0);

    let context = world.context("orders", anomaly.since.0, &["storefront", "orders"]).await;
    let (cause, envelope) = world.cause(&seat, &context, 1).await;
    let first = &vote(&cause).hypotheses[0];
    assert_eq!((first.service.clone(), first.domain, first.fault.as_str()), (service("orders"), Domain::Application, "errors"));
    assert!(vote(&cause).edges.iter().any(|edge| edge.caller == service("storefront") && edge.callee == service("orders")));
    // The same question has the same answer.
    assert_eq!(world.cause(&seat, &context, 1).await.0.digest, cause.digest);
    let mut other = context.clone();
    other.gathered_at = other.gathered_at.plus(1);
    let request = |context: &assent_core::incident::Context| CauseRequest {
        context: canonical::text(context).unwrap().into_bytes(),
        epoch: 1,
        deadline_ms: now() + 5_000,
    };
    let conflicting = world.ask(&seat, accounts::DIRECTOR).cast_cause(request(&other)).await.unwrap_err();
    assert_eq!(conflicting.code(), Code::FailedPrecondition);

    // Strangers, other clusters and other spellings are refused.
    for account in [accounts::EXECUTOR, "assent-seat-compute"] {
        assert_eq!(world.ask(&seat, account).cast_cause(request(&context)).await.unwrap_err().code(), Code::PermissionDenied);
    }
    other.cluster = "elsewhere".into();
    assert_eq!(world.ask(&seat, accounts::DIRECTOR).cast_cause(request(&other)).await.unwrap_err().code(), Code::InvalidArgument);
    let spaced = CauseRequest { context: format!(" {}", canonical::text(&context).unwrap()).into_bytes(), ..request(&context) };
    assert_eq!(world.ask(&seat, accounts::DIRECTOR).cast_cause(spaced).await.unwrap_err().code(), Code::InvalidArgument);

    // The second round counts only what it verified itself.
    let mut forged = envelope.clone();
    forged.payload = forged.payload.replace("errors", "terror");
    let remedy = world.remedy(&seat, &context, 1, &[envelope, forged]).await;
    let Opinion::Remedy(stances) = &remedy.ballot.opinion else { panic!("{remedy:?}") };
    assert_eq!(stances.causes, [cause.digest]);

    // Had the storefront been written at the onset, whom it calls would be ill since; only their callers say so.
    let told = until("a neighbour that is ill", || async {
        let told = word_on("storefront", onset).await.neighbours;
        told.iter().any(|near| near.callers() == NeighbourState::Broken).then_some(told)
    });
    let told = told.await;
    let said: Vec<_> = told.iter().map(|near| (near.namespace.as_str(), near.name.as_str(), near.calls, near.own())).collect();
    assert_eq!(said, [(SHOP, "orders", false, NeighbourState::Unspecified)], "{told:?}");
    // Written now, that was so before, however long it goes on.
    let written = now();
    until("windows after it", || async { (word(written).await.requests >= 20 * 10).then_some(()) }).await;
    assert_eq!(word_on("storefront", written).await.neighbours, []);

    errors.send_replace(0);
    let repaired = now();
    until("the recovery", || async { word(repaired).await.healthy.then_some(()) }).await;
    let again = word(repaired).await;
    assert!(again.live && again.requests > 0, "{again:?}");
}
