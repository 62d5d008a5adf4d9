//! A real Kubernetes on this machine, for tests and for the demo, from nothing but package registries.
//!
//! [`api_only`] starts an API server with its store in seconds and without root; webhooks, RBAC, custom resources and the
//! audit log need no more. [`node`] adds, as root, a node that runs pods, in a network namespace of its own; [`image`]
//! makes what its pods run. An [`Access`] reaches any cluster, these and others. Upstream code is started unchanged. Nothing
//! here knows what runs on a cluster.

mod access;
mod binary;
mod cluster;
mod command;
mod control_plane;
mod error;
pub mod image;
mod kubeconfig;
mod node;
mod outage;
mod pki;
mod process;
mod remains;
mod scratch;
mod sysctl;

pub use access::Access;
pub use binary::{KUBERNETES_VERSION, binary, cache_dir, program};
pub use cluster::{Cluster, api_only};
pub use command::{Args, run};
pub use error::{Error, Result};
pub use image::Image;
pub use node::{Node, attach, cleanup, node, up};
