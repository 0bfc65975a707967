/* Batches and runs at the edges: defined, finite results, and nothing lost. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/end_to_end/run.h"

static const char sizes[] = "--set L=2 --set D=64 --set H=4";

static void compile(mdl_e2e *e, int tokens, int segments, const char *plan) {
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl %s --tokens %d --seqs %d -o %s", sizes, tokens, segments, plan);
}

static double last(mdl_e2e *e, const char *output, const char *key) {
    double *values;
    int n = mdl_e2e_metrics(e, output, key, &values);
    return n ? values[n - 1] : (double)NAN;
}

static bool same_weights(mdl_e2e *e, const char *a, const char *b) {
    int64_t n, m;
    const float *x = mdl_e2e_weights(e, a, &n), *y = mdl_e2e_weights(e, b, &m);
    return x && y && n == m && n > 0 && !memcmp(x, y, (size_t)n * sizeof *x);
}

/* Nothing is masked: the loss is 0, and weights change only through decay, which is off. */
static void no_label(mdl_e2e *e) {
    static const char quiet[] = "data.mlm_probability=0 trainer.weight_decay=0 trainer.lr_scheduler_type=constant";
    mdl_e2e_fasta(e, "plain.fasta", 30, 40);
    compile(e, 256, 8, "plain.plan");
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "none1", mdl_printf(e->memory, "trainer.max_steps=1 %s", quiet));
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "none4", mdl_printf(e->memory, "trainer.max_steps=4 %s", quiet));
    mdl_e2e_check_finite(e, "none4", 4);
    CHECK(e->t, last(e, "none4", "loss") == 0, "the loss is %g", last(e, "none4", "loss"));
    CHECK(e->t, last(e, "none4", "grad_norm") == 0, "the gradient norm is %g", last(e, "none4", "grad_norm"));
    CHECK(e->t, same_weights(e, "none1", "none4"), "weights moved without a label");
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "none2",
                  mdl_printf(e->memory, "trainer.max_steps=2 %s trainer.gradient_accumulation_steps=3", quiet));
    CHECK(e->t, same_weights(e, "none1", "none2"), "weights moved without a label in three micro-batches");
}

/* One token in a thousand is masked: some steps have labels and some micro-batches of them none. */
static void rare_labels(mdl_e2e *e) {
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "rare",
                  "trainer.max_steps=12 data.mlm_probability=0.001 trainer.gradient_accumulation_steps=2");
    mdl_e2e_check_finite(e, "rare", 12);
    double *losses;
    int zero = 0, n = mdl_e2e_metrics(e, "rare", "loss", &losses);
    for (int i = 0; i < n; i++) zero += losses[i] == 0;
    CHECK(e->t, zero > 0 && zero < n, "%d of %d steps are without a label; expected some and not all", zero, n);
    double sum = 0, mean = NAN;
    for (int i = 0; i < n; i++) sum += losses[i];
    const char *at = strstr(mdl_e2e_read(e, "rare/train_results.json"), "\"train_loss\": ");
    int read = at ? sscanf(at, "\"train_loss\": %lf", &mean) : 0;
    CHECK(e->t, read == 1 && mean == sum / (n - zero), "train_loss is %.17g, expected the mean over steps with labels, %.17g", mean,
          sum / (n - zero));
}

/* How many tokens a run has seen that belong to a sequence. */
static void check_tokens(mdl_e2e *e, const char *run, double expected) {
    double seen = last(e, run, "num_input_tokens_seen");
    CHECK(e->t, seen == expected, "%g tokens seen, expected %g", seen, expected);
}

/* S is reached long before T: the rest of the batch is tail. */
static void few_segments(mdl_e2e *e) {
    mdl_e2e_fasta(e, "short.fasta", 50, 6);
    compile(e, 256, 2, "two.plan");
    mdl_e2e_train(e, 0, "two.plan", "short.fasta", "two", "trainer.max_steps=8");
    mdl_e2e_check_finite(e, "two", 8);
    check_tokens(e, "two", 8 * 2 * 8);
}

static void no_tail(mdl_e2e *e) {
    mdl_e2e_fasta(e, "full.fasta", 24, 62);
    compile(e, 512, 8, "full.plan");
    mdl_e2e_train(e, 0, "full.plan", "full.fasta", "full", "trainer.max_steps=4");
    mdl_e2e_check_finite(e, "full", 4);
    check_tokens(e, "full", 4 * 512);
}

/* A vocabulary without begin and end tokens makes a batch of one token possible. Every token is labelled. */
static void one_token(mdl_e2e *e) {
    mdl_e2e_run(e, 0,
                "mkdir bare; cp -r models/* bare; sed -i 's/\"bos\": \"<cls>\", \"eos\": \"<eos>\", //' bare/esm2.mdl; "
                "! cmp -s bare/esm2.mdl models/esm2.mdl");
    mdl_e2e_run(e, 0, "mdlc bare/esm2.mdl %s --tokens 1 --seqs 1 -o token.plan", sizes);
    mdl_e2e_fasta(e, "residues.fasta", 20, 1);
    mdl_e2e_train(e, 0, "token.plan", "residues.fasta", "token", "trainer.max_steps=6 data.mlm_probability=1");
    mdl_e2e_check_finite(e, "token", 6);
    check_tokens(e, "token", 6);
    CHECK(e->t, last(e, "token", "loss") > 0, "the loss is %g", last(e, "token", "loss"));
}

static void one_residue(mdl_e2e *e) {
    mdl_e2e_write(e, "single.fasta", ">only\nM\n");
    mdl_e2e_train(e, 0, "plain.plan", "single.fasta", "single", "trainer.max_steps=5 data.mlm_probability=1");
    mdl_e2e_check_finite(e, "single", 5);
    check_tokens(e, "single", 5 * 8 * 3);
}

static void too_long(mdl_e2e *e) {
    mdl_e2e_fasta(e, "long.fasta", 4, 3000);
    mdl_e2e_train(e, 0, "plain.plan", "long.fasta", "long", "trainer.max_steps=3");
    mdl_e2e_check_finite(e, "long", 3);
    check_tokens(e, "long", 3 * 256);
    mdl_e2e_train(e, 0, "plain.plan", "long.fasta", "cropped", "trainer.max_steps=3 data.random_crop=true data.max_seq_length=100");
    mdl_e2e_check_finite(e, "cropped", 3);
    check_tokens(e, "cropped", 3 * 200);
}

/* Weights go out, come back and go out the same; what the run starts from is what was written. */
static void round_trip(mdl_e2e *e) {
    static const char still[] = "trainer.max_steps=1 trainer.learning_rate=0 trainer.lr_scheduler_type=constant";
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "first", "trainer.max_steps=5 trainer.learning_rate=1e-3");
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "again",
                  mdl_printf(e->memory, "model.init_from=first trainer.seed=7 %s", still));
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "fresh", mdl_printf(e->memory, "trainer.seed=7 %s", still));
    CHECK(e->t, same_weights(e, "first", "again"), "the weights changed on their way in and out");
    CHECK(e->t, !same_weights(e, "first", "fresh"), "a fresh start has the same weights");
    mdl_e2e_run(e, 0,
                "cmp first/model.safetensors again/model.safetensors && cmp first/config.json again/config.json && cmp "
                "first/vocab.txt models/esm2.vocab.txt");
    mdl_e2e_run(e, 0,
                "ls first | tr '\\n' ' ' | grep -x 'all_results.json checkpoint-last config.json metrics.jsonl model.safetensors "
                "special_tokens_map.json tokenizer_config.json train_results.json vocab.txt '");
}

static void overwrite(mdl_e2e *e) {
    static const char short_run[] = "trainer.max_steps=2";
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "over", "trainer.max_steps=3");
    mdl_e2e_train(e, 2, "plain.plan", "plain.fasta", "over", short_run);
    mdl_e2e_check_finite(e, "over", 3);
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "over",
                  mdl_printf(e->memory, "%s trainer.overwrite_output_dir=true", short_run));
    mdl_e2e_check_finite(e, "over", 2);
}

/* A run that goes on from the weights in its own output folder: they stay until whole new ones replace them. */
static void go_on(mdl_e2e *e) {
    static const char same[] = "model.init_from=own trainer.overwrite_output_dir=true trainer.lr_scheduler_type=constant";
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "own", "trainer.max_steps=3");
    mdl_e2e_run(e, 0, "cp -r own before");
    mdl_e2e_train(e, 1, "plain.plan", "plain.fasta", "own", mdl_printf(e->memory, "%s trainer.learning_rate=1e38", same));
    mdl_e2e_run(e, 137,
                "mdlrun train plain.plan data.files=plain.fasta trainer.output_dir=own trainer.max_steps=100000000 "
                "trainer.logging_steps=1 %s & " MDL_E2E_UNTIL_IT_TRAINS("own") "kill -KILL $pid; wait $pid",
                same);
    mdl_e2e_run(e, 0,
                "for i in model.safetensors config.json vocab.txt train_results.json all_results.json; do "
                "cmp before/$i own/$i || exit 1; done; cmp before/metrics.jsonl own/metrics.jsonl.old");
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "own", mdl_printf(e->memory, "trainer.max_steps=2 %s", same));
    mdl_e2e_check_finite(e, "own", 2);
    CHECK(e->t, !same_weights(e, "before", "own"), "the weights are those of the run before");
    mdl_e2e_run(e, 0, "! cmp -s before/train_results.json own/train_results.json && [ ! -e own/metrics.jsonl.old ]");
}

/* The last step's update alone spoils the weights: nothing later could notice. */
static void spoilt_weights(mdl_e2e *e) {
    const char *said = mdl_e2e_train(e, 1, "plain.plan", "plain.fasta", "spoilt",
                                     "trainer.max_steps=1 trainer.learning_rate=1e38 trainer.lr_scheduler_type=constant");
    CHECK(e->t,
          strstr(said, "error: after step 1, at learning rate 1e+38: ") && strstr(said, " weights are not finite, the first in '"),
          "it does not say so:\n%s", said);
    CHECK(e->t, !mdl_e2e_exists(e, "spoilt/model.safetensors") && !mdl_e2e_exists(e, "spoilt/train_results.json"),
          "results are written");
}

/* Each command takes a plan whose path has '=' in it, and settings behind it. */
static void equals_sign(mdl_e2e *e) {
    mdl_e2e_run(e, 0, "cp plain.plan a=b.plan");
    mdl_e2e_train(e, 0, "a=b.plan", "plain.fasta", "equals", "trainer.max_steps=2");
    static const char *const commands[] = {"mdlrun eval a=b.plan --weights equals plain.fasta data.mlm_probability=0.3",
                                           "mdlrun data plain.fasta --plan a=b.plan",
                                           "mdlrun inspect a=b.plan list",
                                           "mdlrun diff a=b.plan plain.plan",
                                           "mdlrun profile a=b.plan --steps 1 data.files=plain.fasta",
                                           "mdlrun replay a=b.plan data.files=plain.fasta trainer.output_dir=equals --step 2"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) mdl_e2e_run(e, 0, "%s", commands[i]);
}

/* The model that docs/how-to.md shows compiles and trains as it says there. */
static void documented_model(mdl_e2e *e) {
    mdl_e2e_run(
        e, 0,
        "mkdir shown && cp -r models/* shown && sed -n '/^```mdl$/,/^```$/p' '%s/docs/how-to.md' | sed '/^```/d' > shown/plain.mdl",
        mdl_test_source(e->t));
    mdl_e2e_run(e, 0, "mdlc shown/plain.mdl --tokens 256 --seqs 8 -o shown.plan");
    mdl_e2e_train(e, 0, "shown.plan", "plain.fasta", "shown_run", "trainer.max_steps=30 trainer.learning_rate=1e-2");
    mdl_e2e_check_finite(e, "shown_run", 30);
    double *losses;
    int n = mdl_e2e_metrics(e, "shown_run", "loss", &losses);
    if (n) CHECK(e->t, losses[n - 1] < losses[0] - 0.3, "the loss goes from %g to %g", losses[0], losses[n - 1]);
}

void suite_edge(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "edge");
    if (mdl_case(t, "edge: no label in a step")) no_label(&e);
    if (mdl_case(t, "edge: labels in some micro-batches only")) rare_labels(&e);
    if (mdl_case(t, "edge: more sequences than S")) few_segments(&e);
    if (mdl_case(t, "edge: a batch without a tail")) no_tail(&e);
    if (mdl_case(t, "edge: one token")) one_token(&e);
    if (mdl_case(t, "edge: one residue, all of it masked")) one_residue(&e);
    if (mdl_case(t, "edge: sequences longer than T")) too_long(&e);
    if (mdl_case(t, "edge: weights out, in and out again")) round_trip(&e);
    if (mdl_case(t, "edge: an output folder that holds results")) overwrite(&e);
    if (mdl_case(t, "edge: going on in the same folder")) go_on(&e);
    if (mdl_case(t, "edge: weights that are not finite")) spoilt_weights(&e);
    if (mdl_case(t, "edge: a plan whose path has '=' in it")) equals_sign(&e);
    if (mdl_case(t, "edge: the model that docs/how-to.md shows")) documented_model(&e);
    mdl_e2e_end(&e);
}
