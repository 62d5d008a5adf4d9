//! Policies without a controller: what it would have said is said by the tests.

use std::future::poll_fn;

use linkerd2_proxy_api::inbound::authn::permit_mesh_tls::{Clients, PermitClientIdentities};
use linkerd2_proxy_api::inbound::authn::{Permit, PermitMeshTls};
use linkerd2_proxy_api::inbound::{Authn, Authz, Identity, Network};

use super::*;

const OWN: u16 = 4143;

fn policies() -> Arc<Policies> {
    // Port 9 of the discard prefix: the channel never connects.
    let channel = tonic::transport::Endpoint::from_static("http://[100::1]:9").connect_lazy();
    Policies::new(channel, String::new(), OWN, Handle::current())
}

fn name(account: &str) -> String {
    format!("{account}.shop.serviceaccount.identity.assent-system.cluster.local")
}

/// A policy that admits these accounts.
fn only(accounts: &[&str]) -> Server {
    let identities = accounts.iter().map(|account| Identity { name: name(account) }).collect();
    let clients = Clients::Identities(PermitClientIdentities { identities, suffixes: Vec::new() });
    let permit = Permit::MeshTls(PermitMeshTls { clients: Some(clients) });
    let networks = vec![Network { net: Some("0.0.0.0/0".parse::<ipnet::IpNet>().unwrap().into()), except: Vec::new() }];
    let authz = Authz { networks, authentication: Some(Authn { permit: Some(permit) }), ..Default::default() };
    Server { authorizations: vec![authz], ..Default::default() }
}

fn client(account: &str) -> Client {
    Client { peer: Peer::Named(name(account).parse().unwrap()), address: "10.0.0.1".parse().unwrap() }
}

/// The application takes the connection, if it gets there.
fn connect(policies: &Arc<Policies>, account: &str, port: u16) -> Option<Lease> {
    let mut lease = policies.admit(client(account), port)?;
    lease.connected();
    Some(lease)
}

async fn is_cut(lease: &mut Lease) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *lease).poll(cx))).await.is_ready()
}

#[tokio::test]
async fn the_pods_policy_holds_for_a_port_until_its_own_is_told() {
    let policies = policies();
    assert!(policies.permits(&client("web"), 80), "nothing is known");
    policies.told(OWN, only(&["cart"]));
    assert!(connect(&policies, "web", 80).is_none());
    assert!(connect(&policies, "cart", 80).is_some());
    policies.told(80, only(&["web"]));
    assert!(connect(&policies, "web", 80).is_some());
    assert!(connect(&policies, "cart", 80).is_none());
    assert!(connect(&policies, "cart", 81).is_some());
    // A port that nobody listens on is not followed, whatever is said of it.
    drop(policies.admit(client("cart"), 82).unwrap());
    policies.told(82, only(&["web"]));
    assert!(!policies.permits(&client("web"), 82));
}

#[tokio::test]
async fn a_change_cuts_exactly_those_who_may_no_longer() {
    let policies = policies();
    let admit = |account: &str, port| connect(&policies, account, port).unwrap();
    let (mut web, mut cart, mut other) = (admit("web", 80), admit("cart", 80), admit("web", 81));
    policies.told(81, only(&["web"]));
    policies.told(OWN, only(&["cart", "bank"]));
    assert!(is_cut(&mut web).await);
    assert!(!is_cut(&mut cart).await);
    assert!(!is_cut(&mut other).await, "its port has a policy of its own");
    drop(web);
    policies.told(OWN, only(&["cart"]));
    assert!(!is_cut(&mut cart).await);
    policies.told(80, only(&[]));
    assert!(is_cut(&mut cart).await);
    assert_eq!(policies.state().connections.len(), 1);
    drop((cart, other));
    let state = policies.state();
    assert!(state.connections.is_empty() && state.ports.values().all(|port| port.connections == 0));
}

#[tokio::test(start_paused = true)]
async fn ports_are_bounded_and_those_in_use_stay() {
    let policies = policies();
    policies.told(OWN, only(&["web", "cart"]));
    let used = connect(&policies, "web", 5432).unwrap();
    policies.told(5432, only(&["web"]));
    for port in 10_000..12_000 {
        drop(connect(&policies, "cart", port).unwrap());
    }
    assert_eq!(policies.state().ports.len(), MAX_PORTS);
    assert!(!policies.permits(&client("cart"), 5432), "scanning other ports does not loosen this one");
    let leases: Vec<_> = (20_000..20_100).map(|port| connect(&policies, "cart", port).unwrap()).collect();
    assert_eq!(policies.state().ports.len(), MAX_PORTS);
    policies.told(OWN, only(&["web"]));
    let mut cut = 0;
    for mut lease in leases {
        cut += usize::from(is_cut(&mut lease).await);
    }
    assert_eq!(cut, 100, "also on ports beyond the bound");
    drop(used);
    tokio::time::advance(IDLE).await;
    drop(connect(&policies, "web", 80).unwrap());
    assert_eq!(policies.state().ports.keys().collect::<Vec<_>>(), [&80]);
}

#[tokio::test]
async fn known_resolves_with_the_pods_policy_and_not_with_a_ports() {
    let policies = policies();
    drop(connect(&policies, "web", 80));
    let mut known = polled(policies.known());
    assert!(!known().await);
    policies.told(80, only(&["web"]));
    assert!(!known().await);
    policies.told(OWN, only(&["web"]));
    assert!(known().await);
    let earlier = self::policies();
    let mut known = polled(earlier.known());
    assert!(!known().await);
    earlier.unsupported();
    assert!(known().await && earlier.permits(&client("web"), 80));
}

/// Polls a future once per call.
fn polled(future: impl Future<Output = ()>) -> impl AsyncFnMut() -> bool {
    let mut future = Box::pin(future);
    async move || poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}
