/* Bump allocation. One arena per compilation or per loaded plan; everything in it dies together.
 * Memory is zeroed. Running out of memory aborts: no caller can do better. */
#ifndef MDL_BASE_ARENA_H
#define MDL_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mdl_arena mdl_arena;

mdl_arena *mdl_arena_new(void);
void mdl_arena_free(mdl_arena *arena); /* NULL is allowed */

void *mdl_alloc(mdl_arena *arena, size_t bytes); /* zeroed, 16-byte aligned */
void *mdl_copy(mdl_arena *arena, const void *from, size_t bytes);
char *mdl_strdup(mdl_arena *arena, const char *text);
char *mdl_strndup(mdl_arena *arena, const char *text, size_t length);
char *mdl_printf(mdl_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *mdl_vprintf(mdl_arena *arena, const char *format, va_list args);

#define MDL_NEW(arena, type) ((type *)mdl_alloc((arena), sizeof(type)))
#define MDL_NEW_ARRAY(arena, type, count) ((type *)mdl_alloc((arena), sizeof(type) * (size_t)(count)))

/* A growable array that lives in an arena: MDL_VEC(int) xs = {0}; MDL_PUSH(arena, xs, 7); xs.at[0]; xs.n */
#define MDL_VEC(type) \
    struct {          \
        type *at;     \
        int n, cap;   \
    }
#define MDL_PUSH(arena, vec, item)                                                                               \
    do {                                                                                                         \
        if ((vec).n == (vec).cap) (vec).at = mdl_grow((arena), (vec).at, sizeof *(vec).at, (vec).n, &(vec).cap); \
        (vec).at[(vec).n++] = (item);                                                                            \
    } while (0)
void *mdl_grow(mdl_arena *arena, void *at, size_t item, int n, int *cap);

/* A growable text. */
typedef struct {
    mdl_arena *arena;
    char *at; /* always NUL-terminated once written to */
    size_t n, cap;
} mdl_text;
void mdl_text_printf(mdl_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mdl_text_append(mdl_text *text, const char *bytes, size_t n);

#endif
