/* The reference's batch in the plan's shapes; everything the kernels rely on is checked here. */
#include <stdlib.h>
#include <string.h>

#include "runtime/command/check_reference.h"

/* Rows of the vocabulary: one a line. 0: the plan has none. */
static int64_t vocabulary(const mdl_plan *plan) {
    const mdl_plan_file *file = plan->vocab ? mdl_plan_find_file(plan, plan->vocab) : NULL;
    int64_t lines = 0;
    for (int64_t i = 0; file && i < file->size; i++) lines += file->bytes[i] == '\n' || i == file->size - 1;
    return lines;
}

static int32_t pad_token(const mdl_plan *plan) {
    for (int i = 0; i < plan->specials.n; i++)
        if (!strcmp(plan->specials.at[i].name, "pad")) return (int32_t)plan->specials.at[i].value;
    return 0;
}

/* Row i of an i32 tensor of rows of n. */
static const int32_t *row_of(mdl_reference *r, const char *name, int64_t i, int64_t n) {
    int32_t *row = mdl_alloc(r->memory, sizeof *row * (size_t)n);
    const char *bytes = mdl_safetensors_find(r->file, name)->bytes;
    memcpy(row, bytes + sizeof *row * (size_t)(i * n), sizeof *row * (size_t)n);
    return row;
}

static bool holds_ids(const mdl_plan_input *input) {
    return !strcmp(input->source, "tokens") || !strcmp(input->source, "masked") || !strcmp(input->source, "next");
}

/* Ids are below this: tokens of the vocabulary, and rows of every table that they index. */
static int64_t id_limit(const mdl_plan *plan) {
    int64_t limit = plan->vocab ? vocabulary(plan) : INT32_MAX;
    for (int i = 0; i < plan->inputs.n; i++) {
        const mdl_plan_input *input = &plan->inputs.at[i];
        if (holds_ids(input) && input->below && input->below < limit) limit = input->below;
    }
    return limit;
}

/* `ignored`: the one other value allowed. */
static mdl_status check_ids(const mdl_reference *r, const mdl_plan *plan, const char *name, const int32_t *ids, int32_t ignored) {
    int64_t limit = id_limit(plan);
    for (int64_t t = 0; t < r->tokens; t++)
        if (ids[t] != ignored && (ids[t] < 0 || ids[t] >= limit))
            return mdl_fail(MDL_BAD_INPUT, "%s: %s: token %lld is %d, the plan's ids are from 0 to %lld", r->path, name,
                            (long long)t, (int)ids[t], (long long)limit - 1);
    return MDL_OK;
}

/* Sequences used: offsets without the repeats at the end. None is longer than the tables of positions that kernels read. */
static mdl_status check_offsets(const mdl_reference *r, const mdl_plan *plan, const int32_t *offset, int64_t *used) {
    bool good = offset[0] == 0 && offset[r->offsets - 1] <= r->tokens;
    for (int64_t i = 1; i < r->offsets; i++) good = good && offset[i] >= offset[i - 1];
    if (!good) return mdl_fail(MDL_BAD_INPUT, "%s: cu_seqlens must rise from 0 to at most %lld", r->path, (long long)r->tokens);
    for (int64_t i = 1; i < r->offsets && plan->max_length; i++)
        if (offset[i] - offset[i - 1] > plan->max_length)
            return mdl_fail(MDL_BAD_INPUT, "%s: cu_seqlens: sequence %lld has %d tokens, the plan takes at most %lld", r->path,
                            (long long)i - 1, (int)(offset[i] - offset[i - 1]), (long long)plan->max_length);
    for (*used = r->offsets - 1; *used > 1 && offset[*used] == offset[*used - 1];) --*used;
    if (*used <= plan->segments) return MDL_OK;
    return mdl_fail(MDL_BAD_INPUT, "%s has %lld sequences in a batch, the plan has room for %lld: compile it with mdlc --seqs %lld",
                    r->path, (long long)*used, (long long)plan->segments, (long long)*used);
}

static void fill(int32_t *to, int64_t room, const int32_t *from, int64_t n, int32_t rest) {
    for (int64_t i = 0; i < room; i++) to[i] = i < n ? from[i] : rest;
}

mdl_status mdl_reference_fill_batch(mdl_reference *r, const mdl_plan *plan, int64_t i, mdl_batch *batch) {
    const int32_t *ids = row_of(r, "ids", i, r->tokens), *labels = row_of(r, "labels", i, r->tokens);
    const int32_t *offsets = row_of(r, "cu_seqlens", i, r->offsets);
    int64_t used = 0;
    mdl_status status = check_ids(r, plan, "ids", ids, 0);
    if (!status) status = check_ids(r, plan, "labels", labels, -100);
    if (!status) status = check_offsets(r, plan, offsets, &used);
    for (int k = 0; k < plan->inputs.n && !status; k++) {
        const mdl_plan_input *input = &plan->inputs.at[k];
        int32_t *to = (int32_t *)batch->input[k];
        if (!to) continue;
        int64_t room = mdl_type_count(&input->type);
        if (!strcmp(input->source, "tokens"))
            fill(to, room, ids, r->tokens, pad_token(plan));
        else if (!strcmp(input->source, "segments"))
            fill(to, room, offsets, used + 1, offsets[used]);
        else
            fill(to, room, labels, r->tokens, -100);
    }
    batch->tokens = offsets[used];
    batch->sequences = used;
    return status;
}

static mdl_status make_input(mdl_reference *r, const mdl_plan *plan, const mdl_plan_input *input, const void **bytes) {
    const char *source = input->source;
    if (!strcmp(source, "scalar") || !strcmp(source, "seed")) return MDL_OK;
    bool rows = holds_ids(input), segments = !strcmp(source, "segments");
    if (!rows && !segments)
        return mdl_fail(MDL_BAD_INPUT, "%s: the plan's input '%s' (%s) is not in a reference file", r->path, input->name, source);
    int64_t expected = rows ? plan->tokens : plan->segments + 1;
    if ((rows && input->type.dtype != MDL_I32) || mdl_type_count(&input->type) != expected)
        return mdl_fail(MDL_BAD_INPUT, "the plan's input '%s' is not of the plan's batch shape", input->name);
    *bytes = mdl_alloc(r->memory, (size_t)mdl_type_bytes(&input->type));
    return MDL_OK;
}

mdl_status mdl_reference_make_batch(mdl_reference *r, const mdl_plan *plan, mdl_batch *batch) {
    if (r->tokens > plan->tokens)
        return mdl_fail(MDL_BAD_INPUT,
                        "%s has %lld tokens in a batch, the plan has room for %lld: compile it with mdlc --tokens %lld", r->path,
                        (long long)r->tokens, (long long)plan->tokens, (long long)r->tokens);
    *batch = (mdl_batch){.input = MDL_NEW_ARRAY(r->memory, const void *, plan->inputs.n + 1)};
    mdl_status status = MDL_OK;
    for (int i = 0; i < plan->inputs.n && !status; i++) status = make_input(r, plan, &plan->inputs.at[i], &batch->input[i]);
    return status;
}
