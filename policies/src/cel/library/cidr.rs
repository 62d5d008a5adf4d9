//! `cidr`, `isCIDR` and what can be asked of networks. Since Kubernetes 1.30.

mod network;

use self::network::Cidr;
use super::args::{inner, text};
use super::estimates::{TRAVERSE_ARGUMENT, UNIT_ESTIMATE};
use super::ip::address;
use super::{Call, Function, Overload};
use crate::cel::cost::{CostRule, TRAVERSAL, TRAVERSE, UNIT, scaled};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation, Range};
use crate::cel::types::Type;
use crate::cel::value::{Opaque, Value};

const TYPE: &str = "net.CIDR";
/// Bytes of an address: of the old family at least, of the new at most.
const ADDRESS: Range = Range { min: 4, max: 16 };

pub(crate) fn functions() -> Vec<Function> {
    let cidr = || Type::opaque(TYPE);
    let ip = || Type::opaque("net.IP");
    let read = |name, id, result, call| {
        let overload = Overload::global(id, [Type::String], result, Call::Values(call));
        Function::new(name, [overload]).costs(TRAVERSE).estimates(TRAVERSE_ARGUMENT)
    };
    let of_one = |id, result, call| Overload::member(id, [cidr()], result, Call::Values(call));
    let test = |id, other, call| Overload::member(id, [cidr(), other], Type::Bool, Call::Values(call));
    vec![
        read("cidr", "string_to_cidr", cidr(), parsed),
        read("isCIDR", "is_cidr", Type::Bool, is_cidr),
        Function::new(
            "containsIP",
            [
                test("cidr_contains_ip_string", Type::String, contains_ip).costs(CONTAINS_IP_TEXT).estimates(estimate_contains_ip_text),
                test("cidr_contains_ip_ip", ip(), contains_ip),
            ],
        )
        .costs(CONTAINS_IP)
        .estimates(estimate_contains_ip),
        Function::new(
            "containsCIDR",
            [
                test("cidr_contains_cidr_string", Type::String, contains_cidr).costs(CONTAINS_CIDR_TEXT).estimates(estimate_contains_cidr_text),
                test("cidr_contains_cidr", cidr(), contains_cidr),
            ],
        )
        .costs(CONTAINS_CIDR)
        .estimates(estimate_contains_cidr),
        Function::new("ip", [of_one("cidr_ip", ip(), address_of).costs(UNIT).estimates(UNIT_ESTIMATE)]),
        Function::new("prefixLength", [of_one("cidr_prefix_length", Type::Int, prefix_length)]).costs(UNIT).estimates(UNIT_ESTIMATE),
        Function::new("masked", [of_one("cidr_masked", cidr(), masked)]).costs(UNIT).estimates(UNIT_ESTIMATE),
        Function::new("string", [Overload::global("cidr_to_string", [cidr()], Type::String, Call::Values(written))]),
    ]
}

/// The name of the type is itself a value.
pub(crate) fn types() -> Vec<Type> {
    vec![Type::opaque(TYPE)]
}

/// Both prefixes are compared over the length of the network's.
const CONTAINS_IP: CostRule = CostRule::Before(|call| scaled(2 * call.size(0), TRAVERSAL));
/// And the text is read first.
const CONTAINS_IP_TEXT: CostRule = CostRule::Before(|call| scaled(2 * call.size(0), TRAVERSAL) + scaled(call.size(1), TRAVERSAL));
/// The network is masked and lengths are compared too.
const CONTAINS_CIDR: CostRule = CostRule::Before(|call| scaled(2 * call.size(0), TRAVERSAL) + scaled(call.size(0), TRAVERSAL) + 1);
/// And the text is read first.
const CONTAINS_CIDR_TEXT: CostRule =
    CostRule::Before(|call| scaled(2 * call.size(0), TRAVERSAL) + scaled(call.size(0), TRAVERSAL) + 1 + scaled(call.size(1), TRAVERSAL));

fn contains_ip_cost() -> Range {
    ADDRESS.plus(ADDRESS).scaled(TRAVERSAL)
}

fn contains_cidr_cost() -> Range {
    contains_ip_cost().plus(ADDRESS.scaled(TRAVERSAL)).plus(Range::exactly(1))
}

fn estimate_contains_ip(_: &Estimation) -> Option<Estimate> {
    Some(Estimate::cost(contains_ip_cost()))
}

fn estimate_contains_ip_text(call: &Estimation) -> Option<Estimate> {
    Some(Estimate::cost(contains_ip_cost().plus(call.size(0).scaled(TRAVERSAL))))
}

fn estimate_contains_cidr(_: &Estimation) -> Option<Estimate> {
    Some(Estimate::cost(contains_cidr_cost()))
}

fn estimate_contains_cidr_text(call: &Estimation) -> Option<Estimate> {
    Some(Estimate::cost(contains_cidr_cost().plus(call.size(0).scaled(TRAVERSAL))))
}

impl Opaque for Cidr {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> Option<bool> {
        other.as_any().downcast_ref::<Self>().map(|other| self == other)
    }

    fn size(&self) -> Option<u64> {
        Some(Self::size(self))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn read(text: &str) -> Result<Cidr, EvalError> {
    // Both upstream's reader and its caller say what went wrong.
    Cidr::parse(text).map_err(|e| EvalError::invalid(format!("network address parse error during conversion from string: {e}")))
}

fn parsed<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    read(text(args, 0, "cidr")?).map(Value::opaque)
}

fn is_cidr<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(Cidr::parse(text(args, 0, "isCIDR")?).is_ok()))
}

/// A text that is no address is, upstream, an argument of the wrong type.
fn contains_ip<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let cidr: &Cidr = inner(args, 0, "containsIP")?;
    let contained = match args.get(1) {
        Some(Value::String(text)) => cidr.contains_ip(&address::parse(text).map_err(|_| EvalError::no_such())?),
        _ => cidr.contains_ip(inner(args, 1, "containsIP")?),
    };
    Ok(Value::Bool(contained))
}

fn contains_cidr<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let cidr: &Cidr = inner(args, 0, "containsCIDR")?;
    let contained = match args.get(1) {
        Some(Value::String(text)) => cidr.contains_cidr(&read(text)?),
        _ => cidr.contains_cidr(inner(args, 1, "containsCIDR")?),
    };
    Ok(Value::Bool(contained))
}

fn address_of<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Cidr>(args, 0, "ip").map(|cidr| Value::opaque(cidr.address))
}

fn prefix_length<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Cidr>(args, 0, "prefixLength").map(|cidr| Value::Int(cidr.bits.into()))
}

fn masked<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Cidr>(args, 0, "masked").map(|cidr| Value::opaque(cidr.masked()))
}

fn written<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Cidr>(args, 0, "string").map(|cidr| Value::string(cidr.to_string()))
}
