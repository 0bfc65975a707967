/* Generated kernels, templates and products against the interpreter: fixed and random programs at odd sizes. Each is an `output`
 * program of a made-up module; a batch of them is one plan, compiled, written and read back. Memory is poisoned with NaN before
 * each run. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/kernel/cpu/math.h"

#include "compiler/ir/state.h"
#include "compiler/kernel/cpu/bf16.h"
#include "compiler/kernel/cpu/fp8.h"
#include "compiler/pass/pass.h"
#include "compiler/pipeline.h"
#include "runtime/base/compare.h"
#include "runtime/device/device.h"
#include "tests/compiler/draw.h"
#include "tests/compiler/kernels.h"

/* f32 rounds to 6e-8; a dozen ops in a row and sums of up to 320 terms stay below 2e-6 of the result's norm. Where a result cancels
 * to less than its terms, which are of order 1, the norm of ones takes its place. */
static const double tolerance = 2e-6;
/* In bf16 both sides round at the same places, but what f32 and f64 put on different sides of a middle: some in 1e4, each of which
 * moves by 2^-8 of its size. One element in 64, or one, may: a rounding too many or too few moves all of them. */
static const double flip = 0x1p-8;
/* On a GPU cuBLASLt adds the bias and the start of some products in a second kernel, which reads what the first has rounded to
 * bf16: there every element may be off by half of bf16's epsilon, 2^-8 of the sum on the way, and by as much again where a second
 * product starts from the first. */
static const double rounded_twice = 0x1p-7;
/* Tensor cores take probabilities and the gradients of scores in bf16: 2^-9 each, of sums whose terms partly cancel. */
static const double tensor_cores = 8e-3;
enum { RANDOM_PROGRAMS = 24, BATCH = 64 };
static const int64_t column_counts[] = {1, 3, 33, 320};

typedef struct {
    const char *name, *program; /* of the plan */
    mdl_region *region;
    mdl_values v;
} subject;

typedef struct {
    mdl_test *t;
    mdl_arena *arena;
    mdl_module module;
    mdl_dtype precision;
    const mdl_backend *backend;
    const mdl_target *target;
    const char *isa; /* NULL: this machine's */
    MDL_VEC(subject) subjects;
    mdl_plan *plan;
    mdl_device *device;
} bench;

/* ---- programs ---- */
/* The number that an expression of $-sizes and + and * means, or -1 when there is none at `at`. */
static int64_t size_at(const char *at, const char **end, int64_t T, int64_t C) {
    int64_t sum = 0, product = 1;
    for (;; at++) {
        char *stop = (char *)at + 2;
        int64_t factor = *at != '$' ? strtoll(at, &stop, 10) : at[1] == 'T' ? T : at[1] == 'C' ? C : at[1] == 'D' ? 2 * C : C + 5;
        product *= factor;
        at = stop;
        if (*at != '*') sum += product, product = 1;
        if (*at != '*' && *at != '+') break;
    }
    *end = at;
    return sum;
}

static const char *with_sizes(mdl_arena *arena, const char *text, int64_t T, int64_t C) {
    mdl_text out = {.arena = arena};
    mdl_text_printf(&out, "program p {\n");
    for (const char *at = text; *at;) {
        size_t digits = strspn(at, "0123456789");
        if (*at == '$' || (digits && at[digits] == '*' && at[digits + 1] == '$'))
            mdl_text_printf(&out, "%" PRId64, size_at(at, &at, T, C));
        else
            mdl_text_append(&out, at, digits ? digits : 1), at += digits ? digits : 1;
    }
    mdl_text_printf(&out, "}\n");
    return out.at;
}

static void declare_leaf(bench *b, mdl_op *op, const char *prefix) {
    bool input = op->code == MDL_OP_INPUT;
    const char *name = mdl_printf(b->arena, "%s/%s", prefix, input ? mdl_attr_str(op, "name") : mdl_first_param(op));
    if (input) {
        const char *source = op->out[0]->type.dtype == MDL_SEG ? "segments" : "tokens";
        MDL_PUSH(b->arena, b->module.inputs, ((mdl_input_decl){.name = name, .source = source, .type = op->out[0]->type}));
        op->attr = mdl_copy(b->arena, &(mdl_attr){.key = "name", .kind = MDL_ATTR_STR, .s = name}, sizeof(mdl_attr));
    } else {
        const mdl_type *type = op->code == MDL_OP_READ ? &op->out[0]->type : &op->in[0]->type;
        bool known = false;
        for (int i = 0; i < b->module.params.n; i++) known |= !strcmp(b->module.params.at[i].name, name);
        if (!known)
            MDL_PUSH(b->arena, b->module.params,
                     ((mdl_param){.name = name, .type = *type, .decay = true, .group = "", .init = ""}));
        mdl_state state = mdl_state_by_name(MDL_STATE_PARAM, 1, &name);
        mdl_attr attr[2];
        op->n_attr = mdl_state_attrs(b->arena, &state, attr);
        op->attr = mdl_copy(b->arena, attr, sizeof attr);
    }
}

/* Copies a region's ops into the module's forward: names get the program's in front, results become its outputs. */
static void append(bench *b, const subject *s) {
    mdl_builder to = {.arena = b->arena, .region = b->module.forward};
    mdl_region_clear_scratch(s->region);
    for (int i = 0; i < s->region->ops.n; i++) {
        mdl_op *op = s->region->ops.at[i];
        mdl_value **in = MDL_NEW_ARRAY(b->arena, mdl_value *, op->n_in);
        for (int k = 0; k < op->n_in; k++) in[k] = op->in[k]->scratch;
        if (op->code == MDL_OP_RESULT) {
            mdl_attr attr[] = {mdl_str("program", s->program), mdl_str("name", mdl_attr_str(op, "name"))};
            mdl_build(&to, MDL_OP_OUTPUT, 1, in, 2, attr, NULL, NULL);
            continue;
        }
        mdl_op *copy = mdl_clone(&to, op, in);
        copy->span = (mdl_span){.file = s->name, .line = i + 1, .column = 1}; /* so that a refusal says which */
        if (op->code == MDL_OP_INPUT || mdl_is_access(op)) declare_leaf(b, copy, s->program);
        for (int k = 0; k < op->n_out; k++) op->out[k]->scratch = copy->out[k];
    }
}

/* Real inputs are what their dtype can hold. */
static void round_reals(mdl_arrays *arrays) {
    for (int i = 0; i < arrays->n; i++)
        for (int64_t k = 0, n = mdl_type_count(&arrays->at[i].type); k < n; k++)
            if (mdl_dtype_is_real(arrays->at[i].type.dtype))
                arrays->at[i].at[k] = mdl_dtype_round(arrays->at[i].type.dtype, arrays->at[i].at[k]);
}

static void begin(bench *b, int64_t rows) {
    b->arena = mdl_arena_new();
    b->subjects.n = b->subjects.cap = 0;
    b->module = (mdl_module){.name = "kernels", .tokens = rows, .segments = 3, .max_length = rows};
    b->module.forward = mdl_region_new(b->arena, "forward");
    b->module.init = mdl_region_new(b->arena, "init");
}

static void run_batch(bench *b);

static void add_subject(bench *b, const char *name, mdl_region *region) {
    subject s = {name, mdl_printf(b->arena, "p%d", b->subjects.n), region, {.arena = b->arena}};
    mdl_draw_values(&s.v, region);
    round_reals(&s.v.inputs);
    round_reals(&s.v.states);
    append(b, &s);
    MDL_PUSH(b->arena, b->subjects, s);
    if (b->subjects.n == BATCH) run_batch(b);
}

static void run_case(bench *b, const mdl_test_program *c, int64_t rows) {
    for (int k = 0; k < 4; k++) { /* one width where the text has none */
        if (k && !strstr(c->text, "$C") && !strstr(c->text, "$E")) continue;
        int64_t columns = column_counts[k];
        mdl_region *region = mdl_test_parse(b->t, b->arena, with_sizes(b->arena, c->text, rows, columns));
        if (region) add_subject(b, mdl_printf(b->arena, "%s, %d x %d", c->name, (int)rows, (int)columns), region);
    }
}

static void run_random(bench *b, int i, int64_t rows) {
    int64_t columns = column_counts[i % 4];
    mdl_region *region = mdl_random_program(b->arena, (uint64_t)(i * 1000 + rows), rows, columns);
    add_subject(b, mdl_printf(b->arena, "random program %d, %d x %d", i, (int)rows, (int)columns), region);
}

/* ---- the device ---- */
static bool ok(bench *b, mdl_status status) {
    bool fine = !status;
    CHECK(b->t, fine, "%s", mdl_message(status));
    mdl_status_free(status);
    return fine;
}

static void *to_bytes(mdl_arena *arena, const mdl_named_array *a) {
    int64_t n = mdl_type_count(&a->type);
    void *bytes = mdl_alloc(arena, (size_t)mdl_type_bytes(&a->type));
    for (int64_t i = 0; i < n; i++) {
        if (a->type.dtype == MDL_F32) ((float *)bytes)[i] = (float)a->at[i];
        if (a->type.dtype == MDL_I32 || a->type.dtype == MDL_SEG) ((int32_t *)bytes)[i] = (int32_t)a->at[i];
        if (a->type.dtype == MDL_BOOL) ((uint8_t *)bytes)[i] = (uint8_t)a->at[i];
        if (a->type.dtype == MDL_BF16) ((mdl_bf16 *)bytes)[i] = mdl_to_bf16((float)a->at[i]);
        if (a->type.dtype == MDL_E4M3) ((mdl_e4m3 *)bytes)[i] = mdl_to_e4m3((float)a->at[i]);
        if (a->type.dtype == MDL_E5M2) ((mdl_e5m2 *)bytes)[i] = mdl_to_e5m2((float)a->at[i]);
    }
    return bytes;
}

static void upload(bench *b, const subject *s) {
    for (int i = 0; i < s->v.inputs.n; i++) {
        const mdl_named_array *a = &s->v.inputs.at[i];
        const mdl_plan_input *in = mdl_plan_find_input(b->plan, mdl_printf(b->arena, "%s/%s", s->program, a->name));
        ok(b, b->backend->upload(b->device, MDL_ARENA_INPUT, in->offset, to_bytes(b->arena, a), mdl_type_bytes(&a->type)));
    }
    for (int i = 0; i < s->v.states.n; i++) {
        const mdl_named_array *a = &s->v.states.at[i];
        const mdl_plan_param *p = mdl_plan_find_param(b->plan, mdl_printf(b->arena, "%s/%s", s->program, a->name));
        ok(b, b->backend->upload(b->device, p->arena, p->offset, to_bytes(b->arena, a), mdl_type_bytes(&a->type)));
    }
}

static double element(const mdl_type *type, const void *bytes, int64_t i) {
    switch (type->dtype) {
        case MDL_F32: return ((const float *)bytes)[i];
        case MDL_BF16: return mdl_from_bf16(((const mdl_bf16 *)bytes)[i]);
        case MDL_E4M3: return mdl_from_e4m3(((const mdl_e4m3 *)bytes)[i]);
        case MDL_E5M2: return mdl_from_e5m2(((const mdl_e5m2 *)bytes)[i]);
        default: break;
    }
    return type->dtype == MDL_BOOL ? ((const uint8_t *)bytes)[i] : ((const int32_t *)bytes)[i];
}

/* Whether a product of the program may be added to after it was rounded. */
static bool adds_in_two(const bench *b, const mdl_plan_program *p) {
    bool any = false;
    for (int l = 0; l < p->launches.n; l++) {
        const mdl_plan_launch *launch = &p->launches.at[l];
        const mdl_gemm *g = &launch->gemm;
        any |= launch->kind == MDL_LAUNCH_GEMM && g->type_d == MDL_BF16 && (g->has_bias || g->has_c);
    }
    return any && b->target == &mdl_target_cuda && strcmp(b->isa, "host");
}

/* A GPU adds up products of 8-bit operands with 13 bits at first: some bf16 results go the other way. Of the norm. */
static const double small_products = 0x1p-10;
static bool has_small_products(const bench *b, const mdl_plan_program *p) {
    bool any = false;
    for (int l = 0; l < p->launches.n; l++)
        any |= p->launches.at[l].kind == MDL_LAUNCH_GEMM && mdl_dtype_bits(p->launches.at[l].gemm.type_a) == 8;
    return any && b->target == &mdl_target_cuda && strcmp(b->isa, "host");
}

/* How far a result may be off, of its norm. */
static double tolerance_of(const bench *b, const mdl_plan_program *p, int64_t n) {
    if (b->precision == MDL_F32) return tolerance;
    return adds_in_two(b, p) ? rounded_twice : flip * sqrt(1.0 / (double)n + 1.0 / 64);
}

static bool on_tensor_cores(const bench *b, const mdl_region *region) {
    bool found = false;
    for (int i = 0; i < region->ops.n; i++)
        found |= region->ops.at[i]->code == MDL_OP_ATTENTION || region->ops.at[i]->code == MDL_OP_ATTENTION_BWD;
    return found && b->precision != MDL_F32 && b->target != &mdl_target_cpu;
}

static void compare(bench *b, const subject *s, const mdl_plan_program *p, int r, mdl_arrays *expected) {
    const mdl_plan_buffer *from = &p->buffers.at[p->results.at[r].buffer];
    const mdl_named_array *want = mdl_arrays_find(expected, p->results.at[r].name);
    void *bytes = mdl_alloc(b->arena, (size_t)from->bytes);
    if (!ok(b, b->backend->download(b->device, from->arena, from->offset, bytes, from->bytes)) || !want) return;
    int64_t n = mdl_type_count(&want->type);
    mdl_comparison c = mdl_comparison_begin();
    for (int64_t i = 0; i < n; i++) mdl_comparison_add(&c, element(&from->type, bytes, i), want->at[i]);
    double scale = sqrt(fmax(c.size, (double)n));
    double limit = from->type.dtype == MDL_F32 ? tolerance_of(b, p, n) * scale : 0;
    if (on_tensor_cores(b, s->region)) limit = tensor_cores * sqrt(c.size);
    if (has_small_products(b, p)) limit = small_products * scale;
    CHECK(b->t, !c.bad && sqrt(c.difference) <= limit,
          "%s is off by %.3g of %.3g, %" PRId64 " are not finite; element %" PRId64 " is %.9g, expected %.9g",
          p->results.at[r].name, sqrt(c.difference), sqrt(c.size), c.bad, c.at, element(&from->type, bytes, c.at), want->at[c.at]);
}

/* Parameters are what the interpreter left: as they were, but for writes. */
static void check_states(bench *b, const subject *s) {
    for (int i = 0; i < s->v.states.n; i++) {
        const mdl_named_array *a = &s->v.states.at[i];
        const mdl_plan_param *p = mdl_plan_find_param(b->plan, mdl_printf(b->arena, "%s/%s", s->program, a->name));
        void *now = mdl_alloc(b->arena, (size_t)mdl_type_bytes(&a->type));
        ok(b, b->backend->download(b->device, p->arena, p->offset, now, mdl_type_bytes(&a->type)));
        CHECK(b->t, !memcmp(now, to_bytes(b->arena, a), (size_t)mdl_type_bytes(&a->type)), "parameter %s is wrong", a->name);
    }
}

/* The program as bf16 has it, for the interpreter; and the copies that it reads, which reading rounds. */
static mdl_region *rounded(bench *b, subject *s) {
    static const mdl_layout none = {.tiles = 1};
    mdl_pass_context c = {.arena = b->arena, .layout = &none, .target = b->target, .precision = b->precision};
    int n = s->v.states.n;
    for (int i = 0; i < n; i++) {
        mdl_named_array a = s->v.states.at[i];
        mdl_arrays_set(b->arena, &s->v.states, mdl_state_text(b->arena, MDL_STATE_COMPUTE, a.name), a.type, a.at);
    }
    mdl_region *r = mdl_pass_simplify(&c, mdl_pass_lower(&c, mdl_pass_decompose(&c, s->region)));
    return mdl_pass_precision(&c, mdl_pass_anchor(&c, r));
}

static void run_subject(bench *b, subject *s) {
    const mdl_plan_program *p = mdl_plan_find_program(b->plan, s->program);
    mdl_arrays results = {0};
    upload(b, s);
    b->backend->fill(b->device, MDL_ARENA_ACTIVATION, 0xff);
    b->backend->fill(b->device, MDL_ARENA_RESULT, 0xff);
    if (b->precision != MDL_F32) ok(b, b->backend->run(b->device, "refresh"));
    if (!ok(b, b->backend->run(b->device, s->program))) return;
    int states = s->v.states.n;
    mdl_region *region = b->precision == MDL_F32 ? s->region : rounded(b, s);
    mdl_interpret(b->arena, region, &s->v.inputs, &s->v.states, &results);
    s->v.states.n = states;
    CHECK(b->t, p->results.n == results.n, "%d results, expected %d", p->results.n, results.n);
    for (int r = 0; r < p->results.n; r++) compare(b, s, p, r, &results);
    check_states(b, s);
}

/* Compiles what was added, runs it, and begins anew. */
static void run_batch(bench *b) {
    mdl_pipeline_options options = {.out = stdout, .precision = b->precision, .target = b->target, .isa = b->isa};
    mdl_plan *plan = NULL;
    const char *path = mdl_printf(b->arena, "%s/kernels.plan", mdl_test_scratch(b->t));
    mdl_case(b->t, "%d programs compile into a plan for %s in %s that verifies", b->subjects.n, b->target->name,
             mdl_dtype_name(b->precision));
    b->plan = NULL;
    b->device = NULL;
    mdl_region_renumber(b->module.forward);
    if (ok(b, mdl_compile(b->arena, &b->module, &options, &plan)) && ok(b, mdl_plan_write(plan, path)) &&
        ok(b, mdl_plan_read(path, &b->plan)) && ok(b, b->backend->load(b->plan, 2, &b->device)))
        for (int i = 0; i < b->subjects.n; i++)
            if (mdl_case(b->t, "%s, %s, %s", b->subjects.at[i].name, mdl_dtype_name(b->precision), b->target->name))
                run_subject(b, &b->subjects.at[i]);
    b->backend->unload(b->device);
    mdl_plan_free(b->plan);
    mdl_plan_free(plan);
    mdl_arena_free(b->arena);
    begin(b, b->module.tokens);
}

static void test_refused(bench *b) {
    mdl_arena *kept = mdl_arena_new();
    mdl_text all = {.arena = kept};
    mdl_case(b->t, "what the target does not have is refused");
    for (const mdl_test_program *c = mdl_test_programs(b->t, kept, "compiler/refused_cases.txt"); c->name; c++) {
        mdl_pipeline_options options = {.out = stdout};
        mdl_plan *plan = NULL;
        begin(b, 7);
        run_case(b, c, 7);
        mdl_region_renumber(b->module.forward);
        mdl_status status = mdl_compile(b->arena, &b->module, &options, &plan);
        CHECK(b->t, status && !plan, "%s: accepted", c->name);
        mdl_text_printf(&all, "%s\n", mdl_message(status));
        mdl_status_free(status);
        mdl_plan_free(plan);
        mdl_arena_free(b->arena);
    }
    mdl_golden(b->t, "compiler/refused.txt", all.at);
    mdl_arena_free(kept);
}

static void run_all(bench *b, mdl_dtype precision, int n, const int64_t *rows) {
    mdl_arena *arena = mdl_arena_new();
    const mdl_test_program *cases = mdl_test_programs(b->t, arena, "compiler/kernel_cases.txt");
    const mdl_test_program *writes = mdl_test_programs(b->t, arena, "compiler/write_cases.txt");
    b->precision = precision;
    for (int r = 0; r < n; r++) { /* a plan has one number of tokens */
        begin(b, rows[r]);
        for (const mdl_test_program *c = cases; c->name; c++) run_case(b, c, rows[r]);
        for (int i = 0; i < RANDOM_PROGRAMS; i++) run_random(b, i, rows[r]);
        if (b->subjects.n) run_batch(b);
        for (const mdl_test_program *c = writes; c->name && precision == MDL_F32 && r % 2; c++) run_case(b, c, rows[r]);
        if (b->subjects.n) run_batch(b); /* apart from the others: every program of a plan has all writes */
        mdl_arena_free(b->arena);
    }
    mdl_arena_free(arena);
}

void suite_kernels(mdl_test *t) {
    bench b = {.t = t, .backend = &mdl_backend_cpu, .target = &mdl_target_cpu};
    test_refused(&b);
    run_all(&b, MDL_F32, 4, (const int64_t[]){1, 7, 65, 130});
    run_all(&b, MDL_BF16, 2, (const int64_t[]){7, 130});
}

/* In emulation, or for the arch that MDL_TEST_ARCH names, on the GPU there is. */
void suite_kernels_cuda(mdl_test *t) {
    const char *arch = getenv("MDL_TEST_ARCH");
    bench b = {.t = t, .backend = &mdl_backend_cuda, .target = &mdl_target_cuda, .isa = arch && *arch ? arch : "host"};
    run_all(&b, MDL_F32, 1, (const int64_t[]){130});
    run_all(&b, MDL_BF16, 1, (const int64_t[]){65});
    if (!arch) return; /* the emulator takes its time */
    run_all(&b, MDL_F32, 2, (const int64_t[]){1, 7});
    run_all(&b, MDL_BF16, 1, (const int64_t[]){1});
}
