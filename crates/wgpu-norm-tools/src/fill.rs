//! Numbers that norms are tried with: the same on every machine, in the program and in a browser.

use serde::{Deserialize, Serialize};

/// What a tensor is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// Mean 0.5, deviation 1.
    Normal,
    /// Mean 1e4, deviation 1: where E[x^2] - mean^2 has no digit left.
    LargeMean,
    /// Mean 0.5, deviation 1e-4: a variance far below eps, and few digits of the mean to spare.
    TinyVariance,
    /// 3.7 everywhere: the output must be the bias.
    Constant,
    /// 0 everywhere.
    Zero,
    /// One NaN, which must poison its segment and only it.
    NotANumber,
}

/// A gradient to the output of a norm over so many elements.
pub fn gradient(len: u64) -> Vec<f32> {
    Random(0xD1B5_4A32 ^ len).many(len, |random| 4.0 * random.uniform() - 2.0)
}

/// splitmix64: the same numbers on every machine.
pub struct Random(pub u64);

impl Random {
    /// From which the operands of a norm over so many elements are drawn: input, scale, bias, given statistics.
    pub fn of_operands(len: u64) -> Self {
        Self(0x9E37_79B9 ^ len)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In 0..1, 24 bits.
    pub fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Mean 0, deviation 1: the sum of 12 uniform numbers, nearly normal.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }

    /// So many of one kind.
    pub fn many(&mut self, len: u64, mut next: impl FnMut(&mut Self) -> f32) -> Vec<f32> {
        (0..len).map(|_| next(self)).collect()
    }

    /// An input of so many elements.
    pub fn fill(&mut self, fill: Fill, len: u64) -> Vec<f32> {
        let mut data = match fill {
            Fill::Normal | Fill::NotANumber => self.many(len, |random| 0.5 + random.normal()),
            Fill::LargeMean => self.many(len, |random| 1e4 + random.normal()),
            Fill::TinyVariance => self.many(len, |random| 0.5 + 1e-4 * random.normal()),
            Fill::Constant => vec![3.7; len as usize],
            Fill::Zero => vec![0.0; len as usize],
        };
        let middle = data.len() / 2;
        if fill == Fill::NotANumber && !data.is_empty() {
            data[middle] = f32::NAN;
        }
        data
    }

    /// Factors, or variances, away from 0.
    pub fn scales(&mut self, len: u64) -> Vec<f32> {
        self.many(len, |random| 0.5 + random.uniform())
    }

    /// Summands.
    pub fn biases(&mut self, len: u64) -> Vec<f32> {
        self.many(len, |random| random.uniform() - 0.5)
    }

    /// Means as an input filled so may have them.
    pub fn means(&mut self, fill: Fill, len: u64) -> Vec<f32> {
        let mean = if fill == Fill::LargeMean { 1e4 } else { 0.5 };
        self.many(len, |random| mean + random.uniform())
    }
}
