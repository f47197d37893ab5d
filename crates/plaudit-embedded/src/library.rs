//! The foreign calls: the only `unsafe` of the workspace.
//!
//! Four functions of the library's C interface, and nothing else of it. The library
//! is never unloaded: its threads outlive any call.
#![expect(
    unsafe_code,
    reason = "the engine is a C library, found at run time: there is no safe way to call it"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;

use libloading::Library;

use crate::EngineError;

/// Runs the engine with a command line; returns when the command line is done.
type QueryCommandLine = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;
/// The text of a result's error, or null. It belongs to the result.
type ResultError = unsafe extern "C" fn(*mut c_void) -> *const c_char;
/// Frees a result.
type DestroyResult = unsafe extern "C" fn(*mut c_void);
/// Whether the engine takes over the handlers of deadly signals.
type SetSignalHandlers = unsafe extern "C" fn(c_int);

/// The loaded library. Its functions stay valid for the life of the process.
pub(crate) struct EngineLibrary {
    query_command_line: QueryCommandLine,
    result_error: ResultError,
    destroy_result: DestroyResult,
}

impl EngineLibrary {
    /// Loads the library and finds what is needed in it.
    ///
    /// The engine is kept from installing signal handlers: its own ones sleep for
    /// minutes on a crash, and signals are the business of the binary.
    pub(crate) fn load(path: &Path) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Library {
            path: path.to_owned(),
            source,
        };
        // SAFETY: loading runs the initialisers of the library. The file is the pinned
        // engine that the caller has verified by its checksum; its initialisers set up
        // its allocator and registries, and need nothing from this process.
        let library = unsafe { Library::new(path) }.map_err(failed)?;
        // Leaked, so never unloaded: the functions and the engine's threads stay valid.
        let library: &'static Library = Box::leak(Box::new(library));
        // SAFETY: the four types are those of the library's header, `chdb.h`, where a
        // result is an opaque pointer.
        let (set_signal_handlers, loaded) = unsafe {
            let set_signal_handlers: SetSignalHandlers = *library
                .get(c"chdb_set_signal_handlers_enabled")
                .map_err(failed)?;
            let loaded = Self {
                query_command_line: *library.get(c"chdb_query_cmdline").map_err(failed)?,
                result_error: *library.get(c"chdb_result_error").map_err(failed)?,
                destroy_result: *library.get(c"chdb_destroy_query_result").map_err(failed)?,
            };
            (set_signal_handlers, loaded)
        };
        // SAFETY: takes a number and stores it; called before the engine starts.
        unsafe { set_signal_handlers(0) };
        Ok(loaded)
    }

    /// Runs the engine until its command line is done, which may be for ever.
    ///
    /// Returns the error that the engine reports, if it reports one. To be called on a
    /// thread of its own, once in the life of a process.
    pub(crate) fn run(&self, arguments: &[CString]) -> Option<String> {
        let mut pointers: Vec<*mut c_char> = arguments
            .iter()
            .map(|argument| argument.as_ptr().cast_mut())
            .chain([std::ptr::null_mut()])
            .collect();
        let count = c_int::try_from(arguments.len()).expect("a dozen arguments fit an int");
        // SAFETY: `pointers` holds `count` zero-terminated strings and a null, as `main`
        // gets them; strings and array live until the call returns. The engine reads
        // its arguments and does not write to them.
        let result = unsafe { (self.query_command_line)(count, pointers.as_mut_ptr()) };
        let result = NonNull::new(result)?;
        // SAFETY: a result that the call above returned and nobody has freed. The text
        // belongs to it and is copied before it is freed, exactly once.
        unsafe {
            let error = (self.result_error)(result.as_ptr());
            let error =
                (!error.is_null()).then(|| CStr::from_ptr(error).to_string_lossy().into_owned());
            (self.destroy_result)(result.as_ptr());
            error
        }
    }
}
