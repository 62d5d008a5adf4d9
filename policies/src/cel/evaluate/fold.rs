//! Comprehensions. Accumulators are computed when first read, and added to in place.

use super::{Evaluation, Outcome, Slot};
use crate::cel::cost::SELECT;
use crate::cel::error::EvalError;
use crate::cel::library::two_variables;
use crate::cel::plan::{FoldNode, Node};
use crate::cel::unserved::go_type;
use crate::cel::value::Value;

impl<'p, 'a> Evaluation<'p, 'a, '_, '_> {
    pub(super) fn fold(&mut self, fold: &'p FoldNode) -> Outcome<'a> {
        let range = self.node(&fold.range)?;
        self.put(fold.accumulator, Slot::Pending(&fold.init));
        match (&range, fold.second) {
            (Value::List(list), None) => self.over(fold, list.iter().map(|element| (element, None)))?,
            (Value::List(list), Some(_)) => {
                let indexed = list.iter().enumerate();
                self.over(fold, indexed.map(|(index, element)| (Value::Int(i64::try_from(index).unwrap_or(i64::MAX)), Some(element))))?;
            }
            (Value::Map(map), None) => self.over(fold, map.keys().map(|key| (key, None)))?,
            (Value::Map(map), Some(_)) => self.over(fold, map.iter().map(|(key, value)| (key, Some(value))))?,
            (other, None) => return Err(EvalError::invalid(format!("got '{}', expected iterable type", go_type(other)))),
            (other, Some(_)) => return Err(EvalError::invalid(format!("unsupported comprehension range type: {}", go_type(other)))),
        }
        let result = self.node(&fold.result);
        for slot in [Some(fold.accumulator), Some(fold.variable), fold.second].into_iter().flatten() {
            self.put(slot, Slot::Empty);
        }
        result
    }

    fn over(&mut self, fold: &'p FoldNode, items: impl Iterator<Item = (Value<'a>, Option<Value<'a>>)>) -> Result<(), EvalError> {
        for (first, second) in items {
            self.set(fold.variable, Ok(first));
            if let (Some(slot), Some(value)) = (fold.second, second) {
                self.set(slot, Ok(value));
            }
            match self.node(&fold.condition) {
                Ok(Value::Bool(false)) => return Ok(()),
                Err(reason) if reason.aborts() => return Err(reason),
                _ => {}
            }
            let step = self.node(&fold.step);
            if let Err(reason) = &step
                && reason.aborts()
            {
                return Err(reason.clone());
            }
            self.set(fold.accumulator, step);
            self.meter.iterated()?;
        }
        Ok(())
    }

    /// Adds a list to an accumulator; paid for as the accumulator read and one addition.
    pub(super) fn append(&mut self, slot: usize, added: &'p Node) -> Outcome<'a> {
        let accumulated = self.take(slot);
        self.meter.charge(SELECT)?;
        let added = self.node(added);
        if let Err(reason) = &added
            && reason.aborts()
        {
            return added;
        }
        self.meter.charge(1)?;
        match (accumulated?, added?) {
            (Value::List(mut list), Value::List(added)) => {
                self.meter.grow(added.len() as u64 * size_of::<Value<'_>>() as u64)?;
                list.append(added.iter());
                Ok(Value::List(list))
            }
            _ => Err(EvalError::no_overload("_+_")),
        }
    }

    /// Adds an entry, or all entries of a map, to an accumulator. An entry is not evaluated once there is an error, a map is.
    pub(super) fn insert(&mut self, slot: usize, entry: &'p [Node]) -> Outcome<'a> {
        let accumulated = self.take(slot);
        self.meter.charge(SELECT)?;
        let added = match (entry, &accumulated) {
            ([key, value], Ok(_)) => self.node(key).and_then(|key| Ok((key, self.node(value)?))).map(Added::Entry),
            ([map], _) => self.node(map).map(Added::All),
            _ => return accumulated,
        };
        match &added {
            Err(reason) if reason.aborts() => return Err(reason.clone()),
            Err(_) if entry.len() == 2 => {}
            _ => self.meter.charge(1)?,
        }
        match (accumulated?, added?) {
            (Value::Map(map), Added::Entry(entry)) => two_variables::insert(map, std::iter::once(entry)),
            (Value::Map(map), Added::All(Value::Map(added))) => two_variables::insert(map, added.iter()),
            _ => Err(EvalError::no_overload("cel.@mapInsert")),
        }
    }

    /// An accumulator out of its slot: nobody else can read it before the step puts it back.
    fn take(&mut self, slot: usize) -> Outcome<'a> {
        match self.slots.get_mut(slot).map(|held| std::mem::replace(held, Slot::Empty)) {
            Some(Slot::Ready(outcome)) => outcome,
            Some(Slot::Pending(init)) => self.node(init),
            Some(Slot::Empty) | None => Err(EvalError::NoSuchAttribute("accumulator".into())),
        }
    }

    pub(super) fn set(&mut self, slot: usize, outcome: Outcome<'a>) {
        self.put(slot, Slot::Ready(outcome));
    }

    fn put(&mut self, slot: usize, held: Slot<'p, 'a>) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = held;
        }
    }
}

enum Added<'a> {
    Entry((Value<'a>, Value<'a>)),
    All(Value<'a>),
}
