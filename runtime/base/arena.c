/* Bump allocation: chunks of at least 64 KiB in a list, freed together. */
#include "runtime/base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct chunk {
    struct chunk *next;
    size_t used, size;
    _Alignas(16) char bytes[];
} chunk;

struct mdl_arena {
    chunk *head;
};

enum { CHUNK = 1 << 16, ALIGN = 16 };

static void *must(void *pointer) {
    if (!pointer) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return pointer;
}

mdl_arena *mdl_arena_new(void) { return must(calloc(1, sizeof(mdl_arena))); }

void mdl_arena_free(mdl_arena *arena) {
    if (!arena) return;
    for (chunk *c = arena->head, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(arena);
}

void *mdl_alloc(mdl_arena *arena, size_t bytes) {
    size_t need = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!arena->head || arena->head->size - arena->head->used < need) {
        size_t size = need > CHUNK ? need : CHUNK;
        chunk *c = must(calloc(1, sizeof(chunk) + size));
        c->size = size;
        c->next = arena->head;
        arena->head = c;
    }
    void *at = arena->head->bytes + arena->head->used;
    arena->head->used += need;
    return at;
}

void *mdl_copy(mdl_arena *arena, const void *from, size_t bytes) {
    void *to = mdl_alloc(arena, bytes);
    if (bytes) memcpy(to, from, bytes);
    return to;
}

char *mdl_strndup(mdl_arena *arena, const char *text, size_t length) {
    char *copy = mdl_alloc(arena, length + 1);
    memcpy(copy, text, length);
    return copy;
}

char *mdl_strdup(mdl_arena *arena, const char *text) { return mdl_strndup(arena, text, strlen(text)); }

char *mdl_vprintf(mdl_arena *arena, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *text = mdl_alloc(arena, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

char *mdl_printf(mdl_arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = mdl_vprintf(arena, format, args);
    va_end(args);
    return text;
}

void *mdl_grow(mdl_arena *arena, void *at, size_t item, int n, int *cap) {
    int grown = *cap ? 2 * *cap : 8;
    void *fresh = mdl_alloc(arena, item * (size_t)grown);
    if (n) memcpy(fresh, at, item * (size_t)n);
    *cap = grown;
    return fresh;
}

void mdl_text_append(mdl_text *text, const char *bytes, size_t n) {
    if (text->n + n + 1 > text->cap) {
        size_t cap = text->cap ? text->cap : 256;
        while (cap < text->n + n + 1) cap *= 2;
        char *at = mdl_alloc(text->arena, cap);
        if (text->n) memcpy(at, text->at, text->n);
        text->at = at;
        text->cap = cap;
    }
    if (n) memcpy(text->at + text->n, bytes, n); /* of nothing, bytes may be NULL */
    text->n += n;
    text->at[text->n] = 0;
}

void mdl_text_printf(mdl_text *text, const char *format, ...) {
    char small[512];
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, format, args);
    if ((size_t)n < sizeof small) {
        mdl_text_append(text, small, (size_t)n);
    } else {
        char *large = must(malloc((size_t)n + 1));
        vsnprintf(large, (size_t)n + 1, format, again);
        mdl_text_append(text, large, (size_t)n);
        free(large);
    }
    va_end(again);
    va_end(args);
}
