//! Field and label selectors.

use crate::object::Object;

/// What a list or watch is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    fields: Vec<Term>,
    labels: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selector {
    /// Reads both selectors of a query.
    ///
    /// # Errors
    /// What the client got wrong.
    pub fn parse(fields: &str, labels: &str) -> Result<Self, String> {
        let fields = split(fields).map(field).collect::<Result<_, _>>()?;
        let labels = split(labels).map(label).collect::<Result<_, _>>()?;
        Ok(Selector { fields, labels })
    }

    /// Whether every object passes.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.labels.is_empty()
    }

    /// Whether an object passes. A field that the kind does not have fits nothing but inequality.
    pub fn matches(&self, object: &Object) -> bool {
        let fields = self
            .fields
            .iter()
            .all(|term| term.holds(object.selectable(&term.key)));
        fields
            && self
                .labels
                .iter()
                .all(|term| term.holds(object.meta.labels.get(&term.key).map(String::as_str)))
    }
}

impl Term {
    fn holds(&self, value: Option<&str>) -> bool {
        let among = |values: &[String]| {
            value.is_some_and(|value| values.iter().any(|wanted| wanted == value))
        };
        match &self.test {
            Test::In(values) => among(values),
            Test::NotIn(values) => !among(values),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    text.split(move |letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|term| !term.is_empty())
}

fn field(text: &str) -> Result<Term, String> {
    equality(text).ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{text}'"))
}

fn label(text: &str) -> Result<Term, String> {
    if let Some(term) = equality(text) {
        return Ok(term);
    }
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Term {
            key: key.trim().to_owned(),
            test: Test::Absent,
        });
    }
    let Some((head, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) else {
        return if text.contains(char::is_whitespace) {
            Err(format!("unable to parse requirement: {text:?}"))
        } else {
            Ok(Term {
                key: text.to_owned(),
                test: Test::Exists,
            })
        };
    };
    let values = values
        .split(',')
        .map(|value| value.trim().to_owned())
        .collect();
    match head.split_whitespace().collect::<Vec<_>>().as_slice() {
        [key, "in"] => Ok(Term {
            key: (*key).to_owned(),
            test: Test::In(values),
        }),
        [key, "notin"] => Ok(Term {
            key: (*key).to_owned(),
            test: Test::NotIn(values),
        }),
        _ => Err(format!("unable to parse requirement: {text:?}")),
    }
}

fn equality(text: &str) -> Option<Term> {
    let (key, value, not) = if let Some((key, value)) = text.split_once("!=") {
        (key, value, true)
    } else {
        let (key, value) = text.split_once("==").or_else(|| text.split_once('='))?;
        (key, value, false)
    };
    let values = vec![value.trim().to_owned()];
    let test = if not {
        Test::NotIn(values)
    } else {
        Test::In(values)
    };
    Some(Term {
        key: key.trim().to_owned(),
        test,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Body, ConfigMap, Meta};

    #[test]
    fn selectors_mean_what_kubernetes_says() {
        let mut object = Object {
            meta: Meta::default(),
            body: Body::ConfigMap(ConfigMap::default()),
        };
        object.meta.name = "a".to_owned();
        object
            .meta
            .labels
            .insert("tier".to_owned(), "web".to_owned());
        for (fields, labels, passes) in [
            ("metadata.name=a", "", true),
            ("metadata.name!=a", "", false),
            ("type=Opaque", "", false),
            ("", "tier", true),
            ("", "!tier", false),
            ("", "tier in (db, web),env!=prod", true),
            ("", "tier notin (db,web)", false),
            ("metadata.name=a", "tier==db", false),
        ] {
            let selector = Selector::parse(fields, labels).unwrap();
            assert_eq!(selector.matches(&object), passes, "{fields} {labels}");
        }
        assert!(Selector::parse("nonsense", "").is_err());
        assert!(Selector::parse("", "a b").is_err());
    }
}
