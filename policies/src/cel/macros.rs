//! Macros: calls that the parser turns into comprehensions and presence tests. What they expand to decides what they cost.

use std::sync::Arc;

use super::expr::{ACCUMULATOR, Expr, Factory, Fold, Kind, UNUSED};
use super::value::Value;

/// Which macros exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// `optMap`, `optFlatMap`, and the syntax `.?`, `[?]`.
    pub(crate) optionals: bool,
    /// `all(i, v, …)`, `transformMap` and their kin.
    pub(crate) two_variables: bool,
    /// Field names between backticks.
    pub(crate) escaped_names: bool,
    /// `sortBy`.
    pub(crate) sorting: bool,
    /// `math.least`, `math.greatest`.
    pub(crate) math: bool,
}

/// Expands one macro: the target (none for global macros) and the arguments to a node, or an offset and what is wrong there.
type Expander = fn(&mut Expansion<'_>, Option<Expr>, Vec<Expr>) -> Result<Expr, Failure>;

/// Where an expansion fails, and why.
pub(crate) type Failure = (u32, String);

struct Macro {
    name: &'static str,
    member: bool,
    args: usize,
    needs: Needs,
    expand: Expander,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Optionals,
    TwoVariables,
    Sorting,
    Math,
}

const fn member(name: &'static str, args: usize, needs: Needs, expand: Expander) -> Macro {
    Macro { name, member: true, args, needs, expand }
}

/// In place of a number of arguments: any.
const ANY: usize = usize::MAX;

const MACROS: [Macro; 23] = [
    Macro { name: "has", member: false, args: 1, needs: Needs::Nothing, expand: has },
    member("all", 2, Needs::Nothing, |e, t, a| quantify(e, t, a, all)),
    member("exists", 2, Needs::Nothing, |e, t, a| quantify(e, t, a, exists)),
    member("exists_one", 2, Needs::Nothing, |e, t, a| quantify(e, t, a, exists_one)),
    member("existsOne", 2, Needs::Nothing, |e, t, a| quantify(e, t, a, exists_one)),
    member("map", 2, Needs::Nothing, map),
    member("map", 3, Needs::Nothing, map),
    member("filter", 2, Needs::Nothing, filter),
    member("optMap", 2, Needs::Optionals, |e, t, a| opt_map(e, t, a, true)),
    member("optFlatMap", 2, Needs::Optionals, |e, t, a| opt_map(e, t, a, false)),
    member("all", 3, Needs::TwoVariables, |e, t, a| quantify(e, t, a, all)),
    member("exists", 3, Needs::TwoVariables, |e, t, a| quantify(e, t, a, exists)),
    member("exists_one", 3, Needs::TwoVariables, |e, t, a| quantify(e, t, a, exists_one)),
    member("existsOne", 3, Needs::TwoVariables, |e, t, a| quantify(e, t, a, exists_one)),
    member("transformList", 3, Needs::TwoVariables, |e, t, a| transform(e, t, a, Transform::List)),
    member("transformList", 4, Needs::TwoVariables, |e, t, a| transform(e, t, a, Transform::List)),
    member("transformMap", 3, Needs::TwoVariables, |e, t, a| transform(e, t, a, Transform::Map)),
    member("transformMap", 4, Needs::TwoVariables, |e, t, a| transform(e, t, a, Transform::Map)),
    member("transformMapEntry", 3, Needs::TwoVariables, |e, t, a| transform(e, t, a, Transform::Entry)),
    member("transformMapEntry", 4, Needs::TwoVariables, |e, t, a| transform(e, t, a, Transform::Entry)),
    member("sortBy", 2, Needs::Sorting, sort_by),
    member("least", ANY, Needs::Math, |e, t, a| extreme(e, t, a, "least", "math.@min")),
    member("greatest", ANY, Needs::Math, |e, t, a| extreme(e, t, a, "greatest", "math.@max")),
];

/// The call as a node: expanded if it is a macro, and else as it is.
pub(crate) fn call(factory: &mut Factory, features: Features, offset: u32, name: &str, target: Option<Expr>, args: Vec<Expr>) -> Result<Expr, Failure> {
    let found = MACROS.iter().find(|known| known.name == name && known.member == target.is_some() && (known.args == ANY || known.args == args.len()));
    let enabled = found.filter(|known| match known.needs {
        Needs::Nothing => true,
        Needs::Optionals => features.optionals,
        Needs::TwoVariables => features.two_variables,
        Needs::Sorting => features.sorting,
        Needs::Math => features.math,
    });
    match (enabled, target) {
        (Some(known), target) => (known.expand)(&mut Expansion { factory, offset }, target, args),
        (None, Some(target)) => Ok(factory.member(offset, name, target, args)),
        (None, None) => Ok(factory.call(offset, name, args)),
    }
}

/// Makes nodes at the place of the macro.
struct Expansion<'f> {
    factory: &'f mut Factory,
    offset: u32,
}

impl Expansion<'_> {
    fn literal(&mut self, value: Value<'static>) -> Expr {
        self.factory.literal(self.offset, value)
    }

    fn accumulator(&mut self) -> Expr {
        self.factory.ident(self.offset, ACCUMULATOR)
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Expr {
        self.factory.call(self.offset, function, args)
    }

    fn list(&mut self, values: Vec<Expr>) -> Expr {
        self.factory.list(self.offset, values)
    }

    /// `filter ? step : accumulator`, or the step alone.
    fn filtered(&mut self, filter: Option<Expr>, step: Expr) -> Expr {
        match filter {
            None => step,
            Some(filter) => {
                let accumulator = self.accumulator();
                self.call("_?_:_", vec![filter, step, accumulator])
            }
        }
    }

    fn fold(&mut self, fold: Fold) -> Expr {
        self.factory.node(self.offset, Kind::Fold(Box::new(fold)))
    }

    /// A loop over nothing, whose accumulator is a name for `init` in `result`.
    fn bind(&mut self, name: Arc<str>, init: Expr, result: Expr) -> Expr {
        let (range, condition) = (self.list(vec![]), self.literal(Value::Bool(false)));
        let step = self.factory.ident(self.offset, &name);
        self.fold(Fold { range, variable: UNUSED.into(), second: None, accumulator: name, init, condition, step, result })
    }

    /// A loop over everything whose result is the accumulator.
    fn collect(&mut self, range: Expr, variables: Variables, init: Expr, step: Expr) -> Expr {
        let (condition, result) = (self.literal(Value::Bool(true)), self.accumulator());
        self.fold(Fold { range, variable: variables.0, second: variables.1, accumulator: ACCUMULATOR.into(), init, condition, step, result })
    }
}

type Variables = (Arc<str>, Option<Arc<str>>);

/// The receiver of a member macro; the table guarantees it.
fn receiver(target: Option<Expr>, offset: u32) -> Result<Expr, Failure> {
    target.ok_or_else(|| (offset, "macro without a receiver".to_owned()))
}

fn variable(arg: &Expr, otherwise: &str) -> Result<Arc<str>, Failure> {
    match &arg.kind {
        Kind::Ident(name) if &**name == ACCUMULATOR || &**name == "__result__" => {
            Err((arg.offset, "iteration variable overwrites accumulator variable".to_owned()))
        }
        Kind::Ident(name) if !name.starts_with('.') => Ok(name.clone()),
        _ => Err((arg.offset, otherwise.to_owned())),
    }
}

/// Takes the variables off the front: two if `rest` arguments remain after two, else one.
fn variables(args: &mut Vec<Expr>, two: bool) -> Result<Variables, Failure> {
    let first = variable(&args.remove(0), "argument must be a simple name")?;
    if !two {
        return Ok((first, None));
    }
    let arg = args.remove(0);
    let second = variable(&arg, "argument must be a simple name")?;
    if first == second {
        return Err((arg.offset, format!("duplicate variable name: {first}")));
    }
    Ok((first, Some(second)))
}

fn has(expansion: &mut Expansion<'_>, _: Option<Expr>, mut args: Vec<Expr>) -> Result<Expr, Failure> {
    let arg = args.remove(0);
    match arg.kind {
        Kind::Select { operand, field, test: false } => Ok(expansion.factory.node(expansion.offset, Kind::Select { operand, field, test: true })),
        _ => Err((arg.offset, "invalid argument to has() macro".to_owned())),
    }
}

/// The parts of a quantifier: initial value, condition, step, result.
struct Quantifier {
    init: Expr,
    condition: Expr,
    step: Expr,
    result: Expr,
}

fn quantify(
    expansion: &mut Expansion<'_>,
    target: Option<Expr>,
    mut args: Vec<Expr>,
    parts: fn(&mut Expansion<'_>, Expr) -> Quantifier,
) -> Result<Expr, Failure> {
    let range = receiver(target, expansion.offset)?;
    let two = args.len() == 3;
    let (variable, second) = variables(&mut args, two)?;
    let Quantifier { init, condition, step, result } = parts(expansion, args.remove(0));
    Ok(expansion.fold(Fold { range, variable, second, accumulator: ACCUMULATOR.into(), init, condition, step, result }))
}

fn all(expansion: &mut Expansion<'_>, predicate: Expr) -> Quantifier {
    let init = expansion.literal(Value::Bool(true));
    let so_far = expansion.accumulator();
    let condition = expansion.call("@not_strictly_false", vec![so_far]);
    let so_far = expansion.accumulator();
    let step = expansion.call("_&&_", vec![so_far, predicate]);
    Quantifier { init, condition, step, result: expansion.accumulator() }
}

fn exists(expansion: &mut Expansion<'_>, predicate: Expr) -> Quantifier {
    let init = expansion.literal(Value::Bool(false));
    let so_far = expansion.accumulator();
    let not = expansion.call("!_", vec![so_far]);
    let condition = expansion.call("@not_strictly_false", vec![not]);
    let so_far = expansion.accumulator();
    let step = expansion.call("_||_", vec![so_far, predicate]);
    Quantifier { init, condition, step, result: expansion.accumulator() }
}

fn exists_one(expansion: &mut Expansion<'_>, predicate: Expr) -> Quantifier {
    let init = expansion.literal(Value::Int(0));
    let condition = expansion.literal(Value::Bool(true));
    let (so_far, one) = (expansion.accumulator(), expansion.literal(Value::Int(1)));
    let counted = expansion.call("_+_", vec![so_far, one]);
    let step = expansion.filtered(Some(predicate), counted);
    let (count, one) = (expansion.accumulator(), expansion.literal(Value::Int(1)));
    let result = expansion.call("_==_", vec![count, one]);
    Quantifier { init, condition, step, result }
}

fn map(expansion: &mut Expansion<'_>, target: Option<Expr>, mut args: Vec<Expr>) -> Result<Expr, Failure> {
    let range = receiver(target, expansion.offset)?;
    let name = variable(&args.remove(0), "argument is not an identifier")?;
    let filter = (args.len() == 2).then(|| args.remove(0));
    let (so_far, added) = (expansion.accumulator(), expansion.list(args));
    let step = expansion.call("_+_", vec![so_far, added]);
    let step = expansion.filtered(filter, step);
    let init = expansion.list(vec![]);
    Ok(expansion.collect(range, (name, None), init, step))
}

fn filter(expansion: &mut Expansion<'_>, target: Option<Expr>, mut args: Vec<Expr>) -> Result<Expr, Failure> {
    let range = receiver(target, expansion.offset)?;
    let element = args.remove(0);
    let name = variable(&element, "argument is not an identifier")?;
    let (so_far, added) = (expansion.accumulator(), expansion.list(vec![element]));
    let step = expansion.call("_+_", vec![so_far, added]);
    let step = expansion.filtered(args.pop(), step);
    let init = expansion.list(vec![]);
    Ok(expansion.collect(range, (name, None), init, step))
}

#[derive(Clone, Copy)]
enum Transform {
    List,
    Map,
    Entry,
}

fn transform(expansion: &mut Expansion<'_>, target: Option<Expr>, mut args: Vec<Expr>, into: Transform) -> Result<Expr, Failure> {
    let range = receiver(target, expansion.offset)?;
    let names = variables(&mut args, true)?;
    let filter = (args.len() == 2).then(|| args.remove(0));
    let value = args.remove(0);
    let so_far = expansion.accumulator();
    let step = match into {
        Transform::List => {
            let added = expansion.list(vec![value]);
            expansion.call("_+_", vec![so_far, added])
        }
        Transform::Map => {
            let key = expansion.factory.ident(expansion.offset, &names.0);
            expansion.call("cel.@mapInsert", vec![so_far, key, value])
        }
        Transform::Entry => expansion.call("cel.@mapInsert", vec![so_far, value]),
    };
    let step = expansion.filtered(filter, step);
    let init = match into {
        Transform::List => expansion.list(vec![]),
        Transform::Map | Transform::Entry => expansion.factory.node(expansion.offset, Kind::Map(vec![])),
    };
    Ok(expansion.collect(range, names, init, step))
}

/// `target.hasValue() ? optional.of(bind name = target.value() in body) : optional.none()`.
fn opt_map(expansion: &mut Expansion<'_>, target: Option<Expr>, mut args: Vec<Expr>, wrap: bool) -> Result<Expr, Failure> {
    let target = receiver(target, expansion.offset)?;
    let offset = expansion.offset;
    let macro_name = if wrap { "optMap" } else { "optFlatMap" };
    let name = variable(&args.remove(0), &format!("{macro_name}() variable name must be a simple identifier"))?;
    let copy = expansion.factory.copy(&target);
    let condition = expansion.factory.member(offset, "hasValue", target, vec![]);
    let init = expansion.factory.member(offset, "value", copy, vec![]);
    let bound = expansion.bind(name, init, args.remove(0));
    let some = if wrap { expansion.call("optional.of", vec![bound]) } else { bound };
    let none = expansion.call("optional.none", vec![]);
    Ok(expansion.call("_?_:_", vec![condition, some, none]))
}

/// `bind input = target in input.@sortByAssociatedKeys(input.map(name, key))`.
fn sort_by(expansion: &mut Expansion<'_>, target: Option<Expr>, args: Vec<Expr>) -> Result<Expr, Failure> {
    const INPUT: &str = "@__sortBy_input__";
    let target = receiver(target, expansion.offset)?;
    if matches!(target.kind, Kind::Literal(_) | Kind::Map(_) | Kind::Object { .. }) {
        return Err((target.offset, "sortBy can only be applied to a list, identifier, comprehension, call or select expression".to_owned()));
    }
    let offset = expansion.offset;
    let input = expansion.factory.ident(offset, INPUT);
    let keys = map(expansion, Some(input), args)?;
    let input = expansion.factory.ident(offset, INPUT);
    let result = expansion.factory.member(offset, "@sortByAssociatedKeys", input, vec![keys]);
    Ok(expansion.bind(INPUT.into(), target, result))
}

/// Of the namespace `math` only; on anything else it is no macro.
fn extreme(expansion: &mut Expansion<'_>, target: Option<Expr>, args: Vec<Expr>, name: &str, function: &str) -> Result<Expr, Failure> {
    let target = receiver(target, expansion.offset)?;
    if !matches!(&target.kind, Kind::Ident(namespace) if &**namespace == "math") {
        return Ok(expansion.factory.member(expansion.offset, name, target, args));
    }
    let list_of_numbers = |arg: &Expr| matches!(&arg.kind, Kind::List(elements) if !elements.is_empty() && elements.iter().all(|e| may_be_number(&e.value)));
    match args.as_slice() {
        [] => Err((target.offset, format!("math.{name}() requires at least one argument"))),
        [arg] if !may_be_number(arg) && !list_of_numbers(arg) => Err((arg.offset, format!("math.{name}() invalid single argument value"))),
        [_] => Ok(expansion.call(function, args)),
        several => match several.iter().find(|arg| !may_be_number(arg)) {
            Some(arg) => Err((arg.offset, format!("math.{name}() simple literal arguments must be numeric"))),
            None if several.len() == 2 => Ok(expansion.call(function, args)),
            None => {
                let list = expansion.list(args);
                Ok(expansion.call(function, vec![list]))
            }
        },
    }
}

fn may_be_number(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Literal(value) => matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_)),
        Kind::List(_) | Kind::Map(_) | Kind::Object { .. } => false,
        _ => true,
    }
}
