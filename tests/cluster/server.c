/* A Raft server on libraft and libuv that does what its control socket says and logs what it knows.
 *
 * usage: server --id ID --address HOST:PORT --directory DIR --control SOCKET --log FILE [options]
 *
 *   --bootstrap ID=HOST:PORT=ROLE,...  make a new log with this configuration, unless there is a log already
 *   --pre-vote                         hold pre-votes
 *   --heartbeat MS, --election MS, --install-timeout MS, --connect-retry MS
 *   --threshold N, --trailing N        entries before a snapshot is taken, and entries that are kept behind it
 *   --snapshot-size BYTES              size of the state machine's snapshot, 24 at least
 *   --in-flight N                      entries of the load that are not yet applied, at most
 *   --ip6-network ADDRESS              speak IPv6 with the addresses that have the last byte of those of version 4
 *
 * The log is that of truth.h, with what the server was told besides.
 * Commands come line by line, each is answered with one JSON object; roles are voter, standby and spare:
 *
 *   state | load RATE|max SIZE [IN_FLIGHT] | load off | apply N SIZE | barrier
 *   transfer ID | add ID ADDRESS | assign ID ROLE | remove ID | quit
 *
 * The server ends on quit, SIGTERM, SIGINT, and when its standard input is a pipe and ends.
 */

#include "truth.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <getopt.h>
#include <raft/uv.h>
#include <signal.h>
#include <sys/stat.h>

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)
#define SNAPSHOT_HEAD 24
#define MAX_ENTRY (64u << 20)
#define MAX_APPLY 1000000u

/* A connection to the control socket. It is kept until the last answer that it waits for. */
struct client {
    uv_pipe_t pipe;
    char line[1024];
    size_t used;
    unsigned waiting;
    bool closing;
    bool closed;
};

/* Entries that one `apply` asked for. */
struct batch {
    struct client *client;
    unsigned waiting;
    unsigned applied;
    unsigned failed;
    int error;
    raft_index last;
};

struct change {
    struct raft_change request;
    struct client *client;
    const char *kind;
    raft_id id;
};

struct transfer {
    struct raft_transfer request;
    struct client *client;
};

struct barrier {
    struct raft_barrier request;
    struct client *client;
};

static struct {
    raft_id id;
    const char *address;
    const char *directory;
    const char *control;
    char *bootstrap;
    bool pre_vote;
    unsigned heartbeat, election, install_timeout, connect_retry;
    unsigned threshold, trailing;
    size_t snapshot_size;
    unsigned in_flight;
    bool ip6;
    struct in6_addr network;
} options = {.heartbeat = 50,
             .election = 250,
             .install_timeout = 30000,
             .connect_retry = 100,
             .threshold = 1024,
             .trailing = 2048,
             .snapshot_size = 4096,
             .in_flight = 64};

static uv_loop_t loop;
static struct raft raft;
static struct raft_io io;
static struct raft_uv_transport transport;
static struct raft_fsm fsm;
static uv_pipe_t listener, lifeline;
static uv_signal_t terminate, interrupt;
static uv_check_t check;
static uv_timer_t pacer;
static bool ending;

/* The state machine: how many commands it took, and a digest of them in their order. */
static struct {
    uint64_t commands;
    uint64_t digest;
} machine = {.digest = FNV_OFFSET};

static struct {
    bool on;
    double rate; /* Entries a second; 0 for as many as possible. */
    size_t size;
    unsigned limit;
    unsigned in_flight;
    uint64_t start; /* Of the stretch that `submitted` counts from, in nanoseconds of the loop's clock. */
    uint64_t submitted;
    uint64_t applied, failed;
} load;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void check_uv(const char *what, int status)
{
    if (status != 0) fail(what, uv_strerror(status));
}

static void check_raft(const char *what, int status)
{
    if (status != 0) {
        const char *why = *raft_errmsg(&raft) ? raft_errmsg(&raft) : raft_strerror(status);
        fail(what, *io.errmsg ? io.errmsg : why);
    }
}

static int role_number(const char *name)
{
    for (int role = RAFT_STANDBY; role <= RAFT_SPARE; role++) {
        if (strcmp(name, role_name(role)) == 0) return role;
    }
    return -1;
}

/* IPv6, which libraft 0.15 does not speak: what it calls in libuv gets another address instead */

static const struct sockaddr *translated(const struct sockaddr *address, struct sockaddr_in6 *other)
{
    const struct sockaddr_in *given = (const struct sockaddr_in *)address;
    if (!options.ip6 || address->sa_family != AF_INET) return address;
    memset(other, 0, sizeof *other);
    other->sin6_family = AF_INET6;
    other->sin6_port = given->sin_port;
    other->sin6_addr = options.network;
    other->sin6_addr.s6_addr[15] = (uint8_t)ntohl(given->sin_addr.s_addr);
    return (const struct sockaddr *)other;
}

int uv_tcp_bind(uv_tcp_t *handle, const struct sockaddr *address, unsigned flags)
{
    struct sockaddr_in6 other;
    int (*next)(uv_tcp_t *, const struct sockaddr *, unsigned);
    *(void **)&next = dlsym(RTLD_NEXT, "uv_tcp_bind");
    return next(handle, translated(address, &other), flags);
}

int uv_tcp_connect(uv_connect_t *request, uv_tcp_t *handle, const struct sockaddr *address, uv_connect_cb done)
{
    struct sockaddr_in6 other;
    int (*next)(uv_connect_t *, uv_tcp_t *, const struct sockaddr *, uv_connect_cb);
    *(void **)&next = dlsym(RTLD_NEXT, "uv_tcp_connect");
    return next(request, handle, translated(address, &other), done);
}

/* The state machine */

static int machine_apply(struct raft_fsm *self, const struct raft_buffer *buffer, void **result)
{
    (void)self;
    const uint8_t *bytes = buffer->base;
    uint64_t digest = machine.digest;
    for (size_t i = 0; i < buffer->len; i++) digest = (digest ^ bytes[i]) * FNV_PRIME;
    machine.digest = digest;
    machine.commands++;
    *result = NULL;
    return 0;
}

/* Bytes that do not repeat, so that no place of an entry or a snapshot looks like another. */
static void fill(uint8_t *bytes, size_t n, uint64_t seed)
{
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
        }
        bytes[i] = (uint8_t)(x >> (8 * (i % 8)));
    }
}

static int machine_snapshot(struct raft_fsm *self, struct raft_buffer *buffers[], unsigned *n)
{
    (void)self;
    size_t size = options.snapshot_size;
    uint64_t head[3] = {size, machine.commands, machine.digest};
    *n = 1;
    *buffers = raft_malloc(sizeof **buffers);
    uint8_t *bytes = raft_malloc(size);
    if (*buffers == NULL || bytes == NULL) {
        raft_free(*buffers);
        raft_free(bytes);
        return RAFT_NOMEM;
    }
    memcpy(bytes, head, SNAPSHOT_HEAD);
    fill(bytes + SNAPSHOT_HEAD, size - SNAPSHOT_HEAD, machine.digest);
    (*buffers)[0].base = bytes;
    (*buffers)[0].len = size;
    return 0;
}

static int machine_restore(struct raft_fsm *self, struct raft_buffer *buffer)
{
    (void)self;
    uint64_t head[3];
    if (buffer->len < SNAPSHOT_HEAD) return RAFT_MALFORMED;
    memcpy(head, buffer->base, SNAPSHOT_HEAD);
    if (head[0] != buffer->len) return RAFT_MALFORMED;
    machine.commands = head[1];
    machine.digest = head[2];
    raft_free(buffer->base);
    return 0;
}

/* Answers on the control socket */

static void client_release(struct client *client)
{
    if (client->closed && client->waiting == 0) free(client);
}

static void client_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    client->closed = true;
    client_release(client);
}

static void client_close(struct client *client)
{
    if (client->closing) return;
    client->closing = true;
    uv_close((uv_handle_t *)&client->pipe, client_closed);
}

static void answered(uv_write_t *request, int status)
{
    (void)status;
    free(request->data);
    free(request);
}

static void answer(struct client *client, const char *format, ...)
{
    if (client->closing) return;
    char *line = NULL;
    va_list arguments;
    va_start(arguments, format);
    int n = vasprintf(&line, format, arguments);
    va_end(arguments);
    uv_write_t *request = malloc(sizeof *request);
    if (n < 0 || request == NULL) {
        perror("answer");
        abort();
    }
    line[n] = '\n'; /* The terminating NUL is not sent. */
    request->data = line;
    uv_buf_t buffer = uv_buf_init(line, (unsigned)n + 1);
    if (uv_write(request, (uv_stream_t *)&client->pipe, &buffer, 1, answered) != 0) answered(request, 0);
}

static void answer_status(struct client *client, int status)
{
    answer(client, "{\"ok\":%s,\"status\":%d,\"error\":\"%s\"}", boolean(status == 0), status,
           status ? raft_strerror(status) : "");
}

/* An answer that a client waits for: between these two it is not freed. */
static void client_wait(struct client *client)
{
    client->waiting++;
}

static void client_done(struct client *client)
{
    client->waiting--;
    client_release(client);
}

/* Entries */

static int submit(size_t size, void *data, raft_apply_cb done)
{
    static uint64_t number;
    struct raft_buffer buffer = {.base = raft_malloc(size), .len = size};
    struct raft_apply *request = malloc(sizeof *request);
    int status = RAFT_NOMEM;
    if (buffer.base != NULL && request != NULL) {
        fill(buffer.base, size, options.id << 40 | ++number);
        request->data = data;
        status = raft_apply(&raft, request, &buffer, 1, done);
    }
    if (status != 0) {
        raft_free(buffer.base);
        free(request);
    }
    return status;
}

static void load_applied(struct raft_apply *request, int status, void *result)
{
    (void)result;
    free(request);
    load.in_flight--;
    if (status == 0) {
        load.applied++;
    } else {
        load.failed++;
    }
}

static void load_restart(void)
{
    load.start = uv_hrtime();
    load.submitted = 0;
}

static void load_run(void)
{
    if (!load.on || ending) return;
    if (raft_state(&raft) != RAFT_LEADER) {
        load_restart();
        return;
    }
    double due = (double)(uv_hrtime() - load.start) * 1e-9 * load.rate;
    while (load.in_flight < load.limit && (load.rate == 0 || (double)load.submitted < due)) {
        if (submit(load.size, NULL, load_applied) != 0) {
            load_restart();
            return;
        }
        load.in_flight++;
        load.submitted++;
    }
    /* What the limit held back is not made up for: the rate is a rate, no debt. */
    if (load.rate != 0 && (double)load.submitted + 1 < due) load_restart();
}

static void batch_finish(struct batch *batch)
{
    if (batch->waiting != 0) return;
    struct client *client = batch->client;
    answer(client, "{\"ok\":%s,\"applied\":%u,\"failed\":%u,\"last_index\":%llu,\"status\":%d,\"error\":\"%s\"}",
           boolean(batch->failed == 0), batch->applied, batch->failed, batch->last, batch->error,
           batch->error ? raft_strerror(batch->error) : "");
    free(batch);
    client_done(client);
}

static void batch_applied(struct raft_apply *request, int status, void *result)
{
    (void)result;
    struct batch *batch = request->data;
    if (status == 0) {
        batch->applied++;
        if (request->index > batch->last) batch->last = request->index;
    } else {
        batch->failed++;
        batch->error = status;
    }
    free(request);
    batch->waiting--;
    batch_finish(batch);
}

static void command_apply(struct client *client, unsigned n, size_t size)
{
    struct batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        answer_status(client, RAFT_NOMEM);
        return;
    }
    batch->client = client;
    batch->waiting = 1; /* Held by this function, so that no answer goes out before all are submitted. */
    client_wait(client);
    for (unsigned i = 0; i < n; i++) {
        int status = submit(size, batch, batch_applied);
        if (status != 0) {
            batch->failed += n - i;
            batch->error = status;
            break;
        }
        batch->waiting++;
    }
    batch->waiting--;
    batch_finish(batch);
}

static void barrier_done(struct raft_barrier *request, int status)
{
    struct barrier *barrier = request->data;
    struct client *client = barrier->client;
    answer_status(client, status);
    free(barrier);
    client_done(client);
}

static void command_barrier(struct client *client)
{
    struct barrier *barrier = calloc(1, sizeof *barrier);
    int status = RAFT_NOMEM;
    if (barrier != NULL) {
        barrier->client = client;
        barrier->request.data = barrier;
        client_wait(client);
        status = raft_barrier(&raft, &barrier->request, barrier_done);
        if (status == 0) return;
        client->waiting--;
        free(barrier);
    }
    answer_status(client, status);
}

/* Leadership and membership */

static void transferred(struct raft_transfer *request)
{
    struct transfer *transfer = request->data;
    struct client *client = transfer->client;
    raft_id leader = leader_id(&raft);
    bool done = leader != 0 && leader == transfer->request.id;
    record("transfer_done", "\"to\":%llu,\"leader\":%llu,\"ok\":%s", transfer->request.id, leader, boolean(done));
    answer(client, "{\"ok\":%s,\"leader\":%llu,\"error\":\"%s\"}", boolean(done), leader, done ? "" : "no transfer");
    free(transfer);
    client_done(client);
}

static void command_transfer(struct client *client, raft_id id)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    int status = RAFT_NOMEM;
    if (transfer != NULL) {
        transfer->client = client;
        transfer->request.data = transfer;
        record("transfer_requested", "\"to\":%llu", id);
        client_wait(client);
        status = raft_transfer(&raft, &transfer->request, id, transferred);
        if (status == 0) return;
        client->waiting--;
        free(transfer);
        record("transfer_done", "\"to\":%llu,\"leader\":0,\"ok\":false,\"status\":%d", id, status);
    }
    answer_status(client, status);
}

static void changed(struct raft_change *request, int status)
{
    struct change *change = request->data;
    struct client *client = change->client;
    record("change_done", "\"kind\":\"%s\",\"server\":%llu,\"status\":%d,\"ok\":%s", change->kind, change->id, status,
           boolean(status == 0));
    answer_status(client, status);
    free(change);
    client_done(client);
}

static void command_change(struct client *client, const char *kind, raft_id id, const char *address, int role)
{
    struct change *change = calloc(1, sizeof *change);
    int status;
    if (change == NULL) {
        answer_status(client, RAFT_NOMEM);
        return;
    }
    change->client = client;
    change->kind = kind;
    change->id = id;
    change->request.data = change;
    record("change_requested", "\"kind\":\"%s\",\"server\":%llu,\"address\":\"%s\",\"role\":\"%s\"", kind, id,
           address ? address : "", role < 0 ? "" : role_name(role));
    client_wait(client);
    if (strcmp(kind, "add") == 0) {
        status = raft_add(&raft, &change->request, id, address, changed);
    } else if (strcmp(kind, "assign") == 0) {
        status = raft_assign(&raft, &change->request, id, role, changed);
    } else {
        status = raft_remove(&raft, &change->request, id, changed);
    }
    if (status == 0) return;
    client->waiting--;
    free(change);
    record("change_done", "\"kind\":\"%s\",\"server\":%llu,\"status\":%d,\"ok\":false", kind, id, status);
    answer_status(client, status);
}

static void command_state(struct client *client)
{
    answer(client,
           "{\"ok\":true,\"id\":%llu,\"state\":\"%s\",\"term\":%llu,\"leader\":%llu,\"voted_for\":%llu,"
           "\"commit_index\":%llu,\"last_applied\":%llu,\"last_index\":%llu,\"commands\":%" PRIu64
           ",\"digest\":\"%016" PRIx64 "\",\"load_applied\":%" PRIu64 ",\"load_failed\":%" PRIu64
           ",\"configuration_index\":%llu,\"servers\":[%s]}",
           raft.id, state_name(raft_state(&raft)), raft.current_term, leader_id(&raft), raft.voted_for, raft.commit_index,
           raft.last_applied, raft_last_index(&raft), machine.commands, machine.digest, load.applied, load.failed,
           raft.configuration_index, configuration_text(&raft.configuration));
}

/* libraft's receivers take the next entry from the next multiple of eight, which its senders do not do. */
static size_t aligned(size_t size)
{
    return size == 0 ? 8 : (size + 7) / 8 * 8;
}

static void command_load(struct client *client, const char *rate, size_t size, unsigned limit)
{
    load.on = strcmp(rate, "off") != 0;
    load.rate = strcmp(rate, "max") == 0 ? 0 : strtod(rate, NULL);
    load.size = aligned(size);
    load.limit = limit ? limit : options.in_flight;
    load_restart();
    if (load.on && load.rate <= 0 && strcmp(rate, "max") != 0) {
        load.on = false;
        answer(client, "{\"ok\":false,\"error\":\"the rate is max, off or positive\"}");
        return;
    }
    record("load", "\"on\":%s,\"rate\":%g,\"bytes\":%zu,\"in_flight\":%u", boolean(load.on), load.rate, load.size,
           load.limit);
    answer(client, "{\"ok\":true,\"applied\":%" PRIu64 ",\"failed\":%" PRIu64 "}", load.applied, load.failed);
    load_run();
}

static void finish(void);

static void command(struct client *client, const char *line)
{
    char word[64], text[256];
    unsigned long long id;
    unsigned n, limit = 0;
    size_t size = 0;
    if (strpbrk(line, "\"\\%") != NULL) {
        answer(client, "{\"ok\":false,\"error\":\"a character that no command has\"}");
    } else if (strcmp(line, "state") == 0) {
        command_state(client);
    } else if (strcmp(line, "load off") == 0) {
        command_load(client, "off", 0, 0);
    } else if (sscanf(line, "load %63s %zu %u", word, &size, &limit) >= 2 && size <= MAX_ENTRY) {
        command_load(client, word, size, limit);
    } else if (sscanf(line, "apply %u %zu", &n, &size) == 2 && n <= MAX_APPLY && size <= MAX_ENTRY) {
        command_apply(client, n, aligned(size));
    } else if (strcmp(line, "barrier") == 0) {
        command_barrier(client);
    } else if (sscanf(line, "transfer %llu", &id) == 1) {
        command_transfer(client, id);
    } else if (sscanf(line, "add %llu %255s", &id, text) == 2) {
        command_change(client, "add", id, text, -1);
    } else if (sscanf(line, "assign %llu %255s", &id, text) == 2 && role_number(text) >= 0) {
        command_change(client, "assign", id, NULL, role_number(text));
    } else if (sscanf(line, "remove %llu", &id) == 1) {
        command_change(client, "remove", id, NULL, -1);
    } else if (strcmp(line, "quit") == 0) {
        answer_status(client, 0);
        finish();
    } else {
        answer(client, "{\"ok\":false,\"error\":\"no such command\"}");
    }
}

static void client_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)suggested;
    struct client *client = handle->data;
    *buffer = uv_buf_init(client->line + client->used, (unsigned)(sizeof client->line - client->used));
}

static void client_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    (void)buffer;
    struct client *client = stream->data;
    if (n < 0) { /* Also when a line is longer than the buffer, which leaves no room to read into. */
        client_close(client);
        return;
    }
    client->used += (size_t)n;
    char *start = client->line, *end;
    while (!client->closing && (end = memchr(start, '\n', client->used - (size_t)(start - client->line))) != NULL) {
        *end = '\0';
        command(client, start);
        start = end + 1;
    }
    client->used -= (size_t)(start - client->line);
    memmove(client->line, start, client->used);
    observe();
}

static void client_connected(uv_stream_t *server, int status)
{
    struct client *client = status == 0 && !ending ? calloc(1, sizeof *client) : NULL;
    if (client == NULL) return;
    client->pipe.data = client;
    uv_pipe_init(&loop, &client->pipe, 0);
    if (uv_accept(server, (uv_stream_t *)&client->pipe) != 0 ||
        uv_read_start((uv_stream_t *)&client->pipe, client_allocate, client_read) != 0) {
        client_close(client);
    }
}

/* The end */

static void close_handle(uv_handle_t *handle, void *data)
{
    (void)data;
    if (uv_is_closing(handle)) return;
    if (handle->data != NULL && uv_handle_get_type(handle) == UV_NAMED_PIPE) {
        client_close(handle->data);
    } else {
        uv_close(handle, NULL);
    }
}

static void raft_closed(struct raft *self)
{
    (void)self;
    raft_uv_close(&io);
    raft_uv_tcp_close(&transport);
    /* What is left on the loop is the server's own: its handles and the connections to the control socket. */
    uv_walk(&loop, close_handle, NULL);
}

static void finish(void)
{
    if (ending) return;
    ending = true;
    record("stopping", "\"applied\":%llu", raft.last_applied);
    raft_close(&raft, raft_closed);
}

static void signalled(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    finish();
}

static void lifeline_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    static char ignored[64];
    (void)handle;
    (void)suggested;
    *buffer = uv_buf_init(ignored, sizeof ignored);
}

static void lifeline_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    (void)buffer;
    if (n >= 0) return;
    uv_read_stop(stream);
    finish();
}

/* The beginning */

static void checked(uv_check_t *handle)
{
    (void)handle;
    if (ending) return;
    observe();
    load_run();
}

static void paced(uv_timer_t *handle)
{
    (void)handle;
    load_run();
}

static unsigned long long number(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') fail(text, "no number");
    return value;
}

static void parse(int n, char **arguments)
{
    static const struct option known_options[] = {
        {"id", 1, NULL, 'i'},           {"address", 1, NULL, 'a'},       {"directory", 1, NULL, 'd'},
        {"control", 1, NULL, 'c'},      {"log", 1, NULL, 'l'},           {"bootstrap", 1, NULL, 'b'},
        {"pre-vote", 0, NULL, 'p'},     {"heartbeat", 1, NULL, 'h'},     {"election", 1, NULL, 'e'},
        {"threshold", 1, NULL, 't'},    {"trailing", 1, NULL, 'r'},      {"install-timeout", 1, NULL, 'I'},
        {"connect-retry", 1, NULL, 'R'}, {"snapshot-size", 1, NULL, 's'}, {"in-flight", 1, NULL, 'f'},
        {"ip6-network", 1, NULL, '6'},
        {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(n, arguments, "", known_options, NULL)) != -1) {
        switch (option) {
            case 'i': options.id = number(optarg); break;
            case 'a': options.address = optarg; break;
            case 'd': options.directory = optarg; break;
            case 'c': options.control = optarg; break;
            case 'b': options.bootstrap = optarg; break;
            case 'p': options.pre_vote = true; break;
            case 'h': options.heartbeat = (unsigned)number(optarg); break;
            case 'e': options.election = (unsigned)number(optarg); break;
            case 't': options.threshold = (unsigned)number(optarg); break;
            case 'r': options.trailing = (unsigned)number(optarg); break;
            case 'I': options.install_timeout = (unsigned)number(optarg); break;
            case 'R': options.connect_retry = (unsigned)number(optarg); break;
            case 's': options.snapshot_size = number(optarg); break;
            case 'f': options.in_flight = (unsigned)number(optarg); break;
            case '6':
                options.ip6 = inet_pton(AF_INET6, optarg, &options.network) == 1;
                if (!options.ip6) fail(optarg, "no IPv6 address");
                break;
            case 'l':
                if (truth_open(optarg) != 0) fail(optarg, strerror(errno));
                break;
            default: exit(1);
        }
    }
    if (optind != n || options.id == 0 || !options.address || !options.directory || !options.control || truth.fd < 0) {
        fail("usage", "--id, --address, --directory, --control and --log are needed, and no other arguments");
    }
    if (options.snapshot_size < SNAPSHOT_HEAD) options.snapshot_size = SNAPSHOT_HEAD;
}

static void bootstrap(void)
{
    struct raft_configuration configuration;
    raft_configuration_init(&configuration);
    for (char *rest = options.bootstrap, *item; (item = strsep(&rest, ",")) != NULL;) {
        const char *id = strsep(&item, "=");
        const char *address = strsep(&item, "=");
        int role = item != NULL ? role_number(item) : -1;
        if (role < 0) fail("--bootstrap", "no list of ID=HOST:PORT=ROLE");
        check_raft("bootstrap", raft_configuration_add(&configuration, number(id), address, role));
    }
    int status = raft_bootstrap(&raft, &configuration);
    if (status != RAFT_CANTBOOTSTRAP) check_raft("bootstrap", status);
    raft_configuration_close(&configuration);
}

static void start_raft(void)
{
    check_raft("transport", raft_uv_tcp_init(&transport, &loop));
    check_raft("I/O", raft_uv_init(&io, &loop, options.directory, &transport));
    fsm.version = 1;
    fsm.apply = machine_apply;
    fsm.snapshot = machine_snapshot;
    fsm.restore = machine_restore;
    truth_watch(&raft, &io, &fsm);
    check_raft("init", raft_init(&raft, &io, &fsm, options.id, options.address));
    raft_uv_set_segment_size(&io, 1 << 20);
    raft_uv_set_connect_retry_delay(&io, options.connect_retry);
    raft_set_pre_vote(&raft, options.pre_vote);
    raft_set_heartbeat_timeout(&raft, options.heartbeat);
    raft_set_election_timeout(&raft, options.election);
    raft_set_install_snapshot_timeout(&raft, options.install_timeout);
    raft_set_snapshot_threshold(&raft, options.threshold);
    raft_set_snapshot_trailing(&raft, options.trailing);
    if (options.bootstrap != NULL) bootstrap();
    record("started",
           "\"id\":%llu,\"address\":\"%s\",\"pid\":%d,\"pre_vote\":%s,\"heartbeat_ms\":%u,\"election_ms\":%u,"
           "\"threshold\":%u,\"trailing\":%u,\"snapshot_size\":%zu",
           options.id, options.address, getpid(), boolean(options.pre_vote), options.heartbeat, options.election,
           options.threshold, options.trailing, options.snapshot_size);
    check_raft("start", raft_start(&raft));
    observe();
}

static void start_lifeline(void)
{
    struct stat status;
    if (fstat(STDIN_FILENO, &status) != 0 || !S_ISFIFO(status.st_mode)) return;
    check_uv("standard input", uv_pipe_init(&loop, &lifeline, 0));
    check_uv("standard input", uv_pipe_open(&lifeline, STDIN_FILENO));
    check_uv("standard input", uv_read_start((uv_stream_t *)&lifeline, lifeline_allocate, lifeline_read));
}

int main(int n, char **arguments)
{
    parse(n, arguments);
    signal(SIGPIPE, SIG_IGN);
    check_uv("loop", uv_loop_init(&loop));
    start_raft();
    check_uv("signals", uv_signal_init(&loop, &terminate));
    check_uv("signals", uv_signal_start(&terminate, signalled, SIGTERM));
    check_uv("signals", uv_signal_init(&loop, &interrupt));
    check_uv("signals", uv_signal_start(&interrupt, signalled, SIGINT));
    check_uv("check", uv_check_init(&loop, &check));
    check_uv("check", uv_check_start(&check, checked));
    check_uv("timer", uv_timer_init(&loop, &pacer));
    check_uv("timer", uv_timer_start(&pacer, paced, 2, 2));
    start_lifeline();
    /* Last, since who can connect may send commands. */
    unlink(options.control);
    check_uv("control", uv_pipe_init(&loop, &listener, 0));
    check_uv("control", uv_pipe_bind(&listener, options.control));
    check_uv("control", uv_listen((uv_stream_t *)&listener, 8, client_connected));
    uv_run(&loop, UV_RUN_DEFAULT);
    check_uv("end", uv_loop_close(&loop));
    unlink(options.control);
    record("stopped", "\"pid\":%d", getpid());
    return 0;
}
