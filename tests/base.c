/* Suite `base`: arenas, status, element types. */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/dtype.h"
#include "runtime/base/status.h"
#include "tests/check.h"

static bool is_zero(const unsigned char *at, size_t n) {
    while (n && !*at) at++, n--;
    return !n;
}

static void arenas(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    mdl_case(t, "arena: memory is zeroed, aligned and apart");
    unsigned char *before = NULL;
    for (size_t n = 1; n < 300000; n = 3 * n + 1) { /* beyond one chunk */
        unsigned char *at = mdl_alloc(arena, n);
        CHECK(t, (uintptr_t)at % 16 == 0, "%zu bytes at %p", n, (void *)at);
        CHECK(t, is_zero(at, n), "%zu bytes are not zero", n);
        memset(at, 0xff, n);
        CHECK(t, !before || *before == 0xff, "an earlier block changed");
        before = at;
    }
    mdl_case(t, "arena: growable array and text");
    MDL_VEC(int) numbers = {0};
    mdl_text text = {.arena = arena};
    for (int i = 0; i < 1000; i++) {
        MDL_PUSH(arena, numbers, i * i);
        mdl_text_printf(&text, "%03d", i);
    }
    bool same = true;
    for (int i = 0; i < 1000; i++) same = same && numbers.at[i] == i * i;
    CHECK(t, same && numbers.n == 1000, "%d numbers", numbers.n);
    CHECK(t, text.n == 3000 && !strcmp(text.at + 2997, "999"), "%zu bytes, end \"%s\"", text.n, text.at + text.n - 3);
    mdl_text_printf(&text, "%1000d", 7); /* longer than the text's small buffer */
    CHECK(t, text.n == 4000 && text.at[3999] == '7' && text.at[3998] == ' ', "%zu bytes after a long piece", text.n);
    mdl_arena_free(arena);
    mdl_arena_free(NULL);
}

static mdl_status inner(void) { return mdl_fail(MDL_BAD_INPUT, "line %d", 7); }

static mdl_status outer(bool fails) {
    MDL_TRY(fails ? inner() : MDL_OK, "file %s", "x.yaml");
    return MDL_OK;
}

static void statuses(mdl_test *t) {
    mdl_case(t, "status: success is NULL and gains no context");
    CHECK(t, !outer(false), "a success became a failure");
    CHECK(t, !mdl_context(MDL_OK, "context"), "context made a failure");
    CHECK(t, !strcmp(mdl_message(MDL_OK), ""), "a success has a message");
    mdl_case(t, "status: context comes in front, the code stays");
    mdl_status status = outer(true);
    CHECK(t, !strcmp(mdl_message(status), "file x.yaml: line 7"), "\"%s\"", mdl_message(status));
    CHECK(t, mdl_status_code(status) == MDL_BAD_INPUT, "code %d", mdl_status_code(status));
    mdl_status_free(status);
    mdl_case(t, "status: errno's text is appended");
    errno = ENOENT;
    status = mdl_fail_errno("cannot open %s", "a");
    CHECK(t, !strcmp(mdl_message(status), "cannot open a: No such file or directory"), "\"%s\"", mdl_message(status));
    CHECK(t, mdl_status_code(status) == MDL_SYSTEM, "code %d", mdl_status_code(status));
    mdl_status_free(status);
}

static void dtypes(mdl_test *t) {
    mdl_arena *arena = mdl_arena_new();
    mdl_case(t, "dtype: names parse back");
    for (int i = 0; i < MDL_DTYPE_COUNT; i++) {
        mdl_dtype back = MDL_DTYPE_COUNT;
        CHECK(t, mdl_dtype_parse(mdl_dtype_name((mdl_dtype)i), &back) && (int)back == i, "%s", mdl_dtype_name((mdl_dtype)i));
    }
    mdl_dtype none;
    CHECK(t, !mdl_dtype_parse("f31", &none), "f31 is a dtype");
    mdl_case(t, "type: text, sizes, equality");
    mdl_type a = mdl_type_make(MDL_BF16, 2, (int64_t[]){3, 5}), b = mdl_type_make(MDL_BF16, 2, (int64_t[]){3, 6});
    mdl_type s = mdl_type_make(MDL_SEG, 2, (int64_t[]){8, 100});
    CHECK(t, !strcmp(mdl_type_text(arena, &a), "bf16[3,5]"), "%s", mdl_type_text(arena, &a));
    CHECK(t, mdl_type_count(&a) == 15 && mdl_type_bytes(&a) == 30, "%" PRId64 " bytes", mdl_type_bytes(&a));
    CHECK(t, mdl_type_count(&s) == 9 && mdl_type_bytes(&s) == 36, "segments: %" PRId64 " bytes", mdl_type_bytes(&s));
    CHECK(t, mdl_type_equal(&a, &a) && !mdl_type_equal(&a, &b) && !mdl_type_equal(&a, &s), "equality");
    mdl_arena_free(arena);
}

void suite_base(mdl_test *t) {
    arenas(t);
    statuses(t);
    dtypes(t);
}
