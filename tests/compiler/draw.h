/* What the compiler's suites share: values for programs, tiny models, IR text. */
#ifndef MDL_TESTS_COMPILER_DRAW_H
#define MDL_TESTS_COMPILER_DRAW_H

#include "compiler/ir/interp.h"
#include "compiler/ir/module.h"
#include "compiler/ir/state.h"
#include "tests/check.h"

/* Inputs and states of a program, repeatable.
 *   reals   -1.3 .. 1.3; those of pos... and the second moment: 0.6 .. 1.9
 *   others  index.N: i32 in -1 .. N-1; labels.N: in -1 .. N and -100; other i32: 0 .. 4; bool: 0 or 1;
 *           segments: an empty one and a tail */
typedef struct {
    mdl_arena *arena;
    mdl_arrays inputs, states;
    int draws;
} mdl_values;

/* Gives a value to everything that the program reads and does not have yet. */
void mdl_draw_values(mdl_values *v, const mdl_region *program);
/* An arbitrary real in -1.26 .. 1.26; the first 1009 differ by at least 0.0025. */
double mdl_draw(mdl_values *v);

/* A text of one program; NULL after a failed check. */
mdl_region *mdl_test_parse(mdl_test *t, mdl_arena *arena, const char *text);
const char *mdl_region_text(mdl_arena *arena, const mdl_region *region);

/* The programs of a text file under tests/: after a comment, each is a line "== NAME" and its ops. Ends in a row of NULLs. */
typedef struct {
    const char *name, *text;
} mdl_test_program;
const mdl_test_program *mdl_test_programs(mdl_test *t, mdl_arena *arena, const char *path);
char *mdl_test_read(mdl_test *t, mdl_arena *arena, const char *path); /* the whole file */

/* models/NAME.mdl, or with a slash a path in the source tree; sets are separated by blanks. NULL after a failed check. */
mdl_module *mdl_test_model(mdl_test *t, mdl_arena *arena, const char *name, const char *sets, int64_t tokens, int64_t segments);

/* The path of a C compiler that writes empty files, for plans whose code is not run: compiling it takes most of the time. */
const char *mdl_empty_compiler(mdl_test *t);

/* The smallest size of every model of the project. */
typedef struct {
    const char *name, *sets;
} mdl_tiny_model;
extern const mdl_tiny_model mdl_tiny_models[];
extern const int mdl_tiny_models_count;

#endif
