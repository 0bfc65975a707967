/* Levenshtein distance in one row; names longer than the row are never near. */
#include "runtime/base/nearest.h"

#include <string.h>

/* Levenshtein distance, or `limit` when it is at least that. */
static int distance(const char *a, const char *b, int limit) {
    enum { LONGEST = 64 };
    int row[LONGEST + 1], m = (int)strlen(a), n = (int)strlen(b);
    if (m > LONGEST || n > LONGEST || m - n >= limit || n - m >= limit) return limit;
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; i <= m; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < shift ? change : shift;
        }
    }
    return row[n] < limit ? row[n] : limit;
}

const char *mdl_nearest(const char *name, int n, const char *const *names) {
    int length = (int)strlen(name), best = length < 3 ? 2 : length < 7 ? 3 : 4;
    const char *nearest = NULL;
    for (int i = 0; i < n; i++) {
        int d = distance(name, names[i], best);
        if (d >= best || d >= (int)strlen(names[i])) continue;
        best = d;
        nearest = names[i];
    }
    return nearest;
}
