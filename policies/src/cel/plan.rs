//! Checked tree to plan: what is evaluated, with names resolved to slots, calls to implementations, and constants folded.
//!
//! The shape is that of cel-go's planner because cost follows it: a chain of selections is one *attribute*, paid for once and once
//! for every qualifier; the branches of a conditional are attributes that are not paid for themselves; lists and maps of constants
//! are constants and free; membership in a constant list is free.

use std::sync::Arc;

use regex::Regex;

use super::check::{Checked, Reference};
use super::cost::CostRule;
use super::environment::Environment;
use super::error::EvalError;
use super::expr::{Element, Entry, Expr, Fold, Kind, UNUSED};
use super::issue::Issue;
use super::library::strings::verbs;
use super::library::{Call, Overload};
use super::pattern;
use super::types::Type;
use super::unserved::unserved;
use super::value::{Key, MapBuilder, Value};

/// Something that can be evaluated.
#[derive(Debug)]
pub(crate) enum Node {
    Constant(Result<Value<'static>, EvalError>),
    Attribute(Box<Attribute>),
    And([Box<Node>; 2]),
    Or([Box<Node>; 2]),
    Equal {
        operands: [Box<Node>; 2],
        negated: bool,
    },
    NotStrictlyFalse(Box<Node>),
    OptionalOr {
        operands: [Box<Node>; 2],
        unwrap: bool,
        strict: bool,
    },
    Member {
        value: Box<Node>,
        set: Vec<Value<'static>>,
    },
    Call(Box<CallNode>),
    List(Vec<Item>),
    /// With `last_wins`, of entries with one key the last counts; else they are an error.
    Map {
        entries: Vec<(Node, Item)>,
        last_wins: bool,
    },
    /// An object by its type's name. None can be made: it is paid for and then an error, as in the server.
    Object {
        name: Arc<str>,
        fields: Vec<Item>,
    },
    /// Adds to the accumulator of a comprehension in place.
    Append {
        slot: usize,
        added: Box<Node>,
    },
    /// The same with an entry, or with the entries of a map.
    Insert {
        slot: usize,
        entry: Vec<Node>,
    },
    Fold(Box<FoldNode>),
}

/// An element, entry or field.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) node: Node,
    pub(crate) optional: bool,
}

/// A variable or value and what is selected from it.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) root: Root,
    pub(crate) qualifiers: Vec<Qualifier>,
}

#[derive(Debug)]
pub(crate) enum Root {
    Variable(Arc<str>),
    Local(usize),
    /// A name nothing was declared for.
    Unknown(Arc<str>),
    /// The value of something that is no attribute.
    Value(Node),
    Conditional(Box<(Node, Attribute, Attribute)>),
}

/// One selection.
#[derive(Debug)]
pub(crate) struct Qualifier {
    pub(crate) key: Selector,
    pub(crate) optional: bool,
    /// Only whether it is there.
    pub(crate) test: bool,
}

#[derive(Debug)]
pub(crate) enum Selector {
    Constant(Value<'static>),
    Attribute(Attribute),
    Value(Node),
}

/// A call of a function.
#[derive(Debug)]
pub(crate) struct CallNode {
    pub(crate) name: &'static str,
    pub(crate) member: bool,
    /// What may be called; the first that admits the arguments is.
    pub(crate) overloads: Vec<Overload>,
    pub(crate) args: Vec<Node>,
    pub(crate) cost: Option<CostRule>,
    /// The second argument, compiled, if it is a constant pattern.
    pub(crate) pattern: Option<Regex>,
    /// Whether the second of two arguments is evaluated, and the call paid for, though the first has no value.
    pub(crate) eager: bool,
}

/// A comprehension.
#[derive(Debug)]
pub(crate) struct FoldNode {
    pub(crate) range: Node,
    pub(crate) variable: usize,
    pub(crate) second: Option<usize>,
    pub(crate) accumulator: usize,
    pub(crate) init: Node,
    pub(crate) condition: Node,
    pub(crate) step: Node,
    pub(crate) result: Node,
}

/// Plans a checked tree.
pub(crate) fn plan(environment: &Environment, checked: &Checked, source: &str, root: &Expr) -> Result<Node, Issue> {
    Planner { environment, checked, source }.node(root)
}

/// Functions whose one constant argument is converted at load.
const CONVERSIONS: [&str; 10] = ["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"];

struct Planner<'e> {
    environment: &'e Environment,
    checked: &'e Checked,
    source: &'e str,
}

type Plan<T> = Result<T, Issue>;

impl Planner<'_> {
    fn node(&self, expr: &Expr) -> Plan<Node> {
        match &expr.kind {
            Kind::Literal(value) => Ok(Node::Constant(Ok(value.clone()))),
            Kind::Ident(name) => Ok(self.name(expr).unwrap_or_else(|| variable(Root::Unknown(name.clone())))),
            Kind::Select { operand, field, test } => match self.name(expr) {
                Some(node) => Ok(node),
                None => self.qualify(operand, Selector::Constant(Value::string(field)), false, *test),
            },
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::Object { name, fields } => {
                let fields = fields.iter().map(|field| self.item(&field.value, field.optional)).collect::<Plan<_>>()?;
                Ok(Node::Object { name: name.clone(), fields })
            }
            Kind::Fold(fold) => self.fold(expr, fold),
        }
    }

    fn nodes<'x>(&self, exprs: impl IntoIterator<Item = &'x Expr>) -> Plan<Vec<Node>> {
        exprs.into_iter().map(|expr| self.node(expr)).collect()
    }

    fn item(&self, expr: &Expr, optional: bool) -> Plan<Item> {
        Ok(Item { node: self.node(expr)?, optional })
    }

    /// The variable or type that the checker found a name to be.
    fn name(&self, expr: &Expr) -> Option<Node> {
        match self.checked.references.get(&expr.id)? {
            Reference::Variable(name) => Some(variable(Root::Variable(name.clone()))),
            Reference::Local(slot) => Some(variable(Root::Local(*slot))),
            Reference::Type(named) => Some(Node::Constant(Ok(Value::Type(named.clone())))),
            Reference::Function { .. } => None,
        }
    }

    fn qualify(&self, operand: &Expr, key: Selector, optional: bool, test: bool) -> Plan<Node> {
        let mut attribute = into_attribute(self.node(operand)?);
        attribute.qualifiers.push(Qualifier { key, optional, test });
        Ok(Node::Attribute(Box::new(attribute)))
    }

    fn call(&self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Plan<Node> {
        match (function, target, args) {
            ("_[_]" | "_[?_]" | "_?._", None, [operand, index]) => {
                let key = match self.node(index)? {
                    Node::Constant(Ok(value)) => Selector::Constant(value),
                    Node::Attribute(attribute) => Selector::Attribute(*attribute),
                    other => Selector::Value(other),
                };
                self.qualify(operand, key, function != "_[_]", false)
            }
            ("_?_:_", None, [condition, then, otherwise]) => {
                let branches = (self.node(condition)?, into_attribute(self.node(then)?), into_attribute(self.node(otherwise)?));
                Ok(variable(Root::Conditional(Box::new(branches))))
            }
            ("@not_strictly_false", None, [condition]) => Ok(Node::NotStrictlyFalse(Box::new(self.node(condition)?))),
            ("_&&_", None, [a, b]) => Ok(Node::And(self.pair(a, b)?)),
            ("_||_", None, [a, b]) => Ok(Node::Or(self.pair(a, b)?)),
            ("_==_" | "_!=_", None, [a, b]) => Ok(Node::Equal { operands: self.pair(a, b)?, negated: function == "_!=_" }),
            ("or" | "orValue", Some(target), [other]) if self.environment.features.optionals => {
                Ok(Node::OptionalOr { operands: self.pair(target, other)?, unwrap: function == "orValue", strict: self.environment.strict_optionals })
            }
            _ => self.function(expr, function, target, args),
        }
    }

    fn pair(&self, a: &Expr, b: &Expr) -> Plan<[Box<Node>; 2]> {
        Ok([Box::new(self.node(a)?), Box::new(self.node(b)?)])
    }

    fn function(&self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Plan<Node> {
        let (name, qualified, ids) = match self.checked.references.get(&expr.id) {
            Some(Reference::Function { name, qualified, overloads }) => (*name, *qualified, overloads.as_slice()),
            _ => ("", false, [].as_slice()),
        };
        let target = target.filter(|_| !qualified);
        let args_of = args;
        let args = self.nodes(target.into_iter().chain(args))?;
        let Some(known) = self.environment.functions.get(name) else {
            return Ok(Node::Constant(Err(EvalError::no_overload(function))));
        };
        let resolved = match ids {
            [id] => known.overloads.iter().find(|overload| overload.id == *id),
            _ => None,
        };
        if let Some(set) = resolved.filter(|overload| overload.id == "in_list").and(constant_set(&args)) {
            return Ok(membership(args, set));
        }
        if name == "format" {
            self.check_format(expr, target, args_of)?;
        }
        let mut overloads: Vec<Overload> =
            known.overloads.iter().filter(|overload| overload.member == target.is_some() && overload.args.len() == args.len()).cloned().collect();
        if let Some(first) = resolved {
            overloads.sort_by_key(|overload| overload.id != first.id);
        }
        let pattern = self.pattern(expr, &overloads, &args)?;
        let node = CallNode {
            name: known.name,
            member: target.is_some(),
            cost: resolved.and_then(|overload| overload.cost).or(known.cost),
            eager: pattern.is_none() && args.len() == 2 && (resolved.is_some() || !name.starts_with(|first: char| first.is_alphabetic())),
            overloads,
            args,
            pattern,
        };
        self.folded(expr, node)
    }

    /// A literal format beside a literal list of arguments is looked at now.
    fn check_format(&self, expr: &Expr, target: Option<&Expr>, args: &[Expr]) -> Plan<()> {
        let (Some(Kind::Literal(Value::String(text))), [Expr { kind: Kind::List(elements), .. }], true) =
            (target.map(|target| &target.kind), args, self.environment.folding)
        else {
            return Ok(());
        };
        let types: Vec<Type> = elements.iter().map(|element| self.checked.types.get(element.value.id as usize).cloned().unwrap_or(Type::Dyn)).collect();
        verbs::check(text, &types, false).map_err(|(argument, words)| {
            let offset = argument.and_then(|index| elements.get(index)).map_or(expr.offset, |element| element.value.offset);
            Issue::at(self.source, offset, words)
        })
    }

    /// The pattern of a call, if it is a literal.
    fn pattern(&self, expr: &Expr, overloads: &[Overload], args: &[Node]) -> Plan<Option<Regex>> {
        let takes = overloads.iter().any(|overload| matches!(overload.call, Call::Pattern(_)));
        let (true, Some(Node::Constant(Ok(Value::String(text))))) = (takes, args.get(1)) else { return Ok(None) };
        match pattern::compile(text) {
            Ok(regex) => Ok(Some(regex)),
            Err(_) if self.environment.folding && overloads.iter().all(|overload| overload.id.starts_with("matches")) => Err(self.refused_argument(expr)),
            Err(error) if self.environment.folding => Err(Issue::at(self.source, expr.offset, format!("program instantiation failed: {error}"))),
            Err(_) => Ok(None),
        }
    }

    /// A literal argument that the function cannot take.
    fn refused_argument(&self, expr: &Expr) -> Issue {
        let (name, offset) = match &expr.kind {
            Kind::Call { function, args, .. } => (&**function, args.last().map_or(expr.offset, |arg| arg.offset)),
            _ => ("", expr.offset),
        };
        Issue::at(self.source, offset, format!("invalid {name} argument"))
    }

    /// A conversion of a constant as a constant.
    fn folded(&self, expr: &Expr, node: CallNode) -> Plan<Node> {
        let ([Node::Constant(Ok(value))], true) = (node.args.as_slice(), CONVERSIONS.contains(&node.name)) else {
            return Ok(Node::Call(Box::new(node)));
        };
        match node.invoke(std::slice::from_ref(value)) {
            Ok(converted) => Ok(Node::Constant(Ok(converted))),
            Err(_) if self.environment.folding && matches!(node.name, "duration" | "timestamp") => Err(self.refused_argument(expr)),
            Err(error) if self.environment.folding => Err(Issue::at(self.source, expr.offset, format!("program instantiation failed: {error}"))),
            Err(error) => Ok(Node::Constant(Err(error))),
        }
    }

    fn list(&self, elements: &[Element]) -> Plan<Node> {
        let items: Vec<Item> = elements.iter().map(|element| self.item(&element.value, element.optional)).collect::<Plan<_>>()?;
        let constants: Option<Vec<Value<'static>>> = items.iter().map(constant).collect();
        Ok(constants.map_or(Node::List(items), |values| Node::Constant(Ok(Value::list(values)))))
    }

    fn map(&self, entries: &[Entry]) -> Plan<Node> {
        let plan = |entry: &Entry| Ok((self.node(&entry.key)?, self.item(&entry.value, entry.optional)?));
        let entries: Vec<(Node, Item)> = entries.iter().map(plan).collect::<Plan<_>>()?;
        let last_wins = !self.environment.unique_keys;
        let mut constants = MapBuilder::new();
        for (key, value) in &entries {
            let key = match key {
                Node::Constant(Ok(key)) => Key::of(key).filter(|key| last_wins || !(matches!(key, Key::Double(_)) || constants.contains_key(key))),
                _ => None,
            };
            let (Some(key), Some(value)) = (key, constant(value)) else { return Ok(Node::Map { entries, last_wins }) };
            constants.insert(key, value);
        }
        let mixed = constants.keys().any(|key| key.sibling().is_some_and(|sibling| constants.contains_key(&sibling)));
        Ok(if mixed { Node::Map { entries, last_wins } } else { Node::Constant(Ok(Value::Map(constants.into()))) })
    }

    fn fold(&self, expr: &Expr, fold: &Fold) -> Plan<Node> {
        let Some(slots) = self.checked.slots.get(&expr.id) else {
            return Err(Issue::at(self.source, expr.offset, "comprehension without variables"));
        };
        let step = in_place(self.node(&fold.step)?, slots.accumulator);
        Ok(Node::Fold(Box::new(FoldNode {
            range: self.node(&fold.range)?,
            variable: slots.variable,
            second: fold.second.is_some().then_some(slots.second),
            accumulator: slots.accumulator,
            init: self.node(&fold.init)?,
            condition: self.node(&fold.condition)?,
            // A comprehension that only binds has nothing to step over.
            step: if &*fold.variable == UNUSED { Node::Constant(Ok(Value::Null)) } else { step },
            result: self.node(&fold.result)?,
        })))
    }
}

fn variable(root: Root) -> Node {
    Node::Attribute(Box::new(Attribute { root, qualifiers: Vec::new() }))
}

fn into_attribute(node: Node) -> Attribute {
    match node {
        Node::Attribute(attribute) => *attribute,
        other => Attribute { root: Root::Value(other), qualifiers: Vec::new() },
    }
}

fn constant(item: &Item) -> Option<Value<'static>> {
    match &item.node {
        Node::Constant(Ok(value)) if !item.optional => Some(value.clone()),
        _ => None,
    }
}

/// The elements of a constant list of scalars, the second argument.
fn constant_set(args: &[Node]) -> Option<Vec<Value<'static>>> {
    let Some(Node::Constant(Ok(Value::List(list)))) = args.get(1) else { return None };
    let scalar = |value: &Value<'_>| matches!(value, Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::String(_));
    list.iter().map(|value| scalar(&value).then_some(value)).collect()
}

fn membership(args: Vec<Node>, set: Vec<Value<'static>>) -> Node {
    if set.is_empty() {
        return Node::Constant(Ok(Value::Bool(false)));
    }
    match args.into_iter().next() {
        Some(value) => Node::Member { value: Box::new(value), set },
        None => Node::Constant(Ok(Value::Bool(false))),
    }
}

/// A step that adds to the accumulator, perhaps under a condition, as one that need not copy it.
fn in_place(step: Node, accumulator: usize) -> Node {
    match step {
        Node::Call(call) if call.name == "_+_" && reads(call.args.first(), accumulator) && is_list(call.args.get(1)) => {
            let mut args = call.args;
            match args.pop() {
                Some(added) => Node::Append { slot: accumulator, added: Box::new(added) },
                None => Node::Constant(Ok(Value::Null)),
            }
        }
        Node::Call(mut call) if call.name == "cel.@mapInsert" && reads(call.args.first(), accumulator) => {
            call.args.remove(0);
            Node::Insert { slot: accumulator, entry: call.args }
        }
        Node::Attribute(attribute) if attribute.qualifiers.is_empty() => Node::Attribute(Box::new(in_place_branch(*attribute, accumulator))),
        other => other,
    }
}

fn in_place_branch(mut attribute: Attribute, accumulator: usize) -> Attribute {
    if let Root::Conditional(branches) = &mut attribute.root
        && let Root::Value(node) = &mut branches.1.root
    {
        let step = std::mem::replace(node, Node::Constant(Ok(Value::Null)));
        *node = in_place(step, accumulator);
    }
    attribute
}

fn reads(node: Option<&Node>, slot: usize) -> bool {
    matches!(node, Some(Node::Attribute(attribute)) if attribute.qualifiers.is_empty() && matches!(attribute.root, Root::Local(read) if read == slot))
}

fn is_list(node: Option<&Node>) -> bool {
    matches!(node, Some(Node::List(_) | Node::Constant(Ok(Value::List(_)))))
}

impl CallNode {
    /// Calls the first overload that admits the arguments.
    pub(crate) fn invoke<'a>(&self, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
        let overload = self.overloads.iter().find(|overload| overload.admits(self.member, args));
        match overload.map(|overload| overload.call) {
            Some(Call::Values(call)) => call(args),
            Some(Call::Pattern(call)) => match (&self.pattern, args.get(1)) {
                (Some(compiled), _) => call(compiled, args),
                (None, Some(Value::String(text))) => match pattern::compile(text) {
                    Ok(compiled) => call(&compiled, args),
                    Err(error) if self.name == "matches" => Err(error),
                    Err(error) => Err(EvalError::invalid(format!("Illegal regex: {error}"))),
                },
                _ => Err(unserved(self.name, args)),
            },
            Some(Call::Special) | None => Err(unserved(self.name, args)),
        }
    }
}
