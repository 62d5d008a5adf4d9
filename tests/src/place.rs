//! Where the demo and the node tests run: a node that we start, or a cluster that somebody else runs.
//!
//! Install, shop, faults and story see a [`Place`], which is an [`Access`], so that they are the same on both. What differs
//! is here: how images get there, what is looked at first, and what only the machine under a node can do.

pub mod foreign;
mod needs;
mod registry;
mod removal;

use std::ops::Deref;
use std::path::PathBuf;

use anyhow::bail;
use assent_cluster::{Access, Image, Node};

use crate::images::TAG;
use crate::install::Progress;

pub use foreign::{Foreign, ForeignArgs};

/// A label on everything that the demo makes, so that it touches nothing else.
pub const MARK: (&str, &str) = ("assent.dev/made-by", "demo");

/// A cluster to install Assent and the shop on.
#[derive(Debug)]
pub enum Place {
    /// Ours: a node on this machine.
    Own(Box<Node>),
    /// Somebody else's.
    Foreign(Box<Foreign>),
}

/// Where pods get their images from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Host and path before an image's name.
    pub registry: String,
    /// The tag of all images; without one, each has its own.
    pub tag: Option<String>,
    /// Whether kubelets' certificates are left unverified.
    pub kubelet_insecure: bool,
}

// === impl Place ===

impl Place {
    /// Brings the images there. Somebody else's cluster is rid of an earlier demo and checked for what a sidecar needs.
    ///
    /// # Errors
    /// If an image cannot be brought, or the cluster lacks something.
    pub async fn prepare(&mut self, images: &[Image], progress: Progress<'_>) -> anyhow::Result<()> {
        match self {
            Self::Own(node) => {
                for image in images {
                    progress(&format!("loading {}", image.name()));
                    node.load(image).await?;
                }
                Ok(())
            }
            Self::Foreign(foreign) => foreign.push(images, progress).await,
        }?;
        if matches!(self, Self::Foreign(_)) {
            removal::remove(self, progress).await?;
            needs::probe(self, progress).await?;
        }
        Ok(())
    }

    /// Where its pods get their images from.
    #[must_use]
    pub fn source(&self) -> Source {
        match self {
            Self::Own(_) => Source { registry: "localhost".into(), tag: None, kubelet_insecure: false },
            Self::Foreign(foreign) => foreign.source(),
        }
    }

    /// The API server's audit log, where it can be read.
    #[must_use]
    pub fn audit_log(&self) -> Option<PathBuf> {
        match self {
            Self::Own(node) => Some(node.audit_log()),
            Self::Foreign(_) => None,
        }
    }

    /// The node, for what only its machine can do.
    ///
    /// # Errors
    /// On somebody else's cluster.
    pub fn node(&self) -> anyhow::Result<&Node> {
        match self {
            Self::Own(node) => Ok(node),
            Self::Foreign(foreign) => bail!("this needs the machine that the pods run on, and context `{}` is somebody else's", foreign.context()),
        }
    }
}

impl From<Node> for Place {
    fn from(node: Node) -> Self {
        Self::Own(Box::new(node))
    }
}

impl Deref for Place {
    type Target = Access;

    fn deref(&self) -> &Access {
        match self {
            Self::Own(node) => node,
            Self::Foreign(foreign) => foreign.access(),
        }
    }
}

// === impl Source ===

impl Source {
    /// The tag of Assent's own images.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or(TAG)
    }

    /// What pods call the image that is built as `localhost/NAME:TAG`.
    #[must_use]
    pub fn reference(&self, built: &str) -> String {
        let (name, own) = built.rsplit('/').next().and_then(|last| last.split_once(':')).unwrap_or((built, TAG));
        format!("{}/{name}:{}", self.registry, self.tag.as_deref().unwrap_or(own))
    }
}
