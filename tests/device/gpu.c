/* The cuda backend on a GPU. The suite `cuda` runs it with a fake driver ($MDL_FAKE_CUDA), whose kernels are C for the host. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/device/cuda/gemm_layout.h"
#include "runtime/device/cuda/place.h"
#include "tests/device/cuda_test.h"
#include "tests/kernel/native.h"

/* FAULT: an access to memory that is not there. */
#define GPU_PRELUDE                   \
    "#include \"" MDL_SOURCE_DIR      \
    "/compiler/kernel/cpu/math.h\"\n" \
    "#include \"" MDL_SOURCE_DIR      \
    "/compiler/kernel/cpu/bf16.h\"\n" \
    "#include \"" MDL_SOURCE_DIR "/compiler/kernel/cuda/simt.h\"\n" MDL_CONFORMANCE_CUDA "#define FAULT *(volatile int *)16 = 1\n"
#define FAKE_PRELUDE                                                                                  \
    "#include <stdint.h>\n"                                                                           \
    "enum { thread = 0, threads = 1 };\n"                                                             \
    "int fake_fault;\n"                                                                               \
    "#define FAULT fake_fault = 1\n"                                                                  \
    "#define KERNEL(NAME, BUFFERS, INTEGERS) \\\n"                                                    \
    "    static void NAME##_body(void *const *buffer, const int64_t *immediate, int64_t block); \\\n" \
    "    void NAME(const int64_t *args, int64_t block) { \\\n"                                        \
    "        NAME##_body((void *const *)args, args + BUFFERS, block); \\\n"                           \
    "    } \\\n"                                                                                      \
    "    static void NAME##_body(void *const *buffer, const int64_t *immediate, int64_t block)\n"

static char arch[MDL_ARCH_LETTERS];

static int run_compiler(mdl_test *t, const char **output) {
    if (getenv("MDL_FAKE_CUDA"))
        return mdl_shell(t, output, "cd '%s' && cc -std=gnu11 -O1 -shared -fPIC -o gpu.cubin gpu.c", mdl_test_scratch(t));
    return mdl_shell(
        t, output,
        "cd '%s' && PATH=\"$PATH:${CUDA_HOME:-/usr/local/cuda}/bin\" nvcc -x cu -std=c++17 -arch=%s -cubin -o gpu.cubin gpu.c",
        mdl_test_scratch(t), arch);
}

/* Every kernel gets the code of all. */
static bool compile(mdl_test *t, mdl_plan *plan) {
    const char *output = NULL;
    if (!native_write(t, "gpu", getenv("MDL_FAKE_CUDA") ? FAKE_PRELUDE : GPU_PRELUDE, mdl_cuda_test_text(plan))) return false;
    int status = run_compiler(t, &output);
    CHECK(t, !status, "%s", output);
    for (int i = 0; i < plan->kernels.n && !status; i++)
        if (!mdl_cuda_test_file(t, plan, mdl_printf(plan->memory, "kernels/%s.%s.cubin", plan->kernels.at[i].symbol, arch),
                                "gpu.cubin"))
            return false;
    return !status;
}

static mdl_conformance_target gpu(void) {
    return (mdl_conformance_target){&mdl_backend_cuda, arch, MDL_CONFORMANCE_THREADS, compile, mdl_cuda_gemm_takes, true};
}

static void ok(mdl_test *t, mdl_status status) {
    const char *text = mdl_conformance_message(status);
    CHECK(t, !*text, "%s", text);
}

/* Program "test": out[0] += in[0], then a fault if in[0] is 7, then out[0] += in[0] again, with less shared memory. */
static mdl_plan *counting_plan(mdl_test *t) {
    mdl_conformance_target target = gpu();
    mdl_plan *plan = mdl_conformance_plan(&target, 0, 64, 64, 0);
    mdl_fixture_kernel(plan, "k_count",
                       "KERNEL(k_count, 2, 1) {\n    if (thread == 0) *(int *)buffer[1] += *(const int *)buffer[0];\n}\n");
    mdl_fixture_kernel(plan, "k_fault", "KERNEL(k_fault, 2, 1) {\n    if (*(const int *)buffer[0] == 7) FAULT;\n}\n");
    MDL_PUSH(plan->memory, plan->programs, ((mdl_plan_program){.name = "test"}));
    mdl_plan_program *p = &plan->programs.at[0];
    mdl_type number = mdl_type_make(MDL_I32, 0, NULL);
    mdl_fixture_buffer(plan, p, "in", MDL_ARENA_INPUT, 0, number);
    mdl_fixture_buffer(plan, p, "out", MDL_ARENA_RESULT, 0, number);
    mdl_plan_launch *l = mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "counts", "r0 u1 i0");
    l->threads = MDL_CONFORMANCE_THREADS, l->shared_bytes = 96 << 10;
    l = mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "faults", "r0 u1 i0");
    l->kernel = 1, l->threads = MDL_CONFORMANCE_THREADS;
    l = mdl_fixture_launch(plan, p, MDL_LAUNCH_KERNEL, "counts again", "r0 u1 i0");
    l->threads = MDL_CONFORMANCE_THREADS, l->shared_bytes = 64 << 10;
    CHECK(t, compile(t, plan), "the kernels do not compile");
    return plan;
}

/* out after `runs` runs with in = value; -1 when something fails, which is then in `failure`. */
static int count(mdl_device *d, int value, int runs, char failure[1024]) {
    const mdl_backend *b = &mdl_backend_cuda;
    int out = 0;
    mdl_status status = b->upload(d, MDL_ARENA_INPUT, 0, &value, sizeof value);
    if (!status) status = b->upload(d, MDL_ARENA_RESULT, 0, &out, sizeof out);
    for (int i = 0; i < runs && !status; i++) status = b->run(d, "test");
    if (!status) status = b->download(d, MDL_ARENA_RESULT, 0, &out, sizeof out);
    bool failed = status;
    snprintf(failure, 1024, "%s", mdl_conformance_message(status));
    return failed ? -1 : out;
}

static void test_graphs(mdl_test *t) {
    char failure[1024];
    mdl_device *d = NULL;
    double seconds[3] = {-1, -1, -1};
    if (!mdl_case(t, "gpu: as a graph and launch by launch, again and again")) return;
    mdl_plan *plan = counting_plan(t);
    ok(t, mdl_backend_cuda.load(plan, 0, &d));
    for (int on = 1; d && on >= 0; on--) {
        mdl_cuda_set_graphs(on);
        int out = count(d, 3, 5, failure);
        CHECK(t, out == 30, "graphs %d: %d, %s", on, out, failure);
    }
    mdl_cuda_set_graphs(true);
    if (d) ok(t, mdl_backend_cuda.profile(d, "test", seconds));
    CHECK(t, seconds[0] >= 0 && seconds[1] >= 0 && seconds[2] >= 0, "profile gives no times");
    mdl_backend_cuda.unload(d);
    mdl_plan_free(plan);
}

/* What the device does in a replay of three launches is known of the fake; a real one is busy for a part of the time, where there
 * is CUPTI. The program has run twice. */
static void test_activity(mdl_test *t) {
    char failure[1024];
    mdl_device *d = NULL;
    mdl_activity a = {0};
    if (!mdl_case(t, "gpu: how long a replay keeps the device busy")) return;
    mdl_plan *plan = counting_plan(t);
    ok(t, mdl_backend_cuda.load(plan, 0, &d));
    int out = d ? count(d, 3, 1, failure) : 0;
    if (d) ok(t, mdl_backend_cuda.activity(d, "test", &a));
    if (d && !getenv("MDL_FAKE_CUDA") && a.why_not) printf("  gpu: idle time is not known: %s\n", a.why_not);
    bool fake = getenv("MDL_FAKE_CUDA"), right = fabs(a.busy - 1.8e-6) < 1e-12 && fabs(a.span - 2.6e-6) < 1e-12;
    CHECK(t, a.why_not ? !fake : a.records == 3 && a.busy > 0 && a.busy <= a.span && (!fake || right), "%d records, %g of %g s: %s",
          (int)a.records, a.busy, a.span, a.why_not ? a.why_not : "");
    if (d) ok(t, mdl_backend_cuda.download(d, MDL_ARENA_RESULT, 0, &out, sizeof out));
    CHECK(t, out == (a.why_not ? 6 : 18), "the program did not run twice: %d", out);
    static const char *const modes[][2] = {{"refuses", "CUPTI: another one watches"}, {"silent", "CUPTI recorded nothing"}};
    for (int i = 0; i < 2 && d && fake; i++) {
        setenv("MDL_FAKE_CUPTI", modes[i][0], 1);
        ok(t, mdl_backend_cuda.activity(d, "test", &a));
        CHECK(t, a.why_not && !strcmp(a.why_not, modes[i][1]), "%s: %s", modes[i][0], a.why_not ? a.why_not : "");
    }
    unsetenv("MDL_FAKE_CUPTI");
    mdl_backend_cuda.unload(d);
    mdl_plan_free(plan);
}

static mdl_plan *product_plan(void) {
    mdl_conformance_target target = gpu();
    mdl_plan *plan = mdl_conformance_plan(&target, 0, 4096, 4096, 0);
    int64_t n = 256;
    MDL_PUSH(plan->memory, plan->programs, ((mdl_plan_program){.name = "test"}));
    mdl_plan_program *p = &plan->programs.at[0];
    mdl_fixture_buffer(plan, p, "x", MDL_ARENA_INPUT, 0, mdl_type_make(MDL_F32, 1, &n));
    mdl_fixture_buffer(plan, p, "y", MDL_ARENA_RESULT, 0, mdl_type_make(MDL_F32, 1, &n));
    mdl_fixture_launch(plan, p, MDL_LAUNCH_GEMM, "product", "r0 r0 w1")->gemm =
        (mdl_gemm){.m = 16, .n = 16, .k = 16, .batch = 1, .lda = 16, .ldb = 16, .ldd = 16};
    mdl_fixture_finish(plan);
    return plan;
}

/* Loads the plan of one product; what its device says of the choices. */
static void load_product(mdl_test *t, const char *note) {
    mdl_device *d = NULL;
    float y[256];
    int nonzero = 0;
    mdl_plan *plan = product_plan();
    ok(t, mdl_backend_cuda.load(plan, 0, &d));
    if (d) {
        const char *said = mdl_backend_cuda.note(d);
        CHECK(t, note ? said && strstr(said, note) : !said, "it says %s", said ? said : "nothing");
        ok(t, mdl_backend_cuda.download(d, MDL_ARENA_RESULT, 0, y, sizeof y));
        for (int i = 0; i < 256; i++) nonzero += y[i] != 0;
        CHECK(t, !nonzero, "timing left %d numbers in an arena", nonzero);
        int64_t held = mdl_backend_cuda.memory(d), predicted = mdl_plan_memory(plan);
        CHECK(t, held == predicted && held == 8192 + (32 << 20), "%" PRId64 " bytes, %" PRId64 " predicted", held, predicted);
    }
    mdl_backend_cuda.unload(d);
    mdl_plan_free(plan);
}

/* What one device says of its products, another takes; of the fake, also the other algorithm than the one that was chosen. */
static void test_own_choices(mdl_test *t) {
    mdl_device *d = NULL;
    if (!mdl_case(t, "gpu: choices of algorithms: a run's own go before those that are kept")) return;
    mdl_plan *plan = product_plan();
    ok(t, mdl_backend_cuda.load(plan, 0, &d));
    if (d) {
        const char *said = mdl_backend_cuda.choices(d, plan->memory);
        char *other = mdl_strdup(plan->memory, said), *hex = strstr(other, " = ");
        CHECK(t, hex && strlen(hex) == 3 + 128 + 1, "it says %s", said);
        if (hex && getenv("MDL_FAKE_CUDA")) hex[4] = hex[4] == '1' ? '2' : '1';
        ok(t, mdl_backend_cuda.choose(d, mdl_printf(plan->memory, "no problem of it = 00\n%s", other)));
        CHECK(t, !strcmp(mdl_backend_cuda.choices(d, plan->memory), other), "it has not taken\n%s", other);
        if (hex) memset(hex + 3, 'f', 128);
        ok(t, mdl_backend_cuda.choose(d, other));
        CHECK(t, strcmp(mdl_backend_cuda.choices(d, plan->memory), other), "it takes what the library cannot run");
    }
    mdl_backend_cuda.unload(d);
    mdl_plan_free(plan);
}

static void append(const char *path, const char *what) {
    FILE *f = fopen(path, "a");
    if (f) fputs(what, f);
    if (f) fclose(f);
}

/* Each writing makes a new file. */
static ino_t file_number(const char *path) {
    struct stat facts = {0};
    return stat(path, &facts) ? 0 : facts.st_ino;
}

static void test_choices(mdl_test *t, const char *cache) {
    char path[600];
    snprintf(path, sizeof path, "%s/mdl/gemm.json", cache);
    if (!mdl_case(t, "gpu: choices of algorithms: timed, kept, damaged, made again")) return;
    remove(path);
    load_product(t, NULL);
    ino_t first = file_number(path);
    CHECK(t, first, "no choice is kept");
    load_product(t, NULL);
    CHECK(t, file_number(path) == first, "what is known is chosen again");
    append(path, "{\"library\"");
    load_product(t, "was damaged");
    load_product(t, NULL);
}

static void refuses(mdl_test *t, const mdl_plan *plan, const char *expected) {
    mdl_device *d = NULL;
    const char *text = mdl_conformance_message(mdl_backend_cuda.load(plan, 0, &d));
    CHECK(t, !d && strstr(text, expected), "expected \"%s\", got \"%s\"", expected, text);
    mdl_backend_cuda.unload(d);
}

static void test_refusals(mdl_test *t) {
    if (!mdl_case(t, "gpu: too little memory, code that is missing, damaged or for another card")) return;
    mdl_plan *plan = counting_plan(t);
    plan->arena_bytes[MDL_ARENA_ACTIVATION] = INT64_C(1) << 50;
    refuses(t, plan, "the plan needs 1073741825 MiB");
    plan->arena_bytes[MDL_ARENA_ACTIVATION] = 0;
    plan->isa = "sm_10";
    refuses(t, plan, "the plan has code for sm_10, this GPU is sm_");
    plan->isa = arch;
    plan->files.at[1].bytes =
        mdl_strdup(plan->memory, "this is no code, whatever the driver thinks of it, and longer than a header is");
    refuses(t, plan, "kernels/k_fault.");
    plan->files.n = 1;
    refuses(t, plan, "the plan has no file kernels/k_fault.");
    mdl_plan_free(plan);
}

/* ---- errors that end a context ---- */
/* In a process of its own: most drivers are lost to a process whose kernel accessed memory that is not there. It prints the error.
 */
static void fault(mdl_test *t, bool as_graph) {
    char failure[1024] = "";
    mdl_device *d = NULL;
    mdl_plan *plan = counting_plan(t);
    mdl_cuda_set_graphs(as_graph);
    ok(t, mdl_backend_cuda.load(plan, 0, &d));
    CHECK(t, !d || count(d, 7, 1, failure) == -1, "it is not seen");
    printf("error: %s\n", failure);
    mdl_backend_cuda.unload(d);
    d = NULL;
    const char *again = mdl_conformance_message(mdl_backend_cuda.load(plan, 0, &d));
    printf("afterwards: %s\n", d && count(d, 2, 2, failure) == 8 ? "works" : *again ? again : failure);
    mdl_backend_cuda.unload(d);
    mdl_plan_free(plan);
}

/* The launch is named where launches end one by one, and after a graph where the device can be had again; else it is said that the
 * process cannot use the GPU any more, which is then so. */
static void test_fault(mdl_test *t, bool as_graph) {
    static const char launch[] = "program test, launch 1 (faults), kernel k_fault, tiny.mdl:7:5: CUDA_ERROR_ILLEGAL_ADDRESS";
    const char *said = NULL;
    if (!mdl_case(t, "gpu: an access out of bounds is found, %s", as_graph ? "in a graph" : "launch by launch")) return;
    mdl_shell(t, &said, "MDL_TEST_FAULT=%s mdltest gpu", as_graph ? "graph" : "launches");
    bool works = strstr(said, "afterwards: works");
    CHECK(t, strstr(said, "CUDA_ERROR_ILLEGAL_ADDRESS") && (strstr(said, launch) || (as_graph && !works)), "%s", said);
    CHECK(t, !works || strstr(said, "Found by running program test again, launch by launch: "), "%s", said);
    CHECK(t, works != (strstr(said, "program test") && strstr(said, "This process cannot use the GPU any more")), "%s", said);
    CHECK(t, works || !as_graph || strstr(said, "--no-graph names the launch"), "%s", said);
}

void suite_gpu(mdl_test *t) {
    char cache[512];
    mdl_device *keeper = NULL; /* the context stays while there is a device, and need not be made for each */
    mdl_status status = mdl_cuda_gpu_arch(arch);
    if (status) {
        printf("  skipped: %s\n", mdl_message(status));
        mdl_status_free(status);
        return;
    }
    mdl_conformance_target target = gpu();
    const char *wanted = getenv("MDL_TEST_FAULT");
    if (wanted) {
        fault(t, !strcmp(wanted, "graph"));
        return;
    }
    const char *fake = getenv("MDL_FAKE_CUDA");
    if (fake && !strcmp(fake, "dead")) { /* all else is as when it works */
        for (int as_graph = 0; as_graph < 2; as_graph++) test_fault(t, as_graph);
        return;
    }
    snprintf(cache, sizeof cache, "%s/choices", mdl_test_scratch(t));
    setenv("XDG_CACHE_HOME", cache, 1);
    mdl_plan *plan = product_plan();
    mdl_status_free(mdl_backend_cuda.load(plan, 0, &keeper));
    test_graphs(t);
    test_activity(t);
    test_choices(t, cache);
    test_own_choices(t);
    test_refusals(t);
    mdl_conformance(t, &target);
    mdl_backend_cuda.unload(keeper);
    mdl_plan_free(plan);
    for (int as_graph = 0; as_graph < 2; as_graph++) test_fault(t, as_graph);
}
