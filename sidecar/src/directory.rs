//! Who is behind an address: discovery over `linkerd2-proxy-api`, learned per destination and kept.
//!
//! Each destination that the application dials is watched from then on; the first connection waits briefly for the answer
//! and goes the plain way when there is none. Answers outlive the control plane: a broken stream is retried while the last
//! answer stays. The number of destinations is bounded. This module connects to nothing but discovery.

pub(crate) mod pool;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use assent_runtime::workload::Name;
use linkerd2_proxy_api::destination::destination_client::DestinationClient;
use linkerd2_proxy_api::destination::{DestinationProfile, GetDestination, Update, WeightedAddr, tls_identity, update};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::Streaming;
use tonic::transport::Channel;

use pool::{Endpoint, Peer, Pool};

/// Destinations watched at once; the least recently used leaves first.
const MAX_DESTINATIONS: usize = 512;
const IDLE: Duration = Duration::from_secs(600);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Where sidecars take mTLS connections unless discovery says otherwise.
pub(crate) const INBOUND_PORT: u16 = 4143;
/// Before asking again about an address that discovery does not know.
const UNKNOWN_RETRY: Duration = Duration::from_secs(60);

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
    control: Handle,
    entries: Mutex<HashMap<SocketAddr, Entry>>,
}

#[derive(Debug)]
struct Entry {
    route: watch::Receiver<Option<Route>>,
    created: Instant,
    used: Instant,
    _watching: AbortOnDropHandle<()>,
}

// === impl Directory ===

impl Directory {
    /// A directory that asks over `channel` in the name of the pod that `context` describes, from tasks on `control`. A
    /// first connection waits at most `wait`.
    pub(crate) fn new(channel: Channel, context: String, wait: Duration, control: Handle) -> Self {
        Self { client: DestinationClient::new(channel), context, wait, control, entries: Mutex::default() }
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

    fn entry(&self, address: SocketAddr) -> (watch::Receiver<Option<Route>>, Instant) {
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&address) {
            entry.used = now;
            return (entry.route.clone(), entry.created);
        }
        entries.retain(|_, entry| now.duration_since(entry.used) < IDLE);
        if entries.len() >= MAX_DESTINATIONS
            && let Some(oldest) = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(address, _)| *address)
        {
            entries.remove(&oldest);
        }
        let (sender, route) = watch::channel(None);
        let watching = self.control.spawn(follow(self.client.clone(), self.context.clone(), address, sender));
        let entry = Entry { route: route.clone(), created: now, used: now, _watching: AbortOnDropHandle::new(watching) };
        entries.insert(address, entry);
        (route, now)
    }
}

/// Keeps the route to `address` up to date for ever.
async fn follow(mut client: DestinationClient<Channel>, context: String, address: SocketAddr, route: watch::Sender<Option<Route>>) {
    let request = |path: String| GetDestination { scheme: "k8s".to_owned(), path, context_token: context.clone() };
    let mut retry = FIRST_RETRY;
    loop {
        let ended = match client.get_profile(request(address.to_string())).await {
            Ok(profiles) => {
                retry = FIRST_RETRY;
                profiles_of(&mut client, &request, address, profiles.into_inner(), &route).await
            }
            Err(status) => Some(status),
        };
        let unknown = ended.is_some_and(|status| {
            use tonic::Code;
            tracing::debug!(destination = %address, code = ?status.code(), "discovery ended");
            matches!(status.code(), Code::NotFound | Code::InvalidArgument | Code::Unimplemented)
        });
        if unknown {
            route.send_replace(Some(Route::Plain));
            tokio::time::sleep(UNKNOWN_RETRY).await;
            continue;
        }
        // Spread over half the time, so that a returning control plane is not met by everybody at once.
        tokio::time::sleep(retry.mul_f64(0.5 + 0.5 * (random() as f64 / u64::MAX as f64))).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
}

/// Follows one profile stream, and under it the endpoints of the service that it names. Returns how it ended.
async fn profiles_of(
    client: &mut DestinationClient<Channel>,
    request: &impl Fn(String) -> GetDestination,
    address: SocketAddr,
    mut profiles: Streaming<DestinationProfile>,
    route: &watch::Sender<Option<Route>>,
) -> Option<tonic::Status> {
    let mut service: Option<(String, Streaming<Update>, Arc<Pool>, bool)> = None;
    loop {
        let update = async {
            match &mut service {
                Some((_, updates, _, _)) => updates.message().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            profile = profiles.message() => {
                let profile = match profile {
                    Ok(Some(profile)) => profile,
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                };
                if let Some(endpoint) = profile.endpoint.as_ref().and_then(endpoint) {
                    service = None;
                    // The same endpoint again keeps its connection count.
                    route.send_if_modified(|route| match route {
                        Some(Route::Endpoint(known)) if known.address == endpoint.0 && known.peer == endpoint.1 => false,
                        _ => { *route = Some(Route::Endpoint(Endpoint::new(endpoint.0, endpoint.1))); true }
                    });
                } else if profile.fully_qualified_name.is_empty() {
                    service = None;
                    route.send_replace(Some(Route::Plain));
                } else if service.as_ref().is_none_or(|(name, ..)| *name != profile.fully_qualified_name) {
                    let name = profile.fully_qualified_name;
                    let updates = match client.get(request(format!("{name}:{}", address.port()))).await {
                        Ok(updates) => updates.into_inner(),
                        Err(status) => return Some(status),
                    };
                    // What an earlier stream said stays until this one speaks.
                    let pool = match &*route.borrow() {
                        Some(Route::Service(pool)) => pool.clone(),
                        _ => Arc::default(),
                    };
                    service = Some((name, updates, pool, false));
                }
            }
            update = update => {
                let update = match update {
                    Ok(Some(update)) => update,
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                };
                let Some((_, _, pool, spoken)) = &mut service else { continue };
                apply(pool, update, !std::mem::replace(spoken, true));
                route.send_if_modified(|route| match route {
                    Some(Route::Service(known)) if Arc::ptr_eq(known, pool) => false,
                    _ => { *route = Some(Route::Service(pool.clone())); true }
                });
            }
        }
    }
}

fn apply(pool: &Pool, update: Update, first: bool) {
    match update.update {
        Some(update::Update::Add(set)) => {
            let added: Vec<_> = set.addrs.iter().filter_map(endpoint).collect();
            if first { pool.replace(added) } else { pool.add(added) }
        }
        Some(update::Update::Remove(set)) => {
            let removed: Vec<_> = set.addrs.into_iter().filter_map(|address| SocketAddr::try_from(address).ok()).collect();
            pool.remove(&removed);
        }
        Some(update::Update::NoEndpoints(_)) => pool.clear(),
        None => {}
    }
}

/// An endpoint as discovery describes it. Only names of our own form can be verified; any other identity counts as none.
fn endpoint(weighted: &WeightedAddr) -> Option<(SocketAddr, Option<Peer>)> {
    let address = SocketAddr::try_from(weighted.addr?).ok()?;
    let identity = weighted.tls_identity.as_ref().and_then(|identity| match identity.strategy.as_ref()? {
        tls_identity::Strategy::DnsLikeIdentity(name) => name.name.parse::<Name>().ok(),
        tls_identity::Strategy::UriLikeIdentity(_) => None,
    });
    let inbound = weighted.protocol_hint.as_ref().and_then(|hint| hint.opaque_transport.as_ref());
    // A peer with an identity is never talked to in plain because its port was left out.
    let inbound_port = inbound.and_then(|transport| u16::try_from(transport.inbound_port).ok()).filter(|port| *port != 0);
    let peer = identity.map(|identity| Peer { identity, inbound_port: inbound_port.unwrap_or(INBOUND_PORT) });
    Some((address, peer))
}

/// Uniform enough for balancing and jitter, and nothing else.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use linkerd2_proxy_api::destination::{ProtocolHint, TlsIdentity, protocol_hint::OpaqueTransport};
    use linkerd2_proxy_api::net::TcpAddress;

    use super::*;

    const NAME: &str = "cart.shop.serviceaccount.identity.assent-system.cluster.local";

    fn weighted(name: Option<&str>, inbound: Option<u32>) -> WeightedAddr {
        let strategy = |name: &str| tls_identity::Strategy::DnsLikeIdentity(tls_identity::DnsLikeIdentity { name: name.into() });
        WeightedAddr {
            addr: Some(TcpAddress::from(SocketAddr::from(([10, 0, 0, 1], 8080)))),
            tls_identity: name.map(|name| TlsIdentity { strategy: Some(strategy(name)), server_name: None }),
            protocol_hint: inbound.map(|inbound_port| ProtocolHint { opaque_transport: Some(OpaqueTransport { inbound_port }), ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn an_endpoint_with_an_identity_is_meshed() {
        let peer = |weighted| endpoint(&weighted).unwrap().1;
        let expected = |inbound_port| Some(Peer { identity: NAME.parse().unwrap(), inbound_port });
        assert_eq!(peer(weighted(Some(NAME), Some(4000))), expected(4000));
        for port in [None, Some(0), Some(70_000)] {
            assert_eq!(peer(weighted(Some(NAME), port)), expected(INBOUND_PORT));
        }
        assert_eq!(peer(weighted(None, Some(4143))), None);
        assert_eq!(peer(weighted(Some("x"), Some(4143))), None);
        assert!(endpoint(&WeightedAddr::default()).is_none());
    }

    #[tokio::test]
    async fn without_an_answer_the_first_connection_waits_once_and_destinations_are_bounded() {
        // Port 9 of the discard prefix: the channel never connects.
        let channel = tonic::transport::Endpoint::from_static("http://[100::1]:9").connect_lazy();
        let directory = Directory::new(channel, String::new(), Duration::from_millis(5), Handle::current());
        for n in 0..2000u16 {
            drop(directory.entry(SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 80))));
        }
        assert_eq!(directory.entries.lock().unwrap().len(), MAX_DESTINATIONS);
        let address = SocketAddr::from(([10, 9, 9, 9], 80));
        assert!(directory.route(address).await.is_none());
        let again = Instant::now();
        assert!(directory.route(address).await.is_none());
        assert!(again.elapsed() < Duration::from_millis(4), "later connections do not wait");
    }
}
