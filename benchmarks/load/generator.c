/* A load generator for HTTP/1.1 over loopback: one thread, one epoll, keep-alive connections that
 * have one request under way each.
 *
 * Open loop (--rate): request i is due at start + i / rate, whatever became of the ones before, and
 * its latency counts from when it was due.  A request that finds no free connection waits for one,
 * and its wait is part of its latency (Gil Tene's "coordinated omission" is what happens else).
 * Closed loop (no --rate): every connection asks again as soon as it was answered.
 *
 * benchmarks/load/generator.py compiles and runs it; docs/load.md explains its output. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define MILLISECOND 1000000LL

static void fail(const char *what, const char *which) {
    fprintf(stderr, "generator: %s%s%s\n", what, which ? ": " : "", which ? which : "");
    exit(2);
}

static void *need(void *pointer) {
    if (!pointer) fail("out of memory", NULL);
    return pointer;
}

static int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

/* ---- histogram: 128 equal steps in each power of two, so values are right to 0.8 % ------------ */

enum { STEP_BITS = 7, STEPS = 1 << STEP_BITS, OCTAVES = 40 };

typedef struct {
    uint64_t counts[OCTAVES * STEPS];
    uint64_t total;
    int64_t max;
    double sum;
} Histogram;

static int histogram_place(uint64_t value) {
    if (value < STEPS) return (int)value;
    int shift = 63 - __builtin_clzll(value) - STEP_BITS;
    int place = (shift + 1) * STEPS + (int)((value >> shift) - STEPS);
    return place < OCTAVES * STEPS ? place : OCTAVES * STEPS - 1;
}

/* The largest value that falls on a place. */
static int64_t histogram_value(int place) {
    if (place < STEPS) return place;
    int shift = place / STEPS - 1;
    return (((int64_t)(place % STEPS) + STEPS + 1) << shift) - 1;
}

static void histogram_add(Histogram *histogram, int64_t value) {
    if (value < 0) value = 0;
    histogram->counts[histogram_place((uint64_t)value)]++;
    histogram->total++;
    histogram->sum += (double)value;
    if (value > histogram->max) histogram->max = value;
}

/* The least value that a share of all values does not exceed. */
static int64_t histogram_quantile(const Histogram *histogram, double share) {
    uint64_t wanted = (uint64_t)ceil(share * (double)histogram->total), seen = 0;
    for (int place = 0; place < OCTAVES * STEPS; place++) {
        seen += histogram->counts[place];
        if (seen >= wanted && seen) {
            int64_t value = histogram_value(place);
            return value < histogram->max ? value : histogram->max;
        }
    }
    return 0;
}

static void histogram_print(const char *name, const Histogram *histogram) {
    static const struct { const char *name; double share; } SHARES[] = {
        {"p50", .5}, {"p90", .9}, {"p99", .99}, {"p99.9", .999}, {"p99.99", .9999},
    };
    printf("  \"%s\": {\"count\": %llu, \"mean\": %.3f", name,
           (unsigned long long)histogram->total,
           histogram->total ? histogram->sum / (double)histogram->total / 1e3 : 0);
    for (size_t i = 0; i < sizeof SHARES / sizeof *SHARES; i++)
        printf(", \"%s\": %.3f", SHARES[i].name,
               (double)histogram_quantile(histogram, SHARES[i].share) / 1e3);
    printf(", \"max\": %.3f},\n", (double)histogram->max / 1e3);
}

/* ---- files of lines --------------------------------------------------------------------------- */

typedef struct {
    const char *start;
    size_t size;
} Text;

typedef struct {
    Text *lines;
    size_t count;
} Lines;

static Lines read_lines(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status)) fail(path, strerror(errno));
    Lines found = {NULL, 0};
    if (status.st_size == 0) return found;
    char *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED) fail(path, strerror(errno));
    close(file);
    size_t room = 0;
    for (char *place = data, *end = data + status.st_size; place < end;) {
        char *stop = memchr(place, '\n', (size_t)(end - place));
        if (!stop) stop = end;
        if (found.count == room)
            found.lines = need(realloc(found.lines, (room = 2 * room + 1024) * sizeof(Text)));
        found.lines[found.count++] = (Text){place, (size_t)(stop - place)};
        place = stop + 1;
    }
    return found;
}

/* ---- state ------------------------------------------------------------------------------------ */

typedef enum {
    TIMEOUT,          /* no whole answer within --timeout of when it was due */
    RESET,            /* the connection was reset under it */
    CLOSED,           /* the connection ended before a whole answer */
    MALFORMED,        /* what came is not HTTP/1.1 */
    STATUS,           /* answered, but not with 200 */
    MODEL_MISSING,    /* the body has no field "model", or the header is missing */
    MODEL_MISMATCH,   /* header and field name different artifacts */
    UNKNOWN_MODEL,    /* no --expect file is of this artifact */
    WRONG_ANSWER,     /* not the answer that the --expect file has */
    UNSOLICITED,      /* data on a connection that had no request under way */
    UNFINISHED,       /* not answered yet when the run was stopped */
    KINDS
} Kind;

static const char *const KIND_NAMES[KINDS] = {
    "timeout", "reset", "closed", "malformed", "status", "model_missing", "model_mismatch",
    "unknown_model", "wrong_answer", "unsolicited", "unfinished",
};

typedef enum { DOWN, CONNECTING, IDLE, BUSY } State;

typedef struct Connection {
    int socket;
    State state;
    int64_t retry;          /* DOWN: when to connect again */
    /* the request under way */
    int64_t due;
    bool measured;
    size_t line;
    char *out;
    size_t out_size, out_sent, out_room;
    /* the answer so far */
    char *in;
    size_t in_size, in_room;
    size_t body;            /* 0 until the headers are whole */
    long long length;       /* of the body; -1: until the connection ends; -2: chunked */
    int status;
    bool closing;
    Text model_header;
    struct Connection *next_idle;
} Connection;

typedef struct {
    char model[128];
    uint64_t answers;
} Model;

enum { MOST_MODELS = 64, MOST_EXPECTED = 8, MOST_EXAMPLES = 8, MOST_ANSWER = 16 << 20 };

static struct {
    int port;
    double rate, seconds, warm_up, timeout, progress;
    int connections;
    const char *requests_path, *target, *headers, *id_header, *method, *counts_path;
    bool post, check;
    uint64_t seed;
} options = {
    .seconds = 10, .warm_up = 1, .timeout = 10, .connections = 32, .target = "/v1/topics?q=",
    .headers = "", .seed = 1, .method = "GET",
};

static struct {
    char model[128];
    Lines answers;
} expected[MOST_EXPECTED];
static int expected_count;

static Lines requests;
static uint32_t *order;
static Connection *connections;
static Connection *idle_first, *idle_last;
static int poller, timer, busy_count;
static bool tend_now;

static Histogram latency, lateness;
static uint64_t errors[KINDS], statuses[600], issued, answered, right, warm_up_errors;
static uint64_t connects, connect_failures, idle_closes, bytes_received, asked;
static Model models[MOST_MODELS];
static int model_count;
static struct { Kind kind; size_t line; int status; } examples[MOST_EXAMPLES];
static int example_count;
static int64_t start_time, measure_from, end_time, timeout_ns;
static int64_t blocked; /* when a request that was due last found no free connection */
static volatile sig_atomic_t stopped;

static void stop(int signal) {
    (void)signal;
    stopped = 1;
}

/* ---- counting --------------------------------------------------------------------------------- */

static void count_error(const Connection *connection, Kind kind) {
    if (connection && !connection->measured) {
        warm_up_errors++;
        return;
    }
    errors[kind]++;
    if (example_count < MOST_EXAMPLES) {
        examples[example_count].kind = kind;
        examples[example_count].line = connection ? connection->line + 1 : 0;
        examples[example_count++].status = connection ? connection->status : 0;
    }
}

static bool same(Text text, const char *other) {
    return strlen(other) == text.size && !memcmp(text.start, other, text.size);
}

static void count_model(Text model) {
    for (int i = 0; i < model_count; i++)
        if (same(model, models[i].model)) {
            models[i].answers++;
            return;
        }
    if (model_count < MOST_MODELS && model.size < sizeof models->model) {
        memcpy(models[model_count].model, model.start, model.size);
        models[model_count++].answers = 1;
    }
}

/* ---- checking --------------------------------------------------------------------------------- */

/* The string of the last field "model"; a quote inside a JSON string is escaped, so that the name
 * with its quotes can only be a field. */
static Text model_field(Text body) {
    static const char NAME[] = "\"model\"";
    const char *end = body.start + body.size;
    Text found = {NULL, 0};
    for (const char *place = body.start;
         (place = memmem(place, (size_t)(end - place), NAME, sizeof NAME - 1));) {
        place += sizeof NAME - 1;
        const char *value = place;
        while (value < end && (*value == ' ' || *value == ':')) value++;
        if (value >= end || *value++ != '"') continue;
        const char *stop = memchr(value, '"', (size_t)(end - value));
        if (stop) found = (Text){value, (size_t)(stop - value)};
    }
    return found;
}

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static bool numeric(char c) { return (c >= '0' && c <= '9') || (c && strchr("+-.eE", c)); }

/* Whether two JSON texts say the same: blanks between tokens do not count, and numbers may differ
 * by what rounding to four decimals leaves. */
static bool same_json(Text ours, Text theirs) {
    const char *a = ours.start, *a_end = a + ours.size;
    const char *b = theirs.start, *b_end = b + theirs.size;
    bool in_string = false;
    while (true) {
        if (!in_string) {
            while (a < a_end && blank(*a)) a++;
            while (b < b_end && blank(*b)) b++;
        }
        if (a == a_end || b == b_end) return a == a_end && b == b_end;
        bool digit = (*a >= '0' && *a <= '9') || *a == '-';
        if (!in_string && digit) {
            char x[40], y[40];
            size_t n = 0, m = 0;
            while (a < a_end && numeric(*a) && n < sizeof x - 1) x[n++] = *a++;
            while (b < b_end && numeric(*b) && m < sizeof y - 1) y[m++] = *b++;
            x[n] = y[m] = 0;
            if (!m || fabs(strtod(x, NULL) - strtod(y, NULL)) > 1.01e-4) return false;
            continue;
        }
        if (*a != *b) return false;
        if (in_string && *a == '\\') {
            a++, b++;
            if (a == a_end || b == b_end || *a != *b) return false;
        } else if (*a == '"') {
            in_string = !in_string;
        }
        a++, b++;
    }
}

static Kind check(const Connection *connection, Text body) {
    if (connection->status != 200) return STATUS;
    if (!options.check) return KINDS;
    Text model = model_field(body);
    if (!model.size || (options.id_header && !connection->model_header.size)) return MODEL_MISSING;
    if (options.id_header && (model.size != connection->model_header.size ||
                              memcmp(model.start, connection->model_header.start, model.size)))
        return MODEL_MISMATCH;
    count_model(model);
    if (!expected_count) return KINDS;
    for (int i = 0; i < expected_count; i++)
        if (same(model, expected[i].model)) {
            Text wanted = expected[i].answers.lines[connection->line + 1];
            return same_json(wanted, body) ? KINDS : WRONG_ANSWER;
        }
    return UNKNOWN_MODEL;
}

/* ---- connections ------------------------------------------------------------------------------ */

static void watch(Connection *connection, int how, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(poller, how, connection->socket, &event)) fail("epoll_ctl", strerror(errno));
}

static void make_idle(Connection *connection) {
    connection->state = IDLE;
    connection->in_size = 0;
    connection->next_idle = NULL;
    if (idle_last) idle_last->next_idle = connection;
    else idle_first = connection;
    idle_last = connection;
}

static void leave_idle(Connection *connection) {
    Connection *before = NULL;
    for (Connection *one = idle_first; one; before = one, one = one->next_idle) {
        if (one != connection) continue;
        if (before) before->next_idle = one->next_idle;
        else idle_first = one->next_idle;
        if (idle_last == one) idle_last = before;
        return;
    }
}

static void disconnect(Connection *connection, int64_t retry) {
    if (connection->state == IDLE) leave_idle(connection);
    if (connection->state == BUSY) busy_count--;
    if (connection->socket >= 0) close(connection->socket);
    connection->socket = -1;
    connection->state = DOWN;
    connection->retry = retry;
    tend_now = true;
}

static void start_connect(Connection *connection) {
    connection->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->socket < 0) fail("socket", strerror(errno));
    int on = 1;
    setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)options.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    connects++;
    int found = connect(connection->socket, (struct sockaddr *)&address, sizeof address);
    if (found && errno != EINPROGRESS) {
        connect_failures++;
        disconnect(connection, now_ns() + 10 * MILLISECOND);
        return;
    }
    connection->state = CONNECTING;
    watch(connection, EPOLL_CTL_ADD, EPOLLOUT);
}

static void put(Connection *connection, const char *text, size_t size) {
    if (connection->out_size + size > connection->out_room) {
        connection->out_room = 2 * (connection->out_size + size) + 512;
        connection->out = need(realloc(connection->out, connection->out_room));
    }
    memcpy(connection->out + connection->out_size, text, size);
    connection->out_size += size;
}

static void puts_(Connection *connection, const char *text) { put(connection, text, strlen(text)); }

static void lost(Connection *connection, Kind kind) {
    if (connection->state == BUSY) count_error(connection, kind);
    else if (connection->state == IDLE) idle_closes++;
    disconnect(connection, now_ns());
}

static void flush(Connection *connection) {
    while (connection->out_sent < connection->out_size) {
        ssize_t sent = send(connection->socket, connection->out + connection->out_sent,
                            connection->out_size - connection->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) {
            watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        }
        if (sent < 0) {
            /* An answer may have been sent before the connection was cut: recv tells. */
            return;
        }
        connection->out_sent += (size_t)sent;
    }
}

/* Sends the next request over an idle connection. */
static void ask(Connection *connection, int64_t due, int64_t now) {
    leave_idle(connection);
    connection->state = BUSY;
    busy_count++;
    connection->due = due;
    connection->measured = due >= measure_from;
    connection->line = order[asked++ % requests.count];
    connection->out_size = connection->out_sent = 0;
    connection->in_size = connection->body = 0;
    connection->status = 0;
    connection->closing = false;
    connection->model_header = (Text){NULL, 0};
    if (connection->measured) {
        issued++;
        /* Waiting for a connection is the server's doing, all else is the generator's. */
        if (due > blocked) histogram_add(&lateness, now - due);
    }
    Text line = requests.lines[connection->line];
    puts_(connection, options.method);
    puts_(connection, " ");
    puts_(connection, options.target);
    if (!options.post) put(connection, line.start, line.size);
    puts_(connection, " HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    puts_(connection, options.headers);
    if (options.post) {
        char field[96];
        snprintf(field, sizeof field, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                 line.size);
        puts_(connection, field);
    }
    puts_(connection, "\r\n");
    if (options.post) put(connection, line.start, line.size);
    flush(connection);
}

/* ---- answers ---------------------------------------------------------------------------------- */

static bool header_is(const char *line, size_t name_size, const char *name) {
    return strlen(name) == name_size && !strncasecmp(line, name, name_size);
}

/* Reads the headers once they are whole: 0 not yet, 1 read, -1 no HTTP. */
static int read_headers(Connection *connection) {
    char *in = connection->in;
    char *end = memmem(in, connection->in_size, "\r\n\r\n", 4);
    if (!end) return connection->in_size > 65536 ? -1 : 0;
    if (connection->in_size < 12 || memcmp(in, "HTTP/1.", 7) || in[8] != ' ') return -1;
    int status = 0;
    for (int i = 9; i < 12; i++) {
        if (in[i] < '0' || in[i] > '9') return -1;
        status = 10 * status + in[i] - '0';
    }
    if (status < 100 || status > 599) return -1;
    if (status < 200) { /* an interim answer: the real one follows */
        size_t used = (size_t)(end + 4 - in);
        memmove(in, in + used, connection->in_size -= used);
        return read_headers(connection);
    }
    connection->status = status;
    connection->closing = in[7] == '0';
    connection->length = -1;
    for (char *line = memchr(in, '\n', (size_t)(end - in + 2)) + 1; line < end + 2;) {
        char *stop = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        char *colon = memchr(line, ':', (size_t)(stop - line));
        if (!colon) return -1;
        size_t name = (size_t)(colon - line);
        char *value = colon + 1;
        while (value < stop && (*value == ' ' || *value == '\t')) value++;
        size_t size = (size_t)(stop - value);
        if (header_is(line, name, "content-length") && connection->length != -2) {
            char *after;
            connection->length = strtoll(value, &after, 10);
            if (after != stop || connection->length < 0) return -1;
        } else if (header_is(line, name, "transfer-encoding")) {
            connection->length = -2;
        } else if (header_is(line, name, "connection")) {
            if (size == 5 && !strncasecmp(value, "close", 5)) connection->closing = true;
            if (size == 10 && !strncasecmp(value, "keep-alive", 10)) connection->closing = false;
        } else if (options.id_header && header_is(line, name, options.id_header)) {
            connection->model_header = (Text){(char *)(value - in), size}; /* an offset for now */
        }
        line = stop + 2;
    }
    if (status == 204 || status == 304) connection->length = 0;
    connection->body = (size_t)(end + 4 - in);
    return 1;
}

/* The body without its chunks: 0 not whole yet, 1 whole, -1 no chunks.  Writes only when whole. */
static int join_chunks(Connection *connection, Text *body, size_t *used) {
    char *data = connection->in + connection->body;
    size_t size = connection->in_size - connection->body;
    for (int pass = 0; pass < 2; pass++) {
        size_t place = 0, joined = 0;
        while (true) {
            char *stop = memmem(data + place, size - place, "\r\n", 2);
            if (!stop) return size - place > 1024 ? -1 : 0;
            if (!isxdigit((unsigned char)data[place])) return -1;
            char *after;
            unsigned long chunk = strtoul(data + place, &after, 16);
            if (chunk > MOST_ANSWER) return -1;
            place = (size_t)(stop + 2 - data);
            if (!chunk) break;
            if (size - place < chunk + 2) return 0;
            if (memcmp(data + place + chunk, "\r\n", 2)) return -1;
            if (pass) memmove(data + joined, data + place, chunk);
            joined += chunk;
            place += chunk + 2;
        }
        while (true) { /* trailers, then an empty line */
            char *stop = memmem(data + place, size - place, "\r\n", 2);
            if (!stop) return 0;
            bool last = stop == data + place;
            place = (size_t)(stop + 2 - data);
            if (last) break;
        }
        *body = (Text){data, joined};
        *used = connection->body + place;
    }
    return 1;
}

static void finish(Connection *connection, Text body, size_t used, int64_t now) {
    bool keep = !connection->closing && connection->length != -1;
    if (connection->model_header.size)
        connection->model_header.start = connection->in + (size_t)connection->model_header.start;
    Kind kind = check(connection, body);
    if (connection->measured) {
        answered++;
        statuses[connection->status]++;
        histogram_add(&latency, now - connection->due);
        if (kind == KINDS) right++;
    }
    if (kind != KINDS) count_error(connection, kind);
    if (used < connection->in_size) { /* more than one answer to one request */
        count_error(connection, UNSOLICITED);
        keep = false;
    }
    if (keep) {
        busy_count--;
        make_idle(connection);
    } else {
        disconnect(connection, now);
    }
}

/* Looks whether the answer is whole; ``ended``: nothing more will come. */
static void look(Connection *connection, bool ended) {
    int64_t now = now_ns();
    if (!connection->body) {
        int found = read_headers(connection);
        if (found < 0) {
            lost(connection, MALFORMED);
            return;
        }
        if (!found) {
            if (ended) lost(connection, CLOSED);
            return;
        }
    }
    Text body = {connection->in + connection->body, connection->in_size - connection->body};
    if (connection->length >= 0) {
        if (body.size >= (size_t)connection->length) {
            body.size = (size_t)connection->length;
            finish(connection, body, connection->body + body.size, now);
            return;
        }
    } else if (connection->length == -2) {
        size_t used = 0;
        int found = join_chunks(connection, &body, &used);
        if (found < 0) {
            lost(connection, MALFORMED);
            return;
        }
        if (found) {
            finish(connection, body, used, now);
            return;
        }
    } else if (ended) {
        finish(connection, body, connection->in_size, now);
        return;
    }
    if (ended) lost(connection, CLOSED);
}

static void receive(Connection *connection) {
    if (connection->in_size + 4096 > connection->in_room) {
        if (connection->in_room > MOST_ANSWER) {
            lost(connection, MALFORMED);
            return;
        }
        connection->in_room = 2 * connection->in_room + 16384;
        connection->in = need(realloc(connection->in, connection->in_room));
    }
    ssize_t size = recv(connection->socket, connection->in + connection->in_size,
                        connection->in_room - connection->in_size - 1, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size < 0) {
        lost(connection, RESET);
        return;
    }
    bytes_received += (uint64_t)size;
    connection->in_size += (size_t)size;
    connection->in[connection->in_size] = 0; /* numbers end here at the latest */
    if (connection->state == IDLE) {
        /* The end, or 408 before it, is how a server closes a connection that idles. */
        bool timed_out = size >= 12 && !memcmp(connection->in + 8, " 408", 4);
        if (size && !timed_out) {
            connection->measured = true;
            connection->status = 0;
            count_error(connection, UNSOLICITED);
        }
        lost(connection, CLOSED);
        return;
    }
    look(connection, size == 0);
}

static void handle(Connection *connection, uint32_t events) {
    if (connection->state == CONNECTING) {
        int problem = 0;
        socklen_t size = sizeof problem;
        getsockopt(connection->socket, SOL_SOCKET, SO_ERROR, &problem, &size);
        if (problem) {
            connect_failures++;
            disconnect(connection, now_ns() + 10 * MILLISECOND);
            return;
        }
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
        make_idle(connection);
        return;
    }
    if (events & EPOLLOUT && connection->state == BUSY) {
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
        flush(connection);
    }
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) receive(connection);
}

/* ---- the run ---------------------------------------------------------------------------------- */

static void shuffle(void) {
    order = need(malloc(requests.count * sizeof *order));
    for (size_t i = 0; i < requests.count; i++) order[i] = (uint32_t)i;
    uint64_t state = options.seed * 0x9E3779B97F4A7C15u + 1;
    for (size_t i = requests.count - 1; i > 0; i--) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* xorshift64 */
        size_t other = state % (i + 1);
        uint32_t kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

static void set_timer(int64_t when) {
    struct itimerspec setting = {.it_value = {when / SECOND, when % SECOND}};
    if (when <= 0) setting.it_value.tv_nsec = 1;
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &setting, NULL);
}

/* Connections that failed connect again; requests that took too long are given up. */
static void tend(int64_t now) {
    for (int i = 0; i < options.connections; i++) {
        Connection *connection = &connections[i];
        if (connection->state == BUSY && now - connection->due > timeout_ns) {
            if (connection->measured) histogram_add(&latency, timeout_ns);
            count_error(connection, TIMEOUT);
            disconnect(connection, now);
        }
        if (connection->state == DOWN && now >= connection->retry) start_connect(connection);
    }
}

static void poll_once(int milliseconds) {
    struct epoll_event events[256];
    int count = epoll_wait(poller, events, 256, milliseconds);
    if (count < 0 && errno != EINTR) fail("epoll_wait", strerror(errno));
    for (int i = 0; i < count; i++) {
        Connection *connection = events[i].data.ptr;
        if (!connection) {
            uint64_t expirations;
            if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
                fail("timer", strerror(errno));
        } else if (connection->state != DOWN) {
            handle(connection, events[i].events);
        }
    }
}

static void tell_progress(int64_t now) {
    uint64_t bad = 0;
    for (int i = 0; i < KINDS; i++) bad += errors[i];
    fprintf(stderr, "generator: %.0f of %.0f s, %llu answered, %llu errors, p99 %.2f ms\n",
            (double)(now - start_time) / 1e9, options.warm_up + options.seconds,
            (unsigned long long)answered, (unsigned long long)bad,
            (double)histogram_quantile(&latency, .99) / 1e6);
}

/* A line of what was counted so far, so that it can be told what was answered when: the time is
 * that of CLOCK_MONOTONIC, as other processes of the machine read it. */
static void write_counts(FILE *file, int64_t now) {
    uint64_t bad = warm_up_errors;
    for (int i = 0; i < KINDS; i++) bad += errors[i];
    fprintf(file, "{\"time\": %.6f, \"answered\": %llu, \"failed\": %llu, \"models\": {",
            (double)now / 1e9, (unsigned long long)answered, (unsigned long long)bad);
    for (int i = 0; i < model_count; i++)
        fprintf(file, "%s\"%s\": %llu", i ? ", " : "", models[i].model,
                (unsigned long long)models[i].answers);
    fputs("}}\n", file);
    if (fflush(file)) fail(options.counts_path, strerror(errno));
}

static void run(void) {
    FILE *counts = NULL;
    if (options.counts_path && !(counts = fopen(options.counts_path, "we")))
        fail(options.counts_path, strerror(errno));
    for (int64_t limit = now_ns() + timeout_ns; !stopped; poll_once(10)) {
        int ready = 0;
        for (int i = 0; i < options.connections; i++) ready += connections[i].state == IDLE;
        if (ready == options.connections) break;
        if (now_ns() > limit && !ready) fail("cannot connect", NULL);
        if (now_ns() > limit) break;
        tend(now_ns());
    }
    bool open = options.rate > 0;
    double spacing = open ? 1e9 / options.rate : 0;
    start_time = now_ns() + (open ? MILLISECOND : 0);
    measure_from = start_time + (int64_t)(options.warm_up * 1e9);
    end_time = measure_from + (int64_t)(options.seconds * 1e9);
    uint64_t total = open ? (uint64_t)((options.warm_up + options.seconds) * options.rate) : 0;
    uint64_t next = 0;
    int64_t tended = 0, timer_at = 0, told = start_time, counted = 0;
    while (true) {
        int64_t now = now_ns();
        bool over = open ? next >= total : now >= end_time;
        if (stopped || (over && (!busy_count || now > end_time + timeout_ns))) break;
        if (open) {
            int64_t due = 0;
            while (next < total) {
                due = start_time + (int64_t)((double)next * spacing);
                if (due > now) break;
                if (now - due > timeout_ns) { /* it waited for a connection all this time */
                    if (due >= measure_from) {
                        issued++;
                        errors[TIMEOUT]++;
                        histogram_add(&latency, timeout_ns);
                    } else {
                        warm_up_errors++;
                    }
                    next++;
                    continue;
                }
                if (!idle_first) {
                    blocked = now;
                    break;
                }
                ask(idle_first, due, now);
                next++;
                now = now_ns();
            }
            if (next < total && due > now && due != timer_at) set_timer(timer_at = due);
        } else if (now < end_time) {
            while (idle_first) ask(idle_first, now, now);
        }
        if (tend_now || now - tended > 10 * MILLISECOND) {
            tend_now = false;
            tend(now);
            tended = now;
        }
        if (options.progress > 0 && now - told > (int64_t)(options.progress * 1e9)) {
            tell_progress(now);
            told = now;
        }
        if (counts && now - counted >= 50 * MILLISECOND) {
            write_counts(counts, now);
            counted = now;
        }
        poll_once(10);
    }
    if (open)
        for (; next < total; next++) {
            int64_t due = start_time + (int64_t)((double)next * spacing);
            if (due > now_ns()) break;
            if (due >= measure_from) issued++, errors[UNFINISHED]++;
        }
    for (int i = 0; i < options.connections; i++)
        if (connections[i].state == BUSY)
            count_error(&connections[i], stopped ? UNFINISHED : TIMEOUT);
    if (stopped && now_ns() < end_time) end_time = now_ns();
    if (counts) {
        write_counts(counts, now_ns());
        fclose(counts);
    }
}

static void report(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
                 (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
    double seconds = (double)(end_time - measure_from) / 1e9;
    if (seconds < 0) seconds = 0;
    printf("{\n  \"mode\": \"%s\", \"rate\": %g, \"connections\": %d, \"seconds\": %.3f, "
           "\"warm_up\": %g,\n",
           options.rate > 0 ? "open" : "closed", options.rate, options.connections, seconds,
           options.warm_up);
    printf("  \"issued\": %llu, \"answered\": %llu, \"right\": %llu, \"warm_up_errors\": %llu,\n",
           (unsigned long long)issued, (unsigned long long)answered, (unsigned long long)right,
           (unsigned long long)warm_up_errors);
    printf("  \"answered_per_second\": %.2f,\n", seconds > 0 ? (double)answered / seconds : 0);
    printf("  \"errors\": {");
    for (int i = 0; i < KINDS; i++)
        printf("%s\"%s\": %llu", i ? ", " : "", KIND_NAMES[i], (unsigned long long)errors[i]);
    printf("},\n  \"statuses\": {");
    for (int i = 0, first = 1; i < 600; i++)
        if (statuses[i]) {
            printf("%s\"%d\": %llu", first ? "" : ", ", i, (unsigned long long)statuses[i]);
            first = 0;
        }
    printf("},\n  \"models\": {");
    for (int i = 0; i < model_count; i++)
        printf("%s\"%s\": %llu", i ? ", " : "", models[i].model,
               (unsigned long long)models[i].answers);
    printf("},\n  \"examples\": [");
    for (int i = 0; i < example_count; i++)
        printf("%s{\"kind\": \"%s\", \"line\": %zu, \"status\": %d}", i ? ", " : "",
               KIND_NAMES[examples[i].kind], examples[i].line, examples[i].status);
    printf("],\n");
    histogram_print("latency_us", &latency);
    histogram_print("lateness_us", &lateness);
    printf("  \"connects\": %llu, \"connect_failures\": %llu, \"idle_closes\": %llu, "
           "\"bytes_received\": %llu, \"cpu_seconds\": %.3f\n}\n",
           (unsigned long long)connects, (unsigned long long)connect_failures,
           (unsigned long long)idle_closes, (unsigned long long)bytes_received, cpu);
}

static double number(const char *name, const char *text, double low, double high) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= low && value <= high)) {
        fprintf(stderr, "generator: --%s %s is not a number from %g to %g\n", name, text, low,
                high);
        exit(2);
    }
    return value;
}

static void read_expected(const char *path) {
    if (expected_count == MOST_EXPECTED) fail("too many --expect", NULL);
    Lines found = read_lines(path);
    if (!found.count || found.lines[0].size >= sizeof expected->model)
        fail(path, "the first line is not an artifact's id");
    memcpy(expected[expected_count].model, found.lines[0].start, found.lines[0].size);
    expected[expected_count++].answers = found;
}

static void read_options(int count, char **words) {
    static const struct option KNOWN[] = {
        {"port", 1, 0, 'p'}, {"rate", 1, 0, 'r'}, {"seconds", 1, 0, 's'}, {"warm-up", 1, 0, 'w'},
        {"connections", 1, 0, 'c'}, {"timeout", 1, 0, 't'}, {"requests", 1, 0, 'f'},
        {"target", 1, 0, 'u'}, {"header", 1, 0, 'H'}, {"post", 0, 0, 'P'}, {"check", 0, 0, 'C'},
        {"id-header", 1, 0, 'i'}, {"expect", 1, 0, 'e'}, {"seed", 1, 0, 'S'},
        {"progress", 1, 0, 'g'}, {"counts", 1, 0, 'k'}, {0, 0, 0, 0},
    };
    int option;
    while ((option = getopt_long(count, words, "", KNOWN, NULL)) != -1) switch (option) {
        case 'p': options.port = (int)number("port", optarg, 1, 65535); break;
        case 'r': options.rate = number("rate", optarg, 0, 1e6); break;
        case 's': options.seconds = number("seconds", optarg, 0.001, 1e6); break;
        case 'w': options.warm_up = number("warm-up", optarg, 0, 1e6); break;
        case 'c': options.connections = (int)number("connections", optarg, 1, 10000); break;
        case 't': options.timeout = number("timeout", optarg, 0.001, 3600); break;
        case 'k': options.counts_path = optarg; break;
        case 'g': options.progress = number("progress", optarg, 0, 1e6); break;
        case 'S': options.seed = (uint64_t)number("seed", optarg, 0, 4294967295.0); break;
        case 'f': options.requests_path = optarg; break;
        case 'u': options.target = optarg; break;
        case 'i': options.id_header = optarg; break;
        case 'P': options.post = true; options.method = "POST"; break;
        case 'C': options.check = true; break;
        case 'e': options.check = true; read_expected(optarg); break;
        case 'H': {
            char *joined;
            if (asprintf(&joined, "%s%s\r\n", options.headers, optarg) < 0) need(NULL);
            options.headers = joined;
            break;
        }
        default: exit(2);
        }
    if (optind < count) fail("not an option", words[optind]);
    if (!options.port || !options.requests_path) fail("--port and --requests are needed", NULL);
    requests = read_lines(options.requests_path);
    if (!requests.count) fail(options.requests_path, "has no requests");
    if (requests.count > UINT32_MAX) fail(options.requests_path, "has too many requests");
    for (int i = 0; i < expected_count; i++)
        if (expected[i].answers.count != requests.count + 1)
            fail(expected[i].model, "there are not as many expected answers as requests");
    timeout_ns = (int64_t)(options.timeout * 1e9);
}

int main(int count, char **words) {
    read_options(count, words);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    shuffle();
    poller = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (poller < 0 || timer < 0) fail("epoll", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event)) fail("epoll_ctl", strerror(errno));
    connections = need(calloc((size_t)options.connections, sizeof *connections));
    for (int i = 0; i < options.connections; i++) connections[i].socket = -1;
    run();
    report();
    return 0;
}
