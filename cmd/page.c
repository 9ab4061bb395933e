#include "cmd/page.h"

#include "cmd/cli.h"
#include "libcommon/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PAGE_MAX ((size_t)64 << 20)

/* Colours have a contrast of 4.5 and more on their ground, in both schemes. */
static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1c1e21;--dim:#5a6068;--line:#d5d9de;--card:#f5f6f8;--link:#0b57b7;"
    "--good:#1a6b34;--part:#7a5200;--bad:#b3261e;--off:#5a6068;--bgood:#3d9a5b;--bpart:#d79b1c;--bbad:#d3453b;--boff:#a9b0b8}"
    "@media (prefers-color-scheme:dark){:root{--bg:#15171a;--fg:#e6e8ea;--dim:#a3abb3;--line:#363b41;--card:#1e2125;--link:#8ab8ff;"
    "--good:#7ccf95;--part:#e5b860;--bad:#ff9a92;--off:#a3abb3;--bgood:#2f8a4d;--bpart:#a97a10;--bbad:#c2382f;--boff:#5b636b}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}"
    "header,main,footer{max-width:72rem;margin:0 auto;padding:1rem}h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0;overflow-wrap:anywhere}"
    "h2{font-size:1.2rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line);padding-bottom:.25rem}"
    "p{margin:.5rem 0}.dim,footer{color:var(--dim)}a{color:var(--link)}"
    ".good{color:var(--good)}.part{color:var(--part)}.bad{color:var(--bad)}.off{color:var(--off)}.state{font-weight:600}"
    ".verdict{display:inline-block;border:2px solid currentColor;border-radius:.4rem;padding:.1rem .6rem;font-weight:600}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:.5rem 0}dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}"
    ".scroll{overflow-x:auto;border:1px solid var(--line);border-radius:.4rem}table{border-collapse:collapse;width:100%;font-size:.95rem}"
    "caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}"
    "th,td{text-align:left;padding:.3rem .6rem;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:break-word;min-width:4rem}"
    "td{max-width:24rem}td.state{white-space:nowrap}"
    "thead th{border-top:0;background:var(--card);white-space:nowrap}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}"
    "td:first-child{min-width:9rem}.bars{display:grid;gap:.7rem;margin:.8rem 0;padding:0;list-style:none}.bars strong{margin-right:.5rem}"
    ".bar{display:flex;height:.9rem;border-radius:.3rem;overflow:hidden;background:var(--card);margin-top:.15rem}"
    ".bar span{display:block;min-width:2px}.fgood{background:var(--bgood)}.fpart{background:var(--bpart)}.fbad{background:var(--bbad)}.foff{background:var(--boff)}"
    "svg{display:block;width:100%;height:auto;max-height:14rem}.sgood{fill:var(--bgood)}.spart{fill:var(--bpart)}.sline{stroke:var(--line)}"
    "@media (max-width:40rem){td:last-child:not(.n){min-width:12rem}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.4rem}body{font-size:15px}}"
    "@media print{:root{--bg:#fff;--fg:#000;--dim:#444;--card:#f2f2f2;--line:#bbb;--link:#000;--good:#1a6b34;--part:#7a5200;--bad:#b3261e;--off:#444;"
    "--bgood:#3d9a5b;--bpart:#d79b1c;--bbad:#d3453b;--boff:#a9b0b8}header,main,footer{max-width:none;padding:0}.scroll{overflow:visible;border:0}"
    "tr,li,svg{break-inside:avoid}h2{break-after:avoid}thead{display:table-header-group}*{print-color-adjust:exact}"
    "a[href^=http]::after{content:\" (\" attr(href) \")\";font-size:.8em}}";

static void raw(struct page *p, const char *s)
{
    if (!p->failed)
        p->failed = gs_buf_addstr(&p->html, s, p->err) != 0;
}

static void rawf(struct page *p, const char *fmt, ...) GS_PRINTF(2, 3);
static void rawf(struct page *p, const char *fmt, ...)
{
    char s[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s, sizeof s, fmt, ap);
    va_end(ap);
    raw(p, s);
}

/* Text from outside: what could play tricks is shown as an escape, what HTML would understand is quoted. */
static void text(struct page *p, const char *s)
{
    char plain[4096];
    snprintf(plain, sizeof plain, "%s", s ? s : "");
    for (char *tab = plain; (tab = strchr(tab, '\t')); tab++)
        *tab = ' '; /* minisign parts the fields of its comments by tabs */
    for (s = cli_safe(plain); *s && !p->failed; s++) {
        const char *e = *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : *s == '"' ? "&quot;" : *s == '\'' ? "&#39;" : NULL;
        p->failed = (e ? gs_buf_addstr(&p->html, e, p->err) : gs_buf_addc(&p->html, *s, p->err)) != 0;
    }
}

static bool web(const char *url)
{
    return url && (strncasecmp(url, "https://", 8) == 0 || strncasecmp(url, "http://", 7) == 0);
}

static void linked(struct page *p, const char *s, const char *url)
{
    if (!web(url)) {
        text(p, s);
        return;
    }
    raw(p, "<a href=\"");
    text(p, url);
    raw(p, "\" rel=\"noreferrer\">");
    text(p, s);
    raw(p, "</a>");
}

void page_begin(struct page *p, const char *title, const char *subtitle, const char *state, bool good, struct gs_err *err)
{
    *p = (struct page){.err = err};
    gs_buf_init(&p->html, PAGE_MAX);
    raw(p, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
           "<meta name=\"referrer\" content=\"no-referrer\">\n<link rel=\"icon\" href=\"data:,\">\n<title>");
    text(p, title);
    raw(p, "</title>\n<style>");
    raw(p, style);
    raw(p, "</style>\n</head>\n<body>\n<header>\n<h1>");
    text(p, title);
    raw(p, "</h1>\n<p class=\"dim\">");
    text(p, subtitle);
    raw(p, "</p>\n");
    if (state) {
        rawf(p, "<p><span class=\"verdict %s\">", good ? "good" : "bad");
        text(p, state);
        raw(p, "</span></p>\n");
    }
    raw(p, "</header>\n<main>\n");
}

int page_finish(struct page *p)
{
    char now[GS_TIME_LEN];
    gs_time_format(gs_unix_ms(), now);
    if (p->in_section)
        raw(p, "</section>\n");
    rawf(p, "</main>\n<footer>\n<p>Made %.19sZ by groupsnap " GS_VERSION ".</p>\n</footer>\n</body>\n</html>\n", now);
    return p->failed ? -1 : 0;
}

void page_release(struct page *p)
{
    gs_buf_release(&p->html);
}

int page_told(struct cli *cli, bool json, const char *file, uint64_t bytes, struct gs_err *err)
{
    if (!json) {
        cli_out(cli, "'%s' holds the report, %s\n", cli_safe(file), cli_bytes(bytes));
        return 0;
    }
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 1 << 20);
    cli_json_begin(&w, &buf, "report", err);
    gs_jw_kstr(&w, "file", cli_valid(file));
    gs_jw_ki64(&w, "bytes", (int64_t)bytes);
    return cli_json_end(cli, &w);
}

void page_section(struct page *p, const char *id, const char *heading)
{
    if (p->in_section)
        raw(p, "</section>\n");
    p->in_section = true;
    rawf(p, "<section aria-labelledby=\"%s\">\n<h2 id=\"%s\">", id, id);
    text(p, heading);
    raw(p, "</h2>\n");
}

void page_text(struct page *p, const char *fmt, ...)
{
    char s[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s, sizeof s, fmt, ap);
    va_end(ap);
    raw(p, "<p>");
    text(p, s);
    raw(p, "</p>\n");
}

void page_facts(struct page *p)
{
    raw(p, "<dl>\n");
}

void page_fact(struct page *p, const char *name, const char *value, const char *url)
{
    if (!value || !*value)
        return;
    raw(p, "<dt>");
    text(p, name);
    raw(p, "</dt><dd>");
    linked(p, value, url);
    raw(p, "</dd>\n");
}

void page_facts_end(struct page *p)
{
    raw(p, "</dl>\n");
}

void page_table(struct page *p, const char *caption, const char *const *columns, size_t n)
{
    /* who has no mouse scrolls a wide table with the keys */
    raw(p, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"");
    text(p, caption);
    raw(p, "\">\n<table>\n<caption>");
    text(p, caption);
    raw(p, "</caption>\n<thead><tr>");
    for (size_t i = 0; i < n; i++) {
        bool number = columns[i][0] == '#';
        raw(p, number ? "<th scope=\"col\" class=\"n\">" : "<th scope=\"col\">");
        text(p, columns[i] + number);
        raw(p, "</th>");
    }
    raw(p, "</tr></thead>\n<tbody>\n");
}

void page_row(struct page *p)
{
    raw(p, "<tr>");
}

void page_cell(struct page *p, const char *s)
{
    page_link(p, s, NULL);
}

void page_link(struct page *p, const char *s, const char *url)
{
    raw(p, "<td>");
    linked(p, s, url);
    raw(p, "</td>");
}

void page_number(struct page *p, uint64_t n)
{
    raw(p, "<td class=\"n\">");
    raw(p, cli_count(n));
    raw(p, "</td>");
}

void page_state(struct page *p, const char *word, const char *tone)
{
    rawf(p, "<td class=\"state %s\">", tone);
    text(p, word);
    raw(p, "</td>");
}

void page_tree(struct page *p, unsigned depth, const char *s, const char *url)
{
    rawf(p, "<td style=\"padding-left:%.1frem\">", 0.6 + 1.1 * (depth < 20 ? depth : 20));
    linked(p, s, url);
    raw(p, "</td>");
}

void page_row_end(struct page *p)
{
    raw(p, "</tr>\n");
}

void page_table_end(struct page *p)
{
    raw(p, "</tbody>\n</table>\n</div>\n");
}

void page_bars(struct page *p)
{
    raw(p, "<ul class=\"bars\">\n");
}

void page_bar(struct page *p, const char *label, const struct page_part *parts, size_t n)
{
    raw(p, "<li><strong>");
    text(p, label);
    raw(p, "</strong>");
    for (size_t i = 0; i < n; i++)
        if (parts[i].n)
            rawf(p, "<span class=\"%s\">%s %s</span> ", parts[i].tone, cli_count(parts[i].n), parts[i].name);
    raw(p, "<div class=\"bar\" aria-hidden=\"true\">");
    for (size_t i = 0; i < n; i++)
        if (parts[i].n)
            rawf(p, "<span class=\"f%s\" style=\"flex:%" PRIu64 "\"></span>", parts[i].tone, parts[i].n);
    raw(p, "</div></li>\n");
}

void page_bars_end(struct page *p)
{
    raw(p, "</ul>\n");
}

#define CHART_W 1000
#define CHART_H 160

void page_timeline(struct page *p, const char *title, int64_t from_ms, int64_t until_ms, const uint64_t *columns, size_t n,
                   const struct page_wait *waits, size_t n_waits)
{
    uint64_t most = 1;
    double span = until_ms > from_ms ? (double)(until_ms - from_ms) : 1;
    for (size_t i = 0; i < n; i++)
        most = columns[i] > most ? columns[i] : most;
    rawf(p, "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"", CHART_W, CHART_H + 24);
    text(p, title);
    raw(p, "\">\n");
    for (size_t i = 0; i < n; i++) {
        double h = (double)columns[i] * CHART_H / (double)most;
        if (columns[i])
            rawf(p, "<rect class=\"sgood\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", (double)i * CHART_W / (double)n, CHART_H - h,
                 (double)CHART_W / (double)n * 0.9, h);
    }
    for (size_t i = 0; i < n_waits; i++) {
        double x = (double)(waits[i].from_ms - from_ms) * CHART_W / span, w = (double)(waits[i].until_ms - waits[i].from_ms) * CHART_W / span;
        rawf(p, "<rect class=\"spart\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"14\"/>", x, CHART_H + 6, w < 2 ? 2 : w);
    }
    rawf(p, "<line class=\"sline\" x1=\"0\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/></svg>\n", CHART_H, CHART_W, CHART_H);
}
