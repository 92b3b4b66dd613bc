//! Round trips of random seeds, shrunk when one fails, and of lengths that the API server never
//! sends.

use bytes::Bytes;
use kms_history::{Hex, Minimal, Outcome, What};
use kms_judge::stimuli::AFTERWARDS;
use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::lab::{Material, Scene, side_by_side};
use crate::seeds::random;

type Seed = (&'static str, [u8; 32]);

/// Simplifications tried before the smallest so far is taken.
const SHRINK_STEPS: u64 = 1000;

/// Mostly uniform bytes, some of the shapes that trimming, text handling or padding would break.
fn seeds() -> BoxedStrategy<Seed> {
    let named = |name: &'static str| move |bytes: [u8; 32]| (name, bytes);
    let any32 = || proptest::array::uniform32(any::<u8>());
    prop_oneof![
        90 => any32().prop_map(named("uniform")),
        2 => any::<u8>().prop_map(|byte| ("one byte repeated", [byte; 32])),
        2 => proptest::array::uniform32(b' '..=b'~').prop_map(named("printable text")),
        2 => (any32(), 1usize..32, proptest::sample::select(vec![0u8, b'\n', b' ', b'=', 0xff]))
            .prop_map(|(mut bytes, from, end)| {
                bytes[from..].fill(end);
                ("equal bytes at the end", bytes)
            }),
        2 => (any32(), 1usize..32, proptest::sample::select(vec![0u8, b'\n', b' ', 0xff]))
            .prop_map(|(mut bytes, to, start)| {
                bytes[..to].fill(start);
                ("equal bytes at the start", bytes)
            }),
        2 => proptest::array::uniform32(0x80u8..).prop_map(named("never UTF-8")),
    ]
    .boxed()
}

/// As many as the options say, several at once (KMS2-RT-01).
pub(crate) async fn run(scene: Scene<'_>) {
    let total = scene.lab.options.round_trips;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &scene.lab.seeds.bytes("round-trips"));
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = seeds();
    let mut done = 0;
    while done < total {
        let batch = (total - done).min(256);
        let mut trees: Vec<_> = (0..batch)
            .map(|_| {
                strategy
                    .new_tree(&mut runner)
                    .expect("these strategies reject nothing")
            })
            .collect();
        let calls = (0..).zip(&trees).map(|(i, tree)| {
            let (case, seed) = tree.current();
            async move { one(scene.caller(i), case, &seed, done + i).await }
        });
        let failures = side_by_side(scene.lab.options.width, calls).await;
        if let Some(at) = failures.iter().position(Option::is_some) {
            let failure = failures[at].clone().unwrap_or_default();
            shrink(scene, &mut trees[at], failure).await;
            return;
        }
        if scene.gave_up() {
            return;
        }
        done += batch;
        scene.progress(done.into(), total.into());
    }
}

/// One round trip; what was wrong, if anything was.
async fn one(scene: Scene<'_>, case: &'static str, seed: &[u8; 32], label: u32) -> Option<String> {
    if scene.gave_up() {
        return None;
    }
    let plaintext = Bytes::copy_from_slice(seed);
    let uid = scene.uid(format_args!("{label}/encrypt"));
    let (reply, material) = scene.encrypt(case, &plaintext, uid).await;
    let Some(material) = material else {
        return failed("Encrypt", &reply.outcome);
    };
    let reply = scene
        .decrypt(case, &material, scene.uid(format_args!("{label}/decrypt")))
        .await;
    match reply.plaintext {
        Some(bytes) if bytes == plaintext => None,
        Some(bytes) => Some(format!("Decrypt gave {} other bytes", bytes.len())),
        None => failed("Decrypt", &reply.outcome),
    }
}

/// Transport faults cannot be shrunk and are judged where they happened.
fn failed(method: &str, outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Error { code, .. } => Some(format!("{method} ended in gRPC code {code}")),
        Outcome::Unreadable { reason } => Some(format!("{method}: {reason}")),
        _ => None,
    }
}

/// Looks for the smallest seed that still fails, and records it.
async fn shrink(scene: Scene<'_>, tree: &mut impl ValueTree<Value = Seed>, failure: String) {
    let (mut smallest, mut why) = (tree.current().1, failure);
    let mut steps = 0;
    let mut more = tree.simplify();
    while more && steps < SHRINK_STEPS && !scene.gave_up() {
        steps += 1;
        let (_, seed) = tree.current();
        let label = u32::MAX - u32::try_from(steps).unwrap_or(0);
        more = match one(scene, "shrinking", &seed, label).await {
            Some(failure) => {
                (smallest, why) = (seed, failure);
                tree.simplify()
            }
            None => tree.complicate(),
        };
    }
    scene.record(What::Minimal(Minimal {
        input: Hex(smallest.to_vec()),
        failure: why,
        steps,
    }));
}

/// Lengths that the API server never sends, up to 1 MiB: reported, no verdict (KMS2-RT-01).
pub(crate) async fn lengths(scene: Scene<'_>) {
    let mut rng = scene.lab.seeds.rng("lengths");
    for len in [
        0,
        1,
        15,
        16,
        31,
        33,
        48,
        64,
        512,
        1024,
        4096,
        65536,
        1 << 20,
    ] {
        let plaintext = Bytes::from(random(&mut rng, len));
        let case = format!("{len} bytes");
        let uid = scene.uid(format_args!("{case}/encrypt"));
        let (_, material) = scene.encrypt(case.clone(), &plaintext, uid).await;
        if let Some(material) = material {
            decrypt(scene, case, &material).await;
        }
        if scene.gave_up() {
            return;
        }
    }
    scene.round_trip(AFTERWARDS, "afterwards").await;
}

async fn decrypt(scene: Scene<'_>, case: String, material: &Material) {
    let uid = scene.uid(format_args!("{case}/decrypt"));
    scene.decrypt(case, material, uid).await;
}
