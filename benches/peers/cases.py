"""PyTorch's side of the comparison: the cases of `limpid bench` under the same names.

python cases.py [--list] [--json] [--only NAME,...] [--threads N]

Every case says how long a step takes, and how much arithmetic and how many bytes it is: its bound on any machine.
"""
import argparse
import json
import os
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

import models

BATCHES = 4
CASES = {}


class Case:
    """What is repeated; the operations and the bytes of a step; and the bytes that it goes over, which tell whether they
    stay in caches."""

    def __init__(self, step, flop=0.0, bytes=0.0, over=None):
        self.step, self.flop, self.bytes, self.over = step, flop, bytes, over or bytes


def case(name, prepare):
    CASES[name] = prepare


def in_turns(inputs, f):
    turn = 0

    def step():
        nonlocal turn
        turn += 1
        return f(*inputs[turn % len(inputs)])
    return step


def multiply_adds(model, *inputs):
    """Those of a forward pass: of all layers, and of the first one, which needs no gradient of its input."""
    counts = []

    def count(layer, given, made):
        if isinstance(layer, nn.Linear):
            counts.append(made.numel() * layer.in_features)
        elif isinstance(layer, nn.Conv2d):
            counts.append(made.numel() * layer.weight[0].numel())
        elif isinstance(layer, (nn.LSTM, nn.GRU)):
            steps = given[0].shape[0] * given[0].shape[1]
            counts.append(steps * layer.weight_ih_l0.numel())
            counts.append(steps * layer.weight_hh_l0.numel())
        elif isinstance(layer, models.Attention):
            batch, heads, queries, width = given[0].shape
            counts.append(batch * heads * queries * (queries + 1) * width)

    hooks = [layer.register_forward_hook(count) for layer in model.modules()]
    with torch.no_grad():
        model(*inputs)
    for hook in hooks:
        hook.remove()
    first = 0 if inputs[0].dtype == torch.int64 else counts[0]
    return sum(counts), first


def parameter_bytes(model):
    return 4 * sum(p.numel() for p in model.parameters())


def training(name, model, x, y, optimizer, loss=F.cross_entropy):
    def prepare():
        net = model()
        update = optimizer(net.parameters())
        batches = [(x(), y()) for _ in range(BATCHES)]
        whole, first = multiply_adds(net, batches[0][0])

        def step(x, y):
            update.zero_grad()
            value = loss(net(x).flatten(0, -2), y)
            value.backward()
            update.step()
            return value.item()
        # The weights are read forward and backward, and with what the optimizer keeps they are read and written.
        return Case(in_turns(batches, step), 2.0 * (3 * whole - first), 10.0 * parameter_bytes(net))
    case(name, prepare)


def inference(name, model, x):
    def prepare():
        net = model().eval()
        inputs = [(x(),) for _ in range(BATCHES)]
        whole, _ = multiply_adds(net, *inputs[0])

        def step(x):
            with torch.no_grad():
                return net(x)
        return Case(in_turns(inputs, step), 2.0 * whole, parameter_bytes(net))
    case(name, prepare)


def gemm(n, dtype):
    def prepare():
        a, b, c = (torch.randn(n, n).to(dtype) for _ in range(3))
        return Case(in_turns([(a, b), (b, c), (c, a)], torch.mm), 2.0 * n ** 3, 3.0 * n * n * a.element_size())
    return prepare


def unary(f, *shape):
    def prepare():
        inputs = [(torch.randn(*shape),) for _ in range(2)]
        return Case(in_turns(inputs, f), 0.0, 2.0 * 4 * inputs[0][0].numel())
    return prepare


def copy(n):
    target = torch.empty(n)
    inputs = [(torch.randn(n),) for _ in range(2)]
    return Case(in_turns(inputs, target.copy_), 0.0, 2.0 * 4 * n)


def generate(prompt, count):
    net = models.gpt().eval()
    inputs = [(torch.randint(models.VOCABULARY, (1, prompt)),) for _ in range(BATCHES)]
    whole, _ = multiply_adds(net, torch.zeros(1, prompt + count - 1, dtype=torch.int64))

    def step(ids):
        with torch.no_grad():
            return net.generate(ids, count)
    weights = parameter_bytes(net)
    return Case(in_turns(inputs, step), 2.0 * whole, float(count * weights), weights)


def nearest(n, width, queries, k):
    base = torch.randn(n, width)
    inputs = [(torch.randn(queries, width),) for _ in range(BATCHES)]
    step = in_turns(inputs, lambda query: (query @ base.T).topk(k))
    return Case(step, 2.0 * queries * n * width, 4.0 * n * width)


def lookup(rows, width, count):
    table = torch.randn(rows, width)
    inputs = [(torch.randint(rows, (count,)),) for _ in range(BATCHES)]
    return Case(in_turns(inputs, lambda index: F.embedding(index, table)), 0.0, 2.0 * 4 * count * width)


def adam(parameters):
    return torch.optim.Adam(parameters, 1e-3)


def normal(*shape):
    return lambda: torch.randn(*shape)


def below(limit, *shape):
    return lambda: torch.randint(limit, shape)


MB64 = (64 << 20) // 4
CHARACTERS = models.VOCABULARY

for size in (256, 1024, 2048, 4096):
    case(f"gemm_f32_{size}", gemm(size, torch.float32))
for size in (1024, 2048):
    case(f"gemm_bf16_{size}", gemm(size, torch.bfloat16))
case("copy_64MB", lambda: copy(MB64))
case("gelu_64MB", unary(F.gelu, MB64))
case("exp_64MB", unary(torch.exp, MB64))
case("softmax_4096x1024", unary(lambda x: x.softmax(-1), 4096, 1024))
case("layernorm_4096x1024", unary(lambda x: F.layer_norm(x, (1024,)), 4096, 1024))
training("train_xor_2-8-1_b4_sgd", models.xor,
         lambda: torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
         lambda: torch.tensor([[0.0], [1.0], [1.0], [0.0]]), lambda p: torch.optim.SGD(p, 0.1), F.mse_loss)
training("train_mlp_784-512-512-10_b128_adam", models.mlp, normal(128, 784), below(10, 128), adam)
training("train_cnn_mnist_b64_adam", models.cnn, normal(64, 1, 28, 28), below(10, 64), adam)
training("train_lstm_64-256_t128_b32_adam", models.lstm, normal(32, 128, 64), below(10, 32), adam)
training("train_gru_64-256_t128_b32_adam", models.gru, normal(32, 128, 64), below(10, 32), adam)
training("train_gpt_6x384_t256_b4_adamw", models.gpt, below(CHARACTERS, 4, 256), below(CHARACTERS, 4 * 256),
         lambda p: torch.optim.AdamW(p, 1e-3))
training("train_resnet18_64px_b16_sgd", models.resnet18, normal(16, 3, 64, 64), below(10, 16),
         lambda p: torch.optim.SGD(p, 0.01, momentum=0.9))
inference("infer_mlp_b1", models.mlp, normal(1, 784))
inference("infer_resnet18_224_b1", models.resnet18, normal(1, 3, 224, 224))
inference("infer_gpt_6x384_t256_b1", models.gpt, below(CHARACTERS, 1, 256))
case("generate_gpt_6x384_128tok", lambda: generate(16, 128))
inference("infer_lstm_b1_t128", models.lstm, normal(1, 128, 64))
case("knn_exact_100kx384_q32_top10", lambda: nearest(100_000, 384, 32, 10))
case("embedding_lookup_50000x256_b4096", lambda: lookup(50_000, 256, 4096))


def measure(step, budget):
    """Median and least time of a step in microseconds: short steps are timed in groups."""
    for _ in range(5):
        step()
    begin = time.perf_counter()
    step()
    group = max(1, int(200e-6 / max(time.perf_counter() - begin, 1e-7)))
    times, begin = [], time.perf_counter()
    while len(times) < 7 or (time.perf_counter() - begin < budget and len(times) < 2000):
        start = time.perf_counter()
        for _ in range(group):
            step()
        times.append((time.perf_counter() - start) / group * 1e6)
    return statistics.median(times), min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.list:
        return print("\n".join(CASES))
    torch.set_num_threads(options.threads)
    budget = float(os.environ.get("PEER_BUDGET", 4))
    for name in options.only.split(",") if options.only else CASES:
        torch.manual_seed(0)
        made = CASES[name]()
        median, least = measure(made.step, budget)
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if options.json:
            row = dict(name=name, median_us=median, min_us=least, rss_mb=rss, flop=made.flop, bytes=made.bytes, over=made.over)
            print(json.dumps(row), flush=True)
        else:
            print(f"{name:36} {median:12.2f} us  least {least:12.2f} us {rss:8.1f} MB", flush=True)


if __name__ == "__main__":
    main()
