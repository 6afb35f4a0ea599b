/* The least an HTTP server can do: one thread, one epoll, and the same bytes for every request.
 *
 *     null_server PORT RESPONSE_FILE
 *
 * What the generator measures on it is the cost of the kernel, the loopback and the generator.  It
 * finds the end of a request by its empty line and Content-Length, and looks at nothing else. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 65536 };

typedef struct {
    int socket;
    size_t size;
    char data[ROOM];
} Client;

static char response[1 << 20];
static size_t response_size;

static void fail(const char *what) {
    perror(what);
    exit(2);
}

/* Bytes of the first request in ``data``; 0 when it is not whole. */
static size_t request_size(const char *data, size_t size) {
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t whole = (size_t)(end + 4 - data);
    for (const char *line = data; line < end;) {
        const char *stop = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        if (stop - line > 15 && !strncasecmp(line, "content-length:", 15))
            whole += strtoul(line + 15, NULL, 10);
        line = stop + 2;
    }
    return whole <= size ? whole : 0;
}

/* Whether the client is still there. */
static int serve(Client *client) {
    ssize_t got = recv(client->socket, client->data + client->size, ROOM - client->size, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return 0;
    client->size += (size_t)got;
    size_t used;
    while ((used = request_size(client->data, client->size))) {
        /* A response fits into an empty socket buffer; a client that pipelines is not served. */
        if (send(client->socket, response, response_size, MSG_NOSIGNAL) != (ssize_t)response_size)
            return 0;
        memmove(client->data, client->data + used, client->size -= used);
    }
    return client->size < ROOM;
}

int main(int count, char **words) {
    if (count != 3) {
        fprintf(stderr, "usage: null_server PORT RESPONSE_FILE\n");
        return 2;
    }
    FILE *file = fopen(words[2], "rb");
    if (!file) fail(words[2]);
    response_size = fread(response, 1, sizeof response, file);
    fclose(file);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(words[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        fail("listen");
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event)) fail("epoll");
    while (1) {
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            Client *client = events[i].data.ptr;
            if (client) {
                if (serve(client)) continue;
                close(client->socket);
                free(client);
                continue;
            }
            int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (socket < 0) continue;
            setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            if (!(client = calloc(1, sizeof *client))) fail("calloc");
            client->socket = socket;
            event = (struct epoll_event){.events = EPOLLIN, .data.ptr = client};
            if (epoll_ctl(poller, EPOLL_CTL_ADD, socket, &event)) fail("epoll_ctl");
        }
    }
}
