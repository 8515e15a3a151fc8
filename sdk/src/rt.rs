//! What generated bindings need at run time, of `wit_bindgen::rt`: the part that synchronous functions use.
//!
//! Source: wit-bindgen 0.61.1, `crates/guest-rust/src/rt/mod.rs` (Apache-2.0 OR MIT).

use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};

/// Called from generated code, to keep a reference to `cabi_realloc`. On wasm32-wasip2 the C library exports it.
pub fn maybe_link_cabi_realloc() {}

/// Runs the static constructors once, before the first export.
#[cfg(target_arch = "wasm32")]
pub fn run_ctors_once() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.swap(true, Ordering::Relaxed) {
        unsafe extern "C" {
            fn __wasm_call_ctors();
        }
        // SAFETY: the linker makes this function; nothing has run before it
        unsafe { __wasm_call_ctors() };
    }
}

/// Frees what was lowered for a call.
#[derive(Debug)]
pub struct Cleanup {
    place: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it only owns its memory
unsafe impl Send for Cleanup {}
// SAFETY: it only owns its memory
unsafe impl Sync for Cleanup {}

impl Cleanup {
    /// Memory of this layout, null when it has no size, and what frees it.
    pub fn new(layout: Layout) -> (*mut u8, Option<Self>) {
        if layout.size() == 0 {
            return (ptr::null_mut(), None);
        }
        // SAFETY: the size is not zero
        let place = unsafe { alloc::alloc(layout) };
        let Some(place) = NonNull::new(place) else { alloc::handle_alloc_error(layout) };
        (place.as_ptr(), Some(Self { place, layout }))
    }

    /// The memory has another owner now.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed nowhere else
        unsafe { alloc::dealloc(self.place.as_ptr(), self.layout) };
    }
}
