//! What a certificate request must look like, before anybody is asked whose token came with it.
//! Only its public key and its one name are ever used; everything else in it is refused or ignored.

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::{Refusal, denied, invalid};

/// A request, a token and a name longer than this are refused unread, in bytes.
const MAX_REQUEST: usize = 16 << 10;
const MAX_TOKEN: usize = 16 << 10;
const MAX_IDENTITY: usize = 253;

/// A request that is well-formed and asks for exactly one name.
#[derive(Debug)]
pub struct Examined {
    pub(super) identity: String,
    // SubjectPublicKeyInfo in DER; parsed only after the token was reviewed.
    key: Vec<u8>,
}

/// Checks a request by itself: sizes, DER, proof of possession, and that it names `identity` alone.
///
/// # Errors
/// [`Refusal::Invalid`] if it cannot be read, [`Refusal::Denied`] if it names anything else.
pub fn examine(identity: &str, token: &[u8], request: &[u8]) -> Result<Examined, Refusal> {
    for (what, length, limit) in
        [("identity", identity.len(), MAX_IDENTITY), ("token", token.len(), MAX_TOKEN), ("certificate signing request", request.len(), MAX_REQUEST)]
    {
        if length == 0 {
            return invalid(format!("missing {what}"));
        }
        if length > limit {
            return invalid(format!("{what} is longer than {limit} bytes"));
        }
    }
    let Ok((rest, parsed)) = X509CertificationRequest::from_der(request) else {
        return invalid("certificate signing request is not a der pkcs#10 request");
    };
    if !rest.is_empty() {
        return invalid("certificate signing request is followed by other bytes");
    }
    if parsed.verify_signature().is_err() {
        return invalid("certificate signing request is not signed by its own key");
    }
    check_names(identity, &parsed)?;
    Ok(Examined { identity: identity.to_owned(), key: parsed.certification_request_info.subject_pki.raw.to_vec() })
}

/// That it names `identity` once, and nobody else.
pub(super) fn check_names(identity: &str, request: &X509CertificationRequest<'_>) -> Result<(), Refusal> {
    for name in request.certification_request_info.subject.iter_common_name() {
        if !matches!(name.as_str(), Ok(name) if name.is_empty() || name == identity) {
            return denied("common name is not the requested identity");
        }
    }
    let mut found = 0;
    // Every extension request attribute counts: a second one must not smuggle in another name.
    let extensions = request.certification_request_info.iter_attributes().filter_map(|attribute| match attribute.parsed_attribute() {
        x509_parser::cri_attributes::ParsedCriAttribute::ExtensionRequest(request) => Some(&request.extensions),
        _ => None,
    });
    for extension in extensions.flatten() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    match name {
                        GeneralName::DNSName(name) if *name == identity => found += 1,
                        GeneralName::DNSName(_) => {
                            return denied("dns name is not the requested identity");
                        }
                        _ => return denied("only a dns name may be requested"),
                    }
                }
            }
            ParsedExtension::ParseError { .. } => return invalid("an extension cannot be read"),
            // Never copied into the leaf.
            _ => {}
        }
    }
    if found == 1 { Ok(()) } else { denied("exactly one dns name must be requested") }
}

// === impl Examined ===

impl Examined {
    /// The name that is asked for; not yet anybody's.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The key, if it is ECDSA P-256.
    ///
    /// # Errors
    /// [`Refusal::Denied`] for any other key.
    pub(super) fn key(&self) -> Result<SubjectPublicKeyInfo, Refusal> {
        match SubjectPublicKeyInfo::from_der(&self.key) {
            Ok(key) if key.algorithm() == &PKCS_ECDSA_P256_SHA256 => Ok(key),
            _ => denied("the key must be ecdsa p-256"),
        }
    }
}
