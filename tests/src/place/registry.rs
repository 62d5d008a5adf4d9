//! Images in a registry that somebody else's nodes pull from: their names there, and pushing them with skopeo.

use std::io::ErrorKind;

use anyhow::{Context as _, bail};
use assent_cluster::Image;
use assent_core::canonical::Digest;
use serde_json::json;

use super::Source;
use crate::install::Progress;

/// Reads `host[:port]/path` as a registry.
pub(super) fn parse(text: &str) -> Result<String, String> {
    let fits = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || "./:_-[]".contains(character);
    if text.contains("://") {
        return Err("without a scheme: host[:port]/path (DEMO_REGISTRY_INSECURE=1 is plain HTTP)".into());
    }
    let path = text.split_once('/').map_or("", |(_, path)| path);
    if text.is_empty() || text.starts_with('/') || text.ends_with('/') || path.contains(':') || !text.chars().all(fits) {
        return Err("a registry is host[:port]/path, in lower case and without a tag".into());
    }
    Ok(text.to_owned())
}

/// One tag for these images that no others have.
pub(super) fn tag(images: &[Image]) -> anyhow::Result<String> {
    let digests: Vec<&str> = images.iter().map(Image::digest).collect();
    let digest = Digest::of(&json!(digests))?.to_string();
    Ok(format!("demo-{}", digest.rsplit(':').next().unwrap_or_default().chars().take(12).collect::<String>()))
}

/// Pushes them one after the other; a registry takes what it has already in no time.
pub(super) async fn push(images: &[Image], source: &Source, insecure: bool, progress: Progress<'_>) -> anyhow::Result<()> {
    for image in images {
        let arguments = arguments(image, source, insecure);
        progress(&format!("pushing {}", source.reference(image.name())));
        let output = tokio::process::Command::new("skopeo").args(&arguments).kill_on_drop(true).output().await;
        let output = match output {
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("{}", without_skopeo(images, source, insecure)),
            output => output.context("start skopeo")?,
        };
        if !output.status.success() {
            bail!("`skopeo {}` failed with {}: {}", arguments.join(" "), output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}

fn arguments(image: &Image, source: &Source, insecure: bool) -> Vec<String> {
    let (from, to) = (format!("oci-archive:{}", image.path().display()), format!("docker://{}", source.reference(image.name())));
    vec!["copy".into(), format!("--dest-tls-verify={}", !insecure), from, to]
}

/// What to do by hand.
fn without_skopeo(images: &[Image], source: &Source, insecure: bool) -> String {
    let commands = images.iter().map(|image| format!("  skopeo {}\n", arguments(image, source, insecure).join(" "))).collect::<String>();
    format!(
        "skopeo pushes the images and is not installed (Debian: apt-get install skopeo). Install it; or push them by hand, from \
         wherever skopeo is, and run this again with DEMO_PUSHED=1:\n{commands}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_and_a_path() {
        for good in ["localhost:5000", "registry.example.com/team/assent", "10.97.0.1:5000/assent", "[fd00::1]:5000/x"] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        for bad in ["", "http://x/y", "x/y/", "/y", "Host/y", "x/y:tag", "x y"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_skopeo_every_push_is_spelled_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let build = |name: &str| assent_cluster::image::Builder::new(name, "1").file(&file, "/file").build_blocking().unwrap();
        let images = [build("place-test-a"), build("place-test-b")];
        let source = Source { registry: "r.example/x".into(), tag: Some(tag(&images).unwrap()), kubelet_insecure: false };
        let text = without_skopeo(&images, &source, true);
        for image in &images {
            let name = image.name().trim_start_matches("localhost/").trim_end_matches(":1");
            let command = format!("skopeo copy --dest-tls-verify=false oci-archive:{} docker://r.example/x/{name}:demo-", image.path().display());
            assert!(text.contains(&command), "{command} is not in {text}");
        }
        assert!(text.contains("apt-get install skopeo") && text.contains("DEMO_PUSHED=1"), "{text}");
        assert_ne!(tag(&images).unwrap(), tag(&images[..1]).unwrap());
    }
}
