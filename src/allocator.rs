//! Has glibc give large blocks back.
//!
//! glibc raises the size from which a block is a mapping of its own to that of the largest one freed
//! so far. After the first mail of 25 MB the next ones come out of arenas, one per thread, which keep
//! what they had: eight such mails, one after the other, leave over 100 MB behind. With the size fixed
//! (mallopt(3)) they leave 2 MB.

/// A buffer this large is worth a system call to return it: 1 MiB, the step in which the buffers of
/// messages grow.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_THRESHOLD: i32 = 1 << 20;

/// Trimming from 2 MiB on, instead of the 128 KiB that fixing the first figure would bring along, keeps
/// ordinary mails from shrinking and growing an arena in turns.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIM_THRESHOLD: i32 = 2 << 20;

/// Fixes the figures. Call it before threads are started. Does nothing where there is no glibc.
pub fn settle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "mallopt has no safe interface")]
    // SAFETY: mallopt takes two integers, touches no memory of ours, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD);
    }
}
