//! One mistake in the configuration, as a person gets to read it.

use std::fmt::Write as _;

/// One mistake: which field, what is wrong with it, and what to do. Its text is one line and never
/// holds the value of a secret option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}; {fix}")]
pub struct ConfigError {
    /// The option or variable as it was written, or the canonical option where none was.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

impl ConfigError {
    /// An error about one field.
    pub fn new(
        field: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            fix: fix.into(),
        }
    }
}

/// What a value parser says; the caller knows the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

impl Bad {
    /// Pairs what is wrong with what to do.
    pub fn new(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            fix: fix.into(),
        }
    }

    /// Names the field.
    pub fn at(self, field: impl Into<String>) -> ConfigError {
        ConfigError::new(field, self.problem, self.fix)
    }
}

/// A value that is not secret, quoted for a message: one line, at most 80 characters of it.
pub fn quoted(value: &str) -> String {
    const SHOWN: usize = 80;
    let mut out = String::from("\"");
    for c in value.chars().take(SHOWN) {
        if c.is_control() {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push_str(if value.chars().nth(SHOWN).is_some() {
        "…\""
    } else {
        "\""
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_value_stays_on_one_line_and_short() {
        assert_eq!(quoted("a\nb\u{7f}"), "\"a\\nb\\u{7f}\"");
        let long = quoted(&"x".repeat(5_000));
        assert_eq!(long.chars().count(), 83);
    }
}
