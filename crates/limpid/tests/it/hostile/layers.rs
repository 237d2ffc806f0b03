//! All layers.

use limpid::nn;
use limpid::nn::utils::{fuse_bn_weights, fuse_linear_bn_eval};
use limpid::prelude::*;

use super::windows::interpolate;
use super::{Call, Dice};

/// A layer made and run: `layer!(d, constructor, shape of its input)`.
macro_rules! layer {
    ($d:ident, $make:expr, $shape:expr) => {{
        let layer = $make;
        let x = $d.f(&$shape);
        $d.layer(&layer, &x)
    }};
}

macro_rules! of_shape {
    ($($name:ident [$($size:expr),*] |$d:ident| $make:expr;)*) => {
        &[$((stringify!($name), |$d: &mut Dice| layer!($d, $make, [$($size),*])),)*]
    };
}

fn mode(d: &mut Dice) -> PadMode {
    d.pick(&[PadMode::Constant(0.0), PadMode::Constant(0.0), PadMode::Reflect, PadMode::Replicate, PadMode::Circular])
}

fn padding(d: &mut Dice) -> Padding {
    let sizes = d.sizes(1);
    d.pick(&[Padding::Sizes(sizes.clone()), Padding::Sizes(sizes), Padding::Same, Padding::Valid])
}

fn conv<const N: usize>(d: &mut Dice) -> Conv<N> {
    let conv = Conv::new(d.n(3), d.n(4), d.sizes(2)).stride(d.sizes(1)).padding(padding(d)).dilation(d.sizes(1));
    conv.groups(d.n(1)).bias(d.flag()).padding_mode(mode(d)).dtype(d.dtype())
}

fn transposed<const N: usize>(d: &mut Dice) -> ConvTranspose<N> {
    let conv = ConvTranspose::new(d.n(3), d.n(4), d.sizes(2)).stride(d.sizes(2)).padding(d.sizes(0));
    let conv = conv.output_padding(d.sizes(0)).groups(d.n(1)).bias(d.flag());
    conv.dilation(d.sizes(1)).dtype(d.dtype())
}

fn channels<const N: usize, const S: bool>(d: &mut Dice) -> nn::ChannelNorm<N, S> {
    let norm = nn::ChannelNorm::new(d.n(3)).eps(d.real(1e-5)).momentum(d.maybe(|d| d.real(0.1))).affine(d.flag());
    norm.bias(d.flag()).track_running_stats(d.flag()).dtype(d.dtype())
}

fn pads(d: &mut Dice, axes: usize) -> PadSizes {
    let list = d.ints(&vec![1; 2 * axes]);
    if d.flag() { PadSizes::from(list) } else { PadSizes::from(d.int(1) as isize) }
}

pub const LAYERS: &[Call] = of_shape! {
    ReLU [2, 3] |d| ReLU::new();
    Sigmoid [2, 3] |d| Sigmoid::new();
    Tanh [2, 3] |d| Tanh::new();
    SiLU [2, 3] |d| SiLU::new();
    Hardsigmoid [2, 3] |d| Hardsigmoid::new();
    Hardswish [2, 3] |d| Hardswish::new();
    LogSigmoid [2, 3] |d| LogSigmoid::new();
    Mish [2, 3] |d| Mish::new();
    ReLU6 [2, 3] |d| ReLU6::new();
    SELU [2, 3] |d| SELU::new();
    Softsign [2, 3] |d| Softsign::new();
    Tanhshrink [2, 3] |d| Tanhshrink::new();
    GELU [2, 3] |d| GELU::new().approximate(d.pick(&["none", "tanh", "", "erf"]));
    LeakyReLU [2, 3] |d| LeakyReLU::new(d.real(0.1));
    CELU [2, 3] |d| CELU::new().alpha(d.real(1.0));
    ELU [2, 3] |d| ELU::new().alpha(d.real(1.0));
    Hardshrink [2, 3] |d| Hardshrink::new().lambd(d.real(0.5));
    Softshrink [2, 3] |d| Softshrink::new().lambd(d.real(0.5));
    Hardtanh [2, 3] |d| Hardtanh::new().min_val(d.real(-1.0)).max_val(d.real(1.0));
    Softplus [2, 3] |d| Softplus::new().beta(d.real(1.0)).threshold(d.real(20.0));
    Threshold [2, 3] |d| Threshold::new(d.real(0.0), d.real(1.0));
    RReLU [2, 3] |d| RReLU::new().lower(d.real(0.1)).upper(d.real(0.3));
    PReLU [2, 3] |d| PReLU::new().num_parameters(d.n(3)).init(d.real(0.25)).dtype(d.dtype());
    Softmax2d [2, 3, 2, 2] |d| Softmax2d::new();
    Softmax [2, 3] |d| Softmax::new(d.axis(2));
    Softmin [2, 3] |d| Softmin::new(d.axis(2));
    LogSoftmax [2, 3] |d| LogSoftmax::new(d.axis(2));
    GLU [2, 4] |d| GLU::new(d.axis(2));
    Dropout [2, 3] |d| Dropout::new(d.real(0.5));
    Dropout1d [2, 3, 2] |d| Dropout1d::new(d.real(0.5));
    Dropout2d [2, 3, 2, 2] |d| Dropout2d::new(d.real(0.5));
    Dropout3d [2, 3, 2, 2, 1] |d| Dropout3d::new(d.real(0.5));
    AlphaDropout [2, 3] |d| AlphaDropout::new(d.real(0.5));
    FeatureAlphaDropout [2, 3, 2] |d| FeatureAlphaDropout::new(d.real(0.5));
    Linear [2, 4] |d| Linear::new(d.n(4), d.n(3)).bias(d.flag()).dtype(d.dtype());
    LazyLinear [2, 4] |d| LazyLinear::new(d.n(3)).bias(d.flag()).dtype(d.dtype());
    Identity [2, 3] |d| Identity::new();
    Flatten [2, 3, 2] |d| Flatten::new().start_dim(d.axis(3)).end_dim(d.axis(3));
    Unflatten [2, 4] |d| Unflatten::new(d.axis(2), d.ints(&[2, 2]));
    ChannelShuffle [2, 4, 2] |d| ChannelShuffle::new(d.n(2));
    PixelShuffle [2, 4, 2, 2] |d| PixelShuffle::new(d.n(2));
    PixelUnshuffle [2, 1, 4, 4] |d| PixelUnshuffle::new(d.n(2));
    Embedding [] |d| Embedding::new(d.n(5), d.n(3)).padding_idx(d.maybe(|d| d.axis(5))).dtype(d.dtype());
    Conv1d [2, 3, 7] |d| conv::<1>(d);
    Conv2d [2, 3, 5, 4] |d| conv::<2>(d);
    Conv3d [1, 3, 3, 4, 3] |d| conv::<3>(d);
    ConvTranspose1d [2, 3, 5] |d| transposed::<1>(d);
    ConvTranspose2d [2, 3, 3, 4] |d| transposed::<2>(d);
    ConvTranspose3d [1, 3, 2, 2, 3] |d| transposed::<3>(d);
    LazyConv2d [2, 3, 5, 4] |d| LazyConv2d::new(d.n(4), d.sizes(2)).stride(d.sizes(1)).padding(padding(d)).groups(d.n(1));
    LazyConvTranspose2d [2, 3, 3, 4] |d| LazyConvTranspose2d::new(d.n(4), d.sizes(2)).stride(d.sizes(2)).groups(d.n(1));
    LazyBatchNorm1d [2, 3, 4] |d| LazyBatchNorm1d::new();
    LazyInstanceNorm2d [2, 3, 4, 2] |d| LazyInstanceNorm2d::new();
    BatchNorm1d [2, 3, 4] |d| channels::<1, false>(d);
    BatchNorm2d [2, 3, 4, 2] |d| channels::<2, false>(d);
    BatchNorm3d [2, 3, 2, 2, 2] |d| channels::<3, false>(d);
    InstanceNorm1d [2, 3, 4] |d| channels::<1, true>(d);
    InstanceNorm2d [2, 3, 4, 2] |d| channels::<2, true>(d);
    InstanceNorm3d [2, 3, 2, 2, 2] |d| channels::<3, true>(d);
    LayerNorm [2, 3, 4] |d| {
        LayerNorm::new(d.list(&[3, 4])).eps(d.real(1e-5)).elementwise_affine(d.flag()).bias(d.flag()).dtype(d.dtype())
    };
    RMSNorm [2, 3, 4] |d| RMSNorm::new(d.list(&[4])).eps(d.real(1e-5)).elementwise_affine(d.flag()).dtype(d.dtype());
    GroupNorm [2, 4, 3] |d| {
        GroupNorm::new(d.n(2), d.n(4)).eps(d.real(1e-5)).affine(d.flag()).bias(d.flag()).dtype(d.dtype())
    };
    LocalResponseNorm [2, 4, 3] |d| LocalResponseNorm::new(d.n(2)).alpha(d.real(1e-4)).beta(d.real(0.75)).k(d.real(1.0));
    CrossMapLRN2d [2, 4, 3, 2] |d| CrossMapLRN2d::new(d.n(2)).alpha(d.real(1e-4)).beta(d.real(0.75)).k(d.real(1.0));
    MaxPool1d [2, 3, 7] |d| MaxPool1d::new(d.sizes(2)).stride(d.sizes(2)).padding(d.sizes(0)).dilation(d.sizes(1));
    MaxPool2d [2, 3, 5, 4] |d| MaxPool2d::new(d.sizes(2)).padding(d.sizes(0)).ceil_mode(d.flag());
    MaxPool3d [1, 2, 3, 4, 3] |d| MaxPool3d::new(d.sizes(2)).stride(d.sizes(1)).dilation(d.sizes(1));
    AvgPool1d [2, 3, 7] |d| AvgPool1d::new(d.sizes(2)).stride(d.sizes(2)).padding(d.sizes(0)).ceil_mode(d.flag());
    AvgPool2d [2, 3, 5, 4] |d| AvgPool2d::new(d.sizes(2)).padding(d.sizes(1)).divisor_override(d.int(2));
    AvgPool3d [1, 2, 3, 4, 3] |d| AvgPool3d::new(d.sizes(2)).count_include_pad(d.flag());
    LPPool1d [2, 3, 7] |d| LPPool1d::new(d.real(2.0), d.sizes(2)).stride(d.sizes(2)).ceil_mode(d.flag());
    LPPool2d [2, 3, 5, 4] |d| LPPool2d::new(d.real(2.0), d.sizes(2));
    LPPool3d [1, 2, 3, 4, 3] |d| LPPool3d::new(d.real(2.0), d.sizes(2));
    AdaptiveAvgPool1d [2, 3, 7] |d| AdaptiveAvgPool1d::new(d.n(3));
    AdaptiveAvgPool2d [2, 3, 5, 4] |d| AdaptiveAvgPool2d::new([d.n(3), d.n(2)]);
    AdaptiveAvgPool3d [1, 2, 3, 4, 3] |d| AdaptiveAvgPool3d::new(d.n(2));
    AdaptiveMaxPool1d [2, 3, 7] |d| AdaptiveMaxPool1d::new(d.n(3));
    AdaptiveMaxPool2d [2, 3, 5, 4] |d| AdaptiveMaxPool2d::new([d.n(3), d.n(2)]);
    AdaptiveMaxPool3d [1, 2, 3, 4, 3] |d| AdaptiveMaxPool3d::new(d.n(2));
    FractionalMaxPool2d [2, 3, 5, 5] |d| FractionalMaxPool2d::new(d.sizes(2)).output_ratio(d.real(0.6));
    FractionalMaxPool3d [1, 2, 5, 5, 5] |d| FractionalMaxPool3d::new(d.sizes(2)).output_size(d.sizes(2));
    Unfold [2, 3, 4, 4] |d| Unfold::new(d.sizes(2)).dilation(d.sizes(1)).padding(d.sizes(0)).stride(d.sizes(1));
    Fold [2, 12, 9] |d| Fold::new(d.sizes(4), d.sizes(2)).dilation(d.sizes(1)).padding(d.sizes(0)).stride(d.sizes(1));
    CircularPad1d [2, 3, 4] |d| CircularPad1d::new(pads(d, 1));
    CircularPad2d [2, 3, 4, 3] |d| CircularPad2d::new(pads(d, 2));
    CircularPad3d [1, 2, 3, 2, 2] |d| CircularPad3d::new(pads(d, 3));
    ReflectionPad1d [2, 3, 4] |d| ReflectionPad1d::new(pads(d, 1));
    ReflectionPad2d [2, 3, 4, 3] |d| ReflectionPad2d::new(pads(d, 2));
    ReflectionPad3d [1, 2, 3, 2, 2] |d| ReflectionPad3d::new(pads(d, 3));
    ReplicationPad1d [2, 3, 4] |d| ReplicationPad1d::new(pads(d, 1));
    ReplicationPad2d [2, 3, 4, 3] |d| ReplicationPad2d::new(pads(d, 2));
    ReplicationPad3d [1, 2, 3, 2, 2] |d| ReplicationPad3d::new(pads(d, 3));
    ZeroPad1d [2, 3, 4] |d| ZeroPad1d::new(pads(d, 1));
    ZeroPad2d [2, 3, 4, 3] |d| ZeroPad2d::new(pads(d, 2));
    ZeroPad3d [1, 2, 3, 2, 2] |d| ZeroPad3d::new(pads(d, 3));
    ConstantPad1d [2, 3, 4] |d| ConstantPad1d::new(pads(d, 1), d.real(1.0));
    ConstantPad2d [2, 3, 4, 3] |d| ConstantPad2d::new(pads(d, 2), d.real(1.0));
    ConstantPad3d [1, 2, 3, 2, 2] |d| ConstantPad3d::new(pads(d, 3), d.real(1.0));
    Upsample [2, 3, 4, 5] |d| Upsample::of(interpolate(d, 2));
    UpsamplingNearest2d [2, 3, 4, 5] |d| UpsamplingNearest2d::scale_factor(d.real(2.0));
    UpsamplingBilinear2d [2, 3, 4, 5] |d| UpsamplingBilinear2d::size(d.sizes(3));
    Sequential [2, 4] |d| Sequential::new().add(Linear::new(d.n(4), d.n(3))).add(ReLU).add(Linear::new(d.n(3), d.n(2)));
    TransformerEncoderLayer [2, 3, 4] |d| {
        let layer = TransformerEncoderLayer::new(d.n(4), d.n(2)).dim_feedforward(d.n(5)).dropout(d.real(0.1));
        let layer = layer.activation(d.pick(&["relu", "gelu", "", "tanh"])).layer_norm_eps(d.real(1e-5));
        layer.batch_first(d.flag()).norm_first(d.flag()).bias(d.flag()).dtype(d.dtype())
    };
    TransformerEncoder [2, 3, 4] |d| {
        let layer = TransformerEncoderLayer::new(d.n(4), d.n(2)).dim_feedforward(5);
        TransformerEncoder::new(&layer, d.few(1)).norm(LayerNorm::new(d.n(4)))
    };
};

pub const SEQUENCES: &[Call] = &[
    ("Bilinear", |d| {
        let layer = Bilinear::new(d.n(3), d.n(2), d.n(4)).bias(d.flag()).dtype(d.dtype());
        d.show(&layer);
        vec![layer.forward(&d.f(&[2, 3]), &d.f(&[2, 2]))]
    }),
    ("Embedding of indices", |d| {
        let mut layer = Embedding::new(d.n(5), d.n(3)).padding_idx(d.maybe(|d| d.axis(5))).norm_type(d.real(2.0));
        layer = layer.max_norm(d.maybe(|d| d.real(1.0))).scale_grad_by_freq(d.flag());
        let x = d.i(&[2, 3], 5);
        d.layer(&layer, &x)
    }),
    ("Embedding::from_pretrained", |d| {
        let layer = Embedding::from_pretrained(&d.f(&[5, 3])).freeze(d.flag());
        let x = d.i(&[2, 3], 5);
        d.layer(&layer, &x)
    }),
    ("EmbeddingBag", |d| {
        let mut layer = EmbeddingBag::new(d.n(5), d.n(3)).padding_idx(d.maybe(|d| d.axis(5))).dtype(d.dtype());
        layer = layer.mode(d.pick(&[BagMode::Sum, BagMode::Mean, BagMode::Max])).include_last_offset(d.flag());
        d.show(&layer);
        let ragged = d.flag();
        let shape: &[usize] = if ragged { &[4] } else { &[2, 2] };
        let offsets = ragged.then(|| d.i(&[2], 1));
        let weights = d.maybe(|d| d.part(shape));
        vec![layer.forward(&d.i(shape, 5), offsets.as_ref(), weights.as_ref())]
    }),
    ("MaxPool2d with indices", |d| {
        let pool = MaxPool2d::new(d.sizes(2)).stride(d.sizes(2)).padding(d.sizes(0)).ceil_mode(d.flag());
        let (y, at) = pool.forward_with_indices(&d.f(&[2, 3, 4, 4]));
        let back = MaxUnpool2d::new(d.sizes(2)).stride(d.sizes(2)).padding(d.sizes(0));
        let z = back.forward(&y, &at, d.maybe(|d| d.sizes(4)));
        vec![y, at, z]
    }),
    ("ConvTranspose2d sized", |d| {
        let conv = transposed::<2>(d);
        vec![conv.forward_sized(&d.f(&[2, 3, 3, 4]), d.sizes(6))]
    }),
    ("MultiheadAttention", |d| {
        let mut layer = MultiheadAttention::new(d.n(4), d.n(2)).dropout(d.real(0.0)).bias(d.flag()).dtype(d.dtype());
        layer = layer.add_bias_kv(d.flag()).add_zero_attn(d.flag()).batch_first(d.flag());
        if d.flag() {
            layer = layer.kdim(d.n(3)).vdim(d.n(5));
        }
        d.show(&layer);
        let mut o = MultiheadAttentionOptions::new().need_weights(d.flag()).average_attn_weights(d.flag());
        o = o.is_causal(d.pick(&[false, false, true]));
        if d.flag() {
            o = o.attn_mask(&d.mask(&[3, 4]));
        }
        if d.flag() {
            o = o.key_padding_mask(&d.mask(&[2, 4]));
        }
        let (y, weights) = layer.forward_with(&d.f(&[3, 2, 4]), &d.f(&[4, 2, 4]), &d.f(&[4, 2, 4]), &o);
        weights.into_iter().chain([y]).collect()
    }),
    ("multi_head_attention_forward", |d| {
        let o = MultiHeadAttentionForward {
            in_proj_weight: d.maybe(|d| d.f(&[12, 4])),
            in_proj_bias: d.maybe(|d| d.f(&[12])),
            out_proj_weight: d.maybe(|d| d.f(&[4, 4])),
            out_proj_bias: d.maybe(|d| d.f(&[4])),
            bias_k: d.maybe(|d| d.f(&[1, 1, 4])),
            bias_v: d.maybe(|d| d.f(&[1, 1, 4])),
            embed_dim_to_check: d.n(4),
            num_heads: d.n(2),
            add_zero_attn: d.flag(),
            dropout_p: d.real(0.1),
            need_weights: d.flag(),
            ..MultiHeadAttentionForward::new()
        };
        let (y, weights) = nn::multi_head_attention_forward(&d.f(&[3, 2, 4]), &d.f(&[5, 2, 4]), &d.f(&[5, 2, 4]), &o);
        weights.into_iter().chain([y]).collect()
    }),
    ("TransformerDecoderLayer", |d| {
        let layer = TransformerDecoderLayer::new(d.n(4), d.n(2)).dim_feedforward(d.n(5)).dropout(d.real(0.1));
        let layer = layer.norm_first(d.flag()).bias(d.flag());
        d.show(&layer);
        let mut o = DecoderOptions::new().tgt_is_causal(d.flag());
        if d.flag() {
            o = o.tgt_mask(&d.mask(&[3, 3])).memory_key_padding_mask(&d.mask(&[2, 5]));
        }
        vec![layer.forward_with(&d.f(&[3, 2, 4]), &d.f(&[5, 2, 4]), &o)]
    }),
    ("Transformer", |d| {
        let model = Transformer::new(d.n(4), d.n(2)).num_encoder_layers(d.few(1)).num_decoder_layers(d.few(1));
        let model = model.dim_feedforward(d.n(5));
        d.show(&model);
        vec![model.forward(&d.f(&[5, 2, 4]), &d.f(&[3, 2, 4])), Transformer::generate_square_subsequent_mask(d.few(3))]
    }),
    ("RNN", |d| {
        let layer = RNN::new(d.n(4), d.n(3)).num_layers(d.few(1)).bias(d.flag()).batch_first(d.flag());
        let layer = layer.dropout(d.real(0.0)).bidirectional(d.flag()).nonlinearity(d.pick(&["tanh", "relu", ""]));
        let layer = layer.dtype(d.dtype());
        d.show(&layer);
        let h0 = d.maybe(|d| d.f(&[1, 2, 3]));
        let (y, h) = layer.forward(&d.f(&[5, 2, 4]), h0.as_ref());
        vec![y, h]
    }),
    ("LSTM", |d| {
        let layer = LSTM::new(d.n(4), d.n(3)).num_layers(d.few(1)).bias(d.flag()).batch_first(d.flag());
        let layer = layer.dropout(d.real(0.0)).bidirectional(d.flag()).proj_size(d.n(0)).dtype(d.dtype());
        d.show(&layer);
        let (h0, c0) = (d.f(&[1, 2, 3]), d.f(&[1, 2, 3]));
        let (y, (h, c)) = layer.forward(&d.f(&[5, 2, 4]), d.flag().then_some((&h0, &c0)));
        vec![y, h, c]
    }),
    ("GRU of a packed sequence", |d| {
        let layer = GRU::new(d.n(4), d.n(3)).num_layers(d.few(1)).bidirectional(d.flag()).batch_first(d.flag());
        d.show(&layer);
        let lengths = d.list(&[5, 2]);
        let packed = pack_padded_sequence(&d.f(&[5, 2, 4]), lengths, d.pick(&[false, false, true]), d.flag());
        let (y, h) = layer.forward(&packed, None);
        let (padded, lengths) = pad_packed_sequence(&y, d.flag(), d.real(0.0), d.maybe(|d| d.n(6)));
        vec![y.data(), y.batch_sizes(), h, padded, lengths]
    }),
    ("PackedSequence", |d| {
        let sorted = d.maybe(|d| d.i(&[3], 3));
        let sizes = d.list(&[3, 2, 1]);
        let packed = PackedSequence::new(&d.f(&[6, 2]), sizes, sorted.as_ref());
        let (padded, lengths) = pad_packed_sequence(&packed, d.flag(), d.real(0.0), None);
        let other = packed.with_data(&d.f(&[6, 3]));
        let mut out = nn::unpack_sequence(&other);
        out.extend([packed.data(), packed.batch_sizes(), padded, lengths, other.data()]);
        out
    }),
    ("pad_sequence", |d| {
        let all = [d.f(&[3, 2]), d.f(&[2, 2]), d.f(&[1, 2])];
        let some: Vec<&Tensor> = all.iter().take(d.few(3)).collect();
        let side = d.pick(&[PaddingSide::Right, PaddingSide::Left]);
        let packed = pack_sequence(&some, d.flag());
        let lengths = d.list(&[3, 2, 1]);
        let padded = pad_sequence(&some, d.flag(), d.real(0.0), side);
        let mut out = unpad_sequence(&padded, lengths, d.flag());
        out.extend([padded, packed.data(), packed.batch_sizes()]);
        out
    }),
    ("cells", |d| {
        let (input, hidden) = (d.n(4), d.n(3));
        let rnn =
            RNNCell::new(input, hidden).bias(d.flag()).nonlinearity(d.pick(&["tanh", "relu", ""])).dtype(d.dtype());
        let (lstm, gru) = (LSTMCell::new(input, hidden), GRUCell::new(input, hidden));
        d.show(&rnn);
        d.show(&lstm);
        d.show(&gru);
        let (x, h, c) = (d.f(&[2, 4]), d.f(&[2, 3]), d.f(&[2, 3]));
        let given = d.flag();
        let (a, b) = lstm.forward(&x, given.then_some((&h, &c)));
        vec![rnn.forward(&x, given.then_some(&h)), gru.forward(&x, given.then_some(&h)), a, b]
    }),
    ("fusions", |d| {
        let (linear, norm) = (Linear::new(d.n(4), d.n(3)), channels::<1, false>(d));
        norm.eval();
        let mut out = vec![];
        if let Ok(fused) = fuse_linear_bn_eval(&linear, &norm) {
            out.push(fused.forward(&d.f(&[2, 4])));
        }
        if let Ok((weight, bias)) = fuse_bn_weights(&d.f(&[3, 4]), None, &norm.options()) {
            out.extend([weight, bias]);
        }
        out
    }),
];
