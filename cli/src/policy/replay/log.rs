//! Audit logs as a stream: several files at once, merged by time, so that neither rotation nor several API servers need any
//! order on the command line. Compressed files are known by their first bytes. One line of each file is held in memory.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use assent_core::ids::UnixMillis;
use flate2::bufread::MultiGzDecoder;
use serde::Serialize;
use serde_json::Value;

use crate::audit::Event;
use crate::audit::events::{Lines, event};

/// Most files that are read at once.
const MAX_FILES: usize = 256;
/// Most unreadable lines whose place is told.
const MAX_PLACES: usize = 10;
/// What gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// One finished request, with everything that the log says of it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) event: Event,
    pub(super) whole: Value,
}

/// What was read.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tally {
    pub(super) lines: u64,
    pub(super) unreadable: u64,
    /// Places of the first of them.
    pub(super) places: Vec<String>,
    pub(super) since: Option<UnixMillis>,
    pub(super) until: Option<UnixMillis>,
}

/// Open logs.
pub(super) struct Logs {
    sources: Vec<Source>,
    pub(super) tally: Tally,
}

struct Source {
    name: String,
    lines: Lines<Box<dyn BufRead>>,
    next: Option<Told>,
}

// === impl Logs ===

impl Logs {
    pub(super) fn open(paths: &[PathBuf]) -> anyhow::Result<Self> {
        ensure!(paths.len() <= MAX_FILES, "{} files are more than the {MAX_FILES} that are read at once", paths.len());
        let mut logs = Self { sources: Vec::new(), tally: Tally::default() };
        for (at, path) in paths.iter().enumerate() {
            ensure!(!paths.iter().take(at).any(|other| other == path), "`{}` is named twice", path.display());
            let name = path.display().to_string();
            let mut source = Source { lines: Lines::new(open(path)?), name, next: None };
            source.advance(&mut logs.tally)?;
            logs.sources.push(source);
        }
        Ok(logs)
    }

    /// The next request by time.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Told>> {
        let at = |source: &Source| source.next.as_ref().map(|told| told.event.at);
        let Some(source) = self.sources.iter_mut().filter(|source| source.next.is_some()).min_by_key(|source| at(source)) else { return Ok(None) };
        let told = source.next.take();
        source.advance(&mut self.tally)?;
        Ok(told)
    }
}

// === impl Source ===

impl Source {
    /// Reads on to the next finished request.
    fn advance(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        while let Some((number, line)) = self.lines.next().with_context(|| format!("read the audit log `{}`", self.name))? {
            tally.lines += 1;
            let read = match line {
                None => Err("it is too long".to_owned()),
                Some(line) => serde_json::from_slice::<Value>(line).map_err(|error| error.to_string()),
            };
            let read = read.and_then(|whole| match event(&whole) {
                None => Err("it is no audit event".to_owned()),
                Some(read) => Ok(read.map(|(id, event)| Told { id, event, whole })),
            });
            match read {
                Err(reason) => {
                    tally.unreadable += 1;
                    if tally.places.len() < MAX_PLACES {
                        tally.places.push(format!("{}, line {number}: {reason:.200}", self.name));
                    }
                }
                Ok(None) => {}
                Ok(Some(told)) => {
                    let at = told.event.at;
                    tally.since = Some(tally.since.map_or(at, |since| since.min(at)));
                    tally.until = Some(tally.until.map_or(at, |until| until.max(at)));
                    self.next = Some(told);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    let raw: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        ensure!(!path.is_dir(), "`{}` is a folder; name the files in it", path.display());
        Box::new(std::fs::File::open(path).with_context(|| format!("open the audit log `{}`", path.display()))?)
    };
    let mut raw = BufReader::with_capacity(1 << 16, raw);
    let compressed = raw.fill_buf().with_context(|| format!("read the audit log `{}`", path.display()))?.starts_with(&GZIP);
    Ok(if compressed { Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(raw))) } else { Box::new(raw) })
}
