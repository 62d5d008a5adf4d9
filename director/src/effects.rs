//! One effect, carried out: each arm calls one function and says what happened. All of them may be repeated.

use assent_core::consensus::Verdict;
use assent_core::incident::{Effect, Event};

use crate::director::{Director, Error};
use crate::store::{Advance, Record};
use crate::{context, decision, publish, seats};

/// Carries out `effect` of the incident in `record`; what comes back is stored together with the effect's end.
pub(crate) async fn carry_out(director: &Director, record: &Record, effect: &Effect) -> Result<Advance, Error> {
    let incident = &record.incident;
    match effect {
        Effect::Gather => Ok(Advance::by(Event::Gathered(context::gather(director, record).await?))),
        Effect::Ask { epoch, deadline } => {
            let roster = director.roster().await?;
            if let Some(roster) = &roster {
                seats::ask(director, roster, incident, *epoch, *deadline).await?;
            }
            let tally = decision::count(director, roster.as_ref(), &incident.uid, *epoch).await?;
            if let Event::Tallied { outcome, .. } = &tally.event {
                director.metrics.decided(&outcome.verdict);
            }
            Ok(Advance { entries: tally.entries, calls: tally.calls, ..Advance::by(tally.event) })
        }
        Effect::Decide { epoch, outcome } => match (decision::write(director, &incident.uid, *epoch, outcome).await?, &outcome.verdict) {
            // Nothing was to follow from a count that holds back, so nothing is lost without its Decision.
            (Err(contradiction), Verdict::Hold { .. }) => {
                tracing::warn!(incident.id = %incident.uid, epoch, contradiction, "decision not written");
                Ok(Advance::nothing())
            }
            (Err(contradiction), Verdict::Act { .. }) => Ok(Advance::by(Event::Abandoned(contradiction))),
            (Ok(()), Verdict::Act { proposal, .. }) => {
                let mode = director.mode(&proposal.target).await?;
                Ok(Advance::by(Event::Authorised { epoch: *epoch, mode }))
            }
            (Ok(()), Verdict::Hold { .. }) => Ok(Advance::nothing()),
        },
        // Shown as status, and as a Warning Event; a GoAlert alert stays unacknowledged, so that it goes on paging.
        Effect::Escalate(reason) => {
            tracing::warn!(incident.id = %incident.uid, reason, "a person must act");
            publish::publish(director, record).await?;
            Ok(Advance::nothing())
        }
        // Entries are written with the state and never wait.
        Effect::Record { .. } => Ok(Advance::nothing()),
    }
}
