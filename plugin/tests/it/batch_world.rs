//! Calls at once: what tests of them set up.

use std::time::Duration;

use kms_v2_api::EncryptResponse;
use sim_vault::{Action, Fault};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::world::{Client, World};

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A fault on the Decrypts of one value alone: the probe has values of its own.
pub fn on_value(sealed: &EncryptResponse, action: Action) -> Fault {
    let text = sealed.ciphertext.clone();
    Fault::on("/v1/transit/decrypt", action)
        .body(move |body| body.windows(text.len()).any(|w| w == text))
}

/// A fault on the Encrypts of `[n; 32]` alone.
pub fn on_plaintext(n: u8, action: Action) -> Fault {
    let text = [base64_of_three(n), base64_of_three(n)].concat();
    Fault::on("/v1/transit/encrypt", action)
        .body(move |body| body.windows(text.len()).any(|w| w == text.as_bytes()))
}

fn base64_of_three(n: u8) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u32::from_be_bytes([0, n, n, n]);
    [18, 12, 6, 0]
        .map(|shift| char::from(LETTERS[(bits >> shift & 63) as usize]))
        .iter()
        .collect()
}

pub fn decrypting(
    client: &Client,
    sealed: &EncryptResponse,
) -> JoinHandle<Result<(), tonic::Status>> {
    let (mut client, sealed) = (client.clone(), sealed.clone());
    tokio::spawn(async move { client.decrypt(&sealed).await.map(drop) })
}

/// Distinct Decrypts that are gathered while the one place is taken.
pub async fn gathered(
    world: &World,
    client: &Client,
    sealed: &[EncryptResponse],
) -> Vec<Result<(), tonic::Status>> {
    world
        .vault
        .fault(on_plaintext(200, Action::Delay(ms(100))).times(1));
    let mut other = client.clone();
    let slow = tokio::spawn(async move { other.encrypt(&[200; 32]).await });
    sleep(ms(10)).await;
    let calls: Vec<_> = sealed.iter().map(|s| decrypting(client, s)).collect();
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.expect("no panic"));
    }
    slow.await.expect("no panic").expect("encrypt");
    results
}
