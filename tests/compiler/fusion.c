/* What fusion must reach: the launches that one more layer adds, counted by what they are. A layer norm forward is one kernel; its
 * backward with the residual's gradient, dgamma and dbeta is one kernel; so is GELU's with its bias gradient. The finish of all
 * these sums is one for a layer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/pass/pass.h"
#include "compiler/pipeline.h"
#include "tests/compiler/draw.h"
#include "tests/compiler/kernels.h"

enum { ROW, FINISH, PRODUCT, ATTENTION, ATTENTION_BWD, COPY, OTHER, N_KINDS };
static const char *const kinds[N_KINDS] = {"row", "finish", "product", "attention", "attention_bwd", "copy", "other"};

typedef struct {
    int of[N_KINDS];
} counts;

static int kind_of(const mdl_plan *plan, const mdl_plan_launch *l) {
    if (l->kind == MDL_LAUNCH_GEMM) return PRODUCT;
    if (l->kind == MDL_LAUNCH_COPY) return COPY;
    const char *class = plan->kernels.at[l->kernel].class;
    for (int k = 0; k < OTHER; k++)
        if (!strcmp(kinds[k], class)) return k;
    return OTHER;
}

static counts count(const mdl_plan *plan, const mdl_plan_program *p) {
    counts c = {{0}};
    for (int i = 0; i < p->launches.n; i++) c.of[kind_of(plan, &p->launches.at[i])]++;
    return c;
}

static mdl_plan *compile_module(mdl_test *t, mdl_arena *arena, mdl_dtype precision, mdl_module *module) {
    mdl_pipeline_options options = {.out = stdout, .precision = precision};
    mdl_plan *plan = NULL;
    mdl_status status = module ? mdl_compile(arena, module, &options, &plan) : MDL_OK;
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    return plan;
}

static mdl_plan *compile_in(mdl_test *t, mdl_arena *arena, mdl_dtype precision, const char *model, const char *sets, int layers,
                            int64_t tokens) {
    return compile_module(t, arena, precision,
                          mdl_test_model(t, arena, model, mdl_printf(arena, "%s L=%d", sets, layers), tokens, 4));
}

static mdl_plan *compile(mdl_test *t, mdl_arena *arena, const char *model, const char *sets, int layers, int64_t tokens) {
    return compile_in(t, arena, MDL_F32, model, sets, layers, tokens);
}

/* ---- the launches of a layer ---- */
/* forward: eval. train: forward, backward and gradients, written or accumulated. */
static const struct {
    const char *model, *sets;
    counts forward, train;
} blocks[] = {
    /* forward, row kernels: both norms, GELU; biases and residuals are the products', rotary is attention's.
     * backward, row kernels: both norms, GELU. They and attention have sums over rows: one finish. */
    {"esm2", "D=16 H=2", {{3, 0, 4, 1, 0, 0, 0}}, {{6, 1, 12, 1, 1, 0, 0}}},
    /* No biases: the products w12 and q, k, v have none to sum, the norms' weights have. */
    {"amplify", "D=16 H=2 M=24", {{3, 0, 4, 1, 0, 0, 0}}, {{6, 1, 12, 1, 1, 0, 0}}},
    {"decoder", "D=16 H=2 G=1 F=24", {{3, 0, 4, 1, 0, 0, 0}}, {{6, 1, 12, 1, 1, 0, 0}}},
    {"twohead", "D=16 H=2", {{3, 0, 4, 1, 0, 0, 0}}, {{6, 1, 12, 1, 1, 0, 0}}},
};

static void check_program(mdl_test *t, const mdl_plan *two, const mdl_plan *three, const char *name, const counts *want) {
    counts a = count(two, mdl_plan_find_program(two, name)), b = count(three, mdl_plan_find_program(three, name));
    for (int k = 0; k < N_KINDS; k++)
        CHECK(t, b.of[k] - a.of[k] == want->of[k], "%s: a layer adds %d launches of kind %s, expected %d", name, b.of[k] - a.of[k],
              kinds[k], want->of[k]);
}

/* ---- the same, by name ---- */
static bool same_work(const mdl_plan *p, const mdl_plan_launch *a, const mdl_plan *q, const mdl_plan_launch *b) {
    return kind_of(p, a) == kind_of(q, b) && !strcmp(a->label, b->label) && !strcmp(a->span, b->span) &&
           !memcmp(&a->gemm, &b->gemm, sizeof a->gemm);
}

static int occurrences(const mdl_plan *p, const mdl_plan_program *in, const mdl_plan *q, const mdl_plan_launch *l) {
    int n = 0;
    for (int i = 0; i < in->launches.n; i++) n += same_work(p, &in->launches.at[i], q, l);
    return n;
}

/* The launches that `three` has more of than `two`, in the order of their first. */
static const char *added_launches(mdl_arena *arena, const mdl_plan *two, const mdl_plan *three, const char *root) {
    const mdl_plan_program *a = mdl_plan_find_program(two, "train_only"), *b = mdl_plan_find_program(three, "train_only");
    mdl_text text = {.arena = arena};
    for (int i = 0; i < b->launches.n; i++) {
        const mdl_plan_launch *l = &b->launches.at[i];
        bool earlier = false;
        for (int k = 0; k < i; k++) earlier |= same_work(three, &b->launches.at[k], three, l);
        int more = occurrences(three, b, three, l) - occurrences(two, a, three, l);
        if (earlier || !more) continue;
        const char *span = strncmp(l->span, root, strlen(root)) ? l->span : l->span + strlen(root) + 1;
        mdl_text_printf(&text, "%dx %-13s %-20s %s", more, kinds[kind_of(three, l)], l->label, span);
        if (l->kind == MDL_LAUNCH_GEMM)
            mdl_text_printf(&text, "  %d x %d x %d%s%s", (int)l->gemm.m, (int)l->gemm.n, (int)l->gemm.k,
                            l->gemm.has_bias ? ", bias" : "", l->gemm.has_c ? ", added" : "");
        mdl_text_printf(&text, "\n");
    }
    return text.at;
}

static void test_block(mdl_test *t, int i, mdl_dtype precision) {
    mdl_arena *arena = mdl_arena_new();
    const char *model = blocks[i].model;
    mdl_case(t, "%s: the launches of a layer in %s", model, mdl_dtype_name(precision));
    mdl_plan *two = compile_in(t, arena, precision, model, blocks[i].sets, 2, 64),
             *three = compile_in(t, arena, precision, model, blocks[i].sets, 3, 64);
    if (two && three) {
        check_program(t, two, three, "eval", &blocks[i].forward);
        check_program(t, two, three, "train_only", &blocks[i].train);
        check_program(t, two, three, "train_middle", &blocks[i].train);
        CHECK(t, two->kernels.n == three->kernels.n, "%d kernels, then %d", two->kernels.n, three->kernels.n);
        if (i == 0 && precision == MDL_F32)
            mdl_golden(t, "compiler/block.txt", added_launches(arena, two, three, mdl_test_source(t)));
    }
    mdl_plan_free(two);
    mdl_plan_free(three);
    mdl_arena_free(arena);
}

/* ---- attention and its products ---- */
static bool is_wide(const mdl_type *t) { return t->rank > 1 && t->dim[0] == 64 && mdl_type_count(t) >= 64 * 16; }

/* Every launch that writes a wide buffer which launch `at` reads, or reads one that it writes, is a product or attention. */
static void check_neighbours(mdl_test *t, const mdl_plan *plan, const mdl_plan_program *p, int at) {
    for (int i = 0; i < p->launches.n; i++)
        for (int k = 0; k < p->launches.at[i].args.n; k++)
            for (int j = 0; j < p->launches.at[at].args.n; j++) {
                const mdl_plan_arg *other = &p->launches.at[i].args.at[k], *own = &p->launches.at[at].args.at[j];
                if (i == at || other->kind != MDL_ARG_BUFFER || own->kind != MDL_ARG_BUFFER || other->value != own->value) continue;
                if (other->access == own->access || !is_wide(&p->buffers.at[own->value].type)) continue;
                int kind = kind_of(plan, &p->launches.at[i]);
                CHECK(t, kind == PRODUCT || kind == ATTENTION || kind == ATTENTION_BWD, "%s: %s stands beside %s", p->name,
                      p->launches.at[i].label, p->launches.at[at].label);
            }
}

static void test_attention(mdl_test *t, mdl_dtype precision) {
    mdl_arena *arena = mdl_arena_new();
    for (int m = 0; m < 3; m++) {
        mdl_case(t, "%s: nothing between the products and attention, in either direction, in %s", blocks[m].model,
                 mdl_dtype_name(precision));
        mdl_plan *plan = compile_in(t, arena, precision, blocks[m].model, blocks[m].sets, 2, 64);
        const mdl_plan_program *p = plan ? mdl_plan_find_program(plan, "train_only") : NULL;
        int seen = 0;
        for (int i = 0; p && i < p->launches.n; i++) {
            int kind = kind_of(plan, &p->launches.at[i]);
            if (kind != ATTENTION && kind != ATTENTION_BWD) continue;
            seen++;
            check_neighbours(t, plan, p, i);
        }
        CHECK(t, seen == 4, "%d launches of attention", seen);
        mdl_plan_free(plan);
    }
    mdl_arena_free(arena);
}

/* ---- bytes ---- */
enum { TOKENS = 8192, WIDTH = 64 };

static double moved(const mdl_plan *plan) {
    const mdl_plan_program *p = mdl_plan_find_program(plan, "train_first");
    double bytes = 0;
    for (int i = 0; i < p->launches.n; i++) {
        int kind = kind_of(plan, &p->launches.at[i]);
        if (kind != PRODUCT && kind != ATTENTION && kind != ATTENTION_BWD) bytes += (double)p->launches.at[i].bytes;
    }
    return bytes;
}

/* In elements of T x H: both norms read and write one row forward, GELU reads four and writes four; backward each norm reads two
 * rows and the residual's gradient and writes one, GELU reads eight and writes four: 32. Row statistics and partial sums are the
 * rest. */
static void test_bytes(mdl_test *t, mdl_dtype precision) {
    mdl_arena *arena = mdl_arena_new();
    mdl_case(t, "what a layer moves beside its products and attention, forward and backward: at most 35 T H, in %s",
             mdl_dtype_name(precision));
    mdl_plan *two = compile_in(t, arena, precision, "esm2", "D=64 H=4", 2, TOKENS),
             *three = compile_in(t, arena, precision, "esm2", "D=64 H=4", 3, TOKENS);
    if (two && three) {
        double elements = (moved(three) - moved(two)) * 8 / (double)mdl_dtype_bits(precision) / TOKENS / WIDTH;
        CHECK(t, elements <= 35 && elements >= 32, "%.2f", elements);
    }
    mdl_plan_free(two);
    mdl_plan_free(three);
    mdl_arena_free(arena);
}

/* ---- depth ---- */
/* But for random numbers: a parameter of the model's contact head has a column for each head of each layer. */
static bool same_kernels(const mdl_plan *a, const mdl_plan *b) {
    if (a->kernels.n != b->kernels.n) return false;
    for (int i = 0; i < a->kernels.n; i++)
        if (strcmp(a->kernels.at[i].source, b->kernels.at[i].source) && strcmp(a->kernels.at[i].class, "random")) return false;
    return true;
}

static void test_depth(mdl_test *t) {
    static const int layers[] = {2, 6, 48};
    mdl_plan *plan[3];
    mdl_arena *arena = mdl_arena_new();
    mdl_case(t, "2, 6 and 48 layers have the same kernels, and launches grow by layer");
    for (int i = 0; i < 3; i++) plan[i] = compile(t, arena, "esm2", "D=16 H=2", layers[i], 64);
    for (int p = 0; plan[0] && plan[1] && plan[2] && p < plan[0]->programs.n; p++) {
        const mdl_plan_program *two = &plan[0]->programs.at[p], *six = &plan[1]->programs.at[p], *many = &plan[2]->programs.at[p];
        counts a = count(plan[0], two), b = count(plan[1], six), c = count(plan[2], many);
        for (int k = 0; k < N_KINDS; k++)
            CHECK(t, (c.of[k] - b.of[k]) * 4 == (b.of[k] - a.of[k]) * 42, "%s: %d, %d, %d launches of kind %s", two->name, a.of[k],
                  b.of[k], c.of[k], kinds[k]);
    }
    for (int i = 1; i < 3; i++)
        CHECK(t, !plan[0] || !plan[i] || same_kernels(plan[0], plan[i]), "%d kernels with 2 layers, %d with %d", plan[0]->kernels.n,
              plan[i]->kernels.n, layers[i]);
    for (int i = 0; i < 3; i++) mdl_plan_free(plan[i]);
    mdl_arena_free(arena);
}

/* 140 sums over rows in one layer: a finish takes 60, a partial sum and a result each. */
static void test_arguments(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    mdl_case(t, "a finish takes as many sums as a kernel may have arguments");
    mdl_module *module = mdl_test_model(t, arena, "tests/compiler/models/norms.mdl", "", 32, 4);
    mdl_plan *plan = compile_module(t, arena, MDL_F32, module);
    const mdl_plan_program *p = plan ? mdl_plan_find_program(plan, "train_first") : NULL;
    int sums = 0, finishes = 0;
    for (int i = 0; p && i < p->launches.n; i++) {
        const mdl_plan_launch *l = &p->launches.at[i];
        if (kind_of(plan, l) != FINISH || l->args.n < 3 * 10) continue;
        CHECK(t, l->args.n <= 180, "%d arguments", l->args.n); /* with a number of chunks for each partial sum */
        sums += l->args.n / 3, finishes++;
    }
    CHECK(t, sums == 140 && finishes == 3, "%d sums in %d finishes", sums, finishes);
    mdl_plan_free(plan);
    mdl_arena_free(arena);
}

/* Measured: the plan of this size needs not a byte more than what is alive at once; 1 % leaves room for other widths. */
static void test_large(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    mdl_case(t, "650M: as many kernels as a tiny model, memory within 1 %% of the live bytes");
    mdl_plan *tiny = compile(t, arena, "esm2", "D=16 H=2", 2, 64), *large = compile(t, arena, "esm2", "size=650M", 33, 64);
    CHECK(t, tiny && large && tiny->kernels.n == large->kernels.n, "%d kernels, %d in a tiny one", large ? large->kernels.n : 0,
          tiny ? tiny->kernels.n : 0);
    for (int i = 0; large && i < large->programs.n; i++) {
        const mdl_plan_program *p = &large->programs.at[i];
        CHECK(t, p->activation_bytes <= p->live_bytes + p->live_bytes / 100, "%s: %.1f MiB for %.1f alive", p->name,
              (double)p->activation_bytes / (1 << 20), (double)p->live_bytes / (1 << 20));
    }
    mdl_plan_free(tiny);
    mdl_plan_free(large);
    mdl_arena_free(arena);
}

/* A step's optimizer: squares summed by kernel and finish, the root of one number, and one kernel over all parameters. */
static void test_optimizer(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    mdl_case(t, "the optimizer is four launches");
    mdl_plan *plan = compile(t, arena, "esm2", "D=16 H=2", 2, 64);
    const mdl_plan_program *p = plan ? mdl_plan_find_program(plan, "update") : NULL;
    CHECK(t, p && p->launches.n == 4, "%d launches", p ? p->launches.n : 0);
    mdl_plan_free(plan);
    mdl_arena_free(arena);
}

/* ---- the order of ops ---- */
/* Which values share a kernel, as a number: values are known by what they compute, kernels by the set of what they yield. */
static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint64_t hash_op(mdl_arena *arena, const mdl_op *op, const uint64_t *in) {
    mdl_op bare = *op;
    mdl_text text = {.arena = arena};
    uint64_t h = 7;
    bare.n_in = 0;
    mdl_print_op(&text, &bare, 0, false);
    for (const char *c = strchr(text.at, '='); *c; c++) h = mix(h + (unsigned char)*c);
    for (int i = 0; i < op->n_in; i++) h = mix(3 * h + in[i]);
    return h;
}

static uint64_t groups_of(mdl_arena *arena, const mdl_region *r, const mdl_op *outer, uint64_t *of_outer) {
    uint64_t *of = MDL_NEW_ARRAY(arena, uint64_t, r->next_id + 1), kernels = 0;
    for (int i = 0; i < r->ops.n; i++) {
        const mdl_op *op = r->ops.at[i];
        uint64_t *in = MDL_NEW_ARRAY(arena, uint64_t, op->n_in), all = 0;
        for (int k = 0; k < op->n_in; k++) in[k] = of[op->in[k]->id];
        if (op->code == MDL_OP_KERNEL) {
            for (int k = 0; k < op->n_in; k++) op->in[k]->scratch = &of[op->in[k]->id];
            uint64_t *out = MDL_NEW_ARRAY(arena, uint64_t, op->n_out);
            groups_of(arena, op->body, op, out);
            for (int k = 0; k < op->n_out; k++) all += mix(of[op->out[k]->id] = out[k]);
            kernels += mix(all);
        } else if (op->code == MDL_OP_ARG) {
            of[op->out[0]->id] = *(uint64_t *)outer->in[mdl_attr_int(op, "index")]->scratch;
        } else if (op->code == MDL_OP_YIELD) {
            for (int k = 0; k < op->n_in; k++) of_outer[k] = in[k];
        } else if (op->n_out) {
            for (int k = 0; k < op->n_out; k++) of[op->out[k]->id] = hash_op(arena, op, in) + (uint64_t)k;
        }
    }
    return kernels;
}

/* The same ops in another order that has every operand before its users. */
static mdl_region *shuffled(mdl_arena *arena, mdl_region *r, uint64_t *state) {
    mdl_builder b = {.arena = arena, .region = mdl_region_new(arena, r->name)};
    bool *done = MDL_NEW_ARRAY(arena, bool, r->ops.n);
    mdl_region_clear_scratch(r);
    for (int made = 0; made < r->ops.n;) {
        int i = (int)(mix(*state += 7919) % (uint64_t)r->ops.n);
        mdl_op *op = r->ops.at[i];
        mdl_value **in = MDL_NEW_ARRAY(arena, mdl_value *, op->n_in);
        bool ready = !done[i];
        for (int k = 0; k < op->n_in; k++) ready &= (in[k] = op->in[k]->scratch) != NULL;
        if (!ready) continue;
        mdl_op *copy = mdl_clone(&b, op, in);
        for (int k = 0; k < op->n_out; k++) op->out[k]->scratch = copy->out[k];
        done[i] = ++made;
    }
    mdl_region_clear_scratch(r);
    return b.region;
}

static void test_op_order(mdl_test *t) {
    mdl_case(t, "which values share a kernel does not depend on the order of independent ops");
    uint64_t state = 1;
    for (int seed = 0; seed < 60; seed++) {
        mdl_arena *arena = mdl_arena_new();
        mdl_pass_context c = {.arena = arena, .target = mdl_targets[0]};
        mdl_region *r = mdl_random_program(arena, (uint64_t)seed, 7, 33);
        uint64_t groups = groups_of(arena, mdl_pass_fuse(&c, mdl_pass_store(&c, r)), NULL, NULL);
        for (int k = 0; k < 8; k++) {
            mdl_region *other = shuffled(arena, r, &state);
            uint64_t again = groups_of(arena, mdl_pass_fuse(&c, mdl_pass_store(&c, other)), NULL, NULL);
            CHECK(t, groups == again, "program %d has other kernels in another order", seed);
        }
        mdl_arena_free(arena);
    }
}

void suite_fusion(mdl_test *t) {
    char *cc = getenv("CC") ? strdup(getenv("CC")) : NULL;
    setenv("CC", mdl_empty_compiler(t), 1); /* no code is run here */
    for (int narrow = 0; narrow < 2; narrow++) {
        mdl_dtype precision = narrow ? MDL_BF16 : MDL_F32;
        for (int i = 0; i < (int)(sizeof blocks / sizeof *blocks); i++) test_block(t, i, precision);
        test_attention(t, precision);
        test_bytes(t, precision);
    }
    test_depth(t);
    test_large(t);
    test_arguments(t);
    test_optimizer(t);
    test_op_order(t);
    if (cc)
        setenv("CC", cc, 1);
    else
        unsetenv("CC");
    free(cc);
}
