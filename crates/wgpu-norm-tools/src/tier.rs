//! Which cases of a table the tests take: a software adapter compiles kernels for most of their time, so that all cases
//! of all tables take a quarter of an hour.

/// A sample of a long table, each case of a product of lists one of them; all where the environment says
/// `WGPU_NORM_TESTS=all`.
pub fn some<T>(cases: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    part(cases, std::env::var_os("WGPU_NORM_TESTS").is_some_and(|tier| tier == "all"))
}

/// A sixteenth of the cases, the first among them, spread over them so that they keep step with nothing that repeats.
pub fn sample<T>(cases: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    part(cases, false)
}

fn part<T>(cases: impl IntoIterator<Item = T>, all: bool) -> impl Iterator<Item = T> {
    (0u32..).zip(cases).filter(move |&(number, _)| all || is_of_a_sixteenth(number)).map(|(_, case)| case)
}

/// Whether the fraction of `number` times the square root of 3 is less than a sixteenth.
fn is_of_a_sixteenth(number: u32) -> bool {
    number.wrapping_mul(0xbb67_ae85) >> 28 == 0
}

#[cfg(test)]
mod tests {
    use super::is_of_a_sixteenth;

    #[test]
    fn a_sixteenth_is_spread_over_all_cases_and_every_part_of_what_repeats() {
        let taken: Vec<u32> = (0..1000).filter(|&number| is_of_a_sixteenth(number)).collect();
        assert!(taken[0] == 0 && taken.len().abs_diff(62) < 3, "{}", taken.len());
        assert!(taken.windows(2).all(|pair| pair[1] - pair[0] <= 26), "{taken:?}");
        for period in 2..13 {
            for part in 0..period {
                let count = taken.iter().filter(|&number| number % period == part).count();
                assert!(count > 2, "{count} of part {part} of {period}");
            }
        }
    }
}
