//! What a person and the identity service tell each other about a rotation of roots: two annotations of the ConfigMap with
//! the trust bundle in the control namespace. Whoever may write that may ask; the identity service decides.

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Annotation with a [`Command`], written by a person.
pub const COMMAND: &str = "trust.assent.dev/command";
/// Annotation with a [`Status`], written by the identity service.
pub const STATUS: &str = "trust.assent.dev/status";

/// One step that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Tells this command from the one before it; each is carried out once.
    pub id: String,
    /// What to do.
    pub step: Step,
}

/// A step of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Make another root and issuer, and trust both.
    Begin,
    /// Let the other issuer sign from now on.
    Issue,
    /// Trust the root no more that does not issue.
    Drop {
        /// Its fingerprint, so that nobody drops what they did not mean.
        root: String,
        /// Why it must go although it may be in use.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compromised: Option<String>,
    },
}

/// Where a rotation stands. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The root that certificates come from.
    pub issuing: Root,
    /// The one that is trusted beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<Root>,
    /// From when the other one may issue; nothing while some namespace's bundle lacks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<u64>,
    /// What became of the last command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// A trusted root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// See [`fingerprint`].
    pub fingerprint: String,
    /// When its issuer expires.
    pub expires: u64,
    /// The last moment at which a certificate under it may be valid; zero if it never issued. That of the issuing root moves on.
    pub used_until: u64,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The command's.
    pub id: String,
    /// When it was decided.
    pub at: u64,
    /// Why it was not carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

// === impl Status ===

impl Status {
    /// The roots that are trusted, the issuing one first.
    pub fn trusted(&self) -> impl Iterator<Item = &Root> {
        std::iter::once(&self.issuing).chain(&self.other)
    }
}

/// SHA-256 of a certificate in hexadecimal, as `openssl x509 -fingerprint -sha256` has it but for colons and case.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_as_it_is_written() {
        let drop = |compromised: Option<&str>| Step::Drop { root: "ab".to_owned(), compromised: compromised.map(str::to_owned) };
        let cases = [
            (Step::Begin, r#"{"id":"1","step":"begin"}"#),
            (Step::Issue, r#"{"id":"1","step":"issue"}"#),
            (drop(None), r#"{"id":"1","step":{"drop":{"root":"ab"}}}"#),
            (drop(Some("leaked")), r#"{"id":"1","step":{"drop":{"root":"ab","compromised":"leaked"}}}"#),
        ];
        for (step, text) in cases {
            let command = Command { id: "1".to_owned(), step };
            assert_eq!(serde_json::to_string(&command).unwrap(), text);
            assert_eq!(serde_json::from_str::<Command>(text).unwrap(), command);
        }
    }
}
