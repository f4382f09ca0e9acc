//! A gateway before an application, and nginx beside it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use harness::{Application, Nginx, Process, http};

use crate::stack::{DEADLINE, Node, gateway_started_by, start};

/// A gateway with SQLite and an in-process shared tier, in front of an application.
pub(crate) struct Site {
    pub(crate) application: Application,
    pub(crate) node: Node,
    pub(crate) folder: tempfile::TempDir,
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// `upstream`: more lines of `[upstream]`, and of sections after it.
    pub(crate) fn with(upstream: &str) -> Self {
        Self::started_by(upstream, "", |config| start(config, &[]))
    }

    /// Starts a gateway with more lines of `[upstream]`, and of `[listen]`, by a command of the test.
    pub(crate) fn started_by(
        upstream: &str,
        listen: &str,
        start: impl FnOnce(&Path) -> Process,
    ) -> Self {
        let application = Application::start().expect("a free port");
        let (node, folder) = gateway_started_by(application.addr(), upstream, listen, start);
        Self { application, node, folder }
    }

    /// nginx in front of the same application, if it is installed.
    pub(crate) fn nginx(&self) -> Option<Nginx> {
        let upstream = self.application.addr();
        let conf = |site: &harness::Site| {
            format!(
                "server {{ listen {} backlog=1024; location / {{ proxy_pass http://{upstream}; \
                 proxy_max_temp_file_size 0; }} }}",
                site.listen
            )
        };
        match Nginx::start(1, conf) {
            Err(err) if err.to_string().contains("nginx not found") => None,
            started => Some(started.expect("nginx starts")),
        }
    }

    /// Runs `test` against this gateway, and against nginx.
    pub(crate) fn beside_nginx(&self, test: impl Fn(SocketAddr)) {
        if let Some(nginx) = self.nginx() {
            test(nginx.addr());
        }
        test(self.node.gateway);
    }
}

pub(crate) fn status(server: SocketAddr, method: &str, path: &str) -> u16 {
    let response = http::request(server, method, path, &[], b"", DEADLINE);
    response.map_or(0, |response| response.status)
}

/// Opens a connection and writes to it. The response is left to be read.
pub(crate) fn open(server: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(server).expect("connects");
    socket.write_all(bytes).expect("writes");
    socket
}

pub(crate) fn wait_for(what: &str, holds: impl Fn() -> bool) {
    harness::until(what, DEADLINE, || Ok(holds().then_some(()))).expect(what);
}
