//! Certificate files, read again every second.

use crate::control::{Controller, Input};
use crate::tls::TlsError;

#[derive(Debug, Default)]
pub(super) struct Certificates {
    errors: Vec<TlsError>,
    reading: bool,
}

impl Certificates {
    pub(super) fn errors(&self) -> &[TlsError] {
        &self.errors
    }

    pub(super) fn clear_errors(&mut self) {
        self.errors.clear();
    }
}

impl Controller {
    /// Certificates are renewed by replacing their files, without an edit of the configuration.
    pub(super) fn read_certificates(&mut self) {
        let trust = self.publisher.trusted();
        if trust.is_empty() || self.certificates.reading {
            return;
        }
        let (trust, inputs) = (trust.clone(), self.inputs.clone());
        self.certificates.reading = true;
        tokio::task::spawn_blocking(move || {
            let (changed, errors) = trust.reload();
            let _ = inputs.send(Input::Certificates(changed, errors));
        });
    }

    pub(super) fn certificates_read(&mut self, changed: bool, errors: Vec<TlsError>) {
        self.certificates.reading = false;
        if changed {
            tracing::info!("Certificates read again and in force");
        } else if errors.is_empty() && !self.certificates.errors.is_empty() {
            tracing::info!("Certificate files unchanged");
        }
        if errors != self.certificates.errors {
            for error in &errors {
                tracing::error!(%error, "Certificate file unusable; what was read before stays in force");
            }
            self.certificates.errors = errors;
        }
    }
}
