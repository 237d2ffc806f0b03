//! The networks that are measured: the peers' ones, written with the library as a user would.

use limpid::prelude::*;
use limpid::{Cell, Result};

/// 2 → 8 → 1: what learns exclusive or.
pub fn xor() -> Sequential {
    Sequential::new().add(Linear::new(2, 8)).add(Tanh).add(Linear::new(8, 1))
}

/// 784 → 512 → 512 → 10.
pub fn mlp() -> Sequential {
    Sequential::new()
        .add(Linear::new(784, 512))
        .add(ReLU)
        .add(Linear::new(512, 512))
        .add(ReLU)
        .add(Linear::new(512, 10))
}

/// Two convolutions and two linear layers, for pictures of 28 × 28.
pub fn cnn() -> Sequential {
    Sequential::new()
        .add(Conv2d::new(1, 32, 3))
        .add(ReLU)
        .add(Conv2d::new(32, 64, 3))
        .add(ReLU)
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Linear::new(9216, 128))
        .add(ReLU)
        .add(Linear::new(128, 10))
}

/// One recurrent layer over `[batch, time, 64]`, and a linear one on its last hidden state.
#[derive(Module)]
pub struct Recurrent<R: Module> {
    rnn: R,
    head: Linear,
}

pub fn lstm() -> Recurrent<LSTM> {
    Recurrent { rnn: LSTM::new(64, 256).batch_first(true), head: Linear::new(256, 10) }
}

pub fn gru() -> Recurrent<GRU> {
    Recurrent { rnn: GRU::new(64, 256).batch_first(true), head: Linear::new(256, 10) }
}

impl Forward for Recurrent<LSTM> {
    #[forward]
    fn forward(&self, x: &Tensor) -> Tensor {
        let (hidden, _) = self.rnn.forward(x, None);
        self.head.forward(&hidden.select(1, -1))
    }
}

impl Forward for Recurrent<GRU> {
    #[forward]
    fn forward(&self, x: &Tensor) -> Tensor {
        let (hidden, _) = self.rnn.forward(x, None);
        self.head.forward(&hidden.select(1, -1))
    }
}

/// A transformer's block: attention and a feed-forward network, each on a norm of what it is added to.
#[derive(Module)]
pub struct Block {
    ln1: LayerNorm,
    ln2: LayerNorm,
    qkv: Linear,
    proj: Linear,
    up: Linear,
    down: Linear,
    #[module(skip)]
    heads: usize,
}

impl Block {
    fn new(width: usize, heads: usize) -> Block {
        Block {
            ln1: LayerNorm::new([width]),
            ln2: LayerNorm::new([width]),
            qkv: Linear::new(width, 3 * width),
            proj: Linear::new(width, width),
            up: Linear::new(width, 4 * width),
            down: Linear::new(4 * width, width),
            heads,
        }
    }

    #[forward]
    fn forward(&self, x: &Tensor, cache: Option<&mut Cache>) -> Tensor {
        let [batch, time, width] = x.dims();
        // [batch, time, width] → [3, batch, heads, time, width of a head]
        let sizes = [batch, time, 3, self.heads, width / self.heads];
        let qkv = self.qkv.forward(&self.ln1.forward(x)).view(sizes).permute([2, 0, 3, 1, 4]);
        let [q, k, v] = &qkv.unbind(0)[..] else { unreachable!("three parts") };
        let causal = AttentionOptions::new().is_causal(time > 1);
        let seen = match cache {
            Some(cache) => cache.attend(q, k, v, causal),
            None => q.scaled_dot_product_attention(k, v, &causal),
        };
        let x = x + self.proj.forward(&seen.transpose(1, 2).view([batch, time, width]));
        &x + self.down.forward(&self.up.forward(&self.ln2.forward(&x)).gelu())
    }
}

/// Keys and values of one layer, `[1, heads, capacity, width of a head]`: a step writes its own in place, and tells
/// attention how many there are. So all steps have the same shapes, and one plan.
pub struct Cache {
    keys: Buffer,
    values: Buffer,
    len: usize,
}

impl Cache {
    fn new(heads: usize, capacity: usize, width: usize) -> Cache {
        let buffer = || Buffer::new(&Tensor::zeros([1, heads, capacity, width]));
        Cache { keys: buffer(), values: buffer(), len: 0 }
    }

    /// Attention of `q` to all keys until now, those of this step among them. Several at once are the first ones.
    fn attend(&mut self, q: &Tensor, k: &Tensor, v: &Tensor, options: AttentionOptions) -> Tensor {
        for (buffer, new) in [(&self.keys, k), (&self.values, v)] {
            Cell::write_at(buffer.cell(), 2, self.len, new);
        }
        self.len += k.size(2);
        let options = options.length(&Tensor::from(self.len as i64));
        q.scaled_dot_product_attention(&self.keys.tensor(), &self.values.tensor(), &options)
    }
}

/// A transformer that predicts the next of 65 characters: 6 blocks of width 384, 6 heads, up to 256 characters.
#[derive(Module)]
pub struct Gpt {
    tok: Embedding,
    pos: Embedding,
    blocks: Vec<Block>,
    ln: LayerNorm,
    head: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    width: usize,
}

pub fn gpt() -> Gpt {
    Gpt::new(Gpt::VOCABULARY, 256, 384, 6, 6)
}

impl Gpt {
    /// How many characters [`gpt`] knows.
    pub const VOCABULARY: usize = 65;

    pub fn new(vocab: usize, seq: usize, width: usize, heads: usize, layers: usize) -> Gpt {
        Gpt {
            tok: Embedding::new(vocab, width),
            pos: Embedding::new(seq, width),
            blocks: (0..layers).map(|_| Block::new(width, heads)).collect(),
            ln: LayerNorm::new([width]),
            head: Linear::new(width, vocab).bias(false),
            heads,
            width,
        }
    }

    /// The scores of what follows each of `ids`, which stand behind what is in the caches.
    #[forward]
    fn scores(&self, ids: &Tensor, caches: &mut [Cache]) -> Tensor {
        let past = caches.first().map_or(0, |cache| cache.len) as i64;
        let positions = Tensor::arange(0, ids.size(1) as i64, 1) + past;
        let mut x = self.tok.forward(ids) + self.pos.forward(&positions);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, caches.get_mut(i));
        }
        self.head.forward(&self.ln.forward(&x))
    }

    /// The `n` characters that follow `ids` `[1, time]`, each the likeliest.
    ///
    /// # Errors
    /// What computing them meets.
    pub fn generate(&self, ids: &Tensor, n: usize) -> Result<Tensor> {
        let (capacity, heads, width) = (ids.size(1) + n, self.heads, self.width);
        let mut caches: Vec<Cache> = self.blocks.iter().map(|_| Cache::new(heads, capacity, width / heads)).collect();
        let mut made: Vec<Tensor> = Vec::new();
        for _ in 0..n {
            let scores = self.scores(made.last().unwrap_or(ids), &mut caches);
            let next = scores.select(1, -1).argmax_keepdim(-1);
            next.eval()?;
            made.push(next);
        }
        Ok(Tensor::cat(&made.iter().collect::<Vec<_>>(), 1))
    }
}

impl Forward for Gpt {
    #[track_caller]
    fn forward(&self, ids: &Tensor) -> Tensor {
        self.scores(ids, &mut [])
    }
}

/// Two convolutions with norms, added to their input. He et al. (2015).
#[derive(Module)]
pub struct Residual {
    c1: Conv2d,
    b1: BatchNorm2d,
    c2: Conv2d,
    b2: BatchNorm2d,
    skip: Box<dyn Forward>,
}

impl Residual {
    fn new(from: usize, to: usize, stride: usize) -> Residual {
        let skip: Box<dyn Forward> = if stride == 1 && from == to {
            Box::new(Identity::new())
        } else {
            let conv = Conv2d::new(from, to, 1).stride(stride).bias(false);
            Box::new(Sequential::new().add(conv).add(BatchNorm2d::new(to)))
        };
        Residual {
            c1: Conv2d::new(from, to, 3).stride(stride).padding(1).bias(false),
            b1: BatchNorm2d::new(to),
            c2: Conv2d::new(to, to, 3).padding(1).bias(false),
            b2: BatchNorm2d::new(to),
            skip,
        }
    }
}

impl Forward for Residual {
    #[forward]
    fn forward(&self, x: &Tensor) -> Tensor {
        let y = self.b1.forward(&self.c1.forward(x)).relu();
        (self.b2.forward(&self.c2.forward(&y)) + self.skip.forward(x)).relu()
    }
}

/// The network of He et al. (2015) with 18 layers, for 10 classes.
pub fn resnet18() -> Sequential {
    let mut layers = Sequential::new()
        .add(Conv2d::new(3, 64, 7).stride(2).padding(3).bias(false))
        .add(BatchNorm2d::new(64))
        .add(ReLU)
        .add(MaxPool2d::new(3).stride(2).padding(1));
    let mut from = 64;
    for (to, stride) in [(64, 1), (128, 2), (256, 2), (512, 2)] {
        layers = layers.add(Residual::new(from, to, stride)).add(Residual::new(to, to, 1));
        from = to;
    }
    layers.add(AdaptiveAvgPool2d::new(1)).add(Flatten::new()).add(Linear::new(512, 10))
}
