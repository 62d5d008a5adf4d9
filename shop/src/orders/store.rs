//! Orders in PostgreSQL. Every new connection makes sure of the table, so a database that comes
//! back empty is usable again without a restart here.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::Mutex;

/// Serialised by an advisory lock: `if not exists` alone fails when two sessions race.
const SCHEMA: &str = "
    begin;
    select pg_advisory_xact_lock(4707);
    set local client_min_messages = warning;
    create table if not exists orders (
        id bigint generated always as identity primary key,
        product integer not null,
        quantity integer not null,
        placed_at timestamptz not null default now());
    create index if not exists orders_by_product on orders (product);
    commit";

/// Pause between attempts to reach a database that is not there yet.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Store {
    pool: PgPool,
    hoard: Mutex<Vec<PoolConnection<Postgres>>>,
}

// === impl Store ===

impl Store {
    /// Opens no connection yet.
    pub(super) fn connect(url: &str) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(5)
            .acquire_timeout(Duration::from_secs(5))
            .after_connect(|connection, _| Box::pin(async move { sqlx::raw_sql(SCHEMA).execute(connection).await.map(drop) }))
            .connect_lazy(url)
            .context("read the database's URL")?;
        Ok(Self { pool, hoard: Mutex::default() })
    }

    /// Returns once the database has answered and has the table.
    pub(super) async fn ready(&self) {
        while let Err(error) = self.pool.acquire().await {
            tracing::warn!(%error, "database is away");
            // Nobody announces a database; each attempt is bounded by the pool.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Takes a connection and never gives it back.
    pub(super) async fn hoard(&self) -> sqlx::Result<()> {
        let connection = self.pool.acquire().await?;
        self.hoard.lock().await.push(connection);
        Ok(())
    }

    /// How often a product was ordered, counted up to 100 so that the price of reading is constant.
    pub(super) async fn sold(&self, product: u32) -> sqlx::Result<i64> {
        sqlx::query_scalar("select count(*) from (select 1 from orders where product = $1 limit 100) as lately")
            .bind(i64::from(product))
            .fetch_one(&self.pool)
            .await
    }

    /// Writes an order and returns its number.
    pub(super) async fn place(&self, product: u32, quantity: u32) -> sqlx::Result<i64> {
        sqlx::query_scalar("insert into orders (product, quantity) values ($1, $2) returning id")
            .bind(i64::from(product))
            .bind(i64::from(quantity))
            .fetch_one(&self.pool)
            .await
    }
}
