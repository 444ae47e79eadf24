//! The files of certificates, read again every second.

use crate::control::{Controller, Input};
use crate::tls::TlsError;

impl Controller {
    /// Certificates are renewed by replacing their files, which says nothing in the configuration.
    pub(super) fn read_certificates(&mut self) {
        let trust = self.publisher.trusted();
        if trust.is_empty() || self.reading_certificates {
            return;
        }
        let (trust, inputs) = (trust.clone(), self.inputs.clone());
        self.reading_certificates = true;
        tokio::task::spawn_blocking(move || {
            let (changed, errors) = trust.reload();
            let _ = inputs.send(Input::Certificates(changed, errors));
        });
    }

    pub(super) fn certificates_read(&mut self, changed: bool, errors: Vec<TlsError>) {
        self.reading_certificates = false;
        if changed {
            tracing::info!("The certificates were read again and are in force.");
        } else if errors.is_empty() && !self.certificate_errors.is_empty() {
            tracing::info!("The files of the certificates are as before.");
        }
        if errors != self.certificate_errors {
            for error in &errors {
                tracing::error!(%error, "Certificate file unusable; what was read before stays in force");
            }
            self.certificate_errors = errors;
        }
    }
}
