//! Domains, addresses and agent names in a config, each checked into the one form the rest of the
//! program compares: lower-case ASCII.

use std::net::IpAddr;

use super::settings::LOCAL_DOMAIN;

/// An agent's name opens a signed address, `name+r<token>@domain`, of which 64 octets are allowed
/// before the `@` (RFC 5321 section 4.5.3.1.1) and the token needs the rest.
const AGENT_NAME_MAX: usize = 28;
/// RFC 5321 section 4.5.3.1.1.
const LOCAL_PART_MAX: usize = 64;
/// RFC 1035 section 2.3.4.
const DOMAIN_MAX: usize = 253;
/// Local parts that exist in every domain (RFC 5321 section 4.5.1, RFC 2142) or that stand for
/// machines, so that no agent answers as them.
const RESERVED: [&str; 3] = ["postmaster", "abuse", "mailer-daemon"];

/// A domain as its lower-case A-labels, or what to say about it.
pub(super) fn domain(text: &str) -> Result<String, String> {
    if text.contains("://") || text.contains('/') {
        return Err(format!(
            "\"{text}\" is a web address. Write only the domain, such as \"example.org\"."
        ));
    }
    if let Some((_, after)) = text.rsplit_once('@') {
        return Err(format!("\"{text}\" is an address. Write only the domain, \"{after}\"."));
    }
    if text.starts_with('[') || text.parse::<IpAddr>().is_ok() {
        return Err(format!(
            "\"{text}\" is an IP address. Mail is addressed to a domain, such as \"example.org\"."
        ));
    }
    if let Some(without) = text.strip_suffix('.') {
        return Err(format!("\"{text}\" ends in a dot. Write \"{without}\"."));
    }
    let ascii = match idna::domain_to_ascii_strict(text) {
        Ok(ascii) if !ascii.is_empty() && ascii.len() <= DOMAIN_MAX => ascii,
        _ => {
            return Err(format!(
                "\"{text}\" is not a domain. Between its dots stand 1 to 63 letters, digits or \
                 hyphens, as in \"example.org\"."
            ));
        }
    };
    if ascii != LOCAL_DOMAIN && !ascii.contains('.') {
        return Err(format!(
            "\"{text}\" has no dot. Write the whole domain, such as \"{ascii}.example.org\"."
        ));
    }
    Ok(ascii)
}

/// `local@domain` as a pair in lower case, or what to say about it.
pub(super) fn address(text: &str) -> Result<(String, String), String> {
    let Some((local, domain_text)) = text.rsplit_once('@') else {
        return Err(format!(
            "\"{text}\" is not an address. Write it with its domain, such as \"{text}@example.org\"."
        ));
    };
    let domain = domain(domain_text)?;
    let local = local.to_ascii_lowercase();
    if !is_plain_local_part(&local) || local.len() > LOCAL_PART_MAX {
        return Err(format!(
            "\"{text}\" is not an address we can take. Before the @ stand 1 to {LOCAL_PART_MAX} \
             letters, digits, dots, hyphens or underscores."
        ));
    }
    Ok((local, domain))
}

/// An address that an agent may have. What follows a `+` is a tag or a signed token.
pub(super) fn agent_address(text: &str) -> Result<(String, String), String> {
    if let Some((base, tag)) = text.split_once('+') {
        let domain = tag.rsplit_once('@').map_or("example.org", |(_, domain)| domain);
        return Err(format!(
            "\"{text}\" has a tag. Write \"{base}@{domain}\"; every +tag of it then works."
        ));
    }
    let (local, domain) = address(text)?;
    if RESERVED.contains(&local.as_str()) {
        return Err(format!(
            "\"{text}\" belongs to no agent: mail to {local} always goes to a person for review."
        ));
    }
    Ok((local, domain))
}

/// An agent's name in lower case, or what to say about it.
pub(super) fn agent_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    if name.len() > AGENT_NAME_MAX {
        return Err(format!(
            "the name \"{text}\" has {} characters; at most {AGENT_NAME_MAX} leave room for the \
             signed part of a reply address.",
            name.len()
        ));
    }
    if name.contains('@') {
        return Err(format!(
            "\"{text}\" is an address. Write only the name here, and addresses under `addresses`."
        ));
    }
    if !is_plain_local_part(&name) {
        return Err(format!(
            "\"{text}\" is not a name. Use letters and digits, with dots, hyphens or underscores \
             between them."
        ));
    }
    if RESERVED.contains(&name.as_str()) {
        return Err(format!(
            "no agent can be named \"{text}\": mail to {name} always goes to a person for review."
        ));
    }
    Ok(name)
}

/// `http://host` or `https://host:port`, without a path.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err(format!("\"{text}\" has no scheme. Write \"https://{text}\"."));
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !path.is_empty() {
        let without = text.strip_suffix(path).unwrap_or(&text);
        return Err(format!("\"{text}\" has a path. Write \"{without}\"."));
    }
    let uri: Result<axum::http::uri::Authority, _> = host.parse();
    match uri {
        Ok(authority) if !authority.host().is_empty() && !host.contains('@') => Ok(text),
        _ => Err(format!(
            "\"{text}\" is not an origin. Write a scheme and a host, such as \
             \"https://desk.example.org\"."
        )),
    }
}

/// A dot-atom (RFC 5322 section 3.2.3) of the characters that no mail program trips over, and that
/// begins and ends in a letter or digit.
fn is_plain_local_part(local: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    local.starts_with(plain)
        && local.ends_with(plain)
        && !local.contains("..")
        && local.chars().all(|c| plain(c) || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_become_lower_case_a_labels() {
        for (text, ascii) in [
            ("Example.ORG", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
            ("a-b.example.co.uk", "a-b.example.co.uk"),
        ] {
            assert_eq!(domain(text).as_deref(), Ok(ascii));
        }
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}example.org", "abcdefgh.".repeat(30));
        for text in [
            "",
            ".",
            "example..org",
            "example.org.",
            "-a.example",
            "exa mple.org",
            "192.0.2.1",
            "[192.0.2.1]",
            "2001:db8::1",
            "https://example.org",
            "me@example.org",
            "mailhost",
            "a_b.example",
            &long_label,
            &long_name,
            "exa\nmple.org",
        ] {
            assert!(domain(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn agent_names_leave_room_for_the_token() {
        assert_eq!(agent_name("Support").as_deref(), Ok("support"));
        assert!(agent_name(&"a".repeat(28)).is_ok());
        for name in [&"a".repeat(29), "", "a+b", "a b", "-a", "a.", "a..b", "postmaster", "Abuse"] {
            assert!(agent_name(name).is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn addresses_are_folded_and_tags_refused() {
        assert_eq!(
            agent_address("Help.Desk@Example.org"),
            Ok(("help.desk".into(), "example.org".into()))
        );
        for text in ["help", "help+a@example.org", "@example.org", "postmaster@example.org", "a@b"]
        {
            assert!(agent_address(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        for text in ["http://localhost:8080", "https://desk.example.org", "http://[::1]:8080"] {
            assert_eq!(origin(text).as_deref(), Ok(text));
        }
        for text in ["desk.example.org", "https://a/b", "https://", "https://u@h", "ftp://a"] {
            assert!(origin(text).is_err(), "{text:?} was taken");
        }
    }
}
