/* Evaluation as a user has it: its figures, and what a run does by them. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/train/evaluate.h"
#include "runtime/train/start.h"
#include "tests/end_to_end/run.h"

static double number(const char *json, const char *key) {
    json_t *root = json_loads(json, 0, NULL), *value = json_object_get(root, key);
    double x = json_is_number(value) ? json_number_value(value) : (double)NAN;
    json_decref(root);
    return x;
}

static void expect_near(mdl_e2e *e, const char *what, double got, double expected, double relative) {
    CHECK(e->t, fabs(got - expected) <= relative * fabs(expected), "%s: %.17g, expected %.17g", what, got, expected);
}

static void expect_said(mdl_e2e *e, const char *said, const char *text) {
    CHECK(e->t, strstr(said, text), "it does not say '%s':\n%s", text, said);
}

/* ---- figures ---- */

static const int32_t *labels_of(const mdl_plan *plan, const mdl_batch *batch) {
    for (int i = 0; i < plan->inputs.n; i++)
        if (!strcmp(plan->inputs.at[i].source, "masked")) return batch->input[i];
    return NULL;
}

typedef struct {
    double loss, right, labels;
} plain;

/* Cross entropy and accuracy of the labelled rows of logits [T, V], in f64. */
static void add_rows(plain *p, int64_t tokens, int64_t width, const float *logits, const int32_t *labels) {
    for (int64_t t = 0; t < tokens; t++, logits += width) {
        double sum = 0;
        int64_t top = 0;
        if (labels[t] == -100) continue;
        for (int64_t v = 1; v < width; v++)
            if (logits[v] > logits[top]) top = v;
        for (int64_t v = 0; v < width; v++) sum += exp((double)logits[v] - logits[top]);
        p->loss += log(sum) + logits[top] - logits[labels[t]];
        p->right += top == labels[t];
        p->labels++;
    }
}

/* The program logits over the same batches, and the rest by hand. */
static mdl_status by_hand(mdl_e2e *e, mdl_session *s, mdl_loader *loader, plain *p) {
    const mdl_plan_buffer *buffer = NULL;
    const mdl_batch *batch;
    const char *name = mdl_plan_find_program(s->plan, "logits")->results.at[0].name;
    mdl_status status = mdl_session_result_tensor(s, "logits", name, &buffer, NULL, 0);
    int64_t tokens = s->plan->tokens, width = buffer->type.dim[1];
    float *logits = MDL_NEW_ARRAY(e->memory, float, tokens *width);
    while (!status && !(status = mdl_loader_next(loader, &batch, NULL, NULL)) && batch->sequences) {
        status = mdl_session_upload(s, batch);
        if (!status) status = mdl_session_run(s, "logits");
        if (!status) status = mdl_session_result_tensor(s, "logits", name, &buffer, logits, 4 * tokens * width);
        add_rows(p, tokens, width, logits, labels_of(s->plan, batch));
    }
    return status;
}

static void against_plain(mdl_e2e *e, const char *json) {
    char *settings[] = {mdl_strdup(e->memory, mdl_printf(e->memory, "data.validation_files=%s/held.fasta", e->folder)),
                        mdl_strdup(e->memory, mdl_printf(e->memory, "model.init_from=%s/trained", e->folder))};
    mdl_config *config = NULL;
    mdl_session *s = NULL;
    mdl_loader *loader = NULL;
    plain p = {0};
    mdl_status status = mdl_config_read(NULL, 2, settings, &config);
    if (!status) status = mdl_session_open(mdl_printf(e->memory, "%s/plain.plan", e->folder), 1, &s);
    if (!status) status = mdl_start_weights(config, s, NULL);
    if (!status) status = mdl_start_validation(config, s->plan, &loader);
    if (!status) status = by_hand(e, s, loader, &p);
    CHECK(e->t, !status && p.labels > 100, "%g labels; %s", p.labels, mdl_message(status));
    mdl_status_free(status);
    expect_near(e, "eval_loss", number(json, "eval_loss"), p.loss / p.labels, 1e-6); /* f32 sums of at most 256 losses a batch */
    expect_near(e, "eval_perplexity", number(json, "eval_perplexity"), exp(p.loss / p.labels), 5e-6); /* of the loss, ~3 times */
    expect_near(e, "eval_acc", number(json, "eval_acc"), p.right / p.labels, 0);
    mdl_loader_close(loader);
    mdl_session_close(s);
    mdl_config_free(config);
}

static const char *eval(mdl_e2e *e, const char *plan, const char *options) {
    return mdl_e2e_run(e, 0, "mdlrun eval %s --json --weights trained held.fasta %s", plan, options);
}

/* What is no time. */
static const char *untimed(mdl_e2e *e, const char *figures) {
    char *text = mdl_strdup(e->memory, figures), *times = strstr(text, ", \"eval_runtime\"");
    if (times) *times = 0;
    return text;
}

static void expect_same(mdl_e2e *e, const char *what, const char *a, const char *b) {
    CHECK(e->t, strstr(a, "eval_loss") && !strcmp(a, b), "%s:\n%s\n%s", what, a, b);
}

static void figures(mdl_e2e *e) {
    const char *json = eval(e, "plain.plan", "");
    mdl_case(e->t, "evaluation: figures are those of logits, in f64");
    against_plain(e, json);
    mdl_case(e->t, "evaluation: another cut into batches changes the rounding alone, threads nothing");
    const char *cut = eval(e, "small.plan", "");
    expect_near(e, "eval_loss", number(cut, "eval_loss"), number(json, "eval_loss"), 1e-6);
    expect_near(e, "eval_acc", number(cut, "eval_acc"), number(json, "eval_acc"), 0);
    expect_same(e, "threads", untimed(e, json), untimed(e, eval(e, "plain.plan", "--threads 1")));
    mdl_case(e->t, "evaluation: files one after the other are one file");
    const char *parts = mdl_e2e_run(e, 0,
                                    "head -n 20 held.fasta >one.fasta; tail -n +21 held.fasta >two.fasta; mdlrun eval plain.plan "
                                    "--json --weights trained one.fasta two.fasta");
    expect_same(e, "parts", untimed(e, json), untimed(e, parts));
    mdl_case(e->t, "evaluation: settings shape it, a configuration names its files");
    const char *more = eval(e, "plain.plan", "data.mlm_probability=0.5");
    CHECK(e->t, number(more, "eval_loss") != number(json, "eval_loss"), "masks are the same: %s", more);
    mdl_e2e_write(e, "run.yaml", "data:\n  validation_files: held.fasta\n  mlm_probability: 0.5\n");
    const char *config = mdl_e2e_run(e, 0, "mdlrun eval plain.plan --json --weights trained --config run.yaml");
    expect_same(e, "configuration", untimed(e, more), untimed(e, config));
}

/* Two losses, one of numbers a sequence of which some are absent. */
static void two_losses(mdl_e2e *e) {
    mdl_text table = {.arena = e->memory};
    mdl_case(e->t, "evaluation: of two losses, each over its own count, and a metric of sequences");
    mdl_text_printf(&table, "sequence,a,b\n");
    for (int i = 0; i < 40; i++)
        mdl_text_printf(&table, "MKTAYIAKQRQISFVKSHFSRQ%.*s,%s,%d\n", i % 17, "LEERLGLIEVQAPILSR", i % 3 ? "" : "3.5", i % 5);
    mdl_e2e_write(e, "table.csv", table.at);
    mdl_e2e_run(e, 0,
                "mkdir heads && cp -r models/* heads && sed \"s/^const pad = 1, mask = 32;/$(grep ^vocab models/esm2.mdl)/\" "
                "models/twohead.mdl >heads/two.mdl");
    const char *json[2];
    for (int i = 0; i < 2; i++)
        json[i] = mdl_e2e_run(e, 0,
                              "mdlc heads/two.mdl --set L=1 --set D=64 --set H=4 --tokens %d --seqs 8 -o two.plan >log && "
                              "{ [ -e two ] || mdlrun train two.plan data.files=table.csv data.columns=[a,b] trainer.max_steps=2 "
                              "trainer.output_dir=two >log; } && "
                              "mdlrun eval two.plan --json --weights two table.csv data.columns=[a,b]",
                              i ? 64 : 256);
    double mlm = number(json[0], "eval_loss.mlm"), reg = number(json[0], "eval_loss.reg");
    expect_near(e, "eval_loss", number(json[0], "eval_loss"), mlm + 0.1 * reg, 1e-7); /* the weight is f32 or f64 */
    expect_near(e, "eval_loss.mlm", number(json[1], "eval_loss.mlm"), mlm, 1e-6);
    expect_near(e, "eval_loss.reg", number(json[1], "eval_loss.reg"), reg, 1e-6);
    expect_near(e, "eval_mae", number(json[1], "eval_mae"), number(json[0], "eval_mae"), 1e-6);
    CHECK(e->t, isnan(number(json[0], "eval_perplexity")), "a perplexity of two losses: %s", json[0]);
    mdl_e2e_run(e, 0,
                "mdlrun train two.plan data.files=table.csv data.columns=[a,b] data.validation_fraction=0.3 trainer.max_steps=40 "
                "trainer.output_dir=mae trainer.eval_strategy=epoch trainer.metric_for_best_model=mae "
                "trainer.load_best_model_at_end=true trainer.greater_is_better=false && grep -q '\"best_metric\": [0-9]' "
                "mae/checkpoint-last/trainer_state.json && "
                "grep -q '\"eval_mae\": [0-9]' mae/eval_results.json");
}

/* ---- a run ---- */

#define EVALUATING "data.validation_files=held.fasta trainer.eval_strategy=steps trainer.eval_steps=2 "
static const char steady[] = "trainer.learning_rate=1e-2 trainer.decay_steps=40 trainer.save_steps=4 ";

static void train(mdl_e2e *e, const char *output, const char *settings) {
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", output, mdl_printf(e->memory, "%s %s", steady, settings));
}

/* Lines of metrics, without times, that have or have not an eval_loss. */
static const char *lines(mdl_e2e *e, const char *output, bool evaluation) {
    return mdl_e2e_run(e, 0, "grep %s eval_loss %s/metrics.jsonl | sed -E 's/, \"(step_time|eval_runtime)\".*//'",
                       evaluation ? "--" : "-v --", output);
}

static void training_bits(mdl_e2e *e) {
    mdl_case(e->t, "evaluation: training has the same bits with it and without");
    train(e, "without", "trainer.max_steps=8");
    train(e, "with", EVALUATING "trainer.max_steps=8 trainer.eval_on_start=true");
    mdl_e2e_run(e, 0,
                "for i in checkpoint-4 checkpoint-8 checkpoint-last .; do for j in without/$i/*.safetensors; do "
                "cmp $j with/$i/$(basename $j) || exit 1; done; done");
    const char *a = lines(e, "without", false), *b = lines(e, "with", false);
    CHECK(e->t, !strcmp(a, b) && strstr(a, "\"step\": 8,"), "metrics differ:\n%s\n%s", a, b);
    double *steps;
    int n = mdl_e2e_metrics(e, "with", "eval_loss", &steps), count = 0;
    for (int i = 0; i < n; i++) count += !isnan(steps[i]);
    CHECK(e->t, count == 5, "%d evaluations, expected those of steps 0, 2, 4, 6, 8", count);
    mdl_case(e->t, "evaluation: a run says what mdlrun eval says of its weights, whatever its seed");
    const char *results = mdl_e2e_read(e, "with/eval_results.json");
    const char *json = mdl_e2e_run(e, 0, "mdlrun eval plain.plan --json --weights with held.fasta");
    CHECK(e->t, number(results, "eval_loss") == number(json, "eval_loss"), "%s\n%s", results, json);
    CHECK(e->t, number(mdl_e2e_read(e, "with/all_results.json"), "eval_acc") == number(json, "eval_acc"), "all_results.json");
    train(e, "other_seed", EVALUATING "trainer.max_steps=1 trainer.eval_on_start=true trainer.seed=7 model.init_from=with");
    n = mdl_e2e_metrics(e, "other_seed", "eval_loss", &steps);
    CHECK(e->t, n && steps[0] == number(json, "eval_loss"), "of another seed it is not that of %s", json);
}

#define BEST "trainer.load_best_model_at_end=true trainer.save_total_limit=1 trainer.save_steps=3 "

static const char *state_of(mdl_e2e *e, const char *folder) {
    return mdl_e2e_read(e, mdl_printf(e->memory, "%s/trainer_state.json", folder));
}

static void best(mdl_e2e *e) {
    mdl_case(e->t, "evaluation: the best checkpoint outlives the limit, and the run ends with its weights");
    train(e, "best", EVALUATING BEST "trainer.max_steps=9 trainer.greater_is_better=true"); /* the worst loss: the first one */
    const char *names = mdl_e2e_run(e, 0, "ls -d best/checkpoint-* | tr '\\n' ' '");
    CHECK(e->t, !strcmp(names, "best/checkpoint-2 best/checkpoint-9 best/checkpoint-last "), "kept: %s", names);
    mdl_e2e_run(e, 0, "cmp best/model.safetensors best/checkpoint-2/model.safetensors");
    mdl_e2e_run(e, 0, "grep -q '\"best_model_checkpoint\": \"best/checkpoint-2\"' best/checkpoint-9/trainer_state.json");
    double *steps, *loss, metric = number(state_of(e, "best/checkpoint-last"), "best_metric");
    int n = mdl_e2e_metrics(e, "best", "eval_loss", &loss), at = 0;
    mdl_e2e_metrics(e, "best", "step", &steps);
    while (at < n && isnan(loss[at])) at++;
    CHECK(e->t, at < n && steps[at] == 2 && loss[at] == metric, "best_metric %.17g", metric);
    CHECK(e->t, number(mdl_e2e_read(e, "best/eval_results.json"), "eval_loss") == metric, "eval_results.json is of other weights");
    mdl_e2e_run(e, 0, "printf x | dd of=best/checkpoint-2/model.safetensors bs=1 seek=900 conv=notrunc 2>dd.log");
    const char *said = mdl_e2e_train(e, 3, "plain.plan", "plain.fasta", "best",
                                     mdl_printf(e->memory,
                                                "%s " EVALUATING BEST "trainer.max_steps=9 trainer.greater_is_better=true "
                                                "trainer.resume_from_checkpoint=true",
                                                steady));
    expect_said(e, said, "the best weights cannot be loaded (checkpoint-last has those of the last step): best/checkpoint-2/");
    train(e, "falls", EVALUATING BEST "trainer.max_steps=9");
    mdl_e2e_metrics(e, "falls", "eval_loss", &loss);
    double least = NAN;
    for (int i = 0; i < n - 1; i++) least = fmin(least, loss[i]); /* the last line is of step 9, which is for the reader */
    CHECK(e->t, number(state_of(e, "falls/checkpoint-last"), "best_metric") == least, "the least is %.17g", least);
}

/* Steps with a line of evaluation, as text. */
static const char *evaluated_at(mdl_e2e *e, const char *output) {
    return mdl_e2e_run(e, 0, "grep eval_loss %s/metrics.jsonl | sed -E 's/.*\"step\": ([0-9]+).*/\\1/' | tr '\\n' ' '", output);
}

/* 30 sequences of 42 tokens are six batches of 256 at most: steps 5, 10 and 15 end an epoch. */
static void delayed(mdl_e2e *e) {
    mdl_case(e->t, "evaluation: eval_delay counts steps or epochs, and is not for eval_on_start");
    train(e, "late", EVALUATING "trainer.max_steps=8 trainer.eval_delay=6 trainer.eval_on_start=true");
    CHECK(e->t, !strcmp(evaluated_at(e, "late"), "0 6 8 "), "at steps %s", evaluated_at(e, "late"));
    train(e, "epochs", EVALUATING "trainer.max_steps=15 trainer.eval_strategy=epoch trainer.eval_delay=2");
    CHECK(e->t, !strcmp(evaluated_at(e, "epochs"), "10 15 "), "at steps %s", evaluated_at(e, "epochs"));
}

/* The first evaluation and no later one is the best when losses that fall are the worse ones. */
static void saves_best(mdl_e2e *e) {
    static const char settings[] = EVALUATING "trainer.save_strategy=best trainer.greater_is_better=true ";
    mdl_case(e->t, "evaluation: save_strategy=best saves at each best evaluation and at no other step");
    const char *said = mdl_e2e_train(
        e, 0, "plain.plan", "plain.fasta", "each",
        mdl_printf(e->memory, "%s " EVALUATING "trainer.save_strategy=best trainer.save_steps=1 trainer.max_steps=6", steady));
    mdl_e2e_write(e, "each.log", said);
    mdl_e2e_run(e, 0,
                "grep '(best)$' each.log | sed -E 's/evaluated +step ([0-9]+).*/each\\/checkpoint-\\1/' >best.steps; "
                "[ -s best.steps ] && ls -d each/checkpoint-[0-9]* | sort | diff - best.steps");
    train(e, "first", mdl_printf(e->memory, "%s trainer.max_steps=5", settings));
    const char *names = mdl_e2e_run(e, 0, "ls -d first/checkpoint-* | tr '\\n' ' '");
    CHECK(e->t, !strcmp(names, "first/checkpoint-2 first/checkpoint-last "), "kept: %s", names);
    mdl_e2e_run(e, 0, "! cmp -s first/model.safetensors first/checkpoint-2/model.safetensors"); /* it ends with the last step's */
    mdl_case(e->t, "evaluation: the best so far goes through a resume");
    train(e, "first",
          mdl_printf(e->memory, "%s trainer.max_steps=8 trainer.resume_from_checkpoint=first/checkpoint-last", settings));
    names = mdl_e2e_run(e, 0, "ls -d first/checkpoint-* | tr '\\n' ' '");
    CHECK(e->t, !strcmp(names, "first/checkpoint-2 first/checkpoint-last "), "kept: %s", names);
    mdl_e2e_run(e, 0, "grep -q '\"best_model_checkpoint\": \"first/checkpoint-2\"' first/checkpoint-last/trainer_state.json");
}

static void stops_early(mdl_e2e *e) {
    static const char impatient[] = EVALUATING
        "trainer.max_steps=40 trainer.early_stopping_patience=2 "
        "trainer.early_stopping_threshold=100"; /* nothing is better by so much */
    mdl_case(e->t, "evaluation: a run ends when patience does, and is done then");
    const char *said = mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "early", mdl_printf(e->memory, "%s %s", steady, impatient));
    expect_said(e, said, "stopped     early, after step 6: 2 evaluations without a better eval_loss");
    CHECK(e->t, number(mdl_e2e_read(e, "early/train_results.json"), "global_step") == 6, "it has not ended at step 6");
    mdl_e2e_run(e, 0, "cp -r early kept; rm -r early/checkpoint-last");
    train(e, "early", mdl_printf(e->memory, "%s trainer.resume_from_checkpoint=true", impatient));
    mdl_e2e_run(e, 0, "for i in checkpoint-4 checkpoint-last .; do cmp kept/$i/model.safetensors early/$i/model.safetensors; done");
    expect_same(e, "resumed", lines(e, "kept", true), lines(e, "early", true));
    train(e, "patient", EVALUATING "trainer.max_steps=8 trainer.early_stopping_patience=2"); /* losses that fall renew it */
    CHECK(e->t, number(mdl_e2e_read(e, "patient/train_results.json"), "global_step") == 8, "it has not gone on to step 8");
}

/* ---- stopped and gone on ---- */

/* States but for what tells runs and times apart. */
#define SAME_STATES                                                                                                      \
    "same() { for i in run_state trainer_state; do for j in $1 $2; do sed -E 's/\"(step_time|tflops|seconds|run|"        \
    "best_model_checkpoint|[a-z_]*runtime|[a-z_]*_per_second[a-z_]*)\": [^,}]*//g' $j/$i.json >$i.$(dirname $j); done; " \
    "diff $i.$(dirname $1) $i.$(dirname $2) || exit 1; done; }; "

static void resumes(mdl_e2e *e) {
    static const char all[] = EVALUATING BEST
        "trainer.eval_on_start=true trainer.early_stopping_patience=50 trainer.greater_is_better=true "; /* the first is the best */
    mdl_case(e->t, "evaluation: N + N steps are 2N, with its best and its patience");
    train(e, "whole", mdl_printf(e->memory, "%s trainer.max_steps=12", all));
    train(e, "parts", mdl_printf(e->memory, "%s trainer.max_steps=6", all));
    mdl_e2e_run(e, 0, "cp -r parts moved");
    train(e, "parts", mdl_printf(e->memory, "%s trainer.max_steps=12 trainer.resume_from_checkpoint=true", all));
    expect_same(e, "lines of evaluation", lines(e, "whole", true), lines(e, "parts", true));
    mdl_e2e_run(e, 0,
                SAME_STATES "same whole/checkpoint-12 parts/checkpoint-12 && cmp whole/model.safetensors parts/model.safetensors");
    mdl_case(e->t, "evaluation: a run goes on where its folder has gone, and says when its best checkpoint is not there");
    const char *said = mdl_e2e_train(
        e, 0, "plain.plan", "plain.fasta", "moved",
        mdl_printf(e->memory, "%s %s trainer.max_steps=6 trainer.resume_from_checkpoint=./moved/checkpoint-6", steady, all));
    expect_said(e, said, "best        moved/checkpoint-2: step 2");
    train(e, "elsewhere", mdl_printf(e->memory, "%s trainer.max_steps=8 trainer.resume_from_checkpoint=moved/checkpoint-6/", all));
    mdl_e2e_run(e, 0,
                "cmp elsewhere/model.safetensors moved/checkpoint-2/model.safetensors && "
                "grep -q '\"best_model_checkpoint\": \"moved/checkpoint-2\"' elsewhere/checkpoint-last/trainer_state.json");
    mdl_e2e_run(e, 0, "mkdir alone && cp -r moved/checkpoint-6 alone && ls -d moved/checkpoint-*");
    said = mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "alone",
                         mdl_printf(e->memory, "%s %s trainer.max_steps=8 trainer.resume_from_checkpoint=true", steady, all));
    expect_said(e, said, "alone/checkpoint-2, the best checkpoint, is gone: the best evaluation is looked for anew");
}

/* What figures depend on beside weights and data; a limit that no sequence reaches is none of it. */
static void other_masks(mdl_e2e *e) {
    static const char *const settings[] = {"data.mlm_probability=0.3", "data.mask_fraction=0.5",  "data.random_fraction=0.2",
                                           "data.max_seq_length=20",   "data.max_seq_length=100", "trainer.seed=7"};
    mdl_case(e->t, "evaluation: the best is looked for anew when sequences are masked or cut otherwise, and only then");
    train(e, "masks", EVALUATING BEST "trainer.max_steps=4 trainer.greater_is_better=true"); /* of steps 2 and 4, 2 is the best */
    for (int i = 0; i < 6; i++) {
        mdl_e2e_run(e, 0, "rm -rf otherwise && cp -r masks otherwise");
        const char *said = mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "otherwise",
                                         mdl_printf(e->memory,
                                                    "%s " EVALUATING BEST "trainer.greater_is_better=true trainer.max_steps=6 "
                                                    "trainer.resume_from_checkpoint=true %s",
                                                    steady, settings[i]));
        bool anew = strstr(said, "changed     how sequences for evaluation are cut or masked: the best evaluation is looked for");
        double step = number(state_of(e, "otherwise/checkpoint-last"), "best_global_step");
        CHECK(e->t, anew == (i < 4) && (step == 2) == (i >= 4), "%s: the best is that of step %g:\n%s", settings[i], step, said);
    }
}

/* A signal in the middle of an evaluation, which takes nearly all of the time here. */
static void cut_short(mdl_e2e *e) {
    static const char long_one[] =
        "data.validation_files=long.fasta trainer.eval_strategy=steps trainer.eval_steps=1 trainer.max_steps=3 ";
    mdl_case(e->t, "evaluation: one that a signal cuts short is made up for");
    mdl_e2e_fasta(e, "long.fasta", 6000, 40);
    train(e, "uncut", long_one);
    mdl_e2e_run(e, 0,
                "mdlrun train plain.plan data.files=plain.fasta trainer.output_dir=cut trainer.logging_steps=1 %s %s >cut.log "
                "& " MDL_E2E_UNTIL_IT_TRAINS("cut") "kill -TERM $pid; wait $pid",
                steady, long_one);
    expect_said(e, mdl_e2e_read(e, "cut.log"), "interrupted after step 1 of 3");
    mdl_e2e_run(e, 0, "grep -q '\"due\": true' cut/checkpoint-1/run_state.json && ! grep -q eval_loss cut/metrics.jsonl");
    train(e, "cut", mdl_printf(e->memory, "%s trainer.resume_from_checkpoint=true", long_one));
    expect_same(e, "lines of evaluation", lines(e, "uncut", true), lines(e, "cut", true));
    mdl_e2e_run(e, 0, "cmp uncut/model.safetensors cut/model.safetensors");
}

/* Target cuda: the same figures but for rounding in f32. */
static void emulated(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin_cuda(t, "evaluation_cuda");
    static const char sizes[] = "--set L=1 --set D=64 --set H=4 --tokens 64 --seqs 4";
    mdl_case(t, "evaluation: target cuda has the CPU's figures");
    mdl_e2e_fasta(&e, "plain.fasta", 10, 30);
    mdl_e2e_fasta(&e, "held.fasta", 6, 25);
    mdl_e2e_run(
        &e, 0,
        "mdlc models/esm2.mdl %s %s --precision bf16 -o gpu.plan && mdlc models/esm2.mdl %s %s --precision f32 -o exact.plan && "
        "mdlc models/esm2.mdl %s -o cpu.plan",
        e.target, sizes, e.target, sizes, sizes);
    mdl_e2e_train(&e, 0, "gpu.plan", "plain.fasta", "trained", EVALUATING "trainer.max_steps=2");
    const char *gpu = eval(&e, "exact.plan", ""), *cpu = eval(&e, "cpu.plan", "");
    expect_near(&e, "eval_loss", number(gpu, "eval_loss"), number(cpu, "eval_loss"), 1e-5); /* of logits, as mdlrun check has it */
    mdl_case(t, "evaluation: a run in bf16 says what mdlrun eval says of the f32 weights that it wrote");
    const char *run = mdl_e2e_read(&e, "trained/eval_results.json"), *again = eval(&e, "gpu.plan", "");
    CHECK(t, number(again, "eval_loss") == number(run, "eval_loss"), "%s\n%s", again, run);
    mdl_e2e_end(&e);
}

void suite_evaluation(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "evaluation");
    mdl_e2e_fasta(&e, "plain.fasta", 30, 40);
    mdl_e2e_fasta(&e, "held.fasta", 31, 33); /* the last batch is not full */
    mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl --set L=2 --set D=64 --set H=4 --tokens 256 --seqs 8 -o plain.plan");
    mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl --set L=2 --set D=64 --set H=4 --tokens 96 --seqs 8 -o small.plan");
    mdl_e2e_train(&e, 0, "plain.plan", "plain.fasta", "trained", "trainer.max_steps=5 trainer.learning_rate=1e-2");
    figures(&e);
    two_losses(&e);
    training_bits(&e);
    best(&e);
    saves_best(&e);
    delayed(&e);
    stops_early(&e);
    resumes(&e);
    other_masks(&e);
    cut_short(&e);
    mdl_e2e_end(&e);
    emulated(t);
}
