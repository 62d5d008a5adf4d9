//! The API server's audit log: one JSON event per line, of which only what is said by the server itself is kept. A line that
//! cannot be read is counted, never fatal; lines and file are bounded.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;
use assent_api::names::{EXECUTOR_USER, GROUP, INCIDENT, SYSTEM_NAMESPACE};
use assent_core::ids::{IncidentUid, UnixMillis};
use serde::Serialize;
use serde_json::Value;

/// Longest line that is read, in bytes; an event holds at most two objects of 1.5 MiB each.
const MAX_LINE: u64 = 8 << 20;

/// One finished request that Assent may have to do with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When it arrived, by the API server's clock.
    pub at: UnixMillis,
    /// For example `update`.
    pub verb: String,
    /// Who was authenticated.
    pub user: String,
    /// Who that user acted as.
    pub impersonated: Option<String>,
    /// The incidents that the impersonated user carried.
    pub incidents: Vec<String>,
    /// API group.
    pub group: String,
    /// Plural resource, with its sub-resource.
    pub resource: String,
    /// Namespace, or empty.
    pub namespace: String,
    /// Name, or empty.
    pub name: String,
    /// Status code.
    pub code: u64,
    /// Whether nothing was stored.
    pub dry_run: bool,
}

/// What was found in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Requests of the executor's user, and writes to our kinds.
    pub events: Vec<Event>,
    /// The first moment that the log speaks of.
    pub since: Option<UnixMillis>,
    /// Lines that are no event.
    pub unreadable: usize,
}

// === impl Event ===

impl Event {
    /// Whether the server carried it out.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Whether it changed something that is stored.
    #[must_use]
    pub fn wrote(&self) -> bool {
        self.succeeded() && !self.dry_run && matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether the executor's user did it.
    #[must_use]
    pub fn by_executor(&self) -> bool {
        self.impersonated.as_deref().unwrap_or(&self.user) == EXECUTOR_USER
    }

    /// Whether it belongs to the story of `incident`.
    #[must_use]
    pub fn concerns(&self, incident: &IncidentUid) -> bool {
        let ours = self.group == GROUP && self.namespace == SYSTEM_NAMESPACE && self.name.starts_with(incident.as_str());
        ours || self.incidents.iter().any(|uid| uid == incident.as_str())
    }

    /// The object in a few words.
    #[must_use]
    pub fn object(&self) -> String {
        let place = [self.namespace.as_str(), self.name.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        format!("{} {place}", self.resource).trim_end().to_owned()
    }
}

/// Reads a log file, or standard input for `-`.
pub(super) fn open(path: &Path) -> anyhow::Result<Log> {
    if path.as_os_str() == "-" {
        return read(std::io::stdin().lock()).context("read the audit log from standard input");
    }
    let file = std::fs::File::open(path).with_context(|| format!("open the audit log `{}`", path.display()))?;
    read(BufReader::new(file)).with_context(|| format!("read the audit log `{}`", path.display()))
}

/// Reads a log.
///
/// # Errors
/// If the input cannot be read; lines that are no events are counted.
pub fn read(input: impl BufRead) -> std::io::Result<Log> {
    let mut log = Log::default();
    let mut seen = HashSet::new();
    let mut lines = Lines::new(input);
    while let Some((_, line)) = lines.next()? {
        match line.and_then(|line| serde_json::from_slice::<Value>(line).ok()).and_then(|value| event(&value)) {
            None => log.unreadable += 1,
            Some(Some((id, event))) => {
                log.since = Some(log.since.map_or(event.at, |since| since.min(event.at)));
                if relevant(&event) && seen.insert(id) {
                    log.events.push(event);
                }
            }
            Some(None) => {}
        }
    }
    Ok(log)
}

/// A line with its number; nothing in place of one that is too long.
pub(crate) type Line<'l> = (u64, Option<&'l [u8]>);

/// The lines of a log that are not empty, each bounded.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    number: u64,
    line: Vec<u8>,
}

// === impl Lines ===

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, number: 0, line: Vec::new() }
    }

    /// The next line.
    pub(crate) fn next(&mut self) -> std::io::Result<Option<Line<'_>>> {
        loop {
            self.line.clear();
            let size = (&mut self.input).take(MAX_LINE).read_until(b'\n', &mut self.line)?;
            if size == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.line.last() != Some(&b'\n') && u64::try_from(size).is_ok_and(|size| size == MAX_LINE) {
                skip_line(&mut self.input)?;
                return Ok(Some((self.number, None)));
            }
            if !self.line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some((self.number, Some(&self.line))));
            }
        }
    }
}

fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

/// Requests of the executor, as itself or as its user, and writes to our kinds.
fn relevant(event: &Event) -> bool {
    let account = assent_api::names::account_user(assent_api::names::accounts::EXECUTOR);
    let reads = matches!(event.verb.as_str(), "get" | "list" | "watch");
    !reads && (event.by_executor() || event.group == GROUP || event.user == account)
}

/// The request with its audit id; nothing inside when it is not finished, nothing at all when this is no event.
pub(crate) fn event(value: &Value) -> Option<Option<(String, Event)>> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    if value.get("kind")?.as_str()? != "Event" {
        return None;
    }
    if value.get("stage")?.as_str()? != "ResponseComplete" {
        return Some(None);
    }
    let at: jiff::Timestamp = value.get("requestReceivedTimestamp")?.as_str()?.parse().ok()?;
    let resource = match (text("/objectRef/resource"), text("/objectRef/subresource")) {
        (resource, sub) if sub.is_empty() => resource,
        (resource, sub) => format!("{resource}/{sub}"),
    };
    let extra = value.pointer("/impersonatedUser/extra").and_then(|extra| extra.get(INCIDENT)).and_then(Value::as_array);
    let created = value.pointer("/responseObject/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let name = Some(text("/objectRef/name")).filter(|name| !name.is_empty()).unwrap_or_else(|| created.to_owned());
    let event = Event {
        at: UnixMillis(at.as_millisecond()),
        verb: text("/verb"),
        user: text("/user/username"),
        impersonated: value.pointer("/impersonatedUser/username").and_then(Value::as_str).map(str::to_owned),
        incidents: extra.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        group: text("/objectRef/apiGroup"),
        resource,
        namespace: text("/objectRef/namespace"),
        name,
        code: value.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
        dry_run: text("/requestURI").contains("dryRun="),
    };
    Some(Some((text("/auditID"), event)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_and_endless_lines_are_counted_and_passed_over() {
        let good = r#"{"kind":"Event","stage":"ResponseComplete","auditID":"1","requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","verb":"update","requestURI":"/x?dryRun=All","user":{"username":"u"},"impersonatedUser":{"username":"assent:executor","extra":{"assent.dev/incident-uid":["a","b"]}},"objectRef":{"resource":"deployments","subresource":"scale","namespace":"shop","name":"orders","apiGroup":"apps"},"responseStatus":{"code":403}}"#;
        let endless = "x".repeat(usize::try_from(MAX_LINE).unwrap() + 10);
        let text = format!("not json\n{endless}\n\n{good}\n{good}\n");
        let log = read(text.as_bytes()).unwrap();
        assert_eq!((log.unreadable, log.events.len()), (2, 1));
        let event = &log.events[0];
        assert!(event.dry_run && event.by_executor() && !event.wrote());
        assert_eq!((event.incidents.len(), event.object().as_str()), (2, "deployments/scale shop/orders"));
    }
}
