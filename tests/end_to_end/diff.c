/* mdlrun diff: plans that agree, across targets and precisions; one with a planted error, which is found at its line; what does not
 * fit. */
#include <stdio.h>
#include <string.h>

#include "tests/end_to_end/run.h"

/* No attention: what is compared is diff, on a model that any target has every kernel for. Line 14 is where the error goes. */
static const char *const model =
    "mdl 1;\n"
    "use \"std/nn.mdl\";\n"
    "dim D = 32, V = 33;\n"
    "vocab \"esm2.vocab.txt\" { \"bos\": \"<cls>\", \"eos\": \"<eos>\", \"pad\": \"<pad>\", \"unk\": \"<unk>\", \"mask\": "
    "\"<mask>\" }\n"
    "batch T = 64, S = 4;\n"
    "input ids    : i32[T] from(\"tokens\");\n"
    "input labels : i32[T] from(\"masked\");\n"
    "input seq    : segments[S, T];\n"
    "model flat {\n"
    "  param E: [V,D] as \"embed.weight\" init normal(0.0, 0.02) zero_row(pad);\n"
    "  let x = gather[V](E, ids);\n"
    "  let h = rmsnorm(x) as \"norm\";\n"
    "  let y = linear[D](h) as \"first\";\n"
    "  let u = gelu(y) * %s;\n"
    "  let z = linear[V](x + linear[D](u) as \"second\") as \"head\";\n"
    "  loss mlm = xent[V](z, labels) over labels != -100;\n"
    "  output logits.logits = z;\n"
    "}\n";

static void compile(mdl_e2e *e, const char *factor, const char *options, const char *plan) {
    mdl_text text = {.arena = e->memory};
    const char *place = strstr(model, "%s");
    mdl_text_printf(&text, "%.*s%s%s", (int)(place - model), model, factor, place + 2);
    mdl_e2e_write(e, "flat.mdl", text.at);
    mdl_e2e_run(e, 0, "ln -sf models/std models/esm2.vocab.txt . && mdlc flat.mdl %s -o %s --quiet", options, plan);
}

static const char *diff(mdl_e2e *e, int status, const char *plans) {
    return mdl_e2e_run(e, status, "mdlrun diff %s data.files=few.fasta", plans);
}

/* How many are compared; each is said in the text's third line. */
static int compared(const char *text) {
    int n = 0;
    const char *line = strstr(text, " values compared:");
    while (line && line > text && line[-1] != '\n') line--;
    return line && sscanf(line, "%d", &n) == 1 ? n : 0;
}

static void agreeing(mdl_e2e *e) {
    static const struct {
        const char *plans, *what;
    } cases[] = {{"cpu.plan cpu.plan", "one plan twice"},
                 {"cpu.plan host.plan", "the CPU and CUDA in emulation, f32"},
                 {"cpu.plan bf16.plan", "f32 and bf16"},
                 {"bf16.plan cpu.plan --program train_first", "another program, in the other order"}};
    for (int i = 0; i < 4; i++) {
        if (!mdl_case(e->t, "diff: %s", cases[i].what)) continue;
        const char *text = diff(e, 0, cases[i].plans);
        CHECK(e->t, strstr(text, "compared: 0 part"), "%s", text);
        CHECK(e->t, compared(text) >= 15, "too few have a counterpart:\n%s", text);
        CHECK(e->t, i || strstr(text, "0.0e+00") != NULL, "equal plans differ:\n%s", text);
    }
}

/* The factor's product is the first that parts, at its line; what comes before agrees. */
static void planted(mdl_e2e *e) {
    static const char *const plans[] = {"cpu.plan wrong.plan", "host.plan wrong.plan", "wrong.plan host.plan"};
    static const char *const errors[] = {"1.0e-02", "1.0e-02", "9.9e-03"}; /* 0.02 of 2, of 2, of 2.02 */
    for (int i = 0; i < 3; i++) {
        if (!mdl_case(e->t, "diff: a planted error, %s", plans[i])) continue;
        const char *text = diff(e, 1, plans[i]), *first = strstr(text, "the first that part");
        const char *row = first ? strchr(first, '\n') : NULL;
        row = row ? strchr(row + 1, '\n') : NULL;
        const char *end = row ? strchr(row + 1, '\n') : NULL;
        CHECK(e->t, end && strstr(row, "flat.mdl:14:") && strstr(row, "flat.mdl:14:") < end && strstr(row, errors[i]), "%s", text);
        CHECK(e->t, strstr(text, "values part"), "the last line:\n%s", text);
    }
    mdl_case(e->t, "diff: a tolerance that covers the error");
    const char *text = diff(e, 0, "cpu.plan wrong.plan --tolerance 0.1 --all");
    CHECK(e->t, strstr(text, "compared: 0 part") && strstr(text, "all, in A's order") && strstr(text, "grad of head.weight"), "%s",
          text);
}

/* Sums that overflow, at the line behind the factor: a difference that no tolerance covers. */
static void not_finite(mdl_e2e *e) {
    mdl_case(e->t, "diff: numbers that are not finite");
    const char *text = diff(e, 1, "cpu.plan infinite.plan --tolerance 10");
    CHECK(e->t, strstr(text, "not finite  ") && strstr(text, "flat.mdl:15:25"), "%s", text);
}

void suite_diff(mdl_test *t) {
    mdl_e2e e = mdl_e2e_begin(t, "diff");
    mdl_e2e_fasta(&e, "few.fasta", 8, 12);
    compile(&e, "2.0", "", "cpu.plan");
    compile(&e, "2.0", "--precision bf16", "bf16.plan");
    compile(&e, "2.0", "--target cuda --arch host --precision f32", "host.plan");
    compile(&e, "2.02", "", "wrong.plan");
    compile(&e, "3.4e38", "", "infinite.plan");
    agreeing(&e);
    planted(&e);
    not_finite(&e);
    mdl_e2e_end(&e);
}
