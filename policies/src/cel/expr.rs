//! The syntax tree. Macros are gone from it: only comprehensions remain. Every node has an id and a place in the source.

use std::sync::Arc;

use super::value::Value;

/// The accumulator of a comprehension. No source can spell it, so no expression reaches it.
pub(crate) const ACCUMULATOR: &str = "@result";
/// The iteration variable of a comprehension that only binds its accumulator.
pub(crate) const UNUSED: &str = "#unused";

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    /// Unique within the tree.
    pub(crate) id: u32,
    /// Byte offset in the source.
    pub(crate) offset: u32,
    /// Longest way down to a leaf, this node counted.
    pub(crate) height: u32,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Literal(Value<'static>),
    Ident(Arc<str>),
    Select { operand: Box<Expr>, field: Arc<str>, test: bool },
    Call { function: Arc<str>, target: Option<Box<Expr>>, args: Vec<Expr> },
    List(Vec<Element>),
    Map(Vec<Entry>),
    Object { name: Arc<str>, fields: Vec<Field> },
    Fold(Box<Fold>),
}

/// An element of a list literal.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// An entry of a map literal.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A field of an object literal.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) offset: u32,
    pub(crate) name: Arc<str>,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A comprehension.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) range: Expr,
    pub(crate) variable: Arc<str>,
    /// The second variable: then the first is the index or key, this the element or value.
    pub(crate) second: Option<Arc<str>>,
    pub(crate) accumulator: Arc<str>,
    pub(crate) init: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

impl Expr {
    /// The nodes below it.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) => vec![],
            Kind::Select { operand, .. } => vec![operand],
            Kind::Call { target, args, .. } => target.iter().map(|target| &**target).chain(args).collect(),
            Kind::List(elements) => elements.iter().map(|element| &element.value).collect(),
            Kind::Map(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect(),
            Kind::Object { fields, .. } => fields.iter().map(|field| &field.value).collect(),
            Kind::Fold(fold) => vec![&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result],
        }
    }

    /// `a.b.c` as one name, if it is nothing else.
    pub(crate) fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select { operand, field, test: false } => Some(format!("{}.{field}", operand.qualified_name()?)),
            _ => None,
        }
    }
}

/// Makes nodes with ids of their own.
#[derive(Debug, Default)]
pub(crate) struct Factory {
    last_id: u32,
}

impl Factory {
    pub(crate) fn node(&mut self, offset: u32, kind: Kind) -> Expr {
        self.last_id += 1;
        let mut node = Expr { id: self.last_id, offset, height: 1, kind };
        node.height = node.children().iter().map(|child| child.height).max().unwrap_or(0) + 1;
        node
    }

    pub(crate) fn literal(&mut self, offset: u32, value: Value<'static>) -> Expr {
        self.node(offset, Kind::Literal(value))
    }

    pub(crate) fn ident(&mut self, offset: u32, name: &str) -> Expr {
        self.node(offset, Kind::Ident(name.into()))
    }

    pub(crate) fn call(&mut self, offset: u32, function: &str, args: Vec<Expr>) -> Expr {
        self.node(offset, Kind::Call { function: function.into(), target: None, args })
    }

    pub(crate) fn member(&mut self, offset: u32, function: &str, target: Expr, args: Vec<Expr>) -> Expr {
        self.node(offset, Kind::Call { function: function.into(), target: Some(Box::new(target)), args })
    }

    pub(crate) fn list(&mut self, offset: u32, values: Vec<Expr>) -> Expr {
        self.node(offset, Kind::List(values.into_iter().map(|value| Element { value, optional: false }).collect()))
    }

    /// The same tree with ids of its own.
    pub(crate) fn copy(&mut self, original: &Expr) -> Expr {
        let mut copy = original.clone();
        self.renumber(&mut copy);
        copy
    }

    fn renumber(&mut self, node: &mut Expr) {
        self.last_id += 1;
        node.id = self.last_id;
        match &mut node.kind {
            Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => self.renumber(operand),
            Kind::Call { target, args, .. } => target.iter_mut().map(|target| &mut **target).chain(args).for_each(|node| self.renumber(node)),
            Kind::List(elements) => elements.iter_mut().for_each(|element| self.renumber(&mut element.value)),
            Kind::Map(entries) => entries.iter_mut().flat_map(|entry| [&mut entry.key, &mut entry.value]).for_each(|node| self.renumber(node)),
            Kind::Object { fields, .. } => fields.iter_mut().for_each(|field| self.renumber(&mut field.value)),
            Kind::Fold(fold) => {
                let Fold { range, init, condition, step, result, .. } = &mut **fold;
                [range, init, condition, step, result].into_iter().for_each(|node| self.renumber(node));
            }
        }
    }

    /// The number of ids given so far, plus one: how long a table by id is.
    pub(crate) fn size(&self) -> usize {
        self.last_id as usize + 1
    }
}
