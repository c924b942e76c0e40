//! Two runs side by side.

use comfy_table::Table;

use crate::report::{CaseReport, Report};
use crate::table;

/// A line a case that both have, old and new.
pub fn table(old: &Report, new: &Report) -> Table {
    let mut table =
        table::new(&["case", "dispatches", "workgroups", "registers", "spills", "instructions an element", "ratio"]);
    let mut ratios = Vec::new();
    for case in &new.cases {
        let Some(before) = old.cases.iter().find(|before| before.name == case.name) else { continue };
        let count = |case: &CaseReport| case.instructions_an_element();
        let ratio = count(before).zip(count(case)).map(|(before, after)| after / before);
        ratios.extend(ratio);
        let text = |value: Option<f64>, digits| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"));
        table.add_row([
            case.name.clone(),
            change(before.dispatches.len(), case.dispatches.len()),
            change(before.workgroups(), case.workgroups()),
            change(before.registers().unwrap_or(0), case.registers().unwrap_or(0)),
            change(before.spills(), case.spills()),
            change(text(count(before), 1), text(count(case), 1)),
            text(ratio, 2),
        ]);
    }
    if !ratios.is_empty() {
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        let mut last = vec![format!("geometric mean of {}", ratios.len())];
        last.extend(std::iter::repeat_n(String::new(), 5));
        last.push(format!("{mean:.2}"));
        table.add_row(last);
    }
    table
}

fn change<T: PartialEq + std::fmt::Display>(before: T, after: T) -> String {
    if before == after { after.to_string() } else { format!("{before} -> {after}") }
}
