/* mdlc: a model file becomes a plan. */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "compiler/front/front.h"
#include "compiler/pipeline.h"
#include "compiler/target/cuda_nvrtc.h"
#include "runtime/base/file.h"

typedef struct {
    const char *model, *output, *library;
    int64_t tokens, segments, memory;
    MDL_VEC(const char *) sets;
    mdl_pipeline_options pipeline;
    bool quiet, precise; /* precise: a precision was asked for */
} options;

static void help(void) {
    puts(
        "usage: mdlc MODEL.mdl -o OUT.plan [option ...]\n"
        "Compiles a model into fused kernels and a static execution plan.\n\n"
        "  -o, --output FILE      the plan to write\n"
        "      --set NAME=VALUE   sets a config, a table entry or a dim of the model; may be repeated\n"
        "      --tokens T         tokens in a batch (the model's `batch T`)\n"
        "      --seqs S           sequences in a batch at most\n"
        "      --target T         what to compile for: cpu (the default) or cuda\n"
        "      --arch LIST        cuda: sm_80, sm_90a, sm_120, ... or compute_90 for PTX, several with commas between;\n"
        "                         host: for the emulator, which needs no GPU; default: sm_90a\n"
        "      --precision P      f32; bf16: operands of products and activations in bf16, sums, parameters and\n"
        "                         their gradients in f32; fp8: as bf16, and the products of linear layers in repeated\n"
        "                         scopes take operands of 8 bits; default: f32 on cpu, bf16 on cuda\n"
        "      --fp8 RECIPE       recipe=delayed,history=16,margin=0: a scale comes from the largest of so many steps,\n"
        "                         so many powers of 2 below what would just fit; recipe=current: from the tensor\n"
        "                         itself, which costs a pass; layers=all: those too that are slower so\n"
        "      --memory SIZE      fail if the plan needs more than this (24G, 800M, bytes)\n"
        "      --isa LEVEL        cpu: x86-64-v2, x86-64-v3, x86-64-v4 or aarch64; default: this machine's\n"
        "      --library DIR      where `use \"std/...\"` is looked up after the model's own folder\n"
        "      --dump PASS,...    print the program after these passes, or after `all`; `launches`: buffers and launches\n"
        "      --dump-program P   only of this program (train_only, eval, ...)\n"
        "      --stop-after PASS  stop there; nothing is written\n"
        "      --check-passes     interpret every program in f64 after every pass and name the first that changes it (tiny sizes)\n"
        "      --quiet            print nothing but errors\n"
        "      --version, --nvrtc-version, --help\n\npasses:");
    for (const mdl_pass_info *p = mdl_pass_list; p->name; p++) printf("  %-12s %s\n", p->name, p->help);
}

static bool parse_size(const char *text, int64_t *bytes) {
    char *end;
    double n = strtod(text, &end);
    const char *units = "KMGT", *unit = *end ? strchr(units, *end >= 'a' ? *end - 32 : *end) : NULL;
    if (end == text || n <= 0 || (*end && (!unit || (end[1] && strcmp(end + 1, "iB"))))) return false;
    for (int i = 0; unit && i <= unit - units; i++) n *= 1024;
    *bytes = (int64_t)n;
    return n < 9e18;
}

static bool parse_count(const char *text, int64_t *n) {
    char *end;
    *n = strtoll(text, &end, 10);
    return *text && !*end && *n > 0 && *n <= INT32_MAX;
}

enum {
    SET = 256,
    TOKENS,
    SEQS,
    TARGET,
    PRECISION,
    FP8,
    MEMORY,
    ISA,
    LIBRARY,
    DUMP,
    DUMP_PROGRAM,
    STOP_AFTER,
    CHECK,
    QUIET,
    VERSION,
    HELP
};
static const struct option long_options[] = {{"output", 1, 0, 'o'},
                                             {"set", 1, 0, SET},
                                             {"tokens", 1, 0, TOKENS},
                                             {"seqs", 1, 0, SEQS},
                                             {"target", 1, 0, TARGET},
                                             {"precision", 1, 0, PRECISION},
                                             {"fp8", 1, 0, FP8},
                                             {"memory", 1, 0, MEMORY},
                                             {"isa", 1, 0, ISA},
                                             {"arch", 1, 0, ISA},
                                             {"library", 1, 0, LIBRARY},
                                             {"dump", 1, 0, DUMP},
                                             {"dump-program", 1, 0, DUMP_PROGRAM},
                                             {"stop-after", 1, 0, STOP_AFTER},
                                             {"check-passes", 0, 0, CHECK},
                                             {"quiet", 0, 0, QUIET},
                                             {"version", 0, 0, VERSION},
                                             {"help", 0, 0, HELP},
                                             {0, 0, 0, 0}};

static mdl_status bad_value(const char *option, const char *value, const char *expected) {
    return mdl_fail(MDL_USAGE, "%s: expected %s, got '%s'", option, expected, value);
}

static bool is_part(const char *at, const char *part) {
    size_t n = strlen(part);
    return !strncmp(at, part, n) && (!at[n] || at[n] == ',');
}

/* "recipe=delayed,history=32,margin=1,layers=all" */
static mdl_status take_recipe(options *o, const char *text) {
    static const struct {
        const char *key;
        int least, most, step;
    } keys[] = {{"history", 16, 4096, 16}, {"margin", 0, 8, 1}};
    int *const values[] = {&o->pipeline.recipe.history, &o->pipeline.recipe.margin};
    for (const char *at = text; *at; at += strcspn(at, ","), at += *at == ',') {
        size_t n = strcspn(at, "=,");
        int i = 0;
        o->pipeline.recipe.all |= is_part(at, "layers=all");
        o->pipeline.recipe.current |= is_part(at, "recipe=current");
        if (is_part(at, "layers=all") || is_part(at, "recipe=current") || is_part(at, "recipe=delayed")) continue;
        while (i < 2 && (strlen(keys[i].key) != n || strncmp(keys[i].key, at, n))) i++;
        char *end = NULL;
        long value = i < 2 && at[n] == '=' ? strtol(at + n + 1, &end, 10) : -1;
        if (!end || (*end && *end != ',') || value < keys[i].least || value > keys[i].most || value % keys[i].step)
            return bad_value(
                "--fp8", text,
                "recipe=delayed or current, history=STEPS (16 to 4096, in sixteens), margin=BITS (0 to 8), layers=all, with "
                "commas between");
        *values[i] = (int)value;
    }
    return MDL_OK;
}

static mdl_status take(mdl_arena *arena, options *o, int c) {
    switch (c) {
        case 'o': o->output = optarg; break;
        case SET: MDL_PUSH(arena, o->sets, optarg); break;
        case TOKENS: return parse_count(optarg, &o->tokens) ? MDL_OK : bad_value("--tokens", optarg, "a positive number");
        case SEQS: return parse_count(optarg, &o->segments) ? MDL_OK : bad_value("--seqs", optarg, "a positive number");
        case TARGET: return (o->pipeline.target = mdl_target_find(optarg)) ? MDL_OK : bad_value("--target", optarg, "cpu or cuda");
        case PRECISION:
            o->pipeline.fp8 = !strcmp(optarg, "fp8");
            if (strcmp(optarg, "f32") && strcmp(optarg, "bf16") && !o->pipeline.fp8)
                return bad_value("--precision", optarg, "f32, bf16 or fp8");
            mdl_dtype_parse(o->pipeline.fp8 ? "bf16" : optarg, &o->pipeline.precision);
            o->precise = true;
            break;
        case FP8: return take_recipe(o, optarg);
        case MEMORY: return parse_size(optarg, &o->memory) ? MDL_OK : bad_value("--memory", optarg, "a size such as 24G");
        case ISA: o->pipeline.isa = optarg; break;
        case LIBRARY: o->library = optarg; break;
        case DUMP: o->pipeline.dump = optarg; break;
        case DUMP_PROGRAM: o->pipeline.dump_only = optarg; break;
        case STOP_AFTER: o->pipeline.stop_after = optarg; break;
        case CHECK: o->pipeline.check = true; break;
        case QUIET: o->quiet = true; break;
        default: return mdl_fail(MDL_USAGE, "see mdlc --help");
    }
    return MDL_OK;
}

/* Every name of the list is a pass's, or `also`. */
static bool known_passes(const char *list, const char *also) {
    mdl_arena *arena = mdl_arena_new();
    bool ok = true;
    for (char *save, *name = list ? strtok_r(mdl_strdup(arena, list), ",", &save) : NULL; name; name = strtok_r(NULL, ",", &save)) {
        bool found = !strcmp(name, "all") || !strcmp(name, "elaborate") || !strcmp(name, "programs") || !strcmp(name, also);
        for (const mdl_pass_info *p = mdl_pass_list; p->name; p++) found |= !strcmp(p->name, name);
        ok &= found;
    }
    mdl_arena_free(arena);
    return ok;
}

static mdl_status parse(mdl_arena *arena, int argc, char **argv, options *o) {
    for (int c; (c = getopt_long(argc, argv, "o:", long_options, NULL)) != -1;) MDL_TRY(take(arena, o, c), "command line");
    if (optind + 1 != argc) return mdl_fail(MDL_USAGE, "expected one model file; see mdlc --help");
    o->model = argv[optind];
    const mdl_target *target = o->pipeline.target ? o->pipeline.target : mdl_targets[0];
    const char *wrong = o->pipeline.isa ? target->refuses_isa(arena, o->pipeline.isa) : NULL;
    if (wrong) return mdl_fail(MDL_USAGE, "%s: '%s': %s", target == mdl_targets[0] ? "--isa" : "--arch", o->pipeline.isa, wrong);
    if (!o->precise) o->pipeline.precision = target->precision;
    if (o->pipeline.check && o->pipeline.fp8)
        return mdl_fail(MDL_USAGE, "--check-passes compares programs in f32 and bf16, not in fp8");
    if (!o->output && !o->pipeline.stop_after) return mdl_fail(MDL_USAGE, "expected -o OUT.plan");
    if (!known_passes(o->pipeline.dump, MDL_DUMP_LAUNCHES))
        return bad_value("--dump", o->pipeline.dump, "passes of mdlc --help, or all");
    if (o->pipeline.dump_only && !o->pipeline.dump) return mdl_fail(MDL_USAGE, "--dump-program needs --dump PASS,...");
    if (!known_passes(o->pipeline.stop_after, "all"))
        return bad_value("--stop-after", o->pipeline.stop_after, "a pass of mdlc --help");
    return MDL_OK;
}

/* Installed or in the source tree: models/ beside or above the program. */
static const char *find_library(mdl_arena *arena) {
    static const char *const places[] = {"models", "../models", "../../models", "../share/mdl/models"};
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0) return NULL;
    self[n] = 0;
    *strrchr(self, '/') = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *path = mdl_printf(arena, "%s/%s", self, places[i]);
        if (!access(mdl_printf(arena, "%s/std/nn.mdl", path), R_OK)) return path;
    }
    return NULL;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of a training step. */
static void report_fp8(const mdl_plan *plan) {
    const mdl_plan_program *p = mdl_plan_find_program(plan, "train_only");
    int small = 0, all = 0;
    for (int i = 0; p && i < p->launches.n; i++) {
        const mdl_plan_launch *l = &p->launches.at[i];
        if (l->kind == MDL_LAUNCH_GEMM) all++, small += mdl_dtype_bits(l->gemm.type_a) == 8;
    }
    printf("fp8: %d of the %d products of a training step are of 8 bits%s; evaluation is in bf16\n", small, all,
           small ? "" : ", since layers of these sizes are quicker in bf16 (--fp8 layers=all: all the same)");
}

static void report(const options *o, const mdl_plan *plan, double seconds) {
    double MiB = 1 << 20;
    int64_t trained = 0, launches = 0, peak = 0, live = 0;
    for (int i = 0; i < plan->params.n; i++)
        if (plan->params.at[i].arena == MDL_ARENA_PARAM) trained += mdl_type_count(&plan->params.at[i].type);
    for (int i = 0; i < plan->programs.n; i++) {
        const mdl_plan_program *p = &plan->programs.at[i];
        launches += p->launches.n;
        if (p->activation_bytes > peak) peak = p->activation_bytes, live = p->live_bytes;
    }
    printf("%s: %" PRId64 " parameters, %" PRId64 " tokens a batch, %d programs, %" PRId64 " launches, %d kernels (%s, %s)\n",
           plan->model, trained, plan->tokens, plan->programs.n, launches, plan->kernels.n, plan->target, plan->isa);
    int64_t states = 0;
    for (int i = MDL_ARENA_PARAM; i <= MDL_ARENA_COMPUTE; i++) states += plan->arena_bytes[i];
    printf("peak memory %.1f MiB: parameters, gradients and moments %.1f, activations %.1f (%.1f %% above the live bytes)\n",
           (double)mdl_plan_memory(plan) / MiB, (double)states / MiB, (double)peak / MiB,
           live ? 100.0 * (double)(peak - live) / (double)live : 0);
    if (o->pipeline.fp8) report_fp8(plan);
    if (o->output) printf("wrote %s in %.1f s\n", o->output, seconds);
}

static mdl_status run(mdl_arena *arena, options *o) {
    double start = now();
    mdl_front_options front = {o->model,   o->library ? o->library : find_library(arena), o->sets.n, o->sets.at, o->tokens,
                               o->segments};
    mdl_diagnostics *d = mdl_diagnostics_new(arena);
    mdl_module *module = mdl_front(arena, &front, d);
    fputs(mdl_diagnostics_text(d), stderr);
    if (!module)
        return mdl_fail(MDL_BAD_INPUT, "%d error%s in %s", mdl_distinct_errors(d), mdl_distinct_errors(d) == 1 ? "" : "s",
                        o->model);
    mdl_plan *plan;
    MDL_TRY(mdl_compile(arena, module, &o->pipeline, &plan), "%s", o->model);
    if (!plan) return MDL_OK;
    mdl_status status = MDL_OK;
    if (o->memory && mdl_plan_memory(plan) > o->memory)
        status = mdl_fail(MDL_BAD_INPUT, "the plan needs %" PRId64 " bytes, --memory allows %" PRId64 "; fewer --tokens need less",
                          mdl_plan_memory(plan), o->memory);
    if (!status) status = mdl_plan_write(plan, o->output);
    if (!status && !o->quiet) report(o, plan, now() - start);
    mdl_plan_free(plan);
    return status;
}

/* "13.0", or nothing where there is none. */
static void print_nvrtc(void) {
    mdl_arena *arena = mdl_arena_new();
    const mdl_nvrtc *nvrtc;
    mdl_status status = mdl_nvrtc_open(arena, &nvrtc);
    if (!status) puts(mdl_nvrtc_version(arena, nvrtc));
    mdl_status_free(status);
    mdl_arena_free(arena);
}

/* These win over everything else. */
static bool asked(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return help(), true;
        if (!strcmp(argv[i], "--version")) return puts("mdlc " MDL_VERSION), true;
        if (!strcmp(argv[i], "--nvrtc-version")) return print_nvrtc(), true;
    }
    return false;
}

static mdl_status compile(mdl_arena *arena, int argc, char **argv) {
    options o = {.pipeline = {.out = stdout, .recipe = mdl_fp8_default}};
    mdl_status status = parse(arena, argc, argv, &o);
    return status ? status : run(arena, &o);
}

int main(int argc, char **argv) {
    mdl_arena *arena = mdl_arena_new();
    mdl_status status = asked(argc, argv) ? MDL_OK : compile(arena, argc, argv);
    if (!status) status = mdl_file_flush_stdout();
    int code = 0;
    if (status) {
        fprintf(stderr, "mdlc: error: %s\n", mdl_message(status));
        code = (int)mdl_status_code(status);
        mdl_status_free(status);
    }
    mdl_arena_free(arena);
    return code;
}
