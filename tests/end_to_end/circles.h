/* Who uses whom, by the symbols of the build's objects: what no #include tells. */
#ifndef MDL_TESTS_CIRCLES_H
#define MDL_TESTS_CIRCLES_H

#include "tests/check.h"

/* May code of `file` name what is declared under `path`? The table of layers.c. */
typedef bool mdl_may_use(const char *file, const char *path);

/* Arrows between folders go downwards but for those justified; no circles of folders, nor of files in one folder but for those
 * justified. Each rule is first shown to catch a planted offence. */
void mdl_test_circles(mdl_test *t, mdl_may_use *may_use);

#endif
