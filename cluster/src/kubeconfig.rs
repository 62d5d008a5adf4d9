//! Kubeconfigs as text, and clients from them.
//!
//! The text is JSON, which is YAML; everything is inline, so that it can be handed to another process as it is.

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    pki::Pair,
};

/// A kubeconfig that authenticates by client certificate.
pub(crate) fn with_certificate(url: &str, authority: &str, user: &str, pair: &Pair) -> String {
    let credentials = json!({
        "client-certificate-data": STANDARD.encode(&pair.certificate),
        "client-key-data": STANDARD.encode(&pair.key),
    });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "assent", "cluster": {
            "server": url,
            "certificate-authority-data": STANDARD.encode(authority),
        } }],
        "users": [{ "name": user, "user": credentials }],
        "contexts": [{ "name": "assent", "context": { "cluster": "assent", "user": user } }],
        "current-context": "assent",
    })
    .to_string()
}

/// The same clusters and contexts with a bearer token instead of every user's credentials.
pub(crate) fn with_token(kubeconfig: &Value, token: &str) -> String {
    let mut changed = kubeconfig.clone();
    for user in changed["users"].as_array_mut().into_iter().flatten() {
        user["user"] = json!({ "token": token });
    }
    changed.to_string()
}

/// A client from the text of a kubeconfig. Must be called within a tokio runtime, which the client then lives on.
pub(crate) async fn client(text: &str) -> Result<kube::Client> {
    install_crypto();
    let parsed = Kubeconfig::from_yaml(text).map_err(|error| Error::Kubeconfig(Box::new(error)))?;
    let config = kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await.map_err(|error| Error::Kubeconfig(Box::new(error)))?;
    kube::Client::try_from(config).map_err(|error| Error::Kubeconfig(Box::new(error)))
}

/// Makes aws-lc-rs the process's TLS provider, unless it has one.
fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when another thread was faster, with the same wish.
        let _lost_race = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}
