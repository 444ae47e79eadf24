//! The start of a proxy. Its order follows importance: the ledger's decision, the snapshot, the workers, then
//! everything else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::admin::AdminListener;
use crate::app::predecessor::{Given, Predecessor};
use crate::app::{Error, activation};
use crate::config::Config;
use crate::config::error::{ConfigError, Tolerated, UnusableFile};
use crate::control::handle::{ControllerHandle, UpgradeOrder};
use crate::control::{Controller, Parts, first_decision};
use crate::domain::rollout::Effect;
use crate::domain::transition::{Decision, Kind, Origin, Transition, Trigger};
use crate::ledger::Ledger;
use crate::server::plane::Plane;
use crate::sys::inherited::Inherited;
use crate::sys::{descriptors, limits};
use crate::telemetry;
use crate::telemetry::access_log::AccessLogWriter;
use crate::telemetry::meter::Meters;

/// Time the first start waits for the disk before it serves without.
const FIRST_COMMIT: Duration = Duration::from_secs(2);

pub(super) enum Source<'a> {
    /// systemd's listeners, if any; the ledger of an ended process.
    Manager,
    /// Both are handed over by the serving process.
    Predecessor(&'a mut Predecessor, Inherited),
    /// None: a proxy in the background of another program.
    Alone,
}

/// A serving proxy whose controller and admin API have not begun.
pub(super) struct Started {
    pub(super) config: Arc<Config>,
    pub(super) plane: Plane,
    pub(super) admin: AdminListener,
    pub(super) handle: ControllerHandle,
    pub(super) controller: Controller,
    pub(super) effects: Vec<Effect>,
    pub(super) meters: Arc<Meters>,
    pub(super) access_log: Arc<AccessLogWriter>,
    pub(super) ready: watch::Sender<bool>,
    pub(super) upgrades: mpsc::Receiver<UpgradeOrder>,
}

impl Started {
    pub(super) fn new(path: &Path, source: Source<'_>) -> Result<Started, Error> {
        let tolerated = match &source {
            // The files that it has loaded must not be lost.
            Source::Predecessor(predecessor, _) => Tolerated::Known(&predecessor.unusable),
            Source::Manager | Source::Alone => Tolerated::All,
        };
        let (config, text) = Config::load_for_start(path, tolerated)?;
        let config = Arc::new(config);
        telemetry::init(config.log.format).map_err(Error::io("could not start the log"))?;
        limits::raise_open_files();
        for UnusableFile { setting, path, reason } in &config.unusable {
            tracing::error!(setting, file = path, reason, "Unusable file; everything else is served");
        }

        let taking_over = "could not take over from the process before";
        let (mut inherited, mut predecessor) = match source {
            Source::Manager => {
                (activation::listeners(&config).map_err(Error::io("could not use the sockets of systemd"))?, None)
            }
            Source::Predecessor(predecessor, inherited) => (inherited, Some(predecessor)),
            Source::Alone => (Inherited::default(), None),
        };
        let (ledger, mut recovered) = match &mut predecessor {
            None => Ledger::open(&config.state.dir)?,
            Some(predecessor) => match predecessor.ledger().map_err(Error::io(taking_over))? {
                None => Ledger::open(&config.state.dir)?,
                Some(Given { lock, generation }) => {
                    let taken = Ledger::take_over(&config.state.dir, lock)?;
                    let found = taken.1.transitions.last().map_or(0, |(_, last)| last.decision.generation.0);
                    if found != generation {
                        let reason = format!("the ledger ends with generation {found}, and {generation} is in force");
                        return Err(Error::io(taking_over)(std::io::Error::other(reason)));
                    }
                    taken
                }
            },
        };
        for warning in &recovered.warnings {
            tracing::warn!("{warning}.");
        }
        let (decision, durable) = match recovered.transitions.last() {
            Some((_, last)) => (last.decision.clone(), true),
            None => {
                let first = first(path, first_decision(&config));
                let written = write_first(&ledger, first.clone());
                let decision = first.decision.clone();
                recovered.transitions.extend(written.map(|sequence| (sequence, first)));
                (decision, written.is_some())
            }
        };

        if config.colors[decision.active].is_empty() {
            return Err(ConfigError::empties(path, decision.active).into());
        }
        let http = config.listen.http;
        let https = config.listen.https.map(|https| format!(", or on {https} (listen.https)")).unwrap_or_default();
        let bound = Plane::bind(&config, &mut inherited);
        let preview =
            config.listen.preview.map(|preview| format!(", or on {preview} (listen.preview)")).unwrap_or_default();
        let bound = bound.map_err(Error::io(format!("could not listen on {http} (listen.http){https}{preview}")))?;
        let (mut plane, mut publisher) = bound;
        let trust = publisher.trusted().load(&config).map_err(Error::Tls)?;
        publisher.trust(trust);
        let nothing_retired = publisher.publish(&config, &decision);
        debug_assert!(nothing_retired.is_none(), "nothing served before");
        let admin = AdminListener::bind(&config.listen, &mut inherited);
        let admin = admin.map_err(Error::io("could not listen on listen.admin"))?;
        let access_log = AccessLogWriter::start(&config.log);
        let access_log = Arc::new(access_log.map_err(Error::io("could not start the writer of the access log"))?);
        let (limit, room) = descriptors::measure(config.listen.workers);
        if room < config.listen.max_connections {
            tracing::warn!(
                limit,
                room,
                max_connections = config.listen.max_connections,
                "Limit on open files below listen.max_connections; raise it (LimitNOFILE=, ulimit -n)",
            );
        }
        plane.start_idle(&access_log).map_err(Error::io("could not start the workers"))?;
        plane.set_ready(true);
        let (upgrade, upgrades) = mpsc::channel(1);
        let ready = watch::Sender::new(true);
        let (generation, in_force) = (decision.generation.0, decision.clone());
        let meters = Arc::clone(publisher.meters());
        let parts = Parts {
            config: Arc::clone(&config),
            path: path.to_owned(),
            text,
            decision,
            durable,
            publisher,
            ledger,
            recovered,
            access_log: Arc::clone(&access_log),
            http_address: plane.local_addr(),
            https_address: plane.tls_addr(),
            preview_address: plane.preview_addr(),
            upgrades: upgrade,
        };
        let controller = Controller::new(parts, ready.subscribe());
        let (handle, controller, effects) = controller.map_err(Error::io("could not watch the configuration"))?;
        match predecessor {
            None => plane.listen(),
            Some(predecessor) => {
                plane.prove(&config).map_err(Error::io("the new process does not serve"))?;
                predecessor.ready(generation).map_err(Error::io(taking_over))?;
                plane.listen();
                predecessor.serving().map_err(Error::io(taking_over))?;
                predecessor.count();
                tracing::info!(pid = std::process::id(), predecessor = predecessor.pid, "Took over");
            }
        }
        let Decision { active, release, .. } = &in_force;
        tracing::info!(
            http = %plane.local_addr(),
            https = plane.tls_addr().map(tracing::field::display),
            preview_address = plane.preview_addr().map(tracing::field::display),
            admin = %admin.address(),
            color = %active,
            %release,
            generation,
            "Serving",
        );
        Ok(Started { config, plane, admin, handle, controller, effects, meters, access_log, ready, upgrades })
    }
}

fn first(path: &Path, decision: Decision) -> Transition {
    let origin = Origin {
        trigger: Trigger::Start,
        actor: path.display().to_string(),
        source: String::new(),
        reason: None,
        key: None,
    };
    Transition::new(Kind::Start, decision.since, origin, decision)
}

/// Returns the line's number if it is on disk.
fn write_first(ledger: &Ledger, transition: Transition) -> Option<u64> {
    let (done, written) = std::sync::mpsc::channel();
    ledger.commit(
        transition,
        || {},
        move |result| {
            // The receiver is gone if the disk took too long.
            let _ = done.send(result);
        },
    );
    match written.recv_timeout(FIRST_COMMIT) {
        Ok(Ok(sequence)) => Some(sequence),
        Ok(Err(error)) => {
            tracing::error!(%error, "Ledger not writable; serving the color of the file until it is");
            None
        }
        Err(_) => {
            tracing::error!("State directory does not respond; serving the color of the file until it does");
            None
        }
    }
}
