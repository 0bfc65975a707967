"""The peer on the CPU: one packed ESM-2 training step in PyTorch, f32 or bf16 by autocast, eager or compiled; or its matrix products.

usage: peer_torch.py step [--size 8M] [--tokens 4096] [--bf16] [--eager] [--steps 6] | gemm [--tokens 4096] [--bf16]
Prints one line of JSON.
"""
import argparse
import json
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SIZES = {"8M": (6, 320, 20), "35M": (12, 480, 20)}
LENGTHS = [187, 412, 96, 640, 255, 318, 511, 129, 702, 280, 333, 141, 92]  # protein lengths; mean 315


def lengths_for(tokens):
    out, total, i = [], 0, 0
    while total < tokens:
        n = min(LENGTHS[i % len(LENGTHS)], tokens - total)
        out.append(n)
        total += n
        i += 1
    return out


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, cos, sin, lengths):
        tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(tokens, 3, self.heads, width // self.heads).unbind(1)

        def rotate(t):
            a, b = t.chunk(2, -1)
            return t * cos + torch.cat((-b, a), -1) * sin

        parts = zip(rotate(q).to(v.dtype).split(lengths), rotate(k).to(v.dtype).split(lengths), v.split(lengths))
        attended = [F.scaled_dot_product_attention(*(t.transpose(0, 1)[None] for t in qkv))[0].transpose(0, 1) for qkv in parts]
        x = x + self.out(torch.cat(attended).reshape(tokens, width))
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

    def forward(self, ids, position, labels, lengths):
        x = self.embed(ids)
        angle = position[:, None].float() / (10000 ** (torch.arange(0, self.head_dim, 2).float() / self.head_dim))
        angle = torch.cat((angle, angle), -1)
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        for layer in self.layers:
            x = layer(x, cos, sin, lengths)
        y = self.head_norm(F.gelu(self.dense(self.norm(x))))
        return F.cross_entropy((F.linear(y, self.embed.weight) + self.bias).float(), labels)


def time_step(args):
    torch.manual_seed(0)
    model, lengths = Model(*SIZES[args.size]), lengths_for(args.tokens)
    ids = torch.randint(4, 24, (args.tokens,))
    position = torch.cat([torch.arange(n) for n in lengths])
    labels = torch.where(torch.rand(args.tokens) < 0.15, ids, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4, fused=True)
    forward = model if args.eager else torch.compile(model)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = forward(ids, position, labels, lengths)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    start = time.time()
    step()
    first = time.time() - start
    step()
    seconds = []
    for _ in range(args.steps):
        start = time.time()
        step()
        seconds.append(time.time() - start)
    return {"ms": statistics.median(seconds) * 1e3, "tokens_per_second": args.tokens / statistics.median(seconds), "first_step_s": first}


def time_gemm(args):
    """The linear layers of one 8M layer, forward and both gradients, as y = x W^T; GFLOP/s over all."""
    total, flops, dtype = 0.0, 0, torch.bfloat16 if args.bf16 else torch.float32
    for out, inner in [(960, 320), (320, 320), (1280, 320), (320, 1280)]:
        x, w, d = (torch.randn(*dims).to(dtype) for dims in [(args.tokens, inner), (out, inner), (args.tokens, out)])
        for run in (lambda: x @ w.T, lambda: d @ w, lambda: d.T @ x):
            run()
            best = min(timed(run) for _ in range(10))
            total += best
            flops += 2 * args.tokens * out * inner
    return {"gflops": flops / total / 1e9}


def timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["step", "gemm"])
    p.add_argument("--size", default="8M", choices=SIZES)
    p.add_argument("--tokens", type=int, default=4096)
    p.add_argument("--steps", type=int, default=6)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--bf16", action="store_true", help="autocast; products in bf16")
    p.add_argument("--eager", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    print(json.dumps({"torch": torch.__version__, "threads": a.threads, **(time_step(a) if a.what == "step" else time_gemm(a))}), flush=True)
