//! Words that came by Slack: whether Slack signed exactly this, then, and what the button says. A pure function of bytes, the
//! signing secret and a time, so that it can be asked again whenever a word is counted.
//!
//! Nobody between Slack and the gate is believed: whoever carries a callback can lose it, and nothing else.

mod message;
mod press;

use assent_core::approval::Word;
use assent_core::ids::UnixMillis;
use aws_lc_rs::hmac;

use crate::resources::{ApprovalRequest, ApprovalSpec, Pressed};
pub use message::{blocks, title, value};
pub use press::{Press, press};

/// Largest body, in bytes: a button's callback repeats the message that it stands in.
pub const MAX_BODY: usize = 32 * 1024;
/// Slack's clock and ours may differ so much, and a callback may be on its way so long.
pub const TOLERANCE_MS: i64 = 300_000;
/// Shortest signing secret, in bytes.
pub const MIN_SECRET: usize = 16;

/// Why a word is none that Slack signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No word of Slack, or one with more in it than Slack's.
    #[error("{0}")]
    Form(&'static str),
    /// The secret is none.
    #[error("the signing secret is shorter than {MIN_SECRET} bytes")]
    Secret,
    /// Not signed with the secret.
    #[error("Slack did not sign it: the signature is not that of this body and timestamp")]
    Signature,
    /// Too old, or of a time to come.
    #[error("its timestamp is {0} s from when it came, and at most 300 may lie between")]
    Timestamp(i64),
    /// Signed, and no button of ours.
    #[error("it is no button of ours: {0}")]
    Payload(String),
    /// Signed, and whoever pressed it saw something else.
    #[error("the message says something else than the request")]
    Shown,
    /// Signed, and the object says something else.
    #[error("the button that was pressed says {pressed}, and the approval {says}")]
    Other {
        /// What the body says.
        pressed: String,
        /// What the object says.
        says: String,
    },
}

/// A word whose bytes Slack signed, at whatever time. Nothing of them is parsed yet.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    word: &'a ApprovalSpec,
    pressed: &'a Pressed,
}

/// Whether Slack signed the callback of `word`. It costs one digest of a bounded body and asks nobody, so that it can come before
/// everything that does, also before the time of it.
///
/// # Errors
/// See [`Error`].
pub fn signed<'a>(secret: &[u8], word: &'a ApprovalSpec) -> Result<Signed<'a>, Error> {
    let pressed = word.slack.as_ref().ok_or(Error::Form("it carries no callback of Slack"))?;
    if !word.comment.is_empty() || !word.groups.is_empty() {
        return Err(Error::Form("its comment and its groups are nothing that Slack signed"));
    }
    if pressed.body.len() > MAX_BODY {
        return Err(Error::Form("its body is larger than a button's callback"));
    }
    is_signed(secret, &pressed.timestamp, &pressed.signature, &pressed.body)?;
    Ok(Signed { word, pressed })
}

// === impl Signed ===

impl Signed<'_> {
    /// What was pressed, if that was at about `at`, and is exactly what the word says.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn pressed(self, at: UnixMillis) -> Result<Press, Error> {
        let Self { word, pressed } = self;
        is_timely(&pressed.timestamp, at)?;
        let press = press(&pressed.body)?;
        let says = |user: &str, word: Word, request: &str, change: &str| format!("`{word:?}` of `{user}` on `{request}` for change `{change:.12}`");
        if (&press.author, press.word, &press.request, press.change.as_str()) != (&word.user, word.verdict.into(), &word.request, word.change.as_str()) {
            let pressed = says(&press.author, press.word, &press.request, press.change.as_str());
            return Err(Error::Other { pressed, says: says(&word.user, word.verdict.into(), &word.request, &word.change) });
        }
        Ok(press)
    }
}

/// Whether whoever pressed saw what `request` asks and nothing else: who posts a message can write anything above its buttons.
///
/// # Errors
/// If they saw something else.
pub fn saw(press: &Press, request: &ApprovalRequest) -> Result<(), Error> {
    if message::lines(&press.shown) == message::lines(&blocks(request)) { Ok(()) } else { Err(Error::Shown) }
}

fn is_signed(secret: &[u8], timestamp: &str, signature: &str, body: &str) -> Result<(), Error> {
    let secret = secret.trim_ascii();
    if secret.len() < MIN_SECRET {
        return Err(Error::Secret);
    }
    let given = signature.strip_prefix("v0=").and_then(|text| hex::decode(text).ok()).ok_or(Error::Signature)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    // In constant time.
    hmac::verify(&key, format!("v0:{timestamp}:{body}").as_bytes(), &given).map_err(|_| Error::Signature)
}

/// Whether this timestamp of a callback is from about `at`.
///
/// # Errors
/// If it is no number of seconds, or another time.
pub fn is_timely(timestamp: &str, at: UnixMillis) -> Result<(), Error> {
    let plain = (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = timestamp.parse().ok().filter(|_| plain).ok_or(Error::Form("its timestamp is no number of seconds"))?;
    let apart = UnixMillis(seconds.saturating_mul(1000)).since(at);
    if apart.abs() > TOLERANCE_MS { Err(Error::Timestamp(apart / 1000)) } else { Ok(()) }
}

#[cfg(test)]
mod cases;
