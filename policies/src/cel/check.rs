//! The checker: what every name and call refers to, and the type of every node. Which overloads a call may reach decides its cost.
//!
//! The rules are those of cel-go's `checker/checker.go`. In the lenient form it reports nothing and leaves calls open, for sources that
//! are to be run unchecked.

use std::collections::HashMap;
use std::sync::Arc;

use super::environment::{Environment, Lookup};
use super::expr::{Element, Entry, Expr, Field, Fold, Kind};
use super::issue::Issue;
use super::library::Function;
use super::library::strings::verbs;
use super::types::Type;
use super::unify::{Instance, Substitution};
use super::value::Value;

/// What a name or a call refers to.
#[derive(Clone, Debug)]
pub(crate) enum Reference {
    /// A variable of the environment.
    Variable(Arc<str>),
    /// A variable of a comprehension, by slot.
    Local(usize),
    /// A type as a value.
    Type(Type),
    /// Overloads of a function; if the receiver is part of the function's name, it is not an argument.
    Function { name: &'static str, qualified: bool, overloads: Vec<&'static str> },
}

/// The slots of a comprehension's variables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    pub(crate) variable: usize,
    pub(crate) second: usize,
    pub(crate) accumulator: usize,
}

/// A checked tree's tables, by node id.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) types: Vec<Type>,
    pub(crate) references: HashMap<u32, Reference>,
    pub(crate) slots: HashMap<u32, Slots>,
    pub(crate) slot_count: usize,
}

/// Checks a tree; all that is wrong is reported.
pub(crate) fn check(environment: &Environment, source: &str, root: &Expr, size: usize) -> Result<Checked, Vec<Issue>> {
    let mut checker = Checker {
        environment,
        source,
        substitution: Substitution::new(environment.json),
        types: vec![Type::Dyn; size],
        references: HashMap::new(),
        slots: HashMap::new(),
        slot_count: 0,
        scopes: Vec::new(),
        issues: Vec::new(),
    };
    checker.node(root);
    if environment.homogeneous && checker.issues.is_empty() {
        checker.aggregates(root);
    }
    if environment.lenient {
        checker.issues.clear();
    }
    if !checker.issues.is_empty() {
        return Err(checker.issues);
    }
    let types = checker.types.iter().map(|deduced| checker.substitution.apply(deduced, true)).collect();
    Ok(Checked { types, references: checker.references, slots: checker.slots, slot_count: checker.slot_count })
}

struct Local {
    name: Arc<str>,
    kind: Type,
    slot: usize,
}

struct Checker<'e> {
    environment: &'e Environment,
    source: &'e str,
    substitution: Substitution,
    types: Vec<Type>,
    references: HashMap<u32, Reference>,
    slots: HashMap<u32, Slots>,
    slot_count: usize,
    scopes: Vec<Local>,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn report(&mut self, offset: u32, message: impl Into<String>) {
        self.issues.push(Issue::at(self.source, offset, message));
    }

    fn known(&self, node: &Expr) -> Type {
        self.types.get(node.id as usize).cloned().unwrap_or(Type::Dyn)
    }

    fn resolved(&self, node: &Expr) -> Type {
        self.substitution.apply(&self.known(node), false)
    }

    fn node(&mut self, node: &Expr) {
        let deduced = match &node.kind {
            Kind::Literal(value) => value.kind(),
            Kind::Ident(name) => self.ident(node, name),
            Kind::Select { operand, field, test } => self.select(node, operand, field, *test),
            Kind::Call { function, args, .. } if &**function == "_?._" => self.optional_select(node, args),
            Kind::Call { function, target, args } => self.call(node, function, target.as_deref(), args),
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::Object { name, fields } => self.object(node, name, fields),
            Kind::Fold(fold) => self.fold(node, fold),
        };
        if let Some(slot) = self.types.get_mut(node.id as usize) {
            *slot = deduced;
        }
    }

    /// Looks a name up: variables of comprehensions first, then the environment's, from the innermost container outwards.
    fn lookup(&self, name: &str) -> Option<(Type, Reference)> {
        if let Some(local) = self.scopes.iter().rev().find(|local| *local.name == *name) {
            return Some((local.kind.clone(), Reference::Local(local.slot)));
        }
        let names = self.environment.candidates(name);
        names.iter().find_map(|candidate| {
            if let Some((name, kind)) = self.environment.variables.get_key_value(candidate.as_str()) {
                return Some((kind.clone(), Reference::Variable(name.clone())));
            }
            let named = self.environment.types.get(candidate.as_str())?;
            Some((Type::type_of(named.clone()), Reference::Type(named.clone())))
        })
    }

    fn ident(&mut self, node: &Expr, name: &str) -> Type {
        if let Some((kind, reference)) = self.lookup(name) {
            self.references.insert(node.id, reference);
            return kind;
        }
        let names = self.environment.variables.keys().map(|known| &**known).chain(self.scopes.iter().map(|local| &*local.name));
        let issue = Issue::at(self.source, node.offset, self.undeclared(name)).suggesting(name, names);
        self.issues.push(issue);
        Type::Error
    }

    fn undeclared(&self, name: &str) -> String {
        format!("undeclared reference to '{name}' (in container '{}')", self.environment.container)
    }

    fn select(&mut self, node: &Expr, operand: &Expr, field: &str, test: bool) -> Type {
        if let Some(name) = node.qualified_name()
            && !self.rooted_in_scope(node)
            && let Some((kind, reference)) = self.lookup(&name)
        {
            self.references.insert(node.id, reference);
            return kind;
        }
        let deduced = self.field(node, operand, field, false);
        if test { Type::Bool } else { self.substitution.apply(&deduced, false) }
    }

    /// Whether a qualified name begins with a variable of a comprehension, which then hides longer names.
    fn rooted_in_scope(&self, node: &Expr) -> bool {
        match &node.kind {
            Kind::Ident(name) => self.scopes.iter().any(|local| local.name == *name),
            Kind::Select { operand, .. } => self.rooted_in_scope(operand),
            _ => false,
        }
    }

    fn optional_select(&mut self, node: &Expr, args: &[Expr]) -> Type {
        let [operand, field] = args else { return Type::Error };
        let Kind::Literal(name) = &field.kind else { return Type::Error };
        let deduced = self.field(node, operand, name.as_str().unwrap_or_default(), true);
        let reference = Reference::Function { name: "_?._", qualified: false, overloads: vec!["select_optional_field"] };
        self.references.insert(node.id, reference);
        self.substitution.apply(&deduced, false)
    }

    fn field(&mut self, node: &Expr, operand: &Expr, field: &str, optional: bool) -> Type {
        self.node(operand);
        let of = self.resolved(operand);
        let inner = of.unwrap_optional();
        let optional = optional || inner.is_some();
        let deduced = match inner.unwrap_or(&of) {
            Type::Map(entry) => entry.1.clone(),
            Type::Object(name) => self.object_field(node.offset, name, field),
            variable @ Type::Variable(_) => {
                self.substitution.assignable(&Type::Dyn, variable);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            // The server declares these as objects without fields.
            Type::Opaque(name, _) if name.starts_with("kubernetes.") => {
                self.report(node.offset, format!("unexpected failed resolution of '{name}'"));
                Type::Error
            }
            other => {
                self.report(node.offset, format!("type '{other:#}' does not support field selection"));
                Type::Dyn
            }
        };
        if optional { Type::optional(deduced) } else { deduced }
    }

    fn object_field(&mut self, offset: u32, object: &str, field: &str) -> Type {
        match self.environment.field(object, field) {
            Lookup::Found(kind) => return kind,
            Lookup::NoObject => self.report(offset, format!("unexpected failed resolution of '{object}'")),
            Lookup::NoField => {
                let names = self.environment.fields_like(object, field);
                let issue = Issue::at(self.source, offset, format!("undefined field '{field}'")).suggesting(field, names.iter().map(String::as_str));
                // Dotted names are those of fields that lie one deeper.
                let deeper = || names.iter().filter(|name| name.contains('.')).min().cloned();
                let suggestion = issue.suggestion.clone().or_else(deeper);
                self.issues.push(Issue { suggestion, object: Some(object.into()), ..issue });
            }
        }
        Type::Error
    }

    fn call(&mut self, node: &Expr, name: &str, target: Option<&Expr>, args: &[Expr]) -> Type {
        for (position, arg) in args.iter().enumerate() {
            let before = self.issues.len();
            self.node(arg);
            if name == "_?_:_" && position > 0 {
                self.issues.iter_mut().skip(before).for_each(|issue| issue.conditional = true);
            }
        }
        let Some(target) = target else {
            return match self.environment.function(name) {
                Some(function) => self.resolve(node, function, None, args, false),
                None => self.no_function(node, name),
            };
        };
        if let Some(prefix) = target.qualified_name()
            && let Some(function) = self.environment.function(&format!("{prefix}.{name}"))
        {
            return self.resolve(node, function, None, args, true);
        }
        self.node(target);
        match self.environment.function(name) {
            Some(function) => self.resolve(node, function, Some(target), args, false),
            None => self.no_function(node, name),
        }
    }

    fn no_function(&mut self, node: &Expr, name: &str) -> Type {
        let issue = Issue::at(self.source, node.offset, self.undeclared(name)).suggesting(name, self.environment.functions.names());
        self.issues.push(issue);
        Type::Error
    }

    fn resolve(&mut self, node: &Expr, function: &Function, target: Option<&Expr>, args: &[Expr], qualified: bool) -> Type {
        let kinds: Vec<Type> = target.into_iter().chain(args).map(|arg| self.known(arg)).collect();
        let (overloads, result) =
            if matches!(function.name, "_&&_" | "_||_") { self.logical(function, &kinds, args) } else { self.candidates(function, target.is_some(), &kinds) };
        let open = overloads.is_empty() || self.environment.lenient;
        let reference = Reference::Function { name: function.name, qualified, overloads: if open { vec![] } else { overloads } };
        self.references.insert(node.id, reference);
        result.unwrap_or_else(|| {
            let shown: Vec<String> = kinds.iter().map(|kind| format!("{:#}", self.substitution.apply(kind, true))).collect();
            let signature = match (target, shown.split_first()) {
                (Some(_), Some((receiver, rest))) => format!("{receiver}.({})", rest.join(", ")),
                _ => format!("({})", shown.join(", ")),
            };
            self.report(node.offset, format!("found no matching overload for '{}' applied to '{signature}'", function.name));
            Type::Error
        })
    }

    fn logical(&mut self, function: &Function, kinds: &[Type], args: &[Expr]) -> (Vec<&'static str>, Option<Type>) {
        for (kind, arg) in kinds.iter().zip(args) {
            if !self.substitution.assignable(kind, &Type::Bool) {
                let found = self.substitution.apply(kind, true);
                self.report(arg.offset, format!("expected type 'bool' but found '{found:#}'"));
            }
        }
        (function.overloads.iter().map(|overload| overload.id).collect(), Some(Type::Bool))
    }

    /// Every overload the types admit; the first decides the result, unless another disagrees.
    fn candidates(&mut self, function: &Function, member: bool, kinds: &[Type]) -> (Vec<&'static str>, Option<Type>) {
        let mut ids = Vec::new();
        let mut result: Option<Type> = None;
        for overload in function.overloads.iter().filter(|overload| overload.member == member && overload.args.len() == kinds.len()) {
            let mut instance = Instance::new(&mut self.substitution);
            let declared: Vec<Type> = overload.args.iter().map(|arg| instance.of(arg)).collect();
            let returned = instance.of(&overload.result);
            if !self.substitution.assignable_all(kinds, &declared) {
                continue;
            }
            ids.push(overload.id);
            let returned = self.substitution.apply(&returned, false);
            result = Some(match result {
                None => returned,
                Some(first) if first.is_dyn() || first == returned => first,
                Some(_) => Type::Dyn,
            });
        }
        (ids, result)
    }

    fn list(&mut self, elements: &[Element]) -> Type {
        let mut joined = None;
        for element in elements {
            self.node(&element.value);
            let kind = self.unwrapped(&element.value, element.optional);
            joined = Some(self.join(joined, kind));
        }
        Type::list(joined.unwrap_or_else(|| self.substitution.fresh()))
    }

    fn map(&mut self, entries: &[Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            self.node(&entry.key);
            let key = self.known(&entry.key);
            keys = Some(self.join(keys, key));
            self.node(&entry.value);
            let value = self.unwrapped(&entry.value, entry.optional);
            values = Some(self.join(values, value));
        }
        let keys = keys.unwrap_or_else(|| self.substitution.fresh());
        Type::map(keys, values.unwrap_or_else(|| self.substitution.fresh()))
    }

    /// The type of an element or entry, what is inside if it is marked optional.
    fn unwrapped(&mut self, value: &Expr, optional: bool) -> Type {
        let kind = self.known(value);
        if !optional {
            return kind;
        }
        match kind.unwrap_optional() {
            Some(inner) => inner.clone(),
            None => {
                if !kind.is_dyn() {
                    self.report(value.offset, format!("expected type 'optional_type({kind:#})' but found '{kind:#}'"));
                }
                kind
            }
        }
    }

    fn join(&mut self, so_far: Option<Type>, next: Type) -> Type {
        match so_far {
            None => next,
            Some(so_far) if self.substitution.assignable(&so_far, &next) => self.substitution.most_general(&so_far, &next),
            // What must be uniform is looked at once all is checked: `format` is exempt.
            Some(_) => Type::Dyn,
        }
    }

    /// Every list and map literal has elements of one type, `dyn` being one too. Calls of `format` take what they like.
    fn aggregates(&mut self, node: &Expr) {
        match &node.kind {
            Kind::Call { function, target: Some(target), args } if &**function == "format" => return self.format(node, target, args),
            Kind::List(elements) => self.uniform(elements.iter().map(|element| (&element.value, element.optional))),
            Kind::Map(entries) => {
                self.uniform(entries.iter().map(|entry| (&entry.key, false)));
                self.uniform(entries.iter().map(|entry| (&entry.value, entry.optional)));
            }
            _ => {}
        }
        for child in node.children() {
            self.aggregates(child);
        }
    }

    /// A literal format beside a literal list of what to put in.
    fn format(&mut self, call: &Expr, target: &Expr, args: &[Expr]) {
        let (Kind::Literal(Value::String(text)), [Expr { kind: Kind::List(elements), .. }]) = (&target.kind, args) else { return };
        let kinds: Vec<Type> = elements.iter().map(|element| self.substitution.apply(&self.known(&element.value), true)).collect();
        if let Err((position, message)) = verbs::check(text, &kinds, false) {
            let place = position.and_then(|position| elements.get(position)).map_or(call.offset, |element| element.value.offset);
            self.report(place, message);
        }
    }

    fn uniform<'x>(&mut self, values: impl Iterator<Item = (&'x Expr, bool)>) {
        let mut expected: Option<Type> = None;
        for (value, optional) in values {
            let kind = self.substitution.apply(&self.known(value), true);
            let kind = kind.unwrap_optional().filter(|_| optional).cloned().unwrap_or(kind);
            match &expected {
                None => expected = Some(kind),
                Some(expected) if *expected == kind => {}
                // What is joined of two objects is no type of its own.
                Some(expected) if self.environment.json && self.substitution.assignable(expected, &kind) => {}
                Some(expected) => {
                    let message = format!("expected type '{expected:#}' but found '{kind:#}'");
                    return self.report(value.offset, message);
                }
            }
        }
    }

    fn object(&mut self, node: &Expr, name: &str, fields: &[Field]) -> Type {
        let names = self.environment.candidates(name);
        let found = names.iter().find_map(|candidate| self.environment.objects.get_key_value(candidate.as_str()));
        let object = found.map(|(name, _)| name.clone());
        if object.is_none() {
            let message = self.undeclared(name);
            self.report(node.offset, message);
        }
        for field in fields {
            self.node(&field.value);
            let Some(object) = &object else { continue };
            let declared = self.object_field(field.offset, object, &field.name);
            let kind = self.unwrapped(&field.value, field.optional);
            if !self.substitution.assignable(&declared, &kind) {
                let message = format!("expected type of field '{}' is '{declared:#}' but provided type is '{kind:#}'", field.name);
                self.report(field.offset, message);
            }
        }
        object.map_or(Type::Error, Type::Object)
    }

    fn fold(&mut self, node: &Expr, fold: &Fold) -> Type {
        self.node(&fold.range);
        self.node(&fold.init);
        let range = self.resolved(&fold.range);
        let accumulated = self.known(&fold.init);
        let (first, second) = self.iterated(fold, &range);

        let slots = Slots { variable: self.slot_count, second: self.slot_count + 1, accumulator: self.slot_count + 2 };
        self.slot_count += 3;
        self.slots.insert(node.id, slots);
        let outside = self.scopes.len();
        self.scopes.push(Local { name: fold.accumulator.clone(), kind: accumulated.clone(), slot: slots.accumulator });
        let inside = self.scopes.len();
        self.scopes.push(Local { name: fold.variable.clone(), kind: first, slot: slots.variable });
        if let Some(name) = &fold.second {
            self.scopes.push(Local { name: name.clone(), kind: second, slot: slots.second });
        }
        self.node(&fold.condition);
        self.assert(&fold.condition, &Type::Bool);
        self.node(&fold.step);
        self.assert(&fold.step, &accumulated);
        self.scopes.truncate(inside);
        self.node(&fold.result);
        self.scopes.truncate(outside);
        self.resolved(&fold.result)
    }

    /// The types of both variables.
    fn iterated(&mut self, fold: &Fold, range: &Type) -> (Type, Type) {
        match range {
            Type::List(element) if fold.second.is_some() => (Type::Int, (**element).clone()),
            Type::List(element) => ((**element).clone(), Type::Dyn),
            Type::Map(entry) => (entry.0.clone(), entry.1.clone()),
            Type::Object(_) if self.environment.json => (Type::String, Type::Dyn),
            Type::Dyn | Type::Error => (Type::Dyn, Type::Dyn),
            variable @ Type::Variable(_) => {
                self.substitution.assignable(&Type::Dyn, variable);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!("expression of type '{other:#}' cannot be range of a comprehension (must be list, map, or dynamic)");
                self.report(fold.range.offset, message);
                (Type::Error, Type::Error)
            }
        }
    }

    fn assert(&mut self, node: &Expr, wanted: &Type) {
        let found = self.known(node);
        if !self.substitution.assignable(wanted, &found) {
            let (wanted, found) = (self.substitution.apply(wanted, true), self.substitution.apply(&found, true));
            self.report(node.offset, format!("expected type '{wanted:#}' but found '{found:#}'"));
        }
    }
}
