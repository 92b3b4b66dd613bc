//! Whole pages, word for word. `UPDATE=1` writes them again.

use std::path::Path;

use crate::{play, wish};

fn golden(procedure: &str) {
    let text = play(&wish(procedure)).text();
    assert_eq!(
        text,
        play(&wish(procedure)).text(),
        "twice the same seed, twice the same page"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{procedure}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept, text, "{} (UPDATE=1 writes it again)", path.display());
}

#[test]
fn enable_reads_like_the_page_with_live_answers() {
    golden("enable");
}

#[test]
fn rotate_reads_like_the_page_with_live_answers() {
    golden("rotate");
}
