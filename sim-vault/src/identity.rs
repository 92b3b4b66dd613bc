//! Entities: who logged in, whatever token they got.

use std::collections::BTreeMap;

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
    /// Mount accessor and alias name.
    pub aliases: BTreeMap<(String, String), String>,
}

impl Identity {
    /// Whether a token of this entity is refused: it was disabled, or deleted. Tokens without an entity never are.
    pub(crate) fn is_invalid(&self, id: &str) -> bool {
        !id.is_empty() && self.entities.get(id).is_none_or(|entity| entity.disabled)
    }
}

impl crate::Core {
    /// The entity behind an alias; made at the first login.
    pub(crate) fn entity_of(&mut self, ns: &str, accessor: &str, alias: &str) -> String {
        let key = (accessor.to_owned(), alias.to_owned());
        if let Some(id) = self.identity.aliases.get(&key) {
            return id.clone();
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
        id
    }
}
