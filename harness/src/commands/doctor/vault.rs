//! Vault: its health without a token, the key with one that may read it, and with the plugin's own token what a plugin does.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use kms_doctor::canary::Secret;
use kms_doctor::evidence::Why;
use kms_doctor::raw::Raw;
use serde_json::{Value, json};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::cli::GatherArgs;
use crate::console;
use crate::vault::admin::Admin;

/// What is encrypted with the plugin's token.
const TEXT: &[u8] = b"kms-harness doctor";

pub(super) async fn look(
    address: &str,
    args: &GatherArgs,
    raw: &mut Raw,
    secrets: &mut Vec<Secret>,
) -> Result<()> {
    let Some((mount, key)) = args.vault_key.split_once("/keys/") else {
        anyhow::bail!("--vault-key {}: it is MOUNT/keys/NAME", args.vault_key);
    };
    ensure!(
        !mount.is_empty() && !key.is_empty() && !key.contains('/'),
        "--vault-key {}: it is MOUNT/keys/NAME",
        args.vault_key
    );
    let token = match &args.vault_token_path {
        Some(file) => super::secret_file("--vault-token-path", file)?,
        None => Zeroizing::new(std::env::var("VAULT_TOKEN").unwrap_or_default()),
    };
    let ca = std::env::var_os("VAULT_CACERT").map(PathBuf::from);
    let nobody = Admin::new(address, ca.as_deref(), Zeroizing::default()).context("--vault")?;
    for path in ["health", "leader"] {
        let answer = ask(&nobody, Method::GET, &format!("sys/{path}"), Value::Null).await;
        raw.add(format!("vault/{path}.json"), bytes(answer));
    }
    secrets.extend(Secret::new("the host of Vault", host(address).as_bytes()));
    let name = "vault/key.json";
    if token.is_empty() {
        let key = &args.vault_key;
        console::tell(&format!(
            "no token for Vault: the key is not looked at. Give one with read on {key} in --vault-token-path or VAULT_TOKEN"
        ));
        raw.add(name, Err(Why::NotAllowed));
    } else {
        secrets.extend(Secret::new("the token for Vault", token.as_bytes()));
        let admin = nobody
            .clone()
            .in_namespace(&args.vault_namespace)
            .with_token(token);
        let answer = ask(&admin, Method::GET, &args.vault_key, Value::Null).await;
        if answer.as_ref().is_ok_and(|it| it["status"] == 403) {
            console::tell(&format!(
                "the token for Vault may not read {}: grant it read there",
                args.vault_key
            ));
        }
        raw.add(name, bytes(answer));
    }
    if let Some(file) = &args.plugin_token_path {
        let token = super::secret_file("--plugin-token-path", file)?;
        secrets.extend(Secret::new("the plugin's token", token.as_bytes()));
        let plugin = nobody.in_namespace(&args.vault_namespace).with_token(token);
        raw.add(
            "vault/plugin.json",
            bytes(as_plugin(&plugin, mount, key).await),
        );
    }
    Ok(())
}

fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.trim_end_matches('/')
}

fn bytes(answer: Result<Value, Why>) -> Result<Vec<u8>, Why> {
    serde_json::to_vec(&answer?).map_err(|_| Why::Unreadable)
}

/// Status, body and time of an answer.
async fn ask(admin: &Admin, method: Method, path: &str, body: Value) -> Result<Value, Why> {
    let began = Instant::now();
    let answer = admin
        .call(method, path, body)
        .await
        .map_err(|_| Why::Unreachable)?;
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(json!({"status": answer.status, "body": answer.body, "took_ms": took}))
}

/// What a plugin does, with its token. Nothing is encrypted with a key that is not there: a policy that allows create
/// would make it.
async fn as_plugin(plugin: &Admin, mount: &str, key: &str) -> Result<Value, Why> {
    let token = ask(plugin, Method::GET, "auth/token/lookup-self", Value::Null).await?;
    let read = ask(
        plugin,
        Method::GET,
        &format!("{mount}/keys/{key}"),
        Value::Null,
    )
    .await?;
    let mut all = json!({"token": token, "read": read});
    if all["read"]["status"] == 404 {
        return Ok(all);
    }
    let plaintext = json!({"plaintext": STANDARD.encode(TEXT)});
    // with the key unread it may be missing: then only what makes nothing is tried
    if all["read"]["status"] == 200 {
        let path = format!("{mount}/encrypt/{key}");
        all["encrypt"] = ask(plugin, Method::POST, &path, plaintext).await?;
    }
    let made_up = format!("vault:v1:{}", STANDARD.encode([7_u8; 44]));
    let ciphertext = all
        .pointer("/encrypt/body/data/ciphertext")
        .and_then(Value::as_str);
    let ciphertext = json!({"ciphertext": ciphertext.unwrap_or(&made_up)});
    let path = format!("{mount}/decrypt/{key}");
    all["decrypt"] = ask(plugin, Method::POST, &path, ciphertext).await?;
    Ok(all)
}
