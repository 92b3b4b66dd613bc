//! Refusals: `Status` objects with the texts and details of the real server.

use kms_apiserver_api::Resource;
use serde_json::{Map, Value, json};

use crate::cache::{NotReady, TooOld};
use crate::object::validate::Fault;
use crate::registry::{Corrupt, RegistryError};

/// A refusal, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP code.
    pub code: u16,
    /// The header `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The `Status` object.
    pub status: Value,
}

impl Refusal {
    fn new(code: u16, reason: &str, message: impl Into<String>, details: Option<Value>) -> Self {
        let mut status = Map::new();
        status.insert("kind".to_owned(), "Status".into());
        status.insert("apiVersion".to_owned(), "v1".into());
        status.insert("metadata".to_owned(), json!({}));
        status.insert("status".to_owned(), "Failure".into());
        status.insert("message".to_owned(), message.into().into());
        status.insert("reason".to_owned(), reason.into());
        if let Some(details) = details {
            status.insert("details".to_owned(), details);
        }
        status.insert("code".to_owned(), code.into());
        Refusal {
            code,
            retry_after: None,
            status: Value::Object(status),
        }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message, None)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized", None)
    }

    /// 404 of an object.
    pub fn not_found(resource: Resource, name: &str) -> Self {
        let kind = resource.plural();
        let details = json!({"name": name, "kind": kind});
        Self::new(
            404,
            "NotFound",
            format!("{kind} {name:?} not found"),
            Some(details),
        )
    }

    /// 404 of a path that the API does not have.
    pub fn no_such_resource() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
            Some(json!({})),
        )
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
            Some(json!({})),
        )
    }

    /// 409 of a create.
    pub fn already_exists(resource: Resource, name: &str) -> Self {
        let kind = resource.plural();
        let details = json!({"name": name, "kind": kind});
        Self::new(
            409,
            "AlreadyExists",
            format!("{kind} {name:?} already exists"),
            Some(details),
        )
    }

    /// 409 of an update or delete.
    pub fn conflict(resource: Resource, name: &str, why: &str) -> Self {
        let kind = resource.plural();
        let details = json!({"name": name, "kind": kind});
        let message = format!("Operation cannot be fulfilled on {kind} {name:?}: {why}");
        Self::new(409, "Conflict", message, Some(details))
    }

    /// 409 because the object has changed since the client read it.
    pub fn modified(resource: Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 410 of a watch that begins too far back.
    pub fn too_old(revision: i64, oldest: TooOld) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {revision} ({})", oldest.oldest),
            None,
        )
    }

    /// 410 of a page whose state is no longer there.
    pub fn expired_continue() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a \
                       new list without the continue parameter.";
        Self::new(410, "Expired", message, None)
    }

    /// 410 of a list at a revision that is no longer there.
    pub fn expired_revision(revision: i64) -> Self {
        Self::new(
            410,
            "Expired",
            format!("The resourceVersion for the provided list is too old: {revision}"),
            None,
        )
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", message, Some(json!({})))
    }

    /// 422.
    pub fn invalid(resource: Resource, name: &str, faults: &[Fault]) -> Self {
        let causes: Vec<Value> = faults
            .iter()
            .map(|fault| json!({"reason": fault.reason, "message": fault.text, "field": fault.field}))
            .collect();
        let texts: Vec<String> = faults
            .iter()
            .map(|fault| format!("{}: {}", fault.field, fault.text))
            .collect();
        let text = if let [one] = texts.as_slice() {
            one.clone()
        } else {
            format!("[{}]", texts.join(", "))
        };
        let details = json!({"name": name, "kind": resource.kind(), "causes": causes});
        Self::new(
            422,
            "Invalid",
            format!("{} {name:?} is invalid: {text}", resource.kind()),
            Some(details),
        )
    }

    /// 429 while the watch cache cannot be asked.
    pub fn not_ready(not_ready: NotReady) -> Self {
        let details = json!({"retryAfterSeconds": not_ready.retry_after});
        let mut refusal = Self::new(429, "TooManyRequests", not_ready.message, Some(details));
        refusal.retry_after = Some(not_ready.retry_after);
        refusal
    }

    /// 500.
    pub fn internal(why: impl Into<String>) -> Self {
        let why = why.into();
        let details = json!({"causes": [{"message": why}]});
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {why}"),
            Some(details),
        )
    }

    /// 500 of a list with undecryptable objects, in versions that name them.
    fn storage_read(resource: Resource, message: String, corrupt: &[Corrupt]) -> Self {
        let causes: Vec<Value> = corrupt
            .iter()
            .map(|found| json!({"reason": "UnexpectedServerResponse", "message": found.text(), "field": found.key}))
            .collect();
        let details = json!({"name": "list", "kind": resource.plural(), "causes": causes});
        Self::new(500, "StorageReadError", message, Some(details))
    }

    /// 504 of a read that asks for a state that the server has not seen in time.
    pub fn too_large_revision(wanted: i64, current: i64) -> Self {
        let details = json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        let mut refusal = Self::new(504, "Timeout", message, Some(details));
        refusal.retry_after = Some(1);
        refusal
    }

    /// The answer to a failed operation on an object.
    pub fn of(error: RegistryError, resource: Resource, name: &str) -> Self {
        match error {
            RegistryError::NotFound => Self::not_found(resource, name),
            RegistryError::Changed => Self::modified(resource, name),
            RegistryError::Corrupt(corrupt) => Self::internal(corrupt.text()),
            RegistryError::List {
                resource,
                ref corrupt,
            } => Self::storage_read(resource, error.to_string(), corrupt),
            RegistryError::Internal(why) => Self::internal(why),
            RegistryError::Store(error) => Self::internal(error.to_string()),
        }
    }
}

/// The `Status` of a deletion that is done.
pub fn deleted(resource: Resource, name: &str, uid: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": name, "kind": resource.plural(), "uid": uid},
    })
}

/// The `Status` of a deletion of an object that could not be read.
pub fn deleted_unreadable(resource: Resource, name: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": name, "kind": resource.kind()}, "code": 200,
    })
}
