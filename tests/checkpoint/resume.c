/* Runs that stop and go on, as a user has them: nothing but times tells them from runs that never stopped. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/checkpoint/checkpoint.h"
#include "tests/end_to_end/run.h"

/* Metrics but for those that are times: what comes before "step_time" or "eval_runtime" in every line. */
static const char *untimed(mdl_e2e *e, const char *output) {
    return mdl_e2e_run(e, 0, "sed -E 's/, \"(step_time|eval_runtime)\".*//' %s/metrics.jsonl", output);
}

/* Every safetensors file below A is in B, bit for bit; *.json but for times and hashes of them. */
#define SAME_FOLDERS                                                                                        \
    "same() { for i in $(cd $1 && find . -name '*.safetensors'); do cmp $1/$i $2/$i || exit 1; done; "      \
    "for i in $(cd $1 && find . -name '*.json'); do sed -E -e '" TIMES "' $1/$i >x.json; sed -E -e '" TIMES \
    "' "                                                                                                    \
    "$2/$i >y.json; diff x.json y.json || { echo $i; exit 1; }; done; }; "
#define TIMES                                                                                       \
    "s/\"(step_time|tflops|train_runtime|seconds|time|[a-z_]*_per_second[a-z_]*)\": [-0-9.e]*//g; " \
    "s/\"(self|run|hash)\": \"[0-9a-f]*\"//g; s/\"bytes\": [0-9]*//g"

static void train(mdl_e2e *e, const char *plan, const char *output, const char *settings) {
    mdl_e2e_train(e, 0, plan, "plain.fasta", output, settings);
}

/* 2N steps at once, and N and N: 30 sequences of 42 tokens are five or six batches of 256, so the stop is inside the second epoch.
 */
static void halves(mdl_e2e *e, const char *name, const char *plan, const char *settings) {
    const char *whole = mdl_printf(e->memory, "%s_whole", name), *parts = mdl_printf(e->memory, "%s_parts", name);
    const char *both = mdl_printf(e->memory, "trainer.save_steps=8 trainer.learning_rate=1e-2 trainer.decay_steps=20 %s", settings);
    train(e, plan, whole, mdl_printf(e->memory, "%s trainer.max_steps=16 ", both));
    train(e, plan, parts, mdl_printf(e->memory, "%s trainer.max_steps=8", both));
    train(e, plan, parts, mdl_printf(e->memory, "%s trainer.max_steps=16 trainer.resume_from_checkpoint=true", both));
    mdl_e2e_run(e, 0,
                "for i in checkpoint-8 checkpoint-16 checkpoint-last .; do for j in %s/$i/*.safetensors; do "
                "cmp $j %s/$i/$(basename $j) || exit 1; done; done",
                whole, parts);
    const char *expected = untimed(e, whole), *got = untimed(e, parts);
    CHECK(e->t, !strcmp(expected, got) && strstr(got, "\"step\": 16,"), "%s: metrics differ\n%s\n%s", name, expected, got);
    mdl_e2e_run(e, 0, "grep train_loss %s/train_results.json >x; grep train_loss %s/train_results.json | diff x -", whole, parts);
}

/* A run of 16 steps of which all after the 8th is lost: lines of metrics are means of three steps, and one of them is open then. */
static void lost_half(mdl_e2e *e) {
    static const char settings[] = "trainer.save_steps=8 trainer.max_steps=16 data.mlm_probability=0.01 trainer.logging_steps=3";
    train(e, "plain.plan", "rare_whole", settings);
    mdl_e2e_run(e, 0, "cp -r rare_whole rare_parts; rm -r rare_parts/checkpoint-16 rare_parts/checkpoint-last");
    train(e, "plain.plan", "rare_parts", mdl_printf(e->memory, "%s trainer.resume_from_checkpoint=true", settings));
    const char *expected = untimed(e, "rare_whole"), *got = untimed(e, "rare_parts");
    CHECK(e->t, !strcmp(expected, got) && strstr(got, "\"step\": 9,"), "metrics differ\n%s\n%s", expected, got);
    mdl_e2e_run(e, 0, SAME_FOLDERS "same rare_whole rare_parts");
}

static void exact(mdl_e2e *e) {
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl --set L=2 --set D=64 --set H=4 --tokens 256 --seqs 8 --precision bf16 -o bf16.plan");
    if (mdl_case(e->t, "resume: N + N steps are 2N, f32")) halves(e, "f32", "plain.plan", "");
    if (mdl_case(e->t, "resume: N + N steps are 2N, other numbers of threads"))
        halves(e, "threads", "plain.plan", "trainer.num_threads=1");
    if (mdl_case(e->t, "resume: N + N steps are 2N, two micro-batches"))
        halves(e, "micro", "plain.plan", "trainer.gradient_accumulation_steps=2");
    if (mdl_case(e->t, "resume: N + N steps are 2N, few labels, means of three steps")) lost_half(e);
    if (mdl_case(e->t, "resume: N + N steps are 2N, lines of metrics and evaluations that the end of a run adds"))
        halves(e, "between", "plain.plan",
               "trainer.logging_steps=5 data.validation_files=plain.fasta trainer.eval_strategy=steps trainer.eval_steps=6");
    if (mdl_case(e->t, "resume: N + N steps are 2N, bf16")) halves(e, "bf16", "bf16.plan", "");
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl --set L=3 --set D=64 --set H=4 --tokens 256 --seqs 8 --precision fp8 -o fp8.plan");
    if (mdl_case(e->t, "resume: N + N steps are 2N, fp8: in the middle of a history of amaxes"))
        halves(e, "fp8", "fp8.plan", "trainer.gradient_accumulation_steps=2");
    mdl_e2e_run(e, 0,
                "mdlc models/esm2.mdl --set L=3 --set D=64 --set H=4 --tokens 256 --seqs 8 --precision fp8 --fp8 recipe=current "
                "-o current.plan");
    if (mdl_case(e->t, "resume: N + N steps are 2N, fp8 with current scaling")) halves(e, "current", "current.plan", "");
}

/* The second half of run micro on a machine without its cache. */
static void other_machine(mdl_e2e *e) {
    static const char settings[] =
        "trainer.save_steps=8 trainer.learning_rate=1e-2 trainer.decay_steps=20 trainer.gradient_accumulation_steps=2 "
        "trainer.max_steps=16 trainer.resume_from_checkpoint=true";
    const char *kept = getenv("XDG_CACHE_HOME"), *home = kept ? mdl_strdup(e->memory, kept) : NULL;
    mdl_e2e_run(e, 0, "cp -r micro_whole moved && rm -r moved/checkpoint-16 moved/checkpoint-last");
    setenv("XDG_CACHE_HOME", mdl_printf(e->memory, "%s/cache", e->folder), 1);
    train(e, "bf16.plan", "moved", settings);
    if (home)
        setenv("XDG_CACHE_HOME", home, 1);
    else
        unsetenv("XDG_CACHE_HOME");
    mdl_e2e_run(e, 0, SAME_FOLDERS "same micro_whole moved");
}

static void target_cuda(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin_cuda(t, "resume_cuda");
    mdl_e2e_fasta(&e, "plain.fasta", 10, 30);
    mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl %s --set L=1 --set D=64 --set H=4 --tokens 64 --seqs 4 -o gpu.plan", e.target);
    mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl %s --precision bf16 --set L=1 --set D=64 --set H=4 --tokens 64 --seqs 4 -o bf16.plan",
                e.target);
    if (mdl_case(t, "resume: N + N steps are 2N, target cuda")) halves(&e, "gpu", "gpu.plan", "");
    if (mdl_case(t, "resume: N + N steps are 2N, target cuda in bf16")) halves(&e, "bf16", "bf16.plan", "");
    if (mdl_case(t, "resume: N + N steps are 2N, target cuda, two micro-batches"))
        halves(&e, "micro", "bf16.plan", "trainer.gradient_accumulation_steps=2");
    if (mdl_case(t, "resume: target cuda, where no choice of products is known but the checkpoint's")) other_machine(&e);
    mdl_e2e_end(&e);
}

/* The test of the recipe that users come from. */
static void recipe(mdl_e2e *e) {
    static const char settings[] = "trainer.save_steps=2 trainer.max_steps=4";
    train(e, "plain.plan", "recipe", settings);
    mdl_e2e_run(e, 0,
                "for i in checkpoint-2 checkpoint-4 checkpoint-last; do ls recipe/$i/*.safetensors recipe/$i/*.json || exit 1; "
                "done; ls recipe/train_results.json; cp -r recipe kept; rm -r recipe/checkpoint-4");
    const char *said = mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "recipe",
                                     mdl_printf(e->memory, "%s trainer.resume_from_checkpoint=true", settings));
    CHECK(e->t, strstr(said, "resumed     recipe/checkpoint-2: step 2,"), "it does not say so:\n%s", said);
    CHECK(e->t, !strstr(said, "changed  "), "something has changed:\n%s", said);
    mdl_e2e_run(e, 0, SAME_FOLDERS "same kept recipe && ! ls -d recipe/*.tmp-*");
}

/* A killed run goes on, with every line of metrics once. */
static void killed(mdl_e2e *e) {
    static const char settings[] = "trainer.save_steps=30 trainer.lr_scheduler_type=constant trainer.resume_from_checkpoint=true";
    mdl_e2e_run(
        e, 137,
        "mdlrun train plain.plan data.files=plain.fasta trainer.output_dir=killed trainer.logging_steps=1 "
        "trainer.max_steps=100000000 %s >killed.log & pid=$!; i=0; "
        "until [ -e killed/checkpoint-90 ] || [ $i -gt 600 ]; do sleep 0.05; i=$((i + 1)); done; kill -KILL $pid; wait $pid",
        settings);
    train(e, "plain.plan", "killed", mdl_printf(e->memory, "%s trainer.max_steps=900 trainer.save_total_limit=2", settings));
    double *steps;
    int n = mdl_e2e_metrics(e, "killed", "step", &steps);
    CHECK(e->t, n == 900, "%d lines of metrics", n);
    for (int i = 0; i < n; i++) CHECK(e->t, steps[i] == i + 1, "line %d is of step %g", i + 1, steps[i]);
    mdl_e2e_run(e, 0,
                "ls -d killed/checkpoint-* | tr '\\n' ' ' | grep -x "
                "'killed/checkpoint-870 killed/checkpoint-900 killed/checkpoint-last '");
}

static void expect_said(mdl_e2e *e, const char *said, const char *text) {
    CHECK(e->t, strstr(said, text), "it does not say '%s':\n%s", text, said);
}

/* A copy of a run that saved at 2 and 4, resumed with other settings. */
static const char *resume_copy(mdl_e2e *e, int status, const char *plan, const char *fasta, const char *settings) {
    mdl_e2e_run(e, 0, "rm -rf changed && cp -r kept changed");
    return mdl_e2e_train(e, status, plan, fasta, "changed",
                         mdl_printf(e->memory, "trainer.resume_from_checkpoint=true %s", settings));
}

static void changes(mdl_e2e *e) {
    static const char longer[] = "trainer.max_steps=6";
    mdl_e2e_fasta(e, "other.fasta", 31, 40);
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl --set L=2 --set D=64 --set H=4 --tokens 128 --seqs 8 -o budget.plan");
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl --set L=2 --set D=64 --set H=4 --tokens 256 --seqs 8 --precision bf16 -o narrow.plan");
    mdl_e2e_run(e, 0, "mdlc models/esm2.mdl --set L=2 --set D=96 --set H=4 --tokens 256 --seqs 8 -o wide.plan");
    expect_said(e, resume_copy(e, 0, "plain.plan", "plain.fasta", longer), "trainer.max_steps was 4, is 6: ");
    expect_said(e, resume_copy(e, 0, "plain.plan", "plain.fasta", "trainer.max_steps=6 trainer.learning_rate=1e-3"),
                "trainer.learning_rate was 0.0004, is 0.001: the schedule follows it from here on");
    expect_said(e, resume_copy(e, 0, "plain.plan", "plain.fasta", "trainer.max_steps=6 trainer.seed=7"),
                "trainer.seed was 42, is 7: order and masks are other ones");
    expect_said(e, resume_copy(e, 0, "budget.plan", "plain.fasta", longer), "tokens of a batch was 256, is 128: ");
    expect_said(e, resume_copy(e, 0, "narrow.plan", "plain.fasta", longer), "the precision was f32, is bf16: ");
    expect_said(e, resume_copy(e, 0, "plain.plan", "other.fasta", longer),
                "the data set was 30 sequences of 1200 residues, is 31 of 1240: its place in the old one means nothing here");
    expect_said(e, resume_copy(e, 3, "wide.plan", "plain.fasta", longer), "it is not of the plan's model 'esm2'");
    expect_said(e, resume_copy(e, 2, "plain.plan", "plain.fasta", "trainer.max_steps=3"),
                "changed/checkpoint-4 is of step 4, beyond trainer.max_steps 3");
}

/* The folder "older" becomes a copy of "with_best" whose last checkpoint has a run_state.json without KEY of OBJECT, or of the
 * whole file when that is "". */
static void make_older(mdl_e2e *e, const char *object, const char *key) {
    mdl_new_checkpoint c;
    int64_t bytes;
    mdl_e2e_run(e, 0, "rm -rf older && cp -r with_best older && rm older/checkpoint-4/COMMIT.json");
    const char *dir = mdl_printf(e->memory, "%s/older", e->folder);
    mdl_status status = mdl_checkpoint_begin(e->memory, dir, "checkpoint-4", "r", &c);
    if (!status) mdl_e2e_run(e, 0, "cp older/checkpoint-4/* '%s'", c.folder);
    const char *path = mdl_printf(e->memory, "%s/run_state.json", c.folder);
    json_t *state = json_load_file(path, 0, NULL), *from = *object ? json_object_get(state, object) : state;
    CHECK(e->t, !json_object_del(from, key) && !json_dump_file(state, path, 0), "no key '%s' in '%s'", key, object);
    json_decref(state);
    status = mdl_checkpoint_commit(&c, 4, status, &bytes);
    CHECK(e->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
}

/* Keys that earlier versions did not write: what they say is taken to be as it is now, or to begin anew. */
static void older(mdl_e2e *e) {
    static const char *const keys[][2] = {
        {"", "evaluation"}, {"evaluation", "examples"}, {"evaluation", "best"},     {"data_set", "fingerprint"},
        {"plan", "device"}, {"plan", "compiler"},       {"config", "trainer.seed"}, {"evaluation", "without_better"}};
    static const char settings[] =
        "data.validation_files=plain.fasta trainer.eval_strategy=steps trainer.eval_steps=2 trainer.load_best_model_at_end=true "
        "trainer.save_steps=2";
    train(e, "plain.plan", "with_best", mdl_printf(e->memory, "%s trainer.max_steps=4", settings));
    mdl_e2e_run(e, 0, "cp -r with_best newer");
    train(e, "plain.plan", "newer", mdl_printf(e->memory, "%s trainer.max_steps=6 trainer.resume_from_checkpoint=true", settings));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        make_older(e, keys[i][0], keys[i][1]);
        const char *said =
            mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "older",
                          mdl_printf(e->memory, "%s trainer.max_steps=6 trainer.resume_from_checkpoint=true", settings));
        expect_said(e, said, "resumed     older/checkpoint-4: step 4");
        expect_said(e, said, "trainer.max_steps was 4, is 6");
        const char *change = strstr(said, "changed  ");
        CHECK(e->t, change && !strstr(change + 1, "changed  "), "without '%s' more has changed:\n%s", keys[i][1], said);
        mdl_e2e_run(e, 0, "cmp newer/checkpoint-6/model.safetensors older/checkpoint-6/model.safetensors");
    }
}

/* What is damaged is passed over with its reason, and when nothing is left the run does not begin anew without a word. */
static void damaged(mdl_e2e *e) {
    mdl_e2e_run(e, 0,
                "rm -rf changed hurt && cp -r kept hurt && printf x | dd of=hurt/checkpoint-4/model.safetensors bs=1 seek=900 "
                "conv=notrunc 2>dd.log");
    const char *said = mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "hurt",
                                     "trainer.max_steps=4 trainer.save_steps=2 trainer.resume_from_checkpoint=true");
    expect_said(e, said, "skipped checkpoint-4: hurt/checkpoint-4/model.safetensors is damaged");
    expect_said(e, said, "resumed     hurt/checkpoint-2");
    mdl_e2e_run(e, 0, SAME_FOLDERS "same kept hurt");
    mdl_e2e_run(e, 0, "rm hurt/checkpoint-*/COMMIT.json");
    said = mdl_e2e_train(e, 3, "plain.plan", "plain.fasta", "hurt", "trainer.max_steps=4 trainer.resume_from_checkpoint=true");
    expect_said(e, said, "hurt: no checkpoint can be resumed from:");
    said = mdl_e2e_train(e, 3, "plain.plan", "plain.fasta", "hurt",
                         "trainer.max_steps=4 trainer.resume_from_checkpoint=hurt/checkpoint-2");
    expect_said(e, said, "cannot resume: hurt/checkpoint-2/COMMIT.json: No such file");
}

/* By PATH, also into another folder, whose metrics begin with those of the checkpoint. */
static void by_path(mdl_e2e *e) {
    train(e, "plain.plan", "moved", "trainer.max_steps=4 trainer.save_steps=2 trainer.resume_from_checkpoint=kept/checkpoint-2");
    const char *a = untimed(e, "kept"), *b = untimed(e, "moved");
    CHECK(e->t, !strcmp(a, b), "metrics differ\n%s\n%s", a, b);
    mdl_e2e_run(e, 0, "for i in checkpoint-4 checkpoint-last .; do cmp kept/$i/model.safetensors moved/$i/model.safetensors; done");
    const char *said =
        mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "fresh", "trainer.max_steps=2 trainer.resume_from_checkpoint=true");
    expect_said(e, said, "no checkpoint in fresh: the run begins at step 0");
    mdl_e2e_train(e, 2, "plain.plan", "plain.fasta", "kept", "trainer.max_steps=4");
    mdl_e2e_run(e, 0, "mkdir early && echo '{\"step\": 1}' >early/metrics.jsonl");
    mdl_e2e_train(e, 2, "plain.plan", "plain.fasta", "early", "trainer.max_steps=2");
    train(e, "plain.plan", "early", "trainer.max_steps=2 trainer.resume_from_checkpoint=True");
    mdl_e2e_check_finite(e, "early", 2);
    mdl_e2e_run(e, 0, "mkdir theirs && echo >theirs/pytorch_model.bin");
    said = mdl_e2e_train(e, 2, "plain.plan", "plain.fasta", "theirs", "trainer.max_steps=2 trainer.resume_from_checkpoint=true");
    expect_said(e, said, "theirs/pytorch_model.bin exists: choose another trainer.output_dir");
}

/* A new run in an old run's folder: the old checkpoints go when the first new one is whole, not before. */
static void overwritten(mdl_e2e *e) {
    mdl_e2e_run(e, 0, "rm -rf over && cp -r kept over");
    mdl_e2e_train(
        e, 1, "plain.plan", "plain.fasta", "over",
        "trainer.max_steps=2 trainer.overwrite_output_dir=true trainer.learning_rate=1e38 trainer.lr_scheduler_type=constant");
    mdl_e2e_run(e, 0, SAME_FOLDERS "same kept/checkpoint-4 over/checkpoint-4 && same kept/checkpoint-last over/checkpoint-last");
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "over",
                  "trainer.max_steps=3 trainer.save_steps=3 trainer.overwrite_output_dir=true");
    mdl_e2e_run(e, 0, "ls -d over/checkpoint-* | tr '\\n' ' ' | grep -x 'over/checkpoint-3 over/checkpoint-last '");
}

/* It ends as the run would, and leaves the folder as it was. */
static void dry(mdl_e2e *e) {
    static const char *const folders[] = {"new", "new/below/that", "dry"};
    static const char *const settings[] = {"", "", "trainer.resume_from_checkpoint=true trainer.max_steps=9"};
    static const char *const said[] = {"steps 1 to 2 would follow", "steps 1 to 2 would follow", "steps 5 to 9 would follow"};
    mdl_e2e_run(e, 0, "rm -rf dry && cp -r kept dry && mkdir dry/checkpoint-6.tmp-1 && find dry | sort | xargs ls -ld >before");
    for (int i = 0; i < 3; i++)
        expect_said(e,
                    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", folders[i],
                                  mdl_printf(e->memory, "--dry-run trainer.max_steps=2 %s", settings[i])),
                    said[i]);
    expect_said(e, mdl_e2e_train(e, 2, "plain.plan", "plain.fasta", "dry", "--dry-run"), "exists: choose another");
    expect_said(e, mdl_e2e_train(e, 3, "plain.plan", "absent.fasta", "new", "--dry-run"), "absent.fasta");
    mdl_e2e_run(e, 0, "[ ! -e new ] && find dry | sort | xargs ls -ld | diff before -");
}

/* The job that docs/checkpoints.md shows: a first run that gets SIGUSR1, a second one that ends. srun and scontrol are stand-ins.
 */
static void cluster(mdl_e2e *e) {
    mdl_e2e_run(
        e, 0,
        "mkdir bin && cp plain.plan esm2.plan && sed -n '/^```sh$/,/^```$/p' '%s/docs/checkpoints.md' | sed '/^```/d' >job.sh && "
        "grep -q srun job.sh",
        mdl_test_source(e->t));
    mdl_e2e_write(e, "bin/scontrol", "#!/bin/sh\necho \"$*\" >>queue\n");
    mdl_e2e_write(e, "bin/srun",
                  "#!/bin/sh\n[ ! -e queue ] || exec \"$@\"\n"
                  "\"$@\" & " MDL_E2E_UNTIL_IT_TRAINS("runs/esm2") "kill -USR1 $pid; wait $pid\n");
    static const char job[] =
        "export SLURM_JOB_ID=17 PATH=$PWD/bin:$PATH; sh job.sh data.files=plain.fasta trainer.max_steps=3000 "
        "trainer.logging_steps=100";
    mdl_e2e_run(e, 0, "chmod +x bin/*; %s && grep -x 'requeue 17' queue && [ ! -e runs/esm2/train_results.json ]", job);
    mdl_e2e_run(e, 0, "%s && [ $(wc -l <queue) = 1 ] && [ -e runs/esm2/train_results.json ]", job);
}

static void strategies(mdl_e2e *e) {
    train(e, "plain.plan", "epochs", "trainer.max_steps=13 trainer.save_strategy=epoch");
    mdl_e2e_run(
        e, 0,
        "ls -d epochs/checkpoint-* | tr '\\n' ' ' | grep -x 'epochs/checkpoint-10 epochs/checkpoint-5 epochs/checkpoint-last '");
    train(e, "plain.plan", "never", "trainer.max_steps=3 trainer.save_steps=1 trainer.save_strategy=no");
    mdl_e2e_run(e, 0, "ls -d never/checkpoint-* | tr '\\n' ' ' | grep -x 'never/checkpoint-last '");
}

/* A step that leaves the finite numbers: nothing of it is saved, its batch is kept, and it can be had again. */
static void trouble(mdl_e2e *e) {
    static const char settings[] =
        "trainer.max_steps=9 trainer.save_steps=1 trainer.learning_rate=1e15 trainer.lr_scheduler_type=constant";
    const char *said = mdl_e2e_train(e, 1, "plain.plan", "plain.fasta", "nan", settings);
    expect_said(e, said, "step 2: the loss is ");
    mdl_e2e_run(e, 0, "cd nan; ls -A | tr '\\n' ' ' | grep -x 'checkpoint-1 metrics.jsonl trouble-step-2 '");
    mdl_e2e_run(e, 0, "grep -q '\"sequences\": \\[' nan/trouble-step-2/step.json && [ -s nan/trouble-step-2/batch.safetensors ]");
    said = mdl_e2e_run(e, 1, "mdlrun replay plain.plan data.files=plain.fasta trainer.output_dir=nan %s --step 2", settings);
    expect_said(e, said, "resumed     nan/checkpoint-1");
    expect_said(e, said, "its batch is the one in nan/trouble-step-2");
    said = mdl_e2e_run(
        e, 1, "mdlrun replay plain.plan data.files=plain.fasta data.mlm_probability=0.3 trainer.output_dir=nan %s --step 2",
        settings);
    expect_said(e, said, "its batch is not the one in nan/trouble-step-2");
}

/* The numbers of a replayed step are those that the run logged. */
static void replay(mdl_e2e *e) {
    double *losses, *norms;
    char text[64];
    int n = mdl_e2e_metrics(e, "f32_whole", "loss", &losses);
    if (n != 16 || mdl_e2e_metrics(e, "f32_whole", "grad_norm", &norms) != n) {
        CHECK(e->t, false, "%d lines of metrics", n);
        return;
    }
    static const int steps[] = {3, 8, 9, 15};
    for (int i = 0; i < 4; i++) {
        const char *said = mdl_e2e_run(e, 0,
                                       "mdlrun replay plain.plan data.files=plain.fasta trainer.output_dir=f32_whole "
                                       "trainer.max_steps=16 trainer.learning_rate=1e-2 trainer.decay_steps=20 --step %d",
                                       steps[i]);
        const char *line = strstr(said, mdl_printf(e->memory, "step %d  loss ", steps[i]));
        double loss = NAN, norm = NAN;
        snprintf(text, sizeof text, "step %d  loss %%lg  grad_norm %%lg", steps[i]);
        int read = line ? sscanf(line, text, &loss, &norm) : 0;
        CHECK(e->t, read == 2 && loss == losses[steps[i] - 1] && norm == norms[steps[i] - 1], "expected loss %.17g, got:\n%s",
              losses[steps[i] - 1], said);
        bool near = strstr(said, "resumed     f32_whole/checkpoint-8: step 8"), begins = strstr(said, "from the beginning");
        CHECK(e->t, near == (steps[i] > 8) && begins == (steps[i] <= 8), "it begins elsewhere:\n%s", said);
    }
}

void suite_resume(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "resume");
    mdl_case(t, "resume: a plan to stop");
    mdl_e2e_fasta(&e, "plain.fasta", 30, 40);
    mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl --set L=2 --set D=64 --set H=4 --tokens 256 --seqs 8 -o plain.plan");
    exact(&e);
    if (mdl_case(t, "resume: the recipe's test")) recipe(&e);
    if (mdl_case(t, "resume: what has changed is said, with what follows")) changes(&e);
    if (mdl_case(t, "resume: a checkpoint of an older version, without keys that came later")) older(&e);
    if (mdl_case(t, "resume: damaged checkpoints")) damaged(&e);
    if (mdl_case(t, "resume: by path, and where there is none")) by_path(&e);
    if (mdl_case(t, "resume: a new run in an old folder")) overwritten(&e);
    if (mdl_case(t, "resume: a dry run")) dry(&e);
    if (mdl_case(t, "resume: strategies")) strategies(&e);
    if (mdl_case(t, "resume: the job of docs/checkpoints.md")) cluster(&e);
    if (mdl_case(t, "resume: a killed run")) killed(&e);
    if (mdl_case(t, "resume: a step that is not finite")) trouble(&e);
    if (mdl_case(t, "resume: a step again")) replay(&e);
    mdl_e2e_end(&e);
    target_cuda(t);
}
