//! Processes that a test starts. Each is ended by its own id when its value is dropped.

use super::Api;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// A child that does not outlive the test.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.kill_on_drop(true).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    pub fn id(&self) -> u32 {
        self.0.id().expect("it has not been waited for")
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&mut self) {
        self.0.kill().await.unwrap();
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        let id = rustix::process::Pid::from_raw(self.id().cast_signed()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        let id = rustix::process::Pid::from_raw(self.id().cast_signed()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        tokio::time::timeout(super::PATIENCE, self.0.wait()).await.expect("it ends").unwrap()
    }
}

/// The real server, in a process of its own.
pub struct Server {
    pub process: Process,
    pub smtp: SocketAddr,
    pub http: SocketAddr,
    pub api: Api,
    pub data: PathBuf,
    /// How long it took from its start until mail could come in.
    pub start_time: Duration,
    // Its standard output stays open as long as it runs.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts the server on `folder/data` with this config (beyond its listeners), and returns once mail
    /// can come in. Its log goes to `folder/log`.
    pub async fn start(folder: &Path, config: &str) -> Self {
        Self::start_with(folder, config, &[]).await
    }

    /// The same with variables in its environment.
    pub async fn start_with(folder: &Path, config: &str, env: &[(&str, &Path)]) -> Self {
        Self::start_as(folder, config, &[], env).await
    }

    /// The same with arguments of `serve`.
    pub async fn start_as(
        folder: &Path,
        config: &str,
        arguments: &[&str],
        env: &[(&str, &Path)],
    ) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_frontdesk"));
        Self::start_program(program, folder, config, arguments, env).await
    }

    /// The same with another program that has the command line of `frontdesk`.
    pub async fn start_program(
        program: &Path,
        folder: &Path,
        config: &str,
        arguments: &[&str],
        env: &[(&str, &Path)],
    ) -> Self {
        let text = format!(
            "[http]\nlisten = [\"127.0.0.1:0\"]\n[smtp]\nlisten = [\"127.0.0.1:0\"]\n{config}"
        );
        let file = folder.join("frontdesk.toml");
        std::fs::write(&file, text).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log"));
        let data = folder.join("data");
        let began = std::time::Instant::now();
        let mut command = Command::new(program);
        command
            .env_remove("OPENAI_API_KEY")
            .env_remove("ANTHROPIC_API_KEY")
            .arg("serve")
            .args(arguments)
            .arg("--config")
            .arg(&file)
            .current_dir(folder)
            .env("FRONTDESK_DATA", &data)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.unwrap());
        let mut process = Process::start(&mut command);
        let output = process.0.stdout.take().expect("it is piped");
        let mut output = BufReader::new(output).lines();
        // It says where mail is accepted, and then where HTTP is served.
        let mut smtp = None;
        let (smtp, http) = loop {
            let line = tokio::time::timeout(super::PATIENCE, output.next_line());
            let line = line.await.expect("it starts").unwrap().unwrap_or_else(|| {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                panic!("the server did not start: {log}")
            });
            if let Some(address) = line.trim().strip_prefix("mail ") {
                smtp = Some(address.trim().parse().unwrap());
            } else if let Some(url) = line.trim().strip_prefix("health ") {
                let address = url.trim().trim_start_matches("http://").trim_end_matches("/healthz");
                break (smtp.unwrap(), address.parse().unwrap());
            }
        };
        let start_time = began.elapsed();
        Self { process, smtp, http, api: Api::of(&data), data, start_time, _output: output }
    }

    /// A figure of /proc/PID/status in KiB, such as VmRSS.
    pub fn memory(&self, figure: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
        line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").trim().parse().unwrap()
    }

    /// Resident memory now, in KiB.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS")
    }

    /// The most resident memory since [`Server::forget_peak`], in KiB.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM")
    }

    /// Starts a new peak (proc_pid_clear_refs(5): 5 resets the peak resident set size).
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
    }
}
