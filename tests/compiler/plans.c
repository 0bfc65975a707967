/* mdlc from outside: plans identical byte by byte, memory limits, budgets, dumps, refusals with the model's line. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/pipeline.h"
#include "tests/compiler/draw.h"

#define TINY "mdlc models/esm2.mdl --set L=2 --set D=16 --set H=2 --tokens 64 --seqs 4"

static mdl_plan *read_plan(mdl_test *t, mdl_arena *arena, const char *name) {
    mdl_plan *plan = NULL;
    mdl_status status = mdl_plan_read(mdl_printf(arena, "%s/%s", mdl_test_scratch(t), name), &plan);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    return plan;
}

static int64_t total_bytes(const mdl_plan *plan) {
    int64_t bytes = 0;
    for (int i = 0; i < MDL_ARENA_COUNT; i++) bytes += plan->arena_bytes[i];
    return bytes;
}

static void test_identity(mdl_test *t) {
    const char *out, *scratch = mdl_test_scratch(t);
    mdl_case(t, "the same input gives the same bytes, whatever the environment");
    int code = mdl_shell(t, &out, TINY " -o '%s/a.plan' --quiet", scratch);
    CHECK(t, !code && !*out, "exit %d: %s", code, out);
    code = mdl_shell(t, &out, "mkdir '%s/tmp'; TMPDIR='%s/tmp' LC_ALL=C OMP_NUM_THREADS=1 " TINY " --quiet -o '%s/b.plan'", scratch,
                     scratch, scratch);
    CHECK(t, !code && !*out, "exit %d: %s", code, out);
    CHECK(t, !mdl_shell(t, &out, "cmp '%s/a.plan' '%s/b.plan'", scratch, scratch), "%s", out);
    mdl_case(t, "no temporary file is left");
    CHECK(t, !mdl_shell(t, &out, "test -z \"$(ls -A '%s/tmp')\"", scratch), "files are left");
}

/* Whatever happens to mdlc: a compiler that fails, a kill while one is at work, a long TMPDIR. */
static void test_temporaries(mdl_test *t, mdl_arena *arena) {
    const char *out, *scratch = mdl_test_scratch(t);
    const char *empty = mdl_printf(arena,
                                   "i=0; until [ -z \"$(ls -A '%s/tmp')\" ] || [ $i -gt 100 ]; do sleep 0.1; i=$((i + 1)); done; "
                                   "ls -A '%s/tmp'",
                                   scratch, scratch);
    mdl_case(t, "no temporary file is left when the compiler fails");
    int code = mdl_shell(t, &out, "TMPDIR='%s/tmp' CC=false " TINY " -o '%s/f.plan'", scratch, scratch);
    CHECK(t, code == 4, "exit %d: %s", code, out);
    CHECK(t, !mdl_shell(t, &out, "%s", empty) && !*out, "left: %s", out);
    mdl_case(t, "no temporary file is left when mdlc is killed");
    mdl_shell(t, &out,
              "printf '#!/bin/sh\\ntouch \"$TMPDIR/begun\"; sleep 1; exec cc \"$@\"\\n' >'%s/slow'; chmod +x '%s/slow'; "
              "TMPDIR='%s/tmp' CC='%s/slow' setsid " TINY
              " -o '%s/k.plan' & i=0; "
              "until ls '%s'/tmp/*/begun >/dev/null 2>&1 || [ $i -gt 100 ]; do sleep 0.1; i=$((i + 1)); done; "
              "ls '%s'/tmp/*/begun | grep -c begun; kill -KILL $!; wait $!",
              scratch, scratch, scratch, scratch, scratch, scratch, scratch);
    CHECK(t, *out == '1', "no compiler was at work: %s", out);
    CHECK(t, !mdl_shell(t, &out, "%s", empty) && !*out, "left: %s", out);
    mdl_case(t, "TMPDIR longer than 512 bytes");
    mdl_text deep = {.arena = arena};
    mdl_text_printf(&deep, "%s/tmp", scratch);
    for (int i = 0; i < 6; i++) mdl_text_printf(&deep, "/%0100d", i);
    code = mdl_shell(t, &out, "mkdir -p '%s'; TMPDIR='%s' " TINY " --quiet -o '%s/d.plan'", deep.at, deep.at, scratch);
    CHECK(t, !code && !mdl_shell(t, NULL, "cmp '%s/a.plan' '%s/d.plan'", scratch, scratch), "exit %d: %s", code, out);
    CHECK(t, !mdl_shell(t, &out, "ls -A '%s'", deep.at) && !*out, "left: %s", out);
}

/* A pipe is written to; only files are replaced. Nothing that is printed may be lost. */
static void test_outputs(mdl_test *t) {
    const char *out, *scratch = mdl_test_scratch(t);
    mdl_case(t, "-o writes to a pipe and does not replace it");
    int code = mdl_shell(t, &out,
                         "cd '%s'; mkfifo pipe && { timeout 60 cat pipe >piped.plan & } && cd - >/dev/null && " TINY
                         " --quiet -o '%s/pipe'; wait; test -p '%s/pipe' && cmp '%s/a.plan' '%s/piped.plan'",
                         scratch, scratch, scratch, scratch, scratch);
    CHECK(t, !code, "exit %d: %s", code, out);
    mdl_case(t, "-o through a link replaces the file it leads to");
    code = mdl_shell(t, &out,
                     "cd '%s'; echo old >target; ln -s target link; cd - >/dev/null; " TINY
                     " --quiet -o '%s/link' && test -L '%s/link' && cmp '%s/a.plan' '%s/target'",
                     scratch, scratch, scratch, scratch, scratch);
    CHECK(t, !code, "exit %d: %s", code, out);
    static const char *const printing[] = {TINY " --dump all --stop-after fuse",
                                           "mdlc --help",
                                           "mdlc --version",
                                           "mdlrun --help",
                                           "mdlrun --version",
                                           "mdlrun train --help",
                                           "mdlrun train --print-config",
                                           "mdlrun check --help",
                                           "mdlrun inspect --help"};
    for (size_t i = 0; i < sizeof printing / sizeof *printing; i++) {
        mdl_case(t, "%s >/dev/full", printing[i]);
        code = mdl_shell(t, &out, "%s >/dev/full", printing[i]);
        CHECK(t, code == 4 && strstr(out, "cannot write to standard output: No space left"), "exit %d: %s", code, out);
    }
    mdl_case(t, "mdlrun inspect >/dev/full");
    code = mdl_shell(t, &out, "mdlrun inspect '%s/a.plan' >/dev/full", scratch);
    CHECK(t, code == 4 && strstr(out, "cannot write to standard output: No space left"), "exit %d: %s", code, out);
}

static void test_memory(mdl_test *t, mdl_arena *arena, const mdl_plan *plan) {
    const char *out, *scratch = mdl_test_scratch(t), *cc = mdl_empty_compiler(t);
    int64_t need = total_bytes(plan);
    mdl_case(t, "--memory: what the plan needs to the byte is enough");
    int code = mdl_shell(t, &out, "CC='%s' " TINY " --quiet -o '%s/m.plan' --memory %" PRId64, cc, scratch, need);
    CHECK(t, !code, "exit %d: %s", code, out);
    mdl_case(t, "--memory: a byte less is refused with both numbers, and nothing is written");
    code = mdl_shell(t, &out, "CC='%s' " TINY " --quiet -o '%s/n.plan' --memory %" PRId64, cc, scratch, need - 1);
    const char *want = mdl_printf(arena, "the plan needs %" PRId64 " bytes, --memory allows %" PRId64, need, need - 1);
    CHECK(t, code && strstr(out, want), "exit %d: %s, expected %s", code, out, want);
    CHECK(t, mdl_shell(t, &out, "ls '%s/n.plan'*", scratch), "written: %s", out);
    mdl_case(t, "--memory takes units");
    CHECK(t,
          mdl_shell(t, &out, "CC='%s' " TINY " --quiet -o '%s/n.plan' --memory 1K", cc, scratch) &&
              strstr(out, "--memory allows 1024"),
          "%s", out);
    CHECK(t,
          mdl_shell(t, &out, "CC='%s' " TINY " --quiet -o '%s/n.plan' --memory 12Q", cc, scratch) && strstr(out, "expected a size"),
          "%s", out);
}

/* The line that mdlc prints, made again from the plan. */
static void test_report(mdl_test *t, mdl_arena *arena, const mdl_plan *plan) {
    const char *out;
    int64_t peak = 0, live = 0;
    for (int i = 0; i < plan->programs.n; i++) {
        if (plan->programs.at[i].activation_bytes <= peak) continue;
        peak = plan->programs.at[i].activation_bytes;
        live = plan->programs.at[i].live_bytes;
    }
    double MiB = 1 << 20;
    const char *want = mdl_printf(
        arena, "peak memory %.1f MiB: parameters, gradients and moments %.1f, activations %.1f (%.1f %% above the live bytes)",
        (double)total_bytes(plan) / MiB, 4 * (double)plan->arena_bytes[MDL_ARENA_PARAM] / MiB, (double)peak / MiB,
        100.0 * (double)(peak - live) / (double)live);
    mdl_case(t, "mdlc prints the exact peak and its gap to the live bytes");
    mdl_shell(t, &out, "CC='%s' " TINY " -o '%s/r.plan'", mdl_empty_compiler(t), mdl_test_scratch(t));
    CHECK(t, strstr(out, want), "%s, expected %s", out, want);
    CHECK(t, peak == plan->arena_bytes[MDL_ARENA_ACTIVATION], "the arena is not as large as the largest program");
}

static void test_budget(mdl_test *t, mdl_arena *arena) {
    const char *out;
    mdl_case(t, "--tokens and --seqs set the budget");
    int code = mdl_shell(
        t, &out, "CC='%s' mdlc models/esm2.mdl --set L=1 --set D=8 --set H=2 --tokens 48 --seqs 5 --quiet -o '%s/budget.plan'",
        mdl_empty_compiler(t), mdl_test_scratch(t));
    CHECK(t, !code, "%s", out);
    mdl_plan *plan = read_plan(t, arena, "budget.plan");
    const mdl_plan_input *ids = plan ? mdl_plan_find_input(plan, "ids") : NULL,
                         *seq = plan ? mdl_plan_find_input(plan, "seq") : NULL;
    CHECK(t, ids && ids->type.dim[0] == 48 && seq && seq->type.dim[0] == 5 && seq->type.dim[1] == 48, "not as asked");
    CHECK(t, plan && plan->tokens == 48 && plan->segments == 5, "the plan says otherwise");
    mdl_plan_free(plan);
}

/* Gives the programs' results, one after the other, to the first that overlaps an earlier one; NULL: none does. */
static const char *overlapping_result(const mdl_plan *plan) {
    int64_t end = 0;
    for (int p = 0; p < plan->programs.n; p++)
        for (int i = 0; i < plan->programs.at[p].results.n; i++) {
            const mdl_plan_buffer *b = &plan->programs.at[p].buffers.at[plan->programs.at[p].results.at[i].buffer];
            if (b->offset < end) return plan->programs.at[p].results.at[i].name;
            end = b->offset + b->bytes;
        }
    return NULL;
}

static void test_results(mdl_test *t, const mdl_plan *plan) {
    mdl_case(t, "results of all programs have places of their own");
    const char *name = overlapping_result(plan);
    CHECK(t, !name, "%s", name);
}

/* ---- altered plans ---- */
static void expect_refused(mdl_test *t, const mdl_plan *plan, const mdl_plan_launch *l, const char *what) {
    mdl_status status = mdl_plan_verify(plan);
    CHECK(t, status, "%s of \"%s\" is accepted", what, l->label);
    mdl_status_free(status);
}

static void alter(mdl_test *t, mdl_plan *plan, mdl_plan_launch *l) {
    const mdl_plan_launch right = *l;
    const int64_t grids[] = {right.grid - 1, right.grid + 1, INT32_MAX};
    for (int i = 0; i < 3; i++) {
        l->grid = grids[i];
        expect_refused(t, plan, l, "another grid");
    }
    *l = right;
    l->kernel = (right.kernel + 1) % plan->kernels.n;
    expect_refused(t, plan, l, "another kernel");
    *l = right;
    for (int i = 0; i < l->args.n; i++) {
        mdl_plan_arg *arg = &l->args.at[i], old = *arg;
        if (arg->kind != MDL_ARG_BUFFER) continue;
        arg->access = old.access == MDL_ACCESS_READ ? MDL_ACCESS_WRITE : MDL_ACCESS_READ;
        expect_refused(t, plan, l, "another access");
        *arg = old;
    }
    l->args.n--;
    expect_refused(t, plan, l, "an argument less");
    l->args.n++;
}

static void test_altered(mdl_test *t, mdl_plan *plan) {
    mdl_case(t, "no launch of eval may have another kernel, grid, access or number of arguments");
    const mdl_plan_program *p = mdl_plan_find_program(plan, "eval");
    int kernels = 0;
    for (int i = 0; i < p->launches.n; i++) {
        if (p->launches.at[i].kind != MDL_LAUNCH_KERNEL) continue;
        alter(t, plan, &p->launches.at[i]);
        kernels++;
    }
    CHECK(t, kernels > 10, "only %d launches", kernels);
    mdl_case(t, "a vocabulary longer than the table");
    for (int i = 0; i < plan->files.n; i++) {
        mdl_plan_file *f = &plan->files.at[i];
        if (strcmp(f->path, plan->vocab)) continue;
        f->bytes = mdl_printf(plan->memory, "%.*sone more\n", (int)f->size, f->bytes);
        f->size = (int64_t)strlen(f->bytes);
        f->hash = mdl_plan_hash(plan->memory, f->bytes, f->size);
    }
    mdl_status status = mdl_plan_verify(plan);
    CHECK(t, status && strstr(mdl_message(status), "input ids: the vocabulary has 34 tokens, the table has 33 rows"), "%s",
          mdl_message(status));
    mdl_status_free(status);
}

/* ---- the compiler's own memory ---- */
/* A limit on address space, which is more than what is resident: with regions of all passes kept and every kernel printed, 560 MB
 * were not enough; now 60 are. */
static void test_own_memory(mdl_test *t) {
#ifndef __SANITIZE_ADDRESS__ /* which reserves terabytes */
    const char *out;
    mdl_case(t, "mdlc compiles 48 layers in 100 MB");
    int code = mdl_shell(t, &out, "ulimit -v 100000; CC='%s' mdlc models/esm2.mdl --set L=48 --quiet -o '%s/deep.plan'",
                         mdl_empty_compiler(t), mdl_test_scratch(t));
    CHECK(t, !code, "exit %d: %s", code, out);
#else
    (void)t;
#endif
}

/* ---- dumps ---- */
/* Every header "# PROGRAM after PASS" names a pass up to `last`, and that one is there. */
static void check_headers(mdl_test *t, const char *text, int last) {
    bool seen = false;
    for (const char *at = text; (at = strstr(at, " after ")); at++) {
        const char *line = at;
        while (line > text && line[-1] != '\n') line--;
        if (*line != '#') continue;
        for (int i = 0; mdl_pass_list[i].name; i++) {
            size_t n = strlen(mdl_pass_list[i].name);
            if (strncmp(at + 7, mdl_pass_list[i].name, n) || at[7 + n] != '\n') continue;
            seen |= i == last;
            CHECK(t, i <= last, "%s runs after --stop-after=%s", mdl_pass_list[i].name, mdl_pass_list[last].name);
        }
    }
    CHECK(t, seen, "%s is not there", mdl_pass_list[last].name);
}

static void test_dumps(mdl_test *t, mdl_arena *arena) {
    const char *out, *scratch = mdl_test_scratch(t);
    for (int i = 0; mdl_pass_list[i].name; i++) {
        mdl_case(t, "--stop-after=%s", mdl_pass_list[i].name);
        int code = mdl_shell(t, &out, TINY " --dump=all --stop-after=%s -o '%s/stopped.plan'", mdl_pass_list[i].name, scratch);
        CHECK(t, !code, "exit %d: %.200s", code, out);
        check_headers(t, out, i);
    }
    mdl_case(t, "--stop-after writes no plan");
    CHECK(t, mdl_shell(t, NULL, "test -e '%s/stopped.plan'", scratch), "it did");
    mdl_case(t, "--dump-program");
    mdl_shell(t, &out, TINY " --dump fuse,simplify --dump-program eval --stop-after fuse | grep '^#'");
    CHECK(t, !strcmp(out, "# eval after simplify\n# eval after fuse\n"), "%s", out);
    mdl_case(t, "--dump launches: every buffer and launch of the plan, in its order");
    mdl_shell(t, &out, TINY " --dump launches --dump-program eval --quiet -o '%s/dumped.plan'", scratch);
    mdl_plan *plan = read_plan(t, arena, "dumped.plan");
    const mdl_plan_program *program = plan ? mdl_plan_find_program(plan, "eval") : NULL;
    int lines = 0;
    for (const char *at = out; (at = strchr(at, '\n')); at++) lines++;
    CHECK(t, program && lines == 3 + program->buffers.n + program->launches.n, "%d lines", lines); /* a heading and two braces */
    mdl_plan_free(plan);
    mdl_case(t, "an unknown program");
    CHECK(t, mdl_shell(t, &out, TINY " --dump fuse --dump-program evil --stop-after fuse") == 2, "accepted");
    CHECK(t, strstr(out, "there is no program 'evil', did you mean 'eval'?; there are embed, logits, init, "), "%s", out);
    CHECK(t, mdl_shell(t, &out, TINY " --dump-program eval --stop-after fuse") == 2 && strstr(out, "needs --dump"), "%s", out);
    mdl_shell(t, &out, TINY " --dump decompose --dump-program forward --stop-after decompose | grep '^#'");
    CHECK(t, !strcmp(out, "# forward after decompose\n"), "%s", out);
    mdl_case(t, "an unknown pass");
    CHECK(t, mdl_shell(t, &out, TINY " --dump fusion --stop-after fuse") && strstr(out, "--dump: expected"), "%s", out);
    CHECK(t, mdl_shell(t, &out, TINY " --stop-after fusion") && strstr(out, "--stop-after: expected"), "%s", out);
}

/* ---- refusals ---- */
static void test_refusals(mdl_test *t) {
    mdl_case(t, "what the target cannot do is refused with its place in the model");
    const char *out;
    int code =
        mdl_shell(t, &out, "mdlc tests/compiler/refused/maximum.mdl --library models -o '%s/refused.plan'", mdl_test_scratch(t));
    CHECK(t, code == 3, "exit %d", code);
    mdl_golden(t, "compiler/refused_models.txt", out);
    CHECK(t, mdl_shell(t, NULL, "test -e '%s/refused.plan'", mdl_test_scratch(t)), "a plan was written");
}

/* ---- what reaches the C compiler ---- */
static void test_generated(mdl_test *t) {
    const char *out, *scratch = mdl_test_scratch(t);
    mdl_case(t, "constants beyond f32 compile");
    int code = mdl_shell(t, &out, "mdlc tests/language/beyond_f32.mdl --library models --quiet -o '%s/beyond.plan'", scratch);
    CHECK(t, !code && !*out, "exit %d: %s", code, out);
    mdl_case(t, "a folder whose name ends a comment compiles");
    code = mdl_shell(t, &out,
                     "mkdir -p '%s/q*/' && cp tests/language/beyond_f32.mdl '%s/q*/' && "
                     "mdlc '%s/q*/beyond_f32.mdl' --library models --quiet -o '%s/q.plan'",
                     scratch, scratch, scratch, scratch);
    CHECK(t, !code && !*out, "exit %d: %s", code, out);
}

/* Nothing before the kernels' code is recursive in the length of a chain: a stack of 256 KiB is enough. */
static void test_long_chain(mdl_test *t) {
    const char *out;
    mdl_case(t, "a chain of 5,000 steps passes on a small stack");
    int code = mdl_shell(t, &out, "ulimit -s 256; mdlc tests/compiler/long_chain.mdl --library models --stop-after simplify");
    CHECK(t, !code && !*out, "exit %d: %s", code, out);
}

void suite_plans(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    setenv("MDL_CACHE", "off", 1); /* the C compiler is a part of what must give the same bytes */
    test_identity(t);
    mdl_plan *plan = read_plan(t, arena, "a.plan");
    if (plan) {
        test_temporaries(t, arena);
        test_outputs(t);
        test_memory(t, arena, plan);
        test_report(t, arena, plan);
        test_results(t, plan);
        test_altered(t, plan);
    }
    test_budget(t, arena);
    test_own_memory(t);
    test_dumps(t, arena);
    test_refusals(t);
    test_generated(t);
    test_long_chain(t);
    unsetenv("MDL_CACHE");
    mdl_plan_free(plan);
    mdl_arena_free(arena);
}
