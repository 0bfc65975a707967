/* Faults put into real runs: killed, out of space, out of memory, at one call after the other. Whatever happens, a checkpoint
 * remains that verifies, the run says why it ended, and the next run ends with the weights of one that was never hurt.
 *
 * A sample of all calls by default; all of them with MDL_SOAK=1 (scripts/soak/faults). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/checkpoint/checkpoint.h"
#include "tests/end_to_end/run.h"
#include "tests/faults/power.h"

#ifdef MDL_FAULTS
enum { STEPS = 3 };

static bool soak(void) { return getenv("MDL_SOAK") != NULL; }

/* Runs to STEPS in the folder "hurt", which begins as a copy of "base"; `fault` as tests/faults/shim.c has it. */
static const char *hurt(mdl_e2e *e, int *status, const char *fault) {
    mdl_e2e_run(e, 0, "rm -rf hurt count && cp -r base hurt");
    return mdl_e2e_try(e, status,
                       "MDL_FAULT=%s MDL_FAULT_DIR=$PWD/hurt MDL_FAULT_COUNT=$PWD/count LD_PRELOAD='%s' mdlrun train plain.plan "
                       "data.files=plain.fasta trainer.output_dir=$PWD/hurt trainer.save_steps=1 trainer.save_total_limit=2 "
                       "trainer.max_steps=%d trainer.lr_scheduler_type=constant trainer.resume_from_checkpoint=true",
                       fault, MDL_FAULTS, STEPS);
}

/* The step of the newest checkpoint that verifies in a folder; -1: there is none. */
static int64_t newest(mdl_e2e *e, const char *folder) {
    mdl_checkpoint *found = NULL;
    const char *skipped;
    mdl_arena *memory = mdl_arena_new();
    mdl_status status = mdl_checkpoint_find(memory, mdl_printf(memory, "%s/%s", e->folder, folder), INT64_MAX, &found, &skipped);
    int64_t step = !status && found ? found->commit.step : -1;
    mdl_status_free(status);
    mdl_arena_free(memory);
    return step;
}

/* Whatever verifies can be read: a commit names what was written, and what was written must be good. */
static void check_readable(mdl_e2e *e, const char *fault) {
    mdl_checkpoints list;
    mdl_arena *memory = mdl_arena_new();
    mdl_status status = mdl_checkpoint_list(memory, mdl_printf(memory, "%s/hurt", e->folder), &list);
    for (int i = 0; i < list.n && !status; i++)
        for (int k = 0; k < list.at[i].commit.files.n && !status; k++) {
            mdl_safetensors *file = NULL;
            const char *name = list.at[i].commit.files.at[k].name;
            if (!strstr(name, ".safetensors")) continue;
            status = mdl_safetensors_open(mdl_printf(memory, "%s/%s", list.at[i].path, name), &file);
            if (!status) CHECK(e->t, mdl_safetensors_count(file) > 10, "%s: %s/%s has few tensors", fault, list.at[i].name, name);
            mdl_safetensors_close(file);
        }
    CHECK(e->t, !status, "%s: %s", fault, mdl_message(status));
    mdl_status_free(status);
    mdl_arena_free(memory);
}

/* A run without faults ends with the weights that it should. */
static void recover(mdl_e2e *e, const char *fault) {
    int status;
    const char *said =
        mdl_e2e_try(e, &status,
                    "mdlrun train plain.plan data.files=plain.fasta trainer.output_dir=hurt trainer.save_steps=1 "
                    "trainer.max_steps=%d trainer.lr_scheduler_type=constant trainer.resume_from_checkpoint=true && "
                    "for i in hurt hurt/checkpoint-last; do cmp $i/model.safetensors whole/model.safetensors || exit 9; done; "
                    "cmp hurt/checkpoint-last/optimizer-*.safetensors whole/checkpoint-last/optimizer-*.safetensors && "
                    "! ls -d hurt/*.tmp-* 2>&-",
                    STEPS);
    CHECK(e->t, !status, "after %s the next run ends with %d:\n%s", fault, status, said);
}

/* How many calls there are to hurt, as the shim counted them in a run with `fault`. */
static int count(mdl_e2e *e, const char *fault) {
    int status;
    const char *said = hurt(e, &status, fault);
    CHECK(e->t, !status, "a run with %s ends with %d:\n%s", fault, status, said);
    return atoi(mdl_e2e_read(e, "count"));
}

/* In a sample, calls at odd distances. */
static int stride(int calls, int sample) { return soak() || calls <= sample ? 1 : calls / sample | 1; }

static void killed(mdl_e2e *e) {
    int calls = count(e, "count"), status;
    CHECK(e->t, calls > 40, "only %d calls", calls);
    for (int k = 1; k <= calls; k += stride(calls, 8)) {
        const char *fault = mdl_printf(e->memory, "kill:%d", k);
        hurt(e, &status, fault);
        CHECK(e->t, status == 137 || status == 0, "%s: it ends with %d", fault, status); /* 0: a call less this time */
        int64_t step = newest(e, "hurt");
        CHECK(e->t, step >= 1, "%s: no checkpoint verifies", fault);
        recover(e, fault);
    }
    printf("  %d calls, a kill at every %d.\n", calls, stride(calls, 8));
}

static const struct {
    const char *fault, *says;
} failures[] = {{"enospc", "No space left on device"}, {"eio", "Input/output error"}, {"short", NULL}, {"enomem", NULL}};

/* A failure may hit what is of no matter (a temporary file's removal); then the run goes on. When it ends, it says why. */
static void failing(mdl_e2e *e, int which) {
    const char *name = failures[which].fault, *says = failures[which].says;
    int calls = count(e, mdl_printf(e->memory, "%s:0", strcmp(name, "enomem") ? "count" : name)), status, ended = 0, n = 0;
    CHECK(e->t, calls > 20, "%s: only %d calls", name, calls);
    for (int k = 1; k <= calls; k += stride(calls, 6), n++) {
        const char *fault = mdl_printf(e->memory, "%s:%d", name, k), *said = hurt(e, &status, fault);
        bool memory = !strcmp(name, "enomem"), aborted = status == 134 && strstr(said, "out of memory");
        CHECK(e->t, status < 128 || (memory && aborted), "%s: it ends with %d:\n%s", fault, status, said);
        if (status)
            CHECK(e->t, memory || (says && strstr(said, says)), "%s: it ends with %d for no reason:\n%s", fault, status, said);
        CHECK(e->t, newest(e, "hurt") >= 1, "%s: no checkpoint verifies", fault);
        check_readable(e, fault);
        ended += status != 0;
        recover(e, fault);
    }
    CHECK(e->t, strcmp(name, "short") ? ended > 0 : !ended, "%s: %d of %d runs ended", name, ended, n);
    printf("  %s: %d calls, %d of them hurt, %d runs ended.\n", name, calls, n, ended);
}

/* SIGKILL at a moment of a run that saves every 5 steps: lost are those since the last save; in every other run, which goes on
 * while a checkpoint is written, and as long as that takes, those since the one before it. */
static void killed_at_random(mdl_e2e *e) {
    unsigned state = 12345;
    int times = soak() ? 600 : 6, status; /* 300 of each */
    int64_t before = 0;
    mdl_e2e_run(e, 0, "rm -rf random");
    for (int i = 0; i < times; i++) {
        int waits = i % 2;
        state = state * 1103515245u + 12345u;
        mdl_e2e_try(
            e, &status,
            "rm -f random.log; mdlrun train plain.plan data.files=plain.fasta trainer.output_dir=random trainer.save_steps=5 "
            "trainer.save_in_background=%s "
            "trainer.save_total_limit=2 trainer.max_steps=1000000 trainer.logging_steps=1 trainer.lr_scheduler_type=constant "
            "trainer.resume_from_checkpoint=true >random.log 2>&1 & pid=$!; i=0; "
            "until grep -q '^step' random.log || [ $i -gt 600 ]; do sleep 0.02; i=$((i + 1)); done; "
            "sleep 0.%03u; kill -KILL $pid; wait $pid",
            waits ? "false" : "true", (state >> 16) % 300);
        CHECK(e->t, status == 137, "kill %d: it ends with %d:\n%s", i, status, mdl_e2e_read(e, "random.log"));
        double *steps;
        int n = mdl_e2e_metrics(e, "random", "step", &steps);
        int64_t step = newest(e, "random"), reached = n ? (int64_t)steps[n - 1] : 0;
        CHECK(e->t, step >= before, "kill %d: checkpoints go back from step %lld to %lld", i, (long long)before, (long long)step);
        CHECK(e->t, reached - (step < 0 ? 0 : step) <= (waits ? 5 : 2 * 5), "kill %d: step %lld was reached, %lld is saved", i,
              (long long)reached, (long long)step);
        before = step;
    }
    CHECK(e->t, before >= 5, "the runs have come to step %lld only", (long long)before);
    printf("  %d kills, step %lld.\n", times, (long long)before);
}

/* Power fails after every call of a run that keeps one checkpoint: from the moment that the first one is on disk, there always is
 * one, and every one that verifies is whole: the hashes say so. At the end the metrics are there too. */
static void power(mdl_e2e *e) {
    mdl_e2e_run(e, 0,
                "MDL_FAULT=count MDL_FAULT_DIR=$PWD/logged MDL_FAULT_LOG=$PWD/log LD_PRELOAD='%s' mdlrun train plain.plan "
                "data.files=plain.fasta trainer.output_dir=$PWD/logged trainer.save_steps=1 trainer.save_total_limit=1 "
                "trainer.max_steps=%d trainer.lr_scheduler_type=constant",
                MDL_FAULTS, STEPS);
    mdl_power *p =
        mdl_power_open(e->memory, mdl_printf(e->memory, "%s/log", e->folder), mdl_printf(e->memory, "%s/logged", e->folder));
    CHECK(e->t, p && mdl_power_calls(p) > 50, "the log does not read");
    int64_t last[MDL_POWER_KINDS] = {-1, -1, -1};
    bool pruned = false; /* an old checkpoint goes: a newer one must be on disk */
    for (int i = 0; p && i <= mdl_power_calls(p); i++) {
        const char *call = i ? mdl_power_call(p, i - 1) : "nothing";
        pruned |= strstr(call, ".tmp-removed") != NULL;
        for (int names = 0; names < MDL_POWER_KINDS; names++) {
            mdl_e2e_run(e, 0, "rm -rf disk");
            bool written = mdl_power_fail(p, i, (mdl_power_names)names, mdl_printf(e->memory, "%s/disk", e->folder));
            int64_t step = newest(e, "disk");
            CHECK(e->t, written, "the disk cannot be written");
            CHECK(e->t, step >= last[names], "after %s: step %lld, before it %lld", call, (long long)step, (long long)last[names]);
            CHECK(e->t, !pruned || step >= 2, "after %s: step %lld, and the one before it goes", call, (long long)step);
            last[names] = step;
            if (i == mdl_power_calls(p)) mdl_e2e_run(e, 0, "cmp logged/metrics.jsonl disk/metrics.jsonl");
        }
    }
    CHECK(e->t, pruned, "no checkpoint was removed");
    CHECK(e->t, last[0] == STEPS && last[1] == STEPS && last[2] == STEPS, "the last one is of step %lld", (long long)last[0]);
    if (p) printf("  power fails after each of %d calls.\n", mdl_power_calls(p));
}

/* A disk without room for one checkpoint is met before the first step. */
static void no_room(mdl_e2e *e) {
#define WITH_ROOM                                                                                        \
    "MDL_FAULT=count MDL_FAULT_DIR=$PWD/room MDL_FAULT_ROOM=%d LD_PRELOAD='%s' mdlrun train plain.plan " \
    "data.files=plain.fasta trainer.output_dir=$PWD/room trainer.max_steps=1"
    const char *said = mdl_e2e_run(e, 4, WITH_ROOM, 200000, MDL_FAULTS);
    CHECK(e->t, strstr(said, " MiB, and the disk has room for 0.2"), "it says:\n%s", said);
    CHECK(e->t, !mdl_e2e_exists(e, "room"), "something is left");
    mdl_e2e_run(e, 0, WITH_ROOM, 10000000, MDL_FAULTS);
}

void suite_faults(mdl_test *t) {
    static const char settings[] = "trainer.save_steps=1 trainer.lr_scheduler_type=constant";
    mdl_e2e e = mdl_e2e_begin(t, "faults");
    mdl_case(t, "faults: a plan and a run to hurt");
    mdl_e2e_fasta(&e, "plain.fasta", 30, 40);
    mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl --set L=1 --set D=32 --set H=2 --tokens 64 --seqs 4 -o plain.plan");
    mdl_e2e_train(&e, 0, "plain.plan", "plain.fasta", "base", mdl_printf(e.memory, "trainer.max_steps=1 %s", settings));
    mdl_e2e_train(&e, 0, "plain.plan", "plain.fasta", "whole", mdl_printf(e.memory, "trainer.max_steps=%d %s", STEPS, settings));
    if (mdl_case(t, "faults: no room at the start")) no_room(&e);
    if (mdl_case(t, "faults: power fails after any call")) power(&e);
    if (mdl_case(t, "faults: killed at a call")) killed(&e);
    if (mdl_case(t, "faults: killed at any moment")) killed_at_random(&e);
    for (int i = 0; i < 4; i++)
        if (mdl_case(t, "faults: %s at a call", failures[i].fault)) failing(&e, i);
    mdl_e2e_end(&e);
}
#else
/* A sanitizer's library must be the first that is preloaded. */
void suite_faults(mdl_test *t) { mdl_case(t, "faults: not with sanitizers"); }
#endif
