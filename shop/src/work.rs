//! Real computation of a known price: a checksum is turned until the thread has used a given
//! amount of processor time. The price is processor time and not wall time, so it is the same on
//! every machine and under every CPU limit, and a limit therefore has an exact capacity.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use nix::time::ClockId;
use tokio::sync::Semaphore;

/// Rounds between two looks at the clock: some microseconds.
const ROUNDS: u64 = 4096;

/// Why work was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("read the thread's processor time")]
    Clock(#[source] nix::Error),
    #[error("run on a thread of its own")]
    Thread(#[source] tokio::task::JoinError),
    #[error("wait for a turn")]
    Turn(#[source] tokio::sync::AcquireError),
}

/// One processor's worth of work, first come first served: whoever gives up while waiting costs
/// nothing, so an overload queues no more than its callers' patience.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    turn: Arc<Semaphore>,
}

// === impl Bench ===

impl Bench {
    pub(crate) fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)) }
    }

    /// Uses `price` of processor time once it is this caller's turn.
    pub(crate) async fn work(&self, price: Duration) -> Result<(), Error> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(Error::Turn)?;
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            spend(price)
        });
        worked.await.map_err(Error::Thread)?
    }
}

/// Uses `price` of this thread's processor time.
pub(crate) fn spend(price: Duration) -> Result<(), Error> {
    let used = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).map_err(Error::Clock);
    let until = used()? + price;
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    while used()? < until {
        for round in 0..ROUNDS {
            sum = (sum ^ round).wrapping_mul(0x0100_0000_01b3);
        }
        sum = black_box(sum);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_what_was_asked() {
        let used = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap());
        let before = used();
        spend(Duration::from_millis(20)).unwrap();
        let cost = used() - before;
        assert!(cost >= Duration::from_millis(20) && cost < Duration::from_millis(40), "{cost:?}");
    }
}
