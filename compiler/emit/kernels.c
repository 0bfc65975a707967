/* Kernels by text: layers and programs that need the same code share it. */
#include <string.h>
#include <xxhash.h>

#include "compiler/emit/emit.h"

struct mdl_kernel_table {
    struct entry {
        uint64_t hash;
        const char *text;
        int index;
    } * slot;
    size_t mask;
    int n;
};

static const char *with_symbol(mdl_arena *arena, const char *text, const char *symbol) {
    mdl_text t = {.arena = arena};
    for (const char *at; (at = strstr(text, MDL_KERNEL_PLACEHOLDER)); text = at + MDL_KERNEL_PLACEHOLDER_LENGTH)
        mdl_text_printf(&t, "%.*s%s", (int)(at - text), text, symbol);
    mdl_text_printf(&t, "%s", text);
    return t.at;
}

static void grow(mdl_emitter *e, struct mdl_kernel_table *t) {
    struct mdl_kernel_table old = *t;
    t->mask = old.slot ? old.mask * 2 + 1 : 255;
    t->slot = MDL_NEW_ARRAY(e->arena, struct entry, t->mask + 1);
    for (size_t i = 0; old.slot && i <= old.mask; i++) {
        if (!old.slot[i].text) continue;
        size_t at = old.slot[i].hash & t->mask;
        while (t->slot[at].text) at = (at + 1) & t->mask;
        t->slot[at] = old.slot[i];
    }
}

int mdl_intern_kernel(mdl_emitter *e, const char *class, const char *text, mdl_span span) {
    if (!e->kernels) e->kernels = MDL_NEW(e->arena, struct mdl_kernel_table);
    struct mdl_kernel_table *t = e->kernels;
    if (!t->slot || 2 * (size_t)t->n > t->mask) grow(e, t);
    size_t length = strlen(text);
    uint64_t hash = XXH3_64bits(text, length);
    size_t at = hash & t->mask;
    while (t->slot[at].text && (t->slot[at].hash != hash || strcmp(t->slot[at].text, text))) at = (at + 1) & t->mask;
    if (t->slot[at].text) return t->slot[at].index;
    const char *symbol = mdl_printf(e->arena, "k%d_%s", t->n, class), *source = with_symbol(e->arena, text, symbol);
    XXH128_hash_t full = XXH3_128bits(source, strlen(source));
    mdl_plan_kernel kernel = {
        .symbol = symbol,
        .class = class,
        .hash = mdl_printf(e->arena, "%016llx%016llx", (unsigned long long)full.high64, (unsigned long long)full.low64),
        .source = source,
        .span = mdl_span_text(e->arena, span)};
    MDL_PUSH(e->arena, e->plan->kernels, kernel);
    t->slot[at] = (struct entry){hash, text, t->n};
    return t->n++;
}

const char *mdl_span_text(mdl_arena *arena, mdl_span span) {
    return span.file ? mdl_printf(arena, "%s:%d:%d", span.file, span.line, span.column) : "";
}
