//! The way back by itself.
