//! The resolved plan of a run: every value, and where it came from.

use kms_report::model::{Origin, Plan, PlanEntry};

/// Collects the values.
#[derive(Clone, Debug, Default)]
pub struct Planned(Plan);

impl Planned {
    /// Adds a value that was resolved elsewhere; never a secret.
    pub fn set(&mut self, name: &str, value: impl ToString, origin: Origin) {
        let value = value.to_string();
        self.0.entries.push(PlanEntry { name: name.to_owned(), value, origin });
    }

    /// Adds an option that stands on the command line or is left out.
    pub fn option(&mut self, name: &str, given: Option<impl ToString>, default: &str) {
        match given {
            Some(value) => self.set(name, value, Origin::Flag),
            None => self.set(name, default, Origin::Default),
        }
    }

    /// Adds an option whose default is a value like any other.
    pub fn value<T: ToString + PartialEq>(&mut self, name: &str, value: T, default: T) {
        let origin = if value == default { Origin::Default } else { Origin::Flag };
        self.set(name, value, origin);
    }

    /// For the report.
    pub fn plan(&self) -> Plan {
        self.0.clone()
    }

    /// As `plan.toml`.
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(&self.0).expect("strings and words are TOML");
        format!("# Every value of this run, and where it came from.\n\n{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_tells_its_origin_and_can_be_read_back() {
        let mut planned = Planned::default();
        planned.value("seed", 1, 1);
        planned.value("profile", "core", "chaos");
        planned.option("out", Some("/tmp"), "new");
        planned.option("server-version", None::<String>, "every supported one");
        planned.set("bao", "bao", Origin::Env);
        let read: Plan = toml::from_str(&planned.to_toml()).unwrap();
        assert_eq!(read, planned.plan());
        let origins: Vec<Origin> = read.entries.iter().map(|entry| entry.origin).collect();
        assert_eq!(origins, [Origin::Default, Origin::Flag, Origin::Flag, Origin::Default, Origin::Env]);
    }
}
