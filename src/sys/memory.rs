//! Returns freed memory to the system. The allocator does so only while it is busy: after a burst of connections that
//! stay idle, each would keep the buffers of its last request.

/// Costs some system calls: for now and then, not for each connection.
pub(crate) fn give_back() {
    #[expect(unsafe_code, reason = "the allocator's own entry point has no safe wrapper")]
    // SAFETY: `mi_collect` may be called at any time on any thread; it takes no pointers.
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}
