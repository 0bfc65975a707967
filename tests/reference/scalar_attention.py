"""Reference numbers of tests/compiler/models/{window,softcap}.mdl, written from the formulas in plain Python: f64, one number at
a time, gradients by central differences of the loss. Run in this folder; a minute. Needs nothing but Python."""
import json
import math
import random
import struct

STARTS = [0, 9, 10, 20]  # segments of 9, 1 and 10 tokens, then a tail of 2
TOKENS, V, D = 22, 33, 12
NO_DECAY = ["a.q.bias", "a.v.bias", "head.bias"]


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def rows(n, text):
    return [text[i * len(text) // n : (i + 1) * len(text) // n] for i in range(n)]


class Model:
    def __init__(self, name, heads, kv_heads, left, right, scale, softcap):
        self.name, self.H, self.G, self.K = name, heads, kv_heads, D // heads
        self.left, self.right, self.scale, self.softcap = left, right, scale, softcap
        M = kv_heads * self.K
        self.shape = {"e": (V, D), "a.q.weight": (D, D), "a.q.bias": (D,), "a.k.weight": (M, D), "a.v.weight": (M, D),
                      "a.v.bias": (M,), "head.weight": (V, D), "head.bias": (V,)}

    def score(self, q, k):
        s = self.scale * sum(a * b for a, b in zip(q, k))
        return self.softcap * math.tanh(s / self.softcap) if self.softcap else s

    def attention(self, q, k, v):
        out = []
        for i in range(TOKENS):
            segment = [s for s in range(3) if STARTS[s] <= i < STARTS[s + 1]]
            keys = [j for j in range(TOKENS) if segment and STARTS[segment[0]] <= j < STARTS[segment[0] + 1]
                    and i - j <= self.left and j - i <= self.right]
            row = []
            for h in range(self.H):
                g = h // (self.H // self.G)
                part = lambda x, head: x[head * self.K : (head + 1) * self.K]
                w = [math.exp(self.score(part(q[i], h), part(k[j], g))) for j in keys]
                row += [sum(a * part(v[j], g)[c] for a, j in zip(w, keys)) / sum(w) if keys else 0.0 for c in range(self.K)]
            out.append(row)
        return out

    def logits(self, p, ids):
        def linear(x, name):
            n = self.shape[name + ".weight"][0]
            w, b = rows(n, p[name + ".weight"]), p.get(name + ".bias", [0.0] * n)
            return [[b[o] + sum(s * t for s, t in zip(row, w[o])) for o in range(n)] for row in x]

        e = rows(V, p["e"])
        x = [e[i] for i in ids]
        o = self.attention(linear(x, "a.q"), linear(x, "a.k"), linear(x, "a.v"))
        return linear([[a + b for a, b in zip(s, t)] for s, t in zip(x, o)], "head")

    def loss(self, p, ids, labels):
        z = self.logits(p, ids)
        terms = [math.log(sum(math.exp(a) for a in row)) - row[label] for row, label in zip(z, labels) if label != -100]
        return sum(terms) / len(terms)

    def gradient(self, p, ids, labels, step=1e-5):
        g = {}
        for name, x in p.items():
            g[name] = []
            for i in range(len(x)):
                at, side = x[i], []
                for x[i] in (at + step, at - step):
                    side.append(self.loss(p, ids, labels))
                x[i] = at
                g[name].append((side[0] - side[1]) / (2 * step))
        return g


def adamw(p, g, m, v, t, lr=1e-3, b1=0.9, b2=0.98, eps=1e-8, decay=0.01):
    norm = math.sqrt(sum(x * x for row in g.values() for x in row))
    clip = min(1.0, 1.0 / (norm + 1e-6))
    for name in p:
        for i, x in enumerate(g[name]):
            m[name][i] = b1 * m[name][i] + (1 - b1) * x * clip
            v[name][i] = b2 * v[name][i] + (1 - b2) * (x * clip) ** 2
            update = m[name][i] / (1 - b1**t) / (math.sqrt(v[name][i] / (1 - b2**t)) + eps)
            p[name][i] -= lr * (update + (0 if name in NO_DECAY else decay) * p[name][i])
    return norm


def write(path, tensors):
    header, data = {"__metadata__": {"no_decay": json.dumps(NO_DECAY)}}, b""
    for name, (kind, shape, x) in tensors.items():
        block = struct.pack("<%d%s" % (len(x), {"F32": "f", "I32": "i"}[kind]), *x)
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [len(data), len(data) + len(block)]}
        data += block
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def make(model, seed):
    draw = random.Random(seed)
    ids = [draw.randrange(4, 24) for _ in range(TOKENS)]
    labels = [draw.randrange(4, 24) if draw.random() < 0.6 and i < STARTS[-1] else -100 for i in range(TOKENS)]
    p = {n: [f32(draw.gauss(0, 0.5)) for _ in range(math.prod(s))] for n, s in model.shape.items()}
    real = lambda shape, x: ("F32", shape, x)
    out = {"weight." + n: real(s, list(p[n])) for n, s in model.shape.items()}
    out["ids"], out["labels"] = ("I32", (TOKENS,), ids), ("I32", (TOKENS,), labels)
    out["cu_seqlens"] = ("I32", (len(STARTS),), STARTS)
    out["logits"] = real((TOKENS, V), sum(model.logits(p, ids), []))
    losses, norms, m, v = [model.loss(p, ids, labels)], [], {n: [0.0] * len(p[n]) for n in p}, {n: [0.0] * len(p[n]) for n in p}
    out["loss"] = real((1,), losses[:1])
    for t in (1, 2, 3):
        g = model.gradient(p, ids, labels)
        if t == 1:
            out.update({"grad." + n: real(model.shape[n], x) for n, x in g.items()})
        norms.append(adamw(p, g, m, v, t))
        losses.append(model.loss(p, ids, labels))
    out["adamw.losses"], out["adamw.grad_norms"] = real((4,), losses), real((3,), norms)
    out.update({"after3." + n: real(model.shape[n], p[n]) for n in p})
    write(model.name + "_tiny.safetensors", out)


make(Model("window", heads=4, kv_heads=2, left=3, right=5, scale=0.5, softcap=0), 1)
make(Model("softcap", heads=2, kv_heads=2, left=7, right=0, scale=0.5, softcap=1.5), 2)
