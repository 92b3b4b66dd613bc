//! What goes over the socket: service, methods, messages, limits.
//!
//! Not for what the values mean; that is with Status, Encrypt and Decrypt.

use crate::requirement::Basis::{Caller, Proto};
use crate::requirement::Confidence::{Code, Derived, GrpcGo, Measured};
use crate::requirement::Level::Must;
use crate::requirement::{Requirement, apiserver, both, plugin};

/// Wire format of the plugin API.
pub static WIRE: &[Requirement] = &[
    both("KMS2-WIRE-01", Must, Proto, &[Code, Measured])
        .title("Service and method names")
        .source("PROTO; K apis/v2/api_grpc.pb.go")
        .says(
            "The service is called `v2.KeyManagementService` and serves three unary methods, no \
             more: `/v2.KeyManagementService/Status`, `/v2.KeyManagementService/Encrypt` and \
             `/v2.KeyManagementService/Decrypt`.",
        ),
    both("KMS2-WIRE-02", Must, Proto, &[Measured])
        .title("StatusRequest is empty")
        .source("PROTO")
        .says(
            "A `StatusRequest` has no field at all, so the message that travels is zero bytes \
             long.",
        ),
    both("KMS2-WIRE-03", Must, Proto, &[Measured])
        .title("StatusResponse fields")
        .source("PROTO")
        .says(
            "A `StatusResponse` carries three strings: `version` under number 1, `healthz` under 2 \
             and `key_id` under 3.",
        ),
    both("KMS2-WIRE-04", Must, Proto, &[Measured])
        .title("EncryptRequest fields")
        .source("PROTO")
        .says(
            "An `EncryptRequest` carries the bytes `plaintext` under number 1 and the string `uid` \
             under 2.",
        ),
    both("KMS2-WIRE-05", Must, Proto, &[Measured])
        .title("EncryptResponse fields")
        .source("PROTO")
        .says(
            "An `EncryptResponse` carries the bytes `ciphertext` under number 1, the string \
             `key_id` under 2 and under 3 the map `annotations` from string to bytes.",
        ),
    both("KMS2-WIRE-06", Must, Proto, &[Measured])
        .title("DecryptRequest fields")
        .source("PROTO")
        .says(
            "A `DecryptRequest` carries the bytes `ciphertext` under number 1, the strings `uid` \
             under 2 and `key_id` under 3, and under 4 the map `annotations` from string to bytes.",
        ),
    both("KMS2-WIRE-07", Must, Proto, &[Measured])
        .title("DecryptResponse fields")
        .source("PROTO")
        .says(
            "A `DecryptResponse` carries the bytes `plaintext` under number 1; whatever else \
             drafts of the API had is gone.",
        ),
    plugin("KMS2-WIRE-08", Must, Proto, &[Derived, Measured])
        .title("Strings are UTF-8")
        .source("PROTO")
        .says(
            "Every `key_id` and every annotation key is valid UTF-8: a Go client cannot unmarshal \
             the message otherwise, and the call ends in INTERNAL with `grpc: failed to unmarshal \
             the received message: string field contains invalid UTF-8`, before any KMS rule is \
             looked at.",
        ),
    apiserver("KMS2-WIRE-09", Must, Proto, &[Derived, Measured])
        .title("Unknown fields are ignored")
        .source("PROTO")
        .says(
            "The client skips response fields that it does not know, among them known numbers with \
             another wire type, and lets the last of a repeated scalar win, so that a plugin on a \
             later proto still fits; bytes that cannot be parsed give INTERNAL, whose text has an \
             ordinary or a no-break blank after `proto:` and is therefore never compared exactly.",
        ),
    apiserver("KMS2-WIRE-10", Must, Caller, &[GrpcGo, Measured])
        .title("Receive limit of 4 MiB")
        .source("GRPC")
        .says(
            "The client takes messages of at most 4194304 bytes; one byte more fails with \
             RESOURCE_EXHAUSTED and `grpc: received message larger than max (4194305 vs. \
             4194304)`, before any KMS rule is looked at.",
        ),
    apiserver("KMS2-WIRE-11", Must, Caller, &[Derived, Measured])
        .title("Map entries are written in full")
        .source("OBJ; PROTO")
        .says(
            "An encoded map entry always holds its key and its value, also an empty value \
             (`{\"a.b\": \"\"}` inside the stored object is `22 07 0a 03 61 2e 62 12 00`), while a \
             reader takes entries that leave either out.",
        ),
    plugin("KMS2-WIRE-12", Must, Caller, &[GrpcGo, Measured])
        .title("Plain HTTP/2 as grpc-go speaks it")
        .source("GRPC; GO")
        .says(
            "The plugin serves cleartext HTTP/2 by prior knowledge to a client that sends an empty \
             SETTINGS frame, waits for the server's SETTINGS, and then posts uncompressed \
             `application/grpc` bodies with user agent grpc-go, `te: trailers`, \
             `grpc-accept-encoding: gzip` and `grpc-timeout`, but no metadata and no credentials \
             of its own.",
        ),
];
