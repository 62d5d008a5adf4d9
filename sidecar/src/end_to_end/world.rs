//! The control plane of the tests: an authority, a discovery service that answers every address alike, and a network seat
//! that keeps what it is told. It can go away and come back.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assent_api::proto::network_intake_server::{NetworkIntake, NetworkIntakeServer};
use assent_api::proto::{Acknowledgement, HttpFlow, NetworkObservation};
use assent_runtime::shutdown::Tasks;
use assent_runtime::workload::ClientAuth;
use assent_runtime::workload::testing::Authority;
use assent_runtime::{CancellationToken, Limits, mtls};
use clap::Parser as _;
use linkerd2_proxy_api::destination::destination_server::{Destination, DestinationServer};
use linkerd2_proxy_api::destination::protocol_hint::OpaqueTransport;
use linkerd2_proxy_api::destination::{
    DestinationProfile, GetDestination, ProtocolHint, TlsIdentity, Update, WeightedAddr, WeightedAddrSet, tls_identity, update,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::serve::{Running, start};

pub(super) const CART: &str = "cart.shop.serviceaccount.identity.assent-system.cluster.local";

pub(super) struct World {
    authority: Authority,
    state: Arc<State>,
    address: SocketAddr,
}

#[derive(Default)]
struct State {
    away: AtomicBool,
    gone: tokio::sync::Notify,
    profile: Mutex<DestinationProfile>,
    endpoints: Mutex<Vec<WeightedAddr>>,
    flows: Mutex<Vec<HttpFlow>>,
    told: tokio::sync::Notify,
}

pub(super) struct Sidecar {
    pub(super) running: Running,
    stop: CancellationToken,
}

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: crate::Args,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// === impl World ===

impl World {
    pub(super) async fn start() -> Self {
        let authority = Authority::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let routes = tonic::service::Routes::new(DestinationServer::new(Service(state.clone())))
            .add_service(NetworkIntakeServer::new(Service(state.clone())));
        // One account plays both services; the test's sidecars are told so.
        let control = authority.workload("assent-system", "assent-seat-network");
        let serving = async move { mtls::serve(listener, &control, ClientAuth::Required, Limits::default(), routes, CancellationToken::new()).await };
        tokio::spawn(serving);
        Self { authority, state, address }
    }

    /// A sidecar of `account` in namespace `shop`; `target` is where its application's connections go.
    pub(super) async fn sidecar(&self, account: &str, target: Option<SocketAddr>) -> Sidecar {
        let control = self.address.to_string();
        let mut flags = vec![
            "sidecar", "--workload-namespace=shop", "--inbound-address=127.0.0.1:0", "--outbound-address=127.0.0.1:0",
            "--admin-address=127.0.0.1:0", "--discovery-account=assent-seat-network", "--window-ms=100",
            // A busy machine must not turn "learned in time" into chance.
            "--discovery-wait-ms=3000", "--workers=1", "--drain-seconds=1",
        ];
        let named = [
            format!("--workload-service-account={account}"),
            format!("--discovery-service={control}"),
            format!("--network-seat={control}"),
        ];
        flags.extend(named.iter().map(String::as_str));
        let target = target.map(|target| format!("--outbound-target={target}"));
        flags.extend(target.as_deref());
        let args = Command::try_parse_from(flags).unwrap().args;
        let stop = CancellationToken::new();
        let running = start(args, self.authority.workload("shop", account), Tasks::new(stop.clone())).await.unwrap();
        Sidecar { running, stop }
    }

    /// Every address is the pod at `address` behind a sidecar at `inbound` with `identity`.
    pub(super) fn meshed(&self, address: SocketAddr, inbound: u16, identity: &str) {
        let endpoint = Some(weighted(address, Some((inbound, identity))));
        *self.state.profile.lock().unwrap() = DestinationProfile { endpoint, ..Default::default() };
    }

    /// Every address is a service with these endpoints.
    pub(super) fn service(&self, endpoints: &[(SocketAddr, Option<(u16, &str)>)]) {
        *self.state.endpoints.lock().unwrap() = endpoints.iter().map(|(address, peer)| weighted(*address, *peer)).collect();
        let fully_qualified_name = "web.shop.svc.cluster.local".to_owned();
        *self.state.profile.lock().unwrap() = DestinationProfile { fully_qualified_name, ..Default::default() };
    }

    /// The control plane breaks every stream and answers nothing.
    pub(super) fn away(&self) {
        self.state.away.store(true, Ordering::SeqCst);
        self.state.gone.notify_waiters();
    }

    pub(super) fn back(&self) {
        self.state.away.store(false, Ordering::SeqCst);
    }

    /// The first reported flow that `wanted` holds for.
    pub(super) async fn flow(&self, wanted: impl Fn(&HttpFlow) -> bool) -> HttpFlow {
        let search = async {
            loop {
                let told = self.state.told.notified();
                let found = self.state.flows.lock().unwrap().iter().find(|flow| wanted(flow)).cloned();
                match found {
                    Some(flow) => return flow,
                    None => told.await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), search).await.expect("no such flow was reported")
    }
}

impl Sidecar {
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.running.finish().await.unwrap();
    }
}

fn weighted(address: SocketAddr, peer: Option<(u16, &str)>) -> WeightedAddr {
    let strategy = |name: &str| tls_identity::Strategy::DnsLikeIdentity(tls_identity::DnsLikeIdentity { name: name.to_owned() });
    WeightedAddr {
        addr: Some(address.into()),
        weight: 1,
        tls_identity: peer.map(|(_, name)| TlsIdentity { strategy: Some(strategy(name)), server_name: None }),
        protocol_hint: peer.map(|(port, _)| ProtocolHint {
            opaque_transport: Some(OpaqueTransport { inbound_port: port.into() }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

struct Service(Arc<State>);

impl Service {
    fn here(&self) -> Result<(), Status> {
        if self.0.away.load(Ordering::SeqCst) { Err(Status::unavailable("away")) } else { Ok(()) }
    }

    /// `first`, then silence until the control plane goes away.
    fn watch<T: Send + 'static>(&self, first: T) -> Answers<T> {
        let state = self.0.clone();
        let gone = async move {
            state.gone.notified().await;
            Err(Status::unavailable("away"))
        };
        Box::pin(tokio_stream::once(Ok(first)).chain(futures::stream::once(gone)))
    }
}

#[tonic::async_trait]
impl Destination for Service {
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
impl NetworkIntake for Service {
    type ObserveStream = Answers<Acknowledgement>;

    async fn observe(&self, request: Request<Streaming<NetworkObservation>>) -> Result<Response<Self::ObserveStream>, Status> {
        self.here()?;
        let state = self.0.clone();
        let acknowledgements = request.into_inner().map(move |observation| {
            if state.away.load(Ordering::SeqCst) {
                return Err(Status::unavailable("away"));
            }
            let observation = observation?;
            state.flows.lock().unwrap().extend(observation.http);
            state.told.notify_waiters();
            Ok(Acknowledgement { sequence: observation.window.unwrap().sequence })
        });
        Ok(Response::new(Box::pin(acknowledgements)))
    }
}

/// A server that gives every connection one `answer` to its first bytes.
pub(super) async fn answer(answer: &'static str) -> SocketAddr {
    serve(move |mut stream| async move {
        let read = stream.read(&mut [0; 4096]).await.unwrap_or(0);
        if read > 0 {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await
}

/// A server that sends back what it gets.
pub(super) async fn echo() -> SocketAddr {
    serve(|stream| async move {
        let (mut reader, mut writer) = stream.into_split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await
}

async fn serve<F: Future<Output = ()> + Send + 'static>(each: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    address
}

/// One request over a new connection; everything that came back.
pub(super) async fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    got
}

/// Polls, because counters have no event to wait for.
pub(super) async fn eventually(holds: impl Fn() -> bool) {
    let polling = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), polling).await.expect("it never came true");
}
