//! One seat's ring of unacknowledged observations, and the stream that empties it.
//!
//! Sequence numbers are the ring's own. After a reconnect everything unacknowledged is sent again from the oldest, so a
//! seat must expect repeats; it never sees a gap that `dropped` does not explain.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use assent_api::proto;
use assent_api::proto::compute_intake_client::ComputeIntakeClient;
use assent_api::proto::database_intake_client::DatabaseIntakeClient;
use assent_api::proto::network_intake_client::NetworkIntakeClient;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Observations on their way in one stream.
const IN_FLIGHT: usize = 8;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// A class of observation with the service that takes it.
pub(crate) trait Seat: Clone + fmt::Debug + Send + Sync + 'static {
    const NAME: &'static str;

    fn open(
        channel: Channel,
        observations: ReceiverStream<Self>,
    ) -> impl Future<Output = Result<Streaming<proto::Acknowledgement>, Status>> + Send;
}

#[derive(Debug)]
pub(crate) struct Outbox<T> {
    ring: Mutex<Ring<T>>,
    filled: Notify,
    limit: usize,
}

#[derive(Debug)]
struct Ring<T> {
    waiting: VecDeque<(u64, T)>,
    last: u64,
    dropped: u64,
}

// === impl Outbox ===

impl<T: Clone> Outbox<T> {
    /// A ring of at most `limit` windows.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let ring = Ring { waiting: VecDeque::new(), last: 0, dropped: 0 };
        Arc::new(Self { ring: Mutex::new(ring), filled: Notify::new(), limit })
    }

    /// Adds what `make` builds from its sequence number and the number of windows lost so far; drops the oldest if full.
    pub(crate) fn push(&self, make: impl FnOnce(u64, u64) -> T) {
        let mut ring = self.ring();
        if ring.waiting.len() >= self.limit {
            ring.waiting.pop_front();
            ring.dropped += 1;
        }
        ring.last += 1;
        let (sequence, dropped) = (ring.last, ring.dropped);
        ring.waiting.push_back((sequence, make(sequence, dropped)));
        drop(ring);
        self.filled.notify_one();
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.ring().dropped
    }

    fn acknowledge(&self, sequence: u64) {
        self.ring().waiting.retain(|(waiting, _)| *waiting > sequence);
    }

    /// The first one behind `sequence`, when there is one.
    async fn after(&self, sequence: u64) -> (u64, T) {
        loop {
            let next = self.ring().waiting.iter().find(|(waiting, _)| *waiting > sequence).cloned();
            match next {
                Some(next) => return next,
                None => self.filled.notified().await,
            }
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring<T>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Streams `outbox` to its seat over `channel`, reconnecting for ever.
pub(crate) async fn send<T: Seat>(channel: Channel, outbox: Arc<Outbox<T>>) {
    let mut retry = FIRST_RETRY;
    loop {
        match stream(&channel, &outbox).await {
            // It worked for a while.
            Ok(true) => retry = FIRST_RETRY,
            Ok(false) => {}
            Err(status) => tracing::debug!(seat = T::NAME, code = ?status.code(), "the seat does not take observations"),
        }
        let jitter = crate::directory::random() as f64 / u64::MAX as f64;
        tokio::time::sleep(retry.mul_f64(0.5 + 0.5 * jitter)).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
}

/// One stream until it ends; whether anything was acknowledged on it.
async fn stream<T: Seat>(channel: &Channel, outbox: &Outbox<T>) -> Result<bool, Status> {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let mut acknowledged = false;
    // The feeder runs while the stream is opened: a server may answer only once it has read something.
    let feed = async {
        let mut last = 0;
        loop {
            let (sequence, observation) = outbox.after(last).await;
            last = sequence;
            if sender.send(observation).await.is_err() {
                return;
            }
        }
    };
    let listen = async {
        let mut acknowledgements = T::open(channel.clone(), ReceiverStream::new(receiver)).await?;
        while let Some(acknowledgement) = acknowledgements.message().await? {
            outbox.acknowledge(acknowledgement.sequence);
            acknowledged = true;
        }
        Ok(())
    };
    let ended = tokio::select! {
        () = feed => Ok(()),
        ended = listen => ended,
    };
    ended.map(|()| acknowledged)
}

impl Seat for proto::NetworkObservation {
    const NAME: &'static str = "network";

    async fn open(channel: Channel, observations: ReceiverStream<Self>) -> Result<Streaming<proto::Acknowledgement>, Status> {
        Ok(NetworkIntakeClient::new(channel).observe(observations).await?.into_inner())
    }
}

impl Seat for proto::DatabaseObservation {
    const NAME: &'static str = "database";

    async fn open(channel: Channel, observations: ReceiverStream<Self>) -> Result<Streaming<proto::Acknowledgement>, Status> {
        Ok(DatabaseIntakeClient::new(channel).observe(observations).await?.into_inner())
    }
}

impl Seat for proto::ComputeObservation {
    const NAME: &'static str = "compute";

    async fn open(channel: Channel, observations: ReceiverStream<Self>) -> Result<Streaming<proto::Acknowledgement>, Status> {
        Ok(ComputeIntakeClient::new(channel).observe(observations).await?.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drops_the_oldest_counts_it_and_repeats_the_unacknowledged() {
        let outbox = Outbox::new(3);
        for _ in 0..5 {
            outbox.push(|sequence, dropped| (sequence, dropped));
        }
        assert_eq!(outbox.dropped(), 2);
        assert_eq!(outbox.after(0).await, (3, (3, 0)));
        assert_eq!(outbox.after(4).await, (5, (5, 2)));
        outbox.acknowledge(4);
        assert_eq!(outbox.after(0).await.0, 5, "what was taken is not sent again, what was not is");
        outbox.acknowledge(5);
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.after(0).await.0 }
        });
        outbox.push(|sequence, dropped| (sequence, dropped));
        assert_eq!(waiting.await.unwrap(), 6);
    }
}
