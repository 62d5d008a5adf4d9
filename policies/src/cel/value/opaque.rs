//! Values only functions can look into: addresses, quantities, formats, the authorizer.

use std::any::Any;
use std::fmt::Debug;

use crate::cel::types::Type;

/// A value only functions can look into. It knows its type, its equals and, if it has one, its size.
pub trait Opaque: Any + Debug + Send + Sync {
    /// The name of its type.
    fn type_name(&self) -> &'static str;

    /// Its type.
    fn kind(&self) -> Type {
        Type::opaque(self.type_name())
    }

    /// Whether it equals another; `None` where the server finds no overload to compare them.
    fn equals(&self, other: &dyn Opaque) -> Option<bool>;

    /// The size that cost rules count, where the server's type has one.
    fn size(&self) -> Option<u64> {
        None
    }

    /// For downcasting: `self`.
    fn as_any(&self) -> &dyn Any;
}
