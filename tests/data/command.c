/* Suite `data_command`: mdlrun data, as a transcript and as JSON. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tests/data/fixture.h"

static const char make_files[] =
    "mkdir -p command && cd command && printf '; "
    "remark\\n>a\\nMKVLAGSERTIDPKQNFYMHWC*\\n>b\\n>c\\nmkvjJ\\n>d\\nMKVLAGSERTIDPKQNFYMHWC\\n' > a.fa && "
    "printf 'name,seq\\nx,MKV\\ny,\\nz,LAJG\\n' > b.csv && printf "
    "'L\\nA\\nG\\nV\\nS\\nE\\nR\\nT\\nI\\nD\\nP\\nK\\nQ\\nN\\nF\\nY\\nM\\n' > vocab.txt";

static void transcript(mdl_test *t, mdl_arena *arena) {
    static const char *const commands[] = {
        "mdlrun data a.fa b.csv --sequence-column seq --vocab vocab.txt --tokens 24 --max-seq-length 20",
        "mdlrun data '*.csv' --sequence-column seq",
        "mdlrun data",
        "mdlrun data b.csv",
        "mdlrun data c.fa",
        "mdlrun data a.fa --format fast",
        "mdlrun data a.fa --vocab vocab.txt --plan x.plan",
        "mdlrun data a.fa --token 5",
    };
    mdl_text text = {.arena = arena};
    if (!mdl_case(t, "mdlrun data: what it prints")) return;
    CHECK(t, !mdl_shell(t, NULL, "cd '%s' && %s", mdl_test_scratch(t), make_files), "files");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const char *output;
        int code =
            mdl_shell(t, &output, "cd '%s/command' && PATH='%s':$PATH && %s", mdl_test_scratch(t), MDL_BINARY_DIR, commands[i]);
        mdl_text_printf(&text, "$ %s\n%s[%d]\n", commands[i], output, code);
    }
    mdl_golden(t, "data/command.txt", text.at);
}

static void as_json(mdl_test *t) {
    const char *output;
    mdl_case(t, "mdlrun data --json: parses, and says the same");
    int code = mdl_shell(t, &output, "cd '%s' && %s && '%s/mdlrun' data a.fa --json --vocab vocab.txt --tokens 30",
                         mdl_test_scratch(t), make_files, MDL_BINARY_DIR);
    json_t *root = json_loads(output, 0, NULL);
    CHECK(t, !code && root, "exit %d: %s", code, output);
    if (!root) return;
    CHECK(t, json_integer_value(json_object_get(root, "sequences")) == 3, "sequences");
    CHECK(t, json_integer_value(json_object_get(root, "repeats")) == 1, "repeats");
    CHECK(t, json_integer_value(json_object_get(json_object_get(root, "outside_vocabulary"), "J")) == 1, "outside");
    CHECK(t, !json_object_get(json_object_get(root, "outside_vocabulary"), "m"), "lower case is known");
    CHECK(t, json_integer_value(json_object_get(json_object_get(root, "packing"), "batches")) == 2, "batches");
    json_decref(root);
}

void suite_data_command(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    transcript(t, arena);
    as_json(t);
    mdl_arena_free(arena);
}
