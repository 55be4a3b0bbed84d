//! Authentication-Results (RFC 8601): ours as text, the pass lines of a forwarder's ARC copy, and the
//! header fields of others that nobody here believes.

use std::fmt::Write as _;

use super::{Authentication, dkim::Dkim, spf::Spf};

/// Longest foreign field read; real ones stay under 2 KiB.
const MAX_FOREIGN: usize = 16 * 1024;
/// Longest value written, in characters; no domain name is longer.
const MAX_VALUE: usize = 255;

/// The value of our Authentication-Results field, folded with CRLF and tab, without the field's name
/// or final CRLF.
///
/// Every piece that comes from outside is written as a token or a quoted string of printable ASCII,
/// so it can neither end the field nor add a result.
pub fn authentication_results(authentication: &Authentication, authserv_id: &str) -> String {
    let a = authentication;
    let mut out = String::with_capacity(512);
    push_value(&mut out, authserv_id);
    if a.local {
        // Nothing was checked (RFC 8601 section 2.2).
        out.push_str("; none");
        return out;
    }
    let _ = write!(out, ";\r\n\tiprev={} policy.iprev=", a.iprev.result.as_str());
    push_value(&mut out, &a.peer.to_string());
    if let Some(name) = &a.iprev.name {
        out.push(' ');
        push_comment(&mut out, name);
    }
    push_spf(&mut out, &a.spf_helo, "helo", &a.helo);
    push_spf(&mut out, &a.spf_mail_from, "mailfrom", &a.spf_mail_from.domain);
    if a.dkim.is_empty() {
        out.push_str(";\r\n\tdkim=none");
    }
    for signature in &a.dkim {
        push_dkim(&mut out, signature);
    }
    let _ = write!(out, ";\r\n\tdmarc={}", a.dmarc.result.as_str());
    push_reason(&mut out, a.dmarc.reason.as_deref());
    if let Some(policy) = a.dmarc.policy {
        let _ = write!(out, " (p={})", policy.as_str());
    }
    if !a.dmarc.domain.is_empty() {
        out.push_str(" header.from=");
        push_value(&mut out, &a.dmarc.domain);
    }
    let _ = write!(out, ";\r\n\tarc={}", a.arc.result.as_str());
    push_reason(&mut out, a.arc.reason.as_deref());
    if let Some(last) = a.arc.hops.last() {
        let _ = write!(out, " (i={})", last.instance);
    }
    out
}

/// Whether a header field of an incoming message is left out of views, forwards and every decision:
/// results that others wrote, and fields by which our own programs speak to each other.
pub fn ignored_header(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    let results = name.contains("authentication-results") && !name.starts_with("arc-");
    let trust = name.starts_with("x-") && (name.contains("-trust") || name.contains("-verified"));
    results
        || trust
        || name.ends_with("received-spf")
        || name.starts_with("x-agent-")
        || name.starts_with("x-frontdesk-")
}

fn push_spf(out: &mut String, spf: &Spf, property: &str, value: &str) {
    let _ = write!(out, ";\r\n\tspf={}", spf.result.as_str());
    push_reason(out, spf.reason.as_deref());
    if !value.is_empty() {
        let _ = write!(out, " smtp.{property}=");
        push_value(out, value);
    }
}

fn push_dkim(out: &mut String, dkim: &Dkim) {
    let _ = write!(out, ";\r\n\tdkim={}", dkim.result.as_str());
    push_reason(out, dkim.reason.as_deref());
    let properties = [
        ("d", &dkim.domain),
        ("s", &dkim.selector),
        ("a", &dkim.algorithm),
        ("b", &dkim.signature_start),
    ];
    for (name, value) in properties {
        if !value.is_empty() {
            let _ = write!(out, " header.{name}=");
            push_value(out, value);
        }
    }
}

fn push_reason(out: &mut String, reason: Option<&str>) {
    if let Some(reason) = reason {
        out.push_str(" reason=");
        push_quoted(out, reason);
    }
}

fn push_value(out: &mut String, value: &str) {
    let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+');
    if !value.is_empty() && value.len() <= MAX_VALUE && value.bytes().all(token) {
        out.push_str(value);
    } else {
        push_quoted(out, value);
    }
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars().take(MAX_VALUE) {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out.push('"');
}

fn push_comment(out: &mut String, text: &str) {
    out.push('(');
    out.extend(text.chars().take(MAX_VALUE).map(|c| match c {
        '(' | ')' | '\\' => '?',
        ' '..='~' => c,
        _ => '?',
    }));
    out.push(')');
}

/// Domains for which a foreign field records a pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recorded {
    pub dmarc: Vec<String>,
    pub dkim: Vec<String>,
    pub spf: Vec<String>,
}

/// Reads the passes of an ARC-Authentication-Results value. A field that gives several DMARC or SPF
/// results which differ is not believed on that method: one of them may be injected text.
pub(super) fn parse_recorded(value: &[u8]) -> Recorded {
    let mut recorded = Recorded::default();
    if value.len() > MAX_FOREIGN {
        return recorded;
    }
    let (mut dmarc_differs, mut spf_differs) = (false, false);
    for statement in statements(&String::from_utf8_lossy(value)) {
        let mut words = statement.iter();
        let Some((method, result)) = words.next().and_then(|word| word.split_once('=')) else {
            continue;
        };
        let method = method.split('/').next().unwrap_or(method).to_ascii_lowercase();
        let pass = result.eq_ignore_ascii_case("pass");
        let property = |names: &[&str]| {
            statement.iter().skip(1).find_map(|word| {
                let (name, value) = word.split_once('=')?;
                let known = names.iter().any(|known| name.eq_ignore_ascii_case(known));
                let domain = value.rsplit_once('@').map_or(value, |(_, domain)| domain);
                (known && !domain.is_empty()).then(|| domain.to_ascii_lowercase())
            })
        };
        match method.as_str() {
            "dmarc" if pass => recorded.dmarc.extend(property(&["header.from"])),
            "dmarc" => dmarc_differs = true,
            "dkim" if pass => recorded.dkim.extend(property(&["header.d", "header.i"])),
            "spf" if pass => {
                recorded.spf.extend(property(&["smtp.mailfrom", "smtp.mail", "smtp.from"]));
            }
            // A HELO result may stand beside that of the reverse-path.
            "spf" => spf_differs |= property(&["smtp.helo"]).is_none(),
            _ => {}
        }
    }
    if dmarc_differs || recorded.dmarc.windows(2).any(|pair| pair[0] != pair[1]) {
        recorded.dmarc.clear();
    }
    if spf_differs || recorded.spf.windows(2).any(|pair| pair[0] != pair[1]) {
        recorded.spf.clear();
    }
    recorded
}

/// Splits a field into statements of words `name=value`, with comments removed and quoted strings
/// opened; what a quoted string holds can never become a statement.
fn statements(text: &str) -> Vec<Vec<String>> {
    let mut statements = vec![Vec::new()];
    let mut word = String::new();
    let mut depth = 0_u32;
    let mut chars = text.chars().peekable();
    // A word goes on after white space if "=" stands on either side of it.
    let mut pending_space = false;
    while let Some(c) = chars.next() {
        if depth > 0 {
            match c {
                '\\' => drop(chars.next()),
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            continue;
        }
        match c {
            '(' => {
                depth = 1;
                pending_space = true;
            }
            ';' => {
                end_word(&mut statements, &mut word);
                statements.push(Vec::new());
                pending_space = false;
            }
            c if c.is_whitespace() => pending_space = true,
            c => {
                if pending_space && c != '=' && !word.ends_with('=') {
                    end_word(&mut statements, &mut word);
                }
                pending_space = false;
                if c == '"' {
                    while let Some(quoted) = chars.next() {
                        match quoted {
                            '"' => break,
                            '\\' => word.extend(chars.next()),
                            '=' | ';' => word.push('_'),
                            quoted => word.push(quoted),
                        }
                    }
                } else {
                    word.push(c);
                }
            }
        }
    }
    end_word(&mut statements, &mut word);
    statements
}

fn end_word(statements: &mut [Vec<String>], word: &mut String) {
    if !word.is_empty()
        && let Some(statement) = statements.last_mut()
    {
        statement.push(std::mem::take(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_of_a_forwarder_are_read_with_comments_and_quotes() {
        let value = b"i=1; mx.example.net;\r\n dkim=pass (2048-bit (rsa)) header.i=@a.example header.s=x;\r\n \
            spf=pass (ok; dmarc=pass header.from=evil.example) smtp.mailfrom=\"b;c\"@b.example;\r\n \
            dmarc = pass (p=REJECT) header.from=C.example";
        let recorded = parse_recorded(value);
        assert_eq!(recorded.dkim, ["a.example"]);
        assert_eq!(recorded.spf, ["b.example"]);
        assert_eq!(recorded.dmarc, ["c.example"]);
    }

    #[test]
    fn quoted_text_cannot_become_a_result() {
        let value = b"i=1; mx; spf=fail smtp.mailfrom=\"x; dmarc=pass header.from=bank.example\"";
        assert_eq!(parse_recorded(value), Recorded::default());
        let value =
            b"i=1; mx; dmarc=fail header.from=bank.example; dmarc=pass header.from=bank.example";
        assert_eq!(parse_recorded(value).dmarc, Vec::<String>::new());
    }

    #[test]
    fn foreign_results_and_agent_fields_are_ignored() {
        for name in [
            "Authentication-Results",
            "authentication-results",
            "X-Original-Authentication-Results",
            "Received-SPF",
            "X-Agent-Id",
            "x-agent-signature",
            "X-Frontdesk-Verdict",
            "X-Sender-Trust",
        ] {
            assert!(ignored_header(name), "{name}");
        }
        for name in ["From", "ARC-Authentication-Results", "Received", "X-Mailer", "X-Agentless"] {
            assert!(!ignored_header(name), "{name}");
        }
    }
}
