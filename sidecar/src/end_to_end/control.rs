//! A control plane for tests: an identity service that signs for anybody, a discovery service that answers every address
//! alike and tells every pod the same policy, and seats that keep what they are told. It can go away and come back.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assent_api::proto::compute_intake_server::{ComputeIntake, ComputeIntakeServer};
use assent_api::proto::database_intake_server::{DatabaseIntake, DatabaseIntakeServer};
use assent_api::proto::network_intake_server::{NetworkIntake, NetworkIntakeServer};
use assent_api::proto::{Acknowledgement, ComputeObservation, DatabaseFlow, DatabaseObservation, HttpFlow, NetworkObservation, Window};
use assent_runtime::workload::testing::{Authority, Certificates};
use assent_runtime::workload::{ClientAuth, Roots, Workload};
use assent_runtime::{CancellationToken, Limits, mtls};
use linkerd2_proxy_api::destination::destination_server::{Destination, DestinationServer};
use linkerd2_proxy_api::destination::protocol_hint::OpaqueTransport;
use linkerd2_proxy_api::destination::{
    DestinationProfile, GetDestination, ProtocolHint, TlsIdentity, Update, WeightedAddr, WeightedAddrSet, tls_identity, update,
};
use linkerd2_proxy_api::identity::identity_server::{Identity, IdentityServer};
use linkerd2_proxy_api::identity::{CertifyRequest, CertifyResponse};
use linkerd2_proxy_api::inbound::authn::permit_mesh_tls::{Clients, PermitClientIdentities};
use linkerd2_proxy_api::inbound::authn::{Permit, PermitMeshTls, PermitUnauthenticated};
use linkerd2_proxy_api::inbound::inbound_server_policies_server::{InboundServerPolicies, InboundServerPoliciesServer};
use linkerd2_proxy_api::inbound::{Authn, Authz, Identity as Named, Network, PortSpec, Server};
use linkerd2_proxy_api::net::IpNetwork;
use tokio::net::TcpListener;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// Name of the workload behind the tests' servers.
pub(crate) const CART: &str = "cart.shop.serviceaccount.identity.assent-system.cluster.local";
/// The account that plays discovery and the network seat; sidecars are told so.
pub(crate) const ACCOUNT: &str = "assent-seat-network";

/// The control plane. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Control(Arc<State>);

struct State {
    authority: Authority,
    members: Mutex<Vec<Member>>,
    away: AtomicBool,
    gone: tokio::sync::Notify,
    profile: Mutex<DestinationProfile>,
    endpoints: Mutex<Vec<WeightedAddr>>,
    policy: tokio::sync::watch::Sender<Server>,
    flows: Mutex<Vec<HttpFlow>>,
    databases: Mutex<Vec<DatabaseFlow>>,
    computes: Mutex<Vec<ComputeObservation>>,
    told: tokio::sync::Notify,
}

/// Somebody whose certificate and roots can be replaced.
struct Member {
    workload: Workload,
    certificates: Certificates,
    roots: tokio::sync::watch::Sender<Arc<Roots>>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// === impl Control ===

impl Control {
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            authority: Authority::new(),
            members: Mutex::default(),
            away: AtomicBool::new(false),
            gone: Default::default(),
            profile: Default::default(),
            endpoints: Default::default(),
            policy: tokio::sync::watch::Sender::new(server("all-unauthenticated", vec![authorization("all-unauthenticated", "0.0.0.0", 0, anybody())])),
            flows: Default::default(),
            databases: Default::default(),
            computes: Default::default(),
            told: Default::default(),
        }))
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.0.authority
    }

    /// An identity under the first authority, until [`Self::certify_all`] and [`Self::trust_all`] give it another.
    pub(crate) fn member(&self, namespace: &str, account: &str) -> Workload {
        let (workload, certificates, roots) = self.0.authority.renewable(namespace, account);
        self.0.members.lock().unwrap().push(Member { workload: workload.clone(), certificates, roots });
        workload
    }

    /// Every member, the control plane's own included, has a leaf of `authority` from now on.
    pub(crate) fn certify_all(&self, authority: &Authority) {
        for member in &*self.0.members.lock().unwrap() {
            let certified = authority.certify(member.workload.own_name(), Duration::from_secs(3600));
            member.certificates.send_replace(Some(Arc::new(certified)));
        }
    }

    /// Every member trusts the roots in `bundle` from now on.
    pub(crate) fn trust_all(&self, bundle: &str) {
        for member in &*self.0.members.lock().unwrap() {
            member.roots.send_replace(Arc::new(Roots::parse(bundle.as_bytes()).unwrap()));
        }
    }

    /// Serves on free ports of `host`: the identity service, and the network, database and compute seats, each of which is
    /// discovery too.
    pub(crate) async fn serve(&self, host: &str) -> [SocketAddr; 4] {
        let others = tonic::service::Routes::new(DestinationServer::new(self.clone()))
            .add_service(InboundServerPoliciesServer::new(self.clone()))
            .add_service(NetworkIntakeServer::new(self.clone()))
            .add_service(DatabaseIntakeServer::new(self.clone()))
            .add_service(ComputeIntakeServer::new(self.clone()));
        let identity = tonic::service::Routes::new(IdentityServer::new(self.clone()));
        [
            self.listen(host, "assent-identity", ClientAuth::Optional, identity).await,
            self.listen(host, ACCOUNT, ClientAuth::Required, others.clone()).await,
            self.listen(host, "assent-seat-database", ClientAuth::Required, others.clone()).await,
            self.listen(host, "assent-seat-compute", ClientAuth::Required, others).await,
        ]
    }

    async fn listen(&self, host: &str, account: &str, auth: ClientAuth, routes: tonic::service::Routes) -> SocketAddr {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let workload = self.member("assent-system", account);
        tokio::spawn(async move { mtls::serve(listener, &workload, auth, Limits::default(), routes, CancellationToken::new()).await });
        address
    }

    /// Every address is the pod at `address` behind a sidecar at `inbound` with `identity`.
    pub(crate) fn meshed(&self, address: SocketAddr, inbound: u16, identity: &str) {
        let endpoint = Some(weighted(address, Some((inbound, identity))));
        *self.0.profile.lock().unwrap() = DestinationProfile { endpoint, ..Default::default() };
    }

    /// Every address is a service with these endpoints, and the inbound ports of those that are meshed.
    pub(crate) fn service(&self, endpoints: &[(SocketAddr, Option<u16>)]) {
        let weighted = endpoints.iter().map(|(address, inbound)| weighted(*address, inbound.map(|port| (port, CART))));
        *self.0.endpoints.lock().unwrap() = weighted.collect();
        let fully_qualified_name = "web.shop.svc.cluster.local".to_owned();
        *self.0.profile.lock().unwrap() = DestinationProfile { fully_qualified_name, ..Default::default() };
    }

    /// The policy of every pod is this from now on.
    pub(crate) fn policy(&self, server: Server) {
        self.0.policy.send_replace(server);
    }

    /// The control plane breaks every stream and answers nothing.
    pub(crate) fn away(&self) {
        self.0.away.store(true, Ordering::SeqCst);
        self.0.gone.notify_waiters();
    }

    pub(crate) fn back(&self) {
        self.0.away.store(false, Ordering::SeqCst);
    }

    /// The first reported flow that `wanted` holds for.
    pub(crate) async fn flow(&self, wanted: impl Fn(&HttpFlow) -> bool) -> HttpFlow {
        self.reported(|state| state.flows.lock().unwrap().iter().find(|flow| wanted(flow)).cloned()).await
    }

    /// None of what was reported is `unwanted`.
    pub(crate) fn no_flow(&self, unwanted: impl Fn(&HttpFlow) -> bool) {
        let flows = self.0.flows.lock().unwrap();
        assert!(!flows.iter().any(&unwanted), "{:?}", flows.iter().find(|flow| unwanted(flow)));
    }

    /// The first reported database flow that `wanted` holds for.
    pub(crate) async fn database(&self, wanted: impl Fn(&DatabaseFlow) -> bool) -> DatabaseFlow {
        self.reported(|state| state.databases.lock().unwrap().iter().find(|flow| wanted(flow)).cloned()).await
    }

    /// The first report of the compute class.
    pub(crate) async fn compute(&self) -> ComputeObservation {
        self.reported(|state| state.computes.lock().unwrap().first().copied()).await
    }

    async fn reported<T>(&self, find: impl Fn(&State) -> Option<T>) -> T {
        let search = async {
            loop {
                let told = self.0.told.notified();
                match find(&self.0) {
                    Some(found) => return found,
                    None => told.await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), search).await.expect("it was not reported")
    }

    /// Keeps each observation until the control plane goes away, and acknowledges it.
    fn take<T>(&self, request: Request<Streaming<T>>, keep: impl Fn(&State, T) -> Option<Window> + Send + 'static) -> Response<Answers<Acknowledgement>>
    where
        T: Send + 'static,
    {
        let state = self.0.clone();
        Response::new(Box::pin(request.into_inner().map(move |observation| {
            if state.away.load(Ordering::SeqCst) {
                return Err(Status::unavailable("away"));
            }
            let window = keep(&state, observation?).ok_or_else(|| Status::invalid_argument("no window"))?;
            state.told.notify_waiters();
            Ok(Acknowledgement { sequence: window.sequence })
        })))
    }

    fn here(&self) -> Result<(), Status> {
        if self.0.away.load(Ordering::SeqCst) { Err(Status::unavailable("away")) } else { Ok(()) }
    }

    /// `first`, then silence until the control plane goes away.
    fn watch<T: Send + 'static>(&self, first: T) -> Answers<T> {
        Box::pin(tokio_stream::once(Ok(first)).chain(futures::stream::once(self.gone())))
    }

    fn gone<T>(&self) -> impl Future<Output = Result<T, Status>> + Send + use<T> {
        let state = self.0.clone();
        async move {
            state.gone.notified().await;
            Err(Status::unavailable("away"))
        }
    }
}

#[tonic::async_trait]
impl Destination for Control {
    type GetStream = Answers<Update>;
    type GetProfileStream = Answers<DestinationProfile>;

    async fn get(&self, _: Request<GetDestination>) -> Result<Response<Self::GetStream>, Status> {
        self.here()?;
        let addrs = self.0.endpoints.lock().unwrap().clone();
        let add = update::Update::Add(WeightedAddrSet { addrs, ..Default::default() });
        Ok(Response::new(self.watch(Update { update: Some(add) })))
    }

    async fn get_profile(&self, _: Request<GetDestination>) -> Result<Response<Self::GetProfileStream>, Status> {
        self.here()?;
        let profile = self.0.profile.lock().unwrap().clone();
        Ok(Response::new(self.watch(profile)))
    }
}

#[tonic::async_trait]
impl InboundServerPolicies for Control {
    type WatchPortStream = Answers<Server>;

    async fn get_port(&self, _: Request<PortSpec>) -> Result<Response<Server>, Status> {
        self.here()?;
        Ok(Response::new(self.0.policy.borrow().clone()))
    }

    async fn watch_port(&self, _: Request<PortSpec>) -> Result<Response<Self::WatchPortStream>, Status> {
        self.here()?;
        let said = WatchStream::new(self.0.policy.subscribe()).map(Ok);
        Ok(Response::new(Box::pin(futures::stream::select(said, futures::stream::once(self.gone())))))
    }
}

#[tonic::async_trait]
impl NetworkIntake for Control {
    type ObserveStream = Answers<Acknowledgement>;

    async fn observe(&self, request: Request<Streaming<NetworkObservation>>) -> Result<Response<Self::ObserveStream>, Status> {
        self.here()?;
        Ok(self.take(request, |state, observation| {
            state.flows.lock().unwrap().extend(observation.http);
            observation.window
        }))
    }
}

#[tonic::async_trait]
impl DatabaseIntake for Control {
    type ObserveStream = Answers<Acknowledgement>;

    async fn observe(&self, request: Request<Streaming<DatabaseObservation>>) -> Result<Response<Self::ObserveStream>, Status> {
        self.here()?;
        Ok(self.take(request, |state, observation| {
            state.databases.lock().unwrap().extend(observation.flows);
            observation.window
        }))
    }
}

#[tonic::async_trait]
impl ComputeIntake for Control {
    type ObserveStream = Answers<Acknowledgement>;

    async fn observe(&self, request: Request<Streaming<ComputeObservation>>) -> Result<Response<Self::ObserveStream>, Status> {
        self.here()?;
        Ok(self.take(request, |state, observation| {
            state.computes.lock().unwrap().push(observation);
            observation.window
        }))
    }
}

#[tonic::async_trait]
impl Identity for Control {
    async fn certify(&self, request: Request<CertifyRequest>) -> Result<Response<CertifyResponse>, Status> {
        self.here()?;
        let request = request.into_inner();
        let asked = rcgen::CertificateSigningRequestParams::from_der(&request.certificate_signing_request.into()).unwrap();
        let life = Duration::from_secs(3600);
        let leaf = self.0.authority.sign(&request.identity.parse().unwrap(), &asked.public_key, life);
        Ok(Response::new(CertifyResponse {
            leaf_certificate: leaf.to_vec(),
            intermediate_certificates: Vec::new(),
            valid_until: Some((std::time::SystemTime::now() + life).into()),
        }))
    }
}

/// A policy as the controller describes it.
fn server(name: &str, authorizations: Vec<Authz>) -> Server {
    Server { authorizations, labels: labels(name), ..Default::default() }
}

/// Those from a network who are permitted.
fn authorization(name: &str, network: &str, prefix_len: u32, permit: Permit) -> Authz {
    let ip: std::net::IpAddr = network.parse().unwrap();
    // What is from everywhere is so over both families.
    let both = (prefix_len == 0).then(|| std::net::Ipv6Addr::UNSPECIFIED.into());
    let addresses = std::iter::once(ip.into()).chain(both);
    let networks = addresses.map(|ip| Network { net: Some(IpNetwork { ip: Some(ip), prefix_len }), except: Vec::new() }).collect();
    Authz { networks, authentication: Some(Authn { permit: Some(permit) }), labels: labels(name), metadata: None }
}

/// These accounts of `shop` may from everywhere, whoever it is from `node`.
pub(crate) fn narrowed(node: &str, accounts: &[&str]) -> Server {
    let identities = accounts.iter().map(|account| Named { name: CART.replacen("cart", account, 1) }).collect();
    let clients = Clients::Identities(PermitClientIdentities { identities, suffixes: Vec::new() });
    let named = Permit::MeshTls(PermitMeshTls { clients: Some(clients) });
    server("narrowed", vec![authorization("probe", node, 32, anybody()), authorization("named", "0.0.0.0", 0, named)])
}

fn anybody() -> Permit {
    Permit::Unauthenticated(PermitUnauthenticated {})
}

fn labels(name: &str) -> std::collections::HashMap<String, String> {
    [("group", ""), ("kind", "default"), ("name", name)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn weighted(address: SocketAddr, peer: Option<(u16, &str)>) -> WeightedAddr {
    let strategy = |name: &str| tls_identity::Strategy::DnsLikeIdentity(tls_identity::DnsLikeIdentity { name: name.to_owned() });
    WeightedAddr {
        addr: Some(address.into()),
        weight: 1,
        tls_identity: peer.map(|(_, name)| TlsIdentity { strategy: Some(strategy(name)), server_name: None }),
        protocol_hint: peer.map(|(port, _)| ProtocolHint { opaque_transport: Some(OpaqueTransport { inbound_port: port.into() }), ..Default::default() }),
        ..Default::default()
    }
}
