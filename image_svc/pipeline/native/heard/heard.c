/* What libde265 says of a picture of a HEIC, and what it leaves undone: libheif shows what there is, and does not ask.
 *
 * A library of its own that is loaded before libheif and for all to see: libheif then finds a function here where it
 * looks for libde265's of the same name. It hands on what that gives, and listens. The memory of pictures is ours, too.
 * Only what libde265 declares in public is used. `pipeline/heif.py` says where the real functions are.
 */

#include <dlfcn.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

enum { PLANES = 3, MONO = 1, YUV420, YUV422 };

/* de265.h's own declarations. */
typedef struct {
    int format;
    int width, height, alignment;
    int crop_left, crop_right, crop_top, crop_bottom;
    int visible_width, visible_height;
} Spec;

typedef struct {
    int (*get)(void *decoder, Spec *spec, void *picture, void *ours);
    void (*release)(void *decoder, void *picture, void *ours);
} Allocation;

static const void *(*next_picture)(void *decoder);
static int (*next_warning)(void *decoder);
static const Allocation *(*allocation)(void);
static void (*set_plane)(void *picture, int plane, void *samples, int stride, void *ours);
static void *(*plane_of)(const void *picture, int plane);
static int (*bits_of)(const void *picture, int plane);

static int32_t ready;
static atomic_int_least32_t calls, damaged; /* libheif decodes each tile in a thread of its own */

/* A slice that ends too early leaves blocks that nobody decodes, and libde265 says nothing of it: of what it should have
 * sent, only the first is looked at. So a picture's memory begins with marks in its luminance, which every block that is
 * decoded writes over. There is one in each `STEP` samples both ways, the smallest unit that a slice can leave out, and
 * where filters do not reach from the blocks around (H.265 7.3.8.1, 7.4.3.2.1: CtbLog2SizeY; 8.7.2: three samples). */
enum { STEP = 16, AT = 4, MARK = 4 };

/* Noise of the lowest eight bits: no picture has all sixteen samples, and none is more than a sample may be. */
static const uint8_t mark[MARK][MARK] = {
    {0xe3, 0x1c, 0x96, 0x47}, {0x0b, 0xd2, 0x35, 0xf8}, {0xa9, 0x54, 0xee, 0x12}, {0x3f, 0xc5, 0x68, 0xb1}};

/* One plane's memory: what is known of it stands before its samples. */
typedef struct {
    int width, height, stride, bytes; /* samples, rows, bytes a row and a sample */
    alignas(64) uint8_t samples[];
} Plane;

/* What libde265's vectors may read behind the last sample; it takes 16 itself (image.cc, MEMORY_PADDING). */
enum { BEHIND = 64 };

static Plane *plane(const Spec *spec, int width, int height, int bits) {
    int bytes = (bits + 7) / 8, stride = (width + spec->alignment - 1) / spec->alignment * spec->alignment * bytes;
    size_t size = sizeof(Plane) + (size_t)stride * (size_t)height + BEHIND;
    size += -size % alignof(Plane);
    Plane *made = aligned_alloc(alignof(Plane), size);
    if (made) {
        memset(made, 0, size);
        *made = (Plane){.width = width, .height = height, .stride = stride, .bytes = bytes};
    }
    return made;
}

/* Whether any mark is as it was set; `set` sets them. */
static int marks(Plane *luminance, int set) {
    size_t stride = (size_t)luminance->stride, bytes = (size_t)luminance->bytes;
    int any = 0;
    for (int y = AT; y + MARK <= luminance->height; y += STEP)
        for (int x = AT; x + MARK <= luminance->width; x += STEP) {
            uint8_t *at = luminance->samples + (size_t)y * stride + (size_t)x * bytes;
            int same = 1;
            for (size_t each = 0; each < MARK * MARK && same; each++) {
                uint8_t *sample = at + each / MARK * stride + each % MARK * bytes; /* its low byte */
                if (set) *sample = mark[each / MARK][each % MARK];
                same = *sample == mark[each / MARK][each % MARK];
            }
            any |= same;
        }
    return any;
}

static void release(void *decoder, void *picture, void *ours) {
    (void)decoder, (void)ours;
    for (int each = 0; each < PLANES; each++) free(plane_of(picture, each));
}

static int get(void *decoder, Spec *spec, void *picture, void *ours) {
    (void)decoder, (void)ours;
    int across = spec->format == YUV420 || spec->format == YUV422 ? 2 : 1, down = spec->format == YUV420 ? 2 : 1;
    Plane *made[PLANES] = {NULL};
    for (int each = 0; each < (spec->format == MONO ? 1 : PLANES); each++) {
        made[each] = each ? plane(spec, spec->width / across, spec->height / down, bits_of(picture, each))
                          : plane(spec, spec->width, spec->height, bits_of(picture, each));
        if (!made[each]) {
            while (each--) free(made[each]);
            return 0;
        }
    }
    marks(made[0], 1);
    for (int each = 0; each < PLANES; each++)
        set_plane(picture, each, made[each] ? made[each]->samples : NULL, made[each] ? made[each]->stride : 0,
                  made[each]);
    return 1;
}

/* Takes the real functions from `library`, and gives pictures memory of ours; whether all that was there. */
int32_t darkroom_heard_from(const char *library) {
    void *decoder = dlopen(library, RTLD_NOW);
    if (!decoder) return 0;
    const struct {
        const char *name;
        void *where;
    } needed[] = {
        {"de265_get_next_picture", &next_picture},
        {"de265_get_warning", &next_warning},
        {"de265_get_default_image_allocation_functions", &allocation},
        {"de265_set_image_plane", &set_plane},
        {"de265_get_image_plane_user_data", &plane_of},
        {"de265_get_bits_per_pixel", &bits_of},
    };
    int32_t all = 1;
    for (size_t each = 0; each < sizeof needed / sizeof *needed; each++) {
        void *found = dlsym(decoder, needed[each].name);
        memcpy(needed[each].where, &found, sizeof found);
        all &= found != NULL;
    }
    /* The default itself, which is a variable: what a decoder is given by `de265_set_image_allocation_functions` it uses
     * for the pictures that it shows, and those are filtered copies of what it decodes. */
    if (all) *(Allocation *)(uintptr_t)allocation() = (Allocation){get, release};
    return ready = all;
}

/* How many pictures were shown since the last time, or -1 where one was damaged. */
int32_t darkroom_heard(void) {
    int32_t shown = atomic_exchange(&calls, 0);
    return atomic_exchange(&damaged, 0) ? -1 : shown;
}

const void *de265_get_next_picture(void *decoder) {
    if (!ready) return NULL;
    const void *picture = next_picture(decoder);
    Plane *luminance = picture ? plane_of(picture, 0) : NULL;
    if (luminance) {
        atomic_fetch_add(&calls, 1);
        if (marks(luminance, 0)) atomic_store(&damaged, 1);
    }
    for (int warning; (warning = next_warning(decoder)) != 0;) switch (warning) {
            case OUT_OF_RANGE:
            case PREMATURE_END:
            case BEYOND_THE_PICTURE:
            case NO_SLICE:
            case NO_END:
            case NO_SUCH_SPLIT:
            case NO_SUCH_PARAMETER: atomic_store(&damaged, 1);
        }
    return picture;
}
