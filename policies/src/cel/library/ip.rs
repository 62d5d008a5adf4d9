//! `ip`, `isIP`, `ip.isCanonical` and what can be asked of addresses. Since Kubernetes 1.30.

pub(super) mod address;

use std::net::IpAddr;

use super::args::{inner, text};
use super::estimates::{REBUILD_ARGUMENT, TRAVERSE_ARGUMENT, UNIT_ESTIMATE};
use super::{Call, Function, Overload};
use crate::cel::cost::{CostRule, REBUILD, TRAVERSE, UNIT};
use crate::cel::error::EvalError;
use crate::cel::types::Type;
use crate::cel::value::{Opaque, Value};

const TYPE: &str = "net.IP";

/// What reading an address costs. The same name, called on a network, costs one: that is declared there.
const PARSE: CostRule = TRAVERSE;

pub(crate) fn functions() -> Vec<Function> {
    table(Call::Values(parsed), Call::Values(is_ip))
}

/// As the language has it: an IPv4 address in IPv6 dress is that IPv4 address. Kubernetes refuses it.
pub(crate) fn functions_mapped() -> Vec<Function> {
    table(Call::Values(parsed_mapped), Call::Values(is_ip_mapped))
}

fn table(parse: Call, check: Call) -> Vec<Function> {
    let ip = || Type::opaque(TYPE);
    let test = |name, id, call| Function::new(name, [Overload::member(id, [ip()], Type::Bool, Call::Values(call))]).costs(UNIT).estimates(UNIT_ESTIMATE);
    let read = |name, id, result, call| {
        let overload = Overload::global(id, [Type::String], result, call);
        Function::new(name, [overload]).costs(PARSE).estimates(TRAVERSE_ARGUMENT)
    };
    vec![
        read("ip", "string_to_ip", ip(), parse),
        read("isIP", "is_ip", Type::Bool, check),
        Function::new("ip.isCanonical", [Overload::global("ip_is_canonical", [Type::String], Type::Bool, Call::Values(is_canonical))])
            .costs(REBUILD)
            .estimates(REBUILD_ARGUMENT),
        Function::new("family", [Overload::member("ip_family", [ip()], Type::Int, Call::Values(family))]).costs(UNIT).estimates(UNIT_ESTIMATE),
        test("isUnspecified", "ip_is_unspecified", is_unspecified),
        test("isLoopback", "ip_is_loopback", is_loopback),
        test("isLinkLocalMulticast", "ip_is_link_local_multicast", is_link_local_multicast),
        test("isLinkLocalUnicast", "ip_is_link_local_unicast", is_link_local_unicast),
        test("isGlobalUnicast", "ip_is_global_unicast", is_global_unicast),
        Function::new("string", [Overload::global("ip_to_string", [ip()], Type::String, Call::Values(written))]),
    ]
}

/// The name of the type is itself a value.
pub(crate) fn types() -> Vec<Type> {
    vec![Type::opaque(TYPE)]
}

impl Opaque for IpAddr {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> Option<bool> {
        other.as_any().downcast_ref::<Self>().map(|other| self == other)
    }

    fn size(&self) -> Option<u64> {
        Some(address::size(self))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn parsed<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    address::parse(text(args, 0, "ip")?).map(Value::opaque).map_err(EvalError::invalid)
}

fn is_ip<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(address::parse(text(args, 0, "isIP")?).is_ok()))
}

fn parsed_mapped<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    address::parse_mapped(text(args, 0, "ip")?).map(Value::opaque).map_err(EvalError::invalid)
}

fn is_ip_mapped<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(address::parse_mapped(text(args, 0, "isIP")?).is_ok()))
}

fn is_canonical<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    address::is_canonical(text(args, 0, "ip.isCanonical")?).map(Value::Bool).map_err(EvalError::invalid)
}

fn family<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner(args, 0, "family").map(|ip| Value::Int(address::family(ip)))
}

fn is_unspecified<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<IpAddr>(args, 0, "isUnspecified").map(|ip| Value::Bool(ip.is_unspecified()))
}

fn is_loopback<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<IpAddr>(args, 0, "isLoopback").map(|ip| Value::Bool(ip.is_loopback()))
}

fn is_link_local_multicast<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner(args, 0, "isLinkLocalMulticast").map(|ip| Value::Bool(address::is_link_local_multicast(ip)))
}

fn is_link_local_unicast<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner(args, 0, "isLinkLocalUnicast").map(|ip| Value::Bool(address::is_link_local_unicast(ip)))
}

fn is_global_unicast<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner(args, 0, "isGlobalUnicast").map(|ip| Value::Bool(address::is_global_unicast(ip)))
}

fn written<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<IpAddr>(args, 0, "string").map(|ip| Value::string(ip.to_string()))
}
