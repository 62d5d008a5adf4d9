//! A ledger that is not the one that the admitted plans speak of waits for a person to vouch for it in the Roster. This looks
//! whether one has; it vouches for nothing itself.

use std::time::Duration;

use assent_runtime::telemetry::chain;
use kube::Client;

use crate::director::{Error, contradiction};
use crate::store::Store;

/// How often.
const TURN: Duration = Duration::from_secs(5);

/// Until dropped.
pub(crate) async fn run(client: Client, store: Store) {
    let mut turns = tokio::time::interval(TURN);
    loop {
        turns.tick().await;
        if let Err(error) = look(&client, &store).await {
            tracing::warn!(error = chain(&error), "whether people vouch for this ledger is not known");
        }
    }
}

/// One turn. A ledger that is not contradicted is not asked about: the gate judges what it says of each plan.
async fn look(client: &Client, store: &Store) -> Result<(), Error> {
    if store.is_contradicted() {
        let reason = contradiction(client, store).await?;
        if reason.is_none() {
            tracing::info!("people vouch for this ledger; deciding again");
        }
        store.contradict(reason);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
