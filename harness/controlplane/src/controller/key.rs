//! Key controller: makes the next key when one is wanted and the last one is through.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::Value;

use super::{Run, Stop};
use crate::api::ApiError;
use crate::cluster::PreflightResult;
use crate::config_state::ResourceKeys;
use crate::encryption_config::{KmsProvider, NULL_KEY};
use crate::generation::Generation;
use crate::gojson;
use crate::key::{KeyState, KmsPart, Mode};
use crate::key_secret::{from_key, to_key};
use crate::object::{Event, MANAGED_NAMESPACE, Secret};
use crate::resource::GroupResource;
use crate::vault::PluginSpec;

/// A key is followed by another one so long after its last migration.
pub(crate) const ROTATION: Duration = Duration::from_secs(7 * 24 * 3600);
/// While a preflight check runs, controllers ask again after this.
pub(super) const PREFLIGHT_RETRY: Duration = Duration::from_secs(30);

pub(super) fn run(run: &mut Run<'_>) -> Result<(), Stop> {
    run.degraded("EncryptionKeyControllerDegraded", work)
}

fn work(run: &mut Run<'_>) -> Result<(), Stop> {
    run.cluster.api.call("get apiservers")?;
    let external = external_reason(&run.operator.overrides)?;
    let generation = run.cluster.generation;
    let mode = spec_mode(&run.cluster.spec.mode, generation)?;
    let plugin = match &run.cluster.spec.kms {
        _ if mode != Mode::Kms || generation != Generation::V2 => None,
        spec => {
            let plugin = spec.clone().unwrap_or_default();
            plugin.check_kind()?;
            Some(plugin)
        }
    };
    let Some(seen) = run.look_or_wait()? else {
        return Ok(());
    };
    if mode == Mode::Identity && seen.running.is_none() && seen.secrets.is_empty() {
        return Ok(());
    }

    let mut number = 0;
    let mut given: Vec<(&GroupResource, String)> = Vec::new();
    for (gr, keys) in &seen.desired {
        let want = Wanted {
            mode,
            external: &external,
            plugin: plugin.as_ref(),
            resources: &run.operator.resources,
        };
        if let Some((last, reason)) = needs_new_key(keys, &want, run.now)? {
            // after the greatest number there is comes 0, as in Go
            number = number.max(last.wrapping_add(1));
            given.push((gr, reason));
        }
    }
    let Some((_, first)) = given.first() else {
        return Ok(());
    };
    let reasons = if given.len() > 1 && given.iter().all(|(_, reason)| reason == first) {
        vec![first.clone()]
    } else {
        let mut reasons: Vec<String> = given
            .iter()
            .map(|(gr, reason)| format!("{}-{reason}", gr.resource()))
            .collect();
        reasons.sort();
        reasons
    };

    let mut key = KeyState::unbacked(&number.to_string(), NULL_KEY, mode);
    key.internal_reason = reasons.join(", ");
    key.external_reason = external;
    match (mode, generation.endpoint(number)) {
        (Mode::Kms, Some(endpoint)) => {
            let provider = KmsProvider::new(number, endpoint);
            let referenced = match &plugin {
                None => Default::default(),
                Some(plugin) => match checked_references(run, plugin)
                    .map_err(|e| Stop::Error(format!("failed to create key: {e}")))?
                {
                    Some(referenced) => referenced,
                    None => {
                        run.requeue = Some(PREFLIGHT_RETRY);
                        return Ok(());
                    }
                },
            };
            key.kms = Some(KmsPart {
                provider,
                plugin: plugin.as_ref().map(PluginSpec::to_text),
                referenced,
            });
        }
        (Mode::Aescbc | Mode::Aesgcm, _) => key.secret = BASE64.encode(run.api().new_key()),
        _ => {}
    }
    create(run, from_key(&run.operator.name, &key), &reasons)
}

fn create(run: &mut Run<'_>, secret: Secret, reasons: &[String]) -> Result<(), Stop> {
    let name = secret.name.clone();
    match run.api().create_secret(secret) {
        Ok(()) => {
            let quoted: Vec<String> = reasons.iter().map(|reason| format!("{reason:?}")).collect();
            let text = format!(
                "Secret {name:?} successfully created: [{}]",
                quoted.join(" ")
            );
            run.events.push(Event::normal("EncryptionKeyCreated", text));
            Ok(())
        }
        Err(ApiError::AlreadyExists { .. }) => {
            let there = run.cluster.api.secret(MANAGED_NAMESPACE, &name)?;
            to_key(&there, run.cluster.generation)
                .map(|_| ())
                .map_err(|_| {
                    Stop::Error(format!(
                        "secret {name} is invalid, new keys cannot be created for encryption target"
                    ))
                })
        }
        Err(e) => {
            let blank = run.cluster.generation < Generation::V2
                && run.cluster.quirks.create_failure_without_cause;
            let cause = if blank {
                "<nil>".to_owned()
            } else {
                e.to_string()
            };
            let text = format!("Secret {name:?} failed to create: {cause}");
            run.events
                .push(Event::warning("EncryptionKeyCreateFailed", text));
            Err(e.into())
        }
    }
}

/// What a new key would be for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Mode of the spec.
    pub mode: Mode,
    /// Reason that an administrator gives.
    pub external: &'a str,
    /// v2: configuration of the plugin, if the mode is KMS.
    pub plugin: Option<&'a PluginSpec>,
    /// What the component encrypts.
    pub resources: &'a [GroupResource],
}

/// Whether a resource needs a new key: number of its newest one and the reason.
///
/// # Errors
///
/// v2: a KMS key whose plugin configuration cannot be read.
pub fn needs_new_key(
    keys: &ResourceKeys,
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> Result<Option<(u64, String)>, String> {
    let Some(newest) = keys.read_keys.first() else {
        return Ok((wanted.mode != Mode::Identity).then(|| (0, "key-does-not-exist".to_owned())));
    };
    let Some(number) = newest.number() else {
        return Ok(Some((0, "key-secret-0-is-invalid".to_owned())));
    };
    if !newest.backed {
        return Ok(Some((
            number,
            format!("encryption-config-key-{number}-not-backed-by-secret"),
        )));
    }
    let in_flight = keys.read_keys.iter().filter(|key| key.backed).count() > 2;
    if in_flight || !newest.migrated_for(wanted.resources) {
        return Ok(None);
    }
    let because = |reason: &str| Ok(Some((number, reason.to_owned())));
    if newest.mode != wanted.mode {
        return because("encryption-mode-changed");
    }
    if wanted.mode == Mode::Kms {
        // Neither age nor reason makes a key: the Vault rotates, and two providers of one socket are not allowed.
        let Some(plugin) = wanted.plugin else {
            return Ok(None);
        };
        let text = newest
            .kms
            .as_ref()
            .and_then(|kms| kms.plugin.as_ref())
            .ok_or_else(|| {
                format!(
                    "KMS-mode key {:?} has nil KMS state, possibly corrupted key secret",
                    newest.name
                )
            })?;
        let last = PluginSpec::from_text(text)
            .map_err(|e| format!("failed to check KMS provider instance: {e}"))?;
        return if plugin.same_instance(&last) {
            Ok(None)
        } else {
            because("kms-provider-changed")
        };
    }
    if wanted.mode == Mode::Identity {
        return Ok(None);
    }
    if !wanted.external.is_empty() && newest.external_reason != wanted.external {
        return because("external-reason-changed");
    }
    if newest.migrated_longer_ago_than(ROTATION, now) {
        return because("rotation-interval-has-passed");
    }
    Ok(None)
}

fn spec_mode(text: &str, generation: Generation) -> Result<Mode, String> {
    match Mode::parse(text) {
        _ if text.is_empty() => Ok(Mode::Identity),
        Some(mode @ (Mode::Aescbc | Mode::Aesgcm | Mode::Identity)) => Ok(mode),
        Some(Mode::Kms) if generation.has_kms() => Ok(Mode::Kms),
        _ => Err(format!("unknown encryption mode configured: {text}")),
    }
}

/// `.encryption.reason` of the overrides.
fn external_reason(overrides: &[u8]) -> Result<String, String> {
    if overrides.is_empty() {
        return Ok(String::new());
    }
    if let Some(complaint) = gojson::complaint(overrides) {
        return Err(complaint);
    }
    let overrides: Value = serde_json::from_slice(overrides).map_err(|e| e.to_string())?;
    let wrong = |value: &Value, into: &str| {
        let kind = gojson::kind(value);
        format!("json: cannot unmarshal {kind} into Go {into}")
    };
    let encryption = gojson::field(&overrides, "encryption").map_err(|_| {
        wrong(
            &overrides,
            "value of type controllers.unsupportedEncryptionConfig",
        )
    })?;
    let Some(encryption) = encryption else {
        return Ok(String::new());
    };
    match gojson::field(encryption, "reason") {
        Ok(None) => Ok(String::new()),
        Ok(Some(Value::String(reason))) => Ok(reason.clone()),
        Ok(Some(other)) => Err(wrong(
            other,
            "struct field .encryption.reason of type string",
        )),
        Err(_) => Err(wrong(
            encryption,
            r#"struct field unsupportedEncryptionConfig.encryption of type struct { Reason string "json:\"reason\"" }"#,
        )),
    }
}

/// What the plugin's configuration refers to, once the preflight check of it has passed; nothing while it runs.
fn checked_references(
    run: &mut Run<'_>,
    plugin: &PluginSpec,
) -> Result<Option<std::collections::BTreeMap<String, Vec<u8>>>, String> {
    let references = plugin.references(&run.cluster.api)?;
    let hash = plugin.hash(&references);
    let status = &mut run.operator.preflight;
    if status.observed_hash != hash {
        status.observed_hash = hash;
        return Ok(None);
    }
    match &status.result {
        Some(PreflightResult {
            succeeded: true,
            hash: checked,
            ..
        }) if *checked == hash => Ok(Some(references.into_data())),
        Some(PreflightResult {
            succeeded: false,
            hash: checked,
            ..
        }) if *checked == hash => Err(format!(
            "KMS preflight check failed for config hash {hash}; fix the KMS configuration to proceed"
        )),
        _ => Ok(None),
    }
}
