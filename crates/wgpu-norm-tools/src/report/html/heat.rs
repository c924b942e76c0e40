//! The share of the roof by norm and shape, as a table with colours.

use maud::{Markup, html};

use super::{WAYS, digits, is_positive, of_way, percent};
use crate::report::Row;

/// Steps of the colour, from nothing to the roof.
const STEPS: f64 = 10.0;

/// A norm in a memory format.
#[derive(Clone, Debug, PartialEq)]
struct Column {
    norm: String,
    format: String,
}

/// Tables of both ways, rows and planes apart, for they have no shape in common.
pub(super) fn section(ours: &[&Row]) -> Markup {
    html! {
        @if !ours.is_empty() {
            section {
                h2 { "Share of the roof" }
                p.caption {
                    "Percent: 100 is the time in which the roof moves the algorithm's bytes. Where a norm was measured more than "
                    "once on a shape, the lowest is shown."
                }
                div.legend.ramp {
                    @for step in 0..=STEPS as usize { span class=(format!("h{step}")) { (step * 10) } }
                }
                @for (name, backward) in WAYS {
                    @let rows = of_way(ours, backward);
                    @if !rows.is_empty() {
                        h3 { (name) }
                        div.maps {
                            @for are_rows in [true, false] {
                                @let rows = rows.iter().copied().filter(|row| (row.format == "rows") == are_rows);
                                (map(&rows.collect::<Vec<_>>()))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn map(rows: &[&Row]) -> Markup {
    let (columns, shapes) = (columns(rows), shapes(rows));
    html! {
        @if !rows.is_empty() {
            div.scroll tabindex="0" {
                table.heat {
                    thead {
                        tr {
                            th { "shape" }
                            @for column in &columns {
                                th {
                                    (column.norm)
                                    @if column.format != "rows" { br; small { (column.format.trim_start_matches("channels-")) } }
                                }
                            }
                        }
                    }
                    tbody {
                        @for shape in shapes {
                            tr {
                                th { (shape) }
                                @for column in &columns {
                                    @let rows = rows.iter().copied().filter(|row| row.shape == shape);
                                    (cell(&rows.filter(|row| Column::of(row) == *column).collect::<Vec<_>>()))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(rows: &[&Row]) -> Markup {
    let lowest = rows.iter().min_by(|a, b| a.ratio.total_cmp(&b.ratio));
    let lines = rows.iter().map(|row| {
        let roof = format!("{} % of {} ({}E)", percent(row.ratio), row.roof.name(), row.roof_elements);
        format!("{}: {roof}, {} GB/s, {}", row.name(), digits(row.gbps), row.schedule)
    });
    html! {
        @match lowest {
            Some(row) => td class=(step(row.ratio)) title=(lines.collect::<Vec<_>>().join("\n")) { (percent(row.ratio)) },
            None => td {},
        }
    }
}

/// The class of a colour; none where there is no number.
fn step(ratio: f64) -> String {
    if !is_positive(ratio) {
        return String::new();
    }
    format!("h{}", (ratio.min(1.0) * STEPS) as usize)
}

impl Column {
    fn of(row: &Row) -> Self {
        // how many groups there are depends on the shape
        let norm = if row.variant.starts_with("group ") { "group" } else { &row.variant };
        let pass = if row.pass == "training" && !norm.contains("training") { " training" } else { "" };
        Self { norm: format!("{norm}{pass}"), format: row.format.clone() }
    }
}

/// In the order in which the norms come, the formats of one norm side by side.
fn columns(rows: &[&Row]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for column in rows.iter().map(|row| Column::of(row)) {
        if columns.contains(&column) {
            continue;
        }
        let at = columns.iter().rposition(|other| other.norm == column.norm).map_or(columns.len(), |last| last + 1);
        columns.insert(at, column);
    }
    columns
}

fn shapes<'a>(rows: &[&'a Row]) -> Vec<&'a str> {
    let mut shapes: Vec<&str> = Vec::new();
    for row in rows {
        if !shapes.contains(&row.shape.as_str()) {
            shapes.push(&row.shape);
        }
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn formats_of_a_norm_stand_side_by_side() {
        let row = report().rows[0].clone();
        let with = |variant: &str, format: &str, pass: &str| Row {
            variant: variant.to_owned(),
            format: format.to_owned(),
            pass: pass.to_owned(),
            ..row.clone()
        };
        let rows = [
            with("instance", "channels-first", "forward"),
            with("group 32", "channels-first", "forward"),
            with("instance", "channels-last", "forward"),
            with("group 16", "channels-first", "forward"),
            with("layer", "rows", "training"),
        ];
        let columns = columns(&rows.iter().collect::<Vec<_>>());
        let names: Vec<String> = columns.into_iter().map(|column| [column.norm, column.format].join(" ")).collect();
        assert_eq!(
            names,
            ["instance channels-first", "instance channels-last", "group channels-first", "layer training rows"]
        );
    }

    #[test]
    fn colours_end_at_the_roof() {
        for (ratio, expected) in
            [(0.01, "h0"), (0.55, "h5"), (0.999, "h9"), (1.0, "h10"), (7.0, "h10"), (f64::NAN, ""), (-1.0, "")]
        {
            assert_eq!(step(ratio), expected, "{ratio}");
        }
    }
}
