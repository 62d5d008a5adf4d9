//! Maps: borrowed JSON objects, or owned. Objects of the API are maps here: the server's schemaless path sees them so.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::{Text, Value};

/// A key: only these types can be one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `uint`.
    Uint(u64),
    /// `string`.
    String(Text<'a>),
    /// `double`, by its bits: no key of the language, but the server takes it in map literals.
    Double(u64),
}

impl<'a> Key<'a> {
    /// The key that a value is, if its type can be one.
    pub fn of(value: &Value<'a>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Uint(value) => Some(Self::Uint(*value)),
            Value::String(text) => Some(Self::String(text.clone())),
            Value::Double(number) => Some(Self::Double(number.to_bits())),
            _ => None,
        }
    }

    /// The same number as the other integer type, if it fits.
    pub(crate) fn sibling(&self) -> Option<Self> {
        match self {
            Self::Int(value) => u64::try_from(*value).ok().map(Self::Uint),
            Self::Uint(value) => i64::try_from(*value).ok().map(Self::Int),
            Self::Bool(_) | Self::String(_) | Self::Double(_) => None,
        }
    }
}

impl<'a> From<Key<'a>> for Value<'a> {
    fn from(key: Key<'a>) -> Self {
        match key {
            Key::Bool(value) => Self::Bool(value),
            Key::Int(value) => Self::Int(value),
            Key::Uint(value) => Self::Uint(value),
            Key::String(text) => Self::String(text),
            Key::Double(bits) => Self::Double(f64::from_bits(bits)),
        }
    }
}

/// Entries of a map in the making.
pub type MapBuilder<'a> = IndexMap<Key<'a>, Value<'a>>;

/// A map. Cheap to clone, immutable but for the accumulator of a comprehension; entries keep their order.
#[derive(Clone, Debug)]
pub struct Map<'a>(Repr<'a>);

#[derive(Clone, Debug)]
enum Repr<'a> {
    Json(&'a serde_json::Map<String, Json>),
    Shared(Arc<MapBuilder<'a>>),
}

impl<'a> Map<'a> {
    /// Number of entries.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Json(fields) => fields.len(),
            Repr::Shared(entries) => entries.len(),
        }
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        match &self.0 {
            Repr::Json(fields) => fields.get(name).map(Value::from),
            Repr::Shared(entries) => entries.get(&Key::String(Text::Borrowed(name))).cloned(),
        }
    }

    /// The value of a key; an `int` finds an equal `uint` and the reverse, a `double` an equal integer.
    pub fn get(&self, key: &Value<'_>) -> Option<Value<'a>> {
        if let Value::String(name) = key {
            return self.field(name);
        }
        let Repr::Shared(entries) = &self.0 else { return None };
        let exact = Key::of(key)?;
        let found = entries.get(&exact).or_else(|| match key {
            Value::Double(number) => integral(*number).and_then(|key| entries.get(&key).or_else(|| entries.get(&key.sibling()?))),
            _ => entries.get(&exact.sibling()?),
        });
        found.cloned()
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        self.iter().map(|(key, _)| key)
    }

    /// The entries in order.
    pub fn iter(&self) -> Entries<'_, 'a> {
        match &self.0 {
            Repr::Json(fields) => Entries::Json(fields.iter()),
            Repr::Shared(entries) => Entries::Shared(entries.iter()),
        }
    }

    /// The first entry.
    pub fn first(&self) -> Option<(Value<'a>, Value<'a>)> {
        self.iter().next()
    }

    /// Adds an entry to a map that nobody else holds, copying it first if somebody does; false if it has an equal key.
    pub(crate) fn insert(&mut self, key: Key<'a>, value: Value<'a>) -> bool {
        if let Repr::Json(_) = self.0 {
            let entries = self.iter().filter_map(|(key, value)| Some((Key::of(&key)?, value))).collect();
            self.0 = Repr::Shared(Arc::new(entries));
        }
        let Repr::Shared(entries) = &mut self.0 else { return false };
        if entries.contains_key(&key) || key.sibling().is_some_and(|sibling| entries.contains_key(&sibling)) {
            return false;
        }
        Arc::make_mut(entries).insert(key, value);
        true
    }
}

/// A key equal to a double.
fn integral(number: f64) -> Option<Key<'static>> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if number.fract() != 0.0 {
        return None;
    }
    if (-TWO_TO_63..TWO_TO_63).contains(&number) {
        Some(Key::Int(number as i64))
    } else {
        (TWO_TO_63..TWO_TO_63 * 2.0).contains(&number).then_some(Key::Uint(number as u64))
    }
}

/// Iterates over the entries of a map.
#[derive(Debug)]
pub enum Entries<'m, 'a> {
    /// Of a JSON object.
    Json(serde_json::map::Iter<'a>),
    /// Of an owned map.
    Shared(indexmap::map::Iter<'m, Key<'a>, Value<'a>>),
}

impl<'a> Iterator for Entries<'_, 'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Json(fields) => fields.next().map(|(name, value)| (Value::String(Text::Borrowed(name)), Value::from(value))),
            Self::Shared(entries) => entries.next().map(|(key, value)| (key.clone().into(), value.clone())),
        }
    }
}

impl<'a> From<&'a serde_json::Map<String, Json>> for Map<'a> {
    fn from(fields: &'a serde_json::Map<String, Json>) -> Self {
        Self(Repr::Json(fields))
    }
}

impl<'a> From<MapBuilder<'a>> for Map<'a> {
    fn from(entries: MapBuilder<'a>) -> Self {
        Self(Repr::Shared(Arc::new(entries)))
    }
}
