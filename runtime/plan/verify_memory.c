/* The verifier: memory over time. What is read has been written, uses of one buffer on several streams have an order, and buffers
 * that may live at once do not overlap. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/plan/verify.h"

/* ---- what has been written of a buffer ---- */
typedef struct {
    int64_t from, to;
} span;
/* Disjoint and in order. */
typedef MDL_VEC(span) span_list;

static void add_span(mdl_arena *arena, span_list *list, span s) {
    int kept = 0;
    for (int i = 0; i < list->n; i++) {
        span t = list->at[i];
        if (t.to < s.from || t.from > s.to)
            list->at[kept++] = t;
        else
            s = (span){t.from < s.from ? t.from : s.from, t.to > s.to ? t.to : s.to};
    }
    list->n = kept;
    MDL_PUSH(arena, *list, s);
}

static bool has_span(const span_list *list, span s) {
    for (int i = 0; i < list->n; i++)
        if (list->at[i].from <= s.from && s.to <= list->at[i].to) return true;
    return false;
}

/* Of a buffer with memory of its own, as bytes from its start and as bytes of each of its rows. */
typedef struct {
    span_list bytes, columns;
    int *wrote, *read; /* by stream: the last launch that did; -1: none */
} history;

typedef struct {
    mdl_arena *scratch;
    const mdl_plan_program *program;
    mdl_plan_lives lives;
    history *of; /* by buffer */
} memory;

/* The part of its base that a buffer touches: as columns of the base's rows when it has part of each, else as bytes. A strided view
 * of another kind is neither. */
typedef enum { BYTES, COLUMNS, NEITHER } shape;
static shape shape_of(const mdl_plan_program *p, int buffer, span *part) {
    const mdl_plan_buffer *b = &p->buffers.at[buffer], *base = &p->buffers.at[mdl_plan_base(p, buffer)];
    mdl_plan_touch t = mdl_plan_touched(p, buffer), all = mdl_plan_touched(p, mdl_plan_base(p, buffer));
    int64_t from = b == base ? 0 : b->offset;
    *part = (span){from, from + t.row_bytes};
    if (!b->stride) return BYTES;
    int64_t rows = base->type.rank && base->type.dtype != MDL_SEG ? base->type.dim[0] : 1;
    int64_t pitch = base->stride ? all.pitch : mdl_type_bytes(&base->type) / rows;
    return t.rows == rows && t.pitch == pitch && part->to <= pitch ? COLUMNS : NEITHER;
}

/* Everything that the base itself touches. */
static bool is_whole(const memory *m, int base) {
    const mdl_plan_buffer *b = &m->program->buffers.at[base];
    int64_t bytes = mdl_type_bytes(&b->type), rows = b->type.rank && b->type.dtype != MDL_SEG ? b->type.dim[0] : 1;
    if (has_span(&m->of[base].columns, (span){0, bytes / rows})) return true;
    return !b->stride && has_span(&m->of[base].bytes, (span){0, bytes});
}

static void note_written(memory *m, int buffer) {
    span part;
    history *h = &m->of[mdl_plan_base(m->program, buffer)];
    shape shape = shape_of(m->program, buffer, &part);
    if (shape != NEITHER) add_span(m->scratch, shape == BYTES ? &h->bytes : &h->columns, part);
}

static bool is_written(const memory *m, int buffer) {
    span part;
    int base = mdl_plan_base(m->program, buffer);
    shape shape = shape_of(m->program, buffer, &part);
    if (shape == BYTES && buffer != base && has_span(&m->of[base].bytes, part)) return true;
    if (shape == COLUMNS && has_span(&m->of[base].columns, part)) return true;
    return is_whole(m, base);
}

/* ---- order ---- */
/* Do the launches that `latest` names come before launch i? Those of its own stream do. */
static bool all_before(const memory *m, const int *latest, int i) {
    const int *before = &m->lives.before[i * m->lives.streams];
    for (int s = 0; s < m->lives.streams; s++)
        if (s != m->program->launches.at[i].stream && latest[s] > before[s]) return false;
    return true;
}

static mdl_status check_use(memory *m, int i, mdl_plan_use use) {
    int base = mdl_plan_base(m->program, use.buffer);
    const history *h = &m->of[base];
    const mdl_plan_launch *launch = &m->program->launches.at[i];
    const char *name = m->program->buffers.at[use.buffer].name;
    if (!all_before(m, h->wrote, i) || ((use.access & MDL_ACCESS_WRITE) && !all_before(m, h->read, i)))
        return mdl_fail(MDL_BAD_INPUT, "launch %d (%s) uses buffer %s without waiting for another stream's launch that does", i,
                        launch->label, name);
    if (m->program->buffers.at[base].arena == MDL_ARENA_ACTIVATION && (use.access & MDL_ACCESS_READ) && !is_written(m, use.buffer))
        return mdl_fail(MDL_BAD_INPUT, "launch %d (%s) reads buffer %s before anything has written it", i, launch->label, name);
    return MDL_OK;
}

static void note_use(memory *m, int i, mdl_plan_use use) {
    history *h = &m->of[mdl_plan_base(m->program, use.buffer)];
    int stream = m->program->launches.at[i].stream;
    if (use.access & MDL_ACCESS_READ) h->read[stream] = i;
    if (use.access & MDL_ACCESS_WRITE) h->wrote[stream] = i, note_written(m, use.buffer);
}

static mdl_status check_uses(memory *m) {
    mdl_plan_use use;
    int streams = m->lives.streams, n = m->program->buffers.n;
    int *latest = MDL_NEW_ARRAY(m->scratch, int, 2 * n * streams + 1);
    m->of = MDL_NEW_ARRAY(m->scratch, history, n + 1);
    for (int i = 0; i < 2 * n * streams; i++) latest[i] = -1;
    for (int i = 0; i < n; i++) m->of[i].wrote = &latest[2 * i * streams], m->of[i].read = &latest[(2 * i + 1) * streams];
    for (int i = 0; i < m->program->launches.n; i++) {
        const mdl_plan_launch *launch = &m->program->launches.at[i];
        for (int k = 0; k <= launch->args.n; k++)
            if (mdl_plan_use_at(launch, k, &use)) MDL_TRY(check_use(m, i, use), "memory");
        for (int k = 0; k <= launch->args.n; k++)
            if (mdl_plan_use_at(launch, k, &use)) note_use(m, i, use);
    }
    return MDL_OK;
}

/* ---- overlaps: a sweep over memory. Buffers that share a byte must die one before the other; "dies before" has the order of first
 * uses, and what holds between neighbours holds between all. ---- */
typedef struct {
    int buffer, first;
    int64_t offset, end;
} block;

static int by_offset(const void *a, const void *b) {
    const block *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->first - y->first;
}

static mdl_status check_pair(const memory *m, const block *earlier, const block *later) {
    if (mdl_plan_dies_before(&m->lives, earlier->buffer, later->buffer)) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "buffers %s and %s overlap in memory while both %s at launch %d (%s)",
                    m->program->buffers.at[earlier->buffer].name, m->program->buffers.at[later->buffer].name,
                    m->lives.streams > 1 ? "may be alive" : "are alive", later->first, m->program->launches.at[later->first].label);
}

/* Puts b among the blocks that reach its first byte, which are in order of their first uses. */
static mdl_status insert(const memory *m, block *reaching, int *n, const block *b) {
    int kept = 0, at = 0;
    for (int i = 0; i < *n; i++)
        if (reaching[i].end > b->offset) reaching[kept++] = reaching[i];
    while (at < kept && reaching[at].first <= b->first) at++;
    if (at > 0) MDL_TRY(check_pair(m, &reaching[at - 1], b), "memory");
    if (at < kept) MDL_TRY(check_pair(m, b, &reaching[at]), "memory");
    memmove(reaching + at + 1, reaching + at, sizeof *reaching * (size_t)(kept - at));
    reaching[at] = *b;
    *n = kept + 1;
    return MDL_OK;
}

static mdl_status check_overlaps(const memory *m) {
    const mdl_plan_program *p = m->program;
    block *blocks = MDL_NEW_ARRAY(m->scratch, block, p->buffers.n + 1);
    block *reaching = MDL_NEW_ARRAY(m->scratch, block, p->buffers.n + 1);
    int n = 0, reach = 0;
    mdl_status status = MDL_OK;
    for (int i = 0; i < p->buffers.n; i++) {
        const mdl_plan_buffer *b = &p->buffers.at[i];
        int first = mdl_plan_first_use(&m->lives, i);
        if (first >= 0) blocks[n++] = (block){i, first, b->offset, b->offset + b->bytes};
    }
    qsort(blocks, (size_t)n, sizeof *blocks, by_offset);
    for (int i = 0; i < n && !status; i++) status = insert(m, reaching, &reach, &blocks[i]);
    return status;
}

mdl_status mdl_check_memory(const mdl_plan_program *program) {
    memory m = {.scratch = mdl_arena_new(), .program = program};
    m.lives = mdl_plan_lifetimes(m.scratch, program);
    mdl_status status = check_uses(&m);
    if (!status && m.lives.activation_bytes != program->activation_bytes)
        status = mdl_fail(MDL_BAD_INPUT, "activation_bytes is %" PRId64 ", its buffers reach %" PRId64, program->activation_bytes,
                          m.lives.activation_bytes);
    if (!status && m.lives.live_bytes != program->live_bytes)
        status = mdl_fail(MDL_BAD_INPUT, "live_bytes is %" PRId64 ", its launches give %" PRId64, program->live_bytes,
                          m.lives.live_bytes);
    if (!status) status = check_overlaps(&m);
    mdl_arena_free(m.scratch);
    return status;
}
