/* mdlrun check on references that the f64 interpreter makes of tests/end_to_end/cancels.mdl: whole, in part, and spoilt. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compiler/ir/state.h"
#include "compiler/ir/interp.h"
#include "compiler/pass/pass.h"
#include "tests/compiler/draw.h"
#include "tests/end_to_end/run.h"

enum { T = 64, S = 4, LABELLED = 20, LARGEST = 1 << 14 };

typedef struct {
    mdl_e2e e;
    MDL_VEC(mdl_tensor) tensors;
} bench;

static void add(bench *b, const char *name, mdl_dtype dtype, const mdl_type *type, const double *values) {
    int64_t n = mdl_type_count(type);
    mdl_tensor tensor = {name, *type, NULL};
    float *floats = MDL_NEW_ARRAY(b->e.memory, float, n);
    int32_t *ints = MDL_NEW_ARRAY(b->e.memory, int32_t, n);
    for (int64_t i = 0; i < n; i++) {
        floats[i] = (float)values[i];
        if (dtype == MDL_I32) ints[i] = (int32_t)values[i];
    }
    tensor.type.dtype = dtype;
    if (type->dtype == MDL_SEG) tensor.type = mdl_type_make(MDL_I32, 1, &n);
    tensor.bytes = dtype == MDL_I32 ? (const void *)ints : floats;
    MDL_PUSH(b->e.memory, b->tensors, tensor);
}

/* Three segments and a tail; every third token of the segments is labelled. */
static void draw_batch(bench *b, const mdl_module *m, mdl_arrays *inputs) {
    static const double offsets[S + 1] = {0, 20, 21, 60, 60};
    double ids[T], labels[T];
    for (int i = 0; i < T; i++) {
        ids[i] = i * 7 % 24;
        labels[i] = i % 3 || i >= 60 ? -100 : i * 5 % 24;
    }
    const double *const values[] = {ids, labels, offsets};
    static const char *const names[] = {"ids", "labels", "cu_seqlens"};
    for (int i = 0; i < 3; i++) {
        mdl_arrays_set(b->e.memory, inputs, m->inputs.at[i].name, m->inputs.at[i].type, values[i]);
        add(b, names[i], MDL_I32, &m->inputs.at[i].type, values[i]);
    }
}

/* Weights rounded to f32, so that both sides have the same: biases too are not 0. */
static void draw_weights(bench *b, const mdl_module *m, mdl_arrays *states) {
    static double values[LARGEST];
    unsigned state = 1;
    for (int i = 0; i < m->params.n; i++) {
        const mdl_param *p = &m->params.at[i];
        bool gain = strstr(p->name, "norm.weight") != NULL;
        for (int64_t k = 0; k < mdl_type_count(&p->type); k++) {
            state = state * 1103515245u + 12345u;
            values[k] = (double)(float)((gain ? 1 : 0) + ((double)(state >> 16 & 0x7fff) / 16384 - 1) * 0.4);
        }
        mdl_arrays_set(b->e.memory, states, p->name, p->type, values);
        mdl_arrays_set(b->e.memory, states, mdl_state_text(b->e.memory, MDL_STATE_GRAD, p->name), p->type, NULL);
        add(b, mdl_printf(b->e.memory, "weight.%s", p->name), MDL_F32, &p->type, values);
    }
}

static double number(mdl_arrays *results, const char *name) {
    const mdl_named_array *a = mdl_arrays_find(results, name);
    return a ? *a->at : (double)NAN;
}

/* The training program up to the gradients, interpreted. */
static void add_gradients(bench *b, mdl_module *m, mdl_arrays *inputs, mdl_arrays *states) {
    mdl_arena *memory = b->e.memory;
    mdl_program_spec spec = {.name = "train",
                             .source = MDL_FROM_FORWARD,
                             .counts = MDL_TALLY_BATCH,
                             .sums = MDL_TALLY_BATCH,
                             .results = true,
                             .grad = MDL_GRAD_WRITE};
    mdl_pass_context c = {.arena = memory, .target = mdl_targets[0], .module = m, .program = &spec};
    mdl_arrays results = {0};
    m->forward = mdl_pass_decompose(&c, m->forward);
    c.layout = mdl_layout_params(memory, m);
    mdl_region *program = mdl_pass_autodiff(&c, mdl_make_program(&c));
    mdl_interpret(memory, program, inputs, states, &results);
    double loss = number(&results, "sum.mlm") / LABELLED;
    int64_t one = 1;
    mdl_type type = mdl_type_make(MDL_F32, 1, &one);
    add(b, "loss", MDL_F32, &type, &loss);
    for (int i = 0; i < m->params.n; i++) {
        const char *name = mdl_state_text(memory, MDL_STATE_GRAD, m->params.at[i].name);
        const mdl_named_array *g = mdl_arrays_find(states, name);
        add(b, mdl_printf(memory, "grad.%s", m->params.at[i].name), MDL_F32, &g->type, g->at);
    }
}

static bool make(bench *b) {
    mdl_module *m = mdl_test_model(b->e.t, b->e.memory, "tests/end_to_end/cancels.mdl", "", T, S);
    mdl_arrays inputs = {0}, states = {0}, results = {0};
    if (!m) return false;
    draw_batch(b, m, &inputs);
    draw_weights(b, m, &states);
    mdl_interpret(b->e.memory, m->forward, &inputs, &states, &results);
    const mdl_named_array *logits = mdl_arrays_find(&results, "logits");
    add(b, "logits", MDL_F32, &logits->type, logits->at);
    add_gradients(b, m, &inputs, &states);
    mdl_e2e_run(&b->e, 0, "mdlc '%s/tests/end_to_end/cancels.mdl' --tokens %d --seqs %d -o cancels.plan", mdl_test_source(b->e.t),
                T + 13, S + 2);
    return true;
}

static mdl_tensor *find(bench *b, const char *name) {
    for (int i = 0; i < b->tensors.n; i++)
        if (!strcmp(b->tensors.at[i].name, name)) return &b->tensors.at[i];
    CHECK(b->e.t, false, "there is no %s", name);
    return &b->tensors.at[0];
}

/* Checks the plan against the tensors whose names begin as one of `parts` does. */
static const char *check(bench *b, int status, const char *const *parts) {
    mdl_tensor some[256];
    int n = 0;
    for (int i = 0; i < b->tensors.n; i++)
        for (int k = 0; parts[k]; k++)
            if (!strncmp(b->tensors.at[i].name, parts[k], strlen(parts[k]))) some[n++] = b->tensors.at[i];
    mdl_status written = mdl_safetensors_write(mdl_printf(b->e.memory, "%s/some.safetensors", b->e.folder), n, some);
    CHECK(b->e.t, !written, "%s", mdl_message(written));
    mdl_status_free(written);
    return mdl_e2e_run(&b->e, status, "mdlrun check cancels.plan some.safetensors --verbose");
}

static void expect(bench *b, const char *said, const char *text) {
    CHECK(b->e.t, strstr(said, text), "expected '%s' in\n%s", text, said);
}

#define BATCH "ids", "labels", "cu_seqlens", "weight."
static const char *const whole[] = {BATCH, "logits", "loss", "grad.", NULL}, *const without_loss[] = {BATCH, "logits", NULL},
                         *const only_gradients[] = {BATCH, "grad.", NULL}, *const nothing[] = {BATCH, NULL},
                         *const with_after3[] = {BATCH, "logits", "grad.", "after3.", NULL};

static void parts(bench *b) {
    const char *said = check(b, 0, whole);
    expect(b, said, "skipped: adamw.losses: not in the reference");
    expect(b, said, "skipped: after3.*: not in the reference");
    said = check(b, 0, without_loss);
    expect(b, said, "skipped: loss: not in the reference");
    expect(b, said, "skipped: grad.*: not in the reference");
    expect(b, said, "skipped: optimizer alone: the reference has no gradients");
    expect(b, check(b, 0, only_gradients), "skipped: logits: not in the reference");
    expect(b, check(b, 1, nothing), "no numbers were compared");
}

/* The reference's gradient of a parameter, moved by `by` of the root mean square of the key weight's. */
static void move(bench *b, const char *name, double by) {
    const mdl_tensor *scale = find(b, "grad.layer.0.attn.key.weight"), *moved = find(b, name);
    double square = 0, n = (double)mdl_type_count(&scale->type);
    for (int64_t i = 0; i < (int64_t)n; i++) square += pow(((const float *)scale->bytes)[i], 2) / n;
    for (int64_t i = 0; i < mdl_type_count(&moved->type); i++) ((float *)(uintptr_t)moved->bytes)[i] += (float)(by * sqrt(square));
}

static void copy_as(bench *b, const char *from, const char *name) {
    mdl_tensor tensor = *find(b, from);
    tensor.name = name;
    MDL_PUSH(b->e.memory, b->tensors, tensor);
}

static void cancels(bench *b) {
    const mdl_tensor *bias = find(b, "grad.layer.1.attn.key.bias");
    double largest = 0;
    for (int i = 0; i < 32; i++) largest = fmax(largest, fabs((double)((const float *)bias->bytes)[i]));
    CHECK(b->e.t, largest < 1e-12, "the gradient of the key bias is %g", largest);
    check(b, 0, whole);
    move(b, "grad.layer.1.attn.key.bias", 1e-3);
    expect(b, check(b, 1, whole), "FAIL  layer.1.attn.key.bias");
    move(b, "grad.layer.1.attn.key.bias", -1e-3);
    copy_as(b, "weight.layer.1.attn.key.bias", "after3.layer.1.attn.key.bias"); /* any values: nothing can follow rounding */
    expect(b, check(b, 0, with_after3), "skipped: after3.layer.1.attn.key.bias: its gradient is rounding");
    copy_as(b, "weight.layer.1.attn.query.bias", "after3.layer.1.attn.query.bias");
    expect(b, check(b, 1, with_after3), "FAIL  layer.1.attn.query.bias");
    mdl_tensor *query = find(b, "grad.layer.1.attn.query.bias"), right = *query;
    query->bytes = mdl_alloc(b->e.memory, (size_t)mdl_type_bytes(&query->type));
    expect(b, check(b, 1, whole), "FAIL  layer.1.attn.query.bias"); /* not 0 at all */
    *query = right;
}

static void out_of_range(bench *b) {
    int32_t *ids = (int32_t *)(uintptr_t)find(b, "ids")->bytes, before = ids[17];
    static const int32_t wrong[] = {2000000000, -1, INT32_MIN};
    for (int i = 0; i < 3; i++) {
        ids[17] = wrong[i];
        expect(b, check(b, 3, whole), mdl_printf(b->e.memory, "some.safetensors: ids: token 17 is %d", (int)wrong[i]));
    }
    ids[17] = before;
    int32_t *labels = (int32_t *)(uintptr_t)find(b, "labels")->bytes;
    before = labels[3];
    labels[3] = 2000000000;
    expect(b, check(b, 3, whole), "some.safetensors: labels: token 3 is 2000000000");
    labels[3] = before;
}

void suite_reference(mdl_test *t) {
    bench b = {.e = mdl_e2e_begin(t, "reference")};
    mdl_case(t, "reference: the interpreter makes one");
    if (make(&b)) {
        if (mdl_case(t, "reference: what is there is compared")) parts(&b);
        if (mdl_case(t, "reference: a gradient that is 0 but for rounding")) cancels(&b);
        if (mdl_case(t, "reference: ids and labels beyond the model's tables")) out_of_range(&b);
    }
    mdl_e2e_end(&b.e);
}
