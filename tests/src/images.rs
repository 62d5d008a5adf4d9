//! The images of the demo and the node tests: our binaries as cargo builds them, and two Debian servers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use assent_cluster::image::{Builder, Image};

/// Tag of our own images.
pub const TAG: &str = "dev";
/// Binaries that go into images.
const BINARIES: [&str; 9] = [
    "assent-identity",
    "assent-discovery",
    "assent-gate",
    "assent-injector",
    "assent-director",
    "assent-executor",
    "assent-scanner",
    "assent-specialists",
    "assent-shop",
];
/// Binaries that stand in every pod: built as they ship, by `cargo build-pod`, which strips them too.
const POD_BINARIES: [&str; 2] = ["assent-sidecar", "assent-redirect"];

/// Builds our binaries with cargo and all images from them.
///
/// # Errors
/// If cargo, a package download or the packing fails.
pub fn build() -> anyhow::Result<Vec<Image>> {
    let folder = binaries(&BINARIES)?;
    let mut images = Vec::new();
    for name in BINARIES.iter().filter(|name| **name != "assent-shop") {
        images.push(Builder::new(name, TAG).binary(folder.join(name), &format!("/{name}")).build_blocking()?);
    }
    images.push(sidecar(TAG)?);
    images.push(Builder::new("assent-shop", "v1").binary(folder.join("assent-shop"), "/assent-shop").build_blocking()?);
    images.push(
        Builder::new("assent-postgres", "15")
            .package("postgresql-15")
            .package("dash")
            // Clients set a time zone.
            .package("tzdata")
            .without("/usr/lib/postgresql/15/lib/bitcode")
            .without("/usr/lib/postgresql/15/lib/llvmjit")
            .without("/usr/share/doc")
            .without("/usr/share/locale")
            .without("/usr/share/postgresql/15/man")
            // initdb looks its own user up.
            .account("postgres", 1002)
            .directory("/data", 0o777, 0)
            .directory("/tmp", 0o1777, 0)
            .build_blocking()?,
    );
    images.push(
        Builder::new("assent-redis", "7")
            .package("redis-server")
            .package("redis-tools")
            .without("/usr/share/doc")
            .directory("/tmp", 0o1777, 0)
            .build_blocking()?,
    );
    Ok(images)
}

/// Builds what injection needs with cargo, and the images of it: identity, discovery, injector, two versions of the sidecar,
/// and an application of a few shell commands.
///
/// # Errors
/// As [`build`].
pub fn mesh() -> anyhow::Result<Mesh> {
    let parts = ["assent-identity", "assent-discovery", "assent-injector"];
    let folder = binaries(&parts)?;
    let part = |name: &&str| Builder::new(name, TAG).binary(folder.join(name), &format!("/{name}")).build_blocking();
    Ok(Mesh {
        parts: parts.iter().map(part).collect::<Result<_, _>>()?,
        sidecars: [sidecar("one")?, sidecar("two")?],
        application: Builder::new("mesh-app", "1").package("busybox").symlink("/bin/sh", "busybox").user("65534:65534").build_blocking()?,
    })
}

/// Images of the mesh alone.
#[derive(Debug)]
pub struct Mesh {
    /// Of the control plane.
    pub parts: Vec<Image>,
    /// The same program under two digests.
    pub sidecars: [Image; 2],
    /// busybox.
    pub application: Image,
}

fn sidecar(tag: &str) -> anyhow::Result<Image> {
    let empty = Builder::new("assent-sidecar", tag).env("ASSENT_IMAGE_TAG", tag);
    let image = POD_BINARIES.iter().fold(empty, |image, name| image.binary(pod_program(name), &format!("/{name}")));
    Ok(image.package("nftables").build_blocking()?)
}

/// The folder with freshly built and stripped binaries; those of every pod are built too, where cargo puts them.
fn binaries(names: &[&str]) -> anyhow::Result<PathBuf> {
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        run(cargo.current_dir(root()).args(arguments))
    };
    // The whole workspace with its tests: any selection would unify features otherwise and compile every dependency again.
    cargo(&["build", "--quiet", "--workspace", "--all-targets"])?;
    cargo(&["build-pod", "--quiet"])?;
    // Beside what it is made of: another checkout has binaries of the same names.
    let folder = target().join("stripped");
    std::fs::create_dir_all(&folder)?;
    for name in names {
        let (from, to) = (program(name), stripped(name));
        let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
        let fresh = matches!((modified(&from), modified(&to)), (Ok(source), Ok(copy)) if copy > source);
        if !fresh {
            // A debug binary is mostly symbols; an image carries none.
            run(Command::new("strip").arg("--strip-all").arg("-o").arg(&to).arg(&from))?;
        }
    }
    Ok(folder)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// The checkout.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// One of the programs that stand in every pod, as `cargo build-pod` built it.
#[must_use]
pub fn pod_program(name: &str) -> PathBuf {
    target().join(format!("{}-unknown-linux-gnu", std::env::consts::ARCH)).join("pod").join(name)
}

/// One of our programs as it goes into images, after they were built.
#[must_use]
pub fn stripped(name: &str) -> PathBuf {
    target().join("stripped").join(name)
}

/// One of our programs as cargo built it.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

fn target() -> PathBuf {
    // This very program lies below the target folder that cargo uses.
    let own = std::env::current_exe().unwrap_or_default();
    let found = own.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "debug" || name == "release")).and_then(Path::parent);
    found.map_or_else(|| root().join("target"), Path::to_path_buf)
}
