//! The name of a container image. What runs one is in `container`, behind the feature of that name.

use std::fmt;
use std::str::FromStr;

/// An image by name and tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    name: String,
    tag: String,
}

impl Image {
    /// The repository, with its registry if one is named.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag; never empty.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once(':') {
            // A colon before a slash is a registry's port.
            Some((name, tag)) if !name.is_empty() && !tag.is_empty() && !tag.contains('/') => {
                Ok(Self {
                    name: name.to_owned(),
                    tag: tag.to_owned(),
                })
            }
            _ => {
                Err("it is NAME:TAG, such as openbao/openbao:2 or hashicorp/vault:1.19".to_owned())
            }
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}
