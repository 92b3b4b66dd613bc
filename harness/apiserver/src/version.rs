//! What differs between the emulated versions, as named rules.

use std::fmt;

/// An emulated minor version of Kubernetes 1, from 27 to 37.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u8);

/// A version that is not emulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVersion(pub String);

impl fmt::Display for UnknownVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnknownVersion(text) = self;
        write!(f, "{text:?} is not emulated: say 1.27 to 1.37")
    }
}

impl std::error::Error for UnknownVersion {}

/// What the client puts into the pseudo-header `:authority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityForm {
    /// The socket's path as it stands.
    Path,
    /// The socket's path, percent-encoded.
    EncodedPath,
    /// `localhost`.
    Localhost,
}

/// How the hash of a configuration file is written (KMS2-RELOAD-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentHashForm {
    /// Bare hexadecimal digits.
    Hex,
    /// `k8s:enc:unstable:1:` before the digits.
    Unstable,
    /// `sha256:` before the digits.
    Sha256,
}

impl Version {
    /// The oldest version emulated: the first with the service `v2`.
    pub const OLDEST: Version = Version(27);
    /// The newest version emulated.
    pub const NEWEST: Version = Version(37);

    /// The version `1.minor`.
    ///
    /// # Errors
    /// Below 27 or above 37.
    pub fn new(minor: u8) -> Result<Self, UnknownVersion> {
        let version = Version(minor);
        if (Self::OLDEST..=Self::NEWEST).contains(&version) {
            Ok(version)
        } else {
            Err(UnknownVersion(format!("1.{minor}")))
        }
    }

    /// The number after `1.`.
    pub fn minor(self) -> u8 {
        self.0
    }

    /// The form of `:authority` (KMS2-CONN-04). 1.28 was not measured; it is taken as its
    /// successor.
    pub fn authority_form(self) -> AuthorityForm {
        match self.0 {
            ..=27 => AuthorityForm::Path,
            28..=31 => AuthorityForm::EncodedPath,
            _ => AuthorityForm::Localhost,
        }
    }

    /// `:authority` for a dialled address, `@name` for an abstract socket (KMS2-CONN-04).
    pub fn authority(self, address: &str) -> String {
        match self.authority_form() {
            AuthorityForm::Localhost => "localhost".to_owned(),
            _ if address.starts_with('@') => address.to_owned(),
            AuthorityForm::Path => address.to_owned(),
            AuthorityForm::EncodedPath => encode_authority(address),
        }
    }

    /// The user agent of the gRPC library that this version was built with. Measured for 1.27,
    /// 1.29 to 1.31, 1.34, 1.36 and 1.37; the others take the next older one that is known.
    pub fn user_agent(self) -> &'static str {
        match self.0 {
            ..=28 => "grpc-go/1.56.3",
            29..=30 => "grpc-go/1.58.3",
            31..=33 => "grpc-go/1.65.0",
            34..=35 => "grpc-go/1.72.1",
            36 => "grpc-go/1.79.3",
            _ => "grpc-go/1.82.1",
        }
    }

    /// The version strings that Status may answer (KMS2-STATUS-01).
    pub fn api_versions(self) -> &'static [&'static str] {
        match self.0 {
            ..=28 => &["v2beta1"],
            _ => &["v2", "v2beta1"],
        }
    }

    /// Whether new seeds are HKDF seeds (type 1) rather than AES keys (type 0).
    pub fn writes_seeds(self) -> bool {
        self.0 >= 29
    }

    /// Whether field 5 of a stored object is known; 1.27 skips it (KMS2-VER-01).
    pub fn knows_source_type(self) -> bool {
        self.0 >= 28
    }

    /// Whether `/livez` has the KMS checks too (KMS2-HEALTH-03).
    pub fn kms_checks_on_livez(self) -> bool {
        self.0 <= 28
    }

    /// Whether `poststarthook/storage-readiness` stands on `/livez`. Measured on 1.34 (no) and
    /// 1.36 (yes).
    pub fn storage_readiness_on_livez(self) -> bool {
        self.0 >= 36
    }

    /// Whether the KMS v1 gate is on unless it is set.
    pub fn kms_v1_by_default(self) -> bool {
        self.0 <= 28
    }

    /// Whether the configuration file is watched by polling its content each minute, rather than
    /// by file events (KMS2-RELOAD-02).
    pub fn polls_config(self) -> bool {
        self.0 >= 29
    }

    /// Whether unknown and duplicate fields of the configuration file are errors.
    pub fn strict_config(self) -> bool {
        self.0 >= 31
    }

    /// How the content hash of the configuration file is written (KMS2-RELOAD-03).
    pub fn content_hash_form(self) -> ContentHashForm {
        match self.0 {
            ..=29 => ContentHashForm::Hex,
            30..=33 => ContentHashForm::Unstable,
            _ => ContentHashForm::Sha256,
        }
    }

    /// Whether protobuf messages are read by the gogo library, with its error texts.
    pub fn gogo_protobuf(self) -> bool {
        self.0 <= 33
    }

    /// Whether metrics carry `apiserver_id_hash`, and `dek_source_cache_size` exists (KMS2-MET-11).
    pub fn id_hash_label(self) -> bool {
        self.0 >= 29
    }

    /// Whether `apiserver_storage_transformation_operations_total` has the label `resource`.
    pub fn resource_label(self) -> bool {
        self.0 >= 32
    }

    /// Whether reloads are counted by one counter with the label `status` (KMS2-MET-10).
    pub fn reload_status_label(self) -> bool {
        self.0 >= 30
    }

    /// Whether reloads are counted by one counter for successes and one for failures.
    pub fn reload_split_counters(self) -> bool {
        (29..=33).contains(&self.0)
    }

    /// Whether the hash of the configuration in force is a metric.
    pub fn config_info_metric(self) -> bool {
        self.0 >= 34
    }

    /// Whether a watch decodes up to 10 events at a time unless the gate is set (KMS2-DEC-14).
    pub fn concurrent_watch_decode(self) -> bool {
        self.0 >= 37
    }

    /// Whether undecryptable objects can be deleted unless the gate is set (KMS2-DEC-13).
    pub fn unsafe_malformed_deletion(self) -> bool {
        self.0 >= 37
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

impl std::str::FromStr for Version {
    type Err = UnknownVersion;

    /// Reads `1.NN` or `v1.NN`; a patch version is not accepted.
    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let rest = text.strip_prefix('v').unwrap_or(text).strip_prefix("1.");
        rest.filter(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|minor| minor.parse().ok())
            .and_then(|minor| Version::new(minor).ok())
            .ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}

/// Percent-encodes a path as grpc-go does for an authority: what RFC 3986 allows there stays.
fn encode_authority(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]@".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
