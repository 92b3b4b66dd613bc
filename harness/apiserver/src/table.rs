//! Which resource has which transformers, and how a configuration becomes that, provider by
//! provider (KMS2-CFG-06, KMS2-CFG-07).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::Link;
use crate::config::{Config, Endpoint, Kms, Provider};
use crate::gotext::quote;
use crate::kms::Entry;
use crate::options::Options;
use crate::seam::{GroupResource, ProviderId};

/// The transformers of a resource; empty never.
pub(crate) type Chain = Arc<Vec<Arc<Link>>>;

/// A loaded configuration.
pub(crate) struct Generation {
    table: BTreeMap<GroupResource, Chain>,
    /// The KMS providers in the file's order: their indices stand in health texts.
    pub(crate) kms: Vec<Slot>,
    /// How long its connections stay open after it was replaced (KMS2-RELOAD-04).
    pub(crate) grace: Duration,
    pub(crate) hash: String,
    /// Held by reads that are not over: the providers stay until then.
    pub(crate) hold: Arc<()>,
}

/// A KMS provider of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    V1,
    V2(ProviderId),
}

impl Generation {
    /// The transformers of a resource: its own, its group's, everybody's, or none (KMS2-CFG-07).
    pub(crate) fn chain(&self, resource: &GroupResource) -> Option<&Chain> {
        let any = |group: &str| {
            // few rules, and asked for each value: no name is made to look for
            let mut rules = self.table.iter();
            let rule = rules.find(|(rule, _)| rule.group == group && rule.resource == "*");
            rule.map(|(_, chain)| chain)
        };
        self.table
            .get(resource)
            .or_else(|| any(&resource.group))
            .or_else(|| any("*"))
    }

    /// The resources with a rule.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &GroupResource> {
        self.table.keys()
    }

    /// The providers of version 2.
    pub(crate) fn providers(&self) -> impl Iterator<Item = ProviderId> {
        self.kms.iter().filter_map(|slot| match slot {
            Slot::V1 => None,
            Slot::V2(id) => Some(*id),
        })
    }
}

/// A configuration on its way to a generation: KMS providers are made one after another, each
/// after the one before it has made its inline check (KMS2-START-01).
pub(crate) struct Build {
    config: Config,
    entry: usize,
    provider: usize,
    links: Vec<Arc<Link>>,
    table: BTreeMap<GroupResource, Vec<Arc<Link>>>,
    kms: Vec<Slot>,
    hash: String,
}

/// What a build needs next.
pub(crate) enum Step {
    /// A provider; say [`Build::made`], and go on when its inline check is over.
    Start(Entry),
    /// Nothing: it is done.
    Done(Generation),
    /// The configuration cannot be built.
    Failed(String),
}

const KMS_V1: &str = "KMSv1 is deprecated and will only receive security updates going forward. \
                      Use KMSv2 instead.  Set --feature-gates=KMSv1=true to use the deprecated \
                      KMSv1 feature.";

impl Build {
    /// Begins with a parsed configuration whose content has this hash.
    pub(crate) fn new(config: Config, hash: String) -> Self {
        Build {
            config,
            entry: 0,
            provider: 0,
            links: Vec::new(),
            table: BTreeMap::new(),
            kms: Vec::new(),
            hash,
        }
    }

    /// The provider that was asked for exists.
    pub(crate) fn made(&mut self, name: &str, id: ProviderId) {
        self.kms.push(Slot::V2(id));
        self.links.push(Arc::new(Link::kms(name, id)));
    }

    /// The providers that were made so far.
    pub(crate) fn providers(&self) -> Vec<ProviderId> {
        let made = self.kms.iter().filter_map(|slot| match slot {
            Slot::V1 => None,
            Slot::V2(id) => Some(*id),
        });
        made.collect()
    }

    /// Goes on as far as it can.
    pub(crate) fn step(&mut self, options: &Options) -> Step {
        while let Some(entry) = self.config.entries.get(self.entry) {
            let Some(provider) = entry.providers.get(self.provider) else {
                if let Err(why) = self.close_entry() {
                    return Step::Failed(format!("error while building transformers: {why}"));
                }
                continue;
            };
            self.provider += 1;
            match provider {
                Provider { kms: Some(kms), .. } if kms.api_version == "v1" => {
                    if !options.allows_kms_v1() {
                        return Step::Failed(format!(
                            "error while building transformers: {KMS_V1}"
                        ));
                    }
                    self.kms.push(Slot::V1);
                    self.links.push(Arc::new(Link::kms_v1(&kms.name)));
                }
                Provider { kms: Some(kms), .. } => return Step::Start(entry_of(kms)),
                Provider {
                    aesgcm: Some(keys), ..
                } => self.links.push(Arc::new(Link::gcm(keys))),
                Provider {
                    aescbc: Some(keys), ..
                } => self.links.push(Arc::new(Link::cbc(keys))),
                Provider {
                    secretbox: Some(keys),
                    ..
                } => self.links.push(Arc::new(Link::secretbox(keys))),
                _ => self.links.push(Arc::new(Link::identity())),
            }
        }
        let table = std::mem::take(&mut self.table);
        Step::Done(Generation {
            table: table
                .into_iter()
                .map(|(resource, links)| (resource, Arc::new(links)))
                .collect(),
            kms: std::mem::take(&mut self.kms),
            grace: self.config.timeouts().saturating_mul(2),
            hash: std::mem::take(&mut self.hash),
            hold: Arc::new(()),
        })
    }

    /// Gives the entry's transformers to its resources, behind those of earlier entries.
    fn close_entry(&mut self) -> Result<(), String> {
        let entry = &self.config.entries[self.entry];
        for name in &entry.resources {
            let resource = GroupResource::parse(name);
            for group in [resource.group.as_str(), "*"] {
                let any = GroupResource {
                    group: group.to_owned(),
                    resource: "*".to_owned(),
                };
                if self.table.contains_key(&any) {
                    return Err(format!(
                        "resource {} is masked by earlier rule {}",
                        quote(&as_written(&resource)),
                        quote(&as_written(&any))
                    ));
                }
            }
            let links = self.table.entry(resource).or_default();
            links.extend(self.links.iter().cloned());
        }
        self.entry += 1;
        self.provider = 0;
        self.links.clear();
        Ok(())
    }
}

/// A resource as the file has it: the core group's wildcard ends in a dot.
fn as_written(resource: &GroupResource) -> String {
    match (resource.resource.as_str(), resource.group.as_str()) {
        ("*", "") => "*.".to_owned(),
        _ => resource.to_string(),
    }
}

fn entry_of(kms: &Kms) -> Entry {
    let endpoint = Endpoint::parse(&kms.endpoint).expect("validation parses endpoints");
    Entry {
        name: kms.name.clone(),
        endpoint: kms.endpoint.clone(),
        address: endpoint.address().to_owned(),
        timeout: kms.timeout(),
    }
}
