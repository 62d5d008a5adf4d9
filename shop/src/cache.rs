//! Product pages in Redis. A cache that is away costs one short attempt a second and is otherwise
//! treated as empty: nothing here can fail a customer's request.

use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A page that takes longer than this is cheaper to ask for at its source.
const PATIENCE: Duration = Duration::from_millis(200);

/// Pause between attempts to reach a cache that is away.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Cache {
    client: redis::Client,
    lifetime: Duration,
    link: Mutex<Link>,
}

#[derive(Debug)]
enum Link {
    Up(MultiplexedConnection),
    /// Not to be tried before this instant.
    Away(Instant),
}

// === impl Cache ===

impl Cache {
    /// Pages live for `lifetime`, in whole seconds and at least one.
    pub(crate) fn new(url: &str, lifetime: Duration) -> redis::RedisResult<Self> {
        let link = Mutex::new(Link::Away(Instant::now()));
        Ok(Self { client: redis::Client::open(url)?, lifetime, link })
    }

    pub(crate) async fn page(&self, key: &str) -> Option<Vec<u8>> {
        let mut connection = self.connection().await?;
        let page = redis::cmd("GET").arg(key).query_async(&mut connection).await;
        self.noticed(page).await.flatten()
    }

    pub(crate) async fn keep(&self, key: &str, page: &[u8]) {
        let Some(mut connection) = self.connection().await else {
            return;
        };
        let seconds = self.lifetime.as_secs().max(1);
        let kept = redis::cmd("SETEX").arg(key).arg(seconds).arg(page).query_async::<()>(&mut connection).await;
        self.noticed(kept).await;
    }

    async fn connection(&self) -> Option<MultiplexedConnection> {
        let mut link = self.link.lock().await;
        match &*link {
            Link::Up(connection) => return Some(connection.clone()),
            Link::Away(until) if Instant::now() < *until => return None,
            Link::Away(_) => {}
        }
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => {
                *link = Link::Up(connection.clone());
                Some(connection)
            }
            Err(error) => {
                tracing::warn!(%error, "cache is away");
                *link = Link::Away(Instant::now() + PAUSE);
                None
            }
        }
    }

    async fn noticed<T>(&self, outcome: redis::RedisResult<T>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(%error, "cache is away");
                *self.link.lock().await = Link::Away(Instant::now() + PAUSE);
                None
            }
        }
    }
}
