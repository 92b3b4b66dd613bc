//! The checked-in code is what the generator makes of the checked-in proto file (feature `generate`).

use std::path::Path;

/// Set to rewrite `src/generated.rs` instead of comparing with it.
const UPDATE: &str = "UPDATE_GENERATED";

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fds = protox::compile(["kms-v2.proto"], [root.join("proto")]).expect("proto compiles");
    let out = tempfile_dir();
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".")
        .out_dir(&out)
        .compile_fds(fds)
        .expect("code is generated");
    let fresh = std::fs::read_to_string(out.join("v2.rs")).expect("one package, one file");
    std::fs::remove_dir_all(&out).expect("own folder");
    let path = root.join("src/generated.rs");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &fresh).expect("writable checkout");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == fresh,
        "src/generated.rs is not what proto/kms-v2.proto gives; run with {UPDATE}=1 to rewrite it"
    );
}

fn tempfile_dir() -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("kms-v2-api-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("temporary folder");
    dir
}
