/* Reduces a JPEG while it is decoded.
 *
 * libjpeg-turbo decodes a few lines at a time, each component as it is stored: no colours are converted and nothing is
 * enlarged that is then made smaller. A Lanczos filter reduces each component straight from its own samples to the size
 * that is wanted, down first and then across, and only what is left gets its colours. What is in work (a few dozen
 * lines) stays in the processor's cache; a whole picture of full size never exists.
 *
 * Plain C behind `pipeline/jpeg.py`, without Python and without state. Built by `deploy/setup`.
 */

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

#include <jpeglib.h>
#include <jerror.h>

#include "coefficients.h"
#include "eighth.h"
#include "span.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef SOURCE_DIGEST
#define SOURCE_DIGEST "unknown"
#endif

/* Of `status`. */
enum { DONE = 0, BROKEN = 1, NO_MEMORY = 2, FOREIGN = 3 };

/* Bits of fraction: of weights, of samples between the two passes and after both, and of what colours are made with.
 * Lanczos adds less than 1.3 times a sample at an edge, twice: 6 bits leave room for that in 16, 8 and 13 in 32. */
enum { WEIGHT_BITS = 14, LINE_BITS = 6, SAMPLE_BITS = 8, COLOUR_BITS = 13 };
/* So many lines are made at a time: a vector has a lane for each. */
enum { BLOCK = 8, ROOM = 64 };
/* More bytes than libjpeg reads ahead (8), and than webcams leave before restarts. */
enum { AHEAD = 16 };
#define LANCZOS 3.0
/* Samples of colours for a pixel that is wanted; as `jpeg._COLOURS_LEFT` has it. */
#define COLOURS 0.9

/* What is asked for, and what came of it; as `jpeg._Order` has it. */
typedef struct {
    const uint8_t *file;
    const Span *spans; /* what of it is read; the rest is passed over */
    uint64_t span_count;
    int32_t width, height, components; /* as the caller has read them */
    int32_t denominator;               /* 1, 2, 4 or 8: libjpeg's own reduction, before ours */
    int32_t holes;                     /* whether the coded data have zeros that a download may have left */
    int32_t out_width, out_height;
    uint8_t *out; /* rows without gaps: a byte a pixel of one component, four of others */
    int32_t status;
    int32_t missing; /* what the data should have had */
    char message[JMSG_LENGTH_MAX];
} Order;

typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf escape;
    Order *order;
    int left; /* whether data were left before a marker, more than a few bytes */
} Errors;

typedef struct {
    struct jpeg_source_mgr base;
    const Order *order;
    uint64_t next;
    const uint8_t *start; /* of the part that is being read */
} Source;

/* For each sample that is made: which ones it is made of, and how much of each. */
typedef struct {
    int32_t *start, *count;
    int16_t *weights; /* `stride` for each, zero beyond `count` */
    int32_t stride, longest;
} Filter;

typedef struct {
    int32_t width, height; /* samples */
    int32_t strip, bytes;  /* lines that come at a time, and what one takes */
    int32_t lines;         /* that are kept: line n lies at n modulo this */
    uint8_t *ring;
    Filter across, down;
    int16_t *reduced; /* BLOCK lines between the passes, `step` apart */
    size_t step;
    int32_t *pairs; /* the same, pair by pair of neighbours */
    JSAMPROW *rows;
} Plane;

/* ---- libjpeg's callbacks -------------------------------------------------------------------------------------- */

static void on_error(j_common_ptr common) {
    Errors *errors = (Errors *)common->err;
    common->err->format_message(common, errors->order->message);
    errors->order->status = common->err->msg_code == JERR_OUT_OF_MEMORY ? NO_MEMORY : BROKEN;
    longjmp(errors->escape, 1);
}

/* How many of the bytes are not zero that were passed over up to here: these may be there to fill. */
static int left(j_decompress_ptr info, int passed) {
    const Source *source = (const Source *)info->src;
    const uint8_t *to = source->base.next_input_byte;
    const uint8_t *from = to - source->start > passed ? to - passed : source->start;
    int count = 0;
    for (; from < to; from++) count += *from != 0;
    return count;
}

/* Warnings do not end the work. Blocks that are missing before a marker, the end's that `on_empty` puts there included,
 * are told to the caller, and so are a code that is none and another restart than that which is due: what lies between
 * the two is gone. Of data that are left before a marker: see `work`. */
static void on_message(j_common_ptr common, int level) {
    Errors *errors = (Errors *)common->err;
    const int code = common->err->msg_code;
    if (level >= 0) return;
    if (code == JWRN_HIT_MARKER) errors->order->missing |= BLOCKS_MISSING;
    if (code == JWRN_MUST_RESYNC || code == JWRN_HUFF_BAD_CODE) errors->order->missing |= DAMAGED;
    if (code == JWRN_EXTRANEOUS_DATA)
        errors->left |= left((j_decompress_ptr)common, common->err->msg_parm.i[0]) > AHEAD;
}

static void nothing(j_decompress_ptr info) { (void)info; }

static boolean on_empty(j_decompress_ptr info) {
    static const JOCTET end[2] = {0xFF, JPEG_EOI};
    Source *source = (Source *)info->src;
    const Order *order = source->order;
    while (source->next < order->span_count) {
        Span span = order->spans[source->next++];
        if (span.end > span.start) {
            source->start = source->base.next_input_byte = order->file + span.start;
            source->base.bytes_in_buffer = (size_t)(span.end - span.start);
            return TRUE;
        }
    }
    source->start = source->base.next_input_byte = end;
    source->base.bytes_in_buffer = sizeof end;
    return TRUE;
}

static void on_skip(j_decompress_ptr info, long count) {
    Source *source = (Source *)info->src;
    while (count > 0 && (size_t)count > source->base.bytes_in_buffer) {
        count -= (long)source->base.bytes_in_buffer;
        if (source->next >= source->order->span_count) count = 0; /* an end marker is never passed over */
        on_empty(info);
    }
    if (count > 0) {
        source->base.next_input_byte += count;
        source->base.bytes_in_buffer -= (size_t)count;
    }
}

/* ---- filters ---------------------------------------------------------------------------------------------------- */

/* sinc(x) sinc(x / 3), with sin(3t) = 3 sin t - 4 sin^3 t, t = pi x / 3. */
static double lanczos(double x, double sine) {
    if (fabs(x) < 1e-6) return 1.0; /* but for 1e-12 */
    if (x <= -LANCZOS || x >= LANCZOS) return 0.0;
    double t = M_PI * x / LANCZOS, square = sine * sine;
    return square * (3.0 - 4.0 * square) / (LANCZOS * t * t);
}

/* Of a mean of so many samples: its frequencies sink by 1 - (pi f)^2 / 6 (1 - 1 / n^2); this raises them by as much. */
static double dullness(int32_t samples) { return (1.0 - 1.0 / ((double)samples * samples)) / 24.0; }

/* What samples weigh from a distance of `x` on, in a filter that is `wide` times as wide as Lanczos' own. libjpeg's
 * halves, quarters and eighths are means of 2, 4 and 8 samples, which are a little dull: `dull` of each neighbour is
 * taken away again. */
static void weigh(double *to, int32_t count, double x, double wide, double dull) {
    double first = M_PI / LANCZOS * (x - 1.0) / wide, step = M_PI / LANCZOS / wide;
    /* Each sine from the one before: sin(t + step). */
    double sine = sin(first), cosine = cos(first), up = sin(step), on = cos(step);
    double before = 0.0, here = 0.0;
    for (int32_t n = -2; n < count; n++) {
        double after = lanczos((x + n + 1.0) / wide, sine), next = sine * on + cosine * up;
        cosine = cosine * on - sine * up;
        sine = next;
        if (n >= 0) to[n] = (1.0 + 2.0 * dull) * here - dull * (before + after);
        before = here;
        here = after;
    }
}

static double linear(double x) { return fabs(x) < 1.0 ? 1.0 - fabs(x) : 0.0; }

static void *memory(j_decompress_ptr info, size_t count, size_t size) {
    /* libjpeg's own pool: freed with the decoder, whatever happens. It takes blocks of up to a thousand million. */
    if (count && size > 1000000000 / count) ERREXIT1(info, JERR_OUT_OF_MEMORY, 0);
    return info->mem->alloc_large((j_common_ptr)info, JPOOL_IMAGE, count * size);
}

/* From `samples` samples, of which the picture covers `extent`, to `wanted`: Lanczos, as wide as what is reduced. What
 * is enlarged (colours, of which most cameras keep half the lines) is so in a straight line from sample to sample, as
 * libjpeg does it. Each begins at a multiple of `step` (1 or 2). */
static Filter filter(j_decompress_ptr info, int32_t samples, double extent, int32_t wanted, int32_t step,
                     double dull) {
    double scale = extent / wanted, wide = scale > 1.0 ? scale : 1.0;
    double support = scale < 1.0 ? 1.0 : LANCZOS * wide + (dull > 0.0);
    int32_t most = (int32_t)ceil(support) * 2 + 1;
    Filter f = {.stride = (most + step + 1) / 2 * 2};
    double *exact = memory(info, (size_t)most, sizeof *exact);
    f.start = memory(info, (size_t)wanted, sizeof *f.start);
    f.count = memory(info, (size_t)wanted, sizeof *f.count);
    f.weights = memory(info, (size_t)wanted * (size_t)f.stride, sizeof *f.weights);
    for (int32_t at = 0; at < wanted; at++) {
        double centre = (at + 0.5) * scale, sum = 0.0;
        int32_t first = (int32_t)(centre - support + 0.5), last = (int32_t)(centre + support + 0.5);
        first = first < 0 ? 0 : first > samples - 1 ? samples - 1 : first;
        last = last > samples ? samples : last <= first ? first + 1 : last;
        if (last - first > most) last = first + most;
        double x = first - centre + 0.5;
        if (scale < 1.0)
            for (int32_t n = 0; n < last - first; n++) exact[n] = linear(x + n);
        else
            weigh(exact, last - first, x, wide, dull);
        for (int32_t n = 0; n < last - first; n++) sum += exact[n];
        if (sum < 1e-6) { /* beyond the last sample there is none but it */
            sum = exact[last - first - 1] = 1.0;
            for (int32_t n = 0; n < last - first - 1; n++) exact[n] = 0.0;
        }
        int16_t *weights = f.weights + (size_t)at * (size_t)f.stride;
        int32_t left = 1 << WEIGHT_BITS, largest = 0, count = last - first, lead = 0;
        memset(weights, 0, (size_t)f.stride * sizeof *weights);
        for (int32_t n = 0; n < count; n++) {
            weights[n] = (int16_t)lround(exact[n] / sum * (1 << WEIGHT_BITS));
            left -= weights[n];
            if (weights[n] > weights[largest]) largest = n;
        }
        weights[largest] = (int16_t)(weights[largest] + left); /* what is even stays even */
        while (count > 1 && !weights[count - 1]) count--;
        while (lead < count - 1 && !weights[lead]) lead++;
        lead -= (first + lead) % step; /* -1 where the first of a pair has no weight */
        memmove(weights + (lead < 0), weights + (lead > 0 ? lead : 0), (size_t)count * sizeof *weights);
        if (lead < 0) weights[0] = 0;
        f.start[at] = first + lead;
        f.count[at] = count - lead;
        if (f.count[at] > f.longest) f.longest = f.count[at];
    }
    return f;
}

static inline int32_t rounded(int32_t value, int bits) { return (value + (1 << (bits - 1))) >> bits; }

/* One line of several. */
static void reduce_down(int16_t *to, const Plane *plane, int32_t at) {
    const Filter *f = &plane->down;
    const int16_t *weights = f->weights + (size_t)at * (size_t)f->stride;
    int32_t count = f->count[at];
    JSAMPROW *rows = plane->rows;
    for (int32_t n = 0; n < count; n++)
        rows[n] = plane->ring + (size_t)((f->start[at] + n) % plane->lines) * (size_t)plane->bytes;
    rows[count] = rows[count - 1]; /* has weight zero: an even number to go through in pairs */
    if (count == 1) {
        for (int32_t x = 0; x < plane->width; x++) to[x] = (int16_t)(rows[0][x] << LINE_BITS);
        return;
    }
#if defined(__AVX2__)
    const __m256i half = _mm256_set1_epi32(1 << (WEIGHT_BITS - LINE_BITS - 1));
    for (int32_t x = 0; x < plane->width; x += 16) {
        __m256i low = half, high = half;
        for (int32_t n = 0; n < count; n += 2) {
            __m128i a = _mm_loadu_si128((const __m128i *)(rows[n] + x));
            __m128i b = _mm_loadu_si128((const __m128i *)(rows[n + 1] + x));
            int32_t pair;
            memcpy(&pair, weights + n, sizeof pair);
            __m256i w = _mm256_set1_epi32(pair);
            low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)), w));
            high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b)), w));
        }
        low = _mm256_srai_epi32(low, WEIGHT_BITS - LINE_BITS);
        high = _mm256_srai_epi32(high, WEIGHT_BITS - LINE_BITS);
        __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
        _mm256_storeu_si256((__m256i *)(to + x), both);
    }
#else
    for (int32_t x = 0; x < plane->width; x += 16) {
        int32_t sums[16] = {0};
        for (int32_t n = 0; n < count; n++)
            for (int32_t k = 0; k < 16; k++) sums[k] += weights[n] * rows[n][x + k];
        for (int32_t k = 0; k < 16; k++) {
            int32_t sum = rounded(sums[k], WEIGHT_BITS - LINE_BITS);
            to[x + k] = (int16_t)(sum < INT16_MIN ? INT16_MIN : sum > INT16_MAX ? INT16_MAX : sum);
        }
    }
#endif
}

/* ---- across, and colours ------------------------------------------------------------------------------------------
 *
 * ITU-T T.871, 7: from luminance and two differences to red, green and blue. Inks are stored as their opposites, as
 * Adobe does and all others have followed; of YCCK, what luminance and differences say is the opposite once more.
 */

#define FIXED(x) ((int32_t)((x) * (1 << COLOUR_BITS) + 0.5))
enum { MIDDLE = 128 << SAMPLE_BITS, DOWN_TO_SAMPLE = WEIGHT_BITS + LINE_BITS - SAMPLE_BITS };

#if defined(__AVX2__)

/* Eight vectors of eight as their columns. */
static inline void turn(__m256i v[8]) {
    __m256i a[8], b[8];
    for (int n = 0; n < 8; n += 2) {
        a[n] = _mm256_unpacklo_epi32(v[n], v[n + 1]);
        a[n + 1] = _mm256_unpackhi_epi32(v[n], v[n + 1]);
    }
    for (int n = 0; n < 8; n += 4) {
        b[n] = _mm256_unpacklo_epi64(a[n], a[n + 2]);
        b[n + 1] = _mm256_unpackhi_epi64(a[n], a[n + 2]);
        b[n + 2] = _mm256_unpacklo_epi64(a[n + 1], a[n + 3]);
        b[n + 3] = _mm256_unpackhi_epi64(a[n + 1], a[n + 3]);
    }
    for (int n = 0; n < 4; n++) {
        v[n] = _mm256_permute2x128_si256(b[n], b[n + 4], 0x20);
        v[n + 4] = _mm256_permute2x128_si256(b[n], b[n + 4], 0x31);
    }
}

/* Eight lines to pairs of neighbours, those of all lines together: what `across` reads. */
static void interleave(int32_t *to, const int16_t *lines, size_t step, int32_t samples) {
    for (int32_t x = 0; x < samples; x += 16) {
        __m256i v[8];
        for (int n = 0; n < 8; n++) v[n] = _mm256_loadu_si256((const __m256i *)(lines + (size_t)n * step + x));
        turn(v);
        for (int n = 0; n < 8; n++) _mm256_storeu_si256((__m256i *)(to + (x / 2 + n) * BLOCK), v[n]);
    }
}

/* A sample of eight lines. */
static inline __m256i across(const Plane *plane, int32_t x) {
    const Filter *f = &plane->across;
    const int32_t *from = plane->pairs + (size_t)f->start[x] / 2 * BLOCK;
    const int16_t *weights = f->weights + (size_t)x * (size_t)f->stride;
    __m256i sum = _mm256_set1_epi32(1 << (DOWN_TO_SAMPLE - 1));
    for (int32_t n = 0; n < f->count[x]; n += 2, from += BLOCK) {
        int32_t pair;
        memcpy(&pair, weights + n, sizeof pair);
        __m256i samples = _mm256_loadu_si256((const __m256i *)from);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(samples, _mm256_set1_epi32(pair)));
    }
    return _mm256_srai_epi32(sum, DOWN_TO_SAMPLE);
}

/* From fractions to 0 ... 255. */
static inline __m256i whole(__m256i value, int bits) {
    value = _mm256_srai_epi32(_mm256_add_epi32(value, _mm256_set1_epi32(1 << (bits - 1))), bits);
    return _mm256_min_epi32(_mm256_max_epi32(value, _mm256_setzero_si256()), _mm256_set1_epi32(255));
}

static inline __m256i times(__m256i value, int32_t factor) {
    return _mm256_mullo_epi32(value, _mm256_set1_epi32(factor));
}

static inline __m256i pixel(const Plane *planes, J_COLOR_SPACE space, int32_t x) {
    __m256i a = across(&planes[0], x);
    if (space == JCS_GRAYSCALE) return whole(a, SAMPLE_BITS);
    __m256i b = across(&planes[1], x), c = across(&planes[2], x), opposite = _mm256_set1_epi32(255);
    __m256i last = space == JCS_CMYK || space == JCS_YCCK
                       ? _mm256_sub_epi32(opposite, whole(across(&planes[3], x), SAMPLE_BITS))
                       : opposite;
    if (space == JCS_YCbCr || space == JCS_YCCK) {
        __m256i y = _mm256_slli_epi32(a, COLOUR_BITS), middle = _mm256_set1_epi32(MIDDLE);
        __m256i cb = _mm256_sub_epi32(b, middle), cr = _mm256_sub_epi32(c, middle);
        enum { BITS = SAMPLE_BITS + COLOUR_BITS };
        __m256i less = _mm256_add_epi32(times(cb, FIXED(0.344136)), times(cr, FIXED(0.714136)));
        a = whole(_mm256_add_epi32(y, times(cr, FIXED(1.402))), BITS);
        b = whole(_mm256_sub_epi32(y, less), BITS);
        c = whole(_mm256_add_epi32(y, times(cb, FIXED(1.772))), BITS);
    } else {
        a = whole(a, SAMPLE_BITS), b = whole(b, SAMPLE_BITS), c = whole(c, SAMPLE_BITS);
        if (space == JCS_CMYK) {
            a = _mm256_sub_epi32(opposite, a);
            b = _mm256_sub_epi32(opposite, b);
            c = _mm256_sub_epi32(opposite, c);
        }
    }
    return _mm256_or_si256(_mm256_or_si256(a, _mm256_slli_epi32(b, 8)),
                           _mm256_or_si256(_mm256_slli_epi32(c, 16), _mm256_slli_epi32(last, 24)));
}

/* Up to eight lines of pixels of what `reduce_down` has left. */
static void finish(uint8_t *to, size_t row, Plane *planes, int32_t count, J_COLOR_SPACE space, int32_t width,
                   int32_t lines) {
    for (int32_t n = 0; n < count; n++)
        interleave(planes[n].pairs, planes[n].reduced, planes[n].step, planes[n].width);
    for (int32_t x = 0; x < width; x += 8) {
        __m256i v[8];
        size_t columns = width - x < 8 ? (size_t)(width - x) : 8;
        for (size_t n = 0; n < 8; n++) v[n] = pixel(planes, space, n < columns ? x + (int32_t)n : x);
        turn(v);
        for (int32_t n = 0; n < lines && n < BLOCK; n++) {
            uint8_t *place = to + (size_t)n * row + (size_t)x * (space == JCS_GRAYSCALE ? 1 : 4);
            if (space == JCS_GRAYSCALE) {
                __m128i grey = _mm_packus_epi32(_mm256_castsi256_si128(v[n]), _mm256_extracti128_si256(v[n], 1));
                grey = _mm_packus_epi16(grey, grey);
                memcpy(place, &grey, columns);
            } else if (columns == 8) {
                _mm256_storeu_si256((__m256i *)place, v[n]);
            } else {
                memcpy(place, &v[n], columns * 4);
            }
        }
    }
}

#else

static inline uint8_t whole(int32_t value, int bits) {
    value = rounded(value, bits);
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static inline int32_t across(const Plane *plane, int32_t line, int32_t x) {
    const Filter *f = &plane->across;
    const int16_t *from = plane->reduced + (size_t)line * plane->step + f->start[x];
    const int16_t *weights = f->weights + (size_t)x * (size_t)f->stride;
    int32_t sum = 0;
    for (int32_t n = 0; n < f->count[x]; n++) sum += from[n] * weights[n];
    return rounded(sum, DOWN_TO_SAMPLE);
}

static void finish(uint8_t *to, size_t row, Plane *planes, int32_t count, J_COLOR_SPACE space, int32_t width,
                   int32_t lines) {
    enum { BITS = SAMPLE_BITS + COLOUR_BITS };
    for (int32_t line = 0; line < lines; line++) {
        for (int32_t x = 0; x < width; x++) {
            int32_t v[4];
            for (int32_t n = 0; n < count; n++) v[n] = across(&planes[n], line, x);
            if (space == JCS_GRAYSCALE) {
                to[(size_t)line * row + (size_t)x] = whole(v[0], SAMPLE_BITS);
                continue;
            }
            uint8_t *place = to + (size_t)line * row + (size_t)x * 4;
            if (space == JCS_YCbCr || space == JCS_YCCK) {
                int32_t y = v[0] * (1 << COLOUR_BITS), cb = v[1] - MIDDLE, cr = v[2] - MIDDLE;
                place[0] = whole(y + cr * FIXED(1.402), BITS);
                place[1] = whole(y - (cb * FIXED(0.344136) + cr * FIXED(0.714136)), BITS);
                place[2] = whole(y + cb * FIXED(1.772), BITS);
            } else {
                for (int n = 0; n < 3; n++) place[n] = whole(v[n], SAMPLE_BITS);
                if (space == JCS_CMYK)
                    for (int n = 0; n < 3; n++) place[n] = 255 - place[n];
            }
            place[3] = count == 4 ? 255 - whole(v[3], SAMPLE_BITS) : 255;
        }
    }
}

#endif

/* ---- the work --------------------------------------------------------------------------------------------------- */

/* The lines that must be there for a line to be made, of all planes: how many strips. */
static int32_t strips_for(const Plane *planes, int32_t count, int32_t at) {
    int32_t most = 0;
    for (int32_t n = 0; n < count; n++) {
        int32_t last = planes[n].down.start[at] + planes[n].down.count[at];
        int32_t strips = (last + planes[n].strip - 1) / planes[n].strip;
        if (strips > most) most = strips;
    }
    return most;
}

static int32_t last_of(const Order *order, int32_t at) {
    return at + BLOCK < order->out_height ? at + BLOCK - 1 : order->out_height - 1;
}

/* `whole`: all lines are kept. */
static void prepare(j_decompress_ptr info, const Order *order, Plane *planes, int whole) {
    int32_t count = info->num_components;
    for (int32_t n = 0; n < count; n++) {
        const jpeg_component_info *component = &info->comp_info[n];
        Plane *plane = &planes[n];
        int32_t size = component->DCT_scaled_size;
        plane->width = (int32_t)component->downsampled_width;
        plane->height = (int32_t)component->downsampled_height;
        plane->strip = component->v_samp_factor * size;
        plane->bytes = ((int32_t)component->width_in_blocks * size + ROOM) / 32 * 32 + 32;
        double across = (double)order->width * component->h_samp_factor * size / (info->max_h_samp_factor * DCTSIZE);
        double down = (double)order->height * component->v_samp_factor * size / (info->max_v_samp_factor * DCTSIZE);
        double dull = dullness(DCTSIZE / size);
        const jpeg_component_info *before = component - 1;
        if (n && before->h_samp_factor == component->h_samp_factor &&
            before->v_samp_factor == component->v_samp_factor && before->DCT_scaled_size == size) {
            plane->across = planes[n - 1].across; /* as those of the two differences are */
            plane->down = planes[n - 1].down;
        } else {
            plane->across = filter(info, plane->width, across, order->out_width, 2, dull);
            plane->down = filter(info, plane->height, down, order->out_height, 1, dull);
        }
    }
    /* What a block of lines needs of the past when the strip that completes it has come: that much is kept. */
    for (int32_t at = 0; at < order->out_height; at += BLOCK) {
        int32_t strips = strips_for(planes, count, last_of(order, at));
        for (int32_t n = 0; n < count; n++) {
            int32_t kept = strips * planes[n].strip - planes[n].down.start[at];
            if (kept > planes[n].lines) planes[n].lines = kept;
        }
    }
    for (int32_t n = 0; n < count; n++) {
        Plane *plane = &planes[n];
        if (plane->lines < plane->strip) plane->lines = plane->strip;
        if (whole) plane->lines = (int32_t)info->total_iMCU_rows * plane->strip;
        int32_t longest = plane->down.longest > plane->strip ? plane->down.longest : plane->strip;
        plane->ring = memory(info, (size_t)plane->lines, (size_t)plane->bytes);
        memset(plane->ring, 0, (size_t)plane->lines * (size_t)plane->bytes);
        plane->rows = memory(info, (size_t)longest + 2, sizeof *plane->rows);
        plane->step = (size_t)plane->bytes + ROOM;
        plane->reduced = memory(info, BLOCK * plane->step, sizeof *plane->reduced);
        memset(plane->reduced, 0, BLOCK * plane->step * sizeof *plane->reduced);
        plane->pairs = memory(info, BLOCK / 2 * plane->step, sizeof *plane->pairs);
    }
}

static void read_strip(j_decompress_ptr info, Plane *planes, int32_t number) {
    JSAMPARRAY rows[4];
    for (int32_t n = 0; n < info->num_components; n++) {
        Plane *plane = &planes[n];
        for (int32_t line = 0; line < plane->strip; line++) {
            size_t place = ((size_t)number * (size_t)plane->strip + (size_t)line) % (size_t)plane->lines;
            plane->rows[line] = plane->ring + place * (size_t)plane->bytes;
        }
        rows[n] = plane->rows;
    }
    jpeg_read_raw_data(info, rows, (JDIMENSION)(info->max_v_samp_factor * info->min_DCT_scaled_size));
}

static int known(j_decompress_ptr info) {
    switch (info->jpeg_color_space) {
        case JCS_GRAYSCALE: return info->num_components == 1;
        case JCS_YCbCr:
        case JCS_RGB: return info->num_components == 3;
        case JCS_CMYK:
        case JCS_YCCK: return info->num_components == 4;
        default: return 0;
    }
}

/* The lines that are wanted, of strips that are read when one needs them, after `strips` that are there. */
static void make(j_decompress_ptr info, const Order *order, Plane *planes, int32_t strips) {
    size_t row = (size_t)order->out_width * (order->components == 1 ? 1 : 4);
    for (int32_t at = 0; at < order->out_height; at += BLOCK) {
        int32_t last = last_of(order, at);
        for (int32_t needed = strips_for(planes, info->num_components, last); strips < needed; strips++)
            read_strip(info, planes, strips);
        for (int32_t n = 0; n < info->num_components; n++)
            for (int32_t line = at; line <= last; line++)
                reduce_down(planes[n].reduced + (size_t)(line - at) * planes[n].step, &planes[n], line);
        finish(order->out + (size_t)at * row, row, planes, info->num_components, info->jpeg_color_space,
               order->out_width, last - at + 1);
    }
    /* The last lines may not have been needed, but whether they are there is. */
    for (; strips < (int32_t)info->total_iMCU_rows; strips++) read_strip(info, planes, strips);
}

/* Where the luminance is at an eighth, libjpeg gives colours that are stored at half the size at a quarter of theirs.
 * Their own eighth is enough where it has nearly a sample for each pixel that is wanted: a seventh of the time for a
 * third of a dB at most. */
static void spare_colours(j_decompress_ptr info, const Order *order) {
    for (int32_t n = 0; n < info->num_components; n++) {
        jpeg_component_info *c = &info->comp_info[n];
        double across = (double)order->width * c->h_samp_factor / (info->max_h_samp_factor * DCTSIZE);
        double down = (double)order->height * c->v_samp_factor / (info->max_v_samp_factor * DCTSIZE);
        if (c->DCT_scaled_size != 2 || across < COLOURS * order->out_width || down < COLOURS * order->out_height) continue;
        c->DCT_scaled_size = 1;
        c->downsampled_width = (JDIMENSION)ceil(across);
        c->downsampled_height = (JDIMENSION)ceil(down);
    }
}

/* An eighth of a flawless file; 0 where libjpeg is to do it. */
static int make_eighth(j_decompress_ptr info, const Order *order, Plane *planes) {
    if (order->denominator != 8 || order->span_count != 1 || order->holes || !darkroom_eighth_knows(info)) return 0;
    Eighth to[4];
    spare_colours(info, order);
    prepare(info, order, planes, 1);
    for (int32_t n = 0; n < info->num_components; n++) to[n] = (Eighth){planes[n].ring, (size_t)planes[n].bytes};
    if (!darkroom_eighth(info, info->src->next_input_byte, info->src->bytes_in_buffer, to)) return 0;
    make(info, order, planes, (int32_t)info->total_iMCU_rows);
    return 1;
}

/* ---- what is left ------------------------------------------------------------------------------------------------- */

enum { STRETCH = 64 };

/* Whether in a stretch and the byte behind it no FF stands but before 00: coded data and nothing else. */
static inline int coded(const uint8_t *data) {
    uint8_t marks = 0;
    for (int n = 0; n < STRETCH; n++) marks |= (uint8_t)((data[n] == 0xFF) & (data[n + 1] != 0)); /* as vectors */
    return !marks;
}

/* Where the next marker stands from `at` on, but for restarts; `size` where there is none. */
size_t darkroom_jpeg_marker(const uint8_t *data, size_t size, size_t at) {
    while (at + 1 < size) {
        if (size - at > STRETCH && coded(data + at)) {
            at += STRETCH;
            continue;
        }
        const uint8_t *found = memchr(data + at, 0xFF, size - 1 - at);
        if (!found) break;
        uint8_t marker = found[1];
        at = (size_t)(found - data);
        if (marker && marker != 0xFF && (marker < JPEG_RST0 || marker > JPEG_RST0 + 7)) return at;
        at += marker == 0xFF ? 1 : 2;
    }
    return size;
}

static void work(j_decompress_ptr info, Order *order) {
    jpeg_read_header(info, TRUE);
    if ((int32_t)info->image_width != order->width || (int32_t)info->image_height != order->height ||
        info->num_components != order->components || info->data_precision != 8 || !known(info)) {
        order->status = FOREIGN;
        return;
    }
    info->raw_data_out = TRUE;
    info->do_block_smoothing = FALSE; /* which guesses at coefficients that have not come */
    info->out_color_space = info->jpeg_color_space;
    info->dct_method = JDCT_ISLOW;
    info->scale_num = 1;
    info->scale_denom = (unsigned int)order->denominator;
    jpeg_calc_output_dimensions(info);
    Plane planes[4];
    memset(planes, 0, sizeof planes);
    if (!make_eighth(info, order, planes)) {
        const Source *source = (const Source *)info->src;
        const uint8_t *data = source->base.next_input_byte;
        const int all = source->next == order->span_count; /* of what is left of the file lies here */
        memset(planes, 0, sizeof planes);
        ((Errors *)info->err)->left = 0; /* by what stands before the data */
        jpeg_start_decompress(info);
        Coefficients *own = all ? darkroom_coefficients(info, data, source->base.bytes_in_buffer) : NULL;
        prepare(info, order, planes, 0);
        make(info, order, planes, 0);
        if (own) order->missing |= darkroom_coefficients_missing(info, own, order->holes);
        if (((const Errors *)info->err)->left) order->missing |= DAMAGED; /* nobody leaves data before another scan */
    }
    order->status = DONE;
}

/* Of a JPEG whose pixels another decodes: whether its data have what they should. Of a kind that is not known here
 * libjpeg says what it has to say. */
static void look(j_decompress_ptr info, Order *order) {
    order->status = DONE;
    jpeg_read_header(info, TRUE);
    if (jpeg_has_multiple_scans(info)) return;
    info->raw_data_out = TRUE;
    const struct jpeg_source_mgr *source = info->src;
    jpeg_start_decompress(info);
    Coefficients *own = darkroom_coefficients(info, source->next_input_byte, source->bytes_in_buffer);
    if (own) order->missing = darkroom_coefficients_missing(info, own, 0);
}

/* Does the work that an order is for. What it needs is freed when it returns. */
static void carry_out(Order *order, void (*work_for)(j_decompress_ptr, Order *)) {
    struct jpeg_decompress_struct info;
    Errors errors = {.order = order};
    Source source = {.order = order};
    order->status = BROKEN;
    order->missing = 0;
    order->message[0] = 0;
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = on_error;
    errors.base.emit_message = on_message;
    if (setjmp(errors.escape) == 0) {
        jpeg_create_decompress(&info);
        source.base.init_source = nothing;
        source.base.fill_input_buffer = on_empty;
        source.base.skip_input_data = on_skip;
        source.base.resync_to_restart = jpeg_resync_to_restart;
        source.base.term_source = nothing;
        info.src = &source.base;
        work_for(&info, order);
    }
    jpeg_destroy_decompress(&info);
}

/* Carries out an order: see `Order`. */
void darkroom_jpeg_reduce(Order *order) { carry_out(order, work); }

/* Whether the data of a JPEG within another file have what they should; as `header.heed` has it. */
int32_t darkroom_jpeg_whole(const uint8_t *bytes, size_t size) {
    const Span all = {0, size};
    Order order = {.file = bytes, .spans = &all, .span_count = 1};
    carry_out(&order, look);
    return order.status == NO_MEMORY ? 2 : order.missing != 0;
}

/* Of the sources that this was built from, and the vectors that it was built for. */
const char *darkroom_jpeg_digest(void) { return SOURCE_DIGEST; }

const char *darkroom_jpeg_vectors(void) {
#if defined(__AVX2__)
    return "avx2";
#else
    return "none";
#endif
}
