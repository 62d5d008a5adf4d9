//! What discovery has taught, for a person to look at.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Directory, Route};

// === impl Directory ===

impl Directory {
    /// Each destination with its kind, its endpoints by number, and how fresh that is, in the order of their addresses.
    pub(crate) fn described(&self) -> Vec<Value> {
        let mut entries: Vec<_> = self.entries().iter().map(|(address, entry)| (*address, entry.destination.clone())).collect();
        entries.sort_by_key(|(address, _)| *address);
        let now = Instant::now();
        let described = entries.into_iter().map(|(address, destination)| {
            let (kind, endpoints, meshed) = match &*destination.route.borrow() {
                None => ("unknown", 0, 0),
                Some(Route::Plain) => ("plain", 0, 0),
                Some(Route::Endpoint(endpoint)) => ("pod", 1, usize::from(endpoint.peer.is_some())),
                Some(Route::Service(pool)) => {
                    let endpoints = pool.endpoints();
                    ("service", endpoints.len(), endpoints.iter().filter(|endpoint| endpoint.peer.is_some()).count())
                }
            };
            let news = destination.news();
            json!({
                "destination": address.to_string(),
                "kind": kind,
                "endpoints": endpoints,
                "meshed_endpoints": meshed,
                "age_seconds": news.told.at(now).as_secs(),
                "stale_seconds": news.stale(now).as_secs(),
                "restored": news.restored,
            })
        });
        described.collect()
    }
}
