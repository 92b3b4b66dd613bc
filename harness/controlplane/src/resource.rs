//! A kind of object that an API server stores: `secrets`, `routes.route.openshift.io`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A resource with its group; the core group is empty. Ordered by its text, as the operators order it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupResource(String);

impl GroupResource {
    /// The plural name without the group.
    pub fn resource(&self) -> &str {
        self.0
            .split_once('.')
            .map_or(self.0.as_str(), |(resource, _)| resource)
    }

    /// The API group, empty for the core group.
    pub fn group(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, group)| group)
    }

    /// The API group as migrations and messages spell it: `core` for the core group.
    pub fn spoken_group(&self) -> &str {
        match self.group() {
            "" => "core",
            group => group,
        }
    }
}

impl From<&str> for GroupResource {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for GroupResource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::from(text))
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Resources as a key secret's annotation lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MigratedList {
    pub(crate) resources: Vec<Migrated>,
}

/// One entry of the annotation; upper case names, as the operators write them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Migrated {
    #[serde(rename = "Group")]
    pub(crate) group: String,
    #[serde(rename = "Resource")]
    pub(crate) resource: String,
}

impl From<&GroupResource> for Migrated {
    fn from(gr: &GroupResource) -> Self {
        Self {
            group: gr.group().to_owned(),
            resource: gr.resource().to_owned(),
        }
    }
}

impl From<&Migrated> for GroupResource {
    fn from(entry: &Migrated) -> Self {
        match entry.group.as_str() {
            "" => Self(entry.resource.clone()),
            group => Self(format!("{}.{group}", entry.resource)),
        }
    }
}
