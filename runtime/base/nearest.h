/* "Did you mean": the name closest to a mistyped one. */
#ifndef MDL_BASE_NEAREST_H
#define MDL_BASE_NEAREST_H

/* The entry of names[0 .. n-1] with the smallest edit distance to `name`, or NULL when none is near enough: one letter may
 * differ in the shortest names, three in those of 7 letters and more. The first of equals wins. */
const char *mdl_nearest(const char *name, int n, const char *const *names);

#endif
