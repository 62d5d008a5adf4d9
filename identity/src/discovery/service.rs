//! The two streaming calls. Each stream holds only what it last sent, recomputes its own answer when
//! the index changes, and stays silent when that answer is the same. Callers are workloads with a
//! certificate; which one asks makes no difference.

use linkerd2_proxy_api::destination::destination_server::Destination;
use linkerd2_proxy_api::destination::{DestinationProfile, GetDestination, Update};
use tonic::{Request, Response, Status};

use assent_runtime::mtls::PeerIdentity;

use super::following::{Answers, follow};
use super::index::Index;
use super::watch::Live;
use super::wire::{Sent, Wire};

/// The service behind `io.linkerd.proxy.destination.Destination`.
#[derive(Debug)]
pub(crate) struct Discovery {
    live: Live,
    wire: Wire,
}

// === impl Discovery ===

impl Discovery {
    pub(crate) fn new(live: Live, wire: Wire) -> Self {
        Self { live, wire }
    }
}

#[tonic::async_trait]
impl Destination for Discovery {
    type GetStream = Answers<Update>;
    type GetProfileStream = Answers<DestinationProfile>;

    async fn get(&self, request: Request<GetDestination>) -> Result<Response<Self::GetStream>, Status> {
        PeerIdentity::of(&request)?.name()?;
        let path = request.into_inner().path;
        let authority = self.wire.authority(&path).ok_or_else(|| Status::invalid_argument("not a service of this cluster"))?;
        let (wire, mut sent, mut first) = (self.wire.clone(), Sent::new(), true);
        Ok(Response::new(follow(&self.live, move |index| {
            let endpoints = index.endpoints(&authority.service, authority.port);
            let (updates, now) = wire.updates(&authority, &sent, endpoints.as_ref(), std::mem::take(&mut first));
            sent = now;
            Ok(updates)
        })))
    }

    async fn get_profile(&self, request: Request<GetDestination>) -> Result<Response<Self::GetProfileStream>, Status> {
        PeerIdentity::of(&request)?.name()?;
        let path = request.into_inner().path;
        let (wire, mut sent) = (self.wire.clone(), None);
        let profile: Box<dyn Fn(&Index) -> DestinationProfile + Send> = match (Wire::address(&path), wire.authority(&path)) {
            (Some(address), _) => Box::new(move |index| wire.profile(index, address)),
            (None, Some(authority)) => Box::new(move |_| wire.service_profile(&authority.service, authority.port)),
            (None, None) => {
                return Err(Status::invalid_argument("neither an address nor a service of this cluster"));
            }
        };
        Ok(Response::new(follow(&self.live, move |index| {
            let now = profile(index);
            if sent.as_ref() == Some(&now) {
                return Ok(Vec::new());
            }
            sent = Some(now.clone());
            Ok(vec![now])
        })))
    }
}
