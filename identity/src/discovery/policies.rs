//! Who may talk to a port of a pod, told to that pod alone: the caller's certificate names the pod's account and it calls
//! from the pod's address. A pod that is not known yet is answered as soon as it is.

use std::fmt;
use std::net::IpAddr;

use assent_runtime::metrics::collector::Collector;
use assent_runtime::metrics::encoding::DescriptorEncoder;
use assent_runtime::metrics::metrics::MetricType;
use assent_runtime::mtls::PeerIdentity;
use assent_runtime::workload::Name;
use linkerd2_proxy_api::inbound::inbound_server_policies_server::InboundServerPolicies;
use linkerd2_proxy_api::inbound::{PortSpec, Server};
use tonic::{Request, Response, Status};

use super::following::{Answers, follow};
use super::index::{Index, Key};
use super::watch::Live;
use super::wire::Wire;

/// Longest description of a workload that is read, in bytes; namespace and name are at most 316.
const MAX_WORKLOAD: usize = 512;

/// The service behind `io.linkerd.proxy.inbound.InboundServerPolicies`.
#[derive(Debug)]
pub(crate) struct Policies {
    live: Live,
    wire: Wire,
}

/// What is asked, and by whom.
#[derive(Clone, Debug)]
struct Asked {
    caller: Name,
    address: IpAddr,
    pod: Key,
    port: u16,
}

/// A workload as proxies describe theirs.
#[derive(serde::Deserialize)]
struct Described {
    ns: String,
    pod: String,
}

// === impl Policies ===

impl Policies {
    pub(crate) fn new(live: Live, wire: Wire) -> Self {
        Self { live, wire }
    }
}

#[tonic::async_trait]
impl InboundServerPolicies for Policies {
    type WatchPortStream = Answers<Server>;

    async fn get_port(&self, request: Request<PortSpec>) -> Result<Response<Server>, Status> {
        let asked = Asked::of(request)?;
        let server = asked.answer(&self.live.read(), &self.wire)?;
        server.map(Response::new).ok_or_else(|| Status::unavailable("the pod is not known yet"))
    }

    async fn watch_port(&self, request: Request<PortSpec>) -> Result<Response<Self::WatchPortStream>, Status> {
        let asked = Asked::of(request)?;
        // Refused before a stream is opened; later changes are looked at again.
        asked.answer(&self.live.read(), &self.wire)?;
        let (wire, mut sent) = (self.wire.clone(), None);
        Ok(Response::new(follow(&self.live, move |index| match asked.answer(index, &wire)? {
            Some(server) if sent.as_ref() == Some(&server) => Ok(Vec::new()),
            Some(server) => Ok(vec![sent.insert(server).clone()]),
            None if sent.is_some() => Err(Status::not_found("the pod is gone")),
            None => Ok(Vec::new()),
        })))
    }
}

// === impl Asked ===

impl Asked {
    fn of(request: Request<PortSpec>) -> Result<Self, Status> {
        let peer = PeerIdentity::of(&request)?;
        let (caller, address) = (peer.name()?.clone(), peer.address.ip().to_canonical());
        let PortSpec { workload, port } = request.into_inner();
        let described = (workload.len() <= MAX_WORKLOAD).then(|| serde_json::from_str::<Described>(&workload).ok()).flatten();
        let described = described.ok_or_else(|| Status::invalid_argument("the workload is not described as {\"ns\",\"pod\"}"))?;
        let port = u16::try_from(port).ok().filter(|port| *port != 0).ok_or_else(|| Status::invalid_argument("no such port"))?;
        Ok(Self { caller, address, pod: Key { namespace: described.ns, name: described.pod }, port })
    }

    /// The policy, or none while the pod or its address is not known yet.
    ///
    /// # Errors
    /// If the pod is not the caller.
    fn answer(&self, index: &Index, wire: &Wire) -> Result<Option<Server>, Status> {
        let refused = || Status::permission_denied("a pod is told of its own policies only");
        if self.caller.namespace() != self.pod.namespace || self.caller.authority() != wire.own().authority() {
            return Err(refused());
        }
        let Some(pod) = index.find(&self.pod) else { return Ok(None) };
        if self.caller.account() != pod.account {
            return Err(refused());
        }
        if pod.addresses.is_empty() {
            return Ok(None);
        }
        if !pod.addresses.contains(&self.address) {
            return Err(refused());
        }
        Ok(Some(wire.server(index, pod, self.port)))
    }
}

/// How many annotations have entries that let in nobody because they make no sense.
#[derive(Debug)]
pub(crate) struct Malformed(pub(crate) Live);

impl Collector for Malformed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Objects whose annotation assent.dev/inbound-identities has entries that make no sense and let in nobody";
        let mut family = encoder.encode_descriptor("malformed_annotations", help, None, MetricType::Gauge)?;
        for (kind, count) in ["namespace", "pod"].into_iter().zip(self.0.read().malformed()) {
            family.encode_family(&[("kind", kind)])?.encode_gauge(&i64::try_from(count).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }
}
