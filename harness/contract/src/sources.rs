//! The short names that sources are written in.

/// Short name and what it stands for. `A` is `kubernetes/apiserver` at commit `24a394e5`, `K` is
/// `kubernetes/kms` at `7dc88c04`, both of July 2026.
pub const SOURCES: &[(&str, &str)] = &[
    ("A", "kubernetes/apiserver"),
    ("AES", "A: pkg/storage/value/encrypt/aes/aes.go"),
    (
        "CACHE",
        "A: pkg/storage/value/encrypt/envelope/kmsv2/cache.go",
    ),
    ("CFG", "A: pkg/server/options/encryptionconfig/config.go"),
    (
        "CTRL",
        "A: pkg/server/options/encryptionconfig/controller/controller.go",
    ),
    (
        "DOC",
        "kubernetes.io, \"Using a KMS provider for data encryption\"",
    ),
    (
        "ENV",
        "A: pkg/storage/value/encrypt/envelope/kmsv2/envelope.go",
    ),
    ("EP", "K: pkg/util/util.go"),
    (
        "GO",
        "grpc-go: backoff, balancer/pickfirst, picker_wrapper.go, clientconn.go",
    ),
    (
        "GRPC",
        "A: pkg/storage/value/encrypt/envelope/kmsv2/grpc_service.go",
    ),
    (
        "IT",
        "kubernetes/kubernetes: \
         test/integration/controlplane/transformation/kmsv2_transformation_test.go",
    ),
    ("K", "kubernetes/kms"),
    ("KEP", "kubernetes/enhancements: KEP-3299"),
    (
        "METRICS",
        "A: pkg/storage/value/encrypt/envelope/metrics/metrics.go, pkg/storage/value/metrics.go, \
         pkg/server/options/encryptionconfig/metrics/metrics.go",
    ),
    ("MOCK", "A: pkg/storage/value/encrypt/envelope/testing/v2"),
    (
        "OBJ",
        "A: pkg/storage/value/encrypt/envelope/kmsv2/v2/api.proto",
    ),
    ("OWN", "this project's judgement of production use"),
    ("PROTO", "K: apis/v2/api.proto"),
    ("STORE", "A: pkg/storage/etcd3/store.go"),
    ("SVC", "K: pkg/service/grpc_service.go"),
    ("TR", "A: pkg/storage/value/transformer.go"),
    (
        "VAL",
        "A: pkg/apis/apiserver/validation/validation_encryption.go",
    ),
    (
        "XN",
        "A: pkg/storage/value/encrypt/aes/aes_extended_nonce.go",
    ),
    ("XNC", "A: pkg/storage/value/encrypt/aes/cache.go"),
];

/// What the short name at the start of a source stands for; `None` for a requirement id or an
/// upstream issue, which speak for themselves.
pub fn expand(source: &str) -> Option<&'static str> {
    let name = source.split(' ').next()?;
    SOURCES
        .iter()
        .find(|(short, _)| *short == name)
        .map(|(_, long)| *long)
}
