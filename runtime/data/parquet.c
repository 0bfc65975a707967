/* Parquet, by a module that is loaded when the first such file comes. */
#include <inttypes.h>
#include <math.h>

#include "runtime/base/library.h"
#include "runtime/data/format.h"
#include "runtime/data/parquet_abi.h"

typedef struct {
    int (*abi)(void);
    mdl_parquet *(*open)(const char *, const char *, const char *const *, int, char *);
    int (*next)(mdl_parquet *, mdl_parquet_batch *, char *);
    void (*close)(mdl_parquet *);
} module;

static mdl_status load(module *m) {
    void *library;
    mdl_status status = mdl_library_open_own("libmdl_parquet.so", &library);
    if (!status) status = mdl_library_function(library, "mdl_parquet_abi", &m->abi);
    if (!status) status = mdl_library_function(library, "mdl_parquet_open", &m->open);
    if (!status) status = mdl_library_function(library, "mdl_parquet_next", &m->next);
    if (!status) status = mdl_library_function(library, "mdl_parquet_close", &m->close);
    if (!status && m->abi() != MDL_PARQUET_ABI)
        status = mdl_fail(MDL_SYSTEM, "libmdl_parquet.so is of another build (interface %d, not %d)", m->abi(), MDL_PARQUET_ABI);
    return mdl_context(status, "Parquet needs Arrow's library (scripts/install-dependencies --parquet, then build again)");
}

static mdl_status take_row(const mdl_parquet_batch *b, int64_t i, int64_t row, int n_columns, mdl_sink *sink) {
    mdl_sink_begin(sink, row);
    mdl_status status = b->length[i] ? mdl_sink_residues(sink, b->text[i], b->text[i] + b->length[i], row) : MDL_OK;
    for (int k = 0; k < n_columns && !status; k++) {
        double number = b->number[k * b->rows + i];
        if (isinf((float)number)) status = mdl_fail(MDL_BAD_INPUT, "row %" PRId64 ": a number is infinite or beyond f32", row);
        mdl_sink_number(sink, k, number);
    }
    return status ? status : mdl_sink_end(sink);
}

mdl_status mdl_read_parquet(const char *path, const mdl_format_options *options, mdl_sink *sink) {
    char message[MDL_PARQUET_MESSAGE] = "";
    mdl_parquet_batch batch;
    module m;
    mdl_status status = load(&m);
    if (status) return status;
    mdl_parquet *file = m.open(path, options->sequence_column, options->columns, options->n_columns, message);
    if (!file) return mdl_fail(MDL_BAD_INPUT, "%s", message);
    int more = 0;
    for (int64_t row = 1; !status && (more = m.next(file, &batch, message)) > 0;)
        for (int64_t i = 0; i < batch.rows && !status; i++, row++) status = take_row(&batch, i, row, options->n_columns, sink);
    if (more < 0) status = mdl_fail(MDL_BAD_INPUT, "%s", message);
    m.close(file);
    return status;
}
