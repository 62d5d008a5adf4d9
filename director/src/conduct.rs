//! Carries out what waits: effects of one incident in their order, incidents side by side. What fails is tried again, since
//! every effect may be repeated; what is done is stored with what follows from it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use assent_core::ids::IncidentUid;
use assent_core::incident::Event;
use assent_runtime::CancellationToken;
use assent_runtime::telemetry::chain;
use tokio::task::JoinSet;

use crate::director::{Director, Error};
use crate::effects;
use crate::store::{self, Advance};

/// Incidents that are worked on at once; each may hold its context and ballots.
const AT_ONCE: usize = 16;
/// Waits between attempts at an effect that fails.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long to wait for a store that is away for a moment.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(2);

/// Until `token` is cancelled. What is under way then is carried on by the next start.
pub(crate) async fn run(director: Director, token: CancellationToken) -> anyhow::Result<()> {
    let mut woken = director.wake.subscribe();
    let mut working = JoinSet::new();
    let mut busy = BTreeSet::new();
    loop {
        woken.mark_unchanged();
        let waiting = match director.store.waiting(2 * AT_ONCE).await {
            Err(error) if error.is_transient() => {
                tracing::warn!(error = chain(&error), "the store is away, trying again");
                if token.run_until_cancelled(tokio::time::sleep(STORE_WAIT)).await.is_none() {
                    return Ok(());
                }
                continue;
            }
            waiting => waiting.context("list waiting effects")?,
        };
        for uid in waiting {
            if busy.len() < AT_ONCE && busy.insert(uid.clone()) {
                let director = director.clone();
                working.spawn(async move {
                    let ended = work_off(&director, &uid).await;
                    (uid, ended)
                });
            }
        }
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            changed = woken.changed() => changed.context("nobody can wake the director")?,
            Some(ended) = working.join_next() => {
                let (uid, ended) = ended.context("an effect panicked")?;
                busy.remove(&uid);
                match ended {
                    // It waits as before, and is taken up again in the next turn.
                    Err(error) if error.is_transient() => tracing::warn!(incident.id = %uid, error = chain(&error), "effect not finished, trying again"),
                    ended => ended.context("finish an effect")?,
                }
            }
        }
    }
}

/// All effects of one incident, one after the other.
async fn work_off(director: &Director, uid: &IncidentUid) -> Result<(), Error> {
    let mut wait = FIRST_WAIT;
    while let Some(pending) = director.store.next_effect(uid).await? {
        let record = director.store.incident(uid).await?;
        match effects::carry_out(director, &record, &pending.effect).await {
            Ok(what) => {
                director.advance(uid, Advance { done: Some(pending.key), ..what }).await?;
                wait = FIRST_WAIT;
            }
            Err(error) => {
                director.metrics.failed();
                tracing::warn!(incident.id = %uid, effect = pending.key, error = chain(&error), "effect failed, trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
    Ok(())
}

/// Tells incidents that time has passed.
pub(crate) async fn tick(director: Director) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        match overdue(&director).await {
            Err(error) if error.is_transient() => tracing::warn!(error = chain(&error), "deadlines not looked at, trying again"),
            done => done.context("step overdue incidents")?,
        }
        // What another director took in, should its word not have reached us.
        director.wake.send_replace(());
    }
}

async fn overdue(director: &Director) -> Result<(), Error> {
    for uid in director.store.overdue(store::now()).await? {
        director.advance(&uid, Advance::by(Event::Tick)).await?;
    }
    Ok(())
}

/// Wakes us when another director took something in.
pub(crate) async fn listen(director: Director) {
    loop {
        match director.store.changes().await {
            Ok(mut changes) => {
                while let Ok(()) = changes.next().await {
                    director.wake.send_replace(());
                }
            }
            Err(error) => tracing::warn!(error = chain(&error), "other directors are not heard, trying again"),
        }
        tokio::time::sleep(STORE_WAIT).await;
    }
}
