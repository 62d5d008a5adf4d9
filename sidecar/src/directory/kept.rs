//! Keeps what is known on a memory-backed volume, so that a sidecar restarted while the control plane is away still knows
//! whom to reach and as whom.
//!
//! Written a moment after it changed and once a minute. What is too old, unreadable or somebody else's is reported and not
//! used.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use assent_runtime::telemetry;

use super::Directory;
use super::snapshot::{self, MAX_BYTES, Saved};
use crate::kept;

const FILE: &str = "discovery";
const DEBOUNCE: Duration = Duration::from_secs(1);
/// A clock that was set back by more than this makes the age unknown.
const SKEW: Duration = Duration::from_secs(60);

/// Why a kept file was not used.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("read the kept destinations")]
    File(#[source] kept::Error),
    #[error("understand the kept destinations")]
    Text(#[source] snapshot::Error),
}

/// Writes what `directory` knows to `state` whenever it changes, for ever.
pub(crate) async fn keep(directory: Arc<Directory>, state: std::path::PathBuf) {
    let content = || Some(directory.describe(SystemTime::now()).into_bytes());
    let failed = |error: &std::io::Error| {
        directory.counts.not_written();
        tracing::warn!(error = telemetry::chain(error), "what discovery said cannot be kept over a restart");
    };
    kept::keep(state, FILE, DEBOUNCE, directory.version.subscribe(), content, failed).await;
}

// === impl Directory ===

impl Directory {
    /// Takes up what an earlier process kept in `state`, unless it is older than `limit`.
    pub(crate) fn restore_from(&self, state: &Path, limit: Duration) {
        match load(state) {
            Ok(None) => {}
            Ok(Some(saved)) => {
                let known = saved.len();
                let young: Vec<_> = aged(saved, SystemTime::now()).filter(|(_, age)| *age <= limit).collect();
                tracing::info!(destinations = young.len(), too_old = known - young.len(), "using what discovery said before the restart");
                self.restore(young);
            }
            Err(error) => {
                self.counts.not_read();
                tracing::warn!(error = telemetry::chain(&error), "what discovery said before the restart is not used");
            }
        }
    }

    fn describe(&self, now: SystemTime) -> String {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let known: Vec<_> = self.known().into_iter().map(|(saved, age)| (saved, now.saturating_sub(age).as_secs())).collect();
        snapshot::encode(&known)
    }
}

/// Each destination with its age; one from the future has none and is left out.
fn aged(saved: Vec<(Saved, u64)>, now: SystemTime) -> impl Iterator<Item = (Saved, Duration)> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    saved.into_iter().filter_map(move |(saved, heard)| {
        let heard = Duration::from_secs(heard);
        (heard <= now + SKEW).then(|| (saved, now.saturating_sub(heard)))
    })
}

fn load(state: &Path) -> Result<Option<Vec<(Saved, u64)>>, Error> {
    let text = kept::load(state, FILE, MAX_BYTES).map_err(Error::File)?;
    text.map(|text| snapshot::parse(&text)).transpose().map_err(Error::Text)
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::Kind;
    use super::*;

    fn saved() -> Saved {
        Saved { address: "10.96.0.1:80".parse().unwrap(), kind: Kind::Pod, endpoints: vec![("10.0.0.1:80".parse().unwrap(), None)] }
    }

    #[test]
    fn more_than_there_may_be_is_not_read() {
        let state = tempfile::tempdir().unwrap();
        kept::store(state.path(), FILE, &vec![b'x'; MAX_BYTES * 2]).unwrap();
        assert!(matches!(load(state.path()), Err(Error::Text(snapshot::Error::Length))));
    }

    #[tokio::test]
    async fn only_what_is_within_the_limit_is_taken_up() {
        let state = tempfile::tempdir().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let other = Saved { address: "10.96.0.2:80".parse().unwrap(), ..saved() };
        kept::store(state.path(), FILE, snapshot::encode(&[(saved(), now - 3700), (other.clone(), now - 3500)]).as_bytes()).unwrap();
        // Port 9 of the discard prefix: the channel never connects.
        let channel = tonic::transport::Endpoint::from_static("http://[100::1]:9").connect_lazy();
        let directory = Directory::new(channel, String::new(), Duration::ZERO, tokio::runtime::Handle::current());
        directory.restore_from(state.path(), Duration::from_secs(3600));
        let known = directory.known();
        assert_eq!(known.len(), 1);
        assert_eq!(known[0].0, other);
        assert!(known[0].1 >= Duration::from_secs(3500), "{:?}", known[0].1);
    }

    #[test]
    fn age_is_counted_from_when_discovery_was_last_there() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let age = |now| aged(vec![(saved(), 1000)], at(now)).next().map(|(_, age)| age.as_secs());
        assert_eq!((age(1500), age(990), age(900)), (Some(500), Some(0), None));
    }
}
