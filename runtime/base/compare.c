/* Sums and maxima that a NaN cannot slip through: what is not finite is counted, never compared. */
#include "runtime/base/compare.h"

#include <math.h>

mdl_comparison mdl_comparison_begin(void) { return (mdl_comparison){.at = -1}; }

static bool is_worst(mdl_comparison *c, bool bad, double d) {
    if (bad ? c->bad > 0 : c->bad || (c->at >= 0 && d <= c->worst)) return false;
    c->at = c->n;
    return true;
}

bool mdl_comparison_add(mdl_comparison *c, double got, double want) {
    bool bad = !isfinite(got) || !isfinite(want);
    double d = fabs(got - want);
    bool worst = is_worst(c, bad, d);
    c->n++;
    c->bad += bad;
    if (bad) return worst;
    c->worst = fmax(c->worst, d);
    c->largest = fmax(c->largest, fabs(want));
    c->difference += d * d;
    c->size += want * want;
    c->given += got * got;
    return worst;
}

mdl_comparison mdl_compare_floats(int64_t n, const float *got, const float *want) {
    mdl_comparison c = mdl_comparison_begin();
    for (int64_t i = 0; i < n; i++) mdl_comparison_add(&c, (double)got[i], (double)want[i]);
    return c;
}

mdl_comparison mdl_compare_doubles(int64_t n, const double *got, const double *want) {
    mdl_comparison c = mdl_comparison_begin();
    for (int64_t i = 0; i < n; i++) mdl_comparison_add(&c, got[i], want[i]);
    return c;
}

double mdl_error_max(const mdl_comparison *c) { return c->bad ? NAN : c->worst; }

double mdl_error_l2(const mdl_comparison *c) {
    if (c->bad) return NAN;
    return c->size > 0 ? sqrt(c->difference / c->size) : sqrt(c->given);
}
