// A program on the C client library (libzookeeper_mt): its operations, and one handle across kill -9 of the server.
//
//     client HOST:PORT
//
// Prints "ok NAME" or "FAIL NAME: WHY" for each case. Where the server is to be killed and restarted it prints "KILL" and waits
// for a line on standard input.

#define THREADED
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

static const char *current = "";
static bool failed;

/// Ends the current case as failed unless `condition` holds.
#define CHECK(condition, ...)         \
    do {                              \
        if (!(condition)) {           \
            fail(#condition, __VA_ARGS__); \
            return;                   \
        }                             \
    } while (0)

/// The call must return `code`.
#define RETURNS(code, call)                                                \
    do {                                                                   \
        int result_ = (call);                                              \
        CHECK(result_ == (code), "%s returned %d (%s)", #call, result_, zerror(result_)); \
    } while (0)

static void fail(const char *condition, const char *format, ...) {
    va_list rest;
    failed = true;
    printf("FAIL %s: %s does not hold: ", current, condition);
    va_start(rest, format);
    vprintf(format, rest);
    va_end(rest);
    printf("\n");
    fflush(stdout);
}

static void run(const char *name, void (*body)(void)) {
    current = name;
    failed = false;
    body();
    if (!failed) {
        printf("ok %s\n", name);
        fflush(stdout);
    }
}

// Events, in the order in which the library delivers them.

struct event {
    int type, state;
    char path[128];
    const char *context;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct event all[256];
    int count, connects, expiries;
} events = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void watcher(zhandle_t *handle, int type, int state, const char *path, void *context) {
    pthread_mutex_lock(&events.lock);
    if (type == ZOO_SESSION_EVENT) {
        // Every watch is told of the session's states too; count them once, by the watcher of the handle.
        if (context == NULL || strcmp(context, "handle") == 0) {
            events.connects += state == ZOO_CONNECTED_STATE;
            events.expiries += state == ZOO_EXPIRED_SESSION_STATE;
        }
    } else if (events.count < 256) {
        struct event *event = &events.all[events.count++];
        event->type = type;
        event->state = state;
        event->context = context;
        snprintf(event->path, sizeof event->path, "%s", path);
    }
    pthread_cond_broadcast(&events.changed);
    pthread_mutex_unlock(&events.lock);
}

static struct timespec deadline(int seconds) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += seconds;
    return at;
}

/// Waits for `*value` to reach `target`; false when `seconds` have passed.
static bool reaches(const int *value, int target, int seconds) {
    struct timespec at = deadline(seconds);
    pthread_mutex_lock(&events.lock);
    while (*value < target && pthread_cond_timedwait(&events.changed, &events.lock, &at) == 0) {
    }
    bool done = *value >= target;
    pthread_mutex_unlock(&events.lock);
    return done;
}

/// The event number `index` (waited for), compared; for CHECK.
static bool is_event(int index, int type, const char *path, const char *context) {
    if (!reaches(&events.count, index + 1, 15)) {
        return false;
    }
    struct event *event = &events.all[index];
    return event->type == type && strcmp(event->path, path) == 0 && strcmp(event->context, context) == 0;
}

static zhandle_t *handle, *other;
static const char *address;

static zhandle_t *connect_to_server(const char *name, int timeout) {
    zhandle_t *made = zookeeper_init(address, watcher, timeout, NULL, (void *)name, 0);
    for (int i = 0; made != NULL && i < 1500 && zoo_state(made) != ZOO_CONNECTED_STATE; i++) {
        usleep(10000);
    }
    return made;
}

/// A call that may meet the connection while it is down.
#define RETRY(code, call)                                                         \
    do {                                                                          \
        int rc_ = ZCONNECTIONLOSS;                                                \
        for (int i_ = 0; i_ < 300 && (rc_ == ZCONNECTIONLOSS || rc_ == ZOPERATIONTIMEOUT); i_++) { \
            rc_ = (call);                                                         \
            if (rc_ == ZCONNECTIONLOSS) {                                         \
                usleep(50000);                                                    \
            }                                                                     \
        }                                                                         \
        CHECK(rc_ == (code), "%s returned %d (%s)", #call, rc_, zerror(rc_));     \
    } while (0)

static const struct ACL_vector *open_acl(void) { return &ZOO_OPEN_ACL_UNSAFE; }

static void connects(void) {
    handle = connect_to_server("handle", 15000);
    other = connect_to_server("other", 15000);
    CHECK(handle && zoo_state(handle) == ZOO_CONNECTED_STATE, "not connected");
    CHECK(other && zoo_state(other) == ZOO_CONNECTED_STATE, "not connected");
    CHECK(zoo_client_id(handle)->client_id != 0, "session id 0");
    CHECK(zoo_recv_timeout(handle) == 15000, "timeout %d", zoo_recv_timeout(handle));
}

static void creates(void) {
    char path[128];
    struct Stat stat;
    RETURNS(ZOK, zoo_create(handle, "/c", "root", 4, open_acl(), 0, path, sizeof path));
    CHECK(strcmp(path, "/c") == 0, "%s", path);
    RETURNS(ZOK, zoo_create(handle, "/c/eph", "e", 1, open_acl(), ZOO_EPHEMERAL, NULL, 0));
    RETURNS(ZOK, zoo_create(handle, "/c/seq-", "s", 1, open_acl(), ZOO_PERSISTENT_SEQUENTIAL, path, sizeof path));
    CHECK(strcmp(path, "/c/seq-0000000001") == 0, "%s", path);
    RETURNS(ZOK, zoo_create(handle, "/c/es-", "s", 1, open_acl(), ZOO_EPHEMERAL_SEQUENTIAL, path, sizeof path));
    CHECK(strcmp(path, "/c/es-0000000002") == 0, "%s", path);
    RETURNS(ZOK, zoo_create(handle, "/c/container", NULL, -1, open_acl(), ZOO_CONTAINER, NULL, 0));
    RETURNS(ZOK, zoo_create_ttl(handle, "/c/ttl", "t", 1, open_acl(), ZOO_PERSISTENT_WITH_TTL, 3600000, NULL, 0));
    RETURNS(ZOK, zoo_create2(handle, "/c/with-stat", "12345", 5, open_acl(), 0, path, sizeof path, &stat));
    CHECK(stat.dataLength == 5 && stat.version == 0 && stat.czxid == stat.mzxid, "stat of create2");
    RETURNS(ZOK, zoo_exists(handle, "/c/eph", 0, &stat));
    CHECK(stat.ephemeralOwner == zoo_client_id(handle)->client_id, "owner %llx", (long long)stat.ephemeralOwner);
    RETURNS(ZNODEEXISTS, zoo_create(handle, "/c", "x", 1, open_acl(), 0, NULL, 0));
    RETURNS(ZNONODE, zoo_create(handle, "/none/x", "x", 1, open_acl(), 0, NULL, 0));
    RETURNS(ZNOCHILDRENFOREPHEMERALS, zoo_create(handle, "/c/eph/x", "x", 1, open_acl(), 0, NULL, 0));
}

static void data(void) {
    char buffer[64];
    int length = sizeof buffer;
    struct Stat stat;
    RETURNS(ZOK, zoo_get(handle, "/c", 0, buffer, &length, &stat));
    CHECK(length == 4 && memcmp(buffer, "root", 4) == 0, "%d bytes", length);
    RETURNS(ZOK, zoo_set(handle, "/c", "new", 3, 0));
    RETURNS(ZBADVERSION, zoo_set(handle, "/c", "newer", 5, 0));
    RETURNS(ZOK, zoo_set2(handle, "/c", "newer", 5, 1, &stat));
    CHECK(stat.version == 2 && stat.dataLength == 5, "version %d, length %d", stat.version, stat.dataLength);
    RETURNS(ZOK, zoo_set(handle, "/c", NULL, -1, -1));
    length = sizeof buffer;
    RETURNS(ZOK, zoo_get(handle, "/c", 0, buffer, &length, &stat));
    CHECK(length == -1, "null data came back with length %d", length);
    RETURNS(ZNONODE, zoo_get(handle, "/none", 0, buffer, &length, &stat));
}

static void children(void) {
    struct String_vector names = {0, NULL};
    struct Stat stat;
    RETURNS(ZOK, zoo_get_children(handle, "/c", 0, &names));
    CHECK(names.count == 6, "%d children", names.count);
    deallocate_String_vector(&names);
    RETURNS(ZOK, zoo_get_children2(handle, "/c", 0, &names, &stat));
    CHECK(names.count == 6 && stat.numChildren == 6 && stat.cversion == 6, "cversion %d", stat.cversion);
    deallocate_String_vector(&names);
    RETURNS(ZNONODE, zoo_get_children(handle, "/none", 0, &names));
}

static void deletes(void) {
    RETURNS(ZNOTEMPTY, zoo_delete(handle, "/c", -1));
    RETURNS(ZBADVERSION, zoo_delete(handle, "/c/ttl", 4));
    RETURNS(ZOK, zoo_delete(handle, "/c/ttl", 0));
    RETURNS(ZNONODE, zoo_delete(handle, "/c/ttl", -1));
}

static void multi(void) {
    char path[64];
    struct Stat stat;
    zoo_op_t ops[5];
    zoo_op_result_t results[5];
    zoo_create_op_init(&ops[0], "/c/m", "1", 1, open_acl(), 0, path, sizeof path);
    zoo_set_op_init(&ops[1], "/c", "by multi", 8, -1, &stat);
    zoo_check_op_init(&ops[2], "/c/m", 0);
    zoo_delete_op_init(&ops[3], "/c/with-stat", -1);
    zoo_create_op_init(&ops[4], "/c/ms-", "1", 1, open_acl(), ZOO_EPHEMERAL_SEQUENTIAL, NULL, 0);
    RETURNS(ZOK, zoo_multi(handle, 5, ops, results));
    for (int i = 0; i < 5; i++) {
        CHECK(results[i].err == ZOK, "result %d is %d", i, results[i].err);
    }
    CHECK(strcmp(path, "/c/m") == 0 && stat.dataLength == 8, "%s", path);

    zoo_create_op_init(&ops[0], "/c/never", "1", 1, open_acl(), 0, NULL, 0);
    zoo_check_op_init(&ops[1], "/c/m", 9);
    zoo_delete_op_init(&ops[2], "/c/m", -1);
    RETURNS(ZBADVERSION, zoo_multi(handle, 3, ops, results));
    CHECK(results[0].err == ZOK && results[1].err == ZBADVERSION && results[2].err == ZRUNTIMEINCONSISTENCY,
          "%d %d %d", results[0].err, results[1].err, results[2].err);
    RETURNS(ZNONODE, zoo_exists(handle, "/c/never", 0, NULL));
    RETURNS(ZOK, zoo_exists(handle, "/c/m", 0, NULL));
}

static void watches(void) {
    struct String_vector names = {0, NULL};
    char buffer[16];
    int length = sizeof buffer, first = events.count;
    RETURNS(ZNONODE, zoo_wexists(handle, "/w", watcher, "exists", NULL));
    RETURNS(ZOK, zoo_create(other, "/w", "", 0, open_acl(), 0, NULL, 0));
    CHECK(is_event(first, ZOO_CREATED_EVENT, "/w", "exists"), "no event of the creation");
    RETURNS(ZOK, zoo_wget(handle, "/w", watcher, "data", buffer, &length, NULL));
    RETURNS(ZOK, zoo_set(other, "/w", "1", 1, -1));
    CHECK(is_event(first + 1, ZOO_CHANGED_EVENT, "/w", "data"), "no event of the change");
    RETURNS(ZOK, zoo_wget_children(handle, "/w", watcher, "children", &names));
    deallocate_String_vector(&names);
    RETURNS(ZOK, zoo_create(other, "/w/child", "", 0, open_acl(), 0, NULL, 0));
    CHECK(is_event(first + 2, ZOO_CHILD_EVENT, "/w", "children"), "no event of the child");
    RETURNS(ZOK, zoo_wexists(handle, "/w/child", watcher, "gone", NULL));
    RETURNS(ZOK, zoo_delete(other, "/w/child", -1));
    CHECK(is_event(first + 3, ZOO_DELETED_EVENT, "/w/child", "gone"), "no event of the deletion");
    RETURNS(ZOK, zoo_wexists(handle, "/w", watcher, "removed", NULL));
    RETURNS(ZOK, zoo_remove_watches(handle, "/w", ZWATCHTYPE_DATA, watcher, "removed", 0));
    RETURNS(ZNOWATCHER, zoo_remove_watches(handle, "/w", ZWATCHTYPE_DATA, watcher, "removed", 0));
    RETURNS(ZOK, zoo_set(other, "/w", "2", 1, -1));
    RETURNS(ZOK, zoo_exists(handle, "/w", 0, NULL));
    for (int i = first + 4; i < events.count; i++) {
        CHECK(events.all[i].type != ZOO_CHANGED_EVENT, "an event of a removed watch");
    }
}

static pthread_mutex_t auth_lock = PTHREAD_MUTEX_INITIALIZER;
static int auth_result = 1;

static void authenticated(int code, const void *unused) {
    pthread_mutex_lock(&auth_lock);
    auth_result = code;
    pthread_mutex_unlock(&auth_lock);
}

static int auth_code(void) {
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&auth_lock);
        int code = auth_result;
        pthread_mutex_unlock(&auth_lock);
        if (code != 1) {
            return code;
        }
        usleep(10000);
    }
    return 1;
}

static void acls(void) {
    char buffer[16];
    int length = sizeof buffer;
    struct ACL_vector got = {0, NULL};
    struct Stat stat;
    RETURNS(ZINVALIDACL, zoo_create(handle, "/acl", "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    RETURNS(ZOK, zoo_add_auth(handle, "digest", "carol:pass", 10, authenticated, NULL));
    CHECK(auth_code() == ZOK, "authentication: %d", auth_result);
    RETURNS(ZOK, zoo_create(handle, "/acl", "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    RETURNS(ZNOAUTH, zoo_get(other, "/acl", 0, buffer, &length, NULL));
    RETURNS(ZNOAUTH, zoo_set(other, "/acl", "y", 1, -1));
    length = sizeof buffer;
    RETURNS(ZOK, zoo_get(handle, "/acl", 0, buffer, &length, NULL));
    RETURNS(ZOK, zoo_get_acl(handle, "/acl", &got, &stat));
    CHECK(got.count == 1 && strcmp(got.data[0].id.scheme, "digest") == 0, "%d entries", got.count);
    CHECK(strncmp(got.data[0].id.id, "carol:", 6) == 0 && got.data[0].perms == ZOO_PERM_ALL, "%s", got.data[0].id.id);
    deallocate_ACL_vector(&got);
    RETURNS(ZBADVERSION, zoo_set_acl(handle, "/acl", 7, &ZOO_READ_ACL_UNSAFE));
    RETURNS(ZOK, zoo_set_acl(handle, "/acl", 0, &ZOO_READ_ACL_UNSAFE));
    length = sizeof buffer;
    RETURNS(ZOK, zoo_get(other, "/acl", 0, buffer, &length, NULL));
    RETURNS(ZNOAUTH, zoo_set(handle, "/acl", "y", 1, -1));
}

static pthread_mutex_t sync_lock = PTHREAD_MUTEX_INITIALIZER;
static int synced;

static void sync_done(int code, const char *path, const void *unused) {
    pthread_mutex_lock(&sync_lock);
    synced += code == ZOK && strcmp(path, "/c") == 0;
    pthread_mutex_unlock(&sync_lock);
}

static void syncs(void) {
    RETURNS(ZOK, zoo_async(handle, "/c", sync_done, NULL));
    int done = 0;
    for (int i = 0; i < 1000 && done == 0; i++) {
        pthread_mutex_lock(&sync_lock);
        done = synced;
        pthread_mutex_unlock(&sync_lock);
        usleep(10000);
    }
    CHECK(done == 1, "no good reply to sync");
}

// Across kill -9.

static clientid_t identity;
static char held[128], waiting[128];
static int before_kill;

static void prepares(void) {
    struct String_vector names = {0, NULL};
    char buffer[16], path[64];
    int length = sizeof buffer;
    identity = *zoo_client_id(handle);
    RETURNS(ZOK, zoo_create(handle, "/k", "", 0, open_acl(), 0, NULL, 0));
    RETURNS(ZOK, zoo_create(handle, "/k/lock-", "", 0, open_acl(), ZOO_EPHEMERAL_SEQUENTIAL, held, sizeof held));
    RETURNS(ZOK, zoo_create(other, "/k/lock-", "", 0, open_acl(), ZOO_EPHEMERAL_SEQUENTIAL, waiting, sizeof waiting));
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "/k/n%03d", i);
        RETURNS(ZOK, zoo_create(handle, path, path, (int)strlen(path), open_acl(), 0, NULL, 0));
    }
    RETURNS(ZOK, zoo_wget(handle, "/k/n001", watcher, "data", buffer, &length, NULL));
    RETURNS(ZNONODE, zoo_wexists(handle, "/k/later", watcher, "exists", NULL));
    RETURNS(ZOK, zoo_wget_children(handle, "/k/n002", watcher, "children", &names));
    deallocate_String_vector(&names);
    RETURNS(ZOK, zoo_wexists(other, held, watcher, "predecessor", NULL));
    before_kill = events.count;
}

static void survives(void) {
    char path[64], buffer[64];
    struct Stat stat;
    CHECK(reaches(&events.connects, 2, 30), "the handle did not connect again");
    CHECK(events.expiries == 0, "the session expired");
    RETRY(ZOK, zoo_exists(handle, held, 0, &stat));
    CHECK(zoo_client_id(handle)->client_id == identity.client_id, "another session id");
    CHECK(memcmp(zoo_client_id(handle)->passwd, identity.passwd, 16) == 0, "another password");
    CHECK(stat.ephemeralOwner == identity.client_id, "the lock belongs to %llx", (long long)stat.ephemeralOwner);
    for (int i = 0; i < 100; i++) {
        int length = sizeof buffer;
        snprintf(path, sizeof path, "/k/n%03d", i);
        RETRY(ZOK, zoo_get(handle, path, 0, buffer, &length, NULL));
        CHECK(length == (int)strlen(path) && memcmp(buffer, path, length) == 0, "data of %s", path);
    }
}

static void watches_survive(void) {
    bool changed = false, created = false, child = false, gone = false;
    RETRY(ZOK, zoo_set(other, "/k/n001", "new", 3, -1));
    RETRY(ZOK, zoo_create(other, "/k/later", "", 0, open_acl(), 0, NULL, 0));
    RETRY(ZOK, zoo_create(other, "/k/n002/child", "", 0, open_acl(), 0, NULL, 0));
    RETRY(ZOK, zoo_delete(handle, held, -1));
    CHECK(reaches(&events.count, before_kill + 4, 15), "%d of 4 events", events.count - before_kill);
    CHECK(events.count == before_kill + 4, "%d events for 4 watches", events.count - before_kill);
    for (int i = before_kill; i < events.count; i++) {
        struct event *e = &events.all[i];
        changed |= e->type == ZOO_CHANGED_EVENT && !strcmp(e->path, "/k/n001") && !strcmp(e->context, "data");
        created |= e->type == ZOO_CREATED_EVENT && !strcmp(e->path, "/k/later") && !strcmp(e->context, "exists");
        child |= e->type == ZOO_CHILD_EVENT && !strcmp(e->path, "/k/n002") && !strcmp(e->context, "children");
        gone |= e->type == ZOO_DELETED_EVENT && !strcmp(e->path, held) && !strcmp(e->context, "predecessor");
    }
    CHECK(changed && created && child && gone, "changed %d created %d child %d gone %d", changed, created, child, gone);
}

static void authentication_survives(void) {
    char buffer[16];
    int length = sizeof buffer;
    RETRY(ZOK, zoo_create(handle, "/k/mine", "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    RETRY(ZOK, zoo_get(handle, "/k/mine", 0, buffer, &length, NULL));
    length = sizeof buffer;
    RETRY(ZNOAUTH, zoo_get(other, "/k/mine", 0, buffer, &length, NULL));
}

static void closes(void) {
    RETRY(ZOK, zoo_exists(other, waiting, 0, NULL));
    RETURNS(ZOK, zookeeper_close(other));
    RETURNS(ZNONODE, zoo_exists(handle, waiting, 0, NULL));
    RETURNS(ZOK, zookeeper_close(handle));
}

int main(int count, char **arguments) {
    char line[16];
    if (count != 2) {
        fprintf(stderr, "usage: client HOST:PORT\n");
        return 2;
    }
    address = arguments[1];
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    run("connect", connects);
    if (failed) {
        return 1;
    }
    run("create: every mode, and its errors", creates);
    run("get and set, null data, versions", data);
    run("children, with and without the stat", children);
    run("delete", deletes);
    run("multi: all or nothing", multi);
    run("watches: exists, data, children, removed", watches);
    run("digest authentication and ACLs", acls);
    run("sync", syncs);
    run("before the kill: locks, data, watches", prepares);
    printf("KILL\n");
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL) {
        return 1;
    }
    run("across kill -9: the session, its ephemeral and the data", survives);
    run("across kill -9: watches are registered again, each fires once", watches_survive);
    run("across kill -9: the credential is sent again", authentication_survives);
    run("close ends the session", closes);
    return 0;
}
