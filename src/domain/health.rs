//! The health of one endpoint: rise and fall hysteresis over probe results.

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not probed yet. Used only where no endpoint is up.
    Unknown,
    /// Passes its checks.
    Up,
    /// Fails its checks; gets no requests.
    Down,
}
