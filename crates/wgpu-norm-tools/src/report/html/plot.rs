//! GB/s over the size of a tensor, with the roof: one plot for each way through a network.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::axis::{Axis, round_ticks, size_ticks};
use super::{WAYS, digits, is_positive, percent};
use crate::report::beside::geometric_mean;
use crate::report::{Report, Roof, Row};

/// Size of a plot, in the unit of its text, and the edges of its area.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 452.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 262.0;
/// Between the marks of two families at one size.
const DODGE: f64 = 7.0;
/// Between those of all families together, at most.
const DODGES: f64 = 48.0;
/// Colours of families; the style has as many.
const COLOURS: usize = 8;
/// A disc, a square, a triangle, a diamond.
const MARKS: [&str; 4] = [
    "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0z",
    "M-3.3 -3.3h6.6v6.6h-6.6z",
    "M0 -4l4 7h-8z",
    "M0 -4.6l4.6 4.6l-4.6 4.6l-4.6 -4.6z",
];

/// A row as it is drawn.
#[derive(Clone, Copy)]
struct Point<'a> {
    row: &'a Row,
    /// Binary logarithm of a tensor's bytes.
    log_size: f64,
    gbps: f64,
}

/// Both plots with their legend.
pub(super) fn section(report: &Report, ours: &[&Row]) -> Markup {
    let drawn = ours.iter().map(|row| Point { row, log_size: log_size(row), gbps: scaled_gbps(report, row) });
    let drawn: Vec<Point<'_>> = drawn.filter(|point| is_positive(point.gbps) && point.gbps < 1e300).collect();
    let families = families(drawn.iter().map(|point| point.row));
    html! {
        section {
            h2 { "Speed over size" }
            @if drawn.is_empty() {
                p { "Nothing was measured." }
            } @else {
                p.caption {
                    "GB/s count the bytes that no implementation can do without. The dashed roof is a kernel that only moves "
                    "memory; each row is scaled by the roof that was measured in turn with it, so that the load of the machine "
                    "does not matter. A norm that has to read a segment twice stays below the roof even at the limit; the share "
                    "in the next section takes that into account. Lines join the geometric means of each size; hollow: channels "
                    "last; families of one size stand side by side."
                }
                div.legend {
                    @for (index, family) in families.iter().enumerate() {
                        span { svg viewBox="-6 -6 12 12" aria-hidden="true" { (mark(index, 0.0, 0.0, false, "")) } (family) }
                    }
                }
                div.plots {
                    @for (name, backward) in WAYS {
                        @let points = drawn.iter().copied().filter(|point| (point.row.pass == "backward") == backward);
                        (plot(name, report, &points.collect::<Vec<_>>(), &families))
                    }
                }
            }
        }
    }
}

/// The norm without the number of groups or the order.
pub(super) fn family(row: &Row) -> &str {
    match row.variant.rsplit_once(' ') {
        Some((family, number)) if number.parse::<f64>().is_ok() => family,
        _ => &row.variant,
    }
}

/// Each of them once.
pub(super) fn families<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'a str> {
    let mut families = Vec::new();
    for family in rows.map(family) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families
}

/// Binary logarithm of a tensor's bytes; of the least bytes where the shape is not understood.
fn log_size(row: &Row) -> f64 {
    let elements: Option<f64> =
        row.shape.split('x').map(|size| size.parse::<u64>().ok().map(|size| size as f64)).product();
    let bytes = match row.dtype.as_str() {
        "f16" | "bf16" => 2.0,
        "f64" => 8.0,
        _ => 4.0,
    };
    let size = elements.map(|elements| elements * bytes).filter(|size| is_positive(*size));
    size.unwrap_or(row.min_bytes.max(1) as f64).log2()
}

/// GB/s at the speed that the roof has in the whole run; as measured where a roof is unknown.
fn scaled_gbps(report: &Report, row: &Row) -> f64 {
    let load = report.roofs.get(&row.roof).map(|gbps| gbps / row.roof_gbps).filter(|load| is_positive(*load));
    row.gbps * load.unwrap_or(1.0)
}

fn plot(name: &str, report: &Report, points: &[Point<'_>], families: &[&str]) -> Markup {
    let sizes = || points.iter().map(|point| point.log_size);
    // room for the marks that stand side by side
    let low = sizes().fold(f64::INFINITY, f64::min) - 0.7;
    let high = sizes().fold(f64::NEG_INFINITY, f64::max) + 0.7;
    let roofs = roofs(report, points);
    let top =
        points.iter().map(|point| point.gbps).chain(roofs.iter().map(|(_, gbps)| *gbps)).fold(0.0, f64::max) * 1.06;
    let (x, y) = (Axis::new(low, high, LEFT, RIGHT), Axis::new(0.0, top, BOTTOM, TOP));
    let dodge = DODGE.min(DODGES / families.len().max(1) as f64);
    let shift = |index: usize| (index as f64 - families.len().saturating_sub(1) as f64 / 2.0) * dodge;
    let label = format!("{name}: GB/s over size");
    html! {
        @if !points.is_empty() {
            figure {
                figcaption { (name) }
                svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
                    (grid(&x, low, high, &y, top))
                    @for (i, (roof, gbps)) in roofs.iter().enumerate() { (roof_line(i, *roof, *gbps, &y)) }
                    @for (i, family) in families.iter().enumerate() {
                        @let points = points.iter().copied().filter(|point| self::family(point.row) == *family);
                        (series(i, &points.collect::<Vec<_>>(), &x, &y, shift(i)))
                    }
                }
            }
        }
    }
}

/// The roofs that these rows are compared with.
fn roofs(report: &Report, points: &[Point<'_>]) -> Vec<(Roof, f64)> {
    let used = report
        .roofs
        .iter()
        .filter(|(roof, gbps)| is_positive(**gbps) && points.iter().any(|point| point.row.roof == **roof));
    used.map(|(roof, gbps)| (*roof, *gbps)).collect()
}

fn grid(x: &Axis, low: f64, high: f64, y: &Axis, top: f64) -> Markup {
    html! {
        g.grid {
            @for tick in round_ticks(top) {
                @let at = format!("{:.1}", y.at(tick.value));
                path d=(format!("M{LEFT} {at}H{RIGHT}")) {}
                text.end x=(LEFT - 5.0) y=(at) dy="0.35em" { (tick.label) }
            }
            @for tick in size_ticks(low, high) {
                @let at = format!("{:.1}", x.at(tick.value));
                path d=(format!("M{at} {BOTTOM}v4")) {}
                text.middle x=(at) y=(BOTTOM + 16.0) { (tick.label) }
            }
            text x="2" y="10" { "GB/s" }
            text.middle x=((LEFT + RIGHT) / 2.0) y=(HEIGHT - 4.0) { "bytes of a tensor" }
        }
    }
}

/// Labels of neighbouring roofs keep apart: at the right, at the left.
fn roof_line(index: usize, roof: Roof, gbps: f64, y: &Axis) -> Markup {
    let at = y.at(gbps);
    let (x, side) = if index.is_multiple_of(2) { (RIGHT, "end") } else { (LEFT + 4.0, "start") };
    html! {
        g.roof {
            path d=(format!("M{LEFT} {at:.1}H{RIGHT}")) {}
            text class=(side) x=(x) y=(format!("{:.1}", at - 4.0)) {
                "roof: " (roof.name().replace('_', "-")) " " (digits(gbps)) " GB/s"
            }
        }
    }
}

fn series(index: usize, points: &[Point<'_>], x: &Axis, y: &Axis, shift: f64) -> Markup {
    let mut sizes: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for point in points {
        // to a tenth: 4096x1023 is no other size than 4096x1024
        sizes.entry((point.log_size * 10.0).round() as u64).or_default().push(point.gbps);
    }
    let place = |size: f64, gbps: f64| (x.at(size) + shift, y.at(gbps));
    let means = sizes.into_iter().map(|(size, gbps)| {
        let (x, y) = place(size as f64 / 10.0, geometric_mean(gbps.into_iter()));
        format!("{x:.1},{y:.1}")
    });
    html! {
        polyline class=(colour(index)) points=(means.collect::<Vec<_>>().join(" ")) {}
        @for Point { row, log_size, gbps } in points {
            @let (x, y) = place(*log_size, *gbps);
            @let share = format!("{} % of {} ({}E)", percent(row.ratio), row.roof.name(), row.roof_elements);
            @let title = format!("{}: {} GB/s, {share}", row.name(), digits(row.gbps));
            (mark(index, x, y, row.format == "channels-last", &title))
        }
    }
}

/// The class of a colour.
pub(super) fn colour(index: usize) -> String {
    format!("s{}", index % COLOURS)
}

/// The sign of a family, or of whatever else `index` counts.
pub(super) fn mark(index: usize, x: f64, y: f64, is_hollow: bool, title: &str) -> Markup {
    let hollow = if is_hollow { " hollow" } else { "" };
    // more families than colours: the same colour with another mark
    let shape = MARKS[(index + index / COLOURS) % MARKS.len()];
    html! {
        path class=(colour(index) + hollow) d=(shape) transform=(format!("translate({x:.1} {y:.1})")) {
            @if !title.is_empty() { title { (title) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn rows_have_families_and_sizes() {
        let row = report().rows[0].clone();
        for (variant, expected) in
            [("group 32", "group"), ("lp 1.5", "lp"), ("batch training", "batch training"), ("x", "x")]
        {
            assert_eq!(family(&Row { variant: variant.to_owned(), ..row.clone() }), expected);
        }
        let unknown = (row.min_bytes as f64).log2();
        for (shape, dtype, expected) in [
            ("4x1024", "f32", 14.0),
            ("4x1024", "f16", 13.0),
            ("4xa", "f32", unknown),
            ("0x4", "f32", unknown),
            ("", "f32", unknown),
        ] {
            let row = Row { shape: shape.to_owned(), dtype: dtype.to_owned(), ..row.clone() };
            assert_eq!(log_size(&row), expected, "{shape} {dtype}");
        }
    }

    #[test]
    fn the_load_of_the_machine_does_not_move_a_point() {
        let report = report();
        let row = |gbps: f64, roof_gbps: f64| Row { gbps, roof_gbps, ..report.rows[0].clone() };
        for (gbps, roof_gbps, expected) in
            [(10.0, 40.0, 10.0), (5.0, 20.0, 10.0), (5.0, 0.0, 5.0), (5.0, f64::NAN, 5.0)]
        {
            assert_eq!(scaled_gbps(&report, &row(gbps, roof_gbps)), expected, "{gbps} {roof_gbps}");
        }
    }
}
