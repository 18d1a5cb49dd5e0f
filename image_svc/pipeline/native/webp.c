/* The pixels of a WebP, and whether all of them are there.
 *
 * libwebp takes any bytes for pixels, zeros that a download left among them. But in what is coded arithmetically a byte
 * that is not what it was changes the length of all that follows: a picture that needs less than its data is not the one
 * that was sent. libwebp is therefore given the last bytes of them late, and must still have asked for more.
 *
 * Plain C behind `pipeline/`, without Python and without state.
 */

#include <stddef.h>
#include <stdint.h>

#include <webp/decode.h>

/* As `header.heed` has them. */
enum { WHOLE = 0, DAMAGED = 1, NO_MEMORY = 2, BROKEN = 3, TRUNCATED = 4 };
/* More than libwebp reads ahead (8 bytes), and than coded pixels end with that say nothing (2). */
enum { AHEAD = 16 };

static int32_t said(VP8StatusCode status) {
    switch (status) {
        case VP8_STATUS_OK: return WHOLE;
        case VP8_STATUS_OUT_OF_MEMORY: return NO_MEMORY;
        case VP8_STATUS_SUSPENDED:
        case VP8_STATUS_NOT_ENOUGH_DATA: return TRUNCATED;
        default: return BROKEN;
    }
}

/* Decodes the still picture of a file. `start` and `end` are where its coded pixels lie, `width` and `height` what the
 * caller has read. `out` takes rows without gaps, red, green, blue and opacity of a byte each; where it is NULL, the
 * pixels are only looked at. */
int32_t darkroom_webp(const uint8_t *file, size_t start, size_t end, int32_t width, int32_t height, uint8_t *out) {
    WebPDecoderConfig config;
    VP8StatusCode status = VP8_STATUS_INVALID_PARAM;
    if (!WebPInitDecoderConfig(&config)) return BROKEN; /* of another version */
    status = WebPGetFeatures(file, end, &config.input);
    if (status != VP8_STATUS_OK) return said(status);
    if (config.input.has_animation || config.input.width != width || config.input.height != height) return BROKEN;
    if (out) {
        config.output.colorspace = MODE_RGBA;
        config.output.is_external_memory = 1;
        config.output.u.RGBA.rgba = out;
        config.output.u.RGBA.stride = width * 4;
        config.output.u.RGBA.size = (size_t)width * 4 * (size_t)height;
    } else {
        config.output.colorspace = config.input.format == 2 ? MODE_RGBA : MODE_YUV; /* lossless, lossy: as stored */
        config.options.bypass_filtering = 1;
    }
    WebPIDecoder *decoder = WebPIDecode(NULL, 0, &config);
    if (!decoder) return NO_MEMORY;
    size_t filled = end;
    while (filled > start && !file[filled - 1]) filled--;
    filled += AHEAD; /* zeros behind it may be there to fill */
    status = VP8_STATUS_SUSPENDED;
    int32_t damaged = 0;
    if (end - start > AHEAD) {
        if (filled < end - AHEAD) status = WebPIUpdate(decoder, file, filled);
        if (status == VP8_STATUS_SUSPENDED) {
            status = WebPIUpdate(decoder, file, end - AHEAD);
            damaged = status == VP8_STATUS_OK;
        }
    }
    if (status == VP8_STATUS_SUSPENDED) status = WebPIUpdate(decoder, file, end);
    WebPIDelete(decoder);
    WebPFreeDecBuffer(&config.output);
    return damaged ? DAMAGED : said(status);
}
