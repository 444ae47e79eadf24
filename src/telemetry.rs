//! Telemetry: process log, access log, meters and metrics.

pub(crate) mod access_log;
pub(crate) mod exposition;
pub(crate) mod log_rate;
pub(crate) mod meter;
pub(crate) mod metrics;
mod process_log;
pub(crate) mod refused;
pub(crate) mod spans;
pub(crate) mod trace;
pub(crate) mod upgrades;

use std::io;
use std::path::Path;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

pub(crate) use process_log::flush;

/// Sends the process log to a file instead of standard error. Comes before [`init`].
pub(crate) fn log_to(path: &Path) -> io::Result<()> {
    process_log::start_in(std::fs::File::create(path)?).map(drop)
}

/// The level comes from `CUTOVER_LOG` (default `info`). Later calls, as in tests with several proxies, change nothing.
pub(crate) fn init(format: LogFormat) -> io::Result<()> {
    let lines = process_log::start()?;
    let filter = EnvFilter::try_from_env("CUTOVER_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,hickory_net=off,hickory_proto=off,hickory_resolver=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || lines).with_target(false);
    let text = format == LogFormat::Text || (format == LogFormat::Auto && lines.on_terminal());
    let _ = match text {
        false => builder.event_format(process_log::JsonLine).try_init(),
        true => {
            let color = lines.on_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(color).try_init()
        }
    };
    Ok(())
}
