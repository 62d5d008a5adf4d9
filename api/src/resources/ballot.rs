//! `Ballot`: one seat's signed vote. Created once by the seat itself, never changed.

use assent_core::ballot;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names;
use crate::signed::Signed;

/// A vote. The typed fields repeat what the signed payload says, for people; where they differ, the ballot is refused.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Ballot",
    namespaced,
    shortname = "bal",
    category = "assent",
    validation = Rule::new("self.spec == oldSelf.spec").message("a ballot never changes"),
    printcolumn = r#"{"name":"Incident","type":"string","jsonPath":".spec.incident"}"#,
    printcolumn = r#"{"name":"Seat","type":"string","jsonPath":".spec.seat"}"#,
    printcolumn = r#"{"name":"Epoch","type":"integer","jsonPath":".spec.epoch"}"#,
    printcolumn = r#"{"name":"Round","type":"string","jsonPath":".spec.round"}"#,
    printcolumn = r#"{"name":"Says","type":"string","jsonPath":".spec.summary"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BallotSpec {
    /// Incident-UID.
    #[schemars(length(max = 36))]
    pub incident: String,
    /// Seat of the roster.
    #[schemars(length(max = 63))]
    pub seat: String,
    /// 1 to 4.
    pub epoch: u32,
    /// `cause` or `remedy`.
    #[schemars(length(max = 6))]
    pub round: String,
    /// The vote in a line, for people; not signed and not believed.
    #[schemars(length(max = 300))]
    pub summary: String,
    /// The in-toto statement with its signature and certificate chain.
    pub signed: Signed,
}

// === impl Ballot ===

impl Ballot {
    /// The object for a signed vote.
    #[must_use]
    pub fn of(vote: &ballot::Ballot, summary: String, signed: Signed) -> Self {
        let mut object = Self::new(
            &vote.name(),
            BallotSpec { incident: vote.incident.to_string(), seat: vote.seat.clone(), epoch: vote.epoch, round: vote.round().to_string(), summary, signed },
        );
        object.metadata.namespace = Some(names::SYSTEM_NAMESPACE.into());
        object.metadata.labels = Some([(names::INCIDENT.to_owned(), vote.incident.to_string())].into());
        object
    }
}
