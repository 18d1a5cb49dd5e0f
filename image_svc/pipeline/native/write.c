/* Writes a JPEG with the Huffman codes that are best for it.
 *
 * libjpeg-turbo does all but the coding: colours, halved differences, cosine transform, quantisation. To find the best
 * codes it would keep every coefficient (6 bytes a pixel) and go through all of them twice; most are zero. Here what is
 * to be coded is noted down once, as libjpeg hands it over, and counted. Then the codes are known, and the notes are
 * written with them. The file is byte by byte what libjpeg writes with `optimize_coding`.
 *
 * The coder takes the place of libjpeg's own behind the interface that has been between its modules since 1995
 * (jpegint.h). Plain C behind `pipeline/jpeg.py`, without Python and without state. Built by `deploy/setup`.
 */

#include <errno.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jpeglib.h>
#include <jerror.h>
#define JPEG_INTERNALS
#include <jpegint.h>

#include "zigzag.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

/* jchuff.h, which is not installed: ITU-T T.81, K.2. `freq` has 257 counts. */
EXTERN(void) jpeg_gen_optimal_table(j_compress_ptr info, JHUFF_TBL *table, long freq[]);

/* Of `status`. */
enum { WRITTEN = 0, FAILED = 1, NO_ROOM = 2, NOT_WRITTEN = 3 };

/* What is asked for, and what came of it; as `jpeg._Picture` has it. */
typedef struct {
    const uint8_t *pixels; /* rows without gaps: a byte a pixel of one component, four of three */
    int32_t width, height, components;
    int32_t quality; /* 1 to 100, libjpeg's */
    int32_t sink;    /* a descriptor */
    int32_t status;
    int32_t error; /* errno, where it could not be written */
    char message[JMSG_LENGTH_MAX];
} Picture;

enum { BUFFER = 64 * 1024, ROWS = 16, CODED = 64, SYMBOLS = 257, CHUNK = 64 * 1024 };
/* Tables: two for the first coefficient of blocks, of the luminance and of the differences, and two for the others. */
enum { FIRST = 0, OTHERS = 2, TABLES = 4 };
/* Symbols (T.81, F.1.2.2): sixteen zeros, and nothing but zeros to the end. */
enum { ZEROS = 0xF0, END = 0x00 };

/* A note: its table, its symbol, and the bits that follow its code; the symbol's low half says how many. */
typedef uint32_t Note;
static inline Note note(uint32_t table, uint32_t symbol, uint32_t bits) { return table << 24 | symbol << 16 | bits; }

typedef struct Notes {
    struct Notes *next;
    size_t count;
    Note all[CHUNK];
} Notes;

typedef struct {
    struct jpeg_error_mgr errors;
    struct jpeg_destination_mgr to;
    struct jpeg_entropy_encoder coder;
    jmp_buf escape;
    Picture *picture;
    void (*frame_header)(j_compress_ptr);
    void (*scan_header)(j_compress_ptr);
    Notes *first, *last;
    int before[MAX_COMPS_IN_SCAN]; /* the first coefficient of the block before */
    long counts[TABLES][SYMBOLS];
    uint64_t in_order[8][256]; /* where coefficients of a row that are not zero stand in T.81's order */
    uint8_t buffer[BUFFER];
} Writer;

/* ---- libjpeg's callbacks -------------------------------------------------------------------------------------- */

static void on_error(j_common_ptr common) {
    Writer *writer = (Writer *)common->client_data;
    common->err->format_message(common, writer->picture->message);
    writer->picture->status = common->err->msg_code == JERR_OUT_OF_MEMORY ? NO_ROOM : FAILED;
    longjmp(writer->escape, 1);
}

static void on_message(j_common_ptr common, int level) {
    (void)common;
    (void)level;
}

static void rewind_buffer(j_compress_ptr info) {
    Writer *writer = info->client_data;
    writer->to.next_output_byte = writer->buffer;
    writer->to.free_in_buffer = BUFFER;
}

static void write_out(j_compress_ptr info, size_t count) {
    Writer *writer = info->client_data;
    for (size_t done = 0; done < count;) {
        ssize_t written = write(writer->picture->sink, writer->buffer + done, count - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            writer->picture->status = NOT_WRITTEN;
            writer->picture->error = written < 0 ? errno : EIO;
            longjmp(writer->escape, 1);
        }
        done += (size_t)written;
    }
    rewind_buffer(info);
}

static boolean on_full(j_compress_ptr info) {
    write_out(info, BUFFER);
    return TRUE;
}

static void on_end(j_compress_ptr info) { write_out(info, BUFFER - info->dest->free_in_buffer); }

/* ---- notes ------------------------------------------------------------------------------------------------------ */

static void nothing(j_compress_ptr info) { (void)info; }

static inline uint32_t width_of(uint32_t value) { return value ? 32 - (uint32_t)__builtin_clz(value) : 0; }

/* The symbol of a value that `zeros` zeros precede, and what follows it: of negative ones, the opposite's bits. */
static inline Note coded(Writer *writer, uint32_t table, uint32_t zeros, int32_t value) {
    uint32_t width = width_of((uint32_t)(value < 0 ? -value : value));
    uint32_t symbol = zeros << 4 | width;
    writer->counts[table][symbol]++;
    return note(table, symbol, (uint32_t)(value - (value < 0)) & ((1u << width) - 1));
}

/* The places, in T.81's order, of a block's coefficients that are not zero. */
static inline uint64_t places(const Writer *writer, const JCOEF *block) {
    uint64_t found = 0;
#if defined(__AVX2__)
    const __m256i zero = _mm256_setzero_si256();
    for (int row = 0; row < DCTSIZE; row += 4) {
        __m256i a = _mm256_cmpeq_epi16(_mm256_loadu_si256((const __m256i *)(block + row * DCTSIZE)), zero);
        __m256i b = _mm256_cmpeq_epi16(_mm256_loadu_si256((const __m256i *)(block + row * DCTSIZE) + 1), zero);
        __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xD8);
        uint32_t rows = ~(uint32_t)_mm256_movemask_epi8(both);
        for (int n = 0; n < 4; n++) found |= writer->in_order[row + n][rows >> 8 * n & 255];
    }
#else
    for (int row = 0; row < DCTSIZE; row++) {
        uint32_t some = 0;
        for (int n = 0; n < DCTSIZE; n++) some |= (uint32_t)(block[row * DCTSIZE + n] != 0) << n;
        found |= writer->in_order[row][some];
    }
#endif
    return found;
}

static Note *note_block(Writer *writer, Note *to, const JCOEF *block, int component, uint32_t kind) {
    *to++ = coded(writer, FIRST + kind, 0, block[0] - writer->before[component]);
    writer->before[component] = block[0];
    uint64_t left = places(writer, block) & ~(uint64_t)1;
    uint32_t table = OTHERS + kind, at = 0;
    for (; left; left &= left - 1) {
        uint32_t place = (uint32_t)__builtin_ctzll(left), zeros = place - at - 1;
        for (; zeros > 15; zeros -= 16) {
            writer->counts[table][ZEROS]++;
            *to++ = note(table, ZEROS, 0);
        }
        *to++ = coded(writer, table, zeros, block[NATURAL[place]]);
        at = place;
    }
    if (at < DCTSIZE2 - 1) {
        writer->counts[table][END]++;
        *to++ = note(table, END, 0);
    }
    return to;
}

static Notes *chunk(j_compress_ptr info) {
    Notes *notes = info->mem->alloc_large((j_common_ptr)info, JPOOL_IMAGE, sizeof *notes);
    notes->next = NULL;
    notes->count = 0;
    return notes;
}

static boolean note_mcu(j_compress_ptr info, JBLOCKROW *blocks) {
    Writer *writer = info->client_data;
    if (writer->last->count + C_MAX_BLOCKS_IN_MCU * CODED > CHUNK) {
        writer->last->next = chunk(info);
        writer->last = writer->last->next;
    }
    Notes *notes = writer->last;
    Note *to = notes->all + notes->count;
    for (int n = 0; n < info->blocks_in_MCU; n++) {
        int component = info->MCU_membership[n];
        to = note_block(writer, to, blocks[n][0], component, (uint32_t)info->cur_comp_info[component]->dc_tbl_no);
    }
    notes->count = (size_t)(to - notes->all);
    return TRUE;
}

/* ---- codes ------------------------------------------------------------------------------------------------------ */

typedef struct {
    uint32_t code, width;
} Code;

/* T.81, C.2: in their order, one more each, and twice as many where they get longer. */
static void codes_of(Code *codes, const JHUFF_TBL *table) {
    uint32_t code = 0;
    size_t at = 0;
    memset(codes, 0, SYMBOLS * sizeof *codes);
    for (uint32_t width = 1; width <= 16; width++, code <<= 1)
        for (int n = 0; n < table->bits[width]; n++) codes[table->huffval[at++]] = (Code){code++, width};
}

typedef struct {
    j_compress_ptr info;
    uint64_t bits; /* from the top */
    uint32_t count;
} Bits;

static inline void put_byte(j_compress_ptr info, uint8_t byte) {
    struct jpeg_destination_mgr *to = info->dest;
    *to->next_output_byte++ = byte;
    if (--to->free_in_buffer == 0) to->empty_output_buffer(info);
}

/* All whole bytes; 00 follows FF, which would be a marker. */
static void flush(Bits *bits) {
    for (; bits->count >= 8; bits->count -= 8, bits->bits <<= 8) {
        uint8_t byte = (uint8_t)(bits->bits >> 56);
        put_byte(bits->info, byte);
        if (byte == 0xFF) put_byte(bits->info, 0);
    }
}

static inline void put(Bits *bits, uint32_t value, uint32_t width) {
    bits->bits |= (uint64_t)value << (64 - bits->count - width);
    bits->count += width;
    if (bits->count < 32) return;
    uint32_t word = (uint32_t)(bits->bits >> 32);
    struct jpeg_destination_mgr *to = bits->info->dest;
    if (word & 0x80808080u & ~(word + 0x01010101u) || to->free_in_buffer <= sizeof word) { /* FF, or FE to which is carried */
        flush(bits);
        return;
    }
    word = __builtin_bswap32(word);
    memcpy(to->next_output_byte, &word, sizeof word);
    to->next_output_byte += sizeof word;
    to->free_in_buffer -= sizeof word;
    bits->bits <<= 32;
    bits->count -= 32;
}

/* All has been noted: the codes are made, and everything is written that stands behind the file's head. */
static void write_notes(j_compress_ptr info) {
    Writer *writer = info->client_data;
    Code codes[TABLES][SYMBOLS];
    for (int kind = 0; kind < (info->num_components > 1 ? 2 : 1); kind++) {
        jpeg_gen_optimal_table(info, info->dc_huff_tbl_ptrs[kind], writer->counts[FIRST + kind]);
        jpeg_gen_optimal_table(info, info->ac_huff_tbl_ptrs[kind], writer->counts[OTHERS + kind]);
        codes_of(codes[FIRST + kind], info->dc_huff_tbl_ptrs[kind]);
        codes_of(codes[OTHERS + kind], info->ac_huff_tbl_ptrs[kind]);
    }
    writer->frame_header(info);
    writer->scan_header(info);
    Bits bits = {.info = info};
    for (const Notes *notes = writer->first; notes; notes = notes->next)
        for (size_t n = 0; n < notes->count; n++) {
            uint32_t symbol = notes->all[n] >> 16 & 255, width = symbol & 15;
            Code code = codes[notes->all[n] >> 24][symbol];
            put(&bits, code.code << width | (notes->all[n] & 0xFFFF), code.width + width);
        }
    flush(&bits);
    if (bits.count) put(&bits, (1u << (8 - bits.count)) - 1, 8 - bits.count); /* ones up to a whole byte */
    flush(&bits);
}

/* ---- the picture ------------------------------------------------------------------------------------------------ */

static void work(j_compress_ptr info, Writer *writer) {
    Picture *picture = writer->picture;
    info->image_width = (JDIMENSION)picture->width;
    info->image_height = (JDIMENSION)picture->height;
    info->input_components = picture->components == 1 ? 1 : 4;
    info->in_color_space = picture->components == 1 ? JCS_GRAYSCALE : JCS_EXT_RGBX;
    jpeg_set_defaults(info); /* with the differences halved, down and across */
    jpeg_set_quality(info, picture->quality, TRUE);
    writer->to.init_destination = rewind_buffer;
    writer->to.empty_output_buffer = on_full;
    writer->to.term_destination = on_end;
    info->dest = &writer->to;
    jpeg_start_compress(info, TRUE);
    for (int place = 0; place < DCTSIZE2; place++)
        for (uint32_t some = 0; some < 256; some++)
            if (some >> NATURAL[place] % DCTSIZE & 1)
                writer->in_order[NATURAL[place] / DCTSIZE][some] |= (uint64_t)1 << place;
    writer->first = writer->last = chunk(info);
    writer->coder = (struct jpeg_entropy_encoder){.encode_mcu = note_mcu, .finish_pass = write_notes};
    info->entropy = &writer->coder;
    writer->frame_header = info->marker->write_frame_header;
    writer->scan_header = info->marker->write_scan_header;
    info->marker->write_frame_header = info->marker->write_scan_header = nothing; /* until there are codes */
    size_t row = (size_t)picture->width * (size_t)info->input_components;
    while (info->next_scanline < info->image_height) {
        JSAMPROW rows[ROWS];
        JDIMENSION left = info->image_height - info->next_scanline, count = left < ROWS ? left : ROWS;
        for (JDIMENSION n = 0; n < count; n++)
            rows[n] = (JSAMPROW)(uintptr_t)(picture->pixels + (size_t)(info->next_scanline + n) * row);
        jpeg_write_scanlines(info, rows, count);
    }
    jpeg_finish_compress(info);
    picture->status = WRITTEN;
}

/* Writes a picture: see `Picture`. What it needs is freed when it returns. */
void darkroom_jpeg_write(Picture *picture) {
    struct jpeg_compress_struct info;
    Writer writer;
    memset(&writer, 0, offsetof(Writer, buffer));
    writer.picture = picture;
    picture->status = FAILED;
    picture->error = 0;
    picture->message[0] = 0;
    info.err = jpeg_std_error(&writer.errors);
    info.client_data = &writer;
    writer.errors.error_exit = on_error;
    writer.errors.emit_message = on_message;
    if (setjmp(writer.escape) == 0) {
        jpeg_create_compress(&info);
        work(&info, &writer);
    }
    jpeg_destroy_compress(&info);
}
