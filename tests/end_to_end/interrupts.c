/* Signals while a plan trains, and a log that nobody reads. */
#include <string.h>

#include "tests/end_to_end/run.h"

/* `env`, since a shell without job control starts what it puts into the background with SIGINT ignored. */
#define IN_BACKGROUND "env --default-signal=INT,TERM,HUP,USR1 mdlrun train plain.plan data.files=plain.fasta trainer.output_dir="

/* 30 times, at any moment: the run ends in good order, and the next one goes on from its last step. */
static void interrupts(mdl_e2e *e) {
    mdl_e2e_run(e, 0, "'%s/scripts/soak/interrupts' 30", mdl_test_source(e->t));
    const char *said = mdl_e2e_run(
        e, 130, IN_BACKGROUND "cut trainer.max_steps=100000000 & " MDL_E2E_UNTIL_IT_TRAINS("cut") "kill -INT $pid; wait $pid");
    CHECK(e->t, strstr(said, "interrupted after step "), "it does not say so:\n%s", said);
    CHECK(e->t, !mdl_e2e_exists(e, "cut/train_results.json") && !mdl_e2e_exists(e, "cut/checkpoint-last"),
          "a run that is not done has results");
}

/* Without checkpoints asked for, a signal saves one; with save_on_stop=false it does not. */
static void on_stop(mdl_e2e *e) {
    static const char none[] = "trainer.max_steps=100000000 trainer.save_strategy=no";
    mdl_e2e_run(e, 0,
                IN_BACKGROUND
                "saved %s & " MDL_E2E_UNTIL_IT_TRAINS("saved") "kill -USR1 $pid; wait $pid && ls saved/checkpoint-*/COMMIT.json",
                none);
    mdl_e2e_run(e, 0,
                IN_BACKGROUND "unsaved trainer.save_on_stop=false %s & " MDL_E2E_UNTIL_IT_TRAINS(
                    "unsaved") "kill -TERM $pid; wait $pid && ! ls unsaved/checkpoint-*",
                none);
}

/* A step of 5,000 micro-batches: the first signal is a wish, SIGTERM after it no news, a SIGINT after it the end. */
static void second_signal(mdl_e2e *e) {
    mdl_e2e_run(e, 130,
                IN_BACKGROUND
                "twice trainer.gradient_accumulation_steps=5000 >twice.log & pid=$!; i=0; "
                "until grep -q ^output twice.log || [ $i -gt 600 ]; do sleep 0.05; i=$((i + 1)); done; "
                "kill -INT $pid; sleep 0.3; kill -TERM $pid; sleep 0.1; kill -0 $pid || exit 1; kill -INT $pid; wait $pid");
    CHECK(e->t, !mdl_e2e_exists(e, "twice/checkpoint-1"), "the first step was waited for");
}

/* What was ignored when the run began stays so, and a log that nobody reads does not end it. */
static void ignored_signals(mdl_e2e *e) {
    mdl_e2e_run(e, 0,
                "env --ignore-signal=INT,HUP "
                "mdlrun train plain.plan data.files=plain.fasta trainer.output_dir=deaf trainer.max_steps=100000000 "
                "& " MDL_E2E_UNTIL_IT_TRAINS(
                    "deaf") "kill -INT $pid; kill -HUP $pid; sleep 0.3; kill -0 $pid || exit 1; kill -TERM $pid; wait $pid");
    mdl_e2e_run(e, 0,
                "{ mdlrun train plain.plan data.files=plain.fasta trainer.output_dir=unread trainer.max_steps=200 "
                "trainer.logging_steps=1; echo $? >unread.status; } | head -n 1; grep -x 0 unread.status");
    CHECK(e->t, mdl_e2e_exists(e, "unread/model.safetensors"), "no weights are written");
}

/* While a run lives, its folder is its own; killed, it leaves it to the next. */
static void two_runs(mdl_e2e *e) {
    const char *said = mdl_e2e_run(
        e, 2,
        IN_BACKGROUND "shared trainer.max_steps=100000000 & " MDL_E2E_UNTIL_IT_TRAINS(
            "shared") "mdlrun train plain.plan data.files=plain.fasta trainer.output_dir=shared trainer.overwrite_output_dir=true; "
                      "status=$?; kill -KILL $pid; wait $pid; exit $status");
    CHECK(e->t, strstr(said, "shared: another run is writing there: process "), "it does not say so:\n%s", said);
    mdl_e2e_train(e, 0, "plain.plan", "plain.fasta", "shared", "trainer.max_steps=2 trainer.overwrite_output_dir=true");
}

void suite_interrupts(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "interrupts");
    mdl_case(t, "interrupts: a plan to interrupt");
    mdl_e2e_fasta(&e, "plain.fasta", 30, 40);
    mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl --set L=2 --set D=64 --set H=4 --tokens 256 --seqs 8 -o plain.plan");
    if (mdl_case(t, "interrupts: at any moment")) interrupts(&e);
    if (mdl_case(t, "interrupts: what a signal saves")) on_stop(&e);
    if (mdl_case(t, "interrupts: two runs in one folder")) two_runs(&e);
    if (mdl_case(t, "interrupts: a second signal")) second_signal(&e);
    if (mdl_case(t, "interrupts: ignored signals, and a closed pipe")) ignored_signals(&e);
    mdl_e2e_end(&e);
}
