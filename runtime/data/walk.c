/* Which source, which record. */
#include "runtime/data/walk.h"

#include "runtime/data/random.h"

static int draw_source(const mdl_walk *w) {
    int s = 0;
    if (w->once) {
        while (s < w->set->n_sources && w->at.source[s].epoch > 0) s++;
    } else if (w->set->n_sources > 1) {
        uint32_t draw = mdl_random_at(w->seed, MDL_RANDOM_SOURCE, 0, w->at.drawn, 0).word[0];
        while (s + 1 < w->set->n_sources && draw >= w->set->source[s].below) s++;
    }
    return s;
}

/* Sources have orders that are independent of each other; the first one's is that of a run with one source. */
static uint64_t seed_of(const mdl_walk *w, int source) { return w->seed + 0x9e3779b97f4a7c15u * (uint64_t)source; }

static int64_t record_at(mdl_walk *w, int s) {
    int64_t epoch = w->at.source[s].epoch, n = w->set->source[s].n;
    if (!w->shuffle) return w->at.source[s].next;
    if (w->ordered[s] != epoch + 1) w->order[s] = mdl_shuffle_make(n, seed_of(w, s), epoch);
    w->ordered[s] = epoch + 1;
    return mdl_shuffle_at(&w->order[s], w->at.source[s].next);
}

static void go_on(mdl_walk *w, int s) {
    if (++w->at.source[s].next < w->set->source[s].n) return;
    w->at.source[s].epoch++;
    w->at.source[s].next = 0;
}

bool mdl_walk_find(mdl_walk *w, mdl_found *found) {
    for (int s; (s = draw_source(w)) < w->set->n_sources; go_on(w, s)) {
        int64_t index = record_at(w, s), i = w->set->source[s].first + index;
        found->record = mdl_dataset_at(w->set, i, &found->corpus);
        if (!mdl_dataset_has(w->set, i, found->record)) continue;
        found->number = i;
        found->epoch = w->at.source[s].epoch;
        found->sequence = (int64_t)s << 48 | index;
        w->source = s;
        return true;
    }
    return false;
}

void mdl_walk_pass(mdl_walk *w) {
    w->at.drawn++;
    go_on(w, w->source);
}
