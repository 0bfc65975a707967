/* CUDA kernels as native code. What needs NVRTC is skipped where there is none, with a word. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compiler/target/code_cache.h"
#include "compiler/target/cuda.h"
#include "compiler/target/cuda_nvrtc.h"
#include "tests/check.h"
#include "tests/plan/fixture.h"

/* Reverses the floats of a block through static shared memory. */
static const char good[] =
    "MDL_KERNEL(%s, 2, 1, 128, 2) {\n"
    "    MDL_SHARED float tile[128];\n"
    "    const float *x = (const float *)args.buffer[0];\n"
    "    float *y = (float *)args.buffer[1];\n"
    "    tile[mdl_thread()] = mdl_erf(x[mdl_thread()]);\n"
    "    mdl_sync();\n"
    "    y[mdl_thread()] = tile[127 - mdl_thread()] + %d.0f;\n"
    "}\n";

/* Keeps 64 numbers a thread; of so many threads, so many blocks. */
static const char spilling[] =
    "MDL_KERNEL(k_embed, 2, 1, %d, %d) {\n"
    "    float *x = (float *)args.buffer[0], v[64];\n"
    "    MDL_UNROLL(64)\n"
    "    for (int i = 0; i < 64; i++) v[i] = x[mdl_thread() + i * 1024];\n"
    "    mdl_sync();\n"
    "    MDL_UNROLL(64)\n"
    "    for (int i = 0; i < 64; i++) x[mdl_thread() + i * 1024] = v[i] + v[63 - i] * v[i * 7 & 63];\n"
    "}\n";

static const char wrong[] = "MDL_KERNEL(k_sum, 2, 1, 128, 2) {\n    float y = args.buffet[0];\n}\n";

static void set_source(mdl_plan *plan, int kernel, const char *text) {
    plan->kernels.at[kernel].source = mdl_strdup(plan->memory, text);
    plan->kernels.at[kernel].hash = mdl_plan_hash(plan->memory, text, (int64_t)strlen(text));
}

/* The plan of the plan suite, with kernels in CUDA C. */
static mdl_plan *cuda_plan(const char *arches) {
    mdl_plan *plan = mdl_fixture_plan();
    plan->target = "cuda";
    plan->isa = arches;
    for (int k = 0; k < plan->kernels.n; k++) set_source(plan, k, mdl_printf(plan->memory, good, plan->kernels.at[k].symbol, k));
    return plan;
}

/* What mdl_cuda_compile says: its error, then what it wrote on stderr; "" when it said nothing. */
static const char *compile(mdl_test *t, mdl_plan *plan) {
    const char *path = mdl_printf(plan->memory, "%s/stderr", mdl_test_scratch(t)), *said = "";
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    FILE *f = freopen(path, "w", stderr);
    mdl_status status = mdl_cuda_compile(plan);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    CHECK(t, f, "cannot redirect");
    mdl_shell(t, &said, "cat '%s'", path);
    said = mdl_printf(plan->memory, "%s%s", status ? mdl_message(status) : "", said);
    mdl_status_free(status);
    return said;
}

static void compiles(mdl_test *t, mdl_plan *plan) {
    const char *said = compile(t, plan);
    CHECK(t, !*said, "%s", said);
}

static int64_t size_of(const mdl_plan *plan, const char *path, const char *magic) {
    const mdl_plan_file *f = mdl_plan_find_file(plan, path);
    return f && f->size > 4 && !memcmp(f->bytes, magic, strlen(magic)) ? f->size : 0;
}

static const char *const empty_folder = "cache";

/* A cache of the test's own, empty. */
static const char *fresh_cache(mdl_test *t, mdl_arena *arena) {
    const char *folder = mdl_printf(arena, "%s/%s", mdl_test_scratch(t), empty_folder), *output;
    mdl_shell(t, &output, "rm -rf '%s'", folder);
    setenv("XDG_CACHE_HOME", folder, 1);
    return mdl_printf(arena, "%s/mdl/kernels", folder);
}

/* ---- cases ---- */

static void test_code(mdl_test *t) {
    mdl_plan *plan = cuda_plan("sm_80,sm_90a,compute_90");
    fresh_cache(t, plan->memory);
    compiles(t, plan);
    for (int k = 0; k < plan->kernels.n; k++) {
        const mdl_plan_kernel *kernel = &plan->kernels.at[k];
        const char *symbol = kernel->symbol;
        CHECK(t, size_of(plan, mdl_printf(plan->memory, "kernels/%s.sm_80.cubin", symbol), "\177ELF"), "%s for sm_80", symbol);
        CHECK(t, size_of(plan, mdl_printf(plan->memory, "kernels/%s.sm_90a.cubin", symbol), "\177ELF"), "%s for sm_90a", symbol);
        CHECK(t, size_of(plan, mdl_printf(plan->memory, "kernels/%s.compute_90.ptx", symbol), "//"), "%s as PTX", symbol);
        CHECK(t, kernel->resources.n == 2, "%s has resources of %d arches", symbol, kernel->resources.n);
        for (int i = 0; i < kernel->resources.n; i++) {
            const mdl_plan_resources *r = &kernel->resources.at[i];
            CHECK(t, r->registers > 4 && r->registers < 128 && !r->spill_bytes && !r->stack_bytes && r->shared_bytes == 512,
                  "%s on %s: %d registers, %d spilled, stack %d, shared %d", symbol, r->arch, r->registers, (int)r->spill_bytes,
                  (int)r->stack_bytes, (int)r->shared_bytes);
        }
    }
    mdl_plan_free(plan);
}

/* Writes a plan; its bytes. */
static mdl_text written(mdl_test *t, mdl_arena *arena, mdl_plan *plan) {
    const char *path = mdl_printf(arena, "%s/cuda.plan", mdl_test_scratch(t));
    mdl_text text = {.arena = arena};
    mdl_status status = mdl_plan_write(plan, path);
    CHECK(t, !status, "%s", mdl_message(status));
    FILE *f = status ? NULL : fopen(path, "rb");
    mdl_status_free(status);
    char block[4096];
    for (size_t n; f && (n = fread(block, 1, sizeof block, f));) mdl_text_append(&text, block, n);
    if (f) fclose(f);
    return text;
}

static void same_plan(mdl_test *t, mdl_arena *arena, const mdl_text *first, const char *what, const char *expected) {
    mdl_plan *plan = cuda_plan("sm_80,compute_90");
    const char *said = compile(t, plan);
    CHECK(t, strstr(said, expected) && !*said == !*expected, "%s: it says \"%s\"", what, said);
    mdl_text text = written(t, arena, plan);
    CHECK(t, text.n == first->n && !memcmp(text.at, first->at, text.n), "%s: another plan", what);
    mdl_plan_free(plan);
}

static void test_cache(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    const char *folder = fresh_cache(t, arena), *output;
    mdl_plan *plan = cuda_plan("sm_80,compute_90");
    compiles(t, plan);
    mdl_text first = written(t, arena, plan);
    mdl_plan_free(plan);
    mdl_shell(t, &output, "ls '%s' | wc -l", folder);
    CHECK(t, atoi(output) == 6, "the cache has %s files", output);
    same_plan(t, arena, &first, "from the cache", "");
    mdl_shell(
        t, &output,
        "cd '%s' && f=$(ls | head -n 1) && printf x | dd of=$f bs=1 seek=100 conv=notrunc 2>&1 && f=$(ls | tail -n 1) && : > $f",
        folder);
    same_plan(t, arena, &first, "with damage", "note: 2 damaged files in");
    same_plan(t, arena, &first, "after the damage", "");
    setenv("MDL_CACHE", "off", 1);
    mdl_shell(t, &output, "rm -rf '%s'", folder);
    same_plan(t, arena, &first, "without a cache", "");
    CHECK(t, access(folder, F_OK), "a cache that is off was filled");
    unsetenv("MDL_CACHE");
    setenv("XDG_CACHE_HOME", "/dev/null", 1);
    same_plan(t, arena, &first, "where there can be no cache", "");
    mdl_arena_free(arena);
}

static void test_read_back(mdl_test *t) {
    mdl_plan *plan = cuda_plan("sm_80,sm_90a"), *back = NULL;
    fresh_cache(t, plan->memory);
    compiles(t, plan);
    written(t, plan->memory, plan);
    mdl_status status = mdl_plan_read(mdl_printf(plan->memory, "%s/cuda.plan", mdl_test_scratch(t)), &back);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    for (int k = 0; back && k < plan->kernels.n; k++)
        if (back->kernels.at[k].resources.n != plan->kernels.at[k].resources.n) mdl_plan_free(back), back = NULL;
    CHECK(t, back, "resources are lost");
    for (int k = 0; back && k < plan->kernels.n; k++)
        for (int i = 0; i < plan->kernels.at[k].resources.n; i++) {
            const mdl_plan_resources *a = &plan->kernels.at[k].resources.at[i], *b = &back->kernels.at[k].resources.at[i];
            CHECK(t, !strcmp(a->arch, b->arch) && a->registers == b->registers && a->shared_bytes == b->shared_bytes, "%s",
                  a->arch);
        }
    mdl_plan_free(back);
    mdl_plan_free(plan);
}

static void test_spills(mdl_test *t) {
    mdl_plan *plan = cuda_plan("sm_90a");
    fresh_cache(t, plan->memory);
    set_source(plan, 0, mdl_printf(plan->memory, spilling, 1024, 1));
    for (int again = 0; again < 2; again++) { /* from the cache too */
        const char *said = compile(t, plan);
        CHECK(t, strstr(said, "mdlc: warning: kernel k_embed (tiny.mdl:3:1) spills ") && strstr(said, " on sm_90a\n"), "it says %s",
              said);
        int64_t spilled = plan->kernels.at[0].resources.n > again ? plan->kernels.at[0].resources.at[again].spill_bytes : 0;
        CHECK(t, spilled > 0, "spilled bytes are %d", (int)spilled);
    }
    mdl_plan_free(plan);
}

/* The same with registers to gain: the kernel asks for 8 blocks of 256 threads, which leaves each 32. */
static void test_fewer_blocks(mdl_test *t) {
    mdl_plan *plan = cuda_plan("sm_80,sm_90a"), *back = NULL;
    fresh_cache(t, plan->memory);
    set_source(plan, 0, mdl_printf(plan->memory, spilling, 256, 8));
    compiles(t, plan);
    for (int i = 0; i < plan->kernels.at[0].resources.n; i++) {
        const mdl_plan_resources *r = &plan->kernels.at[0].resources.at[i];
        CHECK(t, !r->spill_bytes && r->registers > 32, "%s: %d registers, %d bytes spilled", r->arch, r->registers,
              (int)r->spill_bytes);
        CHECK(t, r->resident > 1 && r->resident < 8 && r->registers * 256 * r->resident <= 65536, "%s: %d registers for %d blocks",
              r->arch, r->registers, r->resident);
    }
    CHECK(t, !plan->kernels.at[1].resources.at[0].resident, "a kernel that fits has what it asks for");
    written(t, plan->memory, plan);
    mdl_status status = mdl_plan_read(mdl_printf(plan->memory, "%s/cuda.plan", mdl_test_scratch(t)), &back);
    CHECK(t, !status && back->kernels.at[0].resources.at[1].resident == plan->kernels.at[0].resources.at[1].resident,
          "the choice is not read back: %s", mdl_message(status));
    mdl_status_free(status);
    mdl_plan_free(back);
    mdl_plan_free(plan);
}

/* Files of 1000 bytes, used one after the other; the first and the third since. */
static void test_prune(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    const char *folder = fresh_cache(t, arena), *output;
    mdl_code_cache cache = mdl_code_cache_open(arena);
    mdl_text code = {.arena = arena}, found;
    for (int i = 0; i < 1000 - 32; i++) mdl_text_append(&code, "x", 1);
    for (int i = 0; i < 6; i++) {
        mdl_code_cache_store(arena, &cache, mdl_printf(arena, "%d.so", i), &code);
        mdl_shell(t, &output, "touch -d '2020-01-0%d' '%s/%d.so'", i + 1, folder, i);
    }
    CHECK(t,
          mdl_code_cache_find(arena, &cache, "0.so", &found) && mdl_code_cache_find(arena, &cache, "2.so", &found) &&
              found.n == code.n,
          "what was kept is not found");
    mdl_code_cache_prune(arena, &cache, 6000);
    mdl_shell(t, &output, "ls '%s' | wc -l", folder);
    CHECK(t, atoi(output) == 6, "%s files are left where all fit", output);
    mdl_code_cache_prune(arena, &cache, 3999);
    mdl_shell(t, &output, "ls '%s' | tr '\\n' ' '", folder);
    CHECK(t, !strcmp(output, "0.so 2.so 5.so "), "left: %s", output);
    mdl_code_cache_prune(arena, &(mdl_code_cache){0}, 0);
    mdl_arena_free(arena);
}

static void says(mdl_test *t, mdl_plan *plan, const char *expected) {
    const char *said = compile(t, plan);
    CHECK(t, strstr(said, expected), "it says \"%s\", not \"%s\"", said, expected);
    mdl_plan_free(plan);
}

static void test_errors(mdl_test *t) {
    mdl_plan *plan = cuda_plan("sm_90a");
    fresh_cache(t, plan->memory);
    set_source(plan, 2, wrong);
    says(t, plan, "target cuda: kernel k_sum (tiny.mdl:3:1): sm_90a: NVRTC: NVRTC_ERROR_COMPILATION\nk_sum.cu(2): error: ");
    says(t, cuda_plan("sm_77"), " does not know the arch sm_77; it knows sm_");
}

static void test_arches(mdl_test *t) {
    says(t, cuda_plan("sm_90a,h100"), "target cuda: 'h100' is no arch; sm_80, sm_90a and compute_90 are");
    says(t, cuda_plan("sm_90a,"), "'' is no arch");
    says(t, cuda_plan("sm_90ab"), "'sm_90ab' is no arch");
    says(t, cuda_plan("sm_80,host"), "'host' is no arch");
    says(t, cuda_plan("sm_80,sm_80"), "the arch sm_80 is given twice");
}

static void test_host(mdl_test *t) {
    setenv("MDL_CACHE", "off", 1);
    mdl_plan *plan = cuda_plan("host"), *again = cuda_plan("host");
    compiles(t, plan);
    compiles(t, again);
    const mdl_plan_file *a = mdl_plan_find_file(plan, MDL_PLAN_HOST_OBJECT), *b = mdl_plan_find_file(again, MDL_PLAN_HOST_OBJECT);
    CHECK(t, a && b && a->size == b->size && !memcmp(a->bytes, b->bytes, (size_t)a->size), "two objects of one text differ");
    CHECK(t, plan->kernels.at[0].resources.n == 0, "an object for the host has no resources");
    mdl_plan_free(plan);
    mdl_plan_free(again);
    plan = cuda_plan("host");
    set_source(plan, 2, wrong);
    says(t, plan, "could not compile the kernels");
    unsetenv("MDL_CACHE");
}

/* The second time nothing is compiled: with a compiler that fails, which says of itself what the first does. */
static void test_host_cache(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    const char *folder = fresh_cache(t, arena), *output, *before = getenv("CC");
    const char *cc = mdl_printf(arena, "%s/cc", mdl_test_scratch(t)), *kept = before ? mdl_strdup(arena, before) : NULL;
    mdl_plan *plans[] = {cuda_plan("host"), cuda_plan("host"), cuda_plan("host"), cuda_plan("host")};
    mdl_shell(t, &output,
              "printf '#!/bin/sh\\n[ $1 != --version ] && [ -e %s/fails ] && exit 1\\nexec cc \"$@\"\\n' >'%s'; chmod +x '%s'",
              mdl_test_scratch(t), cc, cc);
    setenv("CC", cc, 1);
    compiles(t, plans[0]);
    mdl_shell(t, &output, "ls '%s'/*.so | wc -l; touch '%s/fails'", folder, mdl_test_scratch(t));
    CHECK(t, atoi(output) == 1, "the cache has %s objects", output);
    compiles(t, plans[1]);
    set_source(plans[2], 0, mdl_printf(arena, good, plans[2]->kernels.at[0].symbol, 7));
    CHECK(t, strstr(compile(t, plans[2]), "could not compile"), "another text has the object of the first");
    const mdl_plan_file *a = mdl_plan_find_file(plans[0], MDL_PLAN_HOST_OBJECT),
                        *b = mdl_plan_find_file(plans[1], MDL_PLAN_HOST_OBJECT);
    CHECK(t, a && b && a->size == b->size && !memcmp(a->bytes, b->bytes, (size_t)a->size), "another object");
    mdl_shell(t, &output, "rm '%s/fails'; printf x | dd of=$(ls '%s'/*.so) bs=1 seek=100 conv=notrunc 2>&1", mdl_test_scratch(t),
              folder);
    CHECK(t, strstr(compile(t, plans[3]), "note: 1 damaged files in"), "damage is not seen");
    b = mdl_plan_find_file(plans[3], MDL_PLAN_HOST_OBJECT);
    CHECK(t, a && b && a->size == b->size && !memcmp(a->bytes, b->bytes, (size_t)a->size), "another object after damage");
    if (kept)
        setenv("CC", kept, 1);
    else
        unsetenv("CC");
    for (int i = 0; i < 4; i++) mdl_plan_free(plans[i]);
    mdl_arena_free(arena);
}

void suite_cuda_native(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    const mdl_nvrtc *nvrtc;
    const char *caches = getenv("XDG_CACHE_HOME");
    if (mdl_case(t, "names of arches")) test_arches(t);
    if (mdl_case(t, "an object for the emulator")) test_host(t);
    if (mdl_case(t, "an object for the emulator that was built before")) test_host_cache(t);
    if (mdl_case(t, "the cache is pruned, the least recently used first")) test_prune(t);
    mdl_status status = mdl_nvrtc_open(arena, &nvrtc);
    if (status) printf("cuda_native: skipped what needs NVRTC: %s\n", mdl_message(status));
    if (!status && mdl_case(t, "code and resources for each arch")) test_code(t);
    if (!status && mdl_case(t, "the cache: filled, read, damaged, off, impossible; always one plan")) test_cache(t);
    if (!status && mdl_case(t, "resources are read back")) test_read_back(t);
    if (!status && mdl_case(t, "a spill is a warning")) test_spills(t);
    if (!status && mdl_case(t, "fewer blocks on a processor instead of a spill")) test_fewer_blocks(t);
    if (!status && mdl_case(t, "a text that does not compile; an arch that NVRTC does not know")) test_errors(t);
    mdl_status_free(status);
    if (caches)
        setenv("XDG_CACHE_HOME", caches, 1);
    else
        unsetenv("XDG_CACHE_HOME");
    mdl_arena_free(arena);
}
