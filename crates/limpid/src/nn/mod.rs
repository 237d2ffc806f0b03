//! Layers: constructors, defaults, initialisers and meaning are those of `torch.nn`. What torch takes by
//! position is an argument; the rest are setters.

mod activation;
mod attention;
mod batch_norm;
mod bilinear;
mod conv;
mod conv_transpose;
mod copy;
pub(crate) mod draws;
mod dropout;
mod embedding;
mod fold;
pub mod init;
mod lazy;
mod lazy_norm;
mod linear;
mod norm;
mod packed;
mod pad;
mod pool;
mod recurrent;
mod resample;
mod sequential;
mod shape;
mod stochastic_depth;
mod transformer;
pub mod utils;

pub use activation::{
    CELU, ELU, GELU, GLU, Hardshrink, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU, LogSigmoid, LogSoftmax, Mish, PReLU,
    RReLU, ReLU, ReLU6, SELU, SiLU, Sigmoid, Softmax, Softmax2d, Softmin, Softplus, Softshrink, Softsign, Tanh,
    Tanhshrink, Threshold,
};
pub use attention::{
    MultiHeadAttentionForward, MultiheadAttention, MultiheadAttentionOptions, multi_head_attention_forward,
};
pub(crate) use batch_norm::cumulative;
pub use batch_norm::{
    BatchNorm1d, BatchNorm2d, BatchNorm3d, ChannelNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d,
};
pub use bilinear::Bilinear;
pub use conv::{Conv, Conv1d, Conv2d, Conv3d};
pub use conv_transpose::{ConvTranspose, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d};
pub use dropout::{AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout};
pub use embedding::{Embedding, EmbeddingBag};
pub use fold::{Fold, FractionalMaxPool, FractionalMaxPool2d, FractionalMaxPool3d, Unfold};
pub use lazy::{
    Lazy, LazyConv1d, LazyConv2d, LazyConv3d, LazyConvTranspose1d, LazyConvTranspose2d, LazyConvTranspose3d, LazyLayer,
    LazyLinear, Uninitialised,
};
pub use lazy_norm::{
    LazyBatchNorm1d, LazyBatchNorm2d, LazyBatchNorm3d, LazyInstanceNorm1d, LazyInstanceNorm2d, LazyInstanceNorm3d,
};
pub use linear::Linear;
pub use norm::{CrossMapLRN2d, GroupNorm, LayerNorm, LocalResponseNorm, RMSNorm};
pub use packed::{
    Lengths, PackedSequence, PaddingSide, Sequences, pack_padded_sequence, pack_sequence, pad_packed_sequence,
    pad_sequence, unpack_sequence, unpad_sequence,
};
pub use pad::{
    CircularPad, CircularPad1d, CircularPad2d, CircularPad3d, ConstantPad, ConstantPad1d, ConstantPad2d, ConstantPad3d,
    PadSizes, ReflectionPad, ReflectionPad1d, ReflectionPad2d, ReflectionPad3d, ReplicationPad, ReplicationPad1d,
    ReplicationPad2d, ReplicationPad3d, ZeroPad, ZeroPad1d, ZeroPad2d, ZeroPad3d,
};
pub use pool::{
    AdaptiveAvgPool, AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool, AdaptiveMaxPool1d,
    AdaptiveMaxPool2d, AdaptiveMaxPool3d, AvgPool, AvgPool1d, AvgPool2d, AvgPool3d, LPPool, LPPool1d, LPPool2d,
    LPPool3d, MaxPool, MaxPool1d, MaxPool2d, MaxPool3d, MaxUnpool, MaxUnpool1d, MaxUnpool2d, MaxUnpool3d,
};
pub use recurrent::{
    GRU, GRUCell, LSTM, LSTMCell, RNN, RNNCell, Recurrent, RecurrentKind, RecurrentStep, RecurrentWeights,
};
pub use resample::{Upsample, UpsamplingBilinear2d, UpsamplingNearest2d};
pub use sequential::Sequential;
pub use shape::{ChannelShuffle, Flatten, Identity, PixelShuffle, PixelUnshuffle, Unflatten};
pub use stochastic_depth::{StochasticDepth, StochasticDepthMode};
pub use transformer::{
    Activation, Decode, DecoderOptions, Encode, EncoderOptions, Transformer, TransformerDecoder,
    TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer, TransformerOptions,
};

pub use crate::loss::{
    AdaptiveLogSoftmaxWithLoss, BCELoss, BCEWithLogitsLoss, CTCLoss, CosineEmbeddingLoss, CosineSimilarity,
    CrossEntropyLoss, GaussianNLLLoss, HingeEmbeddingLoss, HuberLoss, KLDivLoss, L1Loss, LinearCrossEntropyLoss,
    MSELoss, MarginRankingLoss, MultiLabelMarginLoss, MultiLabelSoftMarginLoss, MultiMarginLoss, NLLLoss,
    PairwiseDistance, PoissonNLLLoss, Reduction, SmoothL1Loss, SoftMarginLoss, TripletMarginLoss,
    TripletMarginWithDistanceLoss,
};

use limpid_core::{Error, Shape, Tensor};

/// A tensor of `shape` and the type of `like` that carries `error`, or the error that `like` carries.
#[track_caller]
pub(crate) fn failed(error: Error, like: &Tensor, shape: &Shape) -> Tensor {
    Tensor::fail(error, &[like], shape.clone(), like.dtype())
}

/// `True` and `False`, as torch prints them.
pub(crate) fn python(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// The name of a layer over `n` spatial axes.
pub(crate) fn of_dimensions(n: usize, names: [&'static str; 3]) -> &'static str {
    names[n.clamp(1, 3) - 1]
}

/// 0.00001 as python writes it: 1e-05.
pub(crate) fn exponent(x: f64) -> String {
    if x == 0.0 || x.abs() >= 1e-4 {
        return format!("{x:?}");
    }
    let text = format!("{x:e}");
    match text.split_once("e-") {
        Some((digits, power)) if power.len() == 1 => format!("{digits}e-0{power}"),
        _ => text,
    }
}
