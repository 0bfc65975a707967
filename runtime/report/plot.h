/* The loss of a run as text: a curve that keeps a fixed number of means, and its plot. */
#ifndef MDL_REPORT_PLOT_H
#define MDL_REPORT_PLOT_H

#include <stdint.h>
#include <stdio.h>

/* Means of `stride` values each; when full, neighbours merge and stride doubles. Adding never allocates. */
enum { MDL_CURVE_ROOM = 1024 };
typedef struct {
    int64_t stride, count;      /* values a mean; values in all */
    double sum[MDL_CURVE_ROOM]; /* of bucket i */
} mdl_curve;

void mdl_curve_add(mdl_curve *curve, double value); /* begin with {0} */

/* Plots the curve over step 1 .. count with axes, in `width` columns and `height` rows of ASCII, under a title. An empty
 * curve gives nothing. */
void mdl_plot(FILE *out, const mdl_curve *curve, const char *title, int width, int height);

#endif
