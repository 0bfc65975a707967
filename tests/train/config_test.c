/* The configuration: what reads, what wins, and the message of everything that does not read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/nearest.h"
#include "runtime/train/config.h"
#include "tests/check.h"

static const char *write_yaml(mdl_test *t, const char *text) {
    static char path[512];
    snprintf(path, sizeof path, "%s/c.yaml", mdl_test_scratch(t));
    FILE *file = fopen(path, "w");
    if (!file) return NULL;
    fputs(text, file);
    fclose(file);
    return path;
}

/* The message without the scratch folder in front of the file's name. */
static const char *message(mdl_test *t, mdl_status status) {
    const char *text = mdl_message(status), *dir = mdl_test_scratch(t);
    return !strncmp(text, dir, strlen(dir)) ? text + strlen(dir) + 1 : text;
}

static const struct {
    const char *name, *yaml, *override; /* one of the two may be NULL */
} broken[] = {
    {"unknown key", "trainer:\n  max_steps: 3\n  learning_rat: 1\n", NULL},
    {"unknown key, nothing near", "data:\n  zebra: 1\n", NULL},
    {"key of another section", "data:\n  max_steps: 1\n", NULL},
    {"key of another trainer", "trainer:\n  per_device_train_batch_size: 8\n", NULL},
    {"unknown section", "\ntraner:\n  max_steps: 1\n", NULL},
    {"unknown section, nothing near", "optimizer:\n  lr: 1\n", NULL},
    {"integer, got text", "trainer:\n  max_steps: many\n", NULL},
    {"integer, got a fraction", "trainer:\n  max_steps: 2.5\n", NULL},
    {"integer, got quotes", "trainer:\n  max_steps: \"250\"\n", NULL},
    {"integer, got nothing", "trainer:\n  max_steps:\n", NULL},
    {"integer, too large", "trainer:\n  max_steps: 99999999999999999999\n", NULL},
    {"integer, too small", "trainer:\n  max_steps: 0\n", NULL},
    {"number, got a list", "trainer:\n  learning_rate: [1, 2]\n", NULL},
    {"number, got a mapping", "trainer:\n  learning_rate: {peak: 1}\n", NULL},
    {"number, not finite", "trainer:\n  learning_rate: .nan\n", NULL},
    {"number, out of range", "data:\n  mlm_probability: 15\n", NULL},
    {"boolean, got a number", "data:\n  shuffle: 1\n", NULL},
    {"choice", "trainer:\n  lr_scheduler_type: polynomial\n", NULL},
    {"list of lists", "data:\n  files: [a, [b]]\n", NULL},
    {"empty list", "data:\n  files: []\n", NULL},
    {"text, got a list", "trainer:\n  output_dir: [a]\n", NULL},
    {"section, got a value", "trainer: 5\n", NULL},
    {"section, got a list", "trainer:\n  - max_steps: 5\n", NULL},
    {"root, got a list", "- 1\n- 2\n", NULL},
    {"root, got a value", "train\n", NULL},
    {"section twice", "data:\n  shuffle: true\ndata:\n  shuffle: false\n", NULL},
    {"key twice", "data:\n  shuffle: true\n  shuffle: false\n", NULL},
    {"key is a list", "data:\n  [a]: 1\n", NULL},
    {"two documents", "data:\n  shuffle: true\n---\ndata:\n  shuffle: false\n", NULL},
    {"malformed: indentation", "trainer:\n  max_steps: 1\n learning_rate: 1\n", NULL},
    {"malformed: open list", "data:\n  files: [a, b\ntrainer:\n  seed: 1\n", NULL},
    {"malformed: tab", "data:\n\tshuffle: true\n", NULL},
    {"malformed: quote", "trainer:\n  output_dir: \"runs\n", NULL},
    {"malformed: control byte", "trainer:\n  output_dir: a\x01z\n", NULL},
    {"malformed: alias", "trainer:\n  output_dir: *nowhere\n", NULL},
    {"override: unknown key", NULL, "trainer.max_stepz=3"},
    {"override: wrong type", NULL, "trainer.max_steps=ten"},
    {"override: no section", NULL, "max_steps=3"},
    {"override: no value", NULL, "trainer.max_steps"},
    {"override: dot after the sign", NULL, "files=a.fasta"},
    {"environment: no such name", NULL, "trainer.output_dir=${MDL_TEST_ABSENT}/x"},
    {"environment: in a list", NULL, "data.files=[a, ${oc.env:MDL_TEST_ABSENT}]"},
    {"environment: open", "trainer:\n  output_dir: a${HOME\n", NULL},
    {"merge: a value", "trainer:\n  <<: 5\n", NULL},
    {"merge: a list of values", "trainer:\n  <<: [a]\n", NULL},
    {"merge: unknown key", "data: &d\n  shuffle: true\ntrainer:\n  <<: *d\n", NULL},
    {"merge: itself", "trainer: &t\n  <<: *t\n", NULL},
    {"merge: twice", "trainer: &t\n  <<: {seed: 1}\n  <<: {seed: 2}\n", NULL},
    {"report_to: wandb", NULL, "trainer.report_to=wandb"},
    {"report_to: unknown", NULL, "trainer.report_to=[jsonl,tensorbord]"},
    {"report_to: none and more", NULL, "trainer.report_to=[none,jsonl]"},
    {"together: mask and random", "data:\n  mask_fraction: 0.8\n  random_fraction: 0.3\n", NULL},
    {"together: save_strategy", "trainer:\n  save_strategy: bset\n", NULL},
    {"together: decay before warm-up", "trainer:\n  warmup_steps: 100\n  decay_steps: 50\n", NULL},
};

static void test_errors(mdl_test *t) {
    char *text = NULL;
    size_t size;
    mdl_case(t, "every broken configuration has its message");
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        const char *path = broken[i].yaml ? write_yaml(t, broken[i].yaml) : NULL;
        char *const override = (char *)broken[i].override;
        mdl_config *config = NULL;
        mdl_status status = mdl_config_read(path, override ? 1 : 0, &override, &config);
        fprintf(out, "%s\n    %s\n", broken[i].name, status ? message(t, status) : "READ WITHOUT AN ERROR");
        CHECK(t, status && !config && mdl_status_code(status) == MDL_USAGE, "%s: expected a usage error", broken[i].name);
        mdl_status_free(status);
        mdl_config_free(config);
    }
    fclose(out);
    mdl_golden(t, "train/config_errors.txt", text);
    free(text);
}

static mdl_config *read(mdl_test *t, const char *yaml, int n, char *const *overrides) {
    mdl_config *config = NULL;
    mdl_status status = mdl_config_read(yaml ? write_yaml(t, yaml) : NULL, n, overrides, &config);
    CHECK(t, !status, "unexpected error: %s", mdl_message(status));
    mdl_status_free(status);
    return config;
}

static char *printed(const mdl_config *config) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    mdl_config_print(out, config, false);
    fclose(out);
    return text;
}

static void test_values(mdl_test *t) {
    mdl_case(t, "every type reads");
    mdl_config *c = read(t,
                         "trainer:\n  learning_rate: 1.6e-4\n  lr_scheduler_type: cosine\n  seed: 7\n  output_dir: 'a b'\n"
                         "data:\n  files:\n    - x.fasta\n    - \"y z.gz\"\n  shuffle: no\nmodel:\n  init_from: ~\n",
                         0, NULL);
    if (!c) return;
    CHECK(t, c->learning_rate == 1.6e-4, "learning_rate %g", c->learning_rate);
    CHECK(t, c->lr_scheduler_type == MDL_SCHEDULE_COSINE, "lr_scheduler_type %d", c->lr_scheduler_type);
    CHECK(t, c->seed == 7 && !strcmp(c->output_dir, "a b") && !c->shuffle && !*c->init_from,
          "seed, output_dir, shuffle or init_from");
    CHECK(t, c->files.n == 2 && !strcmp(c->files.at[1], "y z.gz"), "files: %d", c->files.n);
    CHECK(t, c->max_steps == 1000, "a key that is not given has its default, got %lld", (long long)c->max_steps);
    mdl_config_free(c);
}

static void test_merge(mdl_test *t) {
    mdl_case(t, "merged keys, where there is none of that name");
    mdl_config *c = read(t,
                         "trainer:\n  seed: 1\n  <<: [&a {seed: 2, max_steps: 2}, {<<: *a, max_steps: 3, save_steps: 3}]\n"
                         "  logging_steps: 4\n",
                         0, NULL);
    if (!c) return;
    CHECK(t, c->seed == 1 && c->max_steps == 2 && c->save_steps == 3 && c->logging_steps == 4, "%lld %lld %lld %lld",
          (long long)c->seed, (long long)c->max_steps, (long long)c->save_steps, (long long)c->logging_steps);
    mdl_config_free(c);
}

static void test_environment(mdl_test *t) {
    char *overrides[] = {"trainer.output_dir=~/x", "data.cache_dir=a~/${MDL_TEST_A}-${oc.env:MDL_TEST_B}${MDL_TEST_A}.z",
                         "data.files=[~, ~user/x, $MDL_TEST_A, \"${MDL_TEST_B}/*.gz\"]"};
    mdl_case(t, "~ and ${NAME} are expanded");
    setenv("MDL_TEST_A", "one", 1);
    setenv("MDL_TEST_B", "two words", 1);
    mdl_config *c = read(t, NULL, 3, overrides);
    if (!c) return;
    size_t n = strlen(getenv("HOME") ? getenv("HOME") : "~");
    CHECK(t, !strcmp(c->output_dir + n, "/x") && !strncmp(c->output_dir, getenv("HOME") ? getenv("HOME") : "~", n), "%s",
          c->output_dir);
    CHECK(t, !strcmp(c->cache_dir, "a~/one-two wordsone.z"), "%s", c->cache_dir);
    CHECK(t,
          c->files.n == 4 && !strcmp(c->files.at[1], "~user/x") && !strcmp(c->files.at[2], "$MDL_TEST_A") &&
              !strcmp(c->files.at[3], "two words/*.gz"),
          "files: %d", c->files.n);
    mdl_config_free(c);
}

static void test_origins(mdl_test *t) {
    char *text = NULL, *overrides[] = {"trainer.max_steps=7", "trainer.output_dir=a\nb"};
    size_t size;
    mdl_case(t, "the environment wins over the file, the command line over it; where each came from");
    setenv("MDL_TRAINER_MAX_STEPS", "5", 1);
    setenv("MDL_TRAINER_SEED", "6", 1);
    setenv("MDL_DATA_FILES", "[a, b]", 1);
    mdl_config *c = read(t, "trainer:\n  seed: 1\n  save_steps: 2\n", 2, overrides);
    FILE *out = open_memstream(&text, &size);
    if (c) mdl_config_print(out, c, true);
    fclose(out);
    CHECK(t, c && c->max_steps == 7 && c->seed == 6 && c->save_steps == 2 && c->files.n == 2, "values");
    CHECK(t, strstr(text, "  max_steps: 7  # command line\n") && strstr(text, "  seed: 6  # environment: MDL_TRAINER_SEED\n"), "%s",
          text);
    CHECK(t, strstr(text, "c.yaml:3\n") && strstr(text, "  learning_rate: 0.0004\n") && strstr(text, "a\\x0ab\"  # command line\n"),
          "%s", text);
    mdl_config *again = read(t, text, 0, NULL);
    CHECK(t, again && !strcmp(again->output_dir, "a\nb"), "the remarks do not read back");
    mdl_config_free(again);
    mdl_config_free(c);
    free(text);
    setenv("MDL_TRAINER_MAX_STEPZ", "5", 1);
    mdl_status status = mdl_config_read(NULL, 0, NULL, &c);
    CHECK(t, status && strstr(mdl_message(status), "environment: MDL_TRAINER_MAX_STEPZ: unknown key"), "%s", mdl_message(status));
    mdl_status_free(status);
    unsetenv("MDL_TRAINER_MAX_STEPS"), unsetenv("MDL_TRAINER_SEED"), unsetenv("MDL_DATA_FILES"), unsetenv("MDL_TRAINER_MAX_STEPZ");
}

static void test_precedence(mdl_test *t) {
    char *overrides[] = {"trainer.max_steps=20", "data.files=[a, b.gz]", "trainer.max_steps=30", "trainer.output_dir=x=y.z"};
    mdl_case(t, "the command line wins over the file, the later over the earlier");
    mdl_config *c = read(t, "trainer:\n  max_steps: 10\n  seed: 5\n", 4, overrides);
    if (!c) return;
    CHECK(t, c->max_steps == 30, "max_steps %lld", (long long)c->max_steps);
    CHECK(t, c->seed == 5, "seed %lld", (long long)c->seed);
    CHECK(t, c->files.n == 2 && !strcmp(c->files.at[0], "a") && !strcmp(c->files.at[1], "b.gz"), "files: %d", c->files.n);
    CHECK(t, !strcmp(c->output_dir, "x=y.z"), "output_dir %s", c->output_dir);
    mdl_config_free(c);
    mdl_case(t, "an empty file and no file give the defaults");
    mdl_config *empty = read(t, "", 0, NULL), *none = read(t, NULL, 0, NULL);
    char *a = empty ? printed(empty) : NULL, *b = none ? printed(none) : NULL;
    CHECK(t, a && b && !strcmp(a, b), "they differ");
    mdl_golden(t, "train/config_defaults.yaml", b ? b : "");
    mdl_config_free(empty);
    mdl_config_free(none);
    free(a);
    free(b);
}

static void test_round_trip(mdl_test *t) {
    char *overrides[] = {"trainer.learning_rate=0.30000000000000004",
                         "trainer.output_dir=a\"b\\c: #d",
                         "data.files=[p,\"a b,\\\"c]\", q ]",
                         "data.weights=[]",
                         "model.init_from=null",
                         "trainer.adam_epsilon=1e-12",
                         "data.random_crop=true"};
    mdl_case(t, "what --print-config prints reads back to the same");
    mdl_config *c = read(t, NULL, 7, overrides);
    if (!c) return;
    CHECK(t, c->files.n == 3 && !strcmp(c->files.at[1], "a b,\"c]") && !strcmp(c->files.at[2], "q"), "data.files");
    char *first = printed(c);
    mdl_config *again = read(t, first, 0, NULL);
    char *second = again ? printed(again) : NULL;
    CHECK(t, second && !strcmp(first, second), "first:\n%s\nsecond:\n%s", first, second ? second : "");
    CHECK(t, again && again->learning_rate == 0.1 + 0.2, "learning_rate lost digits");
    mdl_config_free(c);
    mdl_config_free(again);
    free(first);
    free(second);
}

static void test_shipped(mdl_test *t) {
    static const char *const names[] = {"quickstart", "esm2", "amplify"};
    for (int i = 0; i < 3; i++) {
        char path[512];
        mdl_config *config = NULL;
        mdl_case(t, "configs/%s.yaml reads and finds its data", names[i]);
        snprintf(path, sizeof path, "%s/configs/%s.yaml", mdl_test_source(t), names[i]);
        mdl_status status = mdl_config_read(path, 0, NULL, &config);
        CHECK(t, !status, "%s", mdl_message(status));
        mdl_status_free(status);
        const char *data = config ? mdl_config_locate(config, config->files.at[0]) : "";
        FILE *file = fopen(data, "r");
        CHECK(t, file, "there is no %s", data);
        if (file) fclose(file);
        mdl_config_free(config);
    }
}

static void test_nearest(mdl_test *t) {
    static const char *const names[] = {"train", "inspect", "check"};
    mdl_case(t, "the nearest name");
    CHECK(t, mdl_nearest("trian", 3, names) == names[0], "trian");
    CHECK(t, mdl_nearest("inspct", 3, names) == names[1], "inspct");
    CHECK(t, !mdl_nearest("zzzzz", 3, names), "zzzzz is near nothing");
    CHECK(t, !mdl_nearest("", 3, names), "the empty name is near nothing");
    CHECK(t, mdl_nearest("check", 3, names) == names[2], "the name itself");
}

static void test_missing(mdl_test *t) {
    mdl_config *config = NULL;
    mdl_case(t, "a file that is not there");
    mdl_status status = mdl_config_read("/nonexistent/c.yaml", 0, NULL, &config);
    CHECK(t, status && mdl_status_code(status) == MDL_BAD_INPUT && strstr(mdl_message(status), "/nonexistent/c.yaml"), "%s",
          mdl_message(status));
    mdl_status_free(status);
}

/* What an option does, or says where it is none. */
static void check_option(mdl_test *t, const char *option, const char *expected) {
    char override[256];
    char *const overrides[] = {override};
    mdl_config *config = NULL;
    snprintf(override, sizeof override, "trainer.%s=?", option);
    mdl_status status = mdl_config_read(NULL, 1, overrides, &config);
    const char *said = status ? strstr(mdl_message(status), "no key 'trainer.") : NULL, *hint = said ? strstr(said, "': ") : NULL;
    bool unknown = status && strstr(mdl_message(status), "unknown key");
    if (!strcmp(expected, "yes"))
        CHECK(t, !said && !unknown, "%s: %s", option, mdl_message(status));
    else
        CHECK(t, hint && !strcmp(hint + 3, expected), "%s: %s", option, status ? mdl_message(status) : "is there");
    mdl_status_free(status);
    mdl_config_free(config);
}

static void test_options(mdl_test *t) {
    enum {
#define KEY(section, name, type, fallback, lower, upper, help)
#define HINT(name, help) HINT_##name,
#include "runtime/train/config.def"
#undef KEY
#undef HINT
        N_HINTS
    };
    static const char *const keys[] = {
#define KEY(section, name, type, fallback, lower, upper, help) #section, #name,
#define HINT(name, help)
#include "runtime/train/config.def"
#undef KEY
#undef HINT
    };
    char path[512], option[64], expected[256], quoted[80];
    static char page[65536];
    int hints = 0;
    mdl_case(t, "docs/options.md is what the trainer says");
    snprintf(path, sizeof path, "%s/docs/options.md", mdl_test_source(t));
    FILE *file = fopen(path, "r");
    size_t n = file ? fread(page, 1, sizeof page - 1, file) : 0;
    CHECK(t, n && n < sizeof page - 1, "%s: %zu bytes", path, n);
    if (file) fclose(file);
    for (const char *line = page; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (sscanf(line, "| `%63[a-z0-9_]` | %255[^|\n]", option, expected) != 2) continue;
        size_t end = strlen(expected);
        while (end && expected[end - 1] == ' ') expected[--end] = 0;
        check_option(t, option, expected);
        hints += strcmp(expected, "yes") != 0;
    }
    CHECK(t, hints == N_HINTS, "%d rows that refuse, of %d", hints, (int)N_HINTS);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i += 2) {
        snprintf(quoted, sizeof quoted, "`%s`", keys[i + 1]);
        CHECK(t, strcmp(keys[i], "trainer") || strstr(page, quoted), "%s is not in it", quoted);
    }
}

void suite_config(mdl_test *t) {
    test_errors(t);
    test_values(t);
    test_merge(t);
    test_environment(t);
    test_precedence(t);
    test_origins(t);
    test_round_trip(t);
    test_shipped(t);
    test_nearest(t);
    test_missing(t);
    test_options(t);
}
