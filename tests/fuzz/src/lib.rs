//! The bound on memory that all targets share: libFuzzer's own limit for allocations needs the address sanitizer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes that are allocated, and how many may be. There is one thread, so a load and a store will do.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

struct Counted;

#[global_allocator]
static COUNTED: Counted = Counted;

/// Runs a property that holds at most so many bytes at any moment, beyond those that are held before.
pub fn within(bytes: usize, property: impl FnOnce()) {
    MOST.store(HELD.load(Relaxed) + bytes, Relaxed);
    property();
    MOST.store(usize::MAX, Relaxed);
}

fn more(bytes: usize) {
    let held = HELD.load(Relaxed) + bytes;
    HELD.store(held, Relaxed);
    if held > MOST.load(Relaxed) && !std::thread::panicking() {
        MOST.store(usize::MAX, Relaxed);
        eprintln!("the bound on memory does not hold: {bytes} bytes more make it {held}");
        std::process::abort();
    }
}

fn less(bytes: usize) {
    HELD.store(HELD.load(Relaxed) - bytes, Relaxed);
}

// SAFETY: each call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        less(layout.size());
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(size);
        less(layout.size());
        unsafe { System.realloc(block, layout, size) }
    }
}
