use super::*;

const INDEX: &str = "<meta content=\"__FRONTDESK_AGENT__\"><meta content=\"__FRONTDESK_AGENT_NAME__\">\
     <meta content=\"__FRONTDESK_ABOUT__\"><meta content=\"__FRONTDESK_INSTANCE__\">\
     <meta content=\"__FRONTDESK_TOKEN__\"><p>__FRONTDESK_OTHER__</p>";

fn pages() -> Pages {
    Pages::of(&[
        ("assets/talk-4f.js", b"start()"),
        ("favicon.svg", b"<svg/>"),
        (PAGE, INDEX.as_bytes()),
        (SIGNIN, b"<p>__FRONTDESK_AGENT__</p>"),
    ])
}

async fn text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn each_value_is_filled_in_once_and_cannot_leave_its_place() {
    let page = TalkPage {
        agent: "hello",
        agent_name: "\"><script>alert(1)</script>",
        about: "Tom & Ann's\r\n__FRONTDESK_TOKEN__",
        instance: "",
        token: "a.b-c_d",
    };
    let response = pages().talk_page(&page);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        text(response).await,
        "<meta content=\"hello\">\
         <meta content=\"&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\">\
         <meta content=\"Tom &amp; Ann&#39;s\u{fffd}\u{fffd}__FRONTDESK_TOKEN__\">\
         <meta content=\"\"><meta content=\"a.b-c_d\"><p>__FRONTDESK_OTHER__</p>"
    );
}

#[test]
fn the_page_is_kept_nowhere_and_may_do_only_what_it_was_made_for() {
    let response = pages().talk_page(&TalkPage::default());
    let policy = header(&response, "content-security-policy");
    assert_eq!(policy, POLICY);
    assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'none'"));
    assert_eq!(header(&response, "permissions-policy"), "microphone=(self)");
    assert_eq!(header(&response, "cache-control"), "no-store");
    assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&response, "referrer-policy"), "no-referrer");
}

#[tokio::test]
async fn the_sign_in_page_is_sent_as_it_is_with_the_same_policy_and_without_a_microphone() {
    let response = pages().signin_page();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-security-policy"), POLICY);
    assert_eq!(header(&response, "permissions-policy"), "microphone=()");
    assert_eq!(header(&response, "cache-control"), "no-store");
    assert_eq!(header(&response, "referrer-policy"), "no-referrer");
    assert_eq!(text(response).await, "<p>__FRONTDESK_AGENT__</p>");
}

#[test]
fn the_policy_is_the_one_the_page_is_made_for() {
    let readme = include_str!("../../../../inbox-ui/README.md");
    assert!(readme.contains(&format!("Content-Security-Policy: {POLICY}\n")));
}

#[tokio::test]
async fn files_are_kept_by_the_browser_and_asked_for_again_only_by_their_tag() {
    let pages = pages();
    let nothing = HeaderMap::new();
    let script = pages.asset("assets/talk-4f.js", &nothing);
    assert_eq!(header(&script, "content-type"), "text/javascript; charset=utf-8");
    assert_eq!(header(&script, "cache-control"), "public, max-age=31536000, immutable");
    let tag = header(&script, "etag").to_owned();
    assert_eq!(text(script).await, "start()");
    // Its name does not change with its content.
    let icon = pages.asset("favicon.svg", &nothing);
    assert_eq!(header(&icon, "cache-control"), "public, max-age=3600");
    assert_ne!(header(&icon, "etag"), tag);

    for (held, status) in [
        (tag.clone(), 304),
        (format!("\"other\", W/{tag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        let mut request = HeaderMap::new();
        request.insert(header::IF_NONE_MATCH, held.parse().unwrap());
        let response = pages.asset("assets/talk-4f.js", &request);
        assert_eq!(response.status(), status, "{held}");
        assert_eq!(header(&response, "etag"), tag);
    }
}

#[test]
fn nothing_but_the_files_of_the_page_is_served() {
    for path in [
        "",
        "index.html",
        "signin.html",
        "assets/",
        "assets/../favicon.svg",
        "../Cargo.toml",
        "hello",
    ] {
        let response = pages().asset(path, &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_program_without_the_page_says_how_to_build_it() {
    let none = Pages::of(&[]);
    for response in [none.talk_page(&TalkPage::default()), none.signin_page()] {
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(header(&response, "content-security-policy"), POLICY);
        assert!(text(response).await.contains("make run"));
    }
}

/// `scripts/test.sh` builds the page before the program.
#[tokio::test]
async fn the_built_pages_have_every_place_and_load_only_what_is_there() {
    if PAGES.page.is_none() || PAGES.signin.is_none() {
        let required = std::env::var("FRONTDESK_PEERS").is_ok_and(|peers| peers == "required");
        assert!(!required, "inbox-ui/talk/dist has not been built");
        eprintln!("skipped: inbox-ui/talk/dist has not been built");
        return;
    }
    let page = TalkPage {
        agent: "value-one",
        agent_name: "value-two",
        about: "value-three",
        instance: "value-four",
        token: "value-five",
    };
    let html = text(talk_page(&page)).await;
    for value in ["one", "two", "three", "four", "five"] {
        assert_eq!(html.matches(&format!("content=\"value-{value}\"")).count(), 1, "{value}");
    }
    let signin = text(signin_page()).await;
    assert!(signin.contains("id=\"new-password\""));
    for html in [html, signin] {
        assert!(!html.contains("__FRONTDESK_"));
        // What the policy would not let run or show.
        assert!(
            !html.contains("<style") && !html.contains(" style=") && !html.contains("<script>")
        );
        let loaded: Vec<&str> = ["src=\"", "href=\""]
            .iter()
            .flat_map(|attribute| html.split(attribute).skip(1))
            .filter_map(|rest| rest.split('"').next())
            .filter(|address| *address != "#")
            .collect();
        assert!(loaded.len() >= 3, "{loaded:?}");
        for address in loaded {
            let path = address.strip_prefix("/talk/").unwrap_or_else(|| panic!("{address}"));
            assert_eq!(asset(path, &HeaderMap::new()).status(), StatusCode::OK, "{address}");
        }
    }
}
