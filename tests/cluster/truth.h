/* What a server of libraft knows, as a log: taken from the calls between libraft's logic, its I/O and its state machine.
 *
 * The log is one JSON object a line, each written at once, with `t` in nanoseconds since the epoch and `event`.
 * For a program of one file that has one server: truth_open(), then truth_watch() before raft_init().
 */

#ifndef TRUTH_H
#define TRUTH_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <raft.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Requests of libraft's logic to its I/O that are passed on under another callback. */
struct truth_send {
    struct raft_io_send request;
    struct raft_io_send *inner;
    raft_io_send_cb done;
    uint64_t number;
};

struct truth_append {
    struct raft_io_append request;
    struct raft_io_append *inner;
    raft_io_append_cb done;
};

struct truth_put {
    struct raft_io_snapshot_put request;
    struct raft_io_snapshot_put *inner;
    raft_io_snapshot_put_cb done;
    raft_index index;
    raft_term term;
};

static struct {
    int fd;
    struct raft *raft;
    struct raft_io io;   /* The functions that ours stand before. */
    struct raft_fsm fsm;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    raft_term stored_term; /* While libraft starts an election, its own copy is still the one before. */
    bool restored;         /* Since this was last looked at. */
    size_t restored_bytes;
} truth = {.fd = -1};

/* What the log last said. */
static struct {
    int state;
    raft_id leader;
    bool in_pre_vote;
    raft_index commit, applied, configuration, uncommitted;
    raft_term term;
} known = {.state = -1};

static int truth_open(const char *path)
{
    truth.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    return truth.fd < 0 ? -1 : 0;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

__attribute__((format(printf, 2, 3))) static void record(const char *event, const char *format, ...)
{
    char line[1 << 15];
    va_list arguments;
    size_t room = sizeof line - 2;
    int n = snprintf(line, room, "{\"t\":%" PRIu64 ",\"event\":\"%s\",", now_ns(), event);
    va_start(arguments, format);
    int more = vsnprintf(line + n, room - (size_t)n, format, arguments);
    va_end(arguments);
    if (more < 0 || (size_t)more >= room - (size_t)n) {
        fprintf(stderr, "a record of %s is too long\n", event);
        abort();
    }
    n += more;
    memcpy(line + n, "}\n", 2);
    /* One write for a line: what kills the server does not cut it. */
    if (write(truth.fd, line, (size_t)n + 2) != n + 2) {
        perror("log");
        abort();
    }
}

/* Words */

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

static raft_id leader_id(struct raft *raft)
{
    raft_id leader = 0;
    const char *address;
    if (raft_state(raft) != RAFT_UNAVAILABLE) raft_leader(raft, &leader, &address);
    return leader;
}

/* Log what has changed since the last look. */
static void observe(void)
{
    struct raft *raft = truth.raft;
    if (truth.restored) { /* By now libraft's indexes say what from. */
        truth.restored = false;
        record("snapshot_restored", "\"index\":%llu,\"bytes\":%zu", raft->last_applied, truth.restored_bytes);
    }
    int state = raft_state(raft);
    raft_id leader = leader_id(raft);
    bool in_pre_vote = state == RAFT_CANDIDATE && raft->candidate_state.in_pre_vote;
    if (state != known.state || leader != known.leader || in_pre_vote != known.in_pre_vote ||
        raft->current_term != known.term) {
        known.state = state;
        known.leader = leader;
        known.in_pre_vote = in_pre_vote;
        known.term = raft->current_term;
        record("state", "\"state\":\"%s\",\"term\":%llu,\"leader\":%llu,\"in_pre_vote\":%s", state_name(state),
               known.term, leader, boolean(in_pre_vote));
    }
    if (raft->configuration_index != known.configuration ||
        raft->configuration_uncommitted_index != known.uncommitted) {
        known.configuration = raft->configuration_index;
        known.uncommitted = raft->configuration_uncommitted_index;
        record("configuration", "\"index\":%llu,\"uncommitted_index\":%llu,\"servers\":[%s]", known.configuration,
               known.uncommitted, configuration_text(&raft->configuration));
    }
    if (raft->commit_index != known.commit) {
        known.commit = raft->commit_index;
        record("committed", "\"index\":%llu", known.commit);
    }
    if (raft->last_applied != known.applied) {
        known.applied = raft->last_applied;
        record("applied", "\"index\":%llu", known.applied);
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

/* The functions between libraft's logic and its I/O */

static void truth_sent(struct raft_io_send *request, int status)
{
    struct truth_send ours = *(struct truth_send *)request->data;
    free(request->data);
    record("sent", "\"number\":%" PRIu64 ",\"status\":%d", ours.number, status);
    if (ours.done != NULL) ours.done(ours.inner, status);
    observe();
}

static int truth_io_send(struct raft_io *io, struct raft_io_send *request, const struct raft_message *message,
                         raft_io_send_cb done)
{
    static uint64_t numbers;
    uint64_t number = ++numbers;
    struct truth_send *ours = malloc(sizeof *ours);
    if (ours == NULL) return RAFT_NOMEM;
    *ours = (struct truth_send){.request.data = ours, .inner = request, .done = done, .number = number};
    observe();
    record("send", "\"number\":%" PRIu64 ",%s", number, message_text(message));
    int status = truth.io.send(io, &ours->request, message, truth_sent);
    if (status != 0) {
        free(ours);
        record("sent", "\"number\":%" PRIu64 ",\"status\":%d", number, status);
    }
    return status;
}

static void truth_appended(struct raft_io_append *request, int status)
{
    struct truth_append ours = *(struct truth_append *)request->data;
    free(request->data);
    ours.done(ours.inner, status);
    observe();
}

static int truth_io_append(struct raft_io *io, struct raft_io_append *request, const struct raft_entry entries[],
                           unsigned n, raft_io_append_cb done)
{
    struct truth_append *ours = malloc(sizeof *ours);
    if (ours == NULL) return RAFT_NOMEM;
    *ours = (struct truth_append){.request.data = ours, .inner = request, .done = done};
    int status = truth.io.append(io, &ours->request, entries, n, truth_appended);
    if (status != 0) free(ours);
    return status;
}

static void truth_stored(struct raft_io_snapshot_put *request, int status)
{
    struct truth_put ours = *(struct truth_put *)request->data;
    free(request->data);
    record("snapshot_stored", "\"index\":%llu,\"term\":%llu,\"status\":%d", ours.index, ours.term, status);
    ours.done(ours.inner, status);
    observe();
}

static int truth_io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request,
                                 const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done)
{
    struct truth_put *ours = malloc(sizeof *ours);
    if (ours == NULL) return RAFT_NOMEM;
    *ours = (struct truth_put){.request.data = ours,
                               .inner = request,
                               .done = done,
                               .index = snapshot->index,
                               .term = snapshot->term};
    int status = truth.io.snapshot_put(io, trailing, &ours->request, snapshot, truth_stored);
    if (status != 0) {
        record("snapshot_stored", "\"index\":%llu,\"term\":%llu,\"status\":%d", ours->index, ours->term, status);
        free(ours);
    }
    return status;
}

static void truth_recv(struct raft_io *io, struct raft_message *message)
{
    record("received", "%s", message_text(message));
    truth.recv(io, message);
    observe();
}

static void truth_tick(struct raft_io *io)
{
    truth.tick(io);
    observe();
}

static int truth_io_start(struct raft_io *io, unsigned milliseconds, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    truth.tick = tick;
    truth.recv = recv;
    return truth.io.start(io, milliseconds, truth_tick, truth_recv);
}

static int truth_io_load(struct raft_io *io, raft_term *term, raft_id *voted_for, struct raft_snapshot **snapshot,
                         raft_index *start, struct raft_entry *entries[], size_t *n)
{
    int status = truth.io.load(io, term, voted_for, snapshot, start, entries, n);
    if (status == 0) {
        record("loaded",
               "\"term\":%llu,\"voted_for\":%llu,\"snapshot_index\":%llu,\"start_index\":%llu,\"entries\":%zu", *term,
               *voted_for, *snapshot ? (*snapshot)->index : 0, *start, *n);
    }
    return status;
}

static int truth_io_bootstrap(struct raft_io *io, const struct raft_configuration *configuration)
{
    int status = truth.io.bootstrap(io, configuration);
    record("bootstrap", "\"status\":%d,\"servers\":[%s]", status, configuration_text(configuration));
    return status;
}

static int truth_io_set_term(struct raft_io *io, raft_term term)
{
    int status = truth.io.set_term(io, term);
    if (status == 0) {
        record("term", "\"old\":%llu,\"new\":%llu", truth.raft->current_term, term);
        truth.stored_term = term;
    }
    return status;
}

static int truth_io_set_vote(struct raft_io *io, raft_id id)
{
    int status = truth.io.set_vote(io, id);
    raft_term term = truth.stored_term ? truth.stored_term : truth.raft->current_term;
    if (status == 0) record("voted", "\"term\":%llu,\"for\":%llu", term, id);
    return status;
}

static int truth_io_truncate(struct raft_io *io, raft_index index)
{
    record("truncated", "\"from\":%llu", index);
    return truth.io.truncate(io, index);
}

/* The functions between libraft's logic and the state machine */

static int truth_fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *buffers[], unsigned *n)
{
    int status = truth.fsm.snapshot(fsm, buffers, n);
    size_t bytes = 0;
    if (status != 0) return status;
    for (unsigned i = 0; i < *n; i++) bytes += (*buffers)[i].len;
    record("snapshot_taken", "\"index\":%llu,\"term\":%llu,\"bytes\":%zu", truth.raft->snapshot.pending.index,
           truth.raft->snapshot.pending.term, bytes);
    return status;
}

static int truth_fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
    size_t bytes = buffer->len;
    int status = truth.fsm.restore(fsm, buffer);
    if (status == 0) {
        truth.restored = true;
        truth.restored_bytes = bytes;
    }
    return status;
}

/* Stand between the logic of a server, and its I/O and state machine: before raft_init(), whose arguments these are. */
static void truth_watch(struct raft *raft, struct raft_io *io, struct raft_fsm *fsm)
{
    truth.raft = raft;
    truth.io = *io;
    truth.fsm = *fsm;
    io->load = truth_io_load;
    io->start = truth_io_start;
    io->bootstrap = truth_io_bootstrap;
    io->set_term = truth_io_set_term;
    io->set_vote = truth_io_set_vote;
    io->send = truth_io_send;
    io->append = truth_io_append;
    io->truncate = truth_io_truncate;
    io->snapshot_put = truth_io_snapshot_put;
    fsm->snapshot = truth_fsm_snapshot;
    fsm->restore = truth_fsm_restore;
}

#endif
