/* Where corpora are kept, whether one still belongs to its source, and the mapping. */
#include "runtime/data/corpus.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "runtime/base/file.h"
#include "runtime/data/corpus_write.h"

enum { MAX_PLACES = 2, CLOCK_STEP = 20000000 }; /* nanoseconds: file systems' times may be so coarse */

typedef struct {
    mdl_arena *memory;
    const char *path; /* as given */
    const mdl_format_options *options;
    const mdl_format *format;
    mdl_corpus_head key;
    const char *place[MAX_PLACES]; /* where it may be kept, the best first */
    int places;
    bool only_there; /* the place was asked for */
} request;

static int64_t nanoseconds(struct timespec t) { return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec; }

static uint64_t hash_text(const char *text, uint64_t seed) { return XXH3_64bits_withSeed(text, strlen(text) + 1, seed); }

static uint64_t hash_options(const request *r) {
    uint64_t hash = hash_text(r->format->name, MDL_CORPUS_VERSION);
    if (!r->format->table) return hash;
    hash = hash_text(r->options->sequence_column, hash);
    for (int i = 0; i < r->options->n_columns; i++) hash = hash_text(r->options->columns[i], hash);
    return hash;
}

static mdl_status look_at_source(request *r, bool *regular) {
    struct stat info;
    if (stat(r->path, &info)) return mdl_fail(MDL_BAD_INPUT, "cannot open it: %s", strerror(errno));
    char *resolved = realpath(r->path, NULL);
    *regular = S_ISREG(info.st_mode) && resolved;
    r->key = (mdl_corpus_head){.magic = MDL_CORPUS_MAGIC,
                               .version = MDL_CORPUS_VERSION,
                               .columns = (uint32_t)r->options->n_columns,
                               .options = hash_options(r),
                               .path = hash_text(resolved ? resolved : r->path, 0),
                               .source_bytes = info.st_size,
                               .source_time = nanoseconds(info.st_mtim)};
    free(resolved);
    return MDL_OK;
}

static void add_place(request *r, const char *folder, const char *name) {
    if (folder) r->place[r->places++] = mdl_printf(r->memory, "%s/%s", folder, name);
}

/* A table's corpora differ by the columns that were asked for, and so do their names; in a folder that is shared, names tell paths
 * apart. */
static void find_places(request *r, const char *folder) {
    const char *slash = strrchr(r->path, '/'), *file = slash ? slash + 1 : r->path;
    const char *beside = slash ? mdl_strndup(r->memory, r->path, (size_t)(slash - r->path)) : ".";
    const char *name = mdl_printf(r->memory, "%.180s.mdldata", file);
    if (slash == r->path) beside = "/";
    if (r->format->table) name = mdl_printf(r->memory, "%.180s.%08" PRIx32 ".mdldata", file, (uint32_t)r->key.options);
    const char *shared = mdl_printf(r->memory, "%016" PRIx64 "-%s", r->key.path, name);
    r->only_there = folder && *folder;
    if (r->only_there) {
        add_place(r, folder, shared);
    } else {
        add_place(r, beside, name);
        add_place(r, mdl_file_in_cache(r->memory, "data"), shared);
    }
}

static mdl_status check_rows(const mdl_corpus *c) {
    int64_t at = 0;
    for (int64_t i = 0; i < c->n; i++) {
        const mdl_record *row = mdl_corpus_at(c, i);
        if (row->start != at || !row->length || row->length > INT32_MAX) return mdl_fail(MDL_BAD_INPUT, "row %" PRId64, i);
        at += row->length;
    }
    return at == c->head->facts.residues ? MDL_OK : mdl_fail(MDL_BAD_INPUT, "the rows end at %" PRId64, at);
}

/* Everything but the residues, which are checked against their hash as they are used. */
static mdl_status check_whole(mdl_corpus *c) {
    const mdl_corpus_head *h = c->head;
    if (c->bytes < MDL_CORPUS_HEAD || memcmp(h->magic, MDL_CORPUS_MAGIC, sizeof h->magic))
        return mdl_fail(MDL_BAD_INPUT, "no head");
    if (h->version != MDL_CORPUS_VERSION) return mdl_fail(MDL_BAD_INPUT, "version %" PRIu32, h->version);
    if (h->head_hash != mdl_corpus_head_hash(h)) return mdl_fail(MDL_BAD_INPUT, "its head");
    size_t room = c->bytes - MDL_CORPUS_HEAD;
    c->stride = mdl_corpus_stride((int)h->columns);
    c->n = h->facts.records;
    c->residues = (const char *)c->map + MDL_CORPUS_HEAD;
    if (h->columns > 65536 || c->n < 1 || (size_t)c->n > room / c->stride || h->rows_at % 8 ||
        h->rows_at != (int64_t)(c->bytes - (size_t)c->n * c->stride) || h->facts.residues < 1 ||
        h->facts.residues > h->rows_at - MDL_CORPUS_HEAD)
        return mdl_fail(MDL_BAD_INPUT, "its size");
    c->rows = (const char *)c->map + h->rows_at;
    if (XXH3_64bits(c->rows, (size_t)c->n * c->stride) != h->rows_hash) return mdl_fail(MDL_BAD_INPUT, "its rows");
    return check_rows(c);
}

static bool belongs(const mdl_corpus_head *h, const mdl_corpus_head *key) {
    return h->options == key->options && h->columns == key->columns && h->path == key->path &&
           h->source_bytes == key->source_bytes && h->source_time == key->source_time;
}

mdl_status mdl_corpus_map(FILE *file, mdl_corpus *c) {
    struct stat info;
    if (fstat(fileno(file), &info)) return mdl_fail_errno("its size");
    c->bytes = (size_t)info.st_size;
    c->map = c->bytes ? mmap(NULL, c->bytes, PROT_READ, MAP_SHARED, fileno(file), 0) : MAP_FAILED;
    if (c->map == MAP_FAILED) {
        c->map = NULL;
        return mdl_fail_errno("cannot map %zu bytes", c->bytes);
    }
    c->head = c->map;
    return check_whole(c);
}

/* Maps what is kept at a place; closed again when it is none that serves. */
static bool reuse(const request *r, const char *place, mdl_corpus *c, const char **note) {
    FILE *file = fopen(place, "rbe");
    if (!file) return false;
    mdl_status status = mdl_corpus_map(file, c);
    fclose(file);
    if (!status && belongs(c->head, &r->key)) return true;
    if (status)
        *note = mdl_printf(r->memory, "%s cannot be used (%s) and is made anew", place, mdl_message(status));
    else if (c->head->source_time >= 0)
        *note = mdl_printf(r->memory, "%s is of another state of %s and is made anew", place, r->path);
    mdl_status_free(status);
    mdl_corpus_close(c);
    return false;
}

/* A source that changed within a step of the clock may change again and keep its time. */
static mdl_status write_corpus(request *r, const char *folder, FILE *out) {
    struct timespec now;
    bool regular;
    clock_gettime(CLOCK_REALTIME, &now);
    mdl_corpus_head key = r->key;
    if (nanoseconds(now) - key.source_time < CLOCK_STEP) key.source_time = -1;
    mdl_status status = mdl_corpus_write(r->path, r->format, r->options, &key, folder, out);
    key = r->key;
    if (!status) status = look_at_source(r, &regular);
    if (!status && regular && !belongs(&r->key, &key)) status = mdl_fail(MDL_BAD_INPUT, "it changed while it was read");
    return status;
}

/* A run that is killed while it writes leaves its part behind; one that still writes touches its own all the time. */
static void sweep(const char *folder, const char *name) {
    enum { ABANDONED = 3600 };
    struct stat info;
    size_t n = strlen(name);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (!strncmp(entry->d_name, name, n) && !strncmp(entry->d_name + n, ".tmp-", 5) &&
            !fstatat(dirfd(dir), entry->d_name, &info, 0) && info.st_mtime < time(NULL) - ABANDONED)
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir) closedir(dir);
}

static const char *folder_of(mdl_arena *memory, const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == path ? "/" : mdl_strndup(memory, path, (size_t)(slash - path));
}

static mdl_status make_at(request *r, const char *place, mdl_new_file *file, mdl_corpus *c) {
    sweep(folder_of(r->memory, place), strrchr(place, '/') + 1);
    mdl_status status = mdl_file_commit(file, write_corpus(r, folder_of(r->memory, place), file->out));
    if (status) return status;
    FILE *in = fopen(place, "rbe");
    if (!in) return mdl_fail_errno("%s", place);
    status = mdl_corpus_map(in, c);
    fclose(in);
    return status;
}

static mdl_status make_for_now(request *r, mdl_corpus *c) {
    FILE *file = tmpfile();
    if (!file) return mdl_fail_errno("cannot make a temporary file for what is decoded of it");
    mdl_status status = write_corpus(r, "/tmp", file);
    if (!status) status = mdl_corpus_map(file, c);
    fclose(file);
    return status;
}

static mdl_status make(request *r, mdl_corpus *c) {
    for (int i = 0; i < r->places; i++) {
        mdl_new_file file;
        mdl_status status = mdl_file_make_folder(folder_of(r->memory, r->place[i]));
        if (!status) status = mdl_file_create(r->place[i], &file);
        if (!status) return make_at(r, r->place[i], &file, c);
        if (r->only_there) return status;
        mdl_status_free(status);
    }
    return make_for_now(r, c);
}

static mdl_status open_corpus(request *r, const char *folder, mdl_corpus *c, const char **note) {
    bool regular;
    mdl_status status = look_at_source(r, &regular);
    if (status) return status;
    if (regular) find_places(r, folder);
    for (int i = 0; i < r->places; i++)
        if (reuse(r, r->place[i], c, note)) return MDL_OK;
    status = make(r, c);
    if (status) mdl_corpus_close(c);
    return status;
}

mdl_status mdl_corpus_open(const char *path, const mdl_format_options *options, const char *folder, mdl_arena *memory,
                           mdl_corpus *corpus, const char **note) {
    mdl_format_options filled = *options;
    if (!filled.sequence_column || !*filled.sequence_column) filled.sequence_column = "sequence";
    request r = {.memory = memory, .path = path, .options = &filled};
    *corpus = (mdl_corpus){0};
    *note = NULL;
    mdl_status status = mdl_format_of(path, &filled, &r.format);
    if (!status) status = open_corpus(&r, folder, corpus, note);
    if (status) return mdl_context(status, "%s", path);
    corpus->path = mdl_strdup(memory, path);
    corpus->unit = r.format->unit;
    return MDL_OK;
}

void mdl_corpus_close(mdl_corpus *corpus) {
    if (corpus->map) munmap(corpus->map, corpus->bytes);
    *corpus = (mdl_corpus){0};
}
