//! Results as bytes: the reference of quantization in f64, and how far a quantized result may be from it.
//!
//! ```text
//! scale = max(max |y| / largest number of the format, least)        of each row, or of each block of its columns
//! q     = y / scale to the nearest number of the format, ties to even, within its range
//! ```
//!
//! y is the result rounded to the type of the output. Rows are the last axis.

use safetensors::Dtype;
use wgpu_norm::{Element, QuantFormat, QuantScale, Quantization};

use crate::check::Comparison;
use crate::elements;

/// A quantization of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantize {
    /// What becomes of its elements.
    pub how: Quantization,
    /// Elements of its rows.
    pub width: u64,
    /// The scale of a static one.
    pub given: Option<f32>,
}

/// A quantized tensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantized {
    /// A byte an element.
    pub codes: Vec<u8>,
    /// By which they are multiplied; none where the one scale is given.
    pub scales: Vec<f32>,
}

/// How far a quantized tensor is from the exact result.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Of the numbers, in units of the largest of the format: what they exceed half a step of it by.
    pub numbers: Comparison,
    /// Of the scales, in units of the largest of them.
    pub scales: Comparison,
}

impl Quantized {
    /// Rows without an element have the least scale, though no kernel writes it.
    pub fn complete(&mut self, how: &Quantization, scales_shape: &[u64]) {
        if how.scale != QuantScale::Static && self.codes.is_empty() {
            self.scales.resize(scales_shape.iter().product::<u64>() as usize, how.least);
        }
    }
}

impl Quantize {
    /// The shape of the scales of a tensor of this shape: without its last axis, or with blocks in its place.
    pub fn scales_shape(how: &Quantization, shape: &[u64]) -> Vec<u64> {
        let (width, outer) = shape.split_last().unwrap_or((&1, &[]));
        match how.scale {
            QuantScale::Block { columns } => [outer, &[width.div_ceil(columns.max(1))]].concat(),
            QuantScale::Static => Vec::new(),
            _ => outer.to_vec(),
        }
    }

    /// Scales of so many elements that are written.
    pub fn scales(&self, elements: u64) -> u64 {
        let rows = elements.checked_div(self.width).unwrap_or(0);
        if self.given.is_some() { 0 } else { rows * self.width.div_ceil(self.block()) }
    }

    /// Columns that share a scale.
    fn block(&self) -> u64 {
        match self.how.scale {
            QuantScale::Block { columns } => columns.min(self.width).max(1),
            _ => self.width.max(1),
        }
    }

    /// Which of the scales is that of an element.
    fn scale_of(&self, index: usize) -> usize {
        let (index, block) = (index as u64, self.block());
        let (row, column) = (index / self.width.max(1), index % self.width.max(1));
        if self.given.is_some() { 0 } else { (row * self.width.div_ceil(block) + column / block) as usize }
    }

    /// The exact scales of a result; the one that is given, if there is one.
    fn exact_scales(&self, result: &[f64]) -> Vec<f64> {
        if let Some(given) = self.given {
            return vec![given.into()];
        }
        let mut largest = vec![0.0_f64; self.scales(result.len() as u64) as usize];
        for (index, value) in result.iter().enumerate() {
            let largest = &mut largest[self.scale_of(index)];
            // not `max`, which drops a NaN
            *largest = if value.is_nan() || value.abs() > *largest { value.abs() } else { *largest };
        }
        let least = f64::from(self.how.least);
        let scales = largest.into_iter().map(|top| top / range(self.how.format));
        scales.map(|scale| if scale < least { least } else { scale }).collect()
    }

    /// The bytes of a result, and their scales, each rounded once.
    pub fn of(&self, result: &[f64], output: Element) -> Quantized {
        let result: Vec<f64> = result.iter().map(|&value| elements::round(value, output)).collect();
        let scales: Vec<f32> = self.exact_scales(&result).into_iter().map(|scale| scale as f32).collect();
        let quotient = |(index, value): (usize, &f64)| value / f64::from(scales[self.scale_of(index)]);
        let codes = result.iter().enumerate().map(quotient).map(|q| encode(q, self.how.format)).collect();
        Quantized { codes, scales: if self.given.is_some() { Vec::new() } else { scales } }
    }

    /// Compares with the exact result. What a byte stands for is judged by the scale beside it, and that by itself.
    pub fn judge(&self, actual: &Quantized, result: &[f64], output: Element) -> Judgement {
        let result: Vec<f64> = result.iter().map(|&value| elements::round(value, output)).collect();
        let exact = self.exact_scales(&result);
        let (scales, given) = (&actual.scales, self.given.unwrap_or(1.0));
        let range = range(self.how.format);
        let lowest = if self.how.format == QuantFormat::Int8 { -128.0 } else { -range };
        let numbers: Vec<f64> = actual.codes.iter().map(|&code| decode(code, self.how.format)).collect();
        let expected = result.iter().zip(&numbers).enumerate().map(|(index, (value, number))| {
            let scale = scales.get(self.scale_of(index)).copied().unwrap_or(given);
            let exact = (value / f64::from(scale)).clamp(lowest, range);
            // half a step of the format is no error
            let step = half_step(exact, self.how.format);
            if exact.is_nan() { exact } else { number.clamp(exact - step, exact + step) }
        });
        let (expected, numbers): (Vec<f64>, Vec<f32>) =
            (expected.collect(), numbers.iter().map(|&n| n as f32).collect());
        // whole numbers have no NaN
        let excused = |index: usize| self.how.format == QuantFormat::Int8 && expected[index].is_nan();
        let exact = if self.given.is_some() { &[][..] } else { &exact };
        Judgement {
            numbers: Comparison::with_excuse(&numbers, &expected, Element::F32, range, excused),
            // each by itself
            scales: Comparison::in_own_units(scales, exact, Element::F32, exact),
        }
    }
}

/// The name of a format.
pub fn name(format: QuantFormat) -> &'static str {
    if format == QuantFormat::Int8 { "int8" } else { "e4m3" }
}

/// What `.npy` files call its bytes, which have no float of 8 bits.
pub(crate) fn descr(format: QuantFormat) -> &'static str {
    if format == QuantFormat::Int8 { "|i1" } else { "|u1" }
}

/// What `.safetensors` files call them.
pub(crate) fn dtype(format: QuantFormat) -> Dtype {
    if format == QuantFormat::Int8 { Dtype::I8 } else { Dtype::F8_E4M3 }
}

/// The largest number of a format, whose negative it has too.
fn range(format: QuantFormat) -> f64 {
    if format == QuantFormat::Int8 { 127.0 } else { 448.0 }
}

/// What a byte stands for.
pub fn decode(code: u8, format: QuantFormat) -> f64 {
    if format == QuantFormat::Int8 {
        return f64::from(code as i8);
    }
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f64::from(code & 7));
    let magnitude = match (exponent, code & 7) {
        (15, 7) => f64::NAN,
        (0, _) => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
    };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The byte of the nearest number, ties to even; the largest beyond it. NaN is 0 as a whole number.
pub fn encode(number: f64, format: QuantFormat) -> u8 {
    if format == QuantFormat::Int8 {
        return number.round_ties_even().clamp(-128.0, 127.0) as i8 as u8;
    }
    let sign = u8::from(number.is_sign_negative()) << 7;
    if number.is_nan() {
        return sign | 0x7f;
    }
    let step = 2.0 * half_step(number, format);
    let nearest = ((number.abs() / step).round_ties_even() * step).min(448.0);
    // of numbers that are the format's own the bytes ascend as they do
    let code = (0..=0x7e_u8).rev().find(|&code| decode(code, format) <= nearest).unwrap_or(0);
    sign | code
}

/// Half the distance of neighbouring numbers of the format at `number`.
fn half_step(number: f64, format: QuantFormat) -> f64 {
    if format == QuantFormat::Int8 {
        return 0.5;
    }
    let exponent = (number.to_bits() >> 52 & 0x7ff) as i32 - 1023;
    2f64.powi(exponent.clamp(-6, 8) - 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use QuantFormat::{E4m3, Int8};

    #[test]
    fn bytes_are_the_numbers_that_they_stand_for() {
        for (code, number) in [(0x00, 0.0), (0x01, 1.0 / 512.0), (0x08, 1.0 / 64.0), (0x38, 1.0), (0x7e, 448.0)] {
            assert_eq!((decode(code, E4m3), decode(code | 0x80, E4m3)), (number, -number));
        }
        assert!(decode(0x7f, E4m3).is_nan() && decode(0xff, E4m3).is_nan());
        assert_eq!([0x00, 0x7f, 0x80, 0xff].map(|code| decode(code, Int8)), [0.0, 127.0, -128.0, -1.0]);
        for format in [Int8, E4m3] {
            for code in 0..=u8::MAX {
                let number = decode(code, format);
                assert!(number.is_nan() || encode(number, format) == code, "{format:?} {code:#x}");
            }
        }
    }

    #[test]
    fn numbers_go_to_the_nearest_and_ties_to_the_even_byte() {
        for code in 0..0x7d_u8 {
            let (low, high) = (decode(code, E4m3), decode(code + 1, E4m3));
            let tie = (low + high) / 2.0;
            let even = if code & 1 == 0 { code } else { code + 1 };
            let codes = [tie.next_down(), tie, tie.next_up()].map(|number| encode(number, E4m3));
            assert_eq!(codes, [code, even, code + 1], "{low} {high}");
        }
        assert_eq!([449.0, 1e9, f64::INFINITY, f64::NAN].map(|number| encode(number, E4m3)), [0x7e, 0x7e, 0x7e, 0x7f]);
        let whole = [0.5, 1.5, -2.5, 127.5, -1e9].map(|number| encode(number, Int8) as i8);
        assert_eq!(whole, [0, 2, -2, 127, -128]);
    }

    /// Two rows of three.
    const ROWS: [f64; 6] = [1.0, -2.54, 0.5, 0.0, 0.0, 0.0];

    fn quantize(scale: QuantScale, given: Option<f32>) -> Quantize {
        Quantize { how: Quantization::new(Int8, scale).least(0.001), width: 3, given }
    }

    #[test]
    fn rows_blocks_or_all_share_a_scale() {
        let row = quantize(QuantScale::Row, None).of(&ROWS, Element::F32);
        assert_eq!(row, Quantized { codes: vec![50, 129, 25, 0, 0, 0], scales: vec![0.02, 0.001] });
        let block = quantize(QuantScale::Block { columns: 2 }, None).of(&ROWS, Element::F32);
        assert_eq!(block.scales, [0.02, (0.5 / 127.0) as f32, 0.001, 0.001]);
        assert_eq!(block.codes, [50, 129, 127, 0, 0, 0]);
        let all = quantize(QuantScale::Static, Some(0.01)).of(&ROWS, Element::F32);
        assert_eq!(all, Quantized { codes: vec![100, 128, 50, 0, 0, 0], scales: vec![] });
        let shapes = [QuantScale::Row, QuantScale::Block { columns: 2 }, QuantScale::Static]
            .map(|scale| Quantize::scales_shape(&quantize(scale, None).how, &[4, 2, 3]));
        assert_eq!(shapes, [vec![4, 2], vec![4, 2, 2], vec![]]);
    }

    #[test]
    fn a_byte_that_is_one_off_is_found_and_a_tie_is_not() {
        let quantize = quantize(QuantScale::Row, None);
        let mut made = quantize.of(&ROWS, Element::F32);
        let judged = |made: &Quantized, rows: &[f64]| quantize.judge(made, rows, Element::F32);
        assert!(judged(&made, &ROWS).numbers.holds(1e-5) && judged(&made, &ROWS).scales.holds(1e-5));
        // 50.49999 and 50.50001 are both 50 or 51 to one who divides in f32
        let near = [1.01, -2.54, 0.5, 0.0, 0.0, 0.0];
        for code in [50, 51] {
            made.codes[0] = code;
            assert!(judged(&made, &near).numbers.holds(1e-5), "{code}");
        }
        assert!(!judged(&made, &ROWS).numbers.holds(1e-5));
        made.scales[1] = 0.0011;
        assert!(!judged(&made, &ROWS).scales.holds(1e-5));
        let poisoned = [f64::NAN, 1.0, 1.0, 0.0, 0.0, 0.0];
        let made = quantize.of(&poisoned, Element::F32);
        let clamped = Quantize { given: Some(0.01), ..quantize };
        assert!(clamped.judge(&clamped.of(&ROWS, Element::F32), &ROWS, Element::F32).numbers.holds(1e-5));
        assert!(made.scales[0].is_nan() && judged(&made, &poisoned).numbers.holds(1e-5));
    }
}
