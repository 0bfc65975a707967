/* Kernels by text and signature: layers and programs that need the same code share it. */
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

static bool same_signature(const mdl_plan_kernel *a, const mdl_plan_kernel *b) {
    if (a->args.n != b->args.n || a->grid.rows != b->grid.rows || a->grid.per != b->grid.per || a->grid.most != b->grid.most ||
        a->grid.times != b->grid.times)
        return false;
    for (int i = 0; i < a->args.n; i++) {
        const mdl_plan_signature *x = &a->args.at[i], *y = &b->args.at[i];
        if (x->kind != y->kind || x->access != y->access || x->dtype != y->dtype || x->elements != y->elements ||
            x->times != y->times)
            return false;
    }
    return true;
}

static bool is_it(const mdl_emitter *e, const struct entry *entry, uint64_t hash, const char *text, const mdl_plan_kernel *kernel) {
    return entry->hash == hash && !strcmp(entry->text, text) && same_signature(&e->plan->kernels.at[entry->index], kernel);
}

int mdl_intern_kernel(mdl_emitter *e, const mdl_plan_kernel *like, const char *text, mdl_span span) {
    if (!e->kernels) e->kernels = MDL_NEW(e->arena, struct mdl_kernel_table);
    struct mdl_kernel_table *t = e->kernels;
    if (!t->slot || 2 * (size_t)t->n > t->mask) grow(e, t);
    size_t length = strlen(text);
    uint64_t hash = XXH3_64bits(text, length);
    size_t at = hash & t->mask;
    while (t->slot[at].text && !is_it(e, &t->slot[at], hash, text, like)) at = (at + 1) & t->mask;
    if (t->slot[at].text) return t->slot[at].index;
    const char *symbol = mdl_printf(e->arena, "k%d_%s", t->n, like->class), *source = with_symbol(e->arena, text, symbol);
    XXH128_hash_t full = XXH3_128bits(source, strlen(source));
    mdl_plan_kernel kernel = *like;
    kernel.symbol = symbol;
    kernel.hash = mdl_printf(e->arena, "%016llx%016llx", (unsigned long long)full.high64, (unsigned long long)full.low64);
    kernel.source = source;
    kernel.span = mdl_span_text(e->arena, span);
    MDL_PUSH(e->arena, e->plan->kernels, kernel);
    t->slot[at] = (struct entry){hash, text, t->n};
    return t->n++;
}

const char *mdl_span_text(mdl_arena *arena, mdl_span span) {
    return span.file ? mdl_printf(arena, "%s:%d:%d", span.file, span.line, span.column) : "";
}
