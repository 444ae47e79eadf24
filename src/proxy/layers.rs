//! What stands around the forwarding of a request, as tower layers. `stack` composes them.

pub(crate) mod https_redirect;
pub(crate) mod readiness;
