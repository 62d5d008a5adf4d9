//! Root and issuer across restarts: the Secret `assent-identity-issuer`, made once by whoever comes
//! first. Nothing else in Assent may read it. Its three entries in PEM are what an installation begins
//! with and are never changed, so that applying the installation again changes nothing; how it went on
//! from there is one entry beside them, which counts before them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::ca;
use crate::ca::Material;
use crate::rotation::State;

/// The Secret with root certificate, issuer certificate and issuer key.
pub const SECRET: &str = "assent-identity-issuer";
const BUNDLE: &str = "ca-bundle.pem";
const CERTIFICATE: &str = "issuer.crt";
const KEY: &str = "issuer.key";
const ROTATION: &str = "rotation.json";

/// Why there is no issuer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secret cannot be read.
    #[error("read secret `{SECRET}`")]
    Read(#[source] kube::Error),
    /// The Secret cannot be created.
    #[error("create secret `{SECRET}`")]
    Create(#[source] kube::Error),
    /// The Secret cannot be changed.
    #[error("change secret `{SECRET}`")]
    Change(#[source] kube::Error),
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

/// The Secret and what it says.
pub struct Kept {
    secret: Secret,
    /// What it says.
    pub state: State,
}

/// The state in the Secret, or a new one that was put there.
///
/// # Errors
/// See [`Error`].
pub async fn load_or_create(client: &Client, namespace: &str, authority: &str) -> Result<Kept, Error> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    if let Some(secret) = secrets.get_opt(SECRET).await.map_err(Error::Read)? {
        return Kept::parse(secret);
    }
    let material = ca::create(authority, SystemTime::now()).map_err(Error::Issuer)?;
    let mut made = secret(&material);
    put(&mut made, &State::new(material))?;
    match secrets.create(&PostParams::default(), &made).await {
        Ok(secret) => {
            tracing::info!(secret = SECRET, "made a new root and issuer; the root's key was discarded");
            Kept::parse(secret)
        }
        // Another replica was first; ours was never used.
        Err(kube::Error::Api(status)) if status.code == 409 => load(client, namespace).await,
        Err(error) => Err(Error::Create(error)),
    }
}

/// The state in the Secret.
///
/// # Errors
/// See [`Error`].
pub async fn load(client: &Client, namespace: &str) -> Result<Kept, Error> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    Kept::parse(secrets.get(SECRET).await.map_err(Error::Read)?)
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

fn put(secret: &mut Secret, state: &State) -> Result<(), Error> {
    let text = serde_json::to_vec(state).map_err(|_| Error::Entry { key: ROTATION })?;
    secret.data.get_or_insert_default().insert(ROTATION.to_owned(), ByteString(text));
    Ok(())
}

// === impl Kept ===

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The Secret would show its keys.
        f.debug_struct("Kept").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Kept {
    fn parse(secret: Secret) -> Result<Self, Error> {
        let data = secret.data.as_ref();
        if let Some(rotation) = data.and_then(|data| data.get(ROTATION)) {
            let state = serde_json::from_slice(&rotation.0).map_err(|_| Error::Entry { key: ROTATION })?;
            return Ok(Self { secret, state });
        }
        let entry = |key| {
            let bytes = data.and_then(|data| data.get(key)).ok_or(Error::Entry { key })?;
            String::from_utf8(bytes.0.clone()).map_err(|_| Error::Entry { key })
        };
        let material = Material { bundle: entry(BUNDLE)?, certificate: entry(CERTIFICATE)?, key: entry(KEY)? };
        Ok(Self { secret, state: State::stable(material) })
    }

    /// Puts `state` in the place of what was read, unless somebody changed it meanwhile.
    ///
    /// # Errors
    /// [`Error::Change`].
    pub async fn replace(mut self, client: &Client, namespace: &str, state: &State) -> Result<(), Error> {
        put(&mut self.secret, state)?;
        let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
        // The version that was read goes with it.
        secrets.replace(SECRET, &PostParams::default(), &self.secret).await.map_err(Error::Change)?;
        Ok(())
    }
}
