//! Keeps what is known on a memory-backed volume, so that a sidecar restarted while the control plane is away still knows
//! whom to reach and as whom.
//!
//! Written a moment after it changed and once a minute, in one step, for this user only. What is too old, unreadable or
//! somebody else's is reported and not used.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use assent_runtime::telemetry;
use nix::libc;

use super::Directory;
use super::snapshot::{self, MAX_BYTES, Saved};

const FILE: &str = "discovery";
/// A burst of answers is one write.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// What is known grows older on the volume, even while discovery confirms it.
const REFRESH: Duration = Duration::from_secs(60);
/// A clock that was set back by more than this makes the age unknown.
const SKEW: Duration = Duration::from_secs(60);

/// Why a kept file was not used.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("read the kept destinations")]
    Read(#[source] io::Error),
    #[error("others may have changed the kept destinations")]
    Owner,
    #[error("understand the kept destinations")]
    Text(#[source] snapshot::Error),
}

/// Writes what `directory` knows to `state` whenever it changes, for ever.
pub(crate) async fn keep(directory: Arc<Directory>, state: std::path::PathBuf) {
    let mut version = directory.version.subscribe();
    let mut last = String::new();
    loop {
        // The sender is in `directory`; there is no end to wait for.
        let _ = tokio::time::timeout(REFRESH, version.changed()).await;
        tokio::time::sleep(DEBOUNCE).await;
        version.mark_unchanged();
        let text = directory.describe(SystemTime::now());
        if text == last {
            continue;
        }
        match store(&state, text.as_bytes()) {
            Ok(()) => last = text,
            Err(error) => {
                directory.counts.not_written();
                tracing::warn!(error = telemetry::chain(&error), "what discovery said cannot be kept over a restart");
            }
        }
    }
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

fn store(state: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = state.join(format!(".{FILE}.new"));
    // Left over from a crash between write and rename.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&temporary, state.join(FILE))
}

fn load(state: &Path) -> Result<Option<Vec<(Saved, u64)>>, Error> {
    // Neither follows a link nor waits for the other end of a pipe.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(state.join(FILE));
    let file: File = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Read(error)),
    };
    let metadata = file.metadata().map_err(Error::Read)?;
    if !metadata.is_file() || metadata.uid() != nix::unistd::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(Error::Owner);
    }
    let mut text = Vec::new();
    // One byte more than there may be, so that more is noticed.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut text).map_err(Error::Read)?;
    snapshot::parse(&text).map(Some).map_err(Error::Text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::snapshot::Kind;
    use super::*;

    fn saved() -> Saved {
        Saved { address: "10.96.0.1:80".parse().unwrap(), kind: Kind::Pod, endpoints: vec![("10.0.0.1:80".parse().unwrap(), None)] }
    }

    fn text() -> String {
        snapshot::encode(&[(saved(), 1000)])
    }

    #[test]
    fn is_written_for_this_user_only_and_replaces_what_was_there() {
        let state = tempfile::tempdir().unwrap();
        assert!(load(state.path()).unwrap().is_none());
        std::fs::write(state.path().join(format!(".{FILE}.new")), "half").unwrap();
        store(state.path(), b"old").unwrap();
        store(state.path(), text().as_bytes()).unwrap();
        assert_eq!(std::fs::metadata(state.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(state.path()).unwrap().unwrap(), [(saved(), 1000)]);
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_others_could_have_written_is_not_read() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join(FILE);
        store(state.path(), text().as_bytes()).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert!(matches!(load(state.path()), Err(Error::Owner)));
        std::fs::rename(&file, state.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(state.path().join("elsewhere"), &file).unwrap();
        assert!(matches!(load(state.path()), Err(Error::Read(_))));
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(matches!(load(state.path()), Err(Error::Owner)));
    }

    #[test]
    fn more_than_there_may_be_is_not_read() {
        let state = tempfile::tempdir().unwrap();
        store(state.path(), &vec![b'x'; MAX_BYTES * 2]).unwrap();
        assert!(matches!(load(state.path()), Err(Error::Text(snapshot::Error::Length))));
    }

    #[tokio::test]
    async fn only_what_is_within_the_limit_is_taken_up() {
        let state = tempfile::tempdir().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let other = Saved { address: "10.96.0.2:80".parse().unwrap(), ..saved() };
        store(state.path(), snapshot::encode(&[(saved(), now - 3700), (other.clone(), now - 3500)]).as_bytes()).unwrap();
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
