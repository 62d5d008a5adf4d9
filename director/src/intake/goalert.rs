//! GoAlert's outgoing webhook. Its sender ignores our answer, repeats itself and knows no order, so everything is keyed by
//! the alert's id. Pure: bytes in, alerts and notices out.

use assent_core::canonical::Digest;
use assent_core::ids::UnixMillis;
use assent_core::incident::{Alert, AlertSource, Symptom};
use serde_json::Value;

use super::fields::{self, Problem};
use crate::store::{Arrival, Notice};

/// Deliveries of a bundle within this time are one: a bundle carries no id.
const BUNDLE_MS: i64 = 60_000;

/// What one message says.
pub(super) fn parse(body: &[u8], now: UnixMillis) -> Result<(Vec<Arrival>, Vec<Notice>), Problem> {
    let message = fields::object(body)?;
    let service = fields::optional(&message, "ServiceName");
    match fields::text(&message, "", "Type")? {
        "Alert" => {
            let alert = alert(&message, now)?;
            let subject = if service.is_empty() { "goalert" } else { service }.to_owned();
            Ok((vec![Arrival { alert, subject }], Vec::new()))
        }
        "AlertStatus" => status(&message, now),
        "AlertBundle" => {
            let id = fields::text(&message, "", "ServiceID")?;
            let count = message.get("Count").and_then(Value::as_u64).unwrap_or(0);
            let alert = Alert {
                source: AlertSource::GoAlert,
                key: format!("goalert/bundle/{}/{}", fields::capped(id, 64), now.0.div_euclid(BUNDLE_MS)),
                service: None,
                symptom: Symptom::Unspecified,
                resolved: false,
                since: now,
                summary: fields::line(&format!("{count} alerts of GoAlert service {service} in one bundle, without their ids")),
            };
            Ok((vec![Arrival { alert, subject: service.to_owned() }], Vec::new()))
        }
        "Verification" => {
            let code = fields::text(&message, "", "Code")?;
            Ok((Vec::new(), vec![notice("verification", &format!("GoAlert wants this contact method verified with code {code:.16}"))]))
        }
        kind @ ("Test" | "ScheduleOnCallUsers" | "AlertStatusBundle") => {
            Ok((Vec::new(), vec![notice(kind, &format!("GoAlert sent a message of type {kind}"))]))
        }
        other => Err(Problem::new(
            "Type",
            &format!("`{other:.40}` is no message type of GoAlert's webhook"),
            "point GoAlert's webhook here without changing its body",
        )),
    }
}

fn alert(message: &Value, now: UnixMillis) -> Result<Alert, Problem> {
    let id = id(message)?;
    let meta = message.get("Meta").unwrap_or(&Value::Null);
    let summary = [fields::optional(message, "Summary"), fields::optional(message, "Details")].into_iter().find(|text| !text.is_empty());
    Ok(Alert {
        source: AlertSource::GoAlert,
        key: key(id),
        service: fields::service(meta),
        symptom: fields::symptom(meta),
        resolved: false,
        since: now,
        summary: fields::line(summary.unwrap_or("no summary")),
    })
}

/// A status message is free text for people; the one word that matters is the first.
fn status(message: &Value, now: UnixMillis) -> Result<(Vec<Arrival>, Vec<Notice>), Problem> {
    let id = id(message)?;
    let entry = fields::optional(message, "LogEntry");
    if entry.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("closed")) {
        let alert = Alert { resolved: true, ..alert(message, now)? };
        return Ok((vec![Arrival { alert, subject: String::new() }], Vec::new()));
    }
    Ok((Vec::new(), vec![notice(&format!("status/{id}"), entry)]))
}

fn id(message: &Value) -> Result<u64, Problem> {
    message
        .get("AlertID")
        .and_then(Value::as_u64)
        .ok_or_else(|| Problem::new("AlertID", "is missing or no number", "point GoAlert's webhook here without changing its body"))
}

fn key(id: u64) -> String {
    format!("goalert/{id}")
}

fn notice(what: &str, text: &str) -> Notice {
    let text = fields::line(text);
    Notice { key: format!("goalert/{what}/{:.16}", Digest::of_bytes(text.as_bytes()).as_str()), source: AlertSource::GoAlert, text }
}
