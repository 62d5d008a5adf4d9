//! Images: the same content is the same image, programs come with what they are linked to, and packages run unpacked.

use std::process::Command;

use anyhow::Context;
use assent_cluster::{Image, image::Builder};

/// Unpacks an image's only layer into a folder, with the machine's own tar.
fn unpack(image: &Image) -> anyhow::Result<tempfile::TempDir> {
    let (layout, root) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let tar = |file: &std::path::Path, into: &std::path::Path| -> anyhow::Result<()> {
        let status = Command::new("tar").arg("-xf").arg(file).arg("-C").arg(into).status()?;
        anyhow::ensure!(status.success(), "tar could not unpack {}", file.display());
        Ok(())
    };
    tar(image.path(), layout.path())?;
    let blob = |digest: &serde_json::Value| -> anyhow::Result<_> {
        let digest = digest.as_str().and_then(|digest| digest.strip_prefix("sha256:")).context("no digest")?;
        Ok(layout.path().join("blobs/sha256").join(digest))
    };
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(layout.path().join("index.json"))?)?;
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(blob(&index["manifests"][0]["digest"])?)?)?;
    anyhow::ensure!(index["manifests"][0]["digest"] == image.digest());
    tar(&blob(&manifest["layers"][0]["digest"])?, root.path())?;
    Ok(root)
}

fn small(text: &str) -> anyhow::Result<Image> {
    Ok(Builder::new("small", "1").bytes("/text", 0o644, text).entrypoint(&["/text"]).build_blocking()?)
}

#[test]
fn same_content_is_the_same_image() -> anyhow::Result<()> {
    anyhow::ensure!(small("one")? == small("one")?);
    anyhow::ensure!(small("one")?.digest() != small("two")?.digest());
    anyhow::ensure!(small("one")?.name() == "localhost/small:1");
    Ok(())
}

#[test]
fn linked_program_runs_in_nothing_but_its_image() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        anyhow::ensure!(std::env::var("CI").as_deref() != Ok("true"), "this test needs root");
        eprintln!("SKIPPED: linked_program_runs_in_nothing_but_its_image: chroot needs root");
        return Ok(());
    }
    let image = Builder::new("linked", "1").binary("/bin/ls", "/bin/ls").build_blocking()?;
    let root = unpack(&image)?;
    let output = Command::new("chroot").arg(root.path()).args(["/bin/ls", "/etc"]).output()?;
    let listed = String::from_utf8(output.stdout)?;
    anyhow::ensure!(listed == "group\nnsswitch.conf\npasswd\n", "{listed} {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn debian_packages_run_unpacked() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        anyhow::ensure!(std::env::var("CI").as_deref() != Ok("true"), "this test needs root");
        eprintln!("SKIPPED: debian_packages_run_unpacked: chroot needs root");
        return Ok(());
    }
    for (packages, program, says) in [
        (&["postgresql-15"][..], "/usr/lib/postgresql/15/bin/postgres", "postgres (PostgreSQL) 15"),
        (&["redis-server", "redis-tools"], "/usr/bin/redis-server", "Redis server v=7"),
        (&["nftables"], "/usr/sbin/nft", "nftables v1"),
    ] {
        let builder = packages.iter().fold(Builder::new("package", "1"), |builder, package| builder.package(package));
        let image = builder.without("/usr/lib/postgresql/15/lib/llvmjit").build_blocking()?;
        let root = unpack(&image)?;
        let output = Command::new("chroot").arg(root.path()).args([program, "--version"]).output()?;
        let said = String::from_utf8(output.stdout)?;
        anyhow::ensure!(said.starts_with(says), "{program}: {said} {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[test]
fn missing_file_is_named() -> anyhow::Result<()> {
    let refused = Builder::new("missing", "1").file("/no/such/file", "/file").build_blocking();
    let error = refused.err().context("an image of nothing was made")?;
    anyhow::ensure!(error.to_string().contains("/no/such/file"), "{error}");
    Ok(())
}
