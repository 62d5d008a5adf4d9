//! What people see in Slack: plain text that nobody's words can turn into anything else, and two buttons that name the request and
//! the change.

use assent_api::slack::value;
use serde_json::{Value, json};

/// Longest text. A button's callback repeats it, with up to nine bytes a character, and must stay below what the gate takes.
const MAX_TEXT: usize = 1800;
/// Most reasons, and the longest of them.
const MAX_REASONS: usize = 8;
const MAX_REASON: usize = 200;

/// What somebody is asked.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question {
    /// Name of the request.
    pub(crate) request: String,
    /// The change.
    pub(crate) change: String,
    /// The action in a line.
    pub(crate) action: String,
    /// What it is done to.
    pub(crate) target: String,
    /// Why it asks.
    pub(crate) reasons: Vec<String>,
    /// What would undo it.
    pub(crate) undo: String,
    /// Until when people may answer, RFC 3339.
    pub(crate) until: String,
}

// === impl Question ===

impl Question {
    /// For `chat.postMessage`.
    pub(crate) fn message(&self, channel: &str) -> Value {
        let title = capped(&format!("Assent asks: {} on {}", self.action, self.target), 150);
        let plain = |text: String| json!({"type": "plain_text", "emoji": false, "text": text});
        let value = value(&self.request, &self.change);
        let button = |id: &str, style: &str, label: &str| json!({"type": "button", "action_id": id, "style": style, "value": value, "text": plain(label.into())});
        json!({
            "channel": channel,
            // Shown in notifications, where there are no blocks; nothing in it is markup or a mention.
            "text": escaped(&title), "mrkdwn": false, "parse": "none", "link_names": false, "unfurl_links": false, "unfurl_media": false,
            "blocks": [
                {"type": "header", "text": plain(title)},
                {"type": "section", "text": plain(self.text())},
                {"type": "actions", "block_id": "assent_approval", "elements": [button("approve", "primary", "Approve"), button("deny", "danger", "Deny")]},
            ],
        })
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = self.reasons.iter().take(MAX_REASONS).map(|reason| format!("• {}", capped(reason, MAX_REASON))).collect();
        if self.reasons.len() > MAX_REASONS {
            lines.push(format!("• and {} more", self.reasons.len() - MAX_REASONS));
        }
        lines.push(format!("Undone by: {}", self.undo));
        lines.push(format!("Until: {}", self.until));
        // What is cut is never what one needs to find the rest.
        let last = format!("All of it: kubectl get apr -n assent-system {} -o yaml", self.request);
        let room = MAX_TEXT.saturating_sub(last.chars().count() + 1);
        format!("{}\n{last}", capped(&lines.join("\n"), room))
    }
}

/// Control characters would end a line that is not ours to end.
fn capped(text: &str, most: usize) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    if text.chars().count() <= most { text.chars().map(plain).collect() } else { text.chars().map(plain).take(most.saturating_sub(1)).chain(['…']).collect() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(reasons: Vec<String>) -> Question {
        let text = str::to_owned;
        Question {
            request: "apr-0123456789abcdef0123".into(),
            change: "ab".repeat(32),
            action: text("scale to 9 replicas"),
            target: text("Deployment shop/orders"),
            reasons,
            undo: text("back to 5 replicas"),
            until: text("2026-11-28T10:05:00Z"),
        }
    }

    #[test]
    fn it_says_what_why_how_undone_until_when_and_its_buttons_what_for() {
        let message = question(vec!["more than 5 replicas".into()]).message("C1");
        assert_eq!(message["channel"], "C1");
        assert_eq!(message["blocks"][0]["text"]["text"], "Assent asks: scale to 9 replicas on Deployment shop/orders");
        let text = message["blocks"][1]["text"]["text"].as_str().unwrap();
        for part in ["more than 5 replicas", "Undone by: back to 5 replicas", "Until: 2026-11-28T10:05:00Z", "apr-0123456789abcdef0123"] {
            assert!(text.contains(part), "{text}");
        }
        let buttons = message["blocks"][2]["elements"].as_array().unwrap();
        let wanted = json!(format!("apr-0123456789abcdef0123:{}", "ab".repeat(32)));
        let said: Vec<(&Value, &Value)> = buttons.iter().map(|button| (&button["action_id"], &button["value"])).collect();
        assert_eq!(said, [(&json!("approve"), &wanted), (&json!("deny"), &wanted)]);
    }

    #[test]
    fn nobodys_words_become_markup_or_make_it_too_long() {
        let hostile = "<!channel> *approve* \u{7}<https://example.org|here> \u{1F4A5}".repeat(100);
        let mut question = question(vec![hostile.clone(); 40]);
        question.target = hostile;
        let message = question.message("C1");
        let texts: Vec<&Value> = message.pointer("/blocks").unwrap().as_array().unwrap().iter().filter_map(|block| block.get("text")).collect();
        assert!(texts.iter().all(|text| text["type"] == "plain_text"));
        assert!(!message["text"].as_str().unwrap().contains('<'));
        let text = texts[1]["text"].as_str().unwrap();
        assert!(text.chars().count() <= MAX_TEXT && text.ends_with("-o yaml") && !text.contains('\u{7}'), "{text}");
    }
}
