/* Levenshtein distance in one row; names longer than the row are never near. */
#include "runtime/train/nearest.h"

#include <stddef.h>
#include <string.h>

enum { LONGEST = 64 };

static int min3(int a, int b, int c) {
    int m = a < b ? a : b;
    return m < c ? m : c;
}

static int distance(const char *a, const char *b) {
    size_t na = strlen(a), nb = strlen(b);
    int row[LONGEST + 1];
    if (na > LONGEST || nb > LONGEST) return LONGEST;
    for (size_t j = 0; j <= nb; j++) row[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[nb];
}

const char *mdl_nearest(const char *name, int n, const char *const *names) {
    int allowed = (int)strlen(name) / 3, best = allowed < 2 ? 3 : allowed + 1;
    const char *nearest = NULL;
    for (int i = 0; i < n; i++) {
        int d = distance(name, names[i]);
        if (d >= best) continue;
        best = d;
        nearest = names[i];
    }
    return nearest;
}
