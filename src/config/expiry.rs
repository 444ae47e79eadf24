//! What a valid configuration names and is past its time.

use std::time::SystemTime;

use crate::config::Config;
use crate::tls;

impl Config {
    /// Certificates and staples that have expired, a sentence each.
    #[must_use]
    pub fn expired(&self, now: SystemTime) -> Vec<String> {
        let all = self.tls.iter().flat_map(|tls| &tls.certificates);
        all.flat_map(|files| tls::expired(files, now)).map(|error| error.to_string()).collect()
    }
}
