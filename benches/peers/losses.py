"""Writes the losses that `limpid bench --check` compares with: PyTorch's first 20 of each training case, from weights and
batches by formula.

python benches/peers/losses.py --double > crates/cli/bench/losses.tsv

The file is in f64. Without --double it is f32: how far that is from f64 says what rounding alone does to a case.
"""
import sys

import torch
from torch.nn import functional as F

import models

DTYPE = torch.float64 if "--double" in sys.argv else torch.float32


def formula(shape, t, scale):
    i = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (scale * torch.cos(0.7 * i + 0.3 + t)).float().reshape(shape).to(DTYPE)


def below(limit, i, *shape):
    return ((torch.arange(torch.Size(shape).numel()) * 7 + i) % limit).reshape(shape)


def print_losses(name, model, optimizer, x, y, loss=F.cross_entropy):
    model = model.to(DTYPE)
    with torch.no_grad():
        for t, p in enumerate(model.parameters()):
            fan = p[0].numel() if p.dim() > 1 else p.numel()
            p.copy_(formula(p.shape, t, 1 / fan ** 0.5))
    optimizer = optimizer(model.parameters())
    values = []
    for i in range(20):
        optimizer.zero_grad()
        value = loss(model(x(i)).flatten(0, -2), y(i))
        value.backward()
        optimizer.step()
        values.append(repr(value.item()))
    print(name, *values, flush=True)


def adam(parameters):
    return torch.optim.Adam(parameters, 1e-3)


def picture(*shape):
    return lambda i: formula(shape, 100 + i, 1.0)


def digits(n):
    return lambda i: below(10, i, n)


print_losses("train_xor_2-8-1_b4_sgd", models.xor(), lambda p: torch.optim.SGD(p, 0.1),
             lambda i: torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=DTYPE),
             lambda i: torch.tensor([[0.0], [1.0], [1.0], [0.0]], dtype=DTYPE), F.mse_loss)
print_losses("train_mlp_784-512-512-10_b128_adam", models.mlp(), adam, picture(128, 784), digits(128))
print_losses("train_cnn_mnist_b64_adam", models.cnn(), adam, picture(64, 1, 28, 28), digits(64))
print_losses("train_lstm_64-256_t128_b32_adam", models.lstm(), adam, picture(32, 128, 64), digits(32))
print_losses("train_gru_64-256_t128_b32_adam", models.gru(), adam, picture(32, 128, 64), digits(32))
print_losses("train_gpt_6x384_t256_b4_adamw", models.gpt(), lambda p: torch.optim.AdamW(p, 1e-3),
             lambda i: below(models.VOCABULARY, i, 4, 256), lambda i: below(models.VOCABULARY, i, 4 * 256))
print_losses("train_resnet18_64px_b16_sgd", models.resnet18(), lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
             picture(16, 3, 64, 64), digits(16))
