/* The whole compiler on one page: module passes, then for every program its passes and its emission. */
#include "compiler/pipeline.h"

#include <inttypes.h>
#include <string.h>

#include "compiler/check_passes.h"
#include "compiler/emit/emit.h"
#include "compiler/ir/order.h"
#include "compiler/pass/pass.h"
#include "runtime/base/nearest.h"

typedef enum { MODULE, PROGRAM } level;
static const struct {
    const char *name;
    mdl_pass *run;
    level level;
} passes[] = {
#define PASS(name, function, level, help) {#name, function, level},
#include "compiler/passes.def"
#undef PASS
};

enum { N_PASSES = sizeof passes / sizeof *passes };

const mdl_pass_info mdl_pass_list[] = {
#define PASS(name, function, level, help) {#name, help},
#include "compiler/passes.def"
#undef PASS
    {NULL, NULL}};

/* name, source, counts, sums, results, gradients, optimizer. A step of one batch is train_only. A step of several counts first,
 * batch by batch, so that 1/N is known to the first gradient: count_first, count_next ...; train_first, train_middle ...,
 * train_last. */
static const mdl_program_spec standard[] = {
    {"init", MDL_FROM_INIT, MDL_TALLY_NONE, MDL_TALLY_NONE, false, MDL_GRAD_NONE, false, false},
    {"refresh", MDL_FROM_PARAMS, MDL_TALLY_NONE, MDL_TALLY_NONE, false, MDL_GRAD_NONE, false, false}, /* for the host, after it has
                                                                                                  put weights in place */
    {"count_first", MDL_FROM_FORWARD, MDL_TALLY_FIRST, MDL_TALLY_NONE, false, MDL_GRAD_NONE, false, false},
    {"count_next", MDL_FROM_FORWARD, MDL_TALLY_NEXT, MDL_TALLY_NONE, false, MDL_GRAD_NONE, false, false},
    {"train_only", MDL_FROM_FORWARD, MDL_TALLY_BATCH, MDL_TALLY_BATCH, true, MDL_GRAD_WRITE, true, false},
    {"train_first", MDL_FROM_FORWARD, MDL_TALLY_KEPT, MDL_TALLY_FIRST, true, MDL_GRAD_WRITE, false, false},
    {"train_middle", MDL_FROM_FORWARD, MDL_TALLY_KEPT, MDL_TALLY_NEXT, true, MDL_GRAD_ACCUMULATE, false, false},
    {"train_last", MDL_FROM_FORWARD, MDL_TALLY_KEPT, MDL_TALLY_NEXT, true, MDL_GRAD_ACCUMULATE, true, false},
    {"update", MDL_FROM_NOTHING, MDL_TALLY_NONE, MDL_TALLY_NONE, false, MDL_GRAD_NONE, true, false},
    {"calibrate", MDL_FROM_FORWARD, MDL_TALLY_BATCH, MDL_TALLY_NONE, false, MDL_GRAD_WRITE, false, true},
    {"eval", MDL_FROM_FORWARD, MDL_TALLY_BATCH, MDL_TALLY_BATCH, true, MDL_GRAD_NONE, false, false},
};

typedef struct {
    mdl_pass_context context;
    const mdl_pipeline_options *options;
    mdl_pass_checker *checker;
    bool stopped; /* by --stop-after */
} pipeline;

static bool listed(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (!strncmp(at, "all", 3) || (!strncmp(at, name, n) && (at[n] == ',' || !at[n]))) return true;
    return false;
}

static void dump(const pipeline *p, const char *pass, const mdl_region *region) {
    const mdl_pipeline_options *o = p->options;
    if (!listed(o->dump, pass) || (o->dump_only && strcmp(o->dump_only, region->name))) return;
    mdl_text t = {.arena = p->context.arena};
    mdl_print_region(&t, region, true);
    fprintf(o->out, "# %s after %s\n%s", region->name, pass, t.at);
}

static void dump_launches(const pipeline *p, const mdl_plan *plan, const char *program) {
    const mdl_pipeline_options *o = p->options;
    if (!listed(o->dump, MDL_DUMP_LAUNCHES) || (o->dump_only && strcmp(o->dump_only, program))) return;
    mdl_text t = {.arena = p->context.arena};
    mdl_print_launches(&t, plan, mdl_plan_find_program(plan, program));
    fprintf(o->out, "# %s after %s\n%s", program, MDL_DUMP_LAUNCHES, t.at);
}

/* Verifies, dumps and (with --check-passes) compares what a pass made. */
static mdl_status inspect(pipeline *p, const char *pass, const mdl_region *region) {
    dump(p, pass, region);
    p->stopped = p->options->stop_after && !strcmp(p->options->stop_after, pass);
    const char *wrong = mdl_verify(p->context.arena, region);
    if (!wrong) wrong = mdl_verify_order(p->context.arena, region, p->context.layout);
    if (wrong) {
        mdl_text t = {.arena = p->context.arena};
        mdl_print_region(&t, region, false);
        mdl_bug("after %s, program %s: %s\n%s", pass, region->name, wrong, t.at);
    }
    return p->checker ? mdl_check_pass(p->checker, pass, region) : MDL_OK;
}

/* A program's pass reads a region in one arena and makes another in its own; the old one goes, unless the pass returns it. */
static mdl_region *run_pass(pipeline *p, int i, mdl_region *in) {
    if (passes[i].level == MODULE) return passes[i].run(&p->context, in);
    mdl_arena *old = p->context.arena;
    p->context.arena = mdl_arena_new();
    mdl_region *out = passes[i].run(&p->context, in);
    bool same = out == in;
    mdl_arena_free(same ? p->context.arena : old);
    if (same) p->context.arena = old;
    return out;
}

static mdl_status run_passes(pipeline *p, level level, mdl_region **region) {
    for (int i = 0; i < N_PASSES; i++) {
        if (passes[i].level != level) continue;
        *region = run_pass(p, i, *region);
        if (p->context.not_implemented)
            return mdl_fail(MDL_BAD_INPUT, "%s: not implemented on this target: %s",
                            mdl_span_text(p->context.arena, p->context.not_implemented_at), p->context.not_implemented);
        MDL_TRY(inspect(p, passes[i].name, *region), "program %s", (*region)->name);
        if (p->stopped) break;
    }
    return MDL_OK;
}

static mdl_status compile_region(pipeline *p, mdl_emitter *e) {
    mdl_region *region = mdl_make_program(&p->context);
    MDL_TRY(inspect(p, "programs", region), "program %s", region->name);
    if (!p->stopped) MDL_TRY(run_passes(p, PROGRAM, &region), "program %s", region->name);
    if (p->options->stop_after) return MDL_OK;
    mdl_emit_program(e, region);
    if (!e->error) {
        dump_launches(p, e->plan, region->name);
        return MDL_OK;
    }
    return mdl_fail(MDL_BAD_INPUT, "%s: not implemented on this target: %s", mdl_span_text(e->arena, e->error_at), e->error);
}

static bool has_program(const pipeline *p, const mdl_plan *plan, const mdl_program_spec *spec) {
    if (spec->calibrate) return plan->losses.n && mdl_fp8_tensors(p->context.fp8) && !p->context.fp8->recipe.current;
    if (spec->source == MDL_FROM_PARAMS) return p->context.precision != MDL_F32;
    return plan->losses.n || spec->source == MDL_FROM_INIT;
}

static mdl_status compile_program(pipeline *p, mdl_emitter *e, const mdl_program_spec *spec) {
    mdl_arena *kept = p->context.arena;
    p->context.program = spec;
    p->checker = p->options->check ? mdl_checker_new(&p->context, mdl_make_program(&p->context)) : NULL;
    p->context.arena = mdl_arena_new();
    mdl_status status = compile_region(p, e);
    mdl_arena_free(p->context.arena);
    p->context.arena = kept;
    return status;
}

/* The standard programs (those that train only if there is a loss), then one for each program that an output names. */
static mdl_status compile_programs(pipeline *p, mdl_emitter *e) {
    const mdl_region *forward = p->context.module->forward;
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++)
        if (has_program(p, e->plan, &standard[i])) MDL_TRY(compile_program(p, e, &standard[i]), "%s", e->plan->model);
    for (int i = 0; i < forward->ops.n; i++) {
        if (forward->ops.at[i]->code != MDL_OP_OUTPUT) continue;
        mdl_program_spec *spec = MDL_NEW(p->context.arena, mdl_program_spec);
        *spec = (mdl_program_spec){.name = mdl_attr_str(forward->ops.at[i], "program"), .source = MDL_FROM_OUTPUTS};
        if (!mdl_plan_find_program(e->plan, spec->name)) MDL_TRY(compile_program(p, e, spec), "%s", e->plan->model);
    }
    return MDL_OK;
}

static bool among(const char *name, int n, const char *const *names) {
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

/* --dump-program names the model, for what is done to it once, or a program that will be compiled. */
static mdl_status check_dump_only(mdl_arena *arena, const mdl_region *forward, const char *wanted) {
    MDL_VEC(const char *) names = {0};
    bool losses = false;
    for (int i = 0; i < forward->ops.n; i++) {
        const mdl_op *op = forward->ops.at[i];
        losses |= op->code == MDL_OP_LOSS;
        const char *program = op->code == MDL_OP_OUTPUT ? mdl_attr_str(op, "program") : NULL;
        if (program && !among(program, names.n, names.at)) MDL_PUSH(arena, names, program);
    }
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++)
        if (losses || standard[i].source == MDL_FROM_INIT) MDL_PUSH(arena, names, standard[i].name);
    MDL_PUSH(arena, names, forward->name);
    if (among(wanted, names.n, names.at)) return MDL_OK;
    const char *near = mdl_nearest(wanted, names.n, names.at);
    mdl_text all = {.arena = arena};
    for (int i = 0; i < names.n; i++) mdl_text_printf(&all, "%s%s", i ? ", " : "", names.at[i]);
    return mdl_fail(MDL_USAGE, "--dump-program: there is no program '%s'%s%s%s; there are %s", wanted,
                    near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "", all.at);
}

static mdl_status choose_fp8(pipeline *p, const mdl_module *module) {
    mdl_pass_context *c = &p->context;
    const char *wrong = c->target->refuses_fp8 ? c->target->refuses_fp8(c->arena, c->isa) : NULL;
    if (wrong) return mdl_fail(MDL_USAGE, "%s", wrong);
    c->fp8 = mdl_fp8_choose(c->arena, module->forward, c->layout, &p->options->recipe, c->target->fp8_pays, c->isa);
    if (c->fp8->linears.n || c->fp8->left_out) return MDL_OK;
    return mdl_fail(
        MDL_BAD_INPUT,
        "model %s with %" PRId64
        " tokens: no linear layer can have its products in 8 bits; those in a repeated scope (scope \"layer.{i}\") can, "
        "whose precision is \"auto\" or \"fp8\" there, if their sizes and --tokens are multiples of 16",
        module->name, module->tokens);
}

mdl_status mdl_compile(mdl_arena *arena, mdl_module *module, const mdl_pipeline_options *options, mdl_plan **plan) {
    static const mdl_layout none = {.tiles = 1};
    const mdl_target *target = options->target ? options->target : mdl_targets[0];
    pipeline p = {.context = {.arena = arena,
                              .module = module,
                              .layout = &none,
                              .target = target,
                              .isa = options->isa ? options->isa : target->default_isa(),
                              .precision = options->precision},
                  .options = options};
    *plan = NULL;
    if (options->dump_only) MDL_TRY(check_dump_only(arena, module->forward, options->dump_only), "%s", module->name);
    if (options->check) p.checker = mdl_checker_new(&p.context, module->forward);
    MDL_TRY(inspect(&p, "elaborate", module->forward), "model %s", module->name);
    if (!p.stopped) MDL_TRY(run_passes(&p, MODULE, &module->forward), "model %s", module->name);
    if (p.stopped) return MDL_OK;
    p.context.layout = mdl_layout_params(arena, module);
    if (options->fp8) MDL_TRY(choose_fp8(&p, module), "--precision fp8");
    mdl_plan *out = mdl_plan_new();
    mdl_emitter e = {
        .arena = out->memory, .plan = out, .module = module, .layout = p.context.layout, .fp8 = p.context.fp8, .target = target};
    out->version = MDL_PLAN_VERSION;
    out->target = target->name;
    out->isa = p.context.isa;
    out->precision = options->fp8 ? "fp8" : mdl_dtype_name(options->precision);
    out->compiler = "mdlc " MDL_VERSION;
    mdl_emit_tables(&e);
    mdl_status status = compile_programs(&p, &e);
    if (!status && !options->stop_after) status = target->compile(out);
    if (status || options->stop_after)
        mdl_plan_free(out);
    else
        *plan = out;
    return status;
}

mdl_status mdl_run_pass(mdl_arena *arena, const char *pass, const char *text, const char **result) {
    static const mdl_program_spec spec = {.name = "test", .source = MDL_FROM_FORWARD, .grad = MDL_GRAD_WRITE, .optimizer = true};
    static const mdl_layout layout = {.tiles = 1};
    mdl_pass_context c = {.arena = arena, .layout = &layout, .program = &spec, .target = mdl_targets[0]};
    mdl_regions programs = {0};
    mdl_text t = {.arena = arena};
    const char *wrong = mdl_parse_ir(arena, text, &programs), *equals = strchr(pass, '=');
    if (equals && mdl_target_find(equals + 1))
        c.target = mdl_target_find(equals + 1);
    else if (equals && !mdl_dtype_parse(equals + 1, &c.precision))
        return mdl_fail(MDL_USAGE, "no target and no dtype '%s'", equals + 1);
    c.isa = c.target->default_isa();
    if (equals) pass = mdl_strndup(arena, pass, (size_t)(equals - pass));
    if (wrong) return mdl_fail(MDL_BAD_INPUT, "%s", wrong);
    int at = 0;
    while (at < N_PASSES && strcmp(passes[at].name, pass)) at++;
    if (at == N_PASSES) return mdl_fail(MDL_USAGE, "no pass '%s'", pass);
    for (int i = 0; i < programs.n; i++) {
        if (!strcmp(pass, "fp8")) c.fp8 = mdl_fp8_choose(arena, programs.at[i], &layout, &mdl_fp8_default, NULL, NULL);
        mdl_region *out = passes[at].run(&c, programs.at[i]);
        if (!(wrong = mdl_verify(arena, out))) wrong = mdl_verify_order(arena, out, &layout);
        if (wrong) return mdl_fail(MDL_BAD_INPUT, "after %s: %s", pass, wrong);
        mdl_print_region(&t, out, true);
    }
    *result = t.at;
    return MDL_OK;
}
