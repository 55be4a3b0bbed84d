//! Running Whisper so that it can be stopped.
//!
//! whisper-rs has a safe setter for the abort callback, but in 0.16 it hands the callback a pointer to a
//! `Box<dyn FnMut>` and reads it as the closure itself, and never frees it. So the callback is set here.

use std::{
    ffi::c_void,
    sync::atomic::{AtomicBool, Ordering},
};
use whisper_rs::{FullParams, WhisperError, WhisperState};

/// Decodes, until done or until `stop` is set; that is looked at before every step of the network.
///
/// # Errors
///
/// Whisper's own; a stopped run is one of them.
pub fn run(
    state: &mut WhisperState,
    mut params: FullParams<'_, '_>,
    samples: &[f32],
    stop: &AtomicBool,
) -> Result<(), WhisperError> {
    // SAFETY: the pointer is only read by `asked` during `full` below, and `stop` outlives that; `params`
    // is moved into it, so nobody can run with the pointer later.
    unsafe {
        params.set_abort_callback_user_data(std::ptr::from_ref(stop).cast_mut().cast());
        params.set_abort_callback(Some(asked));
    }
    state.full(params, samples)
}

/// Called by whisper.cpp, on whichever of its threads.
///
/// # Safety
///
/// `stop` is an [`AtomicBool`] that is alive.
unsafe extern "C" fn asked(stop: *mut c_void) -> bool {
    // SAFETY: by this function's contract; it is never written through.
    unsafe { &*stop.cast::<AtomicBool>() }.load(Ordering::Relaxed)
}
