//! The package, with a stand-in for the program that runs this build of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{read, repository};
use crate::first_hour::Desk;

fn run(program: &str, args: &[&str], folder: &Path) -> Output {
    let output = Command::new(program).args(args).current_dir(folder).output();
    output.unwrap_or_else(|err| panic!("{program}: {err}"))
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Builds the archive and the Debian package into a folder. The program's own 200 MiB would be packed for a minute.
fn package(into: &Path) -> String {
    let program = into.join("stand-in");
    let script = format!("#!/bin/sh\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_tidegate"));
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("changed");
    let output = Command::new(repository("package"))
        .args(["--only", "binary", "--only", "archive", "--only", "deb", "--program"])
        .arg(&program)
        .arg("--into")
        .arg(into)
        .env("SOURCE_DATE_EPOCH", "1796000000")
        .env_remove("DEBFULLNAME")
        .env_remove("DEBEMAIL")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn file(folder: &Path, end: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).expect("a folder").flatten().map(|file| file.path());
    let mut files = files.filter(|path| path.to_string_lossy().ends_with(end));
    files.next().unwrap_or_else(|| panic!("no {end} in {}", folder.display()))
}

#[test]
fn package_has_program_pages_and_unit() {
    let folder = tempfile::tempdir().expect("a folder");
    let printed = package(folder.path());
    if printed.contains("not run: deb") {
        println!("not run: dpkg-deb is not installed");
        return;
    }
    let (deb, root) = (file(folder.path(), ".deb"), folder.path().join("root"));
    let deb = deb.to_str().expect("UTF-8");
    let control = stdout(&run("dpkg-deb", &["--field", deb], folder.path()));
    assert!(control.contains("Package: tidegate") && control.contains("<tidegate@localhost>"));
    assert_eq!(control.matches('@').count(), 1, "a field without its value: {control}");
    let contents = stdout(&run("dpkg-deb", &["--contents", deb], folder.path()));
    for line in contents.lines() {
        assert!(line.contains(" root/root "), "{line}");
    }
    stdout(&run("dpkg-deb", &["--raw-extract", deb, "root"], folder.path()));
    for path in [
        "usr/bin/tidegate",
        "usr/lib/systemd/system/tidegate.service",
        "usr/share/man/man1/tidegate-serve.1.gz",
        "usr/share/man/man1/tidegate-health.1.gz",
        "usr/share/bash-completion/completions/tidegate",
        "usr/share/zsh/vendor-completions/_tidegate",
        "usr/share/fish/vendor_completions.d/tidegate.fish",
        "usr/share/doc/tidegate/copyright",
        "usr/share/doc/tidegate/install.md",
        "DEBIAN/postinst",
    ] {
        assert!(root.join(path).is_file(), "{path}");
    }
    let conffiles = std::fs::read_to_string(root.join("DEBIAN/conffiles")).expect("readable");
    for conffile in conffiles.lines() {
        assert!(root.join(conffile.trim_start_matches('/')).is_file(), "{conffile}");
    }
    stdout(&run("md5sum", &["--check", "--quiet", "DEBIAN/md5sums"], &root));
    for script in ["postinst", "prerm", "postrm"] {
        let path = root.join("DEBIAN").join(script);
        assert!(Command::new("sh").arg("-n").arg(path).status().expect("sh runs").success());
    }
    let sums = stdout(&run("sha256sum", &["--check", "SHA256SUMS"], folder.path()));
    assert_eq!(sums.lines().filter(|line| line.ends_with(": OK")).count(), 3, "{sums}");
}

#[test]
fn same_time_makes_same_files() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let files = folders.each_ref().map(|folder| {
        package(folder.path());
        let sums = std::fs::read_to_string(folder.path().join("SHA256SUMS"));
        sums.expect("readable")
    });
    assert_eq!(files[0], files[1]);
    let archive = file(folders[0].path(), ".tar.gz");
    let names =
        stdout(&run("tar", &["--list", "-f", archive.to_str().expect("UTF-8")], folders[0].path()));
    assert!(names.lines().any(|name| name.ends_with("/man1/tidegate.1")), "{names}");
}

/// The file that is installed, with its examples in use.
#[test]
fn installed_configuration_accepted_with_its_examples() {
    let installed = read("packaging/tidegate.toml");
    let example =
        |line: &str| line.starts_with("# [") || line.starts_with("# ") && line.contains(" = ");
    let lines = installed.lines().map(|line| match example(line) {
        true => line.trim_start_matches("# "),
        false => line,
    });
    let desk = Desk::new();
    let text = lines.collect::<Vec<_>>().join("\n").replace("/var/lib/tidegate", "state");
    desk.write("tidegate.toml", &text);
    std::fs::create_dir(desk.path("state")).expect("a folder");
    let missing = desk.run(&["check"]);
    assert!(missing.text().contains("CREDENTIALS_DIRECTORY"), "{missing:?}");
    let credentials = desk.path("").display().to_string();
    let desk = desk.env("CREDENTIALS_DIRECTORY", &credentials);
    let token = desk.run(&["token", "create", "ci", "--role", "viewer"]);
    assert_eq!(token.code, Some(0), "{token:?}");
    let check = desk.run(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
}

#[test]
fn unit_starts_installed_files() {
    let unit = read("packaging/tidegate.service");
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_else(|| panic!("no {key}"))
    };
    let (program, args) = value("ExecStart").split_once(' ').expect("arguments");
    assert_eq!(program, "/usr/bin/tidegate");
    let (command, config) = args.split_once(' ').expect("a configuration");
    assert_eq!(Desk::new().run(&[command, "--help"]).code, Some(0));
    assert_eq!(read("packaging/debian/conffiles").trim(), config);
    assert_eq!((value("Type"), value("ExecReload")), ("notify", "/bin/kill -HUP $MAINPID"));
    // `raise_descriptor_limit` is a call of @resources, which the filter must leave.
    assert!(!unit.contains("~@resources") && !unit.contains("ProcSubset"), "{unit}");
}
