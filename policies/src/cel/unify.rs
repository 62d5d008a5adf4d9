//! Whether one type may stand where another is wanted, and what that says about the type variables in both.
//!
//! The rules are those of cel-go's `checker/types.go`; the bindings are undone by a trail instead of being copied for every try.

use std::sync::Arc;

use super::types::Type;

/// What is known about type variables.
#[derive(Debug, Default)]
pub(crate) struct Substitution {
    bound: Vec<Option<Type>>,
    trail: Vec<(u32, Option<Type>)>,
    /// Whether objects of any type are also maps and may stand for each other.
    json: bool,
}

impl Substitution {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, ..Self::default() }
    }

    /// A variable nothing is known about.
    pub(crate) fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Variable(u32::try_from(self.bound.len() - 1).unwrap_or(u32::MAX))
    }

    /// Whether all of `actual` may be passed as `declared`; if not, nothing is learnt from it.
    pub(crate) fn assignable_all(&mut self, actual: &[Type], declared: &[Type]) -> bool {
        let mark = self.trail.len();
        let fits = self.all(actual, declared);
        if !fits {
            self.undo(mark);
        }
        fits
    }

    /// Whether one type may be passed as the other.
    pub(crate) fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.assignable_all(std::slice::from_ref(a), std::slice::from_ref(b))
    }

    fn undo(&mut self, mark: usize) {
        while self.trail.len() > mark {
            if let Some((variable, before)) = self.trail.pop()
                && let Some(slot) = self.bound.get_mut(variable as usize)
            {
                *slot = before;
            }
        }
    }

    fn find(&self, variable: u32) -> Option<&Type> {
        self.bound.get(variable as usize).and_then(Option::as_ref)
    }

    fn bind(&mut self, variable: u32, to: Type) {
        if let Some(slot) = self.bound.get_mut(variable as usize) {
            self.trail.push((variable, slot.replace(to)));
        }
    }

    fn all(&mut self, a: &[Type], b: &[Type]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.fits(a, b))
    }

    fn fits(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Variable(variable) = b {
            let (valid, bound) = self.substitutes(a, *variable);
            if valid || bound {
                return valid;
            }
        }
        if let Type::Variable(variable) = a {
            return self.substitutes(b, *variable).0;
        }
        match (a, b) {
            (Type::Dyn | Type::Error, _) | (_, Type::Dyn | Type::Error) => true,
            (Type::Null, other) | (other, Type::Null) => nullable(other),
            (Type::List(a), Type::List(b)) => self.fits(a, b),
            (Type::Map(a), Type::Map(b)) => self.fits(&a.0, &b.0) && self.fits(&a.1, &b.1),
            (Type::Opaque(a, of_a), Type::Opaque(b, of_b)) => a == b && self.all(of_a, of_b),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::Object(_), Type::Object(_)) if self.json => true,
            (Type::Object(_), Type::Map(entry)) if self.json => self.fits(&Type::String, &entry.0) && self.fits(&Type::Dyn, &entry.1),
            (Type::Map(entry), Type::Object(_)) if self.json => self.fits(&entry.0, &Type::String) && self.fits(&entry.1, &Type::Dyn),
            _ => a == b,
        }
    }

    /// Of two types that agree, the more general.
    pub(crate) fn most_general(&self, a: &Type, b: &Type) -> Type {
        if self.json {
            return joined(a, b);
        }
        if less_specific(a, b) { a.clone() } else { b.clone() }
    }

    /// Whether the variable may be `to`, and whether something was known about it before.
    fn substitutes(&mut self, to: &Type, variable: u32) -> (bool, bool) {
        if *to == Type::Variable(variable) {
            return (true, true);
        }
        let Some(known) = self.find(variable).cloned() else {
            let free = self.absent(variable, to);
            if free {
                self.bind(variable, to.clone());
            }
            return (free, false);
        };
        if *to == known {
            return (true, true);
        }
        if !self.fits(to, &known) {
            return (false, true);
        }
        let general = self.most_general(to, &known);
        if self.absent(variable, &general) {
            self.bind(variable, general);
        }
        (true, true)
    }

    /// Whether the variable does not occur in the type.
    fn absent(&self, variable: u32, within: &Type) -> bool {
        match within {
            Type::Variable(other) if *other == variable => false,
            Type::Variable(other) => self.find(*other).is_none_or(|known| self.absent(variable, known)),
            Type::List(element) => self.absent(variable, element),
            Type::Map(entry) => self.absent(variable, &entry.0) && self.absent(variable, &entry.1),
            Type::Opaque(_, parameters) => parameters.iter().all(|parameter| self.absent(variable, parameter)),
            Type::Type(inner) => self.absent(variable, inner),
            _ => true,
        }
    }

    /// The type with what is known put in; with `finish`, what is not known is `dyn`.
    pub(crate) fn apply(&self, to: &Type, finish: bool) -> Type {
        match to {
            Type::Variable(variable) => match self.find(*variable) {
                Some(known) => self.apply(known, finish),
                None if finish => Type::Dyn,
                None => to.clone(),
            },
            Type::List(element) => Type::list(self.apply(element, finish)),
            Type::Map(entry) => Type::map(self.apply(&entry.0, finish), self.apply(&entry.1, finish)),
            Type::Opaque(name, parameters) if !parameters.is_empty() => {
                Type::Opaque(name.clone(), parameters.iter().map(|parameter| self.apply(parameter, finish)).collect())
            }
            Type::Type(inner) => Type::type_of(self.apply(inner, finish)),
            other => other.clone(),
        }
    }
}

fn nullable(of: &Type) -> bool {
    matches!(of, Type::Null | Type::Opaque(..) | Type::Object(_) | Type::Duration | Type::Timestamp)
}

/// Of two types that agree, what both are; objects that differ have nothing in common that can be said.
fn joined(a: &Type, b: &Type) -> Type {
    match (a, b) {
        (Type::List(a), Type::List(b)) => Type::list(joined(a, b)),
        (Type::Map(a), Type::Map(b)) => Type::map(joined(&a.0, &b.0), joined(&a.1, &b.1)),
        (Type::Opaque(name, of_a), Type::Opaque(other, of_b)) if name == other && of_a.len() == of_b.len() => {
            Type::Opaque(name.clone(), of_a.iter().zip(of_b.iter()).map(|(a, b)| joined(a, b)).collect())
        }
        (Type::Object(one), Type::Object(other)) if one != other => Type::Dyn,
        (Type::Object(_), Type::Map(_)) | (Type::Map(_), Type::Object(_)) => Type::Dyn,
        _ if less_specific(a, b) => a.clone(),
        _ => b.clone(),
    }
}

fn less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Variable(_), _) => true,
        (_, Type::Dyn | Type::Variable(_)) => false,
        (Type::List(a), Type::List(b)) => less_specific(a, b),
        (Type::Map(a), Type::Map(b)) => less_specific(&a.0, &b.0) && less_specific(&a.1, &b.1),
        (Type::Opaque(a, of_a), Type::Opaque(b, of_b)) => a == b && of_a.len() == of_b.len() && of_a.iter().zip(of_b.iter()).all(|(a, b)| less_specific(a, b)),
        (Type::Type(_), Type::Type(_)) => true,
        _ => a == b,
    }
}

/// A signature with its parameters replaced by fresh variables.
pub(crate) struct Instance<'s> {
    substitution: &'s mut Substitution,
    names: Vec<(Arc<str>, Type)>,
}

impl<'s> Instance<'s> {
    pub(crate) fn new(substitution: &'s mut Substitution) -> Self {
        Self { substitution, names: Vec::new() }
    }

    pub(crate) fn of(&mut self, declared: &Type) -> Type {
        match declared {
            Type::Param(name) => {
                if let Some((_, variable)) = self.names.iter().find(|(known, _)| known == name) {
                    return variable.clone();
                }
                let variable = self.substitution.fresh();
                self.names.push((name.clone(), variable.clone()));
                variable
            }
            Type::List(element) => Type::list(self.of(element)),
            Type::Map(entry) => Type::map(self.of(&entry.0), self.of(&entry.1)),
            Type::Opaque(name, parameters) if !parameters.is_empty() => {
                Type::Opaque(name.clone(), parameters.iter().map(|parameter| self.of(parameter)).collect())
            }
            Type::Type(inner) => Type::type_of(self.of(inner)),
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Instance, Substitution};
    use crate::cel::types::Type;

    #[test]
    fn a_failed_try_teaches_nothing() {
        let mut substitution = Substitution::default();
        let variable = substitution.fresh();
        assert!(!substitution.assignable_all(&[Type::Int, Type::Int], &[variable.clone(), Type::String]));
        assert_eq!(substitution.apply(&variable, true), Type::Dyn);
        assert!(substitution.assignable_all(&[Type::String], std::slice::from_ref(&variable)));
        assert_eq!(substitution.apply(&variable, true), Type::String);
    }

    #[test]
    fn a_variable_is_never_inside_itself() {
        let mut substitution = Substitution::default();
        let variable = substitution.fresh();
        assert!(!substitution.assignable(&Type::list(variable.clone()), &variable));
    }

    #[test]
    fn null_stands_for_objects_but_not_for_numbers() {
        let mut substitution = Substitution::default();
        assert!(substitution.assignable(&Type::Null, &Type::Timestamp));
        assert!(!substitution.assignable(&Type::Int, &Type::Null));
    }

    #[test]
    fn parameters_of_one_signature_are_one_variable() {
        let mut substitution = Substitution::default();
        let mut instance = Instance::new(&mut substitution);
        let (a, b) = (instance.of(&Type::param("A")), instance.of(&Type::list(Type::param("A"))));
        assert!(substitution.assignable_all(&[Type::Int, Type::list(Type::Int)], &[a.clone(), b.clone()]));
        assert!(!substitution.assignable_all(&[Type::String], &[a]));
        assert_eq!(substitution.apply(&b, true), Type::list(Type::Int));
    }
}
