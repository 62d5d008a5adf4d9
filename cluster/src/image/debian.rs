//! Debian packages as image content: downloaded by name into the cache, unpacked, never installed.
//!
//! Their programs' libraries come from the machine where it has them, otherwise from the packages they depend on.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    layer::Layer,
    library::{self, Linked},
};
use crate::{
    binary::cache_dir,
    error::{Error, Result},
    process,
};

/// How many packages are fetched for one missing library before it is given up.
const TRIES: usize = 4;

/// Adds the files of package `name`, but for paths that begin with one of `without`, and its programs' libraries.
pub(super) fn add(layer: &mut Layer, name: &str, without: &[String]) -> Result<()> {
    let root = unpacked(name)?;
    let mut programs = Vec::new();
    programs_below(&root, &root, without, &mut programs)?;
    let mut roots = vec![root.clone()];
    let linked = resolve(name, &programs, &mut roots)?;
    for library in &linked.found {
        match roots.iter().find_map(|root| library.strip_prefix(root).ok().map(|inner| (root, inner))) {
            // The package's own libraries come with it below.
            Some((own, _)) if *own == root => {}
            Some((_, inner)) => layer.copy(library, &format!("/{}", inner.display()))?,
            None => layer.copy(library, &library::place(library))?,
        }
    }
    layer.copy_tree(&root, "/", without)
}

/// Every library of `programs`, fetching packages that `name` depends on for those the machine lacks.
fn resolve(name: &str, programs: &[PathBuf], roots: &mut Vec<PathBuf>) -> Result<Linked> {
    let mut linked = library::linked(programs, &library_folders(roots))?;
    let mut candidates: Option<Vec<String>> = None;
    let mut tries = 0;
    while let Some(missing) = linked.missing.first() {
        let known = match &mut candidates {
            Some(known) => known,
            none => none.insert(library_packages(name)?),
        };
        // Debian names library packages after the library; the longest common beginning is nearly always it.
        let common = |package: &str| package.bytes().zip(missing.bytes()).take_while(|(a, b)| a == b).count();
        let best = known.iter().enumerate().max_by_key(|(_, package)| common(package)).map(|(at, _)| at);
        let Some(best) = best.filter(|_| tries < TRIES) else {
            let binary = programs.first().cloned().unwrap_or_default();
            return Err(Error::Library { binary, libraries: linked.missing.join(", ") });
        };
        roots.push(unpacked(&known.swap_remove(best))?);
        let next = library::linked(programs, &library_folders(roots))?;
        tries = if next.missing.len() < linked.missing.len() { 0 } else { tries + 1 };
        linked = next;
    }
    Ok(linked)
}

/// The folder with the unpacked package, fetched first if the cache lacks it.
fn unpacked(name: &str) -> Result<PathBuf> {
    let packages = cache_dir().join("packages");
    fs::create_dir_all(&packages).map_err(Error::file("create", &packages))?;
    let target = packages.join(name);
    if target.is_dir() {
        return Ok(target);
    }
    let fetched = tempfile::tempdir_in(&packages).map_err(Error::file("create a folder in", &packages))?;
    let here = fetched.path().display().to_string();
    // apt fetches into the current folder only, and its own user may not write there.
    let script = "cd \"$1\" && apt-get download --quiet --option APT::Sandbox::User=root \"$2\" && dpkg -x ./*.deb root";
    process::run("sh", &["-c", script, "fetch", &here, name])?;
    match fs::rename(fetched.path().join("root"), &target) {
        // Another run was faster: its result is as good.
        Err(_) if target.is_dir() => Ok(target),
        other => other.map(|()| target.clone()).map_err(Error::file("move into place", &target)),
    }
}

/// The library packages that `name` needs, directly or not, sorted.
fn library_packages(name: &str) -> Result<Vec<String>> {
    let arguments = ["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances", name];
    let text = process::run("apt-cache", &arguments)?;
    let mut names: Vec<String> = text.lines().filter(|line| line.starts_with("lib")).map(|line| line.split(':').next().unwrap_or(line).to_owned()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Folders below `roots` that hold libraries, in the places where the loader would look.
fn library_folders(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for base in roots.iter().flat_map(|root| [root.join("lib"), root.join("usr/lib")]) {
        for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with("-linux-gnu") {
                folders.push(entry.path());
            }
        }
        folders.push(base);
    }
    folders
}

/// Collects the ELF files below `folder` that go into the image.
fn programs_below(root: &Path, folder: &Path, without: &[String], programs: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::file("list", folder))? {
        let path = entry.map_err(Error::file("list", folder))?.path();
        let inner = format!("/{}", path.strip_prefix(root).unwrap_or(&path).display());
        if without.iter().any(|prefix| inner.starts_with(prefix)) {
            continue;
        }
        let metadata = fs::symlink_metadata(&path).map_err(Error::file("look at", &path))?;
        if metadata.is_dir() {
            programs_below(root, &path, without, programs)?;
        } else if metadata.is_file() && is_elf(&path)? {
            programs.push(path);
        }
    }
    Ok(())
}

fn is_elf(path: &Path) -> Result<bool> {
    let mut file = fs::File::open(path).map_err(Error::file("open", path))?;
    let mut magic = [0; 4];
    Ok(file.read_exact(&mut magic).is_ok() && magic == *b"\x7fELF")
}
