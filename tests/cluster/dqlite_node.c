/* A node of libdqlite that logs what the libraft inside of it knows.
 *
 * usage: dqlite_node --id ID --address HOST:PORT --directory DIR --log FILE [options]
 *
 *   --latency MS                    of the network: heartbeats come each 1.5 times that, elections after 15 times
 *   --threshold N, --trailing N     entries before a snapshot is taken, and entries that are kept behind it
 *   --install-timeout MS            after which a leader sends a snapshot again
 *
 * The node 1 makes the cluster, with itself alone; the others wait until a client adds them. The log is that of truth.h.
 * The node ends on SIGTERM, SIGINT, and when its standard input is a pipe and ends.
 */

#include "truth.h"

#include <dlfcn.h>
#include <dqlite.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

static struct {
    unsigned long long id;
    const char *address;
    const char *directory;
    unsigned latency, threshold, trailing, install_timeout;
} options = {.latency = 20, .threshold = 1024, .trailing = 8192, .install_timeout = 30000};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/* What libdqlite calls instead of libraft's function of this name, which is called in turn. */
int raft_init(struct raft *raft, struct raft_io *io, struct raft_fsm *fsm, raft_id id, const char *address)
{
    int (*next)(struct raft *, struct raft_io *, struct raft_fsm *, raft_id, const char *);
    *(void **)&next = dlsym(RTLD_NEXT, "raft_init");
    if (next == NULL) fail("raft_init", dlerror());
    truth_watch(raft, io, fsm);
    int status = next(raft, io, fsm, id, address);
    if (status == 0) raft_set_install_snapshot_timeout(raft, options.install_timeout);
    return status;
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
        {"id", 1, NULL, 'i'},      {"address", 1, NULL, 'a'},   {"directory", 1, NULL, 'd'}, {"log", 1, NULL, 'l'},
        {"latency", 1, NULL, 'L'}, {"threshold", 1, NULL, 't'}, {"trailing", 1, NULL, 'r'},  {"install-timeout", 1, NULL, 'I'},
        {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(n, arguments, "", known_options, NULL)) != -1) {
        switch (option) {
            case 'i': options.id = number(optarg); break;
            case 'a': options.address = optarg; break;
            case 'd': options.directory = optarg; break;
            case 'L': options.latency = (unsigned)number(optarg); break;
            case 't': options.threshold = (unsigned)number(optarg); break;
            case 'r': options.trailing = (unsigned)number(optarg); break;
            case 'I': options.install_timeout = (unsigned)number(optarg); break;
            case 'l':
                if (truth_open(optarg) != 0) fail(optarg, strerror(errno));
                break;
            default: exit(1);
        }
    }
    if (optind != n || options.id == 0 || !options.address || !options.directory || truth.fd < 0) {
        fail("usage", "--id, --address, --directory and --log are needed, and no other arguments");
    }
}

static void check(dqlite_node *node, const char *what, int status)
{
    if (status != 0) fail(what, dqlite_node_errmsg(node));
}

/* Wait for a signal, or for the end of standard input. */
static void wait_for_end(int signals)
{
    struct stat status;
    bool piped = fstat(STDIN_FILENO, &status) == 0 && S_ISFIFO(status.st_mode);
    struct pollfd watched[] = {{.fd = signals, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    char ignored[64];
    for (;;) {
        if (poll(watched, piped ? 2 : 1, -1) < 0 && errno != EINTR) fail("poll", strerror(errno));
        if (watched[0].revents != 0) return;
        if (watched[1].revents != 0 && read(STDIN_FILENO, ignored, sizeof ignored) <= 0) return;
    }
}

int main(int n, char **arguments)
{
    dqlite_node *node;
    sigset_t signals;
    parse(n, arguments);
    signal(SIGPIPE, SIG_IGN);
    /* Before the node makes threads, which would take the signals. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int descriptor = signalfd(-1, &signals, SFD_CLOEXEC);
    if (descriptor < 0) fail("signalfd", strerror(errno));
    record("started", "\"id\":%llu,\"address\":\"%s\",\"pid\":%d,\"latency_ms\":%u,\"threshold\":%u,\"trailing\":%u",
           options.id, options.address, getpid(), options.latency, options.threshold, options.trailing);
    check(node, "create", dqlite_node_create(options.id, options.address, options.directory, &node));
    check(node, "address", dqlite_node_set_bind_address(node, options.address));
    check(node, "latency", dqlite_node_set_network_latency_ms(node, options.latency));
    check(node, "snapshots", dqlite_node_set_snapshot_params(node, options.threshold, options.trailing));
    check(node, "start", dqlite_node_start(node));
    record("listening", "\"address\":\"%s\"", options.address);
    wait_for_end(descriptor);
    int status = dqlite_node_stop(node);
    dqlite_node_destroy(node);
    record("stopped", "\"pid\":%d,\"status\":%d", getpid(), status);
    return status == 0 ? 0 : 1;
}
