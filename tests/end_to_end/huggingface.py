"""Hugging Face's side of the suite `huggingface`.

  huggingface.py make FOLDER        models with random weights in every layout that mdlrun reads, each with a reference of its logits
  huggingface.py load VOCAB DIR...  every folder through from_pretrained, which must have nothing to report; DIR.ref.safetensors
  huggingface.py events DIR         scalars of TensorBoard's event files, as TensorBoard reads them: TAG STEP VALUE a line
"""
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def batch(generator):
    """Three sequences with a mask in each, packed."""
    import torch

    sequences = []
    for n in (40, 17, 61):
        ids = torch.randint(4, 24, (n,), generator=generator)
        ids[0], ids[-1], ids[3] = 0, 2, 32
        sequences.append(ids)
    return sequences


def write_reference(model, path):
    """ids, labels, cu_seqlens and logits as mdlrun check reads them; each sequence alone, so that nothing is padded."""
    import torch
    from safetensors.torch import save_file

    sequences, logits, offsets = batch(torch.Generator().manual_seed(1)), [], [0]
    for ids in sequences:
        with torch.no_grad():
            logits.append(model(input_ids=ids[None], attention_mask=torch.ones(1, len(ids), dtype=torch.long)).logits[0])
        offsets.append(offsets[-1] + len(ids))
    ids = torch.cat(sequences).int()
    save_file(
        {"ids": ids, "labels": torch.full_like(ids, -100), "cu_seqlens": torch.tensor(offsets, dtype=torch.int32), "logits": torch.cat(logits)},
        path,
    )


def fused(weights, layers, heads, root):
    """The same weights as TransformerEngine's modules hold them: QKV head by head, 64 rows of vocabulary, the padding not finite."""
    import torch

    def pad(t):
        return torch.cat([t, torch.full((64 - t.shape[0],) + t.shape[1:], float("-inf"))])

    out = {}
    for i in range(layers):
        ours, theirs = f"esm.encoder.layer.{i}.", f"{root}encoder.layers.{i}."
        for kind, norm in (("weight", "gamma"), ("bias", "beta")):
            parts = [weights[f"{ours}attention.self.{n}.{kind}"] for n in ("query", "key", "value")]
            by_head = torch.stack([p.reshape(heads, -1, *p.shape[1:]) for p in parts], 1)
            out[f"{theirs}self_attention.layernorm_qkv.{kind}"] = by_head.reshape(-1, *parts[0].shape[1:])
            out[f"{theirs}self_attention.layernorm_qkv.layer_norm_{kind}"] = weights[f"{ours}attention.LayerNorm.{norm}"]
            out[f"{theirs}self_attention.proj.{kind}"] = weights[f"{ours}attention.output.dense.{kind}"]
            out[f"{theirs}layernorm_mlp.layer_norm_{kind}"] = weights[f"{ours}LayerNorm.{norm}"]
            out[f"{theirs}layernorm_mlp.fc1_{kind}"] = weights[f"{ours}intermediate.dense.{kind}"]
            out[f"{theirs}layernorm_mlp.fc2_{kind}"] = weights[f"{ours}output.dense.{kind}"]
        out[f"{theirs}self_attention._extra_state"] = torch.zeros(3, dtype=torch.uint8)
    table = pad(weights["esm.embeddings.word_embeddings.weight"])
    out[f"{root}embeddings.word_embeddings.weight"], out["lm_head.decoder.weight"] = table, table.clone()
    out["lm_head.decoder.bias"] = pad(weights["lm_head.bias"])
    for kind in ("weight", "bias"):
        out[f"{root}encoder.emb_layer_norm_after.{kind}"] = weights[f"esm.encoder.emb_layer_norm_after.{kind}"]
        out[f"lm_head.dense.{kind}"] = weights[f"lm_head.dense.{kind}"]
        out[f"lm_head.decoder.layer_norm_{kind}"] = weights[f"lm_head.layer_norm.{kind}"]
    return out


def spelled(weights, layers):
    """Norms as weight and bias, inv_freq layer by layer, the tied decoder beside the table, older buffers: facebook's files."""
    import torch

    names = {".gamma": ".weight", ".beta": ".bias"}
    out = {}
    for name, value in weights.items():
        for old, new in names.items():
            name = name.replace(old, new)
        for i in range(layers if "*" in name else 1):
            out[name.replace("*", str(i))] = value.clone()
    out["lm_head.decoder.weight"] = weights["esm.embeddings.word_embeddings.weight"].clone()
    out["esm.embeddings.position_embeddings.weight"] = torch.zeros(1026, 4)
    out["esm.embeddings.position_ids"] = torch.arange(1026)[None]
    return out


def make(folder):
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import EsmConfig, EsmForMaskedLM

    def model_of(width, heads):
        config = EsmConfig(
            vocab_size=33, mask_token_id=32, pad_token_id=1, hidden_size=width, num_hidden_layers=2, num_attention_heads=heads,
            intermediate_size=4 * width, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=1026,
            layer_norm_eps=1e-5, position_embedding_type="rotary", token_dropout=True, emb_layer_norm_before=False)
        model = EsmForMaskedLM(config).eval()
        with torch.no_grad():  # no bias and no norm is trivial
            for p in model.parameters():
                p.add_(0.05 * torch.randn_like(p))
        return model

    def save(name, tensors):
        os.makedirs(f"{folder}/{name}", exist_ok=True)
        save_file({k: v.contiguous() for k, v in tensors.items()}, f"{folder}/{name}/model.safetensors")

    torch.manual_seed(0)
    model = model_of(64, 4)
    write_reference(model, f"{folder}/f32.ref.safetensors")
    model.save_pretrained(f"{folder}/own")
    model.save_pretrained(f"{folder}/sharded", max_shard_size="100KB")
    weights = load_file(f"{folder}/own/model.safetensors")
    save("spelled", spelled(weights, 2))
    save("bare", {k: v for k, v in weights.items() if "inv_freq" not in k and "contact_head" not in k})
    save("wrapped", {f"module._orig_mod.{k}": v for k, v in weights.items()})
    save("outer", {f"model.{k}": v for k, v in weights.items()})
    save("inner", {k.removeprefix("esm."): v for k, v in weights.items()})
    save("te", fused(weights, 2, 4, "model."))
    save("te_older", fused(weights, 2, 4, "esm."))
    untied = spelled(weights, 2)
    untied["lm_head.decoder.weight"][5, 5] += 1
    save("untied", untied)
    for name, dtype in (("bf16", torch.bfloat16), ("f16", torch.float16)):
        model.to(dtype).save_pretrained(f"{folder}/{name}")
        write_reference(EsmForMaskedLM.from_pretrained(f"{folder}/{name}", dtype=torch.float32).eval(), f"{folder}/{name}.ref.safetensors")
        model = model.float()
    odd = model_of(48, 2)
    odd.save_pretrained(f"{folder}/hd24")
    write_reference(odd, f"{folder}/hd24.ref.safetensors")


def load(vocab, folders):
    import torch
    from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, EsmForMaskedLM, EsmTokenizer

    for folder in folders:
        for kind in (EsmForMaskedLM, AutoModelForMaskedLM):
            model, report = kind.from_pretrained(folder, output_loading_info=True)
            print(folder, kind.__name__, {k: v for k, v in report.items() if v})
        write_reference(model.float().eval(), f"{folder}.ref.safetensors")
        # Without the head of masked language models its tensors are left over; the trunk must be whole.
        _, report = AutoModel.from_pretrained(folder, output_loading_info=True, add_pooling_layer=False)
        left = sorted(k for k in report["unexpected_keys"] if not k.startswith("lm_head."))
        print(folder, "AutoModel", left, sorted(report["missing_keys"]), report["mismatched_keys"])
        ours, theirs, text = AutoTokenizer.from_pretrained(folder), EsmTokenizer(vocab), "MKTAYIAKQRLBXZUO.-<mask>GW"
        same = type(ours) is EsmTokenizer and ours.get_vocab() == theirs.get_vocab() and ours(text) == theirs(text)
        same = same and ours.all_special_ids == theirs.all_special_ids
        print(folder, "AutoTokenizer", "same" if same else (ours, ours(text), theirs(text)), ours.model_max_length)


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(folder, size_guidance={"scalars": 0})
    accumulator.Reload()
    for tag in sorted(accumulator.Tags()["scalars"]):
        for e in accumulator.Scalars(tag):
            print(tag, e.step, repr(e.value), e.wall_time > 1.6e9)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    elif sys.argv[1] == "load":
        load(sys.argv[2], sys.argv[3:])
    else:
        events(sys.argv[2])
