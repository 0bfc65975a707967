/* Drawing curves with cairo, the same for SVG and PNG. Lengths are in points or pixels. */
#include <cairo-svg.h>
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/report/curves.h"
#include "runtime/report/palette.h"

enum { WIDTH = 960, HEIGHT = 540, LEFT = 70, RIGHT = 20, TOP = 40, BOTTOM = 50, LINE = 18, TICKS = 8 };

typedef struct {
    double low, high;
} range;

typedef struct {
    const mdl_curves *curves;
    cairo_t *to;
    range x, y;
} picture;

static void extend(range *r, double value) {
    if (!isfinite(value)) return;
    r->low = fmin(r->low, value);
    r->high = fmax(r->high, value);
}

/* Of all points; a range of no width gets some. */
static void find_ranges(picture *p) {
    p->x = p->y = (range){INFINITY, -INFINITY};
    for (int i = 0; i < p->curves->series.n; i++) {
        const mdl_series *s = &p->curves->series.at[i];
        for (int k = 0; k < s->points.n; k++) extend(&p->x, s->points.at[k].step), extend(&p->y, s->points.at[k].value);
    }
    range *both[] = {&p->x, &p->y};
    for (int i = 0; i < 2; i++) {
        if (both[i]->low > both[i]->high) *both[i] = (range){0, 1};
        if (both[i]->low == both[i]->high) both[i]->low -= 0.5, both[i]->high += 0.5;
    }
}

static double across(const picture *p, double step) {
    return LEFT + (step - p->x.low) / (p->x.high - p->x.low) * (WIDTH - LEFT - RIGHT);
}

static double down(const picture *p, double value) {
    return TOP + (p->y.high - value) / (p->y.high - p->y.low) * (HEIGHT - TOP - BOTTOM);
}

/* The smallest of 1, 2, 5 times a power of ten that makes at most TICKS ticks. */
static double tick_of(const range *r) {
    static const double nice[] = {1, 2, 5, 10};
    double least = (r->high - r->low) / TICKS, power = pow(10, floor(log10(least)));
    int i = 0;
    while (i < 3 && nice[i] * power < least) i++;
    return nice[i] * power;
}

static void set_colour(cairo_t *to, unsigned rgb) {
    cairo_set_source_rgb(to, (rgb >> 16) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0);
}

/* align: the share of the text's width that lies left of x. */
static void draw_text(cairo_t *to, double x, double y, double align, const char *text) {
    cairo_text_extents_t extents;
    cairo_text_extents(to, text, &extents);
    cairo_move_to(to, x - align * extents.x_advance, y);
    cairo_show_text(to, text);
}

static void draw_line(cairo_t *to, double x0, double y0, double x1, double y1) {
    cairo_move_to(to, x0, y0);
    cairo_line_to(to, x1, y1);
    cairo_stroke(to);
}

/* The k-th tick inside a range; false: there are no more. Counted, not added up: a range may be narrower than its numbers'
 * rounding. */
static bool tick_at(const range *r, int k, double *at) {
    double tick = tick_of(r);
    *at = (ceil(r->low / tick) + k) * tick;
    if (fabs(*at) < 1e-9 * tick) *at = 0; /* no -0 */
    return k <= TICKS && *at <= r->high + 1e-9 * tick;
}

static void draw_axes(const picture *p) {
    char text[32];
    double bottom = HEIGHT - BOTTOM, at;
    cairo_set_line_width(p->to, 1);
    for (int k = 0; tick_at(&p->x, k, &at); k++) {
        set_colour(p->to, 0xe4e4e4);
        draw_line(p->to, across(p, at), TOP, across(p, at), bottom);
        set_colour(p->to, 0x404040);
        snprintf(text, sizeof text, "%g", at);
        draw_text(p->to, across(p, at), bottom + LINE, 0.5, text);
    }
    for (int k = 0; tick_at(&p->y, k, &at); k++) {
        set_colour(p->to, 0xe4e4e4);
        draw_line(p->to, LEFT, down(p, at), WIDTH - RIGHT, down(p, at));
        set_colour(p->to, 0x404040);
        snprintf(text, sizeof text, "%.4g", at);
        draw_text(p->to, LEFT - 8, down(p, at) + 4, 1, text);
    }
    draw_text(p->to, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10, 0.5, "step");
    draw_text(p->to, LEFT, TOP - 14, 0, p->curves->metric);
}

/* A value that is not finite leaves a gap; a point alone is a dot. */
static void draw_series(const picture *p, const mdl_series *s, unsigned colour) {
    set_colour(p->to, colour);
    cairo_set_line_width(p->to, 1.5);
    cairo_set_line_cap(p->to, CAIRO_LINE_CAP_ROUND);
    cairo_set_line_join(p->to, CAIRO_LINE_JOIN_ROUND);
    bool drawing = false;
    for (int i = 0; i < s->points.n; i++) {
        double x = across(p, s->points.at[i].step), y = down(p, s->points.at[i].value);
        if (!isfinite(s->points.at[i].value)) {
            drawing = false;
            continue;
        }
        if (!drawing) cairo_move_to(p->to, x, y);
        cairo_line_to(p->to, x, y);
        drawing = true;
    }
    cairo_stroke(p->to);
}

static void draw_legend(const picture *p) {
    static const unsigned colours[MDL_PALETTE] = MDL_PALETTE_COLOURS;
    for (int i = 0; i < p->curves->series.n; i++) {
        double y = TOP + LINE * (i + 1);
        cairo_text_extents_t extents;
        cairo_text_extents(p->to, p->curves->series.at[i].name, &extents);
        set_colour(p->to, colours[i % MDL_PALETTE]);
        cairo_rectangle(p->to, WIDTH - RIGHT - extents.x_advance - 34, y - 5, 16, 3);
        cairo_fill(p->to);
        set_colour(p->to, 0x202020);
        draw_text(p->to, WIDTH - RIGHT - 10, y, 1, p->curves->series.at[i].name);
    }
}

static void draw(const mdl_curves *curves, cairo_t *to) {
    static const unsigned colours[MDL_PALETTE] = MDL_PALETTE_COLOURS;
    picture p = {.curves = curves, .to = to};
    find_ranges(&p);
    set_colour(to, 0xffffff);
    cairo_paint(to);
    cairo_select_font_face(to, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(to, 12);
    draw_axes(&p);
    for (int i = 0; i < curves->series.n; i++) draw_series(&p, &curves->series.at[i], colours[i % MDL_PALETTE]);
    draw_legend(&p);
}

static cairo_status_t write_bytes(void *file, const unsigned char *bytes, unsigned n) {
    return fwrite(bytes, 1, n, file) == n ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

mdl_status mdl_curves_write(const mdl_curves *curves, const char *path) {
    const char *dot = strrchr(path, '.');
    bool svg = dot && !strcmp(dot, ".svg"), png = dot && !strcmp(dot, ".png");
    mdl_new_file file;
    if (!svg && !png) return mdl_fail(MDL_USAGE, "%s: expected a name that ends in .svg or .png", path);
    mdl_status status = mdl_file_create(path, &file);
    if (status) return status;
    cairo_surface_t *surface = svg ? cairo_svg_surface_create_for_stream(write_bytes, file.out, WIDTH, HEIGHT)
                                   : cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH, HEIGHT);
    cairo_t *to = cairo_create(surface);
    draw(curves, to);
    cairo_status_t drawn = cairo_status(to);
    cairo_destroy(to);
    if (!drawn && png) drawn = cairo_surface_write_to_png_stream(surface, write_bytes, file.out);
    cairo_surface_finish(surface);
    if (!drawn) drawn = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (drawn) status = mdl_fail(MDL_SYSTEM, "%s: %s", path, cairo_status_to_string(drawn));
    return mdl_file_commit(&file, status);
}

#ifdef __SANITIZE_ADDRESS__
/* fontconfig, in which cairo finds fonts, keeps a few hundred bytes to the end of the process. */
const char *__lsan_default_suppressions(void), *__lsan_default_options(void);
const char *__lsan_default_suppressions(void) { return "leak:libfontconfig"; }
const char *__lsan_default_options(void) { return "print_suppressions=0"; }
#endif
