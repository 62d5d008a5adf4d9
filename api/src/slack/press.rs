//! What a button's callback says: a form with one JSON text in it, of which only what decides is read.

use assent_core::approval::Word;
use assent_core::blueprint::Approver;
use assent_core::canonical::Digest;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::Error;

/// Longest name of a request.
const MAX_NAME: usize = 63;
/// Longest reason that is repeated.
const MAX_REASON: usize = 200;

/// Somebody pressed a button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Press {
    /// Who, as `slack:TEAM/USER`.
    pub author: String,
    /// What they say.
    pub word: Word,
    /// Name of the request.
    pub request: String,
    /// The change that the button names.
    pub change: Digest,
    /// The blocks of the message that the button stood in.
    pub shown: Value,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    user: User,
    actions: Vec<Action>,
    #[serde(default)]
    message: Message,
}

/// What stood around the button. Blocks are compared as a whole, and nothing may stand beside them.
#[derive(Default, Deserialize)]
struct Message {
    #[serde(default)]
    blocks: Value,
    #[serde(default)]
    attachments: Vec<IgnoredAny>,
    #[serde(default)]
    files: Vec<IgnoredAny>,
}

/// Whoever pressed it. The team is theirs, not that of the channel: a guest of another organisation stays one.
#[derive(Deserialize)]
struct User {
    id: String,
    team_id: String,
}

#[derive(Deserialize)]
struct Action {
    action_id: String,
    value: String,
}

/// Reads a body.
///
/// # Errors
/// If it is no callback of a button of ours.
pub fn press(body: &str) -> Result<Press, Error> {
    let none = |what: &str| Error::Payload(what.into());
    let mut fields = form_urlencoded::parse(body.as_bytes());
    let (Some((name, text)), None) = (fields.next(), fields.next()) else { return Err(none("the body is not one field `payload`")) };
    if name != "payload" {
        return Err(none("the body is not one field `payload`"));
    }
    // A field of ours that is there twice is an error of serde's, which repeats what it found, however long.
    let capped = |error: serde_json::Error| error.to_string().chars().take(MAX_REASON).collect::<String>();
    let payload: Payload = serde_json::from_str(&text).map_err(|error| Error::Payload(format!("its payload is not readable: {}", capped(error))))?;
    if payload.kind != "block_actions" {
        return Err(none("it is no `block_actions`"));
    }
    let [action] = payload.actions.as_slice() else { return Err(none("not exactly one button was pressed")) };
    let word = match action.action_id.as_str() {
        "approve" => Word::Approve,
        "deny" => Word::Deny,
        _ => return Err(none("the button is neither `approve` nor `deny`")),
    };
    if !payload.message.attachments.is_empty() || !payload.message.files.is_empty() {
        return Err(none("there is more in the message than its blocks"));
    }
    let author = Approver::slack(&payload.user.team_id, &payload.user.id).ok_or_else(|| none("its user has no id of Slack's"))?;
    let (request, change) = action.value.split_once(':').ok_or_else(|| none("the button names no request and change"))?;
    let plain = (1..=MAX_NAME).contains(&request.len()) && request.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain {
        return Err(none("the button names no request"));
    }
    let change = Digest::try_from(change.to_owned()).map_err(|_| none("the button names no change"))?;
    Ok(Press { author: author.to_string(), word, request: request.to_owned(), change, shown: payload.message.blocks })
}
