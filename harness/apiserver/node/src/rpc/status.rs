//! gRPC statuses from answers and from broken streams, with grpc-go's texts.

use h2::Reason;
use http::{HeaderMap, StatusCode, response};
use kms_apiserver::grpc::{Code, Status};

/// A stream or connection that broke.
pub fn of_h2(error: &h2::Error) -> Status {
    if let Some(reason) = error.reason()
        && error.is_reset()
    {
        let code = match reason {
            Reason::NO_ERROR | Reason::PROTOCOL_ERROR | Reason::INTERNAL_ERROR => Code::INTERNAL,
            Reason::REFUSED_STREAM => Code::UNAVAILABLE,
            Reason::CANCEL => Code::CANCELED,
            Reason::ENHANCE_YOUR_CALM => Code::RESOURCE_EXHAUSTED,
            _ => Code::UNKNOWN,
        };
        return Status::new(
            code,
            format!(
                "stream terminated by RST_STREAM with error code: {}",
                name(reason)
            ),
        );
    }
    // a connection that ended under the call (KMS2-CONN-08)
    Status::new(Code::UNAVAILABLE, "error reading from server: EOF")
}

fn name(reason: Reason) -> String {
    let names = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let number = u32::from(reason);
    let known = usize::try_from(number)
        .ok()
        .and_then(|number| names.get(number));
    known.map_or_else(
        || format!("unknown error code 0x{number:x}"),
        |name| (*name).to_owned(),
    )
}

/// What the head of an answer says already: that it is no gRPC, or a status without a body.
pub fn of_head(head: &response::Parts) -> Option<Result<(), Status>> {
    let content_type = head
        .headers
        .get("content-type")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let grpc = content_type
        .as_deref()
        .is_some_and(|content_type| content_type.starts_with("application/grpc"));
    if head.status != StatusCode::OK || !grpc {
        let (number, reason) = (
            head.status.as_u16(),
            head.status.canonical_reason().unwrap_or_default(),
        );
        let code = match number {
            400 => Code::INTERNAL,
            401 => Code(16),
            403 => Code(7),
            404 => Code::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => Code::UNAVAILABLE,
            _ => Code::UNKNOWN,
        };
        let about = match &content_type {
            None => "malformed header: missing HTTP content-type".to_owned(),
            Some(content_type) => {
                format!("transport: received unexpected content-type {content_type:?}")
            }
        };
        let message = if grpc {
            format!("unexpected HTTP status code received from server: {number} ({reason})")
        } else {
            format!(
                "unexpected HTTP status code received from server: {number} ({reason}); {about}"
            )
        };
        return Some(Err(Status::new(code, message)));
    }
    let status = head
        .headers
        .contains_key("grpc-status")
        .then(|| of_trailers(&head.headers))?;
    // OK without a message is no answer to a unary call
    Some(status.and_then(|()| {
        let why =
            "cardinality violation: received no response message from non-server-streaming RPC";
        Err(Status::new(Code::INTERNAL, why))
    }))
}

/// The status in the trailers.
pub fn of_trailers(trailers: &HeaderMap) -> Result<(), Status> {
    let Some(code) = trailers.get("grpc-status") else {
        return Err(Status::new(
            Code::UNKNOWN,
            "server closed the stream without sending trailers",
        ));
    };
    let code = std::str::from_utf8(code.as_bytes())
        .ok()
        .and_then(|code| code.parse().ok());
    let Some(code) = code else {
        return Err(Status::new(
            Code::UNKNOWN,
            "transport: malformed grpc-status",
        ));
    };
    if code == 0 {
        return Ok(());
    }
    let message = trailers
        .get("grpc-message")
        .map(|message| decode(message.as_bytes()))
        .unwrap_or_default();
    Err(Status::new(Code(code), message))
}

/// `grpc-message` is percent-encoded; what is not well-formed stays as it is.
fn decode(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = (byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let value = digits
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match value {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
