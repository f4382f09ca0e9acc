//! nginx, for benchmarks against it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    child::{self, Daemon},
    folder,
    output::Output,
    port, programs,
};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The parameters of a configuration.
pub struct Site {
    /// `127.0.0.1:port`, for the `listen` directive.
    pub listen: SocketAddr,
    /// A folder that the server may write to, for caches.
    pub folder: PathBuf,
}

/// A running nginx; stopped and wiped on drop.
pub struct Nginx {
    _daemon: Daemon,
    addr: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it with `workers` processes; `conf` returns the content of the `http` block.
    ///
    /// # Errors
    /// When nginx is missing or does not come up; with its last lines.
    pub fn start(workers: usize, conf: impl Fn(&Site) -> String) -> Result<Self> {
        let nginx = programs::require("nginx", &[], "nginx")?;
        let folder = folder::private("nginx")?;
        let (port, daemon) = port::start_on_free_port(|port| {
            let site = Site { listen: port.addr(), folder: folder.path().to_owned() };
            let file = folder.path().join("nginx.conf");
            fs::write(&file, whole_conf(workers, &site, &conf(&site)))?;
            launch(&nginx, &file, &site)
        })?;
        Ok(Self { _daemon: daemon, addr: port.addr(), _folder: folder })
    }

    /// Returns its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

fn whole_conf(workers: usize, site: &Site, http: &str) -> String {
    let folder = site.folder.display();
    // Workers of a root-owned nginx would otherwise run as a user who may not write to the folder.
    let user = if rustix::process::getuid().is_root() { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;\nworker_processes {workers};\npid {folder}/nginx.pid;\n\
         error_log stderr warn;\nevents {{ worker_connections 20000; }}\n\
         http {{\naccess_log off;\n\
         client_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/fastcgi;\nuwsgi_temp_path {folder}/uwsgi;\n\
         scgi_temp_path {folder}/scgi;\n{http}\n}}\n"
    )
}

fn launch(nginx: &Path, conf: &Path, site: &Site) -> Result<Daemon> {
    let mut command = child::command(nginx, None)?;
    command.arg("-p").arg(&site.folder).arg("-e").arg("stderr").arg("-c").arg(conf);
    let mut daemon = Daemon::spawn("nginx", command, Output::default())?;
    let is_ready = || std::net::TcpStream::connect(site.listen).is_ok();
    daemon.wait_until_ready(START_TIMEOUT, is_ready)?;
    Ok(daemon)
}
