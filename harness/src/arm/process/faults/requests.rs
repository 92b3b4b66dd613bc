//! What happens to some requests to Vault: the simulated one's own faults.

use std::sync::Arc;

use anyhow::{Result, ensure};
use kms_scenario::fault::Requests;
use sim_vault::{Action as Deed, Fault as ModelFault, FaultId};

use super::Active;
use crate::arm::process::world::Inner;

/// A fault on requests to the simulated Vault.
pub fn on_requests(
    world: &Arc<Inner>,
    requests: Requests,
    count: Option<u64>,
    deed: impl Fn() -> Deed,
) -> Result<Active> {
    let vault = world.vault()?;
    let mount = &vault.access.mount;
    let path = match requests {
        Requests::All => String::new(),
        Requests::Login => format!("{}/login", vault.auth_mount()),
        Requests::Renew => "auth/token/renew-self".to_owned(),
        Requests::Lookup => "auth/token/lookup-self".to_owned(),
        Requests::Transit => format!("{mount}/"),
        Requests::Encrypt => format!("{mount}/encrypt/"),
        Requests::Decrypt => format!("{mount}/decrypt/"),
        Requests::KeyRead => format!("{mount}/keys/"),
    };
    on_paths(world, &[path], count, deed)
}

/// A fault on requests whose path begins so.
pub fn on_paths(
    world: &Arc<Inner>,
    paths: &[String],
    count: Option<u64>,
    deed: impl Fn() -> Deed,
) -> Result<Active> {
    let models = &world.vault()?.models;
    ensure!(
        !models.is_empty(),
        "only the simulated Vault can be made to do that"
    );
    let all = models
        .iter()
        .enumerate()
        .flat_map(|(model, _)| paths.iter().map(move |path| (model, path)));
    let installed: Vec<(usize, FaultId)> = all
        .map(|(model, path)| {
            let fault = ModelFault::on(&format!("/v1/{path}"), deed());
            let fault = match count {
                Some(count) => fault.times(count),
                None => fault,
            };
            (model, models[model].fault(fault))
        })
        .collect();
    let (counting, undoing) = (Arc::clone(world), Arc::clone(world));
    let count = installed.clone();
    let hits = Box::new(move || {
        let Ok(vault) = counting.vault() else {
            return 0;
        };
        let hits = count
            .iter()
            .map(|(model, id)| vault.models[*model].hits(*id));
        hits.sum()
    });
    Ok(Active::lasting(hits, move || async move {
        for (model, id) in installed {
            undoing.vault()?.models[model].clear(id);
        }
        Ok(())
    }))
}
