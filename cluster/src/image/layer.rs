//! One layer: a tree of files that becomes a tar stream, the same bytes for the same content.
//!
//! Order is by path, times are zero, and owners are numbers. The tree has merged `/usr`, as Debian has: what is put below
//! `/bin`, `/sbin`, `/lib` or `/lib64` lands below `/usr`, and those four are links.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::error::{Error, Result};

/// Folders that are links into `/usr`.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// What is at a path.
#[derive(Debug)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    /// A file of this machine, read when the layer is written.
    File(PathBuf),
    Directory,
    Symlink(String),
}

#[derive(Debug)]
struct Entry {
    content: Content,
    mode: u32,
    owner: u32,
}

/// A tree of files, by path without the leading slash.
#[derive(Debug)]
pub(super) struct Layer {
    entries: BTreeMap<String, Entry>,
}

// === impl Layer ===

impl Layer {
    pub(super) fn new() -> Self {
        let mut layer = Self { entries: BTreeMap::new() };
        for name in MERGED {
            let content = Content::Symlink(format!("usr/{name}"));
            layer.entries.insert(name.to_owned(), Entry { content, mode: 0o777, owner: 0 });
            layer.insert(&format!("/usr/{name}"), Content::Directory, 0o755, 0);
        }
        layer
    }

    /// Puts something at `path`, with the folders above it; replaces what was there.
    pub(super) fn insert(&mut self, path: &str, content: Content, mode: u32, owner: u32) {
        let path = merged(path);
        if path.is_empty() {
            return;
        }
        for (end, _) in path.match_indices('/') {
            let above = || Entry { content: Content::Directory, mode: 0o755, owner: 0 };
            self.entries.entry(path[..end].to_owned()).or_insert_with(above);
        }
        self.entries.insert(path, Entry { content, mode, owner });
    }

    /// Copies one file; a link is followed.
    pub(super) fn copy(&mut self, source: &Path, path: &str) -> Result<()> {
        let source = fs::canonicalize(source).map_err(Error::file("resolve", source))?;
        let metadata = fs::metadata(&source).map_err(Error::file("look at", &source))?;
        let mode = metadata.permissions().mode() & 0o777;
        self.insert(path, Content::File(source), mode, 0);
        Ok(())
    }

    /// Copies a folder and what is below it, but for paths in the image that begin with one of `without`.
    pub(super) fn copy_tree(&mut self, source: &Path, path: &str, without: &[String]) -> Result<()> {
        for entry in fs::read_dir(source).map_err(Error::file("list", source))? {
            let from = entry.map_err(Error::file("list", source))?.path();
            let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let to = format!("{}/{name}", path.trim_end_matches('/'));
            if without.iter().any(|prefix| to.starts_with(prefix)) {
                continue;
            }
            let metadata = fs::symlink_metadata(&from).map_err(Error::file("look at", &from))?;
            let mode = metadata.permissions().mode() & 0o777;
            if metadata.is_symlink() {
                let target = fs::read_link(&from).map_err(Error::file("read", &from))?;
                self.insert(&to, Content::Symlink(target.to_string_lossy().into_owned()), 0o777, 0);
            } else if metadata.is_dir() {
                // One of the merged folders has its place already.
                if !MERGED.contains(&to.trim_start_matches('/')) {
                    self.insert(&to, Content::Directory, mode, 0);
                }
                self.copy_tree(&from, &to, without)?;
            } else if metadata.is_file() {
                self.insert(&to, Content::File(from), mode, 0);
            }
        }
        Ok(())
    }

    /// Writes the tar stream; its digest, in hexadecimal.
    pub(super) fn write(&self, file: &File) -> Result<String> {
        let failed = || Error::file("write", "image layer");
        let mut tar = tar::Builder::new(Hashed { digest: Sha256::new(), inner: BufWriter::new(file) });
        for (path, entry) in &self.entries {
            let Entry { content, mode, owner } = entry;
            match content {
                Content::Directory => {
                    let mut header = header(EntryType::Directory, *mode, *owner, 0);
                    tar.append_data(&mut header, format!("{path}/"), io::empty()).map_err(failed())?;
                }
                Content::Symlink(target) => {
                    let mut header = header(EntryType::Symlink, *mode, *owner, 0);
                    tar.append_link(&mut header, path, target).map_err(failed())?;
                }
                Content::Bytes(bytes) => {
                    let mut header = header(EntryType::Regular, *mode, *owner, bytes.len() as u64);
                    tar.append_data(&mut header, path, bytes.as_slice()).map_err(failed())?;
                }
                Content::File(source) => {
                    let content = File::open(source).map_err(Error::file("open", source))?;
                    let size = content.metadata().map_err(Error::file("look at", source))?.len();
                    let mut header = header(EntryType::Regular, *mode, *owner, size);
                    // A file that grows meanwhile must not break the stream.
                    tar.append_data(&mut header, path, io::Read::take(content, size)).map_err(failed())?;
                }
            }
        }
        let mut hashed = tar.into_inner().map_err(failed())?;
        hashed.flush().map_err(failed())?;
        Ok(hex::encode(hashed.digest.finalize()))
    }
}

/// A tar header that depends on nothing but its arguments.
pub(super) fn header(kind: EntryType, mode: u32, owner: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.into());
    header.set_gid(owner.into());
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// `path` without slashes at its ends and with merged `/usr`.
fn merged(path: &str) -> String {
    let path = path.trim_matches('/');
    match path.split_once('/') {
        Some((first, _)) if MERGED.contains(&first) => format!("usr/{path}"),
        _ => path.to_owned(),
    }
}

/// Hashes what passes through.
struct Hashed<W> {
    digest: Sha256,
    inner: W,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fill: impl Fn(&mut Layer)) -> String {
        let mut layer = Layer::new();
        fill(&mut layer);
        layer.write(&tempfile::tempfile().unwrap()).unwrap()
    }

    #[test]
    fn same_content_in_any_order_has_the_same_digest() {
        let one = |layer: &mut Layer| layer.insert("/a/b", Content::Bytes(vec![1]), 0o644, 0);
        let two = |layer: &mut Layer| layer.insert("/c", Content::Symlink("a/b".to_owned()), 0o777, 0);
        let forward = digest(|layer| {
            one(layer);
            two(layer);
        });
        let backward = digest(|layer| {
            two(layer);
            one(layer);
        });
        assert_eq!(forward, backward);
        assert_ne!(forward, digest(one));
    }

    #[test]
    fn merged_folders_stay_links() {
        assert_eq!(merged("/lib/x86_64-linux-gnu/libc.so.6"), "usr/lib/x86_64-linux-gnu/libc.so.6");
        assert_eq!(merged("/libexec/x"), "libexec/x");
        let mut layer = Layer::new();
        layer.insert("/bin/sh", Content::Bytes(Vec::new()), 0o755, 0);
        assert!(matches!(layer.entries["bin"].content, Content::Symlink(_)));
        assert!(layer.entries.contains_key("usr/bin/sh"));
    }
}
