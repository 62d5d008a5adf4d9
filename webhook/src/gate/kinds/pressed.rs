//! People's word by Slack. The director carries it here and is believed nothing: it has no word of its own, it cannot sign, and
//! what Slack signed names person, verdict, request, change and the message that they saw. So a hostile director can lose a word
//! and make none.

use assent_api::names::accounts;
use assent_api::resources::{ApprovalRequest, ApprovalSpec};
use assent_api::slack::{self, Press};
use assent_core::approval::Word;
use assent_core::ballot::Proposal;
use assent_core::blueprint::known;
use assent_core::ids::IncidentUid;
use assent_core::proof;
use assent_core::refusal::{Refusal, Rule};
use assent_live::Live;

use super::asking::unfit;
use super::stranger;
use crate::review::Request;

/// Whether the director brings a word that Slack signed a moment ago. Nobody else brings one, and it brings no other.
pub(super) async fn authored(live: &Live, request: &Request, spec: &ApprovalSpec) -> Result<Press, Refusal> {
    if !request.is_by(accounts::DIRECTOR) {
        return Err(stranger(request, "one's own word, without a callback of Slack, which the director alone brings"));
    }
    if spec.slack.is_none() {
        return Err(stranger(request, "a callback of Slack with its signature: the director has no word of its own"));
    }
    live.pressed_now(spec).await
}

/// Whether whoever pressed saw what is asked, and their word in chat suffices in some rule that asks them now. Counting says the same
/// later; they hear it here.
pub(super) async fn counts(live: &Live, about: &ApprovalRequest, press: &Press) -> Result<(), Refusal> {
    let refuse = |reason: String| Err(Refusal::new(Rule::Approval, reason, "`kubectl assent approve`, with one's own credentials"));
    slack::saw(press, about).or_else(|error| refuse(error.to_string()))?;
    if press.word != Word::Approve {
        return Ok(());
    }
    let user = &press.author;
    let proposal: Proposal = serde_json::from_str(&about.spec.payload).map_err(|error| unfit(format!("its payload is no proposal: {error}")))?;
    let incident = IncidentUid::try_from(about.spec.incident.clone()).map_err(unfit)?;
    let action = proposal.action.name();
    if !known(action).is_some_and(|known| known.reversible) {
        return refuse(format!("{action} cannot be undone, and nobody agrees to that in chat"));
    }
    let workload = live.workload(&proposal.target).await?;
    let facts = live.authority(&incident, Some(&proposal.target), workload).await?.facts;
    let rules = proof::asks(&facts, &incident, about.spec.epoch, &proposal)?;
    if !rules.iter().any(|rule| rule.chat && rule.names_in_chat(user)) {
        return refuse(format!("the Blueprint does not ask `{user}` in chat about {action} of {}", proposal.target));
    }
    Ok(())
}
