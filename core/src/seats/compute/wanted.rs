//! What the load calls for: another number of replicas, or other sizes of the containers.

use crate::action::{Action, Adjust, Scale, Sizes};
use crate::demand::{Allocation, Container, Resources};

/// One change that the load calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Another number of replicas.
    Replicas { from: u32, to: u32 },
    /// Other requests and limits.
    Sizes { to: Adjust, larger: bool },
}

// === impl Wanted ===

impl Wanted {
    /// As the action that brings it about; `None` where nothing would change. Of many containers the first ones go first.
    pub(super) fn sizes(before: &[Container], after: &[Resources]) -> Option<Self> {
        let changed = after.iter().filter_map(|after| {
            let before = before.iter().find(|before| before.name == after.container)?;
            let sizes = Sizes {
                container: after.container.clone(),
                cpu_request: differs(before.cpu.request, after.cpu_request_milli),
                cpu_limit: limit(&before.cpu, after.cpu_limit_milli),
                memory_request: differs(before.memory.request, after.memory_request_bytes),
                memory_limit: limit(&before.memory, after.memory_limit_bytes),
            };
            let none = [sizes.cpu_request, sizes.cpu_limit, sizes.memory_request, sizes.memory_limit].iter().all(Option::is_none);
            (!none).then_some(sizes)
        });
        let mut containers: Vec<Sizes> = changed.collect();
        containers.sort_by(|a, b| a.container.cmp(&b.container));
        containers.truncate(Adjust::MOST);
        let larger = after.iter().any(|after| after.larger);
        (!containers.is_empty()).then_some(Self::Sizes { to: Adjust { containers }, larger })
    }

    pub(super) fn is_more(&self) -> bool {
        match self {
            Self::Replicas { from, to } => to > from,
            Self::Sizes { larger, .. } => *larger,
        }
    }

    /// Whether the one goes on with what the other began, whatever the figures.
    pub(super) fn goes_on(&self, before: &Self) -> bool {
        let kind = std::mem::discriminant(self) == std::mem::discriminant(before);
        kind && self.is_more() == before.is_more()
    }

    pub(super) fn fault(&self) -> &'static str {
        match (self, self.is_more()) {
            (Self::Replicas { .. }, true) => "demand-rose",
            (Self::Replicas { .. }, false) => "demand-fell",
            (Self::Sizes { .. }, true) => "containers-too-small",
            (Self::Sizes { .. }, false) => "containers-too-large",
        }
    }

    pub(super) fn action(&self) -> Action {
        match self {
            Self::Replicas { to, .. } => Action::ScaleWorkload(Scale { replicas: *to }),
            Self::Sizes { to, .. } => Action::AdjustResources(to.clone()),
        }
    }
}

/// Whether each amount of `asked` lies between what there is and what is wanted.
pub(super) fn goes_no_further(now: &[Container], asked: &Adjust, wanted: &Adjust) -> bool {
    let within = |asked: &Sizes| {
        let (Some(now), Some(wanted)) =
            (now.iter().find(|container| container.name == asked.container), wanted.containers.iter().find(|sizes| sizes.container == asked.container))
        else {
            return false;
        };
        let each = [
            (Some(now.cpu.request), asked.cpu_request, wanted.cpu_request),
            (now.cpu.limit, asked.cpu_limit, wanted.cpu_limit),
            (Some(now.memory.request), asked.memory_request, wanted.memory_request),
            (now.memory.limit, asked.memory_limit, wanted.memory_limit),
        ];
        each.into_iter().all(|(now, asked, wanted)| match (now, asked) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(now), Some(asked)) => {
                let to = wanted.unwrap_or(now);
                (now.min(to)..=now.max(to)).contains(&asked)
            }
        })
    };
    asked.containers.iter().all(within)
}

/// Thousandths that are asked for in addition, by all containers of a pod together.
pub(super) fn more_milli(now: &[Container], asked: &Adjust) -> u64 {
    let added = asked.containers.iter().filter_map(|asked| {
        let now = now.iter().find(|container| container.name == asked.container)?;
        Some(asked.cpu_request?.saturating_sub(now.cpu.request))
    });
    added.fold(0, u64::saturating_add)
}

/// A container that used more memory than it would ask for, or than it might use, if there is one.
pub(super) fn too_small<'a>(now: &'a [Container], asked: &Adjust) -> Option<&'a str> {
    let small = asked.containers.iter().filter_map(|asked| {
        let now = now.iter().find(|container| container.name == asked.container)?;
        let peak = now.history.iter().map(|period| period.memory_peak_bytes).max()?;
        let less = asked.memory_request.is_some_and(|request| request < now.memory.request && request < peak);
        (less || asked.memory_limit.is_some_and(|limit| limit < peak)).then_some(now.name.as_str())
    });
    small.into_iter().next()
}

fn differs(before: u64, after: u64) -> Option<u64> {
    (before != after).then_some(after)
}

fn limit(before: &Allocation, after: Option<u64>) -> Option<u64> {
    after.filter(|after| before.limit != Some(*after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::Period;
    use crate::ids::UnixMillis;

    const MEBIBYTE: u64 = 1 << 20;

    fn container(cpu: u64, memory: u64) -> Container {
        Container {
            name: "app".into(),
            cpu: Allocation { request: cpu, limit: Some(2 * cpu), restarts: true },
            memory: Allocation { request: memory, limit: Some(memory), restarts: true },
            ..Container::default()
        }
    }

    fn resources(cpu: u64, memory: u64) -> Resources {
        Resources {
            container: "app".into(),
            cpu_request_milli: cpu,
            cpu_limit_milli: Some(2 * cpu),
            memory_request_bytes: memory,
            memory_limit_bytes: Some(memory),
            larger: memory > 100 * MEBIBYTE,
        }
    }

    fn sizes(to: &Wanted) -> Sizes {
        let Wanted::Sizes { to, .. } = to else { panic!("{to:?}") };
        to.containers[0].clone()
    }

    #[test]
    fn only_what_changes_is_named() {
        let before = [container(100, 100 * MEBIBYTE)];
        let more = sizes(&Wanted::sizes(&before, &[resources(100, 150 * MEBIBYTE)]).unwrap());
        assert_eq!((more.cpu_request, more.cpu_limit), (None, None));
        assert_eq!((more.memory_request, more.memory_limit), (Some(150 * MEBIBYTE), Some(150 * MEBIBYTE)));
        let less = sizes(&Wanted::sizes(&before, &[resources(60, 60 * MEBIBYTE)]).unwrap());
        assert_eq!((less.cpu_request, less.cpu_limit), (Some(60), Some(120)));
        assert_eq!(less.memory_request, Some(60 * MEBIBYTE));
        assert_eq!(Wanted::sizes(&before, &[resources(100, 100 * MEBIBYTE)]), None);
        assert_eq!(Wanted::sizes(&[], &[resources(1, 1)]), None);
    }

    #[test]
    fn less_far_the_same_way_is_within_and_nothing_else() {
        let before = [container(100, 100 * MEBIBYTE)];
        let Wanted::Sizes { to: wanted, .. } = Wanted::sizes(&before, &[resources(150, 200 * MEBIBYTE)]).unwrap() else { panic!() };
        let asked = |cpu: Option<u64>, memory: u64| Adjust {
            containers: vec![Sizes { container: "app".into(), cpu_request: cpu, cpu_limit: None, memory_request: Some(memory), memory_limit: None }],
        };
        assert!(goes_no_further(&before, &wanted, &wanted));
        assert!(goes_no_further(&before, &asked(Some(120), 150 * MEBIBYTE), &wanted));
        assert!(!goes_no_further(&before, &asked(Some(120), 201 * MEBIBYTE), &wanted));
        assert!(!goes_no_further(&before, &asked(None, 99 * MEBIBYTE), &wanted));
        assert!(!goes_no_further(&[], &wanted, &wanted));
        assert_eq!(more_milli(&before, &asked(Some(120), 1)), 20);
        assert_eq!(more_milli(&before, &asked(Some(80), 1)), 0);
        let mut used = before;
        used[0].history = vec![Period { from: UnixMillis(0), cpu_p95_milli: 1, memory_peak_bytes: 70 * MEBIBYTE }];
        assert_eq!(too_small(&used, &asked(None, 69 * MEBIBYTE)), Some("app"));
        assert_eq!(too_small(&used, &asked(None, 71 * MEBIBYTE)), None);
        let mut capped = asked(None, 200 * MEBIBYTE);
        capped.containers[0].memory_limit = Some(69 * MEBIBYTE);
        assert_eq!(too_small(&used, &capped), Some("app"), "more of the one is never less of the other");
    }
}
