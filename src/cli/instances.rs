//! `cutover status --all`: the headline of every instance on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::admin::api::StatusAnswer;
use crate::app::default_config_path;
use crate::cli::client::Client;
use crate::cli::connection::{Connection, DIR};
use crate::cli::{Failure, output, render};

/// Admin sockets of instances, each in a directory of its name.
const RUN: &str = "/run/cutover";

struct Instance {
    name: String,
    config: PathBuf,
    options: String,
}

/// The exit code is the worst one.
pub(crate) async fn status(connection: &Connection, json: bool) -> Result<(), Failure> {
    let mut worst: Option<Failure> = None;
    let mut documents = Vec::new();
    let found = instances(connection);
    if found.is_empty() {
        let dir = dir(connection);
        return Err(Failure::Usage(format!(
            "there is no instance: no *.toml in {}, and nothing in {RUN}",
            dir.display()
        )));
    }
    let width = found.iter().map(|instance| instance.name.len()).max().unwrap_or(0);
    for Instance { name, config, options } in found {
        let of_instance = Connection {
            config: Some(config.clone()),
            instance: None,
            admin: None,
            token_file: connection.token_file.clone(),
            ca: connection.ca.clone(),
            cert: connection.cert.clone(),
            key: connection.key.clone(),
        };
        // Without a file that names an address, the usual socket may still answer.
        let found = Client::find(&of_instance).or_else(|failure| {
            let admin = socket(&name).ok_or(failure)?;
            Client::find(&Connection { admin: Some(admin), ..of_instance })
        });
        let answer = match found {
            Ok(client) => client.get::<StatusAnswer>("/admin/status").await,
            Err(failure) => Err(failure),
        };
        let (words, failure, document) = match answer {
            Ok(status) => {
                let failure = (!status.headline.is_ok()).then_some(Failure::NotWell);
                let headline = render::headline(&status.headline);
                (headline, failure, json!({ "instance": name, "headline": status.headline }))
            }
            Err(failure) => {
                let text = failure.text();
                let first = text.lines().next().unwrap_or_default().to_owned();
                let document = json!({ "instance": name, "code": failure.name(), "detail": first });
                (format!("{first}\n"), Some(failure), document)
            }
        };
        if let Some(failure) = failure
            && worst.as_ref().is_none_or(|worst| failure.code() > worst.code())
        {
            worst = Some(failure);
        }
        if json {
            documents.push(document);
        } else {
            let words = output::with_options(&words, &options);
            let mut lines = words.lines().filter(|line| !line.is_empty());
            let first = lines.next().unwrap_or_default();
            // A name may look like the begin of a command.
            output::print_with(&format!("{name:width$}  {first}\n"), "");
            lines.for_each(|line| output::print_with(&format!("{:width$}  {line}\n", ""), ""));
        }
    }
    if json {
        output::document(&Value::from_iter([("instances", Value::from(documents))]));
    }
    match worst {
        Some(failure) => Err(Failure::Told(failure.code())),
        None => Ok(()),
    }
}

fn dir(connection: &Connection) -> PathBuf {
    let given = connection.config.as_deref().filter(|path| !path.as_os_str().is_empty());
    given.and_then(Path::parent).map_or_else(|| PathBuf::from(DIR), Path::to_owned)
}

fn instances(connection: &Connection) -> Vec<Instance> {
    let dir = dir(connection);
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let configured = entries(&dir).filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let configured = configured.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    let running = entries(Path::new(RUN)).filter(|path| path.join("admin.sock").exists());
    let running = running.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    // The units know only the usual directory.
    let usual = dir == Path::new(DIR);
    let names: BTreeSet<String> =
        configured.chain(running.filter(|_| usual)).filter(|name| !name.starts_with('.')).collect();
    let instance = |name: String| {
        let config = dir.join(format!("{name}.toml"));
        // A pipe would never end; an unreadable file is named.
        if fs::metadata(&config).is_ok_and(|found| !found.is_file()) {
            return None;
        }
        let options = match usual {
            true if config == default_config_path() => String::new(),
            true => format!(" --instance {name}"),
            false => format!(" --config {}", config.display()),
        };
        Some(Instance { name, config, options })
    };
    names.into_iter().filter_map(instance).collect()
}

fn socket(name: &str) -> Option<String> {
    let socket = Path::new(RUN).join(name).join("admin.sock");
    socket.exists().then(|| format!("unix:{}", socket.display()))
}
