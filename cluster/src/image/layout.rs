//! An image on disk: an OCI layout (configuration, manifest, index, one layer) in one tar file.
//!
//! The file is complete or absent, and its name carries the manifest's digest.

use std::{fs, io::Write, path::Path, time::Duration};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tar::EntryType;

use super::{
    Image,
    layer::{self, Layer},
};
use crate::{
    binary::cache_dir,
    error::{Error, Result},
};

/// How long an image file that was replaced by a newer one of its name stays in the cache: another run may still load it.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes the image `name` with what a container of it starts from and its only layer.
pub(super) fn write(name: String, settings: &Map<String, Value>, layer: &Layer) -> Result<Image> {
    let images = cache_dir().join("images");
    fs::create_dir_all(&images).map_err(Error::file("create", &images))?;
    let temporary = || tempfile::NamedTempFile::new_in(&images).map_err(Error::file("create a file in", &images));

    let layer_file = temporary()?;
    let layer_digest = layer.write(layer_file.as_file())?;
    let size = layer_file.as_file().metadata().map_err(Error::file("look at", layer_file.path()))?.len();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": settings,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
    })
    .to_string();
    let config_digest = sha256(&config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
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
            "mediaType": MANIFEST,
            "digest": format!("sha256:{digest}"),
            "size": manifest.len(),
            "annotations": { "io.containerd.image.name": name },
        }],
    })
    .to_string();

    let stem = name.replace(['/', ':'], "_");
    let path = images.join(format!("{stem}_{}.tar", &digest[..12]));
    let failed = || Error::file("write", &path);
    let mut layout = temporary()?;
    let mut tar = tar::Builder::new(layout.as_file_mut());
    for (entry, text) in [
        ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", &index),
        (&format!("blobs/sha256/{digest}"), &manifest),
        (&format!("blobs/sha256/{config_digest}"), &config),
    ] {
        let mut header = layer::header(EntryType::Regular, 0o644, 0, text.len() as u64);
        tar.append_data(&mut header, entry, text.as_bytes()).map_err(failed())?;
    }
    let mut header = layer::header(EntryType::Regular, 0o644, 0, size);
    let content = fs::File::open(layer_file.path()).map_err(Error::file("open", layer_file.path()))?;
    tar.append_data(&mut header, format!("blobs/sha256/{layer_digest}"), content).map_err(failed())?;
    tar.into_inner().and_then(|file| file.flush()).map_err(failed())?;
    layout.persist(&path).map_err(|error| Error::file("move into place", &path)(error.error))?;
    forget_old(&images, &stem, &path);
    Ok(Image { name, digest: format!("sha256:{digest}"), path })
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Removes image files that a newer one of the same name has replaced long ago.
fn forget_old(images: &Path, stem: &str, newest: &Path) {
    for entry in fs::read_dir(images).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let ours = name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('_') && rest.len() == "_.tar".len() + 12);
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = modified.and_then(|at| at.elapsed().ok());
        if ours && path != newest && age.is_some_and(|age| age > KEEP) && fs::remove_file(&path).is_err() {
            tracing::debug!(path = %path.display(), "could not remove old image");
        }
    }
}
