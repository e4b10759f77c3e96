/* Runs a fuzz target over the files of a corpus directory, so that every past finding is an
 * ordinary test with any compiler. */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1 << 20)

static int replay(const char *path)
{
    FILE *f = fopen(path, "rbe");
    if (f == NULL) {
        perror(path);
        return -1;
    }
    /* The exact size on the heap, so that a sanitizer sees every read behind the end. */
    uint8_t *whole = malloc(INPUT_MAX);
    size_t n = whole == NULL ? 0 : fread(whole, 1, INPUT_MAX, f);
    uint8_t *exact = malloc(n == 0 ? 1 : n);
    if (whole == NULL || exact == NULL) {
        abort();
    }
    memcpy(exact, whole, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    free(whole);
    (void)fclose(f);
    return 0;
}

int main(int argc, char **argv)
{
    size_t n = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (dir == NULL) {
            perror(argv[i]);
            return 1;
        }
        for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
            char path[4096];
            if (e->d_name[0] == '.') {
                continue;
            }
            (void)snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (replay(path) != 0) {
                return 1;
            }
            n++;
        }
        (void)closedir(dir);
    }
    (void)printf("%zu inputs replayed\n", n);
    return n == 0; /* an empty corpus tests nothing */
}
