/*
 * standalone: replays corpora through a fuzzer's LLVMFuzzerTestOneInput() where libFuzzer is not there (gcc with ASan).
 * usage: fuzz_NAME FILE|FOLDER...   Folders are taken whole, in the order of names.
 */
#include "fuzz.h"

#include "libcommon/buf.h"
#include "libcommon/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static size_t files;

static int one_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st)) {
        fprintf(stderr, "cannot open '%s'\n", path);
        if (f)
            fclose(f);
        return 1;
    }
    size_t n = (size_t)st.st_size;
    uint8_t *data =
        malloc(n ? n : 1); /* exactly as large as the input, so that the sanitizer sees every byte too far */
    int r = !data || fread(data, 1, n, f) != n;
    fclose(f);
    if (r == 0)
        LLVMFuzzerTestOneInput(data, n);
    free(data);
    files++;
    return r;
}

static int one_path(const char *path)
{
    struct dirent **list = NULL;
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return one_file(path);
    int n = scandir(path, &list, NULL, alphasort), r = n < 0;
    for (int i = 0; i < n; i++) {
        char *name = list[i]->d_name[0] == '.' ? NULL : gs_asprintf("%s/%s", path, list[i]->d_name);
        if (name)
            r |= one_path(name);
        free(name);
        free(list[i]);
    }
    free(list);
    return r;
}

int main(int argc, char **argv)
{
    int r = 0;
    for (int i = 1; i < argc; i++)
        r |= one_path(argv[i]);
    printf("%zu inputs\n", files);
    return r;
}
