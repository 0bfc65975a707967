/* Kernels by text, and row kernels by what their text depends on: layers and programs that need the same code share it. */
#include <string.h>
#include <xxhash.h>

#include "compiler/emit/emit.h"

/* text -> kernel: of the C of every kernel, and of the bodies of row kernels, which are printed once. */
typedef struct {
    struct entry {
        uint64_t hash;
        const char *text;
        int index;
    } * slot;
    size_t mask;
    int n;
} text_table;

struct mdl_kernel_table {
    text_table sources, bodies;
};

static const char *with_symbol(mdl_arena *arena, const char *text, const char *symbol) {
    mdl_text t = {.arena = arena};
    for (const char *at; (at = strstr(text, MDL_KERNEL_PLACEHOLDER)); text = at + MDL_KERNEL_PLACEHOLDER_LENGTH)
        mdl_text_printf(&t, "%.*s%s", (int)(at - text), text, symbol);
    mdl_text_printf(&t, "%s", text);
    return t.at;
}

static void grow(mdl_arena *arena, text_table *t) {
    text_table old = *t;
    t->mask = old.slot ? old.mask * 2 + 1 : 255;
    t->slot = MDL_NEW_ARRAY(arena, struct entry, t->mask + 1);
    for (size_t i = 0; old.slot && i <= old.mask; i++) {
        if (!old.slot[i].text) continue;
        size_t at = old.slot[i].hash & t->mask;
        while (t->slot[at].text) at = (at + 1) & t->mask;
        t->slot[at] = old.slot[i];
    }
}

/* The entry of this text; a new one has the index -1. Texts are compared in full: a hash decides nothing alone. */
static struct entry *entry_of(mdl_arena *arena, text_table *t, const char *text) {
    if (!t->slot || 2 * (size_t)t->n > t->mask) grow(arena, t);
    uint64_t hash = XXH3_64bits(text, strlen(text));
    size_t at = hash & t->mask;
    while (t->slot[at].text && (t->slot[at].hash != hash || strcmp(t->slot[at].text, text))) at = (at + 1) & t->mask;
    if (!t->slot[at].text) t->slot[at] = (struct entry){hash, mdl_strdup(arena, text), -1}, t->n++;
    return &t->slot[at];
}

static struct mdl_kernel_table *table_of(mdl_emitter *e) {
    if (!e->kernels) e->kernels = MDL_NEW(e->arena, struct mdl_kernel_table);
    return e->kernels;
}

static int add_kernel(mdl_emitter *e, const char *class, const char *text, mdl_span span) {
    int index = e->plan->kernels.n;
    const char *symbol = mdl_printf(e->arena, "k%d_%s", index, class), *source = with_symbol(e->arena, text, symbol);
    XXH128_hash_t full = XXH3_128bits(source, strlen(source));
    mdl_plan_kernel kernel = {
        .symbol = symbol,
        .class = class,
        .hash = mdl_printf(e->arena, "%016llx%016llx", (unsigned long long)full.high64, (unsigned long long)full.low64),
        .source = source,
        .span = mdl_span_text(e->arena, span)};
    MDL_PUSH(e->arena, e->plan->kernels, kernel);
    return index;
}

int mdl_intern_kernel(mdl_emitter *e, const char *class, const char *text, mdl_span span) {
    struct entry *entry = entry_of(e->arena, &table_of(e)->sources, text);
    if (entry->index < 0) entry->index = add_kernel(e, class, text, span);
    return entry->index;
}

int *mdl_kernel_of_body(mdl_emitter *e, const mdl_op *kernel) {
    mdl_text key = {.arena = e->scratch};
    for (int i = 0; i < kernel->n_in; i++) mdl_text_append(&key, mdl_is(kernel->in[i], MDL_OP_IMM) ? "i" : "b", 1);
    mdl_print_region(&key, kernel->body, false);
    return &entry_of(e->arena, &table_of(e)->bodies, key.at)->index;
}

const char *mdl_span_text(mdl_arena *arena, mdl_span span) {
    return span.file ? mdl_printf(arena, "%s:%d:%d", span.file, span.line, span.column) : "";
}
