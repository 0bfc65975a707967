/* Times the loader alone, on synthetic sequences: reading the file the first time, opening it again at 90 % of an epoch, packing.
 *
 *   mdlloader FOLDER [--sequences N] [--tokens T] [--seconds S]
 *
 * The file, FOLDER/synthetic.fa, is made when it is not there. Packing is one thread's: its tokens over its seconds at work. */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/data.h"
#include "runtime/base/clock.h"
#include "runtime/data/random.h"

static const char vocab[] =
    "<cls>\n<pad>\n<eos>\n<unk>\nL\nA\nG\nV\nS\nE\nR\nT\nI\nD\nP\nK\nQ\nN\nF\nY\nM\nH\nW\nC\nX\nB\nU\nZ\nO\n.\n-\n<null_1>\n<mask>"
    "\n";

/* Lengths are log-normal as proteins' are: median 280, mean about 340. */
static int draw_length(int64_t i) {
    mdl_random r = mdl_random_at(1, MDL_RANDOM_CROP, 0, i, 0);
    double u = (r.word[0] + 0.5) / 4294967296.0, v = (r.word[1] + 0.5) / 4294967296.0;
    int n = (int)(280 * exp(0.62 * sqrt(-2 * log(u)) * cos(6.283185307179586 * v)));
    return n < 20 ? 20 : n > 8000 ? 8000 : n;
}

static void make_file(const char *path, int64_t n) {
    static char line[8192];
    FILE *f = fopen(path, "w");
    if (!f) perror(path), exit(4);
    for (int64_t i = 0; i < n; i++) {
        int length = draw_length(i);
        for (int k = 0; k < length; k += 16) {
            mdl_random r = mdl_random_at(2, MDL_RANDOM_CROP, 0, i, k);
            for (int b = 0; b < 16; b++) line[k + b] = "LAGVSERTIDPKQNFYMHWC"[(r.word[b / 4] >> 8 * (b % 4) & 255) * 20 >> 8];
        }
        fprintf(f, ">synthetic_%" PRId64 "\n", i);
        for (int k = 0; k < length; k += 60) fprintf(f, "%.*s\n", length - k < 60 ? length - k : 60, line + k);
    }
    if (fclose(f)) perror(path), exit(4);
}

static mdl_plan *make_plan(mdl_arena *memory, int64_t tokens) {
    static const char *const sources[] = {"tokens", "masked", "segments"}, *const specials[] = {"bos", "pad", "eos", "unk"};
    int64_t segments = tokens / 16;
    mdl_plan *plan = MDL_NEW(memory, mdl_plan);
    *plan = (mdl_plan){.memory = memory, .tokens = tokens, .segments = segments, .vocab = "vocab.txt"};
    mdl_plan_file file = {.path = plan->vocab, .bytes = vocab, .size = (int64_t)strlen(vocab)};
    MDL_PUSH(memory, plan->files, file);
    for (int i = 0; i < 3; i++) {
        mdl_plan_input input = {sources[i], sources[i], mdl_type_make(MDL_I32, 1, &tokens), 0, 0};
        if (i == 2) input.type = mdl_type_make(MDL_SEG, 2, (int64_t[]){segments, tokens});
        MDL_PUSH(memory, plan->inputs, input);
    }
    for (int i = 0; i < 4; i++) MDL_PUSH(memory, plan->specials, ((mdl_plan_dim){specials[i], i}));
    MDL_PUSH(memory, plan->specials, ((mdl_plan_dim){"mask", 32}));
    return plan;
}

/* MiB that are this process's own, not pages of files. */
static double own_memory(void) {
    char line[256];
    long kilobytes = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) sscanf(line, "RssAnon: %ld", &kilobytes);
    if (f) fclose(f);
    return (double)kilobytes / 1024;
}

static void must(mdl_status status) {
    if (!status) return;
    fprintf(stderr, "mdlloader: error: %s\n", mdl_message(status));
    exit((int)mdl_status_code(status));
}

static mdl_loader *open_timed(const mdl_plan *plan, const mdl_loader_options *options, const char *what) {
    mdl_loader *loader;
    double start = mdl_seconds_now();
    must(mdl_loader_open(plan, options, &loader));
    printf("%-28s %.3f s\n", what, mdl_seconds_now() - start);
    return loader;
}

static void resume(const mdl_plan *plan, const mdl_loader_options *options) {
    const mdl_batch *batch;
    double start = mdl_seconds_now();
    mdl_loader *loader = open_timed(plan, options, "open again");
    must(mdl_loader_seek(loader, (mdl_data_position){.source[0].next = mdl_loader_facts(loader)->sequences * 9 / 10}));
    must(mdl_loader_next(loader, &batch, NULL, NULL));
    printf("%-28s %.3f s, until the first batch\n", "resume at 90 % of an epoch", mdl_seconds_now() - start);
    mdl_loader_close(loader);
}

static void pack(const mdl_plan *plan, const mdl_loader_options *options, double seconds) {
    const mdl_batch *batch;
    int64_t tokens = 0, in_sequences = 0;
    mdl_loader *loader = open_timed(plan, options, "and again");
    for (double end = mdl_seconds_now() + seconds; mdl_seconds_now() < end; tokens += plan->tokens, in_sequences += batch->tokens)
        must(mdl_loader_next(loader, &batch, NULL, NULL));
    double packing = mdl_loader_spent(loader).packing;
    printf("%-28s %.2f million tokens a second of one thread, %.1f %% of them in sequences\n", "packing",
           (double)tokens / packing / 1e6, 100.0 * (double)in_sequences / (double)tokens);
    printf("%-28s %.1f MiB\n", "memory that is not the file", own_memory());
    mdl_loader_close(loader);
}

int main(int argc, char **argv) {
    static const struct option names[] = {{"sequences", 1, 0, 'n'}, {"tokens", 1, 0, 't'}, {"seconds", 1, 0, 's'}, {0}};
    int64_t n = 1000000, tokens = 16384;
    double seconds = 5;
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 'n') n = atoll(optarg);
        if (c == 't') tokens = atoll(optarg);
        if (c == 's') seconds = atof(optarg);
        if (c == '?') return 2;
    }
    if (optind + 1 != argc || n < 1 || tokens < 1024)
        return fputs("usage: mdlloader FOLDER [--sequences N] [--tokens T] [--seconds S]\n", stderr), 2;
    mdl_arena *memory = mdl_arena_new();
    const char *path = mdl_printf(memory, "%s/synthetic.fa", argv[optind]);
    if (access(path, F_OK)) make_file(path, n);
    sleep(1); /* a file that has only just changed is read again: see mdl_corpus_head */
    remove(mdl_printf(memory, "%s.mdldata", path));
    mdl_plan *plan = make_plan(memory, tokens);
    mdl_loader_options options = mdl_bench_data(&path);
    mdl_loader_close(open_timed(plan, &options, "first reading"));
    resume(plan, &options);
    pack(plan, &options, seconds);
    mdl_arena_free(memory);
    return 0;
}
