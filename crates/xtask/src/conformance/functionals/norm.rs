//! Normalisations.

use limpid::{Cell, NormOptions, Tensor};

use crate::conformance::args::{Args, Result};
use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("batch_norm", |a| {
        let (x, options): (Tensor, _) = (a.required("input")?, channels(a)?);
        let training = a.or("training", false)?;
        Ok(vec![x.batch_norm(training, &momentum_and_eps(a, options)?)])
    }),
    ("group_norm", |a| {
        let (x, groups): (Tensor, _) = (a.required("input")?, a.required("num_groups")?);
        let (weight, bias): (Option<Tensor>, Option<Tensor>) = (a.option("weight")?, a.option("bias")?);
        Ok(vec![x.group_norm(groups, weight.as_ref(), bias.as_ref(), a.or("eps", 1e-5)?)])
    }),
    ("instance_norm", |a| {
        let (x, options): (Tensor, _) = (a.required("input")?, channels(a)?);
        let own = a.or("use_input_stats", true)?;
        Ok(vec![x.instance_norm(own, &momentum_and_eps(a, options)?)])
    }),
    ("local_response_norm", |a| {
        let (x, size): (Tensor, _) = (a.required("input")?, a.required("size")?);
        let (alpha, beta, k) = (a.or("alpha", 1e-4)?, a.or("beta", 0.75)?, a.or("k", 1.0)?);
        Ok(vec![x.local_response_norm(size, alpha, beta, k)])
    }),
    ("normalize", |a| {
        let (x, p): (Tensor, _) = (a.required("input")?, a.or("p", 2.0)?);
        let (dim, eps) = (a.or("dim", 1)?, a.or("eps", 1e-12)?);
        a.absent("out")?;
        Ok(vec![x.normalize(p, dim, eps)])
    }),
    ("rms_norm", |a| {
        let (x, shape): (Tensor, Vec<usize>) = (a.required("input")?, a.required("normalized_shape")?);
        let weight: Option<Tensor> = a.option("weight")?;
        Ok(vec![x.rms_norm(shape, weight.as_ref(), a.option("eps")?)])
    }),
];

/// Statistics and factors by channel.
fn channels(a: &mut Args<'_>) -> Result<NormOptions> {
    let cell = |t: Tensor| Cell::new(&t, false);
    Ok(NormOptions {
        running_mean: a.option("running_mean")?.map(cell),
        running_var: a.option("running_var")?.map(cell),
        weight: a.option("weight")?,
        bias: a.option("bias")?,
        ..NormOptions::new()
    })
}

fn momentum_and_eps(a: &mut Args<'_>, options: NormOptions) -> Result<NormOptions> {
    Ok(options.momentum(a.or("momentum", 0.1)?).eps(a.or("eps", 1e-5)?))
}
