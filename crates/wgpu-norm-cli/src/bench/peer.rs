//! Another implementation, in a process of its own: lines of JSON on its standard input and output.
//!
//! ```text
//! peer   {"peer":"burn 0.22.1","adapter":"..."}          once
//! bench  {"case":{"variant":"layer","shape":[4096,1024],"format":"rows","pass":"forward",...}}
//! peer   {"ready":true}  or  {"unsupported":"reason"}
//! bench  {"run":8}                                       as often as wanted
//! peer   {"seconds":0.0123}                              of all 8, over rotated buffers, with the wait for the last
//! ```
//!
//! The end of its standard input ends it. One that dies, answers something else or nothing is left out from then on.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::{output, terminal};

use super::request::{Line, Request};
use super::sample::Contestant;

/// How long a peer may take to start, to compile, to run.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often a waiting program looks for an interrupt.
const TICK: Duration = Duration::from_millis(100);
/// How long a peer has to end by itself.
const FAREWELL: Duration = Duration::from_millis(500);
/// Most bytes of an answer.
const LINE: u64 = 1 << 16;

/// A running peer.
pub struct Peer {
    /// As it calls itself.
    pub name: String,
    /// What it runs on, in its words.
    pub adapter: String,
    process: Process,
    /// Nothing is asked of it any more.
    gone: bool,
    /// Why it does not have a case, each reason once.
    reasons: Vec<String>,
}

struct Process {
    child: Child,
    /// Closed: the peer ends.
    input: Option<ChildStdin>,
    lines: Receiver<io::Result<String>>,
    patience: Duration,
}

#[derive(Deserialize)]
struct Hello {
    peer: String,
    adapter: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ready(bool),
    Unsupported(String),
    Seconds(f64),
}

#[derive(Serialize)]
struct Run {
    run: usize,
}

impl Peer {
    /// Starts a command. One that cannot be started is a mistake; one that does not greet is left out, with a warning.
    pub fn start(command: &str) -> Result<Option<Self>, Failure> {
        Self::with_patience(command, PATIENCE)
    }

    fn with_patience(command: &str, patience: Duration) -> Result<Option<Self>, Failure> {
        let mut process = Process::start(command, patience)?;
        Ok(match process.answer::<Hello>() {
            Ok(Hello { peer: name, adapter }) => {
                Some(Self { name, adapter, process, gone: false, reasons: Vec::new() })
            }
            Err(why) => {
                warn(command, &why);
                None
            }
        })
    }

    /// Makes it ready for a case; false where it is not.
    pub fn prepare(&mut self, case: &Request) -> bool {
        let case = case.clone();
        match self.ask(&Line { case }) {
            Some(Answer::Ready(true)) => true,
            Some(Answer::Unsupported(reason)) => {
                if !self.reasons.contains(&reason) {
                    terminal::note(&format!("{} leaves cases out: {reason}", self.name));
                    self.reasons.push(reason);
                }
                false
            }
            Some(_) => self.leave("not ready, and not unsupported either"),
            None => false,
        }
    }

    fn ask(&mut self, message: &impl Serialize) -> Option<Answer> {
        if self.gone {
            return None;
        }
        match self.process.send(message).and_then(|()| self.process.answer()) {
            Ok(answer) => Some(answer),
            Err(why) => {
                self.leave(&why);
                None
            }
        }
    }

    /// Always false: it has nothing more to say.
    fn leave(&mut self, why: &str) -> bool {
        self.gone = true;
        // an interrupt is no fault of its
        if !output::is_interrupted() {
            warn(&self.name, why);
        }
        false
    }
}

fn warn(peer: &str, why: &str) {
    terminal::note(&format!("peer {peer} is left out: {why}"));
}

impl Contestant for Peer {
    fn run(&mut self, executions: usize) -> Result<Option<Duration>, Failure> {
        Ok(match self.ask(&Run { run: executions }) {
            Some(Answer::Seconds(seconds)) => {
                let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
                if time.is_none() {
                    self.leave(&format!("{seconds} seconds are no time"));
                }
                time
            }
            Some(_) => {
                self.leave("no seconds after a run");
                None
            }
            None => None,
        })
    }
}

impl Process {
    fn start(command: &str, patience: Duration) -> Result<Self, Failure> {
        let refuse = |why: &str| Failure::Usage(format!("--peer '{command}': {why}"));
        let words = shlex::split(command).ok_or_else(|| refuse("a quote is not closed"))?;
        let (program, arguments) = words.split_first().ok_or_else(|| refuse("no program"))?;
        let mut process = Command::new(program);
        process.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            // Ctrl-C is for this program, which then ends its peers
            process.process_group(0);
        }
        let mut child = process.spawn().map_err(|error| refuse(&error.to_string()))?;
        let input = child.stdin.take();
        let (send, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = BufReader::new(stdout);
            std::thread::spawn(move || {
                // ends with the peer's output, or with the first line that nobody takes
                while let Some(line) = read_line(&mut stdout).transpose() {
                    if send.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self { child, input, lines, patience })
    }

    fn send(&mut self, message: &impl Serialize) -> Result<(), String> {
        let line = serde_json::to_string(message).map_err(|error| error.to_string())?;
        let input = self.input.as_mut().ok_or("its input is closed")?;
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(|error| error.to_string())
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        let start = Instant::now();
        let line = loop {
            match self.lines.recv_timeout(TICK) {
                Ok(line) => break line.map_err(|error| error.to_string())?,
                Err(RecvTimeoutError::Disconnected) => return Err("it ended".to_owned()),
                Err(RecvTimeoutError::Timeout) if output::is_interrupted() => return Err("interrupted".to_owned()),
                Err(RecvTimeoutError::Timeout) if start.elapsed() > self.patience => {
                    return Err(format!("no answer within {} s", self.patience.as_secs_f32()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        serde_json::from_str(&line).map_err(|error| {
            let shown: String = line.chars().take(80).collect();
            format!("it answers '{}': {error}", shown.trim())
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(10));
        }
        // refused where it has ended
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next line; none where there is no more.
fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let bytes = from.by_ref().take(LINE).read_line(&mut line)?;
    Ok((bytes > 0).then_some(line))
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::case::{BenchCase, Format, Pass, Variant};
    use super::*;

    const HELLO: &str = r#"echo '{"peer":"fake 1","adapter":"none"}'"#;

    /// A peer that runs a script after its greeting.
    fn peer(script: &str) -> Option<Peer> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a peer.sh");
        std::fs::write(&path, script).unwrap();
        let command = format!("sh '{}'", path.display());
        Peer::with_patience(&command, Duration::from_secs(2)).unwrap()
    }

    fn request() -> Request {
        Request::new(&BenchCase::new(Variant::Layer(1), &[3, 5], Format::Rows, Pass::Forward)).unwrap()
    }

    #[test]
    fn a_peer_is_asked_for_cases_and_runs() {
        let script = format!(
            r#"{HELLO}
while read -r line; do
  case "$line" in
    '{{"case":{{"variant":"layer","shape":[3,5],'*) echo '{{"ready":true}}' ;;
    '{{"case":'*) echo '{{"unsupported":"only layer"}}' ;;
    '{{"run":8}}') echo '{{"seconds":0.5}}' ;;
  esac
done"#
        );
        let mut peer = peer(&script).unwrap();
        assert_eq!((peer.name.as_str(), peer.adapter.as_str()), ("fake 1", "none"));
        assert!(peer.prepare(&request()));
        assert_eq!(peer.run(8).unwrap(), Some(Duration::from_millis(500)));
        let group = BenchCase::new(Variant::Group(1), &[3, 5], Format::First, Pass::Forward);
        assert!(!peer.prepare(&Request::new(&group).unwrap()));
        assert!(!peer.gone && peer.reasons == ["only layer"]);
    }

    #[test]
    fn peers_that_misbehave_are_left_out() {
        for greeting in ["exit 1", "echo hello", "echo '{}'", "exec sleep 60", "head -c 100000 /dev/zero"] {
            assert!(peer(greeting).is_none(), "{greeting}");
        }
        let ready = r#"read -r line; echo '{"ready":true}'; read -r line"#;
        for answer in ["exit", "echo nonsense", r#"echo '{"seconds":-1}'"#, r#"echo '{"ready":true}'"#, "exec sleep 60"]
        {
            let mut peer = peer(&format!("{HELLO}\n{ready}\n{answer}")).unwrap();
            assert!(peer.prepare(&request()), "{answer}");
            assert_eq!(peer.run(1).unwrap(), None, "{answer}");
            assert!(peer.gone && !peer.prepare(&request()), "{answer}");
        }
        for command in ["", "'sh", "no-such-program-anywhere"] {
            let error = Peer::start(command).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("--peer"), "{command}: {error}");
        }
    }
}
