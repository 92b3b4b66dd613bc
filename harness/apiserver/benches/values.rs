//! What the model costs for each value, beside nothing but HKDF and AES-256-GCM of the same size.
//!
//! `cargo bench -p kms-apiserver`; the last lines say how many times the bare ciphers' time a
//! write and a read take, and it fails above 3.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use kms_apiserver::aead::{self, Gcm};
use kms_apiserver::encryption::{Encryption, Read};
use kms_apiserver::grpc::Method;
use kms_apiserver::options::Options;
use kms_apiserver::seam::{Action, GroupResource, Now};
use kms_apiserver::version::Version;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const KEY: &str = "/registry/secrets/default/demo";
const CONFIG: &str = "kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
  - resources: [secrets]
    providers:
      - kms: {apiVersion: v2, name: lab, endpoint: 'unix:///run/kms/plugin.sock'}
";

const NOW: Now = Now {
    mono: Duration::ZERO,
    unix: Duration::ZERO,
};

/// A started server whose plugin answers at once.
fn server() -> Encryption {
    let options = Options::new(Version::NEWEST, "config.yaml");
    let rng = Box::new(ChaCha8Rng::seed_from_u64(1));
    let mut server =
        Encryption::start(NOW, options, rng, CONFIG.as_bytes()).expect("a good configuration");
    loop {
        let actions = server.poll(NOW);
        if actions.is_empty() {
            return server;
        }
        for action in actions {
            match action {
                Action::Dial { provider, conn, .. } => {
                    server.dialled(NOW, provider, conn, Ok(()));
                }
                Action::Send { provider, rpc, .. } => {
                    let answer: &[u8] = match rpc.method {
                        Method::Status => b"\x0a\x02v2\x12\x02ok\x1a\x05key-1",
                        _ => b"\x0a\x20wrapped-seed-of-thirty-two-bytes\x12\x05key-1",
                    };
                    server.answer(NOW, provider, rpc.call, Ok(answer.to_vec()));
                }
                _ => {}
            }
        }
    }
}

fn bare_seal(seed: &[u8; 32], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 60);
    let key = aead::derive(seed, &[1; 32]).expect("a whole seed");
    let gcm = Gcm::new(&*key).expect("a whole key");
    gcm.seal(&mut out, [2; 12], KEY.as_bytes(), value)
        .expect("a short value");
    out
}

fn bare_open(seed: &[u8; 32], sealed: &[u8]) -> Vec<u8> {
    let key = aead::derive(seed, &[1; 32]).expect("a whole seed");
    let gcm = Gcm::new(&*key).expect("a whole key");
    gcm.open(KEY.as_bytes(), sealed).expect("sealed above")
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args().without_plots();
    let secrets = GroupResource::core("secrets");
    let seed = [7; 32];
    let mut server = server();
    let mut worst: f64 = 0.0;
    for size in [1024, 10 * 1024] {
        let value = vec![5; size];
        let sealed = bare_seal(&seed, &value);
        // Values of many paths, so that the cache of derived keys is no help where a real server
        // would have none: each is read once for each write.
        let stored: Vec<(String, Vec<u8>)> = (0..256)
            .map(|at| {
                let key = format!("/registry/secrets/default/{at}");
                let stored = server
                    .write(NOW, &secrets, &key, &value)
                    .expect("a fresh seed");
                (key, stored)
            })
            .collect();
        let mut write = |at: usize| {
            let key = &stored[at % stored.len()].0;
            server
                .write(NOW, &secrets, key, &value)
                .expect("a fresh seed")
        };
        let mut group = criterion.benchmark_group(format!("{} KiB", size / 1024));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function("write", |bench| {
            let mut at = 0;
            bench.iter(|| {
                at += 1;
                write(at)
            });
        });
        group.bench_function("bare seal", |bench| {
            bench.iter(|| bare_seal(&seed, black_box(&value)))
        });
        let wrote = per_call(|at| drop(black_box(write(at))));
        let mut read = |at: usize| {
            let (key, stored) = &stored[at % stored.len()];
            match server.read(NOW, &secrets, key, stored) {
                Read::Plain(plain) => plain.bytes,
                other => panic!("{other:?}"),
            }
        };
        group.bench_function("read", |bench| {
            let mut at = 0;
            bench.iter(|| {
                at += 1;
                read(at)
            });
        });
        group.bench_function("bare open", |bench| {
            bench.iter(|| bare_open(&seed, black_box(&sealed)))
        });
        group.finish();
        let read = per_call(|at| drop(black_box(read(at))));
        let sealed_in = per_call(|_| drop(black_box(bare_seal(&seed, &value))));
        let opened_in = per_call(|_| drop(black_box(bare_open(&seed, &sealed))));
        let (writes, reads) = (wrote / sealed_in, read / opened_in);
        println!(
            "{} KiB: write {writes:.2} times bare, read {reads:.2} times bare",
            size / 1024
        );
        worst = worst.max(writes).max(reads);
    }
    assert!(worst <= 3.0, "{worst:.2} times the bare ciphers' time");
}

/// Nanoseconds of one call: the best of several rounds, so that other processes do not count.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn per_call(mut call: impl FnMut(usize)) -> f64 {
    let rounds = (0..20).map(|_| {
        let began = Instant::now();
        for at in 0..2_000 {
            call(at);
        }
        began.elapsed().as_nanos() as f64 / 2_000.0
    });
    rounds.fold(f64::INFINITY, f64::min)
}
