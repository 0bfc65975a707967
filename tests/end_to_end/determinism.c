/* The same seed gives the same bits, whatever the threads; micro-batches change nothing but the order of additions. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/train/session.h"
#include "tests/end_to_end/run.h"

static const char sizes[] = "--set L=2 --set D=64 --set H=4";

/* Metrics but for those that are times: what comes before "step_time" in every line. */
static const char *untimed(mdl_e2e *e, const char *output) {
    return mdl_e2e_run(e, 0, "sed 's/, \"step_time\".*//' %s/metrics.jsonl", output);
}

static bool same_weights(mdl_e2e *e, const char *a, const char *b) {
    int status;
    mdl_e2e_try(e, &status, "cmp %s/model.safetensors %s/model.safetensors", a, b);
    return status == 0;
}

static void one_seed(mdl_e2e *e) {
    static const struct {
        const char *output, *settings;
    } runs[] = {{"a", "trainer.num_threads=1"},
                {"b", "trainer.num_threads=1"},
                {"c", "trainer.num_threads=2"},
                {"d", "trainer.num_threads=3"},
                {"other", "trainer.num_threads=1 trainer.seed=43"}};
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl %s --tokens 1024 --seqs 16 -o seed.plan", sizes);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        mdl_e2e_train(e, 0, "seed.plan", "data/uniref_sample.fasta.gz", runs[i].output,
                      mdl_printf(e->memory, "trainer.max_steps=12 %s", runs[i].settings));
    const char *expected = untimed(e, "a");
    CHECK(e->t, strstr(expected, "\"step\": 12,") && strstr(expected, "\"loss\""), "the metrics hold no losses:\n%s", expected);
    for (int i = 1; i < 4; i++) {
        const char *got = untimed(e, runs[i].output);
        CHECK(e->t, !strcmp(expected, got), "%s: metrics differ\n%s\n%s", runs[i].settings, expected, got);
        CHECK(e->t, same_weights(e, "a", runs[i].output), "%s: weights differ", runs[i].settings);
    }
    CHECK(e->t, strcmp(expected, untimed(e, "other")), "another seed gives the same metrics");
    CHECK(e->t, !same_weights(e, "a", "other"), "another seed gives the same weights");
}

static void same_plan(mdl_e2e *e) {
    mdl_e2e_run(
        e, 0,
        "mdlc models/esm2.mdl %s --tokens 256 -o one.plan && sleep 1 && TZ=Asia/Tokyo mdlc models/esm2.mdl %s --tokens 256 -o "
        "two.plan && cmp one.plan two.plan",
        sizes, sizes);
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl %s --tokens 320 -o three.plan", sizes);
    mdl_e2e_run(e, 1, "cmp -s one.plan three.plan");
}

/* 12 sequences of 64 tokens fill one batch of 768, two of 384 or three of 256; masking goes by sequence, so it is the same.
 * With an epsilon of 1 AdamW is linear in the gradient: no division blows up the rounding of gradients that are zero. */
static const char steady[] =
    "trainer.max_steps=6 trainer.learning_rate=0.5 trainer.adam_epsilon=1 trainer.lr_scheduler_type=constant";

static void split(mdl_e2e *e, int parts) {
    const char *plan = mdl_printf(e->memory, "split%d.plan", parts), *output = mdl_printf(e->memory, "split%d", parts);
    double *whole, *losses;
    int64_t n, m;
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl %s --tokens %d --seqs 12 -o %s", sizes, 768 / parts, plan);
    mdl_e2e_train(e, 0, plan, "equal.fasta", output,
                  mdl_printf(e->memory, "%s trainer.gradient_accumulation_steps=%d", steady, parts));
    int steps = mdl_e2e_metrics(e, "split1", "loss", &whole);
    bool complete = steps == 6 && mdl_e2e_metrics(e, output, "loss", &losses) == 6;
    CHECK(e->t, complete, "%d losses, expected 6", steps);
    /* f32 sums in another order: 1e-7 each, the mean of 100 of them less. */
    for (int i = 0; i < 6 && complete; i++)
        CHECK(e->t, fabs(losses[i] - whole[i]) <= 1e-6 * whole[i], "step %d: loss %.9g, expected %.9g", i + 1, losses[i], whole[i]);
    const float *start = mdl_e2e_weights(e, "start", &n), *a = mdl_e2e_weights(e, "split1", &n),
                *b = mdl_e2e_weights(e, output, &m);
    if (!a || !b || !start) return;
    double change = mdl_e2e_distance(n, a, start), error = mdl_e2e_distance(n, a, b);
    CHECK(e->t, n == m && change > 0.1, "%d and %d weights, moved by %g", (int)n, (int)m, change);
    /* of how far training moved them: gradients of another summation order differ by 1e-7 to 2e-6 */
    CHECK(e->t, error <= 5e-6 * change, "weights differ by %g of their change", error / change);
    CHECK(e->t, !same_weights(e, "split1", output), "not a bit differs: was the batch split at all?");
}

static void split_all(mdl_e2e *e) {
    mdl_e2e_fasta(e, "equal.fasta", 40, 62);
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl %s --tokens 768 --seqs 12 -o split1.plan", sizes);
    mdl_e2e_train(e, 0, "split1.plan", "equal.fasta", "split1", steady);
    mdl_e2e_train(e, 0, "split1.plan", "equal.fasta", "start",
                  "trainer.max_steps=1 trainer.learning_rate=0 trainer.lr_scheduler_type=constant");
}

/* ---- memory that belongs to nobody ---- */
static void ok(mdl_e2e *e, mdl_status status) {
    CHECK(e->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
}

/* NaN in an arena, but for what its parameters hold. Returns the number of elements that no parameter has. */
static int64_t poison_gaps(mdl_e2e *e, mdl_session *s, mdl_arena_id arena) {
    const mdl_plan *plan = s->plan;
    int64_t n = plan->arena_bytes[arena] / 4, gaps = n;
    float *old = mdl_alloc(e->memory, (size_t)n * 4);
    ok(e, s->backend->download(s->device, arena, 0, old, n * 4));
    ok(e, s->backend->fill(s->device, arena, 0xff));
    for (int i = 0; i < plan->params.n; i++) {
        const mdl_plan_param *p = &plan->params.at[i];
        if (p->arena != MDL_ARENA_PARAM) continue;
        ok(e, mdl_session_set_param(s, arena, p, old + p->offset / 4));
        gaps -= mdl_type_count(&p->type);
    }
    return gaps;
}

typedef struct {
    double loss[4], norm[4];
    float *param; /* every trained parameter, in the arena's layout; zeros between */
    size_t bytes;
} outcome;

/* Steps of one, two and three micro-batches; `poison`: with NaN wherever nothing was promised. */
static outcome three_steps(mdl_e2e *e, bool poison) {
    const mdl_adamw adamw = {0.9, 0.98, 1e-8, 0.01, 1.0};
    const char *fasta = mdl_printf(e->memory, "%s/equal.fasta", e->folder);
    mdl_loader_options options = {.data = {.files = &fasta, .n_files = 1},
                                  .mlm_probability = 0.15,
                                  .mask_fraction = 0.8,
                                  .random_fraction = 0.1,
                                  .micro_batches = 3};
    mdl_session *s = NULL;
    mdl_loader *loader = NULL;
    const mdl_batch *batches;
    mdl_data_position position;
    outcome out = {0};
    double epoch;
    ok(e, mdl_session_open(mdl_printf(e->memory, "%s/split1.plan", e->folder), 1, &s));
    if (!s) return out;
    ok(e, mdl_loader_open(s->plan, &options, &loader));
    ok(e, mdl_session_init(s, 5));
    s->poison = poison;
    for (int step = 1; step <= 3 && loader; step++) {
        mdl_step done = {0};
        for (int arena = 0; arena < MDL_ARENA_COUNT && poison; arena++) {
            bool flat = arena == MDL_ARENA_PARAM || (mdl_arena_like_param((mdl_arena_id)arena) && s->plan->arena_bytes[arena]);
            if (flat) CHECK(e->t, poison_gaps(e, s, (mdl_arena_id)arena) > 0, "the arena has no gaps: this proves nothing");
        }
        if (poison) ok(e, s->backend->fill(s->device, MDL_ARENA_TALLY, 0xff));
        if (poison) ok(e, s->backend->fill(s->device, MDL_ARENA_RESULT, 0xff));
        ok(e, mdl_loader_next(loader, &batches, &position, &epoch));
        ok(e, mdl_session_set_adamw(s, &adamw, step, 1e-3));
        ok(e, mdl_session_step(s, step, batches, &done));
        out.loss[step] = done.loss;
        out.norm[step] = done.grad_norm;
    }
    out.bytes = (size_t)s->plan->arena_bytes[MDL_ARENA_PARAM];
    out.param = mdl_alloc(e->memory, out.bytes);
    for (int i = 0; i < s->plan->params.n; i++) {
        const mdl_plan_param *p = &s->plan->params.at[i];
        if (p->arena == MDL_ARENA_PARAM) ok(e, mdl_session_get_param(s, MDL_ARENA_PARAM, p, out.param + p->offset / 4));
    }
    if (loader) mdl_loader_close(loader);
    mdl_session_close(s);
    return out;
}

static void undefined_memory(mdl_e2e *e) {
    outcome clean = three_steps(e, false), poisoned = three_steps(e, true);
    for (int i = 1; i <= 3; i++)
        CHECK(e->t, clean.loss[i] > 0 && clean.loss[i] == poisoned.loss[i] && clean.norm[i] == poisoned.norm[i],
              "step %d: loss %.9g and norm %.9g; poisoned %.9g and %.9g", i, clean.loss[i], clean.norm[i], poisoned.loss[i],
              poisoned.norm[i]);
    bool same = clean.param && poisoned.param && !memcmp(clean.param, poisoned.param, clean.bytes);
    CHECK(e->t, same, "the weights differ");
}

void suite_determinism(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "determinism");
    if (mdl_case(t, "determinism: one seed, the same bits with 1, 2 and 3 threads; another seed, others")) one_seed(&e);
    if (mdl_case(t, "determinism: the same model, the same plan, byte for byte")) same_plan(&e);
    if (mdl_case(t, "determinism: the step that is split")) split_all(&e);
    if (mdl_case(t, "determinism: no step relies on memory between parameters, or on an earlier step's")) undefined_memory(&e);
    for (int parts = 2; parts <= 3; parts++)
        if (mdl_case(t, "determinism: %d micro-batches are one batch to rounding", parts)) split(&e, parts);
    mdl_e2e_end(&e);
}
