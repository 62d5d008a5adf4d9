//! The compute seat against a kubelet made for the test: verified by its CA, asked with the seat's token, read in full.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use assent_api::names::accounts;
use assent_api::proto::IndicatorRequest;
use assent_core::action::Action;
use assent_core::ballot::{Opinion, Principal};
use assent_core::ids::Domain;
use k8s_openapi::api::core::v1::{Binding, Node};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::world::{SHOP, World, now, service, until, vote};

const TOKEN: &str = "the-token-of-the-seat";

/// A kubelet that reports one pod; it uses `milli` thousandths of a processor, as the clock goes.
struct Kubelet {
    milli: AtomicU64,
    /// Of the 10 periods in a second, so many are throttled.
    throttled: AtomicU64,
    state: std::sync::Mutex<(i64, u64, u64, u64)>,
    pod: (String, String),
    refused: AtomicU64,
}

impl Kubelet {
    fn advance(&self) -> (i64, u64, u64, u64) {
        let mut state = self.state.lock().unwrap();
        let (at, cpu_ns, periods, throttled) = *state;
        let elapsed = u64::try_from(now() - at).unwrap();
        let milli = self.milli.load(Ordering::Relaxed);
        let share = self.throttled.load(Ordering::Relaxed);
        *state = (now(), cpu_ns + milli * elapsed * 1_000, periods + elapsed, throttled + elapsed * share / 10);
        *state
    }

    fn answer(&self, request: &str) -> (u16, String) {
        if !request.contains(&format!("Bearer {TOKEN}")) && !request.contains(&format!("bearer {TOKEN}")) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return (401, String::new());
        }
        let (at, cpu_ns, periods, throttled) = self.advance();
        let (uid, name) = &self.pod;
        if request.starts_with("GET /stats/summary?only_cpu_and_memory=true ") {
            let time = jiff::Timestamp::from_millisecond(at).unwrap().to_string();
            let cpu = json!({"time": time, "usageNanoCores": 0, "usageCoreNanoSeconds": cpu_ns});
            let container = json!({"name": "c", "cpu": cpu, "memory": {"time": time, "workingSetBytes": 1000}});
            let stranger = json!({"podRef": {"name": "x", "namespace": "y", "uid": "z"}, "containers": [container]});
            let pod = json!({"podRef": {"name": name, "namespace": SHOP, "uid": uid}, "containers": [container]});
            (200, json!({"node": {"nodeName": "node"}, "pods": [pod, stranger]}).to_string())
        } else if request.starts_with("GET /metrics/cadvisor ") {
            let labels = format!("{{container=\"c\",namespace=\"{SHOP}\",pod=\"{name}\"}}");
            (200, format!("container_cpu_cfs_periods_total{labels} {periods} {at}\ncontainer_cpu_cfs_throttled_periods_total{labels} {throttled} {at}\n"))
        } else {
            (404, String::new())
        }
    }
}

/// Serves `kubelet` on a port of its own; the PEM of what signed its certificate.
async fn serve(kubelet: Arc<Kubelet>) -> (SocketAddr, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = certificate.pem();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, kubelet) = (acceptor.clone(), kubelet.clone());
            drop(tokio::spawn(async move {
                // A client that does not trust us ends here.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => request.push(byte),
                        Err(_) => return,
                    }
                }
                let (status, body) = kubelet.answer(std::str::from_utf8(&request).unwrap());
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }));
        }
    }));
    (address, pem)
}

async fn node(admin: &Client) {
    let api: Api<Node> = Api::all(admin.clone());
    let node = serde_json::from_value(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}})).unwrap();
    api.create(&PostParams::default(), &node).await.unwrap();
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "allocatable": {"cpu": "2"}}});
    api.patch_status("node", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_reads_the_kubelet_and_proposes_to_scale() {
    let world = World::start("seat-compute").await;
    node(&world.admin).await;
    world.deploy("orders", "1").await;
    let pod = world.pod("orders", "1").await;
    let binding: Binding = serde_json::from_value(json!({"metadata": {"name": pod.name_any()}, "target": {"kind": "Node", "name": "node"}})).unwrap();
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(world.admin.clone(), SHOP);
    let _: serde_json::Value = pods.create_subresource("binding", &pod.name_any(), &PostParams::default(), &binding).await.unwrap();
    world.ready(&pod, "127.0.0.1", "x@sha256:1").await;
    let kubelet = Arc::new(Kubelet {
        milli: AtomicU64::new(60),
        throttled: AtomicU64::new(0),
        state: std::sync::Mutex::new((now(), 0, 0, 0)),
        pod: (pod.uid().unwrap(), pod.name_any()),
        refused: AtomicU64::new(0),
    });
    let (address, pem) = serve(kubelet.clone()).await;
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, token, port) = (file("ca.pem", &pem), file("token", TOKEN), address.port().to_string());
    let flags = ["--kubelet-ca-file", &ca, "--kubelet-token-file", &token, "--kubelet-port", &port, "--kubelet-interval-ms", "600"];
    let seat = world.seat("compute", &flags).await;

    let word = |since_ms: i64| {
        let mut client = world.ask(&seat, accounts::EXECUTOR);
        async move {
            client
                .indicator(IndicatorRequest { namespace: SHOP.into(), name: "orders".into(), since_ms, pods: Vec::new() })
                .await
                .ok()
                .map(tonic::Response::into_inner)
        }
    };
    // Samples of a process count from its eighth second on; three of them make a baseline.
    until("a baseline", || async { word(now() - 2_000).await.filter(|word| word.live && !word.summary.contains("not learned")) }).await;
    let onset = now();
    kubelet.milli.store(148, Ordering::Relaxed);
    kubelet.throttled.store(6, Ordering::Relaxed);
    until("saturation", || async { word(onset).await.filter(|word| word.live && !word.healthy) }).await;

    let context = world.context("orders", onset, &["orders"]).await;
    let (cause, _) = world.cause(&seat, &context, 1).await;
    let first = &vote(&cause).hypotheses[0];
    assert_eq!((first.service.clone(), first.domain, first.fault.as_str()), (service("orders"), Domain::Compute, "cpu-saturation"));
    assert_eq!(first.evidence[0].principal, Principal::Kubelet);
    assert!(matches!(&first.remedies[0].action, Action::ScaleWorkload(scale) if scale.replicas == 2));
    assert_eq!(kubelet.refused.load(Ordering::Relaxed), 0);
    let one = IndicatorRequest { namespace: SHOP.into(), name: "orders".into(), since_ms: onset, pods: vec![pod.uid().unwrap()] };
    let refused = world.ask(&seat, accounts::EXECUTOR).indicator(one).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (tonic::Code::Unimplemented, "this seat gives no word on single pods"));

    // A seat that trusts another CA reads nothing, and says so instead of judging.
    let other = file("other.pem", &CertificateParams::new(vec![]).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap().pem());
    let flags = ["--kubelet-ca-file", &other, "--kubelet-token-file", &token, "--kubelet-port", &port, "--kubelet-interval-ms", "600"];
    let blind = world.seat("compute", &flags).await;
    let mut elsewhere = context.clone();
    elsewhere.incident = "01890a5d-ac96-774b-bcce-b302099a8058".to_owned().try_into().unwrap();
    let asking = world.ask(&blind, accounts::DIRECTOR);
    let request =
        assent_api::proto::CauseRequest { context: assent_core::canonical::text(&elsewhere).unwrap().into_bytes(), epoch: 1, deadline_ms: now() + 5_000 };
    let name = until("the blind seat", || {
        let (mut asking, request) = (asking.clone(), request.clone());
        async move { asking.cast_cause(request).await.ok() }
    })
    .await
    .into_inner()
    .ballot;
    let stored = Api::<assent_api::resources::Ballot>::namespaced(world.admin.clone(), "assent-system").get(&name).await.unwrap();
    let ballot = assent_api::cast(&stored, &world.roster).unwrap();
    assert!(matches!(ballot.ballot.opinion, Opinion::Abstain { .. }), "{ballot:?}");
}
