//! Which constraints could possibly match a request: by resource, then by a label or name without which they cannot.
//!
//! The index only leaves out what certainly does not match and certainly is no error; whatever it offers is matched again in
//! full. So a thousand bindings for a thousand namespaces cost a request about what one does.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::policy::matching::{Constraints, namespace_labels};
use crate::policy::request::Request;
use crate::policy::selector::labels_of;

/// Items by number.
type Items = Vec<u32>;

/// An index over numbered constraints.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By plural, then by sub-resource.
    by_resource: HashMap<String, HashMap<String, Slot>>,
    any_resource: Slot,
}

#[derive(Debug, Default)]
struct Slot {
    by_namespace_label: HashMap<String, HashMap<String, Items>>,
    by_object_label: HashMap<String, HashMap<String, Items>>,
    by_name: HashMap<String, Items>,
    always: Items,
}

/// What a request offers to the index; read once for all indexes.
#[derive(Debug)]
pub(crate) struct Offered<'a> {
    /// `None`: namespace selectors do not narrow this request, or an error must come out.
    namespace: Option<Option<&'a Map<String, Value>>>,
    object: Option<&'a Map<String, Value>>,
    old_object: Option<&'a Map<String, Value>>,
}

// === impl Offered ===

impl<'a> Offered<'a> {
    pub(crate) fn of(request: &Request<'a>) -> Self {
        let exempt = request.namespace.is_empty() && request.own().resource.resource != "namespaces";
        let namespace = if exempt { None } else { namespace_labels(request).ok() };
        Self { namespace, object: labels_of(request.object), old_object: labels_of(request.old_object) }
    }
}

// === impl Index ===

impl Index {
    /// Adds an item; without constraints it is always offered.
    pub(super) fn add(&mut self, item: u32, constraints: Option<&Constraints>) {
        let Some(constraints) = constraints else {
            self.any_resource.always.push(item);
            return;
        };
        match constraints.needs_resources() {
            None => self.any_resource.add(item, constraints),
            Some(resources) => {
                for (name, part) in resources {
                    self.by_resource.entry(name.to_owned()).or_default().entry(part.to_owned()).or_default().add(item, constraints);
                }
            }
        }
    }

    /// Items that could match, in order.
    pub(super) fn candidates(&self, request: &Request<'_>, offered: &Offered<'_>) -> Items {
        let mut found = Items::new();
        self.any_resource.collect(request.name, offered, &mut found);
        let own = std::iter::once(request.own());
        for form in own.chain(request.others()) {
            if let Some(slot) = self.by_resource.get(form.resource.resource).and_then(|parts| parts.get(request.subresource)) {
                slot.collect(request.name, offered, &mut found);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

// === impl Slot ===

impl Slot {
    fn add(&mut self, item: u32, constraints: &Constraints) {
        let by_label = |map: &mut HashMap<String, HashMap<String, Items>>, key: &str, values: &[String]| {
            for value in values {
                map.entry(key.to_owned()).or_default().entry(value.clone()).or_default().push(item);
            }
        };
        if let Some((key, values)) = constraints.needs_namespace_label() {
            by_label(&mut self.by_namespace_label, key, values);
        } else if let Some((key, values)) = constraints.needs_object_label() {
            by_label(&mut self.by_object_label, key, values);
        } else if let Some(names) = constraints.needs_names() {
            for name in names {
                self.by_name.entry(name.to_owned()).or_default().push(item);
            }
        } else {
            self.always.push(item);
        }
    }

    fn collect(&self, name: &str, offered: &Offered<'_>, found: &mut Items) {
        found.extend(&self.always);
        found.extend(self.by_name.get(name).into_iter().flatten());
        match offered.namespace {
            Some(labels) => by_labels(&self.by_namespace_label, labels, found),
            None => found.extend(self.by_namespace_label.values().flat_map(HashMap::values).flatten()),
        }
        by_labels(&self.by_object_label, offered.object, found);
        by_labels(&self.by_object_label, offered.old_object, found);
    }
}

fn by_labels(map: &HashMap<String, HashMap<String, Items>>, labels: Option<&Map<String, Value>>, found: &mut Items) {
    if map.is_empty() {
        return;
    }
    for (key, value) in labels.into_iter().flatten() {
        let items = value.as_str().and_then(|value| map.get(key)?.get(value));
        found.extend(items.into_iter().flatten());
    }
}
