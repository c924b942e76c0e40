//! Blocks and loops of a listing, and what of it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::listing::{Class, Instruction, Kind, Listing, Wait};

/// Code as a graph.
#[derive(Clone, Debug)]
pub struct Flow {
    pub listing: Listing,
    /// Runs of instructions without a jump into or out of their middle, in the order of the listing.
    blocks: Vec<Range<usize>>,
    successors: Vec<Vec<usize>>,
    /// Natural loops, outer ones first.
    pub loops: Vec<Loop>,
}

/// A natural loop.
#[derive(Clone, Debug)]
pub struct Loop {
    blocks: BTreeSet<usize>,
    /// The smallest loop around it.
    pub parent: Option<usize>,
}

/// What a stretch of code does.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Instructions that take a slot.
    pub instructions: f64,
    pub shuffles: f64,
    pub barriers: f64,
    pub workgroup_accesses: f64,
    /// Bytes that a lane loads, without scratch memory.
    pub loaded: f64,
    pub stored: f64,
    /// Times that a lane has to wait for memory, if the loads of a stretch are all under way together.
    pub round_trips: f64,
}

impl Work {
    /// Adds work that is done so many times.
    pub fn add(&mut self, other: &Self, times: f64) {
        self.instructions += other.instructions * times;
        self.shuffles += other.shuffles * times;
        self.barriers += other.barriers * times;
        self.workgroup_accesses += other.workgroup_accesses * times;
        self.loaded += other.loaded * times;
        self.stored += other.stored * times;
        self.round_trips += other.round_trips * times;
    }
}

impl Flow {
    pub fn new(listing: Listing) -> Self {
        let (blocks, successors) = blocks(&listing);
        let mut flow = Self { listing, blocks, successors, loops: Vec::new() };
        flow.loops = flow.find_loops();
        flow
    }

    /// Instructions of a loop, or of what is in none: without those of the loops in it, or with them.
    fn part(&self, which: Option<usize>, with_inner: bool) -> impl Iterator<Item = &Instruction> + Clone {
        let inside = move |block: &usize| which.is_none_or(|k| self.loops[k].blocks.contains(block));
        let inner = move |block: &usize| {
            let is_inner = |k: &usize| which.is_none_or(|outer| self.around(*k).any(|around| around == outer));
            (0..self.loops.len()).filter(is_inner).any(|k| self.loops[k].blocks.contains(block))
        };
        let blocks = (0..self.blocks.len()).filter(inside).filter(move |block| with_inner || !inner(block));
        blocks.flat_map(|block| &self.listing.instructions[self.blocks[block].clone()])
    }

    /// The loops around a loop, from the inside out.
    pub fn around(&self, which: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.loops[which].parent, |k| self.loops[*k].parent)
    }

    /// What one turn of a loop does, or the code that is in none: all of its branches, without the loops in it.
    pub fn own_work(&self, which: Option<usize>) -> Work {
        work(self.part(which, false))
    }

    /// Where a loop begins in the code.
    pub fn start(&self, which: usize) -> usize {
        self.loops[which].blocks.first().copied().unwrap_or_default()
    }

    /// All of the code once.
    pub fn whole_work(&self) -> Work {
        work(self.listing.instructions.iter())
    }

    /// Most bytes of loads that a lane has under way in a loop, or anywhere.
    pub fn bytes_in_flight(&self, which: Option<usize>) -> u32 {
        in_flight(self.part(which, true))
    }

    /// The common path, each loop entered once.
    pub fn common_path(&self) -> Work {
        self.work_on(&self.path(), |_| true)
    }

    /// What the common path does in a loop, or outside of all: the loops in it are left out.
    pub fn common_path_in(&self, which: Option<usize>) -> Work {
        self.work_on(&self.path(), |block| self.innermost(block) == which)
    }

    fn work_on(&self, blocks: &[usize], keep: impl Fn(usize) -> bool + Clone) -> Work {
        let kept = blocks.iter().copied().filter(|block| keep(*block));
        work(kept.flat_map(|block| &self.listing.instructions[self.blocks[block].clone()]))
    }

    fn innermost(&self, block: usize) -> Option<usize> {
        let around = (0..self.loops.len()).filter(|k| self.loops[*k].blocks.contains(&block));
        around.min_by_key(|k| self.loops[*k].blocks.len())
    }

    /// The blocks of the shortest way from the entry to an end, of those that pass most stores: all that are in no
    /// loop, and wide ones in loops.
    ///
    /// Slow paths are longer ways around, so they are not on it.
    fn path(&self) -> Vec<usize> {
        // stores of inner loops and of loops of a block or two, and narrow ones of others, are a slow path's, or single
        // elements at the edges
        let is_edge = |block: usize| {
            let of_edge = |l: &Loop| l.blocks.contains(&block) && (l.parent.is_some() || l.blocks.len() <= 2);
            self.loops.iter().any(of_edge)
        };
        let cost = |block: usize| {
            let code = &self.listing.instructions[self.blocks[block].clone()];
            let least = if self.innermost(block).is_some() { 8 } else { 1 };
            let stores = code.iter().filter_map(|i| i.access).filter(|a| a.kind == Kind::Store && !a.scratch);
            let stores = stores.map(|access| i64::from(access.bytes)).filter(|bytes| *bytes >= least);
            let stored = if is_edge(block) { 0 } else { stores.sum() };
            let slots = code.iter().filter(|i| i.class != Class::Hint).count();
            slots as i64 - 10_000 * stored
        };
        // blocks come in order, so one pass over the ways forward finds the cheapest
        let mut best = BTreeMap::from([(0, (cost(0), None))]);
        for block in 0..self.blocks.len() {
            let Some(&(so_far, _)) = best.get(&block) else { continue };
            for &next in self.successors[block].iter().filter(|next| **next > block) {
                let total = so_far + cost(next);
                if best.get(&next).is_none_or(|(known, _)| total < *known) {
                    best.insert(next, (total, Some(block)));
                }
            }
        }
        let is_end = |block: usize| !self.successors[block].iter().any(|next| *next > block);
        let end = best.iter().filter(|(block, _)| is_end(**block)).min_by_key(|(_, (cost, _))| *cost);
        let mut path: Vec<usize> = std::iter::successors(end.map(|(block, _)| *block), |block| best[block].1).collect();
        path.reverse();
        path
    }

    /// Natural loops: a jump to a block that dominates it closes one. Loops of one head are one.
    fn find_loops(&self) -> Vec<Loop> {
        let mut before = vec![Vec::new(); self.blocks.len()];
        for (block, nexts) in self.successors.iter().enumerate() {
            nexts.iter().for_each(|&next| before[next].push(block));
        }
        let dominators = self.dominators(&before);
        let mut found: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (block, nexts) in self.successors.iter().enumerate() {
            for &head in nexts.iter().filter(|head| dominators[block].contains(head)) {
                let body = found.entry(head).or_insert_with(|| BTreeSet::from([head]));
                let mut open = vec![block];
                while let Some(block) = open.pop() {
                    if body.insert(block) {
                        open.extend(before[block].iter().filter(|b| !dominators[**b].is_empty()));
                    }
                }
            }
        }
        let mut bodies: Vec<_> = found.into_values().collect();
        bodies.sort_by_key(|body| std::cmp::Reverse(body.len()));
        let parent = |k: usize| {
            let around = |j: &usize| *j != k && bodies[k].is_subset(&bodies[*j]);
            (0..bodies.len()).filter(around).min_by_key(|j| bodies[*j].len())
        };
        (0..bodies.len()).map(|k| Loop { blocks: bodies[k].clone(), parent: parent(k) }).collect()
    }

    /// For each block those that every way to it passes; none where there is no way.
    fn dominators(&self, before: &[Vec<usize>]) -> Vec<BTreeSet<usize>> {
        let mut reached = BTreeSet::new();
        let mut open = vec![0];
        while let Some(block) = open.pop() {
            if reached.insert(block) {
                open.extend(&self.successors[block]);
            }
        }
        let mut dominators: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.blocks.len()];
        for &block in &reached {
            dominators[block] = if block == 0 { BTreeSet::from([0]) } else { reached.clone() };
        }
        loop {
            let mut changed = false;
            for &block in reached.iter().filter(|block| **block != 0) {
                let ways = before[block].iter().filter(|b| reached.contains(b)).map(|b| dominators[*b].clone());
                let mut passed = ways.reduce(|a, b| &a & &b).unwrap_or_default();
                passed.insert(block);
                changed |= passed != dominators[block];
                dominators[block] = passed;
            }
            if !changed {
                return dominators;
            }
        }
    }
}

fn blocks(listing: &Listing) -> (Vec<Range<usize>>, Vec<Vec<usize>>) {
    let code = &listing.instructions;
    let after_jumps = code.iter().enumerate().filter(|(_, i)| i.target.is_some() || i.leaves).map(|(at, _)| at + 1);
    let mut starts: BTreeSet<usize> = listing.labels.values().copied().chain(after_jumps).chain([0]).collect();
    starts.remove(&code.len());
    let starts: Vec<usize> = starts.into_iter().collect();
    let ends = starts.iter().skip(1).copied().chain([code.len()]);
    let blocks: Vec<Range<usize>> = starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect();
    let successors = blocks.iter().enumerate().map(|(k, block)| {
        let Some(last) = code[block.clone()].last() else { return Vec::new() };
        let jump = last.target.as_ref().and_then(|label| starts.binary_search(listing.labels.get(label)?).ok());
        let falls = (!last.leaves && k + 1 < blocks.len()).then_some(k + 1);
        jump.into_iter().chain(falls).collect()
    });
    let successors = successors.collect();
    (blocks, successors)
}

fn work<'a>(code: impl Iterator<Item = &'a Instruction> + Clone) -> Work {
    let count = |class| code.clone().filter(|i| i.class == class).count() as f64;
    let bytes = |kind| {
        let accesses = code.clone().filter_map(|i| i.access).filter(|a| a.kind == kind && !a.scratch);
        f64::from(accesses.map(|a| a.bytes).sum::<u32>())
    };
    Work {
        instructions: code.clone().filter(|i| i.class != Class::Hint).count() as f64,
        shuffles: count(Class::Shuffle),
        barriers: count(Class::Barrier),
        workgroup_accesses: count(Class::Workgroup),
        loaded: bytes(Kind::Load),
        stored: bytes(Kind::Store),
        round_trips: if bytes(Kind::Load) > 0.0 { 1.0 } else { 0.0 },
    }
}

/// Most bytes of loads in flight.
fn in_flight<'a>(code: impl Iterator<Item = &'a Instruction>) -> u32 {
    let mut queue: Vec<(u32, Option<u32>)> = Vec::new();
    let mut most = 0;
    for i in code {
        match &i.wait {
            Some(Wait::Newest(count)) => drop(queue.drain(..queue.len().saturating_sub(*count))),
            Some(Wait::Scoreboards(done)) => queue.retain(|(_, s)| s.is_none_or(|s| !done.contains(&s))),
            None => {}
        }
        if let Some(access) = i.access.filter(|a| a.kind == Kind::Load) {
            queue.push((access.bytes, i.scoreboard));
            most = most.max(queue.iter().map(|(bytes, _)| bytes).sum());
        }
    }
    most
}
