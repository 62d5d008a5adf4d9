//! A seat's vote on one incident, epoch and round, in the exact shape that is signed.
//!
//! Everything here is integers and bounded text. A ballot is created once by its seat, never changed, and means nothing
//! outside the cluster, incident and epoch it names. Checking the signature is the shell's part; this module says what a
//! well-formed ballot is.

use serde::{Deserialize, Serialize};

use crate::action::{Action, Write};
use crate::canonical::{self, Digest};
use crate::consensus::MAX_EPOCHS;
use crate::ids::{Domain, IncidentUid, Millionths, UnixMillis};
use crate::refusal::{Refusal, Rule};
use crate::target::{Service, Target};
use crate::workload::Kind;

/// Longest life of a ballot, counted from its server-set creation time.
pub const MAX_LIFE_MS: u32 = 15 * 60 * 1000;
/// Most hypotheses, proposals or stances in a ballot.
pub const MAX_ITEMS: usize = 16;
/// Longest free text in a ballot, in bytes.
pub const MAX_TEXT: usize = 300;
/// `payloadType` of the DSSE envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// `_type` of the statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of the statement.
pub const PREDICATE_TYPE: &str = "https://assent.dev/Ballot/v1";

/// The in-toto statement that a seat signs: its subject is the incident context that was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// Exactly one subject.
    pub subject: Vec<Subject>,
    /// [`PREDICATE_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// The vote.
    pub predicate: Ballot,
}

/// What the statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The Incident-UID.
    pub name: String,
    /// Digest of the incident context.
    pub digest: SubjectDigest,
}

/// in-toto's digest map with the one algorithm we use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectDigest {
    /// SHA-256, hexadecimal.
    pub sha256: Digest,
}

/// One vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ballot {
    /// UID of the `kube-system` namespace: the cluster.
    pub cluster: String,
    /// The incident.
    pub incident: IncidentUid,
    /// The seat's name in the roster.
    pub seat: String,
    /// 1 to 4.
    pub epoch: u32,
    /// When the seat says that it voted (its own clock; for people, never for expiry).
    pub issued_at: UnixMillis,
    /// Life from the server-set creation time, at most [`MAX_LIFE_MS`].
    pub expires_after_ms: u32,
    /// Digest of the incident context that was judged.
    pub context: Digest,
    /// Digest of the roster that the seat voted under.
    pub roster: Digest,
    /// Version of the seat's rules.
    pub rules: String,
    /// The vote itself.
    pub opinion: Opinion,
}

/// Which of the two rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Round {
    /// Blind: what is wrong, and what would help.
    Cause,
    /// Over all that was proposed.
    Remedy,
}

impl std::fmt::Display for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cause => "cause",
            Self::Remedy => "remedy",
        })
    }
}

/// What a seat says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Opinion {
    /// No judgement, and why. Counts to no quorum.
    Abstain {
        /// The round that it abstains in.
        round: Round,
        /// For example `no data from the kubelet since 40 s`.
        reason: String,
    },
    /// First round.
    Cause(CauseVote),
    /// Second round.
    Remedy(RemedyVote),
}

/// The blind judgement. No hypothesis and evidence present means: healthy in my domain, and I had data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CauseVote {
    /// Most probable first; at most [`MAX_ITEMS`].
    pub hypotheses: Vec<Hypothesis>,
    /// Evidence for "healthy in my domain"; required when there is no hypothesis.
    pub healthy: Vec<Evidence>,
    /// Calls seen, for explaining callers away.
    pub edges: Vec<Edge>,
}

/// One possible cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hypothesis {
    /// Where.
    pub service: Service,
    /// Of which kind.
    pub domain: Domain,
    /// Fault class in the field's words, for example `bad-rollout`, `cpu-saturation`, `stalled`.
    pub fault: String,
    /// How sure.
    pub probability: Millionths,
    /// On what grounds.
    pub evidence: Vec<Evidence>,
    /// From the cause to the alert, service by service.
    pub path: Vec<Service>,
    /// What the seat would try.
    pub remedies: Vec<Proposal>,
}

/// Who a piece of evidence came from. Acting needs two, one of them not a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Principal {
    /// The pods' own sidecars, all of them together.
    Sidecar,
    /// The kubelet's figures.
    Kubelet,
    /// Objects in the API server (not Events: tenants can forge those).
    ApiServer,
    /// A store of metrics, whoever wrote into it.
    MetricStore,
    /// Spans that applications sent.
    Traces,
    /// Lines that applications wrote, as a store of logs counts them.
    LogStore,
}

// === impl Principal ===

impl Principal {
    /// Whether it is the pods' own word, however it came here: a store of metrics has it from the pods, too. Such words alone, of
    /// whatever kind, are one voice.
    #[must_use]
    pub fn is_of_pods(self) -> bool {
        matches!(self, Self::Sidecar | Self::MetricStore | Self::Traces | Self::LogStore)
    }
}

/// What kind of signal a piece of evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EvidenceClass {
    /// Requests, status classes, latency between identities.
    Requests,
    /// TCP health.
    Tcp,
    /// A database's exchanges.
    DatabaseExchange,
    /// CPU, memory, throttling as the kubelet reports them.
    Resource,
    /// Pressure as the kernel reports it.
    Pressure,
    /// Rollouts, revisions, configuration.
    Change,
    /// Container states and restarts.
    ContainerState,
}

/// A piece of evidence by digest, with the window it covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evidence {
    /// Kind of signal.
    pub class: EvidenceClass,
    /// Who it came from.
    pub principal: Principal,
    /// Digest of the figures as the seat holds them.
    pub digest: Digest,
    /// Start of the window.
    pub from: UnixMillis,
    /// End of the window.
    pub to: UnixMillis,
    /// One line for people; figures and names of ours only.
    pub summary: String,
}

/// Somebody calls somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edge {
    /// Who calls.
    pub caller: Service,
    /// Who is called.
    pub callee: Service,
}

/// A concrete remedy: what is done to what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proposal {
    /// The action with its parameters.
    pub action: Action,
    /// The object, pinned.
    pub target: Target,
}

// === impl Proposal ===

impl Proposal {
    /// The proposal's name in stances: digest of action and target.
    pub fn digest(&self) -> Result<Digest, canonical::Error> {
        Digest::of(self)
    }

    /// What it writes with.
    ///
    /// # Errors
    /// If no action is modelled for such a target.
    pub fn write(&self) -> Result<Write, Refusal> {
        let kind = self.kind().ok_or_else(|| {
            let Target { api_version, kind, .. } = &self.target;
            Refusal::new(Rule::ForbiddenTarget, format!("{kind:.80} of {api_version:.80} is not modelled"), format!("{} of apps/v1", Kind::NAMES.join(", ")))
        })?;
        Ok(self.action.act().part().of(kind))
    }

    /// The name of the object that it writes with, in the target's namespace.
    #[must_use]
    pub fn object_name(&self) -> &str {
        self.action.evicts().map_or(&self.target.name, |evict| &evict.pod)
    }

    /// The paths (JSON pointers) of what it writes below which anything may change, and others may lose what they own.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        let act = self.action.act();
        let beside = self.kind().and_then(Kind::root_beside_template).filter(|_| act.part().subresource.is_empty());
        act.roots().into_iter().chain(beside.map(str::to_owned)).collect()
    }

    fn kind(&self) -> Option<Kind> {
        Kind::of(&self.target.api_version, &self.target.kind)
    }
}

/// The judgement of what was proposed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemedyVote {
    /// Digests of the cause ballots that the seat verified, sorted.
    pub causes: Vec<Digest>,
    /// One stance for each proposal in those ballots.
    pub stances: Vec<Stance>,
}

/// What a seat says of one proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stance {
    /// [`Proposal::digest`].
    pub proposal: Digest,
    /// For, neutral, or against.
    pub verdict: StanceVerdict,
    /// One line for people.
    pub reason: String,
    /// Grounds; a support without evidence counts for nothing.
    pub evidence: Vec<Evidence>,
}

/// The three stances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StanceVerdict {
    /// It will help.
    Support,
    /// It does no harm in my domain.
    NoObjection,
    /// It would harm my domain.
    Veto,
}

/// A ballot whose signature, certificate and creator were checked, with the digest of its signed payload and the time at
/// which the API server stored it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CastBallot {
    /// SHA-256 of the signed payload.
    pub digest: Digest,
    /// Server-set creation time.
    pub created_at: UnixMillis,
    /// The vote.
    pub ballot: Ballot,
}

// === impl Ballot ===

impl Ballot {
    /// The round that this ballot belongs to.
    #[must_use]
    pub fn round(&self) -> Round {
        match &self.opinion {
            Opinion::Abstain { round, .. } => *round,
            Opinion::Cause(_) => Round::Cause,
            Opinion::Remedy(_) => Round::Remedy,
        }
    }

    /// The object name: at most one ballot of a seat per incident, epoch and round can exist.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}-{}-{}", self.incident, self.epoch, self.round(), self.seat)
    }

    /// The statement to sign.
    #[must_use]
    pub fn statement(self) -> Statement {
        Statement {
            kind: STATEMENT_TYPE.into(),
            subject: vec![Subject { name: self.incident.to_string(), digest: SubjectDigest { sha256: self.context.clone() } }],
            predicate_type: PREDICATE_TYPE.into(),
            predicate: self,
        }
    }

    /// Whether every bound holds; the error names the first that does not.
    pub fn check_bounds(&self) -> Result<(), String> {
        let text = |what: &str, value: &str| {
            if value.len() <= MAX_TEXT { Ok(()) } else { Err(format!("{what} is longer than {MAX_TEXT} bytes")) }
        };
        let count = |what: &str, n: usize, most: usize| if n <= most { Ok(()) } else { Err(format!("more than {most} {what}")) };
        if !(1..=MAX_EPOCHS).contains(&self.epoch) {
            return Err(format!("epoch `{}` is not 1 to {MAX_EPOCHS}", self.epoch));
        }
        if self.expires_after_ms == 0 || self.expires_after_ms > MAX_LIFE_MS {
            return Err(format!("life of {} ms is not 1 to {MAX_LIFE_MS} ms", self.expires_after_ms));
        }
        text("rules version", &self.rules)?;
        match &self.opinion {
            Opinion::Abstain { reason, .. } => text("abstention reason", reason),
            Opinion::Cause(vote) => {
                count("hypotheses", vote.hypotheses.len(), MAX_ITEMS)?;
                count("edges", vote.edges.len(), 256)?;
                count("evidence items", vote.healthy.len(), MAX_ITEMS)?;
                if vote.hypotheses.is_empty() && vote.healthy.is_empty() {
                    return Err("a vote without hypothesis needs evidence of health; without data it is an abstention".into());
                }
                for hypothesis in &vote.hypotheses {
                    text("fault class", &hypothesis.fault)?;
                    count("evidence items", hypothesis.evidence.len(), MAX_ITEMS)?;
                    count("steps in a path", hypothesis.path.len(), 64)?;
                    count("remedies", hypothesis.remedies.len(), MAX_ITEMS)?;
                    hypothesis.evidence.iter().try_for_each(|item| text("evidence summary", &item.summary))?;
                }
                Ok(())
            }
            Opinion::Remedy(vote) => {
                count("cause ballots", vote.causes.len(), MAX_ITEMS)?;
                count("stances", vote.stances.len(), 4 * MAX_ITEMS)?;
                vote.stances.iter().try_for_each(|stance| {
                    text("stance reason", &stance.reason)?;
                    count("evidence items", stance.evidence.len(), MAX_ITEMS)
                })
            }
        }
    }
}

// === impl Statement ===

impl Statement {
    /// Reads a signed payload: canonical text of a statement of ours, within bounds.
    pub fn parse(payload: &str) -> Result<Self, String> {
        let statement: Self = serde_json::from_str(payload).map_err(|error| format!("payload is not a ballot statement: {error}"))?;
        if canonical::text(&statement).map_err(|error| error.to_string())? != payload {
            return Err("payload is not in canonical form".into());
        }
        if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
            return Err("payload is a statement of another type".into());
        }
        let ballot = &statement.predicate;
        let about = [Subject { name: ballot.incident.to_string(), digest: SubjectDigest { sha256: ballot.context.clone() } }];
        if statement.subject != about {
            return Err("the statement's subject is not the ballot's incident context".into());
        }
        ballot.check_bounds()?;
        Ok(statement)
    }
}
