"""Writes losses.tsv: PyTorch's first 20 losses of the training cases, weights and batches by formula.

python losses.py > losses.tsv      (torch 2.x on the CPU)
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


def formula(shape, t, scale):
    n = 1
    for s in shape:
        n *= s
    i = torch.arange(n, dtype=torch.float64)
    return (scale * torch.cos(0.7 * i + 0.3 + t)).float().reshape(shape)


def losses(model, optimizer, loss, batch):
    with torch.no_grad():
        for t, p in enumerate(model.parameters()):
            p.copy_(formula(p.shape, t, 1 / p.shape[-1] ** 0.5))
    optimizer = optimizer(model.parameters())
    out = []
    for i in range(20):
        x, y = batch(i)
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        out.append(value.item())
    return out


xor = losses(
    nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)),
    lambda p: torch.optim.SGD(p, 0.1),
    F.mse_loss,
    lambda i: (torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), torch.tensor([[0.0], [1], [1], [0]])),
)
mlp = losses(
    nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)),
    lambda p: torch.optim.Adam(p, 1e-3),
    F.cross_entropy,
    lambda i: (formula((128, 784), 100 + i, 1.0), (torch.arange(128) * 7 + i) % 10),
)
for name, values in (("train_xor_2-8-1_b4_sgd", xor), ("train_mlp_784-512-512-10_b128_adam", mlp)):
    print(name, *(repr(v) for v in values))
