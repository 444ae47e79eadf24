//! Ranges, paths and verdicts.
