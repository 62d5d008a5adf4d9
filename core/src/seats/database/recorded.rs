//! The database seat over a recording: stores that make what users suffer, by what their callers see of them.

use crate::diagnosis::vocabulary::is_store;
use crate::diagnosis::{Recording, Suspicion, flow};
use crate::ids::Domain;
use crate::seats::network::recorded::made;

/// Who it suspects. Nothing: no figures of a store.
#[must_use]
pub fn suspect(recording: &Recording) -> Option<Vec<Suspicion>> {
    let known = recording.series.iter().any(|series| is_store(&series.service));
    if !known {
        return None;
    }
    let sources = flow::sources(recording)?;
    Some(sources.iter().filter(|source| is_store(&source.service)).map(|source| made(recording, source, Domain::Database)).collect())
}
