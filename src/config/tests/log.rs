//! Values of `[log]`.

use super::plus;
use super::refused::{check, row};

#[test]
fn a_field_with_secrets_or_a_name_in_use_is_no_field_of_the_log() {
    check(&[
        row(
            plus("[log]\nfields = [«\"Authorization\"]"),
            "\"Authorization\" would put secrets into the log",
            "remove it",
        ),
        row(plus("[log]\nfields = [\"referer\", «\"Referer\"]"), "is in `log.fields` twice", "keep one of them"),
        row(plus("[log]\nfields = [«\"status\"]"), "is a name that every line has already", "remove it"),
        row(plus("[log]\nsample = «\"10\""), "which is not a percentage", "%"),
    ]);
}
