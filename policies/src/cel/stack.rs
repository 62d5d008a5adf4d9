//! Stack for deep expressions. Depth is bounded, but not so low that it fits every caller's thread in a debug build.

use std::thread;

/// Deepest recursion that runs on the caller's stack.
const SHALLOW: u32 = 64;
/// Stack for every level beyond, several times what a level takes in a debug build.
const LEVEL: usize = 32 << 10;

/// Runs something that may recurse so deep, on a stack of its own if need be; `None` if there is no memory for one.
pub(crate) fn grown<T: Send>(depth: u32, run: impl FnOnce() -> T + Send) -> Option<T> {
    if depth <= SHALLOW {
        return Some(run());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(LEVEL * depth as usize).spawn_scoped(scope, run).ok()?;
        thread.join().ok()
    })
}
