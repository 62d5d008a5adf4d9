//! The shared libraries that programs are linked to, as the machine's own loader finds them.
//!
//! Libraries a program opens later by name (`dlopen`) are not seen here.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::error::{Error, Result};

/// What the loader would do for some programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Linked {
    /// The libraries and the loader, at the paths where they were found.
    pub(super) found: Vec<PathBuf>,
    /// Names of libraries that were not.
    pub(super) missing: Vec<String>,
}

/// Asks the loader about `programs`, which may be libraries themselves; it looks into `folders` before its own.
pub(super) fn linked(programs: &[PathBuf], folders: &[PathBuf]) -> Result<Linked> {
    if programs.is_empty() {
        return Ok(Linked::default());
    }
    let search = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":");
    let mut command = Command::new("ldd");
    command.args(programs).env_remove("LD_LIBRARY_PATH").env("LC_ALL", "C").stdin(Stdio::null());
    if !search.is_empty() {
        command.env("LD_LIBRARY_PATH", search);
    }
    // Its exit status says only that one of them is static or not a program, which is fine here.
    let output = command.output().map_err(|source| Error::Start { program: "ldd".to_owned(), source })?;
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Reads lines such as `libc.so.6 => /lib/…/libc.so.6 (0x…)`, `libx.so => not found` and `/lib64/ld-linux….so.2 (0x…)`.
fn parse(text: &str) -> Linked {
    let mut linked = Linked::default();
    for line in text.lines().map(str::trim) {
        if let Some((name, "not found")) = line.split_once(" => ") {
            linked.missing.push(name.to_owned());
            continue;
        }
        let found = line.split_once(" => ").map_or(line, |(_, found)| found);
        // A program's own heading ends in a colon and has no load address.
        if let Some((path, _)) = found.split_once(" (0x")
            && path.starts_with('/')
        {
            linked.found.push(PathBuf::from(path));
        }
    }
    linked.missing.sort();
    linked.missing.dedup();
    linked.found.sort();
    linked.found.dedup();
    linked
}

/// Where a library of this machine goes in an image: its own path if the loader looks there unasked, else `/usr/lib`.
pub(super) fn place(library: &Path) -> String {
    let folder = library.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
    let multiarch = |root: &str| folder.strip_prefix(root).is_some_and(|rest| rest.ends_with("-linux-gnu") && !rest.contains('/'));
    let standard = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"].contains(&folder.as_str());
    if standard || multiarch("/lib/") || multiarch("/usr/lib/") {
        return library.display().to_string();
    }
    format!("/usr/lib/{}", library.file_name().unwrap_or_default().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_loader_says() {
        let text = "/usr/bin/a:\n\tlinux-vdso.so.1 (0x00007f)\n\tlibpq.so.5 => /lib/x86_64-linux-gnu/libpq.so.5 (0x00007f)\n\
                    \tlibgone.so.1 => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n/usr/bin/b:\n\tstatically linked\n\
                    \tlibgone.so.1 => not found\n";
        let linked = parse(text);
        assert_eq!(linked.missing, ["libgone.so.1"]);
        let paths = ["/lib/x86_64-linux-gnu/libpq.so.5", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(linked.found, paths);
    }

    #[test]
    fn libraries_from_odd_places_go_where_the_loader_looks() {
        let place = |path: &str| place(Path::new(path));
        assert_eq!(place("/lib/x86_64-linux-gnu/libc.so.6"), "/lib/x86_64-linux-gnu/libc.so.6");
        assert_eq!(place("/opt/x/libx.so.1"), "/usr/lib/libx.so.1");
        assert_eq!(place("/usr/lib/x86_64-linux-gnu/systemd/libs.so"), "/usr/lib/libs.so");
    }
}
