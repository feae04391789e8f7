//! The erasure code's arithmetic, with a small table.
//!
//! The engines of [`reed_solomon_simd`] multiply by tables of 8 MiB, a row for each factor. A code
//! has few factors, so that only their rows are made here. Where a processor lacks what this is
//! written for, the crate's own engine is used.

#[cfg(target_arch = "x86_64")]
mod avx2;

use reed_solomon_simd::engine::{DefaultEngine, Engine, GF_ORDER, GfElement, ShardsRefMut};

#[cfg(target_arch = "x86_64")]
use avx2::Avx2;

/// What computes the code.
pub(crate) enum Arithmetic {
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    Default(DefaultEngine),
}

impl Arithmetic {
    /// For a code of so many shards.
    pub(crate) fn of(shards: usize) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = Avx2::of(shards) {
            return Self::Avx2(avx2);
        }
        Self::Default(DefaultEngine::new())
    }
}

impl Engine for Arithmetic {
    fn fft(
        &self,
        data: &mut ShardsRefMut<'_>,
        pos: usize,
        size: usize,
        truncated_size: usize,
        skew_delta: usize,
    ) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.fft(data, pos, size, truncated_size, skew_delta),
            Self::Default(default) => default.fft(data, pos, size, truncated_size, skew_delta),
        }
    }

    fn ifft(
        &self,
        data: &mut ShardsRefMut<'_>,
        pos: usize,
        size: usize,
        truncated_size: usize,
        skew_delta: usize,
    ) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.ifft(data, pos, size, truncated_size, skew_delta),
            Self::Default(default) => default.ifft(data, pos, size, truncated_size, skew_delta),
        }
    }

    fn mul(&self, x: &mut [[u8; 64]], log_m: GfElement) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.mul(x, log_m),
            Self::Default(default) => default.mul(x, log_m),
        }
    }

    fn eval_poly(erasures: &mut [GfElement; GF_ORDER], truncated_size: usize) {
        DefaultEngine::eval_poly(erasures, truncated_size);
    }
}
