//! A tree to a configuration: kinds, fields, defaults, and how strict a version is.

use super::tree::{self, Node};
use super::{Config, Entry, Key, Kms, Provider};
use crate::gotext::{parse_duration, quote};
use crate::version::Version;

const GROUP_VERSION: &str = "apiserver.config.k8s.io/v1";

/// What else the decoder knows of `apiserver.config.k8s.io/v1`, but is no encryption
/// configuration.
const OTHER_KINDS: [&str; 5] = [
    "AdmissionConfiguration",
    "EgressSelectorConfiguration",
    "TracingConfiguration",
    "AuthenticationConfiguration",
    "AuthorizationConfiguration",
];

/// Reads a file's content.
///
/// # Errors
/// With upstream's text, without what stands in front of all of them.
pub(super) fn decode(text: &str, version: Version, path: &str) -> Result<Config, String> {
    let in_file = |why: String| {
        format!(
            "error decoding encryption provider configuration file {}: {why}",
            quote(path)
        )
    };
    let tree = read(text).map_err(in_file)?;
    let mut decoder = Decoder {
        unknown: Vec::new(),
    };
    let root = match &tree.root {
        Node::Map(entries) => entries.as_slice(),
        Node::Null => &[],
        other => {
            return Err(in_file(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go \
                 value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
                 Kind string \"json:\\\"kind,omitempty\\\"\" }}",
                other.kind()
            )));
        }
    };
    let word = |name: &str| match field(root, name) {
        Some(Node::Text(text)) => text.as_str(),
        _ => "",
    };
    let (kind, api_version) = (word("kind"), word("apiVersion"));
    if kind.is_empty() {
        return Err(in_file(format!("Object 'Kind' is missing in '{text}'")));
    }
    if api_version.is_empty() {
        return Err(in_file(format!(
            "Object 'apiVersion' is missing in '{text}'"
        )));
    }
    match (api_version, kind) {
        // The name that the kind had before it had a group.
        (GROUP_VERSION, "EncryptionConfiguration") | ("v1", "EncryptionConfig") => {}
        (GROUP_VERSION, kind) if OTHER_KINDS.contains(&kind) => {
            return Err(format!(
                "got unexpected config type: {api_version}, Kind={kind}"
            ));
        }
        _ => {
            return Err(in_file(format!(
                "no kind {} is registered for version {} in scheme \"pkg/runtime/scheme.go:111\"",
                quote(kind),
                quote(api_version)
            )));
        }
    }
    let config = decoder.config(root).map_err(in_file)?;
    if version.strict_config() {
        let mut faults = Vec::new();
        if !tree.duplicates.is_empty() {
            faults.push(format!(
                "yaml: unmarshal errors:\n{}",
                tree.duplicates.join("\n")
            ));
        }
        faults.append(&mut decoder.unknown);
        if !faults.is_empty() {
            return Err(in_file(format!(
                "strict decoding error: {}",
                faults.join(", ")
            )));
        }
    }
    Ok(config)
}

/// What begins with a brace is JSON and nothing else; YAML takes JSON too.
fn read(text: &str) -> Result<tree::Tree, String> {
    let mut letters = text.chars().filter(|letter| !letter.is_whitespace());
    if letters.next() != Some('{') {
        return tree::read(text).or_else(|error| {
            // Upstream's parser takes a tab behind a colon, where this one wants a blank.
            if text.contains(":\t") {
                tree::read(&text.replace(":\t", ": "))
            } else {
                Err(error)
            }
        });
    }
    if let Some(wrong) = letters.next().filter(|letter| !matches!(letter, '"' | '}')) {
        return Err(format!(
            "couldn't get version/kind; json parse error: invalid character '{wrong}' looking for \
             beginning of object key string"
        ));
    }
    tree::read(text).map_err(|error| {
        let why = error.strip_prefix("yaml: ").unwrap_or(&error);
        format!("couldn't get version/kind; json parse error: {why}")
    })
}

fn field<'a>(entries: &'a [(String, Node)], name: &str) -> Option<&'a Node> {
    let entry = entries.iter().find(|(known, _)| known == name);
    entry
        .map(|(_, node)| node)
        .filter(|node| **node != Node::Null)
}

struct Decoder {
    unknown: Vec<String>,
}

/// Where a value stands: for Go's errors of type, and for the strict ones.
struct Place<'a> {
    owner: &'a str,
    /// Without indices.
    dotted: String,
    /// With indices.
    exact: String,
}

impl Place<'_> {
    fn mismatch(&self, node: &Node, wanted: &str) -> String {
        format!(
            "json: cannot unmarshal {} into Go struct field {}.{} of type {wanted}",
            node.kind(),
            self.owner,
            self.dotted
        )
    }

    fn text(&self, node: Option<&Node>) -> Result<String, String> {
        match node {
            None => Ok(String::new()),
            Some(Node::Text(text)) => Ok(text.clone()),
            Some(other) => Err(self.mismatch(other, "string")),
        }
    }

    fn list<'n>(&self, node: Option<&'n Node>, of: &str) -> Result<&'n [Node], String> {
        match node {
            None => Ok(&[]),
            Some(Node::List(nodes)) => Ok(nodes),
            Some(other) => Err(self.mismatch(other, &format!("[]{of}"))),
        }
    }

    fn map<'n>(&self, node: &'n Node, of: &str) -> Result<&'n [(String, Node)], String> {
        match node {
            Node::Null => Ok(&[]),
            Node::Map(entries) => Ok(entries),
            other => Err(self.mismatch(other, of)),
        }
    }

    fn child<'b>(&self, owner: &'b str, name: &str) -> Place<'b> {
        let dot = if self.dotted.is_empty() { "" } else { "." };
        Place {
            owner,
            dotted: format!("{}{dot}{name}", self.dotted),
            exact: format!("{}{dot}{name}", self.exact),
        }
    }

    fn at(&self, index: usize) -> Place<'_> {
        Place {
            owner: self.owner,
            dotted: self.dotted.clone(),
            exact: format!("{}[{index}]", self.exact),
        }
    }
}

impl Decoder {
    fn known(&mut self, entries: &[(String, Node)], place: &Place<'_>, names: &[&str]) {
        for (name, _) in entries {
            if !names.contains(&name.as_str()) {
                let exact = place.child("", name).exact;
                self.unknown
                    .push(format!("unknown field {}", quote(&exact)));
            }
        }
    }

    fn config(&mut self, root: &[(String, Node)]) -> Result<Config, String> {
        let top = Place {
            owner: "EncryptionConfiguration",
            dotted: String::new(),
            exact: String::new(),
        };
        self.known(root, &top, &["kind", "apiVersion", "resources"]);
        let place = top.child("EncryptionConfiguration", "resources");
        let nodes = place.list(field(root, "resources"), "v1.ResourceConfiguration")?;
        let entries = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| self.entry(node, &place.at(index)));
        Ok(Config {
            entries: entries.collect::<Result<_, _>>()?,
        })
    }

    fn entry(&mut self, node: &Node, place: &Place<'_>) -> Result<Entry, String> {
        let entries = place.map(node, "v1.ResourceConfiguration")?;
        self.known(entries, place, &["resources", "providers"]);
        let names = place.child("ResourceConfiguration", "resources");
        let resources = names.list(field(entries, "resources"), "string")?;
        let providers = place.child("ResourceConfiguration", "providers");
        let nodes = providers.list(field(entries, "providers"), "v1.ProviderConfiguration")?;
        Ok(Entry {
            resources: resources
                .iter()
                .map(|node| names.text(Some(node).filter(|node| **node != Node::Null)))
                .collect::<Result<_, _>>()?,
            providers: nodes
                .iter()
                .enumerate()
                .map(|(index, node)| self.provider(node, &providers.at(index)))
                .collect::<Result<_, _>>()?,
        })
    }

    fn provider(&mut self, node: &Node, place: &Place<'_>) -> Result<Provider, String> {
        let entries = place.map(node, "v1.ProviderConfiguration")?;
        self.known(
            entries,
            place,
            &["aesgcm", "aescbc", "secretbox", "identity", "kms"],
        );
        let mut provider = Provider::default();
        for (name, keys) in [
            ("aesgcm", &mut provider.aesgcm),
            ("aescbc", &mut provider.aescbc),
            ("secretbox", &mut provider.secretbox),
        ] {
            if let Some(node) = field(entries, name) {
                *keys = Some(self.keys(node, &place.child("ProviderConfiguration", name))?);
            }
        }
        if let Some(node) = field(entries, "identity") {
            let place = place.child("ProviderConfiguration", "identity");
            let entries = place.map(node, "v1.IdentityConfiguration")?;
            self.known(entries, &place, &[]);
            provider.identity = true;
        }
        if let Some(node) = field(entries, "kms") {
            let place = place.child("ProviderConfiguration", "kms");
            provider.kms = Some(self.kms(node, &place)?);
        }
        Ok(provider)
    }

    fn keys(&mut self, node: &Node, place: &Place<'_>) -> Result<Vec<Key>, String> {
        let (owner, of) = if place.dotted.ends_with("secretbox") {
            ("SecretboxConfiguration", "v1.SecretboxConfiguration")
        } else {
            ("AESConfiguration", "v1.AESConfiguration")
        };
        let entries = place.map(node, of)?;
        self.known(entries, place, &["keys"]);
        let keys = place.child(owner, "keys");
        let nodes = keys.list(field(entries, "keys"), "v1.Key")?;
        let mut read = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let place = keys.at(index);
            let entries = place.map(node, "v1.Key")?;
            self.known(entries, &place, &["name", "secret"]);
            let text = |name: &str| place.child("Key", name).text(field(entries, name));
            read.push(Key {
                name: text("name")?,
                secret: text("secret")?.into(),
            });
        }
        Ok(read)
    }

    fn kms(&mut self, node: &Node, place: &Place<'_>) -> Result<Kms, String> {
        let entries = place.map(node, "v1.KMSConfiguration")?;
        self.known(
            entries,
            place,
            &["apiVersion", "name", "cachesize", "endpoint", "timeout"],
        );
        let owner = "KMSConfiguration";
        let text = |name: &str| place.child(owner, name).text(field(entries, name));
        let mut api_version = text("apiVersion")?;
        if api_version.is_empty() {
            "v1".clone_into(&mut api_version);
        }
        let cache_size = match field(entries, "cachesize") {
            None if api_version == "v1" => Some(1000),
            None => None,
            Some(Node::Number(digits)) => Some(digits.parse().map_err(|_| {
                let place = place.child(owner, "cachesize");
                format!(
                    "json: cannot unmarshal number {digits} into Go struct field {owner}.{} of \
                     type int32",
                    place.dotted
                )
            })?),
            Some(other) => return Err(place.child(owner, "cachesize").mismatch(other, "int32")),
        };
        let timeout = match field(entries, "timeout") {
            None => 3_000_000_000,
            Some(_) => parse_duration(&text("timeout")?)?,
        };
        Ok(Kms {
            api_version,
            name: text("name")?,
            cache_size,
            endpoint: text("endpoint")?,
            timeout,
        })
    }
}
