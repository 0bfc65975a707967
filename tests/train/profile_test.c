/* Suite `profile`: tables, JSON and picture of a profile with known times; then real ones, on the CPU and in emulation. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/profile/profile.h"
#include "tests/end_to_end/run.h"
#include "tests/plan/fixture.h"

static void spreads(mdl_test *t) {
    double even[] = {4, 1, 3, 2}, many[100], one[] = {7};
    mdl_case(t, "median and 95th percentile");
    for (int i = 0; i < 100; i++) many[i] = (double)((i * 37) % 100) + 1; /* 1 .. 100 */
    mdl_spread s = mdl_spread_of(even, 4);
    CHECK(t, s.median == 2.5 && s.p95 == 4, "of four: %g, %g", s.median, s.p95);
    s = mdl_spread_of(many, 100);
    CHECK(t, s.median == 50.5 && s.p95 == 95, "of 1 to 100: %g, %g", s.median, s.p95);
    s = mdl_spread_of(one, 1);
    CHECK(t, s.median == 7 && s.p95 == 7, "of one: %g, %g", s.median, s.p95);
}

/* The fixture's program: a kernel, a product, two kernels, the last on another stream after the first. */
static mdl_profile known(mdl_plan *plan) {
    static const double ms[2][4] = {{1, 4, 8, 0.5}, {3, 4, 8, 0.5}};
    mdl_profile p = {.memory = mdl_arena_new(), .plan = plan, .program = &plan->programs.at[0], .steps = 2};
    p.launch = MDL_NEW_ARRAY(p.memory, double, 8);
    for (int i = 0; i < 8; i++) p.launch[i] = 1e-3 * ms[i / 4][i % 4];
    for (int i = 0; i < 4; i++) plan->programs.at[0].launches.at[i].bytes *= 1000000;
    for (int i = 0; i < 4; i++) plan->programs.at[0].launches.at[i].flops *= 1000000;
    plan->programs.at[0].launches.at[3].stream = 1;
    plan->kernels.at[1].class = "finish";
    p.one_by_one = (mdl_spread){14.5e-3, 15.5e-3};
    p.step = (mdl_spread){16.5e-3, 17e-3};
    p.replay = (mdl_spread){16e-3, 16.5e-3};
    p.loader = (mdl_loader_times){2e-3, 8e-3, 0.25e-3};
    p.held = 3 << 20;
    p.tokens = 12;
    p.watched = true;
    p.busy = (mdl_spread){15.6e-3, 15.8e-3};
    p.span = (mdl_spread){16.4e-3, 16.9e-3};
    p.activity = (mdl_activity){.records = 5};
    p.device = "an abacus <1>";
    p.rates = (mdl_rates){.copy = 4e11, .f32 = 3e11, .bf16 = 6e11};
    return p;
}

static const char *printed(const mdl_profile *p) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    mdl_profile_print_head(p, f);
    for (int by = MDL_BY_CLASS; by <= MDL_BY_LAUNCH; by++) {
        fputc('\n', f);
        mdl_profile_print_rows(p, (mdl_profile_by)by, by == MDL_BY_KERNEL ? 3 : 100, f);
    }
    fputc('\n', f);
    mdl_status status = mdl_profile_print_json(p, f);
    if (status) fprintf(f, "%s\n", mdl_message(status));
    mdl_status_free(status);
    fclose(f);
    const char *kept = mdl_strdup(p->memory, text);
    free(text);
    return kept;
}

static void goldens(mdl_test *t) {
    const char *output = NULL;
    mdl_plan *plan = mdl_fixture_plan();
    mdl_profile p = known(plan);
    const char *path = mdl_printf(plan->memory, "%s/profile.svg", mdl_test_scratch(t));
    plan->programs.at[0].launches.at[0].label = "embed <&>\033"; /* must not end a tag, nor reach a terminal */
    mdl_case(t, "tables and JSON");
    mdl_golden(t, "train/profile.txt", printed(&p));
    p.replay.median = 14e-3;
    CHECK(t, strstr(printed(&p), "one by one 14.5: together they are 0.500 ms (3.4 %) quicker"), "%s", printed(&p));
    p.activity.why_not = "nobody looked";
    CHECK(t, strstr(printed(&p), "idle       not known: nobody looked\n") && strstr(printed(&p), "\"why_not\": \"nobody looked\""),
          "%s", printed(&p));
    p.watched = false;
    CHECK(t, !strstr(printed(&p), "idle"), "%s", printed(&p));
    mdl_case(t, "the picture");
    mdl_status status = mdl_profile_write_svg(&p, path);
    CHECK(t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    mdl_shell(t, &output, "cat '%s'", path);
    mdl_golden(t, "train/profile.svg", output);
    mdl_profile_free(&p);
    mdl_plan_free(plan);
}

/* ---- real ones ---- */
static json_t *profile(mdl_e2e *e, const char *plan, const char *options) {
    const char *text = mdl_e2e_run(e, 0, "mdlrun profile %s data.files=few.fasta --json %s 2>/dev/null", plan, options);
    json_error_t error;
    json_t *object = json_loads(text, 0, &error);
    CHECK(e->t, object, "no JSON: %s\n%.500s", error.text, text);
    return object;
}

static double number(const json_t *object, const char *key, const char *inner) {
    const json_t *value = json_object_get(object, key);
    if (inner) value = json_object_get(value, inner);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static double sum(const json_t *rows, const char *key) {
    double all = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) all += number(json_array_get(rows, i), key, NULL);
    return all;
}

/* However they are put together, launches, bytes and operations are all there. */
static void check_rows(mdl_test *t, const json_t *object) {
    const char *const keys[] = {"launches", "bytes", "flops"};
    const json_t *launches = json_object_get(object, "launches");
    for (int i = 0; i < 3; i++) {
        double all = sum(launches, keys[i]);
        CHECK(t, all > 0 && sum(json_object_get(object, "classes"), keys[i]) == all, "%s by class", keys[i]);
        CHECK(t, sum(json_object_get(object, "kernels"), keys[i]) == all, "%s by kernel", keys[i]);
    }
    CHECK(t, (double)json_array_size(launches) == sum(launches, "launches"), "a row for each launch");
}

/* What a clock must say on any machine: a step holds its replay, and a batch is packed in some time. */
static void check_times(mdl_test *t, const json_t *o) {
    double step = number(o, "step", "median"), replay = number(o, "replay", "median");
    CHECK(t, replay > 0 && step >= replay, "a step of %g s, a replay of %g", step, replay);
    CHECK(t, number(o, "launches_one_by_one", "median") > 0, "launches take no time");
    CHECK(t, number(o, "rates", "copy") > 0 && number(o, "rates", "bf16") > 0, "no rates");
    CHECK(t, number(o, "loader", "packing") > 0 && number(o, "loader", "device_waits") >= 0, "the loader's times");
    CHECK(t, number(o, "tokens_in_sequences", NULL) > 0, "no tokens");
}

/* Measuring once is enough: what the file says is believed, what is no such file is replaced. */
static void rates_file(mdl_e2e *e) {
    static const char *const damaged[] = {"{\"half", "[]", "{\"DEVICE\": {\"copy\": 0, \"f32\": 1, \"bf16\": 1}}"};
    json_t *object = profile(e, "cpu.plan", "--steps 1 --warmup 1");
    const char *device = mdl_strdup(e->memory, json_string_value(json_object_get(object, "device")));
    json_decref(object);
    mdl_e2e_write(e, "cache/mdl/rates.json",
                  mdl_printf(e->memory, "{\"%s\": {\"copy\": 1.5e3, \"f32\": 2.5e3, \"bf16\": 3.5e3}, \"other\": 1}", device));
    object = profile(e, "cpu.plan", "--steps 1 --warmup 1");
    CHECK(e->t, number(object, "rates", "copy") == 1.5e3 && number(object, "rates", "bf16") == 3.5e3, "the kept rates");
    json_decref(object);
    for (int i = 0; i < 3; i++) {
        mdl_e2e_write(e, "cache/mdl/rates.json", damaged[i]);
        object = profile(e, "cpu.plan", "--steps 1 --warmup 1");
        CHECK(e->t, number(object, "rates", "copy") > 1e6, "no rates after a damaged file");
        CHECK(e->t, strstr(mdl_e2e_read(e, "cache/mdl/rates.json"), device), "the file is not written anew");
        json_decref(object);
    }
}

static void real(mdl_test *t) {
    static const char *const targets[][2] = {{"cpu", "--target cpu"}, {"host", "--target cuda --arch host --precision f32"}};
    mdl_e2e e = mdl_e2e_begin(t, "profile");
    char *caches = getenv("XDG_CACHE_HOME") ? mdl_strdup(e.memory, getenv("XDG_CACHE_HOME")) : NULL;
    setenv("XDG_CACHE_HOME", mdl_printf(e.memory, "%s/cache", e.folder), 1);
    mdl_e2e_fasta(&e, "few.fasta", 8, 20);
    for (int i = 0; i < 2; i++) {
        mdl_case(t, "a plan for %s", targets[i][0]);
        mdl_e2e_run(&e, 0, "mdlc models/esm2.mdl --set L=1 --set D=32 --set H=2 --tokens 64 --seqs 4 %s -o %s.plan --quiet",
                    targets[i][1], targets[i][0]);
        json_t *object = profile(&e, mdl_printf(e.memory, "%s.plan", targets[i][0]), "--steps 3 --svg step.svg");
        check_rows(t, object);
        check_times(t, object);
        CHECK(t, strstr(mdl_e2e_read(&e, "step.svg"), "</svg>"), "no picture");
        json_decref(object);
    }
    mdl_case(t, "where the time before the first step goes");
    const char *said = mdl_e2e_run(&e, 0, "mdlrun train cpu.plan data.files=few.fasta trainer.max_steps=2 --verbose");
    const char *first = strstr(said, "first step after ");
    double seconds = first ? atof(first + strlen("first step after ")) : 0, sum = 0, part = 0;
    for (const char *line = first; line && (line = strchr(line, '\n')) && sscanf(line, "\n %lf s  ", &part) == 1; line++)
        sum += part;
    CHECK(t, first && sum > 0 && fabs(seconds - sum) < 0.1 && strstr(said, " s  plan\n"), "%g seconds, %g in parts:\n%s", seconds, sum,
          said);
    CHECK(t, first && !strstr(first + 1, "first step after "), "it is said more than once:\n%s", said);
    mdl_case(t, "another program");
    json_t *object = profile(&e, "cpu.plan", "--steps 2 --program eval");
    CHECK(t, !strcmp(json_string_value(json_object_get(object, "program")), "eval"), "its name");
    check_rows(t, object);
    json_decref(object);
    mdl_case(t, "the file of rates");
    rates_file(&e);
    if (caches)
        setenv("XDG_CACHE_HOME", caches, 1);
    else
        unsetenv("XDG_CACHE_HOME");
    mdl_e2e_end(&e);
}

void suite_profile(mdl_test *t) {
    spreads(t);
    goldens(t);
    real(t);
}
