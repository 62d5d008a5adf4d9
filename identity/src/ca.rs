//! The certificate authority's decisions: what a request must look like, whose token it must come
//! with, how long a leaf lives, and the signature. Pure: no clock, no network, no randomness of its
//! own but ECDSA's nonce. It does not know whether a token is genuine; `certify` asks.

mod issue;
mod request;
mod token;

pub use issue::{Error, Issuer, Material, Validity, create, validity};
pub use request::{Examined, examine};
pub use token::{Bound, bound, check_pod};

/// Why a request is not certified. The text is safe to show to the requester.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request itself is malformed.
    #[error("{0}")]
    Invalid(String),
    /// The request is well-formed but its sender may not have what it asks for.
    #[error("{0}")]
    Denied(String),
}

// === impl Refusal ===

impl Refusal {
    /// The gRPC code that linkerd's identity service uses for the same refusal.
    pub fn code(&self) -> tonic::Code {
        match self {
            Self::Invalid(_) => tonic::Code::InvalidArgument,
            Self::Denied(_) => tonic::Code::FailedPrecondition,
        }
    }
}

pub(crate) fn invalid<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Invalid(text.into()))
}

pub(crate) fn denied<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Denied(text.into()))
}

#[cfg(test)]
mod tests;
