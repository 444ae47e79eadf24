//! Memory that is not needed any more goes back to the system.
//!
//! The allocator gives freed pages back some time later, but only while it is busy: after a burst of connections that
//! then stay idle nothing would be given back, and each would go on costing the buffers of its last request.

/// Gives back what this thread has freed. It costs some system calls: once in a while, not for each connection.
pub(crate) fn give_back() {
    #[expect(unsafe_code, reason = "the allocator's own entry point has no safe wrapper")]
    // SAFETY: `mi_collect` may be called at any time on any thread; it takes no pointers.
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}
