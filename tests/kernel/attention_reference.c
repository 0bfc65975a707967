/* Written for reading, not for speed: one query at a time, weights in an array. */
#include "tests/kernel/attention_reference.h"

#include <math.h>

void clear(mdl_arena *arena, problem *p) {
    p->o = MDL_NEW_ARRAY(arena, double, size_q(p));
    p->dq = MDL_NEW_ARRAY(arena, double, size_q(p));
    p->dk = MDL_NEW_ARRAY(arena, double, size_k(p));
    p->dv = MDL_NEW_ARRAY(arena, double, size_k(p));
    p->lse = MDL_NEW_ARRAY(arena, double, size_lse(p));
    p->delta = MDL_NEW_ARRAY(arena, double, size_lse(p));
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static bool sees(const problem *p, int64_t i, int64_t j) {
    int64_t left = p->shape.mask.left, right = p->shape.mask.right;
    return (left < 0 || i - j <= left) && (right < 0 || j - i <= right);
}

/* c tanh(s / c), and its derivative by s */
static double capped(const problem *p, double s, double *slope) {
    *slope = 1;
    if (!(p->shape.softcap > 0)) return s;
    double t = tanh(s / p->shape.softcap);
    *slope = 1 - t * t;
    return p->shape.softcap * t;
}

/* Weights of query i over the keys start .. stop - 1, 0 where it sees none, and the slopes of their scores; returns lse. */
static double weigh(const problem *p, int64_t head, int64_t i, int64_t start, int64_t stop, double *w, double *slope) {
    int64_t H = p->shape.heads, G = p->shape.kv_heads, K = p->shape.head_dim;
    double top = -INFINITY, sum = 0;
    for (int64_t j = start; j < stop; j++) {
        double s = (double)(float)p->shape.scale * dot(p->q + (i * H + head) * K, p->k + (j * G + head / (H / G)) * K, K);
        w[j - start] = sees(p, i, j) ? capped(p, s, &slope[j - start]) : -INFINITY;
        top = fmax(top, w[j - start]);
    }
    for (int64_t j = 0; j < stop - start; j++) sum += w[j] = exp(w[j] - top);
    for (int64_t j = 0; j < stop - start; j++) w[j] /= sum;
    return top + log(sum);
}

static void query(const problem *p, int64_t head, int64_t i, int64_t start, int64_t stop, double *w, double *slope) {
    int64_t H = p->shape.heads, G = p->shape.kv_heads, K = p->shape.head_dim, group = head / (H / G), row = i * H + head;
    const double *q = p->q + row * K, *g = p->g + row * K;
    double *o = p->o + row * K, *dq = p->dq + row * K;
    p->lse[row] = weigh(p, head, i, start, stop, w, slope);
    for (int64_t j = start; j < stop; j++)
        for (int64_t c = 0; c < K; c++) o[c] += w[j - start] * p->v[(j * G + group) * K + c];
    p->delta[row] = dot(o, g, K);
    for (int64_t j = start; j < stop; j++) {
        if (!sees(p, i, j)) continue;
        int64_t at = (j * G + group) * K;
        double ds = w[j - start] * (dot(g, p->v + at, K) - p->delta[row]) * slope[j - start] * (double)(float)p->shape.scale;
        for (int64_t c = 0; c < K; c++) {
            dq[c] += ds * p->k[at + c];
            p->dk[at + c] += ds * q[c];
            p->dv[at + c] += w[j - start] * g[c];
        }
    }
}

void solve(mdl_arena *arena, const problem *p) {
    double *w = MDL_NEW_ARRAY(arena, double, p->T + 1), *slope = MDL_NEW_ARRAY(arena, double, p->T + 1);
    for (int64_t s = 0; s < p->S; s++)
        for (int64_t i = p->seq[s]; i < p->seq[s + 1]; i++)
            for (int64_t head = 0; head < p->shape.heads; head++) query(p, head, i, p->seq[s], p->seq[s + 1], w, slope);
}
