//! The configuration file: its state, and its events. ARCHITECTURE.md has the journey of an edit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::config::Config;
use crate::config::error::{ConfigError, Diagnostic, UnusableFile};
use crate::config::watch::FileEvent;
use crate::control::Controller;
use crate::control::configured::configured;
use crate::control::handle::{Access, News};
use crate::domain::color::Color;
use crate::domain::rollout::Event;
use crate::proxy::precedence;
use crate::proxy::snapshot::trust::Trust;
use crate::sys::turns::Turns;
use crate::tls::TlsError;

/// Routes that take the compiler about 0.1 ms.
const LONG: usize = 500;

#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    error: Option<ConfigError>,
    /// The newest text is valid but unusable: because of its certificates, or an emptied color.
    not_in_force: Option<ConfigError>,
    valid_at: SystemTime,
    write_backs: watch::Sender<usize>,
}

impl File {
    pub(super) fn new(path: PathBuf) -> File {
        File { path, error: None, not_in_force: None, valid_at: SystemTime::now(), write_backs: watch::Sender::new(0) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn shown_path(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn error(&self) -> Option<&ConfigError> {
        self.error.as_ref()
    }

    pub(super) fn not_in_force(&self) -> Option<&ConfigError> {
        self.not_in_force.as_ref()
    }

    pub(super) fn valid_at(&self) -> SystemTime {
        self.valid_at
    }

    fn taken_in(&mut self) {
        self.not_in_force = None;
        self.restored();
    }

    fn restored(&mut self) {
        self.error = None;
        self.valid_at = SystemTime::now();
    }

    fn invalid(&mut self, error: ConfigError) {
        self.error = Some(error);
    }

    pub(super) fn begin_write_backs(&self, count: usize) {
        self.write_backs.send_modify(|under_way| *under_way += count);
    }

    fn end_write_back(&self) {
        self.write_backs.send_modify(|under_way| *under_way = under_way.saturating_sub(1));
    }

    pub(super) fn is_being_written(&self) -> bool {
        *self.write_backs.borrow() > 0
    }

    /// Resolves when the write-backs under way have ended; `None`: there are none.
    pub(super) fn written_back(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        if !self.is_being_written() {
            return None;
        }
        let mut write_backs = self.write_backs.subscribe();
        Some(async move {
            let _ = write_backs.wait_for(|under_way| *under_way == 0).await;
        })
    }
}

impl Controller {
    pub(super) fn file_event(&mut self, event: FileEvent, trust: Option<Result<Trust, Vec<TlsError>>>) {
        match event {
            FileEvent::Edited(config) => self.file_edited(config, trust),
            FileEvent::Invalid(error) => self.file_invalid(error),
            FileEvent::Restored => self.file_restored(),
            FileEvent::WroteBack(result) => self.file_written_back(result),
        }
    }

    /// Puts a valid file into force: into the snapshot first, so that requests wait for nothing, and into the rollout
    /// last, which may begin the switch that the file orders.
    fn file_edited(&mut self, config: Arc<Config>, trust: Option<Result<Trust, Vec<TlsError>>>) {
        let _turns = (config.routes.len() > LONG).then(Turns::begin);
        match trust {
            Some(Ok(trust)) => self.publisher.trust(trust),
            // The text is valid, but its files have changed since.
            Some(Err(errors)) => return self.file_not_in_force(untrusted(self.file.path(), &errors)),
            None => {}
        }
        let emptied =
            Color::ALL.into_iter().find(|color| self.publisher.serves(*color) && config.colors[*color].is_empty());
        if let Some(color) = emptied {
            return self.file_not_in_force(ConfigError::empties(self.file.path(), color));
        }
        self.note_repaired_files(&config);
        let before = std::mem::replace(&mut self.config, config);
        let changes = before.differences(&self.config).join("; ");
        self.file.taken_in();
        self.linger.edited(&before, &self.config);
        self.publish_edit();
        self.configure_parts(&before);
        tracing::info!(file = %self.file.path().display(), changes, "Configuration in force");
        let _ = self.news.send(News::Reloaded(None));
        self.handle(Event::Configured(configured(&self.config, self.file.path())));
        // Its endpoints may be other ones now.
        self.report_fitness();
    }

    fn note_repaired_files(&mut self, next: &Config) {
        if next.unusable.is_empty() {
            self.certificates.clear_errors();
        }
        for UnusableFile { setting, path, .. } in &self.config.unusable {
            if !next.unusable.iter().any(|file| (&file.setting, &file.path) == (setting, path)) {
                tracing::info!(setting, file = path, "File usable again");
            }
        }
    }

    fn publish_edit(&mut self) {
        let decision = self.rollout.decision().clone();
        self.prepare_lingering(&decision);
        let retired = self.publisher.publish(&self.config, &decision);
        debug_assert!(retired.is_none(), "a reload moves no traffic by itself");
    }

    /// Hands the configuration to the parts that work beside the snapshot.
    fn configure_parts(&mut self, before: &Config) {
        if before.health != self.config.health {
            self.probers.configure(&self.config.health);
        }
        self.names.configure(&self.config.resolver);
        self.names.reconcile(self.publisher.names());
        self.probers.reconcile(self.publisher.pools().iter().flat_map(|(_, pools)| pools));
        self.notices.configure(&self.config, self.records.history());
        self.access.send_replace(Access::new(&self.config, self.publisher.trusted()));
        self.access_log.retarget(&self.config.log);
        self.spans.configure(&self.config);
    }

    fn file_invalid(&mut self, error: ConfigError) {
        tracing::error!(error = %error, "Configuration file invalid; the last valid one stays in force");
        let _ = self.news.send(News::Reloaded(Some(error.to_string())));
        self.file.invalid(error);
    }

    /// The text is valid and can't be put into force.
    fn file_not_in_force(&mut self, error: ConfigError) {
        self.file.not_in_force = Some(error.clone());
        self.file_invalid(error);
    }

    fn file_restored(&mut self) {
        self.file.restored();
        tracing::info!(file = %self.file.path().display(), "Configuration file valid again");
        let _ = self.news.send(News::Reloaded(None));
        // A write-back that the invalid file prevented is possible now.
        self.handle(Event::Configured(configured(&self.config, self.file.path())));
    }

    fn file_written_back(&mut self, result: Result<Color, String>) {
        self.file.end_write_back();
        let path = self.file.path().display();
        match &result {
            Ok(color) => {
                let mut config = Config::clone(&self.config);
                config.active = *color;
                self.config = Arc::new(config);
                tracing::info!(%color, file = %path, "Wrote active = \"{color}\" to {path} (write_back)");
            }
            Err(error) => {
                tracing::warn!(%error, file = %path, "Write-back of active failed; the file names another color");
            }
        }
        self.handle(Event::WroteBack(result));
        // The answer to the command follows.
        precedence::pause();
    }
}

fn untrusted(path: &Path, errors: &[TlsError]) -> ConfigError {
    let diagnostic = |error: &TlsError| Diagnostic { span: 0..0, message: error.to_string(), help: None };
    ConfigError { path: path.to_owned(), source: String::new(), diagnostics: errors.iter().map(diagnostic).collect() }
}
