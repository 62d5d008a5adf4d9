//! Where alerts wait for their transaction. Whatever came while the last one was written is written together, so that the
//! price of durability is shared; each sender hears of its own delivery, and only when it is on disk. Bounded: who finds it full
//! is told so at once.

use std::sync::Arc;

use assent_runtime::CancellationToken;
use assent_runtime::telemetry::chain;
use tokio::sync::{mpsc, oneshot, watch};

use crate::metrics::Metrics;
use crate::store::{self, Arrival, Delivery, Received, Store};

/// Deliveries that wait.
const WAITING: usize = 1024;
/// Deliveries of one transaction.
const TOGETHER: usize = 256;

/// Why a delivery is not stored. The sender should come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// Too many wait already.
    #[error("too many deliveries wait")]
    Full,
    /// It was not written.
    #[error("the delivery could not be stored")]
    NotStored,
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    sender: mpsc::Sender<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    delivery: Delivery,
    reply: oneshot::Sender<Result<Vec<Received>, Error>>,
}

/// The other end.
#[derive(Debug)]
pub(crate) struct Writing {
    store: Store,
    author: Arc<str>,
    metrics: Metrics,
    /// Told after each transaction.
    arrived: watch::Sender<()>,
    receiver: mpsc::Receiver<Waiting>,
}

/// An inbox, and what has to run for it to be emptied.
pub(crate) fn open(store: Store, author: &str, metrics: Metrics, arrived: watch::Sender<()>) -> (Inbox, Writing) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Inbox { sender }, Writing { store, author: author.into(), metrics, arrived, receiver })
}

// === impl Inbox ===

impl Inbox {
    /// Returns what became of each alert when all of them are durable.
    pub(crate) async fn keep(&self, delivery: Delivery) -> Result<Vec<Received>, Error> {
        let (reply, stored) = oneshot::channel();
        self.sender.try_send(Waiting { delivery, reply }).map_err(|_| Error::Full)?;
        stored.await.unwrap_or(Err(Error::NotStored))
    }
}

// === impl Writing ===

impl Writing {
    /// Until `token` is cancelled; what waits then is not stored, and its senders are told so.
    pub(crate) async fn run(mut self, token: CancellationToken) {
        let mut batch = Vec::with_capacity(TOGETHER);
        while token.run_until_cancelled(self.receiver.recv_many(&mut batch, TOGETHER)).await.is_some_and(|count| count > 0) {
            self.write(std::mem::take(&mut batch)).await;
        }
    }

    async fn write(&self, batch: Vec<Waiting>) {
        let (deliveries, replies): (Vec<Delivery>, Vec<_>) = batch.into_iter().map(|waiting| (waiting.delivery, waiting.reply)).unzip();
        let stored = match self.store.receive(&self.author, &deliveries).await {
            Ok(received) => received.into_iter().map(Ok).collect(),
            // What is wrong with one of them is no reason to turn the others away.
            Err(error) if !error.is_transient() && deliveries.len() > 1 => self.one_by_one(&deliveries).await,
            Err(error) => {
                not_stored(&error);
                vec![Err(Error::NotStored); deliveries.len()]
            }
        };
        self.arrived.send_replace(());
        for ((delivery, reply), stored) in deliveries.iter().zip(replies).zip(stored) {
            if let Ok(received) = &stored {
                self.tell(delivery, received);
            }
            // Who does not wait for the answer any more will come again.
            let _ = reply.send(stored);
        }
    }

    async fn one_by_one(&self, deliveries: &[Delivery]) -> Vec<Result<Vec<Received>, Error>> {
        let mut stored = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let received = self.store.receive(&self.author, std::slice::from_ref(delivery)).await;
            stored.push(received.map(|received| received.into_iter().flatten().collect()).map_err(|error| not_stored(&error)));
        }
        stored
    }

    fn tell(&self, delivery: &Delivery, received: &[Received]) {
        for (Arrival { alert, .. }, what) in delivery.arrivals.iter().zip(received) {
            self.metrics.received(alert.source, what);
            if let Received::Opened(uid) = what {
                tracing::info!(incident.id = %uid, source = ?alert.source, summary = alert.summary, "incident opened");
            }
        }
        for notice in &delivery.notices {
            tracing::info!(source = ?notice.source, text = notice.text, "notice received");
        }
    }
}

fn not_stored(error: &store::Error) -> Error {
    tracing::error!(error = chain(error), transient = error.is_transient(), "delivery not stored");
    Error::NotStored
}
