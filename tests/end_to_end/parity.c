/* Parity with Hugging Face, and with scalar references of what no model there has: every reference file, the training trajectory,
 * and the same check without attention, which fails. Tolerances are those of runtime/command/check_rows.def. */
#include <stdio.h>
#include <string.h>

#include "tests/end_to_end/run.h"

/* The sizes are those in each file's metadata; the budget of one plan is larger than its batch, so that padding is checked too. */
static const struct {
    const char *reference, *model, *settings;
} batches[] = {
    {"esm2_tiny_hd16", "models/esm2.mdl", "--set L=2 --set D=64 --set H=4 --tokens 113 --seqs 4"},
    {"esm2_tiny_hd24", "models/esm2.mdl", "--set L=2 --set D=96 --set H=4 --tokens 128 --seqs 8"},
    {"amplify_tiny", "models/amplify.mdl", "--set L=2 --set D=64 --set H=2 --set M=256 --tokens 113 --seqs 4"},
    {"decoder_tiny", "models/decoder.mdl", "--set L=2 --set D=64 --set H=4 --set G=2 --set F=160 --tokens 94 --seqs 4"},
    {"window_tiny", "tests/compiler/models/window.mdl", "--tokens 24 --seqs 4"},
    {"softcap_tiny", "tests/compiler/models/softcap.mdl", "--tokens 24 --seqs 4"},
};
static const char *const batch_rows[] = {"parameters without decay",
                                         "logits",
                                         "loss",
                                         "gradients, each",
                                         "gradients, together",
                                         "optimizer alone: weights",
                                         "optimizer alone: moments",
                                         "optimizer alone: norm",
                                         "AdamW losses",
                                         "AdamW gradient norms",
                                         "after 3 steps, median",
                                         "after 3 steps, each"};
static const char *const trajectory_rows[] = {"parameters without decay", "losses of the trajectory", "norms of the trajectory"};
static const char trajectory_sizes[] = "--set L=2 --set D=64 --set H=4 --tokens 1024 --seqs 16";

/* The line of check's table that begins with `row`; NULL when it is not there. */
static const char *find_row(const char *table, const char *row) {
    size_t n = strlen(row);
    for (const char *line = table; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (!strncmp(line, row, n) && line[n] == ' ') return line;
    return NULL;
}

static void check_rows(mdl_test *t, const char *table, size_t n, const char *const *rows) {
    for (size_t i = 0; i < n; i++) {
        const char *line = find_row(table, rows[i]);
        int width = line ? (int)strcspn(line, "\n") : 0;
        CHECK(t, line && memmem(line, (size_t)width, " pass", 5), "row '%s' is not there or does not pass:\n%s", rows[i], table);
    }
}

static void one_batch(mdl_e2e *e, const char *reference, const char *model, const char *settings) {
    const char *source = mdl_test_source(e->t);
    mdl_e2e_run(e, 0, "mdlc '%s/%s' --library models --precision f32 %s %s -o %s.plan", source, model, settings, e->target,
                reference);
    const char *table = mdl_e2e_run(e, 0, "mdlrun check %s.plan '%s/tests/reference/%s.safetensors'", reference, source, reference);
    check_rows(e->t, table, sizeof batch_rows / sizeof *batch_rows, batch_rows);
}

static void trajectory(mdl_e2e *e, int steps_to_run) {
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl --precision f32 %s %s -o whole.plan", trajectory_sizes, e->target);
    const char *table = mdl_e2e_run(e, 0, "mdlrun check whole.plan '%s/tests/reference/esm2_trajectory.safetensors' --steps %d",
                                    mdl_test_source(e->t), steps_to_run);
    check_rows(e->t, table, sizeof trajectory_rows / sizeof *trajectory_rows, trajectory_rows);
    const char *losses = find_row(table, "losses of the trajectory");
    int steps = 0;
    if (losses) sscanf(losses, "losses of the trajectory %d", &steps);
    CHECK(e->t, steps == steps_to_run, "%d steps were compared, expected %d", steps, steps_to_run);
}

/* The same model with each head's values passed on as they are: parameters, shapes and everything else stay. */
static void without_attention(mdl_e2e *e) {
    mdl_e2e_run(e, 0,
                "rm -rf cut; mkdir cut; cp -r models/* cut; sed -i 's/let o = attention(.*);/let o = v + 0.0 * rope(q, a) + 0.0 * "
                "rope(k, a);/' cut/esm2.mdl; "
                "! cmp -s cut/esm2.mdl models/esm2.mdl && ! grep -q 'attention(rope' cut/esm2.mdl");
    mdl_e2e_run(e, 0, "mdlc cut/esm2.mdl %s -o cut.plan", trajectory_sizes);
    const char *table =
        mdl_e2e_run(e, 1, "mdlrun check cut.plan '%s/tests/reference/esm2_trajectory.safetensors'", mdl_test_source(e->t));
    const char *line = find_row(table, "losses of the trajectory");
    double error = 0;
    if (line) sscanf(line, "losses of the trajectory %*d %lf", &error);
    /* Far beyond rounding: the reference's own runs differ by 5e-7, a model without attention by 0.1. */
    CHECK(e->t, error > 1e-3, "the loss error without attention is %g\n%s", error, table);
}

/* The scalar references tell a model from the same one without its bound or its cap. */
static void without_mask(mdl_e2e *e, const char *name, const char *what) {
    const char *source = mdl_test_source(e->t);
    mdl_e2e_run(e, 0,
                "sed 's/%s//' '%s/tests/compiler/models/%s.mdl' > less.mdl; ! cmp -s less.mdl '%s/tests/compiler/models/%s.mdl'",
                what, source, name, source, name);
    mdl_e2e_run(e, 0, "mdlc less.mdl --library models --tokens 24 --seqs 4 -o less.plan");
    const char *table = mdl_e2e_run(e, 1, "mdlrun check less.plan '%s/tests/reference/%s_tiny.safetensors'", source, name);
    const char *line = find_row(table, "logits");
    CHECK(e->t, line && memmem(line, strcspn(line, "\n"), " FAIL", 5), "the logits pass without '%s':\n%s", what, table);
}

static void all_batches(mdl_e2e *e, const char *suite) {
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
        if (mdl_case(e->t, "%s: %s", suite, batches[i].reference))
            one_batch(e, batches[i].reference, batches[i].model, batches[i].settings);
}

/* In f32, with the CPU's tolerances: a GPU's sums are as long, in another order. */
void suite_parity_cuda(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin_cuda(t, "parity_cuda");
    int steps = e.emulated ? 3 : 60;
    all_batches(&e, "parity_cuda");
    if (mdl_case(t, "parity_cuda: %d steps of a trajectory", steps)) trajectory(&e, steps);
    mdl_e2e_end(&e);
}

void suite_parity(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "parity");
    all_batches(&e, "parity");
    if (mdl_case(t, "parity: 60 steps of a trajectory")) trajectory(&e, 60);
    if (mdl_case(t, "parity: without attention the trajectory is missed")) without_attention(&e);
    if (mdl_case(t, "parity: without a bound of its window a model's reference is missed"))
        without_mask(&e, "window", "left = 3, "), without_mask(&e, "window", "right = 5, ");
    if (mdl_case(t, "parity: without its softcap a model's reference is missed")) without_mask(&e, "softcap", ", softcap = 1.5");
    mdl_e2e_end(&e);
}
