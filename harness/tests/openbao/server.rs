//! The server itself, without a plugin: a tier whose server is not what it says proves nothing.

use anyhow::{Result, ensure};
use kms_harness::vault::VaultBackend;
use kms_harness::vault::openbao::OpenBao;
use kms_harness::vault::provision::Wanted;
use serde_json::json;
use zeroize::Zeroizing;

use crate::world::{Parts, Server};

/// Each of the three credentials gives a token that may do the seed's four things and nothing else.
pub async fn credentials_have_exactly_the_policy(parts: Parts) -> Result<()> {
    for server in [Server::Dev, Server::Raft(1)] {
        for lookup_self in [true, false] {
            let folder = tempfile::tempdir()?;
            let bao = server.start(&parts, folder.path()).await?;
            let wanted = Wanted {
                lookup_self,
                ..Wanted::default()
            };
            let access = wanted.create(&bao.admin(), folder.path()).await?;
            let nobody = bao.admin().with_token(Zeroizing::default());
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
    }
    Ok(())
}

/// Seal, unseal, and the loss of the leader of three.
pub async fn cluster_states(parts: Parts) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut bao = OpenBao::raft(&parts.bao, folder.path(), 3).await?;
    Wanted::default()
        .create(&bao.admin(), folder.path())
        .await?;
    let leader = bao.leader().await?;
    bao.kill(leader);
    let next = bao.leader().await?;
    ensure!(next != leader, "a killed node leads");
    ensure!(
        bao.admin_of(next)?
            .read("transit/keys/kms-key")
            .await?
            .status
            == 200
    );
    bao.seal(next).await?;
    bao.unseal(next).await?;
    bao.leader().await.map(drop)
}
