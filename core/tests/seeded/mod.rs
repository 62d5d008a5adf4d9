//! Runs by seed, on all processors: what simulations share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number from the environment, if it is set.
pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// The first seed below `count` for which `play` fails, or all reports together, as `add` adds them.
pub(crate) fn explore<R: Default + Send, V: Send>(
    count: u64,
    play: impl Fn(u64) -> Result<R, V> + Sync,
    add: impl Fn(&mut R, &R) + Sync,
) -> Result<R, (u64, V)> {
    let next = AtomicU64::new(0);
    let result: Mutex<Result<R, (u64, V)>> = Mutex::new(Ok(R::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    let played = play(seed);
                    let mut all = result.lock().unwrap();
                    match (played, &mut *all) {
                        (Ok(report), Ok(sum)) => add(sum, &report),
                        (Err(violation), Ok(_)) => {
                            *all = Err((seed, violation));
                            next.store(count, Ordering::Relaxed);
                        }
                        (Err(violation), Err(first)) if seed < first.0 => *first = (seed, violation),
                        _ => {}
                    }
                }
            });
        }
    });
    result.into_inner().unwrap()
}
