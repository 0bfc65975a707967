/* Elaboration: the models' parameters are those of the reference files, their graphs compute the reference's logits, sizes and
 * overrides arrive, and every construct becomes the IR that it should. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/front/front.h"
#include "compiler/ir/interp.h"
#include "compiler/ir/state.h"
#include "runtime/base/compare.h"
#include "runtime/base/safetensors.h"
#include "tests/check.h"

typedef struct {
    mdl_test *t;
    mdl_arena *arena;
    const char *root;
    mdl_diagnostics *d;
} suite;

/* Elaborates models/NAME.mdl with sets separated by blanks. */
static mdl_module *elaborate_at(suite *s, const char *name, const char *sets, int64_t tokens, int64_t segments) {
    const char *list[16];
    char *text = mdl_strdup(s->arena, sets), *save = NULL;
    mdl_front_options options = {.path = mdl_printf(s->arena, "%s/models/%s.mdl", s->root, name),
                                 .library = mdl_printf(s->arena, "%s/models", s->root),
                                 .sets = list,
                                 .tokens = tokens,
                                 .segments = segments};
    for (char *set = strtok_r(text, " ", &save); set && options.n_sets < 16; set = strtok_r(NULL, " ", &save))
        list[options.n_sets++] = set;
    s->d = mdl_diagnostics_new(s->arena);
    mdl_module *module = mdl_front(s->arena, &options, s->d);
    CHECK(s->t, module, "%s %s:\n%s", name, sets, mdl_diagnostics_text(s->d));
    return module;
}
static mdl_module *elaborate(suite *s, const char *name, const char *sets) { return elaborate_at(s, name, sets, 0, 0); }

static const mdl_param *find_param(const mdl_module *m, const char *name) {
    for (int i = 0; i < m->params.n; i++)
        if (!strcmp(m->params.at[i].name, name)) return &m->params.at[i];
    return NULL;
}

static const mdl_tie *find_tie(const mdl_module *m, const char *name) {
    for (int i = 0; i < m->ties.n; i++)
        if (!strcmp(m->ties.at[i].name, name)) return &m->ties.at[i];
    return NULL;
}

/* ---- against the reference files ---- */
static const struct {
    const char *file, *model, *sets;
} references[] = {
    {"esm2_tiny_hd16", "esm2", "L=2 D=64 H=4"},
    {"esm2_tiny_hd24", "esm2", "L=2 D=96 H=4"},
    {"esm2_trajectory", "esm2", "L=2 D=64 H=4"},
    {"amplify_tiny", "amplify", "L=2 D=64 H=2 M=256"},
    {"decoder_tiny", "decoder", "L=2 D=64 H=4 G=2 F=160"},
};
enum { N_REFERENCES = sizeof references / sizeof *references };

static mdl_safetensors *open_reference(suite *s, const char *name) {
    mdl_safetensors *file = NULL;
    mdl_status status = mdl_safetensors_open(mdl_printf(s->arena, "%s/tests/reference/%s.safetensors", s->root, name), &file);
    CHECK(s->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    return file;
}

static void check_shape(suite *s, const mdl_safetensors *file, const char *name, const mdl_type *type) {
    const mdl_tensor *tensor = mdl_safetensors_find(file, mdl_printf(s->arena, "weight.%s", name));
    CHECK(s->t, tensor, "the reference has no weight.%s", name);
    if (tensor)
        CHECK(s->t, mdl_type_equal(&tensor->type, type), "%s is %s, the reference has %s", name, mdl_type_text(s->arena, type),
              mdl_type_text(s->arena, &tensor->type));
}

static void check_names(suite *s, const mdl_module *m, const mdl_safetensors *file) {
    int weights = 0;
    for (int i = 0; i < m->params.n; i++) check_shape(s, file, m->params.at[i].name, &m->params.at[i].type);
    for (int i = 0; i < m->ties.n; i++) {
        const mdl_param *target = find_param(m, m->ties.at[i].target);
        CHECK(s->t, target, "%s is tied to nothing", m->ties.at[i].name);
        if (target) check_shape(s, file, m->ties.at[i].name, &target->type);
    }
    for (int i = 0; i < mdl_safetensors_count(file); i++) {
        const char *name = mdl_safetensors_at(file, i)->name;
        if (strncmp(name, "weight.", 7)) continue;
        weights++;
        CHECK(s->t, find_param(m, name + 7) || find_tie(m, name + 7), "the model has no %s", name + 7);
    }
    CHECK(s->t, weights == m->params.n + m->ties.n, "%d weights, %d parameters, %d ties", weights, m->params.n, m->ties.n);
}

/* The reference's list of tensors without weight decay is the model's. */
static void check_decay(suite *s, const mdl_module *m, const mdl_safetensors *file) {
    const char *text = mdl_safetensors_metadata(file, "no_decay");
    CHECK(s->t, text, "no list");
    for (int i = 0; i < m->params.n && text; i++) {
        const mdl_param *p = &m->params.at[i];
        bool listed = strstr(text, mdl_printf(s->arena, "\"%s\"", p->name));
        if (p->role != MDL_FROZEN) CHECK(s->t, listed == !p->decay, "%s: decay %d", p->name, p->decay);
    }
}

static void check_ir(suite *s, const mdl_module *m) {
    const char *wrong = mdl_verify(s->arena, m->forward);
    CHECK(s->t, !wrong, "forward: %s", wrong);
    wrong = mdl_verify(s->arena, m->init);
    CHECK(s->t, !wrong, "init: %s", wrong);
}

/* ---- values, in the f64 interpreter ---- */
static double *to_doubles(suite *s, const mdl_tensor *tensor) {
    int64_t n = mdl_type_count(&tensor->type);
    double *out = MDL_NEW_ARRAY(s->arena, double, n);
    for (int64_t i = 0; i < n; i++)
        out[i] = tensor->type.dtype == MDL_F32 ? ((const float *)tensor->bytes)[i] : ((const int32_t *)tensor->bytes)[i];
    return out;
}

static void set(suite *s, mdl_arrays *arrays, const char *name, const mdl_tensor *tensor) {
    mdl_arrays_set(s->arena, arrays, name, tensor->type, to_doubles(s, tensor));
}

static void check_values(suite *s, const mdl_module *m, const mdl_safetensors *file) {
    mdl_arrays inputs = {0}, states = {0}, results = {0};
    const mdl_tensor *cu = mdl_safetensors_find(file, "cu_seqlens"), *logits = mdl_safetensors_find(file, "logits");
    set(s, &inputs, "ids", mdl_safetensors_find(file, "ids"));
    set(s, &inputs, "labels", mdl_safetensors_find(file, "labels"));
    set(s, &inputs, "seq", cu);
    for (int i = 0; i < m->params.n; i++)
        set(s, &states, m->params.at[i].name, mdl_safetensors_find(file, mdl_printf(s->arena, "weight.%s", m->params.at[i].name)));
    mdl_interpret(s->arena, m->forward, &inputs, &states, &results);
    const mdl_named_array *ours = mdl_arrays_find(&results, "logits");
    CHECK(s->t, ours, "the model has no logits");
    if (!ours) return;
    mdl_comparison c = mdl_compare_doubles(mdl_type_count(&logits->type), ours->at, to_doubles(s, logits));
    double error = mdl_error_l2(&c);
    CHECK(s->t, error < 3e-6, "logits are off by %g", error); /* the reference is f32: its own rounding is about 1e-6 */
}

static void against_reference(suite *s, int r) {
    if (!mdl_case(s->t, "%s", references[r].file)) return;
    mdl_safetensors *file = open_reference(s, references[r].file);
    if (!file) return;
    const mdl_tensor *ids = mdl_safetensors_find(file, "ids"), *cu = mdl_safetensors_find(file, "cu_seqlens");
    int last = ids->type.rank - 1;
    mdl_module *m = elaborate_at(s, references[r].model, references[r].sets, ids->type.dim[last], cu->type.dim[last] - 1);
    if (m) {
        check_ir(s, m);
        check_names(s, m, file);
        check_decay(s, m, file);
        if (mdl_safetensors_find(file, "logits")) check_values(s, m, file);
    }
    mdl_safetensors_close(file);
}

/* ---- sizes and overrides ---- */
static int64_t count_parameters(const mdl_module *m) {
    int64_t n = 0;
    for (int i = 0; i < m->params.n; i++) n += mdl_type_count(&m->params.at[i].type);
    return n;
}

/* Published counts; for ESM-2 those of transformers without the position table (1026 rows), which its forward does not use, and
 * with inv_freq, which it keeps as a buffer. */
static void sizes(suite *s) {
    static const struct {
        const char *model, *sets;
        int64_t parameters;
    } known[] = {{"amplify", "size=120M", 118276507},
                 {"amplify", "size=350M", 354008667},
                 {"esm2", "size=8M", 7840794 - 1026 * 320 + 8},
                 {"esm2", "size=650M", 651043254 + 32}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!mdl_case(s->t, "%s %s", known[i].model, known[i].sets)) continue;
        mdl_module *m = elaborate(s, known[i].model, known[i].sets);
        if (m) CHECK(s->t, count_parameters(m) == known[i].parameters, "%lld parameters", (long long)count_parameters(m));
    }
    static const char *const others[] = {"size=35M", "size=150M", "size=3B", "size=15B"};
    for (int i = 0; i < 4; i++)
        if (mdl_case(s->t, "esm2 %s", others[i])) elaborate(s, "esm2", others[i]);
    if (mdl_case(s->t, "twohead")) elaborate(s, "twohead", "L=1 D=16 H=2 reg_weight=0.5");
}

static int64_t dim_value(const mdl_module *m, const char *name) {
    for (int i = 0; i < m->dims.n; i++)
        if (!strcmp(m->dims.at[i].name, name)) return m->dims.at[i].value;
    return -1;
}

static void overrides(suite *s) {
    if (!mdl_case(s->t, "overrides reach derived values")) return;
    mdl_module *m = elaborate_at(s, "esm2", "size=35M D=48 H=4 L=1", 100, 3);
    if (!m) return;
    CHECK(s->t, dim_value(m, "F") == 192 && dim_value(m, "K") == 12 && dim_value(m, "R") == 6 && dim_value(m, "L") == 1, "F %lld",
          (long long)dim_value(m, "F"));
    CHECK(s->t, m->tokens == 100 && m->segments == 3, "T %lld S %lld", (long long)m->tokens, (long long)m->segments);
    CHECK(s->t, !strcmp(m->name, "esm2"), "%s", m->name);
    CHECK(s->t, m->sources.n == 2 && !strcmp(m->sources.at[0].name, "esm2.mdl") && !strcmp(m->sources.at[1].name, "std/nn.mdl"),
          "%d sources", m->sources.n);
}

/* ---- tables of the module ---- */
static void tables(suite *s) {
    mdl_module *m = elaborate(s, "esm2", "L=2 D=64 H=4");
    if (!m) return;
    mdl_case(s->t, "vocabulary");
    int64_t ids[5] = {-1, -1, -1, -1, -1}, expected[5] = {0, 2, 1, 3, 32};
    static const char *const names[] = {"bos", "eos", "pad", "unk", "mask"};
    for (int i = 0; i < m->specials.n; i++)
        for (int k = 0; k < 5; k++)
            if (!strcmp(m->specials.at[i].name, names[k])) ids[k] = m->specials.at[i].value;
    for (int k = 0; k < 5; k++) CHECK(s->t, ids[k] == expected[k], "%s is %lld", names[k], (long long)ids[k]);
    CHECK(s->t, m->vocab_text && !strncmp(m->vocab_text, "<cls>\n<pad>\n", 12), "the vocabulary's text is not carried");

    mdl_case(s->t, "inputs");
    CHECK(s->t,
          m->inputs.n == 3 && !strcmp(m->inputs.at[0].source, "tokens") && !strcmp(m->inputs.at[1].source, "masked") &&
              !strcmp(m->inputs.at[2].source, "segments"),
          "%d inputs", m->inputs.n);

    mdl_case(s->t, "layout");
    const mdl_name_map *first = m->layouts.n ? &m->layouts.at[0] : NULL;
    int lines = 0;
    while (lines < m->layouts.n && !strcmp(m->layouts.at[lines].layout, "hf")) lines++;
    CHECK(s->t, lines == 2 * 5 + 3, "%d lines", lines);
    CHECK(s->t,
          first && first->kind == MDL_MAP_NAME &&
              !strcmp(first->theirs, "esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq") &&
              !strcmp(first->ours, "esm.rotary_embeddings.inv_freq"),
          "the first line is wrong");
    CHECK(s->t, m->layouts.n && m->layouts.at[m->layouts.n - 1].kind == MDL_MAP_IGNORE && !m->layouts.at[m->layouts.n - 1].ours,
          "the last line is wrong");

    mdl_case(s->t, "roles");
    const mdl_param *carried = find_param(m, "esm.contact_head.regression.weight"),
                    *frozen = find_param(m, "esm.rotary_embeddings.inv_freq");
    CHECK(s->t, carried && carried->role == MDL_CARRY && frozen && frozen->role == MDL_FROZEN, "carry or frozen is lost");
    CHECK(s->t, find_tie(m, "lm_head.decoder.weight"), "the tie is lost");
}

static void exports(suite *s) {
    static const char *const models[] = {"esm2", "amplify", "decoder"};
    for (int i = 0; i < 3; i++) {
        if (!mdl_case(s->t, "config.json of %s", models[i])) continue;
        mdl_module *m = elaborate(s, models[i], "");
        if (!m) continue;
        json_error_t error;
        json_t *json = json_loads(m->exports.n ? m->exports.at[0].json : "", 0, &error);
        CHECK(s->t, json, "not JSON: %s", error.text);
        json_decref(json);
        mdl_golden(s->t, mdl_printf(s->arena, "language/%s.config.json", models[i]), m->exports.n ? m->exports.at[0].json : "");
    }
}

/* ---- IR ---- */
static const char *module_text(suite *s, const mdl_module *m) {
    mdl_text text = {.arena = s->arena};
    mdl_print_region(&text, m->forward, false);
    mdl_print_region(&text, m->init, false);
    for (int i = 0; i < m->params.n; i++) {
        const mdl_param *p = &m->params.at[i];
        static const char *const roles[] = {"trained", "frozen", "carry"};
        mdl_text_printf(&text, "param %s %s %s %s%s%s%s\n", p->name, mdl_type_text(s->arena, &p->type), roles[p->role], p->init,
                        p->decay ? "" : " nodecay", *p->group ? " group " : "", p->group);
    }
    for (int i = 0; i < m->ties.n; i++) mdl_text_printf(&text, "tie %s = %s\n", m->ties.at[i].name, m->ties.at[i].target);
    return text.at;
}

static void ir(suite *s) {
    if (mdl_case(s->t, "every construct as IR")) {
        mdl_module *m = elaborate(s, "../tests/language/constructs", "");
        if (m) {
            check_ir(s, m);
            mdl_golden(s->t, "language/constructs.txt", module_text(s, m));
        }
    }
    if (mdl_case(s->t, "the same input gives the same module")) {
        mdl_module *a = elaborate(s, "esm2", "L=2"), *b = elaborate(s, "esm2", "L=2");
        if (a && b) CHECK(s->t, !strcmp(module_text(s, a), module_text(s, b)), "two modules differ");
    }
    if (mdl_case(s->t, "every op has a place")) {
        mdl_module *m = elaborate(s, "esm2", "L=1");
        for (int i = 0; m && i < m->forward->ops.n; i++)
            CHECK(s->t, m->forward->ops.at[i]->span.file && m->forward->ops.at[i]->span.line, "op %d", i);
        for (int i = 0; m && i < m->init->ops.n; i++)
            CHECK(s->t, m->init->ops.at[i]->span.file && m->init->ops.at[i]->span.line, "init op %d", i);
    }
}

/* The precision that constructs.mdl asks for: f32 in block.0, nothing said in block.1. */
static void scopes(suite *s) {
    mdl_module *m = elaborate(s, "../tests/language/constructs", "");
    int found = 0, stable = 0;
    for (int i = 0; m && i < m->forward->ops.n; i++) {
        const mdl_op *op = m->forward->ops.at[i];
        const char *path = mdl_scope_path(&op->span), *precision = mdl_scope_precision(&op->span);
        CHECK(s->t, !strcmp(precision, strncmp(path, "block.0", 7) ? "auto" : "f32"), "op %d in %s is %s", i, path, precision);
        for (int k = 0; k < op->n_out; k++) CHECK(s->t, op->out[k]->stable == ++stable, "op %d has id %d", i, op->out[k]->stable);
        if (op->code != MDL_OP_READ) continue;
        const char *name = mdl_first_param(op), *dot = strrchr(name, '.');
        bool in_block = !strncmp(name, "block.", 6);
        CHECK(s->t, !in_block || (!strncmp(name, path, strlen(path)) && name + strlen(path) == dot), "%s is in %s", name, path);
        found += in_block;
    }
    CHECK(s->t, found == 8, "%d parameters of the blocks", found);
    for (int i = 0; m && i < m->init->ops.n; i++)
        for (int k = 0; k < m->init->ops.at[i]->n_out; k++)
            CHECK(s->t, m->init->ops.at[i]->out[k]->stable == ++stable, "init op %d", i);
}

/* ---- initial values ---- */
static void moments(const mdl_named_array *a, double *mean, double *deviation) {
    int64_t n = mdl_type_count(&a->type);
    *mean = *deviation = 0;
    for (int64_t i = 0; i < n; i++) *mean += a->at[i] / (double)n;
    for (int64_t i = 0; i < n; i++) *deviation += (a->at[i] - *mean) * (a->at[i] - *mean) / (double)n;
    *deviation = sqrt(*deviation);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void check_initial(suite *s, const mdl_param *p, const mdl_named_array *a) {
    double mean, deviation;
    CHECK(s->t, a, "%s is not initialized", p->name);
    if (!a) return;
    moments(a, &mean, &deviation);
    int64_t n = mdl_type_count(&p->type);
    /* 5 standard errors of a mean and of a deviation: a wrong seed fails once in a million */
    double slack = 5 / sqrt((double)n);
    if (!strcmp(p->init, "zeros")) CHECK(s->t, mean == 0 && deviation == 0, "%s: mean %g", p->name, mean);
    if (!strcmp(p->init, "ones")) CHECK(s->t, mean == 1 && deviation == 0, "%s: mean %g", p->name, mean);
    if (!strcmp(p->init, "normal(0, 0.02)") && n > 100 && !strstr(p->name, "embeddings"))
        CHECK(s->t, fabs(mean) < 0.02 * slack && fabs(deviation / 0.02 - 1) < slack, "%s: mean %g, deviation %g", p->name, mean,
              deviation);
}

static void initial_values(suite *s) {
    if (!mdl_case(s->t, "initial values")) return;
    mdl_module *m = elaborate(s, "esm2", "L=1 D=64 H=4");
    mdl_arrays inputs = {0}, states = {0}, results = {0};
    double seed[] = {7, 11};
    if (!m) return;
    mdl_arrays_set(s->arena, &inputs, "seed", (mdl_type){.dtype = MDL_I32, .rank = 1, .dim = {2}}, seed);
    mdl_interpret(s->arena, m->init, &inputs, &states, &results);
    for (int i = 0; i < m->params.n; i++) check_initial(s, &m->params.at[i], mdl_arrays_find(&states, m->params.at[i].name));
    const mdl_named_array *table = mdl_arrays_find(&states, "esm.embeddings.word_embeddings.weight");
    const mdl_named_array *frequencies = mdl_arrays_find(&states, "esm.rotary_embeddings.inv_freq");
    for (int i = 0; table && i < 64; i++) CHECK(s->t, table->at[64 + i] == 0 && table->at[i] != 0, "the pad row, column %d", i);
    for (int i = 0; frequencies && i < 8; i++) {
        double expected = pow(10000, -i / 8.0);
        CHECK(s->t, fabs(frequencies->at[i] / expected - 1) < 1e-12, "inv_freq[%d] is %g", i, frequencies->at[i]); /* both f64 */
    }
    const mdl_named_array *query = mdl_arrays_find(&states, "esm.encoder.layer.0.attention.self.query.weight");
    const mdl_named_array *key = mdl_arrays_find(&states, "esm.encoder.layer.0.attention.self.key.weight");
    CHECK(s->t, query && key && query->at[0] != key->at[0], "two parameters share their draws");
}

/* n draws of a normal within +-bound of its mean: Kolmogorov's distance from the exact distribution, and the moments. */
static void check_truncated(suite *s, const char *name, const mdl_named_array *a, double mean, double deviation, double bound) {
    int64_t n = a ? mdl_type_count(&a->type) : 0;
    double worst = 0, c = bound / (deviation * M_SQRT2), mass = erf(c), first, second, slack = 5 / sqrt((double)n);
    double expected = deviation * sqrt(1 - 2 * c * M_2_SQRTPI / 2 * exp(-c * c) / mass);
    CHECK(s->t, n > 10000, "%s has %d values", name, (int)n);
    if (n <= 10000) return;
    moments(a, &first, &second);
    qsort(a->at, (size_t)n, sizeof *a->at, ascending);
    for (int64_t i = 0; i < n; i++) {
        double below = 0.5 + erf((a->at[i] - mean) / (deviation * M_SQRT2)) / (2 * mass);
        worst = fmax(worst, fabs(below - ((double)i + 0.5) / (double)n));
    }
    CHECK(s->t, a->at[0] >= mean - bound && a->at[n - 1] <= mean + bound, "%s: %g .. %g", name, a->at[0], a->at[n - 1]);
    CHECK(s->t, worst < 2.2 / sqrt((double)n), "%s: off by %g of the distribution", name, worst); /* one in 10,000 tries is above */
    CHECK(s->t, fabs(first - mean) < expected * slack, "%s: mean %g", name, first);
    CHECK(s->t, fabs(second / expected - 1) < slack, "%s: deviation %g, expected %g", name, second, expected);
}

static void truncated_normals(suite *s) {
    if (!mdl_case(s->t, "truncated normals: distribution, bounds, moments")) return;
    mdl_module *m = elaborate(s, "../tests/language/truncated", "");
    mdl_arrays inputs = {0}, states = {0}, results = {0};
    double seed[] = {7, 11};
    if (!m) return;
    mdl_arrays_set(s->arena, &inputs, "seed", (mdl_type){.dtype = MDL_I32, .rank = 1, .dim = {2}}, seed);
    mdl_interpret(s->arena, m->init, &inputs, &states, &results);
    check_truncated(s, "two", mdl_arrays_find(&states, "two"), 0, 0.02, 0.04);
    check_truncated(s, "moved", mdl_arrays_find(&states, "moved"), 3, 0.5, 0.6);
    check_truncated(s, "flat", mdl_arrays_find(&states, "flat"), -1, 100, 1);
    check_truncated(s, "whole", mdl_arrays_find(&states, "whole"), 0, 1, 1000);
}

void suite_elaborate(mdl_test *t) {
    suite s = {.t = t, .arena = mdl_arena_new(), .root = mdl_test_source(t)};
    for (int i = 0; i < N_REFERENCES; i++) against_reference(&s, i);
    sizes(&s);
    overrides(&s);
    tables(&s);
    exports(&s);
    ir(&s);
    if (mdl_case(t, "scopes, their precision, stable ids")) scopes(&s);
    initial_values(&s);
    truncated_normals(&s);
    mdl_arena_free(s.arena);
}
