//! The fuzz targets with a fixed number of inputs: mutations of what was recorded, from one seed.

use std::{fs, path::Path, time::Duration};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde_json::Value;

#[path = "../../fuzz/feed.rs"]
mod feed;

/// Inputs for each target.
const INPUTS: usize = 50_000;
/// No input may take longer, on however slow a machine.
const BOUND: Duration = Duration::from_secs(10);

/// The recorded requests as bytes on a connection, and the recorded policies.
fn corpus() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let (mut requests, mut policies) = (Vec::new(), Vec::new());
    for flavour in ["openbao", "vault"] {
        for file in fs::read_dir(folder.join(flavour)).expect("recordings") {
            let text = fs::read_to_string(file.expect("a file").path()).expect("a recording");
            let topic: Value = serde_json::from_str(&text).expect("JSON");
            for step in topic["steps"].as_array().into_iter().flatten() {
                let asked = &step["request"];
                let (Some(method), Some(path)) = (asked["method"].as_str(), asked["path"].as_str())
                else {
                    continue;
                };
                let body = match &asked["body"] {
                    Value::Null => String::new(),
                    body => body.to_string(),
                };
                // long ones teach nothing that short ones do not
                if body.len() > 2_000 {
                    continue;
                }
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nHost: h\r\nX-Vault-Token: root\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                requests.push((head + &body).into_bytes());
                policies.extend(
                    asked["body"]["policy"]
                        .as_str()
                        .map(|p| p.as_bytes().to_vec()),
                );
            }
        }
    }
    (requests, policies)
}

const WORDS: [&str; 24] = [
    "\r\n",
    "\r\n\r\n",
    "Content-Length: 9\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\n",
    "HTTP/1.0",
    "{\"",
    "\":",
    "[[[[",
    "\\u",
    "%2F",
    "%",
    "..",
    "//",
    "\u{0}",
    "99999999999999999999",
    "-1",
    "1e999",
    "path \"",
    "capabilities = [",
    "<<E\n",
    "/*",
    "*",
    "+",
];

fn mutate(rng: &mut ChaCha12Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut below = |n: usize| rng.next_u32() as usize % n.max(1);
    let mut input = corpus[below(corpus.len())].clone();
    for _ in 0..below(6) {
        let at = below(input.len() + 1);
        match below(6) {
            0 if at < input.len() => input[at] ^= 1 << below(8),
            1 => drop(input.drain(at..(at + below(16)).min(input.len()))),
            2 => drop(input.splice(at..at, WORDS[below(WORDS.len())].bytes())),
            3 => {
                let other = &corpus[below(corpus.len())];
                let from = below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            4 => {
                let again = input[at..(at + below(64)).min(input.len())].to_vec();
                input.splice(at..at, again);
            }
            _ => input.truncate(at.max(1)),
        }
    }
    input
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is measured is this machine's time"
)]
fn run(corpus: &[Vec<u8>], feed: impl Fn(&mut feed::Fed, &[u8])) {
    assert!(corpus.len() > 20, "the corpus comes from the recordings");
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let mut fed = feed::Fed::default();
    for n in 0..INPUTS {
        let input = mutate(&mut rng, corpus);
        let begun = std::time::Instant::now();
        feed(&mut fed, &input);
        let took = begun.elapsed();
        assert!(
            took < BOUND,
            "input {n} took {took:?}: {:?}",
            String::from_utf8_lossy(&input)
        );
    }
}

#[test]
fn no_bytes_on_a_connection_make_the_server_panic_or_hang() {
    run(&corpus().0, feed::Fed::request);
}

#[test]
fn no_policy_text_makes_the_parser_panic_or_hang() {
    run(&corpus().1, feed::Fed::policy);
}
