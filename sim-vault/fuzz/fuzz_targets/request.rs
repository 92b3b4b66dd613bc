//! Bytes as a client may send them.

#![no_main]

#[path = "../feed.rs"]
mod feed;

std::thread_local! {
    static FED: std::cell::RefCell<feed::Fed> = std::cell::RefCell::default();
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| FED.with_borrow_mut(|fed| fed.request(bytes)));
