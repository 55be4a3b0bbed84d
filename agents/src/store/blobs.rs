//! Content, and files named by its hash.
//!
//! Content is compressed by whoever brings it, never in the writer. Small content travels inside
//! the transaction; large content is made durable in a file of its own before the row that names it
//! exists. A file without a row (a crash in between) is harmless and is reused when the same content
//! comes again.

use super::{Result, Store, StoreError, Tx};
use crate::BlobId;
use rusqlite::OptionalExtension;
use sha2::{Digest, Sha256};
use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, Read, Seek as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use zstd::bulk::Compressor;

/// Content larger than this (bytes, uncompressed) lives in a file. DESIGN section 5.
pub const INLINE_LIMIT: usize = 256 * 1024;

/// Level 1 compresses mail text nearly as well as 3 at half the cost.
const ZSTD_LEVEL: i32 = 1;

/// The SHA-256 of some content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobHash(pub [u8; 32]);

impl std::fmt::Display for BlobHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Content that is ready to be named by a row: compressed, and durable already if it is large.
#[derive(Clone)]
pub struct StagedBlob {
    hash: BlobHash,
    size: u64,
    /// The compressed bytes, or `None` if they are in a file.
    data: Option<Vec<u8>>,
    /// Kept once, however often it comes.
    shared: bool,
}

impl StagedBlob {
    /// The hash of the content.
    pub fn hash(&self) -> BlobHash {
        self.hash
    }

    /// Uncompressed size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl std::fmt::Debug for StagedBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StagedBlob({} bytes, {})", self.size, self.hash)
    }
}

/// Hash and size.
type BlobRow = ([u8; 32], i64);

pub(super) fn prepare(dir: &Path) -> Result<()> {
    let blobs = dir.join("blobs");
    fs::create_dir_all(&blobs).map_err(StoreError::io(&blobs))
}

impl Store {
    /// Compresses content and, if it is large, writes it to its file and waits for the disk. Blocks: call it
    /// off the async threads for anything but small content.
    pub fn stage(&self, content: &[u8]) -> Result<StagedBlob> {
        let hash = BlobHash(Sha256::digest(content).into());
        let size = content.len() as u64;
        let data = if content.len() <= INLINE_LIMIT {
            Some(compress(content).map_err(StoreError::io(self.dir()))?)
        } else {
            write_file(self.dir(), hash, &mut &content[..])?;
            None
        };
        let shared = data.is_none();
        Ok(StagedBlob { hash, size, data, shared })
    }

    /// The same for what is in a file, of which only a block at a time is in memory. The file is left alone.
    pub fn stage_file(&self, path: &Path) -> Result<StagedBlob> {
        let length = fs::metadata(path).map_err(StoreError::io(path))?.len();
        if length <= INLINE_LIMIT as u64 {
            return self.stage(&fs::read(path).map_err(StoreError::io(path))?);
        }
        let (hash, size, mut file) = hash_of_file(path).map_err(StoreError::io(path))?;
        write_file(self.dir(), hash, &mut file)?;
        Ok(StagedBlob { hash, size, data: None, shared: true })
    }

    /// Reads content. `None` if there is none with this id.
    pub fn blob(&self, id: BlobId) -> Result<Option<Vec<u8>>> {
        let row: Option<(BlobRow, Option<Vec<u8>>)> = self.read(|conn| {
            Ok(conn
                .prepare_cached("SELECT hash, size, data FROM blobs WHERE id = ?1")?
                .query_row((id,), |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))
                .optional()?)
        })?;
        let Some(((hash, size), data)) = row else { return Ok(None) };
        let size =
            usize::try_from(size).map_err(|_| StoreError::Corrupt("a blob has no size".into()))?;
        let content = match data {
            Some(packed) => {
                zstd::bulk::decompress(&packed, size).map_err(StoreError::io(self.dir()))?
            }
            None => read_file(self.dir(), BlobHash(hash), size)?,
        };
        Ok(Some(content))
    }
}

/// The hash and the length of a file, which is at its beginning again.
fn hash_of_file(path: &Path) -> io::Result<(BlobHash, u64, File)> {
    let mut file = File::open(path)?;
    let mut block = vec![0; 64 * 1024];
    let (mut sum, mut size) = (Sha256::new(), 0);
    loop {
        match file.read(&mut block)? {
            0 => break,
            read => {
                sum.update(&block[..read]);
                size += read as u64;
            }
        }
    }
    file.rewind()?;
    Ok((BlobHash(sum.finalize().into()), size, file))
}

/// Compresses content for the row itself, whatever its size: for the attachments of drafts, which are
/// inside the transaction that makes them anyway, and are often the same.
pub(super) fn pack(content: &[u8]) -> Result<StagedBlob> {
    let packed = compress(content).map_err(StoreError::io("compression"))?;
    Ok(StagedBlob {
        hash: BlobHash(Sha256::digest(content).into()),
        size: content.len() as u64,
        data: Some(packed),
        shared: true,
    })
}

/// Compresses with tables that the thread keeps: making them takes as long as a short mail does.
fn compress(content: &[u8]) -> io::Result<Vec<u8>> {
    thread_local! {
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(ZSTD_LEVEL)?),
        };
        compressor.compress(content)
    })
}

/// Gives staged content a row. Shared content that is there already is left alone.
pub(super) fn insert(tx: &Tx<'_>, blob: &StagedBlob) -> Result<BlobId> {
    if blob.shared {
        let there = tx.find(
            "SELECT id FROM blobs WHERE hash = ?1 AND shared = 1",
            (blob.hash.0,),
            |row| row.get(0),
        )?;
        if let Some(id) = there {
            return Ok(id);
        }
    }
    Ok(BlobId(tx.insert(
        "INSERT INTO blobs (hash, size, data, shared, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        (blob.hash.0, blob.size.cast_signed(), &blob.data, blob.shared, tx.now),
    )?))
}

fn path_of(dir: &Path, hash: BlobHash) -> PathBuf {
    let name = hash.to_string();
    dir.join("blobs").join(&name[..2]).join(format!("{name}.zst"))
}

fn write_file(dir: &Path, hash: BlobHash, content: &mut dyn Read) -> Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let path = path_of(dir, hash);
    let folder = path.parent().expect("a blob's path has a folder");
    // Whoever wrote the file may not have made its name durable yet, or died before.
    let sync_names = || -> io::Result<()> {
        File::open(folder)?.sync_all()?;
        File::open(dir.join("blobs"))?.sync_all()
    };
    if path.exists() {
        return sync_names().map_err(StoreError::io(folder));
    }
    fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
    let temporary =
        folder.join(format!(".{}.{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    let written = (|| -> io::Result<()> {
        let mut encoder = zstd::stream::Encoder::new(File::create(&temporary)?, ZSTD_LEVEL)?;
        io::copy(content, &mut encoder)?;
        encoder.finish()?.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync_names()
    })();
    written.map_err(|error| {
        // Best effort: what is left over has no name anybody looks for.
        let _ = fs::remove_file(&temporary);
        StoreError::io(&path)(error)
    })
}

fn read_file(dir: &Path, hash: BlobHash, size: usize) -> Result<Vec<u8>> {
    let path = path_of(dir, hash);
    let read = (|| -> io::Result<Vec<u8>> {
        let mut content = Vec::with_capacity(size);
        zstd::stream::Decoder::new(File::open(&path)?)?.read_to_end(&mut content)?;
        Ok(content)
    })();
    let content = read.map_err(StoreError::io(&path))?;
    if content.len() != size {
        return Err(StoreError::Corrupt(format!(
            "{} holds {} bytes instead of {size}: restore it from a backup",
            path.display(),
            content.len()
        )));
    }
    Ok(content)
}
