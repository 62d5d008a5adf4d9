//! Files that change under a running process: mounted ConfigMaps and Secrets. A value parsed from
//! them is published again whenever their bytes change; a file that went missing or does not parse
//! keeps the last good value. It does not know what the files mean.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

// The kubelet swaps a symlinked directory, which file events report unreliably on overlay and
// network mounts; reading a few kilobytes this often costs nothing and always notices.
const INTERVAL: Duration = Duration::from_secs(1);
// Far above any certificate bundle; a mistaken mount must not fill the memory.
const MAX_BYTES: u64 = 1 << 20;

/// Reads all `paths` as one snapshot. Mounts are memory: a thread that waits for these few bytes would cost every process more
/// than they do.
pub(crate) fn read(paths: &[PathBuf]) -> std::io::Result<Vec<Vec<u8>>> {
    let mut contents = Vec::with_capacity(paths.len());
    for path in paths {
        let mut bytes = Vec::new();
        if std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)? as u64 > MAX_BYTES {
            return Err(std::io::Error::other(format!("`{}` has more than {MAX_BYTES} bytes", path.display())));
        }
        contents.push(bytes);
    }
    Ok(contents)
}

/// Publishes `parse(contents)` to `sender` each time the contents differ from `last`; returns
/// when nobody listens any more.
pub(crate) async fn follow<T, E, P>(paths: Vec<PathBuf>, mut last: Option<Vec<Vec<u8>>>, sender: watch::Sender<Arc<T>>, parse: P)
where
    E: std::error::Error + 'static,
    P: Fn(&[Vec<u8>]) -> Result<T, E>,
{
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = sender.closed() => return,
        }
        // Missing is normal while the kubelet swaps a mount.
        let Ok(contents) = read(&paths) else {
            continue;
        };
        if last.as_ref() == Some(&contents) {
            continue;
        }
        match parse(&contents) {
            Ok(value) => {
                tracing::info!(paths = ?paths, "files changed and were loaded");
                sender.send_replace(Arc::new(value));
            }
            Err(error) => {
                tracing::warn!(paths = ?paths, error = crate::telemetry::chain(&error), "files changed but cannot be used; keeping the last good ones");
            }
        }
        last = Some(contents);
    }
}
