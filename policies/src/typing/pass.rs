//! One look at all expressions of a policy.

use crate::cel::{Environment, Issue, Type};
use crate::policy::language::{VARIABLES, Wanted, kept};
use crate::policy::spec::PolicySpec;
use crate::schema::View;

/// Most expressions of one policy, as when it is loaded.
const MAX_EXPRESSIONS: usize = 1024;

/// An expression of a policy.
#[derive(Debug)]
pub(super) struct Part<'s> {
    pub(super) field: String,
    pub(super) source: &'s str,
    pub(super) wanted: Wanted,
    pub(super) kind: PartKind<'s>,
}

/// What an expression is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum PartKind<'s> {
    Variable(&'s str),
    Validation(usize),
    Message(usize),
    Other,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) issues: Vec<Issue>,
    /// `dyn` if there are issues.
    pub(super) output: Type,
}

/// The expressions in the order in which they are declared: variables first, messages last, for these have no authorizer.
pub(super) fn parts(spec: &PolicySpec) -> Result<Vec<Part<'_>>, String> {
    let count = spec.match_conditions.len() + spec.variables.len() + spec.validations.len() * 2 + spec.audit_annotations.len();
    if count > MAX_EXPRESSIONS {
        return Err(format!("more than {MAX_EXPRESSIONS} expressions"));
    }
    let mut parts = Vec::with_capacity(count);
    let mut add = |field: String, source, wanted, kind| parts.push(Part { field, source, wanted, kind });
    for (index, variable) in spec.variables.iter().enumerate() {
        add(format!("spec.variables[{index}].expression"), variable.expression.as_str(), Wanted::Anything, PartKind::Variable(&variable.name));
    }
    for (index, condition) in spec.match_conditions.iter().enumerate() {
        add(format!("spec.matchConditions[{index}].expression"), &condition.expression, Wanted::Bool, PartKind::Other);
    }
    for (index, validation) in spec.validations.iter().enumerate() {
        add(format!("spec.validations[{index}].expression"), &validation.expression, Wanted::Bool, PartKind::Validation(index));
    }
    for (index, annotation) in spec.audit_annotations.iter().enumerate() {
        add(format!("spec.auditAnnotations[{index}].valueExpression"), &annotation.value_expression, Wanted::StringOrNull, PartKind::Other);
    }
    for (index, validation) in spec.validations.iter().enumerate() {
        if let Some(source) = validation.message_expression.as_ref().filter(|source| !source.is_empty()) {
            add(format!("spec.validations[{index}].messageExpression"), source, Wanted::String, PartKind::Message(index));
        }
    }
    Ok(parts)
}

/// Checks all expressions. The server keeps no object types of variables, and gives messages an authorizer.
pub(super) fn pass(environment: &mut Environment, parts: &[Part<'_>], view: View) -> Vec<Judged> {
    let mut unauthorized = false;
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        if matches!(part.kind, PartKind::Message(_)) && view == View::Evaluation && !unauthorized {
            environment.forget("authorizer");
            environment.forget("authorizer.requestResource");
            unauthorized = true;
        }
        let judged = match environment.compile(part.source) {
            Ok(program) => Judged { issues: Vec::new(), output: program.output().clone() },
            Err(issues) => Judged { issues, output: Type::Dyn },
        };
        if let PartKind::Variable(name) = part.kind {
            let kind = if view == View::Server { kept(&judged.output) } else { judged.output.clone() };
            environment.add_field(VARIABLES, name, kind);
        }
        all.push(judged);
    }
    all
}
