//! The load: one generator for both targets, closed loops of a given width, exact samples.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Uri};
use kms_v2_api::{DecryptRequest, EncryptRequest};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::direct::Direct;
use crate::kms::Kms;
use crate::proc;
use crate::stats::percentile;

/// Size of the associated data of a direct call: about what a plugin binds (its key_id and a
/// domain word), so that the server does the same work for both.
const ASSOCIATED_DATA: [u8; 80] = [b'a'; 80];

/// A call of a closed loop that has not been answered this long after the window counts as failed.
pub const STRAGGLERS: Duration = Duration::from_secs(15);

/// The two operations that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Op {
    /// Encrypt
    Encrypt,
    /// Decrypt
    Decrypt,
}

/// Something that encrypts and decrypts.
#[derive(Clone)]
pub enum Target {
    /// The server itself.
    Direct(Arc<Direct>),
    /// A plugin.
    Plugin(Kms),
}

/// What was encrypted, and all that is needed to decrypt it.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// What must come back.
    pub plaintext: [u8; 32],
    /// As the target gave it.
    pub ciphertext: Bytes,
    /// Empty for direct calls.
    pub key_id: String,
    /// Empty for direct calls.
    pub annotations: BTreeMap<String, Bytes>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted<'a> {
    #[serde(borrow)]
    plaintext: &'a str,
}

/// 32 bytes that no other call of this process encrypts.
pub fn fresh_plaintext() -> [u8; 32] {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut plaintext = *b"measured, not random: 0000000000";
    plaintext[24..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    plaintext
}

impl Target {
    /// Encrypts 32 bytes.
    pub async fn encrypt(&self, plaintext: [u8; 32]) -> Result<Sealed> {
        match self {
            Self::Plugin(kms) => {
                let request = EncryptRequest {
                    plaintext: Bytes::copy_from_slice(&plaintext),
                    uid: "bench".to_owned(),
                };
                let answer = kms.encrypt(&request).await?;
                Ok(Sealed {
                    plaintext,
                    ciphertext: answer.ciphertext,
                    key_id: answer.key_id,
                    annotations: answer.annotations,
                })
            }
            Self::Direct(direct) => {
                let body = format!(
                    r#"{{"plaintext":"{}","associated_data":"{}"}}"#,
                    STANDARD.encode(plaintext),
                    STANDARD.encode(ASSOCIATED_DATA)
                );
                let answer = post(direct, "/v1/transit/encrypt/kms-key", body).await?;
                let parsed: Envelope<Encrypted> = serde_json::from_slice(&answer)?;
                Ok(Sealed {
                    plaintext,
                    ciphertext: parsed.data.ciphertext.into(),
                    key_id: String::new(),
                    annotations: BTreeMap::new(),
                })
            }
        }
    }

    /// Decrypts and compares.
    pub async fn decrypt(&self, sealed: &Sealed) -> Result<()> {
        let same = match self {
            Self::Plugin(kms) => {
                let request = DecryptRequest {
                    ciphertext: sealed.ciphertext.clone(),
                    uid: "bench".to_owned(),
                    key_id: sealed.key_id.clone(),
                    annotations: sealed.annotations.clone(),
                };
                kms.decrypt(&request).await?.plaintext == sealed.plaintext.as_slice()
            }
            Self::Direct(direct) => {
                let ciphertext = std::str::from_utf8(&sealed.ciphertext)?;
                let body = format!(
                    r#"{{"ciphertext":"{ciphertext}","associated_data":"{}"}}"#,
                    STANDARD.encode(ASSOCIATED_DATA)
                );
                let answer = post(direct, "/v1/transit/decrypt/kms-key", body).await?;
                let parsed: Envelope<Decrypted<'_>> = serde_json::from_slice(&answer)?;
                STANDARD.decode(parsed.data.plaintext)? == sealed.plaintext
            }
        };
        if !same {
            bail!("WRONG PLAINTEXT");
        }
        Ok(())
    }
}

async fn post(direct: &Direct, path: &'static str, body: String) -> Result<Bytes> {
    let (status, answer) = direct
        .send(Method::POST, Uri::from_static(path), body.into())
        .await?;
    if !status.is_success() {
        bail!("{status} {}", String::from_utf8_lossy(&answer).trim());
    }
    Ok(answer)
}

/// Failed calls: how many, and the first few messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// All of them.
    pub count: u64,
    /// The first five.
    pub first: Vec<String>,
}

impl Failures {
    /// Takes one up.
    pub fn add(&mut self, message: impl std::fmt::Display) {
        self.count += 1;
        if self.first.len() < 5 {
            self.first.push(message.to_string());
        }
    }

    /// Takes all of another list up.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = 5usize.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}

/// What one closed loop of calls came to.
#[derive(Debug, Default)]
pub struct Sample {
    /// Nanoseconds of each call that began and ended inside the window, ascending.
    pub latencies: Vec<u64>,
    /// Median over the loops of each loop's own median, nanoseconds. When a server favours some
    /// connections, those answer most calls and the median call says little about the median
    /// caller; this does not follow them.
    pub caller_p50: Option<u64>,
    /// Calls answered inside the window per second.
    pub per_second: f64,
    /// Failed calls, those of the warm-up included.
    pub failures: Failures,
    /// CPU of each watched process per answered call, in microseconds, in the order given.
    pub cpu_us: Vec<f64>,
    /// CPU of this process per answered call, in microseconds.
    pub client_cpu_us: f64,
}

/// `count` distinct sealed values, made 16 at a time.
pub async fn seal(target: &Target, count: usize) -> Result<Arc<Vec<Sealed>>> {
    let left = Arc::new(AtomicUsize::new(count));
    let mut workers = JoinSet::new();
    for _ in 0..16 {
        let (target, left) = (target.clone(), Arc::clone(&left));
        workers.spawn(async move {
            let mut made = Vec::new();
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
            {
                made.push(target.encrypt(fresh_plaintext()).await?);
            }
            anyhow::Ok(made)
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(made) = workers.join_next().await {
        all.extend(made?.context("preparing ciphertexts")?);
    }
    Ok(Arc::new(all))
}

/// Calls without pause from `width` loops: `warm_up`, then a window of `measure` that counts.
/// `pids` are the processes whose CPU is taken.
pub async fn closed_loop(
    target: &Target,
    op: Op,
    width: usize,
    sealed: &Arc<Vec<Sealed>>,
    (warm_up, measure): (Duration, Duration),
    pids: &[u32],
) -> Result<Sample> {
    let begin = Instant::now() + warm_up;
    let end = begin + measure;
    let mut workers = JoinSet::new();
    for worker in 0..width {
        workers.spawn(one_loop(
            target.clone(),
            op,
            worker,
            width,
            Arc::clone(sealed),
            begin,
            end,
        ));
    }
    sleep_until(begin).await;
    let before = all_cpu(pids)?;
    let from = Instant::now();
    sleep_until(end).await;
    let after = all_cpu(pids)?;
    let seconds = from.elapsed().as_secs_f64();

    let mut sample = Sample::default();
    let mut answered = 0u64;
    let mut callers = Vec::new();
    loop {
        match timeout_at(end + STRAGGLERS, workers.join_next()).await {
            Ok(None) => break,
            Ok(Some(done)) => {
                let (mut latencies, in_window, failures) = done?;
                latencies.sort_unstable();
                callers.extend(percentile(&latencies, 50.0));
                sample.latencies.extend(latencies);
                answered += in_window;
                sample.failures.merge(failures);
            }
            Err(_) => {
                for _ in 0..workers.len() {
                    sample
                        .failures
                        .add(format!("no answer within {STRAGGLERS:?}"));
                }
                break;
            }
        }
    }
    sample.latencies.sort_unstable();
    callers.sort_unstable();
    sample.caller_p50 = percentile(&callers, 50.0);
    sample.per_second = answered as f64 / seconds;
    let mut per_call = after
        .iter()
        .zip(&before)
        .map(|(after, before)| (*after - *before).as_secs_f64() * 1e6 / answered.max(1) as f64);
    sample.client_cpu_us = per_call.next().unwrap_or_default();
    sample.cpu_us = per_call.collect();
    Ok(sample)
}

/// CPU of this process, then of the others.
fn all_cpu(pids: &[u32]) -> Result<Vec<Duration>> {
    let mut all = vec![proc::own_cpu()?];
    for pid in pids {
        all.push(proc::cpu(*pid).with_context(|| format!("process {pid} has ended"))?);
    }
    Ok(all)
}

async fn one_loop(
    target: Target,
    op: Op,
    worker: usize,
    width: usize,
    sealed: Arc<Vec<Sealed>>,
    begin: Instant,
    end: Instant,
) -> (Vec<u64>, u64, Failures) {
    let (mut latencies, mut in_window, mut failures) = (Vec::new(), 0, Failures::default());
    let mut turn = worker;
    let mut started = Instant::now();
    while started < end {
        let result = match op {
            Op::Encrypt => target.encrypt(fresh_plaintext()).await.map(drop),
            Op::Decrypt => target.decrypt(&sealed[turn % sealed.len()]).await,
        };
        turn += width;
        let ended = Instant::now();
        if let Err(error) = result {
            failures.add(format!("{error:#}"));
            // A target that refuses at once must not be hammered.
            sleep(Duration::from_millis(5)).await;
        } else if ended >= begin && ended <= end {
            in_window += 1;
            if started >= begin {
                latencies.push(u64::try_from((ended - started).as_nanos()).unwrap_or(u64::MAX));
            }
        }
        started = Instant::now();
    }
    (latencies, in_window, failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintexts_never_repeat() {
        assert_ne!(fresh_plaintext(), fresh_plaintext());
    }

    #[test]
    fn all_failures_count_but_five_are_kept() {
        let mut some = Failures::default();
        (0..4).for_each(|n| some.add(n));
        let mut more = Failures::default();
        (4..8).for_each(|n| more.add(n));
        some.merge(more);
        assert_eq!(
            (some.count, some.first.join(" ")),
            (8, "0 1 2 3 4".to_owned())
        );
    }
}
