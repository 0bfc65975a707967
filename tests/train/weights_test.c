/* Suite `weights`: folders in every spelling, shards, what may be missing, and what is refused; on a fake plan and device. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/train/weights.h"
#include "tests/check.h"
#include "tests/train/fake.h"

typedef struct {
    mdl_test *t;
    mdl_arena *memory;
    mdl_session *session;
    mdl_weight_store store;
    const char *dir;
} bench;

static const float matrix[] = {1, 2, 3, 4, 5, 6}, bias[] = {7, 8, 9}, frozen[] = {10, 11}, carried[] = {12};
static const int64_t dims[] = {2, 3}, three = 3, two = 2, one = 1;

static mdl_tensor real(const char *name, int rank, const int64_t *dim, const float *bytes) {
    return (mdl_tensor){name, mdl_type_make(MDL_F32, rank, dim), bytes};
}

static void expect_ok(bench *b, mdl_status status) {
    CHECK(b->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
}

static void expect_in(bench *b, mdl_status status, mdl_code code, const char *part) {
    CHECK(b->t, status && mdl_status_code(status) == code && strstr(mdl_message(status), part), "expected '%s', got: %s", part,
          mdl_message(status));
    mdl_status_free(status);
}

static const char *path_of(bench *b, const char *name) { return mdl_printf(b->memory, "%s/%s", b->dir, name); }

static void write_file(bench *b, const char *name, int n, const mdl_tensor *tensors) {
    expect_ok(b, mdl_safetensors_write(path_of(b, name), n, tensors));
}

static void write_text(bench *b, const char *name, const char *text) {
    FILE *f = fopen(path_of(b, name), "w");
    CHECK(b->t, f && fputs(text, f) >= 0 && !fclose(f), "cannot write %s", name);
}

static void begin(bench *b, const char *name) {
    b->dir = mdl_printf(b->memory, "%s/%s", mdl_test_scratch(b->t), name);
    mdl_shell(b->t, NULL, "rm -rf '%s' && mkdir '%s'", b->dir, b->dir);
    for (int i = 0; i < 4; i++) {
        static const float zeros[6];
        const mdl_plan_param *param = &b->session->plan->params.at[i];
        expect_ok(b, b->store.set(b->store.context, param, zeros));
    }
}

static mdl_status read_with(bench *b, const char *allowed, mdl_weight_report *report) {
    mdl_weight_rules rules = {.n_allowed = allowed != NULL, .allowed = &allowed};
    *report = (mdl_weight_report){.memory = b->memory};
    return mdl_weights_read(&b->store, b->dir, &rules, report);
}

static mdl_status read_folder(bench *b) {
    mdl_weight_report report;
    return read_with(b, NULL, &report);
}

static void expect_values(bench *b, const char *name, const float *values) {
    float got[6] = {0};
    const mdl_plan_param *param = mdl_plan_find_param(b->session->plan, name);
    expect_ok(b, b->store.get(b->store.context, param, got));
    CHECK(b->t, !memcmp(got, values, (size_t)mdl_type_bytes(&param->type)), "%s is %g ...", name, got[0]);
}

static void wrappers(bench *b) {
    static const char *const prefixes[] = {"module.", "_orig_mod.", "module._orig_mod.module.", "_fsdp_wrapped_module."};
    for (int i = 0; i < 4; i++) {
        mdl_case(b->t, "names behind %s", prefixes[i]);
        begin(b, "wrapped");
        write_file(b, "model.safetensors", 2,
                   (mdl_tensor[]){real(mdl_printf(b->memory, "%sa.weight", prefixes[i]), 2, dims, matrix),
                                  real(mdl_printf(b->memory, "%sa.bias", prefixes[i]), 1, &three, bias)});
        expect_ok(b, read_folder(b));
        expect_values(b, "a.weight", matrix);
        expect_values(b, "a.bias", bias);
    }
    mdl_case(b->t, "a wrapper in the middle of names, old spellings and ignored tensors behind one");
    begin(b, "wrapped");
    write_file(b, "model.safetensors", 4,
               (mdl_tensor[]){real("a._orig_mod.weight", 2, dims, matrix), real("module.a.beta", 1, &three, bias),
                              real("module.old.position", 1, &one, carried), real("head.module.weight", 2, dims, matrix)});
    expect_ok(b, read_folder(b));
    expect_values(b, "a.bias", bias);
}

static void base_model(bench *b) {
    mdl_weight_report report;
    mdl_case(b->t, "names that lack their first segment, as those of a model saved without its outer module");
    begin(b, "base");
    write_file(b, "model.safetensors", 2, (mdl_tensor[]){real("weight", 2, dims, matrix), real("module.bias", 1, &three, bias)});
    expect_ok(b, read_with(b, NULL, &report));
    CHECK(b->t, !strcmp(report.prefix, "a.") && !strcmp(report.layout, "hf"), "read in layout %s with '%s'", report.layout,
          report.prefix);
    expect_values(b, "a.weight", matrix);
    expect_values(b, "a.bias", bias);
}

static void halves(bench *b) {
    static const uint16_t f16[] = {0x3c00, 0xc000, 0x0001, 0x83ff, 0x7bff, 0x3555};
    static const float values[] = {1, -2, 0x1p-24F, -0x1.ff8p-15F, 65504, 0x1.554p-2F};
    static const uint16_t infinite[] = {0x7c00, 0x3c00, 0x7e00};
    mdl_tensor half = {"a.weight", mdl_type_make(MDL_F16, 2, dims), f16},
               bad = {"a.bias", mdl_type_make(MDL_F16, 1, &three), infinite};
    mdl_case(b->t, "f16: normal numbers, subnormal ones, the largest");
    begin(b, "f16");
    write_file(b, "model.safetensors", 2, (mdl_tensor[]){half, real("a.bias", 1, &three, bias)});
    expect_ok(b, read_folder(b));
    expect_values(b, "a.weight", values);
    mdl_case(b->t, "f16: infinity and NaN are seen");
    write_file(b, "model.safetensors", 2, (mdl_tensor[]){half, bad});
    expect_in(b, read_folder(b), MDL_BAD_INPUT, "a.bias: 2 of its 3 numbers are not finite");
}

static void unsupported(bench *b) {
    static const char header[] =
        "{\"a.bias\":{\"dtype\":\"F8_E4M3\",\"shape\":[3],\"data_offsets\":[0,3]},"
        "\"x\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[3,3]}}";
    mdl_case(b->t, "a dtype that is not supported is named with its tensor; one that nobody needs is passed over");
    begin(b, "dtype");
    FILE *f = fopen(path_of(b, "model.safetensors"), "wb");
    uint64_t length = strlen(header);
    CHECK(b->t, f && fwrite(&length, 8, 1, f) == 1 && fputs(header, f) >= 0 && fwrite("abc", 3, 1, f) == 1 && !fclose(f),
          "cannot write");
    mdl_status status = read_folder(b);
    CHECK(b->t, !strstr(mdl_message(status), "unexpected"), "%s", mdl_message(status));
    expect_in(b, status, MDL_BAD_INPUT, "a.bias has dtype F8_E4M3, which is not supported; expected F32, BF16, F16 or F64");
}

static void duplicates(bench *b) {
    static const uint16_t same[] = {0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0},
                          other[] = {0x3f80, 0, 0x4040, 0x4080, 0x40a0, 0x40c0};
    mdl_tensor a = real("a.weight", 2, dims, matrix), c = real("a.bias", 1, &three, bias);
    mdl_tensor tied = {"head.weight", mdl_type_make(MDL_BF16, 2, dims), same};
    mdl_case(b->t, "a tied tensor that is there twice, in two dtypes, with equal values");
    begin(b, "tied");
    write_file(b, "model.safetensors", 3, (mdl_tensor[]){a, c, tied});
    expect_ok(b, read_folder(b));
    mdl_case(b->t, "a tied tensor that is there twice with different values");
    tied.bytes = other;
    write_file(b, "model.safetensors", 3, (mdl_tensor[]){a, c, tied});
    expect_in(b, read_folder(b), MDL_BAD_INPUT, "a.weight and head.weight are one parameter but hold different values");
}

static void missing(bench *b) {
    mdl_weight_report report;
    begin(b, "missing");
    write_file(b, "model.safetensors", 1, (mdl_tensor[]){real("a.weight", 2, dims, matrix)});
    mdl_case(b->t, "what is missing is an error that says how to allow it");
    expect_in(b, read_folder(b), MDL_BAD_INPUT, "1 missing:\n    a.bias\n  if they are new: model.allow_missing");
    mdl_case(b->t, "a pattern allows it, and it is listed");
    expect_ok(b, read_with(b, "*.bias", &report));
    CHECK(b->t, report.fresh.n == 1 && !strcmp(report.fresh.at[0], "a.bias") && report.kept == 2, "%d fresh, %d kept",
          report.fresh.n, report.kept);
    mdl_case(b->t, "a pattern that no tensor has is an error");
    expect_in(b, read_with(b, "*.bais", &report), MDL_USAGE, "no tensor of model 'toy' is called '*.bais'");
    mdl_case(b->t, "a frozen tensor that is not computed must be there");
    b->session->plan->params.at[2].init = "normal(0, 1)";
    expect_in(b, read_with(b, "a.bias", &report), MDL_BAD_INPUT, "1 missing:\n    f");
    b->session->plan->params.at[2].init = "value(x)";
    mdl_case(b->t, "no weights at all, and a pickle in their place");
    begin(b, "none");
    expect_in(b, read_folder(b), MDL_BAD_INPUT, "none/model.safetensors: cannot open it");
    write_text(b, "pytorch_model.bin", "x");
    expect_in(b, read_folder(b), MDL_BAD_INPUT, "holds pytorch_model.bin, a Python pickle");
}

/* Three groups of two rows in the file, the parameter's second in each; and a padded one. */
static void parts(bench *b) {
    static const float fused[] = {0, 7, NAN, 8, INFINITY, 9}, padded[] = {1, 2, 3, 4, 5, 6, NAN, NAN, NAN};
    static const int64_t six = 6, rows[] = {3, 3};
    mdl_plan *plan = b->session->plan;
    mdl_weight_report report;
    mdl_case(b->t, "a layout of fused and padded tensors: it is recognized, and what is not ours is not looked at");
    MDL_PUSH(plan->memory, plan->layouts, ((mdl_plan_name_map){"other", "also", "fused", "a.bias", 6, 3, 1}));
    MDL_PUSH(plan->memory, plan->layouts, ((mdl_plan_name_map){"other", "also", "head.weight", "a.weight", 3, 1, 0}));
    MDL_PUSH(plan->memory, plan->layouts, ((mdl_plan_name_map){"other", "ignore", "*._extra_state", NULL, 0, 0, 0}));
    begin(b, "parts");
    write_file(b, "model.safetensors", 3,
               (mdl_tensor[]){real("module.fused", 1, &six, fused), real("head.weight", 2, rows, padded),
                              real("x._extra_state", 1, &two, frozen)});
    expect_ok(b, read_with(b, NULL, &report));
    CHECK(b->t, !strcmp(report.layout, "other"), "read in layout %s", report.layout);
    expect_values(b, "a.bias", bias);
    expect_values(b, "a.weight", matrix);
    mdl_case(b->t, "a fused tensor of another shape");
    write_file(b, "model.safetensors", 2, (mdl_tensor[]){real("fused", 1, &three, bias), real("head.weight", 2, rows, padded)});
    expect_in(b, read_folder(b), MDL_BAD_INPUT, "fused is f32[3], the plan has f32[6]");
    plan->layouts.n -= 3;
}

static void fill_store(bench *b) {
    const float *values[] = {matrix, bias, frozen, carried};
    for (int i = 0; i < 4; i++) expect_ok(b, b->store.set(b->store.context, &b->session->plan->params.at[i], values[i]));
}

static int count_files(bench *b, const char *part) {
    int n = 0;
    DIR *d = opendir(b->dir);
    for (struct dirent *e; d && (e = readdir(d));) n += strstr(e->d_name, part) != NULL;
    if (d) closedir(d);
    return n;
}

static void shards(bench *b) {
    mdl_case(b->t, "shards: tensors by name, none beyond the bound but alone; they read back");
    begin(b, "shards");
    fill_store(b);
    expect_ok(b, mdl_weights_export(&b->store, b->dir, 20)); /* bytes: a.bias 12, a.weight 24, c 4, layer.0.f 8, layer.1.f 8 */
    CHECK(b->t, count_files(b, "-of-00003.safetensors") == 3 && !count_files(b, ".tmp-"), "%d shards",
          count_files(b, "-of-00003.safetensors"));
    fill_store(b);
    expect_ok(b, b->store.set(b->store.context, &b->session->plan->params.at[0], (float[]){0, 0, 0, 0, 0, 0}));
    expect_ok(b, read_folder(b));
    expect_values(b, "a.weight", matrix);
    expect_values(b, "c", carried);
    mdl_case(b->t, "one file takes the place of shards, and shards of one file");
    expect_ok(b, mdl_weights_export(&b->store, b->dir, MDL_SHARD_BYTES));
    CHECK(b->t, !access(path_of(b, "model.safetensors"), F_OK) && access(path_of(b, "model.safetensors.index.json"), F_OK),
          "an index is left");
    expect_ok(b, mdl_weights_export(&b->store, b->dir, 1));
    CHECK(b->t, access(path_of(b, "model.safetensors"), F_OK), "one file is left, which readers take first");
    CHECK(b->t, count_files(b, "-of-00005.safetensors") == 5, "%d shards", count_files(b, "-of-00005.safetensors"));
}

static void bad_index(bench *b) {
    static const struct {
        const char *about, *index, *message;
    } cases[] = {
        {"no map", "{}", "\"weight_map\" is missing"},
        {"not JSON", "{", "line 1: "},
        {"a path", "{\"weight_map\": {\"a.weight\": \"../x.safetensors\"}}", "not the name of a file beside it"},
        {"a number", "{\"weight_map\": {\"a.weight\": 1}}", "its shard is not a string"},
        {"a shard that is not there", "{\"weight_map\": {\"a.weight\": \"no.safetensors\"}}", "no.safetensors: cannot open it"},
        {"a tensor elsewhere", "{\"weight_map\": {\"a.bias\": \"s.safetensors\"}}",
         "tensor \"a.bias\" is not in its shard s.safetensors"},
    };
    begin(b, "index");
    write_file(b, "s.safetensors", 1, (mdl_tensor[]){real("a.weight", 2, dims, matrix)});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mdl_case(b->t, "an index with %s", cases[i].about);
        write_text(b, "model.safetensors.index.json", cases[i].index);
        expect_in(b, read_folder(b), MDL_BAD_INPUT, cases[i].message);
    }
}

static void not_finite(bench *b) {
    mdl_safetensors *file = NULL;
    mdl_case(b->t, "a number that is not finite is refused with its tensor, and what lies there stays");
    begin(b, "finite");
    fill_store(b);
    expect_ok(b, mdl_weights_export(&b->store, b->dir, MDL_SHARD_BYTES));
    expect_ok(b, b->store.set(b->store.context, &b->session->plan->params.at[3], (float[]){NAN}));
    expect_in(b, mdl_weights_export(&b->store, b->dir, 20), MDL_MISMATCH, "tensor \"c\": 1 of its 1 numbers are not finite");
    CHECK(b->t, count_files(b, "safetensors") == 1, "%d files are left", count_files(b, "safetensors"));
    expect_ok(b, mdl_safetensors_open(path_of(b, "model.safetensors"), &file));
    mdl_safetensors_close(file);
}

static void configurations(bench *b) {
    mdl_weight_report report;
    mdl_plan_file *file = (mdl_plan_file *)mdl_plan_find_file(b->session->plan, "assets/config.json"), old = *file;
    mdl_case(b->t, "a folder's configuration beside the plan's: what differs is said, but for where the file comes from");
    begin(b, "config");
    file->bytes = "{\"heads\": 4, \"eps\": 1e-05, \"width\": 8, \"torch_dtype\": \"float32\"}",
    file->size = (int64_t)strlen(file->bytes);
    fill_store(b);
    expect_ok(b, mdl_weights_export(&b->store, b->dir, MDL_SHARD_BYTES));
    expect_ok(b, read_with(b, NULL, &report));
    CHECK(b->t, !report.notes.n, "%d notes", report.notes.n);
    write_text(b, "config.json", "{\"heads\": 20, \"eps\": 0.00001, \"width\": 8.0, \"torch_dtype\": \"bfloat16\", \"more\": 1}");
    expect_ok(b, read_with(b, NULL, &report));
    CHECK(b->t, report.notes.n == 1 && strstr(report.notes.at[0], "heads is 20 there, 4 in the plan"), "%d notes", report.notes.n);
    *file = old;
}

static void sizes(bench *b) {
    int64_t n = 0;
    mdl_case(b->t, "sizes as Hugging Face writes them");
    CHECK(b->t, mdl_weights_parse_size("5GB", &n) && n == MDL_SHARD_BYTES, "5GB");
    CHECK(b->t, mdl_weights_parse_size("200 KB", &n) && n == 200000, "200 KB");
    CHECK(b->t, mdl_weights_parse_size("7", &n) && n == 7, "7");
    static const char *const wrong[] = {"", "GB", "0", "-1GB", "5gigs", "9999999999999999999", "99999999TB"};
    for (int i = 0; i < 7; i++) CHECK(b->t, !mdl_weights_parse_size(wrong[i], &n), "'%s' is a size", wrong[i]);
}

void suite_weights(mdl_test *t) {
    bench b = {.t = t, .memory = mdl_arena_new()};
    mdl_status status = mdl_session_attach(mdl_fake_plan(), &mdl_fake_backend, 1, &b.session);
    b.store = mdl_weights_of(b.session);
    expect_ok(&b, status);
    wrappers(&b);
    base_model(&b);
    halves(&b);
    unsupported(&b);
    duplicates(&b);
    missing(&b);
    parts(&b);
    shards(&b);
    bad_index(&b);
    not_finite(&b);
    configurations(&b);
    sizes(&b);
    mdl_session_close(b.session);
    mdl_arena_free(b.memory);
}
