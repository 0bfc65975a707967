/* A gzip file is a row of members; BGZF is the same with the members' sizes written in a field of their headers, ended by a member
 * of no bytes. One loop over zlib reads them all, in any mixture. */
#include "runtime/data/input.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { PACKED = 1 << 16, TEXT = 1 << 18, GZIP_ONLY = 15 + 16, EXTRA = 64 };

struct mdl_input {
    int fd;
    bool gzip, member; /* member: inside of one */
    bool ended;        /* no more bytes come from the file */
    z_stream z;        /* next_in: what is read and not yet used */
    gz_header head;
    unsigned char packed[PACKED], extra[EXTRA];
};

static mdl_status fill(mdl_input *in) {
    if (in->z.avail_in || in->ended) return MDL_OK;
    ssize_t n;
    do n = read(in->fd, in->packed, sizeof in->packed);
    while (n < 0 && errno == EINTR);
    if (n < 0) return mdl_fail_errno("cannot read it");
    in->ended = !n;
    in->z.next_in = in->packed;
    in->z.avail_in = (unsigned)n;
    return MDL_OK;
}

static mdl_status check_magic(const mdl_input *in) {
    static const struct {
        const char *bytes, *program;
    } others[] = {{"\x28\xb5\x2f\xfd", "zstd"}, {"\xfd\x37zXZ", "xz"}, {"BZh", "bzip2"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        size_t n = strlen(others[i].bytes);
        if (in->z.avail_in >= n && !memcmp(in->packed, others[i].bytes, n))
            return mdl_fail(MDL_BAD_INPUT, "it is compressed in a way that is not read here; gzip is. Decompress it with %s",
                            others[i].program);
    }
    return MDL_OK;
}

static bool at_gzip(const mdl_input *in) { return in->z.avail_in >= 2 && in->z.next_in[0] == 0x1f && in->z.next_in[1] == 0x8b; }

static mdl_status start(mdl_input *in) {
    mdl_status status = fill(in);
    if (!status) status = check_magic(in);
    in->gzip = !status && at_gzip(in);
    if (in->gzip && inflateInit2(&in->z, GZIP_ONLY) != Z_OK) {
        in->gzip = false;
        status = mdl_fail(MDL_SYSTEM, "zlib did not start");
    }
    return status;
}

mdl_status mdl_input_open(const char *path, mdl_input **input) {
    struct stat info;
    *input = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mdl_fail(MDL_BAD_INPUT, "cannot open it: %s", strerror(errno));
    if (fstat(fd, &info) || S_ISDIR(info.st_mode)) {
        close(fd);
        return mdl_fail(MDL_BAD_INPUT, "it is a folder; expected a file");
    }
    mdl_input *in = calloc(1, sizeof *in);
    if (!in) mdl_bug("out of memory while reading data");
    in->fd = fd;
    mdl_status status = start(in);
    if (status)
        mdl_input_close(in);
    else
        *input = in;
    return status;
}

void mdl_input_close(mdl_input *in) {
    if (!in) return;
    if (in->gzip) inflateEnd(&in->z);
    close(in->fd);
    free(in);
}

static mdl_status read_plain(mdl_input *in, char *to, size_t n, size_t *got) {
    mdl_status status = fill(in);
    if (status) return status;
    *got = n < in->z.avail_in ? n : in->z.avail_in;
    memcpy(to, in->z.next_in, *got);
    in->z.next_in += *got;
    in->z.avail_in -= (unsigned)*got;
    return MDL_OK;
}

/* BGZF puts the fields "BC" first among the extra ones. */
static bool is_bgzf(const mdl_input *in) {
    return in->head.done == 1 && in->head.extra && in->head.extra_len >= 2 && in->extra[0] == 'B' && in->extra[1] == 'C';
}

/* Between members: begins the next one, or finds the end. */
static mdl_status next_member(mdl_input *in, bool first, bool *end) {
    int64_t zeros = 0;
    mdl_status status;
    while (!(status = fill(in)) && in->z.avail_in && !*in->z.next_in) in->z.next_in++, in->z.avail_in--, zeros++;
    if (status) return status;
    *end = !in->z.avail_in;
    if (*end && !first && is_bgzf(in) && in->z.total_out)
        return mdl_fail(MDL_BAD_INPUT, "the block that ends a BGZF file is missing: the file is truncated");
    if (*end) return MDL_OK;
    if (zeros || *in->z.next_in != 0x1f)
        return mdl_fail(MDL_BAD_INPUT, "the file's compression is damaged: what follows is no gzip");
    inflateReset(&in->z);
    in->head = (gz_header){.extra = in->extra, .extra_max = EXTRA};
    inflateGetHeader(&in->z, &in->head);
    in->member = true;
    return MDL_OK;
}

static mdl_status inflate_some(mdl_input *in) {
    mdl_status status = fill(in);
    if (status) return status;
    if (!in->z.avail_in) return mdl_fail(MDL_BAD_INPUT, "the file's compression ends here, too early: the file is truncated");
    int result = inflate(&in->z, Z_NO_FLUSH);
    if (result == Z_STREAM_END)
        in->member = false;
    else if (result != Z_OK && result != Z_BUF_ERROR)
        return mdl_fail(MDL_BAD_INPUT, "the file's compression is damaged from here on");
    return MDL_OK;
}

static mdl_status read_gzip(mdl_input *in, char *to, size_t n, size_t *got) {
    mdl_status status = MDL_OK;
    bool end = false;
    in->z.next_out = (unsigned char *)to;
    in->z.avail_out = (unsigned)n;
    while (!status && !end && in->z.avail_out == n) {
        if (!in->member) status = next_member(in, !in->head.extra, &end);
        if (!status && !end) status = inflate_some(in);
    }
    *got = n - in->z.avail_out;
    return status;
}

mdl_status mdl_input_read(mdl_input *in, char *to, size_t n, size_t *got) {
    *got = 0;
    return in->gzip ? read_gzip(in, to, n, got) : read_plain(in, to, n, got);
}

static mdl_status each_block(mdl_input *in, char *block, mdl_take_text *take, void *context, const int64_t *line) {
    static const char mark[] = "\xef\xbb\xbf";
    mdl_status status = MDL_OK;
    bool first = true;
    for (size_t n = 1; !status && n; first = false) {
        mdl_status failed = mdl_input_read(in, block, TEXT, &n);
        size_t skip = first && n >= 3 && !memcmp(block, mark, 3) ? 3 : 0;
        if (n > skip) status = take(context, block + skip, block + n); /* also what came before a failure: it counts lines */
        if (!failed) continue;
        mdl_status_free(status); /* where damage begins text may be anything */
        status = mdl_context(failed, "line %" PRId64, *line);
    }
    return status;
}

mdl_status mdl_input_each(const char *path, mdl_take_text *take, void *context, const int64_t *line) {
    mdl_input *in;
    mdl_status status = mdl_input_open(path, &in);
    if (status) return status;
    char *block = malloc(TEXT);
    if (!block) mdl_bug("out of memory while reading data");
    status = each_block(in, block, take, context, line);
    free(block);
    mdl_input_close(in);
    return status;
}
