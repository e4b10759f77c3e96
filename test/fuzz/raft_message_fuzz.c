/* Bytes from anybody who reaches the Raft port. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <raft/message.h>

#define ROOM 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raft_entry entries[ROOM];
    struct raft_message_room room = {.entries = entries, .max_entries = ROOM};
    struct raft_message m;
    size_t at = 0;

    while (at < size) {
        size_t skip = 0;
        int64_t n = raft_message_decode(data + at, size - at, &m, &room, &skip);
        uint8_t *again;

        if (n == RAFT_ERR_VERSION && skip > 0 && skip <= size - at) {
            at += skip;
            continue;
        }

        if (n <= 0) {
            break;
        }

        if ((size_t)n > size - at) {
            abort();
        }

        /* What was understood can be said again, in no more bytes. */
        again = malloc((size_t)n);
        if (again && raft_message_encode(&m, again, (size_t)n) <= 0) {
            abort();
        }
        free(again);
        at += (size_t)n;
    }

    return 0;
}
