//! Discovery over mutual TLS with an identity from the real authority: what a pod, a service and an
//! unknown address are, and how answers follow the cluster.

use std::time::Duration;

use assent_identity::discovery::{Args, serve};
use assent_runtime::CancellationToken;
use assent_runtime::admin::AdminArgs;
use assent_runtime::mtls;
use assent_runtime::shutdown::Tasks;
use assent_runtime::workload::Workload;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{Patch, PatchParams};
use linkerd2_proxy_api::destination::destination_client::DestinationClient;
use linkerd2_proxy_api::destination::update::Update as Change;
use linkerd2_proxy_api::destination::{DestinationProfile, GetDestination, Update};
use linkerd2_proxy_api::inbound::inbound_server_policies_client::InboundServerPoliciesClient;
use linkerd2_proxy_api::inbound::{PortSpec, Server};
use serde_json::json;
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use super::fixture::{Fixture, PATIENCE, any, apply, kubeconfig, log};

const NODE: &str = "192.0.2.7";
const ANNOTATION: &str = "assent.dev/inbound-identities";

/// A running discovery service.
struct Serving {
    address: String,
    server: Workload,
    token: CancellationToken,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Serving {
    async fn start(fixture: &Fixture) -> Self {
        let token = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let kube = kubeconfig(&fixture.cluster, &fixture.client, fixture.directory.path().to_owned(), "assent-discovery").await;
        let own = fixture.workload("shop", "bank", "unused").await;
        // Any identity serves here; its own account's pod needs no other test.
        let server = certified(fixture, "bank").await;
        let args =
            Args { listen: any(), cluster_domain: "cluster.local".to_owned(), kube, workload: own, log: log(), admin: AdminArgs { admin_address: any() } };
        let running = tokio::spawn(serve(args, listener, server.clone(), Tasks::new(token.clone())));
        Self { address, server, token, running }
    }

    fn channel(&self, caller: &Workload) -> Channel {
        mtls::channel(caller, &self.address, self.server.own_name()).unwrap()
    }

    async fn stop(self) {
        self.token.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
    }
}

async fn certified(fixture: &Fixture, account: &str) -> Workload {
    let pod = fixture.pod(&format!("{account}-self"), account).await;
    let token = fixture.issue(account, "identity.assent.dev", Some(&pod)).await;
    let (workload, renewal) = Workload::open(&fixture.workload("shop", account, &token).await).await.unwrap();
    drop(tokio::spawn(renewal.run()));
    tokio::time::timeout(PATIENCE, workload.ready()).await.unwrap().unwrap();
    workload
}

fn ask(path: &str) -> GetDestination {
    GetDestination { scheme: "k8s".to_owned(), path: path.to_owned(), context_token: String::new() }
}

async fn next<T>(stream: &mut Streaming<T>) -> T {
    tokio::time::timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap()
}

async fn profile(client: &mut DestinationClient<Channel>, path: &str) -> DestinationProfile {
    next(&mut client.get_profile(ask(path)).await.unwrap().into_inner()).await
}

fn added(update: Update) -> Vec<linkerd2_proxy_api::destination::WeightedAddr> {
    match update.update.unwrap() {
        Change::Add(set) => set.addrs,
        other => panic!("expected additions, not {other:?}"),
    }
}

async fn report(fixture: &Fixture, name: &str, ip: &str, sidecar_ready: bool) {
    let status = json!({"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": NODE, "hostIPs": [{"ip": NODE}],
        "initContainerStatuses": [{"name": "assent-sidecar", "ready": sidecar_ready, "restartCount": 0, "image": "", "imageID": ""}],
    }});
    let pods = Api::<Pod>::namespaced(fixture.client.clone(), "shop");
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

fn slice(ready: &[(&str, &str)]) -> serde_json::Value {
    let endpoints: Vec<_> = ready
        .iter()
        .map(|(ip, pod)| json!({"addresses": [ip], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "namespace": "shop", "name": pod}}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"labels": {"kubernetes.io/service-name": "cart"}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
    })
}

#[tokio::test]
async fn tells_pods_services_and_strangers_apart() {
    let fixture = Fixture::start("discovery").await;
    let caller = certified(&fixture, "cart").await;
    let discovery = Serving::start(&fixture).await;
    let mut client = DestinationClient::new(discovery.channel(&caller));

    // Nobody without a certificate.
    let anonymous = mtls::anonymous_channel(&caller, &discovery.address, discovery.server.own_name()).unwrap();
    DestinationClient::new(anonymous).get_profile(ask("10.1.0.1:80")).await.unwrap_err();

    // A stranger passes through; words are refused.
    assert_eq!(profile(&mut client, "192.0.2.1:80").await, DestinationProfile::default());
    assert_eq!(client.get_profile(ask("nonsense")).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.get(ask("10.1.0.1:80")).await.unwrap_err().code(), Code::InvalidArgument);

    // A pod gets an identity when its sidecar is ready, and the open stream says so.
    fixture.pod("cart-1", "cart").await;
    let mut stream = client.get_profile(ask("10.1.0.1:8080")).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await, DestinationProfile::default());
    report(&fixture, "cart-1", "10.1.0.1", false).await;
    let endpoint = next(&mut stream).await.endpoint.unwrap();
    assert_eq!((endpoint.tls_identity, endpoint.metric_labels["pod"].as_str()), (None, "cart-1"));
    report(&fixture, "cart-1", "10.1.0.1", true).await;
    let endpoint = next(&mut stream).await.endpoint.unwrap();
    let identity = endpoint.tls_identity.unwrap().server_name.unwrap().name;
    assert_eq!(identity, "cart.shop.serviceaccount.identity.assent-system.cluster.local");
    assert_eq!(endpoint.protocol_hint.unwrap().opaque_transport.unwrap().inbound_port, 4143);

    // A service that is not there, then its address, then its endpoints as they come and go.
    let authority = "cart.shop.svc.cluster.local:80";
    let mut endpoints = client.get(ask(authority)).await.unwrap().into_inner();
    let Change::NoEndpoints(none) = next(&mut endpoints).await.update.unwrap() else { panic!("endpoints of nothing") };
    assert!(!none.exists);
    let services = Api::<Service>::namespaced(fixture.client.clone(), "shop");
    let service =
        apply(&services, "cart", json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})).await;
    let slices = Api::<EndpointSlice>::namespaced(fixture.client.clone(), "shop");
    apply(&slices, "cart-x", slice(&[("10.1.0.1", "cart-1")])).await;
    let first = added(next(&mut endpoints).await);
    assert_eq!(first[0].tls_identity.as_ref().unwrap().server_name.as_ref().unwrap().name, identity);
    let ip = service.spec.unwrap().cluster_ip.unwrap();
    let named = profile(&mut client, &format!("{ip}:80")).await;
    assert_eq!(named.fully_qualified_name, "cart.shop.svc.cluster.local");
    assert!(named.endpoint.is_none());

    fixture.pod("cart-2", "cart").await;
    report(&fixture, "cart-2", "10.1.0.2", true).await;
    apply(&slices, "cart-x", slice(&[("10.1.0.2", "cart-2")])).await;
    let second = added(next(&mut endpoints).await);
    assert_eq!(second[0].metric_labels["pod"], "cart-2");
    assert!(matches!(next(&mut endpoints).await.update.unwrap(), Change::Remove(set) if set.addrs.len() == 1));
    // An untouched label on the pod is no news.
    let label = json!({"metadata": {"annotations": {"unrelated": "yes"}}});
    Api::<Pod>::namespaced(fixture.client.clone(), "shop").patch("cart-2", &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(500), endpoints.message()).await;
    assert!(silent.is_err(), "an unrelated change was sent: {silent:?}");
    apply(&slices, "cart-x", slice(&[])).await;
    assert!(matches!(next(&mut endpoints).await.update.unwrap(), Change::NoEndpoints(none) if none.exists));

    drop((endpoints, stream));
    discovery.stop().await;
    fixture.stop().await;
}

fn port(workload: &str, port: u32) -> PortSpec {
    PortSpec { workload: workload.to_owned(), port }
}

/// Names of the authorizations, and the identities that the last of them names.
fn described(server: &Server) -> (Vec<&str>, String) {
    let names = server.authorizations.iter().map(|authz| authz.labels["name"].as_str()).collect();
    (names, server.authorizations.last().map(|authz| format!("{:?}", authz.authentication)).unwrap_or_default())
}

#[tokio::test]
async fn tells_each_pod_and_nobody_else_who_may_connect_and_follows_the_annotations() {
    let fixture = Fixture::start("policies").await;
    let caller = certified(&fixture, "cart").await;
    let discovery = Serving::start(&fixture).await;
    let mut client = InboundServerPoliciesClient::new(discovery.channel(&caller));
    let own = r#"{"ns":"shop","pod":"cart-self"}"#;

    // The pod's address is not known yet: the stream waits for it, and then everybody may.
    let mut stream = client.watch_port(port(own, 8080)).await.unwrap().into_inner();
    assert_eq!(client.get_port(port(own, 8080)).await.unwrap_err().code(), Code::Unavailable);
    report(&fixture, "cart-self", "127.0.0.1", true).await;
    let first = next(&mut stream).await;
    assert_eq!(described(&first).0, ["self", "probe", "all-unauthenticated"]);
    assert_eq!(client.get_port(port(own, 8080)).await.unwrap().into_inner(), first);
    let probes = first.authorizations[1].networks[0].net.unwrap();
    assert_eq!((std::net::IpAddr::try_from(probes.ip.unwrap()).unwrap().to_string(), probes.prefix_len), (NODE.to_owned(), 32));

    // Neither another pod's, nor that of a pod of the same account at another address, nor of another namespace.
    fixture.pod("cart-2", "cart").await;
    report(&fixture, "cart-2", "10.1.0.2", true).await;
    for other in [r#"{"ns":"shop","pod":"bank-self"}"#, r#"{"ns":"assent-system","pod":"cart-self"}"#, r#"{"ns":"shop","pod":"cart-2"}"#] {
        let refused = super::fixture::eventually("the pod", async || {
            let status = client.get_port(port(other, 8080)).await.unwrap_err();
            (status.code() != Code::Unavailable).then_some(status)
        });
        assert_eq!(refused.await.code(), Code::PermissionDenied, "{other}");
        assert_eq!(client.watch_port(port(other, 8080)).await.unwrap_err().code(), Code::PermissionDenied, "{other}");
    }
    for (workload, number) in [("", 80), ("shop/cart-self", 80), (own, 0), (own, 65_536), (&"x".repeat(600), 80)] {
        assert_eq!(client.get_port(port(workload, number)).await.unwrap_err().code(), Code::InvalidArgument, "{workload}:{number}");
    }
    let anonymous = mtls::anonymous_channel(&caller, &discovery.address, discovery.server.own_name()).unwrap();
    InboundServerPoliciesClient::new(anonymous).get_port(port(own, 80)).await.unwrap_err();

    // A namespace's annotation, then the pod's, then neither: each change is told.
    let namespaces = Api::<Namespace>::all(fixture.client.clone());
    let pods = Api::<Pod>::namespaced(fixture.client.clone(), "shop");
    let annotated = |value: Option<&str>| Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION: value}}}));
    let params = PatchParams::default();
    namespaces.patch("shop", &params, &annotated(Some("bank/*,shop/web"))).await.unwrap();
    let server = next(&mut stream).await;
    let (names, identities) = described(&server);
    assert_eq!(names, ["self", "probe", "inbound-identities"]);
    assert!(identities.contains("web.shop.serviceaccount.identity.assent-system.cluster.local"), "{identities}");
    assert!(identities.contains(r#"parts: ["bank", "serviceaccount", "#), "{identities}");
    pods.patch("cart-self", &params, &annotated(Some("bank/teller,*"))).await.unwrap();
    let server = next(&mut stream).await;
    let (_, identities) = described(&server);
    assert!(identities.contains("teller.bank.") && !identities.contains("web.shop."), "{identities}");
    namespaces.patch("shop", &params, &annotated(Some("nonsense"))).await.unwrap();
    assert_eq!(described(&next(&mut stream).await).0, ["self", "probe"], "nobody but the pod and its node");
    namespaces.patch("shop", &params, &annotated(None)).await.unwrap();
    drop(next(&mut stream).await);
    pods.patch("cart-self", &params, &annotated(None)).await.unwrap();
    assert_eq!(next(&mut stream).await, first);

    // A pod that is gone is told no more.
    let now = kube::api::DeleteParams::default().grace_period(0);
    pods.delete("cart-self", &now).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::NotFound);
    discovery.stop().await;
    fixture.stop().await;
}
