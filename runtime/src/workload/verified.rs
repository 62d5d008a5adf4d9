//! Chains that were verified under one version of the roots. Two of the three signatures of a handshake are those of a chain
//! that a busy peer shows again and again; its own signature under the handshake is always checked.
//!
//! The memory belongs to the roots it was made under, so it goes with them; it knows which of them each chain leads to.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::{Fingerprint, Usage};

/// Chains kept; the oldest leaves first.
const CHAINS: usize = 256;

/// What a chain and its use are known by.
pub(super) type Digest = [u8; 32];

/// First and last second at which every certificate of a chain is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    from: u64,
    until: u64,
}

/// The chains.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<VecDeque<(Digest, Validity, Fingerprint)>>);

// === impl Verified ===

impl Verified {
    /// The root of a chain that is known and valid.
    pub(super) fn root(&self, digest: &Digest, now: UnixTime) -> Option<Fingerprint> {
        let now = now.as_secs();
        let chains = self.chains();
        let known = chains.iter().find(|(known, validity, _)| known == digest && validity.from <= now && now <= validity.until);
        known.map(|(_, _, root)| *root)
    }

    pub(super) fn keep(&self, digest: Digest, validity: Validity, root: Fingerprint) {
        let mut chains = self.chains();
        chains.retain(|(known, ..)| *known != digest);
        while chains.len() >= CHAINS {
            chains.pop_front();
        }
        chains.push_back((digest, validity, root));
    }

    fn chains(&self) -> MutexGuard<'_, VecDeque<(Digest, Validity, Fingerprint)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SHA-256 of every byte of the chain, each certificate behind its length, and of how it is used.
pub(super) fn digest(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], usage: Usage) -> Digest {
    let mut hash = Sha256::new();
    hash.update([u8::from(usage == Usage::Server)]);
    for certificate in std::iter::once(leaf).chain(intermediates) {
        hash.update(certificate.len().to_be_bytes());
        hash.update(certificate);
    }
    hash.finalize().into()
}

/// When all of the chain is valid; nothing if that cannot be read.
pub(super) fn validity(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Option<Validity> {
    let mut all = Validity { from: 0, until: u64::MAX };
    for certificate in std::iter::once(leaf).chain(intermediates) {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let seconds = |time: ASN1Time| u64::try_from(time.timestamp()).ok();
        all.from = all.from.max(seconds(parsed.validity().not_before)?);
        all.until = all.until.min(seconds(parsed.validity().not_after)?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(second))
    }

    #[test]
    fn a_chain_is_known_while_all_of_it_is_valid_and_in_the_same_use() {
        let (leaf, issuer) = (CertificateDer::from(vec![1, 2]), CertificateDer::from(vec![3]));
        let chains = Verified::default();
        let known = digest(&leaf, std::slice::from_ref(&issuer), Usage::Client);
        chains.keep(known, Validity { from: 100, until: 200 }, [7; 32]);
        assert_eq!([99, 100, 200, 201].map(|second| chains.root(&known, at(second))), [None, Some([7; 32]), Some([7; 32]), None]);
        let others = [
            digest(&leaf, std::slice::from_ref(&issuer), Usage::Server),
            digest(&leaf, &[], Usage::Client),
            digest(&CertificateDer::from(vec![1, 2, 3]), &[], Usage::Client),
            digest(&CertificateDer::from(vec![1]), &[CertificateDer::from(vec![2, 3])], Usage::Client),
        ];
        assert!(others.iter().all(|other| chains.root(other, at(150)).is_none()));
    }

    #[test]
    fn the_oldest_leaves_first() {
        let chains = Verified::default();
        let number = |index: usize| digest(&CertificateDer::from(index.to_be_bytes().to_vec()), &[], Usage::Client);
        (0..=CHAINS).for_each(|index| chains.keep(number(index), Validity { from: 0, until: 1 }, [7; 32]));
        assert_eq!([0, 1, CHAINS].map(|index| chains.root(&number(index), at(0)).is_some()), [false, true, true]);
    }
}
