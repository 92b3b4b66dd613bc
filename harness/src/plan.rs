//! The resolved plan of a run: every value, and where it came from.

use std::collections::BTreeSet;

use kms_report::model::{Origin, Plan, PlanEntry};

/// Collects the values.
#[derive(Clone, Debug, Default)]
pub struct Planned {
    plan: Plan,
    given: BTreeSet<String>,
}

impl Planned {
    /// An empty plan that knows which options stand on the command line.
    pub fn new(given: BTreeSet<String>) -> Self {
        Self {
            plan: Plan::default(),
            given,
        }
    }

    /// Adds a value that came from elsewhere; never a secret.
    pub fn set(&mut self, name: &str, value: impl ToString, origin: Origin) {
        let value = value.to_string();
        self.plan.entries.push(PlanEntry {
            name: name.to_owned(),
            value,
            origin,
        });
    }

    /// Adds an option's value; never a secret. It is a default unless it was given.
    pub fn option(&mut self, name: &str, value: impl ToString) {
        let origin = if self.given.contains(name) {
            Origin::Flag
        } else {
            Origin::Default
        };
        self.set(name, value, origin);
    }

    /// For the report.
    pub fn plan(&self) -> Plan {
        self.plan.clone()
    }

    /// As `plan.toml`.
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(&self.plan).expect("strings and words are TOML");
        format!("# Every value of this run, and where it came from.\n\n{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_tells_its_origin_and_can_be_read_back() {
        let mut planned = Planned::new(BTreeSet::from(["seed".to_owned()]));
        planned.option("seed", 1);
        planned.option("profile", "core");
        planned.set("bao", "bao", Origin::Env);
        let read: Plan = toml::from_str(&planned.to_toml()).unwrap();
        assert_eq!(read, planned.plan());
        let origins: Vec<Origin> = read.entries.iter().map(|entry| entry.origin).collect();
        assert_eq!(origins, [Origin::Flag, Origin::Default, Origin::Env]);
    }
}
