/* Values for programs, tiny models, IR text: what the compiler's suites share. */
#include "tests/compiler/draw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compiler/front/front.h"

const mdl_tiny_model mdl_tiny_models[] = {
    {"esm2", "L=2 D=8 H=2"},
    {"amplify", "L=2 D=8 H=2 M=12"},
    {"decoder", "L=2 D=8 H=2 G=1 F=12"},
    {"twohead", "L=2 D=8 H=2"},
    {"tests/compiler/models/window.mdl", ""},
    {"tests/compiler/models/softcap.mdl", ""},
    {"tests/compiler/models/rows.mdl", ""},
};
const int mdl_tiny_models_count = sizeof mdl_tiny_models / sizeof *mdl_tiny_models;

double mdl_draw(mdl_values *v) {
    int64_t k = ++v->draws;
    return ((double)(k * 367 % 1009) - 504.3) / 400;
}

static double whole(mdl_values *v, int64_t from, int64_t to) { /* from .. to */
    return (double)(from + (int64_t)((mdl_draw(v) + 1.27) / 2.54 * (double)(to - from + 1)));
}

/* S+1 offsets: the second segment is empty where there are three, the last two tokens are a tail where there are six. */
static void draw_segments(double *at, int64_t S, int64_t T) {
    int64_t used = T < 6 ? T : T - 2;
    for (int64_t s = 1; s <= S; s++) at[s] = (double)(used * s / S);
    if (S > 2) at[2] = at[1];
}

static double draw_real(mdl_values *v, const char *name) {
    bool positive = !strncmp(name, "pos", 3) || !strcmp(name, "moment2");
    return positive ? 1.25 + mdl_draw(v) / 2 : mdl_draw(v);
}

static double draw_input(mdl_values *v, const char *name, mdl_dtype dtype) {
    const char *dot = strchr(name, '.');
    int64_t n = dot ? atoll(dot + 1) : 0;
    if (!strncmp(name, "labels", 6)) {
        double label = whole(v, -2, n);
        return label < -1 ? -100 : label;
    }
    if (dtype == MDL_I32) return n ? whole(v, -1, n - 1) : whole(v, 0, 4);
    if (dtype == MDL_BOOL) return mdl_draw(v) < 0.4;
    return draw_real(v, name);
}

static void draw_array(mdl_values *v, const mdl_type *type, bool input, const char *name) {
    mdl_arrays *arrays = input ? &v->inputs : &v->states;
    if (mdl_arrays_find(arrays, name)) return;
    double *at = mdl_arrays_set(v->arena, arrays, name, *type, NULL);
    if (type->dtype == MDL_SEG) {
        draw_segments(at, type->dim[0], type->dim[1]);
        return;
    }
    for (int64_t k = 0, n = mdl_type_count(type); k < n; k++) at[k] = input ? draw_input(v, name, type->dtype) : draw_real(v, name);
}

/* All tiles of a flat state that the program touches. */
static mdl_type flat_type(const mdl_region *r, mdl_state_kind kind, mdl_type type) {
    for (int i = 0; i < r->ops.n; i++) {
        if (!mdl_is_state(r->ops.at[i], kind) || mdl_first_param(r->ops.at[i])) continue;
        mdl_state s = mdl_state_of(r->ops.at[i]);
        if (s.tile + s.tiles > type.dim[0]) type.dim[0] = s.tile + s.tiles;
    }
    return type;
}

static void draw_state(mdl_values *v, const mdl_region *r, const mdl_op *read) {
    mdl_state s = mdl_state_of(read);
    mdl_type type = s.n ? read->out[0]->type : flat_type(r, s.kind, read->out[0]->type);
    if (s.n < 2) draw_array(v, &type, false, mdl_state_text(v->arena, s.kind, s.n ? s.of[0] : NULL));
}

void mdl_draw_values(mdl_values *v, const mdl_region *r) {
    for (int i = 0; i < r->ops.n; i++) {
        const mdl_op *op = r->ops.at[i];
        if (op->code == MDL_OP_INPUT) draw_array(v, &op->out[0]->type, true, mdl_attr_str(op, "name"));
        if (op->code == MDL_OP_READ) draw_state(v, r, op);
    }
}

mdl_region *mdl_test_parse(mdl_test *t, mdl_arena *arena, const char *text) {
    mdl_regions programs = {0};
    const char *wrong = mdl_parse_ir(arena, text, &programs);
    CHECK(t, !wrong && programs.n == 1, "%s in\n%s", wrong ? wrong : "not one program", text);
    return wrong || programs.n != 1 ? NULL : programs.at[0];
}

char *mdl_test_read(mdl_test *t, mdl_arena *arena, const char *path) {
    FILE *f = fopen(mdl_printf(arena, "%s/tests/%s", mdl_test_source(t), path), "r");
    mdl_text text = {.arena = arena};
    char block[4096];
    CHECK(t, f, "cannot read tests/%s", path);
    mdl_text_append(&text, "", 0);
    for (size_t n; f && (n = fread(block, 1, sizeof block, f));) mdl_text_append(&text, block, n);
    if (f) fclose(f);
    return text.at;
}

const mdl_test_program *mdl_test_programs(mdl_test *t, mdl_arena *arena, const char *path) {
    MDL_VEC(mdl_test_program) list = {0};
    char *at = strstr(mdl_test_read(t, arena, path), "\n== ");
    while (at) {
        char *name = at + 4, *text = strchr(name, '\n');
        *text++ = 0;
        at = strstr(text, "\n== ");
        if (at) *at = 0;
        MDL_PUSH(arena, list, ((mdl_test_program){name, mdl_printf(arena, "%s\n", text)}));
    }
    CHECK(t, list.n, "tests/%s has no programs", path);
    MDL_PUSH(arena, list, ((mdl_test_program){0}));
    return list.at;
}

const char *mdl_region_text(mdl_arena *arena, const mdl_region *region) {
    mdl_text text = {.arena = arena};
    mdl_print_region(&text, region, true);
    return text.at;
}

mdl_module *mdl_test_model(mdl_test *t, mdl_arena *arena, const char *name, const char *sets, int64_t tokens, int64_t segments) {
    const char *list[16], *root = mdl_test_source(t);
    char *text = mdl_strdup(arena, sets), *save = NULL;
    mdl_front_options options = {.path = mdl_printf(arena, strchr(name, '/') ? "%s/%s" : "%s/models/%s.mdl", root, name),
                                 .library = mdl_printf(arena, "%s/models", root),
                                 .sets = list,
                                 .tokens = tokens,
                                 .segments = segments};
    for (char *set = strtok_r(text, " ", &save); set && options.n_sets < 16; set = strtok_r(NULL, " ", &save))
        list[options.n_sets++] = set;
    mdl_diagnostics *d = mdl_diagnostics_new(arena);
    mdl_module *module = mdl_front(arena, &options, d);
    CHECK(t, module, "%s %s:\n%s", name, sets, mdl_diagnostics_text(d));
    return module;
}

const char *mdl_empty_compiler(mdl_test *t) {
    static char path[512];
    snprintf(path, sizeof path, "%s/cc", mdl_test_scratch(t));
    FILE *f = fopen(path, "w");
    CHECK(t, f, "cannot write %s", path);
    if (!f) return "cc";
    fputs("#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\n: > \"$2\"\n", f);
    fclose(f);
    chmod(path, 0755);
    return path;
}
