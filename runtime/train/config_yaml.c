/* The YAML side of the configuration, by libyaml: two levels, sections of keys, with the line of every error. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "runtime/train/config_set.h"

typedef struct {
    mdl_config *config;
    yaml_document_t *document;
    int merged; /* mappings merged so far */
} reader;

enum { MAX_MERGED = 1000 }; /* a mapping may be merged into itself */

static int line_of(const yaml_node_t *node) { return (int)node->start_mark.line + 1; }

static const char *origin_of(reader *r, const yaml_node_t *node) {
    return mdl_printf(r->config->memory, "%s:%d", r->config->path, line_of(node));
}

static const char *kind_of(const yaml_node_t *node) {
    return node->type == YAML_SCALAR_NODE ? "a value" : node->type == YAML_SEQUENCE_NODE ? "a list" : "a mapping";
}

static const char *scalar(const yaml_node_t *node) { return (const char *)node->data.scalar.value; }

static bool is_null(const yaml_node_t *node) {
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    return !*scalar(node) || !strcmp(scalar(node), "~") || !strcmp(scalar(node), "null");
}

static mdl_status check_text(reader *r, const yaml_node_t *node, const char *what) {
    if (node->type != YAML_SCALAR_NODE)
        return mdl_fail(MDL_USAGE, "%s: expected %s, got %s", origin_of(r, node), what, kind_of(node));
    if (strlen(scalar(node)) != node->data.scalar.length)
        return mdl_fail(MDL_USAGE, "%s: %s holds a NUL byte", origin_of(r, node), what);
    return MDL_OK;
}

static mdl_status read_list(reader *r, const yaml_node_t *node, mdl_config_value *value) {
    MDL_VEC(const char *) items = {0};
    yaml_node_item_t *item = node->data.sequence.items.start;
    for (; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *entry = yaml_document_get_node(r->document, *item);
        mdl_status status = check_text(r, entry, "a text in this list");
        if (status) return status;
        MDL_PUSH(r->config->memory, items, scalar(entry));
    }
    *value = (mdl_config_value){MDL_VALUE_LIST, false, items.n, items.at};
    return MDL_OK;
}

static mdl_status read_key(reader *r, const char *section, const yaml_node_t *key, const yaml_node_t *node) {
    mdl_config_value value = {.kind = MDL_VALUE_MAP};
    const char *text = "";
    mdl_status status = check_text(r, key, "the name of a key");
    if (!status && node->type == YAML_SEQUENCE_NODE) status = read_list(r, node, &value);
    if (!status && node->type == YAML_SCALAR_NODE && !(status = check_text(r, node, "a value"))) {
        if (!is_null(node)) text = scalar(node);
        value = (mdl_config_value){MDL_VALUE_TEXT, node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE, 1, &text};
    }
    if (status) return status;
    return mdl_config_set(r->config, origin_of(r, key), section, scalar(key), &value);
}

/* Keys of a mapping must differ; YAML libraries let the last one win in silence. */
static mdl_status check_repeated(reader *r, const yaml_node_t *map, const yaml_node_pair_t *pair) {
    const yaml_node_t *key = yaml_document_get_node(r->document, pair->key);
    mdl_status status = check_text(r, key, "the name of a section or key");
    if (status) return status;
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < pair; p++) {
        const yaml_node_t *other = yaml_document_get_node(r->document, p->key);
        if (!strcmp(scalar(other), scalar(key)))
            return mdl_fail(MDL_USAGE, "%s: '%s' is given twice, first in line %d", origin_of(r, key), scalar(key), line_of(other));
    }
    return MDL_OK;
}

static mdl_status read_keys(reader *r, const char *section, const yaml_node_t *map);

/* "<<: *other" or "<<: [*one, *other]": their keys, where the mapping and those before have none of that name. */
static mdl_status merge(reader *r, const char *section, const yaml_node_t *from) {
    mdl_status status = MDL_OK;
    if (++r->merged > MAX_MERGED) return mdl_fail(MDL_USAGE, "%s: more than %d merged mappings", origin_of(r, from), MAX_MERGED);
    if (from->type == YAML_MAPPING_NODE) return read_keys(r, section, from);
    if (from->type != YAML_SEQUENCE_NODE)
        return mdl_fail(MDL_USAGE, "%s: '<<' merges mappings, got %s", origin_of(r, from), kind_of(from));
    for (yaml_node_item_t *item = from->data.sequence.items.top; item > from->data.sequence.items.start && !status;)
        status = merge(r, section, yaml_document_get_node(r->document, *--item));
    return status;
}

static bool is_merge(const yaml_node_t *key) {
    return key->type == YAML_SCALAR_NODE && key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !strcmp(scalar(key), "<<");
}

/* Merged ones first: its own keys replace them. */
static mdl_status read_keys(reader *r, const char *section, const yaml_node_t *map) {
    mdl_status status = MDL_OK;
    for (int own = 0; own < 2; own++)
        for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top && !status; pair++) {
            const yaml_node_t *key = yaml_document_get_node(r->document, pair->key);
            const yaml_node_t *value = yaml_document_get_node(r->document, pair->value);
            if (!own && (status = check_repeated(r, map, pair))) return status;
            if (is_merge(key) && !own) status = merge(r, section, value);
            if (!is_merge(key) && own) status = read_key(r, section, key, value);
        }
    return status;
}

static mdl_status read_section(reader *r, const yaml_node_t *key, const yaml_node_t *node) {
    mdl_status status = mdl_config_section(origin_of(r, key), scalar(key));
    if (status || is_null(node)) return status;
    if (node->type != YAML_MAPPING_NODE)
        return mdl_fail(MDL_USAGE, "%s: section '%s': expected keys with values, got %s", origin_of(r, key), scalar(key),
                        kind_of(node));
    return read_keys(r, scalar(key), node);
}

static mdl_status read_root(reader *r) {
    const yaml_node_t *root = yaml_document_get_root_node(r->document);
    mdl_status status = MDL_OK;
    if (!root || is_null(root)) return MDL_OK;
    if (root->type != YAML_MAPPING_NODE)
        return mdl_fail(MDL_USAGE, "%s: expected the sections model, data and trainer, got %s", origin_of(r, root), kind_of(root));
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; !status && pair < root->data.mapping.pairs.top; pair++) {
        if ((status = check_repeated(r, root, pair))) break;
        status = read_section(r, yaml_document_get_node(r->document, pair->key), yaml_document_get_node(r->document, pair->value));
    }
    return status;
}

static mdl_status syntax_error(const mdl_config *config, const yaml_parser_t *parser) {
    const char *problem = parser->problem ? parser->problem : "unreadable";
    const char *context = parser->context ? parser->context : "";
    if (parser->error == YAML_READER_ERROR) /* before lines are counted */
        return mdl_fail(MDL_USAGE, "%s: malformed YAML at byte %zu: %s", config->path, parser->problem_offset, problem);
    return mdl_fail(MDL_USAGE, "%s:%zu:%zu: malformed YAML: %s%s%s", config->path, parser->problem_mark.line + 1,
                    parser->problem_mark.column + 1, context, *context ? ", " : "", problem);
}

static mdl_status check_end(mdl_config *config, yaml_parser_t *parser) {
    yaml_document_t second;
    if (!yaml_parser_load(parser, &second)) return syntax_error(config, parser);
    bool more = yaml_document_get_root_node(&second) != NULL;
    size_t line = second.start_mark.line + 1;
    yaml_document_delete(&second);
    if (!more) return MDL_OK;
    return mdl_fail(MDL_USAGE, "%s:%zu: a second document begins here; one is expected", config->path, line);
}

static mdl_status read_document(mdl_config *config, yaml_parser_t *parser) {
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document)) return syntax_error(config, parser);
    reader r = {.config = config, .document = &document};
    bool some = yaml_document_get_root_node(&document) != NULL;
    mdl_status status = read_root(&r);
    yaml_document_delete(&document);
    return status || !some ? status : check_end(config, parser);
}

mdl_status mdl_config_read_yaml(mdl_config *config) {
    yaml_parser_t parser;
    FILE *file = fopen(config->path, "rb");
    if (!file) return mdl_fail(MDL_BAD_INPUT, "%s: %s", config->path, strerror(errno));
    if (!yaml_parser_initialize(&parser)) return fclose(file), mdl_fail(MDL_SYSTEM, "%s: libyaml did not start", config->path);
    yaml_parser_set_input_file(&parser, file);
    mdl_status status = read_document(config, &parser);
    yaml_parser_delete(&parser);
    fclose(file);
    return status;
}
