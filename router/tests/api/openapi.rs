//! The document and the routes say the same.

use crate::support::{Installation, installation};
use axum::http::Method;
use serde_json::Value;
use std::collections::BTreeSet;

/// Every operation of the document, as `GET /users/{id}`.
pub fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods
                .filter(|key| ["get", "post", "put", "patch", "delete"].contains(&key.as_str()))
                .map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

pub async fn document(inst: &Installation) -> Value {
    inst.nobody().get("/openapi.json").await.good()
}

#[tokio::test]
async fn every_route_is_in_the_document_and_every_description_has_a_route() {
    let inst = installation().await;
    let document = document(&inst).await;
    assert_eq!(document["openapi"], "3.1.0");
    let described = operations(&document);
    // What axum routes, from its own table.
    let table = format!("{:?}", inst.local);
    let routed: BTreeSet<String> = table
        .split('"')
        .filter_map(|part| part.strip_prefix("/api/v1"))
        .filter(|path| !path.contains("{*") && !path.is_empty() && *path != "/openapi.json")
        .map(str::to_owned)
        .collect();
    let paths: BTreeSet<String> = described.iter().map(|(_, path)| path.clone()).collect();
    assert!(paths.len() > 40, "{paths:?}");
    assert_eq!(routed, paths);
    // A method that is not described is not taken.
    for path in &paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let concrete =
                path.replace("{id}", "1").replace("{part}", "0").replace("{delivery}", "1");
            let concrete = concrete.replace("{name}", "sales").replace("{address}", "a@x.example");
            let status = inst
                .nobody()
                .raw(method.parse::<Method>().unwrap(), &concrete, None)
                .await
                .status()
                .as_u16();
            let is_described = described.contains(&(method.to_owned(), path.clone()));
            assert_eq!(status != 405, is_described, "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn every_operation_says_what_it_needs_and_how_it_fails() {
    let inst = installation().await;
    let document = document(&inst).await;
    let mut names = BTreeSet::new();
    for (method, path) in operations(&document) {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "two operations are named {name}");
        let text = operation["description"].as_str().unwrap();
        assert!(text.contains("Needs "), "{method} {path}: {text}");
        let problem =
            &operation["responses"]["400"]["content"]["application/problem+json"]["schema"];
        assert_eq!(problem["$ref"], "#/components/schemas/Problem", "{method} {path}");
        assert_eq!(
            operation["security"].is_array(),
            !text.contains("Needs nothing"),
            "{method} {path}"
        );
    }
    // Every name that is referred to is there.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}
