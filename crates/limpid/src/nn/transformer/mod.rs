//! Transformers (Vaswani et al. 2017).

mod config;
mod decoder;
mod encoder;

pub use config::Activation;
pub use decoder::{DecoderOptions, TransformerDecoder, TransformerDecoderLayer};
pub use encoder::{EncoderOptions, TransformerEncoder, TransformerEncoderLayer};

use limpid_core::{DType, Error, Tensor};

use crate::Module;
use crate::nn::draws::Draws;
use crate::nn::{failed, init};
use crate::site::{Scope, Site};
use config::{Config, Configured, layer_setters};
use limpid_core::options;

options! {
    /// The masks of a transformer, by torch's names.
    TransformerOptions {
        tensors {
            /// `[S, S]` or `[N·nhead, S, S]`, of the encoder: bool, true for keys that are left out, or float, which is added.
            src_mask,
            /// `[T, T]` or `[N·nhead, T, T]`, of the decoder.
            tgt_mask,
            /// `[T, S]` or `[N·nhead, T, S]`, of the decoder's attention to the encoder's result.
            memory_mask,
            /// `[N, S]`, of one sequence `[S]`: bool, true for padding, or float, which is added.
            src_key_padding_mask,
            /// `[N, T]`, of one sequence `[T]`: the padding of the target.
            tgt_key_padding_mask,
            /// `[N, S]`, of one sequence `[S]`: the padding of the encoder's result.
            memory_key_padding_mask,
        }
        values {
            /// Says that `src_mask` is the causal one (default: no). Without padding it is not read then.
            src_is_causal: bool = false,
            /// Says that `tgt_mask` is the causal one (default: no). Without padding it is not read then.
            tgt_is_causal: bool = false,
            /// Says that `memory_mask` is the causal one (default: no). Without padding it is not read then.
            memory_is_causal: bool = false,
        }
    }
}

/// What can be the encoder of a [`Transformer`].
pub trait Encode: Module {
    /// The memory for `src`.
    #[track_caller]
    fn encode(&self, src: &Tensor, options: &EncoderOptions) -> Tensor;
}

/// What can be the decoder of a [`Transformer`].
pub trait Decode: Module {
    /// The result for `tgt` and the memory that the encoder made.
    #[track_caller]
    fn decode(&self, tgt: &Tensor, memory: &Tensor, options: &DecoderOptions) -> Tensor;
}

impl Encode for TransformerEncoder {
    #[track_caller]
    fn encode(&self, src: &Tensor, options: &EncoderOptions) -> Tensor {
        self.forward_with(src, options)
    }
}

impl Decode for TransformerDecoder {
    #[track_caller]
    fn decode(&self, tgt: &Tensor, memory: &Tensor, options: &DecoderOptions) -> Tensor {
        self.forward_with(tgt, memory, options)
    }
}

/// An encoder of the source, and a decoder of the target that looks at what the encoder made. Vaswani et al. (2017).
///
/// `[S, N, d_model]` and `[T, N, d_model]` → `[T, N, d_model]`, with `batch_first` N first; one sequence may come without
/// N. All matrices start in Xavier's uniform distribution. Setters that stand before `custom_encoder` and
/// `custom_decoder` make the parts that those replace.
///
/// ```
/// use limpid::prelude::*;
/// let model = Transformer::new(8, 2).num_encoder_layers(1).num_decoder_layers(1).dim_feedforward(16).batch_first(true);
/// let (src, tgt) = (Tensor::ones([3, 5, 8]), Tensor::ones([3, 4, 8]));
/// let causal = Transformer::generate_square_subsequent_mask(4);
/// let y = model.forward_with(&src, &tgt, &TransformerOptions::new().tgt_mask(&causal));
/// assert_eq!(*y.shape(), Shape::from([3, 4, 8]));
/// ```
#[derive(Clone, Debug, Module)]
pub struct Transformer<E: Encode = TransformerEncoder, D: Decode = TransformerDecoder> {
    /// Makes the memory.
    pub encoder: E,
    /// Makes the result.
    pub decoder: D,
    #[module(skip)]
    config: Config,
    #[module(skip)]
    layers: (usize, usize),
    #[module(site)]
    site: Site,
    #[module(skip)]
    draws: Draws,
}

layer_setters!(Transformer);

impl Transformer {
    /// A transformer over `d_model` features (torch's default: 512) with `nhead` heads (8), 6 layers in each half, f32.
    #[track_caller]
    pub fn new(d_model: usize, nhead: usize) -> Transformer {
        let config = Config { xavier: true, ..Config::new(d_model, nhead) };
        Transformer::made(config, (6, 6), Site::here(), None)
    }

    #[track_caller]
    fn made(config: Config, layers: (usize, usize), site: Site, draws: Option<Draws>) -> Transformer {
        let encoder_layer = |_| TransformerEncoderLayer::made(config.clone(), Site::unplaced(), None);
        let decoder_layer = |_| TransformerDecoderLayer::made(config.clone(), Site::unplaced(), None);
        let draw = || {
            let encoder: Vec<_> = (0..layers.0).map(encoder_layer).collect();
            (encoder, (0..layers.1).map(decoder_layer).collect::<Vec<_>>())
        };
        let ((encoder, decoder), draws) = Draws::either(draws, draw);
        let encoder = TransformerEncoder::of(encoder, Site::unplaced()).norm(config.norm());
        let decoder = TransformerDecoder::of(decoder, Site::unplaced()).norm(config.norm());
        Transformer { encoder, decoder, config, layers, site, draws }
    }

    /// How many layers the encoder has (default: 6).
    #[track_caller]
    pub fn num_encoder_layers(self, layers: usize) -> Transformer {
        if layers == self.layers.0 {
            return self;
        }
        Transformer::made(self.config, (layers, self.layers.1), self.site, Some(self.draws))
    }

    /// How many layers the decoder has (default: 6).
    #[track_caller]
    pub fn num_decoder_layers(self, layers: usize) -> Transformer {
        if layers == self.layers.1 {
            return self;
        }
        Transformer::made(self.config, (self.layers.0, layers), self.site, Some(self.draws))
    }

    /// `[size, size]`, f32: 0 where column ≤ row, else −∞. Added to scores, it lets each place see itself and those
    /// before it.
    ///
    /// ```
    /// use limpid::prelude::*;
    /// let mask = Transformer::generate_square_subsequent_mask(2);
    /// assert_eq!(mask.to_vec::<f32>()?, [0.0, f32::NEG_INFINITY, 0.0, 0.0]);
    /// # Ok::<(), limpid::Error>(())
    /// ```
    #[track_caller]
    pub fn generate_square_subsequent_mask(size: usize) -> Tensor {
        Tensor::full([size, size], f64::NEG_INFINITY).triu(1)
    }
}

impl<E: Encode, D: Decode> Transformer<E, D> {
    /// Another encoder, whose matrices are drawn anew, as torch does.
    #[track_caller]
    pub fn custom_encoder<F: Encode>(self, encoder: F) -> Transformer<F, D> {
        redraw(&encoder);
        let Transformer { decoder, config, layers, site, draws, .. } = self;
        Transformer { encoder, decoder, config, layers, site, draws }
    }

    /// Another decoder, whose matrices are drawn anew, as torch does.
    #[track_caller]
    pub fn custom_decoder<F: Decode>(self, decoder: F) -> Transformer<E, F> {
        redraw(&decoder);
        let Transformer { encoder, config, layers, site, draws, .. } = self;
        Transformer { encoder, decoder, config, layers, site, draws }
    }

    /// The result for `src` and `tgt`, without masks.
    #[track_caller]
    pub fn forward(&self, src: &Tensor, tgt: &Tensor) -> Tensor {
        self.forward_with(src, tgt, &TransformerOptions::new())
    }

    /// The result for `src` and `tgt` with masks.
    #[track_caller]
    pub fn forward_with(&self, src: &Tensor, tgt: &Tensor, options: &TransformerOptions) -> Tensor {
        let scope = Scope::enter(self);
        if let Err(error) = self.check(src, tgt) {
            return scope.output(failed(error, tgt, tgt.shape()));
        }
        let of_encoder = EncoderOptions {
            src_mask: options.src_mask.clone(),
            src_key_padding_mask: options.src_key_padding_mask.clone(),
            is_causal: options.src_is_causal,
        };
        let memory = self.encoder.encode(src, &of_encoder);
        let of_decoder = DecoderOptions {
            tgt_mask: options.tgt_mask.clone(),
            memory_mask: options.memory_mask.clone(),
            tgt_key_padding_mask: options.tgt_key_padding_mask.clone(),
            memory_key_padding_mask: options.memory_key_padding_mask.clone(),
            tgt_is_causal: options.tgt_is_causal,
            memory_is_causal: options.memory_is_causal,
        };
        scope.output(self.decoder.decode(tgt, &memory, &of_decoder))
    }

    fn check(&self, src: &Tensor, tgt: &Tensor) -> limpid_core::Result<()> {
        let (rank, d) = (src.rank(), self.config.d_model);
        let shapes = format!("src {} and tgt {}", src.shape(), tgt.shape());
        if !(2..=3).contains(&rank) || tgt.rank() != rank {
            return Err(Error::new(format!("Transformer: {shapes}")).help("both [L, E], or both batches with 3 axes"));
        }
        let batch = if self.config.batch_first { 0 } else { 1 };
        if rank == 3 && src.size(batch) != tgt.size(batch) {
            return Err(Error::new(format!("Transformer: {shapes} have different numbers of sequences"))
                .help("batch_first(true), where the first axis counts them"));
        }
        if src.size(-1) != d || tgt.size(-1) != d {
            return Err(Error::new(format!("Transformer: {shapes} do not have {d} features")));
        }
        Ok(())
    }
}

/// Xavier's distribution for each matrix.
#[track_caller]
fn redraw<M: Module>(module: &M) {
    for p in module.parameters().iter().filter(|p| p.shape().rank() > 1) {
        // A parameter that can not be set carries its error: the read will say so.
        let _ = init::xavier_uniform_(p, 1.0);
    }
}

impl Configured for Transformer {
    fn config(&self) -> &Config {
        &self.config
    }

    #[track_caller]
    fn remade(self, config: Config) -> Transformer {
        Transformer::made(config, self.layers, self.site, Some(self.draws))
    }

    fn fitted(self, config: Config) -> Transformer {
        let Transformer { encoder, decoder, layers, site, draws, .. } = self;
        let encoder_layers = encoder.layers.into_iter().map(|layer| layer.fitted(config.clone())).collect();
        let decoder_layers = decoder.layers.into_iter().map(|layer| layer.fitted(config.clone())).collect();
        let encoder = TransformerEncoder::of(encoder_layers, Site::unplaced()).norm(config.norm());
        let decoder = TransformerDecoder::of(decoder_layers, Site::unplaced()).norm(config.norm());
        Transformer { encoder, decoder, config, layers, site, draws }
    }
}
