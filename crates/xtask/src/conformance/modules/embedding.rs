//! Embeddings.

use std::rc::Rc;

use limpid::Tensor;
use limpid::nn::{Embedding, EmbeddingBag};

use super::{Built, Make, layer};
use crate::conformance::functionals::bag_mode;

/// Every module by torch's name.
pub const MODULES: &[(&str, Make)] = &[
    ("Embedding", |a, dtype| {
        let made = Embedding::new(a.required("num_embeddings")?, a.required("embedding_dim")?).dtype(dtype);
        let made = made.padding_idx(a.option::<isize>("padding_idx")?).max_norm(a.option::<f64>("max_norm")?);
        let made = made.norm_type(a.or("norm_type", 2.0)?).scale_grad_by_freq(a.or("scale_grad_by_freq", false)?);
        layer(made.sparse(a.or("sparse", false)?))
    }),
    ("EmbeddingBag", |a, dtype| {
        let made = EmbeddingBag::new(a.required("num_embeddings")?, a.required("embedding_dim")?).dtype(dtype);
        let made = made.max_norm(a.option::<f64>("max_norm")?).norm_type(a.or("norm_type", 2.0)?);
        let made = made.scale_grad_by_freq(a.or("scale_grad_by_freq", false)?).mode(bag_mode(a)?);
        let made = made.sparse(a.or("sparse", false)?);
        a.absent("_weight")?;
        let made = made.include_last_offset(a.or("include_last_offset", false)?);
        let module = Rc::new(made.padding_idx(a.option::<isize>("padding_idx")?));
        let called = module.clone();
        Ok(Built {
            module,
            forward: Box::new(move |a| {
                let x = a.required::<Tensor>("input")?;
                let (offsets, weights) = (a.option::<Tensor>("offsets")?, a.option::<Tensor>("per_sample_weights")?);
                Ok(vec![called.forward(&x, offsets.as_ref(), weights.as_ref())])
            }),
        })
    }),
];
