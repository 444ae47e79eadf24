//! Everything that a section works with.

use crate::applications::Applications;
use crate::certificate::Certificate;
use crate::machine::cores::Cores;
use crate::proxies::programs::Programs;

/// The programs, the cores, the applications behind the proxies, and the number of clients in front of them.
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    pub(crate) cores: Cores,
    pub(crate) applications: Applications,
    pub(crate) certificate: Certificate,
    /// Clients that ask without a pause.
    pub(crate) connections: usize,
}
