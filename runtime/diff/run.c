/* Running two plans side by side. Memory of values is used again, so each is fetched right after the launch that writes it last. A
 * goes launch by launch; B goes as far as the next pair of A's needs, and what it passes on the way is kept until A is there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/bf16.h"
#include "runtime/diff/diff.h"

typedef struct {
    mdl_diff *diff;
    int done[2];    /* launches that have run */
    void **kept[2]; /* [pairs] bytes fetched and not yet compared */
} walk;

static mdl_plan_buffer *buffer_of(const walk *w, int pair, int side) {
    return &w->diff->program[side]->buffers.at[w->diff->pairs.at[pair].buffer[side]];
}

static mdl_status fetch(walk *w, int pair, int side) {
    const mdl_plan_buffer *b = buffer_of(w, pair, side);
    const mdl_session *s = w->diff->session[side];
    int64_t bytes = mdl_type_bytes(&b->type);
    void *to = w->kept[side][pair] = malloc((size_t)bytes + 1);
    if (!to) return mdl_fail(MDL_SYSTEM, "no memory for %s", b->name);
    int64_t offset = mdl_plan_place(w->diff->program[side], w->diff->pairs.at[pair].buffer[side]);
    MDL_TRY(s->backend->download(s->device, b->arena, offset, to, bytes), "%s", b->name);
    return MDL_OK;
}

/* Runs up to and with launch `last`; fetches what is complete on the way. */
static mdl_status advance(walk *w, int side, int last) {
    const mdl_session *s = w->diff->session[side];
    mdl_status status = MDL_OK;
    for (; w->done[side] <= last && !status; w->done[side]++) {
        int l = w->done[side];
        status = s->backend->run_part(s->device, w->diff->program[side]->name, l, l + 1);
        for (int i = 0; i < w->diff->pairs.n && !status; i++)
            if (w->diff->pairs.at[i].launch[side] == l) status = fetch(w, i, side);
    }
    return mdl_context(status, "plan %s", side ? "B" : "A");
}

static double number_at(mdl_dtype dtype, const void *at, int64_t i) {
    switch (dtype) {
        case MDL_F32: return ((const float *)at)[i];
        case MDL_F64: return ((const double *)at)[i];
        case MDL_BF16: return mdl_bf16_widen(((const uint16_t *)at)[i]);
        case MDL_BOOL: return ((const uint8_t *)at)[i];
        default: return ((const int32_t *)at)[i];
    }
}

/* Errors of roundings that go either way grow as the root of their number. f32: 2^10 units, for sums of a million terms in another
 * order. bf16, in one of the plans: 16 units, for the some 256 roundings that a value has behind it in a deep model; fp8: two units
 * of e5m2, as a gradient's roundings are in sums. Whole numbers are equal. */
static double tolerance_of(const walk *w, int pair) {
    bool narrow = false, small = false;
    for (int side = 0; side < 2; side++) {
        narrow |= strcmp(w->diff->session[side]->plan->precision, "f32") != 0;
        small |= !strcmp(w->diff->session[side]->plan->precision, "fp8");
    }
    if (!mdl_dtype_is_real(buffer_of(w, pair, 0)->type.dtype)) return 0;
    return small ? 0x1p-2 : narrow ? 16 * 0x1p-8 : 0x1p10 * 0x1p-24;
}

static void compare(walk *w, int pair, double tolerance) {
    mdl_diff_pair *p = &w->diff->pairs.at[pair];
    const mdl_type *a = &buffer_of(w, pair, 0)->type, *b = &buffer_of(w, pair, 1)->type;
    p->compared = mdl_comparison_begin();
    for (int64_t i = 0; i < mdl_type_count(a); i++)
        mdl_comparison_add(&p->compared, number_at(b->dtype, w->kept[1][pair], i), number_at(a->dtype, w->kept[0][pair], i));
    p->error = mdl_error_l2(&p->compared);
    p->tolerance = tolerance > 0 ? tolerance : tolerance_of(w, pair);
    p->parts = !(p->error <= p->tolerance);
    for (int side = 0; side < 2; side++) {
        free(w->kept[side][pair]);
        w->kept[side][pair] = NULL;
    }
}

static double root_mean_square(const mdl_diff_pair *p) { return sqrt(p->compared.size / (double)p->compared.n); }

/* Some gradients are sums that cancel: the bias of keys has none at all. What is left is roundings, and says nothing: gradients of
 * less than a millionth of the largest, as root mean squares, part with no plan. */
static void excuse_noise(mdl_diff *d) {
    double largest = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < d->pairs.n; i++) {
            mdl_diff_pair *p = &d->pairs.at[i];
            if (d->program[0]->buffers.at[p->buffer[0]].arena != MDL_ARENA_GRAD || p->compared.bad) continue;
            if (!pass && root_mean_square(p) > largest) largest = root_mean_square(p);
            bool small = root_mean_square(p) < 1e-6 * largest && sqrt(p->compared.given / (double)p->compared.n) < 1e-6 * largest;
            if (pass && small) p->parts = false;
        }
}

mdl_status mdl_diff_run(mdl_diff *d, double tolerance) {
    walk w = {.diff = d};
    mdl_status status = MDL_OK;
    for (int side = 0; side < 2; side++) w.kept[side] = MDL_NEW_ARRAY(d->memory, void *, d->pairs.n + 1);
    for (int side = 0; side < 2 && !status; side++) status = mdl_session_prepare(d->session[side], d->program[side]->name);
    for (int i = 0; i < d->pairs.n && !status; i++) {
        for (int side = 0; side < 2 && !status; side++) status = advance(&w, side, d->pairs.at[i].launch[side]);
        if (!status) compare(&w, i, tolerance);
    }
    for (int side = 0; side < 2 && !status; side++) status = advance(&w, side, d->program[side]->launches.n - 1);
    for (int i = 0; i < 2 * d->pairs.n; i++) free(w.kept[i % 2][i / 2]);
    if (!status) excuse_noise(d);
    return status;
}
