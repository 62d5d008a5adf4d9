//! What people see in Slack: plain text that nobody's words can turn into anything else, and two buttons that name the request and
//! the change. It is a function of the stored request, so that the gate can tell whether somebody saw exactly this when they pressed:
//! Slack signs the message that a button stood in.

use assent_core::action::Action;
use assent_core::ballot::Proposal;
use serde_json::{Value, json};

use crate::facts;
use crate::resources::ApprovalRequest;

/// Longest text and title that Slack takes, almost. A button's callback repeats them, and must stay below what the gate takes.
const MAX_TEXT: usize = 2900;
const MAX_TITLE: usize = 150;
/// Longest action and target: as long as a request may have them, since a title can be cut where two of them differ.
const MAX_ACTION: usize = 1000;
const MAX_TARGET: usize = 600;
/// Most reasons, and the longest of them.
const MAX_REASONS: usize = 6;
const MAX_REASON: usize = 150;

/// A button's value: what it is about.
#[must_use]
pub fn value(request: &str, change: &str) -> String {
    format!("{request}:{change}")
}

/// The title of the message about `request`.
#[must_use]
pub fn title(request: &ApprovalRequest) -> String {
    capped(&format!("Assent asks: {} on {}", request.spec.action, request.spec.target), MAX_TITLE)
}

/// The blocks of the message about `request`.
#[must_use]
pub fn blocks(request: &ApprovalRequest) -> Value {
    let plain = |text: String| json!({"type": "plain_text", "emoji": false, "text": text});
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let value = value(name, &request.spec.change);
    let button = |id: &str, style: &str, label: &str| json!({"type": "button", "action_id": id, "style": style, "value": value, "text": plain(label.into())});
    json!([
        {"type": "header", "block_id": "assent_title", "text": plain(title(request))},
        {"type": "section", "block_id": "assent_reasons", "text": plain(text(request, name))},
        {"type": "actions", "block_id": "assent_answers", "elements": [button("approve", "primary", "Approve"), button("deny", "danger", "Deny")]},
    ])
}

fn text(request: &ApprovalRequest, name: &str) -> String {
    let spec = &request.spec;
    let mut lines = vec![format!("Action: {}", capped(&spec.action, MAX_ACTION)), format!("On: {}", capped(&spec.target, MAX_TARGET))];
    lines.extend(spec.reasons.iter().take(MAX_REASONS).map(|reason| format!("- {}", capped(reason, MAX_REASON))));
    if spec.reasons.len() > MAX_REASONS {
        lines.push(format!("- and {} more", spec.reasons.len() - MAX_REASONS));
    }
    lines.push(format!("Undone by: {}", undo(&spec.payload)));
    if let Some(at) = facts::created_at(request) {
        lines.push(format!("Until: {}", at.plus(i64::from(spec.expires_after_seconds) * 1000).rfc3339()));
    }
    lines.push(format!("All of it: kubectl get apr -n assent-system {name} -o yaml"));
    // Whatever is cut, the reasons can be read there.
    let text = lines.join("\n");
    text.chars().take(MAX_TEXT).collect()
}

fn undo(payload: &str) -> &'static str {
    match serde_json::from_str::<Proposal>(payload).map(|proposal| proposal.action) {
        Ok(Action::RollbackWorkload(_) | Action::RevertConfig(_) | Action::AdjustResources(_)) => "the pod template that runs now",
        Ok(Action::RestartWorkload(_) | Action::EvictPod(_)) => "nothing, since what is wanted stays as it is",
        Ok(Action::ScaleWorkload(_)) => "the number of replicas that there is now",
        _ => "what its plan says",
    }
}

/// Printable ASCII in one line: what Slack would show as something else, or turn around, is shown as `?`.
fn capped(text: &str, most: usize) -> String {
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    if text.chars().count() <= most {
        text.chars().map(plain).collect()
    } else {
        text.chars().map(plain).take(most.saturating_sub(3)).chain("...".chars()).collect()
    }
}

/// Everything that `blocks` show and do, in lines. What is not known here is a line too, so that nothing can be beside what is known.
#[must_use]
pub(super) fn lines(blocks: &Value) -> Vec<String> {
    let Some(blocks) = blocks.as_array() else { return vec!["no blocks".into()] };
    let mut lines = Vec::new();
    for block in blocks {
        lines.push(format!("{} {}", word(&block["type"]), shown(&block["text"])));
        others(block, &["type", "block_id", "text", "elements", "expand"], &mut lines);
        for element in block["elements"].as_array().into_iter().flatten() {
            lines.push(format!("{} {} {} {}", word(&element["type"]), word(&element["action_id"]), word(&element["value"]), shown(&element["text"])));
            others(element, &["type", "block_id", "action_id", "value", "text", "style"], &mut lines);
        }
    }
    lines
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text as people see it: Slack gives three characters back in another form. Lines count, or what is asked could be pushed out of view.
fn shown(text: &Value) -> String {
    let plain = word(&text["text"]).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let lines = plain.trim_end().split('\n').map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    format!("{} {}", word(&text["type"]), lines.collect::<Vec<_>>().join("\n"))
}

fn others(value: &Value, known: &[&str], lines: &mut Vec<String>) {
    lines.extend(value.as_object().into_iter().flatten().filter(|(key, _)| !known.contains(&key.as_str())).map(|(key, _)| format!("beside it: {key}")));
}

#[cfg(test)]
pub(super) mod tests {
    use assent_core::action::Scale;
    use assent_core::canonical::Digest;
    use assent_core::ids::IncidentUid;
    use assent_core::target::Target;

    use super::*;
    use crate::resources::ApprovalRequestSpec;

    /// Somebody is asked about nine replicas, for this reason.
    pub(in crate::slack) fn request(reasons: Vec<String>) -> ApprovalRequest {
        let text = str::to_owned;
        let target = Target {
            api_version: text("apps/v1"),
            kind: text("Deployment"),
            namespace: text("shop"),
            name: text("orders"),
            uid: text("u"),
            generation: 4,
            spec: Digest::of_bytes(b"spec"),
        };
        let incident = IncidentUid::try_from(text("01890a5d-ac96-774b-bcce-b302099a8057")).unwrap();
        let spec = ApprovalRequestSpec::of(&incident, 1, &Proposal { action: Action::ScaleWorkload(Scale { replicas: 9 }), target }, 3600).unwrap();
        let mut request = ApprovalRequest::named("cluster", ApprovalRequestSpec { reasons, ..spec }).unwrap();
        request.metadata.creation_timestamp = Some(serde_json::from_value(json!("2026-11-28T09:05:00Z")).unwrap());
        request
    }

    #[test]
    fn it_says_what_why_how_undone_until_when_and_its_buttons_what_for() {
        let request = request(vec!["more than 5 replicas".into()]);
        let (name, blocks) = (request.metadata.name.clone().unwrap(), blocks(&request));
        assert_eq!(blocks[0]["text"]["text"], "Assent asks: scale to 9 replicas on Deployment shop/orders");
        let text = blocks[1]["text"]["text"].as_str().unwrap();
        for part in ["On: Deployment shop/orders\n", "more than 5 replicas", "Undone by: the number of replicas", "Until: 2026-11-28T10:05:00Z", name.as_str()]
        {
            assert!(text.contains(part), "{text}");
        }
        let wanted = json!(value(&name, &request.spec.change));
        let said: Vec<(&Value, &Value)> = blocks[2]["elements"].as_array().unwrap().iter().map(|button| (&button["action_id"], &button["value"])).collect();
        assert_eq!(said, [(&json!("approve"), &wanted), (&json!("deny"), &wanted)]);
    }

    #[test]
    fn nobodys_words_become_markup_or_make_it_too_long() {
        let hostile = "<!channel> *approve* \u{7}\u{202e}<https://example.org|here> \u{1F4A5}\n".repeat(100);
        let mut request = request(vec![hostile.clone(); 40]);
        (request.spec.action, request.spec.target) = (hostile.clone(), hostile);
        let blocks = blocks(&request);
        let texts: Vec<&Value> = blocks.as_array().unwrap().iter().filter_map(|block| block.get("text")).collect();
        assert!(texts.iter().all(|text| text["type"] == "plain_text"));
        let text = texts[1]["text"].as_str().unwrap();
        assert!(text.len() <= MAX_TEXT && text.bytes().all(|b| b == b'\n' || b == b' ' || b.is_ascii_graphic()) && text.ends_with("-o yaml"), "{text}");
    }
}
