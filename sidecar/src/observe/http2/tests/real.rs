//! A real client and a real server (tonic over hyper and h2) with the relay between them: what the client was told is what
//! was counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use linkerd2_proxy_api::destination::destination_client::DestinationClient;
use linkerd2_proxy_api::destination::destination_server::{Destination, DestinationServer};
use linkerd2_proxy_api::destination::{DestinationProfile, GetDestination, Update};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};

use crate::observe::Tap;
use crate::observe::flows::{Direction, Flows, Key, Requests};
use crate::relay::relay;

/// Does what the path of a call says: `never`, a code, or `updates/code`.
#[derive(Clone, Default)]
struct Service {
    asked: Arc<Notify>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A server, and clients that reach it through an observed relay.
struct World {
    service: Service,
    flows: Arc<Flows>,
    channel: Channel,
    seen: Requests,
    no_response: u64,
    in_flight: u32,
    closed: u64,
}

#[tonic::async_trait]
impl Destination for Service {
    type GetStream = Answers<Update>;
    type GetProfileStream = Answers<DestinationProfile>;

    async fn get(&self, request: Request<GetDestination>) -> Result<Response<Self::GetStream>, Status> {
        let path = request.into_inner().path;
        self.asked.notify_one();
        let Some((updates, code)) = path.split_once('/') else {
            return match path.as_str() {
                "never" => std::future::pending().await,
                code => Err(Status::new(Code::from(code.parse::<i32>().unwrap()), "at once")),
            };
        };
        let updates = tokio_stream::iter(vec![Ok(Update::default()); updates.parse().unwrap()]);
        match code {
            "never" => Ok(Response::new(Box::pin(updates.chain(futures::stream::pending())))),
            "0" => Ok(Response::new(Box::pin(updates))),
            code => {
                let status = Status::new(Code::from(code.parse::<i32>().unwrap()), "in the end");
                Ok(Response::new(Box::pin(updates.chain(tokio_stream::once(Err(status))))))
            }
        }
    }

    async fn get_profile(&self, _: Request<GetDestination>) -> Result<Response<Self::GetProfileStream>, Status> {
        unreachable!("no test asks")
    }
}

// === impl World ===

impl World {
    async fn start() -> Self {
        let service = Service::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let serving = Server::builder().add_service(DestinationServer::new(service.clone())).serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        let flows = Arc::new(Flows::default());
        let relay = relayed(server, flows.clone()).await;
        let channel = Endpoint::from_shared(format!("http://{relay}")).unwrap().connect().await.unwrap();
        Self { service, flows, channel, seen: Requests::default(), no_response: 0, in_flight: 0, closed: 0 }
    }

    /// Calls `path` and counts what came of it.
    async fn call(&self, path: String) -> Code {
        let mut client = DestinationClient::new(self.channel.clone());
        let mut updates = match client.get(GetDestination { path, ..Default::default() }).await {
            Ok(response) => response.into_inner(),
            Err(status) => return status.code(),
        };
        while let Some(update) = updates.next().await {
            if let Err(status) = update {
                return status.code();
            }
        }
        Code::Ok
    }

    /// Adds what was counted since the last time.
    fn look(&mut self) {
        let window = self.flows.drain(Instant::now(), &Default::default());
        (self.in_flight, self.no_response) =
            window.http.iter().fold((0, self.no_response), |(open, none), flow| (open + flow.in_flight, none + flow.no_response));
        self.closed += window.tcp.iter().map(|flow| flow.closed).sum::<u64>();
        assert!(window.http.iter().all(|flow| flow.route_class == "POST/2"));
        for requests in window.requests.values() {
            self.seen.begun += requests.begun;
            for (status, count) in &requests.statuses {
                *self.seen.statuses.entry(*status).or_default() += count;
            }
        }
    }

    /// The relay sees a frame before its reader does, but a frame of the client's may still be on its way.
    async fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        let polling = async {
            loop {
                self.look();
                if holds(self) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), polling).await.expect("it never came true");
    }
}

async fn relayed(server: SocketAddr, flows: Arc<Flows>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let connection = flows.open(Key::new(Direction::Inbound, "", ":80"), None);
            let tap = Tap::new(flows.clone(), connection, 80);
            tokio::spawn(async move { relay(client, TcpStream::connect(server).await.unwrap(), tap).await });
        }
    });
    address
}

#[tokio::test]
async fn calls_count_as_their_clients_saw_them() {
    let mut world = World::start().await;
    let paths = (0..17).flat_map(|code| [format!("{code}"), format!("0/{code}"), format!("3/{code}"), format!("2000/{code}")]).filter(|path| path != "0");
    let mut expected: BTreeMap<u16, u64> = BTreeMap::new();
    for _ in 0..3 {
        let calls: Vec<_> = paths.clone().map(|path| world.call(path)).collect();
        for code in futures::future::join_all(calls).await {
            *expected.entry(super::status::of(200, u16::try_from(i32::from(code)).unwrap())).or_default() += 1;
        }
    }
    world.look();
    assert_eq!(world.seen.statuses, expected);
    assert_eq!(world.seen.begun, 3 * (17 * 4 - 1));
    assert_eq!((world.no_response, world.in_flight), (0, 0));
}

#[tokio::test]
async fn cancelled_calls_are_begun_and_nothing_else() {
    let mut world = World::start().await;
    for _ in 0..20 {
        let asked = world.service.asked.clone();
        tokio::select! {
            code = world.call("never".to_owned()) => panic!("{code:?}"),
            () = asked.notified() => {}
        }
    }
    world.until(|world| world.seen.begun == 20 && world.in_flight == 0).await;
    assert_eq!((world.seen.statuses.len(), world.no_response), (0, 0));
    assert_eq!(world.call("1/0".to_owned()).await, Code::Ok, "the connection is good");
    world.until(|world| world.seen.statuses == BTreeMap::from([(200, 1)])).await;
}

#[tokio::test]
async fn a_stream_that_goes_on_has_been_answered() {
    let mut world = World::start().await;
    let mut client = DestinationClient::new(world.channel.clone());
    let mut updates = client.get(GetDestination { path: "1/never".to_owned(), ..Default::default() }).await.unwrap().into_inner();
    updates.next().await.unwrap().unwrap();
    world.look();
    assert_eq!((world.seen.begun, world.in_flight, world.seen.statuses.len()), (1, 0, 0), "nobody waits for it");
    drop((updates, client));
    // On the same connection, hence behind the cancelling.
    assert_eq!(world.call("1/0".to_owned()).await, Code::Ok);
    world.channel = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    world.until(|world| world.closed == 1).await;
    assert_eq!((world.seen.begun, world.no_response), (2, 0));
    assert_eq!(world.seen.statuses, BTreeMap::from([(200, 1)]));
}
