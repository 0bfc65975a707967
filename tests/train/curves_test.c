/* Suite `curves`: what is read of metrics.jsonl, and that a picture has its curves where they belong. */
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/report/curves.h"
#include "runtime/report/palette.h"
#include "tests/check.h"

static const char *put(mdl_test *t, mdl_arena *memory, const char *name, const char *text) {
    const char *path = mdl_printf(memory, "%s/%s", mdl_test_scratch(t), name);
    FILE *f = fopen(path, "w");
    CHECK(t, f && fputs(text, f) >= 0 && !fclose(f), "cannot write %s", path);
    return path;
}

static void expect_error(mdl_test *t, mdl_status status, const char *part) {
    CHECK(t, status && strstr(mdl_message(status), part), "expected '%s', got: %s", part, mdl_message(status));
    mdl_status_free(status);
}

static void reading(mdl_test *t, mdl_arena *memory) {
    mdl_curves c = {.memory = memory, .metric = "loss"};
    mdl_case(t, "a resumed run takes back what it repeats; null is a gap; a cut last line and lines of evaluation are passed over");
    mdl_status status = mdl_curves_add(
        &c, put(t, memory, "a.jsonl",
                "{\"step\": 1, \"loss\": 3}\n{\"step\": 2, \"loss\": 2}\n{\"step\": 3, \"loss\": 9}\n"
                "{\"step\": 2, \"loss\": null}\n{\"step\": 2, \"eval_loss\": 7}\n{\"step\": 3, \"loss\": 1.5}\n{\"ste"));
    CHECK(t, !status && c.series.n == 1, "%s", mdl_message(status));
    mdl_status_free(status);
    if (c.series.n != 1) return;
    const mdl_point *p = c.series.at[0].points.at;
    CHECK(t, c.series.at[0].points.n == 3, "%d points", c.series.at[0].points.n);
    CHECK(t, p[0].value == 3 && p[1].step == 2 && isnan(p[1].value) && p[2].value == 1.5, "%g %g %g", p[0].value, p[1].value,
          p[2].value);
    mdl_case(t, "what cannot be read");
    expect_error(t, mdl_curves_add(&c, "/nowhere"), "/nowhere: cannot open it");
    expect_error(t, mdl_curves_add(&c, put(t, memory, "b.jsonl", "{\"step\": 1, \"loss\": 3}\nstep 2\n")),
                 "b.jsonl:2: not a line of metrics");
    expect_error(t, mdl_curves_add(&c, put(t, memory, "c.jsonl", "{\"step\": 1, \"loss.a\": 3}\n")),
                 "no line has 'loss'; did you mean 'loss.a'?");
    expect_error(t, mdl_curves_add(&c, put(t, memory, "d.jsonl", "{\"step\": 1, \"acc\": 3}\n")),
                 "no line has 'loss'; they have step, acc");
    expect_error(t, mdl_curves_add(&c, put(t, memory, "e.jsonl", "")), "no line has 'loss'; they have nothing");
    expect_error(t, mdl_curves_write(&c, "x.gif"), "expected a name that ends in .svg or .png");
}

/* How far a pixel is from a colour, at most 255. */
static int distance(cairo_surface_t *image, int x, int y, unsigned colour) {
    const unsigned char *row = cairo_image_surface_get_data(image) + (ptrdiff_t)y * cairo_image_surface_get_stride(image);
    uint32_t pixel;
    memcpy(&pixel, row + 4 * x, 4);
    int most = 0;
    for (int shift = 0; shift < 24; shift += 8) {
        int d = abs((int)(pixel >> shift & 255) - (int)(colour >> shift & 255));
        most = d > most ? d : most;
    }
    return most;
}

/* One run at the bottom of the picture, one at its top, and one that goes from corner to corner but for a gap in the middle. */
static void drawing(mdl_test *t, mdl_arena *memory) {
    static const unsigned colours[] = MDL_PALETTE_COLOURS;
    mdl_text diagonal = {.arena = memory};
    for (int i = 0; i <= 100; i++)
        mdl_text_printf(&diagonal, i > 40 && i < 60 ? "{\"step\": %d, \"loss\": null}\n" : "{\"step\": %d, \"loss\": %g}\n", i,
                        1 + i / 100.0);
    put(t, memory, "low.jsonl", "{\"step\": 0, \"loss\": 1}\n{\"step\": 100, \"loss\": 1}\n");
    put(t, memory, "high.jsonl", "{\"step\": 0, \"loss\": 2}\n{\"step\": 100, \"loss\": 2}\n");
    put(t, memory, "diagonal.jsonl", diagonal.at);
    mdl_case(t, "mdlrun plot draws each run where its values are");
    const char *said = "";
    int status = mdl_shell(t, &said, "cd '%s' && mdlrun plot low.jsonl high.jsonl diagonal.jsonl", mdl_test_scratch(t));
    CHECK(t, !status && strstr(said, "wrote loss.svg\nwrote loss.png\n"), "%s", said);
    cairo_surface_t *image = cairo_image_surface_create_from_png(mdl_printf(memory, "%s/loss.png", mdl_test_scratch(t)));
    bool good = !cairo_surface_status(image) && cairo_image_surface_get_width(image) == 960;
    CHECK(t, good, "not a picture");
    /* The frame is 70..940 by 40..490; a line is 1.5 wide, so that a pixel beside its middle has three quarters of its colour. */
    CHECK(t, good && distance(image, 300, 489, colours[0]) < 80, "the low run is off by %d", distance(image, 300, 489, colours[0]));
    CHECK(t, good && distance(image, 300, 40, colours[1]) < 80, "the high run is off by %d", distance(image, 300, 40, colours[1]));
    CHECK(t, good && distance(image, 287, 377, colours[2]) < 80, "a quarter up is off by %d",
          distance(image, 287, 377, colours[2]));
    CHECK(t, good && distance(image, 505, 265, colours[2]) > 80, "there is no gap");
    cairo_surface_destroy(image);
    status =
        mdl_shell(t, &said, "tail -c 7 '%s/loss.svg'; grep -c '<path' '%s/loss.svg'", mdl_test_scratch(t), mdl_test_scratch(t));
    CHECK(t, !status && !strncmp(said, "</svg>\n", 7), "%s", said);
}

/* Ranges that ticks could get lost in. */
static void extremes(mdl_test *t, mdl_arena *memory) {
    static const char *const cases[] = {
        "{\"step\": 5, \"loss\": 2}\n", "{\"step\": 1, \"loss\": null}\n",
        "{\"step\": 9007199254740992, \"loss\": 1e300}\n{\"step\": 9007199254740994, \"loss\": -1e300}\n",
        "{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"loss\": 1.0000000000000002}\n"};
    for (int i = 0; i < 4; i++) {
        mdl_curves c = {.memory = memory, .metric = "loss"};
        mdl_case(t, "one point, no number, huge and narrow ranges: %d", i);
        mdl_status status = mdl_curves_add(&c, put(t, memory, "x.jsonl", cases[i]));
        if (!status) status = mdl_curves_write(&c, mdl_printf(memory, "%s/x.svg", mdl_test_scratch(t)));
        CHECK(t, !status, "%s", mdl_message(status));
        mdl_status_free(status);
    }
}

void suite_curves(mdl_test *t) {
    mdl_arena *memory = mdl_arena_new();
    reading(t, memory);
    drawing(t, memory);
    extremes(t, memory);
    mdl_arena_free(memory);
}
