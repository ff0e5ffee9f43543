/* Sends what a leader and two followers say to each other, over TCP on the loopback device, as fast as it is told.

    live_sender TEMPLATES RATE SECONDS BATCH PROBE ADDRESS

RATE is in messages a second, 0 for as many as it can; BATCH messages, 1 to 1000, go into each write; every PROBE seconds, 0 for
never, one connection is closed and opened again. ADDRESS is that of the leader; those of the followers are the next two.
TEMPLATES is a file of five blobs, each behind its length of 32 bits: the handshakes of the servers 1 to 3, an
AppendEntries and an AppendEntriesResult; behind them the offsets of prev_log_index and of leader_commit in the former,
and of last_log_index in the latter, of 32 bits each.
What was sent is printed as a line of JSON in the end. Both ends of all connections are in this one process, so that
nothing is measured here but the sockets. */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SERVERS = 3, PORT = 9001, BUFFER = 8 << 20, ROUND = 4, MOST = 1000 };
static const double TICK = 0.001;

struct blob {
    uint32_t length;
    char *data;
};

/* One connection, which carries data one way. */
struct link {
    int out, in;
};

static struct blob handshakes[SERVERS], append, result;
static uint32_t before_at, commit_at, last_at;
static int listening[SERVERS];
static uint32_t leader_address;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void get(FILE *file, void *data, size_t length)
{
    if (fread(data, 1, length, file) != length) {
        fail("templates");
    }
}

static struct blob blob(FILE *file)
{
    struct blob made;
    get(file, &made.length, sizeof made.length);
    made.data = malloc(made.length);
    get(file, made.data, made.length);
    return made;
}

static struct sockaddr_in address(int server, int port)
{
    struct sockaddr_in made = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    made.sin_addr.s_addr = htonl(leader_address + (uint32_t)server);
    return made;
}

static int socket_of(int server, int port)
{
    int one = 1, size = BUFFER, made = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in own = address(server, port);
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(made, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(made, (struct sockaddr *)&own, sizeof own) != 0) {
        fail("bind");
    }
    return made;
}

/* Send, and take it at the other end. */
static void carry(struct link link, const char *data, size_t length)
{
    for (size_t sent = 0; sent < length;) {
        ssize_t done = send(link.out, data + sent, length - sent, MSG_NOSIGNAL);
        if (done < 0) {
            fail("send");
        }
        sent += (size_t)done;
    }
    static char taken[1 << 20];
    for (size_t got = 0; got < length;) {
        size_t most = length - got < sizeof taken ? length - got : sizeof taken;
        ssize_t done = recv(link.in, taken, most, 0);
        if (done <= 0) {
            fail("recv");
        }
        got += (size_t)done;
    }
}

static struct link opened(int sender, int receiver)
{
    struct link link = {.out = socket_of(sender, 0)};
    struct sockaddr_in there = address(receiver, PORT);
    if (connect(link.out, (struct sockaddr *)&there, sizeof there) != 0) {
        fail("connect");
    }
    link.in = accept(listening[receiver], NULL, NULL);
    if (link.in < 0) {
        fail("accept");
    }
    carry(link, handshakes[sender].data, handshakes[sender].length);
    return link;
}

static void put(char *message, uint32_t at, uint64_t value)
{
    memcpy(message + at, &value, sizeof value); /* the protocol is little-endian, as are the machines that this is for */
}

/* Number the AppendEntries of a batch: one entry each, behind an index. */
static size_t appends(char *messages, uint64_t index, unsigned batch)
{
    for (unsigned number = 0; number < batch; number++) {
        char *message = messages + (size_t)number * append.length;
        put(message, before_at, index + (uint64_t)number);
        put(message, commit_at, index);
    }
    return append.length * (size_t)batch;
}

static size_t results(char *messages, uint64_t index, unsigned batch)
{
    for (unsigned number = 0; number < batch; number++) {
        put(messages + (size_t)number * result.length, last_at, index + (uint64_t)number + 1);
    }
    return result.length * (size_t)batch;
}

/* The same message over and over. */
static char *repeated(struct blob message, unsigned batch)
{
    char *made = malloc(message.length * (size_t)batch);
    for (unsigned number = 0; number < batch; number++) {
        memcpy(made + (size_t)number * message.length, message.data, message.length);
    }
    return made;
}

int main(int count, char **arguments)
{
    struct in_addr leader;
    if (count != 7 || inet_pton(AF_INET, arguments[6], &leader) != 1) {
        fprintf(stderr, "live_sender TEMPLATES RATE SECONDS BATCH PROBE ADDRESS\n");
        return 2;
    }
    leader_address = ntohl(leader.s_addr);
    FILE *file = fopen(arguments[1], "rb");
    if (file == NULL) {
        fail(arguments[1]);
    }
    double rate = atof(arguments[2]), seconds = atof(arguments[3]), probe = atof(arguments[5]);
    unsigned batch = (unsigned)atoi(arguments[4]);
    if (batch < 1 || batch > MOST) {
        fprintf(stderr, "no number of messages: %s\n", arguments[4]);
        return 2;
    }
    for (int server = 0; server < SERVERS; server++) {
        handshakes[server] = blob(file);
    }
    append = blob(file);
    result = blob(file);
    get(file, &before_at, sizeof before_at);
    get(file, &commit_at, sizeof commit_at);
    get(file, &last_at, sizeof last_at);
    char *asking = repeated(append, batch), *answering = repeated(result, batch);
    struct link to[SERVERS], back[SERVERS];
    for (int server = 0; server < SERVERS; server++) {
        listening[server] = socket_of(server, PORT);
        if (listen(listening[server], SERVERS) != 0) {
            fail("listen");
        }
    }
    for (int server = 1; server < SERVERS; server++) {
        to[server] = opened(0, server);
        back[server] = opened(server, 0);
    }
    uint64_t index = 1, sent = 0, bytes = 0, opens = 4;
    double begin = now(), end = begin + seconds, probed = begin, time = begin;
    while (time < end) {
        if (rate > 0 && (double)sent >= rate * (time - begin)) {
            struct timespec tick = {.tv_nsec = (long)(TICK * 1e9)};
            nanosleep(&tick, NULL);
            time = now();
            continue;
        }
        for (int server = 1; server < SERVERS; server++) {
            size_t length = appends(asking, index, batch);
            carry(to[server], asking, length);
            bytes += length;
            length = results(answering, index, batch);
            carry(back[server], answering, length);
            bytes += length;
        }
        index += batch;
        sent += (uint64_t)ROUND * batch;
        time = now();
        if (probe > 0 && time - probed >= probe) {
            probed = time;
            close(to[2].out);
            close(to[2].in);
            to[2] = opened(0, 2);
            opens++;
        }
    }
    printf("{\"messages\": %llu, \"bytes\": %llu, \"seconds\": %.3f, \"connections\": %llu}\n", (unsigned long long)sent,
           (unsigned long long)bytes, time - begin, (unsigned long long)opens);
    fflush(stdout);
    getchar(); /* the connections stay until whoever started this has seen enough */
    return 0;
}
