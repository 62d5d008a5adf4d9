//! Tests of the shared serving code over real sockets: mutual TLS, renewal, root rotation and
//! webhook certificates. They need no cluster.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod mtls;
mod renewal;
mod serving;

use std::time::Duration;

use assent_runtime::CancellationToken;
use assent_runtime::mtls::PeerIdentity;
use assent_runtime::workload::testing::Authority;
use assent_runtime::workload::{ClientAuth, Name, Workload};
use linkerd2_proxy_api::identity::identity_server::{Identity, IdentityServer};
use linkerd2_proxy_api::identity::{CertifyRequest, CertifyResponse};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use x509_parser::prelude::FromDer as _;

/// Long enough for a slow machine, short enough to notice a hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// An identity service that signs whatever it is asked to and names its caller as an intermediate.
struct Signs {
    authority: std::sync::Arc<Authority>,
    life: Duration,
    seen: tokio::sync::mpsc::UnboundedSender<PeerIdentity>,
}

#[tonic::async_trait]
impl Identity for Signs {
    async fn certify(&self, request: Request<CertifyRequest>) -> Result<Response<CertifyResponse>, Status> {
        self.seen.send(PeerIdentity::of(&request)?.clone()).unwrap();
        let request = request.into_inner();
        let (_, csr) = x509_parser::certification_request::X509CertificationRequest::from_der(&request.certificate_signing_request).unwrap();
        let key = rcgen::SubjectPublicKeyInfo::from_der(csr.certification_request_info.subject_pki.raw).unwrap();
        let name: Name = request.identity.parse().unwrap();
        let leaf: CertificateDer<'_> = self.authority.sign(&name, &key, self.life);
        Ok(Response::new(CertifyResponse { leaf_certificate: leaf.to_vec(), intermediate_certificates: Vec::new(), valid_until: None }))
    }
}

/// A running server; stops when dropped.
struct Running {
    address: String,
    seen: tokio::sync::mpsc::UnboundedReceiver<PeerIdentity>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start(workload: Workload, auth: ClientAuth, authority: std::sync::Arc<Authority>, life: Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, seen) = tokio::sync::mpsc::unbounded_channel();
    let routes = Routes::new(IdentityServer::new(Signs { authority, life, seen: sender }));
    let task = tokio::spawn(async move {
        let limits = assent_runtime::Limits::default();
        assent_runtime::mtls::serve(listener, &workload, auth, limits, routes, CancellationToken::new()).await.unwrap();
    });
    Running { address, seen, task }
}
