//! The order in which the axes of a tensor are walked. The engine takes sets of axes that interleave only so often, and
//! layer, rms and lp one range of them. Others are computed over tensors whose axes are put in another order before,
//! and back in their own afterwards.

use wgpu_norm_tools::compute::Outcome;
use wgpu_norm_tools::quantized::Quantized;

/// A tensor's axes, of which the last may be two (groups, and what is in a group), in an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// Sizes of the axes as they lie in memory, the divided one as two.
    sizes: Vec<u64>,
    /// Whether the last of INPUT is two of them.
    is_split: bool,
    /// Which of them is walked at each place.
    order: Vec<usize>,
}

impl Walk {
    /// As they lie in memory; the last axis in so many groups, where it has some.
    pub fn new(shape: &[u64], groups: Option<u64>) -> Self {
        let mut sizes = shape.to_vec();
        if let (Some(groups), Some(last)) = (groups, sizes.last_mut()) {
            let of_group = last.checked_div(groups).unwrap_or(0);
            *last = groups;
            sizes.push(of_group);
        }
        Self { order: (0..sizes.len()).collect(), sizes, is_split: groups.is_some() }
    }

    /// All orders of the axes that may move, the one in memory first.
    pub fn orders(&self, may_move: impl Fn(usize) -> bool) -> impl Iterator<Item = Self> {
        let movable: Vec<usize> = self.order.iter().copied().filter(|&axis| may_move(axis)).collect();
        let mut next = Some(movable.clone());
        let first = self.clone();
        std::iter::from_fn(move || {
            let moved = next.take()?;
            let mut walk = first.clone();
            movable.iter().zip(&moved).for_each(|(&place, &axis)| walk.order[place] = axis);
            next = permuted(moved);
            Some(walk)
        })
    }

    /// Sizes of the axes in this order.
    pub fn shape(&self) -> Vec<u64> {
        self.order.iter().map(|&axis| self.sizes[axis]).collect()
    }

    /// Where these axes are walked, ascending: as they lie in memory, the divided one as two.
    pub fn places(&self, axes: &[usize]) -> Vec<usize> {
        let place = |axis: &usize| self.order.iter().position(|other| other == axis).unwrap_or(*axis);
        let mut places: Vec<usize> = axes.iter().map(place).collect();
        places.sort_unstable();
        places
    }

    /// Where these axes of INPUT are walked, ascending.
    pub fn places_of_input(&self, axes: &[usize]) -> Vec<usize> {
        let last = self.sizes.len().wrapping_sub(2);
        let both = axes.iter().any(|&axis| self.is_split && axis == last).then_some(last + 1);
        self.places(&axes.iter().copied().chain(both).collect::<Vec<_>>())
    }

    /// The axes of INPUT that are walked at these places, ascending.
    pub fn axes_of_input(&self, places: &[usize]) -> Vec<usize> {
        let last = self.sizes.len().saturating_sub(2);
        let axis = |&place: &usize| if self.is_split { self.order[place].min(last) } else { self.order[place] };
        let mut axes: Vec<usize> = places.iter().map(axis).collect();
        axes.sort_unstable();
        axes.dedup();
        axes
    }

    /// What a tensor walked with this shape has along the axes of INPUT.
    pub fn shape_of_input(&self, walked: &[u64]) -> Vec<u64> {
        let mut shape = vec![1; self.sizes.len()];
        self.order.iter().zip(walked).for_each(|(&axis, &size)| shape[axis] = size);
        self.joined(shape, |groups, of_group| groups * of_group)
    }

    /// The same of the index of an element.
    pub fn index_of_input(&self, walked: &[u64]) -> Vec<u64> {
        let mut index = vec![0; self.sizes.len()];
        self.order.iter().zip(walked).for_each(|(&axis, &at)| index[axis] = at);
        let of_group = self.sizes.last().copied().unwrap_or(1);
        self.joined(index, |group, at| group * of_group + at)
    }

    fn joined(&self, mut axes: Vec<u64>, join: impl Fn(u64, u64) -> u64) -> Vec<u64> {
        if self.is_split
            && let (Some(inner), Some(outer)) = (axes.pop(), axes.pop())
        {
            axes.push(join(outer, inner));
        }
        axes
    }

    /// Elements in the order in which they are walked: of a tensor with INPUT's size or 1 along each of its axes, of
    /// which leading ones may be left out.
    pub fn arrange<T: Copy>(&self, values: Vec<T>, shape: &[u64]) -> Vec<T> {
        if self.is_in_memory_order() { values } else { transposed(&values, &self.split(shape), &self.order) }
    }

    /// The other way round: elements in the order of INPUT's axes.
    pub fn restore<T: Copy>(&self, values: Vec<T>, shape: &[u64]) -> Vec<T> {
        if self.is_in_memory_order() {
            return values;
        }
        let sizes = self.split(shape);
        let walked: Vec<u64> = self.order.iter().map(|&axis| sizes[axis]).collect();
        let back: Vec<usize> = (0..sizes.len()).map(|axis| self.places(&[axis])[0]).collect();
        transposed(&values, &walked, &back)
    }

    /// What a norm gave, in the order of INPUT's axes: the tensor, its statistics, its scales have these shapes.
    pub fn outcome(&self, outcome: Outcome, [shape, statistics, scales]: [&[u64]; 3]) -> Outcome {
        // a scale a row has no last axis
        let scales: Vec<u64> = scales.iter().copied().chain(std::iter::repeat(1)).take(shape.len()).collect();
        Outcome {
            output: self.restore(outcome.output, shape),
            sum: outcome.sum.map(|sum| self.restore(sum, shape)),
            statistics: outcome
                .statistics
                .map(|(mean, rstd)| (self.restore(mean, statistics), self.restore(rstd, statistics))),
            quantized: outcome.quantized.map(|quantized| Quantized {
                codes: self.restore(quantized.codes, shape),
                scales: self.restore(quantized.scales, &scales),
            }),
            ..outcome
        }
    }

    fn is_in_memory_order(&self) -> bool {
        self.order.is_sorted()
    }

    /// All sizes of a tensor, those along the divided axis as two.
    fn split(&self, shape: &[u64]) -> Vec<u64> {
        if shape.iter().product::<u64>() == self.sizes.iter().product::<u64>() {
            return self.sizes.clone();
        }
        let rank = self.sizes.len() - usize::from(self.is_split);
        let left_out = std::iter::repeat_n(1, rank.saturating_sub(shape.len()));
        let mut sizes: Vec<u64> = left_out.chain(shape.iter().copied()).collect();
        if self.is_split
            && let (Some(last), [.., groups, of_group]) = (sizes.pop(), &self.sizes[..])
        {
            sizes.extend(if last == 1 { [1, 1] } else { [*groups, *of_group] });
        }
        sizes
    }
}

/// The next in lexicographic order of what is sorted at first.
fn permuted(mut order: Vec<usize>) -> Option<Vec<usize>> {
    let pivot = (1..order.len()).rev().find(|&at| order[at - 1] < order[at])? - 1;
    let larger = (pivot + 1..order.len()).rev().find(|&at| order[at] > order[pivot])?;
    order.swap(pivot, larger);
    order[pivot + 1..].reverse();
    Some(order)
}

/// A tensor with its axes in another order, as `numpy.transpose` has it.
fn transposed<T: Copy>(values: &[T], sizes: &[u64], order: &[usize]) -> Vec<T> {
    let mut strides = vec![1usize; sizes.len()];
    for axis in (1..sizes.len()).rev() {
        strides[axis - 1] = strides[axis] * sizes[axis] as usize;
    }
    let walked: Vec<(usize, usize)> = order.iter().map(|&axis| (sizes[axis] as usize, strides[axis])).collect();
    let (mut index, mut place) = (vec![0usize; walked.len()], 0);
    let mut moved = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        moved.push(values[place]);
        for (at, &(size, stride)) in index.iter_mut().zip(&walked).rev() {
            *at += 1;
            place += stride;
            if *at < size {
                break;
            }
            place -= stride * size;
            *at = 0;
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(shape: &[u64], groups: Option<u64>, order: &[usize]) -> Walk {
        Walk { order: order.to_vec(), ..Walk::new(shape, groups) }
    }

    #[test]
    fn tensors_are_transposed_and_back() {
        let walk = walk(&[2, 3, 2], None, &[2, 0, 1]);
        let values: Vec<u32> = (0..12).collect();
        let walked = walk.arrange(values.clone(), &[2, 3, 2]);
        assert_eq!(walked, [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]);
        assert_eq!((walk.shape(), walk.places(&[0, 2])), (vec![2, 2, 3], vec![0, 1]));
        assert_eq!(walk.axes_of_input(&[0, 1]), [0, 2]);
        assert_eq!(walk.restore(walked, &[2, 3, 2]), values);
        assert_eq!(walk.arrange(vec![1, 2, 3], &[1, 3, 1]), [1, 2, 3]);
        assert_eq!(walk.arrange(vec![1, 2, 3, 4, 5, 6], &[3, 2]), [1, 3, 5, 2, 4, 6]);
        assert_eq!(walk.arrange(vec![1, 2, 3, 4], &[2, 1, 2]), [1, 3, 2, 4]);
        assert_eq!(walk.shape_of_input(&[2, 1, 3]), [1, 3, 2]);
        assert_eq!(walk.index_of_input(&[1, 0, 2]), [0, 2, 1]);
        assert!(walk.arrange(Vec::<u32>::new(), &[0, 3, 2]).is_empty());
    }

    #[test]
    fn an_axis_of_groups_is_two() {
        let walk = walk(&[5, 6], Some(2), &[1, 0, 2]);
        assert_eq!(walk.shape(), [2, 5, 3]);
        assert_eq!((walk.places_of_input(&[1]), walk.places_of_input(&[0])), (vec![0, 2], vec![1]));
        assert_eq!((walk.axes_of_input(&[0, 2]), walk.axes_of_input(&[0, 1])), (vec![1], vec![0, 1]));
        assert_eq!((walk.shape_of_input(&[2, 1, 3]), walk.shape_of_input(&[1, 5, 1])), (vec![1, 6], vec![5, 1]));
        assert_eq!(walk.index_of_input(&[1, 4, 2]), [4, 5]);
        let values: Vec<u32> = (0..30).collect();
        let walked = walk.arrange(values.clone(), &[5, 6]);
        assert_eq!(walked[..6], [0, 1, 2, 6, 7, 8]);
        assert_eq!(walk.restore(walked, &[5, 6]), values);
        assert_eq!(walk.arrange(vec![1, 2, 3, 4, 5], &[5, 1]), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn all_orders_of_what_may_move_are_tried_once() {
        let orders = |shape: &[u64], may_move: &dyn Fn(usize) -> bool| -> Vec<Vec<usize>> {
            Walk::new(shape, None).orders(may_move).map(|walk| walk.order).collect()
        };
        let all = orders(&[2; 5], &|_| true);
        assert_eq!((all.len(), &all[0]), (120, &vec![0, 1, 2, 3, 4]));
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 120);
        assert_eq!(orders(&[2; 3], &|axis| axis != 1), [[0, 1, 2], [2, 1, 0]]);
        assert_eq!(orders(&[2; 2], &|_| false), [[0, 1]]);
        assert_eq!(orders(&[], &|_| true), [Vec::<usize>::new()]);
    }
}
