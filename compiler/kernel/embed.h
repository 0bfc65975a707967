/* Text files of compiler/kernel/cpu inside the compiler: cmake/embed.cmake makes embed.c from them at build time. */
#ifndef MDL_KERNEL_EMBED_H
#define MDL_KERNEL_EMBED_H

/* The text of compiler/kernel/cpu/<name>; an unknown name is an internal error. */
const char *mdl_embedded(const char *name);

typedef struct {
    const char *name, *text;
} mdl_embedded_file;
extern const mdl_embedded_file mdl_embedded_files[]; /* ends in a row of NULLs */

#endif
