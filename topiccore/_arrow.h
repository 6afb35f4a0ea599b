/* The Arrow C data interface (https://arrow.apache.org/docs/format/CDataInterface.html): reads
 * columns of strings where they lie, and hands out answers as list<struct<label, score>>. */
#ifndef TOPICCORE_ARROW_H
#define TOPICCORE_ARROW_H

#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE
struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};
struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};
#endif
#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE
struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};
#endif

/* --- columns of strings ------------------------------------------------------------------------ */

typedef enum { LAYOUT_NONE, LAYOUT_SMALL, LAYOUT_LARGE, LAYOUT_VIEW } Layout;

/* The layout that a format string names; LAYOUT_NONE where it is no column of text or bytes. */
static inline Layout arrow_layout(const struct ArrowSchema *schema) {
    const char *format = schema->format;
    if (schema->dictionary != NULL || format == NULL) return LAYOUT_NONE;
    if (!strcmp(format, "u") || !strcmp(format, "z")) return LAYOUT_SMALL;
    if (!strcmp(format, "U") || !strcmp(format, "Z")) return LAYOUT_LARGE;
    if (!strcmp(format, "vu") || !strcmp(format, "vz")) return LAYOUT_VIEW;
    return LAYOUT_NONE;
}

/* Whether an array can have this layout at all. */
static inline int arrow_fits(const struct ArrowArray *array, Layout layout) {
    return array->length >= 0 && array->offset >= 0 && array->buffers != NULL &&
           array->n_buffers >= 3 && (layout == LAYOUT_VIEW || array->n_buffers == 3) &&
           (array->length == 0 || array->buffers[1] != NULL);
}

typedef enum { ROW_TEXT, ROW_NULL, ROW_BROKEN } Row;

/* The bytes of a row.  ROW_BROKEN: the offsets of the row cannot be. */
static inline Row arrow_row(const struct ArrowArray *array, Layout layout, int64_t row,
                            const uint8_t **data, int64_t *size) {
    const uint8_t *validity = (const uint8_t *)array->buffers[0];
    int64_t at = array->offset + row;
    *data = (const uint8_t *)"";
    *size = 0;
    if (validity != NULL && array->null_count != 0 && !(validity[at >> 3] >> (at & 7) & 1))
        return ROW_NULL;
    if (layout == LAYOUT_VIEW) {
        /* size, then either 12 bytes of text or 4 of it, the number of a buffer and a place there */
        const uint8_t *view = (const uint8_t *)array->buffers[1] + 16 * at;
        int32_t parts[4];
        memcpy(parts, view, 16);
        *size = parts[0];
        if (parts[0] < 0) return ROW_BROKEN;
        if (parts[0] <= 12) {
            *data = view + 4;
            return ROW_TEXT;
        }
        if (parts[2] < 0 || parts[2] >= array->n_buffers - 3 || parts[3] < 0) return ROW_BROKEN;
        *data = (const uint8_t *)array->buffers[2 + parts[2]] + parts[3];
        return ROW_TEXT;
    }
    /* copied, since a producer need not align its offsets */
    int64_t first, last;
    if (layout == LAYOUT_SMALL) {
        int32_t ends[2];
        memcpy(ends, (const char *)array->buffers[1] + 4 * at, 8);
        first = ends[0];
        last = ends[1];
    } else {
        int64_t ends[2];
        memcpy(ends, (const char *)array->buffers[1] + 8 * at, 16);
        first = ends[0];
        last = ends[1];
    }
    if (first < 0 || last < first) return ROW_BROKEN;
    *size = last - first;
    if (*size > 0) *data = (const uint8_t *)array->buffers[2] + first;
    return ROW_TEXT;
}

/* --- answers ----------------------------------------------------------------------------------- */

static inline void release_schema(struct ArrowSchema *schema) {
    for (int64_t i = 0; i < schema->n_children; i++) {
        struct ArrowSchema *child = schema->children[i];
        if (child != NULL && child->release != NULL) child->release(child);
        free(child);
    }
    free(schema->children);
    if (schema->dictionary != NULL) {
        if (schema->dictionary->release != NULL) schema->dictionary->release(schema->dictionary);
        free(schema->dictionary);
    }
    schema->release = NULL;
}

/* Room for children is made at once, so that a release frees a half-made tree too. */
static inline int start_schema(struct ArrowSchema *schema, const char *format, const char *name,
                               int children) {
    memset(schema, 0, sizeof *schema);
    schema->format = format;
    schema->name = name;
    schema->release = release_schema;
    if (children == 0) return 0;
    schema->children = (struct ArrowSchema **)calloc(children, sizeof *schema->children);
    if (schema->children == NULL) return -1;
    schema->n_children = children;
    for (int i = 0; i < children; i++) {
        schema->children[i] = (struct ArrowSchema *)calloc(1, sizeof **schema->children);
        if (schema->children[i] == NULL) return -1;
    }
    return 0;
}

/* list<item: struct<label: dictionary<int32, string>, score: double>>; -1 without memory. */
static inline int fill_schema(struct ArrowSchema *schema) {
    if (start_schema(schema, "+l", "", 1) < 0) return -1;
    struct ArrowSchema *item = schema->children[0];
    if (start_schema(item, "+s", "item", 2) < 0) return -1;
    start_schema(item->children[0], "i", "label", 0);
    start_schema(item->children[1], "g", "score", 0);
    item->children[0]->dictionary = (struct ArrowSchema *)calloc(1, sizeof *schema);
    if (item->children[0]->dictionary == NULL) return -1;
    start_schema(item->children[0]->dictionary, "u", "", 0);
    return 0;
}

/* Every array of a tree owns a reference to the Python object that has the buffers. */
static inline void release_array(struct ArrowArray *array) {
    for (int64_t i = 0; i < array->n_children; i++) {
        struct ArrowArray *child = array->children[i];
        if (child != NULL && child->release != NULL) child->release(child);
        free(child);
    }
    free(array->children);
    free(array->buffers);
    if (array->dictionary != NULL) {
        if (array->dictionary->release != NULL) array->dictionary->release(array->dictionary);
        free(array->dictionary);
    }
    array->release = NULL;
    if (array->private_data != NULL && Py_IsInitialized()) {
        PyGILState_STATE state = PyGILState_Ensure();
        Py_DECREF((PyObject *)array->private_data);
        PyGILState_Release(state);
    }
}

static inline int start_array(struct ArrowArray *array, PyObject *owner, int64_t length,
                              int buffers, int children) {
    memset(array, 0, sizeof *array);
    array->length = length;
    array->release = release_array;
    array->buffers = (const void **)calloc(buffers, sizeof *array->buffers);
    if (array->buffers == NULL) return -1;
    array->n_buffers = buffers;
    array->private_data = owner;
    Py_INCREF(owner);
    if (children == 0) return 0;
    array->children = (struct ArrowArray **)calloc(children, sizeof *array->children);
    if (array->children == NULL) return -1;
    array->n_children = children;
    for (int i = 0; i < children; i++) {
        array->children[i] = (struct ArrowArray *)calloc(1, sizeof **array->children);
        if (array->children[i] == NULL) return -1;
    }
    return 0;
}

/* The array of that schema over buffers that ``owner`` keeps; -1 without memory. */
static inline int fill_array(struct ArrowArray *array, PyObject *owner, int64_t queries,
                             const int32_t *offsets, int64_t emitted, const int32_t *labels,
                             const double *scores, int64_t codes, const int32_t *code_offsets,
                             const uint8_t *code_bytes) {
    if (start_array(array, owner, queries, 2, 1) < 0) return -1;
    array->buffers[1] = offsets;
    struct ArrowArray *item = array->children[0];
    if (start_array(item, owner, emitted, 1, 2) < 0) return -1;
    struct ArrowArray *label = item->children[0], *score = item->children[1];
    if (start_array(label, owner, emitted, 2, 0) < 0) return -1;
    label->buffers[1] = labels;
    if (start_array(score, owner, emitted, 2, 0) < 0) return -1;
    score->buffers[1] = scores;
    label->dictionary = (struct ArrowArray *)calloc(1, sizeof *label);
    if (label->dictionary == NULL) return -1;
    if (start_array(label->dictionary, owner, codes, 3, 0) < 0) return -1;
    label->dictionary->buffers[1] = code_offsets;
    label->dictionary->buffers[2] = code_bytes;
    return 0;
}

static inline void free_schema_capsule(PyObject *capsule) {
    struct ArrowSchema *schema =
        (struct ArrowSchema *)PyCapsule_GetPointer(capsule, "arrow_schema");
    if (schema->release != NULL) schema->release(schema);
    free(schema);
}

static inline void free_array_capsule(PyObject *capsule) {
    struct ArrowArray *array = (struct ArrowArray *)PyCapsule_GetPointer(capsule, "arrow_array");
    if (array->release != NULL) array->release(array);
    free(array);
}

#endif
