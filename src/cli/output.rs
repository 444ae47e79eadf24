//! Writing to the terminal: colors only where they are wanted, and no panic when the reader of a pipe has left.

use std::io::{ErrorKind, Write};

use anstream::{AutoStream, ColorChoice};

/// Prints to standard output. `NO_COLOR` and whether it is a terminal are looked at here, once for everything.
pub(crate) fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    ended_if_broken(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Prints an error.
pub(crate) fn complain(text: &str) {
    let mut out = anstream::stderr().lock();
    // Where not even this can be written, the exit code says it.
    let _ = writeln!(out, "{}", text.trim_end());
}

/// Standard error shows colors.
pub(crate) fn colored_errors() -> bool {
    AutoStream::choice(&std::io::stderr()) != ColorChoice::Never
}

/// `cutover history | head` is no failure.
fn ended_if_broken(written: std::io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            complain(&format!("could not write the output: {error}"));
            std::process::exit(1);
        }
    }
}
