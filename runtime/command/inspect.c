/* mdlrun inspect. */
#include "runtime/command/inspect.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/command/inspect_views.h"

static int count(const mdl_plan_program *p, mdl_launch_kind kind) {
    int n = 0;
    for (int i = 0; i < p->launches.n; i++) n += p->launches.at[i].kind == kind;
    return n;
}

static mdl_status show_dims(const mdl_inspection *in) {
    mdl_table table = {.arena = in->scratch, .align = "lr"};
    for (int i = 0; i < in->plan->dims.n; i++) {
        mdl_table_cell(&table, "%s", in->plan->dims.at[i].name);
        mdl_table_cell(&table, "%" PRId64, in->plan->dims.at[i].value);
    }
    mdl_inspect_finish("dims", &table);
    table = (mdl_table){.arena = in->scratch, .align = "lr"};
    for (int i = 0; i < in->plan->specials.n; i++) {
        mdl_table_cell(&table, "%s", in->plan->specials.at[i].name);
        mdl_table_cell(&table, "%" PRId64, in->plan->specials.at[i].value);
    }
    mdl_inspect_finish("special tokens", &table);
    return MDL_OK;
}

static mdl_status show_header(const mdl_inspection *in) {
    const mdl_plan *p = in->plan;
    int64_t trained = 0, frozen = 0;
    for (int i = 0; i < p->params.n; i++)
        *(p->params.at[i].arena == MDL_ARENA_PARAM ? &trained : &frozen) += mdl_type_count(&p->params.at[i].type);
    const char *limit = p->max_length ? mdl_printf(in->scratch, " of at most %" PRId64, p->max_length) : "";
    mdl_table table = {.arena = in->scratch, .align = "ll"};
    const char *const rows[][2] = {
        {"model", p->model},
        {"target", mdl_printf(in->scratch, "%s (%s), %s", p->target, p->isa, p->precision)},
        {"batch", mdl_printf(in->scratch, "%" PRId64 " tokens in at most %" PRId64 " sequences%s", p->tokens, p->segments, limit)},
        {"weights", mdl_printf(in->scratch, "%" PRId64 " trained, %" PRId64 " frozen or carried, in %d tensors", trained, frozen,
                               p->params.n)},
        {"compiler", p->compiler},
        {"format", mdl_printf(in->scratch, "%d", p->version)},
        {"hash", p->hash ? p->hash : ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mdl_table_cell(&table, "%s", rows[i][0]);
        mdl_table_cell(&table, "%s", rows[i][1]);
    }
    mdl_inspect_finish("plan", &table);
    return MDL_OK;
}

static void totals(const mdl_plan_program *p, double *bytes, double *flops) {
    *bytes = *flops = 0;
    for (int i = 0; i < p->launches.n; i++) {
        *bytes += (double)p->launches.at[i].bytes;
        *flops += (double)p->launches.at[i].flops;
    }
}

static mdl_status show_programs(const mdl_inspection *in) {
    mdl_table table =
        mdl_inspect_headed(in, "lrrrrrrrr", "program|launches|kernels|products|activations|live bound|gap|GB moved|GFLOP");
    for (int i = 0; i < in->plan->programs.n; i++) {
        const mdl_plan_program *p = &in->plan->programs.at[i];
        double bytes, flops;
        totals(p, &bytes, &flops);
        mdl_table_cell(&table, "%s", p->name);
        mdl_table_cell(&table, "%d", p->launches.n);
        mdl_table_cell(&table, "%d", count(p, MDL_LAUNCH_KERNEL));
        mdl_table_cell(&table, "%d", count(p, MDL_LAUNCH_GEMM));
        mdl_table_bytes(&table, p->activation_bytes);
        mdl_table_bytes(&table, p->live_bytes);
        mdl_table_cell(&table, "%.1f%%",
                       p->live_bytes ? 100.0 * (double)(p->activation_bytes - p->live_bytes) / (double)p->live_bytes : 0);
        mdl_table_cell(&table, "%.3f", 1e-9 * bytes);
        mdl_table_cell(&table, "%.3f", 1e-9 * flops);
    }
    mdl_inspect_finish("programs", &table);
    return MDL_OK;
}

/* Launches of each kernel over all programs, and the label of the first. */
static void count_launches(const mdl_plan *plan, int *launches, const char **label) {
    for (int p = 0; p < plan->programs.n; p++)
        for (int i = 0; i < plan->programs.at[p].launches.n; i++) {
            const mdl_plan_launch *l = &plan->programs.at[p].launches.at[i];
            if (l->kind != MDL_LAUNCH_KERNEL) continue;
            if (!launches[l->kernel]++) label[l->kernel] = l->label;
        }
}

enum { M, N, K, BATCH, TRANS_A, TRANS_B, OPERANDS, RESULT, ADDS, ALIKE, KEYS = ALIKE + 1 };
typedef struct {
    int64_t key[KEYS]; /* as the enum says; ADDS: 1 for a bias, 2 for C; ALIKE: the order of launches */
    const char *label, *span;
} product;
typedef MDL_VEC(product) product_list;

static int by_key(const void *a, const void *b) {
    const product *x = a, *y = b;
    for (int i = 0; i < KEYS; i++)
        if (x->key[i] != y->key[i]) return x->key[i] < y->key[i] ? -1 : 1;
    return 0;
}

static void collect_products(const mdl_plan_program *p, mdl_arena *arena, product_list *all) {
    for (int i = 0; i < p->launches.n; i++) {
        const mdl_plan_launch *l = &p->launches.at[i];
        const mdl_gemm *g = &l->gemm;
        if (l->kind != MDL_LAUNCH_GEMM) continue;
        product one = {
            {g->m, g->n, g->k, g->batch, g->trans_a, g->trans_b, g->type_a, g->type_d, g->has_bias + 2 * g->has_c, all->n},
            l->label,
            l->span};
        MDL_PUSH(arena, *all, one);
    }
}

static void show_products(const mdl_inspection *in) {
    static const char *const adds[] = {"", "bias", "C", "bias, C"};
    product_list all = {0};
    for (int p = 0; p < in->plan->programs.n; p++) collect_products(&in->plan->programs.at[p], in->scratch, &all);
    if (all.n) qsort(all.at, (size_t)all.n, sizeof *all.at, by_key);
    mdl_table table = mdl_inspect_headed(in, "rrrrlllllrll", "m|n|k|batch|A|B|operands|result|adds|launches|label|model line");
    for (int i = 0, next; i < all.n; i = next) {
        const int64_t *key = all.at[i].key;
        for (next = i + 1; next < all.n && !memcmp(key, all.at[next].key, ALIKE * sizeof *key);) next++;
        for (int j = M; j <= BATCH; j++) mdl_table_cell(&table, "%" PRId64, key[j]);
        for (int j = TRANS_A; j <= TRANS_B; j++) mdl_table_cell(&table, "%s", key[j] ? "transposed" : "");
        for (int j = OPERANDS; j <= RESULT; j++) mdl_table_cell(&table, "%s", mdl_dtype_name((mdl_dtype)key[j]));
        mdl_table_cell(&table, "%s", adds[key[ADDS]]);
        mdl_table_cell(&table, "%d", next - i);
        mdl_table_cell(&table, "%s", all.at[i].label);
        mdl_table_cell(&table, "%s", all.at[i].span);
    }
    mdl_inspect_finish("products", &table);
}

/* Of each arch of the plan, in order: "40 / 168, 48 B spilled / 96, for 5 blocks". */
static const char *registers_text(const mdl_inspection *in, const mdl_plan_kernel *kernel) {
    mdl_text text = {.arena = in->scratch};
    mdl_text_append(&text, "", 0);
    for (int i = 0; i < kernel->resources.n; i++) {
        const mdl_plan_resources *r = &kernel->resources.at[i];
        mdl_text_printf(&text, "%s%d", i ? " / " : "", r->registers);
        if (r->spill_bytes) mdl_text_printf(&text, ", %" PRId64 " B spilled", r->spill_bytes);
        if (r->resident) mdl_text_printf(&text, ", for %d block%s", r->resident, r->resident > 1 ? "s" : "");
    }
    return text.at;
}

/* Bytes of a block: the most that an arch has as static memory and the most that a launch adds. */
static int64_t shared_bytes(const mdl_plan *plan, int kernel) {
    int64_t fixed = 0, added = 0;
    for (int i = 0; i < plan->kernels.at[kernel].resources.n; i++) {
        int64_t bytes = plan->kernels.at[kernel].resources.at[i].shared_bytes;
        if (bytes > fixed) fixed = bytes;
    }
    for (int p = 0; p < plan->programs.n; p++)
        for (int i = 0; i < plan->programs.at[p].launches.n; i++) {
            const mdl_plan_launch *l = &plan->programs.at[p].launches.at[i];
            if (l->kind == MDL_LAUNCH_KERNEL && l->kernel == kernel && l->shared_bytes > added) added = l->shared_bytes;
        }
    return fixed + added;
}

static mdl_status show_kernels(const mdl_inspection *in) {
    const mdl_plan *plan = in->plan;
    int *launches = MDL_NEW_ARRAY(in->scratch, int, plan->kernels.n + 1);
    const char **label = MDL_NEW_ARRAY(in->scratch, const char *, plan->kernels.n + 1);
    bool cuda = !strcmp(plan->target, "cuda");
    mdl_table table = cuda ? mdl_inspect_headed(in, "rlrrrlll", "#|class|launches|regs|shared|label|symbol|model line")
                           : mdl_inspect_headed(in, "rlrlll", "#|class|launches|label|symbol|model line");
    count_launches(plan, launches, label);
    for (int i = 0; i < plan->kernels.n; i++) {
        mdl_table_cell(&table, "%d", i);
        mdl_table_cell(&table, "%s", plan->kernels.at[i].class);
        mdl_table_cell(&table, "%d", launches[i]);
        if (cuda) mdl_table_cell(&table, "%s", registers_text(in, &plan->kernels.at[i]));
        if (cuda) mdl_table_cell(&table, "%" PRId64, shared_bytes(plan, i));
        mdl_table_cell(&table, "%s", label[i] ? label[i] : "");
        mdl_table_cell(&table, "%s", plan->kernels.at[i].symbol);
        mdl_table_cell(&table, "%s", plan->kernels.at[i].span);
    }
    mdl_inspect_finish("kernels", &table);
    show_products(in);
    return MDL_OK;
}

static mdl_status show_params(const mdl_inspection *in) {
    mdl_table table = mdl_inspect_headed(in, "lllrlll", "param|type|arena|offset|decay|group|init");
    for (int i = 0; i < in->plan->params.n; i++) {
        const mdl_plan_param *p = &in->plan->params.at[i];
        mdl_table_cell(&table, "%s", p->name);
        mdl_table_cell(&table, "%s", mdl_type_text(in->scratch, &p->type));
        mdl_table_cell(&table, "%s%s", mdl_arena_name(p->arena), p->carry ? " (carried)" : "");
        mdl_table_cell(&table, "%" PRId64, p->offset);
        mdl_table_cell(&table, "%s", p->decay ? "yes" : "no");
        mdl_table_cell(&table, "%s", p->group ? p->group : "");
        mdl_table_cell(&table, "%s", p->init ? p->init : "");
    }
    mdl_inspect_finish("params", &table);
    for (int i = 0; i < in->plan->ties.n; i++) printf("  %s is %s\n", in->plan->ties.at[i].name, in->plan->ties.at[i].target);
    return MDL_OK;
}

static mdl_status show_units(const mdl_inspection *in) {
    mdl_table table = mdl_inspect_headed(in, "lrrr", "unit|offset|bytes|params");
    for (int i = 0; i < in->plan->units.n; i++) {
        const mdl_plan_unit *u = &in->plan->units.at[i];
        int params = 0;
        for (int k = 0; k < in->plan->params.n; k++) {
            const mdl_plan_param *p = &in->plan->params.at[k];
            params += p->arena == MDL_ARENA_PARAM && p->offset >= u->offset && p->offset < u->offset + u->bytes;
        }
        mdl_table_cell(&table, "%s", *u->name ? u->name : "-");
        mdl_table_cell(&table, "%" PRId64, u->offset);
        mdl_table_cell(&table, "%" PRId64, u->bytes);
        mdl_table_cell(&table, "%d", params);
    }
    mdl_inspect_finish("units", &table);
    return MDL_OK;
}

static mdl_status show_files(const mdl_inspection *in) {
    mdl_table table = mdl_inspect_headed(in, "lrl", "file|bytes|hash");
    for (int i = 0; i < in->plan->files.n; i++) {
        mdl_table_cell(&table, "%s", in->plan->files.at[i].path);
        mdl_table_cell(&table, "%" PRId64, in->plan->files.at[i].size);
        mdl_table_cell(&table, "%s", in->plan->files.at[i].hash);
    }
    mdl_inspect_finish("files", &table);
    return MDL_OK;
}

static mdl_status show_buffers(const mdl_inspection *in) {
    const mdl_plan_program *p = NULL;
    MDL_TRY(mdl_inspect_program(in, &p), "inspect buffers");
    mdl_plan_lives lives = mdl_plan_lifetimes(in->scratch, p);
    mdl_table table = mdl_inspect_headed(in, "rllrrrrrrl", "#|buffer|arena|offset|bytes|stride|view of|value|launches|type");
    for (int i = 0; i < p->buffers.n; i++) {
        const mdl_plan_buffer *b = &p->buffers.at[i];
        mdl_table_cell(&table, "%d", i);
        mdl_table_cell(&table, "%s", b->name);
        mdl_table_cell(&table, "%s", mdl_arena_name(b->arena));
        mdl_table_cell(&table, "%" PRId64, b->offset);
        mdl_table_cell(&table, "%" PRId64, b->bytes);
        mdl_table_cell(&table, b->stride ? "%" PRId64 : "", b->stride);
        mdl_table_cell(&table, b->of < 0 ? "" : "%d", b->of);
        mdl_table_cell(&table, b->value ? "%d" : "", b->value);
        if (mdl_plan_first_use(&lives, i) < 0)
            mdl_table_cell(&table, "-");
        else
            mdl_table_cell(&table, "%d..%d", mdl_plan_first_use(&lives, i), mdl_plan_last_use(&lives, i));
        mdl_table_cell(&table, "%s", mdl_type_text(in->scratch, &b->type));
    }
    mdl_inspect_finish(mdl_printf(in->scratch, "buffers of %s", p->name), &table);
    return MDL_OK;
}

static const char *args_text(const mdl_inspection *in, const mdl_plan_program *p, const mdl_plan_launch *l) {
    static const char *const marks[] = {"?", "", "=", "+="}; /* read, written, both */
    mdl_text text = {.arena = in->scratch};
    mdl_text_append(&text, "", 0);
    for (int i = 0; i < l->args.n; i++) {
        const mdl_plan_arg *arg = &l->args.at[i];
        mdl_text_printf(&text, "%s", i ? " " : "");
        if (arg->kind == MDL_ARG_IMMEDIATE)
            mdl_text_printf(&text, "%" PRId64, arg->value);
        else
            mdl_text_printf(&text, "%s%s", marks[arg->access & 3], p->buffers.at[arg->value].name);
    }
    return text.at;
}

/* "1, after 3 5" */
static const char *stream_text(const mdl_inspection *in, const mdl_plan_launch *l) {
    mdl_text text = {.arena = in->scratch};
    mdl_text_printf(&text, "%d%s", l->stream, l->waits.n ? ", after" : "");
    for (int i = 0; i < l->waits.n; i++) mdl_text_printf(&text, " %d", l->waits.at[i]);
    return text.at;
}

/* "528", or with threads "528 x 128". */
static const char *grid_text(const mdl_inspection *in, const mdl_plan_launch *l) {
    if (l->kind != MDL_LAUNCH_KERNEL) return "";
    const char *blocks = mdl_printf(in->scratch, "%" PRId64, l->grid);
    return l->threads > 1 ? mdl_printf(in->scratch, "%s x %d", blocks, l->threads) : blocks;
}

static mdl_status show_launches(const mdl_inspection *in) {
    const mdl_plan_program *p = NULL;
    MDL_TRY(mdl_inspect_program(in, &p), "inspect launches");
    mdl_table table = mdl_inspect_headed(
        in, "rllrlrrll", "#|label|runs|grid|stream|bytes|flops|model line|arguments (= written, += read and written)");
    for (int i = 0; i < p->launches.n; i++) {
        const mdl_plan_launch *l = &p->launches.at[i];
        const mdl_gemm *g = &l->gemm;
        mdl_table_cell(&table, "%d", i);
        mdl_table_cell(&table, "%s", l->label);
        if (l->kind == MDL_LAUNCH_KERNEL)
            mdl_table_cell(&table, "kernel %d", l->kernel);
        else if (l->kind == MDL_LAUNCH_GEMM && g->batch > 1)
            mdl_table_cell(&table, "%" PRId64 " of %" PRId64 " x %" PRId64 " x %" PRId64, g->batch, g->m, g->n, g->k);
        else if (l->kind == MDL_LAUNCH_GEMM)
            mdl_table_cell(&table, "%" PRId64 " x %" PRId64 " x %" PRId64, g->m, g->n, g->k);
        else
            mdl_table_cell(&table, "copy");
        mdl_table_cell(&table, "%s", grid_text(in, l));
        mdl_table_cell(&table, "%s", stream_text(in, l));
        mdl_table_cell(&table, "%" PRId64, l->bytes);
        mdl_table_cell(&table, "%" PRId64, l->flops);
        mdl_table_cell(&table, "%s", l->span);
        mdl_table_cell(&table, "%s", args_text(in, p, l));
    }
    mdl_inspect_finish(mdl_printf(in->scratch, "launches of %s", p->name), &table);
    return MDL_OK;
}

static mdl_status show_source(const mdl_inspection *in) {
    const mdl_plan_kernel *kernel;
    mdl_status status = mdl_inspect_kernel(in, "source", &kernel);
    if (!status) fputs(kernel->source, stdout);
    return status;
}

static mdl_status show_arenas(const mdl_inspection *in) {
    mdl_inspect_arenas(in);
    return MDL_OK;
}

static mdl_status show_list(const mdl_inspection *in) {
    static mdl_status (*const parts[])(const mdl_inspection *) = {show_header, show_arenas, show_programs, show_kernels};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (i) putchar('\n');
        MDL_TRY(parts[i](in), "inspect");
    }
    return MDL_OK;
}

static const struct {
    const char *name, *argument, *about;
    mdl_status (*show)(const mdl_inspection *in);
} views[] = {
    {"list", NULL, "the plan, its memory, programs, kernels and products (the default)", show_list},
    {"memory", "[PROGRAM]", "arenas, the peak of each program, and the largest buffers at the peak of one", mdl_inspect_memory},
    {"programs", NULL, "launches and peak memory of each program", show_programs},
    {"kernels", NULL, "each kernel and matrix product with the model line it comes from", show_kernels},
    {"source", "KERNEL", "the C text of one kernel, by number or symbol", show_source},
    {"ptx", "KERNEL", "of a plan for CUDA: its PTX, if the plan has code for an arch compute_*", mdl_inspect_ptx},
    {"sass", "KERNEL", "of a plan for CUDA: its native code for each arch, by nvdisasm", mdl_inspect_sass},
    {"launches", "PROGRAM", "each launch of a program in order, with its arguments", show_launches},
    {"buffers", "PROGRAM", "each buffer of a program: place and lifetime", show_buffers},
    {"params", NULL, "the weights: checkpoint names, types, places, weight decay", show_params},
    {"units", NULL, "ranges of the trained weights that belong to one repeated scope", show_units},
    {"dims", NULL, "named sizes and special tokens of the model", show_dims},
    {"files", NULL, "the files inside the plan", show_files},
};
enum { VIEWS = sizeof views / sizeof *views };

static void help(void) {
    puts("usage: mdlrun inspect PLAN [VIEW]\n\nShows what is in a plan. Its native code is not loaded.\n\nviews:");
    for (int i = 0; i < VIEWS; i++)
        printf("  %-8s %-9s  %s\n", views[i].name, views[i].argument ? views[i].argument : "", views[i].about);
}

mdl_status mdl_command_inspect(int argc, char **argv) {
    int view = 0;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return help(), mdl_file_flush_stdout();
    if (argc < 2) return mdl_fail(MDL_USAGE, "inspect: which plan? See: mdlrun inspect --help");
    while (argc > 2 && view < VIEWS && strcmp(views[view].name, argv[2])) view++;
    if (view == VIEWS) return mdl_fail(MDL_USAGE, "inspect: no view \"%s\". See: mdlrun inspect --help", argv[2]);
    if (argc > (views[view].argument ? 4 : 3))
        return mdl_fail(MDL_USAGE, "inspect: \"%s\" is one argument too many", argv[argc - 1]);
    mdl_plan *plan = NULL;
    mdl_status status = mdl_plan_read(argv[1], &plan);
    if (status) return status;
    mdl_inspection in = {plan, mdl_arena_new(), argc > 3 ? argv[3] : NULL};
    status = views[view].show(&in);
    if (!status) status = mdl_file_flush_stdout();
    mdl_arena_free(in.scratch);
    mdl_plan_free(plan);
    return status;
}
