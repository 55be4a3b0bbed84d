//! Sound that is said again and again, on disk: greetings, fillers, prompts.
//!
//! A file is named by everything its sound depends on ([`CacheKey`]) and written under another name first,
//! so a file that is there is whole. Reading and writing block for well under a millisecond and happen
//! on blocking threads.

use crate::{engine::Chunk, text::cache::CacheKey};
use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Longest sound that is kept, in samples: half a minute at the highest rate.
const LONGEST: usize = 48_000 * 30;

/// The files that are kept; the ones used least recently go. At 100 KB each that is 50 MB.
const FILES: usize = 500;

/// A folder of sounds.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// In this folder, which is made when something is kept.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    fn file(&self, key: CacheKey) -> PathBuf {
        self.folder.join(format!("{key}.pcm"))
    }

    /// What is kept under this key. A file that is damaged is as good as none.
    #[must_use]
    pub fn get(&self, key: CacheKey) -> Option<Chunk> {
        let path = self.file(key);
        let bytes = std::fs::read(&path).ok()?;
        let (rate, rest) = bytes.split_first_chunk::<4>()?;
        let rate = u32::from_le_bytes(*rate);
        let (pairs, odd) = rest.as_chunks::<2>();
        if rate == 0 || !odd.is_empty() || pairs.len() > LONGEST {
            return None;
        }
        // Its time of use keeps it among the newest. A cache that cannot be written still serves.
        let _ = std::fs::File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(std::time::SystemTime::now()));
        let samples = pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
        Some(Chunk { rate, samples })
    }

    /// Keeps a sound.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be written; nothing is kept then.
    pub fn put(&self, key: CacheKey, sound: &Chunk) -> io::Result<()> {
        if sound.samples.is_empty() || sound.samples.len() > LONGEST {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder)?;
        let mut bytes = Vec::with_capacity(4 + sound.samples.len() * 2);
        bytes.extend(sound.rate.to_le_bytes());
        bytes.extend(sound.samples.iter().flat_map(|sample| sample.to_le_bytes()));
        let (path, unique) = (self.file(key), std::process::id());
        let part = self.folder.join(format!("{key}.{unique}.{:p}.part", &raw const bytes));
        let written = std::fs::File::create(&part)
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| std::fs::rename(&part, &path));
        if written.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        written?;
        self.trim()
    }

    fn trim(&self) -> io::Result<()> {
        let mut files: Vec<(std::time::SystemTime, PathBuf)> = std::fs::read_dir(&self.folder)?
            .flatten()
            .filter(|entry| is_sound(&entry.path()))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        if files.len() <= FILES {
            return Ok(());
        }
        files.sort();
        for (_, path) in &files[..files.len() - FILES] {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}

fn is_sound(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pcm")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::cache::Utterance;

    fn key(text: &str) -> CacheKey {
        Utterance { engine: "flite", voice: "slt", rate_hz: 16_000, pace_percent: 100, text }.key()
    }

    #[test]
    fn what_is_put_comes_back_and_damage_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("sounds"));
        let sound = Chunk { rate: 16_000, samples: vec![1, -2, 3] };
        assert_eq!(cache.get(key("Hello.")), None);
        cache.put(key("Hello."), &sound).unwrap();
        assert_eq!(cache.get(key("Hello.")), Some(sound));
        assert_eq!(cache.get(key("Bye.")), None);
        std::fs::write(cache.file(key("Bye.")), [1, 2, 3]).unwrap();
        assert_eq!(cache.get(key("Bye.")), None);
        std::fs::write(cache.file(key("Bye.")), [0, 0, 0, 0, 1]).unwrap();
        assert_eq!(cache.get(key("Bye.")), None);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let old = std::time::SystemTime::UNIX_EPOCH;
        for n in 0..FILES {
            let path = cache.file(key(&n.to_string()));
            std::fs::write(&path, [128, 62, 0, 0, 1, 0]).unwrap();
            let age = old + std::time::Duration::from_secs(n as u64);
            std::fs::File::options().append(true).open(&path).unwrap().set_modified(age).unwrap();
        }
        assert!(cache.get(key("0")).is_some(), "used just now");
        cache.put(key("new"), &Chunk { rate: 16_000, samples: vec![5] }).unwrap();
        assert!(cache.get(key("0")).is_some() && cache.get(key("new")).is_some());
        assert!(cache.get(key("1")).is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), FILES);
    }
}
