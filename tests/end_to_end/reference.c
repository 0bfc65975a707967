/* mdlrun check on references that the f64 interpreter makes: of tests/end_to_end/cancels.mdl, whole, in part, and spoilt; of
 * models that the middle end found hard (tests/compiler/models), with three steps of AdamW. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compiler/ir/interp.h"
#include "compiler/ir/state.h"
#include "compiler/pass/pass.h"
#include "tests/compiler/draw.h"
#include "tests/end_to_end/run.h"

enum { T = 64, S = 4, LABELLED = 20, LARGEST = 1 << 15, MAX_PARAMS = 8 };

typedef struct {
    mdl_e2e e;
    const char *plan;
    mdl_module *module;
    mdl_region *program; /* training, up to the gradients */
    mdl_arrays inputs, states;
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
static void draw_batch(bench *b) {
    static const double offsets[S + 1] = {0, 20, 21, 60, 60};
    double ids[T], labels[T];
    for (int i = 0; i < T; i++) {
        ids[i] = i * 7 % 24;
        labels[i] = i % 3 || i >= 60 ? -100 : i * 5 % 24;
    }
    const double *const values[] = {ids, labels, offsets};
    static const char *const names[] = {"ids", "labels", "cu_seqlens"};
    for (int i = 0; i < 3; i++) {
        const mdl_input_decl *in = &b->module->inputs.at[i];
        mdl_arrays_set(b->e.memory, &b->inputs, in->name, in->type, values[i]);
        add(b, names[i], MDL_I32, &in->type, values[i]);
    }
}

/* Weights rounded to f32, so that both sides have the same: biases too are not 0. */
static void draw_weights(bench *b) {
    static double values[LARGEST];
    unsigned state = 1;
    for (int i = 0; i < b->module->params.n; i++) {
        const mdl_param *p = &b->module->params.at[i];
        bool gain = strstr(p->name, "norm.weight") != NULL;
        for (int64_t k = 0; k < mdl_type_count(&p->type); k++) {
            state = state * 1103515245u + 12345u;
            values[k] = (double)(float)((gain ? 1 : 0) + ((double)(state >> 16 & 0x7fff) / 16384 - 1) * 0.4);
        }
        mdl_arrays_set(b->e.memory, &b->states, p->name, p->type, values);
        mdl_arrays_set(b->e.memory, &b->states, mdl_state_text(b->e.memory, MDL_STATE_GRAD, p->name), p->type, NULL);
        add(b, mdl_printf(b->e.memory, "weight.%s", p->name), MDL_F32, &p->type, values);
    }
}

static void make_program(bench *b) {
    static const mdl_program_spec spec = {.name = "train",
                                          .source = MDL_FROM_FORWARD,
                                          .counts = MDL_TALLY_BATCH,
                                          .sums = MDL_TALLY_BATCH,
                                          .results = true,
                                          .grad = MDL_GRAD_WRITE};
    mdl_pass_context c = {.arena = b->e.memory, .target = mdl_targets[0], .module = b->module, .program = &spec};
    b->module->forward = mdl_pass_decompose(&c, b->module->forward);
    c.layout = mdl_layout_params(b->e.memory, b->module);
    b->program = mdl_pass_autodiff(&c, mdl_make_program(&c));
}

/* Interprets the program: gradients go to their states. Returns the loss. */
static double gradients(bench *b) {
    mdl_arrays results = {0};
    mdl_interpret(b->e.memory, b->program, &b->inputs, &b->states, &results);
    const mdl_named_array *sum = mdl_arrays_find(&results, "sum.mlm");
    return sum ? *sum->at / LABELLED : (double)NAN;
}

static const mdl_named_array *gradient(bench *b, const char *name) {
    return mdl_arrays_find(&b->states, mdl_state_text(b->e.memory, MDL_STATE_GRAD, name));
}

static void add_numbers(bench *b, const char *name, int64_t n, const double *values) {
    mdl_type type = mdl_type_make(MDL_F32, 1, &n);
    add(b, name, MDL_F32, &type, values);
}

static void add_gradients(bench *b) {
    double loss = gradients(b);
    add_numbers(b, "loss", 1, &loss);
    for (int i = 0; i < b->module->params.n; i++) {
        const mdl_param *p = &b->module->params.at[i];
        add(b, mdl_printf(b->e.memory, "grad.%s", p->name), MDL_F32, &p->type, gradient(b, p->name)->at);
    }
}

static double global_norm(bench *b) {
    double sum = 0;
    for (int i = 0; i < b->module->params.n; i++) {
        const mdl_named_array *g = gradient(b, b->module->params.at[i].name);
        for (int64_t k = 0; k < mdl_type_count(&g->type); k++) sum += g->at[k] * g->at[k];
    }
    return sqrt(sum);
}

/* Step `step` of AdamW with check's defaults: lr 1e-3, betas 0.9 and 0.98, eps 1e-8, decay 0.01, clip 1. */
static void adamw(bench *b, const mdl_param *p, int step, double norm, double *m, double *v) {
    double *w = mdl_arrays_find(&b->states, p->name)->at, clip = fmin(1, 1 / (norm + 1e-6)), lr = 1e-3;
    const double *g = gradient(b, p->name)->at;
    for (int64_t k = 0; k < mdl_type_count(&p->type); k++) {
        m[k] = 0.9 * m[k] + (1 - 0.9) * g[k] * clip;
        v[k] = 0.98 * v[k] + (1 - 0.98) * pow(g[k] * clip, 2);
        w[k] -= lr * (p->decay ? 0.01 : 0) * w[k];
        w[k] -= lr * m[k] / (1 - pow(0.9, step)) / (sqrt(v[k] / (1 - pow(0.98, step))) + 1e-8);
    }
}

static void add_steps(bench *b) {
    static double m[MAX_PARAMS][LARGEST], v[MAX_PARAMS][LARGEST];
    double losses[4], norms[3];
    const mdl_param *params = b->module->params.at;
    MDL_ASSERT(b->module->params.n <= MAX_PARAMS);
    memset(m, 0, sizeof m), memset(v, 0, sizeof v);
    for (int t = 0; t < 3; t++) {
        losses[t] = gradients(b);
        norms[t] = global_norm(b);
        for (int i = 0; i < b->module->params.n; i++) adamw(b, &params[i], t + 1, norms[t], m[i], v[i]);
    }
    losses[3] = gradients(b);
    add_numbers(b, "adamw.losses", 4, losses);
    add_numbers(b, "adamw.grad_norms", 3, norms);
    for (int i = 0; i < b->module->params.n; i++)
        add(b, mdl_printf(b->e.memory, "after3.%s", params[i].name), MDL_F32, &params[i].type,
            mdl_arrays_find(&b->states, params[i].name)->at);
}

/* The reference of tests/MODEL.mdl, and its plan. */
static bool make(bench *b, const char *model) {
    mdl_arrays results = {0};
    const char *path = mdl_printf(b->e.memory, "tests/%s.mdl", model);
    b->module = mdl_test_model(b->e.t, b->e.memory, path, "", T, S);
    b->plan = mdl_printf(b->e.memory, "%s.plan", strrchr(path, '/') + 1);
    if (!b->module) return false;
    draw_batch(b);
    draw_weights(b);
    mdl_interpret(b->e.memory, b->module->forward, &b->inputs, &b->states, &results);
    const mdl_named_array *logits = mdl_arrays_find(&results, "logits");
    add(b, "logits", MDL_F32, &logits->type, logits->at);
    make_program(b);
    add_gradients(b);
    mdl_e2e_run(&b->e, 0, "mdlc '%s/%s' --library models --tokens %d --seqs %d -o %s", mdl_test_source(b->e.t), path, T + 13, S + 2,
                b->plan);
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
    return mdl_e2e_run(&b->e, status, "mdlrun check %s some.safetensors --verbose", b->plan);
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

/* A tensor of the reference, moved by `by` of the root mean square of a parameter's gradient. */
static void move(bench *b, const char *name, const char *of, double by) {
    const mdl_tensor *scale = find(b, mdl_printf(b->e.memory, "grad.%s", of)), *moved = find(b, name);
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
    move(b, "grad.layer.1.attn.key.bias", "layer.0.attn.key.weight", 1e-3);
    expect(b, check(b, 1, whole), "FAIL  layer.1.attn.key.bias");
    move(b, "grad.layer.1.attn.key.bias", "layer.0.attn.key.weight", -1e-3);
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
    static const int32_t wrong[] = {24, 2000000000, -1, INT32_MIN}; /* 24: other matrices have 32 rows, the table of tokens 24 */
    for (int i = 0; i < 4; i++) {
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

static void too_long(bench *b) {
    int32_t *offsets = (int32_t *)(uintptr_t)find(b, "cu_seqlens")->bytes, before = offsets[2];
    offsets[2] = 60; /* 20, 40, 0 and 0 tokens, the model's positions end at 39 */
    expect(b, check(b, 3, whole), "some.safetensors: cu_seqlens: sequence 1 has 40 tokens, the plan takes at most 39");
    offsets[2] = before;
}

static void steps(bench *b) {
    add_steps(b);
    const char *said = check(b, 0, (const char *const[]){BATCH, "logits", "loss", "grad.", "adamw.", "after3.", NULL});
    expect(b, said, "AdamW gradient norms            3 ");
    expect(b, said, mdl_printf(b->e.memory, "after 3 steps, each %13d ", b->module->params.n));
}

/* Gradients of rows are put together, with zeros where nothing flows; every step goes through them. */
static void rows(bench *b) {
    steps(b);
    const double *scales = gradient(b, "scales")->at;
    CHECK(b->e.t, scales[0] != 0 && scales[1] == 0 && scales[2] != 0, "gradients of the scales: %g, %g, %g", scales[0], scales[1],
          scales[2]);
    move(b, "after3.fused", "fused", 10);
    expect(b, check(b, 1, (const char *const[]){BATCH, "after3.", NULL}), "FAIL  fused");
}

void suite_reference(mdl_test *t) {
    bench b = {.e = mdl_e2e_begin(t, "reference")};
    mdl_case(t, "reference: the interpreter makes one");
    if (make(&b, "end_to_end/cancels")) {
        if (mdl_case(t, "reference: what is there is compared")) parts(&b);
        if (mdl_case(t, "reference: a gradient that is 0 but for rounding")) cancels(&b);
        if (mdl_case(t, "reference: ids and labels beyond the model's tables")) out_of_range(&b);
        if (mdl_case(t, "reference: a sequence beyond the model's positions")) too_long(&b);
    }
    bench r = {.e = b.e};
    if (mdl_case(t, "reference: rows of parameters, three steps") && make(&r, "compiler/models/rows")) rows(&r);
    static const char *const models[] = {"views", "doubled"};
    for (int i = 0; i < 2; i++) {
        bench m = {.e = b.e};
        if (mdl_case(t, "reference: %s, three steps", models[i]) &&
            make(&m, mdl_printf(b.e.memory, "compiler/models/%s", models[i])))
            steps(&m);
    }
    mdl_e2e_end(&b.e);
}
