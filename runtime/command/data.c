/* mdlrun data FILES ... */
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/command/arguments.h"
#include "runtime/command/command.h"
#include "runtime/data/summary.h"
#include "runtime/data/tokenizer.h"
#include "runtime/plan/plan.h"

#define USAGE "mdlrun data FILE ... [options]"
enum { BAR = 40, FALLBACK_TOKENS = 16384, FALLBACK_LENGTH = 1024 };

typedef struct {
    mdl_arguments arguments;
    const char *plan, *vocab, *format, *sequence_column, *folder;
    int tokens, max_seq_length;
    bool json;
} options;

/* What is shown: the data and what they are looked at with. */
typedef struct {
    mdl_arena *memory;
    mdl_plan *plan;
    mdl_tokenizer tokenizer;
    bool has_vocabulary;
    mdl_packing_plan packing;
    mdl_dataset set;
    mdl_data_summary summary;
} view;

static void help(void) {
    puts("usage: " USAGE
         "\n"
         "\n"
         "Reads data files, or what is kept of them, and tells what is in them: counts, lengths, letters, and how full batches "
         "get.\n"
         "\n"
         "  --plan PLAN           its vocabulary, its batches, its special tokens\n"
         "  --vocab FILE          a vocabulary, one token a line: which letters are outside of it\n"
         "  --tokens N            of a batch (the plan's, or 16384)\n"
         "  --max-seq-length N    tokens of a sequence, longer ones are cut (1024)\n"
         "  --format NAME         fasta, csv, tsv, lines or parquet (by the files' names)\n"
         "  --sequence-column NAME  of tables (sequence)\n"
         "  --cache-dir DIR       where decoded data are kept (beside the files, or in ~/.cache/mdl/data)\n"
         "  --json                everything as JSON\n"
         "  --help                print this\n"
         "\n"
         "Letters are those of the files. What is decoded is kept, and training on the same files does not decode them again.");
}

/* A vocabulary without a plan: a plan of nothing else. */
static mdl_status read_vocabulary(view *v, const char *path) {
    mdl_text text = {.arena = v->memory};
    char block[4096];
    FILE *f = fopen(path, "rbe");
    if (!f) return mdl_fail(MDL_BAD_INPUT, "%s: cannot open it", path);
    mdl_text_append(&text, "", 0);
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) mdl_text_append(&text, block, n);
    fclose(f);
    mdl_plan bare = {.memory = v->memory, .vocab = path};
    mdl_plan_file file = {.path = path, .bytes = text.at, .size = (int64_t)text.n};
    MDL_PUSH(v->memory, bare.files, file);
    return mdl_tokenizer_open(&bare, v->memory, &v->tokenizer);
}

static mdl_status look_with(view *v, const options *o) {
    mdl_status status = MDL_OK;
    if (o->plan && o->vocab) return mdl_fail(MDL_USAGE, "data: --plan has a vocabulary; give one of --plan and --vocab");
    if (o->plan) status = mdl_plan_read(o->plan, &v->plan);
    if (!status && o->plan) status = mdl_tokenizer_open(v->plan, v->memory, &v->tokenizer);
    if (!status && o->vocab) status = read_vocabulary(v, o->vocab);
    if (status) return status;
    const mdl_plan *plan = v->plan;
    v->has_vocabulary = o->plan || o->vocab;
    v->packing = (mdl_packing_plan){.tokens = o->tokens ? o->tokens
                                              : plan    ? plan->tokens
                                                        : FALLBACK_TOKENS,
                                    .segments = plan && !o->tokens ? plan->segments : 0,
                                    .max_length = o->max_seq_length,
                                    .added = plan ? mdl_tokenizer_added(&v->tokenizer) : 0};
    if (plan && plan->max_length && plan->max_length < v->packing.max_length) v->packing.max_length = plan->max_length;
    if (v->packing.max_length > v->packing.tokens) v->packing.max_length = v->packing.tokens;
    return MDL_OK;
}

/* ---- text ---- */

static void print_files(const view *v) {
    for (int i = 0; i < v->set.n_corpora; i++) {
        const mdl_corpus *c = &v->set.corpora[i];
        printf("%-11s %s: %" PRId64 " sequences, %" PRId64 " residues\n", i ? "" : "files", c->path, c->n, c->head->facts.residues);
    }
    if (v->set.notes) printf("%-11s %s\n", "note", v->set.notes);
}

static void print_counts(const view *v) {
    const mdl_data_summary *s = &v->summary;
    printf("%-11s %" PRId64 ", of %" PRId64 " residues\n", "sequences", s->sequences, s->residues);
    printf("%-11s shortest %" PRId64 ", median %" PRId64 ", mean %.1f, longest %" PRId64 "\n", "lengths", s->shortest, s->median,
           (double)s->residues / (double)s->sequences, s->longest);
    printf("%-11s sequences that equal an earlier one: %" PRId64 "\n", "repeats", s->repeats);
    if (s->stops) printf("%-11s sequences with a '*' at the end, which is taken off: %" PRId64 "\n", "stops", s->stops);
    if (s->comments) printf("%-11s lines that are skipped: %" PRId64 "\n", "remarks", s->comments);
    for (int i = 0; i < v->set.n_corpora; i++) {
        const mdl_corpus_facts *f = &v->set.corpora[i].head->facts;
        if (f->empty)
            printf("%-11s records without residues, left out: %" PRId64 " of %s, the first at %s %" PRId64 "\n", "empty", f->empty,
                   v->set.corpora[i].path, v->set.corpora[i].unit, f->empty_line);
    }
}

static void print_histogram(const mdl_data_summary *s) {
    int first = 0, last = MDL_LENGTH_BINS - 1;
    int64_t most = 1;
    while (!s->bin[first]) first++;
    while (!s->bin[last]) last--;
    for (int i = first; i <= last; i++)
        if (s->bin[i] > most) most = s->bin[i];
    printf("\n%11s\n", "residues");
    for (int i = first; i <= last; i++) {
        int width = (int)((s->bin[i] * BAR + most - 1) / most);
        printf("%5" PRId64 "%6" PRId64 " |%-*.*s %" PRId64 "\n", mdl_length_bin_start(i), mdl_length_bin_start(i + 1) - 1, BAR,
               width, "########################################", s->bin[i]);
    }
    printf("\n");
}

/* Letters by how many there are. */
static int by_count(const mdl_data_summary *s, int order[256]) {
    int n = 0;
    for (int c = 0; c < 256; c++) {
        if (!s->letter[c]) continue;
        int at = n++;
        for (; at && s->letter[order[at - 1]] < s->letter[c]; at--) order[at] = order[at - 1];
        order[at] = c;
    }
    return n;
}

static void print_outside(const view *v, int letter) {
    printf("%-11s '%c': %" PRId64, "outside", letter, v->summary.letter[letter]);
    for (int i = 0; i < v->set.n_corpora; i++) {
        const mdl_corpus *c = &v->set.corpora[i];
        if (!c->head->facts.letter[letter]) continue;
        printf(", first in the record of %s %" PRId64 " of %s\n", c->unit, c->head->facts.letter_line[letter], c->path);
        return;
    }
}

static void print_letters(const view *v) {
    int order[256], n = by_count(&v->summary, order);
    printf("%-11s", "letters");
    for (int i = 0; i < n; i++)
        printf("%s%c %.2f%%", i && i % 10 == 0 ? "\n             " : "  ", order[i],
               100.0 * (double)v->summary.letter[order[i]] / (double)v->summary.residues);
    printf("\n");
    int64_t lower = 0;
    for (int i = 0; i < n; i++) {
        if (v->has_vocabulary && !v->tokenizer.known[order[i]]) print_outside(v, order[i]);
        if (islower(order[i])) lower += v->summary.letter[order[i]];
    }
    if (lower) printf("%-11s %" PRId64 " letters\n", "lower case", lower);
}

static void print_packing(const view *v) {
    const mdl_data_summary *s = &v->summary;
    printf("%-11s batches of %" PRId64 " tokens: %" PRId64 " an epoch, %.1f%% full", "packing", v->packing.tokens, s->batches,
           100 * s->full);
    if (s->cut) printf("; %" PRId64 " sequences are cut at %" PRId64 " tokens", s->cut, v->packing.max_length);
    printf("%s\n", v->plan ? "" : "; without a plan, special tokens do not count");
}

static void print_text(const view *v) {
    print_files(v);
    print_counts(v);
    print_histogram(&v->summary);
    print_letters(v);
    print_packing(v);
}

/* ---- JSON ---- */

static json_t *files_json(const view *v) {
    json_t *files = json_array();
    for (int i = 0; i < v->set.n_corpora; i++) {
        const mdl_corpus *c = &v->set.corpora[i];
        const mdl_corpus_facts *f = &c->head->facts;
        json_array_append_new(
            files, json_pack("{s:s, s:I, s:I, s:I, s:I}", "path", c->path, "sequences", (json_int_t)c->n, "residues",
                             (json_int_t)f->residues, "empty", (json_int_t)f->empty, "first_empty", (json_int_t)f->empty_line));
    }
    return files;
}

static json_t *letters_json(const view *v, bool outside) {
    json_t *letters = json_object();
    for (int c = 0; c < 256; c++) {
        const char name[2] = {(char)c, 0};
        if (v->summary.letter[c] && (!outside || !v->tokenizer.known[c]))
            json_object_set_new(letters, name, json_integer(v->summary.letter[c]));
    }
    return letters;
}

static json_t *lengths_json(const mdl_data_summary *s) {
    json_t *bins = json_array();
    for (int i = 0; i < MDL_LENGTH_BINS; i++)
        if (s->bin[i]) json_array_append_new(bins, json_pack("[I, I]", (json_int_t)mdl_length_bin_start(i), (json_int_t)s->bin[i]));
    return json_pack("{s:I, s:I, s:f, s:I, s:o}", "shortest", (json_int_t)s->shortest, "median", (json_int_t)s->median, "mean",
                     (double)s->residues / (double)s->sequences, "longest", (json_int_t)s->longest, "histogram", bins);
}

static mdl_status print_json(const view *v) {
    const mdl_data_summary *s = &v->summary;
    json_t *packing = json_pack("{s:I, s:I, s:I, s:f, s:I, s:I}", "tokens", (json_int_t)v->packing.tokens, "max_seq_length",
                                (json_int_t)v->packing.max_length, "batches", (json_int_t)s->batches, "full", s->full, "cut",
                                (json_int_t)s->cut, "tokens_packed", (json_int_t)s->packed);
    json_t *root = json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "files", files_json(v), "sequences",
                             (json_int_t)s->sequences, "residues", (json_int_t)s->residues, "empty", (json_int_t)s->empty,
                             "remarks", (json_int_t)s->comments, "stops", (json_int_t)s->stops, "repeats", (json_int_t)s->repeats,
                             "lengths", lengths_json(s), "letters", letters_json(v, false), "packing", packing);
    if (!root) return mdl_fail(MDL_SYSTEM, "data: the figures cannot be put into JSON"); /* a path that is not UTF-8 */
    if (v->has_vocabulary) json_object_set_new(root, "outside_vocabulary", letters_json(v, true));
    int failed = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(root);
    puts("");
    return failed ? mdl_fail(MDL_SYSTEM, "data: cannot write JSON") : MDL_OK;
}

static mdl_status show(view *v, const options *o) {
    mdl_dataset_options data = {.files = (const char *const *)o->arguments.files,
                                .n_files = o->arguments.n_files,
                                .format = {.format = o->format, .sequence_column = o->sequence_column},
                                .folder = o->folder};
    mdl_status status = look_with(v, o);
    if (!status) status = mdl_dataset_open(&data, v->memory, &v->set);
    if (status) return status;
    mdl_data_summarize(&v->set, &v->packing, &v->summary);
    if (o->json)
        status = print_json(v);
    else
        print_text(v);
    mdl_dataset_close(&v->set);
    return status ? status : mdl_file_flush_stdout();
}

static mdl_status run(const options *o) {
    if (o->arguments.help) return help(), mdl_file_flush_stdout();
    if (!o->arguments.n_files) return mdl_fail(MDL_USAGE, "data: which files? usage: %s", USAGE);
    view v = {.memory = mdl_arena_new()};
    mdl_status status = show(&v, o);
    if (v.plan) mdl_plan_free(v.plan);
    mdl_arena_free(v.memory);
    return status;
}

mdl_status mdl_command_data(int argc, char **argv) {
    options o = {.max_seq_length = FALLBACK_LENGTH};
    const mdl_option table[] = {{"--plan", .text = &o.plan},
                                {"--vocab", .text = &o.vocab},
                                {"--tokens", .number = &o.tokens},
                                {"--max-seq-length", .number = &o.max_seq_length},
                                {"--format", .text = &o.format},
                                {"--sequence-column", .text = &o.sequence_column},
                                {"--cache-dir", .text = &o.folder},
                                {"--json", .flag = &o.json},
                                {0}};
    o.arguments = (mdl_arguments){.command = "data", .usage = USAGE, .options = table};
    o.arguments.files = calloc((size_t)argc + 1, sizeof(char *));
    if (!o.arguments.files) return mdl_fail(MDL_SYSTEM, "no memory");
    mdl_status status = mdl_arguments_parse(&o.arguments, argc, argv);
    if (!status) status = run(&o);
    free(o.arguments.files);
    return status;
}
