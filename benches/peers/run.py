#!/usr/bin/env python3
"""Limpid beside PyTorch on this machine: installs PyTorch, runs both in turn, prints the table.

benches/peers/run.py [--pairs N] [--threads N] [--only NAME,...] [--captured] [--python PROGRAM]

Needs Python 3.9 or later, cargo, and some minutes; PyTorch goes into target/peers (a virtual environment; --python takes
one that has it already). Each run is a process of its own, and the two take turns, so that whatever else the machine does
happens to both. The ratio is the median of the pairs' ratios; below 1 Limpid is the faster. The limit is what the
arithmetic or the bytes of the case take at the rates that `limpid bench --limits` has measured.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def has_torch(python):
    return subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0


def python_with_torch():
    """The interpreter of an environment under target/ that has PyTorch."""
    folder = ROOT / "target" / "peers"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    if not has_torch(python):
        print("installing PyTorch …", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "torch", "numpy"], check=True)
    return python


def built():
    """The program, built."""
    command = ["cargo", "build", "--release", "--package", "limpid-cli", "--message-format", "json-render-diagnostics"]
    lines = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    messages = map(json.loads, lines)
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "limpid")


def row(command):
    """What a run says in its last line."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def limit_us(limits, case):
    rate = limits["cached_gbs"] if case["over"] <= limits["cached_bytes"] else limits["memory_gbs"]
    return max(case["flop"] / limits["gflops"], case["bytes"] / rate) / 1e3


def time(us):
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if us >= size:
            return f"{us / size:.3g} {unit}"
    return f"{us:.3g} µs"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="how often the two take turns (default: 5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of both (default: all processors)")
    parser.add_argument("--only", help="these cases only, separated by commas")
    parser.add_argument("--captured", action="store_true", help="steps of networks captured, not recorded each time")
    parser.add_argument("--python", help="an interpreter that has PyTorch")
    options = parser.parse_args()
    python = options.python or python_with_torch()
    threads = ["--threads", str(options.threads)]
    ours = [built(), "bench"]
    peer = [python, HERE / "cases.py"]
    names = [subprocess.run(c + ["--list"], capture_output=True, text=True, check=True).stdout.split() for c in (ours, peer)]
    wanted = options.only.split(",") if options.only else names[0]
    unknown = [name for name in wanted if name not in names[0]]
    if unknown:
        sys.exit(f"no case is called {', '.join(unknown)}; there are: {', '.join(names[0])}")
    limits = row(ours + ["--limits", "--json"] + threads)
    print(f"{options.threads} threads: {limits['gflops']:.0f} GFLOP/s, {limits['cached_gbs']:.0f} GB/s in caches, "
          f"{limits['memory_gbs']:.0f} GB/s in memory; medians of {options.pairs} pairs\n")
    print("| case | Limpid | PyTorch | ratio | seen | limit | share of the limit | MB | PyTorch's MB |")
    print("|---|--:|--:|--:|---|--:|--:|--:|--:|")
    logs, failed = [], False
    for name in (n for n in wanted if n in names[1]):
        pairs = []
        try:
            for _ in range(options.pairs):
                one = ["--only", name, "--json"] + threads
                pairs.append((row(ours + one + ["--captured"] * options.captured), row(peer + one)))
        except RuntimeError as error:
            failed = True
            print(f"| {name} | failed: {error} |", flush=True)
            continue
        mine, theirs = (statistics.median(pair[i]["median_us"] for pair in pairs) for i in (0, 1))
        ratios = [a["median_us"] / b["median_us"] for a, b in pairs]
        ratio, limit = statistics.median(ratios), limit_us(limits, pairs[0][1])
        logs.append(math.log(ratio))
        memory = [max(pair[i].get("rss_mb") or 0 for pair in pairs) for i in (0, 1)]
        print(f"| {name} | {time(mine)} | {time(theirs)} | {ratio:.2f} | {min(ratios):.2f}–{max(ratios):.2f} | {time(limit)} | "
              f"{100 * limit / mine:.0f} % | {memory[0]:.0f} | {memory[1]:.0f} |", flush=True)
    if logs:
        print(f"\ngeometric mean of {len(logs)} ratios: {math.exp(sum(logs) / len(logs)):.3f}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
