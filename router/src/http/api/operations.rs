//! What operators do to the installation: keys, backups, exports.

use super::{
    Routes,
    ask::{Answer, Said},
    views::{ConversationView, MessageView},
};
use crate::{
    desk::Desk,
    http::{access::Principal, problem::Problem},
    keys,
    reload::{ReloadError, Reloaded},
};
use axum::{Json, extract::State};
use frontdesk_agents::{
    MessageId,
    store::{ConversationFilter, Sight, conversation_cursor},
};
use serde::{Deserialize, Serialize};
use std::{
    io::Write as _,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};
use utoipa::ToSchema;
use utoipa_axum::routes;

pub fn routes(routes: Routes) -> Routes {
    routes
        .admin(routes!(rotate))
        .admin(routes!(reload))
        .admin(routes!(backup))
        .admin(routes!(export))
}

/// The key from now on.
#[derive(Debug, Serialize, ToSchema)]
struct KeyView {
    key_id: u32,
}

/// Sign reply addresses with a new key. Answers to older mail still find their conversation.
#[utoipa::path(post, path = "/keys/rotate", tag = "operations",
    responses((status = 200, body = KeyView)))]
async fn rotate(State(desk): State<Arc<Desk>>, principal: Principal) -> Answer<Json<KeyView>> {
    let (keys, now) = (desk.keys.clone(), desk.store.clock().now());
    let ring = tokio::task::spawn_blocking(move || keys.rotate_tokens(now))
        .await
        .map_err(Problem::internal)?
        .map_err(|error| match error {
            keys::Error::RingFull => Problem::conflict(error.to_string()),
            other => Problem::internal(other),
        })?;
    let key_id = ring.signing_id().get().into();
    desk.directory.set_keys(ring);
    desk.store.note_audit(principal.name(), "keys.rotate", format!("{key_id}")).await?;
    Ok(Json(KeyView { key_id }))
}

/// What came of reading the configuration again.
#[derive(Debug, Serialize, ToSchema)]
struct ReloadedView {
    /// What is different from now on, such as `agent support: instructions`.
    changed: Vec<String>,
    /// What is different in the file and takes effect at the next start only.
    needs_restart: Vec<String>,
}

/// Read the config file again, and take over what can be changed while the server runs. Where anything is wrong
/// with it, nothing changes, and the answer says everything that is.
#[utoipa::path(post, path = "/reload", tag = "operations",
    responses((status = 200, body = ReloadedView)))]
async fn reload(State(desk): State<Arc<Desk>>, principal: Principal) -> Answer<Json<ReloadedView>> {
    let name = principal.name();
    let reloaded = desk.reload(&format!("{name} asked for it")).await.map_err(|e| match e {
        ReloadError::NoFile => Problem::conflict(e.to_string()),
        ReloadError::Config(_) => Problem::unprocessable(e.to_string()),
        ReloadError::Other(_) => Problem::internal(e),
    })?;
    let Reloaded { changed, needs_restart } = reloaded;
    desk.store.note_audit(name, "config.reload", changed.join(", ")).await?;
    Ok(Json(ReloadedView { changed, needs_restart }))
}

/// A folder on the server.
#[derive(Deserialize, ToSchema)]
struct BackupTo {
    /// An absolute path that does not exist yet.
    #[schema(value_type = String)]
    to: PathBuf,
}

/// A backup.
#[derive(Debug, Serialize, ToSchema)]
struct BackupView {
    #[schema(value_type = String)]
    to: PathBuf,
    bytes: u64,
}

/// The server's own folder is whatever it was started in, so a path that depends on it is a mistake.
fn absolute(path: &FilePath) -> Answer<()> {
    if path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0) {
        return Ok(());
    }
    Err(Problem::unprocessable(format!("{} is not an absolute path", path.display())))
}

/// Where a folder cannot be made, whoever named it can mend that.
fn place(what: &str, path: &FilePath) -> impl FnOnce(std::io::Error) -> Problem {
    let what = format!("{what} {}", path.display());
    move |e| Problem::unprocessable(format!("cannot {what}: {e}"))
}

/// Copy everything into a folder on the server, keys included, while it runs.
#[utoipa::path(post, path = "/backup", tag = "operations", request_body = BackupTo,
    responses((status = 200, body = BackupView)))]
async fn backup(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Said(body): Said<BackupTo>,
) -> Answer<Json<BackupView>> {
    absolute(&body.to)?;
    std::fs::create_dir_all(&body.to).map_err(place("create the folder", &body.to))?;
    desk.store.back_up(&body.to).await?;
    let (from, to) = (desk.config.server.data.join("keys"), body.to.clone());
    let bytes = tokio::task::spawn_blocking(move || -> std::io::Result<u64> {
        copy_private(&from, &to.join("keys"))?;
        size_of(&to)
    })
    .await
    .map_err(Problem::internal)?
    .map_err(|e| Problem::internal(format!("copy the keys: {e}")))?;
    let to = body.to.display().to_string();
    desk.store.note_audit(principal.name(), "backup.create", to).await?;
    Ok(Json(BackupView { to: body.to, bytes }))
}

/// Copies keys so that only their owner can read the copy.
fn copy_private(from: &FilePath, to: &FilePath) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_private(&entry.path(), &target)?;
        } else {
            let mut file =
                std::fs::File::options().write(true).create_new(true).mode(0o600).open(&target)?;
            std::io::copy(&mut std::fs::File::open(entry.path())?, &mut file)?;
            file.sync_all()?;
        }
    }
    std::fs::File::open(to)?.sync_all()
}

fn size_of(dir: &FilePath) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            size_of(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}

/// A folder on the server.
#[derive(Deserialize, ToSchema)]
struct ExportTo {
    /// An absolute path of a folder without an export in it.
    #[schema(value_type = String)]
    out: PathBuf,
}

/// An export.
#[derive(Debug, Serialize, ToSchema)]
struct ExportView {
    #[schema(value_type = String)]
    out: PathBuf,
    messages: u64,
}

/// Write every mail into one mbox (mboxrd) and every conversation as a line of JSON, into a folder on the
/// server.
#[utoipa::path(post, path = "/export", tag = "operations", request_body = ExportTo,
    responses((status = 200, body = ExportView)))]
async fn export(
    State(desk): State<Arc<Desk>>,
    principal: Principal,
    Said(body): Said<ExportTo>,
) -> Answer<Json<ExportView>> {
    use std::os::unix::fs::DirBuilderExt;
    let step = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| Problem::internal(format!("{what}: {e}"))
    };
    absolute(&body.out)?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&body.out)
        .map_err(place("create the folder", &body.out))?;
    let new = |name: &str| {
        let path = body.out.join(name);
        let file = std::fs::File::options().write(true).create_new(true).open(&path);
        file.map_err(|e| {
            Problem::conflict(format!(
                "{}: {e}: name a folder without an export in it",
                path.display()
            ))
        })
    };
    let mut mbox = std::io::BufWriter::new(new("mail.mbox")?);
    let mut lines = std::io::BufWriter::new(new("conversations.jsonl")?);
    let (mut messages, mut after) = (0u64, MessageId(0));
    loop {
        let page = desk.store.mails_after(after, 100).await?;
        let Some((last, ..)) = page.last() else { break };
        after = *last;
        for (_, sender, at, raw) in &page {
            let Some(hash) = raw.blob else { continue };
            let content = desk.store.blob(hash)?.unwrap_or_default();
            write_mbox(&mut mbox, sender, *at, &raw.prelude, &content)
                .map_err(step("write the mbox"))?;
            messages += 1;
        }
    }
    let mut cursor = None;
    loop {
        let filter = ConversationFilter::default();
        let page = desk.store.list_conversations(Sight::All, filter, 100, cursor).await?;
        cursor = page.last().map(conversation_cursor);
        for listed in page {
            let id = listed.summary.id;
            let (listed, entries) = desk.store.open_conversation(Sight::All, id).await?;
            let line = ConversationView {
                line: listed.into(),
                timeline: entries.into_iter().map(|e| MessageView::new(e, None)).collect(),
                earlier: None,
            };
            let line = serde_json::to_string(&line).map_err(Problem::internal)?;
            writeln!(lines, "{line}").map_err(step("write the conversations"))?;
        }
        if cursor.is_none() {
            break;
        }
    }
    for file in [mbox, lines] {
        let file = file.into_inner().map_err(|e| step("write the export")(e.into_error()))?;
        file.sync_all().map_err(step("write the export to the disk"))?;
    }
    let out = body.out.display().to_string();
    desk.store.note_audit(principal.name(), "export.create", out).await?;
    Ok(Json(ExportView { out: body.out, messages }))
}

/// One mail in mboxrd: lines that begin with any number of `>` and `From ` get one more `>`.
fn write_mbox(
    out: &mut impl std::io::Write,
    sender: &str,
    at: jiff::Timestamp,
    prelude: &str,
    content: &[u8],
) -> std::io::Result<()> {
    let sender = if sender.is_empty() { "MAILER-DAEMON" } else { sender };
    writeln!(out, "From {sender} {}", at.strftime("%a %b %e %H:%M:%S %Y"))?;
    for line in prelude
        .as_bytes()
        .split_inclusive(|b| *b == b'\n')
        .chain(content.split_inclusive(|b| *b == b'\n'))
    {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let quotes = line.iter().take_while(|b| **b == b'>').count();
        if line[quotes..].starts_with(b"From ") {
            out.write_all(b">")?;
        }
        out.write_all(line)?;
        out.write_all(b"\n")?;
    }
    out.write_all(b"\n")
}
