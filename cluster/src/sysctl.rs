//! Kernel settings that a kubelet changes for the whole machine, put back when the last node is gone.
//!
//! They are remembered once, before the first node, beside the clusters' directories; settings of a network namespace go
//! away with it and are not handled here.

use std::{collections::BTreeMap, fs, path::Path};

use crate::error::{Error, Result};

/// What a kubelet sets at its start, below `/proc/sys`.
const CHANGED: [&str; 6] =
    ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"];

const FILE: &str = ".sysctl.json";

/// Remembers the settings, unless another node's start did.
pub(crate) fn remember(root: &Path) -> Result<()> {
    let path = root.join(FILE);
    if path.exists() {
        return Ok(());
    }
    let values: BTreeMap<&str, String> =
        CHANGED.into_iter().filter_map(|name| Some((name, fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?))).collect();
    let text = serde_json::to_string(&values).map_err(|source| Error::State { path: path.clone(), source })?;
    fs::write(&path, text).map_err(Error::file("write", path))
}

/// Puts the settings back.
pub(crate) fn restore(root: &Path) -> Result<()> {
    let path = root.join(FILE);
    let Ok(text) = fs::read_to_string(&path) else {
        return Ok(());
    };
    let values: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|source| Error::State { path: path.clone(), source })?;
    for (name, value) in values.iter().filter(|(name, _)| CHANGED.contains(&name.as_str())) {
        let setting = Path::new("/proc/sys").join(name);
        fs::write(&setting, value.trim()).map_err(Error::file("write", setting))?;
    }
    fs::remove_file(&path).map_err(Error::file("remove", path))
}
