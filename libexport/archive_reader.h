/*
 * archive_reader: GitLab's own group export (.tar.gz, .tar, or the folder it unpacks to) into a bundle that is being written.
 *
 * archive_reader_new() -> _run() -> _summary(), _meta() -> the caller finishes the bundle -> _free(). The source is read
 * twice: first its groups (tree/groups/_all.ndjson and <id>.json), then the lines of every relation, byte for byte. The folder
 * a line lies in decides to which group it belongs.
 */
#ifndef EXPORT_ARCHIVE_READER_H
#define EXPORT_ARCHIVE_READER_H

#include "formats/bundle.h"
#include "libexport/archive_walk.h"
#include "libexport/book.h"

struct archive_reader_opts {
    const char *path;
    struct walk_limits limits;
    struct record_limits record;
    const struct gs_log *log;
    const volatile int *stop; /* may be NULL */
    void (*progress)(void *cookie, uint64_t groups, uint64_t records); /* may be NULL */
    void *cookie;
};

struct archive_reader;

int archive_reader_new(const struct archive_reader_opts *o, struct bundle_writer *w, struct archive_reader **out,
                       struct gs_err *err) GS_MUST_USE;
/* GS_E_ARCHIVE, GS_E_BOMB, GS_E_JSON*, GS_E_RECORD, GS_E_LIMIT (with file and line), GS_E_NOT_FOUND, GS_E_IO, GS_E_STOPPED. */
int archive_reader_run(struct archive_reader *a, struct gs_err *err) GS_MUST_USE;
void archive_reader_summary(struct archive_reader *a, struct book_summary *out);
/* Strings live as long as the reader. */
void archive_reader_meta(const struct archive_reader *a, struct bundle_meta *out);
uint64_t archive_reader_groups(const struct archive_reader *a);
void archive_reader_free(struct archive_reader *a);
GS_DEFINE_AUTO(archive_reader, archive_reader_free);

#endif
