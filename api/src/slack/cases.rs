//! Slack's own vector, and everything that is nearly a word that Slack signed.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::resources::Verdict;

const SECRET: &[u8] = b"8f742231b10e8888abcd99yyyzzz85a5";
const AT: UnixMillis = UnixMillis(1_531_420_618_000);
const REQUEST: &str = "apr-0123456789abcdef0123";

/// Shared with whoever works on several projects; where they are absent this is said aloud, and where `CI` is set they must be there.
fn fixture(name: &str) -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/contracts/chatops").join(name);
    let there = path.is_file();
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "no fixture at {}", path.display());
    if !there {
        eprintln!("SKIPPED: no fixture at {}", path.display());
        return None;
    }
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

fn sign(secret: &[u8], timestamp: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("v0={}", hex::encode(hmac::sign(&key, format!("v0:{timestamp}:{body}").as_bytes())))
}

fn form(payload: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("payload", payload).finish()
}

fn change() -> String {
    "ab".repeat(32)
}

fn payload() -> Value {
    json!({
        "type": "block_actions", "team": {"id": "T1DC2JH3J"}, "user": {"id": "U2CERLKJA", "username": "roadrunner", "team_id": "T1DC2JH3J"},
        "actions": [{"type": "button", "action_id": "approve", "value": value(REQUEST, &change()), "action_ts": "1531420618.000000"}],
    })
}

/// The word that an honest director makes of `body`, signed with `secret`.
fn word(secret: &[u8], timestamp: &str, body: String) -> ApprovalSpec {
    let signature = sign(secret, timestamp, &body);
    ApprovalSpec {
        request: REQUEST.into(),
        change: change(),
        verdict: Verdict::Approve,
        user: "slack:T1DC2JH3J/U2CERLKJA".into(),
        groups: vec![],
        comment: String::new(),
        slack: Some(Pressed { timestamp: timestamp.into(), signature, body }),
    }
}

fn verify(secret: &[u8], word: &ApprovalSpec, at: UnixMillis) -> Result<Press, Error> {
    signed(secret, word)?.pressed(at)
}

fn good() -> ApprovalSpec {
    word(SECRET, "1531420618", form(&payload().to_string()))
}

#[test]
fn slacks_own_vector_holds_and_nothing_beside_it() {
    let Some(vector) = fixture("slack-signature-vector.json") else { return };
    let text = |name: &str| vector[name].as_str().unwrap().to_owned();
    let (secret, signature, body) = (text("signing_secret"), text("signature"), text("body"));
    let timestamp = vector["timestamp"].to_string();
    assert_eq!(is_signed(secret.as_bytes(), &timestamp, &signature, &body), Ok(()));
    assert_eq!(is_signed(secret.as_bytes(), "1531420619", &signature, &body), Err(Error::Signature));
    assert_eq!(is_signed(secret.as_bytes(), &timestamp, &signature, &body.replace("roadrunner", "coyote")), Err(Error::Signature));
    assert_eq!(is_signed(&secret.as_bytes()[1..], &timestamp, &signature, &body), Err(Error::Signature));
    for other in ["", "v0=", "v0=00", &signature[..66], &signature.replace("v0=", "v1="), &signature.replace("v0=", "v0=00")] {
        assert_eq!(is_signed(secret.as_bytes(), &timestamp, other, &body), Err(Error::Signature), "{other}");
    }
    assert_eq!(is_signed(b"short", &timestamp, &signature, &body), Err(Error::Secret));
}

#[test]
fn slacks_own_callback_is_read() {
    let Some(mut callback) = fixture("slack-block-actions.json") else { return };
    assert!(matches!(press(&form(&callback.to_string())), Err(Error::Payload(_))), "its button is none of ours");
    callback["actions"][0]["value"] = json!(value(REQUEST, &change()));
    let read = press(&form(&callback.to_string())).unwrap();
    assert_eq!(
        (read.author.as_str(), read.word, read.request.as_str(), read.change.as_str()),
        ("slack:T1DC2JH3J/U2CERLKJA", Word::Approve, REQUEST, &*change())
    );
}

#[test]
fn what_slack_signed_lately_and_the_object_repeats_is_a_word() {
    assert!(verify(SECRET, &good(), AT).is_ok());
    assert!(verify(SECRET, &good(), AT.plus(TOLERANCE_MS)).is_ok());
    assert!(verify(b" 8f742231b10e8888abcd99yyyzzz85a5\n", &good(), AT).is_ok(), "a file's last line end is no secret");
    let mut no = payload();
    no["actions"][0]["action_id"] = json!("deny");
    let no = ApprovalSpec { verdict: Verdict::Deny, ..word(SECRET, "1531420618", form(&no.to_string())) };
    assert!(verify(SECRET, &no, AT).is_ok());
}

/// What somebody pressed where the message had these blocks.
fn pressed_in(blocks: &Value) -> Press {
    let mut payload = payload();
    payload["message"] = json!({"type": "message", "text": "Assent asks", "ts": "1531420618.000100", "blocks": blocks});
    press(&form(&payload.to_string())).unwrap()
}

#[test]
fn whoever_pressed_saw_what_is_asked_and_nothing_else() {
    let request = message::tests::request(vec!["errors > 5 % & rising <fast>".into()]);
    let posted = blocks(&request);
    assert_eq!(saw(&pressed_in(&posted), &request), Ok(()));
    // As Slack gives it back: escaped, with what it adds.
    let mut back: Value = serde_json::from_str(&posted.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")).unwrap();
    back[1]["expand"] = json!(false);
    back[1]["text"]["emoji"] = json!(true);
    assert_eq!(saw(&pressed_in(&back), &request), Ok(()));
    let mut other = request.clone();
    other.spec.target = "Deployment shop/cart".into();
    assert_eq!(saw(&pressed_in(&blocks(&other)), &request), Err(Error::Shown), "another target above the same buttons");
    let more = json!({"type": "section", "text": {"type": "mrkdwn", "text": "this is only a test"}});
    let lies: [fn(&mut Value, &Value); 8] = [
        |blocks, _| blocks[1]["text"]["text"] = json!("nothing much"),
        |blocks, _| blocks[1]["text"]["type"] = json!("mrkdwn"),
        |blocks, _| blocks[1]["fields"] = json!([{"type": "plain_text", "text": "only a test"}]),
        |blocks, _| blocks[2]["elements"][0]["text"]["text"] = json!("Deny"),
        |blocks, _| blocks[2]["elements"][0]["confirm"] = json!({"title": {"type": "plain_text", "text": "Deny?"}}),
        |blocks, _| blocks[2]["elements"].as_array_mut().unwrap().swap(0, 1),
        |blocks, more| blocks.as_array_mut().unwrap().push(more.clone()),
        |blocks, more| blocks.as_array_mut().unwrap().insert(0, more.clone()),
    ];
    for (case, lie) in lies.iter().enumerate() {
        let mut blocks = posted.clone();
        lie(&mut blocks, &more);
        assert_eq!(saw(&pressed_in(&blocks), &request), Err(Error::Shown), "case {case}");
    }
    assert_eq!(saw(&press(&form(&payload().to_string())).unwrap(), &request), Err(Error::Shown), "no message at all");
    let mut beside = payload();
    beside["message"] = json!({"blocks": posted, "attachments": [{"text": "only a test"}]});
    assert!(matches!(press(&form(&beside.to_string())), Err(Error::Payload(_))));
}

#[test]
fn what_is_forged_old_or_altered_is_none() {
    assert_eq!(verify(SECRET, &word(b"another secret of somebody", "1531420618", form(&payload().to_string())), AT), Err(Error::Signature));
    assert_eq!(verify(SECRET, &good(), AT.plus(TOLERANCE_MS + 1_000)), Err(Error::Timestamp(-301)));
    assert_eq!(verify(SECRET, &good(), AT.plus(-TOLERANCE_MS - 1_000)), Err(Error::Timestamp(301)));
    let altered = |change: fn(&mut Pressed)| {
        let mut word = good();
        change(word.slack.as_mut().unwrap());
        verify(SECRET, &word, AT)
    };
    assert_eq!(altered(|pressed| pressed.timestamp = "1531420700".into()), Err(Error::Signature));
    assert_eq!(altered(|pressed| pressed.body = pressed.body.replace("U2CERLKJA", "U0000000A")), Err(Error::Signature));
    assert_eq!(altered(|pressed| pressed.body.push_str("&payload=x")), Err(Error::Signature));
    assert!(matches!(altered(|pressed| pressed.body = "a".repeat(MAX_BODY + 1)), Err(Error::Form(_))));
    assert!(matches!(verify(SECRET, &ApprovalSpec { slack: None, ..good() }, AT), Err(Error::Form(_))));
    for timestamp in ["", "+1531420618", "1531420618.0", "153142061800000000000", "now"] {
        assert!(matches!(verify(SECRET, &word(SECRET, timestamp, form(&payload().to_string())), AT), Err(Error::Form(_))), "{timestamp}");
    }
}

#[test]
fn the_object_says_what_the_button_said_and_no_more() {
    for other in [
        ApprovalSpec { user: "slack:T1DC2JH3J/U0000000A".into(), ..good() },
        ApprovalSpec { user: "slack:T0000000A/U2CERLKJA".into(), ..good() },
        ApprovalSpec { user: "alice".into(), ..good() },
        ApprovalSpec { verdict: Verdict::Deny, ..good() },
        ApprovalSpec { request: "apr-another".into(), ..good() },
        ApprovalSpec { change: "cd".repeat(32), ..good() },
    ] {
        let refused = verify(SECRET, &other, AT);
        assert!(matches!(refused, Err(Error::Other { .. })), "{other:?}: {refused:?}");
    }
    for more in [ApprovalSpec { comment: "looks fine".into(), ..good() }, ApprovalSpec { groups: vec!["oncall".into()], ..good() }] {
        assert!(matches!(verify(SECRET, &more, AT), Err(Error::Form(_))));
    }
}

#[test]
fn a_signed_body_that_is_no_button_of_ours_is_none() {
    let mut cases: Vec<String> = vec![String::new(), "payload".into(), "payload=%7B".into(), form("[]"), format!("{}&x=1", form(&payload().to_string()))];
    for (pointer, value) in [
        ("/type", json!("view_submission")),
        ("/user/id", json!("")),
        ("/user/id", json!("u2cerlkja")),
        ("/user/team_id", json!("T1/U2")),
        ("/user/team_id", json!(null)),
        ("/actions", json!([])),
        ("/actions/0/action_id", json!("Approve")),
        ("/actions/0/value", json!(REQUEST)),
        ("/actions/0/value", json!(format!("{REQUEST}:plan-3"))),
        ("/actions/0/value", json!(format!("../x:{}", change()))),
    ] {
        let mut payload = payload();
        *payload.pointer_mut(pointer).unwrap() = value;
        cases.push(form(&payload.to_string()));
    }
    let mut two = payload();
    let button = two["actions"][0].clone();
    two["actions"].as_array_mut().unwrap().push(button);
    cases.push(form(&two.to_string()));
    // Whoever reads the first and whoever reads the last would see different people.
    cases.push(form(&payload().to_string().replacen('{', r#"{"user":{"id":"U0000000A","team_id":"T1DC2JH3J"},"#, 1)));
    for body in cases {
        let refused = verify(SECRET, &word(SECRET, "1531420618", body.clone()), AT);
        assert!(matches!(refused, Err(Error::Payload(_))), "{body}: {refused:?}");
    }
}

proptest! {
    /// Whatever comes, reading it ends with a word that names all there is to name, or with a reason.
    #[test]
    fn any_body_is_read_or_refused(body in ".{0,400}", payload in any::<bool>()) {
        let body = if payload { form(&body) } else { body };
        prop_assert!(press(&body).is_err());
    }

    /// A word of Slack's is no longer one after any single character of its body was changed.
    #[test]
    fn any_change_to_the_body_is_found(at in 0_usize..400, with in "[a-z]") {
        let mut word = good();
        let body = &mut word.slack.as_mut().unwrap().body;
        let at = at % body.len();
        prop_assume!(body[at..=at] != with);
        body.replace_range(at..=at, &with);
        prop_assert_eq!(verify(SECRET, &word, AT), Err(Error::Signature));
    }
}
