//! The walk over a checked tree that adds estimates up. Sizes are followed through literals, calls and comprehensions.

use std::collections::HashMap;

use super::{Estimate, Estimation, Operand, Range};
use crate::cel::check::{Checked, Reference};
use crate::cel::cost::{LIST, MAP, OBJECT, SELECT, TRAVERSAL};
use crate::cel::environment::Environment;
use crate::cel::expr::{Expr, Fold, Kind};
use crate::cel::library::order;
use crate::cel::types::Type;
use crate::cel::value::Value;

/// What an expression is estimated to cost.
pub(crate) fn estimate(environment: &Environment, checked: &Checked, root: &Expr) -> Range {
    let mut walk = Walk { environment, checked, sizes: HashMap::new(), entries: HashMap::new(), locals: Vec::new() };
    walk.cost(root)
}

/// Sizes of what is in a list or map.
#[derive(Clone, Copy)]
struct Entries {
    list: bool,
    key: Range,
    value: Range,
}

impl Entries {
    fn union(self, other: Self) -> Self {
        Self { list: self.list, key: self.key.union(other.key), value: self.value.union(other.value) }
    }
}

struct Local {
    name: std::sync::Arc<str>,
    size: Option<Range>,
    entries: Option<Entries>,
}

struct Walk<'e> {
    environment: &'e Environment,
    checked: &'e Checked,
    sizes: HashMap<u32, Range>,
    entries: HashMap<u32, Entries>,
    locals: Vec<Local>,
}

const FREE: Range = Range::exactly(0);

impl Walk<'_> {
    fn kind(&self, node: &Expr) -> &Type {
        self.checked.types.get(node.id as usize).unwrap_or(&Type::Dyn)
    }

    fn cost(&mut self, node: &Expr) -> Range {
        match &node.kind {
            Kind::Literal(_) => FREE,
            Kind::Ident(_) => Range::exactly(SELECT),
            Kind::Select { .. } if self.checked.references.contains_key(&node.id) => Range::exactly(SELECT),
            Kind::Select { operand, test, .. } => {
                let cost = self.cost(operand);
                match self.kind(operand) {
                    Type::Map(_) | Type::Object(_) if !test => cost.plus(Range::exactly(SELECT)),
                    _ => cost,
                }
            }
            Kind::Call { function, args, .. } if &**function == "dyn" => self.disguised(node, args),
            Kind::Call { target, args, .. } => self.call(node, target.as_deref(), args),
            Kind::List(elements) => {
                let cost = elements.iter().fold(FREE, |sum, element| sum.plus(self.cost(&element.value)));
                let value = self.spread(elements.iter().map(|element| &element.value));
                self.entries.insert(node.id, Entries { list: true, key: Range::exactly(1), value });
                cost.plus(Range::exactly(LIST))
            }
            Kind::Map(entries) => {
                let cost = entries.iter().fold(FREE, |sum, entry| sum.plus(self.cost(&entry.key)).plus(self.cost(&entry.value)));
                let key = self.spread(entries.iter().map(|entry| &entry.key));
                let value = self.spread(entries.iter().map(|entry| &entry.value));
                self.entries.insert(node.id, Entries { list: false, key, value });
                cost.plus(Range::exactly(MAP))
            }
            Kind::Object { fields, .. } => fields.iter().fold(Range::exactly(OBJECT), |sum, field| sum.plus(self.cost(&field.value))),
            Kind::Fold(fold) if binds(fold) => self.bind(node, fold),
            Kind::Fold(fold) => self.fold(node, fold),
        }
    }

    /// The sizes of several nodes as one range.
    fn spread<'x>(&self, nodes: impl Iterator<Item = &'x Expr>) -> Range {
        nodes.map(|node| self.size_or_unknown(node)).reduce(Range::union).unwrap_or(FREE)
    }

    fn disguised(&mut self, node: &Expr, args: &[Expr]) -> Range {
        let Some(arg) = args.first() else { return FREE };
        let cost = self.cost(arg);
        self.copy_sizes(node, arg);
        cost.plus(Range::exactly(1))
    }

    fn copy_sizes(&mut self, to: &Expr, from: &Expr) {
        if let Some(size) = self.size(from) {
            self.sizes.insert(to.id, size);
        }
        if let Some(entries) = self.entries_of(from) {
            self.entries.insert(to.id, entries);
        }
    }

    fn call(&mut self, node: &Expr, target: Option<&Expr>, args: &[Expr]) -> Range {
        let costs: Vec<Range> = args.iter().map(|arg| self.cost(arg)).collect();
        let Some(Reference::Function { name, qualified, overloads }) = self.checked.references.get(&node.id) else { return FREE };
        let target = target.filter(|_| !qualified);
        let of_target = target.map_or(FREE, |target| self.cost(target));
        let estimation = Estimation { target: target.map(|target| self.operand(target)), args: args.iter().map(|arg| self.operand(arg)).collect() };
        let mut total: Option<Range> = None;
        let mut size: Option<Range> = None;
        for id in overloads {
            let (cost, result) = self.overload(node, name, id, &estimation, args, &costs);
            total = Some(total.map_or(cost, |total| total.union(cost)));
            size = result.map(|result| size.map_or(result, |size| size.union(result))).or(size);
            if matches!(*id, "index_list" | "index_map") {
                size = args.first().and_then(|container| self.entries_of(container)).map(|entries| entries.value);
            }
            size = size.or_else(|| self.size(node));
        }
        if let Some(size) = size {
            self.sizes.insert(node.id, size);
        }
        total.map_or(FREE, |total| total.plus(of_target))
    }

    fn operand(&self, node: &Expr) -> Operand {
        let kind = self.kind(node).clone();
        let literal = match &node.kind {
            Kind::Literal(Value::Int(value)) => Some(*value),
            _ => None,
        };
        let element = matches!(kind, Type::List(_) | Type::Map(_)).then_some(Range::UNKNOWN);
        Operand { size: self.size_or_unknown(node), element, literal, kind }
    }

    /// The cost of one overload with its arguments, and the size of its result.
    fn overload(&mut self, node: &Expr, name: &str, id: &str, call: &Estimation, args: &[Expr], costs: &[Range]) -> (Range, Option<Range>) {
        let sum = costs.iter().fold(FREE, |sum, cost| sum.plus(*cost));
        match (id, costs, args) {
            // The second operand may not be looked at.
            ("logical_and" | "logical_or", [first, second], _) => return (Range { min: first.min, max: first.plus(*second).max }, None),
            ("conditional", [condition, then, otherwise], [_, yes, no]) => {
                self.join_entries(node, yes, no);
                let size = self.size_or_unknown(yes).union(self.size_or_unknown(no));
                return (condition.plus(then.union(*otherwise)), Some(size));
            }
            ("add_string" | "add_bytes" | "add_list", _, [a, b]) => self.join_entries(node, a, b),
            _ => {}
        }
        let function = self.environment.functions.get(name);
        let rule = function.and_then(|function| {
            let own = function.overloads.iter().find(|overload| overload.id == id).and_then(|overload| overload.estimate);
            own.or(function.estimate)
        });
        let estimate = match id {
            "equals" => comparison(call, true),
            "not_equals" => comparison(call, false),
            _ => rule.and_then(|rule| rule(call)),
        };
        let estimate = estimate.unwrap_or(Estimate::UNIT);
        (estimate.cost.plus(sum), estimate.size)
    }

    fn join_entries(&mut self, node: &Expr, a: &Expr, b: &Expr) {
        if let (Some(a), Some(b)) = (self.entries_of(a), self.entries_of(b)) {
            self.entries.insert(node.id, a.union(b));
        }
    }

    fn bind(&mut self, node: &Expr, fold: &Fold) -> Range {
        let cost = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_accumulator(fold);
        let cost = cost.plus(self.cost(&fold.result));
        self.locals.pop();
        self.copy_sizes(node, &fold.result);
        cost
    }

    fn push_accumulator(&mut self, fold: &Fold) {
        let (size, entries) = (self.size(&fold.init), self.entries_of(&fold.init));
        self.locals.push(Local { name: fold.accumulator.clone(), size, entries });
    }

    fn fold(&mut self, node: &Expr, fold: &Fold) -> Range {
        let cost = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_accumulator(fold);
        let outside = self.locals.len();
        let entries = self.entries_of(&fold.range);
        let list = entries.map_or_else(|| matches!(self.kind(&fold.range), Type::List(_)), |entries| entries.list);
        let (key, value) = (entries.map(|entries| entries.key), entries.map(|entries| entries.value));
        let first = if list && fold.second.is_none() { value } else { key };
        self.locals.push(Local { name: fold.variable.clone(), size: first, entries: None });
        if let Some(second) = &fold.second {
            self.locals.push(Local { name: second.clone(), size: value, entries: None });
        }
        let once = self.cost(&fold.condition).plus(self.cost(&fold.step));
        self.locals.truncate(outside);
        let cost = cost.plus(self.cost(&fold.result));
        self.locals.pop();
        let count = self.size_or_unknown(&fold.range);
        match &fold.init.kind {
            Kind::Literal(_) => {
                if let Some(size) = self.size(&fold.init) {
                    self.sizes.insert(node.id, size);
                }
            }
            Kind::List(_) | Kind::Map(_) => {
                self.sizes.insert(node.id, count);
                if let Some(entries) = self.entries_of(&fold.step) {
                    self.entries.insert(node.id, entries);
                }
            }
            _ => {}
        }
        cost.plus(count.times(once))
    }

    fn local(&self, node: &Expr) -> Option<&Local> {
        match &node.kind {
            Kind::Ident(name) => self.locals.iter().rev().find(|local| local.name == *name),
            _ => None,
        }
    }

    fn size_or_unknown(&self, node: &Expr) -> Range {
        self.size(node).unwrap_or(Range::UNKNOWN)
    }

    fn size(&self, node: &Expr) -> Option<Range> {
        if let Some(size) = self.sizes.get(&node.id) {
            return Some(*size);
        }
        match &node.kind {
            Kind::Literal(value) => return Some(Range::exactly(value.size().unwrap_or(1))),
            Kind::List(elements) => return Some(Range::exactly(elements.len() as u64)),
            Kind::Map(entries) => return Some(Range::exactly(entries.len() as u64)),
            _ => {}
        }
        if scalar(self.kind(node)) { Some(Range::exactly(1)) } else { self.local(node)?.size }
    }

    fn entries_of(&self, node: &Expr) -> Option<Entries> {
        self.entries.get(&node.id).copied().or_else(|| self.local(node)?.entries)
    }
}

/// Whether a comprehension only gives a value a name.
fn binds(fold: &Fold) -> bool {
    let nothing = matches!(&fold.range.kind, Kind::List(elements) if elements.is_empty());
    nothing && matches!(fold.condition.kind, Kind::Literal(Value::Bool(false)))
}

/// A type whose values all have the same size.
fn scalar(of: &Type) -> bool {
    match of {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        other => other.unwrap_optional().is_some_and(scalar),
    }
}

/// Longest name of a format, as the server assumes it.
const LONGEST_FORMAT: u64 = 64;

/// A comparison; equality of two opaque values of one type is cheap, but for the server's formats and URLs.
fn comparison(call: &Estimation, equality: bool) -> Option<Estimate> {
    let kinds = (call.args.first().map(|arg| &arg.kind), call.args.get(1).map(|arg| &arg.kind));
    match kinds {
        (Some(Type::Opaque(name, _)), Some(Type::Opaque(other, _))) if equality && name == other && name.contains('.') => {
            let max = match &**name {
                "kubernetes.NamedFormat" => Range { min: 1, max: LONGEST_FORMAT }.scaled(TRAVERSAL),
                "kubernetes.URL" if call.size(1) != Range::UNKNOWN => Range { min: 1, max: call.size(1).max }.scaled(TRAVERSAL),
                _ => Range::exactly(1),
            };
            Some(Estimate::cost(max))
        }
        _ => order::estimate_shorter(call),
    }
}
