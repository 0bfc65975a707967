/* Text to IR: the inverse of print.c, for running a pass alone. One op a line. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/ir/ir.h"
#include "compiler/op/op.h"

typedef struct {
    mdl_arena *arena;
    const char *at;
    int line;
    MDL_VEC(mdl_value *) values; /* by id, of the region being read */
    const mdl_scope *scope;      /* the last one read: most ops are in that of the op before */
    const char *error;
    jmp_buf fail;
} reader;

/* The message shows up to 40 characters of the line. */
static _Noreturn void fail_at(reader *r, int line, const char *at, const char *message) {
    size_t n = strcspn(at, "\n");
    r->error = mdl_printf(r->arena, "line %d: %s, at '%.*s%s'", line, message, (int)(n < 40 ? n : 40), at, n > 40 ? "..." : "");
    longjmp(r->fail, 1);
}

static _Noreturn void fail(reader *r, const char *message) { fail_at(r, r->line, r->at, message); }

static void skip(reader *r) {
    for (;; r->at++) {
        if (*r->at == '\n') r->line++;
        if (*r->at == '#') {
            while (r->at[1] && r->at[1] != '\n') r->at++;
        } else if (!isspace((unsigned char)*r->at)) {
            return;
        }
    }
}

static bool take(reader *r, const char *token) {
    skip(r);
    size_t n = strlen(token);
    if (strncmp(r->at, token, n)) return false;
    if (isalnum((unsigned char)token[n - 1]) && (isalnum((unsigned char)r->at[n]) || r->at[n] == '_')) return false;
    r->at += n;
    return true;
}

static void want(reader *r, const char *token) {
    if (!take(r, token)) fail(r, mdl_printf(r->arena, "expected '%s'", token));
}

static const char *word(reader *r) {
    skip(r);
    const char *from = r->at;
    while (isalnum((unsigned char)*r->at) || *r->at == '_' || *r->at == '.' || *r->at == '-') r->at++;
    if (r->at == from) fail(r, "expected a name");
    return mdl_strndup(r->arena, from, (size_t)(r->at - from));
}

static int64_t integer(reader *r) {
    skip(r);
    char *end;
    errno = 0;
    int64_t i = strtoll(r->at, &end, 10);
    if (end == r->at) fail(r, "expected an integer");
    if (errno == ERANGE) fail(r, mdl_printf(r->arena, "%.*s does not fit in 64 bits", (int)(end - r->at), r->at));
    r->at = end;
    return i;
}

static const char *string(reader *r) {
    want(r, "\"");
    mdl_text text = {.arena = r->arena};
    mdl_text_append(&text, "", 0);
    for (; *r->at != '"'; r->at++) {
        if (*r->at == '\\') r->at++;
        if (!*r->at) fail(r, "unterminated string");
        mdl_text_append(&text, r->at, 1);
    }
    r->at++;
    return text.at;
}

static mdl_attr list(reader *r, const char *key) {
    MDL_VEC(int64_t) ints = {0};
    MDL_VEC(const char *) strs = {0};
    while (!take(r, "]")) {
        if (ints.n + strs.n) want(r, ",");
        skip(r);
        if (*r->at == '"')
            MDL_PUSH(r->arena, strs, string(r));
        else
            MDL_PUSH(r->arena, ints, integer(r));
    }
    return strs.n ? mdl_strs(r->arena, key, strs.n, strs.at) : mdl_ints(r->arena, key, ints.n, ints.at);
}

static mdl_attr attribute(reader *r) {
    const char *key = word(r);
    want(r, "=");
    skip(r);
    if (*r->at == '"') return mdl_str(key, string(r));
    if (take(r, "[")) return list(r, key);
    char *end;
    double f = strtod(r->at, &end);
    if (end == r->at) fail(r, "expected a value");
    bool real = false;
    for (const char *c = r->at; c < end; c++) real |= *c == '.' || *c == 'e' || *c == 'n';
    if (real) return r->at = end, mdl_real(key, f);
    return mdl_int(key, integer(r));
}

/* So that a count of elements times the bytes of one is no overflow. */
enum { MAX_COUNT_BITS = 48 };

static mdl_type type(reader *r) {
    mdl_type t = {0};
    const char *name = word(r);
    if (!mdl_dtype_parse(name, &t.dtype)) fail(r, mdl_printf(r->arena, "unknown dtype '%s'", name));
    want(r, "[");
    int64_t room = (int64_t)1 << MAX_COUNT_BITS;
    while (!take(r, "]")) {
        if (t.rank == MDL_MAX_RANK) fail(r, "too many dims");
        if (t.rank) want(r, ",");
        int64_t dim = integer(r);
        if (dim < 1) fail(r, "a dim must be positive");
        if (!(room /= dim)) fail(r, mdl_printf(r->arena, "more than 2^%d elements", MAX_COUNT_BITS));
        t.dim[t.rank++] = dim;
    }
    return t;
}

static mdl_value *value(reader *r) {
    want(r, "%");
    int64_t id = integer(r);
    if (id < 0 || id >= r->values.n || !r->values.at[id]) fail(r, mdl_printf(r->arena, "%%%" PRId64 " is not defined here", id));
    return r->values.at[id];
}

/* Returns NULL, or what is wrong with the id. */
static const char *define(reader *r, mdl_region *region, mdl_value *v, int64_t id) {
    if (id < 0 || id > 1 << 24) return "bad value id";
    while (r->values.n <= id) MDL_PUSH(r->arena, r->values, NULL);
    if (r->values.at[id]) return mdl_printf(r->arena, "%%%" PRId64 " is defined twice", id);
    v->id = (int)id;
    r->values.at[id] = v;
    if (region->next_id <= id) region->next_id = (int)id + 1;
    return NULL;
}

static mdl_span span(reader *r) {
    skip(r);
    const char *from = r->at;
    while (*r->at && !isspace((unsigned char)*r->at)) r->at++;
    const char *text = mdl_strndup(r->arena, from, (size_t)(r->at - from));
    char *column = strrchr(text, ':');
    if (!column) fail(r, "expected file:line:column");
    *column++ = 0;
    char *line = strrchr(text, ':');
    if (!line) fail(r, "expected file:line:column");
    *line++ = 0;
    return (mdl_span){.file = text, .line = atoi(line), .column = atoi(column)};
}

/* "path" [as "precision"] */
static const mdl_scope *scope(reader *r) {
    mdl_scope s = {.path = string(r), .precision = "auto"};
    if (take(r, "as")) s.precision = string(r);
    if (!r->scope || strcmp(r->scope->path, s.path) || strcmp(r->scope->precision, s.precision))
        r->scope = mdl_copy(r->arena, &s, sizeof s);
    return r->scope;
}

static mdl_region *region_ops(reader *r, mdl_region *region, const char *close);

typedef struct {
    MDL_VEC(int64_t) ids;
    MDL_VEC(mdl_value *) in;
    MDL_VEC(mdl_attr) attrs;
    MDL_VEC(mdl_type) types;
    MDL_VEC(int64_t) stable;
    mdl_span span;
    mdl_region *body;
} parts;

static void read_parts(reader *r, parts *p, mdl_opcode *code) {
    while (take(r, "%")) {
        MDL_PUSH(r->arena, p->ids, integer(r));
        if (!take(r, ",")) break;
    }
    if (p->ids.n) want(r, "=");
    const char *name = word(r);
    if (!mdl_opcode_parse(name, code)) fail(r, mdl_printf(r->arena, "unknown op '%s'", name));
    skip(r);
    if (*r->at == '%') do
            MDL_PUSH(r->arena, p->in, value(r));
        while (take(r, ","));
    if (take(r, "{"))
        while (!take(r, "}")) {
            if (p->attrs.n) want(r, ",");
            MDL_PUSH(r->arena, p->attrs, attribute(r));
        }
    if (p->ids.n) {
        want(r, ":");
        do MDL_PUSH(r->arena, p->types, type(r));
        while (take(r, ","));
    }
    if (take(r, "@")) p->span = span(r);
    if (take(r, "in")) p->span.scope = scope(r);
    if (take(r, "id")) do
            MDL_PUSH(r->arena, p->stable, integer(r));
        while (take(r, ","));
    if (take(r, "do")) {
        mdl_value **outer = r->values.at;
        int n = r->values.n, cap = r->values.cap;
        r->values.at = NULL, r->values.n = r->values.cap = 0;
        p->body = region_ops(r, mdl_region_new(r->arena, ""), "end");
        r->values.at = outer, r->values.n = n, r->values.cap = cap;
    }
}

static void read_op(reader *r, mdl_region *region) {
    parts p = {0};
    mdl_opcode code;
    skip(r);
    int line = r->line; /* what is wrong with a whole op is shown at its start */
    const char *at = r->at;
    read_parts(r, &p, &code);
    mdl_builder b = {r->arena, region, p.span};
    int keep = region->next_id;
    const char *error = NULL;
    if ((mdl_ops[code].class == MDL_REGION) != (p.body != NULL)) fail_at(r, line, at, "only region ops have a body, and they must");
    if (p.body && (!p.body->ops.n || p.body->ops.at[p.body->ops.n - 1]->code != MDL_OP_YIELD))
        fail_at(r, line, at, "a body ends in yield");
    mdl_op *op = p.body ? mdl_build_region(&b, code, p.in.n, p.in.at, p.attrs.n, p.attrs.at, p.body)
                        : mdl_build(&b, code, p.in.n, p.in.at, p.attrs.n, p.attrs.at, p.types.n ? &p.types.at[0] : NULL, &error);
    if (error) fail_at(r, line, at, error);
    region->next_id = keep;
    if (p.stable.n && p.stable.n != op->n_out) fail_at(r, line, at, "there is one stable id for each result");
    if (op->n_out != p.ids.n || op->n_out != p.types.n)
        fail_at(r, line, at,
                mdl_printf(r->arena, "%s has %d results, %d are named and %d typed", mdl_ops[code].name, op->n_out, p.ids.n,
                           p.types.n));
    for (int i = 0; i < op->n_out; i++) {
        if (!mdl_type_equal(&op->out[i]->type, &p.types.at[i]))
            fail_at(r, line, at,
                    mdl_printf(r->arena, "result %d of %s is %s, not %s", i, mdl_ops[code].name,
                               mdl_type_text(r->arena, &op->out[i]->type), mdl_type_text(r->arena, &p.types.at[i])));
        if (p.stable.n) op->out[i]->stable = (int)p.stable.at[i];
        error = define(r, region, op->out[i], p.ids.at[i]);
        if (error) fail_at(r, line, at, error);
    }
}

static mdl_region *region_ops(reader *r, mdl_region *region, const char *close) {
    while (!take(r, close)) {
        if (!*r->at) fail(r, mdl_printf(r->arena, "expected '%s'", close));
        read_op(r, region);
    }
    return region;
}

const char *mdl_parse_ir(mdl_arena *arena, const char *source, mdl_regions *programs) {
    reader r = {.arena = arena, .at = source, .line = 1};
    if (setjmp(r.fail)) return r.error;
    for (skip(&r); *r.at; skip(&r)) {
        want(&r, "program");
        mdl_region *region = mdl_region_new(arena, word(&r));
        want(&r, "{");
        r.values.at = NULL, r.values.n = r.values.cap = 0;
        MDL_PUSH(arena, *programs, region_ops(&r, region, "}"));
    }
    return NULL;
}
