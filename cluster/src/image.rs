//! Container images without a registry: one layer made of files, binaries with their libraries, and Debian packages.
//!
//! An [`Image`] is an OCI layout in one tar file in the cache. The same content gives the same digest, so a node imports
//! it once. Nothing is executed while an image is made: package scripts do not run.

mod debian;
mod layer;
mod library;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    binary::cache_dir,
    error::{Error, Result},
    node::PAUSE,
    process,
};
use layer::{Content, Layer};

/// How long an image file that was replaced by a newer one of its name stays in the cache: another run may still load it.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

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
            without: ["/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/lintian", "/usr/share/bug"]
                .map(str::to_owned)
                .to_vec(),
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
        let images = cache_dir().join("images");
        fs::create_dir_all(&images).map_err(Error::file("create", &images))?;
        let temporary = || tempfile::NamedTempFile::new_in(&images).map_err(Error::file("create a file in", &images));

        let layer_file = temporary()?;
        let layer_digest = self.layer()?.write(layer_file.as_file())?;
        let size = layer_file.as_file().metadata().map_err(Error::file("look at", layer_file.path()))?.len();

        let mut config = self.config;
        config.insert("Env".to_owned(), json!(self.env));
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
        })
        .to_string();
        let (config_digest, manifest_type) = (sha256(&config), "application/vnd.oci.image.manifest.v1+json");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": format!("sha256:{config_digest}"),
                "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": format!("sha256:{layer_digest}"),
                "size": size,
            }],
        })
        .to_string();
        let digest = sha256(&manifest);
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": manifest_type,
                "digest": format!("sha256:{digest}"),
                "size": manifest.len(),
                "annotations": { "io.containerd.image.name": self.name },
            }],
        })
        .to_string();

        let stem = self.name.replace(['/', ':'], "_");
        let path = images.join(format!("{stem}_{}.tar", &digest[..12]));
        let mut layout = temporary()?;
        {
            let mut tar = tar::Builder::new(layout.as_file_mut());
            let failed = || Error::file("write", &path);
            for (name, text) in [
                ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
                ("index.json", &index),
                (&format!("blobs/sha256/{digest}"), &manifest),
                (&format!("blobs/sha256/{config_digest}"), &config),
            ] {
                let mut header = layer::header(tar::EntryType::Regular, 0o644, 0, text.len() as u64);
                tar.append_data(&mut header, name, text.as_bytes()).map_err(failed())?;
            }
            let mut header = layer::header(tar::EntryType::Regular, 0o644, 0, size);
            let content = fs::File::open(layer_file.path()).map_err(Error::file("open", layer_file.path()))?;
            tar.append_data(&mut header, format!("blobs/sha256/{layer_digest}"), content).map_err(failed())?;
            tar.into_inner().and_then(|file| file.flush()).map_err(failed())?;
        }
        layout.persist(&path).map_err(|error| Error::file("move into place", &path)(error.error))?;
        forget_old(&images, &stem, &path);
        Ok(Image { name: self.name, digest: format!("sha256:{digest}"), path })
    }

    fn layer(&self) -> Result<Layer> {
        let mut layer = Layer::new();
        let table = |line: &dyn Fn(&str, u32) -> String| {
            self.accounts.iter().map(|(name, id)| line(name, *id)).collect::<String>().into_bytes()
        };
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
                    let linked = library::linked(&[source.clone()], &[])?;
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

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Removes image files that a newer one of the same name has replaced long ago.
fn forget_old(images: &Path, stem: &str, newest: &Path) {
    for entry in fs::read_dir(images).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let ours = name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('_') && rest.len() == "_.tar".len() + 12);
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if ours && path != newest && age.is_some_and(|age| age > KEEP) && fs::remove_file(&path).is_err() {
            tracing::debug!(path = %path.display(), "could not remove old image");
        }
    }
}
