/* Whether the pixels of an AV1 picture are those that were coded, where dav1d does not say.
 *
 * What is coded arithmetically ends with a mark, exactly where the last symbol does (AV1, 8.2.4). A bit that is not what
 * it was moves that place, and dav1d shows what comes of it, without a look at the mark; libaom looks. So it decodes the
 * picture once more, for that alone.
 *
 * Plain C behind `pipeline/headers/isobmff.py`, without Python and without state.
 */

#include <stddef.h>
#include <stdint.h>

#include <aom/aom_decoder.h>
#include <aom/aomdx.h>

#include "span.h"

/* As `header.heed` has them. */
enum { WHOLE = 0, DAMAGED = 1 };

/* Pictures in their order, of which later ones may be made of earlier ones: each from a place to another. What cannot be
 * decoded at all, or not in the memory that there is, is left to the one who shows it. */
int32_t darkroom_av1_whole(const uint8_t *bytes, const Span *pictures, size_t count) {
    const aom_codec_dec_cfg_t config = {.threads = 1, .allow_lowbitdepth = 1};
    aom_codec_ctx_t codec;
    if (aom_codec_dec_init(&codec, aom_codec_av1_dx(), &config, 0) != AOM_CODEC_OK) return WHOLE;
    int corrupted = 0;
    aom_codec_err_t error = AOM_CODEC_OK;
    for (size_t n = 0; n < count && error == AOM_CODEC_OK && !corrupted; n++) {
        error = aom_codec_decode(&codec, bytes + pictures[n].start, (size_t)(pictures[n].end - pictures[n].start), NULL);
        if (error == AOM_CODEC_OK) aom_codec_control(&codec, AOMD_GET_FRAME_CORRUPTED, &corrupted);
    }
    aom_codec_destroy(&codec);
    return error == AOM_CODEC_CORRUPT_FRAME || corrupted ? DAMAGED : WHOLE;
}
