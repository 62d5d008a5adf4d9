//! Static types of a policy's expressions: what is wrong with them, whatever the object, by the schemas of an API server.
//!
//! Evaluation stays untyped; this is a check only. Each expression is looked at three times:
//!
//! | view | what `object` and `params` are | what it decides |
//! |---|---|---|
//! | untyped | anything | what no API server would store |
//! | evaluation | JSON of the schema's shape | what cannot be right when it is evaluated |
//! | server | what the API server's type checker takes them for | what stands in `status.typeChecking` of a native policy |
//!
//! What both the evaluation and the server object to is an error. The server's checker sees less than its evaluator: it knows no
//! quantities, takes two lists of containers for different things, ends at every recursion; what it alone objects to is told and
//! is no error. It looks at validations and their messages only; elsewhere, a field that some of the kinds have and others lack is
//! how a policy tells them apart, so there it is an error only if no kind has it, and not in a branch of `?:`.

mod kinds;
mod pass;

use std::fmt;
use std::sync::Arc;

pub use kinds::group_versions;
use kinds::{Kinds, kinds, params_kind};
use pass::{Judged, Part, PartKind, parts, pass};

use crate::cel::{Environment, Issue, Type};
use crate::policy::language::{Declared, Language, Wanted, listed};
use crate::policy::spec::PolicySpec;
use crate::schema::{Catalogue, GroupVersionKind, PARAMS, Root, Schemas, View, shown};

/// Most expressions times kinds that are checked: some hundred milliseconds.
const MAX_CHECKS: usize = 2048;
/// Most problems of one policy.
const MAX_PROBLEMS: usize = 256;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot be right.
    Error,
    /// It could not be checked, or is wrong for some of the kinds that the policy meets.
    Warning,
    /// To know: the API server's own checker says so, or it is so for some of the kinds.
    Note,
}

/// Something about the types of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeProblem {
    /// How bad it is.
    pub severity: Severity,
    /// The field of the policy, as the API server names it: `spec.validations[0].expression`; `spec` for the whole.
    pub field: String,
    /// Line within the expression, from 1.
    pub line: usize,
    /// Character within the line, from 1.
    pub column: usize,
    /// For which kind; `None` if for any.
    pub kind: Option<GroupVersionKind>,
    /// In words.
    pub message: String,
    /// What was perhaps meant.
    pub suggestion: Option<String>,
}

/// What the API server would list in `status.typeChecking.expressionWarnings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionWarning {
    /// The field of the policy.
    pub field_ref: String,
    /// What is wrong, by kind, as cel-go prints it.
    pub warning: String,
}

/// Everything about the types of a policy, errors first.
#[must_use]
pub fn problems(spec: &PolicySpec, schemas: &Schemas) -> Vec<TypeProblem> {
    let mut found = Vec::new();
    let parts = match parts(spec) {
        Ok(parts) => parts,
        Err(reason) => return vec![TypeProblem { severity: Severity::Error, ..unchecked(reason) }],
    };
    let Kinds { mut known, unknown, left, whole } = kinds(spec, schemas);
    found.extend(unknown.into_iter().map(|resource| unchecked(format!("the API server describes no `{resource}`; it is checked without types"))));
    let most = (MAX_CHECKS / parts.len().max(1)).max(1);
    if left || known.len() > most {
        known.truncate(most);
        found.push(unchecked(format!("only the first {} kinds are checked", known.len())));
    }
    let params = params_kind(spec);
    let params_root = params.as_ref().and_then(|kind| schemas.root(kind));
    if let (Some(kind), None) = (&params, &params_root) {
        found.push(unchecked(format!("the API server describes no `{kind}`; params are checked without types")));
    }
    let mut looks = Looks::new(&parts, &known, params_root.as_ref().zip(params.as_ref()), params.is_some());
    looks.whole = whole && known.len() <= most;
    for (index, part) in parts.iter().enumerate() {
        looks.of_part(index, part, &mut found);
    }
    found.sort_by_key(|problem| problem.severity);
    found.truncate(MAX_PROBLEMS);
    found
}

/// What the API server lists when it checks the types of a native policy, in its own words.
#[must_use]
pub fn server_warnings(spec: &PolicySpec, schemas: &Schemas) -> Vec<ExpressionWarning> {
    let Ok(parts) = parts(spec) else { return Vec::new() };
    let params = params_kind(spec);
    let params = params.as_ref().and_then(|kind| Some((schemas.root(kind)?, kind)));
    let known = kinds(spec, schemas).known;
    let looks: Vec<(GroupVersionKind, Vec<Judged>)> = known
        .into_iter()
        .map(|(kind, root)| {
            let judged =
                pass(&mut environment(View::Server, &kind, &root, params.as_ref().map(|(root, kind)| (root, *kind)), params.is_some()), &parts, View::Server);
            (kind, judged)
        })
        .collect();
    let mut warnings: Vec<(usize, u8, ExpressionWarning)> = Vec::new();
    for (position, part) in parts.iter().enumerate() {
        let Some((index, rank)) = part.listed() else { continue };
        let texts: Vec<String> = looks
            .iter()
            .filter_map(|(kind, judged)| {
                let issues = &judged.get(position)?.issues;
                (!issues.is_empty()).then(|| format!("{kind}: {}\n", listed(part.source, issues).replace(PARAMS, "")))
            })
            .collect();
        if !texts.is_empty() {
            warnings.push((index, rank, ExpressionWarning { field_ref: part.field.clone(), warning: texts.join("\n") }));
        }
    }
    warnings.sort_by_key(|(index, rank, _)| (*index, *rank));
    warnings.into_iter().map(|(_, _, warning)| warning).collect()
}

fn unchecked(message: String) -> TypeProblem {
    TypeProblem { severity: Severity::Warning, field: "spec".into(), line: 1, column: 1, kind: None, message, suggestion: None }
}

fn untyped(has_params: bool) -> Environment {
    Language::default().environment(&Declared { params: has_params, authorizer: true, variables: Arc::default() })
}

fn environment(view: View, kind: &GroupVersionKind, root: &Root, params: Option<(&Root, &GroupVersionKind)>, has_params: bool) -> Environment {
    let catalogue = Catalogue::new(view);
    let object = catalogue.resource(&kind.kind, root);
    let mut variables = vec![("object", object.clone()), ("oldObject", object)];
    // No server describes what is computed.
    let params = params.filter(|(_, of)| view == View::Evaluation || of.api_version() != crate::facts::API_VERSION);
    if let Some((root, of)) = params {
        // The server makes every type anew: `object` and `params` of one kind are of two.
        variables.push(("params", catalogue.resource(&format!("{}{PARAMS}", of.kind), root)));
    }
    let mut environment = untyped(has_params).with_variables(variables).with_object_types(Arc::new(catalogue), view == View::Evaluation);
    if view == View::Server {
        environment.forget("authorizer.requestResource");
    }
    environment
}

/// All expressions in all views.
struct Looks {
    untyped: Vec<Judged>,
    by_kind: Vec<(GroupVersionKind, Vec<Judged>, Vec<Judged>)>,
    /// Whether the policy meets no other kind.
    whole: bool,
}

// === impl Looks ===

impl Looks {
    fn new(parts: &[Part<'_>], known: &[(GroupVersionKind, Root)], params: Option<(&Root, &GroupVersionKind)>, has_params: bool) -> Self {
        let by_kind = known.iter().map(|(kind, root)| {
            let look = |view| pass(&mut environment(view, kind, root, params, has_params && (params.is_some() || view == View::Evaluation)), parts, view);
            (kind.clone(), look(View::Evaluation), look(View::Server))
        });
        let by_kind: Vec<_> = by_kind.collect();
        let mut without_object = untyped(has_params);
        Self { untyped: pass(&mut without_object, parts, View::Evaluation), by_kind, whole: false }
    }

    fn of_part(&self, index: usize, part: &Part<'_>, found: &mut Vec<TypeProblem>) {
        let problem = |severity, kind: Option<&GroupVersionKind>, issue: &Issue| TypeProblem {
            severity,
            field: part.field.clone(),
            line: issue.line,
            column: issue.column,
            kind: kind.cloned(),
            message: words(issue),
            suggestion: issue.suggestion.clone(),
        };
        let Some(untyped) = self.untyped.get(index) else { return };
        found.extend(untyped.issues.iter().map(|issue| problem(Severity::Error, None, issue)));
        let typed = || self.by_kind.iter().filter_map(|(kind, evaluation, server)| Some((kind, evaluation.get(index)?, server.get(index)?)));
        if untyped.issues.is_empty() && !part.fits(&untyped.output) {
            let known = typed().map(|(_, evaluation, _)| &evaluation.output).find(|kind| !kind.is_dyn());
            found.push(TypeProblem {
                severity: Severity::Error,
                field: part.field.clone(),
                line: 1,
                column: 1,
                kind: None,
                message: format!("must evaluate to {} but got {}", part.wanted(), known.unwrap_or(&untyped.output)),
                suggestion: part.made_to_fit(&untyped.output, known),
            });
        }
        for (kind, evaluation, server) in typed() {
            let new = |issue: &&Issue| !untyped.issues.iter().any(|known| same(known, issue));
            let listed = part.listed().is_some() && !server.issues.is_empty();
            for issue in evaluation.issues.iter().filter(new) {
                let of_every_kind = || typed().all(|(_, other, _)| other.issues.iter().any(|other| same(other, issue)));
                // What is wrong for one kind may be right for another that the policy also meets, and is evaluated only there.
                let severity = match (listed, !issue.conditional && of_every_kind()) {
                    (_, true) if self.whole => Severity::Error,
                    (true, _) | (_, true) => Severity::Warning,
                    (false, false) => Severity::Note,
                };
                found.push(problem(severity, Some(kind), issue));
            }
            if part.listed().is_none() {
                continue;
            }
            let alone = |issue: &&Issue| !evaluation.issues.iter().any(|known| same(known, issue));
            for issue in server.issues.iter().filter(new).filter(alone) {
                let told = problem(Severity::Note, Some(kind), issue);
                found.push(TypeProblem { message: format!("only the API server's type checker objects: {}", told.message), ..told });
            }
        }
    }
}

/// Whether two issues are about the same place.
fn same(a: &Issue, b: &Issue) -> bool {
    (a.line, a.column) == (b.line, b.column)
}

fn words(issue: &Issue) -> String {
    match (&issue.object, issue.message.strip_prefix("undefined field '").and_then(|rest| rest.strip_suffix('\''))) {
        (Some(object), Some(field)) => format!("no field `{field}` in {}", shown(object)),
        _ => shown(&issue.message),
    }
}

// === impl TypeProblem ===

impl fmt::Display for TypeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.field, self.line, self.column, self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean `{suggestion}`?")?;
        }
        match &self.kind {
            Some(kind) => write!(f, " ({kind})"),
            None => Ok(()),
        }
    }
}

// === impl Part ===

impl Part<'_> {
    fn fits(&self, output: &Type) -> bool {
        match self.wanted {
            Wanted::Anything => true,
            Wanted::Bool => *output == Type::Bool,
            Wanted::String => *output == Type::String,
            Wanted::StringOrNull => matches!(output, Type::String | Type::Null),
        }
    }

    fn wanted(&self) -> &'static str {
        match self.wanted {
            Wanted::Anything => "anything",
            Wanted::Bool => "bool",
            Wanted::String => "string",
            Wanted::StringOrNull => "string or null",
        }
    }

    /// How what is left open becomes what is wanted: the API server judges it without the schema.
    fn made_to_fit(&self, output: &Type, known: Option<&Type>) -> Option<String> {
        if !output.is_dyn() || self.source.contains('\n') || self.source.len() > 80 {
            return None;
        }
        match (self.wanted, known) {
            (Wanted::Bool, Some(Type::Bool)) => Some(format!("({}) == true", self.source.trim())),
            (Wanted::String | Wanted::StringOrNull, Some(Type::String | Type::Int | Type::Bool) | None) => Some(format!("string({})", self.source.trim())),
            _ => None,
        }
    }

    /// Whether the API server's type checker looks at it, and in which order.
    fn listed(&self) -> Option<(usize, u8)> {
        match self.kind {
            PartKind::Validation(index) => Some((index, 0)),
            PartKind::Message(index) => Some((index, 1)),
            PartKind::Variable(_) | PartKind::Other => None,
        }
    }
}

#[cfg(test)]
mod cases;
