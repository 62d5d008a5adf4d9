//! Files on the memory-backed volume, which outlive this process and not the pod.
//!
//! Written in one step and for this user only; what somebody else may have written is not read. What is in them is the
//! business of those who keep them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use tokio::sync::watch;

/// What is kept grows older on the volume, even while it is confirmed.
const REFRESH: Duration = Duration::from_secs(60);

/// Why a kept file is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("read the kept file")]
    Read(#[source] io::Error),
    #[error("others may have changed the kept file")]
    Owner,
}

/// Writes `content` to `file` in `state` a `debounce` after `version` has changed and once a minute, if there is any and it is
/// other than the last; what could not be written is told to `failed`. Ends with the sender of `version`.
pub(crate) async fn keep(
    state: PathBuf,
    file: &str,
    debounce: Duration,
    mut version: watch::Receiver<u64>,
    content: impl Fn() -> Option<Vec<u8>>,
    failed: impl Fn(&io::Error),
) {
    let mut last = Vec::new();
    while !matches!(tokio::time::timeout(REFRESH, version.changed()).await, Ok(Err(_))) {
        // A burst of changes is one write.
        tokio::time::sleep(debounce).await;
        version.mark_unchanged();
        let Some(content) = content().filter(|content| *content != last) else { continue };
        match store(&state, file, &content) {
            Ok(()) => last = content,
            Err(error) => failed(&error),
        }
    }
}

/// Replaces `file` in `state`.
pub(crate) fn store(state: &Path, file: &str, content: &[u8]) -> io::Result<()> {
    let temporary = state.join(format!(".{file}.new"));
    // Left over from a crash between write and rename.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    written.write_all(content)?;
    written.sync_all()?;
    std::fs::rename(&temporary, state.join(file))
}

/// What `file` in `state` holds, if it is there; of more than `limit` bytes, one byte more than that.
pub(crate) fn load(state: &Path, file: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    // Neither follows a link nor waits for the other end of a pipe.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(state.join(file));
    let file: File = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Read(error)),
    };
    let metadata = file.metadata().map_err(Error::Read)?;
    if !metadata.is_file() || metadata.uid() != nix::unistd::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(Error::Owner);
    }
    let mut content = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut content).map_err(Error::Read)?;
    Ok(Some(content))
}

/// FNV-1a: finds accidents. Who may write the file may write the sum.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const FILE: &str = "known";
    const LIMIT: usize = 16;

    fn read(state: &Path) -> Result<Option<Vec<u8>>, Error> {
        load(state, FILE, LIMIT)
    }

    #[test]
    fn is_written_for_this_user_only_and_replaces_what_was_there() {
        let state = tempfile::tempdir().unwrap();
        assert!(read(state.path()).unwrap().is_none());
        std::fs::write(state.path().join(format!(".{FILE}.new")), "half").unwrap();
        store(state.path(), FILE, b"old").unwrap();
        store(state.path(), FILE, b"new").unwrap();
        assert_eq!(std::fs::metadata(state.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(state.path()).unwrap().unwrap(), b"new");
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_others_could_have_written_is_not_read() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join(FILE);
        store(state.path(), FILE, b"mine").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert!(matches!(read(state.path()), Err(Error::Owner)));
        std::fs::rename(&file, state.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(state.path().join("elsewhere"), &file).unwrap();
        assert!(matches!(read(state.path()), Err(Error::Read(_))));
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(matches!(read(state.path()), Err(Error::Owner)));
    }

    #[test]
    fn no_more_is_read_than_shows_that_it_is_too_much() {
        let state = tempfile::tempdir().unwrap();
        store(state.path(), FILE, &[b'x'; LIMIT * 3]).unwrap();
        assert_eq!(read(state.path()).unwrap().unwrap().len(), LIMIT + 1);
    }
}
