//! Events that need no server: functions of the real code that were called by themselves.

use std::collections::BTreeMap;

use kms_apiserver::config::Endpoint;
use kms_apiserver::object::EncryptedObject;
use kms_apiserver::{gotext, object};

use super::super::compare::Outcome;
use super::super::trace::Event;
use super::words::same;

/// One call of a validation function, as the case's name tells it.
pub(super) fn validate(event: &Event) -> Outcome {
    let case = event.text("case");
    if let Some(quoted) = case.strip_prefix("hash label of ") {
        let text: String = serde_json::from_str(quoted).expect("a quoted text");
        return same(case, &gotext::hash_if_not_empty(&text), event.text("value"));
    }
    let number = case
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok());
    let number: i64 = number.unwrap_or(1);
    let size = usize::try_from(number).unwrap_or(0);
    if case.starts_with("ValidateKeyID") {
        let ours = object::validate_key_id(&"k".repeat(size));
        let (code, text) = match ours {
            Ok(()) => ("ok", "<nil>".to_owned()),
            Err(fault) => (fault.label(), fault.to_string()),
        };
        return same(
            case,
            &format!("{code} {text}"),
            &format!("{} {}", event.text("code"), event.text("error")),
        );
    }
    let mut object = EncryptedObject {
        data: vec![1],
        key_id: "k".to_owned(),
        source: vec![1],
        annotations: BTreeMap::new(),
        source_type: 1,
    };
    let mut annotate = |key: &str, length: usize| {
        object.annotations.insert(key.to_owned(), vec![0; length]);
    };
    match case {
        "minimal" => {}
        "data empty" => object.data.clear(),
        "annotations: two bad keys" => {
            annotate("A", 0);
            annotate("B", 0);
        }
        "annotations: same bad key text and too large" => annotate("A", 32_768),
        _ if case.starts_with("annotations ") => annotate("a.b", size - 3),
        _ if case.starts_with("type ") => object.source_type = number as i32,
        _ if case.starts_with("source ") => object.source = vec![1; size],
        _ if case.starts_with("key id ") => object.key_id = "k".repeat(size),
        _ => return Outcome::Different(format!("unknown case {case}")),
    }
    same(
        case,
        &object.validate().err().unwrap_or_default(),
        event.text("error"),
    )
}

pub(super) fn endpoint(event: &Event) -> Outcome {
    let text = event.text("endpoint");
    let told = event.text("error");
    let parsed = Endpoint::parse(text);
    let ours = match &parsed {
        Ok(endpoint) if endpoint.scheme == "unix" => endpoint.address().to_owned(),
        _ => String::new(),
    };
    if ours != event.text("parsed") {
        return same(text, &ours, event.text("parsed"));
    }
    let alike = match &parsed {
        Err(why) => told.ends_with(why.as_str()),
        Ok(endpoint) if endpoint.scheme != "unix" => {
            text.is_empty() || told.contains(&gotext::quote(&endpoint.scheme))
        }
        Ok(_) => told.is_empty(),
    };
    if alike {
        Outcome::Alike
    } else {
        Outcome::Different(format!("{text}: {parsed:?}, recorded {told}"))
    }
}
