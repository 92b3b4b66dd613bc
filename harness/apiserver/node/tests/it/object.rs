//! Stored objects are, byte for byte, those of a kube-apiserver.

use kms_apiserver_api::Resource;
use kms_apiserver_node::object::{Object, protobuf};
use serde_json::json;

/// What kube-apiserver v1.37.2 put into etcd for a Secret without encryption.
const RECORDED: &str = "6b3873000a0c0a027631120653656372657412b9010aa6010a097261772d706c61696e12001a0764656661756c7422002a2430303566303737352d396636652d343532382d626264652d323137393366653736623466320038004208088ebc99d80610008a01570a07756e6b6e6f776e12065570646174651a0276312208088ebc99d806100032084669656c647356313a2a0a287b22663a64617461223a7b222e223a7b7d2c22663a61223a7b7d7d2c22663a74797065223a7b7d7d420012060a01611201781a064f70617175651a002200";

fn recorded() -> Vec<u8> {
    (0..RECORDED.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&RECORDED[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn a_recorded_secret_is_read_and_written_back_alike() {
    let secret = protobuf::decode(Resource::Secrets, &recorded(), 424).unwrap();
    assert_eq!(
        secret.to_json(true),
        json!({
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": {
                "name": "raw-plain",
                "namespace": "default",
                "uid": "005f0775-9f6e-4528-bbde-21793fe76b4f",
                "resourceVersion": "424",
                "creationTimestamp": "2026-11-25T04:03:26Z",
                "managedFields": [{
                    "manager": "unknown", "operation": "Update", "apiVersion": "v1", "time": "2026-11-25T04:03:26Z",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {".": {}, "f:a": {}}, "f:type": {}},
                }],
            },
            "data": {"a": "eA=="},
            "type": "Opaque",
        })
    );
    assert_eq!(protobuf::encode(&secret), recorded());
    // and through JSON, as a client that reads and puts does
    let again = Object::from_json(Resource::Secrets, &secret.to_json(true)).unwrap();
    assert_eq!(protobuf::encode(&again), recorded());
}

#[test]
fn a_value_of_another_kind_is_refused() {
    let error = protobuf::decode(Resource::ConfigMaps, &recorded(), 1).unwrap_err();
    assert!(error.contains("\"Secret\", not a ConfigMap"), "{error}");
    assert!(protobuf::decode(Resource::Secrets, b"k8s\0\xff", 1).is_err());
    assert!(protobuf::decode(Resource::Secrets, b"nonsense", 1).is_err());
}

#[test]
fn json_in_the_store_is_read_too() {
    let stored = br#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"b"},"data":{"k":"v"}}"#;
    let map = protobuf::decode(Resource::ConfigMaps, stored, 7).unwrap();
    assert_eq!(map.to_json(true)["data"], json!({"k": "v"}));
    assert_eq!(map.meta.resource_version, "7");
}

#[test]
fn a_wrong_base64_text_is_refused_without_showing_it() {
    let json = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": "c2VjcmV0!"}});
    let error = Object::from_json(Resource::Secrets, &json).unwrap_err();
    assert!(
        error.contains("illegal base64 data") && !error.contains("c2VjcmV0"),
        "{error}"
    );
}
