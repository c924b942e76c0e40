//! `gauge wgsl`: kernels of files by themselves.

use std::path::{Path, PathBuf};

use comfy_table::Table;

use crate::compiler::{Checks, Compiler, Source};
use crate::flow::Flow;
use crate::machine::Machine;
use crate::table;

/// Kernels of WGSL files by themselves.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// WGSL files, and folders of them: every entry point is compiled.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// All files are parts of one module.
    #[arg(long)]
    join: bool,
    /// Value of an `override`, or of a `const` that it takes the place of. May be given more than once.
    #[arg(long = "constant", value_name = "NAME=VALUE", value_parser = constant)]
    constants: Vec<(String, f64)>,
    /// With wgpu's checks of indices and loops, and zeroed workgroup memory, as hosts without trusted modules compile.
    #[arg(long)]
    checked: bool,
}

fn constant(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let value = match value {
        "true" => 1.0,
        "false" => 0.0,
        _ => value.trim_end_matches(['u', 'i', 'f']).parse().map_err(|_| format!("'{value}' is no number"))?,
    };
    Ok((name.to_owned(), value))
}

/// Compiles and prints them; false where one cannot be compiled.
pub fn run(arguments: &Arguments) -> Result<bool, String> {
    let mut compiler = Compiler::open()?;
    println!("{}", compiler.name);
    let mut table = table::new(&[
        "kernel",
        "lines",
        "SPIR-V",
        "workgroup",
        "subgroup",
        "registers",
        "waves",
        "spills",
        "scratch",
        "workgroup memory",
        "instructions",
        "common path",
        "an element",
        "bytes in flight",
    ]);
    let mut good = true;
    let mut loops = String::new();
    for (name, text) in modules(arguments)? {
        let (text, constants) = substitute(&text, &arguments.constants);
        for entry in entries(&text).map_err(|error| format!("{name}: {error}"))? {
            let source = Source { wgsl: &text, entry: &entry, constants: &constants };
            let title = if entry == "main" { name.clone() } else { format!("{name} {entry}") };
            let checks = if arguments.checked { Checks::All } else { Checks::None };
            match compiler.compile(source, checks) {
                Ok((machine, flow)) => {
                    row(&mut table, &title, text.lines().count(), &machine, flow.as_ref());
                    flow.iter().for_each(|flow| loops.push_str(&describe_loops(&title, flow)));
                }
                Err(error) => {
                    good = false;
                    eprintln!("{title}: {error}");
                }
            }
        }
    }
    println!("{table}\n{loops}");
    Ok(good)
}

/// Name and text of each module.
fn modules(arguments: &Arguments) -> Result<Vec<(String, String)>, String> {
    let mut files = Vec::new();
    for path in &arguments.paths {
        if path.is_dir() {
            let entries = path.read_dir().map_err(|error| format!("{}: {error}", path.display()))?;
            let mut inside: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            inside.retain(|file| file.extension().is_some_and(|extension| extension == "wgsl"));
            inside.sort();
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if arguments.join {
        let texts: Vec<_> = files.iter().map(read).collect::<Result<_, _>>()?;
        return Ok(vec![(files.iter().map(|path| name(path)).collect::<Vec<_>>().join("+"), texts.join("\n"))]);
    }
    files.iter().map(|path| Ok((name(path), read(path)?))).collect()
}

/// The text with its named `const`s replaced, and the values that are left for its overrides.
fn substitute(text: &str, values: &[(String, f64)]) -> (String, Vec<(String, f64)>) {
    let declared = |line: &str, word: &str, name: &str| {
        let rest = line.trim_start().strip_prefix(word).and_then(|rest| rest.strip_prefix(' '));
        rest.and_then(|rest| rest.trim_start().strip_prefix(name)).is_some_and(|r| r.starts_with([':', ' ', '=']))
    };
    let replaced = |line: &str| match values.iter().find(|(name, _)| declared(line, "const", name)) {
        Some((_, value)) => {
            let (left, right) = line.split_once('=').unwrap_or((line, ""));
            let suffix = if right.trim_end().trim_end_matches(';').ends_with('u') { "u" } else { "" };
            format!("{left}= {value}{suffix};\n")
        }
        None => format!("{line}\n"),
    };
    let is_override = |(name, _): &&(String, f64)| {
        // attributes may stand before it
        text.lines().any(|line| line.find("override").is_some_and(|at| declared(&line[at..], "override", name)))
    };
    (text.lines().map(replaced).collect(), values.iter().filter(is_override).cloned().collect())
}

fn entries(text: &str) -> Result<Vec<String>, String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|error| error.emit_to_string(text))?;
    Ok(module.entry_points.into_iter().map(|entry| entry.name).collect())
}

fn row(table: &mut Table, title: &str, lines: usize, machine: &Machine, flow: Option<&Flow>) {
    let path = flow.map(Flow::common_path);
    // a lane that stores nothing wide has no elements that could be counted
    let elements = path.as_ref().map(|path| path.stored / 4.0).filter(|elements| *elements >= 2.0);
    let unknown = || "-".to_owned();
    let number = |value: Option<u32>| value.map_or_else(unknown, |value| value.to_string());
    table.add_row([
        title.to_owned(),
        lines.to_string(),
        machine.spirv_bytes.to_string(),
        machine.workgroup_size.to_string(),
        machine.subgroup_size.to_string(),
        number(machine.registers),
        number(machine.waves),
        machine.spills.to_string(),
        machine.scratch.to_string(),
        machine.workgroup_memory.to_string(),
        machine.instructions.to_string(),
        path.as_ref().map_or_else(unknown, |path| path.instructions.to_string()),
        path.zip(elements).map_or_else(unknown, |(path, elements)| format!("{:.1}", path.instructions / elements)),
        flow.map_or_else(unknown, |flow| flow.bytes_in_flight(None).to_string()),
    ]);
}

/// A line a loop: what one turn does, all branches counted, loops in it left out.
fn describe_loops(title: &str, flow: &Flow) -> String {
    let line = |k: usize| {
        let work = flow.own_work(Some(k));
        let within = flow.loops[k].parent.map_or(String::new(), |parent| format!(" (in loop {parent})"));
        let elements = work.loaded.max(work.stored) / 4.0;
        let each =
            if elements >= 4.0 { format!(", {:.1} for 4 bytes", work.instructions / elements) } else { String::new() };
        format!(
            "{title}: loop {k}{within}: {} instructions a turn, loads {} bytes, stores {}{each}; {} in flight\n",
            work.instructions,
            work.loaded,
            work.stored,
            flow.bytes_in_flight(Some(k)),
        )
    };
    (0..flow.loops.len()).map(line).collect()
}
