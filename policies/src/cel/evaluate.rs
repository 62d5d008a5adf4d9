//! The tree walk. Total: no panic, recursion bounded by the plan, work and memory by the meter.
//!
//! An error is a value until it reaches the top, since `||` and `&&` may absorb it; one that aborts passes through everything.

mod attribute;
mod fold;

pub(crate) use attribute::shown;

use std::cmp::Ordering;

use super::cost::{self, CostRule, Meter, Observed, TRAVERSAL, scaled};
use super::error::EvalError;
use super::plan::{CallNode, Item, Node};
use super::value::{Key, MapBuilder, Value};

/// A value, or why there is none.
pub(crate) type Outcome<'a> = Result<Value<'a>, EvalError>;

/// Values of variables.
pub trait Bindings<'a> {
    /// The value of a variable; `None` if nothing is bound to the name.
    fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>>;

    /// The value of a field of a variable whose fields are found only when needed.
    fn field(&self, _variable: &str, _field: &str) -> Field<'a> {
        Field::NotLazy
    }
}

/// A field of a variable, see [`Bindings::field`].
#[derive(Debug)]
pub enum Field<'a> {
    /// The variable is an ordinary value.
    NotLazy,
    /// It has no such field.
    Absent,
    /// Its value.
    Found(Result<Value<'a>, EvalError>),
}

impl<'a, S: AsRef<str>> Bindings<'a> for Vec<(S, Value<'a>)> {
    fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        self.iter().find(|(bound, _)| bound.as_ref() == name).map(|(_, value)| Ok(value.clone()))
    }
}

/// What a variable of a comprehension holds.
#[derive(Clone, Debug)]
pub(crate) enum Slot<'p, 'a> {
    Empty,
    /// An accumulator that nobody has read yet.
    Pending(&'p Node),
    Ready(Outcome<'a>),
}

/// One evaluation.
pub(crate) struct Evaluation<'p, 'a, 'e, 'm> {
    bindings: &'e dyn Bindings<'a>,
    meter: &'e mut Meter<'m>,
    slots: Vec<Slot<'p, 'a>>,
    /// Whether selecting something optional from what has no parts is an error.
    strict_presence: bool,
}

impl<'p, 'a, 'e, 'm> Evaluation<'p, 'a, 'e, 'm> {
    pub(crate) fn new(bindings: &'e dyn Bindings<'a>, meter: &'e mut Meter<'m>, slots: usize, strict_presence: bool) -> Self {
        Self { bindings, meter, slots: vec![Slot::Empty; slots], strict_presence }
    }

    pub(crate) fn node(&mut self, node: &'p Node) -> Outcome<'a> {
        match node {
            Node::Constant(value) => value.clone(),
            Node::Attribute(attribute) => self.attribute(attribute),
            Node::And(operands) => self.logical(operands, false),
            Node::Or(operands) => self.logical(operands, true),
            Node::Equal { operands, negated } => self.equal(operands, *negated),
            Node::NotStrictlyFalse(condition) => self.not_strictly_false(condition),
            Node::OptionalOr { operands, unwrap, strict } => self.optional_or(operands, *unwrap, *strict),
            Node::Member { value, set } => self.member(value, set),
            Node::Call(call) => self.call(call),
            Node::List(items) => self.list(items),
            Node::Map { entries, last_wins } => self.map(entries, *last_wins),
            Node::Object { name, fields } => self.object(name, fields),
            Node::Append { slot, added } => self.append(*slot, added),
            Node::Insert { slot, entry } => self.insert(*slot, entry),
            Node::Fold(fold) => self.fold(fold),
        }
    }

    /// Both operands, either of which decides if it is `decisive`, whatever the other is.
    fn logical(&mut self, operands: &'p [Box<Node>; 2], decisive: bool) -> Outcome<'a> {
        let mut error = None;
        for operand in operands {
            match self.node(operand) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Err(reason) if reason.aborts() => return Err(reason),
                Err(reason) => error = error.or(Some(reason)),
                Ok(_) => error = error.or_else(|| Some(EvalError::no_overload(if decisive { "_||_" } else { "_&&_" }))),
            }
        }
        error.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn equal(&mut self, operands: &'p [Box<Node>; 2], negated: bool) -> Outcome<'a> {
        let [a, b] = operands;
        let (a, b) = (self.node(a), self.node(b));
        let args = [seen(&a)?, seen(&b)?];
        let observed = Observed { args: &args, result: None };
        let cost = match &args {
            [Value::Opaque(_), _] if !negated => 1,
            _ => scaled(observed.inner_size(0).min(observed.inner_size(1)), TRAVERSAL),
        };
        self.meter.charge(cost)?;
        match a?.equal(&b?) {
            // The server takes what cannot be compared for different, when asked for that.
            Err(error) if negated && !error.aborts() => Ok(Value::Bool(true)),
            equal => Ok(Value::Bool(equal? != negated)),
        }
    }

    fn not_strictly_false(&mut self, condition: &'p Node) -> Outcome<'a> {
        let value = self.node(condition);
        if let Err(reason) = &value
            && reason.aborts()
        {
            return value;
        }
        self.meter.charge(1)?;
        Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false)))))
    }

    fn optional_or(&mut self, operands: &'p [Box<Node>; 2], unwrap: bool, strict: bool) -> Outcome<'a> {
        let [first, other] = operands;
        match self.node(first)? {
            Value::Optional(None) => self.node(other),
            Value::Optional(Some(value)) if unwrap => Ok((*value).clone()),
            value if strict && !matches!(value, Value::Optional(_)) => Err(EvalError::no_overload(if unwrap { "orValue" } else { "or" })),
            value => Ok(value),
        }
    }

    /// Membership in a set of constants, a number found as the set holds it: an integer only as an exact double.
    fn member(&mut self, value: &'p Node, set: &[Value<'static>]) -> Outcome<'a> {
        let value = self.node(value)?;
        let found = set.iter().any(|element| match (&value, element) {
            (Value::Int(_) | Value::Uint(_), Value::Double(number)) => number.fract() == 0.0 && value.order(element) == Some(Ordering::Equal),
            (Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::String(_), _) => value.order(element) == Some(Ordering::Equal),
            _ => false,
        });
        Ok(Value::Bool(found))
    }

    fn call(&mut self, call: &'p CallNode) -> Outcome<'a> {
        let mut args = Vec::with_capacity(call.args.len());
        let mut error = None;
        for (index, arg) in call.args.iter().enumerate() {
            match self.node(arg) {
                Ok(value) => args.push(value),
                Err(reason) => {
                    let paid = call.eager || index + 1 == call.args.len();
                    if reason.aborts() || !paid {
                        return Err(reason);
                    }
                    args.push(Value::Null);
                    error = error.or(Some(reason));
                }
            }
        }
        let before = match call.cost {
            None => 1,
            Some(CostRule::Before(rule)) => rule(&Observed { args: &args, result: None }),
            Some(CostRule::After(_)) => 0,
        };
        self.meter.charge(before)?;
        let outcome = error.map_or_else(|| call.invoke(&args), Err);
        if let Some(CostRule::After(rule)) = call.cost {
            self.meter.charge(rule(&Observed { args: &args, result: outcome.as_ref().ok() }))?;
        }
        if let Ok(value) = &outcome {
            self.meter.grow(made(value))?;
        }
        outcome
    }

    fn list(&mut self, items: &'p [Item]) -> Outcome<'a> {
        let values = self.elements(items);
        self.paid(cost::LIST, values.map(Value::list))
    }

    /// A constructed value, paid for though it is an error.
    fn paid(&mut self, price: u64, outcome: Outcome<'a>) -> Outcome<'a> {
        match &outcome {
            Err(reason) if reason.aborts() => {}
            _ => self.meter.charge(price)?,
        }
        outcome
    }

    fn elements(&mut self, items: &'p [Item]) -> Result<Vec<Value<'a>>, EvalError> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match (self.node(&item.node)?, item.optional) {
                (value, false) => values.push(value),
                (Value::Optional(value), true) => values.extend(value.map(|value| (*value).clone())),
                (_, true) => return Err(EvalError::invalid("cannot initialize optional list element from non-optional value")),
            }
        }
        Ok(values)
    }

    fn map(&mut self, entries: &'p [(Node, Item)], last_wins: bool) -> Outcome<'a> {
        let built = self.entries(entries, last_wins);
        self.paid(cost::MAP, built.map(|entries| Value::Map(entries.into())))
    }

    fn entries(&mut self, entries: &'p [(Node, Item)], last_wins: bool) -> Result<MapBuilder<'a>, EvalError> {
        let mut built = MapBuilder::new();
        for (key, item) in entries {
            let key = self.node(key)?;
            let value = self.entry(item)?;
            let key = Key::of(&key).ok_or_else(|| EvalError::invalid(format!("unsupported key type: {}", key.type_name())))?;
            let Some(value) = value else { continue };
            if !last_wins && matches!(key, Key::Double(_)) {
                return Err(EvalError::invalid("unsupported key type: double"));
            }
            let repeated = !last_wins && (built.contains_key(&key) || key.sibling().is_some_and(|sibling| built.contains_key(&sibling)));
            if repeated {
                return Err(EvalError::invalid("repeated key in map literal"));
            }
            built.insert(key, value);
        }
        Ok(built)
    }

    /// The value of an entry or field; `None` if it is optional and not there.
    fn entry(&mut self, item: &'p Item) -> Result<Option<Value<'a>>, EvalError> {
        match (self.node(&item.node)?, item.optional) {
            (value, false) => Ok(Some(value)),
            (Value::Optional(value), true) => Ok(value.map(|value| (*value).clone())),
            (_, true) => Err(EvalError::invalid("cannot initialize optional entry from non-optional value")),
        }
    }

    fn object(&mut self, name: &str, fields: &'p [Item]) -> Outcome<'a> {
        let built = fields.iter().try_for_each(|field| self.entry(field).map(drop));
        self.paid(cost::OBJECT, built.and_then(|()| Err(EvalError::invalid(format!("unknown type '{name}'")))))
    }
}

/// An argument as a cost rule sees it; an error that aborts is not seen.
fn seen<'a>(outcome: &Outcome<'a>) -> Outcome<'a> {
    match outcome {
        Ok(value) => Ok(value.clone()),
        Err(reason) if reason.aborts() => Err(reason.clone()),
        Err(_) => Ok(Value::Null),
    }
}

/// Bytes that a call may have allocated for its result.
fn made(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(list) => list.owned() as u64 * size_of::<Value<'_>>() as u64,
        _ => 0,
    }
}
