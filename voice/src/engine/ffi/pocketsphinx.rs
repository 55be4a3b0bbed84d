//! PocketSphinx 5prealpha: `pocketsphinx.h`, `ps_search.h`, `sphinxbase/cmd_ln.h`.
//!
//! A decoder belongs to one thread at a time and shares nothing with another, except that making and
//! freeing one, and setting the log, go through globals of sphinxbase: these happen under one lock.
//! The library calls `exit` where a model file is damaged, so files are checked to be there before.

use super::{function, open};
use crate::engine::Error;
use std::{
    ffi::{CStr, CString, c_char, c_int, c_short, c_void},
    marker::PhantomData,
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::{Mutex, PoisonError},
};

/// The fix for missing libraries.
pub const FIX: &str = "apt install libpocketsphinx3 pocketsphinx-en-us";

/// The functions of the library. Copying it copies addresses.
#[derive(Clone, Copy)]
pub struct Library {
    args: unsafe extern "C" fn() -> *const c_void,
    parse: Parse,
    free_args: unsafe extern "C" fn(*mut c_void) -> c_int,
    init: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void) -> c_int,
    start: unsafe extern "C" fn(*mut c_void) -> c_int,
    process: Process,
    end: unsafe extern "C" fn(*mut c_void) -> c_int,
    hypothesis: unsafe extern "C" fn(*mut c_void, *mut i32) -> *const c_char,
    lookup: unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_char,
    add_word: AddWord,
    load_dictionary: LoadDictionary,
    set_jsgf: SetSearch,
    set_lm: SetSearch,
    use_search: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
    free_string: unsafe extern "C" fn(*mut c_void),
}

type Parse =
    unsafe extern "C" fn(*mut c_void, *const c_void, i32, *const *const c_char, i32) -> *mut c_void;
type Process = unsafe extern "C" fn(*mut c_void, *const c_short, usize, c_int, c_int) -> c_int;
type AddWord = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, c_int) -> c_int;
type LoadDictionary =
    unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, *const c_char) -> c_int;
type SetSearch = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> c_int;

/// Held around what touches globals of the library; also what was opened, by directory.
static GLOBALS: Mutex<Vec<(PathBuf, Library)>> = Mutex::new(Vec::new());

impl Library {
    /// Opens the library, once for the process.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] where it is not there.
    pub fn load(dir: Option<&Path>) -> Result<Self, Error> {
        let mut opened = GLOBALS.lock().unwrap_or_else(PoisonError::into_inner);
        let key = dir.map(Path::to_owned).unwrap_or_default();
        if let Some((_, library)) = opened.iter().find(|(path, _)| *path == key) {
            return Ok(*library);
        }
        let base = open("libsphinxbase.so.3", dir, FIX)?;
        let sphinx = open("libpocketsphinx.so.3", dir, FIX)?;
        // SAFETY: the signatures are those of the headers named above; `ckd_free` is what
        // `ps_lookup_word` says to free with.
        let library = unsafe {
            Self {
                args: function(sphinx, "ps_args", FIX)?,
                parse: function(base, "cmd_ln_parse_r", FIX)?,
                free_args: function(base, "cmd_ln_free_r", FIX)?,
                init: function(sphinx, "ps_init", FIX)?,
                free: function(sphinx, "ps_free", FIX)?,
                start: function(sphinx, "ps_start_utt", FIX)?,
                process: function(sphinx, "ps_process_raw", FIX)?,
                end: function(sphinx, "ps_end_utt", FIX)?,
                hypothesis: function(sphinx, "ps_get_hyp", FIX)?,
                lookup: function(sphinx, "ps_lookup_word", FIX)?,
                add_word: function(sphinx, "ps_add_word", FIX)?,
                load_dictionary: function(sphinx, "ps_load_dict", FIX)?,
                set_jsgf: function(sphinx, "ps_set_jsgf_string", FIX)?,
                set_lm: function(sphinx, "ps_set_lm_file", FIX)?,
                use_search: function(sphinx, "ps_set_search", FIX)?,
                free_string: function(base, "ckd_free", FIX)?,
            }
        };
        // The library writes its whole configuration to stderr at every start otherwise.
        // SAFETY: null turns logging off, as err.h says.
        unsafe {
            let set_log: unsafe extern "C" fn(*mut c_void) = function(base, "err_set_logfp", FIX)?;
            set_log(std::ptr::null_mut());
        }
        opened.push((key, library));
        Ok(library)
    }
}

/// A decoder, on the thread that made it.
pub struct Decoder {
    library: Library,
    decoder: NonNull<c_void>,
    config: NonNull<c_void>,
    /// `cmd_ln_parse_r` asks for its arguments to live as long as what it returns.
    _arguments: Vec<CString>,
    /// Not to be sent: nobody has said that a decoder may change threads.
    _here: PhantomData<*const ()>,
}

impl Decoder {
    /// Makes a decoder from pairs of `-name` and value. Blocks for some tenths of a second.
    ///
    /// None where the library refuses, which it explains only in its log.
    pub fn new(library: Library, options: &[(&str, &str)]) -> Option<Self> {
        let arguments: Vec<CString> = std::iter::once("frontdesk")
            .chain(options.iter().flat_map(|(name, value)| [*name, *value]))
            .map(CString::new)
            .collect::<Result<_, _>>()
            .ok()?;
        let pointers: Vec<*const c_char> = arguments.iter().map(|text| text.as_ptr()).collect();
        let count = i32::try_from(pointers.len()).ok()?;
        let _globals = GLOBALS.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the definitions come from the library itself, the strings live as long as the
        // configuration (see the field), and `count` is their number.
        let config = NonNull::new(unsafe {
            let definitions = (library.args)();
            (library.parse)(std::ptr::null_mut(), definitions, count, pointers.as_ptr(), 1)
        })?;
        // SAFETY: `config` is complete.
        match NonNull::new(unsafe { (library.init)(config.as_ptr()) }) {
            Some(decoder) => {
                Some(Self { library, decoder, config, _arguments: arguments, _here: PhantomData })
            }
            None => {
                // SAFETY: the decoder that would have kept it does not exist.
                unsafe { (library.free_args)(config.as_ptr()) };
                None
            }
        }
    }

    /// Whether the dictionary has this word.
    pub fn knows(&self, word: &str) -> bool {
        let Ok(word) = CString::new(word) else { return false };
        // SAFETY: the decoder is alive and the word a C string.
        let phones = unsafe { (self.library.lookup)(self.decoder.as_ptr(), word.as_ptr()) };
        if phones.is_null() {
            return false;
        }
        // SAFETY: pocketsphinx.h says the caller frees it.
        unsafe { (self.library.free_string)(phones.cast()) };
        true
    }

    /// Adds a word with its phones to the dictionary, for searches that are added later. False where the model
    /// does not have these phones.
    pub fn add_word(&mut self, word: &CStr, phones: &CStr) -> bool {
        // SAFETY: the decoder is alive and both are C strings, which it copies; 0 leaves searches as they are.
        let code = unsafe {
            (self.library.add_word)(self.decoder.as_ptr(), word.as_ptr(), phones.as_ptr(), 0)
        };
        code >= 0
    }

    /// Takes another dictionary in place of the one so far. False where it cannot be read.
    pub fn load_dictionary(&mut self, file: &CStr) -> bool {
        // SAFETY: the decoder is alive and the path a C string; null means the acoustic model's own
        // fillers, and the default format.
        let code = unsafe {
            let (decoder, null) = (self.decoder.as_ptr(), std::ptr::null());
            (self.library.load_dictionary)(decoder, file.as_ptr(), null, null)
        };
        code == 0
    }

    /// Adds a search for a grammar under a name. False where the grammar does not parse.
    pub fn add_jsgf(&mut self, name: &CStr, jsgf: &CStr) -> bool {
        // SAFETY: the decoder is alive and both are C strings, which it copies.
        let code =
            unsafe { (self.library.set_jsgf)(self.decoder.as_ptr(), name.as_ptr(), jsgf.as_ptr()) };
        code == 0
    }

    /// Adds a search with the language model in a file. False where it cannot be read.
    pub fn add_language_model(&mut self, name: &CStr, file: &CStr) -> bool {
        // SAFETY: as in `add_jsgf`.
        let code =
            unsafe { (self.library.set_lm)(self.decoder.as_ptr(), name.as_ptr(), file.as_ptr()) };
        code == 0
    }

    /// Chooses the search for the next utterance. False where there is none of that name.
    pub fn use_search(&mut self, name: &CStr) -> bool {
        // SAFETY: the decoder is alive and the name a C string.
        unsafe { (self.library.use_search)(self.decoder.as_ptr(), name.as_ptr()) == 0 }
    }

    /// Starts an utterance.
    pub fn start(&mut self) -> bool {
        // SAFETY: the decoder is alive; starting twice is refused by the library.
        unsafe { (self.library.start)(self.decoder.as_ptr()) == 0 }
    }

    /// Listens to samples at 16 kHz.
    pub fn process(&mut self, samples: &[i16]) -> bool {
        // SAFETY: the decoder is alive, and reads that many samples during the call.
        let code = unsafe {
            (self.library.process)(
                self.decoder.as_ptr(),
                samples.as_ptr(),
                samples.len(),
                0, // search while listening
                0, // more may follow
            )
        };
        code >= 0
    }

    /// Ends the utterance: the last passes run.
    pub fn end(&mut self) -> bool {
        // SAFETY: the decoder is alive; ending without a start is refused by the library.
        unsafe { (self.library.end)(self.decoder.as_ptr()) == 0 }
    }

    /// The words so far.
    pub fn hypothesis(&mut self) -> Option<String> {
        let mut score = 0;
        // SAFETY: the decoder is alive; the string is its own until the next call, and copied before.
        unsafe {
            let text = (self.library.hypothesis)(self.decoder.as_ptr(), &raw mut score);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let _globals = GLOBALS.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: both are alive and not used again. `ps_init` took a reference of its own to the
        // configuration, so freeing both is right.
        unsafe {
            (self.library.free)(self.decoder.as_ptr());
            (self.library.free_args)(self.config.as_ptr());
        }
    }
}
