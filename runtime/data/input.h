/* A file's text, whatever it is packed in: plain, gzip of any number of members, BGZF. */
#ifndef MDL_DATA_INPUT_H
#define MDL_DATA_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

typedef struct mdl_input mdl_input;

/* MDL_BAD_INPUT: no such file, a folder, a compression that is not read here. */
mdl_status mdl_input_open(const char *path, mdl_input **input);
/* Up to n bytes; *got is 0 at the end only. MDL_BAD_INPUT: compression that is damaged or ends too early. As gunzip does, zeros
 * behind the last member are taken for padding. */
mdl_status mdl_input_read(mdl_input *input, char *to, size_t n, size_t *got);
void mdl_input_close(mdl_input *input); /* NULL is allowed */

/* All of a file's text through `take`, block by block, until that fails; a byte order mark is left out. *line: where `take` is, for
 * the message of an error of the file's. */
typedef mdl_status mdl_take_text(void *context, const char *at, const char *end);
mdl_status mdl_input_each(const char *path, mdl_take_text *take, void *context, const int64_t *line);

#endif
