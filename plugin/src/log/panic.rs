//! What is said when code panics: where, and nothing that was made at run time.

use std::panic::{self, PanicHookInfo};
use std::sync::Arc;

use crate::event::Event;
use crate::seam::Observer;

/// Replaces the default hook, which prints the payload: a formatted one may hold anything.
/// The unwinding that follows is untouched, so the panic ends one task and nothing else (BUG-114).
pub fn install(observer: Arc<dyn Observer>) {
    panic::set_hook(Box::new(move |info| {
        observer.event(&Event::Notice {
            warn: true,
            text: &describe(info),
        });
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let place = info
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    // A literal was there before any secret was.
    let text = info
        .payload()
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("text withheld");
    format!("a defect of the plugin: panic at {place}: {text}")
}
