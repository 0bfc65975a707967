/* How far numbers are from those that were expected. The one comparer of checks and tests: a NaN or an infinity on either side,
 * also on both, is a difference that no tolerance covers. */
#ifndef MDL_BASE_COMPARE_H
#define MDL_BASE_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t n, bad;    /* pairs seen; those with a number that is not finite */
    int64_t at;        /* the worst pair's index: the first bad one, else that of `worst`; -1 before the first */
    double worst;      /* the largest |got - want| of finite pairs */
    double largest;    /* the largest |want| of finite pairs */
    double difference; /* sums of squares over finite pairs: of got - want, of want, of got */
    double size, given;
} mdl_comparison;

mdl_comparison mdl_comparison_begin(void);
bool mdl_comparison_add(mdl_comparison *c, double got, double want); /* true: this pair is now the worst */

mdl_comparison mdl_compare_floats(int64_t n, const float *got, const float *want);
mdl_comparison mdl_compare_doubles(int64_t n, const double *got, const double *want);

/* Largest difference; NAN when a pair is bad, so that `error <= tolerance` is false and a message shows why. */
double mdl_error_max(const mdl_comparison *c);
/* |got - want| / |want| in L2 norms, |got| when want is all zeros; NAN when a pair is bad. */
double mdl_error_l2(const mdl_comparison *c);

#endif
