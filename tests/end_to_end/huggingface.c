/* Suite `huggingface`: real transformers write what we read, and read what we write; logits agree. Without a Python that has them
 * (scripts/install-dependencies --python), what needs them is skipped, and said so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/end_to_end/run.h"

static const char sizes[] = "--set L=2 --set D=64 --set H=4 --tokens 256 --seqs 8";

static void expect(mdl_e2e *e, const char *said, const char *part) {
    CHECK(e->t, strstr(said, part), "expected '%s' in\n%s", part, said);
}

/* The logits of these weights are those of the reference. */
static void check_logits(mdl_e2e *e, const char *plan, const char *reference, const char *weights) {
    expect(e, mdl_e2e_run(e, 0, "mdlrun check %s %s.ref.safetensors --weights %s", plan, reference, weights), "logits ");
}

static void read_theirs(mdl_e2e *e, const char *python) {
    static const struct {
        const char *folder, *reference, *plan, *about;
    } cases[] = {
        {"own", "f32", "small.plan", "as save_pretrained writes them: gamma and beta, one inv_freq under a star, no decoder"},
        {"sharded", "f32", "small.plan", "shards and their index"},
        {"spelled", "f32", "small.plan", "weight and bias, inv_freq of each layer, the decoder beside the table, older buffers"},
        {"bare", "f32", "small.plan", "neither inv_freq nor contact head"},
        {"wrapped", "f32", "small.plan", "module._orig_mod."},
        {"outer", "f32", "small.plan", "model."},
        {"inner", "f32", "small.plan", "the trunk without its first segment"},
        {"te", "f32", "small.plan", "TransformerEngine's layout"},
        {"te_older", "f32", "small.plan", "TransformerEngine's layout, older files"},
        {"bf16", "bf16", "small.plan", "BF16"},
        {"f16", "f16", "small.plan", "F16"},
        {"hd24", "hd24", "hd24.plan", "a head dim of 24"},
    };
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl --set L=2 --set D=48 --set H=2 --tokens 256 --seqs 8 -o hd24.plan");
    mdl_e2e_run(e, 0, "%s make . 2>&1", python);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mdl_case(e->t, "transformers to mdlrun: %s", cases[i].about);
        check_logits(e, cases[i].plan, cases[i].reference, cases[i].folder);
    }
    mdl_case(e->t, "transformers to mdlrun: a decoder that is not the table's is refused");
    expect(e, mdl_e2e_run(e, 3, "mdlrun check small.plan f32.ref.safetensors --weights untied 2>&1"),
           "are one parameter but hold different values");
    mdl_case(e->t, "weights of another model are told by their configuration");
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl --set L=2 --set D=64 --set H=2 --tokens 256 --seqs 8 -o heads.plan");
    expect(e,
           mdl_e2e_try(
               e, NULL,
               "mdlrun train heads.plan data.files=some.fasta trainer.max_steps=1 model.init_from=own trainer.output_dir=heads"),
           "num_attention_heads is 4 there, 2 in the plan");
}

static void give_ours(mdl_e2e *e, const char *python) {
    mdl_case(e->t, "mdlrun to transformers: reports are empty, the tokenizer is theirs, logits agree; one file and shards");
    mdl_e2e_train(e, 0, "small.plan", "some.fasta", "one",
                  "model.init_from=own trainer.max_steps=3 trainer.lr_scheduler_type=constant");
    mdl_e2e_train(e, 0, "small.plan", "some.fasta", "many",
                  "model.init_from=te trainer.max_steps=3 trainer.lr_scheduler_type=constant trainer.max_shard_size=100KB");
    const char *said = mdl_e2e_run(e, 0, "%s load models/esm2.vocab.txt one many 2>&1", python);
    static const char *const folders[] = {"one", "many"};
    for (int i = 0; i < 2; i++) {
        expect(e, said, mdl_printf(e->memory, "%s EsmForMaskedLM {}\n", folders[i]));
        expect(e, said, mdl_printf(e->memory, "%s AutoModelForMaskedLM {}\n", folders[i]));
        expect(e, said, mdl_printf(e->memory, "%s AutoModel [] [] set()\n", folders[i]));
        expect(e, said, mdl_printf(e->memory, "%s AutoTokenizer same 1024\n", folders[i]));
        check_logits(e, "small.plan", folders[i], folders[i]);
    }
    CHECK(e->t, mdl_e2e_exists(e, "many/model.safetensors.index.json"), "there are no shards");
}

/* TensorBoard gives every figure of metrics.jsonl back, as the float that it is there. */
static void tensorboard(mdl_e2e *e, const char *python) {
    double *losses;
    mdl_case(e->t, "TensorBoard reads the event files");
    mdl_e2e_train(e, 0, "small.plan", "some.fasta", "board",
                  "trainer.max_steps=5 trainer.report_to=[tensorboard,jsonl] trainer.logging_dir=board/events");
    const char *said = mdl_e2e_run(e, 0, "%s events board/events 2>&1", python);
    int n = mdl_e2e_metrics(e, "board", "loss", &losses);
    CHECK(e->t, n == 5, "%d lines", n);
    for (int i = 0; i < n; i++) {
        char *line = mdl_printf(e->memory, "train/loss %d ", i + 1), *end = "";
        const char *at = strstr(said, line);
        double got = at ? strtod(at + strlen(line), &end) : 0;
        CHECK(e->t, at && (float)got == (float)losses[i] && !strncmp(end, " True", 5), "step %d: %g in\n%s", i + 1, losses[i],
              said);
    }
    mdl_case(e->t, "reports as they are asked for");
    mdl_e2e_train(e, 0, "small.plan", "some.fasta", "quiet", "trainer.max_steps=1 trainer.report_to=none");
    CHECK(e->t, !mdl_e2e_exists(e, "quiet/metrics.jsonl") && !mdl_e2e_exists(e, "quiet/runs"), "something was reported");
}

/* ---- without Python ---- */
/* The weights of a reference as a folder; `change`, if any, is asked to make other tensors of them. */
static void unpack(mdl_e2e *e, const char *reference, const char *folder, mdl_tensor (*change)(mdl_e2e *, mdl_tensor)) {
    MDL_VEC(mdl_tensor) tensors = {0};
    mdl_safetensors *file = NULL;
    mdl_status status =
        mdl_safetensors_open(mdl_printf(e->memory, "%s/tests/reference/%s", mdl_test_source(e->t), reference), &file);
    for (int i = 0; file && i < mdl_safetensors_count(file); i++) {
        mdl_tensor tensor = *mdl_safetensors_at(file, i);
        if (strncmp(tensor.name, "weight.", 7)) continue;
        tensor.name += 7;
        if (change) tensor = change(e, tensor);
        MDL_PUSH(e->memory, tensors, tensor);
    }
    mdl_e2e_run(e, 0, "mkdir -p %s", folder);
    if (!status)
        status = mdl_safetensors_write(mdl_printf(e->memory, "%s/%s/model.safetensors", e->folder, folder), tensors.n, tensors.at);
    CHECK(e->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    mdl_safetensors_close(file);
}

static void amplify(mdl_e2e *e) {
    mdl_case(e->t, "AMPLIFY's tensors: in, trained, out in shards, in again");
    unpack(e, "amplify_tiny.safetensors", "amplify", NULL);
    mdl_e2e_run(e, 0, "mdlc models/amplify.mdl --set L=2 --set D=64 --set H=2 --set M=256 --tokens 256 --seqs 8 -o amplify.plan");
    mdl_e2e_run(e, 0, "mdlrun check amplify.plan '%s'/tests/reference/amplify_tiny.safetensors --weights amplify",
                mdl_test_source(e->t));
    mdl_e2e_train(e, 0, "amplify.plan", "some.fasta", "amplify_out",
                  "model.init_from=amplify trainer.max_steps=1 trainer.learning_rate=0 trainer.max_shard_size=50KB");
    mdl_e2e_run(e, 0, "mdlrun check amplify.plan '%s'/tests/reference/amplify_tiny.safetensors --weights amplify_out",
                mdl_test_source(e->t));
}

/* Numbers that f16 has: a sign and ten bits of fraction, times 2^-5; the same for tensors that are tied. */
static uint16_t half_at(int64_t i) { return (uint16_t)((i * 7919 & 0x83ff) | 10 << 10); }

static mdl_tensor to_f16(mdl_e2e *e, mdl_tensor tensor) {
    int64_t n = mdl_type_count(&tensor.type);
    uint16_t *halves = MDL_NEW_ARRAY(e->memory, uint16_t, n);
    for (int64_t i = 0; i < n; i++) halves[i] = half_at(i);
    tensor.type.dtype = MDL_F16;
    tensor.bytes = halves;
    return tensor;
}

static mdl_tensor to_f32(mdl_e2e *e, mdl_tensor tensor) {
    int64_t n = mdl_type_count(&tensor.type);
    float *values = MDL_NEW_ARRAY(e->memory, float, n);
    for (int64_t i = 0; i < n; i++)
        values[i] = (half_at(i) >> 15 ? -1.0F : 1.0F) * (float)(1024 + (half_at(i) & 1023)) / (float)(1 << 15);
    tensor.bytes = values;
    return tensor;
}

static mdl_tensor one_to_f16(mdl_e2e *e, mdl_tensor tensor) {
    return strstr(tensor.name, "contact_head.regression.weight") ? to_f16(e, tensor) : to_f32(e, tensor);
}

static void half_precision(mdl_e2e *e) {
    static mdl_tensor (*const changes[])(mdl_e2e *, mdl_tensor) = {to_f32, to_f16, one_to_f16};
    mdl_case(e->t, "F16 in all tensors, and in one that no layer uses: the same weights as in F32");
    for (int i = 0; i < 3; i++) {
        const char *folder = mdl_printf(e->memory, "halves%d", i);
        unpack(e, "esm2_tiny_hd16.safetensors", folder, changes[i]);
        mdl_e2e_train(e, 0, "small.plan", "some.fasta", mdl_printf(e->memory, "%s_out", folder),
                      mdl_printf(e->memory, "model.init_from=%s trainer.max_steps=1 trainer.learning_rate=0", folder));
        mdl_e2e_run(e, 0, "cmp halves0_out/model.safetensors %s_out/model.safetensors", folder);
    }
    mdl_e2e_run(e, 0, "! cmp -s halves0/model.safetensors halves2/model.safetensors");
}

/* New tensors on old weights: adapters beside projections, whose own names have moved below base_layer. */
static void adapters(mdl_e2e *e) {
    const char *train =
        "mdlrun train lora.plan data.files=some.fasta trainer.max_steps=1 trainer.output_dir=lora model.init_from=esm2";
    mdl_case(e->t, "adapters on pretrained weights: refused with the way out, then initialised and listed");
    unpack(e, "esm2_tiny_hd16.safetensors", "esm2", NULL);
    mdl_e2e_run(e, 0,
                "cp '%s'/tests/end_to_end/lora.mdl models/esm2.vocab.txt . && mdlc lora.mdl --tokens 256 --seqs 8 -o lora.plan",
                mdl_test_source(e->t));
    const char *said = mdl_e2e_run(e, 3, "%s 2>&1", train);
    expect(e, said, "8 missing:\n    esm.encoder.layer.0.attention.self.query.lora_A.default.weight");
    expect(e, said, "if they are new: model.allow_missing");
    said = mdl_e2e_run(e, 0, "%s 'model.allow_missing=[*.lora_?.*]' 2>&1", train);
    expect(e, said,
           "8 tensors are not in esm2 and begin from initial values:\n    esm.encoder.layer.0.attention.self.query.lora_A");
    mdl_case(e->t, "a slip in a pattern");
    expect(e, mdl_e2e_run(e, 2, "%s 'model.allow_missing=[*.lroa_?.*]' trainer.overwrite_output_dir=true 2>&1", train),
           "is called '*.lroa_?.*'");
}

/* What another program left is not replaced without a word. */
static void strangers(mdl_e2e *e) {
    static const char *const files[] = {"config.json", "vocab.txt", "special_tokens_map.json", "pytorch_model.bin",
                                        "model.safetensors.index.json"};
    for (int i = 0; i < 5; i++) {
        mdl_case(e->t, "an output folder with another program's %s", files[i]);
        mdl_e2e_run(e, 0, "rm -rf theirs && mkdir theirs && echo theirs >theirs/%s", files[i]);
        const char *said =
            mdl_e2e_run(e, 2, "mdlrun train small.plan data.files=some.fasta trainer.max_steps=1 trainer.output_dir=theirs 2>&1");
        expect(e, said, mdl_printf(e->memory, "theirs/%s exists: choose another trainer.output_dir", files[i]));
        mdl_e2e_run(e, 0, "test \"$(cat theirs/*)\" = theirs");
    }
}

/* The blocks of a language in docs/weights.md, on a smaller model. */
static void documented(mdl_e2e *e, const char *python) {
    static const char smaller[] = "s/--set size=8M --tokens 4096/--set L=2 --set D=64 --set H=4 --tokens 256/";
    const char *blocks = "sed -n '/^```%s$/,/^```$/p' '%s/docs/weights.md' | sed '/^```/d; %s' >shown.%s && test -s shown.%s";
    mdl_case(e->t, "docs/weights.md: the commands");
    mdl_e2e_run(e, 0, "mdlrun train small.plan data.files=some.fasta trainer.max_steps=1 trainer.output_dir=esm2_8M");
    mdl_e2e_run(e, 0, blocks, "sh", mdl_test_source(e->t), smaller, "sh", "sh");
    expect(e, mdl_e2e_run(e, 0, "sh -eu shown.sh 2>&1"), "runs/more: checkpoint-last, model.safetensors");
    if (!python) return;
    mdl_case(e->t, "docs/weights.md: the Python");
    mdl_e2e_run(e, 0, blocks, "python", mdl_test_source(e->t), "", "py", "py");
    mdl_e2e_run(e, 0, "HF_HUB_OFFLINE=1 %s shown.py 2>&1", python);
}

/* In a disk of half a megabyte nothing begins; where there is room for one run, not for a second one beside it, the first stays. */
static void disk(mdl_e2e *e) {
    int status;
    const char *small = "mkdir -p disk && mount -t tmpfs -o size=%s none disk && ";
    const char *train = "mdlrun train small.plan data.files=some.fasta trainer.max_steps=1 trainer.output_dir=disk/run";
    mdl_e2e_try(e, &status, "unshare -rm sh -c 'mkdir -p disk && mount -t tmpfs none disk' 2>&1");
    if (status) mdl_skip(e->t, "a small disk: this machine lets nobody mount one");
    for (int i = 0; i < 2 && !status; i++) {
        static const char *const sizes[] = {"512k", "3200k"};
        const char *mount = mdl_printf(e->memory, small, sizes[i]), *again = "trainer.overwrite_output_dir=true 2>&1";
        mdl_case(e->t, "a disk without room, %s: said before training, and the weights that lie there stay", sizes[i]);
        const char *script =
            i ? mdl_printf(e->memory, "%s %s >first; ls disk/run; %s %s; s=$?; ls disk/run/model.safetensors && exit $s", mount,
                           train, train, again)
              : mdl_printf(e->memory, "%s %s 2>&1", mount, train);
        const char *said = mdl_e2e_run(e, 4, "unshare -rm sh -c '%s'", script);
        expect(e, said, "disk/run: a checkpoint and the final weights take 2.4 MiB, and the disk has room for");
        CHECK(e->t, !strstr(said, "step "), "it trained all the same: %s", said);
        if (i) expect(e, said, "disk/run/model.safetensors\n");
    }

    mdl_case(e->t, "sizes that are none");
    expect(e, mdl_e2e_run(e, 2, "mdlrun train small.plan data.files=some.fasta trainer.max_shard_size=big 2>&1"),
           "expected a size such as 5GB");
}

void suite_huggingface(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "huggingface");
    const char *interpreter = mdl_e2e_python(&e);
    const char *python = mdl_printf(
        e.memory, "HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error OMP_NUM_THREADS=2 %s '%s/tests/end_to_end/huggingface.py'",
        interpreter ? interpreter : "", mdl_test_source(t));
    mdl_e2e_fasta(&e, "some.fasta", 40, 60);
    mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl %s -o small.plan", sizes);
    if (interpreter) {
        read_theirs(&e, python);
        give_ours(&e, python);
        tensorboard(&e, python);
    } else {
        mdl_skip(t, "no Python with torch, transformers, safetensors and tensorboard: scripts/install-dependencies --python");
    }
    amplify(&e);
    half_precision(&e);
    adapters(&e);
    documented(&e, interpreter);
    strangers(&e);
    disk(&e);
    mdl_e2e_end(&e);
}
