//! Text to form: syntax, unknown keys, types. Then [`super::meaning`] has its turn.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::file::ScenarioFile;
use super::ids::nearest_of;
use super::meaning::{self, Scenario};
use super::problem::{Path, Problem, Source, at};

/// The JSON schema of a scenario file.
#[must_use]
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<ScenarioFile>().to_value();
    schema["$id"] = "kms-scenario-1".into();
    schema
}

/// The JSON schema of a form, whole in itself.
#[must_use]
pub fn schema_of<F: JsonSchema>() -> Value {
    let mut inline = SchemaSettings::draft2020_12();
    inline.inline_subschemas = true;
    let generator = inline.into_generator();
    generator.into_root_schema_for::<F>().to_value()
}

/// Whether a text has that key at its top, as far as it can be read.
#[must_use]
pub fn has_key(text: &str, key: &str) -> bool {
    DeTable::parse_recoverable(text)
        .0
        .get_ref()
        .contains_key(key)
}

/// Reads a scenario. `stem` is the file's name without folder and ending, which the id must equal.
///
/// # Errors
/// Everything that is wrong with it, by line.
pub fn read(text: &str, stem: Option<&str>) -> Result<Scenario, Vec<Problem>> {
    read_form(text, |form, source| meaning::check(form, source, stem))
}

/// Reads a form and what it means: `check` says what is wrong with it, each problem with the place of its field.
///
/// # Errors
/// Everything that is wrong with it, by line.
pub fn read_form<F, M>(
    text: &str,
    check: impl FnOnce(F, &Source<'_>) -> Result<M, Vec<Problem>>,
) -> Result<M, Vec<Problem>>
where
    F: DeserializeOwned + JsonSchema,
{
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problems = errors.iter().map(|error| {
            let place = error.span().map_or(0, |span| span.start);
            at(
                text,
                place,
                String::new(),
                first_line(error.message()),
                "correct the TOML".to_owned(),
            )
        });
        return Err(sorted(problems.collect()));
    }
    let source = Source {
        text,
        table: table.get_ref(),
    };
    let mut problems = Vec::new();
    let schema = schema_of::<F>();
    for (key, value) in source.table {
        unknown(
            &source,
            &schema,
            &Path::default(),
            key,
            value,
            &mut problems,
        );
    }
    let form = match F::deserialize(Deserializer::from(table.clone())) {
        Ok(form) => form,
        // an unknown key was named above, with its neighbour
        Err(error) if !problems.is_empty() && error.message().starts_with("unknown field") => {
            return Err(sorted(problems));
        }
        Err(error) => {
            let place = error.span().map_or(0, |span| span.start);
            let field = source.field_at(place).to_string();
            let (message, fix) = explained(error.message());
            problems.push(at(text, place, field, message, fix));
            return Err(sorted(problems));
        }
    };
    match check(form, &source) {
        Ok(meant) if problems.is_empty() => Ok(meant),
        Ok(_) => Err(sorted(problems)),
        Err(more) => {
            problems.extend(more);
            Err(sorted(problems))
        }
    }
}

/// The file's text of a form.
///
/// # Errors
/// A number that TOML has no form for.
pub fn write<F: Serialize>(form: &F) -> Result<String, String> {
    toml::to_string(form).map_err(|error| error.to_string())
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// serde's message as what is wrong and what to do.
fn explained(message: &str) -> (String, String) {
    let message = first_line(message);
    if let Some((wrong, fix)) = message.split_once("; ") {
        return (wrong.to_owned(), fix.to_owned());
    }
    if let Some((wrong, wanted)) = message.split_once(", expected ") {
        let unknown = wrong
            .strip_prefix("unknown variant `")
            .and_then(|rest| rest.strip_suffix('`'));
        let near = unknown.and_then(|name| {
            let names = wanted.split('`').skip(1).step_by(2).map(str::to_owned);
            nearest_of(name, names)
        });
        let wanted = match wanted {
            "u8" | "u16" | "u32" | "u64" => "a whole number, 0 or more",
            "f64" => "a number",
            other => other,
        };
        let fix = near.map_or(format!("write {wanted}"), |near| {
            format!("did you mean `{near}`?")
        });
        return (wrong.to_owned(), fix);
    }
    if let Some(name) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'))
    {
        return (message.clone(), format!("add {name} = …"));
    }
    (message, "see `kms-harness scenario schema`".to_owned())
}

/// Names keys that the schema does not have.
fn unknown(
    source: &Source<'_>,
    schema: &Value,
    above: &Path,
    key: &Spanned<toml::de::DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Vec<Problem>,
) {
    let name: &str = key.get_ref();
    let path = above.key(name);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return; // a table with keys of its own choice
    };
    let Some(inner) = properties.get(name) else {
        let near = nearest_of(name, properties.keys().cloned());
        let fix = near.map_or_else(
            || {
                let names: Vec<_> = properties.keys().map(String::as_str).collect();
                format!("remove it; there are {}", names.join(", "))
            },
            |near| format!("did you mean `{near}`?"),
        );
        let place = key.span().start;
        problems.push(at(
            source.text,
            place,
            path.to_string(),
            "unknown key".to_owned(),
            fix,
        ));
        return;
    };
    inside(source, inner, &path, value, problems);
}

fn inside(
    source: &Source<'_>,
    schema: &Value,
    path: &Path,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Vec<Problem>,
) {
    // an optional field: anyOf [what it is, null]
    let schema = schema
        .get("anyOf")
        .and_then(Value::as_array)
        .and_then(|choices| {
            choices
                .iter()
                .find(|choice| choice.get("properties").is_some())
        })
        .unwrap_or(schema);
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                unknown(source, schema, path, key, value, problems);
            }
        }
        DeValue::Array(values) => {
            if let Some(items) = schema.get("items") {
                for (index, value) in values.iter().enumerate() {
                    inside(source, items, &path.index(index), value, problems);
                }
            }
        }
        _ => {}
    }
}
