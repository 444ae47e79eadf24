//! The `cutover` binary: arguments in, exit code out.

fn main() {}
