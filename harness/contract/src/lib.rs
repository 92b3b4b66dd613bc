//! The KMS v2 contract as numbered requirements.
