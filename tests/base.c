/* Suite `base`: arenas, status, element types, libraries. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/compare.h"
#include "runtime/base/dtype.h"
#include "runtime/base/library.h"
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

/* One bad number at `at`, on the side(s) given, among equal ones. */
static void one_bad(mdl_test *t, int at, double got, double want) {
    double a[5] = {1, 2, 3, 4, 5}, b[5] = {1, 2, 3, 4, 5};
    a[at] = got, b[at] = want;
    mdl_comparison c = mdl_compare_doubles(5, a, b);
    CHECK(t, c.bad == 1 && c.at == at && c.n == 5, "%g against %g at %d: %" PRId64 " bad, the worst at %" PRId64, got, want, at,
          c.bad, c.at);
    CHECK(t, !(mdl_error_max(&c) <= 1e300) && !(mdl_error_l2(&c) <= 1e300), "%g against %g at %d passes", got, want, at);
}

static void comparisons(mdl_test *t) {
    mdl_case(t, "compare: what is not finite fails, first, in the middle, last, on both sides");
    for (int at = 0; at < 5; at += 2) {
        static const double odd[] = {NAN, INFINITY, -INFINITY};
        for (int i = 0; i < 3; i++) {
            one_bad(t, at, odd[i], 3);
            one_bad(t, at, 3, odd[i]);
            one_bad(t, at, odd[i], odd[i]);
        }
    }
    mdl_case(t, "compare: errors, their place and their scale");
    static const float got[] = {3, 4.5f, 0}, want[] = {3, 4, 0}, none[] = {0, 0, 0};
    mdl_comparison c = mdl_compare_floats(3, got, want), zero = mdl_compare_floats(3, got, none), empty = mdl_comparison_begin();
    CHECK(t, c.at == 1 && mdl_error_max(&c) == 0.5 && c.largest == 4, "%g at %" PRId64, c.worst, c.at);
    CHECK(t, mdl_error_l2(&c) == 0.1, "0.5 against a norm of 5 is %g", mdl_error_l2(&c));
    CHECK(t, mdl_error_l2(&zero) == sqrt(9 + 4.5 * 4.5), "against zeros the error is absolute, not %g", mdl_error_l2(&zero));
    CHECK(t, empty.at == -1 && empty.n == 0, "nothing has a worst pair");
    mdl_case(t, "compare: the worst pair is told as it comes");
    mdl_comparison told = mdl_comparison_begin();
    bool first = mdl_comparison_add(&told, 1, 1), same = mdl_comparison_add(&told, 1, 1), larger = mdl_comparison_add(&told, 2, 1);
    bool bad = mdl_comparison_add(&told, NAN, 1), after = mdl_comparison_add(&told, 1e9, 1),
         again = mdl_comparison_add(&told, NAN, 1);
    CHECK(t, first && !same && larger && bad && !after && !again && told.at == 3 && told.bad == 2, "at %" PRId64, told.at);
}

static void libraries(mdl_test *t) {
    static const char *const there[] = {"libmdl_none.so.2", "libm.so.6", NULL}, *const none[] = {"libmdl_none.so.2", NULL};
    void *library = NULL;
    double (*cosine)(double) = NULL;
    mdl_case(t, "libraries: the first name that there is; what was tried");
    mdl_status status = mdl_library_open(there, &library);
    if (!status) status = mdl_library_function(library, "cos", &cosine);
    CHECK(t, !status && cosine && cosine(0) == 1, "%s", mdl_message(status));
    mdl_status_free(status);
    status = mdl_library_function(library, "mdl_no_such_function", &cosine);
    CHECK(t, strstr(mdl_message(status), "no function mdl_no_such_function"), "%s", mdl_message(status));
    mdl_status_free(status);
    status = mdl_library_open(none, &library);
    const char *text = mdl_message(status);
    CHECK(t,
          !library && strstr(text, "libmdl_none.so.2 cannot be loaded. Tried:\n") && strstr(text, "/usr/local/cuda/lib64/libmdl"),
          "%s", text);
    mdl_status_free(status);
}

void suite_base(mdl_test *t) {
    libraries(t);
    comparisons(t);
    arenas(t);
    statuses(t);
    dtypes(t);
}
