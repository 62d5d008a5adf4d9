//! The classes of prepared statements and portals by name: the most recently used of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::statement::Class;

/// As much of a name as the server itself tells apart.
const MAX_LENGTH: usize = 63;

/// A statement's or a portal's name; the unnamed one is empty.
pub(super) type Name = Box<[u8]>;

#[derive(Debug)]
pub(super) struct Names {
    most: usize,
    clock: u64,
    classes: HashMap<Name, (u64, Arc<Class>)>,
}

// === impl Names ===

impl Names {
    pub(super) fn new(most: usize) -> Self {
        Self { most, clock: 0, classes: HashMap::new() }
    }

    pub(super) fn name(text: &[u8]) -> Name {
        text.get(..MAX_LENGTH).unwrap_or(text).into()
    }

    pub(super) fn get(&mut self, name: &Name) -> Option<Arc<Class>> {
        self.clock += 1;
        let (used, class) = self.classes.get_mut(name)?;
        *used = self.clock;
        Some(class.clone())
    }

    /// The class of `name` is `class` from now on; without one it is not known.
    pub(super) fn set(&mut self, name: Name, class: Option<Arc<Class>>) {
        let Some(class) = class else {
            self.classes.remove(&name);
            return;
        };
        self.clock += 1;
        if self.classes.len() >= self.most
            && !self.classes.contains_key(&name)
            && let Some(oldest) = self.classes.iter().min_by_key(|(_, (used, _))| *used).map(|(name, _)| name.clone())
        {
            self.classes.remove(&oldest);
        }
        self.classes.insert(name, (self.clock, class));
    }
}
