//! The Debian package: its content, its lint, and its life on a machine from the first installation to the purge.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::suites::clients::tool;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn ran(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/run, which installs it"));
    let said = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&stderr));
    said
}

/// Made once, of the binary that the tests have: a build for shipping takes minutes.
fn package() -> &'static Path {
    static MADE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cutover.deb");
        let tools = tool("CUTOVER_TEST_CARGO_DEB").parent().expect("a directory").display().to_string();
        let mut build = Command::new(Path::new(ROOT).join("config/debian/build"));
        build.args([env!("CARGO_BIN_EXE_cutover"), "--quiet", "--fast", "--output"]).arg(&path);
        build.env("PATH", format!("{tools}:{}", std::env::var("PATH").expect("a path")));
        // `tests/run` sets it for the test harness; a compiler would build everything again.
        build.env_remove("RUSTC_BOOTSTRAP");
        ran(&mut build);
        (dir, path)
    });
    path
}

fn field(package: &Path, name: &str) -> String {
    ran(Command::new("dpkg-deb").arg("--field").arg(package).arg(name)).trim().to_owned()
}

#[test]
fn the_package_has_all_that_a_machine_needs() {
    let list = ran(Command::new("dpkg-deb").arg("--contents").arg(package()));
    let files: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().last()).collect();
    for file in [
        "./usr/bin/cutover",
        "./usr/lib/systemd/system/cutover.service",
        "./usr/lib/sysusers.d/cutover.conf",
        "./usr/share/man/man1/cutover.1.gz",
        "./usr/share/man/man1/cutover-switch.1.gz",
        "./usr/share/man/man5/cutover.toml.5.gz",
        "./usr/share/bash-completion/completions/cutover",
        "./usr/share/zsh/vendor-completions/_cutover",
        "./usr/share/fish/vendor_completions.d/cutover.fish",
        "./usr/share/doc/cutover/copyright",
        "./etc/cutover/cutover.toml",
    ] {
        assert!(files.contains(&file), "no {file} in {files:?}");
    }
    for unit in fs::read_dir(Path::new(ROOT).join("systemd")).expect("a directory") {
        let path = unit.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(files.iter().any(|file| file.ends_with(&format!("/systemd/system/{name}"))), "no {name}");
        // Also found in /usr/local/bin, where an installation by hand puts it.
        let text = fs::read_to_string(&path).expect("a unit");
        for line in text.lines().filter(|line| line.starts_with("Exec")) {
            let program = line.split(['=', ' ']).nth(1).expect("a command").trim_start_matches(['-', '+', '!', ':']);
            assert_eq!(program, "cutover", "{name}: {line}");
        }
    }
    assert!(field(package(), "Depends").contains("libc6"));
}

#[test]
fn the_symbols_of_the_packaged_binary_are_in_a_file_of_their_own() {
    package();
    let made = Path::new(ROOT).join("target/deb");
    let sections = |file: &str| ran(Command::new("objdump").arg("--section-headers").arg(made.join(file)));
    let (binary, symbols) = (sections("cutover"), sections("cutover.debug"));
    assert!(binary.contains(".gnu_debuglink") && !binary.contains(".debug_line"), "{binary}");
    assert!(symbols.contains(".debug_line"), "{symbols}");
}

#[test]
fn the_package_has_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(field(package(), "Version"), format!("{version}-1"));
    let changelog = fs::read_to_string(Path::new(ROOT).join("config/debian/changelog")).expect("a changelog");
    assert!(changelog.starts_with(&format!("cutover ({version}-1) ")), "{changelog}");
    let changelog = fs::read_to_string(Path::new(ROOT).join("CHANGELOG.md")).expect("a changelog");
    assert!(changelog.contains(&format!("\n## {version} - ")), "CHANGELOG.md has no section of {version} with a date");
}

#[test]
fn lintian_finds_no_error_in_the_package() {
    ran(Command::new("lintian").args(["--fail-on", "error", "--allow-root"]).arg(package()));
}

/// A directory that dpkg takes for a machine. `fakeroot` remembers who owns what.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::tempdir().expect("a directory");
        for (path, text) in [
            ("root/var/lib/dpkg/status", ""),
            ("root/var/lib/dpkg/info/format", "1\n"),
            ("root/var/lib/dpkg/updates/none", ""),
            ("root/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("root/etc/group", "root:x:0:\n"),
            ("owners", ""),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        fs::remove_file(dir.path().join("root/var/lib/dpkg/updates/none")).expect("it is there");
        Machine(dir)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join("root").join(path)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let owners = self.0.path().join("owners");
        let mut command = Command::new("fakeroot");
        command.arg("-i").arg(&owners).arg("-s").arg(&owners).arg("--").arg(program).args(arguments);
        // Nobody answers a question about a changed configuration.
        ran(command.stdin(std::process::Stdio::null()).env("DEBIAN_FRONTEND", "noninteractive"))
    }

    fn dpkg(&self, arguments: &[&str]) {
        let root = format!("--root={}", self.at("").display());
        let mut all = vec![&*root, "--force-depends", "--force-not-root", "--force-script-chrootless"];
        all.extend(arguments);
        self.run("dpkg", &all);
    }

    fn owner(&self, path: &str) -> String {
        let path = self.at(path).display().to_string();
        self.run("stat", &["--format", "%u:%g", &path]).trim().to_owned()
    }
}

#[test]
fn the_package_installs_upgrades_removes_and_purges_cleanly() {
    let machine = Machine::new();
    machine.dpkg(&["--install", &package().display().to_string()]);
    let passwd = fs::read_to_string(machine.at("etc/passwd")).expect("a file");
    let user = passwd.lines().find_map(|line| line.strip_prefix("cutover:")).expect("the user was made");
    let ids = user.split(':').skip(1).take(2).collect::<Vec<_>>().join(":");
    for path in ["etc/cutover", "etc/cutover/cutover.toml"] {
        assert_eq!(machine.owner(path), ids, "write_back edits {path}");
    }
    assert!(!machine.at("etc/systemd").exists(), "nothing is enabled");

    // A person edits the file and enables the unit, and a release is deployed.
    let config = machine.at("etc/cutover/cutover.toml");
    let edited = fs::read_to_string(&config).expect("a file").replace("127.0.0.1:9001", "10.0.0.1:80");
    fs::write(&config, &edited).expect("a file");
    let wants = machine.at("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).expect("a directory");
    std::os::unix::fs::symlink("/usr/lib/systemd/system/cutover.service", wants.join("cutover.service"))
        .expect("a link");
    let ledger = machine.at("var/lib/cutover/ledger.jsonl");
    fs::create_dir_all(ledger.parent().expect("a parent")).expect("a directory");
    fs::write(&ledger, "{}\n").expect("a file");

    let next = machine.at("next");
    ran(Command::new("dpkg-deb").arg("--raw-extract").arg(package()).arg(&next));
    let control = next.join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("a file").replace("Version: ", "Version: 99.");
    fs::write(&control, text).expect("a file");
    fs::write(next.join("usr/bin/cutover"), "newer").expect("a file");
    let newer = machine.at("newer.deb");
    ran(Command::new("dpkg-deb").args(["-Znone", "--root-owner-group", "--build"]).arg(&next).arg(&newer));
    fs::remove_dir_all(&next).expect("it is there");
    machine.dpkg(&["--install", &newer.display().to_string()]);
    assert_eq!(fs::read_to_string(machine.at("usr/bin/cutover")).expect("a file"), "newer");
    assert_eq!(fs::read_to_string(&config).expect("a file"), edited, "an upgrade keeps what people wrote");
    assert_eq!(machine.owner("etc/cutover/cutover.toml"), ids);
    assert!(wants.join("cutover.service").is_symlink() && ledger.exists());

    machine.dpkg(&["--remove", "cutover"]);
    assert!(!machine.at("usr/bin/cutover").exists() && !machine.at("usr/lib/systemd/system/cutover.service").exists());
    assert_eq!(fs::read_to_string(&config).expect("a file"), edited, "a removal keeps the configuration");
    assert!(ledger.exists(), "and the ledger");

    machine.dpkg(&["--purge", "cutover"]);
    for gone in ["etc/cutover", "var/lib/cutover", "usr/lib/systemd", "usr/share/man/man1"] {
        assert!(!machine.at(gone).exists(), "{gone} stays behind");
    }
    assert!(!wants.join("cutover.service").is_symlink(), "a link to nothing stays behind");
}
