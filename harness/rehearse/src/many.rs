//! Many simulations at once: each has a runtime of its own, on whatever thread is free.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::world::plugin::lock;

/// Plays each item on one of so many threads, and gives what came of it in the items' order. `told` hears of each as
/// soon as it is there, in no order.
pub fn play<I: Sync, T: Send>(
    items: &[I],
    threads: usize,
    one: impl Fn(&I) -> T + Sync,
    told: impl Fn(&T) + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { return };
                    let played = one(item);
                    told(&played);
                    lock(&done).push((place, played));
                }
            });
        }
    });
    let mut done = std::mem::take(&mut *lock(&done));
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, played)| played).collect()
}
