//! Types of guardrails: by what a cluster describes, or what stands in files of OpenAPI v3. Problems are told by the place in the
//! file where the expression stands.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use assent_policies::schema::{MAX_DOCUMENT, Schemas};
use assent_policies::spec::PolicySpec;
use assent_policies::typing::{Severity, group_versions, problems};
use assent_runtime::openapi;
use serde_json::Value;

use super::Finding;
use super::read::Sources;
use crate::connect::ConnectArgs;

/// Most documents of one folder.
const MAX_FILES: usize = 1024;

/// Where the schemas of kinds come from; without one, types are not checked.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct TypesArgs {
    /// Check types by what the cluster describes (see --kubeconfig and --context).
    #[arg(long, conflicts_with = "openapi")]
    server: bool,
    /// Check types by OpenAPI v3 documents: a file, or a folder of JSON files, as `kubectl get --raw /openapi/v3/apis/apps/v1` gives them.
    #[arg(long, value_name = "PATH")]
    openapi: Option<PathBuf>,
}

/// What is wrong with types.
pub(super) async fn findings(args: &TypesArgs, connect: &ConnectArgs, sources: &Sources, policies: &[(String, PolicySpec)]) -> anyhow::Result<Vec<Finding>> {
    let mut schemas = Schemas::default();
    match &args.openapi {
        Some(path) => from_files(path, &mut schemas)?,
        None if args.server => from_server(connect, policies, &mut schemas).await?,
        None => return Ok(Vec::new()),
    }
    let mut found = Vec::new();
    for (name, spec) in policies {
        for problem in problems(spec, &schemas) {
            let place = sources.place(name).and_then(|(path, text)| {
                let expression = expression(spec, &problem.field)?;
                let (line, column) = locate(text, expression, (problem.line, problem.column))?;
                Some(format!("{}:{line}:{column}: ", path.display()))
            });
            let code = if problem.severity == Severity::Note { "note" } else { "type" };
            let text = format!("{}{problem}", place.unwrap_or_default());
            found.push(Finding { name: name.clone(), code: code.into(), text, fatal: problem.severity == Severity::Error });
        }
    }
    Ok(found)
}

async fn from_server(connect: &ConnectArgs, policies: &[(String, PolicySpec)], schemas: &mut Schemas) -> anyhow::Result<()> {
    let client = connect.client().await?;
    let index = openapi::index(&client).await.context("ask the API server for what it describes")?;
    let wanted: BTreeSet<String> = policies.iter().flat_map(|(_, spec)| group_versions(spec)).collect();
    for (group_version, address) in wanted.iter().filter_map(|wanted| index.get_key_value(wanted)) {
        schemas.read(group_version, &openapi::document(&client, address, MAX_DOCUMENT).await?)?;
    }
    Ok(())
}

fn from_files(path: &Path, schemas: &mut Schemas) -> anyhow::Result<()> {
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))? {
            let file = entry.with_context(|| format!("list {}", path.display()))?.path();
            if file.extension().is_some_and(|extension| extension == "json") {
                files.push(file);
            }
        }
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    ensure!(files.len() <= MAX_FILES, "{}: more than {MAX_FILES} files", path.display());
    for file in &files {
        let length = file.metadata().with_context(|| format!("read {}", file.display()))?.len();
        ensure!(usize::try_from(length).is_ok_and(|length| length <= MAX_DOCUMENT), "{}: more than {MAX_DOCUMENT} bytes", file.display());
        let text = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let document: Value = serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", file.display()))?;
        let described = described(&document);
        ensure!(!described.is_empty(), "{} describes no kind: no path of it begins with `/api/` or `/apis/`", file.display());
        for group_version in described {
            schemas.add(&group_version, document.clone()).with_context(|| format!("read {}", file.display()))?;
        }
    }
    Ok(())
}

/// The groups and versions of a document's paths.
fn described(document: &Value) -> BTreeSet<String> {
    let paths = document.get("paths").and_then(Value::as_object);
    let of = |path: &String| {
        let mut parts = path.strip_prefix('/')?.split('/');
        match (parts.next()?, parts.next()?, parts.next()) {
            ("api", version, _) => Some(version.to_owned()),
            ("apis", group, Some(version)) => Some(format!("{group}/{version}")),
            _ => None,
        }
    };
    paths.into_iter().flat_map(|paths| paths.keys()).filter_map(of).filter(|of| !of.ends_with('/')).collect()
}

/// The expression that a problem is about.
fn expression<'s>(spec: &'s PolicySpec, field: &str) -> Option<&'s str> {
    let (list, rest) = field.strip_prefix("spec.")?.split_once('[')?;
    let (index, part) = rest.split_once("].")?;
    let index: usize = index.parse().ok()?;
    match (list, part) {
        ("variables", _) => spec.variables.get(index).map(|one| one.expression.as_str()),
        ("matchConditions", _) => spec.match_conditions.get(index).map(|one| one.expression.as_str()),
        ("auditAnnotations", _) => spec.audit_annotations.get(index).map(|one| one.value_expression.as_str()),
        ("validations", "messageExpression") => spec.validations.get(index)?.message_expression.as_deref(),
        ("validations", _) => spec.validations.get(index).map(|one| one.expression.as_str()),
        _ => None,
    }
}

/// Line and column in a file of a place in an expression, which the file may have broken into other lines. `None` if it stands
/// there with escapes.
fn locate(text: &str, expression: &str, place: (usize, usize)) -> Option<(usize, usize)> {
    let before = letters_before(expression, place);
    let wanted: Vec<char> = expression.chars().filter(|letter| !letter.is_whitespace()).collect();
    let mut there: Vec<(char, usize, usize)> = Vec::new();
    for (line, content) in text.lines().enumerate() {
        there.extend(content.chars().enumerate().filter(|(_, letter)| !letter.is_whitespace()).map(|(column, letter)| (letter, line + 1, column + 1)));
    }
    let first = *wanted.first()?;
    let starts = (0..there.len()).filter(|start| there.get(*start).is_some_and(|(letter, ..)| *letter == first));
    let start = starts
        .into_iter()
        .find(|start| there.get(*start..).is_some_and(|rest| rest.len() >= wanted.len() && rest.iter().zip(&wanted).all(|((a, ..), b)| a == b)))?;
    let (_, line, column) = there.get(start + before.min(wanted.len().saturating_sub(1)))?;
    Some((*line, *column))
}

/// How many letters that are no blanks stand before a place.
fn letters_before(expression: &str, (line, column): (usize, usize)) -> usize {
    let visible = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).count();
    let above: usize = expression.lines().take(line.saturating_sub(1)).map(visible).sum();
    let within: String = expression.lines().nth(line.saturating_sub(1)).unwrap_or_default().chars().take(column.saturating_sub(1)).collect();
    above + visible(&within)
}

#[cfg(test)]
mod tests {
    use super::{described, locate};

    #[test]
    fn an_expression_is_found_where_the_file_has_broken_it() {
        let text = "validations:\n  - expression: >-\n      object.spec.replicas < 5 &&\n      object.spec.pausd\n";
        assert_eq!(locate(text, "object.spec.replicas < 5 && object.spec.pausd", (1, 40)), Some((4, 18)));
        assert_eq!(locate(text, "object.spec.replicas < 5 && object.spec.pausd", (1, 1)), Some((3, 7)));
        assert_eq!(locate(text, "object.other", (1, 1)), None);
    }

    #[test]
    fn a_document_says_by_its_paths_whose_it_is() {
        let document = serde_json::json!({"paths": {"/apis/apps/v1/": {}, "/apis/apps/v1/deployments": {}, "/api/v1/pods": {}, "/version/": {}}});
        assert_eq!(described(&document).into_iter().collect::<Vec<_>>(), ["apps/v1", "v1"]);
    }
}
