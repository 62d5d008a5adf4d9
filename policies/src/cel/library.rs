//! Functions as tables: signatures, implementations and costs. One file a library; nothing outside its table names a function.
//!
//! Overload ids are cel-go's: what a call costs hangs on them. Which library a Kubernetes version has is `environment.rs`.

pub(crate) mod args;
pub(crate) mod arithmetic;
pub mod authorizer;
pub(crate) mod cidr;
pub(crate) mod containers;
pub(crate) mod conversions;
pub(crate) mod encoders;
pub(crate) mod estimates;
pub(crate) mod find;
pub(crate) mod format;
pub(crate) mod golang;
pub(crate) mod ip;
pub(crate) mod jsonpatch;
pub(crate) mod k8s_lists;
pub(crate) mod lists;
pub(crate) mod math;
pub(crate) mod operators;
pub(crate) mod optional;
pub(crate) mod order;
pub(crate) mod quantity;
pub(crate) mod semver;
pub(crate) mod sets;
pub(crate) mod strings;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod two_variables;
pub(crate) mod url;

use std::collections::HashMap;

use regex::Regex;

use super::cost::CostRule;
use super::error::EvalError;
use super::estimate::EstimateRule;
use super::types::Type;
use super::value::Value;

/// How an overload is carried out. Total: whatever the arguments, no panic. It charges nothing; the table says what it costs.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// From the arguments, the receiver first. They have the declared types.
    Values(for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>),
    /// From a text, the first argument, and a regular expression, the second, compiled at load if it is a literal.
    Pattern(for<'a> fn(&Regex, &[Value<'a>]) -> Result<Value<'a>, EvalError>),
    /// By the evaluator itself, which does not evaluate all arguments first.
    Special,
}

/// One signature of a function.
#[derive(Clone, Debug)]
pub struct Overload {
    /// cel-go's overload id.
    pub id: &'static str,
    /// Whether it is called on a receiver, which is then the first argument.
    pub member: bool,
    /// Types of the arguments.
    pub args: Vec<Type>,
    /// Type of the result.
    pub result: Type,
    /// The implementation.
    pub call: Call,
    /// Its cost; used only if the checker resolves the call to this overload alone. Else the function's, else one unit.
    pub cost: Option<CostRule>,
    /// Its estimated cost, likewise.
    pub estimate: Option<EstimateRule>,
    /// Whether the types of arguments are looked at before a call; a few functions of cel-go look themselves.
    pub guarded: bool,
}

impl Overload {
    /// `name(args)`.
    pub fn global<const N: usize>(id: &'static str, args: [Type; N], result: Type, call: Call) -> Self {
        Self { id, member: false, args: args.into(), result, call, cost: None, estimate: None, guarded: true }
    }

    /// `receiver.name(args)`; the receiver is the first of `args`.
    pub fn member<const N: usize>(id: &'static str, args: [Type; N], result: Type, call: Call) -> Self {
        Self { member: true, ..Self::global(id, args, result, call) }
    }

    /// Declares what it costs.
    pub fn costs(mut self, rule: CostRule) -> Self {
        self.cost = Some(rule);
        self
    }

    /// Declares what it is estimated to cost.
    pub fn estimates(mut self, rule: EstimateRule) -> Self {
        self.estimate = Some(rule);
        self
    }

    /// Takes whatever arguments it is called with.
    pub fn unguarded(mut self) -> Self {
        self.guarded = false;
        self
    }

    /// Whether it may be called with these values.
    pub(crate) fn admits(&self, member: bool, args: &[Value<'_>]) -> bool {
        let fits = || self.args.iter().zip(args).all(|(declared, value)| declared.admits(value));
        self.member == member && self.args.len() == args.len() && (!self.guarded || fits())
    }
}

/// A function: its overloads, and the cost that holds for all of them by name, as apiserver's rules do.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name; qualified ones with their dots (`optional.of`), operators as cel-go spells them (`_+_`).
    pub name: &'static str,
    /// Its signatures, in cel-go's order: the first that fits is taken.
    pub overloads: Vec<Overload>,
    /// Cost of every call by this name, unless the overload has its own.
    pub cost: Option<CostRule>,
    /// Estimated cost, likewise.
    pub estimate: Option<EstimateRule>,
}

impl Function {
    /// A function and its signatures.
    pub fn new<const N: usize>(name: &'static str, overloads: [Overload; N]) -> Self {
        Self { name, overloads: overloads.into(), cost: None, estimate: None }
    }

    /// Declares what every call costs.
    pub fn costs(mut self, rule: CostRule) -> Self {
        self.cost = Some(rule);
        self
    }

    /// Declares what every call is estimated to cost.
    pub fn estimates(mut self, rule: EstimateRule) -> Self {
        self.estimate = Some(rule);
        self
    }
}

/// All functions of an environment by name. Libraries that share a name (`indexOf` of strings and of lists) are merged.
#[derive(Debug, Default)]
pub(crate) struct Functions(HashMap<&'static str, Function>);

impl Functions {
    pub(crate) fn add(&mut self, functions: Vec<Function>) {
        for function in functions {
            match self.0.get_mut(function.name) {
                None => {
                    self.0.insert(function.name, function);
                }
                Some(known) => {
                    for overload in function.overloads {
                        match known.overloads.iter_mut().find(|other| other.id == overload.id) {
                            Some(other) => *other = overload,
                            None => known.overloads.push(overload),
                        }
                    }
                    known.cost = known.cost.or(function.cost);
                    known.estimate = known.estimate.or(function.estimate);
                }
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Function> {
        self.0.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }
}
