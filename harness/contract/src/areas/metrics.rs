//! Metrics of the API server about KMS v2: names, labels, buckets.

use crate::requirement::Basis::Caller;
use crate::requirement::Confidence::{Code, Measured};
use crate::requirement::Level::Should;
use crate::requirement::{Requirement, apiserver};

/// Metrics of the API server.
pub static MET: &[Requirement] = &[
    apiserver("KMS2-MET-01", Should, Caller, &[Code, Measured])
        .title("Latency of calls")
        .source("METRICS")
        .says(
            "`apiserver_envelope_encryption_kms_operations_latency_seconds` is a histogram over \
             provider_name, method_name (the full path) and grpc_status_code (Go's name, \
             `Code(99)` for a number without one, or `unknown-non-grpc`) in 20 buckets of 0.0001 × \
             2^k; only v2 feeds it.",
        ),
    apiserver("KMS2-MET-02", Should, Caller, &[Code, Measured])
        .title("Uses of a key_id")
        .source("METRICS")
        .says(
            "`apiserver_envelope_encryption_key_id_hash_total` counts over transformation_type \
             (`from_storage`, `to_storage`), provider_name, key_id_hash and apiserver_id_hash: a \
             read when its seed is there and before it is opened, a write after sealing.",
        ),
    apiserver("KMS2-MET-03", Should, Caller, &[Code, Measured])
        .title("Last use of a key_id")
        .source("METRICS")
        .says(
            "`apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds` is a gauge with \
             the labels of KMS2-MET-02.",
        ),
    apiserver("KMS2-MET-04", Should, Caller, &[Code, Measured])
        .title("Last Status with a key_id")
        .source("METRICS")
        .says(
            "`apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds` is a gauge \
             over provider_name, key_id_hash and apiserver_id_hash that every Status with a valid \
             key_id sets, a sick one included.",
        ),
    apiserver("KMS2-MET-05", Should, Caller, &[Code, Measured])
        .title("Bad key_ids from Status")
        .source("METRICS")
        .says(
            "`apiserver_envelope_encryption_invalid_key_id_from_status_total` counts over \
             provider_name and error, which is `empty` or `too_long`.",
        ),
    apiserver("KMS2-MET-06", Should, Caller, &[Code, Measured])
        .title("Size of the decrypt cache")
        .source("METRICS")
        .since(29)
        .says(
            "`apiserver_envelope_encryption_dek_source_cache_size` is a gauge over provider_name \
             that each insert sets.",
        ),
    apiserver("KMS2-MET-07", Should, Caller, &[Code, Measured])
        .title("Series of key_ids are bounded")
        .source("METRICS")
        .says(
            "The series of KMS2-MET-02 and -03 (reads and writes together) and those of \
             KMS2-MET-04 are each kept for the 100 label sets used last; what falls out is \
             deleted.",
        ),
    apiserver("KMS2-MET-08", Should, Caller, &[Code])
        .title("Metrics of v1")
        .source("METRICS")
        .says(
            "`apiserver_envelope_encryption_dek_cache_fill_percent` and \
             `apiserver_envelope_encryption_dek_cache_inter_arrival_time_seconds` (over \
             transformation_type, 10 buckets of 60 × 2^k) exist, but v2 does not feed them.",
        ),
    apiserver("KMS2-MET-09", Should, Caller, &[Code, Measured])
        .title("Transformations")
        .source("METRICS")
        .says(
            "`apiserver_storage_transformation_operations_total` counts over resource (from 1.32 \
             on), transformation_type, transformer_prefix (such as `k8s:enc:kms:v2:<name>:`, \
             `identity` or `unknown`) and status; beside it stand \
             `apiserver_storage_transformation_duration_seconds` (successes, 25 buckets of 5e-6 × \
             2^k), `apiserver_storage_envelope_transformation_cache_misses_total`, \
             `apiserver_storage_data_key_generation_duration_seconds` (14 such buckets) and \
             `apiserver_storage_data_key_generation_failures_total`.",
        ),
    apiserver("KMS2-MET-10", Should, Caller, &[Code, Measured])
        .title("Reloads")
        .source("METRICS")
        .since(30)
        .says(
            "`apiserver_encryption_config_controller_automatic_reloads_total` counts over status \
             (`success`, `failure`) and apiserver_id_hash; \
             `apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds` has \
             the same labels and, from 1.34 on, \
             `apiserver_encryption_config_controller_last_config_info` is 1 over apiserver_id_hash \
             and hash; the separate counters of 1.29 ended with 1.34.",
        ),
    apiserver("KMS2-MET-11", Should, Caller, &[Code])
        .title("Hash of the server's id")
        .source("METRICS")
        .since(29)
        .says(
            "From 1.29 on the label apiserver_id_hash is there; like the other hash labels it is \
             `sha256:<hex>` of the value, or empty for an empty one.",
        ),
];
