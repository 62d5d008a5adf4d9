//! Values. What comes from a request is borrowed from its JSON and never copied; only what an expression makes is owned.
//!
//! Equality is the language's (numbers by value across types, `NaN` equal to nothing), not Rust's, and therefore a method.

mod equal;
mod list;
mod map;
mod opaque;
mod text;
mod time;

use std::sync::Arc;

use serde_json::Value as Json;

pub use list::List;
pub(crate) use list::MAX_LIST;
pub use map::{Key, Map, MapBuilder};
pub use opaque::Opaque;
pub use text::Text;
pub use time::{Duration, Timestamp};

use super::types::{OPTIONAL, Type};

/// A value; `'a` is the request it may borrow from. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `uint`.
    Uint(u64),
    /// `double`.
    Double(f64),
    /// `string`.
    String(Text<'a>),
    /// `bytes`.
    Bytes(Arc<[u8]>),
    /// `list`.
    List(List<'a>),
    /// `map`, and every object.
    Map(Map<'a>),
    /// `google.protobuf.Duration`.
    Duration(Duration),
    /// `google.protobuf.Timestamp`.
    Timestamp(Timestamp),
    /// A type as a value.
    Type(Type),
    /// `optional_type`, with or without a value.
    Optional(Option<Arc<Value<'a>>>),
    /// What only functions can look into.
    Opaque(Arc<dyn Opaque>),
}

impl<'a> Value<'a> {
    /// A string that an expression made.
    pub fn string(text: impl AsRef<str>) -> Self {
        Self::String(Text::Shared(text.as_ref().into()))
    }

    /// A list that an expression made.
    pub fn list(elements: Vec<Value<'a>>) -> Self {
        Self::List(List::from(elements))
    }

    /// Bytes that an expression made.
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bytes(bytes.as_ref().into())
    }

    /// An optional value.
    pub fn optional(value: Option<Value<'a>>) -> Self {
        Self::Optional(value.map(Arc::new))
    }

    /// A value only functions can look into.
    pub fn opaque(value: impl Opaque) -> Self {
        Self::Opaque(Arc::new(value))
    }

    /// The inside of an opaque value of this Rust type.
    pub fn downcast<T: 'static>(&self) -> Option<&T> {
        match self {
            Self::Opaque(inner) => inner.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The list, if it is one.
    pub fn as_list(&self) -> Option<&List<'a>> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// Its type as `type(x)` returns it, without parameters.
    pub fn kind(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Self::Duration(_) => Type::Duration,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Type(_) => Type::type_of(Type::Dyn),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Opaque(inner) => inner.kind(),
        }
    }

    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Type(_) => "type",
            Self::Optional(_) => OPTIONAL,
            Self::Opaque(inner) => inner.type_name(),
        }
    }

    /// Number of characters, bytes, elements or entries; `None` where `size()` is not defined.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::String(text) => Some(text.chars().count() as u64),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::List(list) => Some(list.len() as u64),
            Self::Map(map) => Some(map.len() as u64),
            Self::Opaque(inner) => inner.size(),
            _ => None,
        }
    }

    /// Whether it is the zero or empty value of its type (`optional.ofNonZeroValue`).
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::Duration(value) => value.nanoseconds() == 0,
            Self::Timestamp(value) => *value == Timestamp::MIN,
            Self::Optional(value) => value.is_none(),
            Self::Type(_) => false,
            Self::String(_) | Self::Bytes(_) | Self::List(_) | Self::Map(_) | Self::Opaque(_) => self.size() == Some(0),
        }
    }
}

/// Numbers are as the API server decodes them: an integer that fits is an `int`, everything else a `double`.
impl<'a> From<&'a Json> for Value<'a> {
    fn from(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => number.as_i64().map_or_else(|| Self::Double(number.as_f64().unwrap_or(f64::NAN)), Self::Int),
            Json::String(text) => Self::String(Text::Borrowed(text)),
            Json::Array(elements) => Self::List(List::from(elements.as_slice())),
            Json::Object(fields) => Self::Map(Map::from(fields)),
        }
    }
}
