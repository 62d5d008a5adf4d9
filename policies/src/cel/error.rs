//! Why an expression has no value. It holds words and no cause: an error is a value of the language, which `||` may absorb
//! and an accumulator may carry, so it is cheap to clone. What must end an evaluation is told apart by [`EvalError::aborts`].

use std::sync::Arc;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A map has no such key, an object no such field.
    #[error("no such key: {0}")]
    NoSuchKey(Arc<str>),
    /// A list is shorter.
    #[error("index out of bounds: {0}")]
    OutOfBounds(Arc<str>),
    /// Nothing is bound to the name.
    #[error("no such attribute(s): {0}")]
    NoSuchAttribute(Arc<str>),
    /// The function takes no such arguments; what follows is a colon with its name, or nothing.
    #[error("no such overload{0}")]
    NoSuchOverload(Arc<str>),
    /// The result does not fit its type.
    #[error("{0} overflow")]
    Overflow(&'static str),
    /// Division or modulus by zero.
    #[error("{0} by zero")]
    ByZero(&'static str),
    /// What a function says about its arguments.
    #[error("{0}")]
    Invalid(Arc<str>),
    /// The cost limit is reached.
    #[error("operation cancelled: actual cost limit exceeded")]
    Budget,
    /// The values made so far would take more memory than an evaluation may have.
    #[error("operation cancelled: memory limit exceeded")]
    Memory,
    /// The caller gave up waiting.
    #[error("operation interrupted")]
    Interrupted,
}

impl EvalError {
    /// What a function says about its arguments.
    pub fn invalid(words: impl AsRef<str>) -> Self {
        Self::Invalid(words.as_ref().into())
    }

    /// The function takes no such arguments.
    pub fn no_overload(function: impl AsRef<str>) -> Self {
        Self::NoSuchOverload(format!(": {}", function.as_ref()).into())
    }

    /// The same, where cel-go names nothing.
    pub fn no_such() -> Self {
        Self::NoSuchOverload("".into())
    }

    /// Whether the evaluation is over whatever the expression would make of the error.
    pub fn aborts(&self) -> bool {
        matches!(self, Self::Budget | Self::Memory | Self::Interrupted)
    }
}
