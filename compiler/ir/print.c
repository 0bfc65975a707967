/* IR to text. Reals print with 17 digits where 6 do not read back, so that print(parse(x)) == x. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/ir/ir.h"

static void print_real(mdl_text *text, double f) {
    char short_form[64];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(short_form, sizeof short_form, "%.*g", digits, f);
        if (strtod(short_form, NULL) == f) break;
    }
    bool looks_real = false;
    for (const char *c = short_form; *c; c++) looks_real |= *c == '.' || *c == 'e' || *c == 'n';
    mdl_text_printf(text, "%s%s", short_form, looks_real ? "" : ".0");
}

static void print_string(mdl_text *text, const char *s) {
    mdl_text_append(text, "\"", 1);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') mdl_text_append(text, "\\", 1);
        mdl_text_append(text, s, 1);
    }
    mdl_text_append(text, "\"", 1);
}

static void print_attr(mdl_text *text, const mdl_attr *a) {
    mdl_text_printf(text, "%s=", a->key);
    switch (a->kind) {
        case MDL_ATTR_INT: mdl_text_printf(text, "%" PRId64, a->i); break;
        case MDL_ATTR_REAL: print_real(text, a->f); break;
        case MDL_ATTR_STR: print_string(text, a->s); break;
        case MDL_ATTR_INTS:
            mdl_text_printf(text, "[");
            for (int i = 0; i < a->n; i++) mdl_text_printf(text, "%s%" PRId64, i ? "," : "", a->is[i]);
            mdl_text_printf(text, "]");
            break;
        case MDL_ATTR_STRS:
            mdl_text_printf(text, "[");
            for (int i = 0; i < a->n; i++) {
                if (i) mdl_text_printf(text, ",");
                print_string(text, a->ss[i]);
            }
            mdl_text_printf(text, "]");
            break;
    }
}

static void print_ops(mdl_text *text, const mdl_region *region, int indent, bool spans) {
    for (int i = 0; i < region->ops.n; i++) mdl_print_op(text, region->ops.at[i], indent, spans);
}

/* @ file:line:column in "scope" as "precision" id 7, 8 - of which an op has what it has. */
static void print_origin(mdl_text *text, const mdl_op *op) {
    const mdl_span *span = &op->span;
    bool any = false;
    if (span->file) mdl_text_printf(text, " @ %s:%d:%d", span->file, span->line, span->column);
    if (span->scope) {
        mdl_text_printf(text, " in ");
        print_string(text, span->scope->path);
        if (strcmp(span->scope->precision, "auto")) mdl_text_printf(text, " as \"%s\"", span->scope->precision);
    }
    for (int i = 0; i < op->n_out; i++) any |= op->out[i]->stable != 0;
    for (int i = 0; any && i < op->n_out; i++) mdl_text_printf(text, i ? ", %d" : " id %d", op->out[i]->stable);
}

void mdl_print_op(mdl_text *text, const mdl_op *op, int indent, bool spans) {
    mdl_text_printf(text, "%*s", indent, "");
    for (int i = 0; i < op->n_out; i++) mdl_text_printf(text, "%s%%%d", i ? ", " : "", op->out[i]->id);
    mdl_text_printf(text, "%s%s", op->n_out ? " = " : "", mdl_ops[op->code].name);
    for (int i = 0; i < op->n_in; i++) mdl_text_printf(text, "%s%%%d", i ? ", " : " ", op->in[i]->id);
    if (op->n_attr) {
        mdl_text_printf(text, " {");
        for (int i = 0; i < op->n_attr; i++) {
            if (i) mdl_text_printf(text, ", ");
            print_attr(text, &op->attr[i]);
        }
        mdl_text_printf(text, "}");
    }
    for (int i = 0; i < op->n_out; i++)
        mdl_text_printf(text, "%s%s", i ? ", " : " : ", mdl_type_text(text->arena, &op->out[i]->type));
    if (spans) print_origin(text, op);
    if (op->body) {
        mdl_text_printf(text, " do\n");
        print_ops(text, op->body, indent + 2, spans);
        mdl_text_printf(text, "%*send", indent, "");
    }
    mdl_text_printf(text, "\n");
}

void mdl_print_region(mdl_text *text, const mdl_region *region, bool spans) {
    mdl_text_printf(text, "program %s {\n", region->name);
    print_ops(text, region, 2, spans);
    mdl_text_printf(text, "}\n");
}
