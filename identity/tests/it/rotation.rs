//! A rotation of the trust root against a real API server, step by step, with what is refused in between and a workload that
//! lives through all of it.

use assent_runtime::workload::rotation::{COMMAND, Command, Outcome, Root, STATUS, Status, Step, fingerprint};
use assent_runtime::workload::{Certified, Roots, Usage, Workload, compromised_line};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use rustls_pki_types::UnixTime;
use serde_json::json;

use super::fixture::{Fixture, PATIENCE, SYSTEM, apply, eventually};

/// Whoever may write the trust bundle's ConfigMap.
struct Operator {
    copies: Api<ConfigMap>,
    asked: u32,
}

// === impl Operator ===

impl Operator {
    async fn status(&self) -> Option<Status> {
        let copy = self.copies.get_opt("assent-trust").await.unwrap()?;
        copy.annotations().get(STATUS).map(|text| serde_json::from_str(text).unwrap())
    }

    /// Why a step was refused, and how things stand after it.
    async fn ask(&mut self, step: Step) -> (Option<String>, Status) {
        self.asked += 1;
        let id = self.asked.to_string();
        let command = json!(Command { id: id.clone(), step }).to_string();
        let patch = json!({"metadata": {"annotations": {COMMAND: command}}});
        self.copies.patch("assent-trust", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        eventually("an outcome", async || {
            let status = self.status().await?;
            let outcome = status.outcome.clone().filter(|outcome: &Outcome| outcome.id == id)?;
            Some((outcome.refused, status))
        })
        .await
    }

    async fn drop(&mut self, root: &Root, compromised: Option<&str>) -> (Option<String>, Status) {
        self.ask(Step::Drop { root: root.fingerprint.clone(), compromised: compromised.map(str::to_owned) }).await
    }
}

fn under(root: &Root, bundle: &str, certified: &Certified) -> bool {
    let roots = Roots::parse(bundle.as_bytes()).unwrap();
    let (leaf, rest) = certified.chain().split_first().unwrap();
    roots.first_vouches(leaf, rest, UnixTime::now()) && fingerprint(&roots.certificates()[0]) == root.fingerprint
}

#[tokio::test]
async fn a_root_is_replaced_step_by_step_while_a_workload_goes_on() {
    let fixture = Fixture::start_with("rotation", 20).await;
    let labelled = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"labels": {"assent.dev/inject": "enabled"}}});
    apply(&Api::<Namespace>::all(fixture.client.clone()), "shop", labelled).await;
    let first = fixture.bundle("shop").await;
    let pod = fixture.pod("cart-1", "cart").await;
    let args = fixture.workload("shop", "cart", &fixture.issue("cart", "identity.assent.dev", Some(&pod)).await).await;
    let (workload, renewal) = Workload::open(&args).await.unwrap();
    let renewing = tokio::spawn(renewal.run());
    tokio::time::timeout(PATIENCE, workload.ready()).await.unwrap().unwrap();
    let mut operator = Operator { copies: Api::namespaced(fixture.client.clone(), SYSTEM), asked: 0 };
    let before = eventually("a status", async || operator.status().await).await;
    assert_eq!((before.other.clone(), before.ready), (None, None));

    // Nothing to do yet.
    assert_eq!(operator.ask(Step::Issue).await.0.as_deref(), Some("no rotation is under way: only one root is trusted"));
    assert!(operator.drop(&before.issuing, Some("leaked")).await.0.is_some(), "the only root was dropped");

    // Both are trusted, everywhere, and the old one issues.
    let (refused, status) = operator.ask(Step::Begin).await;
    assert_eq!(refused, None);
    let (old, new) = (status.issuing, status.other.unwrap());
    assert_eq!((old.fingerprint.as_str(), new.used_until), (before.issuing.fingerprint.as_str(), 0));
    let (refused, _) = operator.ask(Step::Issue).await;
    assert!(refused.is_some_and(|why| why.contains("both roots")), "issued before it was trusted");
    let has = async |namespace: &str, bundle: &str| (fixture.bundle(namespace).await == bundle).then_some(());
    let both = eventually("both roots", async || Some(fixture.bundle("shop").await).filter(|both| both != &first)).await;
    assert!(both.starts_with(&first) && both.len() > first.len());
    eventually("both roots in the control namespace", async || has(SYSTEM, &both).await).await;
    assert_eq!(operator.ask(Step::Begin).await.0.as_deref(), Some("a rotation is under way: two roots are trusted already"));
    // What the kubelet does.
    std::fs::write(&args.trust_bundle_file, &both).unwrap();

    // The new one issues, and workloads follow before their certificates are due.
    let status = eventually("the switch", async || Some(operator.ask(Step::Issue).await).filter(|(refused, _)| refused.is_none())).await.1;
    assert_eq!((&status.issuing.fingerprint, &status.other.as_ref().unwrap().fingerprint), (&new.fingerprint, &old.fingerprint));
    let second = both.strip_prefix(&first).unwrap();
    let turned = format!("{second}{first}");
    eventually("the new root first", async || has("shop", &turned).await).await;
    std::fs::write(&args.trust_bundle_file, &turned).unwrap();
    let followed = async || workload.current().filter(|now| under(&status.issuing, &turned, now)).map(|_| ());
    eventually("a certificate of the new root", followed).await;

    // The old one stays while a certificate under it may live.
    let until = status.other.as_ref().unwrap().used_until;
    assert!(until > 0);
    let (refused, _) = operator.drop(&old, None).await;
    assert!(refused.is_some_and(|why| why.contains("may be valid for")), "dropped in use");
    assert!(operator.drop(&new, Some("leaked")).await.0.is_some(), "the issuing root was dropped");
    let status = eventually("the end", async || Some(operator.drop(&old, None).await).filter(|(refused, _)| refused.is_none())).await.1;
    assert!(status.outcome.unwrap().at >= until);
    assert_eq!((status.issuing.fingerprint.as_str(), status.other), (new.fingerprint.as_str(), None));
    for namespace in ["shop", SYSTEM] {
        eventually("one root", async || has(namespace, second).await).await;
    }
    std::fs::write(&args.trust_bundle_file, second).unwrap();
    let certified = tokio::time::timeout(PATIENCE, workload.ready()).await.unwrap().unwrap();
    let (leaf, rest) = certified.chain().split_first().unwrap();
    Roots::parse(second.as_bytes()).unwrap().verify(leaf, rest, Usage::Client, UnixTime::now()).unwrap();

    // Applying the installation's Secret and ConfigMap again does not bring the old root back.
    let secrets = Api::<Secret>::namespaced(fixture.client.clone(), SYSTEM);
    let seed = secrets.get("assent-identity-issuer").await.unwrap().data.unwrap()["ca-bundle.pem"].0.clone();
    assert_eq!(String::from_utf8(seed).unwrap(), first, "the first entries stay as they were made");
    let applied = json!({"data": {"ca-bundle.pem": first}});
    operator.copies.patch("assent-trust", &PatchParams::default(), &Patch::Merge(&applied)).await.unwrap();
    eventually("the repair", async || has(SYSTEM, second).await).await;
    assert_eq!(operator.status().await.unwrap().issuing.fingerprint, new.fingerprint);
    renewing.abort();
    fixture.stop().await;
}

#[tokio::test]
async fn a_compromised_root_is_dropped_in_use_and_a_restart_goes_on_where_it_was() {
    let fixture = Fixture::start("compromised").await;
    let first = fixture.bundle(SYSTEM).await;
    let mut operator = Operator { copies: Api::namespaced(fixture.client.clone(), SYSTEM), asked: 0 };
    let (refused, status) = operator.ask(Step::Begin).await;
    assert_eq!(refused, None);
    let (old, new) = (status.issuing, status.other.unwrap());
    assert!(operator.drop(&new, Some("leaked")).await.0.is_some(), "the wrong one was dropped");
    let fixture = fixture.restart().await;
    assert!(operator.drop(&old, Some("leaked")).await.0.is_some(), "the only one that issues was dropped");
    let issued = async || Some(operator.ask(Step::Issue).await).filter(|(refused, _)| refused.is_none());
    eventually("the switch", issued).await;
    let (refused, status) = operator.drop(&old, Some("leaked")).await;
    assert_eq!((refused, status.issuing.fingerprint, status.other), (None, new.fingerprint.clone(), None));
    let fixture = fixture.restart().await;
    let bundle = eventually("one root", async || Some(fixture.bundle(SYSTEM).await).filter(|bundle| !bundle.contains(&first))).await;
    assert_eq!(fingerprint(&Roots::parse(bundle.as_bytes()).unwrap().certificates()[0]), new.fingerprint);
    assert!(bundle.starts_with(&compromised_line(&old.fingerprint)), "whose connections end is not said: {bundle}");
    fixture.stop().await;
}
