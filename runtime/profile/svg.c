/* A profile as a picture. */
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/profile/profile.h"
#include "runtime/report/palette.h"

enum { WIDTH = 1600, LEFT = 70, TOP = 60, ROW = 46, LANE = 56, LEGEND = 150, TICKS = 10 };
static const unsigned colours[MDL_PALETTE] = MDL_PALETTE_COLOURS;

typedef struct {
    const mdl_profile *p;
    FILE *out;
    mdl_profile_rows classes, launches;
    double *start; /* by launch: seconds */
    double end;
    int streams;
} picture;

/* A launch starts when the one before it in its stream has ended, and those that it waits for. */
static void lay_out(picture *pic) {
    const mdl_plan_program *program = pic->p->program;
    double free_at[MDL_MAX_STREAMS] = {0};
    pic->start = MDL_NEW_ARRAY(pic->p->memory, double, program->launches.n + 1);
    for (int i = 0; i < program->launches.n; i++) {
        const mdl_plan_launch *l = &program->launches.at[i];
        double *start = &pic->start[i];
        *start = free_at[l->stream];
        for (int k = 0; k < l->waits.n; k++) {
            double ended = pic->start[l->waits.at[k]] + pic->launches.at[l->waits.at[k]].seconds.median;
            if (ended > *start) *start = ended;
        }
        free_at[l->stream] = *start + pic->launches.at[i].seconds.median;
        if (free_at[l->stream] > pic->end) pic->end = free_at[l->stream];
        if (l->stream >= pic->streams) pic->streams = l->stream + 1;
    }
}

static double across(const picture *pic, double seconds) {
    return LEFT + (pic->end > 0 ? seconds / pic->end : 0) * (WIDTH - LEFT - 10);
}

static unsigned colour_of(const picture *pic, const char *class) {
    int i = 0;
    while (i < pic->classes.n && strcmp(pic->classes.at[i].name, class)) i++;
    return colours[i < MDL_PALETTE ? i : MDL_PALETTE - 1];
}

static void print_text(FILE *out, const char *text) {
    for (; *text; text++) switch (*text) {
            case '&': fputs("&amp;", out); break;
            case '<': fputs("&lt;", out); break;
            case '>': fputs("&gt;", out); break;
            default: fputc((unsigned char)*text < 32 ? '?' : *text, out);
        }
}

static void print_launch(const picture *pic, int i) {
    const mdl_profile_row *row = &pic->launches.at[i];
    int stream = pic->p->program->launches.at[i].stream;
    double from = across(pic, pic->start[i]), to = across(pic, pic->start[i] + row->seconds.median);
    fprintf(pic->out, "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"#%06x\"><title>%d ", from, TOP + stream * LANE,
            to - from, ROW, colour_of(pic, row->class), i);
    print_text(pic->out, row->name);
    fprintf(pic->out, " (%s), %.4f ms, %.0f %% of what the device can do\n", row->class, 1e3 * row->seconds.median,
            100 * row->reach);
    print_text(pic->out, row->span);
    fputs("</title></rect>\n", pic->out);
}

static void print_axis(const picture *pic) {
    int bottom = TOP + pic->streams * LANE;
    for (int i = 0; i <= TICKS; i++) {
        double seconds = pic->end * i / TICKS;
        fprintf(pic->out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%.3g ms</text>\n", across(pic, seconds), bottom + 12,
                i == TICKS ? "end" : "middle", 1e3 * seconds);
    }
    for (int i = 0; i < pic->streams; i++)
        fprintf(pic->out, "<text x=\"4\" y=\"%d\">stream %d</text>\n", TOP + i * LANE + ROW / 2 + 4, i);
}

static void print_legend(const picture *pic) {
    for (int i = 0; i < pic->classes.n && i < MDL_PALETTE; i++) {
        const mdl_profile_row *row = &pic->classes.at[i];
        int x = LEFT + i * LEGEND;
        fprintf(pic->out, "<rect x=\"%d\" y=\"32\" width=\"12\" height=\"12\" fill=\"#%06x\"/><text x=\"%d\" y=\"42\">", x,
                colours[i], x + 16);
        print_text(pic->out, row->name);
        fprintf(pic->out, " %.1f %%</text>\n", 100 * row->share);
    }
}

static void print_picture(const picture *pic) {
    const mdl_profile *p = pic->p;
    int height = TOP + pic->streams * LANE + 24;
    fprintf(pic->out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"11\">\n", WIDTH,
            height);
    fprintf(pic->out, "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n<text x=\"%d\" y=\"18\" font-size=\"14\">", WIDTH, height,
            LEFT);
    print_text(pic->out, mdl_printf(p->memory, "%s of %s on %s: %d launches, each its median of %d", p->program->name,
                                    p->plan->model, p->device, p->program->launches.n, p->steps));
    fputs("</text>\n", pic->out);
    print_legend(pic);
    for (int i = 0; i < pic->launches.n; i++) print_launch(pic, i);
    print_axis(pic);
    fputs("</svg>\n", pic->out);
}

mdl_status mdl_profile_write_svg(const mdl_profile *p, const char *path) {
    mdl_new_file file;
    picture pic = {
        .p = p, .classes = mdl_profile_group(p, MDL_BY_CLASS), .launches = mdl_profile_group(p, MDL_BY_LAUNCH), .streams = 1};
    lay_out(&pic);
    mdl_status status = mdl_file_create(path, &file);
    if (status) return status;
    pic.out = file.out;
    print_picture(&pic);
    return mdl_file_commit(&file, MDL_OK);
}
