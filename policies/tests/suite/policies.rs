//! Policies flattened to variables, match conditions and validations, run in the Kubernetes environment.

use std::sync::OnceLock;

use assent_policies::cel::{Bindings, Environment, EvalError, Field, Meter, Program, Type, Value, Version};
use serde_json::{Value as Json, json};

use super::Verdict;

const PER_CALL: u64 = 1_000_000;
const VARIABLES: &str = "kubernetes.variables";

pub(super) fn judge(case: &Json) -> Verdict {
    let id = format!("{}/{}", text(case, "src"), text(case, "id"));
    let got = match passes(case) {
        Ok(true) => "pass".to_owned(),
        Ok(false) => "fail".to_owned(),
        Err(reason) => format!("fail ({reason})"),
    };
    let wanted = text(case, "expect");
    Some(if got.split(' ').next() == Some(wanted) { Ok(None) } else { Err(format!("{id}\n  wanted {wanted}\n  got    {got}")) })
}

fn text<'j>(json: &'j Json, field: &str) -> &'j str {
    json.get(field).and_then(Json::as_str).unwrap_or_default()
}

fn items<'j>(json: &'j Json, field: &str) -> impl Iterator<Item = &'j Json> {
    json.get(field).and_then(Json::as_array).into_iter().flatten()
}

fn passes(case: &Json) -> Result<bool, String> {
    let namespace = case.get("request").map_or(Json::Null, |request| json!({"metadata": {"name": text(request, "namespace")}}));
    let mut declared: Vec<(&str, Type)> = Vec::new();
    let mut variables = Vec::new();
    for variable in items(case, "variables") {
        let program = compile(&declared, text(variable, "expression"));
        declared.push((text(variable, "name"), program.as_ref().map_or(Type::Dyn, |program| program.output().clone())));
        variables.push(Variable { name: text(variable, "name"), program, value: OnceLock::new() });
    }
    let activation = Activation { case, namespace: &namespace, variables };
    for condition in items(case, "pre") {
        if !activation.holds(&declared, condition.as_str().unwrap_or_default())? {
            return Ok(true);
        }
    }
    for validation in items(case, "validations") {
        if !activation.holds(&declared, text(validation, "expression"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn compile(variables: &[(&str, Type)], source: &str) -> Result<Program, String> {
    let environment = Environment::kubernetes(Version::V1_34)
        .with_object(VARIABLES, variables.iter().cloned())
        .with_variables(["object", "oldObject", "params", "request", "namespaceObject"].map(|name| (name, Type::Dyn)))
        .with_variables([("variables", Type::object(VARIABLES))]);
    environment.compile(source).map_err(|issues| issues.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

struct Activation<'r> {
    case: &'r Json,
    namespace: &'r Json,
    variables: Vec<Variable<'r>>,
}

struct Variable<'r> {
    name: &'r str,
    program: Result<Program, String>,
    value: OnceLock<Result<Value<'r>, EvalError>>,
}

impl<'r> Activation<'r> {
    fn holds(&self, declared: &[(&str, Type)], source: &str) -> Result<bool, String> {
        let program = compile(declared, source)?;
        match self.evaluate(&program) {
            Ok(Value::Bool(value)) => Ok(value),
            Ok(other) => Err(format!("not a boolean: {}", other.type_name())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn evaluate(&self, program: &Program) -> Result<Value<'r>, EvalError> {
        program.evaluate(self, &mut Meter::new(PER_CALL))
    }
}

impl<'r> Bindings<'r> for Activation<'r> {
    fn get(&self, name: &str) -> Option<Result<Value<'r>, EvalError>> {
        let json = if name == "namespaceObject" { Some(self.namespace) } else { self.case.get(name) };
        Some(Ok(json.map_or(Value::Null, Value::from)))
    }

    fn field(&self, variable: &str, field: &str) -> Field<'r> {
        if variable != "variables" {
            return Field::NotLazy;
        }
        let found = self.variables.iter().rfind(|known| known.name == field);
        found.map_or(Field::Absent, |known| {
            let evaluate = || match &known.program {
                Ok(program) => self.evaluate(program),
                Err(reason) => Err(EvalError::invalid(reason)),
            };
            Field::Found(known.value.get_or_init(evaluate).clone())
        })
    }
}
