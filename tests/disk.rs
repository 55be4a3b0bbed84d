//! A full disk: senders are told to come back, nothing half is kept, and it goes on when there is
//! room again.
//!
//! The disk is full for the server alone: a small library loaded into it answers every write to a file
//! with ENOSPC while a flag is there. What is tested is the whole path from that error to the reply.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use support::{Client, Letter, Server, captured};

const FULL_DISK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int full(int fd) {
    const char *flag = getenv("FULL_DISK_FLAG");
    struct stat st;
    if (fd == 2 || !flag || access(flag, F_OK) != 0) { errno = 0; return 0; }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) { errno = 0; return 0; }
    errno = ENOSPC;
    return 1;
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
ssize_t write(int fd, const void *b, size_t n) { return full(fd) ? -1 : REAL(write)(fd, b, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { return full(fd) ? -1 : REAL(pwrite)(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { return full(fd) ? -1 : REAL(pwrite64)(fd, b, n, o); }
ssize_t writev(int fd, const struct iovec *v, int n) { return full(fd) ? -1 : REAL(writev)(fd, v, n); }
"#;

async fn build(folder: &Path) -> std::path::PathBuf {
    let (source, library) = (folder.join("full.c"), folder.join("full.so"));
    std::fs::write(&source, FULL_DISK).unwrap();
    let built = tokio::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status();
    assert!(built.await.expect("SQLite needs a C compiler as well").success());
    library
}

#[tokio::test]
async fn a_full_disk_is_answered_with_452_and_mail_goes_on_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let library = build(folder.path()).await;
    let flag = folder.path().join("full");
    let env = [("LD_PRELOAD", library.as_path()), ("FULL_DISK_FLAG", flag.as_path())];
    let server = Server::start_with(folder.path(), "", &env).await;
    let mut client = Client::connect(server.smtp).await.unwrap();
    let ann = "ann@localhost";
    let letter = |text: &str| Letter::new(ann, "hello@localhost", text).bytes();

    let before = letter("Before.");
    assert!(client.send(ann, &["hello@localhost"], &before).await.unwrap().is(250));
    server.api.settle().await;

    // In the database, and in a file of its own.
    let small = letter("While it is full.");
    let large = letter(&"While it is full, at length.\n".repeat(40_000));
    std::fs::write(&flag, "").unwrap();
    for message in [&small, &large, &small] {
        let reply = client.send(ann, &["hello@localhost"], message).await.unwrap();
        assert_eq!(reply.code, 452, "{reply:?}");
        assert!(reply.text.starts_with("4.3.1"), "{reply:?}");
    }
    // Reading goes on all the while.
    assert_eq!(server.api.conversations().await.len(), 1);

    std::fs::remove_file(&flag).unwrap();
    for message in [&small, &large] {
        let reply = client.send(ann, &["hello@localhost"], message).await.unwrap();
        assert!(reply.is(250) && !reply.text.contains("again"), "{reply:?}");
    }
    server.api.settle().await;
    assert_eq!(server.api.conversations().await.len(), 3);
    assert_eq!(captured(&server.data).len(), 3);
    let db = support::desk::database(&server.data);
    let whole: String = db.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
}
