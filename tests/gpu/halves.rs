//! Tensors of any type in buffers: numbers as they are stored, places between random bytes, comparisons.

use std::ops::Range;

use crate::harness::{Gpu, error};
use wgpu_norm::*;
use wgpu_norm_tools::elements::{decode, encode, round};

pub const HALVES: [Element; 2] = [Element::F16, Element::Bf16];

/// The number that a half is.
pub fn number(element: Element, code: u16) -> f32 {
    decode(&code.to_le_bytes(), element)[0]
}

/// Where a tensor lies: rows of a length, the first `start` bytes into its buffer.
#[derive(Clone, Copy, PartialEq)]
pub struct Place {
    pub element: Element,
    start: usize,
    len: usize,
    row: usize,
    stride: usize,
}

impl Place {
    pub fn view(self, buffer: &wgpu::Buffer) -> TensorView<&wgpu::Buffer> {
        let view = TensorView::new(buffer, self.start as u64, self.len as u64).of(self.element);
        if self.stride > self.row { view.with_row_stride(self.stride as u64) } else { view }
    }

    /// Whether it begins at a word.
    pub fn is_word(self) -> bool {
        self.start.is_multiple_of(4)
    }

    pub fn read(self, bytes: &[u8]) -> Vec<f32> {
        self.rows().flat_map(|row| decode(&bytes[row], self.element)).collect()
    }

    /// Bytes of its rows.
    fn rows(self) -> impl Iterator<Item = Range<usize>> {
        let size = self.element.bytes() as usize;
        let row = move |k: usize| self.start + k * self.stride * size;
        (0..self.len / self.row.max(1)).map(move |k| row(k)..row(k) + self.row * size)
    }
}

/// A buffer in which tensors of several types lie one behind the other, between random bytes.
pub struct Arena {
    pub bytes: Vec<u8>,
    rng: fastrand::Rng,
}

impl Arena {
    pub fn new(seed: u64) -> Self {
        Self { bytes: Vec::new(), rng: fastrand::Rng::with_seed(seed) }
    }

    /// Places a list so many elements behind what is there.
    pub fn list(&mut self, element: Element, values: &[f32], gap: usize) -> Place {
        self.tensor(element, values, (values.len(), values.len()), gap)
    }

    /// Places rows of a length with so many elements from one to the next.
    pub fn tensor(&mut self, element: Element, values: &[f32], (row, stride): (usize, usize), gap: usize) -> Place {
        let size = element.bytes() as usize;
        let start = self.bytes.len().next_multiple_of(size) + gap * size;
        let place = Place { element, start, len: values.len(), row, stride };
        for (values, bytes) in values.chunks(row.max(1)).zip(place.rows()) {
            self.fill(bytes.start);
            self.bytes.extend_from_slice(&encode(values, element));
        }
        place
    }

    /// What comes next begins in a word of its own.
    pub fn end_word(&mut self) {
        self.fill(self.bytes.len().next_multiple_of(4));
    }

    /// Random bytes up to a length.
    fn fill(&mut self, len: usize) {
        self.bytes.resize_with(len.max(self.bytes.len()), || self.rng.u8(..));
    }

    /// A buffer of it, with a few bytes more.
    pub fn upload(&mut self, gpu: &Gpu) -> wgpu::Buffer {
        self.fill((self.bytes.len() + 9).next_multiple_of(4));
        gpu.bytes(&self.bytes)
    }

    /// What the buffer holds after a run that was to write these places and nothing else.
    pub fn after(&self, gpu: &Gpu, buffer: &wgpu::Buffer, written: &[Place]) -> Result<Vec<u8>, String> {
        let after = read_buffer_blocking(&gpu.device, &gpu.queue, buffer, 0..buffer.size()).unwrap();
        let mut untouched = vec![true; after.len()];
        written.iter().flat_map(|place| place.rows()).for_each(|row| untouched[row].fill(false));
        match (0..after.len()).find(|&k| untouched[k] && after[k] != self.bytes[k]) {
            Some(k) => Err(format!("byte {k} was overwritten")),
            None => Ok(after),
        }
    }
}

/// A tensor alone in a buffer, at an odd offset between random bytes.
pub struct Lone {
    arena: Arena,
    place: Place,
    pub buffer: wgpu::Buffer,
}

impl Lone {
    pub fn new(gpu: &Gpu, element: Element, values: &[f32]) -> Self {
        let mut arena = Arena::new(values.len() as u64);
        let place = arena.list(element, values, 3);
        let buffer = arena.upload(gpu);
        Self { arena, place, buffer }
    }

    /// For what is to be written.
    pub fn empty(gpu: &Gpu, element: Element, len: usize) -> Self {
        Self::new(gpu, element, &vec![1.0; len])
    }

    pub fn view(&self) -> TensorView<&wgpu::Buffer> {
        self.place.view(&self.buffer)
    }

    /// What it holds, after a check that nothing around it was written.
    pub fn read(&self, gpu: &Gpu) -> Vec<f32> {
        self.place.read(&self.arena.after(gpu, &self.buffer, &[self.place]).expect("whole guards"))
    }
}

/// Numbers of results that are the reference rounded once, and of all; an error where one is further off than its
/// neighbours are.
pub fn compare(actual: &[f32], expected: &[f64], element: Element, scale: f64) -> Result<(usize, usize), String> {
    let mut same = 0;
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let rounded = round(e, element) as f32;
        same += usize::from(a == rounded);
        let step = if element == Element::F32 { 0.0 } else { f64::from((a - rounded).abs()) };
        // the neighbour that the reference is nearly as far from
        let near = (f64::from(a) - e).abs() <= step / 2.0 + 2e-6 * scale;
        if a != rounded && !near {
            return Err(format!("element {i}: {a}, expected {e} ({element})"));
        }
    }
    Ok((same, actual.len()))
}

/// Whether results have an error of no more than a share of the largest, before they are rounded to their type.
pub fn is_close(actual: &[f32], expected: &[f64], element: Element, share: f64) -> Result<(), String> {
    if element != Element::F32 {
        let largest = expected.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        return compare(actual, expected, element, largest).map(drop);
    }
    let worst = error(actual, expected)?;
    if worst <= share { Ok(()) } else { Err(format!("an error of {worst:.2e}")) }
}
