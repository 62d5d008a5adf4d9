//! A policy with its expressions compiled once, and programs shared by every policy that has the same source.
//!
//! An expression that does not compile stays in its place as an error: the policy still matches, and failurePolicy decides.

use std::collections::HashMap;
use std::sync::Arc;

use super::language::{Declared, Expression, Language, VariableType, Wanted};
use super::matching::Constraints;
use super::params::Reference;
use super::spec::{BindingSpec, PolicySpec, ValidationAction};
use crate::cel::{Environment, Type};

/// Most expressions of one policy.
const MAX_EXPRESSIONS: usize = 1024;

/// A policy in force.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) spec: PolicySpec,
    /// `None` where there are none or they cannot be read: it speaks of everything, and nothing can be judged.
    pub(crate) constraints: Option<Constraints>,
    pub(crate) variables: Vec<(String, Expression)>,
    pub(crate) conditions: Vec<Expression>,
    pub(crate) validations: Vec<Expression>,
    /// By validation.
    pub(crate) messages: Vec<Option<Expression>>,
    pub(crate) annotations: Vec<Expression>,
    /// Why nothing of it can be judged.
    pub(crate) unusable: Option<String>,
    language: Language,
    declared: Declared,
}

/// A binding in force.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) name: String,
    pub(crate) policy_name: String,
    pub(crate) constraints: Option<Constraints>,
    pub(crate) reference: Option<Reference>,
    pub(crate) actions: Vec<ValidationAction>,
    /// Why it cannot be judged.
    pub(crate) unusable: Option<String>,
}

/// Compiled expressions by what they were compiled from.
#[derive(Debug)]
pub(crate) struct Programs {
    language: Language,
    known: HashMap<(String, Declared, Wanted), Expression>,
    /// While a set is loaded; they are large, and programs keep nothing of them.
    environments: HashMap<Declared, Environment>,
}

/// What is wrong with an expression, and where it stands.
pub(crate) type Faults = Vec<(String, String)>;

// === impl Programs ===

impl Programs {
    pub(crate) fn new(language: Language) -> Self {
        Self { language, known: HashMap::new(), environments: HashMap::new() }
    }

    /// One expression; `before` is asked for it first.
    fn get(&mut self, source: &str, declared: &Declared, wanted: Wanted, before: Option<&Self>) -> Expression {
        // What does not name a variable does not depend on any, and is shared with policies that have others.
        let declared = if source.contains("variables") { declared.clone() } else { Declared { variables: Arc::default(), ..declared.clone() } };
        let key = (source.to_owned(), declared, wanted);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let kept = before.and_then(|before| before.known.get(&key)).cloned();
        let expression = kept.unwrap_or_else(|| {
            let environment = self.environments.entry(key.1.clone()).or_insert_with(|| self.language.environment(&key.1));
            Expression::compile(environment, source, wanted)
        });
        self.known.insert(key, expression.clone());
        expression
    }

    /// The language they are in.
    pub(crate) fn language(&self) -> Language {
        self.language
    }

    /// No other policy has the same variables.
    fn forget_variables(&mut self) {
        self.environments.retain(|declared, _| declared.variables.is_empty());
    }

    /// Nothing more is compiled.
    pub(crate) fn finish(&mut self) {
        self.environments = HashMap::new();
    }

    /// How many programs there are.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}

// === impl Policy ===

impl Policy {
    /// Compiles every expression; those that do not compile are returned beside it.
    pub(crate) fn compile(name: &str, spec: PolicySpec, programs: &mut Programs, before: Option<&Programs>) -> (Self, Faults) {
        let count = spec.match_conditions.len() + spec.variables.len() + spec.validations.len() * 2 + spec.audit_annotations.len();
        if count > MAX_EXPRESSIONS {
            let reason = format!("more than {MAX_EXPRESSIONS} expressions");
            let policy = Self { constraints: constraints(&spec), ..Self::unusable(name, spec, reason.clone()) };
            return (policy, vec![("spec".into(), reason)]);
        }
        let mut faults = Faults::new();
        let mut declared = Declared { params: spec.param_kind.is_some(), authorizer: true, variables: Arc::default() };
        let mut variables = Vec::with_capacity(spec.variables.len());
        let mut types: Vec<(String, VariableType)> = Vec::with_capacity(spec.variables.len());
        for (index, variable) in spec.variables.iter().enumerate() {
            let expression = programs.get(&variable.expression, &declared, Wanted::Anything, before);
            note(&mut faults, || format!("variables[{index}].expression"), &expression);
            types.push((variable.name.clone(), expression.variable_type()));
            declared.variables = types.clone().into();
            variables.push((variable.name.clone(), expression));
        }
        let mut list = |sources: &mut dyn Iterator<Item = &String>, wanted: Wanted, place: &str, part: &str| -> Vec<Expression> {
            let compile = |(index, source): (usize, &String)| {
                let expression = programs.get(source, &declared, wanted, before);
                note(&mut faults, || format!("{place}[{index}].{part}"), &expression);
                expression
            };
            sources.enumerate().map(compile).collect()
        };
        let conditions = list(&mut spec.match_conditions.iter().map(|c| &c.expression), Wanted::Bool, "matchConditions", "expression");
        let validations = list(&mut spec.validations.iter().map(|v| &v.expression), Wanted::Bool, "validations", "expression");
        let annotations = list(&mut spec.audit_annotations.iter().map(|a| &a.value_expression), Wanted::StringOrNull, "auditAnnotations", "valueExpression");
        let unauthorized = Declared { authorizer: false, ..declared.clone() };
        let mut messages = Vec::with_capacity(spec.validations.len());
        for (index, validation) in spec.validations.iter().enumerate() {
            let source = validation.message_expression.as_ref().filter(|source| !source.is_empty());
            let expression = source.map(|source| programs.get(source, &unauthorized, Wanted::String, before));
            if let Some(expression) = &expression {
                note(&mut faults, || format!("validations[{index}].messageExpression"), expression);
            }
            messages.push(expression);
        }
        programs.forget_variables();
        let policy = Self {
            name: name.to_owned(),
            constraints: constraints(&spec),
            variables,
            conditions,
            validations,
            messages,
            annotations,
            unusable: spec.match_constraints.is_none().then(|| "policy contained no match constraints, a required field".to_owned()),
            spec,
            language: programs.language,
            declared,
        };
        (policy, faults)
    }

    /// A policy of which nothing can be judged.
    pub(crate) fn unusable(name: &str, spec: PolicySpec, reason: String) -> Self {
        Self {
            name: name.to_owned(),
            constraints: constraints(&spec),
            spec,
            variables: Vec::new(),
            conditions: Vec::new(),
            validations: Vec::new(),
            messages: Vec::new(),
            annotations: Vec::new(),
            unusable: Some(reason),
            language: Language::default(),
            declared: Declared::default(),
        }
    }

    /// What a part of its expressions may refer to, with the variables of the comprehensions around it.
    pub(crate) fn environment<'n>(&self, locals: impl Iterator<Item = &'n str>) -> Environment {
        self.language.environment(&self.declared).with_variables(locals.map(|name| (name, Type::Dyn)))
    }

    /// Whether an expression of it looks at the request's Namespace.
    pub(crate) fn looks_at_namespace(&self) -> bool {
        self.expressions().any(|expression| expression.source().contains("namespaceObject"))
    }

    /// Whether an expression of it asks the authorizer.
    pub(crate) fn asks_authorizer(&self) -> bool {
        self.expressions().any(|expression| expression.source().contains("authorizer"))
    }

    /// Whether an expression of it looks at the object before.
    pub(crate) fn looks_at_old_object(&self) -> bool {
        self.expressions().any(|expression| expression.source().contains("oldObject"))
    }

    fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let variables = self.variables.iter().map(|(_, expression)| expression);
        let messages = self.messages.iter().flatten();
        variables.chain(&self.conditions).chain(&self.validations).chain(messages).chain(&self.annotations)
    }
}

fn constraints(spec: &PolicySpec) -> Option<Constraints> {
    spec.match_constraints.as_ref().map(Constraints::compile)
}

fn note(faults: &mut Faults, place: impl FnOnce() -> String, expression: &Expression) {
    if let Err(reason) = expression.compiled() {
        let hint = expression.hint().map_or(String::new(), |name| format!("; perhaps `{name}` is meant"));
        faults.push((place(), format!("{reason}{hint}")));
    }
}

// === impl Binding ===

impl Binding {
    pub(crate) fn compile(name: &str, spec: &BindingSpec) -> Self {
        Self {
            name: name.to_owned(),
            policy_name: spec.policy_name.clone(),
            constraints: spec.match_resources.as_ref().map(Constraints::compile),
            reference: spec.param_ref.as_ref().map(Reference::compile),
            // No API server stores a binding without an action; that it then has none is not ours to read into it.
            actions: if spec.validation_actions.is_empty() { vec![ValidationAction::Deny] } else { spec.validation_actions.clone() },
            unusable: None,
        }
    }

    /// A binding that cannot be read.
    pub(crate) fn unusable(name: &str, policy_name: String, reason: String) -> Self {
        Self { name: name.to_owned(), policy_name, constraints: None, reference: None, actions: vec![ValidationAction::Deny], unusable: Some(reason) }
    }
}
