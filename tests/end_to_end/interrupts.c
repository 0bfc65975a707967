/* Signals while a plan trains, and a log that nobody reads. */
#include <string.h>

#include "tests/end_to_end/run.h"

/* `env`, since a shell without job control starts what it puts into the background with SIGINT ignored. */
#define IN_BACKGROUND "env --default-signal=INT,TERM,HUP mdlrun train plain.plan data.files=plain.fasta trainer.output_dir="

/* 30 times, at any moment: the run ends in good order, with weights that can be read. */
static void interrupts(mdl_e2e *e) {
    mdl_e2e_run(e, 0, "'%s/scripts/soak/interrupts' 30", mdl_test_source(e->t));
    static const char *const files[] = {"config.json", "vocab.txt", "train_results.json", "all_results.json"};
    const char *said = mdl_e2e_run(
        e, 130, IN_BACKGROUND "cut trainer.max_steps=100000000 & " MDL_E2E_UNTIL_IT_TRAINS("cut") "kill -INT $pid; wait $pid");
    CHECK(e->t, strstr(said, "interrupted after step "), "it does not say so:\n%s", said);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        CHECK(e->t, mdl_e2e_exists(e, mdl_printf(e->memory, "cut/%s", files[i])), "%s is not written", files[i]);
}

/* A step of 5,000 micro-batches: the first signal is a wish, the second one ends the process. */
static void second_signal(mdl_e2e *e) {
    mdl_e2e_run(e, 143,
                IN_BACKGROUND
                "twice trainer.gradient_accumulation_steps=5000 >twice.log & pid=$!; i=0; "
                "until grep -q ^output twice.log || [ $i -gt 600 ]; do sleep 0.05; i=$((i + 1)); done; "
                "kill -INT $pid; sleep 0.3; kill -0 $pid || exit 1; kill -TERM $pid; wait $pid");
}

/* What was ignored when the run began stays so, and a log that nobody reads does not end it. */
static void ignored_signals(mdl_e2e *e) {
    mdl_e2e_run(e, 130,
                "env --ignore-signal=INT,HUP "
                "mdlrun train plain.plan data.files=plain.fasta trainer.output_dir=deaf trainer.max_steps=100000000 "
                "& " MDL_E2E_UNTIL_IT_TRAINS(
                    "deaf") "kill -INT $pid; kill -HUP $pid; sleep 0.3; kill -0 $pid || exit 1; kill -TERM $pid; wait $pid");
    mdl_e2e_run(e, 0,
                "{ mdlrun train plain.plan data.files=plain.fasta trainer.output_dir=unread trainer.max_steps=200 "
                "trainer.logging_steps=1; echo $? >unread.status; } | head -n 1; grep -x 0 unread.status");
    CHECK(e->t, mdl_e2e_exists(e, "unread/model.safetensors"), "no weights are written");
}

void suite_interrupts(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "interrupts");
    mdl_case(t, "interrupts: a plan to interrupt");
    mdl_e2e_fasta(&e, "plain.fasta", 30, 40);
    mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl --set L=2 --set D=64 --set H=4 --tokens 256 --seqs 8 -o plain.plan");
    if (mdl_case(t, "interrupts: at any moment")) interrupts(&e);
    if (mdl_case(t, "interrupts: a second signal")) second_signal(&e);
    if (mdl_case(t, "interrupts: ignored signals, and a closed pipe")) ignored_signals(&e);
    mdl_e2e_end(&e);
}
