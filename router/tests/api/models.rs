//! Speech models over the API: what there is, and a download from a mirror on loopback.

use crate::support::{Client, installation_with};
use axum::{Router, routing::get};
use data_encoding::HEXLOWER;
use frontdesk_router::agents::store::Scope;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// A mirror that has one of the two models that the manifest names.
async fn mirror() -> (String, tempfile::TempDir) {
    let octets: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let folder = tempfile::tempdir().unwrap();
    let model = |file: &str| {
        json!({
            "file": file, "url": format!("https://models.example/{file}"), "size": octets.len(),
            "sha256": HEXLOWER.encode(&Sha256::digest(&octets)),
        })
    };
    let manifest = json!({ "toy": model("ggml-toy.bin"), "lost": model("ggml-lost.bin") });
    let file = folder.path().join("models.json");
    std::fs::write(&file, manifest.to_string()).unwrap();
    let served = octets.clone();
    let routes = Router::new().route("/ggml-toy.bin", get(move || async move { served }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let text = format!(
        "[voice]\nmodels_mirror = \"http://{address}\"\nmodels_manifest = \"{}\"\n",
        file.display()
    );
    (text, folder)
}

/// Asks until the download of a model is over.
async fn over(client: &Client, name: &str) -> Value {
    for _ in 0..6_000 {
        let model = client.get(&format!("/models/{name}")).await.good();
        if model["pull"]["state"] != "running" {
            return model;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the download of {name} does not end");
}

#[tokio::test]
async fn a_model_is_downloaded_and_what_goes_wrong_is_said() {
    let (config, _folder) = mirror().await;
    let installation = installation_with(&config).await;
    let staff = installation.program(&[Scope::Read, Scope::Approve], None).await;
    let state = |models: &Value, name: &str| {
        let items = models["items"].as_array().unwrap();
        items.iter().find(|one| one["name"] == name).unwrap()["state"].clone()
    };
    let before = staff.get("/models").await.good();
    assert_eq!(state(&before, "whisper:toy"), "absent");

    let asked = staff.post("/models/whisper:toy/pull", json!({})).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let model = over(&staff, "toy").await;
    assert_eq!((&model["pull"]["state"], &model["state"]), (&json!("done"), &json!("here")));
    let file = installation.desk.config.models_dir().join("ggml-toy.bin");
    assert_eq!(std::fs::metadata(file).unwrap().len(), 400_000);
    // Once more does no harm.
    assert_eq!(staff.post("/models/toy/pull", json!({})).await.status, 202);
    assert_eq!(over(&staff, "toy").await["pull"]["state"], "done");

    assert_eq!(staff.post("/models/lost/pull", json!({})).await.status, 202);
    let lost = over(&staff, "whisper:lost").await;
    assert_eq!(lost["pull"]["state"], "failed", "{lost:#}");
    assert!(
        lost["pull"]["why"].as_str().unwrap().contains("no model at http://127.0.0.1"),
        "{lost:#}"
    );
    assert_eq!(lost["state"], "absent");
    assert_eq!(staff.post("/models/nothing/pull", json!({})).await.status, 404);

    let audit = installation.operator().get("/audit").await.good();
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["action"].as_str())
        .filter(|action| *action == "models.pull")
        .collect();
    assert_eq!(actions.len(), 3);
}
