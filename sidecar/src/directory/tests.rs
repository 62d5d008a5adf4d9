//! Discovery as the directory sees it, in memory and with a clock that jumps to the next thing that happens.

use std::io;

use linkerd2_proxy_api::destination::destination_server::{Destination as Discovery, DestinationServer};
use linkerd2_proxy_api::destination::{DestinationProfile, GetDestination, NoEndpoints, Update, WeightedAddr, WeightedAddrSet, update};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Server, Uri};
use tonic::{Request, Response, Status};

use super::*;

type Answers<T> = mpsc::UnboundedSender<Result<T, Status>>;

/// A stream that was opened; the test answers on it.
enum Opened {
    Profile(Answers<DestinationProfile>),
    Endpoints(Answers<Update>),
}

/// Hands every stream to the test.
struct Fake(mpsc::UnboundedSender<Opened>);

#[tonic::async_trait]
impl Discovery for Fake {
    type GetStream = UnboundedReceiverStream<Result<Update, Status>>;
    type GetProfileStream = UnboundedReceiverStream<Result<DestinationProfile, Status>>;

    async fn get(&self, _: Request<GetDestination>) -> Result<Response<Self::GetStream>, Status> {
        let (answers, stream) = mpsc::unbounded_channel();
        self.0.send(Opened::Endpoints(answers)).unwrap();
        Ok(Response::new(stream.into()))
    }

    async fn get_profile(&self, _: Request<GetDestination>) -> Result<Response<Self::GetProfileStream>, Status> {
        let (answers, stream) = mpsc::unbounded_channel();
        self.0.send(Opened::Profile(answers)).unwrap();
        Ok(Response::new(stream.into()))
    }
}

struct World {
    directory: Arc<Directory>,
    opened: mpsc::UnboundedReceiver<Opened>,
    version: channel::Receiver<u64>,
}

impl World {
    fn new() -> Self {
        let (connect, connections) = mpsc::unbounded_channel();
        let (opened, streams) = mpsc::unbounded_channel();
        let serving = Server::builder().add_service(DestinationServer::new(Fake(opened))).serve_with_incoming(UnboundedReceiverStream::new(connections));
        tokio::spawn(serving);
        let connector = tower::service_fn(move |_: Uri| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            connect.send(Ok::<_, io::Error>(far)).unwrap();
            std::future::ready(Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(near)))
        });
        let channel = tonic::transport::Endpoint::from_static("http://discovery").connect_with_connector_lazy(connector);
        let directory = Arc::new(Directory::new(channel, String::new(), Duration::from_secs(3600), Handle::current()));
        let version = directory.version.subscribe();
        Self { directory, opened: streams, version }
    }

    async fn profile(&mut self) -> Answers<DestinationProfile> {
        match self.opened.recv().await.unwrap() {
            Opened::Profile(answers) => answers,
            Opened::Endpoints(_) => panic!("asked for endpoints"),
        }
    }

    async fn endpoints(&mut self) -> Answers<Update> {
        match self.opened.recv().await.unwrap() {
            Opened::Endpoints(answers) => answers,
            Opened::Profile(_) => panic!("asked for a profile"),
        }
    }

    /// The next profile stream is told of a service; its two streams.
    async fn service(&mut self) -> (Answers<DestinationProfile>, Answers<Update>) {
        let profile = self.profile().await;
        profile.send(Ok(service())).unwrap();
        let endpoints = self.endpoints().await;
        (profile, endpoints)
    }

    /// Waits until an answer was taken up.
    async fn taken_up(&mut self) {
        self.version.changed().await.unwrap();
    }

    fn news(&self) -> News {
        self.directory.entries()[&target()].destination.news()
    }

    fn metrics(&self) -> String {
        let mut registry = assent_runtime::metrics::registry::Registry::default();
        registry.register_collector(Box::new(self.directory.clone()));
        let mut out = String::new();
        assent_runtime::metrics::encoding::text::encode(&mut out, &registry).unwrap();
        out
    }

    /// The value of the gauge `name`, which has no labels.
    fn gauge(&self, name: &str) -> f64 {
        let metrics = self.metrics();
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("no `{name}` in\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

fn target() -> SocketAddr {
    SocketAddr::from(([10, 96, 0, 1], 80))
}

fn service() -> DestinationProfile {
    DestinationProfile { fully_qualified_name: "web.shop.svc.cluster.local".to_owned(), ..Default::default() }
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 8080))
}

fn weighted(n: u8) -> WeightedAddr {
    WeightedAddr { addr: Some(address(n).into()), ..Default::default() }
}

fn add(endpoints: &[u8]) -> Result<Update, Status> {
    let addrs = endpoints.iter().map(|n| weighted(*n)).collect();
    Ok(Update { update: Some(update::Update::Add(WeightedAddrSet { addrs, ..Default::default() })) })
}

fn nobody() -> Result<Update, Status> {
    Ok(Update { update: Some(update::Update::NoEndpoints(NoEndpoints { exists: true })) })
}

fn addresses(route: Option<Route>) -> Vec<SocketAddr> {
    match route {
        Some(Route::Service(pool)) => pool.endpoints().iter().map(|endpoint| endpoint.address).collect(),
        Some(Route::Endpoint(endpoint)) => vec![endpoint.address],
        Some(Route::Plain) | None => Vec::new(),
    }
}

async fn known(world: &World) -> Vec<SocketAddr> {
    addresses(world.directory.route(target()).await)
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_answers_is_given_up_and_opened_again() {
    let mut world = World::new();
    let start = Instant::now();
    drop(world.directory.entry(target()));
    let silent = world.profile().await;
    let again = world.profile().await;
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(10) && waited <= Duration::from_secs(11), "{waited:?}");
    silent.closed().await;
    // So is one that names a service of which nothing is heard.
    again.send(Ok(service())).unwrap();
    let unspoken = world.endpoints().await;
    let start = Instant::now();
    let (_profile, endpoints) = world.service().await;
    assert!(start.elapsed() >= Duration::from_secs(10), "{:?}", start.elapsed());
    unspoken.closed().await;
    endpoints.send(add(&[1])).unwrap();
    assert_eq!(known(&world).await, [address(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_replaced_within_an_hour_and_what_it_said_stays_until_the_new_one_speaks() {
    let mut world = World::new();
    drop(world.directory.entry(target()));
    let (_profile, endpoints) = world.service().await;
    endpoints.send(add(&[1, 2])).unwrap();
    world.taken_up().await;
    let Some(Route::Service(pool)) = world.directory.route(target()).await else { panic!("no service") };
    let start = Instant::now();
    let (_profile, replacement) = world.service().await;
    let lived = start.elapsed();
    assert!(lived >= Duration::from_secs(1799) && lived <= Duration::from_secs(3600), "{lived:?}");
    assert_eq!(known(&world).await, [address(1), address(2)]);
    let before = pool.endpoints();
    replacement.send(add(&[2, 3])).unwrap();
    world.taken_up().await;
    assert_eq!(known(&world).await, [address(2), address(3)]);
    assert!(Arc::ptr_eq(&before[1], &pool.endpoints()[0]), "it keeps its connections and failures");
    replacement.send(add(&[4])).unwrap();
    world.taken_up().await;
    assert_eq!(known(&world).await, [address(2), address(3), address(4)]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_empties_a_service_at_once_is_believed_only_when_nothing_follows() {
    let mut world = World::new();
    drop(world.directory.entry(target()));
    let (profile, endpoints) = world.service().await;
    endpoints.send(add(&[1])).unwrap();
    world.taken_up().await;
    drop((profile, endpoints));
    // A control plane that has just started.
    let (profile, endpoints) = world.service().await;
    endpoints.send(nobody()).unwrap();
    endpoints.send(add(&[])).unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(known(&world).await, [address(1)]);
    endpoints.send(add(&[2])).unwrap();
    world.taken_up().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(known(&world).await, [address(2)]);
    drop((profile, endpoints));
    // A service that was scaled to nothing meanwhile.
    let (_profile, endpoints) = world.service().await;
    let start = Instant::now();
    endpoints.send(nobody()).unwrap();
    world.taken_up().await;
    assert!(start.elapsed() >= Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(known(&world).await.is_empty());
    endpoints.send(add(&[3])).unwrap();
    world.taken_up().await;
    // From a stream that has named endpoints it is believed at once.
    let start = Instant::now();
    endpoints.send(nobody()).unwrap();
    world.taken_up().await;
    assert_eq!((start.elapsed(), known(&world).await), (Duration::ZERO, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn the_same_pod_again_keeps_its_failures() {
    let mut world = World::new();
    drop(world.directory.entry(target()));
    let pod = DestinationProfile { endpoint: Some(weighted(1)), ..Default::default() };
    let profile = world.profile().await;
    profile.send(Ok(pod.clone())).unwrap();
    world.taken_up().await;
    let Some(Route::Endpoint(before)) = world.directory.route(target()).await else { panic!("no pod") };
    drop(profile);
    let profile = world.profile().await;
    profile.send(Ok(pod)).unwrap();
    world.taken_up().await;
    let Some(Route::Endpoint(after)) = world.directory.route(target()).await else { panic!("no pod") };
    assert!(Arc::ptr_eq(&before, &after));
}

#[tokio::test(start_paused = true)]
async fn staleness_is_seen_while_discovery_is_away_and_ends_when_it_answers() {
    let mut world = World::new();
    assert_eq!(world.gauge("assent_discovery_stale_seconds"), 0.0);
    drop(world.directory.entry(target()));
    let (profile, endpoints) = world.service().await;
    endpoints.send(add(&[1])).unwrap();
    world.taken_up().await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(world.gauge("assent_discovery_stale_seconds"), 0.0, "silent, and there");
    let age = "assent_discovery_endpoint_age_seconds{destination=\"10.96.0.1:80\"} 100";
    assert!(world.metrics().contains(age), "{}", world.metrics());
    drop((profile, endpoints));
    // Streams that it opens now stay without an answer.
    tokio::time::sleep(Duration::from_secs(300)).await;
    let stale = world.gauge("assent_discovery_stale_seconds");
    assert!((299.0..=300.0).contains(&stale), "{stale}");
    assert_eq!(known(&world).await, [address(1)], "it stays in use");
    while world.opened.try_recv().is_ok() {}
    let (_profile, endpoints) = world.service().await;
    endpoints.send(add(&[1])).unwrap();
    world.taken_up().await;
    assert_eq!(world.gauge("assent_discovery_stale_seconds"), 0.0);
    assert!(world.metrics().contains("assent_outbound_endpoints{state=\"closed\"} 1"), "{}", world.metrics());
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_knew_is_used_until_discovery_answers_and_counts_as_stale() {
    let mut world = World::new();
    let endpoints = vec![(address(1), None), (address(2), None)];
    let saved = Saved { address: target(), kind: Kind::Service, endpoints };
    world.directory.restore(vec![(saved.clone(), Duration::from_secs(500))]);
    assert_eq!(known(&world).await, [address(1), address(2)]);
    assert!(world.news().restored);
    assert_eq!(world.gauge("assent_discovery_stale_seconds"), 500.0);
    assert_eq!(world.gauge("assent_discovery_restored_destinations"), 1.0);
    assert_eq!(world.directory.known(), [(saved, Duration::from_secs(500))], "another restart does not make it younger");
    let (_profile, endpoints) = world.service().await;
    endpoints.send(add(&[2])).unwrap();
    world.taken_up().await;
    assert_eq!(known(&world).await, [address(2)]);
    assert_eq!(world.gauge("assent_discovery_restored_destinations"), 0.0);
    assert_eq!(world.directory.known()[0].1, Duration::ZERO);
}

#[tokio::test]
async fn without_an_answer_the_first_connection_waits_once_and_destinations_are_bounded() {
    // Port 9 of the discard prefix: the channel never connects.
    let channel = tonic::transport::Endpoint::from_static("http://[100::1]:9").connect_lazy();
    let directory = Directory::new(channel, String::new(), Duration::from_millis(5), Handle::current());
    for n in 0..2000u16 {
        drop(directory.entry(SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 80))));
    }
    assert_eq!(directory.entries().len(), MAX_DESTINATIONS);
    let address = SocketAddr::from(([10, 9, 9, 9], 80));
    assert!(directory.route(address).await.is_none());
    let again = Instant::now();
    assert!(directory.route(address).await.is_none());
    assert!(again.elapsed() < Duration::from_millis(4), "later connections do not wait");
}
