/* The same seed gives the same bits, whatever the threads; micro-batches change nothing but the order of additions. */
#include <math.h>
#include <stdio.h>
#include <string.h>

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

void suite_determinism(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "determinism");
    if (mdl_case(t, "determinism: one seed, the same bits with 1, 2 and 3 threads; another seed, others")) one_seed(&e);
    if (mdl_case(t, "determinism: the same model, the same plan, byte for byte")) same_plan(&e);
    if (mdl_case(t, "determinism: the step that is split")) split_all(&e);
    for (int parts = 2; parts <= 3; parts++)
        if (mdl_case(t, "determinism: %d micro-batches are one batch to rounding", parts)) split(&e, parts);
    mdl_e2e_end(&e);
}
