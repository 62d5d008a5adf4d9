//! One scan: every object of every kind, judged as it is read, and one report after the other written as its namespace is
//! complete. The API server lists in order of namespace and name, so all kinds are read side by side, and no more than one
//! page of each and the rows of one namespace are in memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use assent_policies::Namespace;
use serde_json::Value;

use crate::bundle::Bundle;
use crate::judge::{Existing, judge};
use crate::kinds::{KINDS, Kind};
use crate::known::Rules;
use crate::pages::{Cursor, ReadError, Reader};
use crate::publish::{Publisher, Round};
use crate::report::report;
use crate::status::{Reporting, Scanned};
use crate::tally::Tallies;

/// How long all guardrails may take for one object.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a scan found, with what it did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) scanned: Scanned,
    /// Reports written and deleted.
    pub(crate) changed: u64,
    /// Reports that could not be.
    pub(crate) failed: u64,
    /// Plurals of kinds that are not served or not granted.
    pub(crate) unread: Vec<&'static str>,
}

/// A scan under way.
struct Scan<'s> {
    rules: &'s Rules,
    reader: &'s mut Reader,
    publisher: &'s mut Publisher,
    round: Option<Round>,
    tallies: Tallies,
    unread: Vec<&'static str>,
    seconds: i64,
}

/// Judges everything that exists. `seconds` is the time, since 1970.
pub(crate) async fn scan(rules: &Rules, reader: &mut Reader, publisher: &mut Publisher, seconds: i64) -> Result<Done, ReadError> {
    let (round, mut reporting) = match publisher.begin(reader).await? {
        Ok(round) => (Some(round), Reporting::Written),
        Err(reporting) => (None, reporting),
    };
    let mut scan = Scan { rules, reader, publisher, round, tallies: Tallies::default(), unread: Vec::new(), seconds };
    // Without a guardrail in force nothing can be said of anything.
    if rules.any {
        scan.cluster().await?;
        scan.namespaces().await?;
    }
    let Scan { reader, publisher, mut round, tallies, unread, .. } = scan;
    if let Some(round) = &mut round {
        reporting = publisher.finish(round, reader).await;
    }
    let (changed, failed) = round.map_or((0, 0), |round| (round.changed, round.failed));
    Ok(Done { scanned: Scanned { tallies, reporting }, changed, failed, unread })
}

// === impl Scan ===

impl Scan<'_> {
    /// What is in no namespace.
    async fn cluster(&mut self) -> Result<(), ReadError> {
        let mut bundle = Bundle::default();
        for mut cursor in cursors(false) {
            while self.next_of(&mut cursor).await?.is_some() {
                if let Some(object) = cursor.take() {
                    self.judge(&mut bundle, cursor.kind, &object, Namespace::NotGiven).await;
                }
            }
        }
        self.publish(None, &bundle).await;
        Ok(())
    }

    /// Namespace after namespace.
    async fn namespaces(&mut self) -> Result<(), ReadError> {
        let mut cursors = cursors(true);
        let mut done: Option<String> = None;
        loop {
            let mut next: Option<String> = None;
            for cursor in &mut cursors {
                let key = self.next_of(cursor).await?;
                next = next.into_iter().chain(key).min();
            }
            let Some(key) = next else { return Ok(()) };
            let name = key.trim_end_matches('/').to_owned();
            if done.as_ref().is_some_and(|done| *done >= key) {
                return Err(ReadError::Failed { path: name, reason: "objects of this namespace came after those of a later one".into() });
            }
            self.namespace(&name, &key, &mut cursors).await?;
            done = Some(key);
        }
    }

    async fn namespace(&mut self, name: &str, key: &str, cursors: &mut [Cursor]) -> Result<(), ReadError> {
        let stored = self.reader.namespace(name).await?;
        let namespace = stored.as_ref().map_or(Namespace::Missing, Namespace::Known);
        let mut bundle = Bundle::default();
        // What outlives its namespace for a moment is nobody's.
        let gone = stored.is_none();
        for cursor in cursors {
            while self.next_of(cursor).await?.as_deref() == Some(key) {
                if let Some(object) = cursor.take().filter(|_| !gone) {
                    self.judge(&mut bundle, cursor.kind, &object, namespace).await;
                }
            }
        }
        self.publish(Some(name), &bundle).await;
        Ok(())
    }

    /// The namespace of a cursor's next object, as it sorts in the store. A kind that cannot be read is left out and said so.
    async fn next_of(&mut self, cursor: &mut Cursor) -> Result<Option<String>, ReadError> {
        let resource = cursor.kind.resource;
        match cursor.peek(self.reader).await {
            Ok(object) => Ok(object.map(|object| format!("{}/", object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default()))),
            Err(error) if error.is_final() => {
                tracing::debug!(resource, %error, "this kind is not read");
                self.unread.push(resource);
                cursor.end();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn judge(&mut self, bundle: &mut Bundle, kind: &Kind, object: &Value, namespace: Namespace<'_>) {
        let started = Instant::now();
        let late = || started.elapsed() > PATIENCE;
        let (rows, spoken) = judge(&self.rules.set, &self.rules.about, Existing { kind, object, namespace }, &late);
        self.tallies.add(kind.resource, &rows, &spoken);
        rows.into_iter().for_each(|row| bundle.push(row));
        // The admin port shares this thread.
        tokio::task::yield_now().await;
    }

    async fn publish(&mut self, namespace: Option<&str>, bundle: &Bundle) {
        if let Some(round) = &mut self.round
            && let Some(written) = report(self.publisher.format(), namespace, bundle, self.seconds)
        {
            self.publisher.put(round, written, self.reader).await;
        }
    }
}

fn cursors(namespaced: bool) -> Vec<Cursor> {
    KINDS.iter().filter(|kind| kind.namespaced == namespaced).map(Cursor::new).collect()
}

/// Counts of a scan by plural, with those that were not read as none.
pub(crate) fn objects(done: &Done) -> BTreeMap<&'static str, u64> {
    KINDS.iter().map(|kind| (kind.resource, done.scanned.tallies.objects.get(kind.resource).copied().unwrap_or_default())).collect()
}
