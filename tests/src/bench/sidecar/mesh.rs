//! A control plane for sidecars under measurement: it signs for anybody, and knows for each address whether a sidecar is
//! behind it. It lies idle while anything is measured.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use assent_runtime::workload::testing::Authority;
use assent_runtime::workload::{ClientAuth, Name, Workload};
use assent_runtime::{CancellationToken, Limits, mtls};
use futures::{Stream, StreamExt as _, stream};
use linkerd2_proxy_api::destination::destination_server::{Destination, DestinationServer};
use linkerd2_proxy_api::destination::protocol_hint::OpaqueTransport;
use linkerd2_proxy_api::destination::tls_identity::{DnsLikeIdentity, Strategy};
use linkerd2_proxy_api::destination::{DestinationProfile, GetDestination, ProtocolHint, TlsIdentity, Update, WeightedAddr};
use linkerd2_proxy_api::identity::identity_server::{Identity, IdentityServer};
use linkerd2_proxy_api::identity::{CertifyRequest, CertifyResponse};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::bench::process::{Server, free_port, is_ready, program};

const SYSTEM: &str = "assent-system";
pub(super) const NAMESPACE: &str = "shop";
pub(super) const IDENTITY: &str = "assent-identity";
pub(super) const DISCOVERY: &str = "assent-discovery";
/// Longer than any benchmark.
const LIFE: Duration = Duration::from_secs(3600);

/// The control plane.
#[derive(Clone)]
pub struct Mesh(Arc<State>);

struct State {
    authority: Authority,
    /// Inbound port and account of the sidecar in front of an address.
    meshed: Mutex<HashMap<String, (u16, String)>>,
    files: tempfile::TempDir,
    binary: PathBuf,
}

/// A running sidecar.
#[derive(Debug)]
pub struct Sidecar {
    /// Its process.
    pub server: Server,
    /// Where the application's connections go.
    pub outbound: SocketAddr,
    /// Where peers connect.
    pub inbound: SocketAddr,
}

/// Addresses of identity and discovery.
#[derive(Clone, Copy, Debug)]
pub struct Services {
    /// At loopback.
    pub identity: SocketAddr,
    /// The same.
    pub discovery: SocketAddr,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("files", &self.0.files).finish_non_exhaustive()
    }
}

// === impl Mesh ===

impl Mesh {
    /// For sidecars that run `binary`.
    ///
    /// # Errors
    /// If its files cannot be written.
    pub fn new(binary: &Path) -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let authority = Authority::new();
        std::fs::write(files.path().join("roots.pem"), authority.pem())?;
        std::fs::write(files.path().join("token"), "anybody")?;
        Ok(Self(Arc::new(State { authority, meshed: Mutex::default(), files, binary: binary.to_owned() })))
    }

    /// Serves identity and discovery.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn serve(&self) -> anyhow::Result<Services> {
        let identity = self.listen(IDENTITY, ClientAuth::Optional, Routes::new(IdentityServer::new(self.clone()))).await?;
        let discovery = self.listen(DISCOVERY, ClientAuth::Required, Routes::new(DestinationServer::new(self.clone()))).await?;
        Ok(Services { identity, discovery })
    }

    async fn listen(&self, account: &str, auth: ClientAuth, routes: Routes) -> anyhow::Result<SocketAddr> {
        // At every address, for sidecars in network namespaces.
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await?;
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr()?.port()));
        let workload = self.0.authority.workload(SYSTEM, account);
        // It ends with the program.
        drop(tokio::spawn(async move { mtls::serve(listener, &workload, auth, Limits::default(), routes, CancellationToken::new()).await }));
        Ok(address)
    }

    /// Signs for everybody.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.0.authority
    }

    /// The sidecar that is measured.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.0.binary
    }

    /// The identity of `account`, for a client that is no sidecar.
    #[must_use]
    pub fn workload(&self, account: &str) -> Workload {
        self.0.authority.workload(NAMESPACE, account)
    }

    /// From now on, sidecars reach `address` through the sidecar of `account` at `inbound`.
    pub fn mesh(&self, address: SocketAddr, inbound: SocketAddr, account: &str) {
        let name = self.name(account).to_string();
        self.0.meshed.lock().unwrap_or_else(PoisonError::into_inner).insert(address.to_string(), (inbound.port(), name));
    }

    /// Workload name of `account`.
    #[must_use]
    pub fn name(&self, account: &str) -> Name {
        self.workload(account).own_name().clone()
    }

    /// A sidecar of `account`, whose application's connections go to `target`.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn sidecar(&self, services: Services, account: &str, target: Option<SocketAddr>) -> anyhow::Result<Sidecar> {
        let address = || -> anyhow::Result<SocketAddr> { Ok(SocketAddr::from(([127, 0, 0, 1], free_port()?))) };
        let (outbound, inbound, admin) = (address()?, address()?, address()?);
        let file = |name: &str| self.0.files.path().join(name);
        let mut command: Command = program(&self.0.binary);
        command
            .arg(format!("--outbound-address={outbound}"))
            // At every address, as in a pod: servers under measurement have addresses of their own.
            .arg(format!("--inbound-address=0.0.0.0:{}", inbound.port()))
            .arg(format!("--admin-address={admin}"))
            .arg(format!("--identity-service={}", services.identity))
            .arg(format!("--discovery-service={}", services.discovery))
            .arg(format!("--identity-token-file={}", file("token").display()))
            .arg(format!("--trust-bundle-file={}", file("roots.pem").display()))
            .arg(format!("--workload-namespace={NAMESPACE}"))
            .arg(format!("--workload-service-account={account}"))
            .args(["--workers=1", "--max-connections=12000", "--discovery-wait-ms=5000"]);
        if let Some(target) = target {
            command.arg(format!("--outbound-target={target}"));
        }
        let mut server = Server::start(&mut command, &file(&format!("{account}.log")))?;
        server.until("ready", Duration::from_secs(20), || is_ready(admin, "/ready")).with_context(|| format!("sidecar of {account}"))?;
        Ok(Sidecar { server, outbound, inbound })
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// One answer, then silence.
fn watch<T: Send + 'static>(answer: T) -> Answers<T> {
    Box::pin(stream::once(std::future::ready(Ok(answer))).chain(stream::pending()))
}

#[tonic::async_trait]
impl Destination for Mesh {
    type GetStream = Answers<Update>;
    type GetProfileStream = Answers<DestinationProfile>;

    async fn get(&self, _: Request<GetDestination>) -> Result<Response<Self::GetStream>, Status> {
        Err(Status::not_found("there are no services here"))
    }

    async fn get_profile(&self, request: Request<GetDestination>) -> Result<Response<Self::GetProfileStream>, Status> {
        let path = request.into_inner().path;
        let meshed = self.0.meshed.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
        let endpoint = meshed.map(|(port, name)| {
            let address: Result<SocketAddr, _> = path.parse();
            WeightedAddr {
                addr: address.ok().map(Into::into),
                weight: 1,
                tls_identity: Some(TlsIdentity { strategy: Some(Strategy::DnsLikeIdentity(DnsLikeIdentity { name })), server_name: None }),
                protocol_hint: Some(ProtocolHint { opaque_transport: Some(OpaqueTransport { inbound_port: port.into() }), ..Default::default() }),
                ..Default::default()
            }
        });
        Ok(Response::new(watch(DestinationProfile { endpoint, ..Default::default() })))
    }
}

#[tonic::async_trait]
impl Identity for Mesh {
    async fn certify(&self, request: Request<CertifyRequest>) -> Result<Response<CertifyResponse>, Status> {
        let request = request.into_inner();
        let refused = |error: &dyn std::fmt::Display| Status::invalid_argument(error.to_string());
        let asked = rcgen::CertificateSigningRequestParams::from_der(&request.certificate_signing_request.into()).map_err(|error| refused(&error))?;
        let name: Name = request.identity.parse().map_err(|error| refused(&error))?;
        let leaf = self.0.authority.sign(&name, &asked.public_key, LIFE);
        Ok(Response::new(CertifyResponse {
            leaf_certificate: leaf.to_vec(),
            intermediate_certificates: Vec::new(),
            valid_until: Some((SystemTime::now() + LIFE).into()),
        }))
    }
}
