//! Who is behind an address: discovery over `linkerd2-proxy-api`, learned per destination and kept.
//!
//! Each destination that the application dials is watched from then on; the first connection waits briefly for the answer
//! and goes the plain way when there is none. Answers outlive the control plane, and on a memory-backed volume this process
//! too: the last one stays until there is a newer one, and how old it is can be seen. The number of destinations is
//! bounded. This module connects to nothing but discovery.

mod described;
mod kept;
mod metrics;
pub(crate) mod pool;
mod snapshot;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linkerd2_proxy_api::destination::destination_client::DestinationClient;
use tokio::runtime::Handle;
use tokio::sync::watch as channel;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;

use metrics::Counts;
use pool::{Cause, Endpoint, Pool};
use snapshot::{Kind, Saved};
use watch::{Patience, Watch};

pub(crate) use kept::keep;

/// Destinations watched at once; the least recently used leaves first.
const MAX_DESTINATIONS: usize = 512;
const IDLE: Duration = Duration::from_secs(600);
/// Where sidecars take mTLS connections unless discovery says otherwise.
pub(crate) const INBOUND_PORT: u16 = 4143;

/// Where connections to one address go.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Nothing is known about it: to itself, in plain.
    Plain,
    /// One pod.
    Endpoint(Arc<Endpoint>),
    /// A service.
    Service(Arc<Pool>),
}

#[derive(Debug)]
pub(crate) struct Directory {
    client: DestinationClient<Channel>,
    context: String,
    wait: Duration,
    patience: Patience,
    control: Handle,
    entries: Mutex<HashMap<SocketAddr, Entry>>,
    /// Grows with every answer; what is kept on the volume follows it.
    version: Arc<channel::Sender<u64>>,
    counts: Counts,
}

#[derive(Debug)]
struct Entry {
    destination: Arc<Destination>,
    created: Instant,
    used: Instant,
    _watching: AbortOnDropHandle<()>,
}

/// What is known of one destination.
#[derive(Debug)]
struct Destination {
    route: channel::Sender<Option<Route>>,
    news: Mutex<News>,
}

/// How fresh that is.
#[derive(Clone, Copy, Debug)]
struct News {
    /// Discovery is there: it has answered on the stream that is open now.
    live: bool,
    /// It comes from the volume, and discovery has not confirmed it since.
    restored: bool,
    /// Since discovery was last there.
    heard: Age,
    /// Since it last said something.
    told: Age,
}

/// Time since a moment that may have been before this process began.
#[derive(Clone, Copy, Debug)]
struct Age {
    since: Instant,
    before: Duration,
}

// === impl Directory ===

impl Directory {
    /// A directory that asks over `channel` in the name of the pod that `context` describes, from tasks on `control`. A
    /// first connection waits at most `wait`.
    pub(crate) fn new(channel: Channel, context: String, wait: Duration, control: Handle) -> Self {
        Self {
            client: DestinationClient::new(channel),
            context,
            wait,
            patience: Patience::default(),
            control,
            entries: Mutex::default(),
            version: Arc::default(),
            counts: Counts::default(),
        }
    }

    /// The route to `address`, or none when it is not known in time.
    pub(crate) async fn route(&self, address: SocketAddr) -> Option<Route> {
        let (mut route, created) = self.entry(address);
        if let Some(route) = &*route.borrow() {
            return Some(route.clone());
        }
        let known = tokio::time::timeout_at(created + self.wait, route.wait_for(Option::is_some)).await;
        known.ok()?.ok()?.clone()
    }

    /// An endpoint could not be reached; `opened` if it is left alone from now on.
    pub(crate) fn failed(&self, cause: Cause, opened: bool) {
        self.counts.failed(cause, opened);
    }

    fn entry(&self, address: SocketAddr) -> (channel::Receiver<Option<Route>>, Instant) {
        let now = Instant::now();
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(&address) {
            entry.used = now;
            return (entry.destination.route.subscribe(), entry.created);
        }
        entries.retain(|_, entry| now.duration_since(entry.used) < IDLE);
        if entries.len() >= MAX_DESTINATIONS
            && let Some(oldest) = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(address, _)| *address)
        {
            entries.remove(&oldest);
        }
        let destination = Destination::new(None, Age::new(now, Duration::ZERO));
        let route = destination.route.subscribe();
        entries.insert(address, self.watched(address, destination, now));
        (route, now)
    }

    fn watched(&self, address: SocketAddr, destination: Destination, now: Instant) -> Entry {
        let destination = Arc::new(destination);
        let watch = Watch {
            client: self.client.clone(),
            context: self.context.clone(),
            address,
            destination: destination.clone(),
            version: self.version.clone(),
            patience: self.patience,
        };
        let watching = self.control.spawn(watch.follow());
        Entry { destination, created: now, used: now, _watching: AbortOnDropHandle::new(watching) }
    }

    /// Takes up what an earlier process knew `age` ago each. It is used until discovery answers.
    fn restore(&self, saved: Vec<(Saved, Duration)>) {
        let now = Instant::now();
        let mut entries = self.entries();
        for (saved, age) in saved.into_iter().take(MAX_DESTINATIONS) {
            let route = match saved.kind {
                Kind::Pod => saved.endpoints.into_iter().next().map(|(address, peer)| Route::Endpoint(Endpoint::new(address, peer))),
                Kind::Service => {
                    let pool = Pool::default();
                    pool.add(saved.endpoints);
                    Some(Route::Service(Arc::new(pool)))
                }
            };
            let destination = Destination::new(route, Age::new(now, age));
            entries.insert(saved.address, self.watched(saved.address, destination, now));
        }
    }

    /// What a later process could use, most recently used first, each with the time since discovery was last there.
    fn known(&self) -> Vec<(Saved, Duration)> {
        let now = Instant::now();
        let mut known: Vec<_> = self.entries().iter().map(|(address, entry)| (entry.used, *address, entry.destination.clone())).collect();
        known.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let saved = |(_, address, destination): (Instant, SocketAddr, Arc<Destination>)| {
            let described = |endpoint: &Arc<Endpoint>| (endpoint.address, endpoint.peer.clone());
            let (kind, endpoints) = match &*destination.route.borrow() {
                None | Some(Route::Plain) => return None,
                Some(Route::Endpoint(endpoint)) => (Kind::Pod, vec![described(endpoint)]),
                Some(Route::Service(pool)) => (Kind::Service, pool.endpoints().iter().map(described).collect()),
            };
            Some((Saved { address, kind, endpoints }, destination.news().stale(now)))
        };
        known.into_iter().filter_map(saved).filter(|(saved, _)| !saved.endpoints.is_empty()).collect()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<SocketAddr, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Destination ===

impl Destination {
    fn new(route: Option<Route>, age: Age) -> Self {
        let restored = route.is_some();
        Self { route: channel::Sender::new(route), news: Mutex::new(News { live: false, restored, heard: age, told: age }) }
    }

    fn news(&self) -> News {
        *self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Discovery said something about it.
    fn heard(&self) {
        let age = Age::new(Instant::now(), Duration::ZERO);
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = News { live: true, restored: false, heard: age, told: age };
    }

    /// Discovery is not there any more.
    fn lost(&self) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut news.live, false) {
            news.heard = Age::new(Instant::now(), Duration::ZERO);
        }
    }
}

// === impl News ===

impl News {
    /// Time for which discovery has not been there. A stream that is open and silent is no sign of age: were its transport
    /// dead, the channel's keepalive would have ended it.
    fn stale(&self, now: Instant) -> Duration {
        if self.live { Duration::ZERO } else { self.heard.at(now) }
    }
}

// === impl Age ===

impl Age {
    fn new(since: Instant, before: Duration) -> Self {
        Self { since, before }
    }

    fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since) + self.before
    }
}

/// Uniform enough for balancing and jitter, and nothing else.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
