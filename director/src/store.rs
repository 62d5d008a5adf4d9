//! The director's memory: one SQLite file in WAL mode with full synchronisation, so that what was answered with success
//! survives the loss of power. One connection writes everything, so every transaction sees the newest head of the ledger.
//!
//! State and ledger entry are one transaction, and effects are stored with the state that decided them: whatever happens
//! between two of them, the next start carries on. Nothing here decides; that is `core`.

mod alerts;
mod incidents;
mod ledger;
mod retention;

use std::path::{Path, PathBuf};
use std::time::Duration;

use assent_core::ids::{IncidentUid, UnixMillis};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::watch;

pub(crate) use alerts::{Arrival, Notice, Received};
pub(crate) use incidents::{Advance, Record};
pub(crate) use ledger::Draft;

/// What the file is written by; SQLite keeps it as `user_version`. Until there are releases, another one is not read.
const FORMAT: i64 = 2;
/// How long an operation waits for the one connection before the director counts as overloaded.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file cannot be opened or is no store of ours.
    #[error("open store `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        #[source]
        source: sqlx::Error,
    },
    /// The file was written by another version.
    #[error("store `{path}` has format {found} and this version writes {FORMAT}: move it away, and follow \"After a lost ledger\" in docs/operate.md")]
    Format {
        /// The file.
        path: PathBuf,
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

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: SqlitePool,
    /// Why the ledger does not hold in itself, if it did not when the store was opened.
    broken: Option<String>,
    /// Why it is not the ledger that the admitted plans speak of, as long as it is not.
    contradicted: watch::Sender<Option<String>>,
}

// === impl Store ===

impl Store {
    /// Opens or creates the file and verifies the ledger from its first entry. That it does not hold is no error here: such a
    /// store still records incidents and tells people, and nothing else.
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE);
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_with(options).await.map_err(failed)?;
        let found: i64 = sqlx::query_scalar("SELECT user_version FROM pragma_user_version").fetch_one(&pool).await.map_err(failed)?;
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master").fetch_one(&pool).await.map_err(failed)?;
        if tables > 0 && found != FORMAT {
            return Err(Error::Format { path: path.to_owned(), found });
        }
        sqlx::raw_sql(include_str!("store/schema.sql")).execute(&pool).await.map_err(failed)?;
        let mut store = Self { pool, broken: None, contradicted: watch::Sender::new(None) };
        if let Err(reason) = store.verify().await? {
            tracing::error!(reason, "the ledger does not hold; nothing will be decided until a person has looked at it");
            store.broken = Some(reason);
        }
        Ok(store)
    }

    /// Why nothing may be decided, if so.
    pub(crate) fn broken(&self) -> Option<String> {
        self.broken.clone().or_else(|| self.contradicted.borrow().clone())
    }

    /// Whether it is not the ledger that the admitted plans speak of.
    pub(crate) fn is_contradicted(&self) -> bool {
        self.contradicted.borrow().is_some()
    }

    /// Why this is not the ledger that the admitted plans speak of; nothing when it is. Until then nothing may be decided.
    pub(crate) fn contradict(&self, reason: Option<String>) {
        self.contradicted.send_replace(reason);
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(doing("begin a transaction"))
    }

    /// Closes the file in order.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

// === impl Error ===

impl Error {
    /// Whether the caller should try again because the director has too much to do.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Statement { source: sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::Database(_), .. })
    }
}

fn doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |source| Error::Statement { doing, source }
}

async fn commit(transaction: Transaction<'static, Sqlite>) -> Result<(), Error> {
    transaction.commit().await.map_err(doing("commit"))
}

fn read<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|source| Error::Text { what, source })
}

fn canonical<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<String, Error> {
    assent_core::canonical::text(value).map_err(|source| Error::Canonical { what, source })
}

/// Now, by this machine's clock.
pub(crate) fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

#[cfg(test)]
mod tests;
