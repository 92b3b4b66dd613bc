//! gRPC statuses as the Go client shows them.

use std::fmt;

/// A gRPC status code; numbers without a name are kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub u32);

impl Code {
    /// Success.
    pub const OK: Code = Code(0);
    /// The caller gave up.
    pub const CANCELED: Code = Code(1);
    /// No better code.
    pub const UNKNOWN: Code = Code(2);
    /// The deadline passed.
    pub const DEADLINE_EXCEEDED: Code = Code(4);
    /// A message is too large.
    pub const RESOURCE_EXHAUSTED: Code = Code(8);
    /// No such method.
    pub const UNIMPLEMENTED: Code = Code(12);
    /// A broken promise on either side.
    pub const INTERNAL: Code = Code(13);
    /// No connection.
    pub const UNAVAILABLE: Code = Code(14);

    /// The name that Go gives it, `Code(99)` for a number without one (KMS2-DEC-12, KMS2-MET-01).
    pub fn name(self) -> String {
        const NAMES: [&str; 17] = [
            "OK",
            "Canceled",
            "Unknown",
            "InvalidArgument",
            "DeadlineExceeded",
            "NotFound",
            "AlreadyExists",
            "PermissionDenied",
            "ResourceExhausted",
            "FailedPrecondition",
            "Aborted",
            "OutOfRange",
            "Unimplemented",
            "Internal",
            "Unavailable",
            "DataLoss",
            "Unauthenticated",
        ];
        match NAMES.get(self.0 as usize) {
            Some(name) => (*name).to_owned(),
            None => format!("Code({})", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Why an RPC failed. Shown as the Go client shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Never [`Code::OK`].
    pub code: Code,
    /// The message, as it came or as grpc-go makes it.
    pub message: String,
}

impl Status {
    /// A status of this code and message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Status {
            code,
            message: message.into(),
        }
    }

    /// The answer could not be parsed (KMS2-WIRE-08, KMS2-WIRE-09).
    pub fn unparsable(why: impl fmt::Display) -> Self {
        Status::new(
            Code::INTERNAL,
            format!("grpc: failed to unmarshal the received message: {why}"),
        )
    }

    /// The answer is longer than [`MAX_ANSWER`] (KMS2-WIRE-10).
    pub fn too_large(bytes: usize) -> Self {
        Status::new(
            Code::RESOURCE_EXHAUSTED,
            format!("grpc: received message larger than max ({bytes} vs. {MAX_ANSWER})"),
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { code, message } = self;
        write!(f, "rpc error: code = {} desc = {message}", code.name())
    }
}

impl std::error::Error for Status {}

/// The longest answer that the client takes, in bytes: grpc-go's default (KMS2-WIRE-10).
pub const MAX_ANSWER: usize = 4 << 20;

/// The three methods of `v2.KeyManagementService` (KMS2-WIRE-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Health, version and key_id.
    Status,
    /// Wraps a seed.
    Encrypt,
    /// Unwraps a seed.
    Decrypt,
}

impl Method {
    /// The request path.
    pub fn path(self) -> &'static str {
        match self {
            Method::Status => "/v2.KeyManagementService/Status",
            Method::Encrypt => "/v2.KeyManagementService/Encrypt",
            Method::Decrypt => "/v2.KeyManagementService/Decrypt",
        }
    }
}
