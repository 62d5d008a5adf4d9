//! Incidents that come with what people changed: which commit, deployment or switch broke it or none, where first, of what
//! kind, and what helps.
//!
//! Read in this order: [`shifts`] says which figures left their level and when, [`spans`] what the traces show, [`places`]
//! where it broke first, [`weighing`] of which kind it is ([`classes`]), [`matching`] what made it. Figures decide; words of
//! logs and patterns only choose among known kinds with a bounded weight, and messages of commits are not read at all.

mod classes;
mod diff;
mod matching;
mod places;
mod shifts;
mod spans;
pub mod templates;
mod weighing;
mod words;

#[cfg(test)]
mod cases;

use std::fmt;

use self::matching::Cause;
use crate::ids::Domain;

/// Everything that is known of one incident; every part may be empty. Times are Unix seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incident {
    /// What called.
    pub alert: Alert,
    /// Figures.
    pub series: Vec<Series>,
    /// Traces.
    pub spans: Vec<Span>,
    /// Logs.
    pub lines: Vec<Line>,
    /// What somebody else mined from logs.
    pub patterns: Vec<Pattern>,
    /// What was written.
    pub commits: Vec<Commit>,
    /// What was brought into production.
    pub deploys: Vec<Deploy>,
    /// Switches that were thrown.
    pub flags: Vec<Flag>,
    /// What others say of their services.
    pub notices: Vec<Notice>,
}

/// What called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alert {
    /// Which service it is about.
    pub service: Option<String>,
    /// Which figure it is about.
    pub metric: String,
    /// When it fired.
    pub at: Option<i64>,
    /// In words.
    pub summary: String,
}

/// One figure of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Whose.
    pub service: String,
    /// Which.
    pub metric: String,
    /// When and how much, in any order.
    pub samples: Vec<(i64, f64)>,
}

/// One piece of work in a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// Of which trace.
    pub trace: String,
    /// Its name in the trace.
    pub id: String,
    /// For which other one it was done.
    pub parent: Option<String>,
    /// Who did it.
    pub service: String,
    /// What was done.
    pub name: String,
    /// How long it took, in any one unit.
    pub duration: f64,
    /// Whether it failed.
    pub failed: bool,
    /// Why, in its own words.
    pub error: String,
}

/// One line of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: i64,
    /// Who wrote it.
    pub service: String,
    /// A warning or worse.
    pub severe: bool,
    /// What.
    pub text: String,
}

/// A template of log lines that somebody else counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    /// Who wrote them.
    pub service: String,
    /// What they have in common.
    pub text: String,
    /// How many more than usual.
    pub more: i64,
    /// They tell of trouble.
    pub negative: bool,
}

/// What somebody wrote. Its message is kept for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub sha: String,
    /// Which files it touches.
    pub files: Vec<String>,
    /// What it changes.
    pub diff: Option<String>,
}

/// A commit that was brought into production.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deploy {
    /// When.
    pub at: i64,
    /// Where.
    pub service: String,
    /// Which.
    pub commit: String,
}

/// A switch that was thrown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flag {
    /// When.
    pub at: i64,
    /// Where.
    pub service: String,
    /// Which.
    pub name: String,
}

/// What somebody says of a service that is not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// When, if said.
    pub at: Option<i64>,
    /// What.
    pub text: String,
}

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// The version before.
    Rollback,
    /// A further version, where the one before no longer fits.
    RollForward,
    /// The configuration or switch before.
    ConfigRevert,
    /// Another replica, zone or region.
    Failover,
    /// More of it.
    Scale,
    /// Another node.
    Reschedule,
    /// Another certificate or credential.
    RotateCertificate,
    /// The bad data out of the way.
    PurgeBadData,
    /// Those whose service it is.
    EscalateUpstream,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rollback => "rollback",
            Self::RollForward => "roll-forward",
            Self::ConfigRevert => "config-revert",
            Self::Failover => "failover",
            Self::Scale => "scale",
            Self::Reschedule => "reschedule",
            Self::RotateCertificate => "rotate-cert",
            Self::PurgeBadData => "purge-bad-data",
            Self::EscalateUpstream => "escalate-upstream",
        })
    }
}

/// One service and what is suspected of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspicion {
    /// Where.
    pub service: String,
    /// Of which kind.
    pub domain: Domain,
    /// In the field's words.
    pub fault: String,
    /// 0 to 1.
    pub strength: f64,
    /// Figures, a line each.
    pub grounds: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// Every service that was seen, most suspicious first.
    pub suspicions: Vec<Suspicion>,
    /// The commit that made it; none did, if there are suspicions and this is nothing.
    pub commit: Option<String>,
    /// What helps.
    pub remedy: Option<Remedy>,
}

// === impl Finding ===

impl Finding {
    /// Whether something that people did explains it.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.commit.is_some() || self.remedy == Some(Remedy::ConfigRevert)
    }
}

/// Words alone are no more than this.
const WORDS_ALONE: f64 = 0.2;
/// Services that are looked at closely.
const CLOSELY: usize = 8;

/// Judges `incident`.
#[must_use]
pub fn judge(incident: &Incident) -> Finding {
    let shifts = shifts::shifts(incident);
    let calls = spans::read(incident);
    let places = places::rank(incident, &shifts, &calls);
    let onset = places.first().and_then(|place| place.onset).or(incident.alert.at).map(|onset| onset.saturating_sub(60));
    let texts = weighing::texts(incident, onset);
    let readings = matching::readings(incident);
    let mut finding = Finding::default();
    for (number, place) in places.iter().enumerate() {
        let weights = if number < CLOSELY { weighing::weigh(incident, &shifts, &calls, &texts, place.service) } else { Vec::new() };
        let explained = matching::explain(incident, place, &weights, &calls, &readings);
        let mut suspicion = Suspicion {
            service: place.service.to_owned(),
            domain: Domain::Application,
            fault: "unknown".to_owned(),
            strength: place.strength,
            grounds: place.grounds.clone(),
        };
        if let Some((weight, cause)) = explained {
            suspicion.domain = weight.domain;
            suspicion.fault = weight.class.name.to_owned();
            suspicion.strength *= 0.5 + 0.5 * weight.all;
            suspicion.grounds.extend(weight.grounds.iter().cloned());
            let remedy = match &cause {
                Cause::Commit { commit, fit, reading } => {
                    suspicion.grounds.push(format!("commit `{}` makes such a fault, {fit:.2} of 1", commit.sha));
                    remedy_of(reading)
                }
                Cause::Flag(name) => {
                    suspicion.grounds.push(format!("switch `{name}` was thrown just before"));
                    Remedy::ConfigRevert
                }
                Cause::Nothing => weight.class.otherwise,
            };
            if number == 0 {
                if let Cause::Commit { commit, .. } = cause {
                    finding.commit = Some(commit.sha.clone());
                }
                finding.remedy = Some(remedy);
            }
        }
        if shifts.is_empty() && incident.spans.is_empty() {
            suspicion.strength = suspicion.strength.min(WORDS_ALONE);
        }
        finding.suspicions.push(suspicion);
    }
    // The kind of fault says how sure, not where.
    let mut most = 1.0_f64;
    for suspicion in &mut finding.suspicions {
        most = most.min(suspicion.strength.clamp(0.0, 1.0));
        suspicion.strength = most;
    }
    finding
}

fn remedy_of(reading: &diff::Reading) -> Remedy {
    if reading.effects.contains(&diff::Effect::Irreversible) {
        Remedy::RollForward
    } else if reading.configuration {
        Remedy::ConfigRevert
    } else {
        Remedy::Rollback
    }
}
