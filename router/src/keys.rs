//! Secrets on disk.
//!
//! ```text
//! data/keys/               0700
//!   tokens.json            0600  the token key ring
//!   dkim/<domain>/         0700
//!     <selector>.rsa.pem       0600
//!     <selector>.ed25519.pem   0600
//!     current              0600  the selector that signs
//! ```
//!
//! What always holds: a file is complete or absent (written beside, synced, renamed, directory
//! synced); what group or others can read is refused with the command that repairs it; rotation keeps
//! old token keys until nothing they signed can still be valid.
//!
//! Left out: locking. `data/lock` makes one process the owner of the folder.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use frontdesk_smtp::sign::{self, DkimKeys, DnsRecord, Signer};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::token::{DEFAULT_LIFETIME_DAYS, KeyId, KeyRing, TokenKey};

/// A retired token key verifies for twice the lifetime of what it signed, so that an answer to mail
/// that waited in a queue, or an expired token that should say which mail it was, still counts.
pub const RETIRED_KEY_DAYS: u16 = 2 * DEFAULT_LIFETIME_DAYS;

/// Why keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// Group or others may read it.
    #[error("{path} can be read by others (mode {mode:o}); fix it with: chmod {fix} {path}")]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be.
        fix: &'static str,
    },
    /// A file that is not what we wrote.
    #[error("{path} is damaged ({why}); restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong; never part of a secret.
        why: String,
    },
    /// All 32 key ids are in use.
    #[error("no free key id: rotated 31 times within {RETIRED_KEY_DAYS} days")]
    RingFull,
    /// Not a name that can be a folder.
    #[error("`{0}` is not a domain or selector name")]
    Name(String),
    /// The system's random source failed.
    #[error("no randomness: {0}")]
    Random(#[from] getrandom::Error),
    /// A DKIM key is unusable.
    #[error(transparent)]
    Dkim(#[from] sign::Error),
}

/// The folder `data/keys`.
#[derive(Debug, Clone)]
pub struct KeyStore {
    dir: PathBuf,
}

/// One key of the ring, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKeyInfo {
    /// Its id.
    pub id: KeyId,
    /// When it was made.
    pub created: Timestamp,
    /// When it stopped signing; `None` for the one that signs.
    pub retired: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RingFile {
    version: u32,
    keys: Vec<KeyEntry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: u8,
    created: Timestamp,
    retired: Option<Timestamp>,
    /// 32 octets in hexadecimal.
    secret: String,
}

impl KeyStore {
    /// Opens the folder, making it if it is absent.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], or [`Error::Exposed`] if others can look into it.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        ensure_dir(&dir)?;
        Ok(Self { dir })
    }

    /// Reads the token keys; on the first run makes one.
    ///
    /// # Errors
    ///
    /// Any of [`Error`] but those about DKIM.
    pub fn token_keys(&self, now: Timestamp) -> Result<KeyRing, Error> {
        let entries = match self.read_ring()? {
            Some(entries) => entries,
            None => {
                let entries = vec![KeyEntry::generate(0, now)?];
                self.write_ring(&entries)?;
                entries
            }
        };
        self.ring(&entries)
    }

    /// Adds a new signing key. The old ones verify for [`RETIRED_KEY_DAYS`] more and are then dropped,
    /// here, at a later rotation.
    ///
    /// # Errors
    ///
    /// Any of [`Error`] but those about DKIM.
    pub fn rotate_tokens(&self, now: Timestamp) -> Result<KeyRing, Error> {
        let mut entries = self.read_ring()?.unwrap_or_default();
        if !entries.is_empty() {
            // A damaged ring is left as it is, for repair.
            self.ring(&entries)?;
        }
        for entry in &mut entries {
            entry.retired.get_or_insert(now);
        }
        let keep = SignedDuration::from_hours(24 * i64::from(RETIRED_KEY_DAYS));
        entries.retain(|entry| entry.retired.is_none_or(|at| now.duration_since(at) <= keep));
        // Ids go round, so that one is reused as late as possible.
        let newest =
            entries.iter().max_by_key(|entry| entry.created).map_or(KeyId::COUNT - 1, |e| e.id);
        let id = (1..=KeyId::COUNT)
            .map(|step| (newest + step) % KeyId::COUNT)
            .find(|id| entries.iter().all(|entry| entry.id != *id))
            .ok_or(Error::RingFull)?;
        entries.push(KeyEntry::generate(id, now)?);
        self.write_ring(&entries)?;
        self.ring(&entries)
    }

    /// The keys of the ring, for `frontdesk keys list` and the like.
    ///
    /// # Errors
    ///
    /// Any of [`Error`] but those about DKIM.
    pub fn token_key_infos(&self) -> Result<Vec<TokenKeyInfo>, Error> {
        let path = self.ring_path();
        self.read_ring()?
            .unwrap_or_default()
            .iter()
            .map(|entry| {
                let id = KeyId::new(entry.id).ok_or_else(|| damaged(&path, "key id"))?;
                Ok(TokenKeyInfo { id, created: entry.created, retired: entry.retired })
            })
            .collect()
    }

    /// The DKIM keys in use for a domain and their selector; on the first run makes them, which takes
    /// up to seconds: call this on a blocking thread.
    ///
    /// # Errors
    ///
    /// Any of [`Error`] but [`Error::RingFull`].
    pub fn dkim(&self, domain: &str, now: Timestamp) -> Result<(String, DkimKeys), Error> {
        let dir = self.dkim_dir(domain)?;
        let selector = match read_secret(&dir.join("current"))? {
            Some(selector) => name(selector.trim())?,
            None => {
                let selector = self.generate_dkim(domain, now)?;
                self.activate_dkim(domain, &selector)?;
                selector
            }
        };
        let keys = load_dkim(&dir, &selector)?;
        Ok((selector, keys))
    }

    /// A signer with the keys in use.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::dkim`].
    pub fn signer(&self, domain: &str, now: Timestamp) -> Result<Signer, Error> {
        let (selector, keys) = self.dkim(domain, now)?;
        Ok(Signer::new(domain, &selector, &keys)?)
    }

    /// Makes new DKIM keys beside those in use and returns their selector. They sign only after
    /// [`KeyStore::activate_dkim`], when their records are in DNS.
    ///
    /// # Errors
    ///
    /// Any of [`Error`] but [`Error::RingFull`].
    pub fn generate_dkim(&self, domain: &str, now: Timestamp) -> Result<String, Error> {
        let dir = self.dkim_dir(domain)?;
        let day = now.strftime("fd%Y%m%d").to_string();
        let mut selector = day.clone();
        let mut round = 1;
        while dir.join(format!("{selector}.rsa.pem")).exists() {
            round += 1;
            selector = format!("{day}-{round}");
        }
        let keys = DkimKeys::generate()?;
        write_secret(
            &dir.join(format!("{selector}.ed25519.pem")),
            keys.ed25519().to_pem()?.expose().as_bytes(),
        )?;
        write_secret(
            &dir.join(format!("{selector}.rsa.pem")),
            keys.rsa().to_pem()?.expose().as_bytes(),
        )?;
        Ok(selector)
    }

    /// Signs with these keys from the next [`KeyStore::signer`] on.
    ///
    /// # Errors
    ///
    /// Any of [`Error`] but [`Error::RingFull`]; nothing changes unless the keys can be loaded.
    pub fn activate_dkim(&self, domain: &str, selector: &str) -> Result<(), Error> {
        let dir = self.dkim_dir(domain)?;
        let selector = name(selector)?;
        load_dkim(&dir, &selector)?;
        write_secret(&dir.join("current"), format!("{selector}\n").as_bytes())
    }

    /// The DNS records of one selector's keys.
    ///
    /// # Errors
    ///
    /// Any of [`Error`] but [`Error::RingFull`].
    pub fn dkim_records(&self, domain: &str, selector: &str) -> Result<[DnsRecord; 2], Error> {
        let selector = name(selector)?;
        let keys = load_dkim(&self.dkim_dir(domain)?, &selector)?;
        Ok(keys.dns_records(&selector, domain)?)
    }

    fn ring_path(&self) -> PathBuf {
        self.dir.join("tokens.json")
    }

    fn read_ring(&self) -> Result<Option<Vec<KeyEntry>>, Error> {
        let path = self.ring_path();
        let Some(text) = read_secret(&path)? else { return Ok(None) };
        // The parser's own message may quote its input, so it is not passed on.
        let file: RingFile = serde_json::from_str(&text).map_err(|error| {
            damaged(&path, &format!("line {}, column {}", error.line(), error.column()))
        })?;
        if file.version != 1 {
            return Err(damaged(&path, &format!("version {}", file.version)));
        }
        if file.keys.is_empty() {
            return Err(damaged(&path, "no keys"));
        }
        Ok(Some(file.keys))
    }

    fn write_ring(&self, entries: &[KeyEntry]) -> Result<(), Error> {
        let path = self.ring_path();
        let file = RingFile { version: 1, keys: entries.to_vec() };
        let text = serde_json::to_vec_pretty(&file)
            .map_err(|error| Error::Io { path: path.clone(), source: error.into() })?;
        write_secret(&path, &text)
    }

    fn ring(&self, entries: &[KeyEntry]) -> Result<KeyRing, Error> {
        let path = self.ring_path();
        let mut signing = None;
        let mut older = Vec::new();
        for entry in entries {
            let key = entry.key().ok_or_else(|| damaged(&path, "a key"))?;
            match entry.retired {
                None if signing.is_none() => signing = Some(key),
                None => return Err(damaged(&path, "two signing keys")),
                Some(_) => older.push(key),
            }
        }
        let signing = signing.ok_or_else(|| damaged(&path, "no signing key"))?;
        Ok(KeyRing::new(signing, older))
    }

    fn dkim_dir(&self, domain: &str) -> Result<PathBuf, Error> {
        let root = self.dir.join("dkim");
        ensure_dir(&root)?;
        let dir = root.join(name(domain)?);
        ensure_dir(&dir)?;
        Ok(dir)
    }
}

impl KeyEntry {
    fn generate(id: u8, now: Timestamp) -> Result<Self, Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let secret = data_encoding::HEXLOWER.encode(&secret);
        Ok(Self { id, created: now, retired: None, secret })
    }

    fn key(&self) -> Option<TokenKey> {
        let id = KeyId::new(self.id)?;
        let secret = data_encoding::HEXLOWER.decode(self.secret.as_bytes()).ok()?;
        Some(TokenKey::new(id, secret.try_into().ok()?))
    }
}

fn load_dkim(dir: &Path, selector: &str) -> Result<DkimKeys, Error> {
    let read = |kind: &str| {
        let path = dir.join(format!("{selector}.{kind}.pem"));
        read_secret(&path)?
            .ok_or_else(|| Error::Io { path, source: io::ErrorKind::NotFound.into() })
    };
    Ok(DkimKeys::from_pem(&read("rsa")?, &read("ed25519")?)?)
}

/// A domain or selector that is safe as one component of a path.
fn name(text: &str) -> Result<String, Error> {
    let lower = text.to_ascii_lowercase();
    let shaped = (1..=253).contains(&lower.len())
        && lower.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
    if shaped {
        Ok(lower)
    } else {
        Err(Error::Name(text.chars().filter(|c| !c.is_control()).take(80).collect()))
    }
}

fn ensure_dir(dir: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: dir.to_owned(), source };
    match fs::metadata(dir) {
        Ok(found) => private(dir, found.mode(), "700"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
            // Umask may only take bits away, but a default ACL may add some.
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(io)?;
            match dir.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
                _ => sync_dir(Path::new(".")),
            }
        }
        Err(error) => Err(io(error)),
    }
}

/// `None` if the file is absent.
fn read_secret(path: &Path) -> Result<Option<String>, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    // Asked of the open file, so that what is checked is what is read.
    private(path, file.metadata().map_err(io)?.mode(), "600")?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(io)?;
    Ok(Some(text))
}

fn private(path: &Path, mode: u32, fix: &'static str) -> Result<(), Error> {
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(Error::Exposed { path: path.to_owned(), mode: mode & 0o7777, fix })
    }
}

fn write_secret(path: &Path, content: &[u8]) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let dir = path.parent().unwrap_or(Path::new("."));
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(io)?;
    file.write_all(content).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| Error::Io { path: dir.to_owned(), source })
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::Damaged { path: path.to_owned(), why: why.to_owned() }
}
