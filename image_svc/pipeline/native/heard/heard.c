/* What libde265 says of a picture of a HEIC: libheif shows what there is, and does not ask.
 *
 * A library of its own that is loaded before libheif and for all to see: libheif then finds this function where it looks
 * for libde265's of the same name. It hands on what that gives, and listens. Only what libde265 declares in public is
 * used. One thread at a time. `pipeline/heif.py` says where the real ones are.
 */

#include <stddef.h>
#include <stdint.h>

/* de265.h: what says that blocks were decoded from the wrong place, or not at all. In what is coded arithmetically
 * nothing else tells of a bit that is not what it was: the end comes where it should not, or does not come. The others
 * (threads that would be of no use, kinds of notes that are not known) say nothing of the pixels. */
enum {
    OUT_OF_RANGE = 8,
    PREMATURE_END = 1002,
    BEYOND_THE_PICTURE = 1004,
    NO_SLICE = 1007,
    NO_END = 1017,
    NO_SUCH_SPLIT = 1034,
    NO_SUCH_PARAMETER = 1035
};

typedef const void *(*Next)(void *decoder);
typedef int (*Warning)(void *decoder);

static Next next_picture;
static Warning next_warning;
static int32_t calls, damaged;

void darkroom_heard_from(Next next, Warning warning) {
    next_picture = next;
    next_warning = warning;
}

/* How many pictures were asked for since the last time, or -1 where one was damaged. */
int32_t darkroom_heard(void) {
    int32_t said = damaged ? -1 : calls;
    calls = damaged = 0;
    return said;
}

const void *de265_get_next_picture(void *decoder) {
    if (!next_picture) return NULL;
    const void *picture = next_picture(decoder);
    calls++;
    for (int warning; (warning = next_warning(decoder)) != 0;) switch (warning) {
            case OUT_OF_RANGE:
            case PREMATURE_END:
            case BEYOND_THE_PICTURE:
            case NO_SLICE:
            case NO_END:
            case NO_SUCH_SPLIT:
            case NO_SUCH_PARAMETER: damaged = 1;
        }
    return picture;
}
