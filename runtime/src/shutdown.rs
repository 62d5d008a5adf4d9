//! How a process stops: signals become a cancellation token, and every long-running task is joined.
//! A task that ends before it was asked to takes the process with it, so that Kubernetes restarts
//! the whole instead of half of it living on. It does not decide how long draining may take.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A token that is cancelled at the first SIGTERM or SIGINT. Must be called inside a runtime.
///
/// # Errors
/// If a signal handler cannot be installed.
pub fn signals() -> std::io::Result<CancellationToken> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    // Detached on purpose: it holds nothing and lives as long as the process.
    drop(tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    }));
    Ok(token)
}

/// The long-running tasks of a process. Dropping it aborts them.
#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<(&'static str, anyhow::Result<()>)>,
    token: CancellationToken,
}

impl Tasks {
    /// Tasks that are expected to run until `token` is cancelled.
    pub fn new(token: CancellationToken) -> Self {
        Self { set: JoinSet::new(), token }
    }

    /// The token that asks these tasks to stop.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Starts a task that is given the token and returns once it is cancelled.
    pub fn spawn<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.set.spawn(async move { (name, task.await) });
    }

    /// Starts a task that never returns by itself and may be dropped at any await point.
    pub fn spawn_forever<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let token = self.token();
        self.set.spawn(async move {
            token.run_until_cancelled(task).await;
            (name, Ok(()))
        });
    }

    /// Waits for all tasks. The first that ends before the token was cancelled cancels it for the
    /// others and becomes the error.
    ///
    /// # Errors
    /// A task failed, panicked, or ended before it was asked to.
    pub async fn join(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(joined) = self.set.join_next().await {
            let ended = match joined {
                Ok((name, Err(error))) => Some(error.context(format!("task `{name}` failed"))),
                Ok((name, Ok(()))) if !self.token.is_cancelled() => Some(anyhow::anyhow!("task `{name}` ended unexpectedly")),
                Ok(_) => None,
                Err(error) => Some(anyhow::Error::from(error).context("a task panicked")),
            };
            if let Some(error) = ended {
                self.token.cancel();
                if outcome.is_ok() {
                    outcome = Err(error);
                } else {
                    tracing::error!(error = format!("{error:#}"), "another task failed while stopping");
                }
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_early_stops_the_others() {
        let token = CancellationToken::new();
        let mut tasks = Tasks::new(token.clone());
        let waits = token.clone();
        tasks.spawn("waits", async move {
            waits.cancelled().await;
            Ok(())
        });
        tasks.spawn("ends", async { Ok(()) });
        let error = tasks.join().await.unwrap_err();
        assert_eq!(error.to_string(), "task `ends` ended unexpectedly");
        assert!(token.is_cancelled());
    }

    #[tokio::test]
    async fn an_orderly_stop_is_no_error() {
        let token = CancellationToken::new();
        let mut tasks = Tasks::new(token.clone());
        tasks.spawn_forever("serves", std::future::pending());
        token.cancel();
        tasks.join().await.unwrap();
    }
}
