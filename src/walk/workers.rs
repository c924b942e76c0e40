//! How the rows of a dispatch are spread over walkers: see `shaders/lib/span.wgsl`.

/// Of rows whose length is no multiple of four every fourth starts at the same place in a quad.
pub(crate) const ROWS_ALIKE: u64 = 4;

/// Most turns of all loops of an invocation together, nested ones multiplied: lavapipe leaves them after 65535, wherever they are, and
/// counts the way out of each.
const MAX_LOOPS: u64 = 50_000;

/// Fewest walkers of so many items, of which each takes up to `turns` turns of loops.
pub(crate) fn fewest_walkers(items: u64, turns: u64) -> u64 {
    items.div_ceil((MAX_LOOPS / turns.max(1)).max(1))
}

pub(crate) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// How runs of memory are spread over walkers: see `first_of_walker` in `shaders/lib/span.wgsl`.
#[derive(Clone, Copy)]
pub(crate) struct Walkers {
    pub count: u64,
    /// Distance of the runs that a walker walks in turn: neighbours walk neighbouring runs.
    pub spacing: u64,
    /// Runs of a walker.
    pub turns: u64,
}

impl Walkers {
    /// At least `wanted` walkers of `runs` runs, of which `neighbours` are read at a time; a walker's are multiples of `alike` apart.
    pub(crate) fn new(wanted: u64, runs: u64, neighbours: u64, alike: u64) -> Self {
        let spacing = if wanted < runs { lcm(neighbours, alike) } else { wanted.max(1) };
        Self::spaced(wanted.next_multiple_of(spacing), spacing, runs)
    }

    /// Just so many walkers, a multiple of `ROWS_ALIKE` where runs have to start alike.
    pub(crate) fn exactly(count: u64, runs: u64, neighbours: u64) -> Self {
        let spacing =
            [neighbours.max(ROWS_ALIKE), ROWS_ALIKE].into_iter().find(|&spacing| count.is_multiple_of(spacing));
        Self::spaced(count, spacing.unwrap_or(1), runs)
    }

    fn spaced(count: u64, spacing: u64, runs: u64) -> Self {
        Self { count, spacing, turns: runs.div_ceil(count) }
    }
}

pub(crate) fn lcm(a: u64, b: u64) -> u64 {
    a / gcd(a, b) * b
}

/// Distance of runs of `len` elements that start at the same place in a quad.
pub(crate) fn alike(len: u64) -> u64 {
    if len.is_multiple_of(4) { 1 } else { ROWS_ALIKE }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runs of every walker, by the formula of `first_of_walker`.
    fn walked(walkers: &Walkers, runs: u64) -> Vec<Vec<u64>> {
        let Walkers { count, spacing, turns } = *walkers;
        let first = |w: u64| w / spacing * turns * spacing + w % spacing;
        let of = |w| (0..turns).map(|t| first(w) + t * spacing).filter(|&run| run < runs).collect();
        (0..count).map(of).collect()
    }

    #[test]
    fn walkers_share_all_runs_and_step_as_they_must() {
        for (runs, wanted, neighbours, alike) in [
            (1, 1, 8, 4),
            (7, 7, 8, 4),
            (7, 3, 1, 1),
            (100, 8, 8, 1),
            (100, 8, 2, 4),
            (1000, 64, 6, 4),
            (1024, 32, 32, 1),
            (33, 32, 32, 4),
        ] {
            let made = Walkers::new(wanted, runs, neighbours, alike);
            let all = walked(&made, runs);
            let mut seen: Vec<u64> = all.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..runs).collect::<Vec<_>>(), "{runs} {wanted} {neighbours} {alike}");
            let apart = |walk: &Vec<u64>| {
                walk.windows(2).all(|pair| (pair[1] - pair[0]).is_multiple_of(lcm(neighbours, alike)))
            };
            assert!(all.iter().all(apart), "{runs} {wanted} {neighbours} {alike}");
        }
        for (count, runs, neighbours) in [(1, 9, 8), (16, 100, 8), (4, 100, 8), (3, 10, 1), (12, 13, 8)] {
            let mut seen: Vec<u64> = walked(&Walkers::exactly(count, runs, neighbours), runs).concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..runs).collect::<Vec<_>>(), "{count} {runs} {neighbours}");
        }
    }
}
