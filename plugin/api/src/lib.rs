//! The KMS v2 plugin API of Kubernetes: messages, client and server glue.
//!
//! `proto/kms-v2.proto` is the source; `src/generated.rs` is checked in so that a build needs
//! neither `protoc` nor a proto compiler, and a test compares the two. Annotations are an ordered
//! map, so that equal messages have equal bytes; payloads are [`bytes::Bytes`], so that a decoded
//! request shares the buffer it came in.

// As the generator writes it, so that a test can compare the two.
#[rustfmt::skip]
#[allow(missing_docs, clippy::all, clippy::disallowed_types)]
mod generated;

pub use generated::key_management_service_client as client;
pub use generated::key_management_service_server as server;
pub use generated::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};

/// Full name of the gRPC service (KMS2-WIRE-01).
pub const SERVICE: &str = "v2.KeyManagementService";

/// Longest ciphertext, key_id and wrapped seed that an API server takes, in bytes (KMS2-ENC-05, STATUS-04).
pub const MAX_FIELD_BYTES: usize = 1024;

/// Most bytes that all annotation keys and values may have together (KMS2-ENC-08).
pub const MAX_ANNOTATION_BYTES: usize = 32 * 1024;
