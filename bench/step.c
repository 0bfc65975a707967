/* Times train_only of a plan on packed batches with real protein lengths, and says where the time goes.
 *
 *   mdlbench PLAN [--steps N] [--warmup N] [--threads N] [--data FASTA] [--kernels] [--lengths FILE] [--json]
 *
 * Prints the median step, tokens a second, and the share of each kernel class (from one launch-by-launch replay a step).
 *
 *   --lengths FILE   every step takes the first batch, whose sequences' lengths are written to FILE, one a line, for a peer
 *   --json           one line: the figures of the steps alone */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/data.h"
#include "runtime/train/session.h"

typedef struct {
    const char *plan, *data, *lengths; /* lengths: NULL, a new batch each step */
    int steps, warmup, threads;
    bool kernels, json;
} options;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static const char *class_of(const mdl_plan *plan, const mdl_plan_launch *l) {
    return l->kind == MDL_LAUNCH_KERNEL ? plan->kernels.at[l->kernel].class : l->kind == MDL_LAUNCH_GEMM ? "gemm" : "copy";
}

typedef struct {
    const char *name, *span;
    double seconds, bytes, flops;
    int launches;
} share;

static int by_time(const void *a, const void *b) { return ((const share *)a)->seconds < ((const share *)b)->seconds ? 1 : -1; }

/* By class, or (kernels) by kernel and, for products, by shape. */
static void print_shares(const mdl_plan *plan, const mdl_plan_program *p, const double *seconds, bool kernels) {
    mdl_arena *arena = mdl_arena_new();
    MDL_VEC(share) shares = {0};
    double total = 0;
    for (int i = 0; i < p->launches.n; i++) {
        const mdl_plan_launch *l = &p->launches.at[i];
        const char *name = class_of(plan, l);
        if (kernels && l->kind == MDL_LAUNCH_KERNEL) name = plan->kernels.at[l->kernel].symbol;
        if (kernels && l->kind == MDL_LAUNCH_GEMM)
            name = mdl_printf(arena, "gemm %" PRId64 "x%" PRId64 "x%" PRId64 "%s%s%s", l->gemm.m, l->gemm.n, l->gemm.k,
                              l->gemm.trans_a ? " At" : "", l->gemm.trans_b ? " Bt" : "", l->gemm.has_c ? " +C" : "");
        int k = 0;
        while (k < shares.n && strcmp(shares.at[k].name, name)) k++;
        if (k == shares.n) MDL_PUSH(arena, shares, ((share){.name = name, .span = l->span}));
        shares.at[k].seconds += seconds[i];
        shares.at[k].bytes += (double)l->bytes;
        shares.at[k].flops += (double)l->flops;
        shares.at[k].launches++;
        total += seconds[i];
    }
    qsort(shares.at, (size_t)shares.n, sizeof *shares.at, by_time);
    printf("%-28s %8s %9s %7s %9s %9s  %s\n", "class", "launches", "ms", "share", "GB/s", "GFLOP/s",
           kernels ? "first model line" : "");
    for (int k = 0; k < shares.n; k++) {
        const share *s = &shares.at[k];
        printf("%-28s %8d %9.3f %6.1f%% %9.1f %9.1f  %s\n", s->name, s->launches, s->seconds * 1e3, 100 * s->seconds / total,
               s->bytes / s->seconds / 1e9, s->flops / s->seconds / 1e9, kernels ? s->span : "");
    }
    printf("%-28s %8d %9.3f\n", "all launches, one by one", p->launches.n, total * 1e3);
    mdl_arena_free(arena);
}

static mdl_status profile(mdl_session *s, const options *o) {
    const mdl_plan_program *p = mdl_plan_find_program(s->plan, "train_only");
    double *once = calloc((size_t)p->launches.n, sizeof *once), *all = calloc((size_t)p->launches.n * 5, sizeof *all);
    mdl_status status = MDL_OK;
    for (int r = 0; r < 5 && !status; r++) {
        status = s->backend->profile(s->device, "train_only", once);
        for (int i = 0; i < p->launches.n; i++) all[i * 5 + r] = once[i];
    }
    for (int i = 0; i < p->launches.n; i++) once[i] = median(&all[i * 5], 5);
    if (!status) print_shares(s->plan, p, once, o->kernels);
    free(once);
    free(all);
    return status;
}

/* The lengths of a batch's sequences, and of the tail that is computed too. */
static mdl_status write_lengths(const char *path, const mdl_plan *plan, const mdl_batch *batch) {
    const int32_t *starts = NULL;
    FILE *f = fopen(path, "w");
    for (int i = 0; i < plan->inputs.n; i++)
        if (!strcmp(plan->inputs.at[i].source, "segments")) starts = batch->input[i];
    for (int64_t i = 0; f && starts && i < batch->sequences; i++) fprintf(f, "%d\n", (int)(starts[i + 1] - starts[i]));
    if (f && batch->tokens < plan->tokens) fprintf(f, "%d\n", (int)(plan->tokens - batch->tokens));
    if (f && !fclose(f) && starts) return MDL_OK;
    return mdl_fail(MDL_SYSTEM, "%s: the lengths cannot be written", path);
}

static void print_steps(const mdl_plan *plan, const options *o, double *seconds, int64_t in_sequences) {
    double m = median(seconds, o->steps), packed = (double)plan->tokens;
    const char *form = o->json ? "{\"model\": \"%s\", \"tokens\": %" PRId64
                                 ", \"ms\": %.4f, \"steps\": %d, \"min\": %.4f, \"max\": %.4f, "
                                 "\"tokens_per_second\": %.0f, \"percent_in_sequences\": %.1f}\n"
                               : "%s T=%" PRId64
                                 ": median %.2f ms/step of %d (min %.2f, max %.2f), %.0f tok/s (%.1f %% of them in sequences)\n";
    printf(form, plan->model, plan->tokens, m * 1e3, o->steps, seconds[0] * 1e3, seconds[o->steps - 1] * 1e3, packed / m,
           100.0 * (double)in_sequences / (packed * o->steps));
}

static mdl_status time_steps(mdl_session *s, mdl_loader *loader, const options *o) {
    mdl_adamw adamw = {0.9, 0.98, 1e-8, 0.01, 1.0};
    double *seconds = calloc((size_t)o->steps, sizeof *seconds);
    mdl_status status = mdl_session_init(s, 1);
    int64_t tokens = 0;
    const mdl_batch *batch = NULL;
    for (int i = -o->warmup; i < o->steps && !status; i++) {
        mdl_data_position position;
        double epoch;
        mdl_step step;
        bool first = !batch;
        if (first || !o->lengths) status = mdl_loader_next(loader, &batch, &position, &epoch);
        if (!status && first && o->lengths) status = write_lengths(o->lengths, s->plan, batch);
        double start = now();
        if (!status) status = mdl_session_set_adamw(s, &adamw, i + o->warmup + 1, 4e-4);
        if (!status) status = mdl_session_step(s, 1, batch, &step);
        if (i < 0) continue;
        seconds[i] = now() - start;
        tokens += batch->tokens;
    }
    if (!status) print_steps(s->plan, o, seconds, tokens);
    free(seconds);
    return status || o->json ? status : profile(s, o);
}

static mdl_status run(const options *o) {
    mdl_session *s = NULL;
    mdl_loader *loader = NULL;
    mdl_loader_options data = mdl_bench_data(&o->data);
    mdl_status status = mdl_session_open(o->plan, o->threads, &s);
    if (!status) status = mdl_loader_open(s->plan, &data, &loader);
    if (!status) status = time_steps(s, loader, o);
    mdl_loader_close(loader);
    mdl_session_close(s);
    return status;
}

int main(int argc, char **argv) {
    static const struct option names[] = {
        {"steps", 1, 0, 's'},   {"warmup", 1, 0, 'w'},  {"threads", 1, 0, 't'}, {"data", 1, 0, 'd'},
        {"kernels", 0, 0, 'k'}, {"lengths", 1, 0, 'l'}, {"json", 0, 0, 'j'},    {0, 0, 0, 0}};
    options o = {.data = "data/uniref_sample.fasta.gz", .steps = 10, .warmup = 3};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 's') o.steps = atoi(optarg);
        if (c == 'w') o.warmup = atoi(optarg);
        if (c == 't') o.threads = atoi(optarg);
        if (c == 'd') o.data = optarg;
        if (c == 'k') o.kernels = true;
        if (c == 'l') o.lengths = optarg;
        if (c == 'j') o.json = true;
        if (c == '?') return 2;
    }
    if (optind + 1 != argc || o.steps < 1)
        return fputs(
                   "usage: mdlbench PLAN [--steps N] [--warmup N] [--threads N] [--data FASTA] [--kernels] [--lengths FILE] "
                   "[--json]\n",
                   stderr),
               2;
    o.plan = argv[optind];
    mdl_status status = run(&o);
    if (!status) return 0;
    fprintf(stderr, "mdlbench: error: %s\n", mdl_message(status));
    return (int)mdl_status_code(status);
}
