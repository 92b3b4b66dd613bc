//! What a call is about: methods, resources, objects, and where their values lie in the store.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// An HTTP method that the Kubernetes API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Read.
    Get,
    /// Create.
    Post,
    /// Replace.
    Put,
    /// Change in part. The content type of the patch goes into [`Call::content_type`].
    Patch,
    /// Delete.
    Delete,
}

impl Method {
    /// The method's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A kind of object that every implementation serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// `v1` Secret, namespaced.
    Secrets,
    /// `v1` ConfigMap, namespaced.
    ConfigMaps,
    /// `v1` Namespace.
    Namespaces,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Secrets, Self::ConfigMaps, Self::Namespaces];

    /// The name in paths, store keys and the encryption configuration, such as `secrets`.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::ConfigMaps => "configmaps",
            Self::Namespaces => "namespaces",
        }
    }

    /// The kind of one object, such as `Secret`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Secrets => "Secret",
            Self::ConfigMaps => "ConfigMap",
            Self::Namespaces => "Namespace",
        }
    }

    /// Whether its objects live in a namespace.
    #[must_use]
    pub fn namespaced(self) -> bool {
        self != Self::Namespaces
    }
}

/// One object by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace; ignored for kinds without one.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Target {
    /// The Secret `namespace/name`.
    #[must_use]
    pub fn secret(namespace: &str, name: &str) -> Self {
        Self {
            resource: Resource::Secrets,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The ConfigMap `namespace/name`.
    #[must_use]
    pub fn config_map(namespace: &str, name: &str) -> Self {
        Self {
            resource: Resource::ConfigMaps,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The path of the collection it belongs to.
    #[must_use]
    pub fn collection(&self) -> String {
        collection(self.resource, Some(&self.namespace))
    }

    /// The path of the object.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    /// The key in the store without the server's prefix, with a leading slash: `/secrets/default/demo` (KMS2-ETCD-02).
    #[must_use]
    pub fn key(&self) -> String {
        let plural = self.resource.plural();
        if self.resource.namespaced() {
            format!("/{plural}/{}/{}", self.namespace, self.name)
        } else {
            format!("/{plural}/{}", self.name)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key())
    }
}

/// The path of a collection: of one namespace, or of all of them.
pub(crate) fn collection(resource: Resource, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) if resource.namespaced() => {
            format!("/api/v1/namespaces/{namespace}/{}", resource.plural())
        }
        _ => format!("/api/v1/{}", resource.plural()),
    }
}

/// How a list, or the start of a watch, is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Only this namespace; all of them without.
    pub namespace: Option<String>,
    /// `resourceVersion`: absent asks for the newest state, `0` for anything the server has in memory.
    pub resource_version: Option<String>,
    /// Objects a page.
    pub limit: Option<u32>,
    /// The token of the page before.
    pub continue_token: Option<String>,
    /// `fieldSelector`, for instance `metadata.name=demo`.
    pub field_selector: Option<String>,
    /// `labelSelector`.
    pub label_selector: Option<String>,
    /// For a watch: when the server ends it, in whole seconds.
    pub timeout_seconds: Option<u32>,
    /// For a watch: send bookmarks.
    pub bookmarks: bool,
}

impl ListOptions {
    /// The path with its query.
    #[must_use]
    pub fn path(&self, resource: Resource, watch: bool) -> String {
        let mut query = Vec::new();
        let mut add = |name: &str, value: String| query.push(format!("{name}={}", escape(&value)));
        if watch {
            add("watch", "1".to_owned());
        }
        if let Some(version) = &self.resource_version {
            add("resourceVersion", version.clone());
        }
        if let Some(limit) = self.limit {
            add("limit", limit.to_string());
        }
        if let Some(token) = &self.continue_token {
            add("continue", token.clone());
        }
        if let Some(selector) = &self.field_selector {
            add("fieldSelector", selector.clone());
        }
        if let Some(selector) = &self.label_selector {
            add("labelSelector", selector.clone());
        }
        if let Some(seconds) = self.timeout_seconds {
            add("timeoutSeconds", seconds.to_string());
        }
        if self.bookmarks {
            add("allowWatchBookmarks", "true".to_owned());
        }
        let path = collection(resource, self.namespace.as_deref());
        if query.is_empty() {
            path
        } else {
            format!("{path}?{}", query.join("&"))
        }
    }
}

/// Percent-encodes what may not stand in a query as it is.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// One request, as HTTP sees it.
#[derive(Clone, PartialEq)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query, beginning with a slash.
    pub path: String,
    /// What is sent as JSON.
    pub body: Option<Value>,
    /// The content type of the body where it is not `application/json` (patches).
    pub content_type: Option<&'static str>,
    /// When the caller gives up and hangs up. The server sees the loss of the caller (KMS2-STATUS-16, KMS2-DEC-09).
    pub timeout: Duration,
}

impl Call {
    /// How long a caller waits where nothing else is said: longer than a call that waits for two hung plugins.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// A request without a body.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: None,
            content_type: None,
            timeout: Self::TIMEOUT,
        }
    }

    /// The same with a JSON body.
    #[must_use]
    pub fn with_body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// The same from a caller that hangs up after `timeout`.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl fmt::Debug for Call {
    // Bodies hold what the objects keep secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.path)
    }
}

/// A value as it lies in the store, encrypted or not.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredValue {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The store's revision of the last change.
    pub mod_revision: i64,
}

impl StoredValue {
    /// What says how it was written: up to and with the provider's name and colon (`k8s:enc:kms:v2:demo:`), or
    /// `k8s\0` for plain protobuf, or nothing that is known.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        if self.bytes.starts_with(b"k8s:enc:") {
            // k8s:enc:<transformer>:<version>:<name>:
            let end = self
                .bytes
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte == b':')
                .nth(4);
            end.map_or(&[], |(at, _)| &self.bytes[..=at])
        } else if self.bytes.starts_with(b"k8s\0") {
            &self.bytes[..4]
        } else {
            &[]
        }
    }
}

impl fmt::Debug for StoredValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredValue")
            .field("prefix", &String::from_utf8_lossy(self.prefix()))
            .field("length", &self.bytes.len())
            .field("mod_revision", &self.mod_revision)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_after_the_providers_name() {
        let prefix = |bytes: &[u8]| {
            String::from_utf8_lossy(
                StoredValue {
                    bytes: bytes.to_vec(),
                    mod_revision: 1,
                }
                .prefix(),
            )
            .into_owned()
        };
        assert_eq!(
            prefix(b"k8s:enc:kms:v2:demo:\x0a:x"),
            "k8s:enc:kms:v2:demo:"
        );
        assert_eq!(
            prefix(b"k8s:enc:aescbc:v1:key1:\x00:"),
            "k8s:enc:aescbc:v1:key1:"
        );
        assert_eq!(prefix(b"k8s\0\x0a\x0c"), "k8s\0");
        assert_eq!(prefix(b"{\"kind\":1}"), "");
    }

    #[test]
    fn selectors_are_escaped_in_a_query() {
        let options = ListOptions {
            namespace: Some("default".into()),
            field_selector: Some("metadata.name=a".into()),
            ..ListOptions::default()
        };
        assert_eq!(
            options.path(Resource::Secrets, true),
            "/api/v1/namespaces/default/secrets?watch=1&fieldSelector=metadata.name%3Da"
        );
        assert_eq!(
            ListOptions::default().path(Resource::Secrets, false),
            "/api/v1/secrets"
        );
    }
}
