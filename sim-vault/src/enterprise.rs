//! HashiCorp Vault Enterprise, as far as a KMS plugin meets it: namespaces, performance standbys, the licence.
//!
//! No such server was recorded. Everything here comes from HashiCorp's public documentation alone, and each place that
//! answers from it carries the mark `DOCS-ONLY`; `ARCHITECTURE.md` lists them. What the documentation does not say follows
//! the community edition, and for namespaces OpenBao.

use serde_json::{Map, Value, json};

use crate::{
    Core,
    call::Call,
    reply::{Outcome, ok},
};

/// A licence lasts as long as anybody simulates: ten years from the server's birth.
const YEARS: u64 = 10;

/// The features that matter here, of those that a licence names.
const FEATURES: [&str; 4] = [
    "Performance Standby",
    "Namespaces",
    "Lease Count Quotas",
    "Seal Wrapping",
];

impl Core {
    /// Whether this is the Enterprise edition.
    pub(crate) fn is_enterprise(&self) -> bool {
        self.options.enterprise && self.flavour.is_vault()
    }

    /// DOCS-ONLY: namespaces exist in Enterprise; in the community edition the header has no effect.
    pub(crate) fn has_namespaces(&self) -> bool {
        self.flavour.is_openbao() || self.is_enterprise()
    }

    /// DOCS-ONLY: an Enterprise standby serves reads, unless that is switched off.
    pub(crate) fn is_performance_standby(&self) -> bool {
        self.is_enterprise() && self.node.standby && !self.node.forwards_all
    }

    /// DOCS-ONLY: the version carries the edition.
    pub(crate) fn version(&self) -> String {
        let edition = if self.is_enterprise() { "+ent" } else { "" };
        format!("{}{edition}", self.flavour.version())
    }

    fn licence_end(&self) -> String {
        self.rfc3339(std::time::Duration::from_secs(YEARS * 365 * 86_400))
    }

    /// DOCS-ONLY: what `sys/health` says of the licence.
    pub(crate) fn health_of_licence(&self, body: &mut Map<String, Value>) {
        if self.is_enterprise() {
            body.insert(
                "license".to_owned(),
                json!({ "state": "autoloaded", "expiry_time": self.licence_end(), "terminated": false }),
            );
            body.insert("last_wal".to_owned(), self.index.into());
        }
    }
}

/// DOCS-ONLY: `sys/license/status`, which plugins of HashiCorp's read before they start.
pub(crate) fn licence(core: &mut Core, _call: &Call) -> Outcome {
    if !core.is_enterprise() {
        return Err(crate::sys::enterprise_only(core));
    }
    let licence = json!({
        "expiration_time": core.licence_end(),
        "features": FEATURES,
        "license_id": core.cluster_id,
        "performance_standby_count": 9999,
        "start_time": core.rfc3339(std::time::Duration::ZERO),
        "termination_time": core.licence_end(),
    });
    ok(json!({
        "autoloaded": licence,
        "autoloading_used": true,
        "persisted_autoload": licence,
    }))
}
