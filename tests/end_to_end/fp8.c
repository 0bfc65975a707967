/* Suite `fp8`: training in 8 bits beside bf16, on the CPU and in the emulator; scales, and what is at their edges. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/end_to_end/run.h"

/* One layer of ESM-2 in 8 bits, between two in bf16. */
static const char sizes[] = "--set L=3 --set D=64 --set H=4 --tokens 256 --seqs 8";
static const char schedule[] = "trainer.learning_rate=2e-3 trainer.warmup_steps=4 trainer.lr_scheduler_type=constant_with_warmup";
static const char sample[] = "data/uniref_sample.fasta.gz";

static void train(mdl_e2e *e, const char *plan, const char *output, const char *settings) {
    mdl_e2e_train(e, 0, mdl_printf(e->memory, "%s.plan", plan), sample, output, mdl_printf(e->memory, "%s %s", schedule, settings));
}

/* Each loss of `small` is within a part of that of `wide`: operands are rounded to 2^-4 and 2^-3 of themselves, of either sign,
 * which moved no loss of these runs by more than 0.0012 of it. */
static void expect_near(mdl_e2e *e, const char *small, const char *wide, int steps) {
    double *a, *b, worst = 0;
    int n = mdl_e2e_metrics(e, small, "loss", &a), m = mdl_e2e_metrics(e, wide, "loss", &b);
    CHECK(e->t, n == steps && m == steps, "%d and %d losses, not %d", n, m, steps);
    for (int i = 0; i < n && i < m; i++) worst = fmax(worst, isfinite(a[i]) ? fabs(a[i] - b[i]) / b[i] : INFINITY);
    CHECK(e->t, worst <= 0.004, "a loss is off by %g of it", worst);
    CHECK(e->t, worst > 0, "the losses are the same: nothing is in 8 bits");
}

static void follows(mdl_e2e *e, const char *model, const char *options) {
    mdl_e2e_run(e, 0, "mdlc models/%s.mdl %s --precision bf16 -o wide.plan && mdlc models/%s.mdl %s --precision fp8 -o small.plan",
                model, options, model, options);
    for (int batches = 1; batches < 3; batches++) {
        const char *settings = mdl_printf(e->memory, "trainer.max_steps=24 trainer.gradient_accumulation_steps=%d", batches);
        train(e, "wide", "wide", mdl_printf(e->memory, "%s trainer.overwrite_output_dir=true", settings));
        train(e, "small", "small", mdl_printf(e->memory, "%s trainer.overwrite_output_dir=true", settings));
        expect_near(e, "small", "wide", 24);
    }
}

/* ---- scales ---- */
enum { LAYERS = 4, TENSORS = 3 * LAYERS, WIDTH = 16 };

/* Of every tensor: scale and inverse 16 times each, then the amaxes of the last 16 steps. */
static void check_scale(mdl_e2e *e, int tensor, const float *all, int measured) {
    const float *scale = all + tensor * WIDTH, *inverse = scale + TENSORS * WIDTH, *history = inverse + TENSORS * WIDTH;
    double most = 0, largest = tensor < 2 * LAYERS ? 448 : 57344;
    int n = 0;
    for (int i = 0; i < WIDTH; i++) {
        CHECK(e->t, scale[i] == scale[0] && inverse[i] == 1.0f / scale[0], "tensor %d: scale %g, inverse %g", tensor,
              (double)scale[i], (double)inverse[i]);
        n += history[i] > 0;
        most = fmax(most, (double)history[i]);
    }
    CHECK(e->t, n == measured, "tensor %d: amaxes of %d steps, not of %d", tensor, n, measured);
    CHECK(e->t, fabs((double)scale[0] * most / largest - 1) < 1e-6, "tensor %d: scale %g of amax %g", tensor, (double)scale[0],
          most);
}

/* After 4 steps there are five amaxes of everything: that of calibration, too. */
static void scales(mdl_e2e *e) {
    mdl_safetensors *file = NULL;
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl %s --precision fp8 -o small.plan", sizes);
    train(e, "small", "scales", "trainer.max_steps=4");
    mdl_status status = mdl_safetensors_open(
        mdl_printf(e->memory, "%s/scales/checkpoint-last/optimizer-00001-of-00001.safetensors", e->folder), &file);
    CHECK(e->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    const mdl_tensor *t = NULL;
    for (int i = 0; file && i < mdl_safetensors_count(file); i++)
        if (!strcmp(mdl_safetensors_at(file, i)->name, "scaling")) t = mdl_safetensors_at(file, i);
    bool whole = t && t->type.dtype == MDL_F32 && mdl_type_count(&t->type) == 3 * TENSORS * WIDTH;
    CHECK(e->t, whole, "the checkpoint has no scales");
    for (int i = 0; whole && i < TENSORS; i++) check_scale(e, i, t->bytes, 5);
    mdl_safetensors_close(file);
}

/* ---- edges ---- */
/* Steps without a label have gradients of zero. */
static void no_labels(mdl_e2e *e) {
    double *norms;
    int zeros = 0;
    train(e, "small", "rare", "trainer.max_steps=16 data.mlm_probability=0.004");
    int n = mdl_e2e_metrics(e, "rare", "grad_norm", &norms);
    for (int i = 0; i < n; i++) zeros += norms[i] == 0;
    CHECK(e->t, zeros > 1 && zeros < n - 1, "%d of %d steps have no label", zeros, n);
    mdl_e2e_check_finite(e, "rare", 16);
}

/* One short sequence in a batch: nearly all rows are of none. */
static void nearly_empty(mdl_e2e *e) {
    mdl_e2e_fasta(e, "one.fasta", 1, 5);
    mdl_e2e_train(e, 0, "small.plan", "one.fasta", "empty", mdl_printf(e->memory, "%s trainer.max_steps=6", schedule));
    mdl_e2e_check_finite(e, "empty", 6);
}

static void same_bits(mdl_e2e *e) {
    train(e, "small", "a", "trainer.max_steps=6 trainer.num_threads=1");
    train(e, "small", "b", "trainer.max_steps=6 trainer.num_threads=2");
    mdl_e2e_run(e, 0, "cmp a/model.safetensors b/model.safetensors");
}

/* What replays launches by itself must calibrate first: with scales of 1 every gradient is off by its own size. */
static void tools(mdl_e2e *e) {
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl %s --precision bf16 -o wide.plan", sizes);
    const char *said = mdl_e2e_run(e, 0, "mdlrun diff wide.plan small.plan data.files=%s", sample);
    CHECK(e->t, strstr(said, "values compared: 0 part"), "they part:\n%s", said);
    mdl_e2e_run(e, 0, "mdlrun profile small.plan data.files=%s --steps 1 --warmup 1 >profile.txt && grep transpose profile.txt",
                sample);
}

static void emulated(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin_cuda(t, "fp8_cuda");
    if (mdl_case(t, "fp8: target cuda follows bf16 too")) {
        mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl %s %s --precision fp8 -o small.plan", e.target, sizes);
        mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl %s --precision bf16 -o wide.plan", sizes);
        train(&e, "small", "small", "trainer.max_steps=4");
        train(&e, "wide", "wide", "trainer.max_steps=4");
        expect_near(&e, "small", "wide", 4);
    }
    mdl_e2e_end(&e);
}

void suite_fp8(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "fp8");
    if (mdl_case(t, "fp8: losses follow those in bf16")) follows(&e, "esm2", sizes);
    if (mdl_case(t, "fp8: losses follow those in bf16, with a gated layer"))
        follows(&e, "amplify", "--set L=2 --set D=64 --set H=4 --set M=128 --tokens 256 --seqs 8");
    if (mdl_case(t, "fp8: losses follow those in bf16, scaled by a tensor's own amax"))
        follows(&e, "esm2", mdl_printf(e.memory, "%s --fp8 recipe=current", sizes));
    if (mdl_case(t, "fp8: scales make the largest amax of the last steps the format's largest number")) scales(&e);
    if (mdl_case(t, "fp8: steps without a label")) no_labels(&e);
    if (mdl_case(t, "fp8: a batch of hardly any tokens")) nearly_empty(&e);
    if (mdl_case(t, "fp8: the same bits for any number of threads")) same_bits(&e);
    if (mdl_case(t, "fp8: mdlrun diff and profile")) tools(&e);
    mdl_e2e_end(&e);
    emulated(t);
}
