//! `Roster`: who votes, how votes are counted, whom to trust, and what the gate must look like. Only people change it.

use assent_core::ballot::Principal;
use assent_core::canonical::Digest;
use assent_core::consensus;
use assent_core::ids::{Domain, Millionths};
use assent_core::ledger::{Checkpoint, Head, Position};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The one Roster is called `default`.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Roster",
    category = "assent",
    printcolumn = r#"{"name":"Seats","type":"string","jsonPath":".spec.seats[*].name"}"#,
    printcolumn = r#"{"name":"Quorum","type":"integer","jsonPath":".spec.quorum"}"#,
    printcolumn = r#"{"name":"Supporters","type":"integer","jsonPath":".spec.supporters"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RosterSpec {
    /// All seats.
    #[schemars(length(min = 1, max = 16))]
    pub seats: Vec<SeatSpec>,
    /// Seats that must vote with live data in each round.
    pub quorum: u32,
    /// Seats that must support both the cause and the remedy; at least 2.
    #[schemars(range(min = 2))]
    pub supporters: u32,
    /// Thresholds and weights.
    pub tally: TallySpec,
    /// PEM of the workload CA's roots.
    #[schemars(length(max = 65_536))]
    pub trust_roots: String,
    /// Digest of the gate's webhook configuration.
    #[schemars(length(min = 64, max = 64))]
    pub gate: String,
    /// A ledger head that people vouch for, after the ledger that the newest plan names was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<CheckpointSpec>,
}

/// See `core::ledger::Checkpoint`. It holds until the first plan under it, and for the superseded head only; afterwards it
/// means nothing and may be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointSpec {
    /// One more than the newest plan's.
    #[schemars(range(min = 1))]
    pub era: u32,
    /// Entries of the ledger that goes on.
    pub sequence: u64,
    /// Its head.
    #[schemars(length(min = 64, max = 64))]
    pub hash: String,
    /// The head that the newest plan names.
    pub supersedes: HeadSpec,
}

/// See `core::ledger::Head`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeadSpec {
    /// Entries.
    pub sequence: u64,
    /// Their hash.
    #[schemars(length(min = 64, max = 64))]
    pub hash: String,
}

/// One seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeatSpec {
    /// For example `network`.
    #[schemars(length(max = 63))]
    pub name: String,
    /// `network`, `compute`, `database` or `application`.
    #[schemars(with = "DomainName")]
    pub domain: Domain,
    /// Service account in `assent-system`.
    #[schemars(length(max = 63))]
    pub account: String,
    /// Whose figures it may judge by: `sidecar`, `kubelet`, `apiServer`, `metricStore`, `traces`, `logStore`.
    #[schemars(with = "Vec<PrincipalName>", length(min = 1, max = 6))]
    pub principals: Vec<Principal>,
}

/// See `core::consensus::TallyConfiguration`; shares are millionths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TallySpec {
    /// Probability of any one cause before anybody spoke.
    pub prior: u32,
    /// Posterior needed for an action of low risk.
    pub threshold_low: u32,
    /// Posterior needed for an action of medium risk.
    pub threshold_medium: u32,
    /// Posterior needed for an action of high risk.
    pub threshold_high: u32,
    /// Distance to the runner-up in micro-nats of log-odds.
    pub margin: u32,
    /// Learned weights.
    #[schemars(length(max = 64))]
    pub weights: Vec<WeightSpec>,
}

/// How much a seat's word counts in a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightSpec {
    /// The seat.
    pub seat: String,
    /// The domain.
    #[schemars(with = "DomainName")]
    pub domain: Domain,
    /// Millionths, at most three millions.
    pub weight: u32,
}

/// The domains as the schema spells them.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
enum DomainName {
    Network,
    Compute,
    Database,
    Application,
}

/// The principals as the schema spells them.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
enum PrincipalName {
    Sidecar,
    Kubelet,
    ApiServer,
    MetricStore,
    Traces,
    LogStore,
}

// === impl RosterSpec ===

impl TryFrom<&RosterSpec> for consensus::Roster {
    type Error = String;

    fn try_from(spec: &RosterSpec) -> Result<Self, String> {
        let share = |what: &str, value: u32| Millionths::try_from(value).map_err(|error| format!("`{what}`: {error}"));
        if spec.supporters < 2 {
            return Err("`supporters` must be at least 2: no single seat can act".into());
        }
        Ok(Self {
            seats: spec
                .seats
                .iter()
                .map(|s| consensus::Seat { name: s.name.clone(), domain: s.domain, account: s.account.clone(), principals: s.principals.clone() })
                .collect(),
            quorum: spec.quorum,
            supporters: spec.supporters,
            tally: consensus::TallyConfiguration {
                prior: share("prior", spec.tally.prior)?,
                threshold_low: share("thresholdLow", spec.tally.threshold_low)?,
                threshold_medium: share("thresholdMedium", spec.tally.threshold_medium)?,
                threshold_high: share("thresholdHigh", spec.tally.threshold_high)?,
                margin: spec.tally.margin,
                weights: spec.tally.weights.iter().map(|w| consensus::Weight { seat: w.seat.clone(), domain: w.domain, weight: w.weight }).collect(),
            },
            trust_roots: spec.trust_roots.clone(),
            gate: Digest::try_from(spec.gate.clone()).map_err(|error| format!("`gate`: {error}"))?,
            ledger: spec.ledger.as_ref().map(Checkpoint::try_from).transpose()?,
        })
    }
}

impl From<&consensus::Roster> for RosterSpec {
    fn from(roster: &consensus::Roster) -> Self {
        Self {
            seats: roster
                .seats
                .iter()
                .map(|s| SeatSpec { name: s.name.clone(), domain: s.domain, account: s.account.clone(), principals: s.principals.clone() })
                .collect(),
            quorum: roster.quorum,
            supporters: roster.supporters,
            tally: TallySpec {
                prior: roster.tally.prior.get(),
                threshold_low: roster.tally.threshold_low.get(),
                threshold_medium: roster.tally.threshold_medium.get(),
                threshold_high: roster.tally.threshold_high.get(),
                margin: roster.tally.margin,
                weights: roster.tally.weights.iter().map(|w| WeightSpec { seat: w.seat.clone(), domain: w.domain, weight: w.weight }).collect(),
            },
            trust_roots: roster.trust_roots.clone(),
            gate: roster.gate.to_string(),
            ledger: roster.ledger.as_ref().map(CheckpointSpec::from),
        }
    }
}

// === impl CheckpointSpec ===

impl TryFrom<&CheckpointSpec> for Checkpoint {
    type Error = String;

    fn try_from(spec: &CheckpointSpec) -> Result<Self, String> {
        let head = |what: &str, sequence: u64, hash: &str| {
            Ok::<_, String>(Head { sequence, hash: Digest::try_from(hash.to_owned()).map_err(|error| format!("`{what}`: {error}"))? })
        };
        Ok(Self {
            begins: Position { era: spec.era, head: head("ledger.hash", spec.sequence, &spec.hash)? },
            supersedes: head("ledger.supersedes.hash", spec.supersedes.sequence, &spec.supersedes.hash)?,
        })
    }
}

impl From<&Checkpoint> for CheckpointSpec {
    fn from(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { begins: Position { era, head }, supersedes } = checkpoint;
        Self {
            era: *era,
            sequence: head.sequence,
            hash: head.hash.to_string(),
            supersedes: HeadSpec { sequence: supersedes.sequence, hash: supersedes.hash.to_string() },
        }
    }
}
