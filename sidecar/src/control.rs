//! What all streams to the control plane have in common: how long they are waited for, how long they live, and how long after
//! one has ended the next is tried.

use std::time::Duration;

use assent_runtime::backoff::{Backoff, jittered};
use tonic::Status;

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Part of a wait left to chance, so that a returning control plane is not met by everybody at once.
const SPREAD: f64 = 0.5;
/// Until the first answer of a stream.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// Life of a stream that works, at most.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3600);

/// Between two streams.
pub(crate) fn backoff() -> Backoff {
    Backoff::new(FIRST_RETRY, LAST_RETRY, SPREAD)
}

/// `wait`, or less by chance.
pub(crate) fn spread(wait: Duration) -> Duration {
    jittered(wait, SPREAD)
}

/// What `call` gives within `patience`.
pub(crate) async fn answered<T>(patience: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(patience, call).await.unwrap_or_else(|_| Err(unanswered()))
}

/// The status of a stream that is given up.
pub(crate) fn unanswered() -> Status {
    Status::deadline_exceeded("no answer in time")
}
