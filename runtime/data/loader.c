/* The loader: opens the data set, then a thread packs one optimizer step ahead into the slot that the caller does not hold.
 * Everything is allocated when it opens; packing fails only when a kept corpus turns out to be damaged. */
#include "runtime/data/loader.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/data/pack.h"
#include "runtime/data/survey.h"

enum { SLOTS = 2, MAX_MICRO_BATCHES = 1 << 16 };

typedef struct {
    mdl_packed *packed; /* [micro_batches] */
    mdl_batch *batches; /* the same as seen by the caller */
    mdl_data_position before, after;
    mdl_status status; /* why it could not be packed */
    bool full;
} slot;

struct mdl_loader {
    mdl_arena *memory;
    mdl_dataset data;
    mdl_tokenizer tokenizer;
    mdl_masking masking;
    mdl_columns columns;
    mdl_packer packer;
    mdl_walk start; /* of the data set; its position is of no meaning */
    mdl_data_facts facts;
    int micro_batches;
    /* Below: shared with the thread, under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool started, stop;
    slot slots[SLOTS];
    int fill, take;       /* the slot packed next, the slot given out next */
    bool lent;            /* the caller holds slot `take` */
    uint64_t seeks;       /* a step packed before the latest seek is dropped */
    mdl_data_position at; /* of the step packed next */
    mdl_loader_times spent;
    mdl_data_position after; /* the caller's: of the step after the one last taken */
    double full_since;       /* the thread waits for room, from this time on; 0: it does not */
};

/* Which of a batch's arrays feeds a plan input; NULL for columns and for inputs that are no part of a batch. */
static const int32_t *array_for(const mdl_packed *packed, const char *source) {
    if (!strcmp(source, "tokens")) return packed->ids;
    if (!strcmp(source, "masked")) return packed->labels;
    if (!strcmp(source, "next")) return packed->next;
    if (!strcmp(source, "segments")) return packed->cu_seqlens;
    return NULL;
}

static bool wants(const mdl_plan *plan, const char *source) {
    for (int i = 0; i < plan->inputs.n; i++)
        if (!strcmp(plan->inputs.at[i].source, source)) return true;
    return false;
}

static mdl_status check_input(const mdl_plan *plan, mdl_arena *scratch, const mdl_plan_input *input) {
    const char *source = input->source;
    int64_t segments[2] = {plan->segments, plan->tokens};
    mdl_type tokens = mdl_type_make(MDL_I32, 1, &plan->tokens), expected = tokens;
    if (!strcmp(source, "segments"))
        expected = mdl_type_make(MDL_SEG, 2, segments);
    else if (strcmp(source, "tokens") && strcmp(source, "masked") && strcmp(source, "next"))
        return MDL_OK;
    if (mdl_type_equal(&input->type, &expected)) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "source \"%s\" gives %s, the plan expects %s", source, mdl_type_text(scratch, &expected),
                    mdl_type_text(scratch, &input->type));
}

static mdl_status check_plan(const mdl_plan *plan, mdl_arena *scratch) {
    if (plan->tokens < 1 || plan->tokens > INT32_MAX || plan->segments < 1 || plan->segments >= INT32_MAX)
        return mdl_fail(MDL_BAD_INPUT, "the plan packs %" PRId64 " tokens in %" PRId64 " sequences; expected 1 to 2^31 - 2 of each",
                        plan->tokens, plan->segments);
    for (int i = 0; i < plan->inputs.n; i++)
        MDL_TRY(check_input(plan, scratch, &plan->inputs.at[i]), "input \"%s\"", plan->inputs.at[i].name);
    return MDL_OK;
}

static mdl_status check_options(const mdl_loader_options *options) {
    if (options->micro_batches < 1 || options->micro_batches > MAX_MICRO_BATCHES)
        return mdl_fail(MDL_USAGE, "%d micro-batches a step; expected 1 to %d", options->micro_batches, MAX_MICRO_BATCHES);
    if (options->max_seq_length < 0)
        return mdl_fail(MDL_USAGE, "max_seq_length is %" PRId64 "; expected a positive number, or 0 for no limit",
                        options->max_seq_length);
    if (options->min_seq_length < 0)
        return mdl_fail(MDL_USAGE, "min_seq_length is %" PRId64 "; expected a positive number, or 0 for no limit",
                        options->min_seq_length);
    return MDL_OK;
}

static int64_t longest(const mdl_plan *plan, const mdl_loader_options *options) {
    int64_t length = plan->tokens;
    if (options->max_seq_length && options->max_seq_length < length) length = options->max_seq_length;
    if (plan->max_length > 0 && plan->max_length < length) length = plan->max_length;
    return length;
}

static mdl_status set_up(mdl_loader *l, const mdl_plan *plan, const mdl_loader_options *options) {
    mdl_status status = mdl_tokenizer_open(plan, l->memory, &l->tokenizer);
    if (!status) status = mdl_columns_find(plan, options->data.format.n_columns, l->memory, &l->columns);
    if (status) return status;
    bool masked = wants(plan, "masked");
    if (masked && (status = mdl_masking_make(&l->tokenizer, options->mlm_probability, options->mask_fraction,
                                             options->random_fraction, options->seed, &l->masking)))
        return status;
    l->packer = (mdl_packer){.tokenizer = &l->tokenizer,
                             .masking = masked ? &l->masking : NULL,
                             .columns = &l->columns,
                             .tokens = plan->tokens,
                             .segments = plan->segments,
                             .max_length = longest(plan, options),
                             .random_crop = options->random_crop};
    if (l->packer.max_length <= mdl_tokenizer_added(&l->tokenizer))
        return mdl_fail(MDL_USAGE,
                        "sequences of at most %" PRId64 " tokens leave no room for a residue beside the %d special tokens",
                        l->packer.max_length, mdl_tokenizer_added(&l->tokenizer));
    return MDL_OK;
}

static mdl_status open_data(mdl_loader *l, const mdl_loader_options *options) {
    mdl_dataset_options data = options->data;
    data.min_residues = options->min_seq_length - mdl_tokenizer_added(&l->tokenizer);
    mdl_status status = mdl_dataset_open(&data, l->memory, &l->data);
    if (!status) status = mdl_survey(&l->data, &l->packer, data.format.columns, &l->facts);
    l->start = (mdl_walk){.set = &l->data, .seed = options->seed, .shuffle = options->shuffle, .once = options->once};
    return status;
}

static void make_batch(mdl_loader *l, const mdl_plan *plan, mdl_packed *p, mdl_batch *batch) {
    p->ids = MDL_NEW_ARRAY(l->memory, int32_t, plan->tokens);
    p->labels = wants(plan, "masked") ? MDL_NEW_ARRAY(l->memory, int32_t, plan->tokens) : NULL;
    p->next = wants(plan, "next") ? MDL_NEW_ARRAY(l->memory, int32_t, plan->tokens) : NULL;
    p->cu_seqlens = MDL_NEW_ARRAY(l->memory, int32_t, plan->segments + 1);
    p->columns = MDL_NEW_ARRAY(l->memory, void *, l->columns.n + 1);
    batch->input = MDL_NEW_ARRAY(l->memory, const void *, plan->inputs.n + 1);
    for (int i = 0; i < plan->inputs.n; i++) batch->input[i] = array_for(p, plan->inputs.at[i].source);
    for (int c = 0; c < l->columns.n; c++) {
        int i = l->columns.at[c].input;
        batch->input[i] = p->columns[c] = mdl_alloc(l->memory, (size_t)mdl_type_bytes(&plan->inputs.at[i].type));
    }
}

static void make_slot(mdl_loader *l, const mdl_plan *plan, slot *s) {
    s->packed = MDL_NEW_ARRAY(l->memory, mdl_packed, l->micro_batches);
    s->batches = MDL_NEW_ARRAY(l->memory, mdl_batch, l->micro_batches);
    for (int b = 0; b < l->micro_batches; b++) make_batch(l, plan, &s->packed[b], &s->batches[b]);
}

/* Packs one optimizer step; touches only the slot, which the caller does not hold. */
static void pack_step(const mdl_loader *l, mdl_data_position at, slot *s) {
    mdl_walk walk = l->start;
    walk.at = s->before = at;
    mdl_status_free(s->status);
    s->status = MDL_OK;
    for (int b = 0; b < l->micro_batches && !s->status; b++) {
        s->status = mdl_pack(&l->packer, &walk, &s->packed[b]);
        s->batches[b].tokens = s->packed[b].used;
        s->batches[b].sequences = s->packed[b].sequences;
    }
    s->after = walk.at;
}

/* Waits for a change; adds the seconds to *spent. */
static void wait(mdl_loader *l, double *spent) {
    double start = mdl_seconds_now();
    pthread_cond_wait(&l->changed, &l->lock);
    *spent += mdl_seconds_now() - start;
}

static void *work(void *argument) {
    mdl_loader *l = argument;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        slot *s = &l->slots[l->fill];
        if (s->full) {
            l->full_since = mdl_seconds_now();
            wait(l, &l->spent.for_room);
            l->full_since = 0;
            continue;
        }
        uint64_t seeks = l->seeks;
        mdl_data_position at = l->at;
        pthread_mutex_unlock(&l->lock);
        double start = mdl_seconds_now();
        pack_step(l, at, s);
        double packing = mdl_seconds_now() - start;
        pthread_mutex_lock(&l->lock);
        l->spent.packing += packing;
        if (seeks != l->seeks) continue;
        s->full = true;
        l->at = s->after;
        l->fill = (l->fill + 1) % SLOTS;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static mdl_status start_thread(mdl_loader *l) {
    int error = pthread_create(&l->thread, NULL, work, l);
    l->started = !error;
    return error ? mdl_fail(MDL_SYSTEM, "cannot start the loader's thread: %s", strerror(error)) : MDL_OK;
}

static mdl_status open_loader(mdl_loader *l, const mdl_plan *plan, const mdl_loader_options *options) {
    mdl_status status = check_options(options);
    if (!status) status = check_plan(plan, l->memory);
    if (!status) status = set_up(l, plan, options);
    if (!status) status = open_data(l, options);
    if (status) return status;
    l->micro_batches = options->micro_batches;
    for (int i = 0; i < SLOTS; i++) make_slot(l, plan, &l->slots[i]);
    return start_thread(l);
}

mdl_status mdl_loader_open(const mdl_plan *plan, const mdl_loader_options *options, mdl_loader **loader) {
    mdl_arena *memory = mdl_arena_new();
    mdl_loader *l = MDL_NEW(memory, mdl_loader);
    l->memory = memory;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    mdl_status status = open_loader(l, plan, options);
    *loader = status ? NULL : l;
    if (status) mdl_loader_close(l);
    return mdl_context(status, "data");
}

void mdl_loader_close(mdl_loader *l) {
    if (!l) return;
    if (l->started) {
        pthread_mutex_lock(&l->lock);
        l->stop = true;
        pthread_cond_broadcast(&l->changed);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
    }
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    for (int i = 0; i < SLOTS; i++) mdl_status_free(l->slots[i].status);
    mdl_dataset_close(&l->data);
    mdl_arena_free(l->memory);
}

const mdl_data_facts *mdl_loader_facts(const mdl_loader *loader) { return &loader->facts; }

/* Records passed, of those that there are: after an epoch 1, whatever was left out of it. */
static double epochs(const mdl_loader *l, const mdl_data_position *at) {
    double passed = 0, all = 0;
    for (int s = 0; s < l->data.n_sources; s++) {
        double n = (double)l->data.source[s].n;
        passed += (double)at->source[s].epoch * n + (double)at->source[s].next;
        all += n;
    }
    return passed / all;
}

mdl_status mdl_loader_next(mdl_loader *l, const mdl_batch **batches, mdl_data_position *position, double *epoch) {
    pthread_mutex_lock(&l->lock);
    if (l->lent) {
        l->slots[l->take].full = l->lent = false;
        l->take = (l->take + 1) % SLOTS;
        pthread_cond_broadcast(&l->changed);
    }
    slot *s = &l->slots[l->take];
    while (!s->full) wait(l, &l->spent.for_batch);
    l->lent = true;
    pthread_mutex_unlock(&l->lock);
    *batches = s->batches;
    l->after = s->after;
    if (position) *position = s->before;
    if (epoch) *epoch = epochs(l, &s->after);
    mdl_status status = s->status;
    s->status = MDL_OK;
    return mdl_context(status, "data");
}

mdl_data_position mdl_loader_after(const mdl_loader *l) { return l->after; }

void mdl_loader_sequences(const mdl_loader *l, mdl_data_position from, int64_t n, int64_t *ids) {
    mdl_walk walk = l->start;
    mdl_found found;
    walk.at = from;
    for (; n > 0 && mdl_walk_find(&walk, &found); n--, mdl_walk_pass(&walk)) *ids++ = found.number;
}

const char *mdl_loader_place(const mdl_loader *l, int64_t id, mdl_arena *memory) {
    const mdl_corpus *corpus;
    const mdl_record *record = mdl_dataset_at(&l->data, id, &corpus);
    return mdl_printf(memory, "%s: %s %" PRId64, corpus->path, corpus->unit, record->line);
}

mdl_loader_times mdl_loader_spent(mdl_loader *l) {
    pthread_mutex_lock(&l->lock);
    mdl_loader_times spent = l->spent;
    if (l->full_since > 0) spent.for_room += mdl_seconds_now() - l->full_since;
    pthread_mutex_unlock(&l->lock);
    return spent;
}

mdl_data_position mdl_loader_next_epoch(const mdl_loader *l, const mdl_data_position *old) {
    mdl_data_position next = {.drawn = old->drawn};
    int64_t epoch = 0;
    for (int s = 0; s < MDL_MAX_SOURCES; s++)
        if (old->source[s].epoch >= epoch) epoch = old->source[s].epoch + 1;
    for (int s = 0; s < l->data.n_sources; s++) next.source[s].epoch = epoch;
    return next;
}

static mdl_status check_position(const mdl_loader *l, const mdl_data_position *at) {
    if (at->drawn < 0) return mdl_fail(MDL_BAD_INPUT, "data position: %" PRId64 " sequences", at->drawn);
    for (int s = 0; s < MDL_MAX_SOURCES; s++) {
        int64_t n = s < l->data.n_sources ? l->data.source[s].n : 0, epoch = at->source[s].epoch, next = at->source[s].next;
        if (s < l->data.n_sources ? epoch >= 0 && next >= 0 && next < n : !epoch && !next) continue;
        return mdl_fail(MDL_BAD_INPUT,
                        "data position: epoch %" PRId64 ", sequence %" PRId64 " does not fit source %d of %" PRId64 " sequences",
                        epoch, next, s, n);
    }
    return MDL_OK;
}

mdl_status mdl_loader_seek(mdl_loader *l, mdl_data_position position) {
    mdl_status status = check_position(l, &position);
    if (status) return status;
    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < SLOTS; i++) l->slots[i].full = false;
    l->fill = l->take = 0;
    l->lent = false;
    l->seeks++;
    l->at = l->after = position;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    return MDL_OK;
}
