//! Signing in and out, and the brakes on guessing.

use crate::support::{ORIGIN, PASSWORD, installation, installation_with};
use frontdesk_router::{agents::store::Scope, http};
use jiff::SignedDuration;
use serde_json::json;

#[tokio::test]
async fn the_first_owner_comes_in_by_a_link_that_works_once() {
    let inst = installation().await;
    let link = http::first_owner(&inst.desk).await.unwrap().unwrap();
    assert!(link.starts_with("http://127.0.0.1:8080/signin#"), "{link}");
    assert_eq!(http::first_owner(&inst.desk).await.unwrap(), None, "there is an owner now");
    let token = link.split_once('#').unwrap().1;
    let look = inst.nobody().post("/session/link/look", json!({ "token": token })).await.good();
    assert_eq!((&look["name"], &look["role"]), (&json!("owner"), &json!("owner")));
    let short = json!({ "token": token, "password": "short" });
    let short = inst.nobody().post("/session/link", short).await;
    assert_eq!(short.status, 422, "and the link still works");

    let owner = inst.sign_in_by(&link).await;
    let me = owner.get("/session").await.good();
    assert_eq!(me["role"], "owner");
    assert_eq!(me["agents"], json!(null));
    let again = json!({ "token": token, "password": PASSWORD });
    assert_eq!(inst.nobody().post("/session/link", again).await.status, 404);
    let by_password = json!({ "name": "Owner", "password": PASSWORD });
    inst.browser(inst.nobody().post("/session", by_password).await);
}

#[tokio::test]
async fn a_link_expires_and_a_new_one_ends_the_old() {
    let inst = installation().await;
    let first = http::first_owner(&inst.desk).await.unwrap().unwrap();
    let users = inst.operator().ids("/users").await;
    let second = inst.operator().post(&format!("/users/{}/link", users[0]), json!({})).await.good();
    let second = second["link"].as_str().unwrap().to_owned();
    let redeem = |link: &str| {
        let body = json!({ "token": link.split_once('#').unwrap().1, "password": PASSWORD });
        let client = inst.nobody();
        async move { client.post("/session/link", body).await.status }
    };
    assert_eq!(redeem(&first).await, 404);
    inst.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(redeem(&second).await, 404);
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_and_pages_must_know_the_token() {
    let inst = installation().await;
    let link = http::first_owner(&inst.desk).await.unwrap().unwrap();
    let token = link.split_once('#').unwrap().1;
    let body = json!({ "token": token, "password": PASSWORD });
    let answer = inst.nobody().post("/session/link", body).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "plain http is for this machine");
    let owner = inst.browser(answer);
    let user = json!({ "name": "ann", "role": "viewer" });
    for forged in [
        owner.clone().without("x-csrf-token"),
        owner.clone().with("x-csrf-token", "AAAA"),
        owner.clone().with("origin", "http://evil.example"),
        owner.clone().with("origin", "null"),
        owner.clone().without("origin"),
        owner.clone().without("origin").with("sec-fetch-site", "cross-site"),
        owner.clone().with("host", "evil.example"),
    ] {
        assert_eq!(forged.post("/users", user.clone()).await.status, 403);
    }
    let same = owner.clone().without("origin").with("sec-fetch-site", "same-origin");
    assert_eq!(same.post("/users", user).await.status, 201);
    // Reading takes no token, but no other page reads either.
    assert_eq!(owner.clone().without("x-csrf-token").get("/users").await.status, 200);
    assert_eq!(owner.with("origin", "http://evil.example").get("/users").await.status, 403);
}

#[tokio::test]
async fn under_tls_the_cookie_is_secure_and_browsers_are_told_to_stay() {
    let inst = installation_with("[http]\npublic_origin = \"https://desk.example\"\n").await;
    let link = http::first_owner(&inst.desk).await.unwrap().unwrap();
    assert!(link.starts_with("https://desk.example/signin#"), "{link}");
    let body = json!({ "token": link.split_once('#').unwrap().1, "password": PASSWORD });
    let answer = inst.nobody().with("host", "desk.example").post("/session/link", body).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-") && cookie.contains("Secure"), "{cookie}");
    assert!(answer.headers.contains_key("strict-transport-security"));
}

#[tokio::test]
async fn sessions_end_when_idle_when_old_and_everywhere_at_once() {
    let inst = installation().await;
    let ann = inst.user("ann", "viewer", None).await;
    for _ in 0..5 {
        inst.clock.advance(SignedDuration::from_hours(6 * 24));
        let alive = ann.get("/session").await.status;
        assert_eq!(alive, if inst.clock_days() < 30 { 200 } else { 401 });
    }
    let sign_in = || async {
        let body = json!({ "name": "ann", "password": PASSWORD });
        inst.browser(inst.nobody().post("/session", body).await)
    };
    let ann = sign_in().await;
    inst.clock.advance(SignedDuration::from_hours(7 * 24 + 1));
    assert_eq!(ann.get("/session").await.status, 401, "nobody was there for a week");

    let (one, two) = (sign_in().await, sign_in().await);
    assert_eq!(one.delete("/session").await.status, 204);
    assert_eq!((one.get("/session").await.status, two.get("/session").await.status), (401, 200));
    let three = sign_in().await;
    assert_eq!(two.delete("/session/all").await.status, 204);
    assert_eq!((two.get("/session").await.status, three.get("/session").await.status), (401, 401));

    let (four, five) = (sign_in().await, sign_in().await);
    let change = json!({ "current": PASSWORD, "new": "quite another password" });
    let six = inst.browser(four.put("/session/password", change).await);
    for (client, status) in [(&four, 401), (&five, 401), (&six, 200)] {
        assert_eq!(client.get("/session").await.status, status);
    }
    let old = json!({ "name": "ann", "password": PASSWORD });
    assert_eq!(inst.nobody().post("/session", old).await.status, 401);
}

#[tokio::test]
async fn guessing_is_braked_per_account_and_unknown_names_answer_alike() {
    let inst = installation().await;
    inst.user("ann", "viewer", None).await;
    let guess = |name: &str, from: &str| {
        let (client, body) =
            (inst.nobody().from(from), json!({ "name": name, "password": "not it at all" }));
        async move { client.post("/session", body).await }
    };
    let (known, unknown) = (guess("ann", "192.0.2.1").await, guess("bob", "192.0.2.2").await);
    assert_eq!((known.status, known.json()), (401, unknown.json()));
    for _ in 0..4 {
        assert_eq!(guess("ann", "192.0.2.1").await.status, 401);
    }
    let braked = guess("ann", "198.51.100.7").await;
    assert_eq!(braked.status, 429, "from wherever it comes");
    assert!(braked.headers.contains_key("retry-after"));
    assert_eq!(guess("carl", "192.0.2.1").await.status, 401, "others are not");
}

#[tokio::test]
async fn tokens_are_shown_once_expire_and_are_revoked() {
    let inst = installation().await;
    let body = json!({ "name": "ci", "scopes": ["read"], "expires_at": "2026-11-22T10:00:00Z" });
    let made = inst.operator().post("/tokens", body).await.good();
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("fd_") && secret.len() == 46, "{secret}");
    let listed = inst.operator().get("/tokens").await.good();
    assert!(!listed.to_string().contains(secret));
    let program = inst.nobody().with("authorization", &format!("Bearer {secret}"));
    assert_eq!(program.get("/session").await.good()["name"], "ci");
    let used = inst.operator().get("/tokens").await.good()["items"][0]["last_used_at"].clone();
    assert_eq!(used, "2026-11-21T10:00:00Z");
    inst.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(program.get("/session").await.status, 401);

    let program = inst.program(&[Scope::Read], None).await;
    let id = inst.operator().ids("/tokens").await[0];
    assert_eq!(program.get("/agents").await.status, 200);
    assert_eq!(inst.operator().delete(&format!("/tokens/{id}")).await.status, 204);
    assert_eq!(program.get("/agents").await.status, 401);
    assert_eq!(inst.operator().delete(&format!("/tokens/{id}")).await.status, 409);
    for wrong in ["fd_", "Basic YTpi", "Bearer", "Bearer x", "Bearer fd_AAAA"] {
        let client = inst.nobody().with("authorization", wrong);
        assert_eq!(client.get("/agents").await.status, 401, "{wrong}");
    }
}

#[tokio::test]
async fn wishes_that_make_no_sense_are_refused_with_the_reason() {
    let inst = installation().await;
    let operator = inst.operator();
    for (path, body) in [
        ("/users", json!({ "name": "", "role": "viewer" })),
        ("/users", json!({ "name": "a b", "role": "viewer" })),
        ("/users", json!({ "name": "ann", "role": "king" })),
        ("/users", json!({ "name": "ann", "role": "owner", "agents": ["sales"] })),
        ("/users", json!({ "name": "ann", "role": "viewer", "agents": ["nobody"] })),
        ("/users", json!({ "name": "ann", "role": "viewer", "email": "not an address" })),
        ("/tokens", json!({ "name": "x", "scopes": [] })),
        ("/tokens", json!({ "name": "x", "scopes": ["fly"] })),
        ("/tokens", json!({ "name": "x", "scopes": ["admin"], "agents": ["sales"] })),
        (
            "/tokens",
            json!({ "name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z" }),
        ),
        ("/tokens", json!({ "name": "x", "scopes": ["read"], "colour": "red" })),
    ] {
        assert_eq!(operator.post(path, body.clone()).await.status, 422, "{path} {body}");
    }
    let ann = json!({ "name": "ann", "role": "owner" });
    let id = operator.post("/users", ann.clone()).await.good()["id"].clone();
    assert_eq!(operator.post("/users", ann).await.status, 409);
    assert_eq!(operator.delete(&format!("/users/{id}")).await.status, 409, "the last owner");
    let demote = operator.patch(&format!("/users/{id}"), json!({ "role": "viewer" })).await;
    assert_eq!(demote.status, 409);
}

#[tokio::test]
async fn what_an_owner_changes_holds_from_the_next_request_on() {
    let inst = installation().await;
    inst.conversation("sales", "ann@x.example", "one").await;
    inst.conversation("help", "ann@x.example", "two").await;
    let bob = inst.user("bob", "reviewer", None).await;
    let id = inst.operator().get("/users").await.good()["items"][0]["id"].clone();
    assert_eq!(bob.ids("/conversations").await.len(), 2);
    inst.operator().patch(&format!("/users/{id}"), json!({ "agents": ["help"] })).await.good();
    assert_eq!(bob.ids("/conversations").await.len(), 1);
    inst.operator().patch(&format!("/users/{id}"), json!({ "role": "viewer" })).await.good();
    let note = bob.post("/conversations/2/notes", json!({ "text": "x" })).await;
    assert_eq!(note.status, 403);
    inst.operator().delete(&format!("/users/{id}")).await;
    assert_eq!(bob.get("/session").await.status, 401);
}

#[tokio::test]
async fn every_answer_says_what_browsers_may_do_with_it() {
    let inst = installation().await;
    for path in ["/session", "/openapi.json", "/nowhere"] {
        let answer = inst.nobody().get(path).await;
        for (name, part) in [
            ("content-security-policy", "default-src 'none'"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            let value = answer.headers[name].to_str().unwrap();
            assert!(value.contains(part), "{path} {name}: {value}");
        }
    }
    let other = inst.nobody().with("host", "evil.example").get("/openapi.json").await;
    assert_eq!(other.status, 403, "a name that was rebound to us");
    let own = inst.nobody().with("origin", ORIGIN).get("/openapi.json").await;
    assert_eq!(own.status, 200);
}
