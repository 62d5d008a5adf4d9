//! A set of guardrails: compiled once, named by one digest, immutable.

use std::sync::Arc;

use assent_core::canonical::Digest;
use assent_core::refusal::{Refusal, Rule};
use cel::{Env, Program};
use serde_json::Value;

use crate::evaluate::{self, Request};
use crate::spec::Policy;

/// Longest expression that is parsed, in bytes. The parser recurses, so the bound comes before parsing.
const MAX_EXPRESSION: usize = 4096;
/// Most validations, conditions and variables of one policy together.
const MAX_EXPRESSIONS: usize = 128;

/// Why a guardrail could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its `spec` is not that of a policy, or has parts that are not supported yet.
    #[error("guardrail `{name}` has an unsupported spec")]
    Spec {
        /// The guardrail.
        name: String,
        /// What the reader says.
        #[source]
        source: serde_json::Error,
    },
    /// An expression is too long or does not parse.
    #[error("guardrail `{name}`, {place}: {reason}")]
    Expression {
        /// The guardrail.
        name: String,
        /// Which expression.
        place: String,
        /// In words.
        reason: String,
    },
}

/// Guardrails in force. One that could not be loaded denies everything it might have spoken of, which is everything.
#[derive(Debug)]
pub struct Set {
    digest: Digest,
    rules: Vec<Compiled>,
    broken: Vec<LoadError>,
}

pub(crate) struct Compiled {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) conditions: Vec<Program>,
    pub(crate) variables: Vec<(String, Program)>,
    pub(crate) validations: Vec<(Program, Option<Program>)>,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").field("name", &self.name).field("policy", &self.policy).finish_non_exhaustive()
    }
}

// === impl Set ===

impl Set {
    /// Compiles `(name, spec)` pairs; their order does not matter.
    #[must_use]
    pub fn new(mut guardrails: Vec<(String, Value)>) -> Self {
        guardrails.sort_by(|a, b| a.0.cmp(&b.0));
        // A spec with a fraction in it has no canonical form; its text stands in, so that the digest still changes with it.
        let parts: Vec<String> = guardrails
            .iter()
            .map(|(name, spec)| format!("{name}={}", Digest::of(spec).unwrap_or_else(|_| Digest::of_bytes(spec.to_string().as_bytes()))))
            .collect();
        let env = Arc::new(Env::stdlib().with_optional_support(true));
        let (mut rules, mut broken) = (Vec::new(), Vec::new());
        for (name, spec) in guardrails {
            match compile(&env, name, spec) {
                Ok(rule) => rules.push(rule),
                Err(error) => broken.push(error),
            }
        }
        Self { digest: Digest::of_bytes(parts.join("\n").as_bytes()), rules, broken }
    }

    /// The digest of names and specs: what a plan pins.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Guardrails that could not be loaded.
    #[must_use]
    pub fn broken(&self) -> &[LoadError] {
        &self.broken
    }

    /// The first refusal among the guardrails that speak of `request`, by name; `None` when all let it through.
    #[must_use]
    pub fn evaluate(&self, request: &Request<'_>) -> Option<Refusal> {
        if let Some(broken) = self.broken.first() {
            return Some(Refusal::new(Rule::Guardrail, broken.to_string(), "a guardrail that loads, or none of that name"));
        }
        self.rules.iter().find_map(|rule| evaluate::judge(rule, request))
    }
}

fn compile(env: &Env, name: String, spec: Value) -> Result<Compiled, LoadError> {
    let policy: Policy = serde_json::from_value(spec).map_err(|source| LoadError::Spec { name: name.clone(), source })?;
    let count = policy.match_conditions.len() + policy.variables.len() + policy.validations.len();
    let fail = |place: String, reason: String| LoadError::Expression { name: name.clone(), place, reason };
    if count > MAX_EXPRESSIONS {
        return Err(fail("spec".into(), format!("more than {MAX_EXPRESSIONS} expressions")));
    }
    let program = |place: String, source: &str| {
        if source.len() > MAX_EXPRESSION {
            return Err(fail(place, format!("expression is longer than {MAX_EXPRESSION} bytes")));
        }
        env.compile(source).map_err(|error| fail(place, error.to_string()))
    };
    let conditions = policy.match_conditions.iter().map(|c| program(format!("match condition `{}`", c.name), &c.expression)).collect::<Result<_, _>>()?;
    let variables =
        policy.variables.iter().map(|v| Ok((v.name.clone(), program(format!("variable `{}`", v.name), &v.expression)?))).collect::<Result<_, LoadError>>()?;
    let validations = policy
        .validations
        .iter()
        .enumerate()
        .map(|(index, v)| {
            let expression = program(format!("validation {index}"), &v.expression)?;
            let message = v.message_expression.as_deref().map(|m| program(format!("message expression {index}"), m)).transpose()?;
            Ok((expression, message))
        })
        .collect::<Result<_, LoadError>>()?;
    Ok(Compiled { name, policy, conditions, variables, validations })
}
