//! A kind of object that an API server stores: `secrets`, `routes.route.openshift.io`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use crate::gojson;

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct MigratedList {
    pub(crate) resources: Vec<Migrated>,
}

impl MigratedList {
    /// Reads the annotation as Go does: what is missing or null is empty.
    ///
    /// # Errors
    ///
    /// No JSON, or JSON of another shape.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(complaint) = gojson::complaint(text.as_bytes()) {
            return Err(complaint);
        }
        let list: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let name = |entry: &Value, part: &str| match gojson::field(entry, part)? {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(gojson::OtherShape),
        };
        let entry = |entry: &Value| {
            Ok(Migrated {
                group: name(entry, "Group")?,
                resource: name(entry, "Resource")?,
            })
        };
        let read = || match gojson::field(&list, "resources")? {
            None => Ok(Self::default()),
            Some(Value::Array(entries)) => Ok(Self {
                resources: entries.iter().map(entry).collect::<Result<_, _>>()?,
            }),
            Some(_) => Err(gojson::OtherShape),
        };
        read().map_err(|gojson::OtherShape| "not a list of resources".to_owned())
    }
}

/// One entry of the annotation; upper case names, as the operators write them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
