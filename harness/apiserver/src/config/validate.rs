//! What a configuration must be, in upstream's order and words (KMS2-CFG-02 to -06).

use std::collections::BTreeSet;

use super::{Config, Endpoint, Key, Kms, Provider};
use crate::gotext::{aggregate, duration, quote};
use crate::seam::GroupResource;

/// Checks everything that needs no other part of the server.
///
/// # Errors
/// With all faults.
pub(super) fn validate(config: &Config, reload: bool) -> Result<(), String> {
    let mut faults = Faults::default();
    if config.entries.is_empty() {
        faults.required("resources", "at least one resources is required");
    }
    let mut names = BTreeSet::new();
    for (index, entry) in config.entries.iter().enumerate() {
        let path = format!("resources[{index}]");
        let resources = format!("{path}.resources");
        if entry.resources.is_empty() {
            let why = format!("at least one {resources} is required");
            faults.required(&resources, &why);
        }
        overlaps(&entry.resources, &resources, &mut faults);
        for (index, name) in entry.resources.iter().enumerate() {
            resource_name(name, &format!("{resources}[{index}]"), &mut faults);
        }
        let providers = format!("{path}.providers");
        if entry.providers.is_empty() {
            let why = format!("at least one {providers} is required");
            faults.required(&providers, &why);
        }
        for (index, provider) in entry.providers.iter().enumerate() {
            let path = format!("{providers}[{index}]");
            one_kind(provider, &path, &mut faults);
            if let Some(kms) = &provider.kms {
                kms_entry(kms, &format!("{path}.kms"), &names, reload, &mut faults);
                names.insert(kms.name.as_str());
            } else if let Some(list) = &provider.aesgcm {
                keys(
                    list,
                    &format!("{path}.aesgcm.keys"),
                    &[16, 24, 32],
                    &mut faults,
                );
            } else if let Some(list) = &provider.aescbc {
                keys(
                    list,
                    &format!("{path}.aescbc.keys"),
                    &[16, 24, 32],
                    &mut faults,
                );
            } else if let Some(list) = &provider.secretbox {
                keys(list, &format!("{path}.secretbox.keys"), &[32], &mut faults);
            }
        }
    }
    let Faults(faults) = faults;
    if faults.is_empty() {
        Ok(())
    } else {
        Err(aggregate(&faults))
    }
}

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn required(&mut self, path: &str, why: &str) {
        let Faults(faults) = self;
        faults.push(format!("{path}: Required value: {why}"));
    }

    /// `value` as JSON.
    fn invalid(&mut self, path: &str, value: &str, why: &str) {
        let Faults(faults) = self;
        faults.push(format!("{path}: Invalid value: {value}: {why}"));
    }
}

fn overlaps(resources: &[String], path: &str, faults: &mut Faults) {
    let distinct: BTreeSet<&String> = resources.iter().collect();
    let quoted: Vec<String> = resources.iter().map(|name| quote(name)).collect();
    let shown = format!("[{}]", quoted.join(","));
    if distinct.len() < resources.len() {
        let why = "the same resource cannot be specified multiple times";
        faults.invalid(path, &shown, why);
    }
    let parsed: Vec<GroupResource> = resources
        .iter()
        .map(|name| GroupResource::parse(name))
        .collect();
    let masks = |(at, wide): (usize, &GroupResource)| {
        wide.resource == "*"
            && parsed.iter().enumerate().any(|(other, masked)| {
                other != at && (wide.group == "*" || wide.group == masked.group)
            })
    };
    if parsed.iter().enumerate().any(masks) {
        faults.invalid(
            path,
            &shown,
            "using overlapping resources such as 'secrets' and '*.' in the same resource list is \
             not allowed as they will be masked",
        );
    }
}

fn resource_name(name: &str, path: &str, faults: &mut Faults) {
    let parsed = GroupResource::parse(name);
    let why = if name.chars().any(char::is_uppercase) {
        "resource name should not contain capital letters"
    } else if name == "*" {
        "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
    } else if matches!(
        name,
        "apiserveripinfo" | "serviceipallocations" | "servicenodeportallocations"
    ) {
        "resources which do not have REST API/s cannot be encrypted"
    } else if parsed.group == "events.k8s.io" {
        "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' \
         instead in the config file"
    } else if parsed.group == "extensions" {
        "'extensions' group has been removed and cannot be used for encryption"
    } else if parsed.group == "*" && parsed.resource != "*" {
        "encrypting the same resource across groups is not supported"
    } else {
        return;
    };
    faults.invalid(path, &quote(name), why);
}

fn one_kind(provider: &Provider, path: &str, faults: &mut Faults) {
    let set = [
        provider.aesgcm.is_some(),
        provider.aescbc.is_some(),
        provider.secretbox.is_some(),
        provider.identity,
        provider.kms.is_some(),
    ];
    let why = match set.iter().filter(|set| **set).count() {
        0 => {
            "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, \
             Secretbox, Identity"
        }
        1 => return,
        _ => {
            "more than one provider specified in a single element, should split into different \
             list elements"
        }
    };
    faults.invalid(path, &show(provider), why);
}

/// A provider as JSON of upstream's internal type; keys are left out, which upstream prints.
fn show(provider: &Provider) -> String {
    let keys = |keys: &Option<Vec<Key>>| match keys {
        None => "null".to_owned(),
        Some(keys) => {
            let keys: Vec<String> = keys
                .iter()
                .map(|key| format!("{{\"Name\":{},\"Secret\":\"REDACTED\"}}", quote(&key.name)))
                .collect();
            format!("{{\"Keys\":[{}]}}", keys.join(","))
        }
    };
    let kms = provider.kms.as_ref().map_or("null".to_owned(), |kms| {
        format!(
            "{{\"APIVersion\":{},\"Name\":{},\"CacheSize\":{},\"Endpoint\":{},\"Timeout\":{}}}",
            quote(&kms.api_version),
            quote(&kms.name),
            kms.cache_size
                .map_or("null".to_owned(), |size| size.to_string()),
            quote(&kms.endpoint),
            quote(&duration(kms.timeout))
        )
    });
    format!(
        "{{\"AESGCM\":{},\"AESCBC\":{},\"Secretbox\":{},\"Identity\":{},\"KMS\":{kms}}}",
        keys(&provider.aesgcm),
        keys(&provider.aescbc),
        keys(&provider.secretbox),
        if provider.identity { "{}" } else { "null" },
    )
}

fn kms_entry(kms: &Kms, path: &str, earlier: &BTreeSet<&str>, reload: bool, faults: &mut Faults) {
    let v1 = kms.api_version == "v1";
    let name = format!("{path}.name");
    if kms.name.is_empty() {
        faults.required(&name, "name is a mandatory field for a provider");
    }
    if !v1 && kms.name.contains(':') {
        let why = format!(
            "invalid KMS provider name {}, must not contain ':'",
            kms.name
        );
        faults.invalid(&name, &quote(&kms.name), &why);
    }
    if (reload || !v1) && earlier.contains(kms.name.as_str()) {
        let why = format!(
            "duplicate KMS provider name {}, names must be unique",
            kms.name
        );
        faults.invalid(&name, &quote(&kms.name), &why);
    }
    if kms.timeout <= 0 {
        let shown = quote(&duration(kms.timeout));
        let why = "timeout should be a positive value";
        faults.invalid(&format!("{path}.timeout"), &shown, why);
    }
    if let Some(why) = endpoint(&kms.endpoint) {
        faults.invalid(&format!("{path}.endpoint"), &quote(&kms.endpoint), &why);
    }
    let why = match kms.cache_size {
        Some(_) if !v1 => Some("cachesize is not supported in v2"),
        Some(0) => Some("cachesize should be a positive value, or negative to disable"),
        _ => None,
    };
    if let (Some(why), Some(size)) = (why, kms.cache_size) {
        faults.invalid(&format!("{path}.cachesize"), &size.to_string(), why);
    }
    if !matches!(kms.api_version.as_str(), "v1" | "v2") {
        faults.invalid(
            &format!("{path}.apiVersion"),
            &quote(&kms.api_version),
            "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported",
        );
    }
}

fn endpoint(endpoint: &str) -> Option<String> {
    if endpoint.is_empty() {
        return Some("endpoint is a mandatory field for a kms".to_owned());
    }
    match Endpoint::parse(endpoint) {
        Err(why) => Some(format!("invalid endpoint for kms provider, error: {why}")),
        Ok(parsed) if parsed.scheme != "unix" => Some(format!(
            "unsupported scheme {} for KMS provider, only unix is supported",
            quote(&parsed.scheme)
        )),
        Ok(_) => None,
    }
}

fn keys(keys: &[Key], path: &str, sizes: &[usize], faults: &mut Faults) {
    if keys.is_empty() {
        faults.required(path, "at least one keys is required");
    }
    for (index, key) in keys.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if key.name.is_empty() {
            let why = "name is a mandatory field for a key";
            faults.required(&format!("{path}.name"), why);
        }
        let path = format!("{path}.secret");
        if key.secret.is_empty() {
            faults.required(&path, "secret is a mandatory field for a key");
            continue;
        }
        match key.bytes() {
            None => faults.invalid(&path, "\"REDACTED\"", "secrets must be base64 encoded"),
            Some(bytes) if !sizes.contains(&bytes.len()) => {
                let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
                let why = format!(
                    "secret is not of the expected length, got {}, expected one of [{}]",
                    bytes.len(),
                    sizes.join(" ")
                );
                faults.invalid(&path, "\"REDACTED\"", &why);
            }
            Some(_) => {}
        }
    }
}
