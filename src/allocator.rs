//! Has glibc give large blocks back.
//!
//! glibc raises the size from which a block is a mapping of its own to that of the largest one freed
//! so far. After the first mail of 25 MB the next ones come out of arenas, one per thread, which keep
//! what they had: eight such mails, one after the other, leave over 100 MB behind. With the size fixed
//! (mallopt(3)) they leave 2 MB. It can only be fixed from the environment, which glibc reads as the
//! program starts, or by a call that Rust cannot make without `unsafe`; so the program starts
//! itself once more.

use std::{os::unix::process::CommandExt as _, process::Command};

/// A buffer this large is worth a system call to return it: 1 MiB, the step in which the buffers of
/// messages grow. Trimming from 2 MiB on, instead of the 128 KiB that fixing the first figure would
/// bring along, keeps ordinary mails from shrinking and growing an arena in turns.
const SETTINGS: [(&str, &str); 2] =
    [("MALLOC_MMAP_THRESHOLD_", "1048576"), ("MALLOC_TRIM_THRESHOLD_", "2097152")];

/// Starts the program again with the settings, in the same process, unless somebody has chosen. Does
/// nothing where there is no glibc.
pub fn settle() {
    if !cfg!(all(target_os = "linux", target_env = "gnu"))
        || SETTINGS.iter().any(|(name, _)| std::env::var_os(name).is_some())
    {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only if it failed, and then the program is the same with more memory in use.
    let _ = command.args(arguments).envs(SETTINGS).exec();
}
