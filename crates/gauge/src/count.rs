//! How much of a kernel's code runs.
//!
//! Loops turn as often as the bytes need that a dispatch has to move: no name of a parameter is known here. What the
//! common path moves outside of loops counts first. Then come loops that store, then loops that only load, those first
//! that move most in a turn, until all bytes are moved. Loops that are left have nothing to do: they are a slow path's.

use crate::flow::{Flow, Work};

/// Share of the bytes below which no loop turns for what is left: records and bounds, edges of segments.
const REST: f64 = 0.1;

/// What an invocation does on average.
#[derive(Clone, Debug)]
pub struct Counted {
    pub work: Work,
    /// The loop that loads most.
    pub hot: Option<usize>,
}

/// The turns of loops, and what is left to move.
struct Turns<'a> {
    flow: &'a Flow,
    own: &'a [Work],
    turns: Vec<f64>,
    to_read: f64,
    to_write: f64,
}

/// Counts for an invocation that has so many bytes to read and write.
pub fn count(flow: &Flow, read: f64, written: f64) -> Counted {
    let own: Vec<Work> = (0..flow.loops.len()).map(|k| flow.own_work(Some(k))).collect();
    let outside = flow.common_path_in(None);
    let turns = vec![0.0; own.len()];
    let (to_read, to_write) = (read - outside.loaded, written - outside.stored);
    let mut left = Turns { flow, own: &own, turns, to_read, to_write };
    for k in left.in_order(|work| work.stored) {
        if left.to_write > REST * written {
            // stores may stand in the code twice, for whole vectors and for elements: loads tell then
            let by_loads = if own[k].loaded > 0.0 { left.to_read / own[k].loaded } else { 0.0 };
            left.turn(k, by_loads.max(left.to_write / own[k].stored));
        }
    }
    for k in left.in_order(|work| work.loaded) {
        if left.to_read > REST * read {
            left.turn(k, left.to_read / own[k].loaded);
        }
    }
    let turns = left.turns;
    let loads = |k: &usize| turns[*k] * own[*k].loaded;
    let hot = (0..own.len()).filter(|k| loads(k) > 0.0).max_by(|a, b| loads(a).total_cmp(&loads(b)));
    if turns.iter().all(|turns| *turns == 0.0) {
        return Counted { work: flow.common_path(), hot };
    }
    let mut work = flow.own_work(None);
    for (k, own) in own.iter().enumerate() {
        match turns[k] {
            // loops in one that turns, which move nothing, turn with it
            0.0 if own.loaded + own.stored == 0.0 => work.add(own, flow.loops[k].parent.map_or(0.0, |up| turns[up])),
            // all is stored by now
            0.0 if own.stored > 0.0 => {}
            0.0 => work.add(&flow.common_path_in(Some(k)), 1.0),
            turns => work.add(own, turns),
        }
    }
    Counted { work, hot }
}

impl Turns<'_> {
    /// Loops that move something, those first that move most in a turn. An inner loop counts more than the one around
    /// it, which may hold the first turn of the inner one.
    fn in_order(&self, moved: impl Fn(&Work) -> f64) -> Vec<usize> {
        let weight = |k: &usize| moved(&self.own[*k]) * (1 + self.flow.around(*k).count()) as f64;
        let mut loops: Vec<usize> = (0..self.own.len()).filter(|k| moved(&self.own[*k]) >= 4.0).collect();
        loops.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(self.flow.start(*a).cmp(&self.flow.start(*b))));
        loops
    }

    /// Lets a loop turn so often, less what those around it move, which turn once at least.
    fn turn(&mut self, which: usize, needed: f64) {
        for around in self.flow.around(which) {
            if self.turns[around] == 0.0 {
                self.add(around, 1.0);
            }
        }
        self.add(which, needed.max(1.0));
    }

    fn add(&mut self, which: usize, turns: f64) {
        self.turns[which] += turns;
        self.to_read -= turns * self.own[which].loaded;
        self.to_write -= turns * self.own[which].stored;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Listing;

    /// A row in registers, stored on the common path; a slow path streams it once more.
    const ROW: &str = "
        BB0:
        buffer_load_b128 v[0:3]
        buffer_load_b128 v[4:7]
        s_waitcnt vmcnt(0)
        v_cmp
        s_cbranch_vccz BB3
        BB1:
        buffer_load_b128 v[0:3]
        s_waitcnt vmcnt(0)
        v_add
        buffer_store_b128 v[0:3]
        s_cbranch_scc1 BB1
        BB2:
        s_endpgm
        BB3:
        v_mul
        buffer_store_b128 v[0:3]
        buffer_store_b128 v[4:7]
        s_endpgm";
    /// A loop that loads two vectors a turn and stores one, with a prologue.
    const LOOP: &str = "
        BB0:
        s_load_b32 s0
        v_mov
        BB1:
        buffer_load_b128 v[0:3]
        buffer_load_b128 v[4:7]
        s_waitcnt vmcnt(0)
        v_add
        buffer_store_b128 v[0:3]
        s_cbranch_scc1 BB1
        BB2:
        s_endpgm";

    #[test]
    fn a_slow_path_is_left_out() {
        let flow = Flow::new(Listing::amd(ROW));
        assert_eq!(flow.loops.len(), 1);
        let counted = count(&flow, 32.0, 32.0);
        assert_eq!((counted.work.instructions, counted.work.loaded, counted.work.stored), (8.0, 32.0, 32.0));
        assert_eq!((counted.hot, flow.bytes_in_flight(None)), (None, 32));
    }

    #[test]
    fn loops_turn_as_often_as_bytes_need() {
        let flow = Flow::new(Listing::amd(LOOP));
        let counted = count(&flow, 32.0 * 5.0, 16.0 * 5.0);
        assert_eq!(counted.work.instructions, 3.0 + 5.0 * 5.0);
        assert_eq!((counted.hot, counted.work.round_trips), (Some(0), 5.0));
    }
}
