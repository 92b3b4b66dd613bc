//! Entities: who logged in, whatever token they got.

use std::collections::BTreeMap;

use crate::reply::Refused;

/// One entity.
#[derive(Clone, Debug)]
pub(crate) struct Entity {
    pub id: String,
    pub name: String,
    pub disabled: bool,
    pub policies: Vec<String>,
}

/// All entities and the aliases that lead to them.
#[derive(Clone, Default)]
pub(crate) struct Identity {
    pub entities: BTreeMap<String, Entity>,
    /// Mount accessor, and alias name in lower case.
    pub aliases: BTreeMap<(String, String), String>,
}

impl Identity {
    /// Whether a token of this entity is refused: it was disabled, or deleted. Tokens without an entity never are.
    pub(crate) fn is_invalid(&self, id: &str) -> bool {
        !id.is_empty() && self.entities.get(id).is_none_or(|entity| entity.disabled)
    }
}

/// How many pairs an alias may keep, and how many bytes a key and a value may have.
const PAIRS: usize = 64;
const KEY: usize = 128;
const VALUE: usize = 512;
const RESERVED: &str = "vault-";

/// What an alias that is made by a login may keep of it.
fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), String> {
    if metadata.len() > PAIRS {
        return Err(format!(
            "metadata cannot contain more than {PAIRS} key/value pairs"
        ));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"=/+_-".contains(&b);
    for (key, value) in metadata {
        let fault = if key.is_empty() {
            "key cannot be blank".to_owned()
        } else if !key.bytes().all(plain) {
            "key contains invalid characters".to_owned()
        } else if key.len() > KEY {
            format!("key is too long (limit: {KEY} characters)")
        } else if key.starts_with(RESERVED) {
            format!("key prefix {RESERVED:?} is reserved for internal use")
        } else if value.len() > VALUE {
            format!("value is too long (limit: {VALUE} characters)")
        } else {
            continue;
        };
        return Err(format!(
            "failed to load metadata pair ({key:?}, {value:?}): {fault}"
        ));
    }
    Ok(())
}

impl crate::Core {
    /// The entity behind an alias; made at the first login, which alone is asked what the alias is to keep.
    pub(crate) fn entity_of(
        &mut self,
        ns: &str,
        accessor: &str,
        alias: &str,
        metadata: Option<&BTreeMap<String, String>>,
    ) -> Result<String, Refused> {
        let refused = |text: String| Refused::Login(500, text);
        if alias.is_empty() {
            return Err(refused("missing name in alias".to_owned()));
        }
        let key = (accessor.to_owned(), alias.to_lowercase());
        if let Some(id) = self.identity.aliases.get(&key) {
            return Ok(id.clone());
        }
        if let Some(Err(fault)) = metadata.map(check_metadata) {
            return Err(refused(format!("invalid alias metadata: {fault}")));
        }
        let mut id = self.uuid();
        if let Some(space) = self.namespace(ns).filter(|n| !n.path.is_empty()) {
            id = format!("{id}.{}", space.id);
        }
        let name = format!("entity_{}", self.hex(4));
        let entity = Entity {
            id: id.clone(),
            name,
            disabled: false,
            policies: Vec::new(),
        };
        self.identity.entities.insert(id.clone(), entity);
        self.identity.aliases.insert(key, id.clone());
        Ok(id)
    }
}
