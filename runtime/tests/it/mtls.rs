//! Who may talk to whom over mutual TLS, and what the server learns of its peer.

use std::sync::Arc;
use std::time::Duration;

use assent_runtime::mtls;
use assent_runtime::workload::testing::Authority;
use assent_runtime::workload::{ClientAuth, Name, Workload, request};
use linkerd2_proxy_api::identity::CertifyRequest;
use linkerd2_proxy_api::identity::identity_client::IdentityClient;
use tonic::Status;
use tonic::transport::Channel;

use super::{PATIENCE, start};

const HOUR: Duration = Duration::from_secs(3600);

async fn call(channel: Channel, name: &Name) -> Result<(), Status> {
    let (_, csr) = request(name).unwrap();
    let message = CertifyRequest { identity: name.to_string(), token: Vec::new(), certificate_signing_request: csr };
    tokio::time::timeout(PATIENCE, IdentityClient::new(channel).certify(message)).await.unwrap().map(|_| ())
}

fn causes(status: &Status) -> String {
    assent_runtime::telemetry::chain(status)
}

#[tokio::test]
async fn server_sees_the_callers_name_and_address() {
    let authority = Arc::new(Authority::new());
    let server = authority.workload("assent-system", "assent-director");
    let client = authority.workload("shop", "cart");
    let mut running = start(server.clone(), ClientAuth::Required, authority, HOUR).await;
    let channel = mtls::channel(&client, &running.address, server.own_name()).unwrap();
    call(channel, client.own_name()).await.unwrap();
    let peer = running.seen.recv().await.unwrap();
    assert_eq!(peer.name().unwrap(), client.own_name());
    assert!(peer.address.ip().is_loopback());
}

#[tokio::test]
async fn client_refuses_a_server_with_another_identity() {
    let authority = Arc::new(Authority::new());
    let server = authority.workload("shop", "impostor");
    let client = authority.workload("shop", "cart");
    let running = start(server, ClientAuth::Required, authority, HOUR).await;
    let expected = client.own_name().sibling("assent-system", "assent-director").unwrap();
    let refused = call(mtls::channel(&client, &running.address, &expected).unwrap(), &expected).await.unwrap_err();
    assert!(causes(&refused).contains("impostor"), "{}", causes(&refused));
}

#[tokio::test]
async fn both_sides_refuse_another_authority() {
    let ours = Arc::new(Authority::new());
    let foreign = Authority::new();
    let server = ours.workload("assent-system", "assent-director");
    let mut running = start(server.clone(), ClientAuth::Required, ours, HOUR).await;
    // Trusts only its own authority: refuses the server.
    let stranger = foreign.workload("shop", "cart");
    let refused = call(mtls::channel(&stranger, &running.address, server.own_name()).unwrap(), server.own_name()).await;
    let refused = causes(&refused.unwrap_err());
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    // Trusts the server, but shows a certificate of its own authority: is refused by the server.
    let (trust, _keep) = assent_runtime::workload::TrustBundle::supplied(
        assent_runtime::workload::Roots::parse(
            server.trust().current().certificates().iter().map(assent_runtime::workload::pem).collect::<String>().as_bytes(),
        )
        .unwrap(),
    );
    let (forger, sender) = Workload::supplied(stranger.own_name().clone(), trust);
    sender.send_replace(stranger.current());
    call(mtls::channel(&forger, &running.address, server.own_name()).unwrap(), server.own_name()).await.unwrap_err();
    assert!(running.seen.try_recv().is_err(), "no request may reach the service");
}

#[tokio::test]
async fn a_client_without_certificate_is_refused_unless_allowed() {
    let authority = Arc::new(Authority::new());
    let server = authority.workload("assent-system", "assent-identity");
    let client = authority.workload("shop", "cart");
    let mut strict = start(server.clone(), ClientAuth::Required, authority.clone(), HOUR).await;
    let channel = mtls::anonymous_channel(&client, &strict.address, server.own_name()).unwrap();
    call(channel, client.own_name()).await.unwrap_err();
    assert!(strict.seen.try_recv().is_err());
    let mut open = start(server.clone(), ClientAuth::Optional, authority, HOUR).await;
    let channel = mtls::anonymous_channel(&client, &open.address, server.own_name()).unwrap();
    call(channel, client.own_name()).await.unwrap();
    let peer = open.seen.recv().await.unwrap();
    assert_eq!(peer.name().unwrap_err().code(), tonic::Code::Unauthenticated);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_ends_its_connections() {
    let authority = Arc::new(Authority::new());
    let server = authority.workload("assent-system", "assent-director");
    let (client, certificates, _roots) = authority.renewable("shop", "cart");
    certificates.send_replace(Some(Arc::new(authority.certify(client.own_name(), Duration::from_secs(2)))));
    let mut running = start(server.clone(), ClientAuth::Required, authority, HOUR).await;
    let channel = mtls::channel(&client, &running.address, server.own_name()).unwrap();
    call(channel.clone(), client.own_name()).await.unwrap();
    let first = running.seen.recv().await.unwrap();
    // Calls go on over the same connection until its certificate is over; then none gets through.
    let refused = loop {
        match call(channel.clone(), client.own_name()).await {
            Ok(()) => assert_eq!(running.seen.recv().await.unwrap().address, first.address),
            Err(refused) => break refused,
        }
        tokio::task::yield_now().await;
    };
    assert!(client.current().is_none(), "refused before expiry: {}", causes(&refused));
}

#[tokio::test]
async fn roots_rotate_under_a_running_server() {
    let (old, new) = (Arc::new(Authority::new()), Arc::new(Authority::new()));
    let (server, certificates, roots) = old.renewable("assent-system", "assent-director");
    let running = start(server.clone(), ClientAuth::Required, old.clone(), HOUR).await;
    let both = || assent_runtime::workload::Roots::parse(format!("{}{}", old.pem(), new.pem()).as_bytes()).unwrap();
    let (late, _late_certificate, late_roots) = new.renewable("shop", "cart");
    late_roots.send_replace(Arc::new(both()));
    let attempt = || call(mtls::channel(&late, &running.address, server.own_name()).unwrap(), late.own_name());
    attempt().await.unwrap_err();
    roots.send_replace(Arc::new(both()));
    attempt().await.unwrap();
    // The old root goes: the server must have moved to the new one by then.
    certificates.send_replace(Some(Arc::new(new.certify(server.own_name(), HOUR))));
    roots.send_replace(Arc::new(new.roots()));
    late_roots.send_replace(Arc::new(new.roots()));
    attempt().await.unwrap();
    let early = old.workload("shop", "cart");
    call(mtls::channel(&early, &running.address, server.own_name()).unwrap(), early.own_name()).await.unwrap_err();
}
