//! The rows of alerts. Alerts, the incidents that they open or join, and their ledger entries are one transaction, so a
//! sender that was told "received" can forget them. Many deliveries share a transaction, since what costs is its end.

mod receiving;

use assent_core::ids::IncidentUid;
use assent_core::incident::{Alert, AlertSource};

use super::{Error, Store, Value, read, word};
use receiving::Receiving;

/// Alerts that the seats are shown of one incident.
const SHOWN: i64 = 16;
/// Notices that are kept.
const NOTICES: i64 = 1000;

/// An alert as it arrives, with what to call it if it names no workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) alert: Alert,
    /// In the sender's words; used only when `alert.service` is `None`.
    pub(crate) subject: String,
}

/// What became of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// It opened this incident.
    Opened(IncidentUid),
    /// It joined this incident.
    Joined(IncidentUid),
    /// It was known already, and belongs to this incident, if any.
    Known(Option<IncidentUid>),
    /// It says that trouble is over that we never heard of.
    Kept,
}

/// Something that a sender said which is no alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Equal keys are the same notice.
    pub(crate) key: String,
    pub(crate) source: AlertSource,
    pub(crate) text: String,
}

/// What one sender delivered at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) notices: Vec<Notice>,
}

// === impl Store ===

impl Store {
    /// Stores deliveries, and opens or joins incidents. All of it is durable when this returns, or none of it. Returns what
    /// became of the alerts of each delivery.
    pub(crate) async fn receive(&self, author: &str, deliveries: &[Delivery]) -> Result<Vec<Vec<Received>>, Error> {
        let mut receiving = Receiving::begin(self, author, deliveries).await?;
        let mut received = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let mut of_delivery = Vec::with_capacity(delivery.arrivals.len());
            for arrival in &delivery.arrivals {
                of_delivery.push(receiving.receive(arrival).await?);
            }
            received.push(of_delivery);
        }
        let notices: Vec<&Notice> = deliveries.iter().flat_map(|delivery| &delivery.notices).collect();
        receiving.keep_notices(&notices).await?;
        receiving.commit().await?;
        Ok(received)
    }

    /// Alerts of one incident: those that changed the picture first.
    pub(crate) async fn alerts(&self, uid: &IncidentUid) -> Result<Vec<Alert>, Error> {
        let sql = "SELECT body FROM alerts WHERE incident = $1 ORDER BY novel DESC, received_at, key LIMIT $2";
        let rows = self.database.rows("list alerts", sql, [uid.into(), SHOWN.into()]).await?;
        rows.iter().map(|row| read("alert", &row.text(0)?)).collect()
    }
}

// === impl Notice ===

impl Notice {
    fn row(&self, at: Value) -> Result<[Value; 4], Error> {
        Ok([self.key.as_str().into(), at, word("source", &self.source)?.into(), self.text.as_str().into()])
    }
}
