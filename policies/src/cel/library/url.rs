//! `url`, `isURL` and the parts of URLs. In every version of Kubernetes.

pub(super) mod parsed;

use self::parsed::{Colons, Url};
use super::args::{inner, text};
use super::estimates::{TRAVERSE_ARGUMENT_KEEPING, UNIT_ESTIMATE};
use super::{Call, Function, Overload};
use crate::cel::cost::{TRAVERSE, UNIT};
use crate::cel::error::EvalError;
use crate::cel::types::Type;
use crate::cel::value::{Key, MapBuilder, Opaque, Text, Value};

const TYPE: &str = "kubernetes.URL";

/// With Go's parser up to 1.25: Kubernetes until 1.35.
pub(crate) fn functions() -> Vec<Function> {
    table(Call::Values(url_lenient), Call::Values(is_url_lenient))
}

/// With Go's parser since 1.26: Kubernetes since 1.36.
pub(crate) fn functions_strict() -> Vec<Function> {
    table(Call::Values(url_strict), Call::Values(is_url_strict))
}

fn table(parse: Call, check: Call) -> Vec<Function> {
    let url = || Type::opaque(TYPE);
    let part = |name, id, result, call| Function::new(name, [Overload::member(id, [url()], result, Call::Values(call))]).costs(UNIT).estimates(UNIT_ESTIMATE);
    let query = Type::map(Type::String, Type::list(Type::String));
    vec![
        Function::new("url", [Overload::global("string_to_url", [Type::String], url(), parse)]).costs(TRAVERSE).estimates(TRAVERSE_ARGUMENT_KEEPING),
        // Upstream's rules do not know this one: it costs the usual unit.
        Function::new("isURL", [Overload::global("is_url_string", [Type::String], Type::Bool, check)]),
        part("getScheme", "url_get_scheme", Type::String, scheme),
        part("getHost", "url_get_host", Type::String, host),
        part("getHostname", "url_get_hostname", Type::String, hostname),
        part("getPort", "url_get_port", Type::String, port),
        part("getEscapedPath", "url_get_escaped_path", Type::String, escaped_path),
        part("getQuery", "url_get_query", query, get_query),
    ]
}

impl Opaque for Url {
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

fn parse<'a>(args: &[Value<'a>], colons: Colons) -> Result<Value<'a>, EvalError> {
    Url::parse(text(args, 0, "url")?, colons).map(Value::opaque).map_err(EvalError::invalid)
}

fn check<'a>(args: &[Value<'a>], colons: Colons) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(parsed::check(text(args, 0, "isURL")?, colons).is_ok()))
}

fn url_lenient<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    parse(args, Colons::Lenient)
}

fn url_strict<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    parse(args, Colons::Strict)
}

fn is_url_lenient<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    check(args, Colons::Lenient)
}

fn is_url_strict<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    check(args, Colons::Strict)
}

fn scheme<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Url>(args, 0, "getScheme").map(|url| Value::string(url.scheme()))
}

fn host<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Url>(args, 0, "getHost").map(|url| Value::string(url.host()))
}

fn hostname<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Url>(args, 0, "getHostname").map(|url| Value::string(url.hostname()))
}

fn port<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Url>(args, 0, "getPort").map(|url| Value::string(url.port()))
}

fn escaped_path<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Url>(args, 0, "getEscapedPath").map(|url| Value::string(url.escaped_path()))
}

fn get_query<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let url: &Url = inner(args, 0, "getQuery")?;
    let entries: MapBuilder<'a> = url
        .query()
        .into_iter()
        .map(|(key, values)| (Key::String(Text::Shared(key.into())), Value::list(values.into_iter().map(Value::string).collect())))
        .collect();
    Ok(Value::Map(entries.into()))
}
