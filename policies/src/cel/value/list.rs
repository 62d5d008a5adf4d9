//! Lists: borrowed from JSON, owned, or two joined without copying either.

use std::sync::Arc;

use serde_json::Value as Json;

use super::Value;
use crate::cel::error::EvalError;

/// Longest list an evaluation may make; without copying, `a + a` doubles for one unit of cost.
pub(crate) const MAX_LIST: usize = 1 << 24;

/// A list. Cheap to clone, immutable but for the accumulator of a comprehension.
#[derive(Clone, Debug)]
pub struct List<'a>(Repr<'a>);

#[derive(Clone, Debug)]
enum Repr<'a> {
    Json(&'a [Json]),
    Shared(Arc<Vec<Value<'a>>>),
    Joined { halves: Arc<(List<'a>, List<'a>)>, len: usize },
}

impl<'a> List<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Json(elements) => elements.len(),
            Repr::Shared(elements) => elements.len(),
            Repr::Joined { len, .. } => *len,
        }
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of elements that it holds itself, rather than the request or another list.
    pub(crate) fn owned(&self) -> usize {
        match &self.0 {
            Repr::Shared(elements) => elements.len(),
            Repr::Json(_) | Repr::Joined { .. } => 0,
        }
    }

    /// An element.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        let (mut list, mut index) = (self, index);
        loop {
            match &list.0 {
                Repr::Json(elements) => return elements.get(index).map(Value::from),
                Repr::Shared(elements) => return elements.get(index).cloned(),
                Repr::Joined { halves, .. } => {
                    let first = halves.0.len();
                    (list, index) = if index < first { (&halves.0, index) } else { (&halves.1, index - first) };
                }
            }
        }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        let mut pending = vec![self];
        let mut current: Slice<'_, 'a> = Slice::Json([].iter());
        std::iter::from_fn(move || {
            loop {
                if let Some(value) = current.next() {
                    return Some(value);
                }
                let mut list = pending.pop()?;
                current = loop {
                    match &list.0 {
                        Repr::Json(elements) => break Slice::Json(elements.iter()),
                        Repr::Shared(elements) => break Slice::Values(elements.iter()),
                        Repr::Joined { halves, .. } => {
                            pending.push(&halves.1);
                            list = &halves.0;
                        }
                    }
                };
            }
        })
    }

    /// Both lists one after the other; neither is copied.
    pub fn join(&self, other: &Self) -> Result<Self, EvalError> {
        if self.is_empty() {
            return Ok(other.clone());
        }
        if other.is_empty() {
            return Ok(self.clone());
        }
        let len = self.len() + other.len();
        if len > MAX_LIST {
            return Err(EvalError::Memory);
        }
        Ok(Self(Repr::Joined { halves: Arc::new((self.clone(), other.clone())), len }))
    }

    /// Adds to a list that nobody else holds, copying it first if somebody does.
    pub(crate) fn append(&mut self, elements: impl IntoIterator<Item = Value<'a>>) {
        if let Repr::Shared(own) = &mut self.0 {
            Arc::make_mut(own).extend(elements);
        } else {
            let mut own: Vec<Value<'a>> = self.iter().collect();
            own.extend(elements);
            *self = Self::from(own);
        }
    }
}

enum Slice<'l, 'a> {
    Json(std::slice::Iter<'a, Json>),
    Values(std::slice::Iter<'l, Value<'a>>),
}

impl<'a> Slice<'_, 'a> {
    fn next(&mut self) -> Option<Value<'a>> {
        match self {
            Self::Json(elements) => elements.next().map(Value::from),
            Self::Values(elements) => elements.next().cloned(),
        }
    }
}

impl<'a> From<Vec<Value<'a>>> for List<'a> {
    fn from(elements: Vec<Value<'a>>) -> Self {
        Self(Repr::Shared(Arc::new(elements)))
    }
}

impl<'a> From<&'a [Json]> for List<'a> {
    fn from(elements: &'a [Json]) -> Self {
        Self(Repr::Json(elements))
    }
}
