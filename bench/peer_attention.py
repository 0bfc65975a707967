"""Packed attention of PyTorch (varlen flash attention) on the lengths of bench/attention.c: python peer_attention.py RESULTS

RESULTS is what mdlattention printed. One line of JSON for each H and K, launches back to back, the median of 25 rounds of 12 with
four sets of tensors in turn, as there."""
import json, sys
import torch
from torch.nn.attention.varlen import varlen_attn

lengths = json.loads(open(sys.argv[1]).readline())["lengths"]
tokens, longest, pairs = sum(lengths), max(lengths), sum(n * n for n in lengths)
ends = torch.tensor([0] + lengths).cumsum(0).to(torch.int32).cuda()


def milliseconds(run, rounds=25, launches=12):
    times = []
    for _ in range(rounds + 1):
        begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
        begin.record()
        for i in range(launches):
            run(i % 4)
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / launches)
    return sorted(times[1:])[rounds // 2]


def forward(q, k, v):
    o = varlen_attn(q, k, v, ends, ends, longest, longest)
    return o[0] if isinstance(o, tuple) else o


for H, K in [(20, 16), (20, 24), (20, 32), (20, 64), (40, 64), (40, 128)]:
    sets = [[torch.randn(tokens, H, K, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3)] for _ in range(4)]
    with torch.no_grad():
        ahead = milliseconds(lambda i: forward(*sets[i]))
    outs = [forward(*s) for s in sets]
    grads = [torch.randn_like(o) for o in outs]
    back = milliseconds(lambda i: torch.autograd.grad(outs[i], sets[i], grads[i], retain_graph=True))
    print(json.dumps({"H": H, "K": K, "peer": "varlen_attn", "torch": torch.__version__, "forward_ms": round(ahead, 4),
                      "forward_tflops": round(4e-9 * pairs * H * K / ahead, 1), "backward_ms": round(back, 4),
                      "backward_tflops": round(10e-9 * pairs * H * K / back, 1)}), flush=True)
