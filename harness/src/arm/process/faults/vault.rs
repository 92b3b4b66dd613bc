//! What happens to Vault itself, and to those who log in there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use kms_proxy::{Direction, Rules};
use kms_scenario::fault::{self, Fault, Requests};
use kms_scenario::world::Order;
use serde_json::{Value, json};
use sim_vault::Action as Deed;

use super::network::links;
use super::requests::{on_paths, on_requests};
use super::{Active, asked, middle};
use crate::arm::process::world::Inner;

/// How old a lagging standby's view is.
const LAG: Duration = Duration::from_secs(60);

/// Makes it.
pub async fn vault(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    let vault = world.vault()?;
    let again = Arc::clone(world);
    match &order.fault {
        Fault::VaultSeal => {
            vault.ours().await?.seal().await?;
            Ok(Active::lasting(asked(world), move || async move {
                again.vault()?.ours().await?.unseal().await
            }))
        }
        Fault::VaultStop => {
            vault.ours().await?.stop().await?;
            let before = world.connections();
            let counting = Arc::clone(world);
            let hits = Box::new(move || counting.connections() - before);
            Ok(Active::lasting(hits, move || async move {
                again.vault()?.ours().await?.start().await
            }))
        }
        Fault::VaultRestart => {
            let mut server = vault.ours().await?;
            server.stop().await?;
            server.start().await?;
            Ok(Active::once(1))
        }
        Fault::VaultStepDown => {
            vault.ours().await?.step_down().await?;
            Ok(Active::once(1))
        }
        Fault::VaultFreezeLeader => {
            // A standby leads once it has answered what it handed on to the frozen leader: where nobody asks standbys,
            // the next one leads at once.
            let others = vault.other_clients()?;
            vault.ours().await?.freeze_leader().await?;
            Ok(Active::lasting(asked(world), move || async move {
                drop(others);
                again.vault()?.ours().await?.thaw().await
            }))
        }
        Fault::VaultStandbyLag => {
            vault.set_lag(LAG);
            Ok(Active::lasting(asked(world), move || async move {
                again.vault()?.set_lag(Duration::ZERO);
                Ok(())
            }))
        }
        Fault::VaultHold(Requests::All) if vault.models.is_empty() => {
            vault.ours().await?.freeze().await?;
            Ok(Active::lasting(asked(world), move || async move {
                again.vault()?.ours().await?.thaw().await
            }))
        }
        Fault::VaultSlow {
            requests: Requests::All,
            min,
            max,
        } if vault.models.is_empty() => {
            let order = Order {
                nodes: world.numbers(),
                ..order.clone()
            };
            let late = Direction {
                latency: Some((*min, *max)),
                ..Direction::default()
            };
            let rules = Rules {
                to_client: late,
                ..Rules::default()
            };
            links(world, &order, rules)
        }
        Fault::VaultHold(requests) => on_requests(world, *requests, None, || Deed::Hold),
        Fault::VaultSlow { requests, min, max } => {
            on_requests(world, *requests, None, || Deed::Delay(middle(*min, *max)))
        }
        Fault::VaultError {
            requests,
            status,
            retry_after,
            count,
        } => on_requests(world, *requests, *count, || Deed::Status {
            code: *status,
            body: Bytes::from_static(br#"{"errors":["made by the scenario"]}"#),
            headers: retry_after
                .map(|seconds| ("Retry-After".to_owned(), seconds.to_string()))
                .into_iter()
                .collect(),
        }),
        Fault::VaultGarbage(requests) => on_requests(world, *requests, None, || {
            Deed::Garbage(Bytes::from_static(b"<html>200 OK</html>"))
        }),
        Fault::VaultCutBody(requests) => on_requests(world, *requests, None, || Deed::CutBody(7)),
        Fault::VaultReset(requests) => on_requests(world, *requests, None, || Deed::CloseBefore),
        Fault::VaultRevokeTokens => Ok(Active::once(vault.revoke_tokens().await?)),
        Fault::VaultExpireTokens | Fault::ClockAdvance(_) => {
            let by = match &order.fault {
                Fault::ClockAdvance(by) => *by,
                _ => world.spec.vault.token_max_ttl + Duration::from_secs(1),
            };
            let model = vault.models.first().context("no simulated Vault")?;
            model.advance(by);
            Ok(Active::once(1))
        }
        Fault::LoginRefused => {
            vault.refuse_logins(true).await?;
            Ok(Active::lasting(asked(world), move || async move {
                again.vault()?.refuse_logins(false).await
            }))
        }
        Fault::VaultDisableAuth => {
            vault.disable_auth().await?;
            Ok(Active::lasting(asked(world), move || async move {
                let files = again.nodes.iter().flat_map(|node| &node.credentials);
                let files: Vec<_> = files.cloned().collect();
                again.vault()?.enable_auth(&files).await
            }))
        }
        Fault::VaultPolicyRemoved(rights) => {
            let all = [
                fault::Right::Encrypt,
                fault::Right::Decrypt,
                fault::Right::KeyRead,
                fault::Right::Lookup,
                fault::Right::Renew,
            ];
            let without = if rights.is_empty() { &all[..] } else { rights };
            vault.set_policy(without).await?;
            Ok(Active::lasting(asked(world), move || async move {
                again.vault()?.set_policy(&[]).await
            }))
        }
        Fault::VaultQuota(rate) => {
            let path = "sys/quotas/rate-limit/kms-harness";
            let limit = json!({"rate": rate, "path": format!("{}/", vault.access.mount)});
            vault.write(path, limit).await?;
            Ok(Active::lasting(asked(world), move || async move {
                let deleted = again.vault()?.call(Method::DELETE, path, Value::Null).await;
                deleted.map(drop)
            }))
        }
        // Whatever wants a token waits for its audit entry; health does not.
        Fault::VaultAuditBlocked => {
            let paths = ["auth/".to_owned(), format!("{}/", vault.access.mount)];
            on_paths(world, &paths, None, || Deed::Hold)
        }
        // Of what a plugin asks, only a login writes to the storage.
        Fault::VaultStorageFailed => on_requests(world, Requests::Login, None, || Deed::Status {
            code: 500,
            body: Bytes::from_static(br#"{"errors":["internal error"]}"#),
            headers: Vec::new(),
        }),
        other => bail!("{} cannot be made by the process arm", other.kind()),
    }
}
