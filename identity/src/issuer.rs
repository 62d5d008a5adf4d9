//! Root and issuer across restarts: the Secret `assent-identity-issuer`, made once by whoever comes
//! first and only read afterwards. Nothing else in Assent may read it. Rotation is a person's act:
//! put the new issuer beside both roots into the Secret and restart.

use std::collections::BTreeMap;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::ca::{self, Issuer};
use ca::Material;

/// The Secret with root certificate, issuer certificate and issuer key.
pub const SECRET: &str = "assent-identity-issuer";
const BUNDLE: &str = "ca-bundle.pem";
const CERTIFICATE: &str = "issuer.crt";
const KEY: &str = "issuer.key";

/// Why there is no issuer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secret cannot be read.
    #[error("read secret `{SECRET}`")]
    Read(#[source] kube::Error),
    /// The Secret cannot be created.
    #[error("create secret `{SECRET}`")]
    Create(#[source] kube::Error),
    /// The Secret lacks an entry or holds something else.
    #[error("secret `{SECRET}` has no usable `{key}`")]
    Entry {
        /// The entry.
        key: &'static str,
    },
    /// Making or loading failed.
    #[error("use issuer")]
    Issuer(#[source] ca::Error),
}

/// The issuer in the Secret, or a new one that was put there.
///
/// # Errors
/// See [`Error`].
pub async fn load_or_create(client: &Client, namespace: &str, authority: &str) -> Result<Issuer, Error> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    if let Some(secret) = secrets.get_opt(SECRET).await.map_err(Error::Read)? {
        return load(&secret);
    }
    let material = ca::create(authority, SystemTime::now()).map_err(Error::Issuer)?;
    match secrets.create(&PostParams::default(), &secret(&material)).await {
        Ok(_) => {
            tracing::info!(secret = SECRET, "made a new root and issuer; the root's key was discarded");
            Issuer::load(&material).map_err(Error::Issuer)
        }
        // Another replica was first; ours was never used.
        Err(kube::Error::Api(status)) if status.code == 409 => load(&secrets.get(SECRET).await.map_err(Error::Read)?),
        Err(error) => Err(Error::Create(error)),
    }
}

fn secret(material: &Material) -> Secret {
    let entry = |key: &str, text: &str| (key.to_owned(), ByteString(text.as_bytes().to_vec()));
    let mut secret = Secret {
        type_: Some("assent.dev/issuer".to_owned()),
        data: Some(BTreeMap::from([entry(BUNDLE, &material.bundle), entry(CERTIFICATE, &material.certificate), entry(KEY, &material.key)])),
        ..Secret::default()
    };
    secret.metadata.name = Some(SECRET.to_owned());
    secret
}

fn load(secret: &Secret) -> Result<Issuer, Error> {
    let entry = |key| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key)).ok_or(Error::Entry { key })?;
        String::from_utf8(bytes.0.clone()).map_err(|_| Error::Entry { key })
    };
    let material = Material { bundle: entry(BUNDLE)?, certificate: entry(CERTIFICATE)?, key: entry(KEY)? };
    Issuer::load(&material).map_err(Error::Issuer)
}
