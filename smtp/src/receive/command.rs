//! One command line of RFC 5321 section 4.1.1, with the parameters of RFC 1870 (SIZE), RFC 6152
//! (BODY) and RFC 6531 (SMTPUTF8).
//!
//! What always holds: a [`Command`] has nothing in it that was not checked, and everything that was
//! on the line is in it or was refused. Nothing is dropped to make a line fit the grammar, except
//! white space before CR LF and after `FROM:` and `TO:`, which real clients send.

use crate::address::{ForwardPath, ReversePath};
use crate::reply::{self, Reply};

/// Octets of an EHLO or HELO name; it is a domain or shorter.
const HELO_MAX: usize = crate::address::DOMAIN_MAX;

/// The BODY parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyType {
    #[default]
    SevenBit,
    EightBitMime,
}

/// The parameters of MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailParameters {
    /// Octets the sender expects the message to have.
    pub size: Option<u64>,
    pub body: BodyType,
    pub smtputf8: bool,
}

/// A command that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Ehlo(String),
    Helo(String),
    Mail(ReversePath, MailParameters),
    Rcpt(ForwardPath),
    Data,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    StartTls,
}

/// A line that is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Answer and go on.
    With(Reply),
    /// Answer and hang up: what follows is no SMTP, or cannot be told apart from it.
    HangUp(Reply),
}

/// Reads a line without its CR LF.
pub fn parse(line: &[u8]) -> Result<Command, Refused> {
    if line.iter().any(|b| b.is_ascii_control()) {
        return Err(Refused::With(reply::bad_line_end()));
    }
    // Invalid UTF-8 is refused and never replaced, or two peers could mean different addresses.
    let Ok(line) = std::str::from_utf8(line) else {
        return Err(Refused::With(reply::bad_argument()));
    };
    let line = line.trim_end_matches(' ');
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    if speaks_something_else(verb) {
        return Err(Refused::HangUp(reply::not_smtp()));
    }
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" => helo_name(rest).map(Command::Ehlo),
        "HELO" => helo_name(rest).map(Command::Helo),
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "DATA" => alone(rest, Command::Data),
        "RSET" => alone(rest, Command::Rset),
        "QUIT" => alone(rest, Command::Quit),
        "STARTTLS" => alone(rest, Command::StartTls),
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "VRFY" if rest.is_empty() => Err(Refused::With(reply::bad_argument())),
        "VRFY" => Ok(Command::Vrfy),
        // CHUNKING is not offered. The octets that follow a BDAT must not be read as commands.
        "BDAT" => Err(Refused::HangUp(reply::not_implemented())),
        "EXPN" | "AUTH" | "ETRN" | "TURN" | "ATRN" | "SEND" | "SOML" | "SAML" => {
            Err(Refused::With(reply::not_implemented()))
        }
        _ => Err(Refused::With(reply::unknown_command())),
    }
}

/// Whether the first octet of a connection can only be another protocol: a TLS record of type
/// handshake (RFC 8446 section 5.1).
pub fn is_tls_handshake(first: u8) -> bool {
    first == 0x16
}

/// HTTP requests, and header lines of a message whose end or start we disagree about.
fn speaks_something_else(verb: &str) -> bool {
    const HTTP: [&str; 10] =
        ["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "PATCH", "DELETE", "TRACE", "PRI"];
    if HTTP.iter().any(|method| verb.eq_ignore_ascii_case(method)) {
        return true;
    }
    verb.split_once(':').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

fn alone(rest: &str, command: Command) -> Result<Command, Refused> {
    if rest.is_empty() { Ok(command) } else { Err(Refused::With(reply::bad_argument())) }
}

/// RFC 5321 section 4.1.4 forbids refusing a name that does not check out, so anything printable
/// without spaces is taken.
fn helo_name(rest: &str) -> Result<String, Refused> {
    let name = rest.trim_start_matches(' ');
    let printable = name.bytes().all(|b| b.is_ascii_graphic());
    if name.is_empty() || name.len() > HELO_MAX || !printable {
        return Err(Refused::With(reply::bad_argument()));
    }
    Ok(name.to_owned())
}

fn mail(rest: &str) -> Result<Command, Refused> {
    let rest = after_keyword(rest, "FROM:")?;
    let (path, rest) = ReversePath::take(rest).map_err(|e| Refused::With(reply::bad_sender(e)))?;
    let parameters = mail_parameters(rest)?;
    if !path.is_ascii() && !parameters.smtputf8 {
        return Err(Refused::With(reply::needs_smtputf8()));
    }
    Ok(Command::Mail(path, parameters))
}

fn rcpt(rest: &str) -> Result<Command, Refused> {
    let rest = after_keyword(rest, "TO:")?;
    let (path, rest) =
        ForwardPath::take(rest).map_err(|e| Refused::With(reply::bad_recipient(e)))?;
    // No extension we offer has a parameter for RCPT.
    match parameters(rest)?.next() {
        None => Ok(Command::Rcpt(path)),
        Some(parameter) => {
            parameter?;
            Err(Refused::With(reply::unknown_parameter()))
        }
    }
}

fn after_keyword<'a>(rest: &'a str, keyword: &str) -> Result<&'a str, Refused> {
    match rest.split_at_checked(keyword.len()) {
        Some((head, tail)) if head.eq_ignore_ascii_case(keyword) => {
            Ok(tail.trim_start_matches(' '))
        }
        _ => Err(Refused::With(reply::bad_argument())),
    }
}

fn mail_parameters(rest: &str) -> Result<MailParameters, Refused> {
    let bad = || Refused::With(reply::bad_argument());
    let (mut size, mut body, mut smtputf8) = (None, None, false);
    for parameter in parameters(rest)? {
        let (keyword, value) = parameter?;
        match (keyword.to_ascii_uppercase().as_str(), value) {
            ("SIZE", Some(digits)) if size.is_none() => {
                // RFC 1870 section 5: size-value ::= 1*20DIGIT.
                if digits.len() > 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(bad());
                }
                size = Some(digits.parse().unwrap_or(u64::MAX));
            }
            ("BODY", Some(kind)) if body.is_none() => {
                body = Some(if kind.eq_ignore_ascii_case("7BIT") {
                    BodyType::SevenBit
                } else if kind.eq_ignore_ascii_case("8BITMIME") {
                    BodyType::EightBitMime
                } else {
                    return Err(bad());
                });
            }
            ("SMTPUTF8", None) if !smtputf8 => smtputf8 = true,
            ("SIZE" | "BODY" | "SMTPUTF8", _) => return Err(bad()),
            _ => return Err(Refused::With(reply::unknown_parameter())),
        }
    }
    Ok(MailParameters { size, body: body.unwrap_or_default(), smtputf8 })
}

type Parameter<'a> = Result<(&'a str, Option<&'a str>), Refused>;

/// `*(SP esmtp-param)` of RFC 5321 section 4.1.2.
fn parameters(rest: &str) -> Result<impl Iterator<Item = Parameter<'_>>, Refused> {
    let bad = || Refused::With(reply::bad_argument());
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(bad());
    }
    Ok(rest.split(' ').filter(|word| !word.is_empty()).map(move |word| {
        let (keyword, value) = match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        };
        let keyword_ok = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
            && keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let value_ok = value.is_none_or(|v| !v.is_empty() && !v.contains('='));
        if keyword_ok && value_ok { Ok((keyword, value)) } else { Err(bad()) }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code a line is refused with, or 0 if it is carried out.
    fn code(line: &str) -> u16 {
        match parse(line.as_bytes()) {
            Ok(_) => 0,
            Err(Refused::With(reply) | Refused::HangUp(reply)) => reply.code(),
        }
    }

    fn mail_of(line: &str) -> (String, MailParameters) {
        match parse(line.as_bytes()) {
            Ok(Command::Mail(path, parameters)) => (path.to_string(), parameters),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn verbs_and_keywords_have_no_case() {
        assert_eq!(parse(b"eHlO mx.example"), Ok(Command::Ehlo("mx.example".into())));
        assert_eq!(parse(b"quit  "), Ok(Command::Quit));
        assert_eq!(parse(b"noop whatever"), Ok(Command::Noop));
        assert_eq!(mail_of("mail from:<A@b.example> body=8bitmime").0, "<A@b.example>");
        assert_eq!(mail_of("MAIL FROM: <a@b.example>").0, "<a@b.example>");
    }

    #[test]
    fn mail_parameters_are_read_once_each() {
        let (_, p) = mail_of("MAIL FROM:<> SIZE=12 BODY=8BITMIME SMTPUTF8");
        assert_eq!((p.size, p.body, p.smtputf8), (Some(12), BodyType::EightBitMime, true));
        let (_, p) = mail_of("MAIL FROM:<> SIZE=99999999999999999999");
        assert_eq!(p.size, Some(u64::MAX));
        for bad in [
            "SIZE",
            "SIZE=",
            "SIZE=1 SIZE=1",
            "SIZE=-1",
            "SIZE=0x1",
            "SIZE=999999999999999999999",
            "BODY=BINARYMIME",
            "SMTPUTF8=1",
            "=1",
            "SIZE==1",
            "S\u{e9}=1",
        ] {
            assert_eq!(code(&format!("MAIL FROM:<> {bad}")), 501, "{bad}");
        }
        assert_eq!(code("MAIL FROM:<>SIZE=1"), 501);
    }

    #[test]
    fn parameters_nobody_offered_get_555() {
        for line in [
            "MAIL FROM:<a@b.example> RET=HDRS",
            "MAIL FROM:<a@b.example> AUTH=<>",
            "RCPT TO:<a@b.example> NOTIFY=NEVER",
        ] {
            assert_eq!(code(line), 555, "{line}");
        }
    }

    #[test]
    fn non_ascii_senders_need_the_smtputf8_parameter() {
        assert_eq!(code("MAIL FROM:<jörg@b.example>"), 553);
        assert_eq!(code("MAIL FROM:<jörg@b.example> SMTPUTF8"), 0);
        assert!(parse(b"MAIL FROM:<j\xf6rg@b.example> SMTPUTF8").is_err());
        assert_eq!(code("EHLO bücher.example"), 501);
    }

    #[test]
    fn arguments_where_none_belong_are_refused() {
        for line in ["DATA x", "RSET x", "QUIT x", "STARTTLS x", "EHLO", "HELO", "VRFY", "EHLO a b"]
        {
            assert_eq!(code(line), 501, "{line}");
        }
        for line in
            ["MAIL", "MAIL FROM", "MAIL FROM:", "MAIL FROM:a@b.example", "RCPT <a@b.example>"]
        {
            assert_eq!(code(line), 501, "{line}");
        }
    }

    #[test]
    fn control_characters_never_reach_a_command() {
        for line in
            ["MAIL FROM:<a\0b@c.example>", "NOOP\t", "EHLO a\u{7f}", "RCPT TO:<a\rb@c.example>"]
        {
            assert_eq!(code(line), 500, "{line:?}");
        }
    }

    #[test]
    fn other_protocols_and_header_lines_end_the_session() {
        for line in [
            "GET / HTTP/1.1",
            "post /x",
            "Host: example.org",
            "From:",
            "Subject:x",
            "PRI * HTTP/2.0",
        ] {
            assert!(matches!(parse(line.as_bytes()), Err(Refused::HangUp(_))), "{line}");
        }
        assert!(matches!(parse(b": x"), Err(Refused::With(_))));
    }

    #[test]
    fn bdat_is_not_implemented_and_its_octets_are_never_commands() {
        let Err(Refused::HangUp(reply)) = parse(b"BDAT 86 LAST") else { panic!("BDAT went on") };
        assert_eq!(reply.code(), 502);
        assert_eq!(code("EXPN list"), 502);
        assert_eq!(code("XYZZY"), 500);
    }
}
