//! Axes: where a value lies, and which values have a mark.

/// An axis from one coordinate to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

/// A mark.
#[derive(Debug, PartialEq)]
pub(super) struct Tick {
    /// Where, in values of the axis.
    pub(super) value: f64,
    /// Its words.
    pub(super) label: String,
}

impl Axis {
    /// From the values `low..high` to the coordinates `from..to`.
    pub(super) fn new(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self { low, high, from, to }
    }

    /// The coordinate of a value.
    pub(super) fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }
}

/// About five round values from 0 to `high`.
pub(super) fn round_ticks(high: f64) -> Vec<Tick> {
    let raw = high / 5.0;
    let decade = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade).into_iter().find(|step| *step >= raw).unwrap_or(raw);
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    let label = |value: f64| if high >= 1e5 { format!("{value:.0e}") } else { format!("{value:.decimals$}") };
    let values = (0..=5).map(|i| f64::from(i) * step).take_while(|value| *value <= high * (1.0 + 1e-9));
    values.map(|value| Tick { value, label: label(value) }).collect()
}

/// At most six powers of two between two binary logarithms, as sizes.
pub(super) fn size_ticks(low: f64, high: f64) -> Vec<Tick> {
    let step = ((high - low) / 6.0).floor() as i32 + 1;
    let first = low.ceil() as i32;
    // multiples of the step, so that neighbours differ by the same factor from page to page
    let first = first + (-first).rem_euclid(step);
    let exponents = (0..).map(|i| first + i * step).take_while(|exponent| f64::from(*exponent) <= high);
    exponents.map(|exponent| Tick { value: f64::from(exponent), label: size(exponent) }).collect()
}

/// Two to a power, in bytes.
fn size(exponent: i32) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (exponent / 10).clamp(0, UNITS.len() as i32 - 1);
    format!("{} {}", 2f64.powi(exponent - 10 * unit), UNITS[unit as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: Vec<Tick>) -> String {
        ticks.into_iter().map(|tick| tick.label).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn marks_are_round() {
        for (high, expected) in [
            (5.6, "0 2 4"),
            (4.9, "0 1 2 3 4"),
            (1.0, "0.0 0.2 0.4 0.6 0.8 1.0"),
            (0.03, "0.00 0.01 0.02 0.03"),
            (4800.0, "0 1000 2000 3000 4000"),
            (2e7, "0e0 5e6 1e7 2e7 2e7"),
        ] {
            assert_eq!(labels(round_ticks(high)), expected, "{high}");
        }
        for (low, high, expected) in [
            (21.0, 26.5, "2 MiB 4 MiB 8 MiB 16 MiB 32 MiB 64 MiB"),
            (21.5, 23.5, "4 MiB 8 MiB"),
            (8.0, 32.0, "1 KiB 32 KiB 1 MiB 32 MiB 1 GiB"),
        ] {
            assert_eq!(labels(size_ticks(low, high)), expected, "{low}..{high}");
        }
    }

    #[test]
    fn values_have_coordinates() {
        let axis = Axis::new(0.0, 2.0, 100.0, 0.0);
        assert_eq!([axis.at(0.0), axis.at(1.0), axis.at(2.0)], [100.0, 50.0, 0.0]);
    }
}
