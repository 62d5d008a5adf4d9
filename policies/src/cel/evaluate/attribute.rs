//! Attributes: a root and what is selected from it, step by step. Every step is paid for when it is taken.

use super::{Evaluation, Field, Outcome, Slot};
use crate::cel::cost::SELECT;
use crate::cel::error::EvalError;
use crate::cel::plan::{Attribute, Qualifier, Root, Selector};
use crate::cel::value::Value;

impl<'p, 'a> Evaluation<'p, 'a, '_, '_> {
    /// The attribute where it stands for itself: paid for, unless it is a conditional; a presence test takes its price back.
    pub(super) fn attribute(&mut self, attribute: &'p Attribute) -> Outcome<'a> {
        let test = attribute.qualifiers.last().is_some_and(|last| last.test);
        let outcome = self.resolve(attribute);
        if let Err(reason) = &outcome
            && reason.aborts()
        {
            return outcome;
        }
        match (matches!(attribute.root, Root::Conditional(_)), test) {
            (true, true) => self.meter.refund(SELECT),
            (false, false) => self.meter.charge(SELECT)?,
            (true, false) | (false, true) => {}
        }
        match outcome? {
            Value::Optional(found) if test => Ok(Value::Bool(found.is_some())),
            value => Ok(value),
        }
    }

    /// The value of an attribute, not paid for itself.
    fn resolve(&mut self, attribute: &'p Attribute) -> Outcome<'a> {
        let mut qualifiers = attribute.qualifiers.iter();
        let root = match &attribute.root {
            Root::Value(node) => self.node(node)?,
            Root::Local(slot) => self.local(*slot)?,
            Root::Unknown(name) => return Err(EvalError::NoSuchAttribute(name.clone())),
            Root::Conditional(branches) => {
                let (condition, then, otherwise) = &**branches;
                match self.node(condition)? {
                    Value::Bool(true) => self.resolve(then)?,
                    Value::Bool(false) => self.resolve(otherwise)?,
                    _ => return Err(EvalError::no_such()),
                }
            }
            Root::Variable(name) => match self.lazy(name, attribute.qualifiers.first())? {
                Lazy::No => self.bindings.get(name).ok_or_else(|| EvalError::NoSuchAttribute(name.clone()))??,
                Lazy::Absent => return Ok(Value::Optional(None)),
                Lazy::Field(value) => {
                    let optional = qualifiers.next().is_some_and(|first| first.optional);
                    return self.select(value, optional, qualifiers);
                }
                Lazy::Tested(found) => return Ok(Value::Bool(found)),
            },
        };
        self.select(root, false, qualifiers)
    }

    fn local(&mut self, slot: usize) -> Outcome<'a> {
        match self.slots.get(slot) {
            Some(Slot::Ready(outcome)) => outcome.clone(),
            Some(Slot::Pending(init)) => {
                let init = *init;
                let outcome = self.node(init);
                self.set(slot, outcome.clone());
                outcome
            }
            Some(Slot::Empty) | None => Err(EvalError::NoSuchAttribute("comprehension variable".into())),
        }
    }

    /// The first selection from a variable whose fields are found only when needed.
    fn lazy(&mut self, name: &str, first: Option<&'p Qualifier>) -> Result<Lazy<'a>, EvalError> {
        let Some(Qualifier { key: Selector::Constant(Value::String(field)), optional, test }) = first else { return Ok(Lazy::No) };
        let found = match self.bindings.field(name, field) {
            Field::NotLazy => return Ok(Lazy::No),
            Field::Absent => None,
            Field::Found(outcome) => Some(outcome),
        };
        match found {
            None if *optional => return Ok(Lazy::Absent),
            _ => self.meter.charge(SELECT)?,
        }
        match found.transpose()? {
            found if *test => Ok(Lazy::Tested(found.is_some())),
            Some(value) => Ok(Lazy::Field(value)),
            None => Err(EvalError::NoSuchKey((&**field).into())),
        }
    }

    /// Selects step by step. Once something is optional, so is the result, and what is missing ends it without an error.
    fn select(&mut self, root: Value<'a>, optional: bool, qualifiers: std::slice::Iter<'p, Qualifier>) -> Outcome<'a> {
        let (mut value, mut optional) = match root {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => ((*inner).clone(), true),
            other => (other, optional),
        };
        for qualifier in qualifiers {
            optional = optional || qualifier.optional;
            let found = self.step(&value, qualifier, optional || qualifier.test);
            if let Err(reason) = &found
                && reason.aborts()
            {
                return found.map(|_| Value::Null);
            }
            // A step towards something optional is paid for only if it leads anywhere.
            if !optional || matches!(found, Ok(Some(_))) {
                self.meter.charge(SELECT)?;
            }
            value = match found? {
                found if qualifier.test && !optional => Value::Bool(found.is_some()),
                Some(found) => found,
                None => return Ok(Value::Optional(None)),
            };
        }
        Ok(if optional { Value::optional(Some(value)) } else { value })
    }

    /// One step; `None` only if `presence` and it leads nowhere.
    fn step(&mut self, value: &Value<'a>, qualifier: &'p Qualifier, presence: bool) -> Result<Option<Value<'a>>, EvalError> {
        let computed;
        let key = match &qualifier.key {
            Selector::Constant(key) => key,
            Selector::Attribute(attribute) => {
                computed = self.resolve(attribute)?;
                &computed
            }
            Selector::Value(node) => {
                computed = self.node(node)?;
                &computed
            }
        };
        if !matches!(key, Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::String(_)) {
            return Err(EvalError::invalid(format!("invalid qualifier type: {}", key.type_name())));
        }
        let found = match value {
            Value::Map(map) => map.get(key),
            Value::List(list) => list.get(index(key)?),
            _ => None,
        };
        match (found, value) {
            (None, Value::Map(_) | Value::List(_) | Value::Optional(None)) if presence => Ok(None),
            (None, _) if presence && !self.strict_presence => Ok(None),
            (None, Value::List(_)) => Err(EvalError::OutOfBounds(shown(key).into())),
            (None, _) => Err(EvalError::NoSuchKey(shown(key).into())),
            (found, _) => Ok(found),
        }
    }
}

enum Lazy<'a> {
    No,
    Absent,
    Field(Value<'a>),
    Tested(bool),
}

/// A key as the index of a list; one that is negative is past the end.
fn index(key: &Value<'_>) -> Result<usize, EvalError> {
    let index = match key {
        Value::Int(index) => Some(i128::from(*index)),
        Value::Uint(index) => Some(i128::from(*index)),
        Value::Double(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(*number as i128),
        _ => None,
    };
    let index = index.ok_or_else(|| EvalError::invalid(format!("unsupported index {} in list", unsupported(key))))?;
    Ok(usize::try_from(index).unwrap_or(usize::MAX))
}

/// A number that is no index is told by its value, anything else by its type.
fn unsupported(key: &Value<'_>) -> String {
    match key {
        Value::Double(number) => format!("value {number}"),
        other => format!("type '{}'", other.type_name()),
    }
}

pub(crate) fn shown(key: &Value<'_>) -> String {
    match key {
        Value::String(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Double(number) => number.to_string(),
        other => other.type_name().to_owned(),
    }
}
