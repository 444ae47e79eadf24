//! Behaviour over real sockets, files, signals and processes. One binary, so that it links once.
