//! The `cutover` binary: arguments in, exit code out.

/// Requests are many small allocations on few threads, which is what it is best at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cutover::run()
}
