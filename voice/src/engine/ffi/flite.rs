//! Flite 2.x: `flite.h`, `cst_wave.h`, `cst_voice.h`.
//!
//! Synthesis reads the shared voice and its lexicon, and how fast to speak is a property set on the shared
//! voice, so every call into the library happens under one lock. A sentence takes a seventieth of its
//! length (slt) or a two-thousandth (kal16), so one at a time serves dozens of callers.

use super::{function, open};
use crate::engine::Error;
use std::{
    collections::HashMap,
    ffi::{CStr, c_char, c_float, c_int, c_short, c_void},
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::{Mutex, PoisonError},
};

/// Longest sound made of one text, in samples of 16 kHz: ten minutes. It only guards against a damaged
/// length in the library's answer.
const MAX_SAMPLES: usize = 16_000 * 600;

/// The fix for every missing part.
pub const FIX: &str = "apt install libflite1";

/// A voice that was found and registered. Copying it copies a reference.
#[derive(Clone, Copy)]
pub struct Voice(&'static Loaded);

struct Loaded {
    voice: NonNull<CstVoice>,
    text_to_wave: TextToWave,
    delete_wave: DeleteWave,
    set_float: SetFloat,
}

// SAFETY: the voice is only ever touched by `Voice::synthesise`, under `LIBRARY`, and flite keeps nothing
// in thread-local storage (its error jump buffer is a plain global, behind the same lock).
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

/// Sound, as the library made it.
pub struct Wave {
    /// Samples in a second.
    pub rate: u32,
    /// Mono samples.
    pub samples: Vec<i16>,
}

type Known = HashMap<(PathBuf, &'static str), Voice>;

/// Held around every call into the library; also what was loaded, by directory and voice.
static LIBRARY: Mutex<Option<Known>> = Mutex::new(None);

/// The voices there are libraries for, by the name used in `flite:NAME`.
pub const VOICES: [&str; 5] = ["slt", "kal16", "kal", "awb", "rms"];

impl Voice {
    /// Opens the libraries of one of [`VOICES`] and registers the voice, once for the process. Blocks for
    /// a few milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] where a library is not there, and [`Error::Invalid`] for other names.
    pub fn load(name: &str, dir: Option<&Path>) -> Result<Self, Error> {
        let Some(name) = VOICES.into_iter().find(|voice| *voice == name) else {
            let known = VOICES.join(", ");
            return Err(Error::Invalid(format!("flite has no voice {name:?}; it has {known}")));
        };
        let key = (dir.map(Path::to_owned).unwrap_or_default(), name);
        let mut known = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        if let Some(voice) = known.get(&key) {
            return Ok(*voice);
        }
        let voice = Self(Box::leak(Box::new(register(name, dir)?)));
        known.insert(key, voice);
        Ok(voice)
    }

    /// Says `text`, `stretch` times as long as the voice would. Blocks until all of it is made; there is
    /// nothing in it to cancel. None where the library makes nothing of the text.
    pub fn synthesise(self, text: &CStr, stretch: f32) -> Option<Wave> {
        let _one_at_a_time = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self.0;
        // SAFETY: `voice` is a registered voice, whose `features` flite owns and never moves; the name
        // outlives it, being static; and the lock keeps other threads out.
        unsafe {
            let features = (*loaded.voice.as_ptr()).features;
            (loaded.set_float)(features, c"duration_stretch".as_ptr(), stretch);
        }
        // SAFETY: `text` is a C string for the length of the call, and the voice is registered.
        let wave = unsafe { (loaded.text_to_wave)(text.as_ptr(), loaded.voice.as_ptr()) };
        let wave = NonNull::new(wave)?;
        // SAFETY: a wave that is not null is complete, and ours until it is deleted below.
        let copied = unsafe { copy(wave.as_ref()) };
        // SAFETY: nothing of it is used after this.
        unsafe { (loaded.delete_wave)(wave.as_ptr()) };
        copied
    }
}

/// Opens and registers; called under [`LIBRARY`].
fn register(name: &str, dir: Option<&Path>) -> Result<Loaded, Error> {
    // The voice's library names these three among what it needs; opening them first makes the message say
    // which one is missing.
    let core = open("libflite.so.1", dir, FIX)?;
    open("libflite_usenglish.so.1", dir, FIX)?;
    open("libflite_cmulex.so.1", dir, FIX)?;
    let library = open(&format!("libflite_cmu_{}.so.1", long_name(name)), dir, FIX)?;
    // SAFETY: the signatures are those of flite.h and cst_wave.h; register functions take the directory
    // of external data, which the built-in voices do without.
    unsafe {
        let init: unsafe extern "C" fn() -> c_int = function(core, "flite_init", FIX)?;
        let register: unsafe extern "C" fn(*const c_char) -> *mut CstVoice =
            function(library, &format!("register_cmu_{}", long_name(name)), FIX)?;
        let text_to_wave = function(core, "flite_text_to_wave", FIX)?;
        let delete_wave = function(core, "delete_wave", FIX)?;
        let set_float = function(core, "flite_feat_set_float", FIX)?;
        init();
        let voice = NonNull::new(register(std::ptr::null())).ok_or_else(|| Error::Missing {
            what: format!("flite did not register its voice {name}"),
            fix: FIX.to_owned(),
        })?;
        Ok(Loaded { voice, text_to_wave, delete_wave, set_float })
    }
}

fn long_name(name: &str) -> String {
    format!("us_{name}")
}

/// # Safety
///
/// `wave.samples` holds `num_samples * num_channels` samples.
unsafe fn copy(wave: &CstWave) -> Option<Wave> {
    let rate = u32::try_from(wave.sample_rate).ok().filter(|rate| *rate > 0)?;
    let len = usize::try_from(wave.num_samples).ok().filter(|len| *len <= MAX_SAMPLES)?;
    // Every voice of flite's own is mono.
    if wave.num_channels != 1 || wave.samples.is_null() {
        return None;
    }
    // SAFETY: by this function's contract, with one channel.
    let samples = unsafe { std::slice::from_raw_parts(wave.samples, len) };
    Some(Wave { rate, samples: samples.to_vec() })
}

/// `cst_wave` of `cst_wave.h`.
#[repr(C)]
struct CstWave {
    kind: *const c_char,
    sample_rate: c_int,
    num_samples: c_int,
    num_channels: c_int,
    samples: *mut c_short,
}

/// `cst_voice` of `cst_voice.h`: the part that is used.
#[repr(C)]
struct CstVoice {
    name: *const c_char,
    features: *mut c_void,
}

type TextToWave = unsafe extern "C" fn(*const c_char, *mut CstVoice) -> *mut CstWave;
type DeleteWave = unsafe extern "C" fn(*mut CstWave);
type SetFloat = unsafe extern "C" fn(*mut c_void, *const c_char, c_float);
