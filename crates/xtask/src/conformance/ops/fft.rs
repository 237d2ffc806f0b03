//! Fourier transforms.

use limpid::{FftNorm, PadMode, StftOptions, Tensor};

use super::Call;
use crate::conformance::args::{Args, Result};

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("fft.fft", |a| transform(a, |x, n, dim, norm| x.to_complex().fft(n, dim, norm))),
    ("fft.ifft", |a| transform(a, |x, n, dim, norm| x.to_complex().ifft(n, dim, norm))),
    ("fft.irfft", |a| transform(a, |x, n, dim, norm| x.to_complex().irfft(n, dim, norm))),
    ("fft.rfft", |a| transform(a, Tensor::rfft)),
    ("stft", |a| {
        let (x, n_fft) = (a.required::<Tensor>("input")?, a.required("n_fft")?);
        let mut options = StftOptions::new();
        options.hop_length = a.option("hop_length")?;
        options.win_length = a.option("win_length")?;
        options = a.option::<Tensor>("window")?.iter().fold(options, StftOptions::window);
        options = options.center(a.or("center", true)?);
        options = options.pad_mode(match a.or("pad_mode", "reflect".to_owned())?.as_str() {
            "reflect" => PadMode::Reflect,
            "replicate" => PadMode::Replicate,
            "circular" => PadMode::Circular,
            "constant" => PadMode::Constant(0.0),
            other => return Err(format!("argument pad_mode not read: {other}")),
        });
        options = options.normalized(a.or("normalized", false)?);
        options = a.option("onesided")?.into_iter().fold(options, StftOptions::onesided);
        // Complex results are pairs either way.
        a.no_effect("return_complex")?;
        a.only("align_to_window", false)?;
        Ok(vec![x.stft(n_fft, &options)])
    }),
];

/// Inputs of the cases are real; torch takes them as complex numbers where it needs those.
fn transform(a: &mut Args<'_>, f: fn(&Tensor, Option<usize>, isize, FftNorm) -> Tensor) -> Result<Vec<Tensor>> {
    let (x, n, dim) = (a.required("input")?, a.option("n")?, a.or("dim", -1)?);
    let norm = match a.option::<String>("norm")?.as_deref() {
        None | Some("backward") => FftNorm::Backward,
        Some("ortho") => FftNorm::Ortho,
        Some("forward") => FftNorm::Forward,
        Some(other) => return Err(format!("argument norm not read: {other}")),
    };
    Ok(vec![f(&x, n, dim, norm)])
}
