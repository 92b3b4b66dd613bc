//! Conformance checks and chaos scenarios for any KMS v2 plugin.
