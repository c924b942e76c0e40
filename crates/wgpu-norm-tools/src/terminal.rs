//! Standard output and error: text, JSON, colours, tables, progress.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::error::ErrorKind;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};

use crate::failure::{EXIT_ERROR, Failure};

const RED: Style = AnsiColor::Red.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default();
/// Columns where there is no terminal.
const PAGE: usize = 160;

/// Writes `text` and a newline to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    printed(writeln!(out, "{text}").and_then(|()| out.flush()))
}

/// Writes `value` as JSON to standard output.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Stdout(error.into()))?;
    print(&text)
}

/// Writes each value as a line of JSON to standard output.
pub fn print_lines(values: impl Iterator<Item = impl serde::Serialize>) -> Result<(), Failure> {
    let lines = values.map(|value| serde_json::to_string(&value));
    let lines: Vec<String> = lines.collect::<Result<_, _>>().map_err(|error| Failure::Stdout(error.into()))?;
    print(&lines.join("\n"))
}

/// A reader that closed the pipe has what it wanted (`wgpu-norm adapters | head -1`), and the exit code stays what it
/// is.
fn printed(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Failure::Stdout),
    }
}

/// Writes text to standard error, where standard output has a tensor.
pub fn print_aside(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes `error: message` to standard error, on one line whatever the message holds.
pub fn error(message: &str) {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let prefix = paint("error:", RED, &io::stderr());
    // Nothing is left to be done where standard error is closed.
    let _ = writeln!(io::stderr(), "{prefix} {line}");
}

/// Help as clap prints it; a mistake as one line like every other error.
pub fn usage(mistake: &clap::Error) -> ExitCode {
    match mistake.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = mistake.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = mistake.print();
            ExitCode::from(EXIT_ERROR)
        }
        _ => {
            let text = mistake.to_string();
            let mut paragraphs = text.split("\n\n").map(str::trim);
            let mut line = paragraphs.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            for tip in paragraphs.filter(|paragraph| paragraph.starts_with("tip:")) {
                line += &format!(" ({tip})");
            }
            self::error(&line);
            ExitCode::from(EXIT_ERROR)
        }
    }
}

/// Writes a remark to standard error.
pub fn note(message: &str) {
    let _ = writeln!(io::stderr(), "note: {message}");
}

/// `text` in green where `good`, else in red; plain where standard output is no terminal.
pub fn verdict(text: &str, good: bool) -> String {
    paint(text, if good { GREEN } else { RED }, &io::stdout())
}

fn paint(text: &str, style: Style, stream: &impl RawStream) -> String {
    if has_colours(stream) { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

fn has_colours(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Columns of standard output.
pub fn width() -> usize {
    terminal_size::terminal_size().map_or(PAGE, |(width, _)| usize::from(width.0))
}

/// A table without lines: columns for the eye, fields for `awk`. Colours of cells where standard output is a terminal.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    if has_colours(&io::stdout()) {
        table.enforce_styling()
    } else {
        table.force_no_tty()
    };
    table
}

/// The bar that is shown.
static CURRENT: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// How often a line says how far work is, where there is no terminal for a bar.
const PERIOD: Duration = Duration::from_secs(5);

/// How often a bar counts the seconds of work that may hang.
const TICK: Duration = Duration::from_secs(1);

/// How far work is: a bar on a terminal, elsewhere a line now and then.
pub struct Progress {
    bar: ProgressBar,
    /// When the last line was written; none where lines are not.
    line: Option<Cell<Instant>>,
}

/// Shows how far work is. `bytes`: the unit is bytes, else pieces of work, which take longer and are worth lines.
pub fn progress(label: &'static str, total: u64, bytes: bool) -> Progress {
    // one bar at a time: work within work shows the outer one
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if current.as_ref().and_then(WeakProgressBar::upgrade).is_some_and(|bar| !bar.is_finished()) {
        return Progress { bar: ProgressBar::hidden(), line: None };
    }
    let (target, line) = match io::stderr().is_terminal() {
        true => (ProgressDrawTarget::stderr(), None),
        false => (ProgressDrawTarget::hidden(), (!bytes).then(|| Cell::new(Instant::now()))),
    };
    let counter = if bytes { "{bytes}/{total_bytes}" } else { "{pos}/{len} {msg}" };
    let style = ProgressStyle::with_template(&format!("{{prefix:9}} {{bar:40}} {counter} {{elapsed}}, {{eta}} left"));
    let bar = ProgressBar::with_draw_target(Some(total), target).with_prefix(label);
    let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    *current = Some(bar.downgrade());
    Progress { bar, line }
}

impl Progress {
    /// So much more is done.
    pub fn inc(&self, done: u64) {
        self.bar.inc(done);
        if self.line.as_ref().is_some_and(|line| line.get().elapsed() >= PERIOD) {
            self.say(self.bar.position());
        }
    }

    /// A line, where there is no terminal.
    fn say(&self, at: u64) {
        let Some(line) = &self.line else { return };
        line.set(Instant::now());
        let (label, all) = (self.bar.prefix(), self.bar.length().unwrap_or(0));
        let (message, elapsed) = (self.bar.message(), self.bar.elapsed().as_secs());
        let _ = writeln!(io::stderr(), "{label} {at}/{all} after {elapsed} s {message}");
    }

    /// Begins the next piece of work, which may take long or never end: said at once, not now and then.
    pub fn announce(&self, message: impl Into<String>) {
        self.set_message(message);
        self.bar.enable_steady_tick(TICK);
        self.say(self.bar.position() + 1);
    }

    /// What is being done.
    pub fn set_message(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    /// All is done.
    pub fn finish_and_clear(&self) {
        self.bar.finish_and_clear();
    }
}
