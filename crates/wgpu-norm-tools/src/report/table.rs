//! A report for the eye.

use crate::terminal;
use comfy_table::{Cell, CellAlignment, Color};

use super::beside::{self, Shown, geometric_mean};
use super::{Report, Roof, Row, SOFTWARE, TOLERANCE};

const HEADER: [&str; 14] = [
    "norm", "shape", "channels", "pass", "type", "by", "schedule", "ms", "p20..p80", "GB/s", "of roof", "", "error",
    "ours",
];
/// Columns for rows of others.
const BESIDE: [&str; 2] = ["by", "ours"];
/// Columns that give way on a narrow terminal, in this order.
const DISPENSABLE: [&str; 4] = ["schedule", "p20..p80", "GB/s", "error"];
/// Width of a bar.
const BAR: std::ops::RangeInclusive<usize> = 8..=24;
/// Between columns.
const GAP: usize = 2;
/// Ratios that are good, and fair.
const GOOD: f64 = 0.8;
const FAIR: f64 = 0.5;

/// The whole report beside earlier ones, in lines of at most `width` where that is possible.
pub fn text(report: &Report, earlier: &[Report], width: usize) -> String {
    let mut text = head(report);
    let shown = beside::shown(report, earlier);
    if !shown.is_empty() {
        text += &format!("\n\n{}\n{}{}", rows(&shown, width), summary(&report.rows), beside::summary(&shown));
    }
    for skipped in &report.skipped {
        text += &format!("\nskipped: {}", skipped.text());
    }
    let wrong = report.wrong();
    if wrong > 0 {
        let verdict = terminal::verdict(&format!("FAIL ({wrong})"), false);
        text += &format!("\n{verdict}: errors above {TOLERANCE:.0e} of the largest value");
    }
    text
}

fn head(report: &Report) -> String {
    let roofs: Vec<String> =
        report.roofs.iter().map(|(roof, gbps)| format!("{} {gbps:.1}", roof.name().replace('_', "-"))).collect();
    let mut text = format!(
        "adapter {}\nbackend {}, {}\ndriver  {}\nclock   {}\nstart   {:.0} ms to the first result\nroofs   {} GB/s",
        report.adapter,
        report.backend,
        report.device_type,
        report.driver,
        report.clock,
        report.cold_start_ms,
        roofs.join(", ")
    );
    if report.is_software() {
        text += &format!("\nnote    {SOFTWARE}");
    }
    for note in &report.notes {
        text += &format!("\nnote    {note}");
    }
    text
}

/// The table, with bars as wide as there is room.
fn rows(rows: &[Shown<'_>], width: usize) -> String {
    let cells: Vec<[String; HEADER.len()]> = rows.iter().map(cells).collect();
    let count = |text: &str| text.chars().count();
    let widest = |column: usize| {
        cells.iter().map(|cells| count(&cells[column])).chain([count(HEADER[column])]).max().unwrap_or(0) + GAP
    };
    let alone = rows.iter().all(|shown| shown.by.is_none());
    let of_f32 = rows.iter().all(|shown| shown.row.types() == "f32");
    let says = |column: &str| !(alone && BESIDE.contains(&column) || of_f32 && column == "type");
    let mut shown: Vec<usize> = (0..HEADER.len()).filter(|&i| says(HEADER[i])).collect();
    let taken = |shown: &[usize]| shown.iter().map(|&column| widest(column)).sum::<usize>();
    for name in DISPENSABLE {
        if taken(&shown) + BAR.start() > width {
            shown.retain(|&column| HEADER[column] != name);
        }
    }
    let bar_width = width.saturating_sub(taken(&shown)).clamp(*BAR.start(), *BAR.end());
    let mut table = terminal::table(&shown.iter().map(|&column| HEADER[column]).collect::<Vec<_>>());
    for (Shown { row, faster, .. }, cells) in rows.iter().zip(&cells) {
        table.add_row(shown.iter().map(|&column| match HEADER[column] {
            "" => Cell::new(bar(row.ratio, bar_width)).fg(colour(row.ratio)),
            "error" if !row.is_right() => Cell::new(&cells[column]).fg(Color::Red),
            "ours" if faster.is_some_and(|faster| faster < 1.0) => Cell::new(&cells[column]).fg(Color::Red),
            "ms" | "p20..p80" | "GB/s" | "of roof" => Cell::new(&cells[column]).set_alignment(CellAlignment::Right),
            _ => Cell::new(&cells[column]),
        }));
    }
    table.trim_fmt()
}

fn cells(Shown { row, by, faster }: &Shown<'_>) -> [String; HEADER.len()] {
    let error = match row.error {
        Some(f64::MAX) => "NaN".to_owned(),
        Some(error) => format!("{error:.1e}"),
        None => String::new(),
    };
    [
        row.variant.clone(),
        row.shape.clone(),
        row.format.trim_start_matches("channels-").to_owned(),
        row.pass.clone(),
        row.types(),
        by.clone().unwrap_or_else(|| "ours".to_owned()),
        row.schedule.clone(),
        milliseconds(row.median_ms),
        format!("{}..{}", milliseconds(row.p20_ms), milliseconds(row.p80_ms)),
        format!("{:.1}", row.gbps),
        format!("{:.0} % {}E {}", row.ratio * 100.0, row.roof_elements, roof_name(row.roof)),
        String::new(),
        error,
        faster.map(|faster| format!("{faster:.2}x as fast")).unwrap_or_default(),
    ]
}

fn roof_name(roof: Roof) -> &'static str {
    match roof {
        Roof::Copy => "copy",
        Roof::Triad => "triad",
        Roof::ReadOnly => "read",
    }
}

/// Three digits that count.
fn milliseconds(ms: f64) -> String {
    let digits = if ms < 1.0 { 4 } else { usize::from(ms < 100.0) + usize::from(ms < 10.0) };
    format!("{ms:.digits$}")
}

fn colour(ratio: f64) -> Color {
    if ratio >= GOOD {
        Color::Green
    } else if ratio >= FAIR {
        Color::Yellow
    } else {
        Color::Red
    }
}

/// A bar of eighths, full at the roof.
fn bar(ratio: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (ratio.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// Geometric mean and minimum of the ratios, of our own rows.
fn summary(rows: &[Row]) -> String {
    let ways = [("forward", false), ("backward", true)];
    let lines = ways.into_iter().filter_map(|(name, backward)| {
        let rows: Vec<&Row> =
            rows.iter().filter(|row| row.peer.is_none() && (row.pass == "backward") == backward).collect();
        let lowest = rows.iter().min_by(|a, b| a.ratio.total_cmp(&b.ratio))?;
        let mean = geometric_mean(rows.iter().map(|row| row.ratio));
        let (mean, low, case) = (mean * 100.0, lowest.ratio * 100.0, lowest.name());
        Some(format!("\n{name:8}  geometric mean {mean:.1} % of the roof, lowest {low:.1} %: {case}"))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn bars_are_full_at_the_roof() {
        for (ratio, expected) in [(0.0, ""), (0.5, "██"), (0.53, "██▏"), (1.0, "████"), (1.7, "████"), (-1.0, "")]
        {
            assert_eq!(bar(ratio, 4), expected, "{ratio}");
        }
    }

    #[test]
    fn numbers_have_the_digits_that_count() {
        for (ms, expected) in [(0.01234, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123")] {
            assert_eq!(milliseconds(ms), expected);
        }
    }

    #[test]
    fn tables_fit_the_terminal() {
        let mut report = report();
        report.rows[0].schedule = "a schedule of some length".to_owned();
        let both = beside::shown(&report, &[]);
        for (shown, width, schedule, by) in [
            (&both[..1], 200, true, false),
            (&both[..1], 140, true, false),
            (&both[..1], 110, false, false),
            (&both[..1], 80, false, false),
            (&both[..], 200, true, true),
            (&both[..], 105, false, true),
        ] {
            let table = rows(shown, width);
            let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width, "{widest} of {width}\n{table}");
            assert_eq!((table.contains("schedule"), table.contains("1.00x")), (schedule, by), "{width}\n{table}");
        }
        let text = text(&report, &[], 120);
        for part in [
            " last ",
            "lowest 110.0 %: group 32 8x64x120x120",
            "needs 1.00 GiB: too large",
            "read-only 50.0",
            "\nnote    2 of 2 cases have",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
