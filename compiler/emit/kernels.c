/* Kernels by text and signature: layers and programs that need the same code share it. */
#include <string.h>
#include <xxhash.h>

#include "compiler/emit/emit.h"

/* Texts: of the C of every kernel, and of the bodies of row kernels, which are printed once. */
typedef struct {
    struct entry {
        uint64_t hash;
        const char *text;
        int index;           /* of the kernel with this source */
        const char *printed; /* source of the row kernels with this body */
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

/* The entry of this text, for which `fits` says yes where it is given; a new one has no text. Texts are compared in full: a hash
 * decides nothing alone. */
static struct entry *entry_of(mdl_emitter *e, text_table *t, const char *text, const mdl_plan_kernel *like) {
    if (!t->slot || 2 * (size_t)t->n > t->mask) grow(e->arena, t);
    uint64_t hash = XXH3_64bits(text, strlen(text));
    size_t at = hash & t->mask;
    for (; t->slot[at].text; at = (at + 1) & t->mask) {
        const struct entry *x = &t->slot[at];
        if (x->hash != hash || strcmp(x->text, text)) continue;
        if (!like || same_signature(&e->plan->kernels.at[x->index], like)) return &t->slot[at];
    }
    t->slot[at].hash = hash;
    return &t->slot[at];
}

static struct mdl_kernel_table *table_of(mdl_emitter *e) {
    if (!e->kernels) e->kernels = MDL_NEW(e->arena, struct mdl_kernel_table);
    return e->kernels;
}

const char **mdl_text_of_body(mdl_emitter *e, const mdl_op *kernel) {
    mdl_text key = {.arena = e->scratch};
    for (int i = 0; i < kernel->n_in; i++) mdl_text_append(&key, mdl_is(kernel->in[i], MDL_OP_IMM) ? "i" : "b", 1);
    mdl_print_region(&key, kernel->body, false);
    text_table *bodies = &table_of(e)->bodies;
    struct entry *entry = entry_of(e, bodies, key.at, NULL);
    if (!entry->text) entry->text = mdl_strdup(e->arena, key.at), bodies->n++;
    return &entry->printed;
}

int mdl_intern_kernel(mdl_emitter *e, const mdl_plan_kernel *like, const char *text, mdl_span span) {
    text_table *sources = &table_of(e)->sources;
    struct entry *entry = entry_of(e, sources, text, like);
    if (entry->text) return entry->index;
    entry->text = mdl_strdup(e->arena, text);
    entry->index = sources->n++;
    const char *symbol = mdl_printf(e->arena, "k%d_%s", entry->index, like->class), *source = with_symbol(e->arena, text, symbol);
    XXH128_hash_t full = XXH3_128bits(source, strlen(source));
    mdl_plan_kernel kernel = *like;
    kernel.symbol = symbol;
    kernel.hash = mdl_printf(e->arena, "%016llx%016llx", (unsigned long long)full.high64, (unsigned long long)full.low64);
    kernel.source = source;
    kernel.span = mdl_span_text(e->arena, span);
    MDL_PUSH(e->arena, e->plan->kernels, kernel);
    return entry->index;
}

const char *mdl_span_text(mdl_arena *arena, mdl_span span) {
    return span.file ? mdl_printf(arena, "%s:%d:%d", span.file, span.line, span.column) : "";
}
