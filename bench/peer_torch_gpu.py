"""The peer on a GPU: one packed ESM-2 training step in PyTorch, compiled, with variable-length flash attention; all of it in bf16.

usage: peer_torch_gpu.py --size 8M --lengths FILE [--mode default|reduce-overhead|eager] [--steps 20] [--warmup 5]

FILE has a sequence's length a line (mdlbench --lengths writes it); T is their sum. Weights, gradients and Adam's moments are bf16,
the optimizer is the fused AdamW, gradients are clipped. Steps are queued without waiting for one another, and timed from start to
start by the GPU's clock. Prints one line of JSON.
"""
import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.attention.varlen import varlen_attn

SIZES = {"8M": (6, 320, 20), "35M": (12, 480, 20), "150M": (30, 640, 20), "650M": (33, 1280, 20), "3B": (36, 2560, 40)}


class Batch:
    """Packed tokens: ids and labels [T], the position of each token in its sequence [T], where sequences begin [n + 1]."""

    def __init__(self, lengths, device="cuda"):
        tokens = sum(lengths)
        self.ids = torch.randint(4, 24, (tokens,), device=device)
        self.labels = torch.where(torch.rand(tokens, device=device) < 0.15, self.ids, -100)
        self.position = torch.cat([torch.arange(n) for n in lengths]).to(device)
        self.starts = torch.tensor([0] + lengths).cumsum(0).to(torch.int32).to(device)
        self.longest = max(lengths)


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, x, cos, sin, starts, longest):
        tokens, width = x.shape
        q, k, v = self.qkv(x).view(tokens, 3, self.heads, width // self.heads).unbind(1)

        def rotate(t):
            a, b = t.chunk(2, -1)
            return (t * cos + torch.cat((-b, a), -1) * sin).to(v.dtype)

        attended = varlen_attn(rotate(q), rotate(k), v, starts, starts, longest, longest)
        if isinstance(attended, tuple):
            attended = attended[0]
        return self.out(attended.reshape(tokens, width))

    def forward(self, x, cos, sin, starts, longest):
        x = x + self.attend(self.norm1(x), cos, sin, starts, longest)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):
    def __init__(self, layers, width, heads):
        super().__init__()
        self.embed = nn.Embedding(33, width)
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(layers)])
        self.norm, self.dense, self.head_norm = nn.LayerNorm(width), nn.Linear(width, width), nn.LayerNorm(width)
        self.bias, self.head_dim = nn.Parameter(torch.zeros(33)), width // heads
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids, position, labels, starts, longest):
        x = self.embed(ids)
        angle = position[:, None].float() / (10000 ** (torch.arange(0, self.head_dim, 2, device=x.device).float() / self.head_dim))
        angle = torch.cat((angle, angle), -1)
        cos, sin = angle.cos()[:, None].to(x.dtype), angle.sin()[:, None].to(x.dtype)
        for layer in self.layers:
            x = layer(x, cos, sin, starts, longest)
        y = self.head_norm(F.gelu(self.dense(self.norm(x))))
        return F.cross_entropy((F.linear(y, self.embed.weight) + self.bias).float(), labels)


def make_step(size, lengths, mode):
    model, batch = Model(*SIZES[size]).to("cuda", torch.bfloat16), Batch(lengths)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4, fused=True)
    forward = model if mode == "eager" else torch.compile(model, mode=mode)

    def step():
        torch.compiler.cudagraph_mark_step_begin()
        loss = forward(batch.ids, batch.position, batch.labels, batch.starts, batch.longest)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach().clone()  # graphs write the next loss to the same place

    return step


def time_steps(step, warmup, steps):
    """Milliseconds from each step's start to the next one's."""
    for _ in range(warmup):
        step()
    torch.cuda.synchronize()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    for event in events[:-1]:
        event.record()
        step()
    events[-1].record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) for a, b in zip(events, events[1:])]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--size", default="8M", choices=SIZES)
    p.add_argument("--lengths", required=True)
    p.add_argument("--mode", default="default", choices=["default", "reduce-overhead", "eager"])
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--warmup", type=int, default=5)
    p.add_argument("--serve", action="store_true", help="time again for each line of standard input")
    args = p.parse_args()
    with open(args.lengths) as f:
        lengths = [int(line) for line in f]
    torch.manual_seed(0)
    begin = time.time()
    step = make_step(args.size, lengths, args.mode)
    loss = step().item()
    first = time.time() - begin
    while True:
        ms = statistics.median(time_steps(step, args.warmup, args.steps))
        print(json.dumps({
            "torch": torch.__version__, "mode": args.mode, "ms": ms, "tokens_per_second": sum(lengths) / ms * 1e3,
            "first_step_s": round(first, 1), "first_loss": loss, "last_loss": step().item(),
            "memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        }), flush=True)
        if not args.serve or not sys.stdin.readline():
            break


if __name__ == "__main__":
    main()
