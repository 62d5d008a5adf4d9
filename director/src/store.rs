//! The director's memory, in one SQLite file or in a PostgreSQL that several directors share. Whoever writes is alone, so every
//! transaction sees the newest head of the ledger; what was answered with success survives the loss of power.
//!
//! State and ledger entry are one transaction, and effects are stored with the state that decided them: whatever happens
//! between two of them, the next start carries on. Nothing here decides; that is `core`.

mod alerts;
mod calls;
mod database;
mod incidents;
mod ledger;
mod retention;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assent_core::ids::{IncidentUid, UnixMillis};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgListener;
use tokio::sync::watch;

use database::{Database, Value};
use writer::Writer;

pub(crate) use alerts::{Arrival, Delivery, Notice, Received};
pub(crate) use database::Url;
pub(crate) use incidents::{Advance, Record};
pub(crate) use ledger::Draft;

/// What the tables are written by. Until there are releases, another one is not read.
const FORMAT: i64 = 3;
/// How long an operation waits for a connection before the director counts as overloaded.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be opened or is no store of ours.
    #[error("open the store {place}")]
    Open {
        /// The file, or the server without the password.
        place: String,
        #[source]
        source: sqlx::Error,
    },
    /// The address of the database is none. It holds a password and is not repeated.
    #[error("the database's address is not of the form postgres://USER:PASSWORD@HOST/DATABASE")]
    Address,
    /// It was written by another version.
    #[error("the store {place} has format {found} and this version writes {FORMAT}: move it away, and follow \"After a lost ledger\" in docs/operate.md")]
    Format {
        /// The file or the server.
        place: String,
        /// Its format.
        found: i64,
    },
    /// A statement failed.
    #[error("{doing}")]
    Statement {
        /// What was being done.
        doing: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// A stored text is not what was stored.
    #[error("read stored {what}")]
    Text {
        /// Which.
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// A stored value is not of the shape in which it was stored.
    #[error("{0} is not what was stored")]
    Shape(&'static str),
    /// A value has no canonical form.
    #[error("write {what} in canonical form")]
    Canonical {
        /// Which.
        what: &'static str,
        #[source]
        source: assent_core::canonical::Error,
    },
    /// No incident of that name.
    #[error("incident `{0}` is unknown")]
    Unknown(IncidentUid),
    /// The ledger does not hold, so nothing may be appended.
    #[error("the ledger does not hold: {0}")]
    Broken(String),
    /// The caller's ledger is not this one.
    #[error("sequence {asked} was asked for and the ledger ends at {newest}")]
    Ahead {
        /// Asked for.
        asked: u64,
        /// The newest.
        newest: u64,
    },
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    database: Database,
    /// Why the ledger does not hold in itself, if it did not when it was last verified.
    broken: watch::Sender<Option<String>>,
    /// Why it is not the ledger that the admitted plans speak of, as long as it is not.
    contradicted: watch::Sender<Option<String>>,
    /// Who calls whom, as last read.
    calls: Arc<Mutex<calls::Cached>>,
}

/// Hears of what other directors committed.
#[derive(Debug)]
pub(crate) struct Changes(Option<PgListener>);

// === impl Store ===

impl Store {
    /// Opens or creates the file and verifies the ledger from its first entry. That it does not hold is no error here: such a
    /// store still records incidents and tells people, and nothing else.
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        Self::on(Database::file(path).await?).await
    }

    /// The same on a server that other directors use too.
    pub(crate) async fn connect(url: &Url) -> Result<Self, Error> {
        Self::on(Database::server(url).await?).await
    }

    async fn on(database: Database) -> Result<Self, Error> {
        let store = Self { database, broken: watch::Sender::new(None), contradicted: watch::Sender::new(None), calls: Arc::default() };
        store.examine().await?;
        Ok(store)
    }

    /// Verifies the ledger: when it is opened, and when we begin to lead, since others may have written since.
    pub(crate) async fn examine(&self) -> Result<(), Error> {
        let reason = self.verify().await?.err();
        if let Some(reason) = &reason {
            tracing::error!(reason, "the ledger does not hold; nothing will be decided until a person has looked at it");
        }
        self.broken.send_replace(reason);
        Ok(())
    }

    /// Why nothing may be decided, if so.
    pub(crate) fn broken(&self) -> Option<String> {
        self.broken.borrow().clone().or_else(|| self.contradicted.borrow().clone())
    }

    /// Whether it is not the ledger that the admitted plans speak of.
    pub(crate) fn is_contradicted(&self) -> bool {
        self.contradicted.borrow().is_some()
    }

    /// Why this is not the ledger that the admitted plans speak of; nothing when it is. Until then nothing may be decided.
    pub(crate) fn contradict(&self, reason: Option<String>) {
        self.contradicted.send_replace(reason);
    }

    /// Begins to listen to the other directors, where there may be any.
    pub(crate) async fn changes(&self) -> Result<Changes, Error> {
        let Some(pool) = self.database.shared() else { return Ok(Changes(None)) };
        let mut listener = PgListener::connect_with(pool).await.map_err(doing("listen to other directors"))?;
        listener.listen(database::CHANNEL).await.map_err(doing("listen to other directors"))?;
        Ok(Changes(Some(listener)))
    }

    async fn begin(&self) -> Result<Writer, Error> {
        Ok(Writer::new(self.database.begin().await?))
    }

    /// Closes it in order.
    pub(crate) async fn close(&self) {
        self.database.close().await;
    }
}

// === impl Changes ===

impl Changes {
    /// Returns when another director, or we, may have committed something. Alone, it never does.
    pub(crate) async fn next(&mut self) -> Result<(), Error> {
        match &mut self.0 {
            // After a broken connection it has listened again, and something may have been missed: look all the same.
            Some(listener) => listener.try_recv().await.map_err(doing("listen to other directors")).map(drop),
            None => std::future::pending().await,
        }
    }
}

// === impl Error ===

impl Error {
    /// Whether the caller should try again because the director has too much to do.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Statement { source: sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::Database(_), .. })
    }
}

fn doing(doing: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Statement { doing, source }
}

fn read<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|source| Error::Text { what, source })
}

fn canonical<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<String, Error> {
    assent_core::canonical::text(value).map_err(|source| Error::Canonical { what, source })
}

pub(crate) fn uid(text: &str) -> Result<IncidentUid, Error> {
    read("incident uid", &format!("\"{text}\""))
}

/// A unit variant as its word.
fn word<T: Serialize>(what: &'static str, value: &T) -> Result<String, Error> {
    canonical(what, value).map(|text| text.trim_matches('"').to_owned())
}

/// Now, by this machine's clock.
pub(crate) fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

#[cfg(test)]
mod tests;
