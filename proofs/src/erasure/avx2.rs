//! For processors with AVX2.

use std::{
    arch::x86_64::__m256i,
    iter::zip,
    sync::{Arc, PoisonError, RwLock},
};

use pulp::{NullaryFnOnce, cast, x86::V3};
use reed_solomon_simd::engine::{
    GF_MODULUS, GfElement, ShardsRefMut,
    tables::{self, ExpLog},
};

/// The low bytes of 32 elements, then their high bytes.
type Chunk = [u8; 64];

/// The products of a factor with the values of each of an element's four nibbles: their low bytes,
/// and their high ones.
#[derive(Clone, Copy, Default)]
struct Row {
    low: [[u8; 16]; 4],
    high: [[u8; 16]; 4],
}

/// The rows of the factors by their places in transforms, as far as any code has needed them.
static ROWS: RwLock<Option<Arc<[Row]>>> = RwLock::new(None);

/// The arithmetic of a code.
pub(crate) struct Avx2 {
    simd: V3,
    rows: Arc<[Row]>,
}

impl Row {
    /// The row of a factor, by its logarithm.
    fn of(log_m: GfElement) -> Self {
        let ExpLog { exp, log } = tables::get_exp_log();
        let mut row = Self::default();
        for (nibble, (low, high)) in zip(&mut row.low, &mut row.high).enumerate() {
            for (value, (low, high)) in (0..16).zip(zip(low, high)) {
                let product = tables::mul(value << (4 * nibble), log_m, exp, log);
                [*low, *high] = product.to_le_bytes();
            }
        }
        row
    }

    /// The row of the factor at a place. The greatest logarithm stands for zero there.
    fn at(place: usize) -> Self {
        let factor = tables::get_skew().get(place).filter(|log_m| **log_m != GF_MODULUS);
        factor.copied().map_or_else(Self::default, Self::of)
    }
}

impl Avx2 {
    /// For a code of so many shards, if the processor has what it needs.
    pub(super) fn of(shards: usize) -> Option<Self> {
        let simd = V3::try_new()?;
        // A transform of the last shards looks as far as their number beyond them.
        let count = shards.saturating_mul(2).next_power_of_two().min(usize::from(GF_MODULUS));
        let known = ROWS.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(rows) = known.filter(|rows| rows.len() >= count) {
            return Some(Self { simd, rows });
        }
        let rows: Arc<[Row]> = (0..count).map(Row::at).collect();
        let mut known = ROWS.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have made more meanwhile.
        if known.as_ref().is_none_or(|known| known.len() < count) {
            *known = Some(Arc::clone(&rows));
        }
        Some(Self { simd, rows })
    }

    #[inline(always)]
    fn row(&self, place: usize) -> Lut {
        match self.rows.get(place) {
            Some(row) => Lut::of(self.simd, row),
            None => Lut::of(self.simd, &Row::at(place)),
        }
    }

    pub(super) fn fft(
        &self,
        data: &mut ShardsRefMut<'_>,
        pos: usize,
        size: usize,
        truncated_size: usize,
        skew_delta: usize,
    ) {
        self.simd.vectorize(Fft { engine: self, data, pos, size, truncated_size, skew_delta });
    }

    pub(super) fn ifft(
        &self,
        data: &mut ShardsRefMut<'_>,
        pos: usize,
        size: usize,
        truncated_size: usize,
        skew_delta: usize,
    ) {
        self.simd.vectorize(Ifft { engine: self, data, pos, size, truncated_size, skew_delta });
    }

    pub(super) fn mul(&self, chunks: &mut [Chunk], log_m: GfElement) {
        self.simd.vectorize(Mul { simd: self.simd, chunks, row: Row::of(log_m) });
    }
}

/// A row in registers.
#[derive(Clone, Copy)]
struct Lut {
    low: [__m256i; 4],
    high: [__m256i; 4],
}

// What runs within a transform is inlined into it: its instructions are only there.

impl Lut {
    #[inline(always)]
    fn of(simd: V3, row: &Row) -> Self {
        let Row { low, high } = row;
        Self { low: twice(simd, low), high: twice(simd, high) }
    }

    /// The products with the low and high bytes of elements.
    #[inline(always)]
    fn mul(&self, simd: V3, low: __m256i, high: __m256i) -> (__m256i, __m256i) {
        let mask = simd.avx._mm256_set1_epi8(15);
        let nibbles = [
            simd.avx2._mm256_and_si256(low, mask),
            simd.avx2._mm256_and_si256(simd.avx2._mm256_srli_epi64::<4>(low), mask),
            simd.avx2._mm256_and_si256(high, mask),
            simd.avx2._mm256_and_si256(simd.avx2._mm256_srli_epi64::<4>(high), mask),
        ];
        (sum_of(simd, &self.low, nibbles), sum_of(simd, &self.high, nibbles))
    }
}

#[inline(always)]
fn twice(simd: V3, [a, b, c, d]: &[[u8; 16]; 4]) -> [__m256i; 4] {
    [
        simd.avx2._mm256_broadcastsi128_si256(cast(*a)),
        simd.avx2._mm256_broadcastsi128_si256(cast(*b)),
        simd.avx2._mm256_broadcastsi128_si256(cast(*c)),
        simd.avx2._mm256_broadcastsi128_si256(cast(*d)),
    ]
}

#[inline(always)]
fn sum_of(simd: V3, tables: &[__m256i; 4], nibbles: [__m256i; 4]) -> __m256i {
    let ([a, b, c, d], [i, j, k, l]) = (tables, nibbles);
    let first = simd.avx2._mm256_shuffle_epi8(*a, i);
    let second = simd.avx2._mm256_shuffle_epi8(*b, j);
    let third = simd.avx2._mm256_shuffle_epi8(*c, k);
    let fourth = simd.avx2._mm256_shuffle_epi8(*d, l);
    let first_two = simd.avx2._mm256_xor_si256(first, second);
    simd.avx2._mm256_xor_si256(first_two, simd.avx2._mm256_xor_si256(third, fourth))
}

#[inline(always)]
fn load(chunk: &Chunk) -> (__m256i, __m256i) {
    let [low, high]: [[u8; 32]; 2] = cast(*chunk);
    (cast(low), cast(high))
}

#[inline(always)]
fn store(chunk: &mut Chunk, low: __m256i, high: __m256i) {
    *chunk = cast([low, high]);
}

/// `x ^= y * factor; y ^= x`
#[inline(always)]
fn forth(simd: V3, x: &mut [Chunk], y: &mut [Chunk], lut: &Lut) {
    for (x, y) in zip(x, y) {
        let ((x_low, x_high), (y_low, y_high)) = (load(x), load(y));
        let (low, high) = lut.mul(simd, y_low, y_high);
        let x_low = simd.avx2._mm256_xor_si256(x_low, low);
        let x_high = simd.avx2._mm256_xor_si256(x_high, high);
        store(x, x_low, x_high);
        let y_low = simd.avx2._mm256_xor_si256(y_low, x_low);
        store(y, y_low, simd.avx2._mm256_xor_si256(y_high, x_high));
    }
}

/// `y ^= x; x ^= y * factor`
#[inline(always)]
fn back(simd: V3, x: &mut [Chunk], y: &mut [Chunk], lut: &Lut) {
    for (x, y) in zip(x, y) {
        let ((x_low, x_high), (y_low, y_high)) = (load(x), load(y));
        let y_low = simd.avx2._mm256_xor_si256(y_low, x_low);
        let y_high = simd.avx2._mm256_xor_si256(y_high, x_high);
        store(y, y_low, y_high);
        let (low, high) = lut.mul(simd, y_low, y_high);
        let x_low = simd.avx2._mm256_xor_si256(x_low, low);
        store(x, x_low, simd.avx2._mm256_xor_si256(x_high, high));
    }
}

/// A transform of shards, two layers at a time.
struct Fft<'a, 'b> {
    engine: &'a Avx2,
    data: &'a mut ShardsRefMut<'b>,
    pos: usize,
    size: usize,
    truncated_size: usize,
    skew_delta: usize,
}

impl NullaryFnOnce for Fft<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { engine, data, pos, size, truncated_size, skew_delta } = self;
        let simd = engine.simd;
        let (mut step, mut distance) = (size, size / 4);
        while distance != 0 {
            for start in (0..truncated_size).step_by(step) {
                let place = start + distance + skew_delta - 1;
                let outer = engine.row(place + distance);
                let inner = [engine.row(place), engine.row(place + 2 * distance)];
                for index in start..start + distance {
                    let (a, b, c, d) = data.dist4_mut(pos + index, distance);
                    forth(simd, a, c, &outer);
                    forth(simd, b, d, &outer);
                    forth(simd, a, b, &inner[0]);
                    forth(simd, c, d, &inner[1]);
                }
            }
            (step, distance) = (distance, distance / 4);
        }
        // The last layer, if their number is odd.
        if step == 2 {
            for start in (0..truncated_size).step_by(2) {
                let (x, y) = data.dist2_mut(pos + start, 1);
                forth(simd, x, y, &engine.row(start + skew_delta));
            }
        }
    }
}

/// The transform back.
struct Ifft<'a, 'b> {
    engine: &'a Avx2,
    data: &'a mut ShardsRefMut<'b>,
    pos: usize,
    size: usize,
    truncated_size: usize,
    skew_delta: usize,
}

impl NullaryFnOnce for Ifft<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { engine, data, pos, size, truncated_size, skew_delta } = self;
        let simd = engine.simd;
        let mut distance = 1;
        while distance * 4 <= size {
            for start in (0..truncated_size).step_by(distance * 4) {
                let place = start + distance + skew_delta - 1;
                let inner = [engine.row(place), engine.row(place + 2 * distance)];
                let outer = engine.row(place + distance);
                for index in start..start + distance {
                    let (a, b, c, d) = data.dist4_mut(pos + index, distance);
                    back(simd, a, b, &inner[0]);
                    back(simd, c, d, &inner[1]);
                    back(simd, a, c, &outer);
                    back(simd, b, d, &outer);
                }
            }
            distance *= 4;
        }
        if distance < size {
            let row = engine.row(distance + skew_delta - 1);
            for index in 0..distance {
                let (x, y) = data.dist2_mut(pos + index, distance);
                back(simd, x, y, &row);
            }
        }
    }
}

/// `chunks *= factor`
struct Mul<'a> {
    simd: V3,
    chunks: &'a mut [Chunk],
    row: Row,
}

impl NullaryFnOnce for Mul<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, chunks, row } = self;
        let lut = Lut::of(simd, &row);
        for chunk in chunks {
            let (low, high) = load(chunk);
            let (low, high) = lut.mul(simd, low, high);
            store(chunk, low, high);
        }
    }
}
