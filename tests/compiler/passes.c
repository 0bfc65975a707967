/* Each pass alone on IR text: tests/compiler/passes/NAME.txt is a line "# PASS[,PASS ...]: what it shows", a program, "----" and
 * what the last pass makes of it. Before and after every pass that must keep values, the interpreter gives the same. --check-passes
 * does the same for whole models, and finds planted errors. */
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/check_passes.h"
#include "compiler/pipeline.h"
#include "tests/compiler/draw.h"

/* f64 rounding of reordered sums at these sizes. */
static const double tolerance = 1e-12;

/* ---- values before and after ---- */
static void compare_arrays(mdl_test *t, const char *what, mdl_arrays *before, mdl_arrays *after) {
    CHECK(t, before->n == after->n, "%d %ss became %d", before->n, what, after->n);
    for (int i = 0; i < before->n; i++) {
        const mdl_named_array *a = &before->at[i], *b = mdl_arrays_find(after, a->name);
        CHECK(t, b && mdl_type_count(&a->type) == mdl_type_count(&b->type), "%s %s is lost", what, a->name);
        double worst = 0, scale = 0;
        for (int64_t k = 0, n = b ? mdl_type_count(&a->type) : 0; k < n; k++) {
            scale = fmax(scale, fabs(a->at[k]));
            if (!(fabs(a->at[k] - b->at[k]) <= worst)) worst = fabs(a->at[k] - b->at[k]);
        }
        CHECK(t, worst <= tolerance * scale, "%s %s changes by %.3g of %.3g", what, a->name, worst, scale);
    }
}

static mdl_arrays copy_states(mdl_values *v) {
    mdl_arrays out = {0};
    for (int i = 0; i < v->states.n; i++)
        mdl_arrays_set(v->arena, &out, v->states.at[i].name, v->states.at[i].type, v->states.at[i].at);
    return out;
}

static void check_values(mdl_test *t, mdl_arena *arena, const char *before, const char *after) {
    mdl_region *a = mdl_test_parse(t, arena, before), *b = mdl_test_parse(t, arena, after);
    if (!a || !b) return;
    mdl_values v = {.arena = arena};
    mdl_draw_values(&v, a);
    mdl_arrays states_a = copy_states(&v), states_b = copy_states(&v), results_a = {0}, results_b = {0};
    mdl_interpret(arena, a, &v.inputs, &states_a, &results_a);
    mdl_interpret(arena, b, &v.inputs, &states_b, &results_b);
    compare_arrays(t, "result", &results_a, &results_b);
    compare_arrays(t, "state", &states_a, &states_b);
}

/* ---- goldens ---- */
static bool keeps_values(const char *pass) { return strcmp(pass, "autodiff") && strcmp(pass, "optimizer"); }

static const char *run_passes(mdl_test *t, mdl_arena *arena, const char *passes, const char *program) {
    char *save = NULL, *list = mdl_strdup(arena, passes);
    for (char *pass = strtok_r(list, ",", &save); pass; pass = strtok_r(NULL, ",", &save)) {
        const char *after = NULL;
        mdl_status status = mdl_run_pass(arena, pass, program, &after);
        CHECK(t, !status, "%s: %s", pass, mdl_message(status));
        mdl_status_free(status);
        if (!after) return "";
        if (keeps_values(pass)) check_values(t, arena, program, after);
        program = after;
    }
    return program;
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
        const char *after = run_passes(t, arena, passes, text), *last = strrchr(passes, ',');
        for (int i = 0; mdl_pass_list[i].name; i++) covered[i] |= !strcmp(mdl_pass_list[i].name, last ? last + 1 : passes);
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
        "  %1 = read {state=[\"a\"]} : f32[4,3]\n  %2 = dot %0, %1 {left=[1], right=[1]} : f32[5,4]\n"
        "  %3 = read {state=[\"b\"]} : f32[4,3]\n  %4 = dot %0, %3 {left=[1], right=[1]} : f32[5,4]\n"
        "  result %2 {name=\"a\"}\n  result %4 {name=\"b\"}\n}\n";
    mdl_module module = {0};
    MDL_PUSH(arena, module.params, a);
    MDL_PUSH(arena, module.params, b);
    mdl_pass_context c = {.arena = arena, .module = &module};
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

/* ---- whole models ---- */
static void test_models(mdl_test *t) {
    for (int i = 0; i < mdl_tiny_models_count; i++) {
        if (!mdl_case(t, "--check-passes on %s", mdl_tiny_models[i].name)) continue;
        mdl_arena *arena = mdl_arena_new();
        mdl_module *module = mdl_test_model(t, arena, mdl_tiny_models[i].name, mdl_tiny_models[i].sets, 12, 3);
        mdl_plan *plan = NULL;
        mdl_pipeline_options options = {.check = true, .stop_after = "schedule", .out = stdout};
        mdl_status status = module ? mdl_compile(arena, module, &options, &plan) : MDL_OK;
        CHECK(t, !status, "%s", mdl_message(status));
        mdl_status_free(status);
        mdl_arena_free(arena);
    }
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
    module.forward =
        mdl_test_parse(t, arena,
                       "program p {\n  %0 = read {state=[\"a\"]} : f32[700]\n  %1 = read {state=[\"b\"]} : f32[700]\n"
                       "  %2 = read {state=[\"c\"]} : f32[700]\n  %3 = read {state=[\"d\"]} : f32[700]\n"
                       "  %4 = read {state=[\"h\"]} : f32[700]\n  %5 = read {state=[\"e\", \"f\", \"g\"]} : f32[2100]\n"
                       "  %6 = read {state=[\"g\"]} : f32[700]\n}\n");
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
static bool make_subject(mdl_test *t, subject *s) {
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
    s->context = (mdl_pass_context){.arena = arena, .module = module, .program = &s->spec};
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
    if (!make_subject(t, &s)) return;
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

void suite_passes(mdl_test *t) {
    test_goldens(t);
    test_merged_kinds(t);
    test_models(t);
    test_layout(t);
    test_planted(t);
}
