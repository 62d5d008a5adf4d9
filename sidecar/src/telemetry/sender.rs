//! One seat's ring of unacknowledged observations, and the stream that empties it.
//!
//! Sequence numbers are the ring's own. After a reconnect everything unacknowledged is sent again from the oldest, so a
//! seat must expect repeats; it never sees a gap that `dropped` does not explain.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use assent_api::proto;
use assent_api::proto::compute_intake_client::ComputeIntakeClient;
use assent_api::proto::database_intake_client::DatabaseIntakeClient;
use assent_api::proto::network_intake_client::NetworkIntakeClient;
use assent_runtime::backoff::Backoff;
use prost::Message;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Bytes of observations kept for one seat; a pod with very many flows keeps fewer windows.
const MAX_BYTES: usize = 4 << 20;
/// Observations on their way in one stream.
const IN_FLIGHT: usize = 8;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// A class of observation with the service that takes it.
pub(crate) trait Seat: Clone + Message + 'static {
    const NAME: &'static str;

    fn open(channel: Channel, observations: ReceiverStream<Self>) -> impl Future<Output = Result<Streaming<proto::Acknowledgement>, Status>> + Send;
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
    bytes: usize,
    last: u64,
    dropped: u64,
}

// === impl Outbox ===

impl<T: Clone + Message> Outbox<T> {
    /// A ring of at most `limit` windows.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let ring = Ring { waiting: VecDeque::new(), bytes: 0, last: 0, dropped: 0 };
        Arc::new(Self { ring: Mutex::new(ring), filled: Notify::new(), limit })
    }

    /// Adds what `make` builds from its sequence number and the number of windows lost so far; drops the oldest if full.
    pub(crate) fn push(&self, make: impl FnOnce(u64, u64) -> T) {
        let mut ring = self.ring();
        while (ring.waiting.len() >= self.limit || ring.bytes > MAX_BYTES)
            && let Some((_, oldest)) = ring.waiting.pop_front()
        {
            ring.bytes -= oldest.encoded_len();
            ring.dropped += 1;
        }
        ring.last += 1;
        let (sequence, dropped) = (ring.last, ring.dropped);
        let observation = make(sequence, dropped);
        ring.bytes += observation.encoded_len();
        ring.waiting.push_back((sequence, observation));
        drop(ring);
        self.filled.notify_one();
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.ring().dropped
    }

    fn acknowledge(&self, sequence: u64) {
        let mut ring = self.ring();
        while let Some((_, taken)) = ring.waiting.pop_front_if(|(waiting, _)| *waiting <= sequence) {
            ring.bytes -= taken.encoded_len();
        }
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
    let mut retry = Backoff::new(FIRST_RETRY, LAST_RETRY, 0.5);
    loop {
        let mut acknowledged = false;
        if let Err(status) = stream(&channel, &outbox, &mut acknowledged).await {
            tracing::debug!(seat = T::NAME, code = ?status.code(), "the seat does not take observations");
        }
        // It worked for a while.
        if acknowledged {
            retry.reset();
        }
        retry.wait().await;
    }
}

/// One stream until it ends; says in `acknowledged` whether anything was on it.
async fn stream<T: Seat>(channel: &Channel, outbox: &Outbox<T>, acknowledged: &mut bool) -> Result<(), Status> {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
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
            *acknowledged = true;
        }
        Ok(())
    };
    tokio::select! {
        () = feed => Ok(()),
        ended = listen => ended,
    }
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

    fn push(outbox: &Outbox<proto::NetworkObservation>, flows: usize) {
        outbox.push(|sequence, dropped| proto::NetworkObservation {
            window: Some(proto::Window { sequence, dropped, ..Default::default() }),
            http: vec![proto::HttpFlow { peer: "p".repeat(100), ..Default::default() }; flows],
            ..Default::default()
        });
    }

    async fn next(outbox: &Outbox<proto::NetworkObservation>, after: u64) -> (u64, u64) {
        let window = outbox.after(after).await.1.window.unwrap();
        (window.sequence, window.dropped)
    }

    #[tokio::test]
    async fn drops_the_oldest_counts_it_and_repeats_the_unacknowledged() {
        let outbox = Outbox::new(3);
        for _ in 0..5 {
            push(&outbox, 1);
        }
        assert_eq!(outbox.dropped(), 2);
        assert_eq!(next(&outbox, 0).await, (3, 0));
        assert_eq!(next(&outbox, 4).await, (5, 2));
        outbox.acknowledge(4);
        assert_eq!(next(&outbox, 0).await.0, 5, "what was taken is not sent again, what was not is");
        outbox.acknowledge(5);
        assert_eq!(outbox.ring().bytes, 0);
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { next(&outbox, 0).await.0 }
        });
        push(&outbox, 1);
        assert_eq!(waiting.await.unwrap(), 6);
    }

    #[tokio::test]
    async fn keeps_fewer_windows_when_they_are_large() {
        let outbox = Outbox::new(256);
        for _ in 0..200 {
            push(&outbox, 512);
        }
        let ring = outbox.ring();
        assert!(ring.bytes < 2 * MAX_BYTES && ring.dropped > 100, "{} bytes, {} dropped", ring.bytes, ring.dropped);
    }
}
