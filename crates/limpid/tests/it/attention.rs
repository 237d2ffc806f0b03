//! Attention and transformers: torch's numbers and names, masks, shared keys, and what taps see of them.

use limpid::nn::{MultiHeadAttentionForward, multi_head_attention_forward};
use limpid::prelude::*;
use limpid::{AttentionOptions, Result, stats};

fn f64s(t: &Tensor) -> Vec<f64> {
    t.to_vec::<f64>().unwrap()
}

#[track_caller]
fn close(ours: &Tensor, expected: &[f64], tolerance: f64) {
    let ours = f64s(ours);
    assert_eq!(ours.len(), expected.len());
    for (i, (a, b)) in ours.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance || (a.is_nan() && b.is_nan()), "element {i} is {a}, not {b}");
    }
}

/// sin(1.3·i + 0.2)
fn wave<const N: usize>(shape: [usize; N]) -> Tensor {
    let n = shape.iter().product::<usize>();
    Tensor::from_vec((0..n).map(|i| (1.3 * i as f64 + 0.2).sin()).collect(), shape)
}

/// Parameter k becomes cos(0.7·i + k)/2.
fn fill<M: Module>(module: M) -> M {
    for (k, (_, p)) in module.named_parameters().into_iter().enumerate() {
        let values = (0..p.numel()).map(|i| (0.7 * i as f64 + k as f64).cos() * 0.5).collect();
        p.set(&Tensor::from_vec::<f64>(values, p.shape())).unwrap();
    }
    module
}

fn bools<const N: usize>(bits: &str, shape: [usize; N]) -> Tensor {
    Tensor::from_bools(&bits.chars().map(|c| c == '1').collect::<Vec<_>>(), shape)
}

const F64: DType = DType::F64;

/// Printed by PyTorch 2.15 for the same parameters and inputs, of both kinds of mask and of all extra keys.
#[test]
fn multihead_attention_is_torchs() {
    let made = MultiheadAttention::new(4, 2).add_bias_kv(true).add_zero_attn(true).batch_first(true);
    let attention = fill(made.dtype(F64));
    let (q, k) = (wave([2, 3, 4]), wave([2, 2, 4]) * 2.0);
    let options = MultiheadAttentionOptions::new()
        .key_padding_mask(&bools("0100", [2, 2]))
        .attn_mask(&wave([4, 3, 2]))
        .average_attn_weights(false);
    let (y, weights) = attention.forward_with(&q, &k, &k, &options);
    let first = [
        0.297528901297,
        0.247190846049,
        0.661562209618,
        0.201562511172,
        0.307309497331,
        0.280961449887,
        0.588142778797,
        0.306146763253,
        0.257007375518,
        0.225085458291,
        0.743740115788,
        0.0688081807265,
    ];
    close(&y.select(0, 0), &first, 1e-9);
    let of_second_head = [
        0.327153261819,
        0.0,
        0.354526975096,
        0.318319763086,
        0.0661860410784,
        0.0,
        0.519865256509,
        0.413948702413,
        0.347996496839,
        0.0,
        0.382102864068,
        0.269900639092,
    ];
    close(&weights.unwrap().select(0, 0).select(0, 1), &of_second_head, 1e-9);
    let (fast, none) = attention.forward_with(&q, &k, &k, &options.need_weights(false));
    assert!(none.is_none());
    close(&fast, &f64s(&y), 1e-12);
}

/// A query that sees no key: NaN where weights are asked for, the bias alone where not. So does torch.
#[test]
fn a_query_that_sees_nothing_is_torchs() {
    let attention = fill(MultiheadAttention::new(4, 2).dtype(F64));
    let x = wave([3, 1, 4]);
    let rest = [
        -0.6720569616,
        -0.431445377317,
        0.0373304278832,
        -0.163538789574,
        -0.617168184987,
        -0.456638676334,
        0.0299170296089,
        -0.124375351608,
    ];
    let bias = [-0.4949962483, -0.424050015855, -0.153666434989, 0.188988871356];
    for (need, first) in [(true, [f64::NAN; 4]), (false, bias)] {
        let options = MultiheadAttentionOptions::new().attn_mask(&bools("111010000", [3, 3])).need_weights(need);
        let (y, _) = attention.forward_with(&x, &x, &x, &options);
        close(&y, &[&first[..], &rest].concat(), 1e-9);
    }
}

#[test]
fn a_transformer_is_torchs() {
    let made = Transformer::new(4, 2).num_encoder_layers(1).num_decoder_layers(1).dim_feedforward(6).dropout(0.0);
    let model = fill(made.activation("gelu").batch_first(true).dtype(F64));
    let names: Vec<String> = model.state_dict().iter().map(|(name, _)| name.to_owned()).collect();
    let attention = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"];
    let mut expected = Vec::new();
    for (half, attentions, norms) in [("encoder", 1, 2), ("decoder", 2, 3)] {
        for part in ["self_attn", "multihead_attn"].iter().take(attentions) {
            expected.extend(attention.map(|name| format!("{half}.layers.0.{part}.{name}")));
        }
        let norms = (1..=norms).map(|i| format!("norm{i}"));
        for part in ["linear1".to_owned(), "linear2".to_owned()].into_iter().chain(norms) {
            expected.extend(["weight", "bias"].map(|name| format!("{half}.layers.0.{part}.{name}")));
        }
        expected.extend(["weight", "bias"].map(|name| format!("{half}.norm.{name}")));
    }
    assert_eq!(names, expected);
    let padding = bools("001000", [2, 3]);
    let options = TransformerOptions::new()
        .tgt_mask(&Transformer::generate_square_subsequent_mask(2))
        .src_key_padding_mask(&padding)
        .memory_key_padding_mask(&padding);
    let theirs = [
        0.0317740130954,
        -0.101355631491,
        -0.306748696353,
        -0.0884701975635,
        -0.0817864207381,
        -0.0893754795314,
        -0.327298616652,
        -0.126686643893,
        0.204331118485,
        -0.349460006542,
        -0.18728539286,
        -0.956816475308,
        -0.0176748063959,
        -0.103941328028,
        -0.259862608279,
        -0.254589088285,
    ];
    close(&model.forward_with(&wave([2, 3, 4]), &wave([2, 2, 4]), &options), &theirs, 1e-9);
    let causal = options.tgt_is_causal(true);
    close(&model.forward_with(&wave([2, 3, 4]), &wave([2, 2, 4]), &causal), &theirs, 1e-9);
}

/// Torch computes a padded batch with nested tensors, in evaluation without gradients and where padding comes last.
#[test]
fn padding_is_zero_where_torchs_is() {
    let made = TransformerEncoderLayer::new(4, 2).dim_feedforward(6).dropout(0.0).batch_first(true).dtype(F64);
    let layer = fill(made);
    let encoder = TransformerEncoder::new(&layer, 2);
    encoder.eval();
    let src = wave([2, 3, 4]);
    let run = |encoder: &TransformerEncoder, bits: &str| {
        let options = EncoderOptions::new().src_key_padding_mask(&bools(bits, [2, 3]));
        no_grad(|| encoder.forward_with(&src, &options)).select(0, 0)
    };
    let kept = [-0.420649887405, 0.195994439571, 0.21570347845, 0.218111311438];
    close(&run(&encoder, "011000"), &[&kept[..], &[0.0; 8]].concat(), 1e-9);
    let unordered = [
        -0.416004431715,
        0.19367046181,
        0.216845810549,
        0.213337219223,
        -0.383652748103,
        0.194725539,
        0.195936453597,
        0.298474696438,
        -0.357912917184,
        0.196671085986,
        0.183487966055,
        0.360098485624,
    ];
    close(&run(&encoder, "101000"), &unordered, 1e-9);
    let plain = run(&encoder.clone().enable_nested_tensor(false), "011000");
    assert!(f64s(&plain)[4..].iter().all(|y| *y != 0.0));
    let with_gradients =
        encoder.forward_with(&src, &EncoderOptions::new().src_key_padding_mask(&bools("011000", [2, 3])));
    close(&with_gradients.select(0, 0), &f64s(&plain), 1e-12);
}

#[test]
fn a_decoder_looks_at_its_memory_as_torchs() {
    let layer = TransformerDecoderLayer::new(4, 2).dim_feedforward(6).dropout(0.0).norm_first(true).dtype(F64);
    let decoder = fill(TransformerDecoder::new(&layer, 2).norm(LayerNorm::new(4).dtype(F64)));
    let (tgt, memory) = (wave([2, 4]), wave([3, 4]) * 2.0);
    let options = DecoderOptions::new().memory_mask(&bools("010100", [2, 3]));
    let y = decoder.forward_with(&tgt, &memory, &options);
    let theirs = [
        0.385020671366,
        0.74694010715,
        0.736128315256,
        -0.660101448623,
        0.470994020592,
        0.608376293259,
        1.02374259688,
        -0.0828306167833,
    ];
    close(&y, &theirs, 1e-9);
    // What is barred for all has no influence; the order of the memory neither.
    let barred = DecoderOptions::new().memory_key_padding_mask(&bools("001", [3]));
    let expected = f64s(&decoder.forward_with(&tgt, &memory, &barred));
    close(&decoder.forward(&tgt, &memory.narrow(0, 0, 2)), &expected, 1e-12);
    close(&decoder.forward(&tgt, &memory.narrow(0, 0, 2).flip(0)), &expected, 1e-12);
}

#[test]
fn padding_leaves_what_a_shorter_sequence_gives() {
    let attention = fill(MultiheadAttention::new(4, 2).batch_first(true).dtype(F64));
    let x = wave([2, 5, 4]);
    let padding = bools("0001100000", [2, 5]);
    for need in [true, false] {
        let options = MultiheadAttentionOptions::new().key_padding_mask(&padding).need_weights(need);
        let (y, _) = attention.forward_with(&x, &x, &x, &options);
        let alone = x.select(0, 0).narrow(0, 0, 3);
        let (expected, _) = attention.forward(&alone, &alone, &alone);
        close(&y.select(0, 0).narrow(0, 0, 3), &f64s(&expected), 1e-12);
        let whole = x.select(0, 1);
        let (expected, _) = attention.forward(&whole, &whole, &whole);
        close(&y.select(0, 1), &f64s(&expected), 1e-12);
    }
}

#[test]
fn the_hint_is_the_causal_mask() {
    let (q, k) = (wave([2, 4, 3]), wave([2, 4, 3]) * 0.5);
    let causal = q.scaled_dot_product_attention(&k, &k, &AttentionOptions::new().is_causal(true));
    let mask = Tensor::ones([4, 4]).tril(0).ne(0.0);
    let masked = q.scaled_dot_product_attention(&k, &k, &AttentionOptions::new().attn_mask(&mask));
    close(&causal, &f64s(&masked), 1e-14);
    let added = Transformer::generate_square_subsequent_mask(4);
    let masked = q.scaled_dot_product_attention(&k, &k, &AttentionOptions::new().attn_mask(&added));
    close(&causal, &f64s(&masked), 1e-14);

    let layer = fill(TransformerEncoderLayer::new(4, 2).dim_feedforward(6).dropout(0.0).dtype(F64));
    let (x, options) = (wave([4, 2, 4]), EncoderOptions::new().src_mask(&added));
    let expected = f64s(&layer.forward_with(&x, &options));
    close(&layer.forward_with(&x, &options.is_causal(true)), &expected, 1e-12);
    // The future has no influence.
    let early =
        layer.forward_with(&x.narrow(0, 0, 2), &EncoderOptions::new().src_mask(&added.narrow(0, 0, 2).narrow(1, 0, 2)));
    close(&early, &expected[..16], 1e-12);
}

#[test]
fn grouped_queries_see_repeated_keys() {
    let (q, k, v) = (wave([2, 6, 3, 4]), wave([2, 2, 5, 4]) * 0.7, wave([2, 2, 5, 3]));
    let repeat = |t: &Tensor, times: usize| {
        let heads: Vec<Tensor> = (0..t.size(1) * times).map(|h| t.narrow(1, h / times, 1)).collect();
        Tensor::cat(&heads.iter().collect::<Vec<_>>(), 1)
    };
    let (wide_k, wide_v) = (repeat(&k, 3), repeat(&v, 3));
    let by_head = wave([6, 3, 5]);
    let by_sample = bools("1101111011", [2, 1, 1, 5]);
    let grouped = AttentionOptions::new().enable_gqa(true);
    for options in [
        grouped.clone(),
        grouped.clone().is_causal(true),
        grouped.clone().attn_mask(&by_head),
        grouped.clone().attn_mask(&by_sample),
        grouped.clone().attn_mask(&wave([2, 6, 3, 5])).scale(0.3),
    ] {
        let y = q.scaled_dot_product_attention(&k, &v, &options);
        let expected = q.scaled_dot_product_attention(&wide_k, &wide_v, &options.enable_gqa(false));
        assert_eq!(f64s(&y), f64s(&expected));
    }
    // As many heads of the values as of the queries.
    let y = q.scaled_dot_product_attention(&k, &wide_v, &grouped);
    close(&y, &f64s(&q.scaled_dot_product_attention(&k, &v, &grouped)), 1e-14);
}

/// Σ y·w of a layer with both attentions, padding and causality.
fn loss_of(layer: &TransformerDecoderLayer, memory: &Tensor, tgt: &Tensor) -> Tensor {
    let options = DecoderOptions::new()
        .tgt_mask(&Transformer::generate_square_subsequent_mask(3))
        .memory_key_padding_mask(&bools("0001", [1, 4]));
    (layer.forward_with(tgt, memory, &options) * wave([3, 1, 4])).sum(..)
}

#[test]
fn gradients_are_differences_once_and_twice() -> Result<()> {
    let layer = fill(TransformerDecoderLayer::new(4, 2).dim_feedforward(5).dropout(0.0).activation("gelu").dtype(F64));
    let (memory, tgt, way) = (wave([4, 1, 4]) * 1.3, wave([3, 1, 4]), wave([4, 1, 4]).cos());
    let slope = |x: &Tensor| -> Tensor {
        let loss = loss_of(&layer, x, &tgt);
        gradients(&loss, &[x]).unwrap().remove(0).unwrap()
    };
    let leaf = memory.requires_grad_();
    let first = slope(&leaf);
    let second = gradients(&(&first * &way).sum(..), &[&leaf])?.remove(0).unwrap();
    let h = 1e-5;
    let (up, down) = (&memory + &way * h, &memory - &way * h);
    let along = (loss_of(&layer, &up, &tgt) - loss_of(&layer, &down, &tgt)) / (2.0 * h);
    close(&(&first * &way).sum(..), &[along.item()?], 1e-8);
    let along = (slope(&up.requires_grad_()) - slope(&down.requires_grad_())) / (2.0 * h);
    close(&second, &f64s(&along), 1e-7);
    // The last key is padding: no way leads there.
    assert_eq!(f64s(&first)[12..], [0.0; 4]);
    Ok(())
}

fn bits(t: &Tensor) -> Vec<u8> {
    t.to_bytes().unwrap()
}

#[test]
fn taps_see_weights_without_changing_a_bit() -> Result<()> {
    manual_seed(5);
    let layer = TransformerEncoderLayer::new(8, 2).dim_feedforward(6).dropout(0.25).batch_first(true);
    let encoder = TransformerEncoder::new(&layer, 2);
    let x = Tensor::rand([2, 5, 8]);
    for training in [false, true] {
        if training {
            encoder.train()
        } else {
            encoder.eval()
        }
        manual_seed(6);
        let expected = bits(&encoder.forward(&x));
        manual_seed(6);
        let seen = tap(&encoder, "**.weights", || encoder.forward(&x))?;
        assert_eq!(seen.paths(), ["layers.0.self_attn.weights", "layers.1.self_attn.weights"]);
        assert_eq!(bits(seen.output()), expected);
        let (_, weights) = encoder.layers[0].self_attn.forward_with(
            &x,
            &x,
            &x,
            &MultiheadAttentionOptions::new().average_attn_weights(false),
        );
        let found = seen.get("layers.0.self_attn.weights").unwrap();
        assert_eq!(*found.shape(), Shape::from([2, 2, 5, 5]));
        if !training {
            close(found, &f64s(&weights.unwrap()), 1e-6);
        }
    }
    Ok(())
}

#[test]
fn taps_change_weights() -> Result<()> {
    let attention = fill(MultiheadAttention::new(4, 2).batch_first(true).dtype(F64));
    let x = wave([1, 3, 4]);
    let even = Tap::new("weights").replace("weights", |w| w.ones_like() / 3.0);
    let fast = MultiheadAttentionOptions::new().need_weights(false);
    let seen = even.run(&attention, || attention.forward_with(&x, &x, &x, &fast).0)?;
    let ones = Tensor::zeros_of([3, 3], F64);
    // Equal keys have equal weights.
    let same = x.narrow(1, 0, 1).expand_to(&Shape::from([1, 3, 4]));
    let options = MultiheadAttentionOptions::new().attn_mask(&ones);
    let (expected, weights) = attention.forward_with(&x, &same, &x, &options);
    close(&weights.unwrap(), &[1.0 / 3.0; 9], 1e-12);
    close(seen.output(), &f64s(&expected), 1e-12);
    Ok(())
}

/// dL/dweights = g·vᵀ, and the same loss without the weights as a result.
#[test]
fn taps_see_gradients_by_weights() -> Result<()> {
    let attention = fill(MultiheadAttention::new(4, 2).batch_first(true).dtype(F64));
    let (x, way) = (wave([1, 3, 4]), wave([1, 3, 4]).cos());
    let run = || (attention.forward(&x, &x, &x).0 * &way).sum(..);
    let seen = Tap::new("weights").gradients().run(&attention, run)?;
    let weight = attention.in_proj_weight.as_ref().unwrap().tensor().narrow(0, 8, 4);
    let v = x.linear(&weight, Some(&attention.in_proj_bias.as_ref().unwrap().tensor().narrow(0, 8, 4)));
    let heads = |t: &Tensor| t.reshape([1, 3, 2, 2]).permute([0, 2, 1, 3]);
    let g = heads(&way.matmul(&attention.out_proj.weight.tensor()));
    let expected = g.matmul(&heads(&v).transpose(2, 3));
    close(seen.gradient("weights").unwrap(), &f64s(&expected), 1e-12);
    Ok(())
}

/// An encoder of a user.
#[derive(Module)]
struct Halves {
    linear: Linear,
}

impl limpid::nn::Encode for Halves {
    fn encode(&self, src: &Tensor, _options: &EncoderOptions) -> Tensor {
        self.linear.forward(src) * 0.5
    }
}

#[test]
fn a_transformer_takes_another_encoder() -> Result<()> {
    manual_seed(3);
    let encoder = Halves { linear: Linear::new(4, 4) };
    let first = bits(&encoder.linear.weight.value()?);
    let model = Transformer::new(4, 2).num_encoder_layers(1).num_decoder_layers(1).dim_feedforward(8).dropout(0.0);
    let model = model.custom_encoder(encoder);
    assert_ne!(bits(&model.encoder.linear.weight.value()?), first, "Xavier's distribution, as torch");
    let names: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..2], ["encoder.linear.weight", "encoder.linear.bias"]);
    let (src, tgt) = (Tensor::rand([3, 2, 4]), Tensor::rand([5, 2, 4]));
    let expected = model.decoder.forward(&tgt, &(model.encoder.linear.forward(&src) * 0.5));
    assert_eq!(bits(&model.forward(&src, &tgt)), bits(&expected));
    let loss = model.forward(&src, &tgt).square().sum(..);
    SGD::new(&model).lr(0.1).step(&loss)?;
    Ok(())
}

/// Without queries, sequences or keys: no panic, and the bias alone where there is nothing to look at, as in torch.
#[test]
fn sizes_may_be_zero() -> Result<()> {
    let attention = fill(MultiheadAttention::new(4, 2).dtype(F64));
    let bias = f64s(&attention.out_proj.bias.as_ref().unwrap().value()?);
    for [l, n, s] in [[0, 2, 3], [3, 0, 2], [3, 2, 0]] {
        for need in [true, false] {
            let (q, k) = (wave([l, n, 4]).requires_grad_(), wave([s, n, 4]).requires_grad_());
            let padding = Tensor::zeros_of([n, s], DType::Bool);
            for options in
                [MultiheadAttentionOptions::new(), MultiheadAttentionOptions::new().key_padding_mask(&padding)]
            {
                let (y, weights) = attention.forward_with(&q, &k, &k, &options.need_weights(need));
                assert_eq!(*y.shape(), Shape::from([l, n, 4]));
                assert!(weights.is_none_or(|w| *w.shape() == Shape::from([n, l, s])));
                if s == 0 {
                    close(&y, &bias.repeat(l * n), 1e-12);
                }
                for (leaf, slope) in [&q, &k].iter().zip(gradients(&y.sum(..), &[&q, &k])?) {
                    assert!(slope.is_none_or(|slope| f64s(&slope).len() == leaf.numel()));
                }
            }
        }
    }
    let (q, k) = (wave([0, 4, 3, 2]).requires_grad_(), wave([0, 2, 3, 2]));
    let y = q.scaled_dot_product_attention(&k, &k, &AttentionOptions::new().enable_gqa(true));
    assert_eq!(*y.shape(), Shape::from([0, 4, 3, 2]));
    assert!(f64s(&gradients(&y.sum(..), &[&q])?.remove(0).unwrap()).is_empty());
    Ok(())
}

#[test]
fn first_values_are_torchs() -> Result<()> {
    manual_seed(1);
    let attention = MultiheadAttention::new(64, 4).add_bias_kv(true);
    let largest = |p: &Parameter| p.value().unwrap().abs().amax(..).item().unwrap();
    let bound = (6.0f64 / 256.0).sqrt();
    let packed = attention.in_proj_weight.as_ref().unwrap();
    assert!(largest(packed) <= bound && largest(packed) > 0.99 * bound);
    assert_eq!(largest(attention.in_proj_bias.as_ref().unwrap()), 0.0);
    assert_eq!(largest(attention.out_proj.bias.as_ref().unwrap()), 0.0);
    assert!(largest(&attention.out_proj.weight) <= 0.125);
    let row = attention.bias_k.as_ref().unwrap();
    let spread = row.value()?.square().mean(..).sqrt().item()?;
    assert!((spread - 0.125).abs() < 0.05, "{spread}");
    // A setter that draws again gives what a constructor with that argument would.
    manual_seed(2);
    let late = MultiheadAttention::new(8, 2).kdim(3).bias(false);
    let names: Vec<String> = late.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"]);
    manual_seed(2);
    let early = MultiheadAttention::new(8, 2).bias(false).kdim(3);
    assert_eq!(bits(&late.q_proj_weight.unwrap().value()?), bits(&early.q_proj_weight.unwrap().value()?));
    let whole = Transformer::new(8, 2).num_encoder_layers(2).num_decoder_layers(1).dim_feedforward(24);
    let weight = &whole.encoder.layers[1].linear1.weight;
    let bound = (6.0f64 / 32.0).sqrt();
    assert!(largest(weight) <= bound && largest(weight) > 0.95 * bound);
    assert_ne!(bits(&weight.value()?), bits(&whole.encoder.layers[0].linear1.weight.value()?));
    Ok(())
}

#[test]
fn stacked_layers_start_alike_and_go_apart() -> Result<()> {
    let layer = TransformerEncoderLayer::new(4, 2).dim_feedforward(6).dropout(0.0);
    let encoder = TransformerEncoder::new(&layer, 2).norm(LayerNorm::new(4));
    let weight = |i: usize| bits(&encoder.layers[i].self_attn.in_proj_weight.as_ref().unwrap().value().unwrap());
    let original = bits(&layer.self_attn.in_proj_weight.as_ref().unwrap().value()?);
    assert_eq!((weight(0), weight(1)), (original.clone(), original.clone()));
    let x = Tensor::rand([3, 2, 4]);
    SGD::new(&encoder).lr(0.5).step(&(encoder.forward(&x) * Tensor::rand([3, 2, 4])).sum(..))?;
    assert_ne!(weight(0), weight(1));
    assert_eq!(bits(&layer.self_attn.in_proj_weight.as_ref().unwrap().value()?), original);
    Ok(())
}

#[test]
fn one_sequence_and_axes_in_either_order_give_the_same() {
    let layers = [false, true].map(|first| {
        fill(TransformerEncoderLayer::new(4, 2).dim_feedforward(6).dropout(0.0).batch_first(first).dtype(F64))
    });
    let x = wave([3, 2, 4]);
    let expected = layers[0].forward(&x);
    close(&layers[1].forward(&x.transpose(0, 1)).transpose(0, 1), &f64s(&expected), 1e-12);
    for layer in &layers {
        close(&layer.forward(&x.select(1, 1)), &f64s(&expected.select(1, 1)), 1e-12);
    }
    // One product for what is one tensor, three for copies of it.
    let attention = &layers[0].self_attn;
    let (packed, _) = attention.forward(&x, &x, &x);
    let (single, _) = attention.forward(&x, &(&x * 1.0), &(&x * 1.0));
    let both = &x * 1.0;
    let (pair, _) = attention.forward(&x, &both, &both);
    close(&single, &f64s(&packed), 1e-12);
    close(&pair, &f64s(&packed), 1e-12);
}

#[test]
fn fixed_keys_take_the_place_of_projected_ones() {
    let x = wave([3, 2, 4]);
    let (k, v) = (wave([4, 5, 2]), wave([4, 5, 2]).cos());
    let arguments = MultiHeadAttentionForward::new()
        .embed_dim_to_check(4)
        .num_heads(2)
        .in_proj_weight(&wave([12, 4]))
        .static_k(&k)
        .static_v(&v)
        .key_padding_mask(&bools("0000100000", [2, 5]));
    let (y, weights) = multi_head_attention_forward(&x, &x, &x, &arguments);
    let q = x.linear(&wave([12, 4]).narrow(0, 0, 4), None).reshape([3, 2, 2, 2]).permute([1, 2, 0, 3]);
    let mask = bools("1111011111", [2, 1, 1, 5]);
    let [k, v] = [k, v].map(|t| t.reshape([2, 2, 5, 2]));
    let expected = q.scaled_dot_product_attention(&k, &v, &AttentionOptions::new().attn_mask(&mask));
    close(&y, &f64s(&expected.permute([2, 0, 1, 3])), 1e-12);
    assert_eq!(*weights.unwrap().shape(), Shape::from([2, 3, 5]));
}

#[test]
fn dropout_follows_the_seed_and_scales_are_no_plans() -> Result<()> {
    let (q, k) = (wave([2, 4, 3]), wave([2, 5, 3]));
    let dropped = |seed: u64, p: f64| {
        manual_seed(seed);
        bits(&q.scaled_dot_product_attention(&k, &k, &AttentionOptions::new().dropout_p(p)))
    };
    assert_eq!(dropped(1, 0.5), dropped(1, 0.5));
    assert_ne!(dropped(1, 0.5), dropped(2, 0.5));
    assert!(
        q.scaled_dot_product_attention(&k, &k, &AttentionOptions::new().dropout_p(1.0)).abs().sum(..).item()? == 0.0
    );
    let scaled = |scale: f64| q.scaled_dot_product_attention(&k, &k, &AttentionOptions::new().scale(scale));
    close(&scaled(1.0 / 3f64.sqrt()), &f64s(&q.scaled_dot_product_attention(&k, &k, &AttentionOptions::new())), 1e-14);
    let before = stats().plans;
    for scale in [0.1, 0.2, 0.3] {
        scaled(scale).eval()?;
    }
    assert_eq!(stats().plans, before);
    Ok(())
}
