//! What an expression may refer to: the libraries and syntax of a Kubernetes version, and variables.
//!
//! The table of versions is that of apiserver's `pkg/cel/environment/base.go`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::issue::Issue;
use super::library::{self, Function, Functions};
use super::macros::Features;
use super::program::Program;
use super::types::Type;

/// A Kubernetes minor version of 1.x, as policies are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32);

impl Version {
    /// 1.30, the oldest known here.
    pub const V1_30: Self = Self(30);
    /// 1.31.
    pub const V1_31: Self = Self(31);
    /// 1.32.
    pub const V1_32: Self = Self(32);
    /// 1.33.
    pub const V1_33: Self = Self(33);
    /// 1.34.
    pub const V1_34: Self = Self(34);
    /// 1.35.
    pub const V1_35: Self = Self(35);
    /// 1.36.
    pub const V1_36: Self = Self(36);
    /// 1.37, the newest known here.
    pub const V1_37: Self = Self(37);

    /// From `1.34`.
    pub fn parse(text: &str) -> Option<Self> {
        let minor = text.strip_prefix("1.")?.parse().ok()?;
        (Self::V1_30.0..=Self::V1_37.0).contains(&minor).then_some(Self(minor))
    }
}

/// A library, or one version of it: since when it is there, and from when another one replaces it.
struct Library {
    since: Version,
    before: Option<Version>,
    functions: fn() -> Vec<Function>,
}

impl Library {
    fn in_version(&self, version: Version) -> bool {
        self.since <= version && self.before.is_none_or(|before| version < before)
    }
}

const fn always(functions: fn() -> Vec<Function>) -> Library {
    since(Version::V1_30, functions)
}

const fn since(since: Version, functions: fn() -> Vec<Function>) -> Library {
    Library { since, before: None, functions }
}

const fn until(before: Version, functions: fn() -> Vec<Function>) -> Library {
    between(Version::V1_30, before, functions)
}

const fn between(since: Version, before: Version, functions: fn() -> Vec<Function>) -> Library {
    Library { since, before: Some(before), functions }
}

/// Every library of Kubernetes. What came before 1.30 is always there.
const KUBERNETES: &[Library] = &[
    always(library::operators::functions),
    always(library::arithmetic::functions),
    always(library::order::functions),
    always(library::containers::functions),
    always(library::conversions::functions),
    always(library::text::functions),
    always(library::time::functions),
    always(library::optional::functions),
    always(library::find::functions),
    always(library::k8s_lists::functions),
    always(library::quantity::functions),
    always(library::sets::functions),
    always(library::ip::functions),
    always(library::cidr::functions),
    always(library::authorizer::functions),
    // Go's parser of URLs became stricter in 1.26, which Kubernetes is built with since 1.36.
    until(Version::V1_36, library::url::functions),
    since(Version::V1_36, library::url::functions_strict),
    // The locale's data changed with 1.33.
    until(Version::V1_33, library::strings::functions_spaced),
    between(Version::V1_33, Version::V1_37, library::strings::functions),
    // cel-go 0.29 came with 1.37.
    since(Version::V1_37, library::strings::functions_clamped),
    since(Version::V1_31, library::format::functions),
    // Declared for 1.31 upstream, behind a gate that is on since 1.32.
    since(Version::V1_32, library::authorizer::selectors),
    since(Version::V1_32, library::two_variables::functions),
    since(Version::V1_33, library::semver::functions),
    between(Version::V1_34, Version::V1_37, library::lists::functions),
    since(Version::V1_37, library::lists::functions_bounded),
    since(Version::V1_37, library::k8s_lists::functions_1_37),
];

/// What only the language's own suites know, or know in a newer version.
const CONFORMANCE: &[fn() -> Vec<Function>] =
    &[library::strings::functions_newest, library::ip::functions_mapped, library::math::functions, library::encoders::functions];

/// Types of an object's fields, by name.
type Fields = HashMap<Arc<str>, Type>;

/// Object types that are described elsewhere, as by a schema. There may be many, so each field is asked for by name.
pub trait ObjectTypes: fmt::Debug + Send + Sync {
    /// A field of an object type.
    fn field(&self, object: &str, field: &str) -> Lookup;

    /// The names of its fields; also dotted ones, where a field has `wanted` as a field of its own.
    fn names(&self, object: &str, wanted: &str) -> Vec<String>;
}

/// What is known of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Its type.
    Found(Type),
    /// There is no such field.
    NoField,
    /// There is no such object type.
    NoObject,
}

/// What an expression may refer to. Immutable once built; programs keep nothing of it.
#[derive(Debug)]
pub struct Environment {
    pub(crate) functions: Functions,
    pub(crate) variables: HashMap<Arc<str>, Type>,
    pub(crate) objects: HashMap<Arc<str>, Fields>,
    /// More object types.
    pub(crate) described: Option<Arc<dyn ObjectTypes>>,
    /// Whether objects of any type are also maps and may stand for each other, as in JSON they do.
    pub(crate) json: bool,
    /// Names that are types.
    pub(crate) types: HashMap<Arc<str>, Type>,
    pub(crate) container: Arc<str>,
    pub(crate) features: Features,
    /// Whether elements of one literal must have one type.
    pub(crate) homogeneous: bool,
    /// Whether a key may stand only once in a map literal: in the language, not yet in Kubernetes, where the last counts.
    pub(crate) unique_keys: bool,
    /// Whether constant conversions and patterns that fail are refused at load.
    pub(crate) folding: bool,
    /// Whether selecting something optional from what has no parts is an error rather than nothing.
    pub(crate) strict_presence: bool,
    /// Whether `or` and `orValue` refuse what is not optional: cel-go does since 2026-02-27, Kubernetes since 1.37; before, it is its own value.
    pub(crate) strict_optionals: bool,
    /// Whether nothing is checked.
    pub(crate) lenient: bool,
}

impl Environment {
    /// The environment of a Kubernetes version, without variables.
    pub fn kubernetes(version: Version) -> Self {
        let features =
            Features { optionals: true, two_variables: version >= Version::V1_32, escaped_names: false, sorting: version >= Version::V1_34, math: false };
        let mut environment = Self::empty(features);
        environment.homogeneous = true;
        environment.folding = true;
        environment.strict_optionals = version >= Version::V1_37;
        for known in KUBERNETES.iter().filter(|known| known.in_version(version)) {
            environment.functions.add((known.functions)());
        }
        environment
    }

    /// All of the language, as the cel-spec suites use it.
    pub fn conformance() -> Self {
        let mut environment = Self::empty(Features { optionals: true, two_variables: true, escaped_names: true, sorting: true, math: true });
        environment.unique_keys = true;
        environment.strict_optionals = true;
        environment.strict_presence = true;
        for functions in KUBERNETES.iter().map(|known| known.functions).chain(CONFORMANCE.iter().copied()) {
            environment.functions.add(functions());
        }
        environment
    }

    fn empty(features: Features) -> Self {
        let named = [
            Type::Bool,
            Type::Bytes,
            Type::Double,
            Type::Duration,
            Type::Int,
            Type::list(Type::Dyn),
            Type::map(Type::Dyn, Type::Dyn),
            Type::Null,
            Type::String,
            Type::Timestamp,
            Type::type_of(Type::Dyn),
            Type::Uint,
            Type::optional(Type::Dyn),
        ];
        Self {
            functions: Functions::default(),
            variables: HashMap::new(),
            objects: HashMap::new(),
            described: None,
            json: false,
            types: named.into_iter().chain(library::ip::types()).chain(library::cidr::types()).map(|named| (named.name().into(), named)).collect(),
            container: "".into(),
            features,
            homogeneous: false,
            unique_keys: false,
            folding: false,
            strict_optionals: false,
            strict_presence: false,
            lenient: false,
        }
    }

    /// With these variables.
    pub fn with_variables<'n>(mut self, variables: impl IntoIterator<Item = (&'n str, Type)>) -> Self {
        self.variables.extend(variables.into_iter().map(|(name, kind)| (name.into(), kind)));
        self
    }

    /// With an object type: its name and its fields.
    pub fn with_object<'n>(mut self, name: &str, fields: impl IntoIterator<Item = (&'n str, Type)>) -> Self {
        self.objects.insert(name.into(), fields.into_iter().map(|(name, kind)| (name.into(), kind)).collect());
        self
    }

    /// With one field more in an object type.
    pub(crate) fn add_field(&mut self, object: &str, field: &str, kind: Type) {
        self.objects.entry(object.into()).or_default().insert(field.into(), kind);
    }

    /// Without this variable.
    pub(crate) fn forget(&mut self, variable: &str) {
        self.variables.remove(variable);
    }

    /// With object types that are described elsewhere. With `json`, objects are also maps and may stand for each other.
    #[must_use]
    pub fn with_object_types(mut self, described: Arc<dyn ObjectTypes>, json: bool) -> Self {
        self.described = Some(described);
        self.json = json;
        self
    }

    /// A field of an object type.
    pub(crate) fn field(&self, object: &str, field: &str) -> Lookup {
        match self.objects.get(object) {
            Some(fields) => fields.get(field).cloned().map_or(Lookup::NoField, Lookup::Found),
            None => self.described.as_ref().map_or(Lookup::NoObject, |described| described.field(object, field)),
        }
    }

    /// Names of fields that may have been meant.
    pub(crate) fn fields_like(&self, object: &str, wanted: &str) -> Vec<String> {
        match self.objects.get(object) {
            Some(fields) => fields.keys().map(ToString::to_string).collect(),
            None => self.described.as_ref().map_or_else(Vec::new, |described| described.names(object, wanted)),
        }
    }

    /// With what only expressions that make patches have.
    #[must_use]
    pub fn with_patches(mut self) -> Self {
        self.functions.add(library::jsonpatch::functions());
        self
    }

    /// Names are looked up in this container first.
    pub fn with_container(mut self, container: &str) -> Self {
        self.container = container.into();
        self
    }

    /// Nothing is checked: what is wrong shows when it is evaluated.
    pub fn unchecked(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Parses, checks and plans an expression.
    pub fn compile(&self, source: &str) -> Result<Program, Vec<Issue>> {
        Program::compile(self, source)
    }

    /// The names a name may stand for, the most qualified first.
    pub(crate) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_prefix('.') {
            return vec![absolute.to_owned()];
        }
        let mut names = Vec::new();
        let mut container = &*self.container;
        while !container.is_empty() {
            names.push(format!("{container}.{name}"));
            container = container.rfind('.').and_then(|dot| container.get(..dot)).unwrap_or_default();
        }
        names.push(name.to_owned());
        names
    }

    pub(crate) fn function(&self, name: &str) -> Option<&Function> {
        self.candidates(name).iter().find_map(|candidate| self.functions.get(candidate))
    }
}
