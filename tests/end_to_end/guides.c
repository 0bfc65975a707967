/* docs/guides/: each page is run as it stands. Its blocks `sh` and `python` are one session, in a folder that looks like the source
 * tree; a block `text` quotes what the block before it prints, so that no quotation can rot. Blocks `console` are for reading. */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "tests/end_to_end/run.h"

enum { SH, PYTHON, TEXT, CONSOLE, TAGS };
static const char *const tags[TAGS] = {"sh", "python", "text", "console"};

typedef struct {
    int tag;
    const char *text;
} block;

typedef MDL_VEC(block) blocks;

/* The blocks between ``` and ```, in order. */
static blocks read_blocks(mdl_e2e *e, char *page) {
    blocks all = {0};
    for (char *fence = page; (fence = strstr(fence, "\n```"));) {
        char *tag = fence + 4, *text = strchr(tag, '\n'), *end = text ? strstr(text, "\n```\n") : NULL;
        CHECK(e->t, end, "a block is not closed: %s", tag);
        if (!end) break;
        *text++ = '\0', *end = '\0';
        block b = {.tag = 0, .text = text};
        while (b.tag < TAGS && strcmp(tag, tags[b.tag])) b.tag++;
        CHECK(e->t, b.tag < TAGS, "a block has the tag '%s': expected sh, python, text or console", tag);
        MDL_PUSH(e->memory, all, b);
        fence = end + 4;
    }
    return all;
}

/* What a reader compares: numbers are #, but for those that belong to a name (checkpoint-20, esm2), and blanks do not count. */
static const char *outline(mdl_e2e *e, const char *text) {
    mdl_text out = {.arena = e->memory};
    mdl_text_append(&out, "\n", 1);
    for (size_t n; *text; text += n) {
        char before = out.at[out.n - 1];
        bool number = isdigit((unsigned char)*text) && !isalnum((unsigned char)before) && !strchr("#-_.", before);
        if (number)
            n = strspn(text, "0123456789.,:e+-kM");
        else
            n = *text == ' ' ? strspn(text, " ") : *text == '\n' ? strspn(text, "\n") : 1;
        if (*text != before || (*text != ' ' && *text != '\n')) mdl_text_append(&out, number ? "#" : text, 1);
    }
    if (out.at[out.n - 1] != '\n') mdl_text_append(&out, "\n", 1);
    return out.at;
}

/* The pieces of a quotation between its `...` are in what was said, in order. */
static void check_quotation(mdl_e2e *e, const char *quoted, const char *said) {
    const char *from = outline(e, said);
    char *piece = mdl_strdup(e->memory, outline(e, quoted));
    for (char *next; piece; piece = next) {
        if ((next = strstr(piece, "..."))) *next = '\0', next += 3;
        while (*piece == ' ') piece++;
        for (size_t n = strlen(piece); n && piece[n - 1] == ' ';) piece[--n] = '\0';
        const char *at = strstr(from, piece);
        CHECK(e->t, at, "quoted:\n%s\nnot there, or not there any more:%s\nprinted:\n%s", quoted, piece, said);
        if (!at) return;
        from = at + strlen(piece);
    }
}

static const char *heading(mdl_e2e *e, int block) { return mdl_printf(e->memory, "\n-- block %d\n", block); }

/* What block i printed: up to the next heading. */
static const char *said_by(mdl_e2e *e, const char *output, int i) {
    const char *from = strstr(output, heading(e, i));
    if (!from) return "";
    char *said = mdl_strdup(e->memory, from + strlen(heading(e, i))), *end = strstr(said, "\n-- block ");
    if (end) *end = '\0';
    return said;
}

/* One script of all blocks that run; without Python those in it do not. */
static const char *run_blocks(mdl_e2e *e, blocks all, const char *python) {
    mdl_text script = {.arena = e->memory};
    for (int i = 0; i < all.n; i++) {
        if (all.at[i].tag == SH) mdl_text_printf(&script, "printf '%s'\n%s\n", heading(e, i), all.at[i].text);
        if (all.at[i].tag == PYTHON && python)
            mdl_text_printf(&script, "printf '%s'\n%s <<'END'\n%s\nEND\n", heading(e, i), python, all.at[i].text);
    }
    mdl_e2e_write(e, "guide.sh", script.n ? script.at : "");
    return mdl_e2e_run(e, 0, "export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error; sh -eu guide.sh 2>&1");
}

static void follow(mdl_e2e *e, const char *name, const char *python) {
    mdl_e2e_run(e, 0, "ln -s '%s/tests' '%s/docs' .", mdl_test_source(e->t), mdl_test_source(e->t));
    char *page = mdl_strdup(e->memory, mdl_e2e_read(e, mdl_printf(e->memory, "docs/guides/%s", name)));
    blocks all = read_blocks(e, page);
    const char *output = run_blocks(e, all, python);
    int quotations = 0;
    for (int i = 0; i < all.n; i++) {
        if (all.at[i].tag != TEXT) continue;
        int before = i ? all.at[i - 1].tag : CONSOLE;
        CHECK(e->t, before == SH || before == PYTHON, "of what is this?\n%s", all.at[i].text);
        if (before == SH || python) check_quotation(e, all.at[i].text, said_by(e, output, i - 1));
        quotations++;
    }
    CHECK(e->t, quotations, "%s shows nothing of what its commands print", name);
}

/* The folder that a user downloads, as facebook spells it, with weights that one step has made. */
static void facebook(mdl_e2e *e) {
    static const char downloaded[] = "esm2_t6_8M_UR50D";
    /* The tied table a second time, and a table of positions, which a model with rotary ones has no use for. */
    static const char *const also[] = {"lm_head.decoder.weight", "esm.embeddings.position_embeddings.weight"};
    MDL_VEC(mdl_tensor) tensors = {0};
    mdl_safetensors *file = NULL;
    mdl_e2e_fasta(e, "some.fasta", 10, 50);
    mdl_e2e_run(e, 0,
                "mdlc models/esm2.mdl --set size=8M --tokens 128 -o made.plan && mdlrun train made.plan data.files=some.fasta "
                "trainer.output_dir=made trainer.max_steps=1 && mkdir %s && mv made/*.json made/vocab.txt %s",
                downloaded, downloaded);
    mdl_status status = mdl_safetensors_open(mdl_printf(e->memory, "%s/made/model.safetensors", e->folder), &file);
    for (int i = 0; file && i < mdl_safetensors_count(file); i++) {
        mdl_tensor tensor = *mdl_safetensors_at(file, i);
        MDL_PUSH(e->memory, tensors, tensor);
        if (strcmp(tensor.name, "esm.embeddings.word_embeddings.weight")) continue;
        for (int k = 0; k < 2; k++) {
            tensor.name = also[k];
            MDL_PUSH(e->memory, tensors, tensor);
        }
    }
    const char *to = mdl_printf(e->memory, "%s/%s/model.safetensors", e->folder, downloaded);
    if (!status) status = mdl_safetensors_write(to, tensors.n, tensors.at);
    CHECK(e->t, !status, "%s", mdl_message(status));
    mdl_status_free(status);
    mdl_safetensors_close(file);
}

static int is_page(const struct dirent *entry) { return strstr(entry->d_name, ".md") != NULL; }

void suite_guides(mdl_test *t) {
    struct dirent **names = NULL;
    mdl_e2e e = mdl_e2e_begin(t, "guides");
    const char *python = mdl_e2e_python(&e);
    if (!python) mdl_skip(t, "what guides say in Python: scripts/install-dependencies --python");
    int n = scandir(mdl_printf(e.memory, "%s/docs/guides", mdl_test_source(t)), &names, is_page, alphasort);
    CHECK(t, n > 0, "there are no guides");
    for (int i = 0; i < n; i++) {
        mdl_e2e here = mdl_e2e_begin(t, names[i]->d_name);
        if (mdl_case(t, "guides: %s", names[i]->d_name)) {
            if (!strcmp(names[i]->d_name, "continue-from-esm2.md")) facebook(&here);
            follow(&here, names[i]->d_name, python);
        }
        mdl_e2e_end(&here);
        free(names[i]);
    }
    free(names);
    mdl_e2e_end(&e);
}
