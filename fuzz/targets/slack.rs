//! Callbacks of Slack: whatever a body says, reading it ends with a whole word or with a reason.
#![no_main]

#[path = "../../api/src/slack/press.rs"]
mod press;

use libfuzzer_sys::fuzz_target;

/// As the gate has it.
#[derive(Debug)]
pub enum Error {
    Payload(String),
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // As it is, and as the payload of a form: few mutations keep both.
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("payload", text).finish();
    for body in [text, form.as_str()] {
        match press::press(body) {
            Ok(press) => {
                let (team, user) = press.author.strip_prefix("slack:").unwrap().split_once('/').unwrap();
                assert!(!team.is_empty() && !user.is_empty() && !user.contains('/'), "{}", press.author);
                assert!(!press.request.is_empty() && press.request.len() <= 63 && !press.request.contains(['/', ':', '.']), "{}", press.request);
            }
            Err(Error::Payload(why)) => assert!(!why.is_empty() && why.len() < 512, "{why}"),
        }
    }
});
