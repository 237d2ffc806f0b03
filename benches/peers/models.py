"""The networks of `limpid bench` in PyTorch: the same layers under the same names (crates/cli/src/bench/models.rs)."""
import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY = 65


def xor():
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(),
        nn.Conv2d(32, 64, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10),
    )


class Recurrent(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.rnn = layer(64, 256, batch_first=True)
        self.head = nn.Linear(256, 10)

    def forward(self, x):
        hidden, _ = self.rnn(x)
        return self.head(hidden[:, -1])


def lstm():
    return Recurrent(nn.LSTM)


def gru():
    return Recurrent(nn.GRU)


class Attention(nn.Module):
    """Causal attention; with a cache, of the newest positions to all that it holds."""

    def forward(self, q, k, v, cache):
        time = q.shape[2]
        if cache is not None:
            k, v = cache.append(k, v)
        return F.scaled_dot_product_attention(q, k, v, is_causal=time > 1)


class Cache:
    """Keys and values of one layer, in memory for all positions."""

    def __init__(self, heads, capacity, width):
        self.memory = torch.zeros(2, 1, heads, capacity, width)
        self.len = 0

    def append(self, k, v):
        begin, self.len = self.len, self.len + k.shape[2]
        self.memory[0, :, :, begin:self.len] = k
        self.memory[1, :, :, begin:self.len] = v
        return self.memory[:, :, :, :self.len]


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.ln2 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.attention = Attention()
        self.heads = heads

    def forward(self, x, cache=None):
        batch, time, width = x.shape
        qkv = self.qkv(self.ln1(x)).view(batch, time, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = self.attention(q, k, v, cache)
        x = x + self.proj(seen.transpose(1, 2).reshape(batch, time, width))
        return x + self.down(F.gelu(self.up(self.ln2(x))))


class Gpt(nn.Module):
    def __init__(self, vocab=VOCABULARY, seq=256, width=384, heads=6, layers=6):
        super().__init__()
        self.tok = nn.Embedding(vocab, width)
        self.pos = nn.Embedding(seq, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        self.heads, self.width = heads, width

    def forward(self, ids, caches=None):
        caches = caches or [None] * len(self.blocks)
        past = caches[0].len if caches[0] else 0
        x = self.tok(ids) + self.pos(torch.arange(past, past + ids.shape[1]))
        for block, cache in zip(self.blocks, caches):
            x = block(x, cache)
        return self.head(self.ln(x))

    def generate(self, ids, count):
        caches = [Cache(self.heads, ids.shape[1] + count, self.width // self.heads) for _ in self.blocks]
        made = []
        for _ in range(count):
            ids = self(ids, caches)[:, -1:].argmax(-1)
            made.append(ids)
        return torch.cat(made, 1)


gpt = Gpt


class Residual(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.c1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.b1 = nn.BatchNorm2d(outside)
        self.c2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.b2 = nn.BatchNorm2d(outside)
        if stride == 1 and inside == outside:
            self.skip = nn.Identity()
        else:
            self.skip = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x):
        y = F.relu(self.b1(self.c1(x)))
        return F.relu(self.b2(self.c2(y)) + self.skip(x))


def resnet18():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inside = 64
    for outside, stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        layers += [Residual(inside, outside, stride), Residual(outside, outside, 1)]
        inside = outside
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
