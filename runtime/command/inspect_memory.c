/* mdlrun inspect PLAN memory [PROGRAM]: arenas, the peak of each program, and what is alive at the peak of one. */
#include <inttypes.h>
#include <stdlib.h>

#include "runtime/command/inspect_views.h"

enum { LARGEST = 12 };

void mdl_inspect_arenas(const mdl_inspection *in) {
    mdl_table table = mdl_inspect_headed(in, "lrr", "arena|bytes|");
    int64_t total = mdl_plan_memory(in->plan), workspace = mdl_plan_workspace(in->plan);
    for (int i = 0; i < MDL_ARENA_COUNT; i++) {
        if (!in->plan->arena_bytes[i]) continue;
        mdl_table_cell(&table, "%s", mdl_arena_name((mdl_arena_id)i));
        mdl_table_cell(&table, "%" PRId64, in->plan->arena_bytes[i]);
        mdl_table_bytes(&table, in->plan->arena_bytes[i]);
    }
    if (workspace) {
        mdl_table_cell(&table, "(products work in)");
        mdl_table_cell(&table, "%" PRId64, workspace);
        mdl_table_bytes(&table, workspace);
    }
    mdl_table_cell(&table, "total");
    mdl_table_cell(&table, "%" PRId64, total);
    mdl_table_bytes(&table, total);
    mdl_inspect_finish("memory", &table);
}

/* The launch, in recorded order, at which the sum of the activations between their first and last use is largest. */
typedef struct {
    const mdl_plan_program *program;
    mdl_plan_lives lives;
    int launch; /* -1: the program has no activations */
    int64_t bytes;
} peak;

static bool lives_at(const peak *p, int buffer, int launch) {
    int first = mdl_plan_first_use(&p->lives, buffer); /* -1 also of views and of other arenas */
    return first >= 0 && first <= launch && launch <= mdl_plan_last_use(&p->lives, buffer);
}

static peak find_peak(const mdl_inspection *in, const mdl_plan_program *program) {
    peak p = {.program = program, .lives = mdl_plan_lifetimes(in->scratch, program), .launch = -1};
    int64_t *change = MDL_NEW_ARRAY(in->scratch, int64_t, program->launches.n + 1), now = 0;
    for (int i = 0; i < program->buffers.n; i++) {
        int first = mdl_plan_first_use(&p.lives, i);
        if (first < 0) continue;
        change[first] += program->buffers.at[i].bytes;
        change[mdl_plan_last_use(&p.lives, i) + 1] -= program->buffers.at[i].bytes;
    }
    for (int l = 0; l < program->launches.n; l++) {
        now += change[l];
        if (now > p.bytes) p.bytes = now, p.launch = l;
    }
    return p;
}

static void show_peaks(const mdl_inspection *in, const peak *peaks, int n) {
    mdl_table table = mdl_inspect_headed(in, "lrrrll", "program|activations|alive at most|at launch|label|model line");
    for (int i = 0; i < n; i++) {
        const peak *p = &peaks[i];
        const mdl_plan_launch *l = p->launch < 0 ? NULL : &p->program->launches.at[p->launch];
        mdl_table_cell(&table, "%s", p->program->name);
        mdl_table_bytes(&table, p->program->activation_bytes);
        mdl_table_bytes(&table, p->bytes);
        mdl_table_cell(&table, l ? "%d" : "-", p->launch);
        mdl_table_cell(&table, "%s", l ? l->label : "");
        mdl_table_cell(&table, "%s", l ? l->span : "");
    }
    mdl_inspect_finish("peaks", &table);
}

/* A buffer alive at a peak. */
typedef struct {
    int buffer;
    int64_t bytes;
} alive;

static int larger_first(const void *a, const void *b) {
    const alive *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->buffer - y->buffer;
}

static void show_alive(const mdl_inspection *in, const peak *p) {
    MDL_VEC(alive) all = {0};
    for (int i = 0; i < p->program->buffers.n; i++)
        if (lives_at(p, i, p->launch)) MDL_PUSH(in->scratch, all, ((alive){i, p->program->buffers.at[i].bytes}));
    if (!all.n) return;
    qsort(all.at, (size_t)all.n, sizeof *all.at, larger_first);
    mdl_table table = mdl_inspect_headed(in, "rrrllrll", "#|bytes||buffer|type|launches|made by|model line");
    for (int i = 0; i < all.n && i < LARGEST; i++) {
        const mdl_plan_buffer *b = &p->program->buffers.at[all.at[i].buffer];
        int first = mdl_plan_first_use(&p->lives, all.at[i].buffer);
        mdl_table_cell(&table, "%d", all.at[i].buffer);
        mdl_table_cell(&table, "%" PRId64, b->bytes);
        mdl_table_bytes(&table, b->bytes);
        mdl_table_cell(&table, "%s", b->name);
        mdl_table_cell(&table, "%s", mdl_type_text(in->scratch, &b->type));
        mdl_table_cell(&table, "%d..%d", first, mdl_plan_last_use(&p->lives, all.at[i].buffer));
        mdl_table_cell(&table, "%s", p->program->launches.at[first].label);
        mdl_table_cell(&table, "%s", p->program->launches.at[first].span);
    }
    const char *some = all.n > LARGEST ? mdl_printf(in->scratch, "the %d largest of %d buffers", LARGEST, all.n) : "buffers";
    mdl_inspect_finish(mdl_printf(in->scratch, "%s alive at launch %d of %s", some, p->launch, p->program->name), &table);
}

/* Without a program, the one that needs most is shown. */
mdl_status mdl_inspect_memory(const mdl_inspection *in) {
    const mdl_plan_program *asked = NULL;
    int n = in->plan->programs.n, shown = 0;
    if (in->argument) MDL_TRY(mdl_inspect_program(in, &asked), "inspect memory");
    peak *peaks = MDL_NEW_ARRAY(in->scratch, peak, n + 1);
    for (int i = 0; i < n; i++) {
        peaks[i] = find_peak(in, &in->plan->programs.at[i]);
        if (asked ? asked == peaks[i].program : peaks[i].bytes > peaks[shown].bytes) shown = i;
    }
    mdl_inspect_arenas(in);
    putchar('\n');
    show_peaks(in, peaks, n);
    if (!n || peaks[shown].launch < 0) return MDL_OK;
    putchar('\n');
    show_alive(in, &peaks[shown]);
    return MDL_OK;
}
