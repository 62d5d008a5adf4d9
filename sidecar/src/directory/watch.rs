//! Follows one destination: asks discovery, applies what it says, and asks again when it falls silent.
//!
//! A stream that ends is opened again after a while, one that never answers is given up, and one that has lasted long is
//! replaced, whatever it looks like. Until the new one speaks, what the old one said stays; an answer that empties a
//! service at once is believed only when nothing follows it. It keeps no route of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use assent_runtime::backoff::Backoff;
use assent_runtime::workload::Name;
use linkerd2_proxy_api::destination::destination_client::DestinationClient;
use linkerd2_proxy_api::destination::{DestinationProfile, GetDestination, Update, WeightedAddr, tls_identity, update};
use tokio::sync::watch as channel;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::pool::{Endpoint, Peer, Pool};
use super::{Destination, INBOUND_PORT, Route};
use crate::control;

/// How long each kind of silence is borne.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until the first answer of a stream.
    pub(super) answer: Duration,
    /// Life of a stream that works, at most.
    pub(super) lifetime: Duration,
    /// Until it is believed that a service which had endpoints has none, if that is the first thing a stream says: it may
    /// come from a control plane that has just started and not read the cluster yet.
    pub(super) emptiness: Duration,
    /// Before asking again about an address that discovery does not know.
    pub(super) unknown: Duration,
}

/// The watch over one destination.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) client: DestinationClient<Channel>,
    pub(super) context: String,
    pub(super) address: SocketAddr,
    pub(super) destination: Arc<Destination>,
    pub(super) version: Arc<channel::Sender<u64>>,
    pub(super) patience: Patience,
}

/// A service as one stream tells of it.
struct Service {
    name: String,
    updates: Streaming<Update>,
    pool: Arc<Pool>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has said nothing; at this time it is given up.
    Silent(Instant),
    /// All it said is that there is nobody; at this time it is believed.
    Empty(Instant),
    /// It has named endpoints, or is believed to have none.
    Told,
}

// === impl Patience ===

impl Default for Patience {
    fn default() -> Self {
        Self { answer: control::ANSWER, lifetime: control::LIFETIME, emptiness: Duration::from_secs(10), unknown: Duration::from_secs(60) }
    }
}

// === impl Watch ===

impl Watch {
    /// Keeps the route up to date for ever.
    pub(super) async fn follow(self) {
        let mut backoff = control::backoff();
        loop {
            let lifetime = control::spread(self.patience.lifetime);
            let ended = tokio::time::timeout(lifetime, self.stream(&mut backoff)).await;
            let code = match &ended {
                Ok(Err(status)) => status.code(),
                Ok(Ok(())) | Err(_) => Code::Ok,
            };
            if matches!(code, Code::NotFound | Code::InvalidArgument | Code::Unimplemented) {
                self.publish(|_| Some(Route::Plain));
                tokio::time::sleep(self.patience.unknown).await;
            }
            self.destination.lost();
            // One that has lived its time is replaced at once.
            if ended.is_ok() {
                tracing::debug!(destination = %self.address, ?code, "discovery ended");
                backoff.wait().await;
            }
        }
    }

    /// Follows one profile stream, and under it the endpoints of the service that it names, to its end.
    async fn stream(&self, backoff: &mut Backoff) -> Result<(), Status> {
        let mut client = self.client.clone();
        let mut profiles = self.answered(client.get_profile(self.request(self.address.to_string()))).await?.into_inner();
        let Some(first) = self.answered(profiles.message()).await? else { return Ok(()) };
        backoff.reset();
        let mut service = self.profile(first, None).await?;
        loop {
            let deadline = service.as_ref().and_then(|service| service.stage.deadline());
            tokio::select! {
                profile = profiles.message() => match profile? {
                    Some(profile) => service = self.profile(profile, service).await?,
                    None => return Ok(()),
                },
                update = update_of(&mut service) => match (update?, &mut service) {
                    (Some(update), Some(service)) => self.update(service, update),
                    _ => return Ok(()),
                },
                () = passed(deadline) => match &mut service {
                    Some(service) if matches!(service.stage, Stage::Empty(_)) => self.empty(service),
                    _ => return Err(control::unanswered()),
                },
            }
        }
    }

    /// Takes up a profile; returns the service to follow from now on, which may be the one followed so far.
    async fn profile(&self, profile: DestinationProfile, service: Option<Service>) -> Result<Option<Service>, Status> {
        if let Some((address, peer)) = profile.endpoint.as_ref().and_then(endpoint) {
            // The same endpoint again keeps its connection count and its failures.
            self.publish(|route| match route {
                Some(Route::Endpoint(known)) if known.address == address && known.peer == peer => None,
                _ => Some(Route::Endpoint(Endpoint::new(address, peer))),
            });
            return Ok(None);
        }
        let name = profile.fully_qualified_name;
        if name.is_empty() {
            self.publish(|_| Some(Route::Plain));
            return Ok(None);
        }
        if let Some(service) = service.filter(|service| service.name == name) {
            return Ok(Some(service));
        }
        let mut client = self.client.clone();
        let updates = self.answered(client.get(self.request(format!("{name}:{}", self.address.port())))).await?.into_inner();
        // What an earlier stream said stays until this one speaks.
        let pool = match &*self.destination.route.borrow() {
            Some(Route::Service(pool)) => pool.clone(),
            _ => Arc::default(),
        };
        Ok(Some(Service { name, updates, pool, stage: Stage::Silent(Instant::now() + self.patience.answer) }))
    }

    fn update(&self, service: &mut Service, update: Update) {
        let told = service.stage == Stage::Told;
        match update.update {
            Some(update::Update::Add(set)) if told || !set.addrs.is_empty() => {
                let added: Vec<_> = set.addrs.iter().filter_map(endpoint).collect();
                if told {
                    service.pool.add(added)
                } else {
                    service.pool.replace(added)
                }
                self.tell(service);
            }
            Some(update::Update::Remove(set)) if told => {
                let removed: Vec<_> = set.addrs.into_iter().filter_map(|address| SocketAddr::try_from(address).ok()).collect();
                service.pool.remove(&removed);
                self.tell(service);
            }
            Some(update::Update::Add(_) | update::Update::NoEndpoints(_)) => {
                if told || service.pool.is_empty() {
                    self.empty(service);
                } else if let Stage::Silent(_) = service.stage {
                    service.stage = Stage::Empty(Instant::now() + self.patience.emptiness);
                }
            }
            // What this stream never added, or nothing that is known here.
            Some(update::Update::Remove(_)) | None => {}
        }
    }

    fn empty(&self, service: &mut Service) {
        service.pool.clear();
        self.tell(service);
    }

    fn tell(&self, service: &mut Service) {
        service.stage = Stage::Told;
        self.publish(|route| match route {
            Some(Route::Service(known)) if Arc::ptr_eq(known, &service.pool) => None,
            _ => Some(Route::Service(service.pool.clone())),
        });
    }

    /// Discovery has spoken; `new` says what the route becomes, if it changes.
    fn publish(&self, new: impl FnOnce(Option<&Route>) -> Option<Route>) {
        self.destination.heard();
        self.destination.route.send_if_modified(|route| match new(route.as_ref()) {
            Some(new) => {
                *route = Some(new);
                true
            }
            None => false,
        });
        self.version.send_modify(|version| *version += 1);
    }

    async fn answered<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        control::answered(self.patience.answer, call).await
    }

    fn request(&self, path: String) -> GetDestination {
        GetDestination { scheme: "k8s".to_owned(), path, context_token: self.context.clone() }
    }
}

// === impl Stage ===

impl Stage {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Silent(at) | Self::Empty(at) => Some(at),
            Self::Told => None,
        }
    }
}

async fn update_of(service: &mut Option<Service>) -> Result<Option<Update>, Status> {
    match service {
        Some(service) => service.updates.message().await,
        None => std::future::pending().await,
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
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
}
