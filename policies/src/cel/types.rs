//! Types of the language: what the checker deduces, what overloads declare, what `type(x)` returns.
//!
//! A type says nothing about Kubernetes objects but their names; the fields of named objects are the environment's.

use std::fmt;
use std::sync::Arc;

use super::value::Value;

/// A type. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Decided when evaluated.
    Dyn,
    /// Already reported as an error; agrees with everything.
    Error,
    /// `null_type`.
    Null,
    /// `bool`.
    Bool,
    /// `int`, 64 bits.
    Int,
    /// `uint`, 64 bits.
    Uint,
    /// `double`.
    Double,
    /// `string`.
    String,
    /// `bytes`.
    Bytes,
    /// `google.protobuf.Duration`.
    Duration,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `list(T)`.
    List(Arc<Type>),
    /// `map(K, V)`.
    Map(Arc<(Type, Type)>),
    /// An object whose fields the environment knows by this name.
    Object(Arc<str>),
    /// A value only functions can look into: `net.IP`, `kubernetes.Quantity`; `Vec` of its parameters.
    Opaque(Arc<str>, Arc<[Type]>),
    /// `type(T)`.
    Type(Arc<Type>),
    /// A parameter of a signature.
    Param(Arc<str>),
    /// A variable of the checker.
    Variable(u32),
}

/// The name of optional values' type.
pub(crate) const OPTIONAL: &str = "optional_type";

impl Type {
    /// `list(element)`.
    pub fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    /// `map(key, value)`.
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    /// `optional_type(inner)`.
    pub fn optional(inner: Self) -> Self {
        Self::Opaque(OPTIONAL.into(), [inner].into())
    }

    /// An opaque type without parameters.
    pub fn opaque(name: &str) -> Self {
        Self::Opaque(name.into(), [].into())
    }

    /// An object type by its name.
    pub fn object(name: &str) -> Self {
        Self::Object(name.into())
    }

    /// `type(inner)`.
    pub fn type_of(inner: Self) -> Self {
        Self::Type(Arc::new(inner))
    }

    /// A parameter of a signature, by convention a capital letter.
    pub fn param(name: &str) -> Self {
        Self::Param(name.into())
    }

    /// What is inside an optional type.
    pub fn unwrap_optional(&self) -> Option<&Self> {
        match self {
            Self::Opaque(name, parameters) if &**name == OPTIONAL => parameters.first(),
            _ => None,
        }
    }

    /// Whether it is left to the evaluation.
    pub fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn)
    }

    /// The name without parameters, as `type(x)` is compared and printed.
    pub fn name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Error => "*error*",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Object(name) | Self::Opaque(name, _) | Self::Param(name) => name,
            Self::Type(_) => "type",
            Self::Variable(_) => "type_param",
        }
    }

    /// Whether a value may be passed where this type is declared. Parameters are erased but for the first element, as in cel-go.
    pub fn admits(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Dyn | Self::Error | Self::Param(_) | Self::Variable(_), _) => true,
            (Self::List(element), Value::List(list)) => list.get(0).is_none_or(|first| element.admits(&first)),
            (Self::Map(entry), Value::Map(map)) => map.first().is_none_or(|(key, value)| entry.0.admits(&key) && entry.1.admits(&value)),
            (Self::Object(_), Value::Map(_)) => true,
            _ => self.name() == value.type_name(),
        }
    }
}

/// In the alternate form as cel-go's checker writes them in what it reports.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |f: &mut fmt::Formatter<'_>, inner: &Self| fmt::Display::fmt(inner, f);
        match self {
            Self::Timestamp if f.alternate() => f.write_str("timestamp"),
            Self::Duration if f.alternate() => f.write_str("duration"),
            Self::List(element) => {
                f.write_str("list(")?;
                part(f, element)?;
                f.write_str(")")
            }
            Self::Map(entry) => {
                f.write_str("map(")?;
                part(f, &entry.0)?;
                f.write_str(", ")?;
                part(f, &entry.1)?;
                f.write_str(")")
            }
            Self::Type(inner) => {
                f.write_str("type(")?;
                part(f, inner)?;
                f.write_str(")")
            }
            Self::Opaque(name, parameters) if !parameters.is_empty() => {
                write!(f, "{name}(")?;
                for (index, parameter) in parameters.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    part(f, parameter)?;
                }
                f.write_str(")")
            }
            Self::Null => f.write_str("null"),
            _ => f.write_str(self.name()),
        }
    }
}
