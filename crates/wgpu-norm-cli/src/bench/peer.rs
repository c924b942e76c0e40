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
//! The end of its standard input ends it. A case in which it dies, answers something else, or takes longer than its
//! time, is reported as such; it is killed then, with the processes it started, and begins anew with the next case.
//! After a few such cases in a row nothing is asked of it any more. What is waited for is said after a while.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::{output, terminal};

use super::request::{Line, Request};
use super::sample::Contestant;

/// How often a waiting program looks for an interrupt.
const TICK: Duration = Duration::from_millis(100);
/// After so long it is said what is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a peer has to end by itself.
const FAREWELL: Duration = Duration::from_millis(500);
/// Most bytes of an answer.
const LINE: u64 = 1 << 16;
/// Cases in a row that a peer may fail: it would fail the others too, each after all of its time.
const FAILURES: usize = 3;

/// Another implementation.
pub struct Peer {
    /// As it calls itself.
    pub name: String,
    /// What it runs on, in its words.
    pub adapter: String,
    command: String,
    /// How long it may take to start, and over a case, without the turns of the others.
    limit: Duration,
    /// None after a failure, until the next case.
    process: Option<Process>,
    /// Why it failed the case at hand.
    fault: Option<String>,
    /// Cases in a row that it failed.
    failures: usize,
    /// Why it does not have a case, each reason once.
    reasons: Vec<String>,
}

struct Process {
    /// The command, or as it calls itself.
    name: String,
    child: Child,
    /// Closed: the peer ends.
    input: Option<ChildStdin>,
    lines: Receiver<io::Result<String>>,
    /// How long it may take, and what of that is left.
    limit: Duration,
    left: Duration,
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
    pub fn start(command: &str, limit: Duration) -> Result<Option<Self>, Failure> {
        terminal::note(&format!("starting peer {command}"));
        let process =
            Process::start(command, limit).map_err(|why| Failure::Usage(format!("--peer '{command}': {why}")));
        match process?.greeted() {
            Ok((process, Hello { peer: name, adapter })) => {
                let (command, process) = (command.to_owned(), Some(process));
                let (fault, failures, reasons) = (None, 0, Vec::new());
                Ok(Some(Self { name, adapter, command, limit, process, fault, failures, reasons }))
            }
            Err(why) => {
                // an interrupt is no fault of its
                if !output::is_interrupted() {
                    terminal::note(&format!("peer {command} is left out: {why}"));
                }
                Ok(None)
            }
        }
    }

    /// Makes it ready for a case; false where it is not.
    pub fn prepare(&mut self, case: &Request) -> bool {
        if self.is_left_out() {
            return false;
        }
        if self.process.is_none() {
            match Process::start(&self.command, self.limit).and_then(Process::greeted) {
                Ok((process, _)) => self.process = Some(process),
                Err(why) => return self.fail(why),
            }
        }
        let (case, limit) = (case.clone(), self.limit);
        self.process.iter_mut().for_each(|process| process.left = limit);
        match self.ask(&Line { case }, "word that it has the case") {
            Some(Answer::Ready(true)) => true,
            Some(Answer::Unsupported(reason)) => {
                if !self.reasons.contains(&reason) {
                    terminal::note(&format!("{} leaves cases out: {reason}", self.name));
                    self.reasons.push(reason);
                }
                false
            }
            Some(_) => self.fail("not ready, and not unsupported either".to_owned()),
            None => false,
        }
    }

    /// Ends a case: why it was failed, if it was.
    pub fn settle(&mut self) -> Option<String> {
        let fault = self.fault.take();
        if fault.is_none() && !self.is_left_out() {
            self.failures = 0;
        }
        fault
    }

    /// Whether nothing is asked of it any more.
    pub fn is_left_out(&self) -> bool {
        self.failures >= FAILURES
    }

    fn ask(&mut self, message: &impl Serialize, awaited: &str) -> Option<Answer> {
        let process = self.process.as_mut()?;
        match process.send(message).and_then(|()| process.answer(awaited)) {
            Ok(answer) => Some(answer),
            Err(why) => {
                self.fail(why);
                None
            }
        }
    }

    /// Kills it. Always false: it is not ready.
    fn fail(&mut self, why: String) -> bool {
        self.process.take().iter_mut().for_each(Process::kill);
        // an interrupt is no fault of its
        if !output::is_interrupted() {
            terminal::note(&format!("peer {} fails this case: {why}", self.name));
            self.failures += 1;
            self.fault = Some(why);
        }
        if self.is_left_out() {
            terminal::note(&format!("peer {} is left out from now on", self.name));
        }
        false
    }
}

impl Contestant for Peer {
    fn run(&mut self, executions: usize) -> Result<Option<Duration>, Failure> {
        let awaited = if executions == 1 { "the time of a run" } else { &format!("the time of {executions} runs") };
        Ok(match self.ask(&Run { run: executions }, awaited) {
            Some(Answer::Seconds(seconds)) => {
                let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
                if time.is_none() {
                    self.fail(format!("{seconds} seconds are no time"));
                }
                time
            }
            Some(_) => {
                self.fail("no seconds after a run".to_owned());
                None
            }
            None => None,
        })
    }
}

impl Process {
    fn start(command: &str, limit: Duration) -> Result<Self, String> {
        let words = shlex::split(command).ok_or("a quote is not closed")?;
        let (program, arguments) = words.split_first().ok_or("no program")?;
        let mut process = Command::new(program);
        process.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            // Ctrl-C is for this program, which then ends its peers, and with each the processes of its group
            process.process_group(0);
        }
        let mut child = process.spawn().map_err(|error| error.to_string())?;
        let input = child.stdin.take();
        // one that writes without end waits for a reader, too
        let (send, lines) = sync_channel(1);
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
        Ok(Self { name: command.to_owned(), child, input, lines, limit, left: limit })
    }

    /// Waits for its greeting.
    fn greeted(mut self) -> Result<(Self, Hello), String> {
        let hello: Hello = self.answer("its greeting").inspect_err(|_| self.kill())?;
        self.name.clone_from(&hello.peer);
        Ok((self, hello))
    }

    fn send(&mut self, message: &impl Serialize) -> Result<(), String> {
        let line = serde_json::to_string(message).map_err(|error| error.to_string())?;
        let input = self.input.as_mut().ok_or("its input is closed")?;
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(|error| error.to_string())
    }

    fn answer<T: DeserializeOwned>(&mut self, awaited: &str) -> Result<T, String> {
        let (start, limit) = (Instant::now(), self.limit.as_secs_f32());
        let mut is_said = false;
        let line = loop {
            match self.lines.recv_timeout(TICK) {
                Ok(line) => break line.map_err(|error| error.to_string())?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("it ended, or closed its output, before {awaited}"));
                }
                Err(RecvTimeoutError::Timeout) if output::is_interrupted() => return Err("interrupted".to_owned()),
                Err(RecvTimeoutError::Timeout) if start.elapsed() > self.left => {
                    return Err(format!("timed out: killed after {limit} s (--peer-timeout), waiting for {awaited}"));
                }
                Err(RecvTimeoutError::Timeout) if !is_said && start.elapsed() > PATIENCE => {
                    is_said = true;
                    let left = self.left.saturating_sub(start.elapsed()).as_secs();
                    terminal::note(&format!("peer {} has {left} s left: waiting for {awaited}", self.name));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        self.left = self.left.saturating_sub(start.elapsed());
        serde_json::from_str(&line).map_err(|error| {
            let shown: String = line.chars().take(80).collect();
            format!("it answers '{}': {error}", shown.trim())
        })
    }
}

impl Process {
    /// Kills it and what it has started.
    fn kill(&mut self) {
        #[cfg(unix)]
        {
            use nix::sys::signal::{Signal, killpg};
            // its group has its number, which is no other's as long as nobody has waited for it
            let group = nix::unistd::Pid::from_raw(self.child.id() as i32);
            // refused where all have ended
            let _ = killpg(group, Signal::SIGKILL);
        }
        #[cfg(not(unix))]
        let _ = self.child.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        let start = Instant::now();
        // until its output ends, as it does with the last process that has it
        while !matches!(self.lines.recv_timeout(TICK), Err(RecvTimeoutError::Disconnected)) {
            if start.elapsed() > FAREWELL {
                break;
            }
        }
        self.kill();
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

    /// A peer that runs a script, in a folder that lives as long as it is started anew.
    fn peer(folder: &tempfile::TempDir, script: &str) -> Option<Peer> {
        let path = folder.path().join("a peer.sh");
        std::fs::write(&path, script).unwrap();
        Peer::start(&format!("sh '{}'", path.display()), Duration::from_secs(2)).unwrap()
    }

    /// Whether a process lives on: a kill takes a moment, and one that nobody has waited for yet is dead too.
    fn survives(pid: &str) -> bool {
        let runs = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        let start = Instant::now();
        while runs() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(TICK);
        }
        runs()
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
        let folder = tempfile::tempdir().unwrap();
        let mut peer = peer(&folder, &script).unwrap();
        assert_eq!((peer.name.as_str(), peer.adapter.as_str()), ("fake 1", "none"));
        assert!(peer.prepare(&request()));
        assert_eq!(peer.run(8).unwrap(), Some(Duration::from_millis(500)));
        let group = BenchCase::new(Variant::Group(1), &[3, 5], Format::First, Pass::Forward);
        assert!(!peer.prepare(&Request::new(&group).unwrap()));
        assert_eq!((peer.settle(), peer.failures, peer.reasons.as_slice()), (None, 0, &["only layer".to_owned()][..]));
    }

    #[test]
    fn peers_that_misbehave_fail_the_case() {
        let folder = tempfile::tempdir().unwrap();
        for greeting in ["exit 1", "echo hello", "echo '{}'", "exec sleep 60", "head -c 100000 /dev/zero"] {
            assert!(peer(&folder, greeting).is_none(), "{greeting}");
        }
        let ready = r#"read -r line; echo '{"ready":true}'; read -r line"#;
        for (answer, fault) in [
            ("exit", "it ended, or closed its output, before the time of a run"),
            ("echo nonsense", "it answers 'nonsense'"),
            (r#"echo '{"seconds":-1}'"#, "-1 seconds are no time"),
            (r#"echo '{"ready":true}'"#, "no seconds after a run"),
        ] {
            let mut peer = peer(&folder, &format!("{HELLO}\n{ready}\n{answer}")).unwrap();
            assert!(peer.prepare(&request()), "{answer}");
            assert_eq!(peer.run(1).unwrap(), None, "{answer}");
            let said = peer.settle().unwrap();
            assert!(said.contains(fault), "{answer}: {said}");
        }
        for command in ["", "'sh", "no-such-program-anywhere"] {
            let error = Peer::start(command, TICK).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("--peer"), "{command}: {error}");
        }
    }

    #[test]
    fn a_peer_that_hangs_is_killed_with_its_children_and_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        // its child holds on to its output, and neither of them reads
        let script = format!(
            r#"{HELLO}
read -r line
echo '{{"ready":true}}'
sleep 600 &
echo $$ $! >> '{}'
wait"#,
            pids.display()
        );
        let mut peer = peer(&folder, &script).unwrap();
        for round in 1..=FAILURES {
            assert!(!peer.is_left_out() && peer.prepare(&request()), "{round}");
            assert_eq!(peer.run(1).unwrap(), None, "{round}");
            let said = "timed out: killed after 2 s (--peer-timeout), waiting for the time of a run";
            assert_eq!(peer.settle().unwrap(), said, "{round}");
        }
        assert!(peer.is_left_out() && !peer.prepare(&request()));
        assert_eq!((peer.settle(), peer.is_left_out()), (None, true));
        let pids = std::fs::read_to_string(pids).unwrap();
        let pids: Vec<&str> = pids.split_whitespace().collect();
        assert_eq!(pids.len(), 2 * FAILURES);
        for pid in pids {
            assert!(!survives(pid), "{pid} still runs");
        }
    }

    /// Wherever a peer hangs, however it resists: the case ends in time, it says what was waited for, and the peer is
    /// dead.
    #[test]
    fn no_peer_holds_the_program_up() {
        let timed_out = |awaited: &str| format!("timed out: killed after 2 s (--peer-timeout), waiting for {awaited}");
        let (ready, run) = ("word that it has the case", "the time of a run");
        let (is_ready, hang) = (r#"read -r l; echo '{"ready":true}'"#, "while :; do sleep 1; done");
        let closed = |awaited: &str| format!("it ended, or closed its output, before {awaited}");
        let cases = [
            ("mid-case", format!("read -r l; {hang}"), timed_out(ready)),
            ("mid-case, deaf to signals", format!("trap '' TERM INT HUP; read -r l; {hang}"), timed_out(ready)),
            ("after it is ready", format!("{is_ready}; {hang}"), timed_out(run)),
            ("without reading", hang.to_owned(), timed_out(ready)),
            ("stopped", format!("{is_ready}; kill -STOP $$; {hang}"), timed_out(run)),
            ("half an answer", format!("{is_ready}; printf '{{\"seconds'; {hang}"), timed_out(run)),
            ("drop by drop", format!("{is_ready}; while :; do printf ' '; sleep 0.05; done"), timed_out(run)),
            ("output closed before it is ready", format!("exec >&-; read -r l; {hang}"), closed(ready)),
            ("output closed in a run", format!("{is_ready}; read -r l; exec >&-; {hang}"), closed(run)),
            (
                "a flood",
                format!("{is_ready}; read -r l; while :; do echo flood; done"),
                "it answers 'flood'".to_owned(),
            ),
        ];
        std::thread::scope(|scope| {
            for (name, body, fault) in &cases {
                scope.spawn(move || {
                    let folder = tempfile::tempdir().unwrap();
                    let pid = folder.path().join("pid");
                    let script = format!("{HELLO}\necho $$ > '{}'\n{body}", pid.display());
                    let mut peer = peer(&folder, &script).unwrap();
                    let start = Instant::now();
                    if peer.prepare(&request()) {
                        assert_eq!(peer.run(1).unwrap(), None, "{name}");
                    }
                    let said = peer.settle().unwrap_or_default();
                    assert!(said.starts_with(fault), "{name}: {said}");
                    drop(peer);
                    assert!(start.elapsed() < Duration::from_secs(8), "{name}: {:?}", start.elapsed());
                    let pid = std::fs::read_to_string(pid).unwrap();
                    assert!(!survives(pid.trim()), "{name} still runs");
                });
            }
        });
    }

    #[test]
    fn a_peer_that_does_not_end_is_ended() {
        let loops = "while read -r l; do echo '{\"ready\":true}'; done";
        let cases = [
            ("deaf to the end of its input", format!("trap '' TERM INT HUP\n{loops}\nwhile :; do sleep 1; done")),
            ("one that writes at its end", format!("{loops}\nwhile :; do echo more; done")),
            ("one that leaves a child behind", format!("{loops}\nsleep 600 &\nexit")),
        ];
        for (name, body) in cases {
            let folder = tempfile::tempdir().unwrap();
            let pid = folder.path().join("pid");
            let mut peer = peer(&folder, &format!("{HELLO}\necho $$ > '{}'\n{body}", pid.display())).unwrap();
            assert!(peer.prepare(&request()), "{name}");
            let start = Instant::now();
            drop(peer);
            assert!(start.elapsed() < Duration::from_secs(5), "{name}: {:?}", start.elapsed());
            assert!(!survives(std::fs::read_to_string(pid).unwrap().trim()), "{name} still runs");
        }
    }
}
