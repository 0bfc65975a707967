/* Each pass alone on IR text: tests/compiler/passes/NAME.txt is a line "# PASS[,PASS ...]: what it shows", a program, "----" and
 * what the last pass makes of it; PASS=bf16 is the pass of a plan in bf16. Before and after every pass that must keep values, the
 * interpreter gives the same, or after precision nearly. --check-passes does the same for whole models, and finds planted errors.
 */
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/check_passes.h"
#include "compiler/ir/order.h"
#include "compiler/ir/state.h"
#include "compiler/kernel/levels.h"
#include "compiler/pipeline.h"
#include "runtime/base/compare.h"
#include "tests/compiler/draw.h"

/* f64 rounding of reordered sums at these sizes. */
static const double tolerance = 1e-12;

/* ---- values before and after ---- */
static void compare_arrays(mdl_test *t, const char *what, double tolerance, mdl_arrays *before, mdl_arrays *after) {
    CHECK(t, before->n == after->n, "%d %ss became %d", before->n, what, after->n);
    for (int i = 0; i < before->n; i++) {
        const mdl_named_array *a = &before->at[i], *b = mdl_arrays_find(after, a->name);
        CHECK(t, b && mdl_type_count(&a->type) == mdl_type_count(&b->type), "%s %s is lost", what, a->name);
        mdl_comparison c = mdl_compare_doubles(b ? mdl_type_count(&a->type) : 0, b ? b->at : NULL, a->at);
        CHECK(t, mdl_error_max(&c) <= tolerance * c.largest, "%s %s changes by %.3g of %.3g", what, a->name, mdl_error_max(&c),
              c.largest);
    }
}

static mdl_arrays copy_states(mdl_values *v) {
    mdl_arrays out = {0};
    for (int i = 0; i < v->states.n; i++)
        mdl_arrays_set(v->arena, &out, v->states.at[i].name, v->states.at[i].type, v->states.at[i].at);
    return out;
}

/* Every state has its compute copy, which rounds where it is read. */
static void add_copies(mdl_values *v) {
    for (int i = 0, n = v->states.n; i < n; i++)
        mdl_arrays_set(v->arena, &v->states, mdl_state_text(v->arena, MDL_STATE_COMPUTE, v->states.at[i].name),
                       v->states.at[i].type, v->states.at[i].at);
}

/* What pass fp8 finds in states: every scale is 64; the weight as it was quantized by that. */
static void add_scaling(mdl_values *v, const mdl_op *op) {
    mdl_state s = mdl_state_of(op);
    mdl_type type = op->code == MDL_OP_READ ? op->out[0]->type : op->in[0]->type;
    const mdl_named_array *w = s.n ? mdl_arrays_find(&v->states, mdl_state_text(v->arena, MDL_STATE_COMPUTE, s.of[0])) : NULL;
    const char *name = mdl_state_text(v->arena, s.kind, w ? s.of[0] : NULL);
    if (s.kind < MDL_STATE_QUANTIZED || mdl_arrays_find(&v->states, name)) return;
    if (!w) type.dim[0] = 3; /* tensors of a layer */
    double *at = mdl_arrays_set(v->arena, &v->states, name, type, NULL);
    int64_t n = mdl_type_count(&type), columns = type.dim[1], rows = type.dim[0];
    for (int64_t i = 0; i < n; i++) {
        at[i] = s.kind == MDL_STATE_SCALE ? 64 : s.kind == MDL_STATE_INVERSE ? 1.0 / 64 : 0;
        int64_t from = s.kind == MDL_STATE_TRANSPOSED ? i % columns * rows + i / columns : i;
        if (w) at[i] = mdl_dtype_round(MDL_E4M3, 64 * mdl_dtype_round(MDL_BF16, w->at[from]));
    }
}

static void check_values(mdl_test *t, mdl_arena *arena, double tolerance, const char *before, const char *after) {
    mdl_region *a = mdl_test_parse(t, arena, before), *b = mdl_test_parse(t, arena, after);
    if (!a || !b) return;
    mdl_values v = {.arena = arena};
    mdl_draw_values(&v, a);
    add_copies(&v);
    int known = v.states.n;
    for (int i = 0; i < b->ops.n; i++)
        if (mdl_is_access(b->ops.at[i])) add_scaling(&v, b->ops.at[i]);
    mdl_arrays states_a = copy_states(&v), states_b = copy_states(&v), results_a = {0}, results_b = {0};
    mdl_interpret(arena, a, &v.inputs, &states_a, &results_a);
    mdl_interpret(arena, b, &v.inputs, &states_b, &results_b);
    compare_arrays(t, "result", tolerance, &results_a, &results_b);
    states_a.n = known; /* scales are of after alone */
    for (int i = 0; i < known; i++) CHECK(t, mdl_arrays_find(&states_b, states_a.at[i].name), "a state is lost");
    states_b.n = known;
    compare_arrays(t, "state", tolerance, &states_a, &states_b);
}

/* ---- goldens ---- */
static bool is_pass(const char *pass, const char *name) { /* "NAME" or "NAME=DTYPE" */
    size_t n = strlen(name);
    return !strncmp(pass, name, n) && (!pass[n] || pass[n] == '=');
}

static bool keeps_values(const char *pass) { return !is_pass(pass, "autodiff") && !is_pass(pass, "optimizer"); }

static const char *run_passes(mdl_test *t, mdl_arena *arena, const char *passes, const char *program) {
    char *save = NULL, *list = mdl_strdup(arena, passes);
    for (char *pass = strtok_r(list, ",", &save); pass; pass = strtok_r(NULL, ",", &save)) {
        const char *after = NULL;
        mdl_status status = mdl_run_pass(arena, pass, program, &after);
        CHECK(t, !status, "%s: %s", pass, mdl_message(status));
        mdl_status_free(status);
        if (!after) return "";
        double allowed = is_pass(pass, "precision") ? mdl_pass_tolerance(MDL_BF16) : tolerance;
        if (is_pass(pass, "fp8")) allowed = mdl_pass_tolerance(MDL_E4M3);
        if (keeps_values(pass)) check_values(t, arena, allowed, program, after);
        program = after;
    }
    return program;
}

static bool names_pass(const char *passes, const char *name) {
    size_t n = strlen(name);
    for (const char *at = passes; at; at = strchr(at, ','), at = at ? at + 1 : NULL)
        if (!strncmp(at, name, n) && strchr(",=", at[n])) return true;
    return false;
}

static void run_file(mdl_test *t, const char *path, bool *covered) {
    mdl_arena *arena = mdl_arena_new();
    const char *name = strrchr(path, '/') + 1;
    char *text = mdl_test_read(t, arena, mdl_printf(arena, "compiler/passes/%s", name)), *end = strstr(text, "----\n"),
         *colon = strchr(text, ':');
    if (end) *end = 0;
    MDL_ASSERT(!strncmp(text, "# ", 2) && colon);
    const char *passes = mdl_strndup(arena, text + 2, (size_t)(colon - text - 2));
    if (mdl_case(t, "%s", name)) {
        const char *after = run_passes(t, arena, passes, text);
        for (int i = 0; mdl_pass_list[i].name; i++) covered[i] |= names_pass(passes, mdl_pass_list[i].name);
        mdl_golden(t, mdl_printf(arena, "compiler/passes/%s", name), mdl_printf(arena, "%s----\n%s", text, after));
    }
    mdl_arena_free(arena);
}

static void test_goldens(mdl_test *t) {
    glob_t files;
    bool covered[64] = {0};
    char pattern[1024];
    snprintf(pattern, sizeof pattern, "%s/tests/compiler/passes/*.txt", mdl_test_source(t));
    if (glob(pattern, 0, NULL, &files)) files.gl_pathc = 0;
    for (size_t i = 0; i < files.gl_pathc; i++) run_file(t, files.gl_pathv[i], covered);
    globfree(&files);
    if (!mdl_case(t, "every pass has a golden")) return;
    for (int i = 0; mdl_pass_list[i].name; i++) CHECK(t, covered[i], "none for %s", mdl_pass_list[i].name);
}

/* ---- merge-gemm knows the parameters ---- */
static int dots_after_merge(mdl_test *t, mdl_arena *arena, mdl_param a, mdl_param b) {
    static const char text[] =
        "program p {\n  %0 = input {name=\"x\"} : f32[5,3]\n"
        "  %1 = read {state=\"param\", of=[\"a\"]} : f32[8,3]\n  %2 = dot %0, %1 {left=[1], right=[1]} : f32[5,8]\n"
        "  %3 = read {state=\"param\", of=[\"b\"]} : f32[8,3]\n  %4 = dot %0, %3 {left=[1], right=[1]} : f32[5,8]\n"
        "  result %2 {name=\"a\"}\n  result %4 {name=\"b\"}\n}\n";
    mdl_module module = {0};
    MDL_PUSH(arena, module.params, a);
    MDL_PUSH(arena, module.params, b);
    mdl_pass_context c = {.arena = arena, .target = mdl_targets[0], .module = &module};
    mdl_region *out = mdl_pass_merge_gemm(&c, mdl_test_parse(t, arena, text));
    int dots = 0;
    for (int i = 0; i < out->ops.n; i++) dots += out->ops.at[i]->code == MDL_OP_DOT;
    return dots;
}

static void test_merged_kinds(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    mdl_param a = {.name = "a", .role = MDL_TRAINED, .decay = true, .group = ""}, b = a, decay, frozen, group;
    b.name = "b";
    decay = frozen = group = b;
    decay.decay = false, frozen.role = MDL_FROZEN, group.group = "head";
    mdl_case(t, "merge-gemm joins parameters of one kind only: trained, of one weight decay, of one group");
    CHECK(t, dots_after_merge(t, arena, a, b) == 1, "two of a kind stay apart");
    CHECK(t, dots_after_merge(t, arena, a, decay) == 2, "different weight decay");
    CHECK(t, dots_after_merge(t, arena, a, frozen) == 2, "one is frozen");
    CHECK(t, dots_after_merge(t, arena, a, group) == 2, "different groups");
    mdl_arena_free(arena);
}

/* ---- where parameters lie ---- */
static void test_groups(mdl_test *t) {
    static const char text[] =
        "program p {\n  %0 = read {state=\"param\", of=[\"c\"]} : f32[4]\n"
        "  %1 = read {state=\"param\", of=[\"a\",\"b\"]} : f32[8]\n"
        "  %2 = read {state=\"param\", of=[\"b\"]} : f32[4]\n}\n";
    mdl_arena *arena = mdl_arena_new();
    mdl_module module = {.forward = mdl_test_parse(t, arena, text)};
    mdl_type four = {.dtype = MDL_F32, .rank = 1, .dim = {4}};
    for (int i = 0; i < 3; i++)
        MDL_PUSH(arena, module.params, ((mdl_param){.name = (const char *[]){"a", "b", "c"}[i], .type = four, .group = ""}));
    mdl_case(t, "a parameter that is read alone and in a group lies in the group, and no other over it");
    const mdl_layout *l = mdl_layout_params(arena, &module);
    const mdl_placed_param *a = mdl_layout_find(l, "a"), *b = mdl_layout_find(l, "b"), *c = mdl_layout_find(l, "c");
    CHECK(t, a && b && c && l->tiles == 2, "not all are placed");
    CHECK(t, a && b && b->offset == a->offset + 4, "a and b are apart");
    CHECK(t, a && b && c && c->offset / MDL_TILE != a->offset / MDL_TILE, "c lies over a");
    mdl_arena_free(arena);
}

/* ---- kernels that are too large ---- */
/* n inputs, each used with x; `sum`: added up to one value, else each is a result, with a sum over its rows. */
static const char *wide_program(mdl_arena *arena, int n, bool sum) {
    mdl_text text = {.arena = arena};
    mdl_text_printf(&text, "program p {\n  %%0 = input {name=\"x\"} : f32[6,4]\n");
    for (int i = 0; i < n; i++) {
        int id = 1 + 4 * i;
        mdl_text_printf(&text, "  %%%d = input {name=\"a%d\"} : f32[6,4]\n  %%%d = mul %%%d, %%0 : f32[6,4]\n", id, i, id + 1, id);
        if (sum)
            mdl_text_printf(&text, "  %%%d = add %%%d, %%%d : f32[6,4]\n", id + 2, id + 1, i ? id - 2 : 0);
        else
            mdl_text_printf(&text,
                            "  %%%d = sum %%%d {axes=[0]} : f32[4]\n  result %%%d {name=\"y%d\"}\n  result %%%d {name=\"s%d\"}\n",
                            id + 2, id + 1, id + 1, i, id + 2, i);
    }
    if (sum) mdl_text_printf(&text, "  result %%%d {name=\"y\"}\n", 4 * n - 1);
    mdl_text_printf(&text, "}\n");
    return text.at;
}

static const char *chain_program(mdl_arena *arena, const char *op, int n) {
    mdl_text text = {.arena = arena};
    mdl_text_printf(&text, "program p {\n  %%0 = input {name=\"x\"} : f32[6,4]\n");
    for (int i = 0; i < n; i++) mdl_text_printf(&text, "  %%%d = %s %%%d : f32[6,4]\n", i + 1, op, i);
    mdl_text_printf(&text, "  result %%%d {name=\"y\"}\n}\n", n);
    return text.at;
}

static void check_sizes(mdl_test *t, mdl_arena *arena, const char *what, const char *program, int most) {
    mdl_region *r = mdl_test_parse(t, arena, run_passes(t, arena, "store,fuse,schedule", program));
    int kernels = 0;
    for (int i = 0; r && i < r->ops.n; i++) {
        const mdl_op *op = r->ops.at[i];
        if (!op->body) continue;
        kernels++;
        CHECK(t, op->n_in + op->n_out <= 120, "%s: a %s takes %d pointers", what, mdl_ops[op->code].name, op->n_in + op->n_out);
        int size = 0;
        for (int k = 0; k < op->body->ops.n; k++) size += mdl_size_of_op(op->body->ops.at[k]);
        CHECK(t, size <= 120 + 256 + 120, "%s: a body of %d simple operations", what, size);
    }
    CHECK(t, kernels > 1 && kernels <= most, "%s: %d kernels and finishes", what, kernels);
}

static void test_limits(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    mdl_case(t, "no kernel takes more than its target allows, nor computes more");
    check_sizes(t, arena, "a sum of 300", wide_program(arena, 300, true), 4);
    check_sizes(t, arena, "300 results", wide_program(arena, 300, false), 24);
    check_sizes(t, arena, "2000 signs in a row", chain_program(arena, "neg", 2000), 9);
    check_sizes(t, arena, "2000 sines in a row", chain_program(arena, "sin", 2000), 2000 / 16 + 1);
    mdl_arena_free(arena);
}

/* ---- whole models ---- */
static void test_models(mdl_test *t, mdl_dtype precision) {
    for (int i = 0; i <= mdl_tiny_models_count; i++) {
        static const mdl_tiny_model cancels = {"tests/end_to_end/cancels.mdl", ""}; /* a gradient that is 0 but for rounding */
        const mdl_tiny_model *model = i < mdl_tiny_models_count ? &mdl_tiny_models[i] : &cancels;
        int64_t tokens = model == &cancels ? 70 : 12; /* more than 64: schedule splits the sum that cancels */
        if (!mdl_case(t, "--check-passes on %s, %s", model->name, mdl_dtype_name(precision))) continue;
        mdl_arena *arena = mdl_arena_new();
        mdl_module *module = mdl_test_model(t, arena, model->name, model->sets, tokens, 3);
        mdl_plan *plan = NULL;
        mdl_pipeline_options options = {.precision = precision, .check = true, .stop_after = "schedule", .out = stdout};
        mdl_status status = module ? mdl_compile(arena, module, &options, &plan) : MDL_OK;
        CHECK(t, !status, "%s", mdl_message(status));
        mdl_status_free(status);
        mdl_arena_free(arena);
    }
}

/* ---- scopes and stable ids ---- */
/* Every gradient of a parameter is written in the parameter's own scope, and what a pass keeps keeps its id. */
static void test_origins(mdl_test *t, mdl_dtype precision) {
    mdl_arena *arena = mdl_arena_new();
    mdl_module *module = mdl_test_model(t, arena, "esm2", "L=2 D=8 H=2", 12, 3);
    mdl_program_spec spec = {.name = "train_only",
                             .source = MDL_FROM_FORWARD,
                             .counts = MDL_TALLY_BATCH,
                             .sums = MDL_TALLY_BATCH,
                             .grad = MDL_GRAD_WRITE};
    mdl_pass_context c = {.arena = arena, .target = mdl_targets[0], .module = module, .program = &spec, .precision = precision};
    int layer[2] = {0}, ids = 0, kept = 0, last = module ? module->forward->ops.n * 2 : 0;
    mdl_case(t, "%s: gradients are in the scopes of their parameters; values that are kept keep their ids",
             mdl_dtype_name(precision));
    if (!module) return;
    for (int i = 0; i < module->forward->ops.n; i++) ids += module->forward->ops.at[i]->n_out;
    bool *seen = MDL_NEW_ARRAY(arena, bool, last);
    module->forward = mdl_pass_decompose(&c, module->forward);
    c.layout = mdl_layout_params(arena, module);
    mdl_region *r = mdl_pass_simplify(&c, mdl_pass_lower(&c, mdl_pass_autodiff(&c, mdl_make_program(&c))));
    r = mdl_pass_precision(&c, r);
    for (int i = 0; i < r->ops.n; i++) {
        const mdl_op *op = r->ops.at[i];
        const char *path = mdl_scope_path(&op->span), *grad = op->code == MDL_OP_WRITE ? mdl_first_param(op) : NULL;
        for (int k = 0; k < 2; k++) layer[k] += !strncmp(path, mdl_printf(arena, "esm.encoder.layer.%d", k), 19);
        bool within = !grad || !*path || (!strncmp(grad, path, strlen(path)) && grad[strlen(path)] == '.');
        CHECK(t, within, "the gradient of %s is in %s", grad, path);
        for (int k = 0; k < op->n_out; k++) {
            int id = op->out[k]->stable;
            CHECK(t, id <= ids && (!id || !seen[id]), "%%%d has the id %d", op->out[k]->id, id);
            seen[id] = true, kept += id > 0;
        }
    }
    CHECK(t, layer[0] > 200 && layer[1] > 200, "%d and %d ops in the layers", layer[0], layer[1]);
    CHECK(t, kept > ids / 2, "%d of %d ids are kept", kept, ids);
    mdl_arena_free(arena);
}

/* ---- where parameters lie ---- */
static const mdl_param *param_of(const mdl_module *m, const char *name) {
    for (int i = 0; i < m->params.n; i++)
        if (!strcmp(m->params.at[i].name, name)) return &m->params.at[i];
    return NULL;
}

/* No two parameters share memory; each lies in one unit, and a named one holds the parameters of its scope alone. */
static void check_layout(mdl_test *t, const mdl_module *m, const mdl_layout *l) {
    int64_t end = 0, tiles = 0;
    int at = 0;
    for (int i = 0; i < l->trained.n; i++) {
        const mdl_placed_param *p = &l->trained.at[i];
        int64_t last = p->offset + mdl_type_count(&p->type);
        CHECK(t, p->offset >= end, "%s overlaps what lies before it", p->name);
        end = last;
        while (at < l->units.n && (l->units.at[at].tile + l->units.at[at].tiles) * MDL_TILE <= p->offset) at++;
        const mdl_unit *u = at < l->units.n ? &l->units.at[at] : NULL;
        CHECK(t, u && u->tile * MDL_TILE <= p->offset && last <= (u->tile + u->tiles) * MDL_TILE, "%s is in no unit", p->name);
        const char *scope = param_of(m, p->name)->scope;
        if (u && *u->name) CHECK(t, !strncmp(scope, u->name, strlen(u->name)), "%s, of %s, is in unit %s", p->name, scope, u->name);
    }
    for (int i = 0; i < l->units.n; i++) {
        CHECK(t, l->units.at[i].tile == tiles, "unit %s begins at tile %d", l->units.at[i].name, (int)l->units.at[i].tile);
        tiles += l->units.at[i].tiles;
    }
    CHECK(t, tiles == l->tiles, "units have %d of %d tiles", (int)tiles, (int)l->tiles);
}

static void test_layout(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    mdl_case(t, "layers of every model are units, the last first");
    for (int i = 0; i < mdl_tiny_models_count; i++) {
        mdl_module *module = mdl_test_model(t, arena, mdl_tiny_models[i].name, mdl_tiny_models[i].sets, 12, 3);
        if (!module) continue;
        const mdl_layout *l = mdl_layout_params(arena, module);
        MDL_VEC(const char *) names = {0};
        check_layout(t, module, l);
        for (int k = 0; k < l->units.n; k++)
            if (*l->units.at[k].name) MDL_PUSH(arena, names, l->units.at[k].name);
        if (strchr(mdl_tiny_models[i].name, '/')) continue; /* not all have layers */
        CHECK(t, names.n == 2 && strstr(names.at[0], ".1") && strstr(names.at[1], ".0"), "%s: %d layers", mdl_tiny_models[i].name,
              names.n);
    }
    mdl_case(t, "a group with a frozen or shared member, and scopes that alternate");
    mdl_module module = {.name = "m"};
    static const struct {
        const char *name, *scope;
        mdl_role role;
    } params[] = {{"a", "l.0", MDL_TRAINED}, {"b", "l.1", MDL_TRAINED}, {"c", "l.0.x", MDL_TRAINED}, {"d", "l.1", MDL_TRAINED},
                  {"e", NULL, MDL_TRAINED},  {"f", "", MDL_FROZEN},     {"g", "", MDL_TRAINED},      {"h", "l", MDL_TRAINED}};
    for (size_t i = 0; i < sizeof params / sizeof *params; i++)
        MDL_PUSH(arena, module.params,
                 ((mdl_param){.name = params[i].name,
                              .scope = params[i].scope,
                              .role = params[i].role,
                              .type = mdl_type_make(MDL_F32, 1, (const int64_t[]){700})}));
    module.forward = mdl_test_parse(
        t, arena,
        "program p {\n  %0 = read {state=\"param\", of=[\"a\"]} : f32[700]\n  %1 = read {state=\"param\", of=[\"b\"]} : f32[700]\n"
        "  %2 = read {state=\"param\", of=[\"c\"]} : f32[700]\n  %3 = read {state=\"param\", of=[\"d\"]} : f32[700]\n"
        "  %4 = read {state=\"param\", of=[\"h\"]} : f32[700]\n  %5 = read {state=\"param\", of=[\"e\", \"f\", \"g\"]} : "
        "f32[2100]\n"
        "  %6 = read {state=\"param\", of=[\"g\"]} : f32[700]\n}\n");
    const mdl_layout *l = module.forward ? mdl_layout_params(arena, &module) : NULL;
    if (l) check_layout(t, &module, l);
    CHECK(t, l && l->trained.n == 7 && l->units.n == 3, "%d parameters in %d units", l ? l->trained.n : 0, l ? l->units.n : 0);
    mdl_arena_free(arena);
}

/* ---- planted errors ---- */
typedef struct {
    mdl_arena *arena;
    mdl_pass_context context;
    mdl_program_spec spec;
    mdl_layout layout;
    mdl_region *program;
    mdl_pass_checker *checker;
} subject;

/* train_only of a tiny model up to the gradients, simplified, as a wrong pass might leave it. */
static bool make_subject(mdl_test *t, subject *s, mdl_dtype precision) {
    mdl_arena *arena = mdl_arena_new();
    mdl_module *module = mdl_test_model(t, arena, "esm2", "L=1 D=8 H=2", 12, 3);
    if (!module) return false;
    *s = (subject){.arena = arena,
                   .spec = {.name = "train_only",
                            .source = MDL_FROM_FORWARD,
                            .counts = MDL_TALLY_BATCH,
                            .sums = MDL_TALLY_BATCH,
                            .results = true,
                            .grad = MDL_GRAD_WRITE}};
    s->context =
        (mdl_pass_context){.arena = arena, .target = mdl_targets[0], .module = module, .program = &s->spec, .precision = precision};
    module->forward = mdl_pass_merge_gemm(&s->context, mdl_pass_decompose(&s->context, module->forward));
    s->layout = *mdl_layout_params(arena, module);
    s->context.layout = &s->layout;
    s->program = mdl_make_program(&s->context);
    s->checker = mdl_checker_new(&s->context, s->program);
    s->program = mdl_pass_autodiff(&s->context, s->program);
    s->program = mdl_pass_simplify(&s->context, mdl_pass_lower(&s->context, s->program));
    return true;
}

static mdl_opcode other_op(mdl_opcode code) {
    switch (code) {
        case MDL_OP_ADD: return MDL_OP_SUB;
        case MDL_OP_SUB: return MDL_OP_ADD;
        case MDL_OP_MUL: return MDL_OP_ADD;
        case MDL_OP_EXP: return MDL_OP_NEG;
        case MDL_OP_RSQRT: return MDL_OP_SQRT;
        case MDL_OP_ERF: return MDL_OP_TANH;
        case MDL_OP_SUM: return MDL_OP_REDUCE_MAX;
        default: return MDL_OP_COUNT;
    }
}

/* How many random guesses are right: 0 or 1, where a sum and a maximum agree. */
static bool counts_hits(const mdl_region *r, const mdl_op *op) {
    for (int i = 0; i < r->ops.n; i++) {
        const mdl_op *result = r->ops.at[i];
        if (result->code == MDL_OP_RESULT && result->in[0] == op->out[0] && !strcmp(mdl_attr_str(result, "name"), "sum.acc"))
            return true;
    }
    return false;
}

static void test_planted(mdl_test *t) {
    subject s;
    mdl_case(t, "--check-passes finds any op replaced by another");
    if (!make_subject(t, &s, MDL_F32)) return;
    mdl_status status = mdl_check_pass(s.checker, "simplify", s.program);
    CHECK(t, !status, "%s", mdl_message(status));
    int planted = 0;
    for (int i = 0; i < s.program->ops.n; i++) {
        mdl_op *op = s.program->ops.at[i];
        mdl_opcode right = op->code, wrong = other_op(right);
        if (wrong == MDL_OP_COUNT || op->out[0]->type.dtype != MDL_F32 || counts_hits(s.program, op)) continue;
        planted++;
        op->code = wrong;
        status = mdl_check_pass(s.checker, "planted", s.program);
        op->code = right;
        mdl_text text = {.arena = s.arena};
        mdl_print_op(&text, op, 0, true);
        CHECK(t, status && strstr(mdl_message(status), "pass planted changes "), "%s instead of %s goes unseen%s",
              mdl_ops[wrong].name, text.at, mdl_message(status));
        mdl_status_free(status);
    }
    CHECK(t, planted > 100, "only %d errors planted", planted);
    mdl_case(t, "--check-passes finds a lost sink");
    for (int i = 0; i < s.program->ops.n; i++) {
        if (mdl_ops[s.program->ops.at[i]->code].class != MDL_SINK) continue;
        mdl_region less = *s.program;
        less.ops.at = mdl_copy(s.arena, s.program->ops.at, sizeof *less.ops.at * (size_t)less.ops.n);
        memmove(less.ops.at + i, less.ops.at + i + 1, sizeof *less.ops.at * (size_t)(less.ops.n - i - 1));
        less.ops.n--;
        status = mdl_check_pass(s.checker, "planted", &less);
        CHECK(t, status && strstr(mdl_message(status), "pass planted loses "), "goes unseen: %s", mdl_message(status));
        mdl_status_free(status);
    }
    mdl_arena_free(s.arena);
}

/* A whole step with its update, fused; then each token that a read waits for is taken away in turn. */
static void test_lost_tokens(mdl_test *t) {
    subject s;
    mdl_case(t, "the verifier finds any token that is lost between a gradient and the update");
    if (!make_subject(t, &s, MDL_F32)) return;
    s.spec = (mdl_program_spec){.name = "train_last",
                                .source = MDL_FROM_FORWARD,
                                .counts = MDL_TALLY_KEPT,
                                .sums = MDL_TALLY_NEXT,
                                .grad = MDL_GRAD_ACCUMULATE,
                                .optimizer = true};
    mdl_region *r = mdl_make_program(&s.context);
    r = mdl_pass_optimizer(&s.context, mdl_pass_autodiff(&s.context, r));
    r = mdl_pass_anchor(&s.context, mdl_pass_simplify(&s.context, mdl_pass_lower(&s.context, r)));
    r = mdl_pass_fuse(&s.context, mdl_pass_store(&s.context, r));
    const char *wrong = mdl_verify_order(s.arena, r, &s.layout);
    CHECK(t, !wrong, "%s", wrong);
    int lost = 0;
    for (int i = 0; i < r->ops.n; i++) {
        mdl_op *op = r->ops.at[i];
        for (int k = 0; op->code == MDL_OP_READ && k < op->n_in; k++, lost++) {
            mdl_value *token = op->in[k], *last = op->in[--op->n_in];
            op->in[k] = last;
            CHECK(t, mdl_verify_order(s.arena, r, &s.layout), "token %d of %d goes unmissed", k, op->n_in + 1);
            op->in[op->n_in++] = last;
            op->in[k] = token;
        }
    }
    CHECK(t, lost > 10, "only %d tokens", lost);
    mdl_arena_free(s.arena);
}

/* How many replaced ops a check after `pass` finds, of how many. */
static int found(subject *s, const char *pass, int *planted) {
    int n = *planted = 0;
    for (int i = 0; i < s->program->ops.n; i++) {
        mdl_op *op = s->program->ops.at[i];
        mdl_opcode right = op->code, wrong = other_op(right);
        if (wrong == MDL_OP_COUNT || op->out[0]->type.dtype != MDL_F32 || counts_hits(s->program, op)) continue;
        ++*planted;
        op->code = wrong;
        mdl_status status = mdl_check_pass(s->checker, pass, s->program);
        op->code = right;
        n += status != MDL_OK;
        mdl_status_free(status);
    }
    return n;
}

/* A view has the dtype of its operand, and would round in its place. */
static bool is_viewed(const mdl_region *r, const mdl_value *v) {
    for (int i = 0; i < r->ops.n; i++)
        for (int k = 0; k < r->ops.at[i]->n_in; k++)
            if (r->ops.at[i]->in[k] == v && mdl_ops[r->ops.at[i]->code].class == MDL_VIEW) return true;
    return false;
}

/* How many casts to bf16 the check misses when one of them does not round, of how many. */
static int lost_roundings(subject *s, int *casts) {
    int n = *casts = 0;
    for (int i = 0; i < s->program->ops.n; i++) {
        mdl_op *op = s->program->ops.at[i];
        if (op->code != MDL_OP_CAST || op->out[0]->type.dtype != MDL_BF16 || is_viewed(s->program, op->out[0])) continue;
        ++*casts;
        op->out[0]->type.dtype = MDL_F32;
        mdl_status status = mdl_check_pass(s->checker, "planted", s->program);
        op->out[0]->type.dtype = MDL_BF16;
        n += status == MDL_OK;
        mdl_status_free(status);
    }
    return n;
}

/* Behind the precision pass, values are compared with what it made, exactly; itself it is given the tolerance of rounding, which
 * hides an op that hardly matters: a small constant added to a variance, a bias. */
static void test_planted_narrow(mdl_test *t) {
    subject s;
    int planted, casts;
    mdl_case(t, "--check-passes in bf16 finds ops replaced by the precision pass, and any lost rounding behind it");
    if (!make_subject(t, &s, MDL_BF16)) return;
    mdl_status status = mdl_check_pass(s.checker, "simplify", s.program);
    s.program = mdl_pass_precision(&s.context, s.program);
    int n = found(&s, "precision", &planted);
    CHECK(t, n > planted * 9 / 10, "%d of %d", n, planted);
    if (!status) status = mdl_check_pass(s.checker, "precision", s.program);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    n = found(&s, "planted", &planted);
    CHECK(t, n == planted && planted > 100, "%d of %d", n, planted);
    n = lost_roundings(&s, &casts);
    CHECK(t, !n && casts > 5, "%d of %d lost roundings go unseen", n, casts);
    mdl_arena_free(s.arena);
}

void suite_passes(mdl_test *t) {
    test_goldens(t);
    test_merged_kinds(t);
    test_groups(t);
    test_limits(t);
    test_origins(t, MDL_F32);
    test_origins(t, MDL_BF16);
    test_models(t, MDL_F32);
    test_models(t, MDL_BF16);
    test_layout(t);
    test_planted(t);
    test_lost_tokens(t);
    test_planted_narrow(t);
}
