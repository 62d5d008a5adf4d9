//! Prints the whole cases of a folder of guardrails, one JSON object a line: what `kubectl assent policy test` judges, for
//! other evaluators of the same policies.

use std::error::Error;
use std::path::{Path, PathBuf};

use assent_policies::cases::{self, File, Folder};
use serde::de::DeserializeOwned;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: cases DIR")?);
    let given = folder.join("given.yaml");
    let shared: Folder = if given.exists() { read(&given)? } else { Folder::default() };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        let Some(guardrail) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".cases.yaml")) else { continue };
        let file: File = read(&path)?;
        for case in cases::expand(&shared, &file).map_err(|error| format!("{}: {error}", path.display()))? {
            let mut line = serde_json::to_value(&case)?;
            line["guardrail"] = guardrail.into();
            write(&line)?;
        }
    }
    Ok(())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error>> {
    Ok(serde_yaml_ng::from_str(&std::fs::read_to_string(path)?).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn write(line: &serde_json::Value) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}")
}
