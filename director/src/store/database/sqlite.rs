//! One file in WAL mode with full synchronisation, so that what was answered with success survives the loss of power. One
//! connection does everything.

use std::path::Path;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlSafeStr, Sqlite, SqlitePool};

use super::super::{Error, FORMAT, PATIENCE};
use super::Value;

pub(super) async fn open(path: &Path) -> Result<SqlitePool, Error> {
    let failed = |source| Error::Open { place: format!("`{}`", path.display()), source };
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
        return Err(Error::Format { place: format!("`{}`", path.display()), found });
    }
    sqlx::raw_sql(include_str!("sqlite.sql")).execute(&pool).await.map_err(failed)?;
    Ok(pool)
}

pub(super) fn query(sql: impl SqlSafeStr, values: impl IntoIterator<Item = Value>) -> Query<'static, Sqlite, SqliteArguments> {
    let query = sqlx::query(sql);
    values.into_iter().fold(query, |query, value| match value {
        Value::Text(text) => query.bind(text),
        Value::Integer(integer) => query.bind(integer),
    })
}
