//! The only module of this crate with unsafe code: speech libraries of the system, opened at run time,
//! and the one callback Whisper needs.
//!
//! What always holds: a raw pointer never leaves this module; every library stays open for the life of
//! the process, because voices and tables registered inside them are referred to for ever; and what was
//! reported about each library's threads is written where it is relied on.

#![allow(unsafe_code)]

#[cfg(feature = "whisper")]
pub mod abort;
pub mod flite;
pub mod pocketsphinx;

use super::Error;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::path::Path;

/// Opens a system library for good, by its soname, or in `dir` where one is given.
///
/// # Errors
///
/// [`Error::Missing`] with `fix`.
fn open(soname: &str, dir: Option<&Path>, fix: &str) -> Result<&'static Library, Error> {
    let file = dir.map_or_else(|| soname.into(), |dir| dir.join(soname));
    // SAFETY: opening runs the library's constructors; these libraries are C with none of their own.
    let library = unsafe { Library::open(Some(&file), RTLD_NOW | RTLD_LOCAL) };
    match library {
        // Leaked on purpose: what the library registers refers to its own memory for ever.
        Ok(library) => Ok(Box::leak(Box::new(library))),
        Err(error) => Err(Error::Missing {
            what: format!("the library {} cannot be opened ({error})", file.display()),
            fix: fix.to_owned(),
        }),
    }
}

/// One function of a library.
///
/// # Safety
///
/// `F` is the C signature of the function with this name.
unsafe fn function<F: Copy>(library: &'static Library, name: &str, fix: &str) -> Result<F, Error> {
    // SAFETY: by this function's contract; the library stays open for good.
    let found = unsafe { library.get::<F>(name.as_bytes()) };
    found.map(|symbol| *symbol).map_err(|error| Error::Missing {
        what: format!("the installed library has no function {name} ({error})"),
        fix: fix.to_owned(),
    })
}
