/* "Did you mean": the name closest to a mistyped one. */
#ifndef MDL_TRAIN_NEAREST_H
#define MDL_TRAIN_NEAREST_H

/* The entry of names[0 .. n-1] with the smallest edit distance to `name`, or NULL when none is near enough (at most a
 * third of its letters, and at least 2, may differ). The first of equals wins. */
const char *mdl_nearest(const char *name, int n, const char *const *names);

#endif
