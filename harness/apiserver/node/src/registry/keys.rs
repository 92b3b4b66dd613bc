//! Keys in the store (KMS2-ETCD-02).

use kms_apiserver_api::Resource;

/// How keys are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

impl Default for Keys {
    fn default() -> Self {
        Keys::new("/registry")
    }
}

impl Keys {
    /// Keys under this prefix, brought to one leading slash and none at the end.
    pub fn new(prefix: &str) -> Self {
        let bare = prefix.trim_matches('/');
        let prefix = if bare.is_empty() {
            String::new()
        } else {
            format!("/{bare}")
        };
        Keys { prefix }
    }

    /// The prefix, such as `/registry`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of one object, such as `/registry/secrets/default/demo`.
    pub fn object(&self, resource: Resource, namespace: &str, name: &str) -> String {
        if resource.namespaced() {
            format!("{}/{}/{namespace}/{name}", self.prefix, resource.plural())
        } else {
            format!("{}/{}/{name}", self.prefix, resource.plural())
        }
    }

    /// What all keys of a kind, or of a kind in one namespace, begin with.
    pub fn collection(&self, resource: Resource, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) if resource.namespaced() => {
                format!("{}/{}/{namespace}/", self.prefix, resource.plural())
            }
            _ => format!("{}/{}/", self.prefix, resource.plural()),
        }
    }

    /// The rest of a key, with its slash.
    pub fn without_prefix<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.prefix).unwrap_or(key)
    }
}
