//! A stream that follows the index: it holds only what its closure remembers of what was sent, looks again after every
//! change, and stays silent when nothing is to be said.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, stream};
use tonic::Status;

use super::index::Index;
use super::watch::Live;

// A rollout changes the index hundreds of times a second; each stream looks at the outcome.
const COALESCE: Duration = Duration::from_millis(50);

pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What `next` makes of the index at first and after every change. An error is the last thing that is said.
pub(crate) fn follow<T: Send + 'static>(live: &Live, next: impl FnMut(&Index) -> Result<Vec<T>, Status> + Send + 'static) -> Answers<T> {
    let (live, version) = (live.clone(), live.version());
    let state = Some((live, version, next, VecDeque::new(), true));
    Box::pin(stream::unfold(state, async |state| {
        let (live, mut version, mut next, mut queue, mut first) = state?;
        loop {
            if let Some(answer) = queue.pop_front() {
                return Some((Ok(answer), Some((live, version, next, queue, first))));
            }
            if !std::mem::take(&mut first) {
                version.changed().await.ok()?;
                tokio::time::sleep(COALESCE).await;
            }
            // Seen before it is read: a change in between is looked at again.
            version.mark_unchanged();
            let said = next(&live.read());
            match said {
                Ok(answers) => queue.extend(answers),
                Err(status) => return Some((Err(status), None)),
            }
        }
    }))
}
