/* How many pixels LZW codes stand for, making none: those of GIF (89a, appendix F) and TIFF (6.0, section 13).
 *
 * Neither has a check sum, but both end with a code of their own. A bit that is not what it was makes a code that stands
 * for more or fewer pixels, so that this comes too early or too late.
 *
 * Plain C behind `pipeline/headers/`, without Python and without state.
 */

#include <stddef.h>
#include <stdint.h>

/* How the codes end: with the code for it, with the data, or with one that none can be. */
enum { ENDED = 0, DATA_ENDED = 1, NO_CODE = 2 };
enum { WIDEST = 12, CODES = 1 << WIDEST }; /* bits of the longest codes, and how many there are of these */

/* Codes begin one bit longer than `least`, with their lowest bit first; in a TIFF (`highest_first`) with the highest,
 * and grow one code earlier. `count` is what they stand for up to there. */
int32_t darkroom_lzw(const uint8_t *data, size_t size, int32_t least, int32_t highest_first, uint64_t *count) {
    uint32_t lengths[CODES];
    const uint32_t clear = 1u << least;
    uint32_t held = 0, used = clear + 2, before = 0;
    int32_t width = least + 1, bits = 0;
    *count = 0;
    if (least < 1 || least >= WIDEST) return NO_CODE;
    for (uint32_t code = 0; code < used; code++) lengths[code] = 1;
    for (size_t at = 0; at < size;) {
        for (; bits < width && at < size; bits += 8)
            held = highest_first ? held << 8 | data[at++] : held | (uint32_t)data[at++] << bits;
        while (bits >= width) {
            const uint32_t mask = (1u << width) - 1;
            const uint32_t code = (highest_first ? held >> (bits - width) : held) & mask;
            if (!highest_first) held >>= width;
            bits -= width;
            if (code == clear) {
                used = clear + 2;
                width = least + 1;
                before = 0;
                continue;
            }
            if (code == clear + 1) return ENDED;
            if (before && used < CODES) {
                lengths[used++] = before + 1;
                if (used + (highest_first ? 1u : 0u) >= 1u << width && width < WIDEST) width++;
            }
            if (code >= used) return NO_CODE;
            before = lengths[code];
            *count += before;
        }
    }
    return DATA_ENDED;
}
