/* A profile as text. */
#include "runtime/report/table.h"

#include <inttypes.h>

#include "runtime/profile/profile.h"

/* Three digits, where there are some within a tenth of a thousandth: "1234", "12.3", "0.123", "0.0012". */
static const char *digits(mdl_arena *memory, double x) {
    return mdl_printf(memory, x >= 100 ? "%.0f" : x >= 10 ? "%.1f" : x >= 1 ? "%.2f" : x >= 0.1 ? "%.3f" : "%.4f", x);
}

static const char *milliseconds(const mdl_profile *p, double seconds) { return digits(p->memory, 1e3 * seconds); }

static void print_step(const mdl_profile *p, FILE *out) {
    double tokens = (double)p->plan->tokens, sum = p->one_by_one.median, rest = p->replay.median - sum;
    fprintf(out, "step       median %s ms, p95 %s of %d: %.0f tokens/s (%.1f %% of them in sequences)\n",
            milliseconds(p, p->step.median), milliseconds(p, p->step.p95), p->steps, tokens / p->step.median,
            100 * p->tokens / tokens);
    fprintf(out, "replay     median %s ms, p95 %s; launches one by one %s: ", milliseconds(p, p->replay.median),
            milliseconds(p, p->replay.p95), milliseconds(p, sum));
    if (rest >= 0)
        fprintf(out, "%s ms (%.1f %%) that no launch accounts for\n", milliseconds(p, rest), 100 * rest / p->replay.median);
    else
        fprintf(out, "together they are %s ms (%.1f %%) quicker\n", milliseconds(p, -rest), -100 * rest / sum);
}

/* Of the replays that were watched, which may run a little longer than others. */
static void print_idle(const mdl_profile *p, FILE *out) {
    if (!p->watched) return;
    if (p->activity.why_not)
        fprintf(out, "idle       not known: %s\n", p->activity.why_not);
    else
        fprintf(out, "idle       %.1f %% of a replay: of %s ms the device works %s (%" PRId64 " kernels and copies)\n",
                100 * mdl_profile_idle(p), milliseconds(p, p->span.median), milliseconds(p, p->busy.median), p->activity.records);
}

void mdl_profile_print_head(const mdl_profile *p, FILE *out) {
    const mdl_rates *r = &p->rates;
    fprintf(out, "program    %s of %s, %" PRId64 " tokens, %s, target %s (%s)\n", p->program->name, p->plan->model, p->plan->tokens,
            p->plan->precision, p->plan->target, p->plan->isa);
    fprintf(out, "device     %s\n", p->device);
    fprintf(out, "at best    copies %s GB/s, large products %s TFLOP/s in f32, %s in bf16\n", digits(p->memory, 1e-9 * r->copy),
            digits(p->memory, 1e-12 * r->f32), digits(p->memory, 1e-12 * r->bf16));
    fprintf(out, "memory     %.1f MiB; %.1f predicted\n", (double)p->held / (1 << 20),
            (double)mdl_plan_memory(p->plan) / (1 << 20));
    print_step(p, out);
    print_idle(p, out);
    fprintf(out, "loader     packs a batch in %s ms, waits %s ms a step for the device; the device waits %s ms for it\n",
            milliseconds(p, p->loader.packing), milliseconds(p, p->loader.for_room), milliseconds(p, p->loader.for_batch));
}

static void head(mdl_table *table, mdl_profile_by by) {
    static const char *const first[] = {"class", "kernel", "launch"};
    static const char *const rest[] = {"ms", "p95", "share", "TFLOP/s", "GB/s", "of best", "bound by", "model line"};
    if (by == MDL_BY_LAUNCH) mdl_table_cell(table, "#");
    mdl_table_cell(table, "%s", first[by]);
    if (by != MDL_BY_CLASS) mdl_table_cell(table, "class");
    if (by != MDL_BY_LAUNCH) mdl_table_cell(table, "launches");
    for (int i = 0; i < (by == MDL_BY_CLASS ? 7 : 8); i++) mdl_table_cell(table, "%s", rest[i]);
}

static void cells(const mdl_profile *p, mdl_table *table, mdl_profile_by by, const mdl_profile_row *row) {
    double seconds = row->seconds.median > 0 ? row->seconds.median : 1e-9; /* the clock's tick */
    if (by == MDL_BY_LAUNCH) mdl_table_cell(table, "%d", row->first);
    mdl_table_cell(table, "%s", row->name);
    if (by != MDL_BY_CLASS) mdl_table_cell(table, "%s", row->class);
    if (by != MDL_BY_LAUNCH) mdl_table_cell(table, "%d", row->launches);
    mdl_table_cell(table, "%s", milliseconds(p, row->seconds.median));
    mdl_table_cell(table, "%s", milliseconds(p, row->seconds.p95));
    mdl_table_cell(table, "%.1f%%", 100 * row->share);
    mdl_table_cell(table, "%s", row->flops > 0 ? digits(p->memory, 1e-12 * row->flops / seconds) : "");
    mdl_table_cell(table, "%s", row->bytes > 0 ? digits(p->memory, 1e-9 * row->bytes / seconds) : "");
    mdl_table_cell(table, "%.0f%%", 100 * row->reach);
    mdl_table_cell(table, "%s", mdl_bound_name(row->bound));
    if (by != MDL_BY_CLASS) mdl_table_cell(table, "%s", row->span);
}

void mdl_profile_print_rows(const mdl_profile *p, mdl_profile_by by, int most, FILE *out) {
    static const char *const align[] = {"lrrrrrrrl", "llrrrrrrrll", "rllrrrrrrll"};
    mdl_table table = {.arena = p->memory, .align = align[by]};
    mdl_profile_rows rows = mdl_profile_group(p, by);
    head(&table, by);
    for (int i = 0; i < rows.n && i < most; i++) cells(p, &table, by, &rows.at[i]);
    mdl_table_print(&table, out);
}
