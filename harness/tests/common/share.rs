//! How much of a sweep is played: all of it where CI requires everything (`KMS_REQUIRE=all`), else a share.

/// Everything is required.
pub fn whole() -> bool {
    std::env::var_os("KMS_REQUIRE").is_some_and(|value| value == "all")
}

/// All of these, or the first of each `part`.
pub fn share<T>(all: impl IntoIterator<Item = T>, part: usize) -> Vec<T> {
    let step = if whole() { 1 } else { part };
    all.into_iter().step_by(step).collect()
}
