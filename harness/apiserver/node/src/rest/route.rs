//! Paths and queries.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kms_apiserver_api::Resource;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/healthz`, `/livez`, `/readyz`, or one check under them.
    Health {
        /// `healthz`, `livez` or `readyz`.
        root: &'static str,
        /// One check only.
        check: Option<String>,
    },
    /// `/metrics`.
    Metrics,
    /// `/version`.
    Version,
    /// `/api`.
    Api,
    /// `/apis`.
    Apis,
    /// `/api/v1`.
    ApiV1,
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApi,
    /// `/openapi/v3/api/v1`.
    OpenApiV1,
    /// All objects of a kind, or those of one namespace.
    Collection {
        /// The kind.
        resource: Resource,
        /// The namespace.
        namespace: Option<String>,
    },
    /// One object.
    Object {
        /// The kind.
        resource: Resource,
        /// Its namespace, empty for kinds without one.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Nothing that is served.
    Unknown,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl Verb {
    /// The verb of an HTTP method.
    pub fn of(method: &str) -> Option<Self> {
        match method {
            "GET" => Some(Verb::Get),
            "POST" => Some(Verb::Post),
            "PUT" => Some(Verb::Put),
            "PATCH" => Some(Verb::Patch),
            "DELETE" => Some(Verb::Delete),
            _ => None,
        }
    }
}

impl Route {
    /// Reads a path without its query.
    pub fn of(path: &str) -> Self {
        let parts: Vec<Cow<'_, str>> = path.trim_matches('/').split('/').map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let resource = |plural: &str| {
            Resource::ALL
                .into_iter()
                .find(|resource| resource.plural() == plural)
        };
        let found = match parts.as_slice() {
            ["metrics"] => Some(Route::Metrics),
            ["version"] => Some(Route::Version),
            ["api"] => Some(Route::Api),
            ["apis"] => Some(Route::Apis),
            ["api", "v1"] => Some(Route::ApiV1),
            ["openapi", "v2"] => Some(Route::OpenApiV2),
            ["openapi", "v3"] => Some(Route::OpenApi),
            ["openapi", "v3", "api", "v1"] => Some(Route::OpenApiV1),
            ["api", "v1", "namespaces", namespace, plural] => resource(plural)
                .filter(|resource| resource.namespaced())
                .map(|resource| Route::Collection {
                    resource,
                    namespace: Some((*namespace).to_owned()),
                }),
            ["api", "v1", "namespaces", namespace, plural, name] => resource(plural)
                .filter(|resource| resource.namespaced())
                .map(|resource| Route::Object {
                    resource,
                    namespace: (*namespace).to_owned(),
                    name: (*name).to_owned(),
                }),
            ["api", "v1", "namespaces", name] => Some(Route::Object {
                resource: Resource::Namespaces,
                namespace: String::new(),
                name: (*name).to_owned(),
            }),
            ["api", "v1", plural] => resource(plural).map(|resource| Route::Collection {
                resource,
                namespace: None,
            }),
            [root, check @ ..] => ["healthz", "livez", "readyz"]
                .into_iter()
                .find(|known| known == root)
                .map(|root| {
                    let check = check.join("/");
                    Route::Health {
                        root,
                        check: (!check.is_empty()).then_some(check),
                    }
                }),
            [] => None,
        };
        found.unwrap_or(Route::Unknown)
    }
}

/// The parameters of a query; of one that is given twice the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// Reads what stands after the question mark.
    pub fn of(text: &str) -> Self {
        let mut query = Query::default();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let form = |text: &str| decode(&text.replace('+', " ")).into_owned();
            query.0.entry(form(name)).or_default().push(form(value));
        }
        query
    }

    /// The first value; empty without one.
    pub fn text(&self, name: &str) -> &str {
        self.all(name).first().map_or("", String::as_str)
    }

    /// All values.
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether it is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether it says yes.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.text(name), "1" | "true")
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_kubernetes_means() {
        let namespace = Some("kube-system".to_owned());
        let object = |resource, namespace: &str, name: &str| Route::Object {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        for (path, route) in [
            (
                "/api/v1/secrets",
                Route::Collection {
                    resource: Resource::Secrets,
                    namespace: None,
                },
            ),
            (
                "/api/v1/namespaces/kube-system/configmaps",
                Route::Collection {
                    resource: Resource::ConfigMaps,
                    namespace,
                },
            ),
            (
                "/api/v1/namespaces/default/secrets/a%2eb",
                object(Resource::Secrets, "default", "a.b"),
            ),
            (
                "/api/v1/namespaces/default",
                object(Resource::Namespaces, "", "default"),
            ),
            (
                "/api/v1/namespaces",
                Route::Collection {
                    resource: Resource::Namespaces,
                    namespace: None,
                },
            ),
            (
                "/livez/poststarthook/storage-readiness",
                Route::Health {
                    root: "livez",
                    check: Some("poststarthook/storage-readiness".to_owned()),
                },
            ),
            (
                "/readyz/",
                Route::Health {
                    root: "readyz",
                    check: None,
                },
            ),
            ("/api/v1/pods", Route::Unknown),
            ("/", Route::Unknown),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn a_query_is_decoded() {
        let query =
            Query::of("watch=1&fieldSelector=metadata.name%3Da&exclude=x&exclude=y&verbose");
        assert!(query.flag("watch") && query.has("verbose") && !query.has("limit"));
        assert_eq!(query.text("fieldSelector"), "metadata.name=a");
        assert_eq!(query.all("exclude"), ["x", "y"]);
    }
}
