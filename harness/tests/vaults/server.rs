//! The server itself, without a plugin: a tier whose server is not what it says proves nothing.

use anyhow::{Context, Result, ensure};
use kms_harness::vault::Breakable;
use kms_harness::vault::admin::Admin;
use kms_harness::vault::provision::Wanted;
use kms_harness::vault::state;
use serde_json::json;
use zeroize::Zeroizing;

use super::kind::Setup;
use super::world::Parts;

/// Each of the three credentials gives a token that may do the seed's four things and nothing else.
pub async fn credentials_have_exactly_the_policy(parts: Parts, setup: Setup) -> Result<()> {
    for lookup_self in [true, false] {
        let folder = tempfile::tempdir()?;
        let vault = parts.place.start(setup, folder.path()).await?;
        let wanted = Wanted {
            lookup_self,
            ..Wanted::default()
        };
        let access = wanted.create(&vault.admin(), folder.path()).await?;
        let nobody = vault.admin().with_token(Zeroizing::default());
        let by_user = json!({"password": *access.password});
        let by_role = json!({"role_id": access.role_id, "secret_id": *access.secret_id});
        let logins = [
            nobody
                .write(&format!("auth/userpass/login/{}", access.username), by_user)
                .await?,
            nobody.write("auth/approle/login", by_role).await?,
        ];
        let mut tokens: Vec<String> = logins
            .iter()
            .map(|login| {
                login["auth"]["client_token"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        tokens.push(access.token.to_string());
        for token in tokens {
            let who = nobody.clone().with_token(Zeroizing::new(token));
            let sealed = who
                .write("transit/encrypt/kms-key", json!({"plaintext": "AAAA"}))
                .await?;
            let text = &sealed["data"]["ciphertext"];
            let opened = who
                .write("transit/decrypt/kms-key", json!({"ciphertext": text}))
                .await?;
            ensure!(opened["data"]["plaintext"] == "AAAA", "{opened}");
            ensure!(who.read("transit/keys/kms-key").await?.status == 200);
            let lookup = who.read("auth/token/lookup-self").await?.status;
            ensure!(
                lookup == if lookup_self { 200 } else { 403 },
                "lookup-self: {lookup}"
            );
            for denied in [
                "auth/token/renew-self",
                "auth/token/revoke-self",
                "transit/keys/kms-key/rotate",
            ] {
                ensure!(
                    who.write(denied, json!({})).await.is_err(),
                    "{denied} is allowed"
                );
            }
        }
    }
    Ok(())
}

/// The loss of the leader of three, seal, unseal.
pub async fn cluster_states(parts: Parts) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut vault = parts.place.start(Setup::Raft(3), folder.path()).await?;
    Wanted::default()
        .create(&vault.admin(), folder.path())
        .await?;
    let first = leader(vault.as_ref()).await?;
    vault.lose_leader().await?;
    let next = leader(vault.as_ref()).await?;
    ensure!(next != first, "a killed node leads");
    let admin = admins(vault.as_ref())?.swap_remove(next).1;
    let key = admin.read("transit/keys/kms-key").await?;
    key.ok().context("the key after the loss of the leader")?;
    vault.seal().await?;
    vault.unseal().await?;
    leader(vault.as_ref()).await.map(drop)
}

/// An administrator at each node.
fn admins(vault: &dyn Breakable) -> Result<Vec<(usize, Admin)>> {
    let token = Zeroizing::new(vault.admin().token().to_owned());
    let addresses = vault.addresses();
    let admins = addresses
        .iter()
        .enumerate()
        .map(|(number, address)| Ok((number, Admin::new(address, vault.ca(), token.clone())?)));
    admins.collect()
}

async fn leader(vault: &dyn Breakable) -> Result<usize> {
    state::leader(&admins(vault)?).await
}
