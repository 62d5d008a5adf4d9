//! Rules of the house, as tests: module docs, file sizes, dependency directions, generated files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs" || e == "go") {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 100, "the walk found only {} files", found.len());
    found
}

#[test]
fn every_source_file_says_what_it_is() {
    let silent: Vec<_> = sources().into_iter().filter(|(_, text)| !text.starts_with("//")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "no module documentation in {silent:?}");
}

#[test]
fn no_source_file_is_longer_than_800_lines() {
    let long: Vec<_> = sources().into_iter().filter(|(_, text)| text.lines().count() > 800).map(|(path, _)| path).collect();
    assert!(long.is_empty(), "split by idea: {long:?}");
}

/// Which crates of ours each crate may depend on. Binaries never depend on each other; `core` depends on nothing of ours.
const EDGES: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("api", &["core"]),
    ("runtime", &[]),
    ("policies", &["core"]),
    ("live", &["api", "core", "policies"]),
    ("identity", &["api", "runtime"]),
    ("webhook", &["api", "core", "live", "policies", "runtime"]),
    ("sidecar", &["api", "runtime"]),
    ("specialists", &["api", "core", "runtime"]),
    ("director", &["api", "core", "runtime"]),
    ("executor", &["api", "core", "live", "policies", "runtime"]),
    ("scanner", &["api", "core", "policies", "runtime"]),
    ("cli", &["api", "core", "policies", "runtime"]),
    ("shop", &[]),
    ("cluster", &[]),
];

#[test]
fn dependencies_point_only_downwards() {
    for (krate, allowed) in EDGES {
        let manifest = std::fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default().split("\n[").next().unwrap();
        let ours: BTreeSet<&str> =
            dependencies.lines().filter_map(|line| line.strip_prefix("assent-")).map(|line| line.split(['.', ' ', '=']).next().unwrap()).collect();
        let extra: Vec<_> = ours.iter().filter(|name| !allowed.contains(name)).collect();
        assert!(extra.is_empty(), "`{krate}` depends on {extra:?}; allowed: {allowed:?}");
    }
}

#[test]
fn core_stays_pure() {
    let manifest = std::fs::read_to_string(root().join("core/Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names: BTreeSet<&str> = dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty()).collect();
    let allowed: BTreeSet<&str> = ["serde", "serde_json", "sha2", "hex", "thiserror", "jiff"].into();
    assert!(names.is_subset(&allowed), "core may not depend on {:?}", names.difference(&allowed).collect::<Vec<_>>());
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with(root().join("core/src"))) {
        for banned in ["std::fs", "std::net", "std::env", "SystemTime::now", "Instant::now", "std::thread", "async fn"] {
            assert!(!text.contains(banned), "{} uses `{banned}`", path.display());
        }
    }
}

/// The threat model is a table of tests: one that was renamed or never written would be a claim without proof.
#[test]
fn every_test_that_the_threat_table_names_exists() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows: Vec<&str> =
        architecture.lines().filter(|line| line.strip_prefix("| ").is_some_and(|row| row.starts_with(|c: char| c.is_ascii_digit()))).collect();
    assert_eq!(rows.len(), 36, "the table has a row for each of the 36 threats");
    let sources: String = sources().into_iter().map(|(_, text)| text).collect();
    let tests = rows.iter().flat_map(|row| row.rsplit('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2));
    let missing: Vec<&str> = tests.filter(|test| !sources.contains(&format!("fn {test}("))).collect();
    assert!(missing.is_empty(), "no such test: {missing:?}");
}

/// A panel of a metric that nobody exports would be empty for ever.
#[test]
fn every_metric_of_the_dashboard_is_exported() {
    let dashboard = std::fs::read_to_string(root().join("manifests/optional/grafana/assent.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions: Vec<&str> = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()).map(|target| target["expr"].as_str().unwrap()).collect();
    let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let asked: BTreeSet<&str> = expressions.iter().flat_map(|text| text.split(word)).filter(|name| name.starts_with("assent_")).collect();
    assert!(asked.len() > 5, "{asked:?}");
    let sources = sources();
    let exported = |name: &str| {
        let plain = ["_total", "_bucket", "_sum", "_count"].into_iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        sources.iter().any(|(_, text)| {
            let prefixes = text.split("sub_registry_with_prefix(\"").skip(1).filter_map(|rest| rest.split('"').next());
            let own = prefixes.filter_map(|prefix| plain.strip_prefix(prefix)?.strip_prefix('_'));
            own.chain([plain]).any(|name| text.contains(&format!("register(\"{name}\"")))
        })
    };
    let missing: Vec<&&str> = asked.iter().filter(|name| !exported(name)).collect();
    assert!(missing.is_empty(), "nobody exports {missing:?}");
}
