/* A scatter of column means; three marks (' - .) triple the vertical resolution. */
#include "runtime/report/plot.h"

#include <math.h>
#include <string.h>

enum { WIDEST = 200, TALLEST = 60, MARKS = 3 };

static void merge(mdl_curve *curve) {
    for (int i = 0; i < MDL_CURVE_ROOM / 2; i++) curve->sum[i] = curve->sum[2 * i] + curve->sum[2 * i + 1];
    memset(&curve->sum[MDL_CURVE_ROOM / 2], 0, sizeof curve->sum / 2);
    curve->stride *= 2;
}

void mdl_curve_add(mdl_curve *curve, double value) {
    if (!curve->stride) curve->stride = 1;
    if (curve->count == curve->stride * MDL_CURVE_ROOM) merge(curve);
    curve->sum[curve->count / curve->stride] += value;
    curve->count++;
}

static int buckets(const mdl_curve *curve) { return (int)((curve->count + curve->stride - 1) / curve->stride); }

static double bucket_count(const mdl_curve *curve, int i) {
    int64_t left = curve->count - i * curve->stride;
    return (double)(left < curve->stride ? left : curve->stride);
}

/* The mean of the buckets that fall into column c of `width`. */
static double column_mean(const mdl_curve *curve, int c, int width) {
    int n = buckets(curve), begin = (int)((int64_t)c * n / width), end = (int)((int64_t)(c + 1) * n / width);
    double sum = 0, count = 0;
    for (int i = begin; i < end || i == begin; i++) {
        sum += curve->sum[i];
        count += bucket_count(curve, i);
    }
    return sum / count;
}

static void bounds(const double *value, int n, double *low, double *high) {
    *low = *high = value[0];
    for (int i = 1; i < n; i++) {
        *low = fmin(*low, value[i]);
        *high = fmax(*high, value[i]);
    }
    if (*high - *low < 1e-6) *high = *low + 1e-6; /* a flat line is drawn at the bottom */
}

static void print_axis(FILE *out, const mdl_curve *curve, int width) {
    char last[32];
    int n = snprintf(last, sizeof last, "%lld", (long long)curve->count);
    fprintf(out, "        +");
    for (int c = 0; c < width; c++) fputc('-', out);
    fprintf(out, "\n         1%*s step\n", width - 1 > n ? width - 1 : n + 1, last);
}

/* scale: levels a unit. Ends at the last mark: no blanks at line ends. */
static void print_row(FILE *out, const double *value, int width, double low, double scale, int row) {
    char line[WIDEST + 1];
    int end = 0;
    for (int c = 0; c < width; c++) {
        int level = (int)lround((value[c] - low) * scale);
        line[c] = level / MARKS == row ? ".-'"[level % MARKS] : ' ';
        if (line[c] != ' ') end = c + 1;
    }
    fprintf(out, "%.*s\n", end, line);
}

void mdl_plot(FILE *out, const mdl_curve *curve, const char *title, int width, int height) {
    double value[WIDEST] = {0}, low, high;
    if (!curve->count) return;
    if (width > WIDEST) width = WIDEST;
    if (height > TALLEST) height = TALLEST;
    if (width > buckets(curve)) width = buckets(curve);
    for (int c = 0; c < width; c++) value[c] = column_mean(curve, c, width);
    bounds(value, width, &low, &high);
    fprintf(out, "%s\n", title);
    for (int row = height - 1; row >= 0; row--) {
        double label = low + (high - low) * (row + 0.5) / height;
        fprintf(out, fabs(label) < 1000 ? "%7.3f |" : "%7.1e |", label);
        print_row(out, value, width, low, (height * MARKS - 1) / (high - low), row);
    }
    print_axis(out, curve, width);
}
