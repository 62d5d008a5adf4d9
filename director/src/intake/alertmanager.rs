//! Alertmanager's webhook, version 4. The payload can be templated by whoever configures it, so unknown keys are tolerated
//! and what is missing is named. Pure: bytes in, alerts out.

use assent_core::canonical::Digest;
use assent_core::ids::UnixMillis;
use assent_core::incident::{Alert, AlertSource};
use serde_json::Value;

use super::fields::{self, Problem};
use crate::store::Arrival;

/// The alerts of one notification.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Arrival>, Problem> {
    let payload = fields::object(body)?;
    let group = fields::text(&payload, "", "groupKey")?;
    let alerts = payload.get("alerts").and_then(Value::as_array).ok_or_else(|| {
        Problem::new("alerts", "is missing or no array", "send Alertmanager's stock webhook payload (version 4), or keep `alerts` in a templated one")
    })?;
    alerts.iter().enumerate().map(|(at, alert)| one(group, &format!("alerts[{at}]"), alert)).collect()
}

fn one(group: &str, at: &str, alert: &Value) -> Result<Arrival, Problem> {
    let status = fields::text(alert, at, "status")?;
    let resolved = match status {
        "firing" => false,
        "resolved" => true,
        _ => return Err(Problem::new(&format!("{at}.status"), "is neither `firing` nor `resolved`", "keep the alert's own `status`")),
    };
    let fingerprint = fields::text(alert, at, "fingerprint")?;
    let starts = fields::text(alert, at, "startsAt")?;
    let since: jiff::Timestamp =
        starts.parse().map_err(|_| Problem::new(&format!("{at}.startsAt"), "is no RFC 3339 time", "keep the alert's own `startsAt`"))?;
    let labels = alert.get("labels").filter(|labels| labels.is_object());
    let labels = labels.ok_or_else(|| Problem::new(&format!("{at}.labels"), "is missing or no object", "keep the alert's own `labels`"))?;
    let name = fields::optional(labels, "alertname");
    let annotation = |key| alert.get("annotations").map_or("", |annotations| fields::optional(annotations, key));
    let summary = [annotation("summary"), annotation("description"), name].into_iter().find(|text| !text.is_empty()).unwrap_or("no summary");
    let alert = Alert {
        source: AlertSource::Alertmanager,
        // The group is a stranger's text of any length, and the others may hold anything.
        key: format!("alertmanager/{:.16}/{}/{}", Digest::of_bytes(group.as_bytes()).as_str(), fields::capped(fingerprint, 64), fields::capped(starts, 64)),
        service: fields::service(labels),
        symptom: fields::symptom(labels),
        resolved,
        since: UnixMillis(since.as_millisecond().max(0)),
        summary: fields::line(summary),
    };
    Ok(Arrival { alert, subject: name.to_owned() })
}
