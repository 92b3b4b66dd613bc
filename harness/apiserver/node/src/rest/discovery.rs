//! What clients ask before they do anything: versions, kinds, and enough OpenAPI for kubectl to leave validation to the
//! server.

use kms_apiserver::version::Version;
use kms_apiserver_api::Resource;
use serde_json::{Map, Value, json};

/// `/version`. Says that it is a simulation.
pub fn version(version: Version) -> Value {
    json!({
        "major": "1",
        "minor": version.minor().to_string(),
        "gitVersion": format!("v1.{}.0+simulated", version.minor()),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "", "platform": "linux/amd64",
    })
}

/// `/api`.
pub fn api() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub fn apis() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})
}

/// `/api/v1`.
pub fn api_v1() -> Value {
    let resources: Vec<Value> = Resource::ALL
        .into_iter()
        .map(|resource| {
            let short = match resource {
                Resource::Secrets => None,
                Resource::ConfigMaps => Some("cm"),
                Resource::Namespaces => Some("ns"),
            };
            let mut entry = json!({
                "name": resource.plural(),
                "singularName": resource.kind().to_lowercase(),
                "namespaced": resource.namespaced(),
                "kind": resource.kind(),
                "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
            });
            if let Some(short) = short {
                entry["shortNames"] = json!([short]);
            }
            entry
        })
        .collect();
    json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": resources})
}

/// `/openapi/v3`.
pub fn openapi() -> Value {
    json!({"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}})
}

/// `/openapi/v3/api/v1`: the paths on which the server checks fields itself.
pub fn openapi_v1() -> Value {
    let mut paths = Map::new();
    for resource in Resource::ALL {
        let kind = json!({"group": "", "version": "v1", "kind": resource.kind()});
        let parameter = json!({"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": true}});
        let operation = |action: &str| {
            json!({
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": kind,
                "parameters": [parameter],
                "responses": {"200": {"description": "OK"}},
            })
        };
        let collection = match resource.namespaced() {
            true => format!("/api/v1/namespaces/{{namespace}}/{}", resource.plural()),
            false => format!("/api/v1/{}", resource.plural()),
        };
        paths.insert(collection.clone(), json!({"post": operation("post")}));
        let object = json!({"put": operation("put"), "patch": operation("patch")});
        paths.insert(format!("{collection}/{{name}}"), object);
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "unversioned"}, "paths": paths})
}
