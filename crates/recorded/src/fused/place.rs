//! Where the elements of an operand lie in a stored tensor.

use crate::golden::Request;

/// An operand as a view of a stored tensor, in elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The stored tensor.
    pub of: String,
    /// Its first element.
    pub offset: u64,
    /// Sizes of the axes.
    pub shape: Vec<u64>,
    /// Distances along the axes.
    pub strides: Vec<u64>,
}

/// How the elements follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// Without gaps.
    Dense,
    /// Neighbours along an axis lie at this distance, and all behind it without gaps.
    Rows {
        /// The axis.
        axis: usize,
        /// The distance.
        stride: u64,
    },
    /// Otherwise.
    Scattered,
}

impl Place {
    /// The operand `name` with its axes as recorded; `None` where the case has none.
    pub fn recorded(request: &Request, name: &str) -> Option<Self> {
        if let Some(view) = request.attrs.fused.views.get(name) {
            let (of, offset) = (view.of.clone(), view.offset);
            return Some(Self { of, offset, shape: view.shape.clone(), strides: view.strides.clone() });
        }
        let shape = request.inputs.get(name)?.shape.clone();
        Some(Self { of: name.to_owned(), offset: 0, strides: dense(&shape), shape })
    }

    /// The same elements with the axes in another `order`.
    pub fn permuted(self, order: &[usize]) -> Self {
        let pick = |of: &[u64]| order.iter().map(|&axis| of[axis]).collect();
        Self { shape: pick(&self.shape), strides: pick(&self.strides), ..self }
    }

    /// The same elements with the last axis split into groups of `size`; as it is where that does not divide it.
    pub fn split(mut self, size: u64) -> Self {
        if let (Some(len), Some(&stride)) = (self.shape.last_mut(), self.strides.last())
            && len.is_multiple_of(size)
        {
            *len /= size;
            self.shape.push(size);
            self.strides.pop();
            self.strides.extend([size * stride, stride]);
        }
        self
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.shape.iter().product()
    }

    /// How they follow each other.
    pub fn form(&self) -> Form {
        // along an axis of size 1 there is no distance
        let axes = self.shape.iter().zip(&self.strides).enumerate().filter(|(_, (size, _))| **size != 1);
        let axes: Vec<_> = axes.map(|(axis, (&size, &stride))| (axis, size, stride)).collect();
        let (mut dense, mut strided) = (1, None);
        for &(axis, size, stride) in axes.iter().rev() {
            match strided {
                None if stride == dense => dense *= size,
                None if stride > dense && axis + 1 < self.shape.len() => strided = Some((axis, stride, size * stride)),
                Some((axis, by, next)) if stride == next => strided = Some((axis, by, size * next)),
                _ if self.len() > 0 => return Form::Scattered,
                _ => {}
            }
        }
        match strided {
            Some((axis, stride, _)) if self.len() > 0 => Form::Rows { axis, stride },
            _ => Form::Dense,
        }
    }

    /// The elements in order, out of all of the stored tensor.
    pub fn gather(&self, stored: &[f32]) -> Vec<f32> {
        let position = |mut index: u64| {
            let mut position = self.offset;
            for (size, stride) in self.shape.iter().zip(&self.strides).rev() {
                position += index % size * stride;
                index /= size;
            }
            position as usize
        };
        (0..self.len()).map(|index| stored[position(index)]).collect()
    }
}

/// Strides of a tensor without gaps.
fn dense(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        // an empty axis keeps the order of those outside of it
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(shape: &[u64], strides: &[u64]) -> Place {
        Place { of: "x".into(), offset: 1, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    #[test]
    fn views_are_dense_or_rows_or_scattered() {
        let rows = |axis, stride| Form::Rows { axis, stride };
        let table: [(&[u64], &[u64], Form); 12] = [
            (&[], &[], Form::Dense),
            (&[4], &[1], Form::Dense),
            (&[4], &[2], Form::Scattered),
            (&[2, 3], &[3, 1], Form::Dense),
            (&[2, 3], &[18, 1], rows(0, 18)),
            (&[2, 3], &[1, 2], Form::Scattered),
            (&[2, 7, 3], &[126, 18, 1], rows(1, 18)),
            (&[2, 7, 3], &[126, 3, 1], rows(0, 126)),
            (&[2, 7, 3], &[126, 18, 2], Form::Scattered),
            (&[1, 7, 3], &[99, 3, 1], Form::Dense),
            (&[6, 1], &[5, 9], rows(0, 5)),
            (&[0, 3], &[7, 2], Form::Dense),
        ];
        for (shape, strides, form) in table {
            assert_eq!(place(shape, strides).form(), form, "{shape:?} {strides:?}");
        }
    }

    #[test]
    fn elements_come_out_in_order() {
        let stored: Vec<f32> = (0..25).map(|value| value as f32).collect();
        let view = place(&[2, 2, 3], &[12, 3, 1]);
        assert_eq!(view.gather(&stored)[..7], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 13.0]);
        let swapped = view.permuted(&[1, 0, 2]);
        assert_eq!(swapped.gather(&stored)[..7], [1.0, 2.0, 3.0, 13.0, 14.0, 15.0, 4.0]);
        let split = place(&[2, 4], &[8, 1]).split(2);
        assert_eq!((&split.shape[..], &split.strides[..]), (&[2, 2, 2][..], &[8, 2, 1][..]));
        assert_eq!(place(&[2, 4], &[8, 1]).split(3), place(&[2, 4], &[8, 1]));
    }
}
