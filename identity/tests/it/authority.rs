//! Certification against real token reviews: one pod that may, and everybody who may not; and the
//! trust bundle's way into namespaces.

use std::time::{Duration, SystemTime};

use assent_runtime::mtls;
use assent_runtime::workload::{Workload, request};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use linkerd2_proxy_api::identity::CertifyRequest;
use linkerd2_proxy_api::identity::identity_client::IdentityClient;
use serde_json::json;
use tonic::Code;
use tonic::transport::Channel;

use super::fixture::{Fixture, PATIENCE, SYSTEM, apply, eventually};

const OURS: &str = "identity.assent.dev";

struct Asks {
    client: IdentityClient<Channel>,
    workload: Workload,
}

impl Asks {
    async fn as_account(&mut self, account: &str, token: &str) -> Result<(), (Code, String)> {
        let name = self.workload.own_name().sibling("shop", account).unwrap();
        let (_, csr) = request(&name).unwrap();
        let message = CertifyRequest { identity: name.to_string(), token: token.into(), certificate_signing_request: csr };
        match self.client.certify(message).await {
            Ok(_) => Ok(()),
            Err(status) => Err((status.code(), status.message().to_owned())),
        }
    }
}

#[tokio::test]
async fn certifies_a_living_pod_and_nobody_else() {
    let fixture = Fixture::start("identity").await;
    let pod = fixture.pod("cart-1", "cart").await;
    let good = fixture.issue("cart", OURS, Some(&pod)).await;
    let args = fixture.workload("shop", "cart", &good).await;
    let (workload, renewal) = Workload::open(&args).await.unwrap();
    let renewing = tokio::spawn(renewal.run());
    let certified = tokio::time::timeout(PATIENCE, workload.ready()).await.unwrap().unwrap();
    assert_eq!(certified.name().as_str(), "cart.shop.serviceaccount.identity.assent-system.cluster.local");
    let life = certified.not_after().duration_since(SystemTime::now()).unwrap();
    assert!(life > Duration::from_secs(23 * 3600) && life < Duration::from_secs(25 * 3600), "{life:?}");
    assert_eq!(certified.chain().len(), 2, "leaf and issuer, without the root");

    let server = workload.own_name().sibling(SYSTEM, "assent-identity").unwrap();
    let channel = mtls::anonymous_channel(&workload, &fixture.identity, &server).unwrap();
    let mut asks = Asks { client: IdentityClient::new(channel), workload };
    asks.as_account("cart", &good).await.unwrap();

    // Another's name with a genuine token.
    let (code, reason) = asks.as_account("bank", &good).await.unwrap_err();
    assert_eq!(code, Code::FailedPrecondition, "{reason}");
    assert!(reason.starts_with("requested identity did not match the token"), "{reason}");
    // Not a token at all; a token for the API server or for linkerd.
    assert_eq!(asks.as_account("cart", "nonsense").await.unwrap_err().0, Code::InvalidArgument);
    for audience in ["https://kubernetes.default.svc", "identity.l5d.io"] {
        let foreign = fixture.issue("cart", audience, Some(&pod)).await;
        let (code, reason) = asks.as_account("cart", &foreign).await.unwrap_err();
        assert!(matches!(code, Code::InvalidArgument | Code::FailedPrecondition), "{reason}");
    }
    // A genuine token for us that no pod holds.
    let unbound = fixture.issue("cart", OURS, None).await;
    let refused = asks.as_account("cart", &unbound).await.unwrap_err();
    assert_eq!(refused, (Code::FailedPrecondition, "the token is not bound to a pod".to_owned()));
    // The pod is on its way out: the API server still takes its token for a while, we do not.
    let pods = Api::<Pod>::namespaced(fixture.client.clone(), "shop");
    let finalizers = json!({"metadata": {"finalizers": ["test.assent.dev/hold"]}});
    pods.patch("cart-1", &PatchParams::default(), &Patch::Merge(&finalizers)).await.unwrap();
    pods.delete("cart-1", &DeleteParams::default()).await.unwrap();
    let refused = asks.as_account("cart", &good).await.unwrap_err();
    assert_eq!(refused, (Code::FailedPrecondition, "the pod is terminating".to_owned()));
    // Gone, and another one under its name: the token belongs to neither.
    let release = json!({"metadata": {"finalizers": null}});
    pods.patch("cart-1", &PatchParams::default(), &Patch::Merge(&release)).await.unwrap();
    eventually("the pod's end", async || pods.get_opt("cart-1").await.unwrap().is_none().then_some(())).await;
    let (code, reason) = asks.as_account("cart", &good).await.unwrap_err();
    assert!(matches!(code, Code::InvalidArgument | Code::FailedPrecondition), "{reason}");
    fixture.pod("cart-1", "cart").await;
    let (code, reason) = asks.as_account("cart", &good).await.unwrap_err();
    assert!(matches!(code, Code::InvalidArgument | Code::FailedPrecondition), "{reason}");

    // The root's key was discarded: the Secret holds the issuer's only.
    let secret = Api::<Secret>::namespaced(fixture.client.clone(), SYSTEM).get("assent-identity-issuer").await.unwrap();
    let keys: Vec<_> = secret.data.unwrap().into_keys().collect();
    assert_eq!(keys, ["ca-bundle.pem", "issuer.crt", "issuer.key", "rotation.json"]);
    renewing.abort();
    fixture.stop().await;
}

#[tokio::test]
async fn publishes_the_bundle_where_it_is_wanted_and_repairs_it() {
    let fixture = Fixture::start("bundle").await;
    let bundle = fixture.bundle(SYSTEM).await;
    assert!(bundle.starts_with("-----BEGIN CERTIFICATE-----") && !bundle.contains("PRIVATE"));
    let copies = Api::<ConfigMap>::namespaced(fixture.client.clone(), "shop");
    assert!(copies.get_opt("assent-trust").await.unwrap().is_none(), "shop did not opt in");
    let namespaces = Api::<Namespace>::all(fixture.client.clone());
    let labelled = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"labels": {"assent.dev/inject": "enabled"}}});
    apply(&namespaces, "shop", labelled).await;
    assert_eq!(fixture.bundle("shop").await, bundle);
    // Somebody adds a root of their own, then removes the copy.
    let edit = json!({"data": {"ca-bundle.pem": format!("{bundle}forged")}});
    copies.patch("assent-trust", &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
    let repaired = async || (fixture.bundle("shop").await == bundle).then_some(());
    eventually("the repair of an edit", repaired).await;
    copies.delete("assent-trust", &DeleteParams::default()).await.unwrap();
    eventually("the repair of a deletion", repaired).await;
    fixture.stop().await;
}
