//! A bounded ring of windows on a common grid, so that what several pods report about the same two seconds adds up.

use std::collections::VecDeque;

use super::Settings;
use crate::ids::UnixMillis;

/// Windows in the future by more than this many are a wrong clock.
const AHEAD: i64 = 2;
/// A window is closed this long after its end, so that all pods have reported it.
const GRACE_MS: i64 = 1_000;

/// The newest windows of one thing, oldest first, at most `history`.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring<W> {
    windows: VecDeque<(i64, W)>,
}

/// The number of the window that holds `at`.
pub(super) fn number(settings: &Settings, at: UnixMillis) -> i64 {
    at.0.div_euclid(settings.grid_ms.max(1))
}

/// When window `number` begins.
pub(super) fn start(settings: &Settings, number: i64) -> UnixMillis {
    UnixMillis(number.saturating_mul(settings.grid_ms.max(1)))
}

/// The newest window that everybody has reported by `now`.
pub(super) fn newest_closed(settings: &Settings, now: UnixMillis) -> i64 {
    number(settings, now.plus(-GRACE_MS)).saturating_sub(1)
}

// === impl Ring ===

impl<W: Default> Ring<W> {
    /// The window of `at`, made if need be; `None` if it is older than what is remembered, or lies in the future of `now`.
    pub(super) fn window(&mut self, settings: &Settings, at: UnixMillis, now: UnixMillis) -> Option<&mut W> {
        let wanted = number(settings, at);
        let current = number(settings, now);
        let oldest = current.saturating_sub(i64::try_from(settings.history).unwrap_or(i64::MAX));
        if wanted > current.saturating_add(AHEAD) || wanted <= oldest {
            return None;
        }
        while self.windows.front().is_some_and(|(number, _)| *number <= oldest) {
            self.windows.pop_front();
        }
        let place = self.windows.partition_point(|(number, _)| *number < wanted);
        if self.windows.get(place).is_none_or(|(number, _)| *number != wanted) {
            self.windows.insert(place, (wanted, W::default()));
        }
        self.windows.get_mut(place).map(|(_, window)| window)
    }
}

impl<W> Ring<W> {
    /// Windows numbered from `from` to `to`, both included, oldest first.
    pub(super) fn between(&self, from: i64, to: i64) -> impl DoubleEndedIterator<Item = (i64, &W)> {
        let low = self.windows.partition_point(|(number, _)| *number < from);
        let high = self.windows.partition_point(|(number, _)| *number <= to).max(low);
        self.windows.range(low..high).map(|(number, window)| (*number, window))
    }

    /// The number of the newest window.
    pub(super) fn newest(&self) -> Option<i64> {
        self.windows.back().map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { grid_ms: 10, history: 3, learn: 1, stale_ms: 100 };

    #[test]
    fn it_is_bounded_ordered_and_refuses_wrong_clocks() {
        let mut ring: Ring<u32> = Ring::default();
        for at in [100, 120, 110, 119] {
            *ring.window(&SETTINGS, UnixMillis(at), UnixMillis(125)).unwrap() += 1;
        }
        assert_eq!(ring.between(i64::MIN, i64::MAX).map(|(n, w)| (n, *w)).collect::<Vec<_>>(), [(10, 1), (11, 2), (12, 1)]);
        assert!(ring.window(&SETTINGS, UnixMillis(99), UnixMillis(125)).is_none());
        assert!(ring.window(&SETTINGS, UnixMillis(150), UnixMillis(125)).is_none());
        assert!(ring.window(&SETTINGS, UnixMillis(150), UnixMillis(150)).is_some());
        assert_eq!(ring.between(i64::MIN, 14).map(|(n, _)| n).collect::<Vec<_>>(), Vec::<i64>::new());
        assert_eq!((ring.newest(), ring.between(16, 2).count()), (Some(15), 0));
    }
}
