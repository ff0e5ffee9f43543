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
 *
 * The log is one JSON object a line, each written at once, with `t` in nanoseconds since the epoch and `event`.
 * Commands come line by line, each is answered with one JSON object; roles are voter, standby and spare:
 *
 *   state | load RATE|max SIZE [IN_FLIGHT] | load off | apply N SIZE | barrier
 *   transfer ID | add ID ADDRESS | assign ID ROLE | remove ID | quit
 *
 * The server ends on quit, SIGTERM, SIGINT, and when its standard input is a pipe and ends.
 */

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <raft.h>
#include <raft/uv.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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
    raft_id asked;
};

struct barrier {
    struct raft_barrier request;
    struct client *client;
};

struct sending {
    struct raft_io_send request;
    struct raft_io_send *inner;
    raft_io_send_cb done;
    uint64_t number;
};

struct storing {
    struct raft_io_snapshot_put request;
    struct raft_io_snapshot_put *inner;
    raft_io_snapshot_put_cb done;
    raft_index index;
    raft_term term;
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
static struct raft_io real; /* The functions of libraft's own I/O, which ours call. */
static raft_io_tick_cb raft_tick;
static raft_io_recv_cb raft_recv;
static struct raft_uv_transport transport;
static struct raft_fsm fsm;
static uv_pipe_t listener, lifeline;
static uv_signal_t terminate, interrupt;
static uv_check_t check;
static uv_timer_t pacer;
static bool ending;
static bool lifeline_used;

/* The state machine: how many commands it took, and a digest of them in their order. */
static struct {
    uint64_t commands;
    uint64_t digest;
    bool restored; /* Since this was last looked at. */
    size_t restored_size;
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

/* What the log last said. */
static struct {
    int state;
    raft_id leader;
    bool in_pre_vote;
    raft_index commit, applied, configuration, uncommitted;
    raft_term term;
} known = {.state = -1};

/* The log */

static int log_fd = -1;
static char record_line[1 << 16];

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void record(const char *event, const char *format, ...)
{
    va_list arguments;
    size_t room = sizeof record_line - 3;
    int n = snprintf(record_line, room, "{\"t\":%" PRIu64 ",\"event\":\"%s\"%s", now_ns(), event, *format ? "," : "");
    va_start(arguments, format);
    int more = vsnprintf(record_line + n, room - (size_t)n, format, arguments);
    va_end(arguments);
    if (more < 0 || (size_t)more >= room - (size_t)n) {
        fprintf(stderr, "a record of %s is too long\n", event);
        abort();
    }
    n += more;
    memcpy(record_line + n, "}\n", 2);
    /* One write for a line: what kills the server does not cut it. */
    if (write(log_fd, record_line, (size_t)n + 2) != n + 2) {
        perror("log");
        abort();
    }
}

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

static const char *state_name(int state)
{
    static const char *names[] = {"unavailable", "follower", "candidate", "leader"};
    return names[state];
}

static const char *role_name(int role)
{
    static const char *names[] = {"standby", "voter", "spare"};
    return names[role];
}

static int role_number(const char *name)
{
    for (int role = RAFT_STANDBY; role <= RAFT_SPARE; role++) {
        if (strcmp(name, role_name(role)) == 0) return role;
    }
    return -1;
}

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

static const char *configuration_text(const struct raft_configuration *configuration)
{
    static char text[1 << 14];
    size_t used = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < configuration->n && used < sizeof text; i++) {
        const struct raft_server *server = &configuration->servers[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s{\"id\":%llu,\"address\":\"%s\",\"role\":\"%s\"}",
                                 i ? "," : "", server->id, server->address, role_name(server->role));
    }
    return text;
}

/* Say that the state machine was restored, as soon as libraft's indexes tell from what. */
static void observe_restored(void)
{
    if (!machine.restored) return;
    machine.restored = false;
    record("snapshot_restored", "\"index\":%llu,\"bytes\":%zu,\"commands\":%" PRIu64, raft.last_applied,
           machine.restored_size, machine.commands);
}

/* Log what has changed since the last look. */
static void observe(void)
{
    observe_restored();
    raft_id leader = 0;
    const char *address;
    int state = raft_state(&raft);
    if (state != RAFT_UNAVAILABLE) raft_leader(&raft, &leader, &address);
    bool in_pre_vote = state == RAFT_CANDIDATE && raft.candidate_state.in_pre_vote;
    if (state != known.state || leader != known.leader || in_pre_vote != known.in_pre_vote ||
        raft.current_term != known.term) {
        known.state = state;
        known.leader = leader;
        known.in_pre_vote = in_pre_vote;
        known.term = raft.current_term;
        record("state", "\"state\":\"%s\",\"term\":%llu,\"leader\":%llu,\"in_pre_vote\":%s", state_name(state),
               raft.current_term, leader, boolean(in_pre_vote));
    }
    if (raft.configuration_index != known.configuration || raft.configuration_uncommitted_index != known.uncommitted) {
        known.configuration = raft.configuration_index;
        known.uncommitted = raft.configuration_uncommitted_index;
        record("configuration", "\"index\":%llu,\"uncommitted_index\":%llu,\"servers\":[%s]", known.configuration,
               known.uncommitted, configuration_text(&raft.configuration));
    }
    if (raft.commit_index != known.commit) {
        known.commit = raft.commit_index;
        record("committed", "\"index\":%llu", known.commit);
    }
    if (raft.last_applied != known.applied) {
        known.applied = raft.last_applied;
        record("applied", "\"index\":%llu,\"commands\":%" PRIu64, known.applied, machine.commands);
    }
}

/* The messages */

static const char *message_name(unsigned type)
{
    static const char *names[] = {"unknown",     "append_entries",      "append_entries_result",
                                  "request_vote", "request_vote_result", "install_snapshot",
                                  "timeout_now"};
    return names[type <= RAFT_IO_TIMEOUT_NOW ? type : 0];
}

static const char *tribool(raft_tribool value)
{
    return value == raft_tribool_unknown ? "null" : boolean(value == raft_tribool_true);
}

static size_t entries_bytes(const struct raft_append_entries *append)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < append->n_entries; i++) bytes += append->entries[i].buf.len;
    return bytes;
}

static const char *message_text(const struct raft_message *message)
{
    static char text[1 << 14];
    const struct raft_append_entries *append = &message->append_entries;
    const struct raft_append_entries_result *result = &message->append_entries_result;
    const struct raft_request_vote *ask = &message->request_vote;
    const struct raft_request_vote_result *vote = &message->request_vote_result;
    const struct raft_install_snapshot *install = &message->install_snapshot;
    const struct raft_timeout_now *timeout = &message->timeout_now;
    int n = snprintf(text, sizeof text, "\"peer\":%llu,\"type\":\"%s\"", message->server_id,
                     message_name(message->type));
    char *rest = text + n;
    size_t room = sizeof text - (size_t)n;
    switch (message->type) {
        case RAFT_IO_APPEND_ENTRIES:
            snprintf(rest, room,
                     ",\"term\":%llu,\"prev_log_index\":%llu,\"prev_log_term\":%llu,\"leader_commit\":%llu,"
                     "\"n_entries\":%u,\"bytes\":%zu",
                     append->term, append->prev_log_index, append->prev_log_term, append->leader_commit,
                     append->n_entries, entries_bytes(append));
            break;
        case RAFT_IO_APPEND_ENTRIES_RESULT:
            snprintf(rest, room, ",\"term\":%llu,\"rejected\":%llu,\"last_log_index\":%llu", result->term,
                     result->rejected, result->last_log_index);
            break;
        case RAFT_IO_REQUEST_VOTE:
            snprintf(rest, room,
                     ",\"term\":%llu,\"candidate_id\":%llu,\"last_log_index\":%llu,\"last_log_term\":%llu,"
                     "\"disrupt_leader\":%s,\"pre_vote\":%s",
                     ask->term, ask->candidate_id, ask->last_log_index, ask->last_log_term,
                     boolean(ask->disrupt_leader), boolean(ask->pre_vote));
            break;
        case RAFT_IO_REQUEST_VOTE_RESULT:
            snprintf(rest, room, ",\"term\":%llu,\"vote_granted\":%s,\"pre_vote\":%s", vote->term,
                     boolean(vote->vote_granted), tribool(vote->pre_vote));
            break;
        case RAFT_IO_INSTALL_SNAPSHOT:
            snprintf(rest, room,
                     ",\"term\":%llu,\"last_index\":%llu,\"last_term\":%llu,\"conf_index\":%llu,\"bytes\":%zu,"
                     "\"servers\":[%s]",
                     install->term, install->last_index, install->last_term, install->conf_index, install->data.len,
                     configuration_text(&install->conf));
            break;
        case RAFT_IO_TIMEOUT_NOW:
            snprintf(rest, room, ",\"term\":%llu,\"last_log_index\":%llu,\"last_log_term\":%llu", timeout->term,
                     timeout->last_log_index, timeout->last_log_term);
            break;
        default:
            break;
    }
    return text;
}

/* The I/O functions that stand between libraft's logic and its I/O */

static void sent(struct raft_io_send *request, int status)
{
    struct sending *sending = request->data;
    struct raft_io_send *inner = sending->inner;
    raft_io_send_cb done = sending->done;
    record("sent", "\"number\":%" PRIu64 ",\"status\":%d", sending->number, status);
    free(sending);
    if (done != NULL) done(inner, status);
}

static int io_send(struct raft_io *self, struct raft_io_send *request, const struct raft_message *message,
                   raft_io_send_cb done)
{
    static uint64_t number;
    observe();
    struct sending *sending = malloc(sizeof *sending);
    if (sending == NULL) return RAFT_NOMEM;
    sending->inner = request;
    sending->done = done;
    sending->number = ++number;
    sending->request.data = sending;
    record("send", "\"number\":%" PRIu64 ",%s", number, message_text(message));
    uint64_t ours = number;
    int status = real.send(self, &sending->request, message, sent);
    if (status != 0) {
        free(sending);
        record("sent", "\"number\":%" PRIu64 ",\"status\":%d", ours, status);
    }
    return status;
}

static void io_recv(struct raft_io *self, struct raft_message *message)
{
    record("received", "%s", message_text(message));
    raft_recv(self, message);
    observe();
}

static void io_tick(struct raft_io *self)
{
    raft_tick(self);
    observe();
}

static int io_start(struct raft_io *self, unsigned milliseconds, raft_io_tick_cb tick, raft_io_recv_cb receive)
{
    raft_tick = tick;
    raft_recv = receive;
    return real.start(self, milliseconds, io_tick, io_recv);
}

/* The term that was stored last. While libraft starts an election, its own copy is still the one before. */
static raft_term stored_term;

static int io_set_term(struct raft_io *self, raft_term term)
{
    int status = real.set_term(self, term);
    if (status == 0) {
        record("term", "\"old\":%llu,\"new\":%llu", raft.current_term, term);
        stored_term = term;
    }
    return status;
}

static int io_set_vote(struct raft_io *self, raft_id id)
{
    int status = real.set_vote(self, id);
    raft_term term = stored_term ? stored_term : raft.current_term;
    if (status == 0) record("voted", "\"term\":%llu,\"for\":%llu", term, id);
    return status;
}

static int io_truncate(struct raft_io *self, raft_index index)
{
    record("truncated", "\"from\":%llu", index);
    return real.truncate(self, index);
}

static void stored(struct raft_io_snapshot_put *request, int status)
{
    struct storing *storing = request->data;
    struct raft_io_snapshot_put *inner = storing->inner;
    raft_io_snapshot_put_cb done = storing->done;
    record("snapshot_stored", "\"index\":%llu,\"term\":%llu,\"status\":%d", storing->index, storing->term, status);
    free(storing);
    done(inner, status);
    observe();
}

static int io_snapshot_put(struct raft_io *self, unsigned trailing, struct raft_io_snapshot_put *request,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done)
{
    struct storing *storing = malloc(sizeof *storing);
    if (storing == NULL) return RAFT_NOMEM;
    storing->inner = request;
    storing->done = done;
    storing->index = snapshot->index;
    storing->term = snapshot->term;
    storing->request.data = storing;
    int status = real.snapshot_put(self, trailing, &storing->request, snapshot, stored);
    if (status != 0) {
        record("snapshot_stored", "\"index\":%llu,\"term\":%llu,\"status\":%d", storing->index, storing->term, status);
        free(storing);
    }
    return status;
}

static void interpose(void)
{
    real = io;
    io.start = io_start;
    io.send = io_send;
    io.set_term = io_set_term;
    io.set_vote = io_set_vote;
    io.truncate = io_truncate;
    io.snapshot_put = io_snapshot_put;
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
    record("snapshot_taken", "\"index\":%llu,\"term\":%llu,\"bytes\":%zu,\"commands\":%" PRIu64,
           raft.snapshot.pending.index, raft.snapshot.pending.term, size, machine.commands);
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
    machine.restored = true;
    machine.restored_size = buffer->len;
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
    raft_id leader = 0;
    const char *address;
    if (raft_state(&raft) != RAFT_UNAVAILABLE) raft_leader(&raft, &leader, &address);
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
    raft_id leader = 0;
    const char *address;
    int state = raft_state(&raft);
    if (state != RAFT_UNAVAILABLE) raft_leader(&raft, &leader, &address);
    answer(client,
           "{\"ok\":true,\"id\":%llu,\"state\":\"%s\",\"term\":%llu,\"leader\":%llu,\"voted_for\":%llu,"
           "\"commit_index\":%llu,\"last_applied\":%llu,\"last_index\":%llu,\"commands\":%" PRIu64
           ",\"digest\":\"%016" PRIx64 "\",\"load_applied\":%" PRIu64 ",\"load_failed\":%" PRIu64
           ",\"configuration_index\":%llu,\"servers\":[%s]}",
           raft.id, state_name(state), raft.current_term, leader, raft.voted_for, raft.commit_index, raft.last_applied,
           raft_last_index(&raft), machine.commands, machine.digest, load.applied, load.failed,
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
    record("stopping", "");
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
            case 'l':
                log_fd = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
                if (log_fd < 0) fail(optarg, strerror(errno));
                break;
            default: exit(1);
        }
    }
    if (optind != n || options.id == 0 || !options.address || !options.directory || !options.control || log_fd < 0) {
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
    record("bootstrap", "\"done\":%s,\"servers\":[%s]", boolean(status == 0), configuration_text(&configuration));
    raft_configuration_close(&configuration);
}

static void start_raft(void)
{
    check_raft("transport", raft_uv_tcp_init(&transport, &loop));
    check_raft("I/O", raft_uv_init(&io, &loop, options.directory, &transport));
    interpose();
    fsm.version = 1;
    fsm.apply = machine_apply;
    fsm.snapshot = machine_snapshot;
    fsm.restore = machine_restore;
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
    record("loaded", "\"term\":%llu,\"voted_for\":%llu,\"last_index\":%llu", raft.current_term, raft.voted_for,
           raft_last_index(&raft));
    observe();
}

static void start_lifeline(void)
{
    struct stat status;
    lifeline_used = fstat(STDIN_FILENO, &status) == 0 && S_ISFIFO(status.st_mode);
    if (!lifeline_used) return;
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
    record("stopped", "");
    return 0;
}
