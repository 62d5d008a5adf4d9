//! `format.named`, `format.dns1123Label` and its like, and `validate`. Since Kubernetes 1.31.

mod shapes;

use self::shapes::{FORMATS, Format};
pub(super) use self::shapes::{dns1123_label, dns1123_subdomain};
use super::args::{inner, text};
use super::estimates::UNIT_ESTIMATE;
use super::{Call, Function, Overload};
use crate::cel::cost::{CostRule, PATTERN, TRAVERSAL, UNIT, search};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation};
use crate::cel::types::Type;
use crate::cel::value::{Opaque, Value};

const TYPE: &str = "kubernetes.NamedFormat";
/// The longest pattern an estimate assumes.
const LONGEST_PATTERN: f64 = 128.0;

pub(crate) fn functions() -> Vec<Function> {
    let format = || Type::opaque(TYPE);
    let named = Overload::global("format-named", [Type::String], Type::optional(format()), Call::Values(named));
    let problems = Type::optional(Type::list(Type::String));
    let validate = Overload::member("format-validate", [format(), Type::String], problems, Call::Values(validate));
    let mut functions = vec![
        Function::new("format.named", [named]).costs(UNIT).estimates(UNIT_ESTIMATE),
        Function::new("validate", [validate]).costs(VALIDATE).estimates(estimate_validate),
    ];
    functions.extend(CONSTANTS.iter().map(|(name, call)| Function::new(name, [Overload::global(name, [], format(), Call::Values(*call))])));
    functions
}

type Implementation = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// One function without arguments for each format.
const CONSTANTS: [(&str, Implementation); FORMATS.len()] = [
    ("format.dns1123Label", |_| Ok(Value::opaque(Format::Dns1123Label))),
    ("format.dns1123Subdomain", |_| Ok(Value::opaque(Format::Dns1123Subdomain))),
    ("format.dns1035Label", |_| Ok(Value::opaque(Format::Dns1035Label))),
    ("format.qualifiedName", |_| Ok(Value::opaque(Format::QualifiedName))),
    ("format.dns1123LabelPrefix", |_| Ok(Value::opaque(Format::Dns1123LabelPrefix))),
    ("format.dns1123SubdomainPrefix", |_| Ok(Value::opaque(Format::Dns1123SubdomainPrefix))),
    ("format.dns1035LabelPrefix", |_| Ok(Value::opaque(Format::Dns1035LabelPrefix))),
    ("format.labelValue", |_| Ok(Value::opaque(Format::LabelValue))),
    ("format.uri", |_| Ok(Value::opaque(Format::Uri))),
    ("format.uuid", |_| Ok(Value::opaque(Format::Uuid))),
    ("format.byte", |_| Ok(Value::opaque(Format::Byte))),
    ("format.date", |_| Ok(Value::opaque(Format::Date))),
    ("format.datetime", |_| Ok(Value::opaque(Format::Datetime))),
];

/// As a pattern of the format's length over the text.
const VALIDATE: CostRule = CostRule::Before(|call| {
    let length = call.args.first().and_then(Value::downcast::<Format>).map_or(0, |format| format.pattern_length());
    search(call.size(1), length)
});

fn estimate_validate(call: &Estimation) -> Option<Estimate> {
    Some(Estimate::cost(call.size(0).scaled(TRAVERSAL).scaled(LONGEST_PATTERN * PATTERN)))
}

impl Opaque for Format {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> Option<bool> {
        other.as_any().downcast_ref::<Self>().map(|other| self == other)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn named<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::optional(Format::named(text(args, 0, "format.named")?).map(Value::opaque)))
}

fn validate<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let format: &Format = inner(args, 0, "validate")?;
    let problems = format.validate(text(args, 1, "validate")?);
    Ok(Value::optional((!problems.is_empty()).then(|| Value::list(problems.into_iter().map(Value::string).collect()))))
}
