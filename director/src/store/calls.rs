//! Who calls whom, as the cause ballots of past incidents said: what alerts are grouped by. Bounded, and read again only after it
//! changed.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use assent_core::ballot::Edge;
use assent_core::incident::Calls;
use assent_core::target::Service;

use super::writer::Writer;
use super::{Error, Store};

/// Calls that are kept, the newest.
const KEPT: i64 = 4000;
/// Calls that are taken from the ballots of one epoch.
const TAKEN: usize = 1000;

/// The graph as it was when the table had that age and length.
#[derive(Debug, Default)]
pub(super) struct Cached {
    version: (i64, i64),
    calls: Arc<Calls>,
}

impl Store {
    /// The calls as they are now.
    pub(super) async fn calls(&self, writer: &mut Writer) -> Result<Arc<Calls>, Error> {
        let row = writer.row("look at calls", "SELECT coalesce(max(seen_at), 0), count(*) FROM calls", []).await?;
        let version = row.map_or(Ok((0, 0)), |row| Ok::<_, Error>((row.integer(0)?, row.integer(1)?)))?;
        {
            let cached = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            if cached.version == version {
                return Ok(Arc::clone(&cached.calls));
            }
        }
        let rows = writer.rows("read calls", "SELECT caller, callee FROM calls", []).await?;
        let pairs = rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect::<Result<Vec<_>, Error>>()?;
        let edges = pairs.iter().filter_map(|(caller, callee)| Some(Edge { caller: service(caller)?, callee: service(callee)? }));
        let calls = Arc::new(Calls::new(edges));
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner) = Cached { version, calls: Arc::clone(&calls) };
        Ok(calls)
    }
}

/// Remembers what seats said.
pub(super) async fn learn(writer: &mut Writer, edges: &BTreeSet<Edge>) -> Result<(), Error> {
    if edges.is_empty() {
        return Ok(());
    }
    let at = writer.at();
    let values = edges.iter().take(TAKEN).flat_map(|edge| [edge.caller.to_string().into(), edge.callee.to_string().into(), at.into()]).collect();
    let after = "ON CONFLICT (caller, callee) DO UPDATE SET seen_at = excluded.seen_at";
    writer.insert("keep calls", "calls (caller, callee, seen_at)", 3, after, values).await?;
    // What is as old as the first that is beyond goes with it.
    let sql = "DELETE FROM calls WHERE seen_at <= (SELECT seen_at FROM calls ORDER BY seen_at DESC LIMIT 1 OFFSET $1)";
    writer.execute("drop old calls", sql, [KEPT.into()]).await
}

fn service(text: &str) -> Option<Service> {
    text.split_once('/').map(|(namespace, name)| Service { namespace: namespace.to_owned(), name: name.to_owned() })
}
