"""The compiled kernel: UTF-8 -> tokens -> hashes -> rows -> logits -> emitted labels.

``topiccore.reference`` states the same rules in plain Python and is the oracle of the tests.
Every Python-facing function here only checks and converts; the ``nogil`` functions compute, on
const pointers and sizes.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.math cimport exp, fabs, log, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcpy, memset

import numpy as np

from topiccore.errors import QueryTooLongError, QueryTypeError

cdef extern from "Python.h":
    char *PyOS_double_to_string(double, char, int, int, int *) except NULL

cdef extern from "_fold_table.h" nogil:
    const uint16_t FOLD_STAGE1[]
    const uint32_t FOLD_STAGE2[]
    const uint8_t FOLD_BYTES[]

cdef extern from "_rows.h" nogil:
    void topiccore_sum_float32(const float *const *plain, int plain_count,
                               const float *const *scaled, int scaled_count, float scale,
                               const float *bias, float *logits, int labels)
    void topiccore_sum_sparse8(const uint16_t *cells, const uint32_t *spans, int span_count,
                               float scale, const float *bias, double *sums, uint32_t mask,
                               float *logits, int labels)
    void prefetch "__builtin_prefetch"(const void *)
    int topiccore_find_reached(const float *logits, const float *thresholds, int labels,
                               int32_t *reached)

cdef extern from "_scratch.h" nogil:
    ctypedef struct ScratchPool:
        pass
    void *scratch_take(ScratchPool *pool, size_t size)
    void scratch_give(ScratchPool *pool, void *block)
    void scratch_free(ScratchPool *pool)

cdef extern from "_context.h" nogil:
    ctypedef struct BestTwo:
        pass
    void topiccore_in_context(const float *logits, const float *family, const float *sibling,
                              const float *rival, const int32_t *starts, int topics,
                              BestTwo *families, float *bests, float *context_logits)
    void topiccore_best_of_topics(const float *logits, const int32_t *starts, int topics,
                                  BestTwo *families, float *bests)
    int drop_beside(const float *context_logits, const float *beside, const float *bests,
                    int topics, const int32_t *topic_of, int32_t *reached, int found)

cdef extern from "_arrow.h" nogil:
    struct ArrowSchema:
        const char *format
        ArrowSchema *dictionary
        void (*release)(ArrowSchema *) noexcept nogil
    struct ArrowArray:
        int64_t length
        void (*release)(ArrowArray *) noexcept nogil
    struct ArrowArrayStream:
        int (*get_schema)(ArrowArrayStream *, ArrowSchema *) noexcept nogil
        int (*get_next)(ArrowArrayStream *, ArrowArray *) noexcept nogil
        const char *(*get_last_error)(ArrowArrayStream *) noexcept nogil
        void (*release)(ArrowArrayStream *) noexcept nogil
    ctypedef enum Layout:
        LAYOUT_NONE
    ctypedef enum Row:
        ROW_TEXT
        ROW_NULL
        ROW_BROKEN
    Layout arrow_layout(const ArrowSchema *schema)
    bint arrow_fits(const ArrowArray *array, Layout layout)
    Row arrow_row(const ArrowArray *array, Layout layout, int64_t row, const uint8_t **data,
                  int64_t *size)
    int fill_schema(ArrowSchema *schema)
    int fill_array(ArrowArray *array, PyObject *owner, int64_t queries, const int32_t *offsets,
                   int64_t emitted, const int32_t *labels, const double *scores, int64_t codes,
                   const int32_t *code_offsets, const uint8_t *code_bytes)
    void free_schema_capsule(object capsule)
    void free_array_capsule(object capsule)

cdef enum:
    TOKENS = 256          # tokens of a query that count; the rest is cut off, and the answer says so
    FEATURES = 2 * TOKENS
    NGRAM_BYTES = 512     # words without a row that end in so many folded bytes have n-grams
    NGRAM_LENGTHS = 4     # different lengths of n-grams, at most
    # A character has a byte or more, and the mark at a word's end makes another n-gram.
    NGRAMS = NGRAM_LENGTHS * (NGRAM_BYTES + TOKENS)
    NGRAM_MARK = 0xFF     # hashed before an n-gram: no word begins with it
    GROUPS = 1 << 16
    # what an entry of encoding float32 says of its rows, in its low bits
    PLAIN = 1             # has a row that is added as it is
    SCALED = 2            # has a row (after the plain one) that is added times 1/sqrt(tokens)
    # classes of code points, as tools/make_fold_table.py writes them
    WORD = 1
    SOLO = 2
    DROPPED = 3
    MAPPED = 4
    HANGUL = 6
    TOGETHER = 256        # queries of a list that are scored in one go without the GIL
    # bytes of a query up to which it is scored with the GIL held: for less it is not worth while
    # to give the lock away, and to wait for it under load costs much more than the scoring
    HELD = 2048
    MAX_FOLD_GROWTH = 16  # bytes of folded text per byte of input, at most

cdef uint64_t FNV_OFFSET = 0xCBF29CE484222325ULL
cdef uint64_t FNV_PRIME = 0x100000001B3ULL
cdef Py_ssize_t _MAX_QUERY_BYTES = 1 << 20

# What an ASCII byte becomes, as the table says: a byte of a token, or 0 where it separates.
cdef uint8_t ASCII[128]

cdef void fill_ascii() noexcept:
    cdef uint32_t entry
    cdef int code
    for code in range(128):
        entry = FOLD_STAGE2[<Py_ssize_t>FOLD_STAGE1[0] * 128 + code]
        ASCII[code] = 0
        if entry & 7 == WORD:
            ASCII[code] = <uint8_t>code
        elif entry & 7 == MAPPED:
            ASCII[code] = FOLD_BYTES[entry >> 9]

fill_ascii()

MAX_TOKENS = TOKENS
MAX_QUERY_BYTES = _MAX_QUERY_BYTES


# --- tokens ------------------------------------------------------------------------------------

cdef struct Tokens:
    # What the tokenizer found.
    int count
    bint truncated
    bint open             # a token has begun and not ended
    uint64_t state        # FNV-1a of the open token so far
    int64_t length        # folded bytes of all tokens
    uint8_t *text         # the first ``room`` of them
    int64_t room
    int64_t ends[TOKENS]  # folded bytes up to the end of each token
    uint64_t hashes[TOKENS]


cdef inline uint64_t mix(uint64_t value) noexcept nogil:
    value ^= value >> 33
    value *= 0xFF51AFD7ED558CCDULL
    value ^= value >> 33
    value *= 0xC4CEB9FE1A85EC53ULL
    return value ^ (value >> 33)


cdef inline uint64_t mix_bigram(uint64_t first, uint64_t second) noexcept nogil:
    return mix(first * 0x9E3779B97F4A7C15ULL + second)


cdef inline void put(Tokens *tokens, uint8_t byte) noexcept nogil:
    if not tokens.open:
        if tokens.count == TOKENS:
            tokens.truncated = True
            return
        tokens.open = True
        tokens.state = FNV_OFFSET
    tokens.state = (tokens.state ^ byte) * FNV_PRIME
    if tokens.length < tokens.room:
        tokens.text[tokens.length] = byte
    tokens.length += 1


cdef inline void end_token(Tokens *tokens) noexcept nogil:
    if tokens.open:
        tokens.open = False
        tokens.hashes[tokens.count] = mix(tokens.state)
        tokens.ends[tokens.count] = tokens.length
        tokens.count += 1


cdef inline Py_ssize_t put_ascii(const uint8_t *data, Py_ssize_t position, Py_ssize_t size,
                                 Tokens *tokens) noexcept nogil:
    # Takes the ASCII bytes of a token from ``position`` on; where they end.  The state stays in a
    # register, which is most of the speed.
    cdef uint64_t state
    cdef int64_t length
    cdef uint8_t folded = ASCII[data[position]]
    if not tokens.open:
        if tokens.count == TOKENS:
            tokens.truncated = True
            return position
        tokens.open = True
        tokens.state = FNV_OFFSET
    state = tokens.state
    length = tokens.length
    while folded:
        state = (state ^ folded) * FNV_PRIME
        if length < tokens.room:
            tokens.text[length] = folded
        length += 1
        position += 1
        if position == size or data[position] >= 0x80:
            break
        folded = ASCII[data[position]]
    tokens.state = state
    tokens.length = length
    return position


cdef inline int decode(const uint8_t *data, Py_ssize_t left, uint32_t *code) noexcept nogil:
    # One code point that is not ASCII; the number of bytes it took, or 0 where the bytes are not UTF-8.
    cdef uint32_t lead = data[0]
    if lead < 0xC2:
        return 0
    if left < 2 or data[1] & 0xC0 != 0x80:
        return 0
    if lead < 0xE0:
        code[0] = (lead & 0x1F) << 6 | data[1] & 0x3F
        return 2
    if left < 3 or data[2] & 0xC0 != 0x80:
        return 0
    if lead < 0xF0:
        code[0] = (lead & 0x0F) << 12 | (data[1] & 0x3F) << 6 | data[2] & 0x3F
        if code[0] < 0x800 or 0xD800 <= code[0] <= 0xDFFF:
            return 0
        return 3
    if left < 4 or lead > 0xF4 or data[3] & 0xC0 != 0x80:
        return 0
    code[0] = ((lead & 0x07) << 18 | (data[1] & 0x3F) << 12 | (data[2] & 0x3F) << 6
               | data[3] & 0x3F)
    if code[0] < 0x10000 or code[0] > 0x10FFFF:
        return 0
    return 4


cdef inline void put_jamo(Tokens *tokens, uint32_t code) noexcept nogil:
    put(tokens, <uint8_t>(0xE0 | code >> 12))
    put(tokens, <uint8_t>(0x80 | code >> 6 & 0x3F))
    put(tokens, <uint8_t>(0x80 | code & 0x3F))


cdef void put_hangul(Tokens *tokens, uint32_t syllable) noexcept nogil:
    # The arithmetic decomposition of the Unicode standard, section 3.12.
    cdef uint32_t index = syllable - 0xAC00
    put_jamo(tokens, 0x1100 + index // 588)
    put_jamo(tokens, 0x1161 + index % 588 // 28)
    if index % 28:
        put_jamo(tokens, 0x11A7 + index % 28)


cdef void tokenize_utf8(const uint8_t *data, Py_ssize_t size, Tokens *tokens) noexcept nogil:
    cdef Py_ssize_t position = 0
    cdef uint32_t code = 0, entry, kind
    cdef const uint8_t *mapped
    cdef int width, i
    tokens.count = 0
    tokens.truncated = False
    tokens.open = False
    tokens.length = 0
    while position < size and not tokens.truncated:
        if data[position] < 0x80:
            if ASCII[data[position]]:
                position = put_ascii(data, position, size, tokens)
            else:
                end_token(tokens)
                position += 1
            continue
        width = decode(data + position, size - position, &code)
        if width == 0:
            end_token(tokens)
            position += 1
            continue
        entry = FOLD_STAGE2[<Py_ssize_t>FOLD_STAGE1[code >> 7] * 128 + (code & 127)]
        kind = entry & 7
        if kind == WORD:
            for i in range(width):
                put(tokens, data[position + i])
        elif kind == MAPPED:
            mapped = FOLD_BYTES + (entry >> 9)
            for i in range(<int>(entry >> 3 & 63)):
                if mapped[i] == 32:
                    end_token(tokens)
                else:
                    put(tokens, mapped[i])
        elif kind == SOLO:
            end_token(tokens)
            for i in range(width):
                put(tokens, data[position + i])
            end_token(tokens)
        elif kind == HANGUL:
            put_hangul(tokens, code)
        elif kind != DROPPED:
            end_token(tokens)
        position += width
    end_token(tokens)


cdef inline int hash_features(const Tokens *tokens, uint32_t *buckets) noexcept nogil:
    # One bucket a token, then one a pair of neighbours: the order every sum is made in.
    cdef int i, count = tokens.count
    for i in range(count):
        buckets[i] = <uint32_t>(tokens.hashes[i] >> 32)
    for i in range(count - 1):
        buckets[count + i] = <uint32_t>(
            mix_bigram(tokens.hashes[i], tokens.hashes[i + 1]) >> 32
        )
    return max(2 * count - 1, 0)


cdef int hash_ngrams(const uint8_t *word, int size, int shortest, int longest,
                     uint32_t *buckets) noexcept nogil:
    # One bucket for each character n-gram of a word in UTF-8 with its ends marked, the shortest
    # first; how many there are.
    cdef uint8_t marked[NGRAM_BYTES + 2]
    cdef int starts[NGRAM_BYTES + 3]   # of each character, then the end
    cdef int characters = 0, found = 0, length, first, i
    cdef uint64_t state
    marked[0] = b"<"
    memcpy(marked + 1, word, size)
    marked[size + 1] = b">"
    for i in range(size + 2):
        if marked[i] & 0xC0 != 0x80:
            starts[characters] = i
            characters += 1
    starts[characters] = size + 2
    for length in range(shortest, longest + 1):
        for first in range(characters - length + 1):
            state = (FNV_OFFSET ^ NGRAM_MARK) * FNV_PRIME
            for i in range(starts[first], starts[first + length]):
                state = (state ^ marked[i]) * FNV_PRIME
            buckets[found] = <uint32_t>(mix(state) >> 32)
            found += 1
    return found


# --- Python text to bytes -----------------------------------------------------------------------

cdef const uint8_t *utf8_of(object query, Py_ssize_t *size, list keep) except NULL:
    # The UTF-8 bytes of a query, valid while ``query`` and ``keep`` live.
    cdef const char *data
    if type(query) is str or isinstance(query, str):
        try:
            data = PyUnicode_AsUTF8AndSize(query, size)
        except UnicodeEncodeError:  # lone surrogates: "?" separates tokens as they do
            query = query.encode("utf-8", "replace")
            keep.append(query)
            size[0] = len(query)
            data = <const char *>query
    elif isinstance(query, bytes):
        size[0] = len(query)
        data = <const char *>query
    else:
        raise QueryTypeError(f"a query is str or UTF-8 bytes, not {type(query).__name__}")
    if size[0] > _MAX_QUERY_BYTES:
        raise too_long(size[0], "")
    return <const uint8_t *>data


cdef object too_long(int64_t size, str place):
    return QueryTooLongError(
        f"{place}the query has {size} bytes of UTF-8; at most {_MAX_QUERY_BYTES} are allowed"
    )


def tokenize(query):
    """The tokens of a query, folded, in order, and whether it was cut at ``MAX_TOKENS``.

    Returns ``(list of str, bool)``.  Raises ``QueryTypeError`` and ``QueryTooLongError``.
    """
    cdef Py_ssize_t size
    cdef list keep = []
    cdef const uint8_t *data = utf8_of(query, &size, keep)
    cdef Tokens *tokens = <Tokens *>malloc(sizeof(Tokens))
    cdef int64_t start = 0
    cdef int i
    if tokens == NULL:
        raise MemoryError
    tokens.room = size * MAX_FOLD_GROWTH
    tokens.text = <uint8_t *>malloc(tokens.room + 1)
    try:
        if tokens.text == NULL:
            raise MemoryError
        with nogil:
            tokenize_utf8(data, size, tokens)
        words = []
        for i in range(tokens.count):
            words.append(tokens.text[start:tokens.ends[i]].decode("utf-8"))
            start = tokens.ends[i]
        return words, bool(tokens.truncated)
    finally:
        free(tokens.text)
        free(tokens)


def features(queries):
    """The hashed word 1-grams and 2-grams of many queries: what training learns from.

    Returns ``(offsets, buckets, tokens)``: int64 [queries + 1], uint32 [offsets[-1]] and int32
    [queries].  Query ``i`` has ``buckets[offsets[i]:offsets[i + 1]]``, its tokens first, then its
    pairs of neighbours, and ``tokens[i]`` tokens.  Raises ``QueryTypeError`` and
    ``QueryTooLongError``, both naming the position of the query.
    """
    cdef Py_ssize_t size, row, total = 0, capacity
    cdef const uint8_t *data
    cdef Tokens found
    cdef uint32_t buckets[FEATURES]
    cdef int count
    cdef list keep = []
    queries = list(queries)
    offsets_array = np.zeros(len(queries) + 1, dtype=np.int64)
    tokens_array = np.zeros(len(queries), dtype=np.int32)
    capacity = 16 * len(queries) + FEATURES
    buckets_array = np.empty(capacity, dtype=np.uint32)
    cdef int64_t[::1] offsets = offsets_array
    cdef int32_t[::1] tokens = tokens_array
    cdef uint32_t[::1] out = buckets_array
    found.room = 0
    for row in range(len(queries)):
        data = utf8_at(queries, row, &size, keep)
        tokenize_utf8(data, size, &found)
        count = hash_features(&found, buckets)
        if total + count > capacity:
            capacity = 2 * (total + count)
            out = None
            buckets_array.resize(capacity, refcheck=False)
            out = buckets_array
        if count:
            memcpy(&out[total], buckets, count * sizeof(uint32_t))
        total += count
        offsets[row + 1] = total
        tokens[row] = found.count
        keep.clear()
    return offsets_array, buckets_array[:total].copy(), tokens_array


cdef const uint8_t *utf8_at(list queries, Py_ssize_t row, Py_ssize_t *size,
                            list keep) except NULL:
    try:
        return utf8_of(queries[row], size, keep)
    except (QueryTypeError, QueryTooLongError) as error:
        raise type(error)(f"query {row}: {error}") from None


def hash_tokens(words):
    """The bucket of each word that is a token as it stands: uint32 [words].

    Raises ``ValueError`` for a word that the tokenizer would change or split.
    """
    words = list(words)
    offsets, buckets, tokens = features(words)
    if (tokens != 1).any():
        raise ValueError(f"not one token: {words[int((tokens != 1).argmax())]!r}")
    for word in words:
        if tokenize(word)[0] != [word]:
            raise ValueError(f"not one token as it stands: {word!r}")
    return buckets


# --- scoring ------------------------------------------------------------------------------------

@cython.final
@cython.freelist(64)
cdef class EmittedLabel:
    """A label that a query is about: ``code``, ``name`` and ``score``, a probability."""

    cdef readonly str code
    cdef readonly str name
    cdef readonly double score

    def __init__(self, str code not None, str name not None, double score):
        self.code = code
        self.name = name
        self.score = score

    def __repr__(self):
        return f"EmittedLabel(code={self.code!r}, name={self.name!r}, score={self.score:.4f})"

    def __eq__(self, other):
        if not isinstance(other, EmittedLabel):
            return NotImplemented
        return (self.code, self.name, self.score) == (other.code, other.name, other.score)

    def __hash__(self):
        return hash((self.code, self.name, self.score))

    def __reduce__(self):
        return EmittedLabel, (self.code, self.name, self.score)


cdef class Answer(list):
    """The emitted labels of a query, best first.

    ``truncated`` tells whether only the first ``MAX_TOKENS`` tokens of the query were scored,
    ``tokens`` how many were, ``unknown`` how many of them the model has no row for.
    """

    cdef public bint truncated
    cdef public int tokens
    cdef public int unknown

    def __reduce__(self):
        return _rebuild_answer, (list(self), self.truncated, self.tokens, self.unknown)


def _rebuild_answer(labels, truncated, tokens, unknown):
    answer = Answer(labels)
    answer.truncated = truncated
    answer.tokens = tokens
    answer.unknown = unknown
    return answer


cdef struct Seen:
    # What was seen of a query.
    uint16_t tokens       # scored, at most TOKENS
    uint16_t unknown      # of these, without a row
    uint8_t truncated


cdef struct Candidate:
    double score
    int32_t label


cdef struct Query:
    const uint8_t *data
    Py_ssize_t size


cdef int best_first(const void *left, const void *right) noexcept nogil:
    cdef const Candidate *a = <const Candidate *>left
    cdef const Candidate *b = <const Candidate *>right
    if a.score != b.score:
        return 1 if a.score < b.score else -1
    return a.label - b.label


cdef struct Scratch:
    # What one query needs.  The arrays stand behind this in the same block.
    Tokens tokens
    Seen seen
    uint8_t text[NGRAM_BYTES]
    uint32_t buckets[FEATURES + NGRAMS]
    const float *plain[FEATURES + NGRAMS]     # encoding float32: rows
    const float *scaled[FEATURES + NGRAMS]
    uint32_t spans[2 * (FEATURES + NGRAMS)]   # encoding sparse8: a feature's first and last + 1 cell
    float *logits                    # [labels]
    float *in_context                # [labels]
    BestTwo *families                # [labels]; as many as topics are used
    float *bests                     # [labels]; the same
    double *sums                     # [2 * (mask + 1)]
    int32_t *reached                 # [labels]
    int32_t *place                   # [labels]: where a label stands in ``emitted``, -1: not there
    Candidate *emitted               # [labels]


@cython.final
cdef class Kernel:
    """The arrays of an artifact and the functions that score with them.

    ``topiccore.artifact`` has the arrays and checks them; this class trusts their shapes.
    ``encoding`` is "float32" or "sparse8"; ``names`` is a list of (code, name).
    """

    cdef tuple arrays                # keeps alive what the pointers below point into
    cdef const uint32_t *groups
    cdef const uint16_t *keys
    cdef const uint32_t *entries
    cdef const float *rows
    cdef const uint16_t *cells
    cdef const float *bias
    cdef const float *thresholds
    cdef const float *beside         # NULL where it is thresholds
    cdef const float *slopes
    cdef const float *intercepts
    cdef const float *knees          # [labels]: below them, log-odds fall more steeply, by
    cdef const float *steepness      # [labels]
    cdef const float *context        # [3 * labels], NULL where all of it is 0
    cdef const int32_t *parents
    cdef object starts_array
    cdef const int32_t *starts       # [topics + 1]: the label each topic is, then the end
    cdef object topic_of_array
    cdef const int32_t *topic_of     # [labels]: which of the topics a label is or belongs to
    cdef int topics
    cdef list codes
    cdef list names
    cdef uint32_t mask               # the least 2**n - 1 that is at least labels - 1
    cdef int labels
    cdef int shortest                # of the n-grams of words without a row
    cdef int longest                 # 0: there are none
    cdef bint sparse
    cdef size_t scratch_size
    cdef ScratchPool pool

    def __init__(self, const uint32_t[::1] groups, const uint16_t[::1] keys,
                 const uint32_t[::1] entries, rows, str encoding, const float[::1] bias,
                 const float[::1] thresholds, const float[::1] beside,
                 const float[::1] slopes, const float[::1] intercepts,
                 const float[:, ::1] bends, const float[:, ::1] context,
                 const int32_t[::1] parents, names, ngrams):
        cdef const int32_t[::1] starts, topic_of
        cdef const float[:, ::1] dense
        cdef const uint16_t[::1] cells
        self.arrays = (groups, keys, entries, rows, bias, thresholds, beside, slopes, intercepts,
                       bends, context, parents)
        self.labels = <int>len(bias)
        self.shortest, self.longest = ngrams
        self.groups = &groups[0]
        self.keys = &keys[0] if len(keys) else NULL
        self.entries = &entries[0] if len(entries) else NULL
        self.sparse = encoding == "sparse8"
        if self.sparse:
            cells = rows
            self.cells = &cells[0] if len(cells) else NULL
        else:
            dense = rows
            self.rows = &dense[0, 0] if len(dense) else NULL
        self.bias = &bias[0]
        self.thresholds = &thresholds[0]
        self.beside = NULL if np.array_equal(thresholds, beside) else &beside[0]
        self.slopes = &slopes[0]
        self.intercepts = &intercepts[0]
        self.knees = &bends[0, 0]
        self.steepness = &bends[1, 0]
        self.context = &context[0, 0] if np.any(context) else NULL
        self.parents = &parents[0]
        self.starts_array = starts = np.append(
            np.flatnonzero(np.less(parents, 0)), self.labels
        ).astype(np.int32)
        self.starts = &starts[0]
        self.topics = <int>len(starts) - 1
        self.topic_of_array = topic_of = (
            np.cumsum(np.less(parents, 0), dtype=np.int32) - np.int32(1)
        )
        self.topic_of = &topic_of[0]
        self.codes = [code for code, _ in names]
        self.names = [name for _, name in names]
        self.mask = 1
        while self.mask < <uint32_t>self.labels:
            self.mask *= 2
        self.mask -= 1
        self.scratch_size = (
            sizeof(Scratch) + self.labels * (
                3 * sizeof(float) + sizeof(BestTwo) + 2 * sizeof(int32_t) + sizeof(Candidate)
            )
            + 2 * (<size_t>self.mask + 1) * sizeof(double)
        )

    def __dealloc__(self):
        scratch_free(&self.pool)

    cdef Scratch *take(self) except NULL nogil:
        cdef Scratch *scratch = <Scratch *>scratch_take(&self.pool, self.scratch_size)
        if scratch == NULL:
            with gil:
                raise MemoryError
        scratch.emitted = <Candidate *>(scratch + 1)
        scratch.sums = <double *>(scratch.emitted + self.labels)
        scratch.families = <BestTwo *>(scratch.sums + 2 * (<size_t>self.mask + 1))
        scratch.bests = <float *>(scratch.families + self.labels)
        scratch.logits = scratch.bests + self.labels
        scratch.in_context = scratch.logits + self.labels
        scratch.place = <int32_t *>(scratch.in_context + self.labels)
        scratch.reached = scratch.place + self.labels
        return scratch

    cdef inline int64_t find(self, uint32_t bucket) noexcept nogil:
        # The place of a bucket among the features, -1 for none.
        cdef uint32_t place = self.groups[bucket >> 16]
        cdef uint32_t end = self.groups[(bucket >> 16) + 1]
        cdef uint16_t key = bucket & 0xFFFF
        while place < end:
            if self.keys[place] == key:
                return place
            place += 1
        return -1

    cdef int add_ngrams(self, Scratch *scratch, int features) noexcept nogil:
        # Puts the n-grams of the words without a row behind the query's features; all features.
        cdef Tokens *tokens = &scratch.tokens
        cdef int64_t start = 0
        cdef int i, words = tokens.count
        for i in range(words):
            if tokens.ends[i] > NGRAM_BYTES:
                break
            if self.find(scratch.buckets[i]) < 0:
                features += hash_ngrams(scratch.text + start, <int>(tokens.ends[i] - start),
                                        self.shortest, self.longest, scratch.buckets + features)
            start = tokens.ends[i]
        return features

    cdef int find_spans(self, Scratch *scratch, int start, int stop, int found) noexcept nogil:
        # The spans of features from ``start`` on, behind ``found`` others; how many there are then.
        cdef int64_t place
        cdef int i
        for i in range(start, stop):
            place = self.find(scratch.buckets[i])
            if place >= 0:
                scratch.spans[2 * found] = self.entries[place]
                scratch.spans[2 * found + 1] = self.entries[place + 1]
                # The first lines of all rows are fetched at once, not one after the other.
                prefetch(self.cells + self.entries[place])
                prefetch(self.cells + self.entries[place] + 32)
                found += 1
        return found

    cdef void compute_logits(self, const uint8_t *data, Py_ssize_t size, Scratch *scratch,
                             float *logits) noexcept nogil:
        # Fills float [labels] and scratch.seen.
        cdef int i, count, words, known = 0, found = 0, scaled_found = 0
        cdef int64_t place
        cdef uint32_t entry, row
        cdef float scale
        scratch.tokens.text = scratch.text
        scratch.tokens.room = NGRAM_BYTES if self.longest else 0
        tokenize_utf8(data, size, &scratch.tokens)
        count = hash_features(&scratch.tokens, scratch.buckets)
        words = scratch.tokens.count
        scale = <float>(1.0 / sqrt(<double>max(words, 1)))
        if self.sparse:
            known = found = self.find_spans(scratch, 0, words, 0)
            found = self.find_spans(scratch, words, count, found)
            if known < words and self.longest:
                found = self.find_spans(scratch, count, self.add_ngrams(scratch, count), found)
            topiccore_sum_sparse8(self.cells, scratch.spans, found, scale, self.bias, scratch.sums,
                                  self.mask, logits, self.labels)
        else:
            if self.longest:
                count = self.add_ngrams(scratch, count)
            for i in range(count):
                place = self.find(scratch.buckets[i])
                if place < 0:
                    continue
                known += i < words
                entry = self.entries[place]
                row = entry >> 2
                if entry & PLAIN:
                    scratch.plain[found] = self.rows + <size_t>row * self.labels
                    found += 1
                    row += 1
                if entry & SCALED:
                    scratch.scaled[scaled_found] = self.rows + <size_t>row * self.labels
                    scaled_found += 1
            topiccore_sum_float32(scratch.plain, found, scratch.scaled, scaled_found, scale,
                                  self.bias, logits, self.labels)
        scratch.seen.tokens = <uint16_t>words
        scratch.seen.unknown = <uint16_t>(words - known)
        scratch.seen.truncated = scratch.tokens.truncated

    cdef inline double calibrated(self, int label, float logit) noexcept nogil:
        cdef double value = <double>self.slopes[label] * <double>logit
        value += <double>self.intercepts[label]
        cdef double steepness = self.steepness[label]
        if value < <double>self.knees[label]:
            # In this form an overflow stays -inf.
            value = (1 + steepness) * value - steepness * <double>self.knees[label]
        return value

    cdef inline double score_of(self, int label, float logit) noexcept nogil:
        return 1.0 / (1.0 + exp(-self.calibrated(label, logit)))

    cdef int emit(self, Scratch *scratch, double floor) noexcept nogil:
        # Labels at or above their threshold (or, where floor >= 0, scores at or above floor), each
        # subtopic with its topic, best first.  The number of them.
        cdef const float *logits
        cdef int label, i, found, count = 0
        cdef double score, skipped
        if self.context == NULL:
            scratch.in_context = scratch.logits
        else:
            topiccore_in_context(scratch.logits, self.context, self.context + self.labels,
                                 self.context + 2 * self.labels, self.starts, self.topics,
                                 scratch.families, scratch.bests, scratch.in_context)
        logits = scratch.in_context
        if floor < 0:
            found = topiccore_find_reached(logits, self.thresholds, self.labels, scratch.reached)
            if found and self.beside != NULL:
                if self.context == NULL:
                    topiccore_best_of_topics(logits, self.starts, self.topics, scratch.families,
                                             scratch.bests)
                found = drop_beside(logits, self.beside, scratch.bests, self.topics, self.topic_of,
                                    scratch.reached, found)
            if found == 0:
                return 0
            memset(scratch.place, 0xFF, self.labels * sizeof(int32_t))
            for i in range(found):
                label = scratch.reached[i]
                count = self.add(scratch, label, self.score_of(label, logits[label]), count)
        else:
            memset(scratch.place, 0xFF, self.labels * sizeof(int32_t))
            # No exponential where the score is below the floor by more than rounding.
            skipped = min(log(floor / (1 - floor)), 36.0)
            skipped -= 1e-6 * (1 + fabs(skipped))
            for label in range(self.labels):
                if self.calibrated(label, logits[label]) >= skipped:
                    score = self.score_of(label, logits[label])
                    if score >= floor:
                        count = self.add(scratch, label, score, count)
        if count > 1:
            qsort(scratch.emitted, count, sizeof(Candidate), best_first)
        return count

    cdef inline int add(self, Scratch *scratch, int label, double score,
                        int count) noexcept nogil:
        # Labels come in the order of the taxonomy, so a topic comes before its subtopics.
        cdef int parent = self.parents[label]
        scratch.place[label] = count
        scratch.emitted[count].label = label
        scratch.emitted[count].score = score
        count += 1
        if parent < 0:
            return count
        if scratch.place[parent] < 0:
            scratch.place[parent] = count
            scratch.emitted[count].label = parent
            scratch.emitted[count].score = self.score_of(parent, scratch.in_context[parent])
            count += 1
        # A topic is at least as likely as its likeliest emitted subtopic.
        if scratch.emitted[scratch.place[parent]].score < score:
            scratch.emitted[scratch.place[parent]].score = score
        return count

    cdef int score_into(self, Block block, const uint8_t *data, Py_ssize_t size, double floor,
                        Py_ssize_t limit, Scratch *scratch) except -1 nogil:
        # Adds the answer to one query to a block.
        cdef int count
        self.compute_logits(data, size, scratch, scratch.logits)
        count = self.emit(scratch, floor)
        if 0 <= limit < count:
            count = <int>limit
        block.put(scratch.emitted, count, scratch.seen)
        return 0

    cdef Answer answer(self, const Candidate *emitted, int count, Seen seen):
        cdef EmittedLabel label
        cdef Answer result = Answer.__new__(Answer)
        cdef int i
        for i in range(count):
            label = EmittedLabel.__new__(EmittedLabel)
            label.code = <str>self.codes[emitted[i].label]
            label.name = <str>self.names[emitted[i].label]
            label.score = emitted[i].score
            result.append(label)
        result.truncated = seen.truncated
        result.tokens = seen.tokens
        result.unknown = seen.unknown
        return result

    cdef int score_one(self, const uint8_t *data, Py_ssize_t size, double floor,
                       Scratch *scratch) except -1:
        # How many labels of one query are in ``scratch.emitted``.
        cdef int count
        if size <= HELD:
            self.compute_logits(data, size, scratch, scratch.logits)
            return self.emit(scratch, floor)
        with nogil:
            self.compute_logits(data, size, scratch, scratch.logits)
            count = self.emit(scratch, floor)
        return count

    def score(self, query, double floor, Py_ssize_t limit):
        """The ``Answer`` to one query; ``floor < 0``: the thresholds; ``limit < 0``: no limit."""
        cdef Py_ssize_t size
        cdef list keep = []
        cdef const uint8_t *data = utf8_of(query, &size, keep)
        cdef Scratch *scratch = self.take()
        cdef int count
        try:
            count = self.score_one(data, size, floor, scratch)
            if 0 <= limit < count:
                count = <int>limit
            return self.answer(scratch.emitted, count, scratch.seen)
        finally:
            scratch_give(&self.pool, scratch)

    def score_batch(self, queries, double floor, Py_ssize_t limit):
        """The ``Answer`` to each query, in order; errors name the position."""
        cdef Py_ssize_t first, row, count
        cdef int64_t start
        cdef list keep = [], answers = []
        cdef Query texts[TOGETHER]
        cdef Block block
        cdef Scratch *scratch
        queries = list(queries)
        for first from 0 <= first < len(queries) by TOGETHER:
            count = min(<Py_ssize_t>TOGETHER, len(queries) - first)
            for row in range(count):
                texts[row].data = utf8_at(queries, first + row, &texts[row].size, keep)
            block = Block(count)
            scratch = self.take()
            try:
                with nogil:
                    for row in range(count):
                        self.score_into(block, texts[row].data, texts[row].size, floor, limit,
                                        scratch)
            finally:
                scratch_give(&self.pool, scratch)
            start = 0
            for row in range(count):
                answers.append(self.answer(block.emitted + start, <int>(block.ends[row] - start),
                                           block.seen[row]))
                start = block.ends[row]
            keep.clear()
        return answers

    def logits(self, queries):
        """float32 [queries, labels]: the logits of all labels."""
        cdef Py_ssize_t first, row, count
        cdef list keep = []
        cdef Query texts[TOGETHER]
        cdef Scratch *scratch
        queries = list(queries)
        result = np.empty((len(queries), self.labels), dtype=np.float32)
        cdef float[:, ::1] out = result
        for first from 0 <= first < len(queries) by TOGETHER:
            count = min(<Py_ssize_t>TOGETHER, len(queries) - first)
            for row in range(count):
                texts[row].data = utf8_at(queries, first + row, &texts[row].size, keep)
            scratch = self.take()
            with nogil:
                for row in range(count):
                    self.compute_logits(texts[row].data, texts[row].size, scratch,
                                        &out[first + row, 0])
                scratch_give(&self.pool, scratch)
            keep.clear()
        return result

    def score_rows(self, Column column, int64_t start, int64_t stop, int64_t position,
                   double floor, Py_ssize_t limit):
        """The ``Block`` of answers to rows of an Arrow column, scored without the GIL.

        A null has an empty answer.  ``position`` is what errors call row 0 of the column.
        """
        cdef Block block = Block(stop - start)
        cdef Scratch *scratch = self.take()
        cdef const uint8_t *data = NULL
        cdef int64_t size = 0, row = start
        cdef Row kind = ROW_TEXT
        cdef Seen nothing = Seen(0, 0, 0)
        try:
            with nogil:
                for row in range(start, stop):
                    kind = arrow_row(&column.array, column.layout, row, &data, &size)
                    if kind == ROW_TEXT and size <= _MAX_QUERY_BYTES:
                        self.score_into(block, data, size, floor, limit, scratch)
                    elif kind == ROW_NULL:
                        block.put(NULL, 0, nothing)
                    else:
                        break
        finally:
            scratch_give(&self.pool, scratch)
        if kind == ROW_BROKEN:
            raise ValueError(f"query {position + row}: the Arrow column is broken there")
        if size > _MAX_QUERY_BYTES:
            raise too_long(size, f"query {position + row}: ")
        return block


# --- answers as JSON ----------------------------------------------------------------------------

cdef enum:
    SCORE_BYTES = 6       # of a score in [0, 1] with four digits behind the point
    TALLIED = 5           # numbers of a tally before those of the labels


cdef int put_score(char *out, double score) except -1:
    # What "%.4f" makes of it.
    cdef double scaled = score * 10000
    cdef int units = <int>scaled
    cdef double rest = scaled - units
    cdef int place
    cdef char *text
    # The product is right to 1e-11, which is too coarse only near the middle of two numbers.
    if fabs(rest - 0.5) > 1e-9:
        units += rest > 0.5
        for place in range(SCORE_BYTES - 1, -1, -1):
            if place == 1:
                out[place] = c'.'
            else:
                out[place] = <char>(c'0' + units % 10)
                units //= 10
        return 0
    text = PyOS_double_to_string(score, c'f', 4, 0, NULL)
    memcpy(out, text, SCORE_BYTES)
    PyMem_Free(text)
    return 0


def score_text(double score):
    """A score in [0, 1] as ``JsonWriter`` writes it: the six bytes of ``"%.4f" % score``."""
    cdef char out[SCORE_BYTES]
    if not 0 <= score <= 1:
        raise ValueError(f"{score} is not in [0, 1]")
    put_score(out, score)
    return out[:SCORE_BYTES]


cdef inline char *append(char *out, bytes text) noexcept:
    memcpy(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return out + PyBytes_GET_SIZE(text)


@cython.final
cdef class Tally:
    """Counts answers in memory that other processes may read.

    ``values`` is uint64 [5 + labels]: queries, covered queries, truncated queries, tokens, unknown
    tokens, then how often each label was emitted; ``codes`` are those of the labels.  Threads may
    share it: the GIL is held while it counts.  Raises ``ValueError`` where the lengths differ.
    """

    cdef uint64_t[::1] values
    cdef dict places
    cdef Py_ssize_t labels

    def __init__(self, uint64_t[::1] values, codes):
        self.places = {code: TALLIED + place for place, code in enumerate(codes)}
        self.labels = len(self.places)
        if len(values) != TALLIED + self.labels:
            raise ValueError(f"{len(values)} numbers for {self.labels} labels")
        self.values = values

    def add(self, Answer answer not None, bint whole):
        """Counts an answer; its labels only if none was cut off (``whole``)."""
        cdef EmittedLabel label
        self.count(len(answer) > 0, answer.truncated, answer.tokens, answer.unknown)
        if whole:
            for label in answer:
                self.values[<Py_ssize_t>self.places[label.code]] += 1

    cdef inline void count(self, bint covered, bint truncated, int tokens, int unknown) noexcept:
        self.values[0] += 1
        self.values[1] += covered
        self.values[2] += truncated
        self.values[3] += <uint64_t>tokens
        self.values[4] += <uint64_t>unknown


@cython.final
cdef class Timings:
    """Counts events with their durations in memory that other processes may read.

    ``values`` is any uint64 memory, ``bounds`` int64: the upper ends of a histogram's buckets,
    rising.  A histogram is ``len(bounds) + 2`` numbers: a count for each bucket, one of what is
    above them all, the sum.  Threads may share it: the GIL is held while it counts.
    """

    cdef uint64_t[::1] values
    cdef const int64_t[::1] bounds

    def __init__(self, uint64_t[::1] values, const int64_t[::1] bounds):
        self.values = values
        self.bounds = bounds

    def add(self, Py_ssize_t place):
        """One more at a place; raises ``IndexError``."""
        self.values[self.checked(place, 1)] += 1

    def observe(self, Py_ssize_t histogram, int64_t duration):
        """A duration, 0 or more, in the histogram that begins at a place; ``IndexError``."""
        cdef Py_ssize_t low = 0, high = len(self.bounds), middle
        self.checked(histogram, high + 2)
        while low < high:
            middle = (low + high) // 2
            if self.bounds[middle] < duration:
                low = middle + 1
            else:
                high = middle
        self.values[histogram + low] += 1
        self.values[histogram + len(self.bounds) + 1] += <uint64_t>max(duration, 0)

    cdef inline Py_ssize_t checked(self, Py_ssize_t place, Py_ssize_t numbers) except -1:
        if not 0 <= place <= len(self.values) - numbers:
            raise IndexError(f"place {place} of {len(self.values)}")
        return place


@cython.final
cdef class JsonWriter:
    """Answers single queries with JSON, without a Python object for each label.

    The answer is ``start``, for each emitted label its member of ``openings`` (bytes, in the order
    of the taxonomy), the score with four digits and ``}``, with commas between, then one of
    ``endings``: the second where the query was truncated.  Threads may share it.
    """

    cdef Kernel kernel
    cdef bytes start
    cdef list openings
    cdef tuple endings

    def __init__(self, Kernel kernel not None, bytes start not None, openings, endings):
        cdef bytes text
        self.kernel = kernel
        self.start = start
        self.openings = []
        for text in openings:
            self.openings.append(text)
        if len(self.openings) != kernel.labels:
            raise ValueError(f"{len(self.openings)} openings for {kernel.labels} labels")
        whole, truncated = endings
        self.endings = (<bytes?>whole, <bytes?>truncated)

    def write(self, query, Tally tally):
        """The answer by the model's own thresholds, counted in ``tally`` unless that is ``None``.

        Raises as ``TopicModel.score``, and ``ValueError`` for a tally of other labels.
        """
        cdef Kernel kernel = self.kernel
        cdef Py_ssize_t size, length
        cdef list keep = []
        cdef const uint8_t *data = utf8_of(query, &size, keep)
        cdef Scratch *scratch
        cdef const Candidate *emitted
        cdef bytes ending, result
        cdef char *out
        cdef int count, place
        if tally is not None and tally.labels != kernel.labels:
            raise ValueError(f"a tally of {tally.labels} labels for {kernel.labels}")
        scratch = kernel.take()
        try:
            count = kernel.score_one(data, size, -1.0, scratch)
            emitted = scratch.emitted
            if tally is not None:
                tally.count(count > 0, scratch.seen.truncated, scratch.seen.tokens,
                            scratch.seen.unknown)
                for place in range(count):
                    tally.values[TALLIED + emitted[place].label] += 1
            ending = <bytes>self.endings[scratch.seen.truncated]
            # Behind each score stands a brace, and before each label but the first a comma.
            length = PyBytes_GET_SIZE(self.start) + PyBytes_GET_SIZE(ending)
            length += count * (SCORE_BYTES + 2) - (count > 0)
            for place in range(count):
                length += PyBytes_GET_SIZE(<bytes>self.openings[emitted[place].label])
            result = PyBytes_FromStringAndSize(NULL, length)
            out = append(PyBytes_AS_STRING(result), self.start)
            for place in range(count):
                if place:
                    out[0] = c','
                    out += 1
                out = append(out, <bytes>self.openings[emitted[place].label])
                put_score(out, emitted[place].score)
                out[SCORE_BYTES] = c'}'
                out += SCORE_BYTES + 1
            append(out, ending)
            return result
        finally:
            scratch_give(&kernel.pool, scratch)


# --- answers of many queries --------------------------------------------------------------------

@cython.final
cdef class Block:
    """Answers of queries in order, one label after the other."""

    cdef Candidate *emitted
    cdef int64_t *ends               # where each query's labels end in ``emitted``
    cdef Seen *seen
    cdef readonly int64_t queries
    cdef readonly int64_t total      # labels of all queries
    cdef int64_t room

    def __cinit__(self, int64_t queries):
        self.room = 2 * queries + 16
        self.emitted = <Candidate *>malloc(self.room * sizeof(Candidate))
        self.ends = <int64_t *>malloc(queries * sizeof(int64_t) + 1)
        self.seen = <Seen *>malloc(queries * sizeof(Seen) + 1)
        if self.emitted == NULL or self.ends == NULL or self.seen == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.emitted)
        free(self.ends)
        free(self.seen)

    cdef int put(self, const Candidate *emitted, int count, Seen seen) except -1 nogil:
        # The next query's labels; there are no more queries than the block was made for.
        cdef void *more
        if self.total + count > self.room:
            more = realloc(self.emitted, 2 * (self.total + count) * sizeof(Candidate))
            if more == NULL:
                with gil:
                    raise MemoryError
            self.emitted = <Candidate *>more
            self.room = 2 * (self.total + count)
        if count:
            memcpy(self.emitted + self.total, emitted, count * sizeof(Candidate))
        self.total += count
        self.ends[self.queries] = self.total
        self.seen[self.queries] = seen
        self.queries += 1
        return 0

    def write(self, int64_t query, int64_t label, int32_t[::1] offsets, int32_t[::1] labels,
              double[::1] scores, uint8_t[::1] truncated, uint16_t[::1] tokens,
              uint16_t[::1] unknown):
        """Copies the answers to where ``query`` is the first and ``label`` the first label."""
        cdef int64_t i
        cdef int64_t queries = query + self.queries
        if (queries >= len(offsets) or queries > min(len(truncated), len(tokens), len(unknown))
                or label + self.total > min(len(labels), len(scores))):
            raise ValueError("the arrays are too short")
        with nogil:
            for i in range(self.queries):
                offsets[query + i + 1] = <int32_t>(label + self.ends[i])
                truncated[query + i] = self.seen[i].truncated
                tokens[query + i] = self.seen[i].tokens
                unknown[query + i] = self.seen[i].unknown
            for i in range(self.total):
                labels[label + i] = self.emitted[i].label
                scores[label + i] = self.emitted[i].score


# --- Arrow --------------------------------------------------------------------------------------

@cython.final
cdef class Column:
    """One Arrow array of strings or bytes, taken over from its producer."""

    cdef ArrowArray array
    cdef Layout layout

    def __len__(self):
        return self.array.length

    def __dealloc__(self):
        if self.array.release != NULL:
            self.array.release(&self.array)


cdef Layout layout_of(const ArrowSchema *schema) except LAYOUT_NONE:
    cdef Layout layout = arrow_layout(schema)
    if layout == LAYOUT_NONE:
        if schema.dictionary != NULL:
            raise TypeError("the Arrow column is dictionary-encoded; decode it to strings")
        raise TypeError(
            "the Arrow column has format "
            f"{(<bytes>schema.format).decode('utf-8', 'replace')!r}; one of strings is needed"
        )
    return layout


cdef Column column_of(ArrowArray *array, Layout layout):
    # Takes the array over, as the interface says: a moved structure has no release.
    cdef Column column = Column.__new__(Column)
    column.array = array[0]
    column.layout = layout
    array.release = NULL
    if not arrow_fits(&column.array, layout):
        raise ValueError("the Arrow column is broken: it lacks buffers")
    return column


def import_columns(source):
    """The chunks of an Arrow array or chunked array of strings or bytes: a list of ``Column``.

    ``source`` has ``__arrow_c_array__`` or ``__arrow_c_stream__``.  Nothing is copied.  Raises
    ``TypeError`` for anything else.
    """
    cdef ArrowSchema *schema
    cdef ArrowSchema own
    cdef ArrowArray *array
    cdef ArrowArray chunk
    cdef ArrowArrayStream *stream
    cdef Layout layout
    cdef int failed
    if hasattr(source, "__arrow_c_array__"):
        schema_capsule, array_capsule = source.__arrow_c_array__()
        schema = <ArrowSchema *>PyCapsule_GetPointer(schema_capsule, "arrow_schema")
        array = <ArrowArray *>PyCapsule_GetPointer(array_capsule, "arrow_array")
        return [column_of(array, layout_of(schema))]
    if not hasattr(source, "__arrow_c_stream__"):
        raise TypeError(f"queries is no Arrow array of strings, but {type(source).__name__}")
    capsule = source.__arrow_c_stream__()
    stream = <ArrowArrayStream *>PyCapsule_GetPointer(capsule, "arrow_array_stream")
    with nogil:
        failed = stream.get_schema(stream, &own)
    if failed:
        raise stream_error(stream)
    try:
        layout = layout_of(&own)
    finally:
        if own.release != NULL:
            own.release(&own)
    columns = []
    while True:
        with nogil:
            failed = stream.get_next(stream, &chunk)
        if failed:
            raise stream_error(stream)
        if chunk.release == NULL:
            return columns
        columns.append(column_of(&chunk, layout))


cdef object stream_error(ArrowArrayStream *stream):
    cdef const char *message = stream.get_last_error(stream)
    told = "" if message == NULL else (<bytes>message).decode("utf-8", "replace")
    return ValueError(f"the Arrow stream failed: {told}")


def export_schema():
    """The capsule of the Arrow type of answers: list<struct<label, score>>."""
    cdef ArrowSchema *schema = <ArrowSchema *>calloc(1, sizeof(ArrowSchema))
    if schema == NULL:
        raise MemoryError
    capsule = PyCapsule_New(schema, "arrow_schema", <void (*)(object) noexcept>free_schema_capsule)
    if fill_schema(schema) < 0:
        raise MemoryError
    return capsule


def export_array(offsets, labels, scores, code_offsets, code_bytes):
    """The capsule of an Arrow array of answers over these buffers, which it keeps alive.

    int32 [queries + 1], int32 [emitted], float64 [emitted]; int32 [codes + 1], uint8 [bytes].
    """
    cdef const int32_t[::1] starts = offsets, places = labels, code_starts = code_offsets
    cdef const double[::1] values = scores
    cdef const uint8_t[::1] text = code_bytes
    cdef ArrowArray *array = <ArrowArray *>calloc(1, sizeof(ArrowArray))
    if array == NULL:
        raise MemoryError
    capsule = PyCapsule_New(array, "arrow_array", <void (*)(object) noexcept>free_array_capsule)
    owner = (offsets, labels, scores, code_offsets, code_bytes)
    if fill_array(array, <PyObject *>owner, len(starts) - 1, &starts[0], len(places),
                  &places[0] if len(places) else NULL, &values[0] if len(values) else NULL,
                  len(code_starts) - 1, &code_starts[0], &text[0] if len(text) else NULL) < 0:
        raise MemoryError
    return capsule
