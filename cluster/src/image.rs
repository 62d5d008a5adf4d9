//! Container images without a registry: one layer made of files, binaries with their libraries, and Debian packages.
//!
//! An [`Image`] is an OCI layout in one tar file in the cache. The same content gives the same digest, so a node imports
//! it once. Nothing is executed while an image is made: package scripts do not run.

mod debian;
mod layer;
mod layout;
mod library;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    node::PAUSE,
    process,
};
use layer::{Content, Layer};

/// A container image on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    name: String,
    digest: String,
    path: PathBuf,
}

/// Collects the content and the settings of an image. Paths in the image are absolute.
#[derive(Debug)]
pub struct Builder {
    name: String,
    parts: Vec<Part>,
    without: Vec<String>,
    accounts: Vec<(String, u32)>,
    config: serde_json::Map<String, Value>,
    env: Vec<String>,
}

/// What a builder was asked to put in, in order; later parts win.
#[derive(Debug)]
enum Part {
    Bytes { path: String, mode: u32, bytes: Vec<u8> },
    File { source: PathBuf, path: String },
    Tree { source: PathBuf, path: String },
    Directory { path: String, mode: u32, owner: u32 },
    Symlink { path: String, target: String },
    Binary { source: PathBuf, path: String },
    Package(String),
}

// === impl Image ===

impl Image {
    /// What pods call it: `localhost/NAME:TAG`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Digest of its manifest, `sha256:…`.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The OCI layout, a tar file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Imports it into the containerd behind `socket`, unless the very same is there. Blocks.
    pub(crate) fn import(&self, socket: &Path) -> Result<()> {
        let address = socket.display().to_string();
        let ctr = ["--address", &address, "--namespace", "k8s.io", "images"];
        let listed = process::run("ctr", &[&ctr[..], &["list", &format!("name=={}", self.name)]].concat())?;
        if listed.contains(&self.digest) {
            return Ok(());
        }
        let path = self.path.display().to_string();
        process::run("ctr", &[&ctr[..], &["import", &path]].concat()).map(drop)
    }
}

// === impl Builder ===

impl Builder {
    /// An image to be called `localhost/NAME:TAG`, with an empty file system but for `/tmp` and an account table.
    #[must_use]
    pub fn new(name: &str, tag: &str) -> Self {
        Self {
            name: format!("localhost/{name}:{tag}"),
            parts: Vec::new(),
            without: ["/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/lintian", "/usr/share/bug"].map(str::to_owned).to_vec(),
            accounts: vec![("root".to_owned(), 0), ("nobody".to_owned(), 65534)],
            config: serde_json::Map::new(),
            env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        }
    }

    /// A file with these bytes.
    #[must_use]
    pub fn bytes(mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        self.parts.push(Part::Bytes { path: path.to_owned(), mode, bytes: bytes.into() });
        self
    }

    /// A copy of one file of this machine, nothing else.
    #[must_use]
    pub fn file(mut self, source: impl Into<PathBuf>, path: &str) -> Self {
        self.parts.push(Part::File { source: source.into(), path: path.to_owned() });
        self
    }

    /// A copy of a folder of this machine and everything below it; links stay links.
    #[must_use]
    pub fn tree(mut self, source: impl Into<PathBuf>, path: &str) -> Self {
        self.parts.push(Part::Tree { source: source.into(), path: path.to_owned() });
        self
    }

    /// An empty folder that belongs to user and group `owner`.
    #[must_use]
    pub fn directory(mut self, path: &str, mode: u32, owner: u32) -> Self {
        self.parts.push(Part::Directory { path: path.to_owned(), mode, owner });
        self
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(mut self, path: &str, target: &str) -> Self {
        self.parts.push(Part::Symlink { path: path.to_owned(), target: target.to_owned() });
        self
    }

    /// A program of this machine with every library it is linked to and their loader.
    #[must_use]
    pub fn binary(mut self, source: impl Into<PathBuf>, path: &str) -> Self {
        self.parts.push(Part::Binary { source: source.into(), path: path.to_owned() });
        self
    }

    /// The files of a Debian package (not of those it depends on) with every library its programs are linked to. It need
    /// not be installed.
    #[must_use]
    pub fn package(mut self, name: &str) -> Self {
        self.parts.push(Part::Package(name.to_owned()));
        self
    }

    /// Leaves out what packages have at paths that begin with `prefix`; manuals and translations are left out anyway.
    #[must_use]
    pub fn without(mut self, prefix: &str) -> Self {
        self.without.push(prefix.to_owned());
        self
    }

    /// A line in `/etc/passwd` and `/etc/group`: a user and a group of the same name and number.
    #[must_use]
    pub fn account(mut self, name: &str, id: u32) -> Self {
        self.accounts.push((name.to_owned(), id));
        self
    }

    /// What a container runs.
    #[must_use]
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.config.insert("Entrypoint".to_owned(), json!(words));
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// Who a container runs as: `UID` or `UID:GID`. Numbers, so that `runAsNonRoot` can be checked.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.config.insert("User".to_owned(), json!(user));
        self
    }

    /// The folder a container starts in.
    #[must_use]
    pub fn working_dir(mut self, path: &str) -> Self {
        self.config.insert("WorkingDir".to_owned(), json!(path));
        self
    }

    /// Makes the image, without blocking the runtime; see [`Self::build_blocking`].
    ///
    /// # Errors
    /// As [`Self::build_blocking`].
    pub async fn build(self) -> Result<Image> {
        crate::cluster::blocking(move || self.build_blocking()).await
    }

    /// Makes the image: one layer, configuration, manifest and index in one tar file in the cache.
    ///
    /// # Errors
    /// When a file is missing, a package cannot be had, a library is nowhere or the cache cannot be written.
    pub fn build_blocking(self) -> Result<Image> {
        let layer = self.layer()?;
        let mut settings = self.config;
        settings.insert("Env".to_owned(), json!(self.env));
        layout::write(self.name, &settings, &layer)
    }

    fn layer(&self) -> Result<Layer> {
        let mut layer = Layer::new();
        let table = |line: &dyn Fn(&str, u32) -> String| self.accounts.iter().map(|(name, id)| line(name, *id)).collect::<String>().into_bytes();
        let users = table(&|name, id| format!("{name}:x:{id}:{id}:{name}:/:/sbin/nologin\n"));
        layer.insert("/etc/passwd", Content::Bytes(users), 0o644, 0);
        layer.insert("/etc/group", Content::Bytes(table(&|name, id| format!("{name}:x:{id}:\n"))), 0o644, 0);
        layer.insert("/etc/nsswitch.conf", Content::Bytes(b"hosts: files dns\n".to_vec()), 0o644, 0);
        layer.insert("/tmp", Content::Directory, 0o1777, 0);
        for part in &self.parts {
            match part {
                Part::Bytes { path, mode, bytes } => layer.insert(path, Content::Bytes(bytes.clone()), *mode, 0),
                Part::File { source, path } => layer.copy(source, path)?,
                Part::Tree { source, path } => layer.copy_tree(source, path, &[])?,
                Part::Directory { path, mode, owner } => layer.insert(path, Content::Directory, *mode, *owner),
                Part::Symlink { path, target } => layer.insert(path, Content::Symlink(target.clone()), 0o777, 0),
                Part::Binary { source, path } => {
                    layer.copy(source, path)?;
                    let linked = library::linked(std::slice::from_ref(source), &[])?;
                    if !linked.missing.is_empty() {
                        let libraries = linked.missing.join(", ");
                        return Err(Error::Library { binary: source.clone(), libraries });
                    }
                    linked.found.iter().try_for_each(|library| layer.copy(library, &library::place(library)))?;
                }
                Part::Package(name) => debian::add(&mut layer, name, &self.without)?,
            }
        }
        Ok(layer)
    }
}

/// The image of the process that holds a pod's namespaces.
pub(crate) fn pause(program: &Path) -> Result<Image> {
    let (name, tag) = PAUSE.trim_start_matches("localhost/").split_once(':').unwrap_or((PAUSE, "1"));
    Builder::new(name, tag).file(program, "/pause").entrypoint(&["/pause"]).user("65534:65534").build_blocking()
}
