//! Which cases of a table the tests take: a software adapter compiles kernels for most of their time, so that all cases
//! of all tables take half an hour.

/// Of how many cases one is taken, unless the environment says `WGPU_NORM_ONE_OF`.
const ONE_OF: u32 = 16;

/// A sample of a long table, each case of a product of lists one of them: one of 16, or as many as the environment says
/// (`WGPU_NORM_ONE_OF=1`: all).
///
/// # Panics
///
/// If the environment says no number from 1 on.
pub fn some<T>(cases: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let count = std::env::var("WGPU_NORM_ONE_OF").map_or(ONE_OF, |count| match count.parse() {
        Ok(count @ 1..) => count,
        _ => panic!("WGPU_NORM_ONE_OF={count}: of how many cases one is taken, 1 for all"),
    });
    one_of(count, cases)
}

/// One of `count` cases, from 1 on: the first among them, spread over them so that they keep step with nothing that
/// repeats.
pub fn one_of<T>(count: u32, cases: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    (0u32..).zip(cases).filter(move |&(number, _)| is_taken(number, count)).map(|(_, case)| case)
}

/// Whether the fraction of `number` times the square root of 3 is less than 1 / `count`.
fn is_taken(number: u32, count: u32) -> bool {
    number.wrapping_mul(0xbb67_ae85) <= u32::MAX / count
}

#[cfg(test)]
mod tests {
    use super::is_taken;

    #[test]
    fn a_sixteenth_is_spread_over_all_cases_and_every_part_of_what_repeats() {
        let taken: Vec<u32> = (0..1000).filter(|&number| is_taken(number, 16)).collect();
        assert!(taken[0] == 0 && taken.len().abs_diff(62) < 3, "{}", taken.len());
        assert!(taken.windows(2).all(|pair| pair[1] - pair[0] <= 26), "{taken:?}");
        for period in 2..13 {
            for part in 0..period {
                let count = taken.iter().filter(|&number| number % period == part).count();
                assert!(count > 2, "{count} of part {part} of {period}");
            }
        }
    }

    #[test]
    fn one_of_one_is_all() {
        assert!((0..1000).all(|number| is_taken(number, 1)));
        assert!((0..1000).filter(|&number| is_taken(number, 4)).count().abs_diff(250) < 5);
    }
}
