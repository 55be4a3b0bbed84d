//! As much HTTP/1.1 as the server needs, written by hand so that an answer can break off anywhere.

use super::{Asked, Protocol};
use std::io;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Largest head, and largest body: more than any request of a model has.
const HEAD_MAX: usize = 64 * 1024;
const BODY_MAX: usize = 256 * 1024 * 1024;

/// Reads a request; `None` if the connection ends before one begins.
pub(super) async fn read(stream: &mut TcpStream, connection: u64) -> io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    let head_len = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if bytes.len() > HEAD_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return if bytes.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_len]).into_owned();
    let mut lines = head.split("\r\n");
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse::<usize>().ok())
        .unwrap_or(0);
    if length > BODY_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = bytes.split_off(head_len);
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let protocol = match path.rsplit_once('/') {
        Some((_, "completions")) => Some(Protocol::OpenAi),
        Some((_, "messages")) => Some(Protocol::Anthropic),
        _ => None,
    };
    let body = serde_json::from_slice(&body[..length]).unwrap_or_default();
    Ok(Some(Asked { protocol, path, headers, body, connection }))
}

/// Writes the head of an answer whose body comes in chunks, or the whole of one whose body is known.
pub(super) async fn write_head(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(String, String)],
    body: Option<&str>,
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match body {
        Some(body) => head.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len())),
        None => head.push_str("transfer-encoding: chunked\r\n\r\n"),
    }
    stream.write_all(head.as_bytes()).await
}

/// Writes a piece of a body. An empty one ends it.
pub(super) async fn write_chunk(stream: &mut TcpStream, piece: &str) -> io::Result<()> {
    stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}
